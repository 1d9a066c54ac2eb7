//! Post-issue hooks: putting the operator's file in force, and what they found.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Fields, recent};
use super::reply;
use super::spec::{Spec, schema};
use crate::hooks::coverage::{self, CoverageView};
use crate::hooks::{self, HookRefusal, ReloadView};
use crate::shapes;

/// How far back the coverage is counted, if the query does not say.
const SINCE_MILLIS: i64 = 30 * 24 * 3_600_000;

impl From<HookRefusal> for ApiError {
    fn from(refusal: HookRefusal) -> Self {
        let details = match &refusal {
            HookRefusal::Yaml { line, column, .. } => json!({ "line": line, "column": column }),
            HookRefusal::Tab { line } => json!({ "line": line }),
            HookRefusal::Duplicate(id) | HookRefusal::Id(id) | HookRefusal::Hook { id, .. } => {
                json!({ "id": id })
            }
            _ => Value::Null,
        };
        Self::unprocessable("HOOKS_REFUSED", refusal).with(details)
    }
}

/// What the reference says of [`reload`].
pub fn reloading() -> Spec {
    Spec::new(
        "Put the post-issue hooks of the operator's file in force; a file that is refused changes nothing",
    )
    .answers(200, "The hooks in force", schema::<ReloadView>())
}

/// `POST /api/admin/post-issue-hooks/reload`: no body.
pub async fn reload(State(state): State<HttpState>, admitted: Admitted) -> Result<Response, ApiError> {
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(hooks::reload(&state.app, &call).await, StatusCode::OK)
}

/// What the reference says of [`coverage`].
pub fn covering() -> Spec {
    Spec::new("Tell how much of what went out had been checked against the brand voice")
        .query(
            "since",
            shapes::instant(),
            "Messages that went out from this instant on; 30 days, if it is not said.",
        )
        .answers(200, "The coverage", schema::<CoverageView>())
}

/// `GET .../crm/brand-voice/coverage?since=`: what the hook `brand-voice-coverage` found.
pub async fn coverage(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let since = fields.optional("since", recent);
    fields.finish()?;
    let since = since.unwrap_or_else(|| admitted.at.plus_millis(-SINCE_MILLIS));
    let view = coverage::summary(&state.app, admitted.organization, since).await?;
    Ok(reply::json(StatusCode::OK, &view))
}
