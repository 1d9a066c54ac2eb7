//! How far a bulk call has come, for whoever waits for it.
//!
//! Telling never slows the call down and never fails it: what finds no room is not told.

use tokio::sync::mpsc;

/// A step of a bulk call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is being found out what is affected. Comes again when the plan lost a race.
    Resolving,
    /// What is affected is known.
    Planned {
        /// Contacts that would change.
        affected: u64,
        /// Whether they are only shown.
        dry_run: bool,
    },
    /// The change is recorded.
    Recorded,
}

/// Steps that wait to be told, at most.
const ROOM: usize = 16;

/// Where steps are told; by default nowhere.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<mpsc::Sender<Step>>);

impl Progress {
    /// A place to tell steps, and where they come out.
    pub fn channel() -> (Self, mpsc::Receiver<Step>) {
        let (sender, receiver) = mpsc::channel(ROOM);
        (Self(Some(sender)), receiver)
    }

    /// Tells a step.
    pub fn tell(&self, step: Step) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(step);
        }
    }
}
