//! A wire between the product and PostgreSQL that a test can cut.
//!
//! It reads along: a frontend message is a type, a length and a body, so that it knows a commit when one goes by: a
//! COMMIT, or the append's one writing statement outside of a transaction.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Database;

/// Where around a commit a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never sees it.
    BeforeCommit,
    /// The server commits, and nobody hears of it.
    AfterCommit,
}

#[derive(Default)]
struct Orders {
    before_commit: AtomicUsize,
    after_commit: AtomicUsize,
    /// Bytes that the server may still say; negative means no bound.
    bytes_left: AtomicI64,
    away: AtomicBool,
    stay_away: AtomicBool,
    cuts: AtomicUsize,
    went_away: Notify,
}

impl Orders {
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        if self.stay_away.load(Ordering::SeqCst) {
            self.set_away();
        }
    }

    fn set_away(&self) {
        self.away.store(true, Ordering::SeqCst);
        self.went_away.notify_waiters();
    }
}

/// The wire. Cut for good when it is dropped.
pub struct Proxy {
    /// How the product reaches the database through it.
    pub options: PgConnectOptions,
    /// The same as an address, for the command line.
    pub url: String,
    orders: Arc<Orders>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A wire to a test's database.
    pub async fn to(database: &Database) -> Self {
        let socket = database.socket_folder().join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let user = database.options.get_username();
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username(user)
            .database(database.name())
            .ssl_mode(PgSslMode::Disable);
        let url = format!("postgres://{user}@127.0.0.1:{port}/{}?sslmode=disable", database.name());
        let orders = Arc::new(Orders { bytes_left: AtomicI64::new(-1), ..Orders::default() });
        let listening = tokio::spawn(listen(listener, socket, orders.clone()));
        Self { options, url, orders, listening }
    }

    /// Cuts the connections of the next `times` commits; the database can be reached again at once.
    pub fn cut(&self, cut: Cut, times: usize) {
        let left = match cut {
            Cut::BeforeCommit => &self.orders.before_commit,
            Cut::AfterCommit => &self.orders.after_commit,
        };
        left.store(times, Ordering::SeqCst);
    }

    /// Cuts all connections once the server has said that much, and stays cut.
    pub fn cut_after_bytes(&self, bytes: i64) {
        self.stay_away_after_cut();
        self.orders.bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// After the next cut the database cannot be reached.
    pub fn stay_away_after_cut(&self) {
        self.orders.stay_away.store(true, Ordering::SeqCst);
    }

    /// The database can be reached again.
    pub fn come_back(&self) {
        self.orders.stay_away.store(false, Ordering::SeqCst);
        self.orders.away.store(false, Ordering::SeqCst);
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> usize {
        self.orders.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.set_away();
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, socket: PathBuf, orders: Arc<Orders>) {
    while let Ok((client, _)) = listener.accept().await {
        if orders.away.load(Ordering::SeqCst) {
            continue;
        }
        let (socket, orders) = (socket.clone(), orders.clone());
        tokio::spawn(async move {
            let went_away = orders.went_away.notified();
            tokio::select! {
                // Either side may go at any time; the test sees what came of it.
                _ = carry(client, socket, &orders) => (),
                () = went_away => (),
            }
        });
    }
}

async fn carry(client: TcpStream, socket: PathBuf, orders: &Orders) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(socket).await?.into_split();
    let deaf = AtomicBool::new(false);

    let asking = async {
        let mut wire = Wire::default();
        // The first message has no type.
        let length = from_client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from_client.read_exact(&mut body).await?;
        to_server.write_u32(length).await?;
        to_server.write_all(&body).await?;
        loop {
            let kind = from_client.read_u8().await?;
            let length = from_client.read_u32().await?;
            let mut body = vec![0; length as usize - 4];
            from_client.read_exact(&mut body).await?;
            if wire.commits(kind, &body) {
                if take_one(&orders.before_commit) {
                    orders.cut();
                    return Ok(());
                }
                if take_one(&orders.after_commit) {
                    deaf.store(true, Ordering::SeqCst);
                }
            }
            let mut message = Vec::with_capacity(body.len() + 5);
            message.push(kind);
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(&body);
            to_server.write_all(&message).await?;
        }
    };
    let answering = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from_server.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            if deaf.load(Ordering::SeqCst) {
                // The server has answered the commit.
                orders.cut();
                return Ok(());
            }
            let left = orders.bytes_left.load(Ordering::SeqCst);
            if left >= 0 {
                let left = left - count as i64;
                orders.bytes_left.store(left.max(0), Ordering::SeqCst);
                if left <= 0 {
                    orders.cut();
                    return Ok(());
                }
            }
            to_client.write_all(&bytes[..count]).await?;
        }
    };
    tokio::select! {
        done = asking => done,
        done = answering => done,
    }
}

/// What went by on one connection.
#[derive(Default)]
struct Wire {
    in_transaction: bool,
    /// Names of prepared statements that append events.
    appending: HashSet<Vec<u8>>,
}

impl Wire {
    /// Whether what this message asks for is durable once it is answered.
    fn commits(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match kind {
            b'Q' if first == b"BEGIN" => self.in_transaction = true,
            b'Q' if first == b"ROLLBACK" => self.in_transaction = false,
            b'Q' if first == b"COMMIT" => {
                self.in_transaction = false;
                return true;
            }
            b'P' if String::from_utf8_lossy(second).contains("INSERT INTO ledger.events") => {
                self.appending.insert(first.to_vec());
            }
            b'B' => return !self.in_transaction && self.appending.contains(second),
            _ => (),
        }
        false
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
