//! A sequence: steps that a contact is led through, each a message after a wait.
//!
//! It says what and when; who is where in it stands in each contact's enrollment. A change is a new version and holds for
//! every step that is not taken yet, for everybody in it. How far somebody is, is the number of a step: what was taken
//! must not be moved to where it would be taken once more, nor what is to come to where it would be passed over.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{SequenceEvent, SequenceWords, Step};

use crate::calendar::CalendarError;
use crate::channel::Channel;
use crate::ids::{PrincipalId, SequenceId};
use crate::payload::compared;
use crate::personal::Personal;
use crate::stored::aggregate;

/// Steps of one sequence, at most.
pub const STEPS_MAX: usize = 50;
/// The longest wait before a step: a year.
pub const WAIT_MINUTES_MAX: u32 = 366 * 24 * 60;
/// Bytes of one step's payload, at most.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a sequence's words together, at most: what one event can hold.
pub const WORDS_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a name, at most.
pub const NAME_BYTES_MAX: usize = 512;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceStatus {
    /// Steps are taken.
    #[default]
    Active,
    /// No step is taken.
    Paused,
    /// Done with, for good.
    Archived,
}

impl SequenceStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Archived];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Archived => "archived",
        }
    }
}

impl std::str::FromStr for SequenceStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What a change may say; absent keeps.
#[derive(Clone, Debug, Default)]
pub struct SequencePatch {
    /// New name.
    pub name: Option<String>,
    /// New steps and their payloads, whole.
    pub steps: Option<(Vec<Step>, Vec<String>)>,
    /// New status.
    pub status: Option<SequenceStatus>,
}

/// Orders to a sequence.
#[derive(Clone, Debug)]
pub enum SequenceCommand {
    /// Set it up.
    Create {
        /// A fresh id.
        sequence_id: SequenceId,
        /// Senders, waits and windows.
        steps: Vec<Step>,
        /// Name, and one payload for each step.
        words: SequenceWords,
        /// Who.
        by: PrincipalId,
    },
    /// Change what the patch says.
    Change {
        /// What.
        patch: Box<SequencePatch>,
        /// Who.
        by: PrincipalId,
    },
}

/// Why a sequence refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The stream is empty.
    #[error("sequence does not exist")]
    Unknown,
    /// The id is taken.
    #[error("sequence already exists")]
    AlreadyCreated,
    /// Its words were erased, so that it cannot be changed.
    #[error("sequence was erased")]
    Erased,
    /// An archived sequence stays as it is.
    #[error("sequence is archived")]
    Archived,
    /// The name is empty or too long.
    #[error("name must have 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    /// There are none, or too many.
    #[error("a sequence has 1 to {STEPS_MAX} steps")]
    Steps,
    /// Each step has one payload.
    #[error("{steps} steps were given {payloads} payloads")]
    UnevenPayloads {
        /// Steps given.
        steps: usize,
        /// Payloads given.
        payloads: usize,
    },
    /// A payload is no JSON object, or too long.
    #[error("the payload of step {0} must be a JSON object of at most {PAYLOAD_BYTES_MAX} bytes")]
    Payload(usize),
    /// Together they are more than one event can hold.
    #[error("the payloads of a sequence must have at most {WORDS_BYTES_MAX} bytes together")]
    WordsTooLong,
    /// A wait is too long.
    #[error("step {0} must wait at most {WAIT_MINUTES_MAX} minutes")]
    Wait(usize),
    /// Somebody would get the words of a step once more.
    #[error(
        "step {step} has the words of a step before it that contacts in the sequence were sent: they took {taken} steps \
         and would get them again"
    )]
    WouldRepeat {
        /// Number of the step as it is asked for, from 1.
        step: usize,
        /// How many steps those contacts took.
        taken: usize,
    },
    /// Somebody would never get the words of a step.
    #[error(
        "step {step} has the words of a step that contacts in the sequence are still to be sent: they took {taken} steps \
         and would be led past them"
    )]
    WouldSkip {
        /// Number of the step as it is asked for, from 1.
        step: usize,
        /// How many steps those contacts took.
        taken: usize,
    },
    /// A window is none.
    #[error("step {step}: {error}")]
    Window {
        /// Number of the step, from 1.
        step: usize,
        /// Why.
        error: CalendarError,
    },
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sequence {
    version: u32,
    steps: Vec<Step>,
    words: Option<Personal<SequenceWords>>,
    /// Of each step, everybody who had a hand in its words, the last one first.
    #[serde(default)]
    authors: Vec<Vec<PrincipalId>>,
    status: SequenceStatus,
}

aggregate!(Sequence, "Sequence", SequenceCommand, SequenceEvent, SequenceError);

impl Sequence {
    /// The whole business of a sequence.
    fn decide(&self, command: SequenceCommand) -> Result<Vec<SequenceEvent>, SequenceError> {
        match (command, &self.words) {
            (SequenceCommand::Create { .. }, Some(_)) => Err(SequenceError::AlreadyCreated),
            (SequenceCommand::Create { sequence_id, steps, words, by }, None) => {
                check(&steps, &words)?;
                let words = Personal::known(sequence_id.uuid(), words);
                let version = 1;
                Ok(vec![SequenceEvent::SequenceCreated { sequence_id, version, steps, words, author: by }])
            }
            (SequenceCommand::Change { .. }, None) => Err(SequenceError::Unknown),
            (SequenceCommand::Change { patch, by }, Some(words)) => self.change(words, *patch, by),
        }
    }

    fn change(
        &self,
        words: &Personal<SequenceWords>,
        patch: SequencePatch,
        by: PrincipalId,
    ) -> Result<Vec<SequenceEvent>, SequenceError> {
        let mut events = Vec::new();
        if patch.name.is_some() || patch.steps.is_some() {
            let known = words.value().ok_or(SequenceError::Erased)?;
            let (steps, payloads) =
                patch.steps.unwrap_or_else(|| (self.steps.clone(), known.payloads.clone()));
            let wanted = SequenceWords { name: patch.name.unwrap_or_else(|| known.name.clone()), payloads };
            let same = wanted.name == known.name
                && steps == self.steps
                && wanted.payloads.len() == known.payloads.len()
                && said(&steps, &wanted.payloads).eq(said(&self.steps, &known.payloads));
            if !same {
                check(&steps, &wanted)?;
                let version = self.version + 1;
                let words = Personal::known(words.subject(), wanted);
                events.push(SequenceEvent::SequenceChanged { version, steps, words, author: by });
            }
        }
        if let Some(status) = patch.status.filter(|status| *status != self.status) {
            events.push(match status {
                SequenceStatus::Active => SequenceEvent::SequenceResumed {},
                SequenceStatus::Paused => SequenceEvent::SequencePaused {},
                SequenceStatus::Archived => SequenceEvent::SequenceArchived {},
            });
        }
        if self.status == SequenceStatus::Archived && !events.is_empty() {
            return Err(SequenceError::Archived);
        }
        Ok(events)
    }

    fn evolve(&mut self, event: SequenceEvent) {
        match event {
            SequenceEvent::SequenceCreated { version, steps, words, author, .. }
            | SequenceEvent::SequenceChanged { version, steps, words, author } => {
                self.authors = self.authors_of(&words, steps.len(), author);
                self.version = version;
                self.steps = steps;
                self.words = Some(words);
            }
            SequenceEvent::SequencePaused {} => self.status = SequenceStatus::Paused,
            SequenceEvent::SequenceResumed {} => self.status = SequenceStatus::Active,
            SequenceEvent::SequenceArchived {} => self.status = SequenceStatus::Archived,
        }
    }

    /// That these steps lead whoever took so many of the present ones neither through a step again nor past one. What was
    /// taken may get other words, and what is to come may be changed, taken out and added to; nothing may move from one
    /// side to the other. A step is known by what it [says](said).
    ///
    /// `sent` is what they were sent in earlier versions. Words of those that stand in this one no more are not put ahead of
    /// them again; to say something twice on purpose, both steps are there to be read.
    pub fn leads_on(
        &self,
        steps: &[Step],
        payloads: &[String],
        taken: usize,
        sent: &[(Channel, String)],
    ) -> Result<(), SequenceError> {
        let Some(words) = self.words() else { return Ok(()) };
        let now: Vec<_> = said(&self.steps, &words.payloads).collect();
        let new: Vec<_> = said(steps, payloads).collect();
        let (before, ahead) = now.split_at(taken.min(now.len()));
        let (new_before, new_ahead) = new.split_at(taken.min(new.len()));
        let again = |step| sent.contains(step) && !now.contains(step) && !new_before.contains(step);
        if let Some(index) = new_ahead.iter().position(again) {
            return Err(SequenceError::WouldRepeat { step: new_before.len() + index + 1, taken });
        }
        if before == new_before {
            return Ok(());
        }
        // Where one list has more of a step than the other, it came from beyond.
        let more = |here: &[(Channel, String)], was: &[(Channel, String)], beyond: &[(Channel, String)]| {
            let count = |list: &[(Channel, String)], step| list.iter().filter(|one| *one == step).count();
            here.iter().position(|step| beyond.contains(step) && count(here, step) > count(was, step))
        };
        if let Some(index) = more(new_ahead, ahead, before) {
            return Err(SequenceError::WouldRepeat { step: new_before.len() + index + 1, taken });
        }
        match more(new_before, before, ahead) {
            Some(index) => Err(SequenceError::WouldSkip { step: index + 1, taken }),
            None => Ok(()),
        }
    }

    /// Where it stands; active while it does not exist.
    pub fn status(&self) -> SequenceStatus {
        self.status
    }

    /// Which of its versions, from 1; 0 while it does not exist.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Senders, waits and windows.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Who wrote the words of a step, by its index: everybody who had a hand in them, the last one first.
    pub fn authors(&self, step: usize) -> &[PrincipalId] {
        self.authors.get(step).map_or(&[], Vec::as_slice)
    }

    /// Whose words the steps of a new version are. Words that were there before stay those of whoever wrote them, wherever
    /// they stand now; new ones may be made of those that went, and are theirs as well who wrote those.
    fn authors_of(
        &self,
        words: &Personal<SequenceWords>,
        steps: usize,
        by: PrincipalId,
    ) -> Vec<Vec<PrincipalId>> {
        let everybody = self.authors.iter().flatten().copied();
        let (before, after) = (self.words(), words.value());
        let Some((before, after)) = before.zip(after) else {
            // Of what cannot be compared any more, nobody's part is forgotten.
            return vec![with(by, everybody); steps];
        };
        let of = |words: &SequenceWords| -> Vec<String> {
            words.payloads.iter().map(|payload| compared(payload).into_owned()).collect()
        };
        let (before, after) = (of(before), of(after));
        let went = before.iter().zip(&self.authors);
        let went = went.filter(|(payload, _)| !after.contains(payload));
        let new = with(by, went.flat_map(|(_, authors)| authors.iter().copied()));
        let known = |payload: &String| {
            let index = before.iter().position(|known| known == payload)?;
            self.authors.get(index).cloned()
        };
        after.iter().map(|payload| known(payload).unwrap_or_else(|| new.clone())).collect()
    }

    /// Its name and payloads, while they are known.
    pub fn words(&self) -> Option<&SequenceWords> {
        self.words.as_ref().and_then(Personal::value)
    }
}

/// What each step says, by which it is known again: its channel, and its payload as payloads are compared.
pub fn said(steps: &[Step], payloads: &[String]) -> impl Iterator<Item = (Channel, String)> {
    let payloads = payloads.iter().map(|payload| compared(payload).into_owned());
    steps.iter().map(|step| step.channel).zip(payloads)
}

/// These people, each once, and this one first.
fn with(first: PrincipalId, others: impl Iterator<Item = PrincipalId>) -> Vec<PrincipalId> {
    let mut all = vec![first];
    for other in others {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

fn check(steps: &[Step], words: &SequenceWords) -> Result<(), SequenceError> {
    if words.name.trim().is_empty() || words.name.len() > NAME_BYTES_MAX {
        return Err(SequenceError::Name);
    }
    if !(1..=STEPS_MAX).contains(&steps.len()) {
        return Err(SequenceError::Steps);
    }
    if steps.len() != words.payloads.len() {
        return Err(SequenceError::UnevenPayloads { steps: steps.len(), payloads: words.payloads.len() });
    }
    for (number, (step, payload)) in (1..).zip(steps.iter().zip(&words.payloads)) {
        if step.wait_minutes > WAIT_MINUTES_MAX {
            return Err(SequenceError::Wait(number));
        }
        if let Some(window) = &step.window {
            window.check().map_err(|error| SequenceError::Window { step: number, error })?;
        }
        let object = serde_json::from_str::<serde_json::Value>(payload).is_ok_and(|json| json.is_object());
        if payload.len() > PAYLOAD_BYTES_MAX || !object {
            return Err(SequenceError::Payload(number));
        }
    }
    if words.payloads.iter().map(String::len).sum::<usize>() > WORDS_BYTES_MAX {
        return Err(SequenceError::WordsTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{HoursOfDay, WeeklyHours};
    use crate::channel::Channel;
    use crate::ids::OutboxId;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Sequence>;
    const ID: SequenceId = SequenceId(Uuid::from_u128(1));
    const AUTHOR: PrincipalId = PrincipalId(Uuid::from_u128(2));
    const EDITOR: PrincipalId = PrincipalId(Uuid::from_u128(3));

    fn step(wait_minutes: u32) -> Step {
        Step { outbox_id: OutboxId::default(), channel: Channel::Email, wait_minutes, window: None }
    }

    fn words(payloads: usize) -> SequenceWords {
        SequenceWords { name: "Nurture".into(), payloads: vec![r#"{"subject":"Hi"}"#.into(); payloads] }
    }

    fn create(steps: Vec<Step>, words: SequenceWords) -> SequenceCommand {
        SequenceCommand::Create { sequence_id: ID, steps, words, by: AUTHOR }
    }

    fn created() -> SequenceEvent {
        SequenceEvent::SequenceCreated {
            sequence_id: ID,
            version: 1,
            steps: vec![step(0), step(60)],
            words: Personal::known(ID.uuid(), words(2)),
            author: AUTHOR,
        }
    }

    fn change(patch: SequencePatch) -> SequenceCommand {
        SequenceCommand::Change { patch: Box::new(patch), by: EDITOR }
    }

    #[test]
    fn a_sequence_is_created_once() {
        let make = || create(vec![step(0), step(60)], words(2));
        Given::with(()).given_no_previous_events().when(make()).then_expect_events(vec![created()]);
        Given::with(()).given(vec![created()]).when(make()).then_expect_error(SequenceError::AlreadyCreated);
    }

    #[test]
    fn what_is_no_sequence_is_refused() {
        let window = |start: &str| {
            let hours = HoursOfDay { start: start.into(), end: "17:00".into(), tz: "UTC".into() };
            Step { window: Some(WeeklyHours { hours, weekdays: vec![] }), ..step(0) }
        };
        let said = |payload: &str| SequenceWords { payloads: vec![payload.into()], ..words(0) };
        for (steps, words, refusal) in [
            (vec![], words(0), SequenceError::Steps),
            (vec![step(0); 51], words(51), SequenceError::Steps),
            (vec![step(0)], words(2), SequenceError::UnevenPayloads { steps: 1, payloads: 2 }),
            (vec![step(0)], SequenceWords { name: " ".into(), ..words(1) }, SequenceError::Name),
            (vec![step(WAIT_MINUTES_MAX + 1)], words(1), SequenceError::Wait(1)),
            (
                vec![window("17:00")],
                words(1),
                SequenceError::Window { step: 1, error: CalendarError::EmptyWindow },
            ),
            (vec![step(0)], said("[]"), SequenceError::Payload(1)),
            (vec![step(0)], said("{"), SequenceError::Payload(1)),
        ] {
            Given::with(()).given_no_previous_events().when(create(steps, words)).then_expect_error(refusal);
        }
    }

    #[test]
    fn a_change_is_a_new_version() {
        let patch = SequencePatch { name: Some("Nurture 2".into()), ..Default::default() };
        let renamed = SequenceWords { name: "Nurture 2".into(), ..words(2) };
        Given::with(()).given(vec![created()]).when(change(patch)).then_expect_events(vec![
            SequenceEvent::SequenceChanged {
                version: 2,
                steps: vec![step(0), step(60)],
                words: Personal::known(ID.uuid(), renamed),
                author: EDITOR,
            },
        ]);
        let patch = SequencePatch { name: Some("Nurture".into()), ..Default::default() };
        Given::with(()).given(vec![created()]).when(change(patch)).then_expect_events(vec![]);
    }

    #[test]
    fn words_stay_those_of_whoever_wrote_them() {
        let said = |payloads: &[&str]| SequenceWords {
            name: "Nurture".into(),
            payloads: payloads.iter().map(|payload| (*payload).to_owned()).collect(),
        };
        let changed = |payloads: &[&str], author| SequenceEvent::SequenceChanged {
            version: 2,
            steps: vec![step(0); payloads.len()],
            words: Personal::known(ID.uuid(), said(payloads)),
            author,
        };
        let erased = SequenceEvent::SequenceChanged {
            version: 3,
            steps: vec![step(0); 2],
            words: Personal::erased(ID.uuid()),
            author: EDITOR,
        };
        let (both, one, other) = (vec![EDITOR, AUTHOR], vec![AUTHOR], vec![EDITOR]);
        for (changes, authors) in [
            // Another name, another wait: nobody's words.
            (vec![changed(&["a", "b"], EDITOR)], vec![one.clone(), one.clone()]),
            (vec![changed(&["b", "a"], EDITOR)], vec![one.clone(), one.clone()]),
            (vec![changed(&["a", "b", "c"], EDITOR)], vec![one.clone(), one.clone(), other.clone()]),
            (vec![changed(&["a", "b2"], EDITOR)], vec![one.clone(), both.clone()]),
            (vec![changed(&["b2", "a"], EDITOR)], vec![both.clone(), one.clone()]),
            (
                vec![changed(&["a", "b2"], EDITOR), changed(&["a", "b3"], AUTHOR)],
                vec![one.clone(), vec![AUTHOR, EDITOR]],
            ),
            (vec![erased], vec![both.clone(), both]),
        ] {
            let mut sequence = Sequence::default();
            let created = SequenceEvent::SequenceCreated {
                sequence_id: ID,
                version: 1,
                steps: vec![step(0), step(60)],
                words: Personal::known(ID.uuid(), said(&["a", "b"])),
                author: AUTHOR,
            };
            for event in std::iter::once(created).chain(changes) {
                cqrs_es::Aggregate::apply(&mut sequence, event);
            }
            let found: Vec<_> =
                (0..sequence.steps().len()).map(|step| sequence.authors(step).to_vec()).collect();
            assert_eq!(found, authors);
        }
    }

    #[test]
    fn a_change_leads_nobody_through_a_step_again_nor_past_one() {
        let list = |said: &str| -> Vec<String> { said.chars().map(|word| word.to_string()).collect() };
        let repeats = |step, taken| Err(SequenceError::WouldRepeat { step, taken });
        let skips = |step, taken| Err(SequenceError::WouldSkip { step, taken });
        for (before, taken, after, expected) in [
            ("ab", 1, "nab", repeats(2, 1)),
            ("ab", 1, "bc", skips(1, 1)),
            ("ab", 1, "ba", repeats(2, 1)),
            ("abc", 2, "ac", skips(2, 2)),
            ("abc", 1, "cab", repeats(2, 1)),
            ("aab", 1, "baa", repeats(2, 1)),
            ("ab", 2, "nab", repeats(3, 2)),
            // Whoever took nothing yet is led through what there is.
            ("ab", 0, "ba", Ok(())),
            ("ab", 0, "nab", Ok(())),
            // What is to come is changed, moved, taken out and added to.
            ("abc", 1, "acb", Ok(())),
            ("abc", 1, "anbc", Ok(())),
            ("abc", 1, "ac", Ok(())),
            ("ab", 1, "a", Ok(())),
            ("ab", 2, "abc", Ok(())),
            ("ab", 2, "aba", Ok(())),
            ("aa", 1, "aaa", Ok(())),
            // What was taken gets other words, for those who are still to take it.
            ("ab", 1, "xb", Ok(())),
            ("abc", 2, "xyc", Ok(())),
            ("ab", 2, "a", Ok(())),
            ("ab", 3, "abc", Ok(())),
        ] {
            let payloads = list(before);
            let words = SequenceWords { name: "Nurture".into(), payloads: payloads.clone() };
            let created = SequenceEvent::SequenceCreated {
                sequence_id: ID,
                version: 1,
                steps: vec![step(0); payloads.len()],
                words: Personal::known(ID.uuid(), words),
                author: AUTHOR,
            };
            let mut sequence = Sequence::default();
            cqrs_es::Aggregate::apply(&mut sequence, created);
            let payloads = list(after);
            let steps = vec![step(0); payloads.len()];
            assert_eq!(
                sequence.leads_on(&steps, &payloads, taken, &[]),
                expected,
                "{before} to {after} after {taken}"
            );
        }
    }

    #[test]
    fn words_that_were_replaced_are_not_sent_again() {
        let repeats = |step| Err(SequenceError::WouldRepeat { step, taken: 1 });
        for (now, sent, after, expected) in [
            ("xb", "a", "xab", repeats(2)),
            ("xb", "a", "xba", repeats(3)),
            ("xb", "a", "yab", repeats(2)),
            // They were sent others.
            ("xb", "x", "xab", Ok(())),
            ("xb", "", "xab", Ok(())),
            // Taken back; and said twice on purpose.
            ("xb", "a", "ab", Ok(())),
            ("xb", "a", "aab", Ok(())),
            ("ab", "a", "aba", Ok(())),
        ] {
            let list = |said: &str| -> Vec<String> { said.chars().map(|word| word.to_string()).collect() };
            let created = SequenceEvent::SequenceCreated {
                sequence_id: ID,
                version: 2,
                steps: vec![step(0); now.len()],
                words: Personal::known(
                    ID.uuid(),
                    SequenceWords { name: "Nurture".into(), payloads: list(now) },
                ),
                author: AUTHOR,
            };
            let mut sequence = Sequence::default();
            cqrs_es::Aggregate::apply(&mut sequence, created);
            let sent: Vec<_> = list(sent).into_iter().map(|said| (Channel::Email, said)).collect();
            let found = sequence.leads_on(&vec![step(0); after.len()], &list(after), 1, &sent);
            assert_eq!(found, expected, "{now} to {after} after {sent:?}");
        }
    }

    #[test]
    fn members_that_are_null_make_no_other_step() {
        let payloads = |payloads: [&str; 2]| payloads.map(str::to_owned).to_vec();
        let (plain, null) = (r#"{"subject":"A","text":"a"}"#, r#"{"html":null,"subject":"A","text":"a"}"#);
        let other = r#"{"subject":"B","text":"b"}"#;
        for (stored, given) in [(plain, null), (null, plain)] {
            let created = SequenceEvent::SequenceCreated {
                sequence_id: ID,
                version: 1,
                steps: vec![step(0); 2],
                words: Personal::known(
                    ID.uuid(),
                    SequenceWords { name: "Nurture".into(), payloads: payloads([stored, other]) },
                ),
                author: AUTHOR,
            };
            let mut sequence = Sequence::default();
            cqrs_es::Aggregate::apply(&mut sequence, created.clone());
            let steps = vec![step(0); 2];
            assert_eq!(
                sequence.leads_on(&steps, &payloads([other, given]), 1, &[]),
                Err(SequenceError::WouldRepeat { step: 2, taken: 1 })
            );
            // Nor is it a change, or somebody else's.
            let patch = |given| SequencePatch {
                steps: Some((vec![step(0); 2], payloads(given))),
                ..Default::default()
            };
            Given::with(())
                .given(vec![created])
                .when(change(patch([given, other])))
                .then_expect_events(vec![]);
            let moved = sequence.decide(change(patch([other, given]))).unwrap();
            moved.into_iter().for_each(|event| cqrs_es::Aggregate::apply(&mut sequence, event));
            assert_eq!((sequence.authors(0), sequence.authors(1)), (&[AUTHOR][..], &[AUTHOR][..]));
        }
    }

    #[test]
    fn an_archived_sequence_stays_as_it_is() {
        let status = |status| change(SequencePatch { status: Some(status), ..Default::default() });
        Given::with(())
            .given(vec![created()])
            .when(status(SequenceStatus::Archived))
            .then_expect_events(vec![SequenceEvent::SequenceArchived {}]);
        Given::with(())
            .given(vec![created(), SequenceEvent::SequenceArchived {}])
            .when(status(SequenceStatus::Active))
            .then_expect_error(SequenceError::Archived);
        Given::with(())
            .given(vec![created(), SequenceEvent::SequencePaused {}])
            .when(status(SequenceStatus::Active))
            .then_expect_events(vec![SequenceEvent::SequenceResumed {}]);
    }
}
