//! The work on one contact within one campaign: its status, attempts and calls.
//!
//! The roster says whether the contact is in the campaign at all, and since when (`epoch`). A contact that was
//! taken out and put in again starts afresh: what is recorded under an earlier epoch does not count any more.

mod event;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use event::MembershipEvent;

use crate::ids::{AgentId, CallId, CampaignId, ContactId, FollowUpId};
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// Where a contact stands in a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipStatus {
    /// Nothing happened yet.
    #[default]
    New,
    /// A caller has it.
    Assigned,
    /// It was called.
    InProgress,
    /// It is to be called again at a given time.
    FollowUp,
    /// It wants what the campaign offers.
    Qualified,
    /// It does not.
    NotInterested,
    /// It cannot be reached.
    Unreachable,
    /// It asked not to be contacted.
    DoNotContact,
    /// Its work is done.
    Done,
}

impl MembershipStatus {
    /// Every status, in the order of the work.
    pub const ALL: [Self; 9] = [
        Self::New,
        Self::Assigned,
        Self::InProgress,
        Self::FollowUp,
        Self::Qualified,
        Self::NotInterested,
        Self::Unreachable,
        Self::DoNotContact,
        Self::Done,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Assigned => "assigned",
            Self::InProgress => "in_progress",
            Self::FollowUp => "follow_up",
            Self::Qualified => "qualified",
            Self::NotInterested => "not_interested",
            Self::Unreachable => "unreachable",
            Self::DoNotContact => "do_not_contact",
            Self::Done => "done",
        }
    }

    /// Where a verdict leads: whether the contact is one to win.
    pub const fn of_verdict(qualified: bool) -> Self {
        if qualified { Self::Qualified } else { Self::NotInterested }
    }

    /// Whether there is still work to do: these count as a caller's load.
    pub const fn open(self) -> bool {
        matches!(self, Self::New | Self::Assigned | Self::InProgress | Self::FollowUp)
    }
}

impl std::str::FromStr for MembershipStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Nobody picked up.
    NoAnswer,
    /// The line was busy.
    Busy,
    /// A machine answered.
    Voicemail,
    /// The number is somebody else's.
    WrongNumber,
    /// The contact wants to be called again.
    Callback,
    /// The contact was spoken to; nothing is decided.
    Reached,
    /// The contact wants what the campaign offers.
    Qualified,
    /// The contact does not.
    NotInterested,
    /// The contact asked not to be contacted.
    DoNotContact,
    /// The contact cannot be reached.
    Unreachable,
    /// The contact's work is done.
    Done,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 11] = [
        Self::NoAnswer,
        Self::Busy,
        Self::Voicemail,
        Self::WrongNumber,
        Self::Callback,
        Self::Reached,
        Self::Qualified,
        Self::NotInterested,
        Self::DoNotContact,
        Self::Unreachable,
        Self::Done,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Voicemail => "voicemail",
            Self::WrongNumber => "wrong_number",
            Self::Callback => "callback",
            Self::Reached => "reached",
            Self::Qualified => "qualified",
            Self::NotInterested => "not_interested",
            Self::DoNotContact => "do_not_contact",
            Self::Unreachable => "unreachable",
            Self::Done => "done",
        }
    }

    /// Whether whoever called says that the work on the contact ends here.
    const fn concludes(self) -> bool {
        match self {
            Self::WrongNumber
            | Self::Qualified
            | Self::NotInterested
            | Self::DoNotContact
            | Self::Unreachable
            | Self::Done => true,
            Self::NoAnswer | Self::Busy | Self::Voicemail | Self::Callback | Self::Reached => false,
        }
    }

    /// Whether the contact itself was not spoken to.
    const fn unanswered(self) -> bool {
        matches!(self, Self::NoAnswer | Self::Busy | Self::Voicemail)
    }
}

impl std::str::FromStr for CallOutcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.name() == text)
            .ok_or_else(|| format!("outcome must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Which stay in which campaign a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The contact.
    pub contact_id: ContactId,
    /// Sequence of the roster event that put the contact in.
    pub epoch: u64,
}

/// Orders to a membership.
#[derive(Clone, Debug)]
pub enum MembershipCommand {
    /// Record a call.
    LogCall {
        /// Whom it was made to.
        stay: Stay,
        /// A fresh id.
        call_id: CallId,
        /// Who called.
        agent_id: AgentId,
        /// How it went.
        outcome: CallOutcome,
        /// When it began.
        started_at: Timestamp,
        /// How long it lasted, in seconds.
        duration_seconds: Option<u32>,
        /// What the caller wrote down.
        note: Option<String>,
        /// Unanswered calls after which the contact counts as unreachable.
        max_attempts: Option<u8>,
        /// The follow-up that is scheduled with the call.
        follow_up: Option<FollowUpId>,
        /// Whether a follow-up was pending before, where the contact stands as somebody concluded or judged. Where it
        /// stands in `follow_up` it is taken that one is, and is not asked.
        promised: bool,
    },
    /// A follow-up was scheduled.
    FollowUpScheduled {
        /// For whom.
        stay: Stay,
    },
    /// The last open follow-up was done or cancelled.
    FollowUpsClosed {
        /// For whom.
        stay: Stay,
    },
    /// A caller began to go through a script with the contact.
    ScriptStarted {
        /// With whom.
        stay: Stay,
    },
    /// A qualification came to a verdict.
    Judged {
        /// About whom.
        stay: Stay,
        /// Whether the contact is one to win.
        qualified: bool,
        /// When a person said so; none where a model does.
        judged_at: Option<Timestamp>,
    },
}

/// Why a membership refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The contact asked not to be contacted; this holds in every campaign.
    #[error("contact asked not to be contacted")]
    DoNotContact,
    /// The stay is over: the contact was taken out and put in again since.
    #[error("contact was removed from the campaign and added again since")]
    StayIsOver,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    epoch: u64,
    status: MembershipStatus,
    attempts: u32,
    calls: BTreeSet<CallId>,
    /// When the call began whose caller said that the work ends where it stands; none where nobody did.
    #[serde(default)]
    concluded: Option<Timestamp>,
    /// When a person came to the verdict that the contact stands where it does; none where nobody did.
    #[serde(default)]
    judged: Option<Timestamp>,
}

aggregate!(Membership, "Membership", MembershipCommand, MembershipEvent, MembershipError);

impl Membership {
    /// The whole business of a membership.
    fn decide(&self, command: MembershipCommand) -> Result<Vec<MembershipEvent>, MembershipError> {
        match command {
            MembershipCommand::LogCall {
                stay,
                call_id,
                agent_id,
                outcome,
                started_at,
                duration_seconds,
                note,
                max_attempts,
                follow_up,
                promised,
            } => {
                let (before, attempts) = self.at(stay)?;
                if before == MembershipStatus::DoNotContact {
                    return Err(MembershipError::DoNotContact);
                }
                if self.calls.contains(&call_id) {
                    return Ok(vec![]);
                }
                let attempt = attempts + 1;
                let exhausted = max_attempts.is_some_and(|max| attempt >= u32::from(max));
                let status = if self.stands(stay, outcome, started_at, follow_up.is_some()) {
                    before
                } else {
                    let promised = promised || before == MembershipStatus::FollowUp;
                    status_after(outcome, exhausted, follow_up.is_some() || promised)
                };
                Ok(vec![MembershipEvent::CallLogged {
                    call_id,
                    campaign_id: stay.campaign_id,
                    contact_id: stay.contact_id,
                    epoch: stay.epoch,
                    agent_id,
                    outcome,
                    started_at,
                    duration_seconds,
                    note: note.map(|note| Personal::known(stay.contact_id.uuid(), note)),
                    attempt,
                    status,
                }])
            }
            MembershipCommand::FollowUpScheduled { stay } => match self.at(stay)?.0 {
                MembershipStatus::DoNotContact => Err(MembershipError::DoNotContact),
                MembershipStatus::FollowUp => Ok(vec![]),
                _ => Ok(vec![moved(stay, MembershipStatus::FollowUp, "follow_up_scheduled", None)]),
            },
            MembershipCommand::FollowUpsClosed { stay } => match self.at(stay)?.0 {
                MembershipStatus::FollowUp => {
                    Ok(vec![moved(stay, MembershipStatus::InProgress, "follow_up_closed", None)])
                }
                _ => Ok(vec![]),
            },
            MembershipCommand::ScriptStarted { stay } => match self.at(stay)?.0 {
                MembershipStatus::DoNotContact => Err(MembershipError::DoNotContact),
                MembershipStatus::New | MembershipStatus::Assigned => {
                    Ok(vec![moved(stay, MembershipStatus::InProgress, "script_started", None)])
                }
                _ => Ok(vec![]),
            },
            MembershipCommand::Judged { stay, qualified, judged_at } => {
                let verdict = MembershipStatus::of_verdict(qualified);
                Ok(match (self.at(stay)?.0, judged_at) {
                    // What the contact asked for is not overruled by what somebody thinks of it.
                    (MembershipStatus::DoNotContact, _) => vec![],
                    // Where it stands there already, a person's word is recorded for the calls that are logged after it.
                    (before, at) if before == verdict && at <= self.decided(stay) => vec![],
                    // Nor is what a person concluded from the call itself by what a model thinks of it.
                    (_, None) if stay.epoch == self.epoch && self.concluded.is_some() => vec![],
                    _ => vec![moved(stay, verdict, "qualification", judged_at)],
                })
            }
        }
    }

    /// Where the contact stands in the given stay; none once that is over.
    pub fn status(&self, stay: Stay) -> Option<MembershipStatus> {
        self.at(stay).ok().map(|(status, _)| status)
    }

    /// When somebody last said that the contact stands where it does: a caller who ended the work with a call, or a person
    /// who judged.
    fn decided(&self, stay: Stay) -> Option<Timestamp> {
        self.concluded.max(self.judged).filter(|_| stay.epoch == self.epoch)
    }

    /// Whether what a caller concluded or a person judged stands although a call is logged after it. A call that began
    /// before says nothing about what came after it, unless the contact asked in it to be left alone; one that nobody
    /// answered takes nothing up. A follow-up that comes with the call takes the work up in any case.
    fn stands(&self, stay: Stay, outcome: CallOutcome, started_at: Timestamp, follow_up: bool) -> bool {
        let Some(decided) = self.decided(stay) else { return false };
        match outcome {
            CallOutcome::DoNotContact => false,
            _ if outcome.concludes() => started_at < decided,
            _ => !follow_up && (started_at < decided || outcome.unanswered()),
        }
    }

    /// Status and attempts of the given stay.
    fn at(&self, stay: Stay) -> Result<(MembershipStatus, u32), MembershipError> {
        match stay.epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => Err(MembershipError::StayIsOver),
            std::cmp::Ordering::Equal => Ok((self.status, self.attempts)),
            std::cmp::Ordering::Greater => Ok((MembershipStatus::New, 0)),
        }
    }

    fn evolve(&mut self, event: MembershipEvent) {
        match event {
            MembershipEvent::CallLogged { call_id, epoch, attempt, status, outcome, started_at, .. } => {
                if epoch != self.epoch {
                    *self = Self { epoch, calls: std::mem::take(&mut self.calls), ..Self::default() };
                }
                self.calls.insert(call_id);
                self.attempts = attempt;
                // What was decided is what counts: a call that moved nothing leaves the conclusion as it was.
                let before = self.concluded.filter(|_| status == self.status);
                let led = outcome.concludes() && status == status_after(outcome, false, false);
                self.concluded = if led { before.max(Some(started_at)) } else { before };
                self.judged = self.judged.filter(|_| status == self.status);
                self.status = status;
            }
            MembershipEvent::MembershipMoved { epoch, status, judged_at, .. } => {
                if epoch != self.epoch {
                    *self = Self { epoch, calls: std::mem::take(&mut self.calls), ..Self::default() };
                }
                self.concluded = self.concluded.filter(|_| status == self.status);
                self.judged = judged_at;
                self.status = status;
            }
        }
    }
}

fn moved(
    stay: Stay,
    status: MembershipStatus,
    because: &str,
    judged_at: Option<Timestamp>,
) -> MembershipEvent {
    MembershipEvent::MembershipMoved {
        campaign_id: stay.campaign_id,
        contact_id: stay.contact_id,
        epoch: stay.epoch,
        status,
        because: because.to_owned(),
        judged_at,
    }
}

/// Where a call leads: its own verdict first, else the open follow-up, else the exhausted attempts.
fn status_after(outcome: CallOutcome, exhausted: bool, follow_up: bool) -> MembershipStatus {
    match outcome {
        CallOutcome::Qualified => MembershipStatus::Qualified,
        CallOutcome::NotInterested => MembershipStatus::NotInterested,
        CallOutcome::DoNotContact => MembershipStatus::DoNotContact,
        CallOutcome::Unreachable | CallOutcome::WrongNumber => MembershipStatus::Unreachable,
        CallOutcome::Done => MembershipStatus::Done,
        _ if follow_up => MembershipStatus::FollowUp,
        _ if exhausted && outcome.unanswered() => MembershipStatus::Unreachable,
        _ => MembershipStatus::InProgress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Membership>;
    const STAY: Stay = Stay {
        campaign_id: CampaignId(Uuid::from_u128(1)),
        contact_id: ContactId(Uuid::from_u128(2)),
        epoch: 4,
    };
    const AGENT: AgentId = AgentId(Uuid::from_u128(3));
    /// When the calls of these tests begin if nothing else is said.
    const NOON: i64 = 12 * 3_600_000;

    fn call(n: u128, outcome: CallOutcome, max_attempts: Option<u8>, follow_up: bool) -> MembershipCommand {
        MembershipCommand::LogCall {
            stay: STAY,
            call_id: CallId(Uuid::from_u128(n)),
            agent_id: AGENT,
            outcome,
            started_at: Timestamp::from_millis(NOON),
            duration_seconds: Some(30),
            note: Some("call back".into()),
            max_attempts,
            follow_up: follow_up.then_some(FollowUpId(Uuid::from_u128(n))),
            promised: false,
        }
    }

    fn logged(
        n: u128,
        epoch: u64,
        outcome: CallOutcome,
        attempt: u32,
        status: MembershipStatus,
    ) -> MembershipEvent {
        MembershipEvent::CallLogged {
            call_id: CallId(Uuid::from_u128(n)),
            campaign_id: STAY.campaign_id,
            contact_id: STAY.contact_id,
            epoch,
            agent_id: AGENT,
            outcome,
            started_at: Timestamp::from_millis(NOON),
            duration_seconds: Some(30),
            note: Some(Personal::known(STAY.contact_id.uuid(), "call back".into())),
            attempt,
            status,
        }
    }

    #[test]
    fn every_outcome_leads_somewhere() {
        use CallOutcome as O;
        use MembershipStatus as S;
        let rows = [
            (O::NoAnswer, None, false, S::InProgress),
            (O::NoAnswer, Some(1), false, S::Unreachable),
            (O::NoAnswer, Some(2), false, S::InProgress),
            (O::NoAnswer, Some(1), true, S::FollowUp),
            (O::Busy, Some(1), false, S::Unreachable),
            (O::Voicemail, Some(1), false, S::Unreachable),
            (O::Reached, Some(1), false, S::InProgress),
            (O::Callback, None, true, S::FollowUp),
            (O::Callback, None, false, S::InProgress),
            (O::WrongNumber, None, false, S::Unreachable),
            (O::Qualified, None, true, S::Qualified),
            (O::NotInterested, None, false, S::NotInterested),
            (O::DoNotContact, None, false, S::DoNotContact),
            (O::Unreachable, None, false, S::Unreachable),
            (O::Done, None, false, S::Done),
        ];
        for (outcome, max_attempts, follow_up, status) in rows {
            Given::with(())
                .given_no_previous_events()
                .when(call(9, outcome, max_attempts, follow_up))
                .then_expect_events(vec![logged(9, 4, outcome, 1, status)]);
        }
    }

    #[test]
    fn attempts_are_counted_within_the_stay() {
        let first = logged(8, 4, CallOutcome::NoAnswer, 1, MembershipStatus::InProgress);
        Given::with(())
            .given(vec![first])
            .when(call(9, CallOutcome::NoAnswer, Some(2), false))
            .then_expect_events(vec![logged(9, 4, CallOutcome::NoAnswer, 2, MembershipStatus::Unreachable)]);
    }

    #[test]
    fn a_contact_that_was_added_again_starts_afresh() {
        let earlier = logged(8, 2, CallOutcome::DoNotContact, 5, MembershipStatus::DoNotContact);
        Given::with(())
            .given(vec![earlier])
            .when(call(9, CallOutcome::Reached, None, false))
            .then_expect_events(vec![logged(9, 4, CallOutcome::Reached, 1, MembershipStatus::InProgress)]);
    }

    #[test]
    fn a_verdict_moves_the_contact_unless_it_asked_to_be_left_alone() {
        use MembershipStatus as S;
        for (before, qualified, after) in [
            (S::InProgress, true, Some(S::Qualified)),
            (S::FollowUp, false, Some(S::NotInterested)),
            (S::Qualified, false, Some(S::NotInterested)),
            (S::Qualified, true, None),
            (S::DoNotContact, true, None),
        ] {
            // A person's word is on record also where the contact stands there already.
            for (judged_at, confirms) in [(None, false), (Some(Timestamp::from_millis(NOON)), true)] {
                let stands = before == MembershipStatus::of_verdict(qualified) && confirms;
                let after = after.or(stands.then_some(before));
                let expected = after.map(|status| moved(STAY, status, "qualification", judged_at));
                Given::with(())
                    .given(vec![logged(8, 4, CallOutcome::Reached, 1, before)])
                    .when(MembershipCommand::Judged { stay: STAY, qualified, judged_at })
                    .then_expect_events(expected.into_iter().collect());
            }
        }
    }

    #[test]
    fn a_model_does_not_move_whom_a_caller_concluded() {
        use CallOutcome as O;
        use MembershipStatus as S;
        for outcome in O::ALL {
            let open = matches!(outcome, O::NoAnswer | O::Busy | O::Voicemail | O::Callback | O::Reached);
            let expected = open.then(|| moved(STAY, S::Qualified, "qualification", None));
            Given::with(())
                .given(vec![logged(8, 4, outcome, 1, status_after(outcome, true, false))])
                .when(by_model(STAY))
                .then_expect_events(expected.into_iter().collect());
        }
        // Whoever takes the work up again, or adds the contact again, opens the matter; a person moves it in any case.
        let declined = logged(8, 4, O::NotInterested, 1, S::NotInterested);
        let again = Stay { epoch: 5, ..STAY };
        for (later, stay, judged_at) in [
            (Some(moved(STAY, S::FollowUp, "follow_up_scheduled", None)), STAY, None),
            (Some(logged(9, 4, O::Reached, 2, S::InProgress)), STAY, None),
            (None, again, None),
            (None, STAY, Some(Timestamp::from_millis(NOON))),
        ] {
            Given::with(())
                .given(std::iter::once(declined.clone()).chain(later).collect())
                .when(MembershipCommand::Judged { stay, qualified: true, judged_at })
                .then_expect_events(vec![moved(stay, S::Qualified, "qualification", judged_at)]);
        }
    }

    /// A model takes the contact for one to win.
    fn by_model(stay: Stay) -> MembershipCommand {
        MembershipCommand::Judged { stay, qualified: true, judged_at: None }
    }

    /// The same call, begun so many minutes after noon.
    fn begun(minutes: i64, mut call: MembershipCommand) -> MembershipCommand {
        if let MembershipCommand::LogCall { started_at, .. } = &mut call {
            *started_at = started_at.plus_millis(minutes * 60_000);
        }
        call
    }

    #[test]
    fn what_a_caller_concluded_is_taken_back_by_a_later_call_alone_that_somebody_answered() {
        use CallOutcome as O;
        use MembershipStatus as S;
        for (concluded, minutes, outcome, follow_up, after) in [
            // The calls of a list that is filled in a day late.
            (O::NotInterested, -1, O::NoAnswer, false, S::NotInterested),
            (O::NotInterested, -1, O::Reached, false, S::NotInterested),
            (O::NotInterested, -1, O::Callback, false, S::NotInterested),
            (O::NotInterested, -1, O::Qualified, false, S::NotInterested),
            (O::Qualified, -1, O::NotInterested, true, S::Qualified),
            (O::Done, -1, O::WrongNumber, false, S::Done),
            // What the contact asked for counts whenever it did.
            (O::Qualified, -1, O::DoNotContact, false, S::DoNotContact),
            // Nobody answered: nothing was taken up.
            (O::NotInterested, 1, O::NoAnswer, false, S::NotInterested),
            (O::Qualified, 1, O::Busy, false, S::Qualified),
            (O::Qualified, 1, O::Voicemail, false, S::Qualified),
            // The work is taken up again.
            (O::NotInterested, 0, O::Reached, false, S::InProgress),
            (O::NotInterested, 1, O::Reached, false, S::InProgress),
            (O::NotInterested, 1, O::Callback, false, S::InProgress),
            (O::NotInterested, 1, O::Qualified, false, S::Qualified),
            (O::NotInterested, 1, O::NoAnswer, true, S::FollowUp),
            (O::NotInterested, -1, O::NoAnswer, true, S::FollowUp),
        ] {
            let first = logged(8, 4, concluded, 1, status_after(concluded, false, false));
            let mut told = begun(minutes, call(9, outcome, Some(2), follow_up));
            let events =
                Given::with(()).given(vec![first.clone()]).when(told.clone()).inspect_result().unwrap();
            let shown = format!("{concluded:?}, {outcome:?} {minutes} minutes later, {follow_up}");
            let [MembershipEvent::CallLogged { status, attempt, .. }] = events[..] else {
                panic!("{shown}: {events:?}")
            };
            assert_eq!((status, attempt), (after, 2), "{shown}");

            // A model moves the contact only where the conclusion was taken back by what is none itself.
            let free = matches!(after, S::InProgress | S::FollowUp);
            let expected = if free { vec![moved(STAY, S::Qualified, "qualification", None)] } else { vec![] };
            Given::with(())
                .given([vec![first.clone()], events.clone()].concat())
                .when(by_model(STAY))
                .then_expect_events(expected);

            // In a later stay nothing of that counts.
            if let MembershipCommand::LogCall { stay, .. } = &mut told {
                stay.epoch = 5;
            }
            let events = Given::with(()).given(vec![first]).when(told).inspect_result().unwrap();
            let [MembershipEvent::CallLogged { status, attempt: 1, .. }] = events[..] else {
                panic!("{shown}: {events:?}")
            };
            assert_eq!(status, status_after(outcome, false, follow_up), "{shown}");
        }
    }

    #[test]
    fn a_call_that_moved_nothing_leaves_the_conclusion_where_it_was() {
        use CallOutcome as O;
        use MembershipStatus as S;
        let at = |minutes: i64, n: u128, outcome: O, attempt: u32, status: S| {
            let mut event = logged(n, 4, outcome, attempt, status);
            if let MembershipEvent::CallLogged { started_at, .. } = &mut event {
                *started_at = started_at.plus_millis(minutes * 60_000);
            }
            event
        };
        let given = vec![
            at(0, 1, O::NotInterested, 1, S::NotInterested),
            at(-60, 2, O::Qualified, 2, S::NotInterested),
            at(-90, 3, O::NotInterested, 3, S::NotInterested),
            at(60, 4, O::NoAnswer, 4, S::NotInterested),
        ];
        // Half an hour before the conclusion, and after everything else that was logged.
        let events = Given::with(()).given(given).when(begun(-30, call(9, O::Reached, None, false)));
        events.then_expect_events(vec![at(-30, 9, O::Reached, 5, S::NotInterested)]);
    }

    /// Where the contact stands after the call.
    fn after(given: Vec<MembershipEvent>, call: MembershipCommand) -> MembershipStatus {
        let events = Given::with(()).given(given).when(call).inspect_result().unwrap();
        let [MembershipEvent::CallLogged { status, .. }] = events[..] else { panic!("{events:?}") };
        status
    }

    #[test]
    fn what_a_person_judged_stands_as_what_a_caller_concluded() {
        use CallOutcome as O;
        use MembershipStatus as S;
        let noon = Some(Timestamp::from_millis(NOON));
        for (minutes, outcome, follow_up, stands) in [
            (-1, O::NoAnswer, false, S::Qualified),
            // The call in which the form was filled in.
            (-1, O::Reached, false, S::Qualified),
            (-1, O::NotInterested, false, S::Qualified),
            (1, O::NoAnswer, false, S::Qualified),
            (1, O::Reached, false, S::InProgress),
            (1, O::NotInterested, false, S::NotInterested),
            (-1, O::Callback, true, S::FollowUp),
            (-1, O::DoNotContact, false, S::DoNotContact),
        ] {
            let shown = format!("{outcome:?} {minutes} minutes later, {follow_up}");
            let told = begun(minutes, call(9, outcome, None, follow_up));
            let judged = moved(STAY, S::Qualified, "qualification", noon);
            assert_eq!(after(vec![judged.clone()], told.clone()), stands, "{shown}");
            // Also where it stood there by a model's word, or by a call of the morning.
            let of_model = moved(STAY, S::Qualified, "qualification", None);
            assert_eq!(after(vec![of_model.clone(), judged.clone()], told.clone()), stands, "{shown}");
            let mut call = logged(8, 4, O::Qualified, 1, S::Qualified);
            if let MembershipEvent::CallLogged { started_at, .. } = &mut call {
                *started_at = started_at.plus_millis(-3_600_000);
            }
            assert_eq!(after(vec![call, judged.clone()], told.clone()), stands, "{shown}");
            // A model's word alone, or an earlier stay's, holds against no call.
            let alone = status_after(outcome, false, follow_up);
            assert_eq!(after(vec![of_model], told.clone()), alone, "{shown}");
            let earlier = moved(Stay { epoch: 3, ..STAY }, S::Qualified, "qualification", noon);
            assert_eq!(after(vec![earlier], told), alone, "{shown}");
        }
        // A second call that says nothing finds the verdict as the first one left it.
        let judged = moved(STAY, S::Qualified, "qualification", noon);
        let first = logged(8, 4, O::NoAnswer, 1, S::Qualified);
        assert_eq!(after(vec![judged, first], call(9, O::Busy, Some(1), false)), S::Qualified);
    }

    #[test]
    fn whom_a_person_judged_a_model_may_judge_once_the_record_is_open_again() {
        use MembershipStatus as S;
        let judged = moved(STAY, S::NotInterested, "qualification", Some(Timestamp::from_millis(NOON)));
        Given::with(()).given(vec![judged.clone()]).when(by_model(STAY)).then_expect_events(vec![moved(
            STAY,
            S::Qualified,
            "qualification",
            None,
        )]);
        // Unless a caller concluded it as well: a person who agrees takes nothing back.
        let declined = logged(8, 4, CallOutcome::NotInterested, 1, S::NotInterested);
        Given::with(()).given(vec![declined, judged]).when(by_model(STAY)).then_expect_events(vec![]);
    }

    #[test]
    fn a_call_that_says_nothing_leaves_the_contact_where_its_follow_up_is_pending() {
        use CallOutcome as O;
        use MembershipStatus as S;
        let promised = moved(STAY, S::FollowUp, "follow_up_scheduled", None);
        for outcome in O::ALL {
            let expected = match outcome.concludes() {
                true => status_after(outcome, false, false),
                false => S::FollowUp,
            };
            // The last attempt as well: there is one more to come.
            let status = after(vec![promised.clone()], call(9, outcome, Some(1), false));
            assert_eq!(status, expected, "{outcome:?}");
        }
        // One that takes the work up again after a conclusion finds the promise that was never closed.
        let given = vec![promised, logged(8, 4, O::Qualified, 1, S::Qualified)];
        for (outcome, promised, expected) in [
            (O::Reached, true, S::FollowUp),
            (O::Reached, false, S::InProgress),
            (O::NoAnswer, true, S::Qualified),
            (O::NotInterested, true, S::NotInterested),
        ] {
            let mut told = begun(1, call(9, outcome, None, false));
            if let MembershipCommand::LogCall { promised: pending, .. } = &mut told {
                *pending = promised;
            }
            assert_eq!(after(given.clone(), told), expected, "{outcome:?}, {promised}");
        }
    }

    #[test]
    fn a_stay_that_is_over_takes_no_calls() {
        let later = logged(8, 6, CallOutcome::Reached, 1, MembershipStatus::InProgress);
        Given::with(())
            .given(vec![later])
            .when(call(9, CallOutcome::Reached, None, false))
            .then_expect_error(MembershipError::StayIsOver);
    }

    #[test]
    fn a_contact_that_wants_no_contact_gets_none() {
        let refused = logged(8, 4, CallOutcome::DoNotContact, 1, MembershipStatus::DoNotContact);
        Given::with(())
            .given(vec![refused.clone()])
            .when(call(9, CallOutcome::Reached, None, false))
            .then_expect_error(MembershipError::DoNotContact);
        Given::with(())
            .given(vec![refused])
            .when(MembershipCommand::FollowUpScheduled { stay: STAY })
            .then_expect_error(MembershipError::DoNotContact);
    }

    #[test]
    fn the_same_call_is_logged_once() {
        let first = logged(9, 4, CallOutcome::Reached, 1, MembershipStatus::InProgress);
        Given::with(())
            .given(vec![first])
            .when(call(9, CallOutcome::Reached, None, false))
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_follow_up_moves_the_contact_there_and_back() {
        Given::with(())
            .given_no_previous_events()
            .when(MembershipCommand::FollowUpScheduled { stay: STAY })
            .then_expect_events(vec![moved(STAY, MembershipStatus::FollowUp, "follow_up_scheduled", None)]);
        Given::with(())
            .given(vec![moved(STAY, MembershipStatus::FollowUp, "follow_up_scheduled", None)])
            .when(MembershipCommand::FollowUpsClosed { stay: STAY })
            .then_expect_events(vec![moved(STAY, MembershipStatus::InProgress, "follow_up_closed", None)]);
    }

    #[test]
    fn closing_a_follow_up_does_not_reopen_what_is_decided() {
        let done = logged(8, 4, CallOutcome::Qualified, 1, MembershipStatus::Qualified);
        Given::with(())
            .given(vec![done])
            .when(MembershipCommand::FollowUpsClosed { stay: STAY })
            .then_expect_events(vec![]);
    }

    #[test]
    fn going_through_a_script_begins_the_work_and_takes_nothing_back() {
        let begun = moved(STAY, MembershipStatus::InProgress, "script_started", None);
        let rows = [
            (MembershipStatus::New, vec![begun.clone()]),
            (MembershipStatus::Assigned, vec![begun]),
            (MembershipStatus::InProgress, vec![]),
            (MembershipStatus::FollowUp, vec![]),
            (MembershipStatus::Qualified, vec![]),
            (MembershipStatus::Done, vec![]),
        ];
        for (status, expected) in rows {
            Given::with(())
                .given(vec![moved(STAY, status, "test", None)])
                .when(MembershipCommand::ScriptStarted { stay: STAY })
                .then_expect_events(expected);
        }
        Given::with(())
            .given(vec![moved(STAY, MembershipStatus::DoNotContact, "test", None)])
            .when(MembershipCommand::ScriptStarted { stay: STAY })
            .then_expect_error(MembershipError::DoNotContact);
    }
}
