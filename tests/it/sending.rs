//! Sending: from a request to what became of it.

mod activities;
mod frequency;
mod rechecked;
mod send;

use std::sync::Arc;

use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
/// The id of nothing.
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
    // Nobody here hands anything to a channel: there is no outcome to wait for.
    client.send(method, &client.crm(path), &[JSON, ("prefer", "wait=0")], body).await.unwrap()
}

async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    ask(client, Method::POST, path, body).await
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    ask(client, Method::GET, path, Value::Null).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// Status and reason of an activity.
fn came_to(activity: &Value) -> (&str, Option<&str>) {
    (activity["status"].as_str().unwrap_or_default(), activity["reason"].as_str())
}

async fn positions(client: &Client) -> usize {
    client.get(&client.crm("events?limit=1000")).await.1.as_array().unwrap().len()
}

/// A company that can send: one e-mail outbox, and whoever is on the allowlist.
struct Company {
    app: Arc<TestApp>,
    board: Client,
    outbox: String,
}

impl Company {
    /// With these entries on its allowlist.
    async fn allowing(entries: &[&str]) -> Self {
        Self::begin(Arc::new(TestApp::start().await), entries).await
    }

    /// The same beside others in one product.
    async fn begin(app: Arc<TestApp>, entries: &[&str]) -> Self {
        let organization = app.organization().await;
        let board = app.client(Role::Board, organization).await;
        let body = json!({
            "channel": "email", "niche": "renovation", "secretRef": "secret://smtp:latest",
            "config": { "fromAddress": "ops@example.com" },
        });
        let (status, outbox) = post(&board, "outboxes", body).await;
        assert_eq!(status, 201, "{outbox}");
        let company = Self { app, board, outbox: text(&outbox["id"]) };
        if !entries.is_empty() {
            company.allow(entries).await;
        }
        company
    }

    async fn allow(&self, entries: &[&str]) {
        let body = json!({ "entries": entries, "acknowledgeAll": true });
        let (status, answer) = post(&self.board, "allowlist", body).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// A rule that lets everything on e-mail go out.
    async fn approve_by_itself(&self) -> Value {
        let body = json!({ "predicate": { "channel": "email" }, "action": "auto_approve", "priority": 1 });
        let (status, rule) = post(&self.board, "approval-rules", body).await;
        assert_eq!(status, 201, "{rule}");
        rule
    }

    /// An e-mail to `to`.
    fn mail(&self, to: &str) -> Value {
        json!({
            "channel": "email", "outboxId": self.outbox, "to": to,
            "payload": { "subject": "Hello", "text": "A word about your roof." },
        })
    }

    /// The same with another field.
    fn mail_with(&self, to: &str, field: &str, value: Value) -> Value {
        let mut mail = self.mail(to);
        mail[field] = value;
        mail
    }

    async fn agent(&self) -> Client {
        self.app.client(Role::Agent, self.board.organization).await
    }

    /// Sends what must be decided.
    async fn send(&self, body: Value) -> Value {
        let (status, activity) = post(&self.board, "send", body).await;
        assert_eq!(status, 200, "{activity}");
        activity
    }
}
