//! One call of a tool, without a word of the protocol: the same body, the same handler, the same envelope as over HTTP,
//! and the same entry in the access log.
//!
//! What must be confirmed is shown to a person, where the client can ask one: the preview is made first, the question
//! says what it came to, and a yes applies that preview and nothing else. Nobody is asked where nothing would change,
//! where it is done already, or where the token may not do it. A client that cannot ask gets the preview, as it does
//! over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::asking;
use crate::access_log::{AccessLog, Entry};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::Answer;
use crate::json;
use crate::limits::Limiter;
use crate::tools::progress::Progress;
use crate::tools::{self, Listener, Refusal, catalog};

/// How long a call may take, as over HTTP.
const WITHIN: Duration = Duration::from_secs(30);

/// Where calls are made and noted. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// The product.
    pub app: App,
    /// Where calls are noted.
    pub access_log: AccessLog,
    /// What counts the calls; lets everything through where a gate has counted them before.
    pub limiter: Limiter,
}

/// A call as it arrives.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The tool.
    pub name: String,
    /// The body: `{organizationId, input, reason?, requestId?}`.
    pub body: Map<String, Value>,
}

/// What becomes of a call.
pub enum Outcome {
    /// It is answered.
    Answered(Answer),
    /// A person must say yes first.
    Question(Question),
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// In words.
    pub message: String,
    /// The preview that a yes applies.
    pub preview_token: String,
}

/// The name of the answer's only field.
pub const CONFIRM: &str = "confirm";

impl Question {
    /// The form that the person fills in.
    pub fn form(&self) -> Value {
        json!({
            "type": "object",
            "properties": {
                CONFIRM: {
                    "type": "boolean",
                    "title": "Apply",
                    "description": "Apply exactly what the preview showed",
                    "default": false,
                },
            },
            "required": [CONFIRM],
        })
    }
}

/// What the person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Apply it.
    Yes,
    /// Do not, or nothing at all.
    No,
}

impl Said {
    /// The result of an elicitation: accepted, and the box ticked.
    pub fn of(result: &Value) -> Self {
        let yes = result["action"] == "accept" && result["content"][CONFIRM] == true;
        if yes { Self::Yes } else { Self::No }
    }
}

impl Desk {
    /// How long the caller must wait before it may ask for anything more; none if it need not.
    pub fn wait(&self, caller: &Caller) -> Option<Duration> {
        self.limiter.take(caller.token_id).and_then(|allowance| allowance.wait)
    }

    /// The refusal of a call that is one too many.
    pub async fn too_many(&self, caller: &Caller, name: &str, retry_after: Duration) -> Answer {
        let answer = tools::refuse(&self.app, name, &Refusal::RateLimited { retry_after });
        self.note(caller, name, &answer, Duration::ZERO).await;
        answer
    }

    /// What a client is told that names a tool which does not exist: that is the client's mistake and not the model's.
    pub fn unknown(caller: &Caller, name: &str) -> Option<String> {
        match tools::admit(caller, name) {
            Err(refusal @ (Refusal::UnknownTool { .. } | Refusal::ToolNotYet(_))) => {
                Some(refusal.to_string())
            }
            _ => None,
        }
    }

    /// Whether a question about the call may have been put, to which the client answers with this state.
    pub fn may_have_asked(asked: &Asked, state: &str) -> bool {
        let input = asked.body.get("input").unwrap_or(&Value::Null);
        let gated = catalog().get(&asked.name).is_some_and(|tool| tool.gated(input));
        gated && !state.is_empty() && state.len() <= 200
    }

    /// Makes the call. `can_ask`: whether the client can put a question to a person.
    pub async fn call(&self, caller: &Caller, asked: &Asked, can_ask: bool, progress: Progress) -> Outcome {
        let asks = can_ask && asked.would_only_show();
        let answer = self.answer(caller, asked, Listener { progress, asks }).await;
        let data = &answer.body["data"];
        match answer.body["meta"]["previewToken"].as_str() {
            Some(token) if asks && !asking::changes_nothing(data) => Outcome::Question(Question {
                message: asking::question(&self.app, &asked.body, &asked.name, data).await,
                preview_token: token.to_owned(),
            }),
            _ => Outcome::Answered(answer),
        }
    }

    /// The same call once more, after the question was put: applied, or shown again.
    pub async fn settle(
        &self,
        caller: &Caller,
        asked: &Asked,
        preview_token: &str,
        said: Said,
        progress: Progress,
    ) -> Answer {
        let mut asked = asked.clone();
        if let Some(input) = asked.body.get_mut("input").and_then(Value::as_object_mut) {
            input.insert("previewToken".into(), preview_token.into());
            let (option, value) = if said == Said::Yes { (CONFIRM, true) } else { ("dryRun", true) };
            input.insert(option.into(), value.into());
        }
        let listener = Listener { progress, asks: false };
        let mut answer = self.answer(caller, &asked, listener.clone()).await;
        // Who did not confirm is not told that the preview would not hold any more, but shown what would happen now.
        if said == Said::No
            && answer.status != 200
            && let Some(input) = asked.body.get_mut("input").and_then(Value::as_object_mut)
        {
            input.remove("previewToken");
            answer = self.answer(caller, &asked, listener).await;
        }
        if said == Said::No
            && let Some(warnings) = answer.body["meta"]["warnings"].as_array_mut()
        {
            let message = "the person who was asked did not confirm: nothing was changed";
            warnings.push(json!({ "code": "NOT_CONFIRMED", "message": message, "path": null }));
        }
        answer
    }

    async fn answer(&self, caller: &Caller, asked: &Asked, listener: Listener) -> Answer {
        let started = Instant::now();
        let app = &self.app;
        let levels = catalog().get(&asked.name).map_or(json::DEPTH_MAX, |tool| tool.levels);
        // Read as a body is read: what HTTP refuses or normalises is refused or normalised here.
        let body = serde_json::to_vec(&asked.body)
            .map_err(|error| Refusal::Defect(error.to_string()))
            .and_then(|bytes| if bytes.len() > BODY_MAX { Err(Refusal::BodyTooLarge) } else { Ok(bytes) })
            .and_then(|bytes| Ok(json::read_within(&bytes, levels)?));
        let answer = tools::answer_to(app, caller, &asked.name, body, listener);
        let answer = match tokio::time::timeout(WITHIN, answer).await {
            Ok(answer) => answer,
            Err(_) => tools::refuse(app, &asked.name, &Refusal::DeadlineExceeded),
        };
        self.note(caller, &asked.name, &answer, started.elapsed()).await;
        answer
    }

    async fn note(&self, caller: &Caller, name: &str, answer: &Answer, took: Duration) {
        let known = catalog().get(name).map_or("unknown tool", |tool| tool.name);
        let entry = Entry::of_call(&self.app.clock, Some(caller), known, answer, took);
        self.access_log.record(entry).await;
    }
}

/// A body may be so long, as over HTTP.
pub const BODY_MAX: usize = 1 << 20;

impl Asked {
    /// Whether the call, as it stands, would only show what it would do, because nobody confirmed it.
    fn would_only_show(&self) -> bool {
        let Some(input) = self.body.get("input") else { return false };
        let said = |option: &str| input.get(option).is_some_and(|value| !value.is_null());
        let gated = catalog().get(&self.name).is_some_and(|tool| tool.gated(input));
        gated && !said("dryRun") && !said("confirm") && !said("previewToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ticked_box_is_a_yes() {
        for (result, said) in [
            (json!({ "action": "accept", "content": { "confirm": true } }), Said::Yes),
            (json!({ "action": "accept", "content": { "confirm": false } }), Said::No),
            (json!({ "action": "accept", "content": { "confirm": "true" } }), Said::No),
            (json!({ "action": "accept" }), Said::No),
            (json!({ "action": "decline", "content": { "confirm": true } }), Said::No),
            (json!({ "action": "cancel" }), Said::No),
            (json!(1), Said::No),
        ] {
            assert_eq!(Said::of(&result), said, "{result}");
        }
    }

    #[test]
    fn a_person_is_asked_where_nobody_has_confirmed() {
        let remove = "bulk_remove_contacts_from_campaign";
        for (name, input, asks) in [
            (remove, json!({ "campaignId": "x" }), true),
            (remove, json!({ "campaignId": "x", "confirm": null }), true),
            (remove, json!({ "campaignId": "x", "confirm": true }), false),
            (remove, json!({ "campaignId": "x", "confirm": false }), false),
            (remove, json!({ "campaignId": "x", "dryRun": true }), false),
            (remove, json!({ "campaignId": "x", "previewToken": "y" }), false),
            ("bulk_add_contacts_to_campaign_by_filter", json!({}), false),
            ("bulk_add_contacts_to_campaign_by_filter", json!({ "assignToAgentIds": [] }), true),
            ("list_campaigns", json!({}), false),
        ] {
            let Value::Object(body) = json!({ "input": input }) else { unreachable!() };
            assert_eq!(Asked { name: name.into(), body }.would_only_show(), asks, "{name} {input}");
        }
    }
}
