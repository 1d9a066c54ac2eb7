//! What the conformance suite of the Model Context Protocol calls: tools, prompts and resources with fixed names and
//! answers, beside the product's own tools.
//!
//! Built only with the feature `conformance`, into the one file that knows the protocol library, so that the suite goes
//! through the same gate, transport and sessions as every client. Answers are written as the protocol's own JSON. The
//! names and texts are those of the suite's reference server.

#![allow(deprecated, reason = "revision 2025-11-25 has what 2026-07-28 has deprecated, and both are tested")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use rmcp::model::*;
use rmcp::service::{RequestContext, SubscriptionContext, SubscriptionSink};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::Sha256;

/// A red pixel.
const IMAGE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
/// No sound.
const AUDIO: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
/// Seals the state of questions. It protects nothing but fixtures.
const STATE_KEY: &[u8] = b"fixtures of the conformance suite";
const PAUSE: Duration = Duration::from_millis(50);

/// A server with the fixtures beside its own tools.
#[derive(Clone)]
pub struct WithFixtures<S> {
    server: S,
    subscribed: Arc<Mutex<HashSet<String>>>,
    listening: Arc<Mutex<Vec<SubscriptionSink>>>,
}

impl<S> WithFixtures<S> {
    pub fn new(server: S) -> Self {
        Self { server, subscribed: Arc::default(), listening: Arc::default() }
    }
}

type Context = RequestContext<RoleServer>;

/// The protocol's own types, from the JSON that they are on the wire.
fn wire<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A result that is complete. Revisions that do not know the word are not told it by the library.
fn result<T: DeserializeOwned>(mut value: Value) -> Result<T, ErrorData> {
    value["resultType"] = "complete".into();
    wire(value)
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn failed(words: String) -> Value {
    json!({ "content": [{ "type": "text", "text": words }], "isError": true })
}

fn unknown(what: &str, name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no {what} {name}"), None)
}

/// A form of required fields of one type.
fn form(message: &str, fields: &[(&str, &str)]) -> Value {
    let properties: serde_json::Map<_, _> =
        fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    let required: Vec<_> = fields.iter().map(|(name, _)| name).collect();
    json!({
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": message,
            "requestedSchema": { "type": "object", "properties": properties, "required": required },
        },
    })
}

fn sampling(prompt: &str) -> Value {
    json!({
        "method": "sampling/createMessage",
        "params": { "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }], "maxTokens": 100 },
    })
}

fn roots() -> Value {
    json!({ "method": "roots/list" })
}

/// An answer that asks for more.
fn ask(requests: Value, state: Option<Value>) -> Result<InputRequiredResult, ErrorData> {
    let mut asked = json!({ "resultType": "input_required", "inputRequests": requests });
    if let Some(state) = state {
        asked["requestState"] = seal(&state).into();
    }
    wire(asked)
}

fn mac(state: &str) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(STATE_KEY).expect("a key of any length is accepted").chain_update(state)
}

fn seal(state: &Value) -> String {
    let state = URL_SAFE_NO_PAD.encode(state.to_string());
    let seal = URL_SAFE_NO_PAD.encode(mac(&state).finalize().into_bytes());
    format!("{state}.{seal}")
}

/// The state that was sealed, or the refusal of one that was changed.
fn opened(sealed: &str) -> Result<Value, ErrorData> {
    let open = || {
        let (state, seal) = sealed.split_once('.')?;
        mac(state).verify_slice(&URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(state).ok()?).ok()
    };
    open().ok_or_else(|| ErrorData::invalid_params("the state of the request was changed", None))
}

/// The answer to one question, if it is one.
fn answered<'a>(responses: Option<&'a InputResponses>, name: &str) -> Option<&'a Value> {
    responses.and_then(|responses| responses.get(name)).filter(|response| response.is_object())
}

/// A tool whose answer is always the same.
fn fixed(name: &str) -> Option<Value> {
    let image = json!({ "type": "image", "data": IMAGE, "mimeType": "image/png" });
    let resource = |uri: &str, kind: &str, text: &str| json!({ "type": "resource", "resource": { "uri": uri, "mimeType": kind, "text": text } });
    Some(match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => json!({ "content": [image] }),
        "test_audio_content" => {
            json!({ "content": [{ "type": "audio", "data": AUDIO, "mimeType": "audio/wav" }] })
        }
        "test_embedded_resource" => json!({ "content": [
            resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
        ] }),
        "test_multiple_content_types" => json!({ "content": [
            { "type": "text", "text": "Multiple content types test:" },
            image,
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ] }),
        "test_error_handling" => failed("This tool intentionally returns an error for testing".to_owned()),
        "json_schema_2020_12_tool" => text("Hello, world!"),
        "test_reconnection" => text("Reconnection test completed"),
        _ => return None,
    })
}

const TOOLS: [&str; 26] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_reconnection",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_logging_tool",
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_tampered_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_capabilities",
];

fn described(name: &str) -> Value {
    let properties = match name {
        "test_sampling" => json!({ "prompt": { "type": "string" } }),
        "test_elicitation" => json!({ "message": { "type": "string" } }),
        _ => json!({}),
    };
    json!({
        "name": name,
        "description": "A fixture of the conformance suite",
        "inputSchema": { "type": "object", "properties": properties },
    })
}

/// A tool whose parameter is also a header.
fn with_header() -> Value {
    json!({
        "name": "test_custom_header",
        "description": "A fixture of the conformance suite",
        "inputSchema": {
            "type": "object",
            "properties": { "value": { "type": "string", "x-mcp-header": "Value" } },
            "required": ["value"],
        },
    })
}

/// A schema with all that the dialect knows.
fn with_schema() -> Value {
    json!({
        "name": "json_schema_2020_12_tool",
        "description": "A fixture of the conformance suite",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": { "address": {
                "$anchor": "address",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            } },
            "properties": { "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
            "allOf": [{ "anyOf": [{ "required": ["name"] }, { "required": ["address"] }] }],
            "if": { "required": ["address"] },
            "then": { "properties": { "address": { "required": ["street"] } } },
            "else": { "required": ["name"] },
            "additionalProperties": false,
        },
    })
}

fn enumerations() -> Value {
    let titled = |first: &str, second: &str, third: &str| {
        json!([
            { "const": "value1", "title": first },
            { "const": "value2", "title": second },
            { "const": "value3", "title": third },
        ])
    };
    json!({ "type": "object", "properties": {
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled("First Option", "Second Option", "Third Option") },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": { "type": "string", "enum": ["option1", "option2", "option3"] },
        },
        "titledMulti": {
            "type": "array",
            "items": { "anyOf": titled("First Choice", "Second Choice", "Third Choice") },
        },
    } })
}

fn defaults() -> Value {
    json!({ "type": "object", "properties": {
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true },
    } })
}

/// Puts a question while the call is open, as revision 2025-11-25 does.
async fn elicited(context: &Context, message: &str, schema: Value) -> Result<Value, ErrorData> {
    let asked = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.to_owned(),
        requested_schema: wire(schema)?,
    };
    Ok(match context.peer.create_elicitation(asked).await {
        Ok(said) => text(&format!("The person said: {}", serde_json::to_value(said).unwrap_or_default())),
        Err(error) => failed(error.to_string()),
    })
}

/// A tool that talks with its client, of revision 2025-11-25 or of both.
async fn talked(name: &str, arguments: &JsonObject, context: &Context) -> Result<Option<Value>, ErrorData> {
    let given = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or("Hello").to_owned();
    Ok(Some(match name {
        "test_tool_with_logging" => {
            for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                let told = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message));
                let _ = context.peer.notify_logging_message(told).await;
                tokio::time::sleep(PAUSE).await;
            }
            text("Logging test completed")
        }
        "test_logging_tool" => {
            if let Some(level) = context.meta.log_level() {
                let told = LoggingMessageNotificationParam::new(level, json!("logLevel was requested"));
                let _ = context.peer.notify_logging_message(told).await;
            }
            text("Logging tool completed")
        }
        "test_tool_with_progress" => {
            for progress in [0.0, 50.0, 100.0] {
                if let Some(token) = context.meta.get_progress_token() {
                    let told = ProgressNotificationParam::new(token, progress).with_total(100.0);
                    let _ = context.peer.notify_progress(told).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
            text("Progress test completed")
        }
        "test_sampling" => {
            let prompt = vec![SamplingMessage::user_text(given("prompt"))];
            match context.peer.create_message(CreateMessageRequestParams::new(prompt, 100)).await {
                Ok(said) => {
                    let said = serde_json::to_value(said).unwrap_or_default();
                    text(&format!("LLM response: {}", said["content"]["text"].as_str().unwrap_or_default()))
                }
                Err(error) => failed(error.to_string()),
            }
        }
        "test_elicitation" => {
            let schema = json!({
                "type": "object",
                "properties": { "username": { "type": "string" }, "email": { "type": "string" } },
                "required": ["username", "email"],
            });
            elicited(context, &given("message"), schema).await?
        }
        "test_elicitation_sep1034_defaults" => {
            elicited(context, "Please provide values (all have defaults)", defaults()).await?
        }
        "test_elicitation_sep1330_enums" => {
            elicited(context, "Test enum schema improvements", enumerations()).await?
        }
        "test_missing_capability" => {
            if context.meta.client_capabilities().unwrap_or_default().sampling.is_none() {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            text("Required capability declared")
        }
        "test_custom_header" => text(&given("value")),
        _ => return Ok(None),
    }))
}

/// A tool that asks for input by its answer, as revision 2026-07-28 does.
fn asked(request: &CallToolRequestParams, context: &Context) -> Result<CallToolResponse, ErrorData> {
    let responses = request.input_responses.as_ref();
    let state = request.request_state.as_deref().map(opened).transpose()?;
    let done = |words: &str| -> Result<CallToolResponse, ErrorData> {
        Ok(result::<CallToolResult>(text(words))?.into())
    };
    let name = form("What is your name?", &[("name", "string")]);
    match request.name.as_ref() {
        "test_streaming_elicitation" => {
            let value = form("Provide a value", &[("value", "string")]);
            Ok(ask(json!({ "streaming_elicitation": value }), None)?.into())
        }
        "test_input_required_result_elicitation" => match answered(responses, "user_name") {
            Some(said) => done(&format!("Hello, {}!", said["content"]["name"].as_str().unwrap_or("friend"))),
            None => Ok(ask(json!({ "user_name": name }), None)?.into()),
        },
        "test_input_required_result_sampling" => match answered(responses, "capital_question") {
            Some(said) => done(&format!("Sampling response: {}", said["content"]["text"])),
            None => {
                Ok(ask(json!({ "capital_question": sampling("What is the capital of France?") }), None)?
                    .into())
            }
        },
        "test_input_required_result_list_roots" => match answered(responses, "client_roots") {
            Some(said) => done(&format!("Client roots: {}", said["roots"])),
            None => Ok(ask(json!({ "client_roots": roots() }), None)?.into()),
        },
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            match state {
                Some(_) => done("Confirmed: state-ok"),
                None => {
                    let confirm = form("Please confirm", &[("ok", "boolean")]);
                    Ok(ask(json!({ "confirm": confirm }), Some(json!({ "stage": "confirm" })))?.into())
                }
            }
        }
        "test_input_required_result_multiple_inputs" => {
            let all = ["user_name", "greeting", "client_roots"];
            if state.is_some() && all.iter().all(|name| answered(responses, name).is_some()) {
                return done("All inputs received");
            }
            let requests = json!({
                "user_name": name, "greeting": sampling("Generate a greeting"), "client_roots": roots(),
            });
            Ok(ask(requests, Some(json!({ "stage": "gather" })))?.into())
        }
        "test_input_required_result_multi_round" => {
            match state.and_then(|state| state["round"].as_u64()).unwrap_or(0) {
                0 => {
                    let first = form("Step 1: What is your name?", &[("name", "string")]);
                    Ok(ask(json!({ "step1": first }), Some(json!({ "round": 1 })))?.into())
                }
                1 => {
                    let second = form("Step 2: What is your favorite color?", &[("color", "string")]);
                    Ok(ask(json!({ "step2": second }), Some(json!({ "round": 2 })))?.into())
                }
                _ => done("Multi-round flow complete"),
            }
        }
        "test_input_required_result_capabilities" => {
            let able = context.meta.client_capabilities().unwrap_or_default();
            let mut requests = json!({});
            if able.elicitation.is_some() {
                requests["user_name"] = name;
            }
            if able.sampling.is_some() {
                requests["greeting"] = sampling("Generate a greeting");
            }
            if able.roots.is_some() {
                requests["client_roots"] = roots();
            }
            if responses.is_some() || requests == json!({}) {
                return done("Capability-aware flow complete");
            }
            Ok(ask(requests, None)?.into())
        }
        other => Err(unknown("tool", other)),
    }
}

fn prompt_messages(name: &str, arguments: &JsonObject) -> Option<Value> {
    let said = |content: Value| json!({ "role": "user", "content": content });
    let words = |text: String| said(json!({ "type": "text", "text": text }));
    let given = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(match name {
        "test_simple_prompt" => json!([words("This is a simple test prompt.".into())]),
        "test_prompt_with_arguments" => json!([words(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            given("arg1"),
            given("arg2")
        ))]),
        "test_prompt_with_embedded_resource" => {
            let uri = arguments.get("resourceUri").and_then(Value::as_str).unwrap_or("test://static-text");
            let resource =
                json!({ "uri": uri, "mimeType": "text/plain", "text": "Resource content for prompt" });
            json!([
                said(json!({ "type": "resource", "resource": resource })),
                words("Please process the embedded resource above.".into())
            ])
        }
        "test_prompt_with_image" => json!([
            said(json!({ "type": "image", "data": IMAGE, "mimeType": "image/png" })),
            words("Please analyze the image above.".into())
        ]),
        _ => return None,
    })
}

impl<S: ServerHandler> ServerHandler for WithFixtures<S> {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_logging()
            .enable_completions()
            .build();
        let mut info = self.server.get_info();
        info.capabilities = capabilities;
        info
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == "test_custom_header").then(|| wire(with_header()).ok()).flatten()
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).push(context.sink().clone());
        context.cancelled().await;
        Ok(())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = self.server.list_tools(request, context).await?;
        for tool in TOOLS.into_iter().map(described).chain([with_header(), with_schema()]) {
            listed.tools.push(wire(tool)?);
        }
        Ok(listed)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        if name.starts_with("test_input_required_result_") || name == "test_streaming_elicitation" {
            return asked(&request, &context);
        }
        if let Some(fixed) = fixed(name) {
            return Ok(result::<CallToolResult>(fixed)?.into());
        }
        if name.starts_with("test_trigger_") {
            let sinks = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for sink in sinks {
                let _ = match name {
                    "test_trigger_tool_change" => sink.notify_tool_list_changed().await,
                    _ => sink.notify_prompt_list_changed().await,
                };
            }
            return Ok(result::<CallToolResult>(text("Change triggered"))?.into());
        }
        let arguments = request.arguments.clone().unwrap_or_default();
        match talked(name, &arguments, &context).await? {
            Some(said) => Ok(result::<CallToolResult>(said)?.into()),
            None => self.server.call_tool(request, context).await,
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        result(json!({ "resources": [
            { "uri": "test://static-text", "name": "Static text", "mimeType": "text/plain" },
            { "uri": "test://static-binary", "name": "Static binary", "mimeType": "image/png" },
        ], "ttlMs": 60_000, "cacheScope": "public" }))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = json!({
            "uriTemplate": "test://template/{id}/data", "name": "Template", "mimeType": "application/json",
        });
        result(json!({ "resourceTemplates": [template], "ttlMs": 60_000, "cacheScope": "public" }))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let content = match uri {
            "test://static-text" => json!({
                "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource.",
            }),
            "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": IMAGE }),
            _ => {
                let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
                let Some(id) = id else {
                    let message = format!("there is no resource {uri}");
                    return Err(ErrorData::resource_not_found(message, Some(json!({ "uri": uri }))));
                };
                let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
                json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
            }
        };
        let read: ReadResourceResult =
            result(json!({ "contents": [content], "ttlMs": 60_000, "cacheScope": "public" }))?;
        Ok(read.into())
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(&self, request: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.uri);
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let argument = |name: &str, required: bool| json!({ "name": name, "required": required });
        result(json!({ "prompts": [
            { "name": "test_simple_prompt", "description": "A simple prompt" },
            {
                "name": "test_prompt_with_arguments",
                "description": "A prompt with arguments",
                "arguments": [argument("arg1", true), argument("arg2", true)],
            },
            {
                "name": "test_prompt_with_embedded_resource",
                "description": "A prompt with a resource",
                "arguments": [argument("resourceUri", true)],
            },
            { "name": "test_prompt_with_image", "description": "A prompt with an image" },
            { "name": "test_input_required_result_prompt", "description": "A prompt that asks for input" },
        ], "ttlMs": 60_000, "cacheScope": "public" }))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return match answered(request.input_responses.as_ref(), "user_context") {
                Some(said) => {
                    let context = format!("Prompt with elicited context: {}", said["content"]["context"]);
                    let message = json!({ "role": "user", "content": { "type": "text", "text": context } });
                    Ok(result::<GetPromptResult>(json!({ "messages": [message] }))?.into())
                }
                None => {
                    let context = form("What context should the prompt use?", &[("context", "string")]);
                    Ok(ask(json!({ "user_context": context }), None)?.into())
                }
            };
        }
        let arguments = request.arguments.unwrap_or_default();
        let messages = prompt_messages(&request.name, &arguments);
        let messages = messages.ok_or_else(|| unknown("prompt", &request.name))?;
        Ok(result::<GetPromptResult>(json!({ "messages": messages }))?.into())
    }

    async fn complete(&self, _: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        result(
            json!({ "completion": { "values": ["paris", "park", "party"], "total": 3, "hasMore": false } }),
        )
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }
}
