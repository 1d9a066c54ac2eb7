//! The language model that an operator may connect: one endpoint that speaks the chat completions of OpenAI.
//!
//! Only this file speaks to it. A question is asked once: within thirty seconds there is an answer of at most one
//! mebibyte, or a refusal that says which kind it is. Nothing of question, answer or key is logged, and no redirect is
//! followed, so that what is sent reaches the address that the operator named and no other.

use std::time::Duration;

use clap::Args;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url, redirect};
use rustls::crypto::{CryptoProvider, ring};
use serde_json::{Value, json};

use crate::json::{self, Fault};
use crate::web_address;

/// How long an answer may take, from the first byte sent to the last one read.
const WITHIN: Duration = Duration::from_secs(30);
/// How long it may take until there is a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where the model is.
#[derive(Clone, Debug, Default, Args)]
pub struct LanguageModelConfig {
    /// The base address of an endpoint that speaks OpenAI's chat completions, as `https://models.example/v1`.
    #[arg(long, env = "DOCKET_LLM_URL")]
    pub llm_url: Option<String>,
    /// The model to ask for.
    #[arg(long, env = "DOCKET_LLM_MODEL", requires = "llm_url")]
    pub llm_model: Option<String>,
    /// The key that is sent as a bearer token.
    #[arg(long, env = "DOCKET_LLM_KEY", hide_env_values = true, requires = "llm_url")]
    pub llm_key: Option<String>,
}

/// Why the configuration names no model.
#[derive(Debug, thiserror::Error)]
pub enum LanguageModelConfigError {
    /// The address is none.
    #[error("DOCKET_LLM_URL is not an http or https address")]
    BadUrl,
    /// Which model is not said.
    #[error("DOCKET_LLM_URL is set and DOCKET_LLM_MODEL is not")]
    NoModel,
    /// The key cannot be sent.
    #[error("DOCKET_LLM_KEY holds characters that no header takes")]
    BadKey,
    /// The client cannot be made.
    #[error("no client for DOCKET_LLM_URL can be made")]
    Client(#[source] reqwest::Error),
}

/// Why there is no answer. None of them says what was asked or answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LanguageModelError {
    /// Nobody answers there.
    #[error("the model cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("the model did not answer in time")]
    TooSlow,
    /// It answered with a status that is no success.
    #[error("the model answered with status {0}")]
    Status(u16),
    /// The answer is too large.
    #[error("the model's answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// The answer is no chat completion.
    #[error("the model's answer is no chat completion")]
    NoCompletion,
    /// It stopped before the end of its answer.
    #[error("the model stopped before the end of its answer")]
    CutOff,
    /// It will not answer this.
    #[error("the model declined to answer")]
    Declined,
    /// The completion is not the JSON that was asked for.
    #[error("the model's answer is not JSON: {0}")]
    NotJson(Fault),
}

/// A question: what the model is to do, with what, and in what form it is to answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What it is to do.
    pub instructions: &'a str,
    /// With what.
    pub material: &'a str,
    /// The name of the form.
    pub form: &'a str,
    /// The JSON Schema of the answer.
    pub schema: &'a Value,
}

/// A language model. Cheap to clone.
#[derive(Clone)]
pub struct LanguageModel {
    client: Client,
    completions: Url,
    model: String,
    key: Option<HeaderValue>,
    within: Duration,
}

impl std::fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LanguageModel({} at {})", self.model, self.endpoint())
    }
}

impl LanguageModel {
    /// The model that the configuration names, if it names one.
    pub fn open(config: &LanguageModelConfig) -> Result<Option<Self>, LanguageModelConfigError> {
        let Some(url) = &config.llm_url else { return Ok(None) };
        let completions = format!("{}/chat/completions", url.trim_end_matches('/'));
        let completions = web_address::parse(&completions).ok_or(LanguageModelConfigError::BadUrl)?;
        let model = config.llm_model.clone().ok_or(LanguageModelConfigError::NoModel)?;
        let key = config.llm_key.as_ref().map(|key| {
            let mut key = HeaderValue::from_str(&format!("Bearer {key}"))?;
            key.set_sensitive(true);
            Ok::<_, reqwest::header::InvalidHeaderValue>(key)
        });
        let key = key.transpose().map_err(|_| LanguageModelConfigError::BadKey)?;
        if CryptoProvider::get_default().is_none() {
            // Whoever was quicker chose as well as we would have.
            let _ = ring::default_provider().install_default();
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(LanguageModelConfigError::Client)?;
        Ok(Some(Self { client, completions, model, key, within: WITHIN }))
    }

    /// The same model, which is waited for as long as this.
    #[must_use]
    pub fn waited_for(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.model
    }

    /// Host and, where it is said, port of the endpoint.
    pub fn endpoint(&self) -> String {
        let host = self.completions.host_str().unwrap_or_default();
        match self.completions.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Asks once, and gives the JSON that was answered. Whether it fits the schema is for the caller to see.
    pub async fn ask(&self, question: Question<'_>) -> Result<Value, LanguageModelError> {
        let asked = self.completion(question).await;
        let outcome = match &asked {
            Ok(_) => "answered",
            Err(LanguageModelError::TooSlow) => "too_slow",
            Err(LanguageModelError::Unreachable) => "unreachable",
            Err(_) => "unusable",
        };
        metrics::counter!("docket_model_questions_total", "outcome" => outcome).increment(1);
        json::read(asked?.as_bytes()).map_err(LanguageModelError::NotJson)
    }

    /// The text of the answer.
    async fn completion(&self, question: Question<'_>) -> Result<String, LanguageModelError> {
        let body = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": question.instructions },
                { "role": "user", "content": question.material },
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": question.form, "strict": true, "schema": question.schema },
            },
        });
        let mut request = self
            .client
            .post(self.completions.clone())
            .timeout(self.within)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body.to_string());
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(LanguageModelError::Status(response.status().as_u16()));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(LanguageModelError::TooLarge);
            }
            answer.extend_from_slice(&chunk);
        }
        said(&answer)
    }
}

fn failed(error: &reqwest::Error) -> LanguageModelError {
    if error.is_timeout() { LanguageModelError::TooSlow } else { LanguageModelError::Unreachable }
}

/// The text of a chat completion.
fn said(answer: &[u8]) -> Result<String, LanguageModelError> {
    let completion: Value = serde_json::from_slice(answer).map_err(|_| LanguageModelError::NoCompletion)?;
    let choice = &completion["choices"][0];
    if choice["message"]["refusal"].is_string() {
        return Err(LanguageModelError::Declined);
    }
    match choice["finish_reason"].as_str() {
        Some("length") => return Err(LanguageModelError::CutOff),
        Some("content_filter") => return Err(LanguageModelError::Declined),
        _ => (),
    }
    let text = choice["message"]["content"].as_str();
    text.map(str::to_owned).ok_or(LanguageModelError::NoCompletion)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: Option<&str>, model: Option<&str>, key: Option<&str>) -> LanguageModelConfig {
        LanguageModelConfig {
            llm_url: url.map(str::to_owned),
            llm_model: model.map(str::to_owned),
            llm_key: key.map(str::to_owned),
        }
    }

    #[test]
    fn a_configuration_names_a_model_or_none() {
        assert!(LanguageModel::open(&config(None, None, None)).unwrap().is_none());
        let model =
            LanguageModel::open(&config(Some("https://models.example:8443/v1/"), Some("m"), Some("k")));
        let model = model.unwrap().unwrap();
        assert_eq!(model.completions.as_str(), "https://models.example:8443/v1/chat/completions");
        assert_eq!((model.name(), model.endpoint().as_str()), ("m", "models.example:8443"));
        assert!(!format!("{model:?}").contains("Bearer"));
        for (url, name, key) in [
            ("models.example", Some("m"), None),
            ("file:///etc/passwd", Some("m"), None),
            ("ftp://models.example", Some("m"), None),
            ("https://models.example", None, None),
            ("https://models.example", Some("m"), Some("a\nb")),
        ] {
            assert!(LanguageModel::open(&config(Some(url), name, key)).is_err(), "{url}");
        }
    }

    #[test]
    fn only_a_whole_completion_says_something() {
        let completion = |message: Value, reason: &str| {
            json!({ "choices": [{ "message": message, "finish_reason": reason }] }).to_string()
        };
        for (answer, expected) in [
            (completion(json!({ "content": "{}" }), "stop"), Ok("{}".to_owned())),
            (completion(json!({ "content": "{" }), "length"), Err(LanguageModelError::CutOff)),
            (completion(json!({ "content": "" }), "content_filter"), Err(LanguageModelError::Declined)),
            (completion(json!({ "refusal": "no" }), "stop"), Err(LanguageModelError::Declined)),
            (completion(json!({ "content": null }), "stop"), Err(LanguageModelError::NoCompletion)),
            ("{}".to_owned(), Err(LanguageModelError::NoCompletion)),
            ("<html>".to_owned(), Err(LanguageModelError::NoCompletion)),
        ] {
            assert_eq!(said(answer.as_bytes()), expected, "{answer}");
        }
    }
}
