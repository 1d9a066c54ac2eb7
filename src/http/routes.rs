//! The company API as a table: every route with its roles and its deadline, and the gate in front of each.
//!
//! The router is made from the table, so that no route can be without roles and no role without a route. The gate
//! checks in this order: token (401), rate (429), company in the path (400), role and company of the token (403), headers
//! (400); whether the company exists (404) and has its module on (403) is asked last, so that an outsider cannot find
//! out. Every call that reaches the gate is noted in the access log, whatever came of it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;

use super::auth::{self, ADMINS, BOARD, READERS, STAFF, WORKERS};
use super::call::Admitted;
use super::error::ApiError;
use super::reply::{Outcome, Recorded};
use super::spec::Spec;
use super::{
    HttpState, agents, allowlist, approval_rules, approvals, brand_voice, calls, content_pieces,
    event_stream, events, follow_ups, hooks, imports, input, limits, organizations, outboxes,
    outgoing_webhooks, pauses, script_executions, secrets, sends, sequences, suppressions,
};
use crate::access_log::Entry;
use crate::credentials::Caller;
use crate::limits::Allowance;

/// How long a request may take until its answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// As long as a person waits.
    Usual,
    /// As long as a service outside may take, and our own work before and after it.
    Asking,
    /// As long as data keeps coming: uploads, and answers that the client asked to wait for.
    Streamed,
}

impl Deadline {
    /// The longest time.
    pub const fn within(self) -> Duration {
        match self {
            Self::Usual => Duration::from_secs(30),
            Self::Asking => Duration::from_secs(60),
            Self::Streamed => Duration::from_secs(60 * 60),
        }
    }
}

/// Whether a route works while the outbound CRM module of its organization is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// No: 403 `CRM_MODULE_DISABLED`.
    Needed,
    /// Yes: an organization is still administered, and its ledger still read.
    Spared,
}

/// What a call of a route does to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it asks.
    Asks,
    /// It adds to it or changes it.
    Changes,
    /// It takes something away.
    TakesAway,
}

impl Effect {
    /// What the method says, where nothing else is said.
    fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Asks,
            Method::DELETE => Self::TakesAway,
            _ => Self::Changes,
        }
    }
}

/// One route of the company API.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may.
    pub roles: &'static [Role],
    /// How long it may take.
    pub deadline: Deadline,
    /// Whether it works without the module.
    pub module: Module,
    /// What a call of it does.
    pub effect: Effect,
    /// Method and path: the name of the route in the access log and in the ledger.
    pub name: String,
    /// The path of the handler: its name in the reference.
    pub id: &'static str,
    /// What the reference says of it.
    pub spec: fn() -> Spec,
    handler: fn() -> MethodRouter<HttpState>,
}

impl Route {
    /// The same, working without the module.
    fn without_module(self) -> Self {
        Self { module: Module::Spared, ..self }
    }

    /// The same, changing nothing although its method does not say so: its question needs a body.
    fn that_asks(self) -> Self {
        Self { effect: Effect::Asks, ..self }
    }

    /// The same, taking something away although its method does not say so.
    fn that_takes_away(self) -> Self {
        Self { effect: Effect::TakesAway, ..self }
    }
}

macro_rules! route {
    ($method:ident $path:literal, $roles:expr, $deadline:ident, $handler:path, $spec:path) => {
        Route {
            method: Method::$method,
            path: $path,
            roles: $roles,
            deadline: Deadline::$deadline,
            module: Module::Needed,
            effect: Effect::of(&Method::$method),
            name: concat!(stringify!($method), " ", $path).to_owned(),
            id: stringify!($handler),
            spec: $spec,
            handler: || on(MethodFilter::$method, $handler),
        }
    };
}

/// A route that is not of the company API: it has its own gate, or none.
pub struct Open {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Its name in the reference.
    pub id: &'static str,
    /// Its group in the reference.
    pub tag: &'static str,
    /// Whether it asks for a token.
    pub token: bool,
    /// What the reference says of it.
    pub spec: fn() -> Spec,
    /// What serves it.
    pub handler: fn() -> MethodRouter<HttpState>,
}

/// The router of such routes.
pub fn open(routes: Vec<Open>) -> Router<HttpState> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}

/// Every route of the company API.
#[rustfmt::skip]
pub fn all() -> &'static [Route] {
    static ALL: LazyLock<Vec<Route>> = LazyLock::new(|| vec![
        route!(POST  "/api/admin/organizations",                                          ADMINS,  Usual,    organizations::create, organizations::creating).without_module(),
        route!(PATCH "/api/admin/organizations/{organizationId}",                         ADMINS,  Usual,    organizations::change, organizations::changing).without_module(),
        route!(POST  "/api/admin/post-issue-hooks/reload",                                ADMINS,  Usual,    hooks::reload, hooks::reloading).without_module(),

        route!(GET   "/api/companies/{companyId}/crm/agents",                             READERS, Usual,    agents::list, agents::listing),
        route!(POST  "/api/companies/{companyId}/crm/agents",                             BOARD,   Usual,    agents::register, agents::registering),
        route!(PATCH "/api/companies/{companyId}/crm/agents/{agentId}",                   BOARD,   Usual,    agents::change, agents::changing),

        route!(POST  "/api/companies/{companyId}/crm/imports",                            BOARD,   Streamed, imports::upload, imports::specs::uploading),
        route!(GET   "/api/companies/{companyId}/crm/imports",                            READERS, Usual,    imports::list, imports::specs::listing),
        route!(GET   "/api/companies/{companyId}/crm/imports/{importFolderId}",           READERS, Usual,    imports::show, imports::specs::showing),
        route!(GET   "/api/companies/{companyId}/crm/imports/{importFolderId}/rows",      READERS, Usual,    imports::rows, imports::specs::rows),
        route!(POST  "/api/companies/{companyId}/crm/imports/{importFolderId}/commit",    BOARD,   Streamed, imports::commit, imports::specs::committing),

        route!(POST  "/api/companies/{companyId}/crm/calls",                              WORKERS, Usual,    calls::log, calls::logging),
        route!(POST  "/api/companies/{companyId}/crm/follow-ups",                         WORKERS, Usual,    follow_ups::schedule, follow_ups::scheduling),
        route!(PATCH "/api/companies/{companyId}/crm/follow-ups/{followUpId}",            WORKERS, Usual,    follow_ups::close, follow_ups::closing),

        route!(POST  "/api/companies/{companyId}/crm/script-executions/{executionId}/auto-qualify", WORKERS, Asking, script_executions::auto_qualify, script_executions::auto_qualifying),

        route!(GET   "/api/companies/{companyId}/crm/outboxes",                            STAFF,   Usual,    outboxes::list, outboxes::listing),
        route!(POST  "/api/companies/{companyId}/crm/outboxes",                            BOARD,   Usual,    outboxes::open, outboxes::opening),
        route!(PATCH "/api/companies/{companyId}/crm/outboxes/{outboxId}",                 BOARD,   Usual,    outboxes::change, outboxes::changing),
        route!(DELETE "/api/companies/{companyId}/crm/outboxes/{outboxId}",                BOARD,   Usual,    outboxes::delete, outboxes::deleting),
        route!(GET   "/api/companies/{companyId}/crm/approval-rules",                      READERS, Usual,    approval_rules::list, approval_rules::listing),
        route!(POST  "/api/companies/{companyId}/crm/approval-rules",                      BOARD,   Usual,    approval_rules::add, approval_rules::adding),
        route!(PATCH "/api/companies/{companyId}/crm/approval-rules/{ruleId}",             BOARD,   Usual,    approval_rules::change, approval_rules::changing),
        route!(DELETE "/api/companies/{companyId}/crm/approval-rules/{ruleId}",            BOARD,   Usual,    approval_rules::remove, approval_rules::removing),
        route!(POST  "/api/companies/{companyId}/crm/approval-rules/{ruleId}/preview",     READERS, Usual,    approval_rules::preview, approval_rules::previewing).that_asks(),
        route!(POST  "/api/companies/{companyId}/crm/approval-rules/simulate",             READERS, Usual,    approval_rules::simulate, approval_rules::simulating).that_asks(),
        route!(GET   "/api/companies/{companyId}/crm/approvals",                           READERS, Usual,    approvals::list, approvals::listing),
        route!(GET   "/api/companies/{companyId}/crm/approvals/{approvalId}",              READERS, Usual,    approvals::show, approvals::showing),
        route!(POST  "/api/companies/{companyId}/crm/approvals/{approvalId}/approve",      BOARD,   Usual,    approvals::approve, approvals::approving),
        route!(POST  "/api/companies/{companyId}/crm/approvals/{approvalId}/reject",       BOARD,   Usual,    approvals::reject, approvals::rejecting).that_takes_away(),
        route!(POST  "/api/companies/{companyId}/crm/approvals/{approvalId}/request-revision", BOARD, Usual,  approvals::request_revision, approvals::requesting_revision),
        route!(POST  "/api/companies/{companyId}/crm/approvals/bulk-approve",              ADMINS,  Usual,    approvals::bulk_approve, approvals::bulk_approving),
        route!(GET   "/api/companies/{companyId}/crm/allowlist",                           READERS, Usual,    allowlist::list, allowlist::listing),
        route!(POST  "/api/companies/{companyId}/crm/allowlist",                           BOARD,   Usual,    allowlist::allow, allowlist::allowing),
        route!(DELETE "/api/companies/{companyId}/crm/allowlist",                          BOARD,   Usual,    allowlist::disallow, allowlist::disallowing),
        route!(GET   "/api/companies/{companyId}/crm/suppressions",                        READERS, Usual,    suppressions::list, suppressions::listing),
        route!(POST  "/api/companies/{companyId}/crm/suppressions",                        BOARD,   Usual,    suppressions::suppress, suppressions::suppressing),
        route!(DELETE "/api/companies/{companyId}/crm/suppressions",                       BOARD,   Usual,    suppressions::lift, suppressions::lifting),
        route!(GET   "/api/companies/{companyId}/crm/content-pieces",                      STAFF,   Usual,    content_pieces::list, content_pieces::listing),
        route!(POST  "/api/companies/{companyId}/crm/content-pieces",                      BOARD,   Usual,    content_pieces::add, content_pieces::adding),
        route!(PATCH "/api/companies/{companyId}/crm/content-pieces/{pieceId}",            BOARD,   Usual,    content_pieces::change, content_pieces::changing),
        route!(DELETE "/api/companies/{companyId}/crm/content-pieces/{pieceId}",           BOARD,   Usual,    content_pieces::delete, content_pieces::deleting),
        route!(POST  "/api/companies/{companyId}/crm/brand-voice/check",                   WORKERS, Asking,  brand_voice::check, brand_voice::checking).that_asks(),
        route!(GET   "/api/companies/{companyId}/crm/brand-voice/coverage",                READERS, Usual,    hooks::coverage, hooks::covering),
        route!(GET   "/api/companies/{companyId}/crm/sequences",                           READERS, Usual,    sequences::list, sequences::listing),
        route!(POST  "/api/companies/{companyId}/crm/sequences",                           BOARD,   Usual,    sequences::create, sequences::creating),
        route!(GET   "/api/companies/{companyId}/crm/sequences/{sequenceId}",              READERS, Usual,    sequences::show, sequences::showing),
        route!(PATCH "/api/companies/{companyId}/crm/sequences/{sequenceId}",              BOARD,   Usual,    sequences::change, sequences::changing),
        route!(POST  "/api/companies/{companyId}/crm/sequences/{sequenceId}/enroll",       BOARD,   Streamed, sequences::enroll, sequences::enrolling),
        route!(GET   "/api/companies/{companyId}/crm/sequences/{sequenceId}/enrollments",  READERS, Usual,    sequences::enrolled, sequences::enrolled_listing),
        route!(POST  "/api/companies/{companyId}/crm/sequences/{sequenceId}/enrollments/{enrollmentId}/stop", BOARD, Usual, sequences::stop, sequences::stopping),
        route!(POST  "/api/companies/{companyId}/crm/pause",                               BOARD,   Usual,    pauses::pause, pauses::pausing),
        route!(POST  "/api/companies/{companyId}/crm/resume",                              BOARD,   Usual,    pauses::resume, pauses::resuming),
        route!(GET   "/api/companies/{companyId}/crm/pauses",                              READERS, Usual,    pauses::list, pauses::listing),
        route!(GET   "/api/companies/{companyId}/crm/frequency-cap",                       READERS, Usual,    pauses::frequency, pauses::showing_frequency),
        route!(PUT   "/api/companies/{companyId}/crm/frequency-cap",                       BOARD,   Usual,    pauses::cap_frequency, pauses::capping_frequency),

        route!(POST  "/api/companies/{companyId}/crm/send",                                WORKERS, Asking,   sends::send, sends::sending),
        route!(GET   "/api/companies/{companyId}/crm/activities",                          STAFF,   Usual,    sends::list, sends::listing),
        route!(GET   "/api/companies/{companyId}/crm/activities/{activityId}",             STAFF,   Usual,    sends::show, sends::showing),
        route!(GET   "/api/companies/{companyId}/crm/activities/{activityId}/explain",     STAFF,   Usual,    sends::explain, sends::explaining),
        route!(POST  "/api/companies/{companyId}/crm/activities/{activityId}/revise",      WORKERS, Usual,    sends::revise, sends::revising),
        route!(POST  "/api/companies/{companyId}/crm/activities/{activityId}/settle",      BOARD,   Usual,    sends::settle_outcome, sends::settling),

        route!(PUT   "/api/companies/{companyId}/secrets/{secretId}",                      BOARD,   Usual,    secrets::store, secrets::storing),

        route!(GET   "/api/companies/{companyId}/crm/events",                             READERS, Usual,    events::list, events::listing).without_module(),
        route!(GET   "/api/companies/{companyId}/crm/events/stream",                      READERS, Streamed, event_stream::follow, event_stream::following).without_module(),

        route!(GET   "/api/companies/{companyId}/crm/webhooks",                           READERS, Usual,    outgoing_webhooks::list, outgoing_webhooks::listing),
        route!(POST  "/api/companies/{companyId}/crm/webhooks",                           BOARD,   Usual,    outgoing_webhooks::open, outgoing_webhooks::opening),
        route!(PATCH "/api/companies/{companyId}/crm/webhooks/{webhookId}",               BOARD,   Usual,    outgoing_webhooks::change, outgoing_webhooks::changing),
        route!(DELETE "/api/companies/{companyId}/crm/webhooks/{webhookId}",              BOARD,   Usual,    outgoing_webhooks::delete, outgoing_webhooks::deleting),
        route!(POST  "/api/companies/{companyId}/crm/webhooks/{webhookId}/rotate-secret", BOARD,   Usual,    outgoing_webhooks::rotate, outgoing_webhooks::rotating),
        route!(POST  "/api/companies/{companyId}/crm/webhooks/{webhookId}/test",          BOARD,   Usual,    outgoing_webhooks::test, outgoing_webhooks::testing),
        route!(GET   "/api/companies/{companyId}/crm/webhooks/{webhookId}/deliveries",    READERS, Usual,    outgoing_webhooks::deliveries, outgoing_webhooks::delivering),
    ]);
    &ALL
}

/// The router of the table.
pub fn router(state: &HttpState) -> Router<HttpState> {
    all().iter().fold(Router::new(), |router, route| {
        let gate = from_fn_with_state((state.clone(), route), gate);
        router.route(route.path, (route.handler)().layer(gate))
    })
}

async fn gate(
    State((state, route)): State<(HttpState, &'static Route)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let at = state.app.clock.now();
    let mut noted = Noted::default();
    let admitted = admit(&state, route, request, &mut noted).await;
    let mut response = match admitted {
        Ok(request) => match tokio::time::timeout(route.deadline.within(), next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                metrics::counter!("docket_http_refused_total", "reason" => "deadline").increment(1);
                ApiError::too_slow().into_response()
            }
        },
        Err(refusal) => refusal.into_response(),
    };
    if let Some(allowance) = &noted.allowance {
        limits::tell(response.headers_mut(), allowance);
    }
    let extensions = response.extensions_mut();
    let recorded = extensions.remove::<Recorded>();
    let outcome = extensions.remove::<Outcome>();
    state
        .access_log
        .record(Entry {
            organization: noted.organization.unwrap_or(OrganizationId::INSTANCE),
            audit_id: match recorded {
                Some(recorded) => recorded.command_id.uuid(),
                None => state.app.clock.mint(),
            },
            at,
            principal: noted.caller.as_ref().map(|caller| caller.principal_id),
            token: noted.caller.as_ref().map(|caller| caller.token_id),
            tool: route.name.as_str().into(),
            outcome: match outcome {
                Some(outcome) => outcome.0.into(),
                None if response.status().is_success() => "ok".into(),
                None => response.status().as_u16().to_string().into(),
            },
            position: recorded.map(|recorded| recorded.position),
            duration: started.elapsed(),
        })
        .await;
    response
}

/// What is known of a call by the time it is turned away or served.
#[derive(Default)]
pub(super) struct Noted {
    pub caller: Option<Caller>,
    pub organization: Option<OrganizationId>,
    pub allowance: Option<Allowance>,
}

async fn admit(
    state: &HttpState,
    route: &'static Route,
    request: Request,
    noted: &mut Noted,
) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let caller = match parts.extensions.remove::<LetIn>() {
        Some(LetIn(caller)) => {
            noted.caller = Some(caller.clone());
            caller
        }
        None => recognise(state, &parts.headers, noted).await?,
    };
    let organization = organization_in(&mut parts).await?;
    auth::admit(&caller, route.roles, organization)?;
    noted.organization = organization;
    let organization = match organization {
        None => OrganizationId::INSTANCE,
        Some(organization) => {
            // The nil UUID names the instance ledger, which is no company.
            let known = match organization {
                OrganizationId::INSTANCE => None,
                company => state.app.workspaces.get(&state.app.ledger, company).await?,
            };
            let Some(known) = known else {
                noted.organization = None;
                return Err(ApiError::not_found("ORG_NOT_FOUND", "organization"));
            };
            if route.module == Module::Needed && !known.crm_enabled() {
                let message = "the outbound CRM module is switched off for this organization";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "CRM_MODULE_DISABLED", message));
            }
            organization
        }
    };
    let admitted = Admitted::new(caller, organization, &route.name, parts.uri.path(), &parts.headers, state)?;
    parts.extensions.insert(admitted);
    Ok(Request::from_parts(parts, body))
}

/// Whoever another door of this process has recognised and counted: only what is made here can carry it.
#[derive(Clone, Debug)]
pub(super) struct LetIn(pub Caller);

/// The caller, if its token is accepted and has calls left.
pub(super) async fn recognise(
    state: &HttpState,
    headers: &HeaderMap,
    noted: &mut Noted,
) -> Result<Caller, ApiError> {
    let caller = auth::bearer(headers, &state.app).await?;
    noted.caller = Some(caller.clone());
    noted.allowance = state.limiter.take(caller.token_id);
    match noted.allowance.and_then(|allowance| allowance.wait) {
        Some(wait) => Err(ApiError::too_often(wait)),
        None => Ok(caller),
    }
}

/// The organization in the path, if it names one.
pub(super) async fn organization_in(
    parts: &mut axum::http::request::Parts,
) -> Result<Option<OrganizationId>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| malformed_path())?;
    let named = params.iter().find(|(name, _)| matches!(*name, "companyId" | "organizationId"));
    named.map(|(name, value)| input::path_id(name, value)).transpose()
}

/// The refusal of an address that is no text.
pub(super) fn malformed_path() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "MALFORMED_PATH", "the path cannot be decoded")
}

/// The route that a request was matched to, for the metrics.
pub fn matched(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_stands_in_the_table_once() {
        let mut seen = std::collections::BTreeSet::new();
        for route in all() {
            assert!(seen.insert(&route.name), "{} is there twice", route.name);
            assert_eq!(route.name, format!("{} {}", route.method, route.path));
        }
    }

    #[test]
    fn whoever_runs_the_instance_may_enter_everywhere() {
        for route in all() {
            for role in ADMINS {
                assert!(route.roles.contains(role), "{} refuses {}", route.name, role.name());
            }
        }
    }

    #[test]
    fn what_concerns_the_instance_is_for_its_administrators_alone() {
        for route in all().iter().filter(|route| route.path.starts_with("/api/admin/")) {
            assert_eq!(route.roles, ADMINS, "{}", route.name);
        }
    }

    #[test]
    fn an_auditor_reads_whatever_there_is_to_read() {
        for route in all().iter().filter(|route| route.method == Method::GET) {
            assert!(route.roles.contains(&Role::Auditor), "{}", route.name);
        }
    }

    #[test]
    fn a_viewer_calls_nothing_here_and_an_auditor_changes_nothing() {
        for route in all() {
            assert!(!route.roles.contains(&Role::Viewer), "{}", route.name);
            assert!(route.effect == Effect::Asks || !route.roles.contains(&Role::Auditor), "{}", route.name);
        }
    }
}
