//! Where contacts are in the sequences of which messages are steps: what the hand-over of a step rests on.
//!
//! A step that was drafted may wait for a person, a pause or a retry while its contact answers or is taken out. It is
//! looked at again when it is handed over: whether it is still the step that its contact is at, whether an earlier message
//! was answered or came back, whether an earlier try of the same step was sent after all, whether the contact wrote otherwise,
//! whether sequence and campaign go on. The append of the hand-over guards each of these streams. They are about this one
//! contact, and two that change when somebody edits them, so that no send to others contends with it.
//!
//! The contact's own stream is not guarded, so that no import contends with a step: it is read for the addresses from which
//! the contact may have written. That it opted out, or was suppressed at whichever address, is a claim, of which the append
//! of every hand-over rests on there being none.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::campaign::{Campaign, CampaignStatus};
use docket_aggregates::contact::Contact;
use docket_aggregates::enrollment::{Enrollment, EnrollmentStatus};
use docket_aggregates::ids::{ContactId, MessageId, OrganizationId, SequenceId};
use docket_aggregates::judgement::Leading;
use docket_aggregates::sequence::{Sequence, SequenceStatus};
use uuid::Uuid;

use super::answers::Answers;
use super::step::{Told, awaited, told};
use crate::app::App;
use crate::ledger::read::ReadError;
use crate::ledger::{Guard, Versioned};

/// A message that is a step: of which sequence, and for whom.
pub type StepOf = (MessageId, SequenceId, ContactId);

/// Where a contact is, and the versions that this rests on.
#[derive(Clone, Debug, Default)]
pub struct Led {
    /// Where it is.
    pub leading: Leading,
    /// What was looked at.
    pub guards: Vec<Guard>,
}

/// Looks at each of these steps.
pub async fn look(
    app: &App,
    organization: OrganizationId,
    steps: &[StepOf],
) -> Result<BTreeMap<MessageId, Led>, ReadError> {
    if steps.is_empty() {
        return Ok(BTreeMap::new());
    }
    let led: Vec<Uuid> =
        steps.iter().map(|(_, sequence, contact)| organization.enrollment(*sequence, *contact)).collect();
    let ledger = &app.ledger;
    let enrollments =
        ledger.load_each::<Enrollment, _>(organization, led.iter().copied().collect(), |id| *id).await?;
    let named = steps.iter().map(|(_, sequence, _)| *sequence).collect();
    let sequences = ledger.load_each::<Sequence, _>(organization, named, |id| id.uuid()).await?;
    let of = enrollments.values().filter_map(|enrollment| enrollment.state.campaign_id()).collect();
    let campaigns = ledger.load_each::<Campaign, _>(organization, of, |id| id.uuid()).await?;
    let earlier: BTreeSet<MessageId> = steps
        .iter()
        .zip(&led)
        .filter_map(|((message, ..), id)| Some((message, enrollments.get(id)?)))
        .flat_map(|(message, enrollment)| before(&enrollment.state, *message))
        .collect();
    let earlier: Vec<MessageId> = earlier.into_iter().collect();
    let told = told(app, organization, &earlier).await?;
    let all_told: BTreeMap<MessageId, Told> = earlier.into_iter().zip(told).collect();
    let whom = steps.iter().map(|(.., contact)| *contact).collect();
    let contacts = ledger.load_each::<Contact, _>(organization, whom, |id| id.uuid()).await?;

    let mut looked: BTreeMap<MessageId, Led> = BTreeMap::new();
    let mut asked = Vec::new();
    for ((message, sequence, contact), id) in steps.iter().zip(&led) {
        let (Some(enrollment), Some(sequence)) = (enrollments.get(id), sequences.get(sequence)) else {
            continue;
        };
        let campaign = enrollment.state.campaign_id().and_then(|id| campaigns.get(&id));
        let told: Vec<&Told> =
            before(&enrollment.state, *message).filter_map(|message| all_told.get(&message)).collect();
        let ended = told.iter().any(|told| told.fate.ends().is_some());
        let leading = match leading(*message, enrollment, sequence, campaign) {
            _ if ended => Leading::Over,
            Leading::Over => Leading::Over,
            _ if was_sent_before(&enrollment.state, *message, &all_told) => Leading::Has,
            leading => leading,
        };
        let mut guards = vec![enrollment.guard(), sequence.guard()];
        guards.extend(campaign.map(Versioned::guard));
        guards.extend(told.iter().map(|told| told.guard));
        if let Some(contact) = contacts.get(contact).filter(|_| leading == Leading::On) {
            asked.push((*message, &*contact.state, awaited(&enrollment.state, told.into_iter())));
        }
        looked.insert(*message, Led { leading, guards });
    }
    for (message, answers) in Answers::read_each(app, organization, asked).await? {
        if let Some(led) = looked.get_mut(&message) {
            led.guards.extend(answers.guards);
            if answers.answered {
                led.leading = Leading::Over;
            }
        }
    }
    Ok(looked)
}

/// The messages of the steps before.
fn before(enrollment: &Enrollment, message: MessageId) -> impl Iterator<Item = MessageId> + '_ {
    enrollment.messages().iter().copied().filter(move |earlier| *earlier != message)
}

/// Whether an earlier try of the step that its contact is at is known to have been sent.
fn was_sent_before(enrollment: &Enrollment, message: MessageId, told: &BTreeMap<MessageId, Told>) -> bool {
    let earlier = enrollment.tries().iter().filter(|earlier| **earlier != message);
    earlier.filter_map(|earlier| told.get(earlier)).any(|told| told.fate.sent().is_some())
}

fn leading(
    message: MessageId,
    enrollment: &Versioned<Enrollment>,
    sequence: &Versioned<Sequence>,
    campaign: Option<&Versioned<Campaign>>,
) -> Leading {
    let at_it = enrollment.state.status() == EnrollmentStatus::Active
        && enrollment.state.message_id() == Some(message);
    let campaign = campaign.map(|campaign| campaign.state.status());
    match (sequence.state.status(), campaign) {
        _ if !at_it => Leading::Over,
        (SequenceStatus::Archived, _) => Leading::Over,
        (_, Some(status)) if !status.takes_contacts() => Leading::Over,
        (SequenceStatus::Paused, _) => Leading::SequencePaused,
        (SequenceStatus::Active, Some(CampaignStatus::Paused)) => Leading::CampaignPaused,
        (SequenceStatus::Active, _) => Leading::On,
    }
}
