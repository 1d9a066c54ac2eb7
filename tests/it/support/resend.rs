//! Resend, as far as it matters here: an e-mail is sent once for each idempotency key, however often it is asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

#[derive(Default)]
struct State {
    /// How often each key was asked for, and the answer that it has.
    asked: Mutex<BTreeMap<String, usize>>,
    /// Takes the mail and closes without an answer.
    mute: AtomicBool,
    /// Takes the mail and says that something broke.
    broken: AtomicBool,
}

/// Serves until it is dropped.
pub struct Resend {
    pub base: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Resend {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(serve(stream, shared.clone()));
            }
        });
        Self { base, state, task }
    }

    /// From now on it takes mails and says nothing.
    pub fn mute(&self, mute: bool) {
        self.state.mute.store(mute, Ordering::SeqCst);
    }

    /// From now on it takes mails and says that something broke.
    pub fn broken(&self, broken: bool) {
        self.state.broken.store(broken, Ordering::SeqCst);
    }

    /// The keys under which an e-mail was sent, and how often each was asked for.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl Drop for Resend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let header = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(&format!("{name}:")));
            line.map(|line| line.split_once(':').unwrap().1.trim().to_owned())
        };
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        bytes.drain(..end + length);
        let key = header("idempotency-key").expect("every mail has a key");
        *state.asked.lock().unwrap().entry(key.clone()).or_default() += 1;
        if state.mute.load(Ordering::SeqCst) {
            return None;
        }
        let (status, body) = if state.broken.load(Ordering::SeqCst) {
            let name = "internal_server_error";
            (500, format!("{{\"statusCode\":500,\"name\":\"{name}\",\"message\":\"broken\"}}"))
        } else {
            (200, format!("{{\"id\":\"re-{key}\"}}"))
        };
        let answer = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
