//! The ledger of a company as it grows: server-sent events, in order and sealed, for dashboards and mirrors.
//!
//! The id of each event is its position, so that a client that lost its connection goes on where it was, by
//! `Last-Event-ID`, without a gap and without a repetition. Nothing is buffered for a slow reader but one portion: what
//! it has not taken within half a minute ends the stream, and it comes again when it can. A stream ends with the server
//! and with the right of its token; there are only so many of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use docket_aggregates::ids::OrganizationId;
use futures::stream;
use serde_json::json;
use tokio::sync::mpsc;

use super::HttpState;
use super::auth::{self, READERS};
use super::call::Admitted;
use super::error::ApiError;
use super::events::EventView;
use super::input::{Fields, integer};
use super::spec::Spec;
use crate::ledger::read::{self, Portion, ReadError};
use crate::shapes;

/// Streams of one process, at most, and of one organization.
const STREAMS_MAX: usize = 256;
const STREAMS_MAX_EACH: usize = 16;
/// What is read and sent at once.
const PORTION: Portion = Portion { events: 200, bytes: 1 << 20 };
/// How long a reader may take for a portion.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked for what other processes appended, and whether the token still may.
const LOOK: Duration = Duration::from_secs(1);
/// After so long without an event a comment is sent: a proxy that sees nothing closes.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes again, in milliseconds.
const RETRY_MILLIS: u32 = 2_000;
/// The position that the client saw last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The streams that are open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    open: Arc<Mutex<HashMap<OrganizationId, usize>>>,
}

/// One of the open streams; it is counted until this is dropped.
struct Place {
    streams: Streams,
    organization: OrganizationId,
}

impl Streams {
    fn enter(&self, organization: OrganizationId) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&organization).copied().unwrap_or(0);
        if own >= STREAMS_MAX_EACH || open.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        open.insert(organization, own + 1);
        metrics::gauge!("docket_event_streams").increment(1.0);
        Some(Place { streams: self.clone(), organization })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.organization) {
            *own -= 1;
        }
        open.retain(|_, own| *own > 0);
        metrics::gauge!("docket_event_streams").decrement(1.0);
    }
}

/// What the reference says of [`follow`].
pub fn following() -> Spec {
    Spec::new("Follow the ledger as it grows, as server-sent events whose ids are positions")
        .query(
            "after",
            shapes::integer(0, 1 << 53),
            "The position after which to begin; the present head, if neither this nor the header is given.",
        )
        .header(
            "Last-Event-ID",
            json!({ "type": "string", "pattern": "^[0-9]{1,16}$" }),
            "The position of the last event seen; it wins over the query.",
        )
        .answers_with(
            200,
            "Events as JSON, each with its position as id; comments in between keep the connection",
            "text/event-stream",
            // A stream as a whole has no schema in this version of OpenAPI.
            json!({}),
        )
}

/// `GET .../crm/events/stream?after=`, with `Last-Event-ID`.
pub async fn follow(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let asked = fields.optional("after", integer(0, 1 << 53));
    fields.finish()?;
    let seen = headers.get(LAST_EVENT_ID).map(|value| {
        let digits = value.to_str().unwrap_or_default().to_owned();
        integer(0, 1 << 53)(digits.into())
            .map_err(|(code, message)| ApiError::field("last-event-id", code, message))
    });
    let seen = seen.transpose()?;
    let organization = admitted.organization;
    let head = head(&state, organization).await?;
    let head = head.ok_or_else(|| ApiError::not_found("ORG_NOT_FOUND", "organization"))?;
    let after = seen.or(asked).unwrap_or(head);
    if after > head {
        let message = format!("is beyond the head, which is {head}");
        return Err(ApiError::field("after", "BEYOND_HEAD", message));
    }
    let Some(place) = state.streams.enter(organization) else {
        let message = "as many streams of events are open as may be";
        let refusal = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", message);
        return Err(ApiError { retry_after: Some(Duration::from_secs(5)), ..refusal });
    };
    // One portion is on its way, one waits: whoever reads slowly is not read ahead for.
    let (sender, receiver) = mpsc::channel(1);
    let stream = Stream { state, organization, headers, after, sender };
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = stream.run().await {
            tracing::warn!(organization.id = %organization, error = %error, "a stream of events broke off");
        }
    });
    let chunks = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Proxies that buffer answers would keep events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

async fn head(state: &HttpState, organization: OrganizationId) -> Result<Option<i64>, sqlx::Error> {
    read::head(&mut *state.app.ledger.pool().acquire().await?, organization).await
}

/// One open stream.
struct Stream {
    state: HttpState,
    organization: OrganizationId,
    headers: HeaderMap,
    after: i64,
    sender: mpsc::Sender<Bytes>,
}

impl Stream {
    /// Sends until the reader goes away or is too slow, the token may no more, or the server ends.
    async fn run(mut self) -> Result<(), ReadError> {
        let (news, ending) = (self.state.app.ledger.heads().follow(), self.state.ending.clone());
        // The id alone is no event, and still where the client goes on from.
        let greeting = format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.after);
        if !self.send(greeting.into()).await {
            return Ok(());
        }
        let (mut sent_at, mut looked_at) = (Instant::now(), Instant::now());
        loop {
            let portion = self.portion().await?;
            let silent = portion.is_empty();
            if !silent || sent_at.elapsed() >= HEARTBEAT {
                let chunk = if silent { Bytes::from_static(b":\n\n") } else { portion };
                if !self.send(chunk).await {
                    return Ok(());
                }
                sent_at = Instant::now();
            }
            if looked_at.elapsed() >= LOOK {
                looked_at = Instant::now();
                if !self.may_still().await {
                    return Ok(());
                }
            }
            // There may be more where something was.
            while silent && !news.take().contains(&self.organization) {
                tokio::select! {
                    () = ending.cancelled() => return Ok(()),
                    () = self.sender.closed() => return Ok(()),
                    () = news.nudged() => (),
                    () = tokio::time::sleep(LOOK) => break,
                }
            }
        }
    }

    /// The next events, as they are sent; empty at the head.
    async fn portion(&mut self) -> Result<Bytes, ReadError> {
        let mut connection = self.state.app.ledger.pool().acquire().await?;
        let head = read::head(&mut connection, self.organization).await?.unwrap_or(0);
        let events = read::stretch(&mut connection, self.organization, self.after + 1, head, PORTION).await?;
        drop(connection);
        let mut text = Vec::new();
        for stored in events {
            let position = stored.position;
            text.extend_from_slice(format!("id: {position}\ndata: ").as_bytes());
            let view = EventView::of(self.organization, stored);
            // JSON of one line: every line break within is escaped.
            serde_json::to_writer(&mut text, &view).map_err(|_| ReadError::Damaged(position))?;
            text.extend_from_slice(b"\n\n");
            self.after = position;
        }
        Ok(text.into())
    }

    /// Whether the reader took it, before the server ends.
    async fn send(&self, chunk: Bytes) -> bool {
        tokio::select! {
            () = self.state.ending.cancelled() => false,
            taken = is_taken(&self.sender, chunk) => taken,
        }
    }

    /// Whether the token still is one that may read here.
    async fn may_still(&self) -> bool {
        match auth::bearer(&self.headers, &self.state.app).await {
            Ok(caller) => auth::admit(&caller, READERS, Some(self.organization)).is_ok(),
            Err(auth::AuthError::Unavailable) => true,
            Err(_) => false,
        }
    }
}

/// Whether there is room for a chunk in time, and a reader.
async fn is_taken(sender: &mpsc::Sender<Bytes>, chunk: Bytes) -> bool {
    matches!(tokio::time::timeout(TAKEN_WITHIN, sender.send(chunk)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn there_are_only_so_many_streams() {
        let streams = Streams::default();
        let organization = |number: usize| OrganizationId(Uuid::from_u128(number as u128 + 1));
        let mut places: Vec<Place> =
            (0..STREAMS_MAX_EACH).map(|_| streams.enter(organization(0)).unwrap()).collect();
        assert!(streams.enter(organization(0)).is_none());
        places.pop();
        places.push(streams.enter(organization(0)).unwrap());
        for number in STREAMS_MAX_EACH..STREAMS_MAX {
            places.push(streams.enter(organization(number)).unwrap());
        }
        assert!(streams.enter(organization(STREAMS_MAX)).is_none());
        places.clear();
        assert!(streams.open.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_for_half_a_minute_is_let_go() {
        let (sender, mut receiver) = mpsc::channel(1);
        assert!(is_taken(&sender, Bytes::from_static(b"one")).await);
        let began = tokio::time::Instant::now();
        assert!(!is_taken(&sender, Bytes::from_static(b"two")).await);
        assert_eq!(began.elapsed(), TAKEN_WITHIN);
        receiver.recv().await.unwrap();
        assert!(is_taken(&sender, Bytes::from_static(b"three")).await);
        drop(receiver);
        assert!(!is_taken(&sender, Bytes::from_static(b"four")).await);
    }
}
