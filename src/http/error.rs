//! Every refusal of the company API: `{ "error": sentence, "code": NAME, "details": … }`.
//!
//! One refusal of an aggregate, of the ledger or of a service becomes one status and one code, here and nowhere
//! else. What went wrong inside is logged and never told.

use std::fmt;
use std::time::Duration;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use docket_aggregates::claims::Scope;
use serde::Serialize;
use serde_json::{Value, json};

use super::auth::AuthError;
use crate::ledger::AppendError;
use crate::ledger::read::ReadError;
use crate::readside::ReadSideError;
use crate::spelling::shortened;
use crate::tools::refusal::{MESSAGE_MAX, PATH_MAX};

/// Fields at fault that a refusal tells of, at most; its sentence says how many there are.
const PROBLEMS_MAX: usize = 100;
/// Fields that the sentence names, at most.
const NAMED_MAX: usize = 10;

/// A refusal as the client sees it.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
    /// More, where there is more to say.
    pub details: Value,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// Which one: its name in the body, query or path.
    pub path: String,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

impl FieldProblem {
    /// A problem of the field `path`. What was sent is repeated only so far.
    pub fn new(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let path = shortened(&path.into(), PATH_MAX).into_owned();
        Self { path, code, message: shortened(&message.into(), MESSAGE_MAX).into_owned() }
    }
}

impl ApiError {
    /// A refusal without details.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = shortened(&message.into(), MESSAGE_MAX).into_owned();
        Self { status, code, message, details: Value::Null, retry_after: None }
    }

    /// The same with details.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Fields that cannot be accepted: all of them at once.
    pub fn fields(mut problems: Vec<FieldProblem>) -> Self {
        let message = match problems.as_slice() {
            [only] if only.path.is_empty() => only.message.clone(),
            [only] => format!("{}: {}", only.path, only.message),
            several => {
                let named = several.iter().take(NAMED_MAX);
                let names: Vec<&str> = named.map(|problem| problem.path.as_str()).collect();
                format!("{} fields cannot be accepted: {}", several.len(), names.join(", "))
            }
        };
        problems.truncate(PROBLEMS_MAX);
        Self::new(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", message).with(json!(problems))
    }

    /// One field that cannot be accepted.
    pub fn field(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldProblem::new(path, code, message)])
    }

    /// There is no such thing here; whether it exists elsewhere is not told.
    pub fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, format!("{what} does not exist"))
    }

    /// What is asked is understood and not possible as things stand.
    pub fn unprocessable(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message.to_string())
    }

    /// What is asked stands against what is.
    pub fn conflict(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, code, message.to_string())
    }

    /// A defect of ours. What it is goes to the log.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut causes = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes = format!("{causes}: {inner}");
            cause = inner.source();
        }
        tracing::error!(error = %causes, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the request failed; the defect was logged")
    }

    /// Everything is as busy as it may be.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "too many requests are being served")
            .after(Duration::from_secs(1))
    }

    /// The token has made as many requests as it may for now.
    pub fn too_often(wait: Duration) -> Self {
        let message = "the token has made as many requests as it may for now";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message).after(wait)
    }

    /// The request took longer than it may.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "DEADLINE_EXCEEDED", "the request took too long")
            .after(Duration::from_secs(1))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.message, "code": self.code });
        if !self.details.is_null() {
            body["details"] = self.details;
        }
        let mut response = super::problem::refusal(self.status, body);
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(super::reply::Outcome(self.code));
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let (status, code) = match error {
            AuthError::Missing => (StatusCode::UNAUTHORIZED, "TOKEN_MISSING"),
            AuthError::Invalid => (StatusCode::UNAUTHORIZED, "TOKEN_INVALID"),
            AuthError::Role(_) => (StatusCode::FORBIDDEN, "ROLE_FORBIDDEN"),
            AuthError::OtherOrganization => (StatusCode::FORBIDDEN, "OTHER_ORGANIZATION"),
            AuthError::ToolScope => (StatusCode::FORBIDDEN, "TOOL_NOT_IN_SCOPE"),
            AuthError::Unavailable => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.to_string())
                    .after(Duration::from_secs(1));
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        match error {
            AppendError::Conflict => Self::conflict("CONFLICT", message),
            AppendError::Taken(Scope::Slug) => Self::conflict("SLUG_TAKEN", message),
            AppendError::Taken(Scope::ImportCommit) => Self::conflict("ALREADY_COMMITTED", message),
            AppendError::Taken(Scope::OpenQualification) => Self::conflict("QUALIFICATION_OPEN", message),
            AppendError::Taken(_) => Self::conflict("TAKEN", message),
            AppendError::Present(_) => Self::unprocessable("SUPPRESSED", message),
            AppendError::Replayed(_) => Self::conflict("ALREADY_ANSWERED", message),
            AppendError::RequestConflict => Self::conflict("IDEMPOTENCY_CONFLICT", message),
            AppendError::OrganizationBusy { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "ORGANIZATION_BUSY", message).after(retry_after)
            }
            AppendError::Overloaded { retry_after } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", message).after(retry_after)
            }
            AppendError::OutcomeUnknown(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "OUTCOME_UNKNOWN", message)
                    .after(Duration::from_secs(1))
            }
            AppendError::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
                .after(Duration::from_secs(1)),
            AppendError::UnknownOrganization => Self::not_found("ORG_NOT_FOUND", "organization"),
            AppendError::SubjectErased => Self::unprocessable("ERASED", message),
            AppendError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", message),
            AppendError::Unstorable(_) => Self::internal(&error),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(_) => {
                tracing::warn!(error = %error, "the ledger could not be read");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the ledger is not available")
                    .after(Duration::from_secs(1))
            }
            _ => Self::internal(&error),
        }
    }
}

impl From<ReadSideError> for ApiError {
    fn from(error: ReadSideError) -> Self {
        let message = error.to_string();
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone());
        match error {
            ReadSideError::Behind { retry_after } => unavailable("READ_MODEL_BEHIND").after(retry_after),
            ReadSideError::Parked { position } => {
                unavailable("READ_MODEL_PARKED").with(json!({ "position": position }))
            }
            ReadSideError::BeyondHead { wanted, head } => {
                Self::new(StatusCode::BAD_REQUEST, "BEYOND_HEAD", message)
                    .with(json!({ "wanted": wanted, "head": head }))
            }
            ReadSideError::UnknownOrganization => Self::not_found("ORG_NOT_FOUND", "organization"),
            ReadSideError::Unavailable => unavailable("UNAVAILABLE").after(Duration::from_secs(1)),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::internal(&error)
            }
            _ => {
                // Postgres may quote values in its message: only the code is logged.
                let code =
                    error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
                tracing::warn!(sqlstate = code.unwrap_or_default(), "a read failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the read models are not available")
                    .after(Duration::from_secs(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_token_names_the_scheme() {
        let response = ApiError::from(AuthError::Missing).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn whoever_is_told_to_come_again_is_told_when() {
        for error in [
            ApiError::busy(),
            AppendError::Overloaded { retry_after: Duration::from_millis(10) }.into(),
            ReadSideError::Behind { retry_after: Duration::from_secs(2) }.into(),
        ] {
            let response = error.into_response();
            let after: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!(after >= 1);
        }
    }

    #[test]
    fn several_problems_are_told_at_once() {
        let problem = |path: &str| FieldProblem::new(path, "REQUIRED", "is required");
        let error = ApiError::fields(vec![problem("name"), problem("slug")]);
        assert_eq!(error.message, "2 fields cannot be accepted: name, slug");
        assert_eq!(error.details[1]["path"], "slug");
        assert_eq!(ApiError::fields(vec![problem("name")]).message, "name: is required");
    }

    #[test]
    fn what_was_sent_is_repeated_only_so_far() {
        let long = "x".repeat(200_000);
        for error in [
            ApiError::new(StatusCode::BAD_REQUEST, "DUPLICATE_KEY", long.clone()),
            ApiError::field(long.clone(), "REPEATED", long.clone()),
            ApiError::fields(vec![FieldProblem::new(long, "UNKNOWN_FIELD", "is not known here"); 3_000]),
        ] {
            let told = error.message.len() + error.details.to_string().len();
            assert!(told < 100_000, "{told} bytes of {}", error.code);
        }
    }
}
