//! The database Docket stands on: the one it is given, or a private one it runs itself.
//!
//! With `DATABASE_URL` Docket uses that database and nothing else. Without it, Docket runs a
//! PostgreSQL server of its own as a child process, with its cluster in the data directory. The
//! first process on a data directory owns that server; every other one is a guest of it.
//!
//! It guarantees: an address that was given is never silently replaced; a cluster is never made
//! over an existing one and never half made; the server listens on no network, only on a Unix
//! socket in a directory closed to other users; it does not outlive the process that owns it (on
//! systems other than Linux a killed owner's server is stopped by the next owner); every wait ends.
//! It relies on server binaries of PostgreSQL 15 or newer, found on the machine or fetched.

#[cfg(unix)]
mod account;
#[cfg(unix)]
mod binaries;
#[cfg(unix)]
mod child;
#[cfg(unix)]
mod cluster;
#[cfg(unix)]
mod fetch;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod predecessor;
#[cfg(unix)]
mod private;
#[cfg(unix)]
mod settings;
#[cfg(unix)]
mod socket;

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Error as SqlxError};

/// The oldest PostgreSQL that Docket's schema and settings are written for.
const OLDEST_MAJOR: u32 = 15;

/// How long a database that was given may take to answer once.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where the database is to be found, or to be made.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// The operator's database. When set, no private server is ever started.
    pub database_url: Option<String>,
    /// Docket's data directory; made when missing. The private cluster lives in `postgres` below
    /// it, its log in `postgres.log`, and `postgres.lock` tells who owns it.
    pub data_dir: PathBuf,
    /// Whether server binaries may be downloaded when the machine has none.
    pub fetch: bool,
}

/// An open database. The owner of a private server keeps it running for as long as this lives.
///
/// Dropping it stops a server it owns and blocks for that long (25 seconds at the very most);
/// within async code call [`Postgres::shutdown`] instead.
#[derive(Debug)]
pub struct Postgres {
    options: PgConnectOptions,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// The database was given by its address.
    External,
    #[cfg(unix)]
    Private(private::Tenure),
}

impl Postgres {
    /// Finds, or makes and starts, the database, and returns once it has accepted a connection.
    ///
    /// # Errors
    /// Every error says what the operator can do. None contains a password.
    pub async fn open(config: &PostgresConfig) -> Result<Postgres, PostgresError> {
        if let Some(address) = &config.database_url {
            let options = external(address).await?;
            return Ok(Postgres { options, role: Role::External });
        }
        #[cfg(unix)]
        {
            let opened = private::open(config, &private::Surroundings::real()).await?;
            Ok(Postgres { options: opened.options, role: Role::Private(opened.tenure) })
        }
        #[cfg(not(unix))]
        Err(PostgresError::NotOnThisSystem)
    }

    /// How to connect. For a private server: its Unix socket, user and database `docket`.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Whether this is a server that Docket runs itself.
    pub fn is_private(&self) -> bool {
        !matches!(self.role, Role::External)
    }

    /// Whether the private server is a child of this very process.
    pub fn is_owner(&self) -> bool {
        match &self.role {
            Role::External => false,
            #[cfg(unix)]
            Role::Private(tenure) => matches!(tenure, private::Tenure::Owner(_)),
        }
    }

    /// Resolves when nobody keeps the private server running any more: for an owner when the server
    /// has ended, which is an accident; for a guest when the owner is gone. Then drop this and open
    /// again, to become the owner: the server comes back at the same address, so that a pool made
    /// from [`Postgres::options`] goes on. Never resolves for a database given by its address.
    pub async fn ended(&self) {
        match &self.role {
            Role::External => std::future::pending().await,
            #[cfg(unix)]
            Role::Private(tenure) => tenure.ended().await,
        }
    }

    /// Stops a server owned by this process: a fast shutdown, then after 10 seconds an immediate
    /// one. Connections of guests are closed with it. Close this process's own pool first.
    pub async fn shutdown(self) {
        // Stopping blocks. Should the runtime itself be going down, the closure is dropped instead
        // of run, and dropping stops the server just as well.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Connects once to the database that was given, so that a wrong address is told at the start.
async fn external(address: &str) -> Result<PgConnectOptions, PostgresError> {
    let options = PgConnectOptions::from_str(address).map_err(PostgresError::BadAddress)?;
    let redacted = redacted(&options);
    let unusable = |source| PostgresError::ExternalUnusable { address: redacted.clone(), source };

    let connecting = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options));
    let connection = connecting
        .await
        .map_err(|_| PostgresError::ExternalSilent { address: redacted.clone(), limit: CONNECT_LIMIT })?
        .map_err(unusable)?;
    // A pooler may hide the version; then the first statement that is too new will tell.
    let major = connection.server_version_num().map(|number| number / 10_000);
    // The answer is known; a connection that cannot be closed politely is dropped.
    let _ = tokio::time::timeout(CONNECT_LIMIT, connection.close()).await;
    match major {
        Some(major) if major < OLDEST_MAJOR => {
            Err(PostgresError::ExternalTooOld { address: redacted, major })
        }
        _ => Ok(options),
    }
}

/// The address as it may stand in a log: put together from its parts, so that no password, however
/// it was spelled in the address, can be among them.
fn redacted(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(user);
    format!("postgres://{user}@{place}/{database}")
}

/// Why there is no database. Each message says what can be done about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PostgresError {
    #[error("DATABASE_URL is not the address of a PostgreSQL database")]
    BadAddress(#[source] SqlxError),

    #[error("the database at {address} (from DATABASE_URL) cannot be used")]
    ExternalUnusable { address: String, source: SqlxError },

    #[error("the database at {address} (from DATABASE_URL) did not answer within {limit:?}")]
    ExternalSilent { address: String, limit: Duration },

    #[error(
        "the database at {address} (from DATABASE_URL) is PostgreSQL {major}, and Docket needs \
         {OLDEST_MAJOR} or newer"
    )]
    ExternalTooOld { address: String, major: u32 },

    #[error(
        "Docket runs its own PostgreSQL only on Unix systems: set DATABASE_URL to the address of a \
         PostgreSQL {OLDEST_MAJOR} or newer"
    )]
    NotOnThisSystem,

    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or newer was found on this machine: set DATABASE_URL, or \
         install {package}, or let Docket fetch one from the network"
    )]
    NoServer { package: String, source: FetchError },

    #[error(
        "the cluster in {} was made by PostgreSQL {major}, and no server of that version was \
         found: install {package}, or set DATABASE_URL, or let Docket fetch one from the network",
        cluster.display()
    )]
    MajorGone { cluster: PathBuf, major: u32, package: String, source: FetchError },

    #[error("{} is neither empty nor a PostgreSQL cluster", path.display())]
    NotACluster { path: PathBuf },

    #[error(
        "{} points to the cluster {}, which is not there: bring it back, or remove the link to \
         start with an empty database", link.display(), target.display()
    )]
    ClusterGone { link: PathBuf, target: PathBuf },

    #[error(
        "the cluster in {} belongs to user id {owner}, and Docket runs as user id {own}: run it as \
         that user or as root", path.display()
    )]
    ForeignCluster { path: PathBuf, owner: u32, own: u32 },

    #[error(
        "PostgreSQL refuses to run as root, and this system has neither a user postgres nor a user \
         nobody to run it as: run Docket as another user, or set DATABASE_URL"
    )]
    NoAccount,

    #[error(
        "PostgreSQL runs as user {account}, who may not enter {}: allow it with chmod o+x, or move \
         the data directory", folder.display()
    )]
    ClosedFolder { account: String, folder: PathBuf },

    #[error("initdb could not make a cluster: {output}")]
    InitdbFailed { output: String },

    #[error("initdb did not make a cluster within {limit:?}")]
    InitdbSlow { limit: Duration },

    #[error(
        "the data directory's path is too long for a Unix socket, and {} cannot be used instead: \
         {reason}", path.display()
    )]
    NoSocketFolder { path: PathBuf, reason: &'static str },

    #[error("another PostgreSQL (process {pid}) still runs on {} and does not stop", cluster.display())]
    StillRunning { pid: i32, cluster: PathBuf },

    #[error("PostgreSQL ended while it was starting; the end of its log ({}): {tail}", log.display())]
    Ended { log: PathBuf, tail: String },

    #[error(
        "PostgreSQL made no progress in starting for {limit:?}; the end of its log ({}): {tail}",
        log.display()
    )]
    Stalled { limit: Duration, log: PathBuf, tail: String },

    #[error(
        "another process owns the private PostgreSQL of {}, and its server did not become ready \
         within {limit:?}", data_dir.display()
    )]
    OwnerNotReady { data_dir: PathBuf, limit: Duration },

    #[error("the private PostgreSQL refused a connection")]
    Refused(#[source] SqlxError),

    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

/// Why no server was fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum FetchError {
    #[error("fetching is switched off")]
    SwitchedOff,

    #[error("this build of Docket cannot fetch")]
    NotBuiltIn,

    #[error("fetching from {from} took longer than {limit:?}")]
    Slow { from: &'static str, limit: Duration },

    #[error("fetching from {from} failed")]
    Failed { from: &'static str, source: Box<dyn std::error::Error + Send + Sync> },

    #[error("what was fetched from {from} does not run on this machine")]
    Unusable { from: &'static str },
}

/// Turns an I/O error into one that says what was tried on which path.
#[cfg(unix)]
fn file_error(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> PostgresError {
    let path = path.to_owned();
    move |source| PostgresError::File { what, path, source }
}
