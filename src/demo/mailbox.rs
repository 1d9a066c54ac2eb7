//! The test mailbox of the demo: where all of its mail ends, whoever it is for.
//!
//! A mail server on this machine takes every mail and keeps the latest ones in memory; `page` shows them to a person and
//! to programs, also on this machine alone. What is answered there is handed to the product by LMTP, the way that a mail
//! server would: a reply in the mailbox is a reply.
//!
//! The demo's [channels] are confined to the mailbox. Nothing else is connected to, whatever an outbox, a credential or
//! an environment variable says.

mod page;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::channels::email::lmtp::{self, Handed, LmtpLimits, Verdict};
use crate::channels::email::reader::{self, Seen};
use crate::channels::{Channels, Endpoints, Limits, OpenError, Secret, Targets};

/// Mails that are kept; the oldest one makes room.
const KEPT_MAX: usize = 200;
/// Bytes of a mail. What can be sent is a quarter of it.
const MAIL_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long handing an answer over may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait when Docket cannot take it for now.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The longest wait for a mail.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A mail that arrived.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// Which one it was, from 1.
    pub number: u64,
    /// Who got it.
    pub to: String,
    /// What they see.
    #[serde(flatten)]
    pub seen: Seen,
    #[serde(skip)]
    raw: Arc<Vec<u8>>,
}

/// Why an answer was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// There is no such mail, or no longer.
    #[error("there is no such mail in the mailbox")]
    Unknown,
    /// The mail names nobody who could be answered.
    #[error("the mail cannot be answered")]
    Unanswerable,
    /// The answer is too long.
    #[error("an answer has 1 to {ANSWER_BYTES_MAX} bytes")]
    Length,
    /// Docket did not take it.
    #[error("the answer was not taken: {0}")]
    NotTaken(String),
    /// Docket was not reached.
    #[error("the answer was not handed over")]
    Lost(#[from] io::Error),
}

/// The mailbox at work. It ends when it is dropped.
pub struct Mailbox {
    letters: Letters,
    server: SocketAddr,
    page: SocketAddr,
    _working: JoinSet<()>,
}

impl Mailbox {
    /// Begins to take mail in. Answers are handed to `mail_in` by LMTP.
    pub async fn open(mail_in: SocketAddr) -> io::Result<Self> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let page = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (server_at, page_at) = (server.local_addr()?, page.local_addr()?);
        let letters = Letters { kept: Arc::default(), arrived: watch::Sender::new(0), mail_in };
        let mut working = JoinSet::new();
        let taking = letters.clone();
        let take = move |handed| std::future::ready(taking.take(handed));
        let limits = LmtpLimits { mail_bytes_max: MAIL_BYTES_MAX, ..LmtpLimits::default() };
        working.spawn(lmtp::serve_smtp(server, limits, take, std::future::pending()));
        working.spawn(page::serve(page, letters.clone()));
        Ok(Self { letters, server: server_at, page: page_at, _working: working })
    }

    /// The mails in it.
    pub fn letters(&self) -> &Letters {
        &self.letters
    }

    /// Where a person looks into it.
    pub fn url(&self) -> String {
        format!("http://{}", self.page)
    }

    /// What an outbox needs to send here.
    pub fn credential(&self) -> Secret {
        Secret::new(format!("smtp://{}?tls=none", self.server))
    }

    /// Channels that reach this mailbox and nothing else. The providers of the other channels are looked for at its page,
    /// which refuses them.
    pub fn channels(&self) -> Result<Channels, OpenError> {
        // Valid whatever the address: it is made of an address of a socket.
        let nobody: Url = format!("{}/no-provider", self.url()).parse().expect("an http address");
        let endpoints = Endpoints {
            resend: nobody.clone(),
            cal_com: nobody.clone(),
            unipile: None,
            whatsapp: nobody.clone(),
            instagram: nobody,
        };
        Channels::open(endpoints, Limits::default(), Targets::only(self.server), &[])
    }
}

/// The mails of the mailbox. Cheap to clone.
#[derive(Clone)]
pub struct Letters {
    kept: Arc<Mutex<VecDeque<Mail>>>,
    /// How many have arrived.
    arrived: watch::Sender<u64>,
    mail_in: SocketAddr,
}

impl Letters {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, Handed { recipient, mail, .. }: Handed) -> Verdict {
        let seen = reader::read(&mail);
        let mut kept = self.kept();
        let number = *self.arrived.borrow() + 1;
        kept.truncate(KEPT_MAX - 1);
        kept.push_front(Mail { number, to: recipient, seen, raw: mail });
        self.arrived.send_replace(number);
        Verdict::Kept
    }

    /// Those for this address, or all; the newest first.
    pub fn list(&self, to: Option<&str>) -> Vec<Mail> {
        let wanted = |mail: &&Mail| to.is_none_or(|to| mail.to.eq_ignore_ascii_case(to));
        self.kept().iter().filter(wanted).cloned().collect()
    }

    /// The same, waiting for the first one if there is none yet.
    pub async fn wait(&self, to: Option<&str>, within: Duration) -> Vec<Mail> {
        let deadline = Instant::now() + within.min(WAIT_MAX);
        let mut arrived = self.arrived.subscribe();
        loop {
            arrived.borrow_and_update();
            let found = self.list(to);
            if !found.is_empty() {
                return found;
            }
            if !matches!(tokio::time::timeout_at(deadline, arrived.changed()).await, Ok(Ok(()))) {
                return found;
            }
        }
    }

    /// One mail.
    pub fn get(&self, number: u64) -> Option<Mail> {
        self.kept().iter().find(|mail| mail.number == number).cloned()
    }

    /// Answers a mail in the name of whoever got it. Once this is done, the answer is recorded.
    pub async fn answer(&self, number: u64, text: &str) -> Result<(), AnswerError> {
        if text.trim().is_empty() || text.len() > ANSWER_BYTES_MAX {
            return Err(AnswerError::Length);
        }
        let mail = self.get(number).ok_or(AnswerError::Unknown)?;
        let answer = mail.seen.answer(&mail.to, text).ok_or(AnswerError::Unanswerable)?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            let handing = hand_in(self.mail_in, &mail.to, mail.seen.answered_at(), &answer);
            let told = tokio::time::timeout_at(deadline, handing).await;
            let told = told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            match told.as_bytes().first() {
                Some(b'2') => return Ok(()),
                // A mail server that is told to come again comes again.
                Some(b'4') if Instant::now() + AGAIN_AFTER < deadline => {
                    tokio::time::sleep(AGAIN_AFTER).await
                }
                _ => return Err(AnswerError::NotTaken(told)),
            }
        }
    }
}

/// Hands one mail in by LMTP, and gives what is said of it.
async fn hand_in(server: SocketAddr, sender: &str, recipient: &str, mail: &[u8]) -> io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    let mut said =
        format!("LHLO mailbox\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").into_bytes();
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            said.push(b'.');
        }
        said.extend_from_slice(line);
    }
    said.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
    stream.write_all(&said).await?;
    let mut lines = stream.lines();
    let (mut data, mut last) = (false, String::new());
    while let Some(line) = lines.next_line().await? {
        if data {
            return Ok(line);
        }
        data = line.starts_with("354");
        last = line;
    }
    Ok(last)
}

#[cfg(test)]
mod tests;
