//! Whether a new version of a sequence may follow the present one while contacts are led through it.
//!
//! How far somebody is, is the number of a step. So nothing may move from one side of where they stand to the other, and
//! nobody is to get words again that they were sent. What they were sent, are the words that stood at each step in the version
//! that it was taken from: a change may have put others in their place since, and the next one would bring them back.

use std::collections::BTreeMap;

use docket_aggregates::AnyEvent;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{OrganizationId, SequenceId};
use docket_aggregates::sequence::{Sequence, SequenceEvent, Step, said};
use docket_projections::enrollments::{self as rows, StepOfVersion};

use super::SequenceRefusal;
use crate::app::App;
use crate::ledger::Stream;
use crate::ledger::read::{self, ReadError};
use crate::readside::Consistency;
use crate::service::ServiceError;

/// What a step says, and where.
type Words = (Channel, String);

/// That nobody who is in the sequence is led through a step again, or past one.
pub async fn leads_on(
    app: &App,
    organization: OrganizationId,
    sequence_id: SequenceId,
    before: &Sequence,
    steps: &[Step],
    payloads: &[String],
) -> Result<(), ServiceError<SequenceRefusal>> {
    let stands = |taken, sent: &[Words]| before.leads_on(steps, payloads, taken, sent);
    let brought_back = brought_back(app, organization, sequence_id, before, steps, payloads).await?;
    // Most changes move nothing, however far anybody is.
    if brought_back.is_empty() && (1..=before.steps().len()).all(|taken| stands(taken, &[]).is_ok()) {
        return Ok(());
    }
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    for place in rows::places(&mut view, organization, sequence_id).await? {
        let sent: Vec<Words> =
            place.taken.iter().filter_map(|step| brought_back.get(step)).cloned().collect();
        stands(usize::try_from(place.step).unwrap_or(usize::MAX), &sent)
            .map_err(|error| ServiceError::Refused(SequenceRefusal::Sequence(error)))?;
    }
    Ok(())
}

/// Words that the present version has not, that an earlier one had, and that are to be in the new one: by the steps that had
/// them.
async fn brought_back(
    app: &App,
    organization: OrganizationId,
    sequence_id: SequenceId,
    before: &Sequence,
    steps: &[Step],
    payloads: &[String],
) -> Result<BTreeMap<StepOfVersion, Words>, ReadError> {
    let now = before.words().map_or(&[][..], |words| words.payloads.as_slice());
    let now: Vec<Words> = said(before.steps(), now).collect();
    let new: Vec<Words> = said(steps, payloads).filter(|words| !now.contains(words)).collect();
    if new.is_empty() {
        return Ok(BTreeMap::new());
    }
    let stream = Stream::of::<Sequence>(sequence_id);
    let mut stored = read::stream(app.ledger.pool(), organization, stream, 0).await?;
    read::open(app.ledger.keys(), organization, &mut stored).await?;
    let mut found = BTreeMap::new();
    for event in stored {
        let AnyEvent::Sequence(
            SequenceEvent::SequenceCreated { version, steps, words, .. }
            | SequenceEvent::SequenceChanged { version, steps, words, .. },
        ) = read::recorded(organization, event)?.event
        else {
            continue;
        };
        let payloads = words.value().map_or(&[][..], |words| words.payloads.as_slice());
        let of_version = (1..).zip(said(&steps, payloads)).filter(|(_, words)| new.contains(words));
        found.extend(of_version.map(|(step, words)| (StepOfVersion(step, version), words)));
    }
    Ok(found)
}
