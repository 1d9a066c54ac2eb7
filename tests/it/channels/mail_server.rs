//! A mail server on loopback that follows a script: real bytes of SMTP, STARTTLS with a certificate of a test's own
//! authority, and every way to refuse or to vanish.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How the server reacts to a command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers this line, or these.
    Say(&'static str),
    /// Closes without a word.
    Close,
    /// Says nothing and keeps the connection.
    Hang,
}

/// What the server does, command by command.
#[derive(Clone)]
pub struct Script {
    pub greeting: Reply,
    pub offers: &'static [&'static str],
    pub auth: Reply,
    pub mail: Reply,
    pub rcpt: Reply,
    pub data: Reply,
    /// After the final dot.
    pub text: Reply,
    /// Closes within the text, after so many bytes of it.
    pub cut_text_after: Option<usize>,
    /// Mails after which the connection is closed, once they were answered.
    pub close_after: usize,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte.
    pub implicit: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: Reply::Say("220 mail.test ESMTP"),
            offers: &["8BITMIME", "SIZE 10000000"],
            auth: Reply::Say("235 2.7.0 welcome"),
            mail: Reply::Say("250 2.1.0 ok"),
            rcpt: Reply::Say("250 2.1.5 ok"),
            data: Reply::Say("354 go on"),
            text: Reply::Say("250 2.0.0 queued as 4Xyz"),
            cut_text_after: None,
            close_after: usize::MAX,
            tls: None,
            implicit: false,
        }
    }
}

/// What happened on one connection.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub commands: Vec<String>,
    pub mails: Vec<String>,
    pub secure: bool,
    /// User and password that were given.
    pub login: Option<String>,
}

pub struct MailServer {
    pub address: SocketAddr,
    conversations: Arc<Mutex<Vec<Conversation>>>,
    task: JoinHandle<()>,
}

impl MailServer {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let conversations = Arc::new(Mutex::new(Vec::new()));
        let log = conversations.clone();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let place = {
                    let mut log = log.lock().unwrap();
                    log.push(Conversation::default());
                    log.len() - 1
                };
                let session = Session { script: script.clone(), log: log.clone(), place };
                sessions.spawn(async move {
                    if session.script.implicit {
                        let acceptor = TlsAcceptor::from(session.script.tls.clone().unwrap());
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        session.note(|conversation| conversation.secure = true);
                        session.talk(stream, true).await;
                    } else if let Some(stream) = session.talk(stream, true).await {
                        let acceptor = TlsAcceptor::from(session.script.tls.clone().unwrap());
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        session.note(|conversation| conversation.secure = true);
                        session.talk(stream, false).await;
                    }
                });
            }
        });
        Self { address, conversations, task }
    }

    /// All conversations so far.
    pub fn conversations(&self) -> Vec<Conversation> {
        self.conversations.lock().unwrap().clone()
    }

    /// All mails so far.
    pub fn mails(&self) -> Vec<String> {
        self.conversations().into_iter().flat_map(|conversation| conversation.mails).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    script: Script,
    log: Arc<Mutex<Vec<Conversation>>>,
    place: usize,
}

impl Session {
    fn note(&self, change: impl FnOnce(&mut Conversation)) {
        change(&mut self.log.lock().unwrap()[self.place]);
    }

    /// Talks until the end, or gives the stream back for TLS.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greet: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greet && !react(&mut stream, &self.script.greeting).await {
            return None;
        }
        let mut mails = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            self.note(|conversation| conversation.commands.push(line.clone()));
            let reply = match verb.as_str() {
                "EHLO" => {
                    let mut offers = vec!["mail.test".to_owned()];
                    offers.extend(self.script.offers.iter().map(|offer| (*offer).to_owned()));
                    let last = offers.len() - 1;
                    for (index, offer) in offers.iter().enumerate() {
                        let mark = if index == last { ' ' } else { '-' };
                        stream.write_all(format!("250{mark}{offer}\r\n").as_bytes()).await.ok()?;
                    }
                    stream.flush().await.ok()?;
                    continue;
                }
                "STARTTLS" => {
                    stream.write_all(b"220 2.0.0 go on\r\n").await.ok()?;
                    stream.flush().await.ok()?;
                    return Some(stream.into_inner());
                }
                "AUTH" => {
                    let given = line
                        .split(' ')
                        .nth(2)
                        .and_then(|text| STANDARD.decode(text).ok())
                        .unwrap_or_default();
                    let login = String::from_utf8_lossy(&given).replace('\0', "/");
                    self.note(|conversation| conversation.login = Some(login));
                    &self.script.auth
                }
                "MAIL" => &self.script.mail,
                "RCPT" => &self.script.rcpt,
                "DATA" => {
                    let reply = self.script.data.clone();
                    if !react(&mut stream, &reply).await {
                        return None;
                    }
                    if !matches!(reply, Reply::Say(text) if text.starts_with("354")) {
                        continue;
                    }
                    let mail = self.text(&mut stream).await?;
                    self.note(|conversation| conversation.mails.push(mail));
                    mails += 1;
                    if !react(&mut stream, &self.script.text).await || mails >= self.script.close_after {
                        return None;
                    }
                    continue;
                }
                "QUIT" => &Reply::Say("221 2.0.0 bye"),
                "RSET" | "NOOP" => &Reply::Say("250 2.0.0 ok"),
                _ => &Reply::Say("500 5.5.1 what?"),
            };
            if !react(&mut stream, reply).await {
                return None;
            }
        }
    }

    async fn text<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> Option<String> {
        let mut mail = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line == ".\r\n" {
                return Some(mail);
            }
            mail.push_str(line.strip_prefix('.').unwrap_or(&line));
            if self.script.cut_text_after.is_some_and(|bytes| mail.len() >= bytes) {
                return None;
            }
        }
    }
}

/// Reacts, and says whether the conversation goes on.
async fn react<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, reply: &Reply) -> bool {
    match reply {
        Reply::Say(text) => {
            let said = stream.write_all(format!("{text}\r\n").as_bytes()).await;
            said.is_ok() && stream.flush().await.is_ok() && !text.starts_with("421")
        }
        Reply::Close => false,
        Reply::Hang => std::future::pending().await,
    }
}

/// A server's certificate for `name`, and the root that it leads to.
pub fn certificate(name: &str) -> (Arc<rustls::ServerConfig>, CertificateDer<'static>) {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), root.der().clone())
}
