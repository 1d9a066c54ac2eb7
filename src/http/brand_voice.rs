//! Checking a draft before it is sent.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::HttpState;
use super::call::Admitted;
use super::content_pieces::{sha256, sha256_shape};
use super::error::ApiError;
use super::input::{Fields, Problem, Verbatim};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::brand_voice::{self, BrandVoiceError, BrandVoiceView, DRAFT_BYTES_MAX};

impl From<BrandVoiceError> for ApiError {
    fn from(error: BrandVoiceError) -> Self {
        let message = error.to_string();
        let unavailable = |code, seconds| Self {
            retry_after: Some(Duration::from_secs(seconds)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone())
        };
        match error {
            BrandVoiceError::OtherContent => Self::unprocessable("CONTENT_HASH_MISMATCH", message),
            BrandVoiceError::Checker(_) | BrandVoiceError::Unfit | BrandVoiceError::TooSlow => {
                unavailable("CHECKER_UNAVAILABLE", 5)
            }
            BrandVoiceError::Busy => unavailable("OVERLOADED", 1),
            BrandVoiceError::Unavailable => unavailable("UNAVAILABLE", 1),
        }
    }
}

/// A text as it stands: nothing is trimmed or composed, because its hash is of exactly these bytes.
fn draft(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) if text.len() <= DRAFT_BYTES_MAX => Ok(text),
        Value::String(_) => Err(("TOO_LONG", format!("must have at most {DRAFT_BYTES_MAX} bytes"))),
        _ => Err(("WRONG_TYPE", "must be a string".into())),
    }
}

/// What the reference says of [`check`].
pub fn checking() -> Spec {
    Spec::new("Check a draft against the brand voice; the same text is judged once")
        .body(object([
            ("contentSha256!", sha256_shape()),
            ("draft!", json!({ "type": "string", "maxLength": DRAFT_BYTES_MAX })),
        ]))
        .answers(200, "The verdict", schema::<BrandVoiceView>())
}

/// `POST .../crm/brand-voice/check`: `{contentSha256, draft}`. Nothing is recorded, so that an idempotency key changes
/// nothing.
pub async fn check(
    State(state): State<HttpState>,
    admitted: Admitted,
    Verbatim(body): Verbatim,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let content_sha256 = fields.required("contentSha256", sha256);
    let draft = fields.required("draft", draft);
    fields.finish()?;
    let view = brand_voice::check(&state.app, admitted.organization, &content_sha256, &draft).await?;
    Ok(reply::json(StatusCode::OK, &view))
}
