//! Storing a company's secrets. There is no way to read one back.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::credential::{CredentialError, SecretRef};
use docket_aggregates::outbox::is_secret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, Problem};
use super::spec::{Spec, object, schema};
use crate::channels::Secret;
use crate::secrets::{self, SecretView};

/// Bytes of a value: a key in PEM has 3 000.
const VALUE_BYTES_MAX: usize = 16 * 1024;

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        let code = match error {
            CredentialError::NotAnId => "INVALID_SECRET_ID",
            CredentialError::CapTooLarge => "CAP_TOO_LARGE",
            CredentialError::Zone(_) => "UNKNOWN_TIME_ZONE",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

/// What is said of an id that looks like a key; never the id itself.
pub const ITSELF: &str = "looks like the secret itself; give it a name, and store the key as its value";

/// A value as it stands: nothing is trimmed or composed.
fn value(value: Value) -> Result<Zeroizing<String>, Problem> {
    let Value::String(text) = value else { return Err(("WRONG_TYPE", "must be a string".into())) };
    let text = Zeroizing::new(text);
    if text.is_empty() {
        return Err(("EMPTY", "must not be empty".into()));
    }
    if text.len() > VALUE_BYTES_MAX {
        return Err(("TOO_LONG", format!("must have at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// What the reference says of [`store`].
pub fn storing() -> Spec {
    let value = json!({ "type": "string", "minLength": 1, "maxLength": VALUE_BYTES_MAX });
    Spec::new("Store a value as the next version of a secret; it is never shown again")
        .body(object([("value!", value)]))
        .answers(200, "The version that was stored", schema::<SecretView>())
}

/// `PUT /api/companies/{companyId}/secrets/{secretId}`: `{value}`. Each call stores the next version.
pub async fn store(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, secret_id)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    if !SecretRef::is_id(&secret_id) {
        // It may be the value itself, put in the wrong place: it is not repeated.
        return Err(ApiError::field("secretId", "INVALID_SECRET_ID", CredentialError::NotAnId.to_string()));
    }
    if is_secret(&secret_id) {
        return Err(ApiError::field("secretId", "LOOKS_LIKE_A_SECRET", ITSELF));
    }
    let mut fields = Fields::of_body(body)?;
    let value = Secret::from(fields.required("value", value));
    fields.finish()?;
    // A repeated request is known by the value's hash; the value itself goes no further than this function.
    let digest = hex::encode(Sha256::digest(value.expose().as_bytes()));
    let call = admitted.call(&json!({ "sha256": digest }))?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(secrets::store(&state.app, &call, &secret_id, &value).await, StatusCode::OK)
}
