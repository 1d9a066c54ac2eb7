//! One private PostgreSQL for the whole run, and a fresh database for each test.
//!
//! The server is started by the first test that asks, on a thread with a runtime of its own, because every test's
//! runtime ends with the test. It dies with this process; a small shell that waits for this process's end then
//! removes its folder. Durability stays on: what is tested is what runs.
//!
//! A database is a copy of a template that `App::open` made once, which costs a tenth of the migrations. It is dropped
//! when its test ends: seven hundred of them together would fill a small disk.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::Duration;

use docket::app::App;
use docket::clock::Clock;
use docket::ledger::QueueBounds;
use docket::ledger::seal::Key;
use docket::postgres::{Postgres, PostgresConfig};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Databases in use at once: each product may open 26 connections, and the server takes 100.
const DATABASES_MAX: usize = 3;
const TEMPLATE: &str = "docket_template";

/// The master key of every test database; the golden events are sealed under it.
pub fn master_key() -> Key {
    Key::from_bytes([7; 32])
}

struct Server {
    options: PgConnectOptions,
    folder: PathBuf,
    turns: Arc<Semaphore>,
    finished: UnboundedSender<Finished>,
}

/// A database that no test uses any more, and the turn that is free once it is gone.
struct Finished {
    name: String,
    turn: OwnedSemaphorePermit,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    log::capture();
    let (started, starting) = mpsc::channel();
    let (finished, finishing) = unbounded_channel();
    std::thread::Builder::new()
        .name("test-postgres".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (postgres, folder) = start().await;
                started.send((postgres.options(), folder)).unwrap();
                tokio::select! {
                    () = postgres.ended() => panic!("the PostgreSQL of the tests ended"),
                    () = drop_finished(finishing, postgres.options()) => {}
                }
            });
        })
        .unwrap();
    let (options, folder) = starting.recv_timeout(Duration::from_secs(120)).expect("PostgreSQL starts");
    Server { options, folder, turns: Arc::new(Semaphore::new(DATABASES_MAX)), finished }
});

/// Runs as long as the process.
async fn drop_finished(mut finishing: UnboundedReceiver<Finished>, options: PgConnectOptions) {
    while let Some(Finished { name, turn }) = finishing.recv().await {
        // One that stays takes room on the disk and no test's result.
        if let Err(error) = drop_database(&options, &name).await {
            eprintln!("{name} could not be dropped: {error}");
        }
        drop(turn);
    }
}

async fn drop_database(options: &PgConnectOptions, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    // A product that its test did not close still has connections, and would have until the process ends.
    connection.execute(format!("DROP DATABASE {name} WITH (FORCE)").as_str()).await?;
    connection.close().await
}

async fn start() -> (Postgres, PathBuf) {
    let folder = tempfile::Builder::new().prefix("docket-it-").tempdir().unwrap().keep();
    // A server that runs as another user must be able to pass through.
    #[cfg(unix)]
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    remove_afterwards(&folder);
    let config = PostgresConfig { database_url: None, data_dir: folder.clone(), fetch: false };
    let postgres = Postgres::open(&config).await.expect("the tests need PostgreSQL's server binaries");

    let mut connection = PgConnection::connect_with(&postgres.options()).await.unwrap();
    connection.execute(format!("CREATE DATABASE {TEMPLATE}").as_str()).await.unwrap();
    let options = postgres.options().database(TEMPLATE);
    let app = App::open(options, master_key(), Clock::system(), QueueBounds::default()).await.unwrap();
    app.close().await;
    (postgres, folder)
}

/// The shell holds the other end of a pipe that closes when this process ends, however it ends.
#[allow(clippy::zombie_processes, reason = "the shell outlives this process")]
fn remove_afterwards(folder: &std::path::Path) {
    let script = "cat; for try in $(seq 100); do rm -rf \"$0\" 2>/dev/null && exit; sleep 0.1; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    let mut shell = shell.spawn().unwrap();
    std::mem::forget(shell.stdin.take());
}

/// A test's own database.
pub struct Database {
    /// How to reach it.
    pub options: PgConnectOptions,
    name: String,
    turn: Option<OwnedSemaphorePermit>,
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        // Nobody listens any more where the server ended, which was told there.
        let _ = SERVER.finished.send(Finished { name: self.name.clone(), turn });
    }
}

impl Database {
    /// A copy of the template. Waits while too many are in use.
    pub async fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let server = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap();
        let turn = server.turns.clone().acquire_owned().await.unwrap();
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect_with(&server.options).await.unwrap();
        connection.execute(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}").as_str()).await.unwrap();
        Self { options: server.options.clone().database(&name), name, turn: Some(turn) }
    }

    /// A few connections of the test's own, beside the product's.
    pub fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect_lazy_with(self.options.clone())
    }

    /// One connection of the test's own.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options).await.unwrap()
    }

    /// The address, for the command line.
    pub fn url(&self) -> String {
        let socket = self.socket_folder();
        let user = self.options.get_username();
        format!("postgres://{user}@localhost/{}?host={}", self.name, socket.display())
    }

    /// The name within the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the server's socket is.
    pub fn socket_folder(&self) -> PathBuf {
        self.options.get_socket().expect("a private server has a socket").clone()
    }

    /// A folder for what a process of this run leaves behind.
    pub fn folder(&self) -> PathBuf {
        let folder = SERVER.folder.join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

/// What PostgreSQL itself logged.
pub fn server_log() -> String {
    std::fs::read_to_string(SERVER.folder.join("postgres.log")).unwrap()
}

/// Everything that the product logs while tests run.
pub mod log {
    use super::{Arc, LazyLock, Mutex};

    static LINES: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

    struct Writer;

    impl std::io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LINES.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// From now on the log is kept, at every level that the product has.
    pub fn capture() {
        let filter = tracing_subscriber::EnvFilter::new("sqlx=warn,docket=trace,info");
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(|| Writer).init();
    }

    /// What was logged so far, by all tests.
    pub fn text() -> String {
        String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned()
    }
}
