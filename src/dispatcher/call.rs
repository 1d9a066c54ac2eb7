//! From a message that was handed over to a call of its channel.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::Timestamp;
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::Message;
use futures::FutureExt;
use lru::LruCache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::ground::Ground;
use super::probe::Point;
use super::work::Lane;
use super::{CALLS_BEGIN_WITHIN, Shared};
use crate::channels::{Code, Content, LastHeard, Outcome, Outgoing, Recipient, Reference, Secret};
use crate::unsubscribe;

/// Credentials whose turns are kept, at most.
const TURNS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("4 096 is not zero");
/// What a channel that does not keep its own time is given beyond it.
const GRACE: Duration = Duration::from_secs(3);

/// How many calls there are at once, by credential: as many as the channel has connections, so that a call that began does
/// not wait inside it.
pub struct Turns {
    calls_max: usize,
    by_credential: Mutex<LruCache<[u8; 32], Arc<Semaphore>>>,
}

impl Turns {
    pub fn new(calls_max: usize) -> Self {
        Self { calls_max, by_credential: Mutex::new(LruCache::new(TURNS_MAX)) }
    }

    fn of(&self, credential: &Secret) -> Arc<Semaphore> {
        let key: [u8; 32] = Sha256::digest(credential.expose()).into();
        let mut turns = self.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get_or_insert(key, || Arc::new(Semaphore::new(self.calls_max))).clone()
    }
}

/// What became of a hand-over.
#[derive(Debug)]
pub enum Called {
    /// The channel was called.
    Said(Outcome),
    /// It was not, and will not be.
    TooLate,
}

/// The message as its channel takes it, or the outcome that it has without one.
pub fn outgoing(
    shared: &Shared,
    lane: Lane,
    ground: &Ground,
    id: MessageId,
    message: &Message,
    last_heard: LastHeard,
    at: Timestamp,
) -> Result<Outgoing, Outcome> {
    let gone = || Outcome::rejected(Code::Content, "the message has no content any more");
    let (content, channel) = message.content().zip(message.channel()).ok_or_else(gone)?;
    let reference = Reference { organization: lane.organization, message: id.uuid() };
    let payload: Value = serde_json::from_str(&content.payload)
        .map_err(|_| Outcome::rejected(Code::Content, "the payload is not JSON"))?;
    let mut read = Content::read(channel, &ground.sender.config, &payload, at).map_err(|problems| {
        let code = match problems.first() {
            Some(problem) if problem.path.starts_with("config") => Code::Configuration,
            _ => Code::Content,
        };
        let told: Vec<String> =
            problems.iter().map(|problem| format!("{}: {}", problem.path, problem.code)).collect();
        Outcome::rejected(code, told.join(", "))
    })?;
    if let Content::Email(letter) = &mut read {
        let public_url = shared.app.public_url.as_deref();
        let link = unsubscribe::link_from(public_url, &ground.keys, &reference)
            .map_err(|error| Outcome::rejected(Code::Configuration, error))?;
        letter.unsubscribe = Some(link);
        letter.dkim_key = ground.sender.dkim_key.clone().transpose()?;
    }
    Ok(Outgoing {
        reference,
        at,
        to: Recipient { address: content.to.clone(), name: None },
        content: read,
        credential: ground.sender.credential.clone()?,
        last_heard,
        within: shared.settings.call_within,
    })
}

/// Gives one message to its channel when its turn comes, if that is soon enough after the hand-over was handed to the ledger.
/// Also says how long after it the call began.
pub async fn call(
    shared: &Shared,
    outgoing: Result<Outgoing, Outcome>,
    handed_over: Stopwatch,
) -> (Called, Duration) {
    let outgoing = match outgoing {
        Ok(outgoing) => outgoing,
        Err(outcome) => return (Called::Said(outcome), Duration::ZERO),
    };
    let left = CALLS_BEGIN_WITHIN.saturating_sub(handed_over.elapsed());
    let turns = shared.turns.of(&outgoing.credential);
    let Ok(Ok(_turn)) = tokio::time::timeout(left, turns.acquire()).await else {
        return (Called::TooLate, CALLS_BEGIN_WITHIN);
    };
    shared.settings.probe.at(Point::BeforeCall).await;
    let began = handed_over.elapsed();
    if began >= CALLS_BEGIN_WITHIN {
        return (Called::TooLate, CALLS_BEGIN_WITHIN);
    }
    let calling = AssertUnwindSafe(shared.channels.deliver(&outgoing)).catch_unwind();
    let outcome = match tokio::time::timeout(outgoing.within + GRACE, calling).await {
        Ok(Ok(outcome)) => outcome,
        // The panic hook has logged where.
        Ok(Err(_)) => Outcome::unknown("the channel broke off in the middle of the call"),
        Err(_) => Outcome::unknown("the channel did not answer in time"),
    };
    metrics::histogram!("docket_dispatch_call_seconds", "outcome" => outcome.name())
        .record((handed_over.elapsed() - began).as_secs_f64());
    shared.settings.probe.at(Point::Answered).await;
    (Called::Said(outcome), began)
}
