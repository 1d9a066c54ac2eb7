//! The feed: from the events to the table of what is due.
//!
//! It has a cursor of its own for each organization, moved in the transaction that changes the table, so that any number of
//! processes share the work. It causes nothing: emptying both tables and reading the ledger from its beginning gives rows
//! that lead to the same looks. Nothing personal is opened here.
//!
//! A row's lock orders this against whoever looks at it: what is fed while an enrollment is looked at waits, and then says
//! that it is to be looked at again. So nothing that happened is slept over.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::campaign::CampaignEvent;
use docket_aggregates::contact::ContactEvent;
use docket_aggregates::correspondence::CorrespondenceEvent;
use docket_aggregates::enrollment::{EnrollmentEvent, StopReason};
use docket_aggregates::ids::{CampaignId, ContactId, OrganizationId, SequenceId};
use docket_aggregates::message::{Delivery, DispatchState, MessageEvent, standing_after};
use docket_aggregates::roster::RosterEvent;
use docket_aggregates::sequence::SequenceEvent;
use docket_aggregates::suppression::{SuppressionEvent, SuppressionReason};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::due::{Change, Changes, Kin, NewRow};
use crate::following::cursors::{COLUMNS, Cursors, Fed, FeedError, decoded};

/// How far each organization's events are in the table of what is due.
const CURSORS: Cursors = Cursors("sequencing.cursors");
/// Positions that are read in one transaction.
const PORTION: i64 = 2_000;
/// Events of other aggregates that an enrollment may have to do with.
const HEEDED: &[&str] = &[
    "MessageDrafted",
    "MessageDecided",
    "MessageAccepted",
    "MessageRejected",
    "MessageGivenUp",
    "MessageSettled",
    "DeliveryReported",
    "CorrespondentHeard",
    "ContactOptedOut",
    "ContactSuppressed",
    "SuppressionAdded",
    "ContactsRemoved",
    "CampaignActivated",
    "CampaignCompleted",
    "CampaignArchived",
];

/// Feeds what was appended to every organization. One that cannot be fed is told of and does not hold up the others.
pub async fn catch_up_all(pool: &PgPool) -> Result<(), FeedError> {
    for organization in CURSORS.behind(pool).await? {
        if let Err(error) = catch_up(pool, organization).await {
            tracing::warn!(organization.id = %organization, error = %error, "what is due is not fed");
        }
    }
    Ok(())
}

/// Empties the table and fills it again from the ledger; says how many rows are in it.
pub async fn refill(pool: &PgPool) -> Result<i64, FeedError> {
    sqlx::query("TRUNCATE sequencing.due, sequencing.cursors").execute(pool).await?;
    catch_up_all(pool).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM sequencing.due").fetch_one(pool).await?)
}

async fn catch_up(pool: &PgPool, organization: OrganizationId) -> Result<(), FeedError> {
    while step(pool, organization).await? {}
    Ok(())
}

/// Feeds one portion; false if there is nothing to feed or another process is at it.
async fn step(pool: &PgPool, organization: OrganizationId) -> Result<bool, FeedError> {
    // What a crash of the database loses is read again, together with the cursor.
    let mut transaction = pool.begin_with("BEGIN; SET LOCAL synchronous_commit TO off").await?;
    let Some((cursor, head)) = CURSORS.lock(&mut transaction, organization).await? else { return Ok(false) };
    if cursor >= head {
        return Ok(false);
    }
    let to = head.min(cursor + PORTION);
    let (read, reached) = read(&mut transaction, organization, cursor, to).await?;
    if reached == cursor {
        return Ok(false);
    }
    let messages = behind(&mut transaction, organization, &read).await?;
    if concerns_anybody(&mut transaction, organization, &read).await? {
        let mut changes = Changes::new(organization);
        for event in read {
            take_in(&mut transaction, &mut changes, &messages, event).await?;
        }
        changes.write(&mut transaction).await?;
    }
    CURSORS.reached(&mut transaction, organization, reached).await?;
    transaction.commit().await?;
    Ok(true)
}

/// The events of a stretch that may matter, and how far it could be read: up to a type that only a newer process knows.
/// Messages of steps are known by their ids, which are derived and not minted; of all others only that they were answered
/// matters.
async fn read(
    connection: &mut PgConnection,
    organization: OrganizationId,
    after: i64,
    to: i64,
) -> Result<(Vec<Fed>, i64), FeedError> {
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM ledger.events WHERE organization_id = $1 AND position > $2 AND position <= $3 \
             AND (aggregate_type IN ('Sequence', 'Enrollment') OR event_type = ANY($4)) \
             AND (aggregate_type <> 'Message' OR substr(aggregate_id, 15, 1) = '5' \
                  OR payload->>'delivery' = 'replied') \
         ORDER BY position"
    ))
    .bind(organization.uuid())
    .bind(after)
    .bind(to)
    .bind(HEEDED)
    .fetch_all(connection)
    .await?;
    decoded(&rows, to)
}

/// Whether anybody is enrolled, now or by one of these events: in an organization without sequences nothing is due, and
/// its campaigns come and go without a look at the table for each.
async fn concerns_anybody(
    connection: &mut PgConnection,
    organization: OrganizationId,
    read: &[Fed],
) -> Result<bool, sqlx::Error> {
    if read.is_empty() || read.iter().any(|fed| matches!(fed.event, AnyEvent::Enrollment(_))) {
        return Ok(!read.is_empty());
    }
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM sequencing.due WHERE organization_id = $1)")
        .bind(organization.uuid())
        .fetch_one(connection)
        .await
}

/// Whom a message is for, and which enrollment it is a step of.
#[derive(Clone, Copy)]
struct Behind {
    contact: ContactId,
    enrollment: Option<Uuid>,
}

/// What is behind each message. Only the draft says so, which may be long ago.
async fn behind(
    connection: &mut PgConnection,
    organization: OrganizationId,
    read: &[Fed],
) -> Result<BTreeMap<Uuid, Behind>, sqlx::Error> {
    let messages: BTreeSet<String> = read
        .iter()
        .filter(|fed| matches!(fed.event, AnyEvent::Message(_)))
        .map(|fed| fed.stream.to_string())
        .collect();
    if messages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(
        "SELECT wanted.id::uuid, (e.payload->>'sequence_id')::uuid, (e.payload->>'contact_id')::uuid \
         FROM unnest($2::text[]) AS wanted (id) CROSS JOIN LATERAL ( \
             SELECT payload FROM ledger.events WHERE organization_id = $1 AND aggregate_type = 'Message' \
                 AND aggregate_id = wanted.id AND sequence = 1 LIMIT 1) AS e \
         WHERE e.payload->>'contact_id' IS NOT NULL",
    )
    .bind(organization.uuid())
    .bind(messages.into_iter().collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let contact = ContactId(row.try_get(2)?);
            let sequence = row.try_get::<Option<Uuid>, _>(1)?.map(SequenceId);
            let enrollment = sequence.map(|sequence| organization.enrollment(sequence, contact));
            Ok((row.try_get(0)?, Behind { contact, enrollment }))
        })
        .collect()
}

async fn take_in(
    connection: &mut PgConnection,
    changes: &mut Changes,
    messages: &BTreeMap<Uuid, Behind>,
    Fed { stream, event, at }: Fed,
) -> Result<(), sqlx::Error> {
    let look = |kin| (kin, None);
    let end = |kin, because: StopReason| (kin, Some(because.name()));
    let (kin, ends) = match &event {
        AnyEvent::Enrollment(event) => {
            changes.one(stream, of_enrollment(event));
            return Ok(());
        }
        AnyEvent::Message(event) => {
            let Some(Behind { contact, enrollment }) = messages.get(&stream).copied() else { return Ok(()) };
            if let Some((enrollment, change)) = enrollment.zip(of_message(event, at)) {
                changes.one(enrollment, change);
            }
            // Whatever they answer, they have answered: no sequence goes on as if they had not.
            match event {
                MessageEvent::DeliveryReported { delivery: Delivery::Replied, .. } => {
                    end(Kin::Contact(contact), StopReason::Replied)
                }
                _ => return Ok(()),
            }
        }
        AnyEvent::Sequence(event) => match event {
            SequenceEvent::SequenceChanged { .. }
            | SequenceEvent::SequenceResumed {}
            | SequenceEvent::SequenceArchived {} => look(Kin::Sequence(SequenceId(stream))),
            SequenceEvent::SequenceCreated { .. } | SequenceEvent::SequencePaused {} => return Ok(()),
        },
        AnyEvent::Campaign(
            CampaignEvent::CampaignActivated {}
            | CampaignEvent::CampaignCompleted {}
            | CampaignEvent::CampaignArchived {},
        ) => look(Kin::Campaign(CampaignId(stream))),
        // Whether it answers something, whoever looks finds out.
        AnyEvent::Correspondence(CorrespondenceEvent::CorrespondentHeard {
            address_hash,
            contact_id,
            ..
        }) => {
            if let Some(contact) = contact_id {
                changes.kin(connection, Kin::Contact(*contact), at, None).await?;
            }
            let Some(hash) = address_hash else { return Ok(()) };
            look(Kin::Address(hash.clone()))
        }
        AnyEvent::Roster(RosterEvent::ContactsRemoved { campaign_id, contact_ids, .. }) => {
            end(Kin::Contacts(*campaign_id, contact_ids.clone()), StopReason::Removed)
        }
        AnyEvent::Contact(ContactEvent::ContactOptedOut { .. }) => {
            end(Kin::Contact(ContactId(stream)), StopReason::Unsubscribed)
        }
        // Why, the suppression itself says, where a message was sent to that address.
        AnyEvent::Contact(ContactEvent::ContactSuppressed { .. }) => {
            end(Kin::Contact(ContactId(stream)), StopReason::Suppressed)
        }
        AnyEvent::Suppression(SuppressionEvent::SuppressionAdded { address_hash, reason, .. }) => {
            end(Kin::Address(address_hash.clone()), of_suppression(*reason))
        }
        _ => return Ok(()),
    };
    changes.kin(connection, kin, at, ends).await
}

fn of_enrollment(event: &EnrollmentEvent) -> Change {
    match event {
        EnrollmentEvent::ContactEnrolled { sequence_id, contact_id, campaign_id, at, .. } => {
            Change::enrolled(NewRow {
                sequence_id: *sequence_id,
                contact_id: *contact_id,
                campaign_id: *campaign_id,
                due_at: *at,
            })
        }
        // What is next depends on its message, which is drafted in the same append.
        EnrollmentEvent::StepTaken { .. } => Change::default(),
        EnrollmentEvent::EnrollmentStopped { .. } | EnrollmentEvent::EnrollmentFinished {} => Change::gone(),
    }
}

fn of_message(event: &MessageEvent, at: Timestamp) -> Option<Change> {
    match event {
        MessageEvent::MessageDrafted { recipient_hash, .. } => {
            Some(Change { address_hash: Some(recipient_hash.clone()), ..Change::default() })
        }
        MessageEvent::DeliveryReported { .. } => Some(Change::due(at)),
        other => {
            let (_, dispatch) = standing_after(other)?;
            (dispatch == DispatchState::Done).then(|| Change::due(at))
        }
    }
}

const fn of_suppression(reason: SuppressionReason) -> StopReason {
    match reason {
        SuppressionReason::Manual => StopReason::Suppressed,
        SuppressionReason::Unsubscribe => StopReason::Unsubscribed,
        SuppressionReason::Bounce => StopReason::Bounced,
        SuppressionReason::Complaint => StopReason::Complained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_that_is_heeded_is_one() {
        let stored: Vec<&str> = AnyEvent::stored().into_iter().map(|(_, event, _)| event).collect();
        for heeded in HEEDED {
            assert!(stored.contains(heeded), "{heeded}");
        }
    }

    #[test]
    fn the_ids_of_steps_are_told_from_minted_ones() {
        let organization = OrganizationId(Uuid::from_u128(1));
        let step = organization.step_message(Uuid::from_u128(2), 1, 1, 1);
        assert_eq!(step.to_string().as_bytes()[14], b'5');
        let minted = crate::clock::mint_at(Timestamp::from_millis(1));
        assert_eq!(minted.to_string().as_bytes()[14], b'7');
    }
}
