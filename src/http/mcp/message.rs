//! What was sent to `/mcp`, before the protocol's own library reads it.
//!
//! That library answers bytes that are no JSON as another media type, a call whose parameters are none as an unknown
//! method, and of a key that appears twice it takes the last. Here a message is read as strictly as a body of the HTTP
//! surface: what cannot be read is a parse error of JSON-RPC (-32700), a call without a name or with arguments that are no
//! object is one of invalid parameters (-32602), both with status 400. All else goes on as it came.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::http::body::{Broken, receive};
use crate::http::reply;
use crate::json::{self, Fault};

/// JSON-RPC: the bytes are no message.
const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: the parameters of a method are none of its.
const INVALID_PARAMS: i64 = -32602;
/// Levels of a message: those that the deepest call may have, and those around it.
const LEVELS: usize = 100;

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
        let status = match broken {
            Broken::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Broken::Stalled => StatusCode::REQUEST_TIMEOUT,
            Broken::Interrupted => StatusCode::BAD_REQUEST,
        };
        refused(status, PARSE_ERROR, &broken.to_string(), Value::Null)
    })?;
    match judge(&bytes) {
        Ok(()) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Err((code, message, id)) => Err(refused(StatusCode::BAD_REQUEST, code, &message, id)),
    }
}

fn refused(status: StatusCode, code: i64, message: &str, id: Value) -> Response {
    let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    reply::json(status, &error)
}

/// Why a message is none: the code, the sentence, and the id of the request, if it can be told.
fn judge(bytes: &[u8]) -> Result<(), (i64, String, Value)> {
    let unreadable = |fault: &Fault| (PARSE_ERROR, fault.to_string(), Value::Null);
    let message = match json::read_within(bytes, LEVELS) {
        Ok(message) => message,
        Err(fault @ (Fault::NotUtf8 | Fault::Syntax { .. } | Fault::DuplicateKey { .. })) => {
            return Err(unreadable(&fault));
        }
        // A text or number that is not taken: the tool says so to the model, if the call still has it. If it has not,
        // a key that is there twice hid it.
        Err(fault) => {
            let lenient: Value = serde_json::from_slice(bytes).map_err(|_| unreadable(&fault))?;
            let hidden = json::read_within(lenient.to_string().as_bytes(), LEVELS).is_ok();
            if hidden {
                return Err(unreadable(&fault));
            }
            lenient
        }
    };
    if message["method"] != "tools/call" {
        return Ok(());
    }
    let invalid = |words: &str| Err((INVALID_PARAMS, words.to_owned(), message["id"].clone()));
    let params = &message["params"];
    match (&params["name"], &params["arguments"]) {
        _ if !params.is_object() => invalid("params must be an object with the tool's name"),
        (Value::String(_), Value::Object(_) | Value::Null) => Ok(()),
        (Value::String(_), _) => invalid("params.arguments must be an object"),
        _ => invalid("params.name must be the name of a tool"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_read_is_told_from_a_call_that_is_none() {
        let call =
            |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        for (message, code, id) in [
            ("{".to_owned(), Some(PARSE_ERROR), Value::Null),
            (String::new(), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","arguments":{"x":1e400}}"#), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","arguments":{"x":"\ud800"}}"#), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","arguments":{"x":1,"x":2}}"#), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","name":"b"}"#), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","arguments":{"x":"\u0000","x":2}}"#), Some(PARSE_ERROR), Value::Null),
            (call(r#"{"name":"a","arguments":[]}"#), Some(INVALID_PARAMS), json!(7)),
            (call(r#"{"name":"a","arguments":"{}"}"#), Some(INVALID_PARAMS), json!(7)),
            (call(r#"{"arguments":{}}"#), Some(INVALID_PARAMS), json!(7)),
            (call(r#"{"name":1}"#), Some(INVALID_PARAMS), json!(7)),
            (call("[]"), Some(INVALID_PARAMS), json!(7)),
            (call(r#"{"name":"a"}"#), None, Value::Null),
            (call(r#"{"name":"a","arguments":{}}"#), None, Value::Null),
            // What a model can mend is told to the model.
            (call(r#"{"name":"a","arguments":{"x":"\u0000"}}"#), None, Value::Null),
            (call(r#"{"name":"a","arguments":{"x":9007199254740993}}"#), None, Value::Null),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned(), None, Value::Null),
        ] {
            match (judge(message.as_bytes()), code) {
                (Ok(()), None) => (),
                (Err((told, _, told_id)), Some(code)) => assert_eq!((told, told_id), (code, id), "{message}"),
                (got, _) => panic!("{message}: {got:?}"),
            }
        }
        assert_eq!(judge(b"\"\xff\"").map_err(|(code, ..)| code), Err(PARSE_ERROR));
    }
}
