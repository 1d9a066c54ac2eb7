//! A provider of everything, which repeats what it was given.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A way to write a text, and its name.
type Way = (&'static str, fn(&str) -> String);

/// How a provider may repeat what it was given.
pub const WAYS_TO_REPEAT: [Way; 6] = [
    ("as it is", str::to_owned),
    ("in Base64", |text| STANDARD.encode(text)),
    ("in Base64 beside a name", |text| STANDARD.encode(format!("ops:{text}"))),
    ("percent-encoded", |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()),
    ("in hexadecimal", |text| hex::encode(text)),
    ("as JSON", |text| json!(text).to_string()),
];

/// A provider of everything, which refuses or takes what it is asked for and repeats the credential in either case.
pub struct Echo {
    pub base: String,
    pub state: Arc<EchoState>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub struct EchoState {
    pub takes: AtomicBool,
    pub way: AtomicUsize,
    repeated: AtomicUsize,
    seen: Mutex<Vec<String>>,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(EchoState::default());
        let router = axum::Router::new().fallback(repeat).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, state, task }
    }

    pub fn saw(&self, credential: &str) -> bool {
        self.state.seen.lock().unwrap().iter().any(|seen| seen == credential)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn repeat(State(state): State<Arc<EchoState>>, request: Request) -> Response {
    let header = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let bearer = header(request.headers(), "authorization").map(|value| value.replace("Bearer ", ""));
    let credential = bearer.or_else(|| header(request.headers(), "x-api-key")).unwrap_or_default();
    let (_, way) = WAYS_TO_REPEAT[state.way.load(Ordering::SeqCst)];
    let told = format!("the key {} is refused", way(&credential));
    let number = state.repeated.fetch_add(1, Ordering::SeqCst);
    state.seen.lock().unwrap().push(credential);
    let of_graph = request.uri().path().starts_with("/v23.0/");
    if state.takes.load(Ordering::SeqCst) {
        let message = json!({ "role": "assistant", "content": json!({ "issues": [] }).to_string() });
        let taken = json!({
            "id": format!("id-{number}"), "messages": [{ "id": format!("wamid.{number}") }],
            "recipient_id": "1", "message_id": format!("mid-{number}"), "object": "ChatStarted",
            "status": "success", "data": { "id": number, "uid": format!("uid-{number}"), "status": "accepted" },
            "choices": [{ "message": message, "finish_reason": "stop" }], "note": told,
        });
        return (StatusCode::OK, [("x-note", hex::encode(&told))], taken.to_string()).into_response();
    }
    let code = if of_graph { json!(190) } else { json!(told) };
    let refused = json!({
        "statusCode": 401, "status": 401, "name": told, "message": told, "type": told, "title": told, "detail": told,
        "error": { "code": code, "message": told, "type": told, "error_data": { "details": told } },
    });
    (StatusCode::UNAUTHORIZED, [("x-note", hex::encode(&told))], refused.to_string()).into_response()
}
