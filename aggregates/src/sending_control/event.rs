//! Stored events of the control of sending. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CampaignId, OutboxId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum PauseScope {
    /// Everything.
    All,
    /// What one outbox sends.
    Outbox(OutboxId),
    /// What is sent for one campaign.
    Campaign(CampaignId),
    /// What one caller drafted.
    Agent(AgentId),
}

/// The most that one recipient may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    /// Messages, on all channels together.
    pub messages: u32,
    /// Within this many times 24 hours.
    pub days: u32,
}

/// The facts that hold sending back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum SendingControlEvent {
    /// Nothing of this leaves from here on.
    SendingPaused {
        /// What.
        scope: PauseScope,
        /// Why. The subject is the stream.
        reason: Personal<String>,
    },
    /// It may leave again.
    SendingResumed {
        /// What.
        scope: PauseScope,
    },
    /// One recipient may get so much and no more.
    FrequencyCapped {
        /// The cap; none means any number.
        cap: Option<FrequencyCap>,
    },
}

stored_events!(SendingControlEvent {
    SendingPaused "1",
    SendingResumed "1",
    FrequencyCapped "1",
});
