//! Refusals as problem details (RFC 9457), for clients that ask for them.
//!
//! A route refuses in its own words: the envelope of the agent tools, or the shorter form of the company API. Whoever
//! names `application/problem+json` in `Accept`, and likes it no less than `application/json`, is told the same in that
//! form. It is made here, from what was about to be sent, so that no route knows of it and nothing is lost on the way.
//! Answers that are no refusals are as they are.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{REQUEST_ID, reply};

/// The media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Where the reference is served; a kind of problem is a name within it.
const KINDS: &str = "/docs";

/// What a refusal says in the words of its route; travels with the response.
#[derive(Clone, Debug)]
struct Refused(Arc<Value>);

/// A refusal in the words of its route.
pub fn refusal(status: StatusCode, body: Value) -> Response {
    let mut response = reply::json(status, &body);
    response.extensions_mut().insert(Refused(Arc::new(body)));
    response
}

/// Gives a refusal the form that the client asks for. Outside of what names the request, since the problem names it too.
pub async fn negotiate(request: Request, next: Next) -> Response {
    let wanted = is_preferred(request.headers());
    let mut response = next.run(request).await;
    let Some(Refused(body)) = response.extensions_mut().remove() else { return response };
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    if wanted {
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let problem = problem(response.status(), &body, id);
        *response.body_mut() = Body::from(problem.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    }
    response
}

/// The problem details of a refusal: of the tools, which say more in `meta`, and of the company API.
fn problem(status: StatusCode, body: &Value, request_id: &str) -> Value {
    let mut meta = body["meta"].as_object().cloned().unwrap_or_default();
    let (mut take, own) = (|name: &str| meta.remove(name), |name: &str| body.get(name).cloned());
    let code = take("errorCode").or_else(|| own("code"));
    let code = code.as_ref().and_then(Value::as_str).unwrap_or("INTERNAL");
    let mut members = Map::from_iter([
        ("type".to_owned(), format!("{KINDS}#{code}").into()),
        ("title".to_owned(), title(code).into()),
        ("status".to_owned(), status.as_u16().into()),
        ("detail".to_owned(), body["error"].clone()),
        ("instance".to_owned(), format!("/requests/{request_id}").into()),
        ("code".to_owned(), code.into()),
    ]);
    let (errors, hint) = (take("fieldErrors"), take("hint"));
    // A list of the company API names what is at fault one by one; all else explains the whole.
    let (faults, details) = match take("details").or_else(|| own("details")) {
        Some(faults @ Value::Array(_)) => (Some(faults), None),
        details => (None, details),
    };
    let meta = body.get("meta").map(|_| json!(meta));
    let more =
        [("errors", errors.or(faults)), ("hint", hint), ("details", details), ("meta", meta)].into_iter();
    members.extend(more.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(members)
}

/// The kind in words that never change: `CAMPAIGN_NOT_FOUND` is `Campaign not found`.
fn title(code: &str) -> String {
    let words = code.replace('_', " ").to_ascii_lowercase();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Whether the client names problem details and likes plain JSON no better (RFC 9110, section 12.5.1). A range such as
/// `*/*` names nothing: it gets what it always got. Who names both gets the form that is made for refusals, since a
/// client that is generated from the reference does.
fn is_preferred(headers: &HeaderMap) -> bool {
    // For plain JSON the most specific range counts, whatever it says: its specificity, and its weight.
    let (mut named, mut plain) = (0.0_f32, (0_u8, 0.0_f32));
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| {
            let (name, weight) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight.trim().parse().unwrap_or(0.0_f32))
        });
        let weight = weight.unwrap_or(1.0);
        let specificity = match media_type.as_str() {
            MEDIA_TYPE => {
                named = named.max(weight);
                continue;
            }
            "application/json" => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if specificity >= plain.0 {
            let before = if specificity == plain.0 { plain.1 } else { 0.0 };
            plain = (specificity, weight.max(before));
        }
    }
    named > 0.0 && named >= plain.1
}

/// What the reference says of problem details.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A refusal as problem details (RFC 9457), for clients that name application/problem+json in \
            Accept and prefer nothing else to it.",
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": "The kind of problem: one address for each code, for ever.",
            },
            "title": { "type": "string", "description": "The kind in words that never change." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "One sentence for people." },
            "instance": {
                "type": "string",
                "format": "uri-reference",
                "description": "This request; ends with the id in X-Request-Id.",
            },
            "code": { "type": "string", "description": "A name for machines." },
            "errors": {
                "type": "array",
                "description": "Each field at fault with path, code and message.",
                "items": { "type": "object" },
            },
            "hint": { "type": "string", "description": "The next call to make, of the agent tools." },
            "details": { "description": "More, where there is more to say." },
            "meta": { "type": "object", "description": "What else the envelope of an agent tool says in meta." },
        },
        "required": ["type", "title", "status", "detail", "instance", "code"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_details_are_for_those_who_name_them_and_like_nothing_better() {
        for (accept, wanted) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["application/json"], false),
            (&["text/html, application/xhtml+xml, */*;q=0.8"], false),
            (&["application/problem+json"], true),
            (&["Application/Problem+JSON ; charset=utf-8"], true),
            (&["application/problem+json;q=0"], false),
            (&["application/problem+json;q=0.001"], true),
            (&["application/problem+json;q=high"], false),
            (&["application/problem+json, application/json"], true),
            (&["application/problem+json, */*"], true),
            (&["application/problem+json;q=0.5, application/json"], false),
            (&["application/problem+json;q=0.5, application/json;Q=0.4"], true),
            (&["application/problem+json;q=0.5, */*"], false),
            (&["application/problem+json;q=0.5, */*, application/json;q=0.1"], true),
            (&["application/problem+json;q=0.5, application/json;q=0.1, */*"], true),
            (&["application/problem+json;q=0.5, application/*;q=0.6, */*;q=0.1"], false),
            (&["application/problem+xml, application/problemjson"], false),
            // Several headers are one list.
            (&["application/json;q=0.9", "application/problem+json"], true),
            (&["application/json", "application/problem+json;q=0.9"], false),
        ] {
            let headers = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value)));
            let mut map = HeaderMap::new();
            headers.for_each(|(name, value)| {
                map.append(name, value);
            });
            assert_eq!(is_preferred(&map), wanted, "{accept:?}");
        }
    }

    #[test]
    fn nothing_of_a_refusal_is_lost() {
        let faults =
            json!([{ "path": "input.limit", "code": "TOO_LARGE", "message": "must be at most 100" }]);
        let head = |code: &str, title: &str, more: Value| {
            let mut problem = json!({
                "type": format!("/docs#{code}"), "title": title, "status": 409, "detail": "it is so",
                "instance": "/requests/r-1", "code": code,
            });
            problem.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            problem
        };
        for (body, expected) in [
            (json!({ "error": "it is so", "code": "CONFLICT" }), head("CONFLICT", "Conflict", json!({}))),
            (
                json!({ "error": "it is so", "code": "VALIDATION_FAILED", "details": faults }),
                head("VALIDATION_FAILED", "Validation failed", json!({ "errors": faults })),
            ),
            (
                json!({ "error": "it is so", "code": "SLUG_TAKEN", "details": { "index": 3 } }),
                head("SLUG_TAKEN", "Slug taken", json!({ "details": { "index": 3 } })),
            ),
            (
                json!({
                    "success": false, "data": null, "error": "it is so",
                    "meta": {
                        "errorCode": "PREVIEW_DRIFT", "hint": "look again", "fieldErrors": faults,
                        "details": { "drift": [] }, "auditId": "a", "warnings": [],
                    },
                }),
                head(
                    "PREVIEW_DRIFT",
                    "Preview drift",
                    json!({
                        "hint": "look again", "errors": faults, "details": { "drift": [] },
                        "meta": { "auditId": "a", "warnings": [] },
                    }),
                ),
            ),
        ] {
            assert_eq!(problem(StatusCode::CONFLICT, &body, "r-1"), expected);
        }
    }
}
