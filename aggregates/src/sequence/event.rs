//! Stored events of a sequence. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::calendar::WeeklyHours;
use crate::channel::Channel;
use crate::ids::{OutboxId, PrincipalId, SequenceId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// One step, without its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The sender.
    pub outbox_id: OutboxId,
    /// Its channel.
    pub channel: Channel,
    /// Minutes after the step before, or after the enrollment.
    pub wait_minutes: u32,
    /// When it may be taken; none means at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WeeklyHours>,
}

/// The words of a sequence. All of them are sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceWords {
    /// Its name.
    pub name: String,
    /// One payload for each step: the text of a JSON object.
    pub payloads: Vec<String>,
}

/// The facts of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum SequenceEvent {
    /// Contacts may be led through it.
    SequenceCreated {
        /// Its id, which is also its stream.
        sequence_id: SequenceId,
        /// 1.
        version: u32,
        /// Senders, waits and windows.
        steps: Vec<Step>,
        /// Name and payloads. The subject is the sequence.
        words: Personal<SequenceWords>,
        /// Whose words they are: nobody approves their own.
        author: PrincipalId,
    },
    /// It is another for every step that is not taken yet.
    SequenceChanged {
        /// The number of the new version.
        version: u32,
        /// All its steps.
        steps: Vec<Step>,
        /// Name and all its payloads.
        words: Personal<SequenceWords>,
        /// Whose words they are from here on.
        author: PrincipalId,
    },
    /// No step is taken.
    SequencePaused {},
    /// Steps are taken again.
    SequenceResumed {},
    /// It is done with, for good.
    SequenceArchived {},
}

stored_events!(SequenceEvent {
    SequenceCreated "1",
    SequenceChanged "1",
    SequencePaused "1",
    SequenceResumed "1",
    SequenceArchived "1",
});
