//! The protocol over standard input and output: one message a line, judged as at the HTTP door.
//!
//! The library's own reader drops a line that it cannot parse, and its client waits for ever. Here such a line is
//! answered, with the words and codes of the HTTP door, and the conversation goes on. A line is kept only as far as a
//! message may be long.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Mutex;

use super::{Server, Who};
use crate::mcp::calling::{BODY_MAX, Desk};
use crate::mcp::message::{Mistake, judge, judge_beginning, judge_going_on};

/// Why the protocol cannot be spoken over standard input and output.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The client did not begin as the protocol says.
    #[error("the client did not begin a conversation: {0}")]
    Begin(String),
    /// The conversation broke off.
    #[error("the conversation broke off: {0}")]
    BrokenOff(String),
}

/// Speaks the protocol over standard input and output, in the name of `token`, until the client ends it.
pub async fn serve_stdio(desk: Desk, token: String) -> Result<(), StdioError> {
    let server = Server { desk, who: Who::Token(token) };
    #[cfg(feature = "conformance")]
    let server = super::fixtures::WithFixtures::new(server);
    let (input, output) = rmcp::transport::stdio();
    let running = rmcp::serve_server(server, Lines::new(input, output))
        .await
        .map_err(|error| StdioError::Begin(error.to_string()))?;
    running.waiting().await.map_err(|error| StdioError::BrokenOff(error.to_string()))?;
    Ok(())
}

/// A conversation in lines. The library asks for the next message and gives that up whenever something else is to be done,
/// so nothing that was read, and no answer that is half written, may live in the future that it drops.
struct Lines<R, W> {
    input: BufReader<R>,
    /// The line so far.
    line: Vec<u8>,
    /// Whether the line is longer than a message may be: the rest of it is not kept.
    overlong: bool,
    /// Whether the conversation has begun.
    begun: bool,
    output: Output<W>,
    /// The answer to a line that was no message, until it is written.
    answering: Option<BoxFuture<'static, io::Result<()>>>,
}

/// Where lines are written, each as a whole; none once the conversation is over.
struct Output<W>(Arc<Mutex<Option<W>>>);

impl<W: AsyncWrite + Send + Unpin + 'static> Output<W> {
    /// Writes a line, once the one before it is written.
    fn write(&self, line: serde_json::Result<Vec<u8>>) -> BoxFuture<'static, io::Result<()>> {
        let output = self.0.clone();
        Box::pin(async move {
            let mut line = line?;
            line.push(b'\n');
            let mut output = output.lock().await;
            let Some(output) = output.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
            output.write_all(&line).await?;
            output.flush().await
        })
    }
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::new(input),
            line: Vec::new(),
            overlong: false,
            begun: false,
            output: Output(Arc::new(Mutex::new(Some(output)))),
            answering: None,
        }
    }

    /// Reads on to the end of the line: whether there is one. What follows the last line break is no message.
    async fn fill(&mut self) -> io::Result<bool> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                return Ok(false);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            self.overlong = self.overlong || self.line.len() + part.len() > BODY_MAX;
            if self.overlong {
                self.line.clear();
            } else {
                self.line.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// What the line says, and makes room for the next; none where it says nothing or is not for us.
    fn take(&mut self) -> Result<Option<ClientJsonRpcMessage>, Mistake> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            return Err(Mistake::too_long());
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        judge(&line)?;
        if self.begun {
            judge_going_on(&line)?;
        } else {
            judge_beginning(&line)?;
        }
        match serde_json::from_slice(&line) {
            Ok(message) => {
                self.begun |= matches!(&message, JsonRpcMessage::Request(request)
                    if matches!(request.request, ClientRequest::InitializeRequest(_)));
                Ok(Some(message))
            }
            Err(error) => {
                tracing::debug!(error = %error, "a message is not one of the protocol");
                let message: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
                match message.get("id") {
                    // A notification of something that we do not know is for somebody else.
                    None => Ok(None),
                    Some(id) => {
                        Err(Mistake::invalid_request("the message is not one of the protocol", id.clone()))
                    }
                }
            }
        }
    }
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer>
    for Lines<R, W>
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.output.write(serde_json::to_vec(&message))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(answering) = &mut self.answering {
                let written = answering.await;
                self.answering = None;
                if let Err(error) = written {
                    tracing::debug!(error = %error, "the client does not read its answers");
                    return None;
                }
            }
            match self.fill().await {
                Ok(true) => (),
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(error = %error, "standard input cannot be read");
                    return None;
                }
            }
            match self.take() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => (),
                Err(mistake) => {
                    self.answering = Some(self.output.write(serde_json::to_vec(&mistake.answer())));
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.0.lock().await.take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_line_is_kept_as_far_as_a_message_may_be_long() {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":""}}"#;
        let padded = |bytes: usize| ping.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - ping.len())));
        let input =
            format!("\n \r\n{}\n{}\n{}\r\n{ping}", padded(BODY_MAX), padded(BODY_MAX + 1), padded(9_999));
        let mut lines = Lines::new(input.as_bytes(), Vec::new());
        assert!(lines.receive().await.is_some());
        assert!(lines.receive().await.is_some());
        assert!(lines.receive().await.is_none(), "what has no end is no line");
        assert_eq!(lines.line.len(), ping.len());
        let output = lines.output.0.lock().await.take().unwrap();
        let expected = format!("{}\n", Mistake::too_long().answer());
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_conversation_begins_once() {
        let params =
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#;
        let begin =
            |id: u8| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{params}}}"#);
        let input = format!("{}\n{}\n{}\n", begin(1), begin(2), begin(3));
        let mut lines = Lines::new(input.as_bytes(), Vec::new());
        assert!(lines.receive().await.is_some());
        assert!(lines.receive().await.is_none());
        let output = lines.output.0.lock().await.take().unwrap();
        let told =
            |id: u8| Mistake::invalid_request("the conversation has begun already", id.into()).answer();
        assert_eq!(String::from_utf8(output).unwrap(), format!("{}\n{}\n", told(2), told(3)));
    }

    #[tokio::test]
    async fn giving_up_on_the_next_message_loses_nothing() {
        let (mut client, input) = tokio::io::duplex(8);
        let mut lines = Lines::new(input, Vec::new());
        let said = b"{]\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
        let mut heard = None;
        for byte in said {
            client.write_all(&[*byte]).await.unwrap();
            // Asked once and given up, as by a loop that has something else to do.
            if let Some(message) = lines.receive().now_or_never() {
                heard = message;
            }
        }
        let heard = heard.and_then(ClientJsonRpcMessage::into_request);
        assert!(heard.is_some(), "the message came through in pieces");
        let output = lines.output.0.lock().await.take().unwrap();
        assert_eq!(String::from_utf8(output).unwrap().matches("MALFORMED_JSON").count(), 1);
    }
}
