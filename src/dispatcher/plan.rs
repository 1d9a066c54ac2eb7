//! What is to be done with each message of a batch, and the one append that does it.
//!
//! The order of the checks is that of `judgement`: pauses, sender, recipient, rules; then the frequency cap and the bucket,
//! because only a charge can know whether there is room. Whatever ends or holds back a message that was charged before
//! gives the charge back in the same append.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::Aggregate as _;
use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::bucket::{Bucket, BucketCommand, BucketEvent};
use docket_aggregates::channel::Channel;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand, CorrespondenceEvent};
use docket_aggregates::credential::{CredentialCommand, CredentialEvent, SendingDay};
use docket_aggregates::ids::{ApprovalId, BucketId, MessageId};
use docket_aggregates::judgement::{self, At, AtDispatch, Leading, Recipient};
use docket_aggregates::message::{
    DispatchState, Grounds, Keyed, Message, MessageCommand, MessageError, MessageEvent, Outcome, Reason,
    Ruling,
};
use docket_aggregates::sending_control::FrequencyCap;
use docket_aggregates::{Decides, Timestamp};
use uuid::Uuid;

use super::Shared;
use super::call;
use super::candidate::Candidate;
use super::feed::abandoned_at;
use super::ground::Ground;
use super::work::Lane;
use crate::channels::{self, LastHeard, Outgoing, Reference};
use crate::hearing;
use crate::ledger::{Guard, Stream, Versioned, Write};
use crate::sequences::leading::StepOf;

/// How long what is paused is left alone, if nobody resumes it before.
const PAUSED_MILLIS: i64 = 60_000;
/// How long a message is left alone that cannot be decided, which is a defect.
const PUZZLING_MILLIS: i64 = 10 * 60_000;

/// A message that is handed over by the plan's append.
pub struct Handing {
    pub id: MessageId,
    pub before: Versioned<Message>,
    pub events: Vec<MessageEvent>,
    pub outgoing: Result<Outgoing, channels::Outcome>,
}

/// Everything that a decision looks at.
pub struct Seen<'a> {
    pub shared: &'a Shared,
    pub lane: Lane,
    pub ground: &'a Ground,
    pub now: Timestamp,
    /// Buckets in which messages are charged, and the one of today.
    pub buckets: BTreeMap<BucketId, Versioned<Bucket>>,
    /// Of the recipients of the batch.
    pub correspondences: BTreeMap<Uuid, Versioned<Correspondence>>,
    /// Claims that stand against recipients of the batch.
    pub suppressed: BTreeSet<ClaimKey>,
}

/// What comes of it.
#[derive(Default)]
pub struct Plan {
    pub writes: Vec<Write>,
    pub guards: Vec<Guard>,
    pub absent: Vec<ClaimKey>,
    pub handing: Vec<Handing>,
    pub rest: Rest,
}

/// Messages of which the append has nothing.
#[derive(Default)]
pub struct Rest {
    /// Nothing is to be done with these.
    pub let_go: Vec<MessageId>,
    /// These are due at another time; none means when an event says so.
    pub put_off: Vec<(MessageId, Option<Timestamp>)>,
    /// These are held back until then, or until sending is resumed.
    pub held_back: Vec<MessageId>,
    /// Those of them that wait for their sequence to go on.
    pub resting: Vec<StepOf>,
    pub held_until: Timestamp,
    /// The version of the pauses that this rests on.
    pub control: u64,
}

/// Sorts out what needs no decision: what is final, waits for somebody, or is not due. Gives back the others.
pub fn triage(
    found: Vec<(MessageId, Versioned<Message>)>,
    now: Timestamp,
    plan: &mut Plan,
) -> Vec<(MessageId, Versioned<Message>)> {
    let mut left = Vec::with_capacity(found.len());
    for (id, message) in found {
        let state = &message.state;
        match state.dispatch_state() {
            DispatchState::Done => plan.rest.let_go.push(id),
            DispatchState::None => plan.rest.put_off.push((id, None)),
            DispatchState::Queued | DispatchState::Retrying => match state.not_before() {
                Some(not_before) if now < not_before => plan.rest.put_off.push((id, Some(not_before))),
                _ => left.push((id, message)),
            },
            DispatchState::InFlight => match state.last_sent_at().map(abandoned_at) {
                Some(abandoned) if now < abandoned => plan.rest.put_off.push((id, Some(abandoned))),
                _ => left.push((id, message)),
            },
            DispatchState::Unknown => left.push((id, message)),
        }
    }
    left
}

/// The bucket of an instant, and what opens its day.
pub struct Today {
    pub bucket_id: BucketId,
    channel: Channel,
    day: SendingDay,
    opening: Vec<CredentialEvent>,
}

impl Today {
    /// The day of `now`; none if the credential's zone is none, which nobody can set.
    pub fn of(lane: Lane, ground: &Ground, channel: Channel, now: Timestamp) -> Option<Self> {
        let (credential_id, credential) = (ground.credential_id, &ground.credential.state);
        let day = credential.day_at(now).ok()?;
        let opening = credential.decide(CredentialCommand::OpenDay { credential_id, at: now }).ok()?;
        let bucket_id = lane.organization.bucket(credential_id, channel, day.number);
        Some(Self { bucket_id, channel, day, opening })
    }
}

/// Decides on every candidate.
pub fn decide(seen: &Seen<'_>, today: Option<Today>, candidates: Vec<Candidate>, plan: &mut Plan) {
    let mut work = Deciding {
        seen,
        plan,
        counted: BTreeMap::new(),
        refunds: BTreeMap::new(),
        charged: Vec::new(),
        rests_on_rules: false,
        rests_on_quota: false,
    };
    work.plan.rest.held_until = seen.now.plus_millis(PAUSED_MILLIS);
    work.plan.rest.control = seen.ground.control.version;
    let mut to_charge = Vec::new();
    for candidate in candidates {
        if let Some(candidate) = work.judge(candidate) {
            to_charge.push(candidate);
        }
    }
    work.charge(today, to_charge);
}

struct Deciding<'a, 'b> {
    seen: &'a Seen<'b>,
    plan: &'a mut Plan,
    /// What the frequency cap counts, and gives back.
    counted: BTreeMap<Uuid, (Correspondence, Vec<CorrespondenceEvent>)>,
    refunds: BTreeMap<(BucketId, &'static str), Vec<MessageId>>,
    charged: Vec<MessageId>,
    rests_on_rules: bool,
    rests_on_quota: bool,
}

impl Deciding<'_, '_> {
    /// Gives back what may be charged and handed over.
    fn judge(&mut self, candidate: Candidate) -> Option<Candidate> {
        let (seen, ground) = (self.seen, self.seen.ground);
        let message = &candidate.message.state;
        let standing = |key: &ClaimKey| seen.suppressed.contains(key);
        let recipient = Recipient {
            keys: &candidate.keys,
            suppressed: candidate.suppressing().any(|key| standing(&key)),
            left_alone: candidate.left_alone().any(|key| standing(&key)),
        };
        let judged = judgement::at_dispatch(
            message,
            judgement::Seen { recipient, leading: candidate.led.leading, labels: candidate.labels.as_ref() },
            judgement::Ground {
                outbox: &ground.outbox.state,
                credential: &ground.credential.state,
                allowlist: At { state: &ground.allowlist.state, version: ground.allowlist.version },
                rules: At { state: &ground.rules.state, version: ground.rules.version },
                control: &ground.control.state,
                module_on: ground.module_on,
            },
            seen.shared.app.clock.mint::<ApprovalId>(),
            seen.now,
        );
        match (message.dispatch_state(), judged) {
            (DispatchState::InFlight | DispatchState::Unknown, judged) => self.again(candidate, judged),
            (_, AtDispatch::HeldBack(_)) => self.hold_back(&candidate),
            (_, AtDispatch::Rule(ruling, grounds)) => self.rule(candidate, ruling, grounds),
            (_, AtDispatch::HandOver) => return Some(candidate),
        }
        None
    }

    fn hold_back(&mut self, candidate: &Candidate) {
        self.plan.rest.held_back.push(candidate.id);
        let rests = matches!(candidate.led.leading, Leading::SequencePaused | Leading::CampaignPaused);
        let step = candidate.message.state.step_of().filter(|_| rests);
        self.plan.rest.resting.extend(step.map(|(sequence, contact)| (candidate.id, sequence, contact)));
    }

    /// A hand-over of which nobody knows what became. It is repeated only under the key and with the secret of the last time,
    /// while the provider remembers the key; otherwise it stays unknown, and charged.
    fn again(&mut self, candidate: Candidate, judged: AtDispatch) {
        let now = self.seen.now;
        let message = &candidate.message.state;
        // Whatever becomes of it rests on the rules that let it go.
        self.rests_on_rules |= message.auto_approved();
        let in_flight = message.dispatch_state() == DispatchState::InFlight;
        let outgoing = self.outgoing(&candidate);
        let repeatable = message.may_be_repeated(self.keyed(&outgoing), now);
        let again_at = message.asked_again_at().filter(|_| repeatable);
        match (judged, again_at, message.bucket_id()) {
            (AtDispatch::HandOver, Some(at), Some(bucket_id)) if at <= now => {
                // It goes once, perhaps only now.
                self.count(&candidate, None);
                self.hand_over(candidate, bucket_id, outgoing);
            }
            _ if in_flight => {
                let outcome = Outcome::Unknown { code: "interrupted".into(), answer: None };
                let attempt = message.attempts();
                let record = MessageCommand::Record { attempt, outcome, at: now, jitter: 0 };
                let decided = message.decide(record);
                self.write(&candidate, decided);
            }
            (AtDispatch::HandOver, Some(at), _) => self.plan.rest.put_off.push((candidate.id, Some(at))),
            (AtDispatch::HeldBack(_), Some(_), _) => self.hold_back(&candidate),
            // A look-up, a webhook or a person settles it.
            _ => self.plan.rest.let_go.push(candidate.id),
        }
    }

    /// It is not handed over: what it was charged and counted before is given back.
    fn rule(&mut self, candidate: Candidate, ruling: Ruling, grounds: Grounds) {
        let message = &candidate.message.state;
        let labels = candidate.labels.clone();
        let decided = message.decide(MessageCommand::DecideAnew { ruling, grounds, labels });
        if !self.write(&candidate, decided) {
            return;
        }
        self.rests_on_rules |= grounds.rules_version.is_some();
        self.give_back(&candidate, "not_sent");
        self.uncount(&candidate);
        if let Ruling::AskAPerson(approval_id) | Ruling::AskWithoutRules(approval_id) = ruling
            && let (Some(content_hash), Some(drafter)) = (message.content_hash(), message.drafter())
        {
            let ask = ApprovalCommand::Request {
                approval_id,
                message_id: candidate.id,
                content_hash: content_hash.to_owned(),
                drafter,
                rule: grounds.rule,
                supersedes: None,
                at: self.seen.now,
            };
            // A question of a fresh id is never refused.
            let events = Approval::default().decide(ask).unwrap_or_default();
            self.plan.writes.push(Write {
                stream: Stream::of::<Approval>(approval_id),
                expected: 0,
                events: events.into_iter().map(Into::into).collect(),
            });
        }
    }

    /// The same, on no rule and no label.
    fn refuse(&mut self, candidate: Candidate, ruling: Ruling) {
        let allowlist_version = self.seen.ground.allowlist.version;
        self.rule(candidate, ruling, Grounds { allowlist_version, ..Grounds::default() });
    }

    fn charge(mut self, today: Option<Today>, candidates: Vec<Candidate>) {
        let Some(today) = today else {
            let puzzled = self.seen.now.plus_millis(PUZZLING_MILLIS);
            for candidate in candidates {
                tracing::error!(message.id = %candidate.id, "a credential has no day");
                self.plan.rest.put_off.push((candidate.id, Some(puzzled)));
            }
            return self.finish(None);
        };
        let credential = &self.seen.ground.credential.state;
        let bucket = self.seen.buckets.get(&today.bucket_id);
        let holds = |id| bucket.is_some_and(|bucket| bucket.state.holds(id));
        let daily = credential.daily_cap().unwrap_or(u64::MAX);
        let cap = self.seen.ground.control.state.frequency();
        let unlinked = self.seen.ground.outbox.state.channel() == Some(Channel::Email)
            && self.seen.shared.app.public_url.is_none();
        if unlinked {
            for candidate in candidates {
                self.refuse(candidate, Ruling::Fail(Reason::NoPublicUrl));
            }
            return self.finish(Some(today));
        }
        // What waits for a retry keeps its charge, but for as many as a cap that was lowered meanwhile is too low for. It comes
        // first, and of it what the frequency cap blocks: what is given back is room for the others.
        let (waited, first): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| holds(candidate.id));
        let mut going = Vec::new();
        for candidate in waited {
            // One by one: who is refused leaves room to the next one.
            if self.count(&candidate, cap) {
                going.push(candidate);
            } else {
                self.refuse(candidate, Ruling::BlockedByQuota(Reason::FrequencyCap));
            }
        }
        for candidate in going.into_iter().chain(first) {
            let charged = holds(candidate.id);
            if self.used(today.bucket_id) - u64::from(charged) >= daily {
                self.rests_on_quota = true;
                self.refuse(candidate, Ruling::BlockedByQuota(Reason::DailyCap));
                continue;
            }
            if !self.count(&candidate, cap) {
                self.refuse(candidate, Ruling::BlockedByQuota(Reason::FrequencyCap));
                continue;
            }
            let id = candidate.id;
            if candidate.message.state.bucket_id().is_some_and(|bucket_id| bucket_id != today.bucket_id) {
                self.give_back(&candidate, "day_over");
            }
            let outgoing = self.outgoing(&candidate);
            if self.hand_over(candidate, today.bucket_id, outgoing) && !charged {
                self.charged.push(id);
            }
        }
        self.finish(Some(today));
    }

    fn outgoing(&self, candidate: &Candidate) -> Result<Outgoing, channels::Outcome> {
        let Seen { shared, lane, ground, now, .. } = *self.seen;
        let message = &candidate.message.state;
        let words = lane.organization.correspondence(&candidate.keys.address);
        let words = self.seen.correspondences.get(&words).map(|words| &*words.state);
        let last_heard = match message.channel() {
            Some(channel) => hearing::last_heard(channel, &ground.sender.config, words),
            None => LastHeard::NotTracked,
        };
        call::outgoing(shared, lane, ground, candidate.id, message, last_heard, now)
    }

    /// With what it would be handed over, if its channel does nothing twice under one key.
    fn keyed(&self, outgoing: &Result<Outgoing, channels::Outcome>) -> Option<Keyed> {
        let ground = self.seen.ground;
        let secret_version =
            ground.sender.version.filter(|_| outgoing.as_ref().is_ok_and(Outgoing::repeatable))?;
        Some(Keyed { credential_id: ground.credential_id, secret_version })
    }

    fn hand_over(
        &mut self,
        candidate: Candidate,
        bucket_id: BucketId,
        outgoing: Result<Outgoing, channels::Outcome>,
    ) -> bool {
        let reference = Reference { organization: self.seen.lane.organization, message: candidate.id.uuid() };
        let decided = candidate.message.state.decide(MessageCommand::Send {
            bucket_id,
            provider_key: reference.to_string(),
            keyed: self.keyed(&outgoing),
            at: self.seen.now,
        });
        let events = decided.clone().unwrap_or_default();
        if !self.write(&candidate, decided) {
            return false;
        }
        self.rests_on_rules |= candidate.message.state.auto_approved();
        self.plan.absent.extend(candidate.against());
        let Candidate { id, message: before, led, piece, .. } = candidate;
        self.plan.guards.extend(led.guards.into_iter().chain(piece));
        self.plan.handing.push(Handing { id, before, events, outgoing });
        true
    }

    /// Puts what was decided into the append. A refusal here is a defect, or two states that do not fit together.
    fn write(&mut self, candidate: &Candidate, decided: Result<Vec<MessageEvent>, MessageError>) -> bool {
        match decided {
            Ok(events) if !events.is_empty() => {
                self.plan.writes.push(candidate.message.write(events));
                true
            }
            Ok(_) => {
                self.plan.rest.let_go.push(candidate.id);
                false
            }
            Err(refusal) => {
                tracing::error!(message.id = %candidate.id, refusal = %refusal, "a message refuses what is due");
                let puzzled = self.seen.now.plus_millis(PUZZLING_MILLIS);
                self.plan.rest.put_off.push((candidate.id, Some(puzzled)));
                false
            }
        }
    }

    fn give_back(&mut self, candidate: &Candidate, because: &'static str) {
        let charged = candidate.message.state.bucket_id().filter(|bucket_id| {
            self.seen.buckets.get(bucket_id).is_some_and(|bucket| bucket.state.holds(candidate.id))
        });
        if let Some(bucket_id) = charged {
            self.refunds.entry((bucket_id, because)).or_default().push(candidate.id);
        }
    }

    /// How many messages today's bucket has once this append is made, as far as it is decided.
    fn used(&self, today: BucketId) -> u64 {
        let before = self.seen.buckets.get(&today).map_or(0, |bucket| bucket.state.used());
        let of_today = self.refunds.iter().filter(|((bucket_id, _), _)| *bucket_id == today);
        let refunded: usize = of_today.map(|(_, messages)| messages.len()).sum();
        before - refunded as u64 + self.charged.len() as u64
    }

    /// Counts a message to its recipient's frequency cap; false if there have been enough.
    fn count(&mut self, candidate: &Candidate, cap: Option<FrequencyCap>) -> bool {
        let at = self.seen.now;
        self.correspond(candidate, CorrespondenceCommand::Count { message_id: candidate.id, cap, at })
    }

    fn uncount(&mut self, candidate: &Candidate) {
        self.correspond(candidate, CorrespondenceCommand::Uncount { message_id: candidate.id });
    }

    /// Says it to each stream that counts what the recipient gets, or to none if one refuses.
    fn correspond(&mut self, candidate: &Candidate, command: CorrespondenceCommand) -> bool {
        let mut said = Vec::with_capacity(candidate.counted_in.len());
        for id in &candidate.counted_in {
            let Some(before) = self.seen.correspondences.get(id) else { continue };
            let state = self.counted.get(id).map_or(&*before.state, |(state, _)| state);
            match state.decide(command.clone()) {
                Ok(decided) => said.push((*id, before, decided)),
                Err(_) => return false,
            }
        }
        for (id, before, decided) in said.into_iter().filter(|(.., decided)| !decided.is_empty()) {
            let (state, events) =
                self.counted.entry(id).or_insert_with(|| ((*before.state).clone(), Vec::new()));
            for event in decided {
                state.apply(event.clone());
                events.push(event);
            }
        }
        true
    }

    /// Adds what is written and guarded beside the messages themselves.
    fn finish(self, today: Option<Today>) {
        let Seen { ground, buckets, correspondences, now, .. } = self.seen;
        let now = *now;
        let plan = self.plan;
        if plan.writes.is_empty() {
            return;
        }
        let mut of_buckets: BTreeMap<BucketId, Vec<BucketEvent>> = BTreeMap::new();
        for ((bucket_id, because), message_ids) in self.refunds {
            let Some(bucket) = buckets.get(&bucket_id) else { continue };
            let refunded = bucket.state.decide(BucketCommand::Refund { message_ids, because });
            of_buckets.entry(bucket_id).or_default().extend(refunded.unwrap_or_default());
        }
        let mut opened = false;
        let mut last = None;
        if let Some(today) = today
            && let Some(bucket) = buckets.get(&today.bucket_id)
        {
            let mut events = of_buckets.remove(&today.bucket_id).unwrap_or_default();
            if !self.charged.is_empty() {
                let mut state = Cow::Borrowed(&*bucket.state);
                for refunded in &events {
                    state.to_mut().apply(refunded.clone());
                }
                let charged = state.decide(BucketCommand::Charge {
                    bucket_id: today.bucket_id,
                    credential_id: ground.credential_id,
                    channel: today.channel,
                    day: today.day,
                    cap: ground.credential.state.daily_cap(),
                    message_ids: self.charged,
                    at: now,
                });
                match charged {
                    Ok(charged) => events.extend(charged),
                    Err(refusal) => {
                        // Room was looked for in the same state. Nothing is handed over then.
                        tracing::error!(refusal = %refusal, "a bucket refuses what it has room for");
                        *plan = Plan::default();
                        return;
                    }
                }
            }
            if self.rests_on_quota && events.is_empty() {
                plan.guards.push(bucket.guard());
            }
            if !today.opening.is_empty() && !events.is_empty() {
                plan.writes.push(ground.credential.write(today.opening));
                opened = true;
            }
            last = Some(bucket.write(events));
        }
        // Refunds come first: they give free what the charge of the same append takes.
        for (bucket_id, events) in of_buckets {
            plan.writes.extend(buckets.get(&bucket_id).map(|bucket| bucket.write(events)));
        }
        plan.writes.extend(last);
        for (id, (_, events)) in self.counted {
            plan.writes.extend(correspondences.get(&id).map(|before| before.write(events)));
        }
        plan.writes.retain(|write| !write.events.is_empty());
        plan.guards.extend([ground.outbox.guard(), ground.allowlist.guard(), ground.control.guard()]);
        if !opened {
            plan.guards.push(ground.credential.guard());
        }
        if self.rests_on_rules {
            plan.guards.push(ground.rules.guard());
        }
        // Steps of one sequence rest on the same streams.
        plan.guards.sort_by_key(|guard| guard.stream);
        plan.guards.dedup();
    }
}
