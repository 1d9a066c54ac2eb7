//! Whoever calls the API.

use std::net::SocketAddr;

use bytes::Bytes;
use docket_aggregates::ids::OrganizationId;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::PATIENCE;

/// A client of one organization, with one token. Cheap to clone; connections are kept.
#[derive(Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: String,
    /// The organization that its tools work in.
    pub organization: OrganizationId,
}

impl Client {
    /// A client with this token.
    pub fn new(address: SocketAddr, token: String, organization: OrganizationId) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { http, address, token, organization }
    }

    /// The same token at another server.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self::new(address, self.token.clone(), self.organization)
    }

    /// Sends a request; an error if there was no whole answer. The answer is JSON, or null where it is none.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(u16, Value), String> {
        self.send_for_headers(method, path, headers, body).await.map(|(status, _, answer)| (status, answer))
    }

    /// The same with the headers of the answer.
    pub async fn send_for_headers(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(u16, HeaderMap, Value), String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).unwrap();
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let media_type = headers.get("content-type").and_then(|value| value.to_str().ok());
            if media_type.is_some_and(|media_type| media_type.starts_with("text/event-stream")) {
                // It has no end: that it began is the answer.
                return Ok((status, headers, Value::Null));
            }
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok((status, headers, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// Sends a request with these headers and no others, and gives the whole answer.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = self.http.request(request.body(Full::from(body)).unwrap());
        let response = tokio::time::timeout(PATIENCE, sent).await.expect("an answer in time").unwrap();
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a whole answer").unwrap();
        (head.status.as_u16(), head.headers, body.to_bytes())
    }

    /// The token, as the header `Authorization` shows it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, &[], vec![]).await.unwrap()
    }

    /// `GET` of what is no JSON.
    pub async fn text(&self, path: &str) -> String {
        let request = Request::builder()
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::default())
            .unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.http.request(request)).await.unwrap().unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// `POST` with JSON.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        self.send(Method::POST, path, &headers, body.to_string().into_bytes()).await.unwrap()
    }

    /// Calls a tool; an error if there was no whole answer.
    pub async fn try_tool(
        &self,
        name: &str,
        input: &Value,
        request_id: Option<&str>,
    ) -> Result<(u16, Value), String> {
        let body = json!({ "organizationId": self.organization, "input": input, "requestId": request_id });
        let path = format!("/crm/agent/tools/{name}");
        let headers = [("content-type", "application/json")];
        self.send(Method::POST, &path, &headers, body.to_string().into_bytes()).await
    }

    /// Calls a tool.
    pub async fn tool(&self, name: &str, input: Value) -> (u16, Value) {
        self.try_tool(name, &input, None).await.unwrap()
    }

    /// Calls a tool that must succeed, and gives its data.
    pub async fn done(&self, name: &str, input: Value) -> Value {
        let (status, mut answer) = self.tool(name, input).await;
        assert_eq!(status, 200, "{name}: {answer}");
        answer["data"].take()
    }

    /// The path of a route of the client's company.
    pub fn crm(&self, rest: &str) -> String {
        format!("/api/companies/{}/crm/{rest}", self.organization)
    }
}
