//! Receiving a body of JSON: bounded in bytes and in time.
//!
//! A body that trickles in holds a request's place and nothing else, and not for long.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};

/// The largest body of JSON that is read, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// How long a body of JSON may take to arrive whole.
pub const WITHIN: Duration = Duration::from_secs(10);

/// Why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is larger than it may be.
    #[error("the body is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body did not arrive within {} seconds", WITHIN.as_secs())]
    Stalled,
    /// It broke off.
    #[error("the body did not arrive whole")]
    Interrupted,
}

/// The whole body.
pub async fn receive(body: Body) -> Result<Bytes, Broken> {
    let received = tokio::time::timeout(WITHIN, to_bytes(body, BYTES_MAX)).await;
    received.map_err(|_| Broken::Stalled)?.map_err(|error| {
        // axum gives the reason as a source of another crate's version; its words are all there is to tell it by.
        let too_large = error.source().is_some_and(|source| source.to_string().contains("length limit"));
        if too_large { Broken::TooLarge } else { Broken::Interrupted }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use std::io;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_in_time() {
        let chunk = |bytes: usize| Ok::<_, io::Error>(Bytes::from(vec![b' '; bytes]));
        let trickle = stream::repeat_with(move || chunk(1)).then(async |chunk| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            chunk
        });
        for (body, expected) in [
            (Body::from_stream(stream::iter([chunk(BYTES_MAX)])), Ok(BYTES_MAX)),
            (Body::from_stream(stream::iter([chunk(BYTES_MAX), chunk(1)])), Err(Broken::TooLarge)),
            (
                Body::from_stream(stream::iter([chunk(1), Err(io::Error::other("reset"))])),
                Err(Broken::Interrupted),
            ),
            (Body::from_stream(trickle), Err(Broken::Stalled)),
        ] {
            assert_eq!(receive(body).await.map(|bytes| bytes.len()), expected);
        }
    }
}
