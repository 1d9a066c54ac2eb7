//! Putting the contacts of a campaign into a sequence.
//!
//! Who is meant is resolved on one view of the read models, and what it rests on is fenced by the append: the sequence, the
//! campaign, and the campaign's roster at the version of that view. The enrollments are appended in chunks. Each
//! is a stream of its own whose id is made of sequence and contact, begun on version 0: asked again, after a kill too,
//! whoever is enrolled already is passed over, and nobody is enrolled twice.
//!
//! A rehearsal is the same resolution without the appends.

use std::collections::BTreeMap;

use docket_aggregates::Decides;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::enrollment::{Enrollment, EnrollmentCommand};
use docket_aggregates::ids::{CampaignId, ContactId, SequenceId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::roster::Roster;
use docket_aggregates::sequence::{Sequence, SequenceError, SequenceStatus};
use docket_projections::enrollments::{self as rows, Candidate};
use docket_projections::rosters;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{SequenceRefusal, words};
use crate::app::App;
use crate::ledger::{AppendError, Appended, Guard, Lane, Stream, TRIES, Versioned, Write};
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};

type Result<T> = std::result::Result<T, ServiceError<SequenceRefusal>>;

/// Contacts that are read at once.
const PORTION: i64 = 5_000;
/// Enrollments in one append.
const CHUNK: usize = 500;

/// Who is to be enrolled.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The contacts of this campaign.
    pub campaign_id: CampaignId,
    /// Only those that stand here; empty means anywhere.
    pub status_in: Vec<MembershipStatus>,
}

/// What an enrollment came to, or would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// The sequence.
    #[schemars(with = "Uuid")]
    pub sequence_id: SequenceId,
    /// The campaign.
    #[schemars(with = "Uuid")]
    pub campaign_id: CampaignId,
    /// Whether nothing was recorded.
    pub dry_run: bool,
    /// Contacts that are led through the sequence from now on.
    pub enrolled: u64,
    /// Contacts that were passed over.
    pub skipped: u64,
    /// Why, and how many.
    pub skipped_by_reason: BTreeMap<&'static str, u64>,
}

/// Why a contact is passed over; the gravest reason first.
fn in_the_way(candidate: &Candidate, ground: &Ground) -> Option<&'static str> {
    if candidate.erased {
        Some("ERASED")
    } else if candidate.known_to_sequence {
        Some("ENROLLED_BEFORE")
    } else if candidate.do_not_contact {
        Some("DO_NOT_CONTACT")
    } else {
        let steps = ground.sequence.state.steps();
        steps
            .iter()
            .any(|step| candidate.profile.address_on(step.channel).is_none())
            .then_some("NO_ADDRESS")
            .or_else(|| {
                ground
                    .payloads
                    .iter()
                    .any(|payload| words::fit(payload, &candidate.profile).is_err())
                    .then_some("MISSING_FIELD")
            })
    }
}

/// What a resolution rests on.
struct Ground {
    sequence: Versioned<Sequence>,
    payloads: Vec<Value>,
    campaign: Versioned<Campaign>,
    roster: Guard,
}

impl Ground {
    fn guards(&self) -> Vec<Guard> {
        vec![self.sequence.guard(), self.campaign.guard(), self.roster]
    }
}

/// Who is meant and who is passed over, by contact.
struct Resolved {
    ground: Ground,
    wanted: Vec<ContactId>,
    skipped: Vec<(ContactId, &'static str)>,
}

/// Enrolls the contacts that are meant, or says what that would come to.
pub async fn enroll(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    selection: &Selection,
    dry_run: bool,
) -> Result<Done<Enrolled>> {
    let mut resolved = resolve(app, call, sequence_id, selection, None).await?;
    let mut answer = Enrolled {
        sequence_id,
        campaign_id: selection.campaign_id,
        dry_run,
        enrolled: 0,
        skipped: 0,
        skipped_by_reason: BTreeMap::new(),
    };
    if dry_run {
        answer.enrolled = resolved.wanted.len() as u64;
        return Ok(Done { entity: answer.count(&resolved.skipped), appended: None });
    }
    let mut appended = None;
    let (mut done, mut tries) = (0, 0);
    let mut latest = None;
    while done < resolved.wanted.len() {
        let rest = resolved.wanted.len() - done;
        let chunk = &resolved.wanted[done..done + rest.min(CHUNK)];
        answer.enrolled += chunk.len() as u64;
        // The last chunk answers the request: asked again before, it goes on.
        let last = chunk.len() == rest;
        let request = if last { Some(answer.clone().count(&resolved.skipped)) } else { None };
        match append(app, call, sequence_id, &resolved.ground, selection, chunk, request).await {
            Ok(recorded) => {
                appended = Some(recorded);
                latest = chunk.last().copied();
                done += chunk.len();
                tries = 0;
            }
            Err(AppendError::Conflict) => {
                answer.enrolled -= chunk.len() as u64;
                tries += 1;
                if tries == TRIES {
                    return Err(AppendError::Conflict.into());
                }
                // Whoever comes after the last one who was enrolled is resolved anew.
                let anew = resolve(app, call, sequence_id, selection, latest).await?;
                let kept = resolved.skipped.into_iter().filter(|(contact, _)| Some(*contact) <= latest);
                let skipped = kept.chain(anew.skipped).collect();
                resolved = Resolved { ground: anew.ground, wanted: anew.wanted, skipped };
                done = 0;
            }
            Err(error) => return Err(error.into()),
        }
    }
    metrics::counter!("docket_sequence_enrolled_total").increment(answer.enrolled);
    Ok(Done { entity: answer.count(&resolved.skipped), appended })
}

impl Enrolled {
    fn count(mut self, skipped: &[(ContactId, &'static str)]) -> Self {
        self.skipped = skipped.len() as u64;
        self.skipped_by_reason.clear();
        for (_, reason) in skipped {
            *self.skipped_by_reason.entry(reason).or_default() += 1;
        }
        self
    }
}

/// Who is meant after `after`. Only ids are kept: a campaign may have a million contacts.
async fn resolve(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    selection: &Selection,
    after: Option<ContactId>,
) -> Result<Resolved> {
    let organization = call.organization;
    let campaign_id = selection.campaign_id;
    let refused = |refusal: SequenceRefusal| Err(ServiceError::Refused(refusal));
    let sequence = app.ledger.load::<Sequence>(organization, sequence_id).await?;
    if !sequence.exists() {
        return refused(SequenceError::Unknown.into());
    }
    if sequence.state.status() == SequenceStatus::Archived {
        return refused(SequenceError::Archived.into());
    }
    let Some(words) = sequence.state.words() else { return refused(SequenceError::Erased.into()) };
    let payloads = words.payloads.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let campaign = app.ledger.load::<Campaign>(organization, campaign_id).await?;
    if !campaign.exists() {
        return refused(SequenceRefusal::UnknownCampaign);
    }
    if !campaign.state.status().takes_contacts() {
        return refused(SequenceRefusal::CampaignOver(campaign.state.status()));
    }

    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let version = rosters::version(&mut view, organization, campaign_id).await?;
    let roster = Guard { stream: Stream::of::<Roster>(organization.roster(campaign_id)), version };
    let ground = Ground { sequence, payloads, campaign, roster };
    let mut resolved = Resolved { ground, wanted: Vec::new(), skipped: Vec::new() };
    let mut after = after;
    loop {
        let about = (sequence_id, campaign_id);
        let portion =
            rows::candidates(&mut view, organization, about, &selection.status_in, after, PORTION).await?;
        after = portion.last().map(|candidate| candidate.contact_id);
        for candidate in &portion {
            match in_the_way(candidate, &resolved.ground) {
                Some(reason) => resolved.skipped.push((candidate.contact_id, reason)),
                None => resolved.wanted.push(candidate.contact_id),
            }
        }
        if (portion.len() as i64) < PORTION {
            return Ok(resolved);
        }
    }
}

async fn append(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    ground: &Ground,
    selection: &Selection,
    contacts: &[ContactId],
    request: Option<Enrolled>,
) -> std::result::Result<Appended, AppendError> {
    let organization = call.organization;
    let begin = |contact_id: ContactId| -> std::result::Result<Write, AppendError> {
        let command = EnrollmentCommand::Enroll {
            sequence_id,
            contact_id,
            campaign_id: Some(selection.campaign_id),
            at: call.at,
        };
        let events = Enrollment::default()
            .decide(command)
            .map_err(|error| AppendError::Unstorable(error.to_string()))?;
        Ok(Write {
            stream: Stream::of::<Enrollment>(organization.enrollment(sequence_id, contact_id)),
            expected: 0,
            events: events.into_iter().map(Into::into).collect(),
        })
    };
    let writes = contacts.iter().map(|contact| begin(*contact)).collect::<std::result::Result<_, _>>()?;
    let last = request.is_some();
    let request = request.map(|answer| call.request(&answer)).transpose()?.flatten();
    let mut command = call.command(writes, ground.guards(), request);
    if !last {
        command.id = app.clock.mint();
        command.origin.causation = Some(call.command_id);
        command.lane = Lane::Bulk;
    }
    app.ledger.append(command).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::channel::Channel;
    use docket_aggregates::contact::ContactProfile;
    use docket_aggregates::ids::{OutboxId, PrincipalId};
    use docket_aggregates::sequence::{SequenceCommand, SequenceWords, Step};
    use serde_json::json;
    use std::sync::Arc;

    fn ground() -> Ground {
        let step = |channel| Step { outbox_id: OutboxId::default(), channel, wait_minutes: 0, window: None };
        let mut sequence = Sequence::default();
        let command = SequenceCommand::Create {
            sequence_id: SequenceId::default(),
            steps: vec![step(Channel::Email), step(Channel::Whatsapp)],
            words: SequenceWords { name: "Nurture".into(), payloads: vec!["{}".into(); 2] },
            by: PrincipalId::default(),
        };
        for event in sequence.decide(command).unwrap() {
            cqrs_es::Aggregate::apply(&mut sequence, event);
        }
        let stream = Stream::of::<Sequence>(Uuid::nil());
        Ground {
            sequence: Versioned::at(Arc::new(sequence), 1, stream),
            payloads: vec![json!({ "text": "Hello {{firstName}}" }), json!({})],
            campaign: Versioned::at(Arc::default(), 1, Stream::of::<Campaign>(Uuid::nil())),
            roster: Guard { stream, version: 1 },
        }
    }

    #[test]
    fn a_contact_is_passed_over_for_the_gravest_reason() {
        let known = ContactProfile {
            first_name: Some("Ann".into()),
            email: Some("ann@example.com".into()),
            phone: Some("+33612345678".into()),
            ..ContactProfile::default()
        };
        let candidate = Candidate {
            contact_id: ContactId::default(),
            known_to_sequence: false,
            do_not_contact: false,
            erased: false,
            profile: known.clone(),
        };
        let without = |profile| Candidate { profile, ..candidate.clone() };
        let all = Candidate {
            known_to_sequence: true,
            do_not_contact: true,
            erased: true,
            ..without(ContactProfile::default())
        };
        let ground = ground();
        for (candidate, reason) in [
            (candidate.clone(), None),
            (all.clone(), Some("ERASED")),
            (Candidate { erased: false, ..all.clone() }, Some("ENROLLED_BEFORE")),
            (Candidate { erased: false, known_to_sequence: false, ..all }, Some("DO_NOT_CONTACT")),
            (without(ContactProfile { phone: None, ..known.clone() }), Some("NO_ADDRESS")),
            (without(ContactProfile { email: None, ..known.clone() }), Some("NO_ADDRESS")),
            (without(ContactProfile { first_name: None, ..known }), Some("MISSING_FIELD")),
        ] {
            assert_eq!(in_the_way(&candidate, &ground), reason, "{candidate:?}");
        }
    }
}
