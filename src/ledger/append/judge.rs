//! The judgement of a batch: one command after the other, each seeing what the ones before it did.
//!
//! It asks nothing of the database and waits for nothing. A command is accepted whole or not at all, and what it writes is
//! collected for the second statement.

use std::collections::{BTreeSet, HashMap};

use docket_aggregates::Timestamp;
use docket_aggregates::claims::{ClaimChange, ClaimKey};
use docket_aggregates::ids::OrganizationId;
use docket_projections::campaign_counters;
use uuid::Uuid;

use super::Head;
use super::known::{Known, StoredRequest};
use super::rows::Rows;
use crate::ledger::chain;
use crate::ledger::command::{AppendError, Appended, Stream};
use crate::ledger::prepare::Prepared;
use crate::ledger::queue::Refusal;
use crate::ledger::stretch::Stretches;

/// What the judgement of one command was.
pub(super) enum Verdict {
    Accepted(Appended),
    Refused(Refusal),
    Busy,
}

/// How long the answers to idempotent requests are kept.
const REQUEST_KEPT_MILLIS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Judges the commands of a batch one after the other, each seeing what the ones before it did.
pub(super) struct Judge<'a> {
    pub(super) heads: HashMap<OrganizationId, Head>,
    pub(super) known: Known,
    pub(super) rows: Rows<'a>,
    pub(super) stretches: &'a Stretches,
    pub(super) now: Timestamp,
}

impl<'a> Judge<'a> {
    pub(super) fn judge(&mut self, prepared: &'a Prepared) -> Verdict {
        let organization = prepared.organization;
        let Some(head) = self.heads.get_mut(&organization) else { return Verdict::Busy };
        let known = &mut self.known;

        if let Some(position) = known.commands.get(&(organization, prepared.id.uuid())) {
            return Verdict::Accepted(prepared.recorded_at(*position));
        }
        if let Some(request) = &prepared.request
            && let Some(stored) = known.requests.get(&(organization, request.key_hash))
            && stored.expires_at > self.now
        {
            return Verdict::Refused(if stored.fingerprint == request.fingerprint {
                Refusal::Answered {
                    answer: stored.answer.clone(),
                    command_id: stored.command_id,
                    position: stored.position,
                }
            } else {
                Refusal::Error(AppendError::RequestConflict)
            });
        }
        let version = |stream: Stream| known.versions.get(&(organization, stream)).copied().unwrap_or(0);
        let current = prepared.expected.iter().all(|(stream, expected)| version(*stream) == *expected)
            && prepared.guards.iter().all(|guard| version(guard.stream) == guard.version);
        if !current {
            return Verdict::Refused(Refusal::Error(AppendError::Conflict));
        }
        if let Some(position) = prepared.counted_at {
            let stretch = self.stretches.of(organization).map(|stretch| stretch.reaching(head.before));
            let holds = stretch.is_some_and(|stretch| stretch.holds(position));
            if !holds || self.rows.counted.contains_key(&organization) {
                return Verdict::Refused(Refusal::Error(AppendError::Conflict));
            }
        }
        let owner = |key: &ClaimKey| known.claims.get(&(organization, key.clone())).copied();
        if let Some(key) = prepared.absent.iter().find(|key| owner(key).is_some()) {
            return Verdict::Refused(Refusal::Error(AppendError::Present(key.scope)));
        }
        // What one event of the command gives up, a later one of it may take.
        let mut given_up = BTreeSet::new();
        for change in &prepared.claims {
            match change {
                ClaimChange::Release(key) => {
                    given_up.insert(key);
                }
                ClaimChange::Take(key, by)
                    if !given_up.contains(key) && owner(key).is_some_and(|owner| owner != *by) =>
                {
                    return Verdict::Refused(Refusal::Error(AppendError::Taken(key.scope)));
                }
                ClaimChange::Take(..) | ClaimChange::Ensure(..) => (),
            }
        }
        let new_subject = |id: Uuid| !known.subjects.contains(&(organization, id));
        if !prepared.new_subjects.iter().all(|(subject, ..)| new_subject(subject.uuid())) {
            return Verdict::Refused(Refusal::Reseal);
        }

        // Accepted: from here on everything is written, and the next command sees it.
        for ((stream, _), after) in prepared.expected.iter().zip(&prepared.versions) {
            known.versions.insert((organization, *stream), *after);
        }
        for change in &prepared.claims {
            match change {
                ClaimChange::Take(key, by) | ClaimChange::Ensure(key, by) => {
                    if let std::collections::hash_map::Entry::Vacant(free) =
                        known.claims.entry((organization, key.clone()))
                    {
                        free.insert(*by);
                        self.rows.claims.insert((organization, key), Some(*by));
                    }
                }
                ClaimChange::Release(key) => {
                    known.claims.remove(&(organization, key.clone()));
                    self.rows.claims.insert((organization, key), None);
                }
            }
        }
        for (subject, ..) in &prepared.new_subjects {
            known.subjects.insert((organization, subject.uuid()));
        }
        head.recorded_at = head.recorded_at.max(self.now);
        let latest = self.rows.latest.entry(organization).or_default();
        for event in &prepared.events {
            head.position += 1;
            head.chain = chain::link(&head.chain, head.position, head.recorded_at, &event.leaf);
            self.rows.events.push((prepared, event, head.position, head.recorded_at, head.chain));
            latest.insert(event.event_type, head.position);
            if campaign_counters::changed_by(event.event_type) {
                self.rows.counted.insert(organization, head.position);
            }
        }
        known.commands.insert((organization, prepared.id.uuid()), head.position);
        let expires_at = self.now.plus_millis(REQUEST_KEPT_MILLIS);
        for request in prepared.request.iter().chain(&prepared.alias) {
            let row = (prepared, request, head.position, expires_at);
            let kept = StoredRequest {
                fingerprint: request.fingerprint.to_vec(),
                command_id: prepared.id.uuid(),
                position: head.position,
                answer: request.answer.clone(),
                expires_at,
            };
            let before = known.requests.insert((organization, request.key_hash), kept);
            // Another name was not looked for; what is known under it was seen before.
            let is_new = before.is_none() && prepared.alias.is_none();
            if is_new { self.rows.requests.push(row) } else { self.rows.renewed.push(row) }
        }
        self.rows.accepted.push(prepared);
        self.rows.touched.insert(organization);
        Verdict::Accepted(Appended {
            command_id: prepared.id,
            position: head.position,
            versions: prepared.versions.clone(),
            duplicate: false,
        })
    }
}
