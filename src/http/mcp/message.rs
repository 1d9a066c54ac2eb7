//! A message as it arrives at `/mcp`: received whole, judged, and refused with a status or handed on.
//!
//! What a message must be is said in `crate::mcp` for every door alike. Here it gets its status: 400, or 413 and 408
//! where the body did not arrive.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::http::body::{Broken, receive};
use crate::http::mcp::{SESSION_ID, is_stateless};
use crate::http::reply;
use crate::mcp::{Mistake, judge, judge_beginning, judge_going_on};

/// The request as it came, or the answer to one that says nothing.
pub async fn read(request: Request) -> Result<Request, Response> {
    let says_json = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"));
    // What says that it is something else is refused as that.
    if request.method() != Method::POST || !says_json {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = receive(body).await.map_err(|broken| {
        let unreadable = |rule| Mistake::unreadable(rule, broken.to_string());
        match broken {
            Broken::TooLarge => refused(StatusCode::PAYLOAD_TOO_LARGE, &Mistake::too_long()),
            Broken::Stalled => refused(StatusCode::REQUEST_TIMEOUT, &unreadable("BODY_STALLED")),
            Broken::Interrupted => refused(StatusCode::BAD_REQUEST, &unreadable("BODY_INTERRUPTED")),
        }
    })?;
    // Where a session is named, the conversation has begun; without sessions there are none to begin.
    let judged = judge(&bytes).and_then(|()| match parts.headers.contains_key(SESSION_ID) {
        true => judge_going_on(&bytes),
        false if is_stateless(&parts.headers) => Ok(()),
        false => judge_beginning(&bytes),
    });
    match judged {
        Ok(()) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Err(mistake) => Err(refused(StatusCode::BAD_REQUEST, &mistake)),
    }
}

fn refused(status: StatusCode, mistake: &Mistake) -> Response {
    reply::json(status, &mistake.answer())
}
