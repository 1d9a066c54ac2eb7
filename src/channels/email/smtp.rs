//! E-mail by SMTP submission (RFC 5321, RFC 6409).
//!
//! SMTP has no idempotency key. What decides is the final dot: before it has left, the server cannot have taken the
//! mail, and whatever broke may be tried again; from then on only the server's own answer tells, and without one the
//! outcome is unknown. The dot is written by itself, after the whole text, so that the two are told apart exactly.
//!
//! Each command has the answers that RFC 5321 (4.3.2) gives it, and no other one is taken for a yes: 354 lets the text follow,
//! and 2xx says that something was done. A server that says anything else is out of step, be it that it once wrote a line too
//! many; its next answers would be those to other commands, so that the connection is dropped.
//!
//! Connections are kept for a while and shared by credential, up to a bound. A connection that turns out to be closed
//! when the mail's first command is given is replaced once: nothing was handed over.

mod codes;
mod pool;
mod transport;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use lru::LruCache;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::credential::Tls;
use super::mail::{self, Mail};
use super::{Letter, Server};
use crate::channels::config::Limits;
use crate::channels::targets::{TargetError, Targets};
use crate::channels::tls::Trust;
use crate::channels::{Code, Outcome, Outgoing};

pub(super) use codes::Enhanced;

use codes::Stage;
use pool::Pool;

/// Credentials whose connections are kept, at most.
const POOLS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// What `DATA` is answered with before the text may follow.
const START_TEXT: u16 = 354;
/// Bytes of a mail that are written at once.
const CHUNK: usize = 64 * 1024;

/// Mail servers, with their connections. Cheap to clone.
#[derive(Clone)]
pub struct Smtp {
    shared: Arc<Shared>,
}

struct Shared {
    trust: Trust,
    /// For servers that speak TLS from the first byte; it knows the sessions of before.
    connector: TlsConnector,
    limits: Limits,
    targets: Targets,
    pools: Mutex<LruCache<[u8; 32], Arc<Pool>>>,
}

impl Smtp {
    /// Mail servers that are trusted so, within these limits, at these targets.
    pub fn new(trust: Trust, limits: Limits, targets: Targets) -> Self {
        let pools = Mutex::new(LruCache::new(POOLS_MAX));
        let connector = TlsConnector::from(Arc::new(trust.client.clone()));
        Self { shared: Arc::new(Shared { trust, connector, limits, targets, pools }) }
    }

    /// Hands one mail over.
    pub async fn deliver(&self, outgoing: &Outgoing, letter: &Letter, server: &Server) -> Outcome {
        let mail = match mail::write(outgoing, letter) {
            Ok(mail) => mail,
            Err(outcome) => return outcome,
        };
        let hello = ClientId::Domain(letter.settings.domain().to_owned());
        let pool = self.pool(server);
        let dot = AtomicBool::new(false);
        let deadline = Instant::now() + outgoing.within;
        let never = secrets(outgoing, server);
        match timeout_at(deadline, self.hand_over(&pool, server, &hello, &mail, &dot, &never)).await {
            Ok(outcome) => outcome,
            Err(_) if dot.load(Ordering::SeqCst) => {
                Outcome::unknown("the mail server did not say in time whether it took the mail")
            }
            Err(_) => Outcome::retry(Code::Unavailable, "the mail was not handed over in time"),
        }
    }

    fn pool(&self, server: &Server) -> Arc<Pool> {
        let mut pools = self.shared.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let limits = &self.shared.limits;
        pools
            .get_or_insert(server.identity, || {
                Arc::new(Pool::new(limits.connections_max, limits.idle_within))
            })
            .clone()
    }

    async fn hand_over(
        &self,
        pool: &Pool,
        server: &Server,
        hello: &ClientId,
        mail: &Mail,
        dot: &AtomicBool,
        never: &[&str],
    ) -> Outcome {
        let turn = pool.turn().await;
        while let Some(mut connection) = pool.take() {
            match self.begin(&mut connection, mail).await {
                Ok(()) => return self.finish(pool, connection, mail, dot, never).await,
                // It was closed while nobody used it, or is out of step; the next one, or a new one.
                Err(Broken::Lost(_)) => (),
                Err(Broken::Said(error)) if codes::closing(&error) => (),
                Err(Broken::Said(error)) => {
                    pool.put_back_reset(connection, self.shared.limits.command_within).await;
                    return codes::outcome(Stage::Mail, &error, never);
                }
                Err(Broken::Outcome(outcome)) => return outcome,
            }
        }
        let mut connection = match self.connect(server, hello, never).await {
            Ok(connection) => connection,
            Err(outcome) => return outcome,
        };
        let outcome = match self.begin(&mut connection, mail).await {
            Ok(()) => self.finish(pool, connection, mail, dot, never).await,
            Err(Broken::Outcome(outcome)) => outcome,
            Err(Broken::Said(error)) => codes::outcome(Stage::Mail, &error, never),
            Err(Broken::Lost(outcome)) => outcome,
        };
        drop(turn);
        outcome
    }

    /// Connects to a judged address, upgrades and logs in.
    async fn connect(
        &self,
        server: &Server,
        hello: &ClientId,
        never: &[&str],
    ) -> Result<AsyncSmtpConnection, Outcome> {
        let within = self.shared.limits.connect_within;
        let addresses = self.shared.targets.resolve(&server.host, server.port, within).await;
        let addresses = addresses.map_err(|error| match error {
            TargetError::Private | TargetError::Confined | TargetError::NotAUrl => {
                Outcome::rejected(Code::Target, error)
            }
            TargetError::NoAddress | TargetError::Slow => Outcome::retry(Code::Unavailable, error),
        })?;
        let name = match server.tls {
            Tls::Implicit => Some(ServerName::try_from(bare(server).to_owned()).map_err(|_| bad_tls())?),
            Tls::Never | Tls::Offered | Tls::Required => None,
        };
        let slow = || Outcome::retry(Code::Unavailable, "the mail server was not connected in time");
        let mut last = Outcome::retry(Code::Unavailable, "the mail server was not connected");
        for address in addresses {
            match tokio::time::timeout(within, self.open(address, name.clone(), hello, never)).await {
                Ok(Ok(connection)) => return self.enter(connection, server, hello, never).await,
                Ok(Err(outcome)) => last = outcome,
                Err(_) => last = slow(),
            }
        }
        Err(last)
    }

    /// A connection to one address, greeted; encrypted from the first byte if a name is given.
    async fn open(
        &self,
        address: SocketAddr,
        name: Option<ServerName<'static>>,
        hello: &ClientId,
        never: &[&str],
    ) -> Result<AsyncSmtpConnection, Outcome> {
        let unconnected = |_| Outcome::retry(Code::Unavailable, "the mail server was not connected");
        let plain = transport::connect(address).await.map_err(unconnected)?;
        let stream: Box<dyn AsyncTokioStream> = match name {
            None => Box::new(plain),
            Some(name) => {
                let secured = transport::secure(plain, &self.shared.connector, name).await;
                Box::new(secured.map_err(|_| codes::insecure())?)
            }
        };
        let greeted = AsyncSmtpConnection::connect_with_transport(stream, hello).await;
        greeted.map_err(|error| codes::outcome(Stage::Connect, &error, never))
    }

    /// What comes between connecting and the first mail.
    async fn enter(
        &self,
        mut connection: AsyncSmtpConnection,
        server: &Server,
        hello: &ClientId,
        never: &[&str],
    ) -> Result<AsyncSmtpConnection, Outcome> {
        let upgrade = match server.tls {
            Tls::Implicit | Tls::Never => false,
            Tls::Offered => connection.can_starttls(),
            Tls::Required if connection.can_starttls() => true,
            Tls::Required => {
                let reason = "the mail server does not offer STARTTLS, without which nothing is sent to it";
                return Err(Outcome::rejected(Code::Configuration, reason));
            }
        };
        if upgrade {
            let tls = self.tls(server)?;
            self.in_time(connection.starttls(tls, hello))
                .await?
                .map_err(|error| codes::outcome(Stage::StartTls, &error, never))?;
        }
        if let Some((user, password)) = &server.login {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
                let reason = "the mail server offers no way to log in that we know (PLAIN, LOGIN)";
                return Err(Outcome::rejected(Code::Configuration, reason));
            }
            let login = Credentials::new(user.expose().to_owned(), password.expose().to_owned());
            self.in_time(connection.auth(&mechanisms, &login))
                .await?
                .map_err(|error| codes::outcome(Stage::Auth, &error, never))?;
        }
        Ok(connection)
    }

    /// For STARTTLS, which is lettre's: the roots and the check of the name are those of [`transport::secure`].
    fn tls(&self, server: &Server) -> Result<TlsParameters, Outcome> {
        let mut builder = TlsParameters::builder(bare(server).to_owned());
        for root in &self.shared.trust.extra {
            let root = Certificate::from_der(root.to_vec());
            builder = builder.add_root_certificate(root.map_err(|_| bad_tls())?);
        }
        builder.build().map_err(|_| bad_tls())
    }

    async fn in_time<T>(&self, command: impl Future<Output = T>) -> Result<T, Outcome> {
        let answered = tokio::time::timeout(self.shared.limits.command_within, command).await;
        answered.map_err(|_| Outcome::retry(Code::Unavailable, "the mail server did not answer in time"))
    }

    /// `MAIL`: the first command of a mail.
    async fn begin(&self, connection: &mut AsyncSmtpConnection, mail: &Mail) -> Result<(), Broken> {
        let mut parameters = Vec::new();
        let addresses = mail.envelope.from().into_iter().chain(mail.envelope.to());
        if addresses.into_iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let reason = "the mail server takes no addresses beyond ASCII";
                return Err(Broken::Outcome(Outcome::rejected(Code::Recipient, reason)));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !mail.bytes.is_ascii() {
            if !connection.server_info().supports_feature(Extension::EightBitMime) {
                let reason = "the mail server takes no mail beyond ASCII";
                return Err(Broken::Outcome(Outcome::rejected(Code::Content, reason)));
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let command = connection.command(MailFrom::new(mail.envelope.from().cloned(), parameters));
        match tokio::time::timeout(self.shared.limits.command_within, command).await {
            Ok(Ok(answer)) if done(&answer) => Ok(()),
            Ok(Ok(answer)) => Err(Broken::Lost(out_of_step("MAIL", &answer))),
            Ok(Err(error)) if error.status().is_some() => Err(Broken::Said(error)),
            Ok(Err(_)) | Err(_) => {
                let reason = "the mail server closed the connection";
                Err(Broken::Lost(Outcome::retry(Code::Unavailable, reason)))
            }
        }
    }

    /// The rest of a mail.
    async fn finish(
        &self,
        pool: &Pool,
        mut connection: AsyncSmtpConnection,
        mail: &Mail,
        dot: &AtomicBool,
        never: &[&str],
    ) -> Outcome {
        let (outcome, usable) = self.exchange(&mut connection, mail, dot, never).await;
        match (&outcome, usable) {
            (Outcome::Accepted { .. }, true) => pool.put_back(connection),
            (_, true) => pool.put_back_reset(connection, self.shared.limits.command_within).await,
            // Closed without a word: a half-written mail ends here.
            (_, false) => drop(connection),
        }
        outcome
    }

    /// Recipient, text and dot. Also says whether the connection is still in step.
    async fn exchange(
        &self,
        connection: &mut AsyncSmtpConnection,
        mail: &Mail,
        dot: &AtomicBool,
        never: &[&str],
    ) -> (Outcome, bool) {
        for to in mail.envelope.to() {
            match self.in_time(connection.command(Rcpt::new(to.clone(), vec![]))).await {
                Ok(Ok(answer)) if done(&answer) => (),
                Ok(Ok(answer)) => return (out_of_step("RCPT", &answer), false),
                Ok(Err(error)) => return (codes::outcome(Stage::Rcpt, &error, never), in_step(&error)),
                Err(outcome) => return (outcome, false),
            }
        }
        match self.in_time(connection.command(Data)).await {
            Ok(Ok(answer)) if answer.has_code(START_TEXT) => (),
            // Nothing of the text has left, so that nothing was handed over.
            Ok(Ok(answer)) => return (out_of_step("DATA", &answer), false),
            Ok(Err(error)) => return (codes::outcome(Stage::Data, &error, never), in_step(&error)),
            Err(outcome) => return (outcome, false),
        }
        let text = mail.bytes.strip_suffix(b"\r\n").unwrap_or(&mail.bytes);
        // The iterator ends when all of the text was written; what is written next is the dot.
        let parts = text.chunks(CHUNK).chain(std::iter::from_fn(|| {
            dot.store(true, Ordering::SeqCst);
            None
        }));
        let taken = tokio::time::timeout(self.patience(text), connection.message_iter(parts)).await;
        let dotted = dot.load(Ordering::SeqCst);
        match taken {
            Ok(Ok(answer)) if done(&answer) => (Outcome::accepted(mail.message_id.clone()), true),
            Ok(Ok(answer)) => {
                let code = answer.code();
                let reason =
                    format!("the mail server answered the mail with {code}, which says nothing of it");
                (Outcome::unknown(reason), false)
            }
            Ok(Err(error)) if error.status().is_some() => (codes::outcome(Stage::Text, &error, never), true),
            Ok(Err(_)) | Err(_) if !dotted => {
                let reason = "the connection to the mail server broke before the mail was complete";
                (Outcome::retry(Code::Unavailable, reason), false)
            }
            Ok(Err(_)) => {
                let reason = "the connection to the mail server broke, or its answer was no SMTP, before it said whether \
                              it took the mail";
                (Outcome::unknown(reason), false)
            }
            Err(_) => {
                (Outcome::unknown("the mail server did not say in time whether it took the mail"), false)
            }
        }
    }

    /// A large text takes longer than a command: a second more for every 64 KiB.
    fn patience(&self, text: &[u8]) -> Duration {
        let seconds = u64::try_from(text.len() / CHUNK).unwrap_or_default();
        self.shared.limits.command_within + Duration::from_secs(seconds)
    }
}

/// Why a mail did not begin.
enum Broken {
    /// The connection is of no use any more, and what that comes to where there is no other one.
    Lost(Outcome),
    /// The server said no.
    Said(Error),
    /// It cannot be sent to this server at all.
    Outcome(Outcome),
}

/// The host as certificates name it: an address without its brackets.
fn bare(server: &Server) -> &str {
    server.host.trim_start_matches('[').trim_end_matches(']')
}

fn bad_tls() -> Outcome {
    Outcome::rejected(Code::Configuration, "TLS cannot be set up for the mail server")
}

/// Whether the server says that it did what it was told.
fn done(answer: &Response) -> bool {
    answer.code().severity == Severity::PositiveCompletion
}

/// What an answer comes to that this command does not have: nothing was handed over.
fn out_of_step(command: &str, answer: &Response) -> Outcome {
    let reason =
        format!("the mail server answered {command} with {}, which does not belong to it", answer.code());
    Outcome::retry(Code::Unavailable, reason)
}

/// After a refusal in words the next command may follow; after anything else nobody knows where the server is.
fn in_step(error: &Error) -> bool {
    error.status().is_some() && !codes::closing(error)
}

/// What must not be repeated from an answer.
fn secrets<'a>(outgoing: &'a Outgoing, server: &'a Server) -> Vec<&'a str> {
    let mut never = vec![outgoing.to.address.as_str()];
    never.extend(outgoing.to.address.split('@').next());
    never.extend(outgoing.to.name.as_deref());
    if let Some((user, password)) = &server.login {
        never.extend([user.expose(), password.expose()]);
    }
    never
}

impl Pool {
    /// Keeps a connection whose mail was refused, if the server takes it back to the start.
    async fn put_back_reset(&self, mut connection: AsyncSmtpConnection, within: Duration) {
        match tokio::time::timeout(within, connection.command(Rset)).await {
            Ok(Ok(answer)) if done(&answer) => self.put_back(connection),
            _ => drop(connection),
        }
    }
}
