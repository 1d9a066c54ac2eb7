//! One answer for all calls that are one request: what was kept with the events is told again.
//!
//! A request has a name, which its caller gave it or which is the token of a preview. While a call of that name works, the
//! others wait for it; whoever comes later finds the answer in the ledger, also under the other name.

use std::borrow::Cow;
use std::time::Duration;

use docket_aggregates::ids::{CommandId, PrincipalId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changing::{Change, completed};
use crate::envelope::{Meta, Warning};
use crate::flights::{Flight, FlightKey};
use crate::ledger::{AppendError, Command, Lane, Request, StoredAnswer};
use crate::tools::plan::Mint;
use crate::tools::refusal::{Refusal, ToolResult};

/// How long a call waits for another one that is the same request, before it makes a plan of its own.
const FLIGHT_WITHIN: Duration = Duration::from_secs(15);

impl Change<'_> {
    /// Lets the calls of one request go on one after the other. A token is one request, whoever shows it.
    pub(super) async fn enter(&self) -> Option<Flight> {
        let (principal, name) = match (&self.request_id, &self.options.preview_token) {
            (Some(request_id), _) => (self.caller.principal_id, request_id.clone()),
            (None, Some(token)) => (PrincipalId(uuid::Uuid::nil()), token.clone()),
            (None, None) => return None,
        };
        let key = FlightKey::of(self.organization, principal, self.tool.name, &name);
        Some(self.app.flights.enter(key, FLIGHT_WITHIN).await)
    }

    /// What this request was answered by now, by its request id or by its preview's token.
    pub(super) async fn answered_meanwhile(&self, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        if let Some(stored) = self.stored(request_input).await? {
            return Ok(Some(stored));
        }
        let Some(token) = &self.options.preview_token else { return Ok(None) };
        let preview = match self.preview(token, request_input).await {
            Ok(preview) => preview,
            // An answer is remembered for longer than the preview that was applied. Whoever shows the token with another
            // input has no request of that name: to them the preview is gone, as it is to those who never applied it.
            Err(Refusal::PreviewExpired) => {
                return match self.answered_as(&of_token(token), request_input).await {
                    Err(Refusal::Append(AppendError::RequestConflict)) => Ok(None),
                    answered => answered,
                };
            }
            Err(refusal) => return Err(refusal),
        };
        let command = Mint::replay(preview.shown.seed, preview.shown.at).command_id();
        Ok(self.app.ledger.answer_of(self.organization, command).await?)
    }

    /// The answer that this request got before.
    pub(super) async fn stored(&self, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        let Some(request_id) = &self.request_id else { return Ok(None) };
        self.answered_as(request_id, request_input).await
    }

    /// The answer that this principal got to a request of that name.
    async fn answered_as(&self, name: &str, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        let ledger = &self.app.ledger;
        let principal = self.caller.principal_id;
        Ok(ledger.answered(self.organization, principal, self.tool.name, name, request_input).await?)
    }

    /// Answers with what another request did, one that showed the same token. From then on it is the answer to this
    /// request's own id as well, which would otherwise be free for something else.
    pub(super) async fn replay_here(
        &self,
        stored: StoredAnswer,
        request_input: &str,
        meta: &mut Meta,
    ) -> ToolResult<Value> {
        let Some(request_id) = self.request_id.clone() else { return replay(stored, meta) };
        if let Some(own) = self.stored(request_input).await? {
            return replay(own, meta);
        }
        let mut kept = Kept::read(&stored)?;
        kept.of.get_or_insert((stored.command_id, stored.position));
        let mint = Mint::fresh(&self.app.clock);
        let command = Command {
            id: mint.command_id(),
            organization: self.organization,
            at: mint.at(),
            origin: self.origin(),
            writes: vec![],
            guards: vec![],
            absent: vec![],
            counted_at: None,
            request: Some(Request {
                request_id,
                alias: None,
                input: request_input.to_owned(),
                answer: kept.written()?,
            }),
            lane: Lane::Normal,
        };
        match self.app.ledger.append(command).await {
            Ok(_) => replay(stored, meta),
            Err(AppendError::Replayed(own)) => replay(*own, meta),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is kept of an answer, for whoever repeats the request.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept<'a> {
    pub(super) data: Cow<'a, Value>,
    pub(super) warnings: Cow<'a, [Warning]>,
    pub(super) truncated: bool,
    /// Which command it is the answer of, and the position that it reached, where another request gave that command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<(CommandId, i64)>,
}

impl Kept<'_> {
    fn read(stored: &StoredAnswer) -> ToolResult<Kept<'static>> {
        Kept::deserialize(&stored.answer)
            .map_err(|_| Refusal::Defect("a stored answer is not one of a tool".into()))
    }

    pub(super) fn written(&self) -> ToolResult<String> {
        serde_json::to_string(self).map_err(|error| Refusal::Defect(error.to_string()))
    }
}

/// The answer that the same request got before. Nothing of what this call found out is told beside it.
pub(super) fn replay(stored: StoredAnswer, meta: &mut Meta) -> ToolResult<Value> {
    let kept = Kept::read(&stored)?;
    let (command, position) = kept.of.unwrap_or((stored.command_id, stored.position));
    meta.audit_id = Some(command.uuid());
    meta.dry_run = false;
    meta.idempotent_replay = true;
    meta.position = Some(position);
    meta.truncated = kept.truncated;
    meta.warnings.extend(kept.warnings.into_owned());
    Ok(completed(kept.data.into_owned(), false, Some(position)))
}

/// The name of the request that a token is, whatever name the caller gave it beside: no caller can write it.
pub(super) fn of_token(token: &str) -> String {
    format!("\npreview {token}")
}
