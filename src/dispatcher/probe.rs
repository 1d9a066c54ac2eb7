//! Where a test looks in, or ends a dispatcher. Without one nothing happens here.

use std::sync::Arc;

use futures::future::BoxFuture;

/// A point on the way of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A batch was claimed; nothing is recorded.
    Claimed,
    /// The hand-over of a batch was recorded; no channel was called.
    HandedOver,
    /// One message is about to be given to its channel.
    BeforeCall,
    /// The channel answered for one message; nothing is recorded of it.
    Answered,
    /// Outcomes are about to be recorded.
    BeforeRecord,
    /// Outcomes were recorded.
    Recorded,
}

impl Point {
    /// Every point, in the order in which a message passes them.
    pub const ALL: [Self; 6] = [
        Self::Claimed,
        Self::HandedOver,
        Self::BeforeCall,
        Self::Answered,
        Self::BeforeRecord,
        Self::Recorded,
    ];
}

type Look = dyn Fn(Point) -> BoxFuture<'static, ()> + Send + Sync;

/// What is awaited at each point.
#[derive(Clone, Default)]
pub struct Probe(Option<Arc<Look>>);

impl Probe {
    /// Awaits what `look` gives at each point.
    pub fn new(look: impl Fn(Point) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look)))
    }

    pub(super) async fn at(&self, point: Point) {
        if let Some(look) = &self.0 {
            look(point).await;
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Probe" } else { "no probe" })
    }
}
