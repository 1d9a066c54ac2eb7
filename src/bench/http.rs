//! A lean HTTP/1.1 caller: one connection, one request at a time.
//!
//! The callers share two cores with the server that they measure, so they do no more than is needed to send a
//! request and to find the end of its answer.

use std::io;
use std::net::SocketAddr;

use docket_aggregates::ids::OrganizationId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection to the server.
pub struct Connection {
    stream: TcpStream,
    token: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, token: token.to_owned(), buffer: Vec::with_capacity(8 << 10) })
    }

    /// Calls a tool and gives back its data.
    pub async fn call(
        &mut self,
        organization: OrganizationId,
        tool: &str,
        input: Value,
    ) -> anyhow::Result<Value> {
        let body = json!({"organizationId": organization, "input": input});
        let (status, answer) = self.post(&format!("/crm/agent/tools/{tool}"), &body).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        if status != 200 {
            anyhow::bail!("{tool} answered {status}: {}", answer["error"]);
        }
        Ok(answer["data"].take())
    }

    /// Sends a request and gives back status and body.
    pub async fn post(&mut self, path: &str, body: &Value) -> io::Result<(u16, Vec<u8>)> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
            let status =
                text.get(9..12).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            let length: usize = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.trim().parse().ok())
                .ok_or(io::ErrorKind::InvalidData)?;
            let end = head + 4 + length;
            while self.buffer.len() < end {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok((status, self.buffer[head + 4..end].to_vec()));
        }
    }
}
