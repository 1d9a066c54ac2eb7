//! The protocol's messages, through rmcp: only this file and the one below it know that library.
//!
//! Revision 2026-07-28 is stateless: each request stands for itself, is answered with JSON, and a question is an answer
//! of its own (`input_required`) whose state is the token of a stored preview. Revisions up to 2025-11-25 have sessions,
//! and a question is a request of ours while the call is open. Both end in the same calls.

mod stdio;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ElicitRequest,
    ElicitRequestParams, Implementation, InputRequest, InputRequests, InputRequiredResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{Peer, RequestContext};
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::SessionManager as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::tower::StreamableHttpService;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio_util::sync::CancellationToken;

use super::calling::{Asked, BODY_MAX, CONFIRM, Desk, Outcome, Question, Said};
use super::toolset::{Entered, Told, Toolset};
use super::{INSTRUCTIONS, listing};
use crate::credentials::Caller;
use crate::envelope::Answer;
use crate::http::Settings;
use crate::tools::progress::{Progress, Step};

pub use stdio::{StdioError, serve_stdio};

/// How long a person may think about a question.
const THINKING: Duration = Duration::from_secs(5 * 60);
/// How long a client may take the list of tools for current.
const LIST_FOR: Duration = Duration::from_secs(5 * 60);

/// One server of the protocol: a conversation, or a request.
#[derive(Clone)]
struct Server {
    desk: Desk,
    who: Who,
}

/// How the caller of a request is found.
#[derive(Clone)]
enum Who {
    /// The gate of the HTTP surface has put it beside the request.
    InRequest,
    /// It is the token that the process was started with.
    Token(String),
}

impl Server {
    async fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
        let found = match &self.who {
            Who::InRequest => {
                let parts = context.extensions.get::<Parts>();
                parts.and_then(|parts| parts.extensions.get::<Caller>()).cloned()
            }
            Who::Token(token) => self.desk.app.credentials.check(token).await.ok(),
        };
        found.ok_or_else(|| ErrorData::invalid_request("the token is not valid", None))
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("docket", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = self.caller(&context).await?;
        if let Some(wait) = self.desk.wait(&caller) {
            let message = format!("too many requests; come again in {} s", wait.as_secs().max(1));
            return Err(ErrorData::invalid_request(message, None));
        }
        listed(page, listing::tools(&caller))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = self.caller(&context).await?;
        let asked = Asked { name: request.name.into_owned(), body: request.arguments.unwrap_or_default() };
        if let Some(wait) = self.desk.wait(&caller) {
            return Ok(written(self.desk.too_many(&caller, &asked.name, wait).await).into());
        }
        if let Some(message) = Desk::unknown(&caller, &asked.name) {
            return Err(ErrorData::invalid_params(message, None));
        }
        let mut teller = Teller::of(&context);
        if let Some(preview_token) = request.request_state {
            if !Desk::may_have_asked(&asked, &preview_token) {
                return Err(ErrorData::invalid_params(
                    "requestState belongs to no question about this call",
                    None,
                ));
            }
            let said = request.input_responses.as_ref().and_then(|said| said.get(CONFIRM));
            let said = said.map_or(Said::No, Said::of);
            let answer = teller.telling(async |progress| {
                self.desk.settle(&caller, &asked, &preview_token, said, progress).await
            });
            return Ok(written(answer.await).into());
        }
        let outcome = teller
            .telling(async |progress| self.desk.call(&caller, &asked, can_ask(&context), progress).await);
        let outcome = outcome.await;
        match outcome {
            Outcome::Answered(answer) => Ok(written(answer).into()),
            Outcome::Question(question) if is_stateless(&context) => {
                let form = form(&question)?;
                let asking = InputRequest::Elicitation(ElicitRequest::new(form));
                let asking = InputRequests::from([(CONFIRM.to_owned(), asking)]);
                Ok(InputRequiredResult::new(Some(asking), Some(question.preview_token)).into())
            }
            Outcome::Question(question) => {
                let form = form(&question)?;
                let said = context.peer.create_elicitation_with_timeout(form, Some(THINKING)).await;
                let said = said.ok().and_then(|said| serde_json::to_value(said).ok());
                let said = said.as_ref().map_or(Said::No, Said::of);
                let answer = teller.telling(async |progress| {
                    self.desk.settle(&caller, &asked, &question.preview_token, said, progress).await
                });
                Ok(written(answer.await).into())
            }
        }
    }
}

/// The whole list, which is its only page.
fn listed(
    page: Option<PaginatedRequestParams>,
    tools: Vec<serde_json::Value>,
) -> Result<ListToolsResult, ErrorData> {
    if page.is_some_and(|page| page.cursor.is_some()) {
        return Err(ErrorData::invalid_params(
            "params.cursor: there is one page, and no cursor to another",
            None,
        ));
    }
    let tools: Result<Vec<Tool>, _> = tools.into_iter().map(serde_json::from_value).collect();
    let tools = tools.map_err(|error| defect(&error))?;
    let mut listed = ListToolsResult::with_all_items(tools);
    // What is listed depends on the token.
    listed.ttl_ms = Some(u64::try_from(LIST_FOR.as_millis()).unwrap_or(0));
    listed.cache_scope = Some(CacheScope::Private);
    Ok(listed)
}

fn defect(error: &dyn std::error::Error) -> ErrorData {
    tracing::error!(error = %error, "a message of the protocol could not be made");
    ErrorData::internal_error("the request failed; the defect was logged", None)
}

/// Whether the request is of a revision without sessions.
fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    // Revisions are dates, which sort as they are written.
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Whether the client can show a form to a person.
fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let elicitation = context.client_capabilities().and_then(|able| able.elicitation);
    // Naming neither kind means forms, as before there were two.
    elicitation.is_some_and(|kinds| kinds.form.is_some() || kinds.url.is_none())
}

fn form(question: &Question) -> Result<ElicitRequestParams, ErrorData> {
    let requested_schema = serde_json::from_value(question.form()).map_err(|error| defect(&error))?;
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.message.clone(),
        requested_schema,
    })
}

/// The envelope, for programs and as text; a refusal is a result too, so that the model reads its hint.
fn written(answer: Answer) -> CallToolResult {
    let text = answer.body.to_string();
    let mut result = if answer.status == 200 {
        CallToolResult::success(vec![ContentBlock::text(text)])
    } else {
        CallToolResult::error(vec![ContentBlock::text(text)])
    };
    result.structured_content = Some(answer.body);
    result
}

/// Steps of one piece of work.
const STEPS: f64 = 3.0;

/// Tells the client of one request how far it has come, if it asked for that. A request may be worked on twice, before
/// and after a question; what is told of the second time goes on where the first time ended.
struct Teller<'a> {
    peer: &'a Peer<RoleServer>,
    token: Option<ProgressToken>,
    last: f64,
}

impl<'a> Teller<'a> {
    fn of(context: &'a RequestContext<RoleServer>) -> Self {
        Self { peer: &context.peer, token: context.meta.get_progress_token(), last: 0.0 }
    }

    /// Runs `work` and passes its steps on.
    async fn telling<T>(&mut self, work: impl AsyncFnOnce(Progress) -> T) -> T {
        let Some(token) = self.token.clone() else { return work(Progress::default()).await };
        let (progress, mut steps) = Progress::channel();
        let before = self.last;
        let tell = async {
            while let Some(step) = steps.recv().await {
                let (done, message) = in_words(step);
                let done = before + done;
                // A plan that lost a race begins again; progress never goes back.
                if done > self.last {
                    self.last = done;
                    let told = ProgressNotificationParam::new(token.clone(), done);
                    send(self.peer, told.with_total(before + STEPS).with_message(message)).await;
                }
            }
        };
        let (done, ()) = tokio::join!(work(progress), tell);
        done
    }
}

fn in_words(step: Step) -> (f64, String) {
    match step {
        Step::Resolving => (1.0, "finding out what is affected".to_owned()),
        Step::Planned { affected, dry_run: true } => (3.0, format!("{affected} contacts would change")),
        Step::Planned { affected, dry_run: false } => {
            (2.0, format!("recording a change of {affected} contacts"))
        }
        Step::Recorded => (3.0, "recorded".to_owned()),
    }
}

async fn send(peer: &Peer<RoleServer>, progress: ProgressNotificationParam) {
    if let Err(error) = peer.notify_progress(progress).await {
        tracing::debug!(error = %error, "a client does not hear of progress");
    }
}

#[cfg(not(feature = "conformance"))]
type Handler = Server;
#[cfg(feature = "conformance")]
type Handler = fixtures::WithFixtures<Server>;

#[cfg(feature = "conformance")]
#[path = "../../tests/mcp/fixtures.rs"]
mod fixtures;

/// A server for tools that another surface lends.
#[derive(Clone)]
struct Lent(Arc<dyn Toolset>);

fn entered(context: &RequestContext<RoleServer>) -> Result<Entered, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let entered = parts.and_then(|parts| parts.extensions.get::<Entered>()).cloned();
    entered.ok_or_else(|| ErrorData::invalid_request("the token is not valid", None))
}

impl ServerHandler for Lent {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("docket", env!("CARGO_PKG_VERSION")))
            .with_instructions(self.0.instructions())
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        listed(page, self.0.tools(&entered(&context)?))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let entered = entered(&context)?;
        let arguments = request.arguments.unwrap_or_default();
        let (mut result, told) = match self.0.call(&entered, &request.name, arguments).await {
            Told::Answer(told) => (CallToolResult::success(vec![ContentBlock::text(told.to_string())]), told),
            Told::Refusal(told) => (CallToolResult::error(vec![ContentBlock::text(told.to_string())]), told),
            Told::UnknownTool => {
                return Err(ErrorData::invalid_params("there is no such tool".to_owned(), None));
            }
        };
        result.structured_content = Some(told);
        Ok(result.into())
    }
}

/// The protocol over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Served {
    spoken: Spoken,
    sessions: Arc<LocalSessionManager>,
}

#[derive(Clone)]
enum Spoken {
    AtDesk(StreamableHttpService<Handler, LocalSessionManager>),
    Lent(StreamableHttpService<Lent, LocalSessionManager>),
}

fn configured(settings: &Settings, ending: CancellationToken) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(true)
        .with_json_response(true)
        .with_allowed_hosts(settings.allowed_hosts.clone())
        .with_allowed_origins(settings.allowed_origins.clone())
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_MAX)
        .with_cancellation_token(ending)
}

impl Served {
    /// The protocol for tools that another surface lends.
    pub fn lending(toolset: Arc<dyn Toolset>, settings: &Settings, ending: CancellationToken) -> Self {
        let sessions = Arc::new(LocalSessionManager::default());
        let server = Lent(toolset);
        let config = configured(settings, ending);
        let service = StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config);
        Self { spoken: Spoken::Lent(service), sessions }
    }

    /// The protocol at this desk; `ending` closes the streams that are open.
    pub fn new(desk: Desk, settings: &Settings, ending: CancellationToken) -> Self {
        let config = configured(settings, ending);
        let sessions = Arc::new(LocalSessionManager::default());
        let server = Server { desk, who: Who::InRequest };
        #[cfg(feature = "conformance")]
        let server = fixtures::WithFixtures::new(server);
        let service = StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config);
        Self { spoken: Spoken::AtDesk(service), sessions }
    }

    /// Answers a request that was let in.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        match &self.spoken {
            Spoken::AtDesk(service) => service.handle(request).await.map(Body::new),
            Spoken::Lent(service) => service.handle(request).await.map(Body::new),
        }
    }

    /// Ends a session.
    pub async fn close(&self, session: &str) {
        if let Err(error) = self.sessions.close_session(&session.into()).await {
            tracing::debug!(error = %error, "a session could not be closed");
        }
    }
}
