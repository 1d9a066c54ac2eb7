//! A provider on loopback: takes requests, remembers them, and answers each with the bytes it was told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What the provider does with a request.
pub enum Act {
    /// Answers with these bytes and closes.
    Raw(Vec<u8>),
    /// Reads the request and closes without a word.
    Cut,
    /// Reads the request and never answers.
    Hang,
    /// Waits until it is told, and then answers with these bytes and closes.
    When(Arc<Notify>, Vec<u8>),
}

impl Act {
    /// A whole answer.
    pub fn answer(status: u16, body: impl ToString) -> Self {
        Self::with_headers(status, "", body)
    }

    /// A whole answer with more headers, each ended by CRLF.
    pub fn with_headers(status: u16, headers: &str, body: impl ToString) -> Self {
        let body = body.to_string();
        let length = body.len();
        Self::Raw(
            format!(
                "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n{headers}\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

/// A request that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Taken {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub struct Provider {
    pub base: String,
    taken: Arc<Mutex<Vec<Taken>>>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Serves until it is dropped. A request for which no act is left fails the test by hanging.
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let seen = taken.clone();
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let act = script.lock().unwrap().pop_front().unwrap_or(Act::Hang);
                let Some(request) = read(&mut stream).await else { continue };
                seen.lock().unwrap().push(request);
                match act {
                    Act::Raw(bytes) => {
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Act::Cut => (),
                    Act::Hang => kept.push(stream),
                    Act::When(told, bytes) => {
                        told.notified().await;
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                }
            }
        });
        Self { base: format!("http://{address}"), taken, task }
    }

    /// The requests so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The only request.
    pub fn only(&self) -> Taken {
        let taken = self.taken();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken[0].clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut TcpStream) -> Option<Taken> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let mut lines = text.lines();
            let line = lines.next()?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                let body = String::from_utf8_lossy(&bytes[head + 4..head + 4 + length]).into_owned();
                return Some(Taken { line, headers, body });
            }
        }
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
