//! Mail taken in from the mail server beside us, by LMTP (RFC 2033).
//!
//! LMTP differs from SMTP in one thing that matters: after the mail there is one answer for each recipient, so that
//! nothing is taken for one and lost for another. What is not recorded is not acknowledged; the mail server keeps it
//! and comes again.
//!
//! Connections, lines, recipients, the size of a mail and every wait are bounded. A line ends with CR and LF, and
//! nothing else ends a mail than a dot on such a line of its own.
//!
//! The test mailbox of the demo takes mail in by SMTP, in sessions that differ in the greeting and in that one answer.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::incoming::{self, Content, Incoming};

/// What a session may use up.
#[derive(Clone, Copy, Debug)]
pub struct LmtpLimits {
    /// Sessions at once.
    pub sessions_max: usize,
    /// Bytes of a command.
    pub line_bytes_max: usize,
    /// Bytes of a mail.
    pub mail_bytes_max: usize,
    /// Recipients of a mail.
    pub recipients_max: usize,
    /// How long a command may be waited for.
    pub command_within: Duration,
    /// How long a mail may take to arrive.
    pub mail_within: Duration,
    /// How long recording one may take.
    pub record_within: Duration,
}

impl Default for LmtpLimits {
    fn default() -> Self {
        Self {
            sessions_max: 64,
            line_bytes_max: 2_048,
            mail_bytes_max: 10 * 1024 * 1024,
            recipients_max: 100,
            command_within: Duration::from_secs(5 * 60),
            mail_within: Duration::from_secs(5 * 60),
            record_within: Duration::from_secs(30),
        }
    }
}

/// What became of a mail for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was recorded, or there is nothing in it to record.
    Kept,
    /// It is not for us, and never will be.
    Refused,
    /// It could not be recorded for now.
    Later,
}

/// A mail as it was handed over, for one of its recipients.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The return path; empty for the null one.
    pub sender: String,
    /// Whom it is for.
    pub recipient: String,
    /// Head and body.
    pub mail: Arc<Vec<u8>>,
    /// What it says, once that was read: once, however many recipients it has.
    pub content: Arc<OnceLock<Option<Content>>>,
}

/// Mails that are read at once. Reading is work for a processor, which the others need as well; and what was begun cannot
/// be broken off, neither by its deadline nor by the end of the process.
const READ_AT_ONCE: usize = 2;

/// Which protocol a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Lmtp,
    Smtp,
}

/// Serves LMTP until `ending` is over; sessions that are then open are given up between two commands' time.
pub async fn serve<F, Fut>(
    listener: TcpListener,
    limits: LmtpLimits,
    take: F,
    ending: impl Future<Output = ()>,
) where
    F: Fn(Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send,
{
    let take = Arc::new(take);
    let reading = Arc::new(Semaphore::new(READ_AT_ONCE));
    let read = move |Handed { sender, recipient, mail, content }| {
        let (take, reading) = (take.clone(), reading.clone());
        async move {
            let Ok(turn) = reading.acquire_owned().await else { return Verdict::Later };
            // A mail is read away from the threads that serve, and a defect of the parser is this mail's alone.
            let read = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let content = content.get_or_init(|| Content::of(&mail));
                incoming::received(content.as_ref(), &sender, &recipient)
            });
            match read.await {
                Ok(incoming) => take(incoming).await,
                Err(_) => {
                    tracing::error!("a mail could not be read");
                    Verdict::Refused
                }
            }
        }
    };
    sessions(listener, limits, Dialect::Lmtp, read, ending).await;
}

/// Serves SMTP without TLS or a login, for clients on this machine.
pub async fn serve_smtp<F, Fut>(
    listener: TcpListener,
    limits: LmtpLimits,
    take: F,
    ending: impl Future<Output = ()>,
) where
    F: Fn(Handed) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send,
{
    sessions(listener, limits, Dialect::Smtp, take, ending).await;
}

async fn sessions<F, Fut>(
    listener: TcpListener,
    limits: LmtpLimits,
    dialect: Dialect,
    take: F,
    ending: impl Future<Output = ()>,
) where
    F: Fn(Handed) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send,
{
    let take = Arc::new(take);
    let places = Arc::new(Semaphore::new(limits.sessions_max));
    let mut sessions = JoinSet::new();
    tokio::pin!(ending);
    loop {
        let accepted = tokio::select! {
            () = &mut ending => break,
            Some(_) = sessions.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for one: others have to end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (places, take) = (places.clone(), take.clone());
        sessions.spawn(async move {
            let (reader, writer) = stream.into_split();
            let mut session = Session::new(BufReader::new(reader), writer, limits, dialect);
            let Ok(_place) = places.try_acquire() else {
                let _ = session.say("421 4.3.2 too many sessions").await;
                return;
            };
            if let Err(error) = session.run(&*take).await {
                tracing::debug!(%error, "a session of mail ended early");
            }
        });
    }
    sessions.shutdown().await;
}

struct Session<R, W> {
    reader: R,
    writer: W,
    limits: LmtpLimits,
    dialect: Dialect,
    greeted: bool,
    sender: Option<String>,
    recipients: Vec<String>,
}

/// A line that was read.
enum Line {
    Text(Vec<u8>),
    TooLong { crlf: bool },
    End,
}

impl<R: AsyncBufReadExt + AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    fn new(reader: R, writer: W, limits: LmtpLimits, dialect: Dialect) -> Self {
        Self { reader, writer, limits, dialect, greeted: false, sender: None, recipients: Vec::new() }
    }

    async fn say(&mut self, answer: &str) -> io::Result<()> {
        let writing = async {
            // In one piece: the end of a line on its own waits until the client has acknowledged the rest, 40 ms.
            self.writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
            self.writer.flush().await
        };
        in_time(self.limits.command_within, writing).await
    }

    async fn run<F, Fut>(&mut self, take: &F) -> io::Result<()>
    where
        F: Fn(Handed) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        let (greeting, hello) = match self.dialect {
            Dialect::Lmtp => ("220 docket LMTP", "LHLO"),
            Dialect::Smtp => ("220 docket ESMTP", "EHLO"),
        };
        self.say(greeting).await?;
        loop {
            let max = self.limits.line_bytes_max;
            let line = match in_time(self.limits.command_within, read_line(&mut self.reader, max)).await {
                Ok(Line::Text(line)) => line,
                Ok(Line::TooLong { .. }) => {
                    self.say("500 5.5.2 line too long").await?;
                    continue;
                }
                Ok(Line::End) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return self.say("421 4.4.2 idle for too long").await;
                }
                Err(error) => return Err(error),
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let line = line.trim_end_matches(['\r', '\n']);
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verb.to_ascii_uppercase().as_str() {
                verb if verb == hello => {
                    self.greeted = true;
                    self.reset();
                    let size = self.limits.mail_bytes_max;
                    let offer = format!(
                        "250-docket\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n\
                         250-SMTPUTF8\r\n250 SIZE {size}"
                    );
                    self.say(&offer).await?;
                }
                "HELO" | "EHLO" | "LHLO" => self.say(&format!("500 5.5.1 say {hello}")).await?,
                "MAIL" if !self.greeted => self.say(&format!("503 5.5.1 say {hello} first")).await?,
                "MAIL" if self.sender.is_some() => self.say("503 5.5.1 one mail at a time").await?,
                "MAIL" => match path(rest, "FROM:") {
                    Some(sender) => {
                        self.sender = Some(sender);
                        self.say("250 2.1.0 ok").await?;
                    }
                    None => self.say("501 5.5.4 MAIL FROM:<address>").await?,
                },
                "RCPT" if self.sender.is_none() => self.say("503 5.5.1 say MAIL first").await?,
                "RCPT" if self.recipients.len() >= self.limits.recipients_max => {
                    self.say("452 4.5.3 too many recipients").await?;
                }
                "RCPT" => match path(rest, "TO:").filter(|recipient| !recipient.is_empty()) {
                    Some(recipient) => {
                        self.recipients.push(recipient);
                        self.say("250 2.1.5 ok").await?;
                    }
                    None => self.say("501 5.5.4 RCPT TO:<address>").await?,
                },
                "DATA" if self.recipients.is_empty() => self.say("503 5.5.1 say RCPT first").await?,
                "DATA" => self.data(take).await?,
                "RSET" => {
                    self.reset();
                    self.say("250 2.0.0 ok").await?;
                }
                "NOOP" => self.say("250 2.0.0 ok").await?,
                "VRFY" => self.say("252 2.5.0 try it").await?,
                "QUIT" => return self.say("221 2.0.0 bye").await,
                _ => self.say("500 5.5.1 unknown command").await?,
            }
        }
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    async fn data<F, Fut>(&mut self, take: &F) -> io::Result<()>
    where
        F: Fn(Handed) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        self.say("354 end with a dot on a line of its own").await?;
        let max = self.limits.mail_bytes_max;
        let mail = in_time(self.limits.mail_within, read_mail(&mut self.reader, max)).await?;
        let sender = self.sender.take().unwrap_or_default();
        let mail = mail.map(|mail| (Arc::new(mail), Arc::<OnceLock<_>>::default()));
        let mut answers = Vec::new();
        for recipient in std::mem::take(&mut self.recipients) {
            let answer = match &mail {
                None => "552 5.3.4 the mail is too large",
                Some((mail, content)) => {
                    let (sender, mail, content) = (sender.clone(), mail.clone(), content.clone());
                    let handed = Handed { sender, recipient, mail, content };
                    let taken = tokio::time::timeout(self.limits.record_within, take(handed)).await;
                    match taken.unwrap_or(Verdict::Later) {
                        Verdict::Kept => "250 2.1.5 taken",
                        Verdict::Refused => "550 5.1.1 nobody here waits for this",
                        Verdict::Later => "451 4.3.0 not recorded, come again",
                    }
                }
            };
            match self.dialect {
                Dialect::Lmtp => self.say(answer).await?,
                Dialect::Smtp => answers.push(answer),
            }
        }
        // One answer stands for all, so it is the gravest one.
        match answers.iter().max() {
            Some(gravest) => self.say(gravest).await,
            None => Ok(()),
        }
    }
}

async fn in_time<T>(within: Duration, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(within, doing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The address between the angle brackets after `keyword`; parameters behind it are of no interest.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let found = rest.get(..keyword.len())?;
    if !found.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, _) = rest[keyword.len()..].trim_start().strip_prefix('<')?.split_once('>')?;
    // A source route before the address, `@one,@two:`, means nothing any more.
    let address = match address.strip_prefix('@') {
        Some(routed) => routed.split_once(':')?.1,
        None => address,
    };
    (address.len() <= 320 && !address.contains(char::is_whitespace)).then(|| address.to_owned())
}

/// One line with its end. A line that is too long is read to its end and thrown away.
async fn read_line<R: AsyncBufReadExt + Unpin>(reader: &mut R, max: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    // The last byte before what is in the buffer.
    let mut before = 0;
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(Line::End);
        }
        let end = memchr::memchr(b'\n', buffer).map(|at| at + 1);
        let used = end.unwrap_or(buffer.len());
        too_long |= line.len() + used > max;
        if !too_long {
            line.extend_from_slice(&buffer[..used]);
        }
        let crlf = if used >= 2 { buffer[used - 2] == b'\r' } else { before == b'\r' };
        before = buffer[used - 1];
        reader.consume(used);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong { crlf } } else { Line::Text(line) });
        }
    }
}

/// A mail up to its final dot, with the doubled dots taken off; nothing, if it is larger than `max`.
async fn read_mail<R: AsyncBufReadExt + Unpin>(reader: &mut R, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut mail = Vec::new();
    let mut too_large = false;
    // Whether what was read last ended with CR and LF: only then may a dot be one that means something.
    let mut fresh = true;
    loop {
        let line = match read_line(reader, max).await? {
            Line::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            Line::TooLong { crlf } => {
                too_large = true;
                fresh = crlf;
                continue;
            }
            Line::Text(line) => line,
        };
        if fresh && line == b".\r\n" {
            return Ok((!too_large).then_some(mail));
        }
        let text = if fresh && line.starts_with(b".") { &line[1..] } else { &line[..] };
        too_large |= mail.len() + text.len() > max;
        if too_large {
            mail = Vec::new();
        } else {
            mail.extend_from_slice(text);
        }
        fresh = line.ends_with(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_stands_without_the_way_that_it_came() {
        for (rest, address) in [
            ("TO:<ann@x.example>", Some("ann@x.example")),
            ("to: <ann@x.example> NOTIFY=NEVER", Some("ann@x.example")),
            ("TO:<@one.example,@two.example:ann@x.example>", Some("ann@x.example")),
            ("TO:<ann:b@x.example>", Some("ann:b@x.example")),
            ("TO:<ann@[IPv6:2001:db8::1]>", Some("ann@[IPv6:2001:db8::1]")),
            ("TO:<>", Some("")),
            ("TO:<@one.example>", None),
            ("TO:ann@x.example", None),
            ("TO:<ann b@x.example>", None),
            ("FROM:<ann@x.example>", None),
        ] {
            assert_eq!(path(rest, "TO:").as_deref(), address, "{rest}");
        }
    }
}
