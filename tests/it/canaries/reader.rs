//! Whoever asks for everything that can be got, and keeps what was answered.

use std::net::SocketAddr;

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, PATIENCE, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Whoever asks, and keeps every answer.
pub struct Reader {
    pub client: Client,
    pub answers: Vec<(String, String)>,
}

impl Reader {
    pub async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Value) {
        let bearer = self.client.bearer();
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        let (status, head, bytes) = self.client.exchange(method.clone(), path, &headers, body).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = serde_json::from_str(&text).unwrap_or_default();
        self.answers.push((format!("the answer to {method} {path}"), format!("{head:?} {text}")));
        (status, answer)
    }

    pub async fn ask(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let path = self.client.crm(path);
        self.exchange(method, &path, &[JSON, ("prefer", "wait=20")], body.to_string().into_bytes()).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub async fn get(&mut self, path: &str) -> Value {
        let path = self.client.crm(path);
        let (status, answer) = self.exchange(Method::GET, &path, &[], vec![]).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn store(&mut self, secret_id: &str, value: &str) {
        let path = format!("/api/companies/{}/secrets/{secret_id}", self.client.organization);
        let body = json!({ "value": value }).to_string().into_bytes();
        let (status, answer) = self.exchange(Method::PUT, &path, &[JSON], body).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub async fn outbox(&mut self, channel: &str, secret_id: &str, config: Value) -> String {
        let body = json!({ "channel": channel, "secretRef": format!("secret://{secret_id}:latest"), "config": config });
        self.post("outboxes", body).await["id"].as_str().unwrap().to_owned()
    }

    /// Sends, and gives status and code once it is known what became of it.
    pub async fn send(&mut self, channel: &str, outbox: &str, to: &str, payload: &Value) -> (String, String) {
        let body = json!({ "channel": channel, "outboxId": outbox, "to": to, "payload": payload });
        let sent = self.post("send", body).await;
        let path = self.client.crm(&format!("activities/{}", sent["id"].as_str().unwrap()));
        let client = self.client.clone();
        let activity = eventually("the outcome", || async {
            let (_, activity) = client.get(&path).await;
            (activity["dispatchState"] == "done").then_some(activity)
        })
        .await;
        let text = |field: &str| activity[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }
}

/// The stream of events, up to the last one that there is.
pub async fn streamed(reader: &Reader, address: SocketAddr, events: usize) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let path = reader.client.crm("events/stream?after=0");
    let bearer = reader.client.bearer();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    let reading = async {
        while received.matches("\ndata: ").count() < events {
            let mut buffer = [0; 16 * 1024];
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{received}");
            received.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all events");
    received
}

/// The paths that are got, with every id that there is.
pub fn paths(document: &Value, ids: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.ends_with("/stream") {
            continue;
        }
        let mut filled = vec![String::new()];
        for part in path.split('/').skip(1) {
            let choices = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(parameter) => ids(parameter),
                None => vec![part.to_owned()],
            };
            filled = filled
                .iter()
                .flat_map(|begun| choices.iter().map(move |choice| format!("{begun}/{choice}")))
                .collect();
        }
        all.extend(filled);
    }
    all
}

pub fn ids(list: &Value) -> Vec<String> {
    let list =
        list.as_array().cloned().unwrap_or_else(|| list["items"].as_array().cloned().unwrap_or_default());
    list.iter()
        .filter_map(|item| item["id"].as_str().or(item["approvalId"].as_str()).map(str::to_owned))
        .collect()
}
