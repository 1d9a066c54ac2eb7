//! What a handler knows of the call it serves, once the gate let it in.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CommandId, OrganizationId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::{ApiError, FieldProblem};
use super::reply::{self, Recorded};
use super::{HttpState, input};
use crate::credentials::Caller;
use crate::ledger::{AppendError, Origin, StoredAnswer, canonical};
use crate::service::{Call, Done, Idempotency, ServiceError};

/// The caller's own id of a request that it may ask again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The run that the caller says it belongs to.
const RUN_ID: HeaderName = HeaderName::from_static("x-run-id");
/// What the header may be, for the reference.
pub const KEY_PATTERN: &str = "^([A-Za-z0-9._:/+=@-]{1,120}|\"[A-Za-z0-9._:/+=@-]{1,120}\")$";
/// Characters of an idempotency key, at most.
const KEY_CHARACTERS_MAX: usize = 120;
/// How long a client may ask an answer to wait.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A call that was let in: who calls, through which door, about which company.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who calls.
    pub caller: Caller,
    /// The company in the path; the instance where there is none.
    pub organization: OrganizationId,
    /// When it came in.
    pub at: Timestamp,
    /// The id under which it is recorded, if it changes anything.
    pub command_id: CommandId,
    tool: &'static str,
    path: String,
    run_id: Option<Uuid>,
    idempotency_key: Option<String>,
}

impl Admitted {
    /// What the headers say of the call.
    pub fn new(
        caller: Caller,
        organization: OrganizationId,
        tool: &'static str,
        path: &str,
        headers: &HeaderMap,
        state: &HttpState,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            caller,
            organization,
            at: state.app.clock.now(),
            command_id: state.app.clock.mint(),
            tool,
            path: path.to_owned(),
            run_id: run_id(headers)?,
            idempotency_key: idempotency_key(headers).map_err(|problem| ApiError::fields(vec![problem]))?,
        })
    }

    /// The call of a service with this input. Input and path together are what a repeated request must equal.
    pub fn call(&self, input: &Value) -> Result<Call, ApiError> {
        let idempotency = match &self.idempotency_key {
            None => None,
            Some(key) => {
                let input =
                    canonical::to_string(&json!({ "path": self.path, "input": input })).map_err(|_| {
                        ApiError::new(
                            StatusCode::BAD_REQUEST,
                            "NOT_CANONICAL",
                            "the body holds a number that has no exact form; write it as a string",
                        )
                    })?;
                Some(Idempotency { key: key.clone(), input })
            }
        };
        Ok(Call {
            organization: self.organization,
            command_id: self.command_id,
            at: self.at,
            origin: Origin {
                actor: self.caller.actor(),
                tool: self.tool.to_owned(),
                request_id: self.idempotency_key.clone(),
                run_id: self.run_id,
                reason: None,
                causation: None,
            },
            idempotency,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the call did not pass the gate")
        })
    }
}

/// The header `X-Run-Id`.
pub fn run_id(headers: &HeaderMap) -> Result<Option<Uuid>, ApiError> {
    let Some(value) = headers.get(RUN_ID) else { return Ok(None) };
    let run = value.to_str().ok().and_then(input::uuid);
    run.map(Some).ok_or_else(|| ApiError::field("x-run-id", "MALFORMED_ID", "must be a UUID"))
}

/// The header `Idempotency-Key`. The IETF draft writes it between quotation marks, most clients do not: both mean the
/// same.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, FieldProblem> {
    let problem = |message: String| FieldProblem::new("idempotency-key", "INVALID_KEY", message);
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(problem("must be given once".to_owned()));
    }
    let unquoted = |key| match str::strip_prefix(key, '"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(key),
        None => key,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/+=@-".contains(&b);
    let acceptable = |key: &&str| (1..=KEY_CHARACTERS_MAX).contains(&key.len()) && key.bytes().all(plain);
    let key = value.to_str().ok().map(unquoted).filter(acceptable);
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        problem(format!("must be 1 to {KEY_CHARACTERS_MAX} letters, digits and . _ : / + = @ -"))
    })
}

/// How long the client asks the answer to wait: `Prefer: wait=n` in seconds (RFC 7240), if it is said.
pub fn wait_preferred(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// The answer that this request got before, if it did.
pub async fn replay(
    state: &HttpState,
    call: &Call,
    status: StatusCode,
) -> Result<Option<Response>, ApiError> {
    let Some(idempotency) = &call.idempotency else { return Ok(None) };
    let answered = state
        .app
        .ledger
        .answered(
            call.organization,
            call.origin.actor.principal,
            &call.origin.tool,
            &idempotency.key,
            &idempotency.input,
        )
        .await?;
    Ok(answered.map(|stored| replayed(&stored, status)))
}

fn replayed(stored: &StoredAnswer, status: StatusCode) -> Response {
    let mut response = reply::json(status, &stored.answer);
    response.headers_mut().insert(reply::REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The answer of a service: the entity, or what the winner of a race was answered, or the refusal.
pub fn settle<T: Serialize, R: Into<ApiError>>(
    result: Result<Done<T>, ServiceError<R>>,
    status: StatusCode,
) -> Result<Response, ApiError> {
    match result {
        Ok(Done { entity, appended }) => {
            let mut response = reply::json(status, &entity);
            if let Some(appended) = appended {
                let recorded = Recorded { command_id: appended.command_id, position: appended.position };
                response.extensions_mut().insert(recorded);
            }
            Ok(response)
        }
        Err(ServiceError::Append(AppendError::Replayed(stored))) => Ok(replayed(&stored, status)),
        Err(error) => Err(error.into()),
    }
}

impl<R: Into<ApiError>> From<ServiceError<R>> for ApiError {
    fn from(error: ServiceError<R>) -> Self {
        match error {
            ServiceError::Refused(refusal) => refusal.into(),
            ServiceError::Append(error) => error.into(),
            ServiceError::Read(error) => error.into(),
            ServiceError::ReadSide(error) => error.into(),
            ServiceError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn an_idempotency_key_is_bounded_and_not_empty() {
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(idempotency_key(&headers(IDEMPOTENCY_KEY, "k-1")).unwrap().as_deref(), Some("k-1"));
        assert_eq!(idempotency_key(&headers(IDEMPOTENCY_KEY, "\"k-1\"")).unwrap().as_deref(), Some("k-1"));
        let too_long = "k".repeat(KEY_CHARACTERS_MAX + 1);
        for bad in ["", "{}", "a b", "\"\"", &too_long, "clé"] {
            assert!(idempotency_key(&headers(IDEMPOTENCY_KEY, bad)).is_err(), "{bad:?}");
        }
        let mut twice = headers(IDEMPOTENCY_KEY, "k-1");
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k-2"));
        assert!(idempotency_key(&twice).is_err());
    }

    #[test]
    fn a_preferred_wait_is_found_and_bounded() {
        let prefer = HeaderName::from_static("prefer");
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("return=minimal; Wait = \"7\"", Some(7)),
            ("wait=0", Some(0)),
            ("wait=99999", Some(600)),
            ("wait=soon", None),
            ("respond-async", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(wait_preferred(&headers(prefer.clone(), value)), expected, "{value}");
        }
    }
}
