//! What the test mailbox shows: to a person at `/`, to programs at `/mails`.
//!
//! Everything on the page is somebody's text and is escaped; the page loads nothing and runs nothing.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::{ANSWER_BYTES_MAX, AnswerError, Letters, Mail};

/// Nothing is loaded but the page's own style.
const POLICY: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
);
const NOSNIFF: (HeaderName, HeaderValue) = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Test mailbox</title><style>\
    body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}\
    article{border:1px solid #ccc;border-radius:6px;padding:.5rem 1rem;margin:1rem 0}\
    h2{font-size:1.05rem;margin:.3rem 0}pre{white-space:pre-wrap;font:inherit}small{color:#555}</style>\
    <h1>Test mailbox</h1>";

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, letters: Letters) {
    let router = Router::new()
        .route("/", get(page))
        .route("/mails", get(list))
        .route("/mails/{number}", get(raw))
        .route("/mails/{number}/reply", post(reply))
        .fallback(elsewhere)
        .layer(DefaultBodyLimit::max(ANSWER_BYTES_MAX + 1))
        .with_state(letters);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the test mailbox ended");
    }
}

/// Which mails are wanted.
#[derive(Deserialize)]
struct Wanted {
    /// Those for this address.
    to: Option<String>,
    /// How many seconds to wait if there is none yet.
    #[serde(default)]
    wait: u64,
}

/// `GET /mails?to=&wait=`: the newest first.
async fn list(State(letters): State<Letters>, Query(Wanted { to, wait }): Query<Wanted>) -> Response {
    Json(letters.wait(to.as_deref(), Duration::from_secs(wait)).await).into_response()
}

/// `GET /mails/{number}`: the mail as it was sent.
async fn raw(State(letters): State<Letters>, Path(number): Path<u64>) -> Response {
    match letters.get(number) {
        Some(mail) => {
            let plain = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            ([plain, NOSNIFF], mail.raw.to_vec()).into_response()
        }
        None => refused(StatusCode::NOT_FOUND, &AnswerError::Unknown),
    }
}

/// `POST /mails/{number}/reply`, with the text as its body: the recipient answers.
async fn reply(State(letters): State<Letters>, Path(number): Path<u64>, text: String) -> Response {
    match letters.answer(number, &text).await {
        Ok(()) => Json(json!({ "replied": true })).into_response(),
        Err(error) => {
            let status = match &error {
                AnswerError::Unknown => StatusCode::NOT_FOUND,
                AnswerError::Length => StatusCode::BAD_REQUEST,
                AnswerError::Unanswerable | AnswerError::NotTaken(_) => StatusCode::UNPROCESSABLE_ENTITY,
                AnswerError::Lost(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refused(status, &error)
        }
    }
}

/// All other addresses, those of providers among them.
async fn elsewhere() -> Response {
    refused(StatusCode::NOT_FOUND, &"there is no provider in the demo, and nothing else here")
}

fn refused(status: StatusCode, sentence: &dyn std::fmt::Display) -> Response {
    (status, Json(json!({ "error": sentence.to_string() }))).into_response()
}

/// `GET /`.
async fn page(State(letters): State<Letters>) -> Response {
    let mut html = HEAD.to_owned();
    let mails = letters.list(None);
    let _ = write!(
        html,
        "<p>Everything that the demo sends arrives here, whoever it is for. {} mails, the newest first; \
         <code>/mails</code> is the same as JSON. Answer one with \
         <code>curl --data 'Yes, call me.' …/mails/NUMBER/reply</code>.</p>",
        mails.len()
    );
    mails.iter().for_each(|mail| article(&mut html, mail));
    let content = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    ([content, POLICY, NOSNIFF], html).into_response()
}

fn article(html: &mut String, Mail { number, to, seen, .. }: &Mail) {
    let _ = write!(
        html,
        "<article><small>{number} · {} · from {} to {}</small><h2>{}</h2><pre>{}</pre><small><a href=\"/mails/{number}\">As \
         it was sent</a>",
        escaped(&seen.date),
        escaped(&seen.from),
        escaped(to),
        escaped(&seen.subject),
        escaped(&seen.text)
    );
    if let Some(url) = seen.unsubscribe.as_deref().filter(|url| url.starts_with("http")) {
        let _ = write!(html, " · <a href=\"{}\">Unsubscribe</a>", escaped(url));
    }
    html.push_str("</small></article>");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_cannot_become_part_of_the_page() {
        let seen = crate::channels::email::reader::Seen {
            subject: "<script>".into(),
            text: "\"'&".into(),
            unsubscribe: Some("javascript:alert(1)".into()),
            ..Default::default()
        };
        let mut html = String::new();
        article(&mut html, &Mail { number: 1, to: "<a@b>".into(), seen, raw: Default::default() });
        assert!(
            html.contains("&lt;script&gt;")
                && html.contains("&quot;&#39;&amp;")
                && html.contains("&lt;a@b&gt;")
        );
        assert!(!html.contains("<script") && !html.contains("javascript:"));
    }
}
