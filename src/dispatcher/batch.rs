//! One batch: from its claim to the last of its outcomes.

use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::ids::MessageId;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::call::{self, Called};
use super::hand_over::{self, HandedOver};
use super::lanes::UnderWay;
use super::probe::Point;
use super::record::{self, Known};
use super::work::Lane;
use super::{Database, Shared};

/// How long a batch that could not be handed over is left alone.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Messages of one lane that this process claimed together.
pub struct Batch {
    pub shared: Arc<Shared>,
    pub lane: Lane,
    pub pace: UnderWay,
    /// Names the claim.
    pub holder: Uuid,
    pub messages: Vec<MessageId>,
}

impl Batch {
    /// Does what is to be done with each of its messages.
    pub async fn run(self) {
        let shared = &self.shared;
        shared.settings.probe.at(Point::Claimed).await;
        let handed_over = match hand_over::hand_over(shared, self.lane, self.holder, &self.messages).await {
            Ok(handed_over) => handed_over,
            Err(error) => {
                tracing::warn!(organization.id = %self.lane.organization, error = %error, "messages could not be handed over");
                let _ = tokio::time::timeout(TRIED_AGAIN_AFTER, shared.stopping.cancelled()).await;
                self.give_up(&self.messages).await;
                return;
            }
        };
        if !handed_over.left.is_empty() {
            self.give_up(&handed_over.left).await;
        }
        if !handed_over.messages.is_empty() {
            shared.settings.probe.at(Point::HandedOver).await;
            self.call(handed_over).await;
        }
    }

    async fn call(&self, handed_over: HandedOver) {
        let HandedOver { messages, since, .. } = handed_over;
        let size = messages.len();
        let mut calls = JoinSet::new();
        for mut message in messages {
            let shared = self.shared.clone();
            calls.spawn(async move {
                let outgoing = message.outgoing.take();
                let (called, began) = match outgoing {
                    Some(outgoing) => call::call(&shared, outgoing, since).await,
                    None => (Called::TooLate, Duration::ZERO),
                };
                (Known { message, called }, began)
            });
        }
        let (mut last_began, mut taken_back) = (Duration::ZERO, 0);
        while let Some(first) = calls.join_next().await {
            // What answered while the ones before were recorded is recorded together.
            let mut known = Vec::new();
            for ended in std::iter::once(first).chain(std::iter::from_fn(|| calls.try_join_next())) {
                let Ok((one, began)) = ended else { continue };
                last_began = last_began.max(began);
                if matches!(one.called, Called::TooLate) {
                    taken_back += 1;
                    self.pace.struggle();
                }
                known.push(one);
            }
            self.shared.settings.probe.at(Point::BeforeRecord).await;
            record::record(&self.shared, self.lane.organization, known).await;
            self.shared.settings.probe.at(Point::Recorded).await;
        }
        self.pace.learn(size, last_began, taken_back);
    }

    async fn give_up(&self, messages: &[MessageId]) {
        let now = self.shared.app.clock.now();
        let work = &self.shared.work;
        if let Err(error) = work.give_up(self.lane.organization, self.holder, messages, now).await {
            // The claim runs out by itself.
            tracing::debug!(error = %Database(&error), "claimed messages could not be given up");
        }
    }
}
