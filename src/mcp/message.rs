//! What was sent, before the protocol's own library reads it; the same for every door.
//!
//! That library takes the last of a key that appears twice, calls parameters that are none an unknown method, and says
//! nothing at all of a line that is no JSON. Here a message is read as strictly as a body of the HTTP surface: what
//! cannot be read is a parse error of JSON-RPC (-32700), JSON that is no message an invalid request (-32600), a call
//! without a name or with arguments that are no object one of invalid parameters (-32602), and so is a conversation that is
//! begun without what it is begun with. A conversation is begun once: whoever begins it again sends an invalid request. Names
//! are told back, and so have a length. All else goes on as it came.

use serde::Deserialize;
use serde_json::{Value, json};

use super::calling::BODY_MAX;
use crate::json::{self, Fault};
use crate::spelling::shortened;
use crate::tools::refusal::{MESSAGE_MAX, NAME_SHOWN};

/// Levels of a message: those that the deepest call may have, and those around it.
const LEVELS: usize = 100;
/// Characters of the name of a method, a tool or a revision, at most: none that there is has so many, and whoever does not
/// know one says which.
const NAME_MAX: usize = 128;
/// Where a request of a revision without conversations says which revision it is of.
const REVISION: &str = "io.modelcontextprotocol/protocolVersion";

/// Why a message is none, as its sender is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    kind: Kind,
    message: String,
    /// The rule that was broken, where it is one of reading.
    rule: Option<&'static str>,
    /// The id of the request, null where it cannot be told.
    id: Value,
}

/// The kinds of mistake that JSON-RPC knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The bytes are no message.
    Unreadable,
    /// The JSON is no message.
    InvalidRequest,
    /// There is no such method.
    UnknownMethod,
    /// The parameters of a method are none of its.
    InvalidParams,
}

impl Kind {
    const fn code(self) -> i64 {
        match self {
            Self::Unreadable => -32700,
            Self::InvalidRequest => -32600,
            Self::UnknownMethod => -32601,
            Self::InvalidParams => -32602,
        }
    }
}

impl Mistake {
    /// The bytes cannot be read, or did not arrive; `rule` names for machines why.
    pub fn unreadable(rule: &'static str, message: impl Into<String>) -> Self {
        let message = shortened(&message.into(), MESSAGE_MAX).into_owned();
        Self { kind: Kind::Unreadable, message, rule: Some(rule), id: Value::Null }
    }

    /// The message is longer than one may be.
    pub fn too_long() -> Self {
        Self::unreadable("BODY_TOO_LARGE", format!("the body is larger than {BODY_MAX} bytes"))
    }

    /// The JSON is no message of the protocol.
    pub fn invalid_request(message: impl Into<String>, id: Value) -> Self {
        Self { kind: Kind::InvalidRequest, message: message.into(), rule: None, id }
    }

    fn unknown_method(name: &str, id: &Value) -> Self {
        let message = format!("there is no method {}", shortened(name, NAME_SHOWN));
        Self { kind: Kind::UnknownMethod, message, rule: None, id: id.clone() }
    }

    fn invalid_params(message: &str, id: &Value) -> Self {
        Self { kind: Kind::InvalidParams, message: message.to_owned(), rule: None, id: id.clone() }
    }

    /// The answer of JSON-RPC.
    pub fn answer(&self) -> Value {
        let mut error = json!({ "code": self.kind.code(), "message": self.message });
        if let Some(rule) = self.rule {
            error["data"] = json!({ "errorCode": rule });
        }
        json!({ "jsonrpc": "2.0", "id": self.id, "error": error })
    }
}

/// A message that breaks a rule of reading. Whoever waits for an answer by its id is told with that id, where it can be made
/// out all the same.
fn unread(bytes: &[u8], fault: &Fault) -> Mistake {
    #[derive(Deserialize)]
    struct Named {
        id: Value,
    }
    let named = serde_json::from_slice(bytes).ok().map(|Named { id }| id);
    let id = named.filter(names_a_request).unwrap_or_default();
    Mistake { id, ..Mistake::unreadable(fault.code(), fault.to_string()) }
}

/// Whether a message that is to begin a conversation has what it is begun with. Where there are no conversations, as in the
/// newer revision over HTTP, there is no such message either.
pub fn judge_beginning(bytes: &[u8]) -> Result<(), Mistake> {
    let message: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let (params, client) = (&message["params"], &message["params"]["clientInfo"]);
    let whole = params["protocolVersion"].is_string()
        && params["capabilities"].is_object()
        && client["name"].is_string()
        && client["version"].is_string();
    if message["method"] == "initialize" && !whole {
        let words = "params must have protocolVersion, capabilities and clientInfo with name and version";
        return Err(Mistake::invalid_params(words, &message["id"]));
    }
    Ok(())
}

/// Whether a message may come once the conversation has begun: any but the one that begins it, which "must be the first
/// interaction" (2025-11-25, lifecycle).
pub fn judge_going_on(bytes: &[u8]) -> Result<(), Mistake> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Head {
        method: Value,
        id: Value,
    }
    let head: Head = serde_json::from_slice(bytes).unwrap_or_default();
    if head.method == "initialize" && names_a_request(&head.id) {
        return Err(Mistake::invalid_request("the conversation has begun already", head.id));
    }
    Ok(())
}

/// Whether the bytes are a message that may go on.
pub fn judge(bytes: &[u8]) -> Result<(), Mistake> {
    let message = match json::read_within(bytes, LEVELS) {
        Ok(message) => message,
        Err(fault @ (Fault::NotUtf8 | Fault::Syntax { .. } | Fault::DuplicateKey { .. })) => {
            return Err(unread(bytes, &fault));
        }
        // A text or number that is not taken: the tool says so to the model. A key that is there twice is told here.
        Err(_) => json::read_shape(bytes, LEVELS).map_err(|fault| unread(bytes, &fault))?,
    };
    let id = shape(&message)?;
    let params = &message["params"];
    let invalid = |words: &str| Err(Mistake::invalid_params(words, &id));
    // What has no id is answered with nothing, however long its names.
    if !id.is_null() {
        if let Some(method) = overlong(&message["method"]) {
            return Err(Mistake::unknown_method(method, &id));
        }
        if overlong(&params["protocolVersion"]).or(overlong(&params["_meta"][REVISION])).is_some() {
            return invalid("the protocol version must be one such as 2025-11-25");
        }
    }
    if message["method"] != "tools/call" {
        return Ok(());
    }
    if let Some(name) = overlong(&params["name"]) {
        return invalid(&format!("there is no tool {}", shortened(name, NAME_SHOWN)));
    }
    match (&params["name"], &params["arguments"]) {
        _ if !params.is_object() => invalid("params must be an object with the tool's name"),
        (Value::String(_), Value::Object(_) | Value::Null) => Ok(()),
        (Value::String(_), _) => invalid("params.arguments must be an object"),
        _ => invalid("params.name must be the name of a tool"),
    }
}

/// The id of what has the shape of a message, null where it has none: a request, a notification, a result or an error.
fn shape(message: &Value) -> Result<Value, Mistake> {
    let invalid = |words: &str, id: &Value| Err(Mistake::invalid_request(words, id.clone()));
    let Some(members) = message.as_object() else {
        return invalid("a message must be an object, and one to itself", &Value::Null);
    };
    let id = members.get("id");
    // Only what could be the id of a request is given back as one.
    let told = id.filter(|id| names_a_request(id)).cloned().unwrap_or_default();
    if message["jsonrpc"] != "2.0" {
        return invalid("jsonrpc must be \"2.0\"", &told);
    }
    match members.get("method") {
        Some(Value::String(_)) => (),
        Some(_) => return invalid("method must be a text", &told),
        // What went wrong at the client need not have an id.
        None if members.contains_key("error") => return Ok(told),
        None if members.contains_key("result") => (),
        None => return invalid("a message must have a method, a result or an error", &told),
    }
    if id.is_some_and(|id| !names_a_request(id)) {
        return invalid("id must be a text or a whole number", &told);
    }
    Ok(told)
}

/// The name, if it is too long for one.
fn overlong(name: &Value) -> Option<&str> {
    name.as_str().filter(|name| name.chars().nth(NAME_MAX).is_some())
}

fn names_a_request(id: &Value) -> bool {
    id.is_string() || id.is_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREADABLE: i64 = Kind::Unreadable.code();
    const INVALID_REQUEST: i64 = Kind::InvalidRequest.code();
    const INVALID_PARAMS: i64 = Kind::InvalidParams.code();

    #[test]
    fn what_cannot_be_read_what_is_no_message_and_what_is_no_call_are_told_apart() {
        let call =
            |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (message, code, rule, id) in [
            ("{".to_owned(), UNREADABLE, "MALFORMED_JSON", Value::Null),
            (String::new(), UNREADABLE, "MALFORMED_JSON", Value::Null),
            (call("{\"name\":\"a\u{0}\"}"), UNREADABLE, "MALFORMED_JSON", Value::Null),
            (call(r#"{"name":"a","arguments":{"x":1e400}}"#), UNREADABLE, "MALFORMED_JSON", json!(7)),
            (call(r#"{"name":"a","arguments":{"x":"\ud800"}}"#), UNREADABLE, "MALFORMED_JSON", json!(7)),
            (call(r#"{"name":"a","arguments":{"x":1,"x":2}}"#), UNREADABLE, "DUPLICATE_KEY", json!(7)),
            (call(r#"{"name":"a","name":"b"}"#), UNREADABLE, "DUPLICATE_KEY", json!(7)),
            (r#"{"jsonrpc":"2.0","id":7,"id":8}"#.to_owned(), UNREADABLE, "DUPLICATE_KEY", Value::Null),
            (r#"{"jsonrpc":"2.0","id":{},"a":1,"a":2}"#.to_owned(), UNREADABLE, "DUPLICATE_KEY", Value::Null),
            (call(r#"{"name":"a","arguments":{"x":"\u0000","x":2}}"#), UNREADABLE, "DUPLICATE_KEY", json!(7)),
            (
                call(r#"{"name":"a","_meta":{"x":"\u0000","n":1e17},"arguments":{"x":1,"x":2}}"#),
                UNREADABLE,
                "DUPLICATE_KEY",
                json!(7),
            ),
            (call(&format!(r#"{{"name":"a","arguments":{deep}}}"#)), UNREADABLE, "TOO_DEEP", json!(7)),
            ("1".to_owned(), INVALID_REQUEST, "", Value::Null),
            (format!("[{}]", call(r#"{"name":"a"}"#)), INVALID_REQUEST, "", Value::Null),
            ("{}".to_owned(), INVALID_REQUEST, "", Value::Null),
            (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#.to_owned(), INVALID_REQUEST, "", json!(7)),
            (r#"{"jsonrpc":"2.0","id":7,"method":1}"#.to_owned(), INVALID_REQUEST, "", json!(7)),
            (r#"{"jsonrpc":"2.0","id":"a"}"#.to_owned(), INVALID_REQUEST, "", json!("a")),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(), INVALID_REQUEST, "", Value::Null),
            (r#"{"jsonrpc":"2.0","id":1.5,"result":{}}"#.to_owned(), INVALID_REQUEST, "", Value::Null),
            (call(r#"{"name":"a","arguments":[]}"#), INVALID_PARAMS, "", json!(7)),
            (call(r#"{"name":"a","arguments":"{}"}"#), INVALID_PARAMS, "", json!(7)),
            (call(r#"{"arguments":{}}"#), INVALID_PARAMS, "", json!(7)),
            (call(r#"{"name":1}"#), INVALID_PARAMS, "", json!(7)),
            (call("[]"), INVALID_PARAMS, "", json!(7)),
        ] {
            let told = judge(message.as_bytes()).expect_err(&message).answer();
            let error = &told["error"];
            assert_eq!((&error["code"], &told["id"]), (&json!(code), &id), "{message}: {told}");
            assert_eq!(error["data"]["errorCode"].as_str().unwrap_or(""), rule, "{message}: {told}");
        }
        assert_eq!(judge(b"\"\xff\"").unwrap_err(), unread(b"", &Fault::NotUtf8));
    }

    #[test]
    fn a_conversation_is_begun_with_all_that_it_needs() {
        let begin =
            |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"initialize","params":{params}}}"#);
        let whole =
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#;
        assert_eq!(judge_beginning(begin(whole).as_bytes()), Ok(()));
        assert_eq!(judge_beginning(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Ok(()));
        for params in ["{}", "null", r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#] {
            let told = judge_beginning(begin(params).as_bytes()).expect_err(params).answer();
            assert_eq!(
                (&told["error"]["code"], &told["id"]),
                (&json!(INVALID_PARAMS), &json!(7)),
                "{params}"
            );
        }
    }

    #[test]
    fn a_conversation_that_has_begun_is_not_begun_again() {
        let again = br#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{}}"#;
        let told = judge_going_on(again).expect_err("it is begun again").answer();
        assert_eq!((&told["error"]["code"], &told["id"]), (&json!(INVALID_REQUEST), &json!(7)));
        for other in
            [r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]
        {
            assert_eq!(judge_going_on(other.as_bytes()), Ok(()), "{other}");
        }
    }

    #[test]
    fn names_that_are_none_are_told_by_their_ends() {
        let long = |end: &str| format!("{}{end}", "x".repeat(100_000));
        let request = |method: &str, params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#)
        };
        for (message, code, says) in [
            (request(&long("/steal"), "{}"), Kind::UnknownMethod.code(), "/steal"),
            (request("tools/call", &format!(r#"{{"name":"{}"}}"#, long("_tool"))), INVALID_PARAMS, "_tool"),
            (
                request("initialize", &format!(r#"{{"protocolVersion":"{}"}}"#, long("9"))),
                INVALID_PARAMS,
                "2025-11-25",
            ),
            (
                request("tools/list", &format!(r#"{{"_meta":{{"{REVISION}":"{}"}}}}"#, long("9"))),
                INVALID_PARAMS,
                "2025-11-25",
            ),
            (format!(r#"{{"{0}":1,"{0}":2}}"#, long("key")), UNREADABLE, "key"),
        ] {
            let told = judge(message.as_bytes()).expect_err(says).answer().to_string();
            assert!(told.contains(&code.to_string()) && told.contains(says), "{told}");
            assert!(told.len() < 3_000, "{} bytes", told.len());
        }
        let notification = format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, long("/of_somebody_else"));
        assert_eq!(judge(notification.as_bytes()), Ok(()));
    }

    #[test]
    fn what_is_a_message_goes_on_as_it_came() {
        for message in [
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"a","arguments":{}}}"#,
            // What a model can mend is told to the model.
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":"\u0000"}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":9007199254740993}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#,
        ] {
            assert_eq!(judge(message.as_bytes()), Ok(()), "{message}");
        }
    }
}
