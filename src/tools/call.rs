//! One call to a tool, from the body to the envelope.
//!
//! The order of the checks is part of the contract: role, tool, body, organization id, organization, module, schema,
//! and only then what the tool itself has to say. An outsider learns nothing about what exists.
//!
//! A read is one function. A change is planned first; here alone it is decided whether the plan is only shown, kept as
//! a preview, compared with one, or recorded. A plan that lost a race is made anew, twenty times at most.
//!
//! Calls that are one request, by their request id or by the token of one preview, have one answer: the one that was kept
//! with the events. One of them works while the others wait, and no refusal is told before it is certain that the
//! change has not been recorded meanwhile.

mod body;
mod changing;
mod options;
mod reading;
mod replaying;

use std::time::Instant;

use docket_aggregates::ids::{CommandId, OrganizationId};
use docket_aggregates::token::Role;
use serde_json::Value;

pub(super) use options::{ChangeOptions, ConfirmOption};

use super::draft::Run;
use super::progress::Progress;
use super::refusal::{Refusal, ToolResult};
use super::{CONTRACT, Tool, catalog};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Answer, Meta, Warning};
use crate::spelling::nearest;
use body::Ask;
use changing::Change;
use options::options;

/// The tool, if the caller may use it. The role is judged first, so that outsiders cannot find out what exists.
pub fn admit(caller: &Caller, name: &str) -> ToolResult<&'static Tool> {
    if caller.role != Role::SuperAdmin {
        return Err(Refusal::NotSuperAdmin);
    }
    let tool = catalog().get(name).ok_or_else(|| {
        if CONTRACT.contains(&name) {
            return Refusal::ToolNotYet(name.to_owned());
        }
        let nearest = nearest(name, catalog().iter().map(|tool| tool.name));
        Refusal::UnknownTool { name: name.chars().take(120).collect(), nearest }
    })?;
    if !caller.may_call(name) {
        return Err(Refusal::ToolNotInScope(name.to_owned()));
    }
    Ok(tool)
}

/// The organization of that id, if the caller may enter it and its module is on.
pub async fn enter(app: &App, caller: &Caller, text: &str) -> ToolResult<OrganizationId> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err(Refusal::OrganizationIdInvalid);
    }
    let id: OrganizationId = text.parse().map_err(|_| Refusal::UnknownOrganization)?;
    if id == OrganizationId::INSTANCE || caller.organization_id.is_some_and(|own| own != id) {
        return Err(Refusal::UnknownOrganization);
    }
    let organization = app.workspaces.get(&app.ledger, id).await?.ok_or(Refusal::UnknownOrganization)?;
    if organization.crm_enabled() { Ok(id) } else { Err(Refusal::ModuleDisabled) }
}

/// Answers one call to the tool `name`. `body` is what was sent, read strictly or refused.
pub async fn answer(app: &App, caller: &Caller, name: &str, body: ToolResult<Value>) -> Answer {
    answer_to(app, caller, name, body, Listener::default()).await
}

/// What a surface wants of a call beside its answer.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// Where it is told how far a bulk call has come.
    pub progress: Progress,
    /// Whether a preview is put to a person who may have it applied at once. Then a request that was applied before is
    /// answered and not shown again, and what the caller may not apply is refused and not shown.
    pub asks: bool,
}

/// The same for a surface that listens: it is told on the way how far a bulk call has come, and what it is answered may
/// be put to a person.
pub async fn answer_to(
    app: &App,
    caller: &Caller,
    name: &str,
    body: ToolResult<Value>,
    listener: Listener,
) -> Answer {
    let started = Instant::now();
    let mut told = Told::new(app, name);
    told.listener = listener;
    let outcome = told.call(app, caller, name, body).await;
    told.meta.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(data) => Answer::success(told.organization, data, told.meta),
        Err(refusal) => Answer::refusal(told.organization, &refusal, told.meta),
    }
}

/// The answer to a call that is refused before its body is looked at.
pub fn refuse(app: &App, name: &str, refusal: &Refusal) -> Answer {
    Answer::refusal(None, refusal, Told::new(app, name).meta)
}

/// What is known of a call so far, for its envelope.
struct Told {
    meta: Meta,
    organization: Option<OrganizationId>,
    listener: Listener,
}

impl Told {
    fn new(app: &App, name: &str) -> Self {
        let audit_id: CommandId = app.clock.mint();
        Self {
            meta: Meta {
                tool_name: Some(name.chars().take(120).collect()),
                audit_id: Some(audit_id.uuid()),
                ..Meta::default()
            },
            organization: None,
            listener: Listener::default(),
        }
    }

    async fn call(
        &mut self,
        app: &App,
        caller: &Caller,
        name: &str,
        body: ToolResult<Value>,
    ) -> ToolResult<Value> {
        let tool = admit(caller, name)?;
        let ask = Ask::read(body?, &mut self.meta)?;
        let organization = self.organization(app, caller, tool, ask.organization_id.as_ref()).await?;
        let mut input = ask.input;
        tool.input.trim(&mut input);
        let faults = tool.faults(organization, &mut input).await;
        if !faults.is_empty() {
            return Err(Refusal::Fields(faults));
        }
        match &tool.run {
            Run::Read(run) => {
                let (call, filters) = self.reading(app, caller, tool, organization, &input).await?;
                let (context, data) = self.fitting(tool, run, call, input).await?;
                self.read(app, tool, &context, &filters, data).await
            }
            Run::Plan(run) => {
                let change = Change {
                    app,
                    caller,
                    tool,
                    run,
                    organization,
                    reason: ask.reason,
                    request_id: ask.request_id,
                    options: options(&input)?,
                    input,
                    progress: if tool.bulk() { self.listener.progress.clone() } else { Progress::default() },
                    asks: self.listener.asks,
                };
                change.run(&mut self.meta).await
            }
        }
    }

    async fn organization(
        &mut self,
        app: &App,
        caller: &Caller,
        tool: &Tool,
        given: Option<&Value>,
    ) -> ToolResult<OrganizationId> {
        if !tool.scoped {
            if given.is_some() {
                self.meta.warnings.push(Warning {
                    code: "ORGANIZATION_IGNORED".to_owned(),
                    message: format!("{} looks at every organization; organizationId was ignored", tool.name),
                    path: Some("organizationId".to_owned()),
                });
            }
            return Ok(OrganizationId::INSTANCE);
        }
        let text = given.and_then(Value::as_str).ok_or(Refusal::OrganizationIdInvalid)?;
        let organization = enter(app, caller, text).await?;
        self.organization = Some(organization);
        Ok(organization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::ids::{PrincipalId, TokenId};
    use uuid::Uuid;

    fn caller(role: Role, tools: &[&str]) -> Caller {
        Caller {
            token_id: TokenId(Uuid::from_u128(1)),
            principal_id: PrincipalId(Uuid::from_u128(2)),
            role,
            organization_id: None,
            agent_id: None,
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            max_affected: None,
        }
    }

    #[test]
    fn the_role_is_judged_before_the_tool() {
        for role in Role::ALL {
            let refusal = admit(&caller(role, &[]), "no_such_tool").unwrap_err();
            let expected = if role == Role::SuperAdmin { "TOOL_NOT_FOUND" } else { "NOT_SUPER_ADMIN" };
            assert_eq!(refusal.told().code, expected, "{}", role.name());
        }
    }

    #[test]
    fn a_token_may_be_limited_to_some_tools() {
        let limited = caller(Role::SuperAdmin, &["list_campaigns"]);
        assert!(admit(&limited, "list_campaigns").is_ok());
        assert_eq!(admit(&limited, "get_campaign").unwrap_err().told().code, "TOOL_NOT_IN_SCOPE");
    }
}
