//! Opening the private server: as its owner, or as a guest of the process that owns it.
//!
//! A lock on `postgres.lock` decides who owns it. The kernel gives the lock up when its holder
//! dies, however it dies, so whoever opens next becomes the owner; the server of the dead owner may
//! still be on its way out then, and is waited for.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Error as SqlxError, Executor};
use tokio::time::{Instant, sleep, timeout};

use super::account::{Account, command, own_uid};
use super::binaries::{Installation, Search, package};
use super::child::Child;
use super::cluster::{self, Cluster, DOCKET};
use super::fetch::{fetch, fetched};
use super::log::{Log, open_to_append};
use super::predecessor;
use super::settings::{SHARED_BUFFERS_MIN, settings, shared_buffers};
use super::socket::{self, PORT};
use super::{FetchError, PostgresConfig, PostgresError, file_error};

/// How long a start is tried again after a crash, while the remains of the last server go away.
const RETRY_LIMIT: Duration = Duration::from_secs(10);
/// How long a new server may take to open its socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(10);
/// How long recovery may go without a sign of progress. It tells one a second while it reads the
/// log, and none while it writes its pages at the end.
const QUIET_LIMIT: Duration = Duration::from_secs(120);
/// How long recovery may take altogether.
const RECOVERY_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long a guest waits for an owner whose server does not answer at all.
const OWNER_LIMIT: Duration = Duration::from_secs(60);
/// For one try to connect, or one statement, on this machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(10);

/// Between two looks of a guest at whether the owner is still there.
const OWNER_POLL: Duration = Duration::from_millis(500);

/// For a fast shutdown, which writes all pages, and then for an immediate one, which writes none.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// For the kernel to end a process that had no choice.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What a private server needs of the machine around it.
#[derive(Debug)]
pub struct Surroundings {
    pub search: Search,
    /// Where clusters and fetched programs go that must be reachable for another user than root.
    pub outside: PathBuf,
}

impl Surroundings {
    pub fn real() -> Surroundings {
        Surroundings { search: Search::machine(), outside: PathBuf::from("/var/lib/docket-postgres") }
    }
}

/// A private server that accepts connections.
#[derive(Debug)]
pub struct Opened {
    pub options: PgConnectOptions,
    pub tenure: Tenure,
}

/// In what capacity this process uses the server.
#[derive(Debug)]
pub enum Tenure {
    Owner(Owner),
    Guest { data_dir: PathBuf },
}

impl Tenure {
    /// Resolves when nobody keeps the server running any more.
    pub async fn ended(&self) {
        match self {
            Tenure::Owner(owner) => {
                owner.server.child.ended().await;
            }
            Tenure::Guest { data_dir } => {
                // The lock is tried and given back at once. Whoever wants it at that very moment
                // tries again. An error means that the data directory is gone, or as good as.
                while let Ok(None) = try_lock(data_dir) {
                    sleep(OWNER_POLL).await;
                }
            }
        }
    }
}

/// Keeps the server running and the lock taken. The server is stopped before the lock is given up.
#[derive(Debug)]
pub struct Owner {
    server: Server,
    _lock: File,
}

/// A server process. Dropping it stops it, and blocks until it has.
#[derive(Debug)]
struct Server {
    child: Child,
    log: Log,
    /// Where its socket is, if the cluster's path is too long to hold it.
    short_folder: Option<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.signal(Signal::INT);
        if !self.child.wait(STOP_LIMIT) {
            tracing::warn!("the private PostgreSQL did not stop in time and is ended at once");
            self.child.signal(Signal::QUIT);
            if !self.child.wait(STOP_LIMIT) {
                self.child.signal(Signal::KILL);
                self.child.wait(KILL_LIMIT);
            }
        }
        if let Some(folder) = &self.short_folder {
            // Empty by now; if not, the next start uses it as it is.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Opens the private server of a data directory.
pub async fn open(config: &PostgresConfig, surroundings: &Surroundings) -> Result<Opened, PostgresError> {
    let data_dir = prepare(&config.data_dir)?;
    let begun = Instant::now();
    let mut last_answer = begun;
    loop {
        if let Some(lock) = try_lock(&data_dir)? {
            return own(&data_dir, lock, config.fetch, surroundings).await;
        }
        match visit(&data_dir).await? {
            Visit::Welcome(options) => {
                return Ok(Opened { options, tenure: Tenure::Guest { data_dir } });
            }
            Visit::NotYet => last_answer = Instant::now(),
            Visit::Nobody => {}
        }
        let limits = [(last_answer, OWNER_LIMIT), (begun, RECOVERY_LIMIT)];
        if let Some((_, limit)) = limits.into_iter().find(|(since, limit)| since.elapsed() > *limit) {
            return Err(PostgresError::OwnerNotReady { data_dir, limit });
        }
        sleep(POLL).await;
    }
}

/// Makes the data directory if need be, and returns its full path.
fn prepare(data_dir: &Path) -> Result<PathBuf, PostgresError> {
    if let Some(parent) = data_dir.parent() {
        fs::create_dir_all(parent).map_err(file_error("make the folder", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(data_dir) {
        Ok(()) if own_uid() == 0 => {
            // The server's user has to pass through it. Said once more, as the umask may object.
            let mode = fs::Permissions::from_mode(0o711);
            fs::set_permissions(data_dir, mode).map_err(file_error("open to others", data_dir))?;
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file_error("make the folder", data_dir)(error));
        }
        _ => {}
    }
    fs::canonicalize(data_dir).map_err(file_error("read", data_dir))
}

fn try_lock(data_dir: &Path) -> Result<Option<File>, PostgresError> {
    let path = data_dir.join("postgres.lock");
    let file = open_to_append(&path).map_err(file_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(file_error("lock", &path)(error)),
    }
}

/// What a guest finds.
enum Visit {
    Welcome(PgConnectOptions),
    /// A server that is about to be ready, or to end.
    NotYet,
    Nobody,
}

async fn visit(data_dir: &Path) -> Result<Visit, PostgresError> {
    let Some(cluster) = cluster::locate(data_dir)? else {
        return Ok(Visit::Nobody);
    };
    let Some(postmaster) = predecessor::read(&cluster.folder)? else {
        return Ok(Visit::Nobody);
    };
    if !postmaster.ready {
        return Ok(Visit::NotYet);
    }
    let options = options(&postmaster.socket, postmaster.port);
    match knock(&options).await? {
        Knock::Open(connection) => {
            close(connection).await;
            Ok(Visit::Welcome(options))
        }
        Knock::NotYet | Knock::NoDatabase => Ok(Visit::NotYet),
        Knock::NoAnswer => Ok(Visit::Nobody),
    }
}

/// Becomes the owner: finds the programs, makes the cluster if there is none, starts the server.
async fn own(
    data_dir: &Path,
    lock: File,
    may_fetch: bool,
    surroundings: &Surroundings,
) -> Result<Opened, PostgresError> {
    let (cluster, installation) = match cluster::locate(data_dir)? {
        Some(cluster) => {
            let account = cluster.account.as_ref();
            let installation = programs(data_dir, Some(&cluster), account, may_fetch, surroundings).await?;
            (cluster, installation)
        }
        None => {
            let account = Account::for_new_cluster(data_dir)?;
            let account = account.as_ref();
            let installation = programs(data_dir, None, account, may_fetch, surroundings).await?;
            cluster::create(data_dir, &surroundings.outside, account, &installation).await?;
            let entry = data_dir.join("postgres");
            let cluster = cluster::locate(data_dir)?;
            (cluster.ok_or(PostgresError::NotACluster { path: entry })?, installation)
        }
    };
    if let Some(account) = &cluster.account
        && let Some(folder) = cluster::can_enter(account, &cluster.folder, &installation)?
    {
        return Err(PostgresError::ClosedFolder { account: account.name.clone(), folder });
    }
    let (server, options) = start(data_dir, &cluster, &installation).await?;
    Ok(Opened { options, tenure: Tenure::Owner(Owner { server, _lock: lock }) })
}

/// Finds the programs for a cluster, or for a new one, and fetches them if there are none.
async fn programs(
    data_dir: &Path,
    cluster: Option<&Cluster>,
    account: Option<&Account>,
    may_fetch: bool,
    surroundings: &Surroundings,
) -> Result<Installation, PostgresError> {
    let major = cluster.map(|cluster| cluster.major);
    // The account has to reach them, and data directories of root it often cannot.
    let base = if account.is_some() { &surroundings.outside } else { data_dir };
    let search = &surroundings.search;
    if let Some(found) = search.find(&fetched(base), account, major).await {
        return Ok(found);
    }
    let result = if !may_fetch {
        Err(FetchError::SwitchedOff)
    } else {
        if account.is_some() {
            cluster::prepare_outside(base)?;
        }
        fetch(base, account, major).await
    };
    result.map_err(|source| {
        let package = package(major);
        match cluster {
            None => PostgresError::NoServer { package, source },
            Some(cluster) => PostgresError::MajorGone {
                cluster: cluster.folder.clone(),
                major: cluster.major,
                package,
                source,
            },
        }
    })
}

/// Starts the server and waits until it has accepted a connection to Docket's database.
async fn start(
    data_dir: &Path,
    cluster: &Cluster,
    installation: &Installation,
) -> Result<(Server, PgConnectOptions), PostgresError> {
    let log_path = data_dir.join("postgres.log");
    let retry_until = Instant::now() + RETRY_LIMIT;
    let mut buffers = shared_buffers();
    loop {
        predecessor::settle(&cluster.folder).await?;
        let socket = socket::folder(&cluster.folder, cluster.account.as_ref())?;
        let log = Log::in_file(&log_path).map_err(file_error("write", &log_path))?;
        let server = spawn(cluster, installation, &socket, buffers, log)?;
        let options = options(&socket, PORT);
        let failure = match ready(&server, &cluster.folder, &options).await {
            Ok(()) => return Ok((server, options)),
            Err(failure) => failure,
        };

        let tail = server.log.tail();
        // Stopping blocks; an error is no reason to hold up whatever else runs here.
        let _ = tokio::task::spawn_blocking(move || drop(server)).await;
        let log = log_path.clone();
        match failure {
            NotReady::Ended if is_short_of_memory(&tail) && buffers > SHARED_BUFFERS_MIN => {
                tracing::warn!("too little shared memory for {buffers} MB of buffers");
                buffers = SHARED_BUFFERS_MIN;
            }
            NotReady::Ended if is_held_up_by_remains(&tail) && Instant::now() < retry_until => {
                sleep(POLL).await;
            }
            NotReady::Ended => return Err(PostgresError::Ended { log, tail }),
            NotReady::Stalled(limit) => return Err(PostgresError::Stalled { limit, log, tail }),
            NotReady::Failed(error) => return Err(error),
        }
    }
}

fn spawn(
    cluster: &Cluster,
    installation: &Installation,
    socket: &Path,
    buffers: u64,
    log: Log,
) -> Result<Server, PostgresError> {
    let program = installation.postgres();
    let mut serving = command(&program, cluster.account.as_ref());
    serving.arg("-D").arg(&cluster.folder).current_dir(&cluster.folder);
    for (name, value) in settings(buffers) {
        serving.arg("-c").arg(format!("{name}={value}"));
    }
    // The setting is a list, in which a folder's name is quoted like an SQL identifier.
    let quoted = socket.to_string_lossy().replace('"', "\"\"");
    serving.arg("-c").arg(format!("unix_socket_directories=\"{quoted}\""));

    // The death signal asks for a fast shutdown: what is written then need not be recovered.
    let child = Child::spawn(serving, Signal::INT, &log).map_err(file_error("run", &program))?;
    let short_folder = (socket != cluster.folder).then(|| socket.to_owned());
    Ok(Server { child, log, short_folder })
}

/// The server could not start because something of its predecessor is left, which will go away.
fn is_held_up_by_remains(tail: &str) -> bool {
    ["pre-existing shared memory block", "lock file \""].iter().any(|sign| tail.contains(sign))
}

fn is_short_of_memory(tail: &str) -> bool {
    ["could not map anonymous shared memory", "could not create shared memory segment"]
        .iter()
        .any(|sign| tail.contains(sign))
}

/// Why a server that was started is not ready.
enum NotReady {
    Ended,
    Stalled(Duration),
    Failed(PostgresError),
}

/// Waits until the server lets us in. Its own state is read from its file first, because a server in
/// recovery writes every refusal into its log.
async fn ready(server: &Server, cluster: &Path, options: &PgConnectOptions) -> Result<(), NotReady> {
    let begun = Instant::now();
    while let Some(pid) = server.child.pid() {
        let postmaster = predecessor::read(cluster).map_err(NotReady::Failed)?;
        match postmaster.filter(|postmaster| postmaster.pid == pid) {
            Some(postmaster) if postmaster.ready => match knock(options).await.map_err(NotReady::Failed)? {
                Knock::Open(connection) => {
                    close(connection).await;
                    return Ok(());
                }
                Knock::NoDatabase => {
                    create_database(options).await.map_err(NotReady::Failed)?;
                }
                Knock::NotYet | Knock::NoAnswer => {}
            },
            Some(_) if server.log.quiet_for() > QUIET_LIMIT => {
                return Err(NotReady::Stalled(QUIET_LIMIT));
            }
            Some(_) => {}
            None if begun.elapsed() > SOCKET_LIMIT => return Err(NotReady::Stalled(SOCKET_LIMIT)),
            None => {}
        }
        if begun.elapsed() > RECOVERY_LIMIT {
            return Err(NotReady::Stalled(RECOVERY_LIMIT));
        }
        sleep(POLL).await;
    }
    // What it said last is read to its end before it counts as ended.
    server.child.ended().await;
    Err(NotReady::Ended)
}

/// What a try to connect tells.
enum Knock {
    Open(PgConnection),
    NoDatabase,
    /// The server is there, and is starting or stopping.
    NotYet,
    NoAnswer,
}

async fn knock(options: &PgConnectOptions) -> Result<Knock, PostgresError> {
    let error = match timeout(ANSWER_LIMIT, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => return Ok(Knock::Open(connection)),
        Ok(Err(error)) => error,
        Err(_) => return Ok(Knock::NoAnswer),
    };
    match &error {
        SqlxError::Io(_) => Ok(Knock::NoAnswer),
        SqlxError::Database(refusal) => match refusal.code().as_deref() {
            // `cannot_connect_now`, and `admin_shutdown` for one who was just let in.
            Some("57P03" | "57P01") => Ok(Knock::NotYet),
            Some("3D000") => Ok(Knock::NoDatabase),
            _ => Err(PostgresError::Refused(error)),
        },
        _ => Err(PostgresError::Refused(error)),
    }
}

async fn create_database(options: &PgConnectOptions) -> Result<(), PostgresError> {
    let creating = async {
        let mut connection = PgConnection::connect_with(&options.clone().database("postgres")).await?;
        connection.execute("CREATE DATABASE docket").await?;
        connection.close().await
    };
    let created = timeout(RETRY_LIMIT, creating).await.map_err(io::Error::from);
    created.map_err(SqlxError::Io).flatten().map_err(PostgresError::Refused)
}

async fn close(connection: PgConnection) {
    // It is dropped otherwise, which the server takes for a client that died, and survives.
    let _ = timeout(ANSWER_LIMIT, connection.close()).await;
}

fn options(socket: &Path, port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .port(port)
        .username(DOCKET)
        .database(DOCKET)
        .application_name("docket")
        // There is nothing to encrypt against within one machine's kernel.
        .ssl_mode(PgSslMode::Disable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_without_a_server_is_told_the_three_ways_out() {
        let temp = tempfile::tempdir().unwrap();
        let config = PostgresConfig { database_url: None, data_dir: temp.path().join("data"), fetch: false };
        let surroundings = Surroundings {
            search: Search { root: temp.path().join("nothing"), path: None },
            outside: temp.path().join("outside"),
        };
        let error = open(&config, &surroundings).await.unwrap_err();
        assert!(matches!(error, PostgresError::NoServer { source: FetchError::SwitchedOff, .. }));
        let message = error.to_string();
        for way_out in ["set DATABASE_URL", "install ", "let Docket fetch one"] {
            assert!(message.contains(way_out), "{message}");
        }
        // Nothing was made that a later start would take for a cluster.
        assert!(cluster::locate(&config.data_dir).unwrap().is_none());
    }
}
