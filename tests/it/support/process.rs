//! The binary, as an operator runs it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::app::PUBLIC_URL;
use super::server::master_key;
use super::{Database, PATIENCE};

/// `docket` with the given arguments, on the database at that address.
fn docket(database: &Database, url: &str, arguments: &[&str]) -> Command {
    let mut command = at_home(&database.folder(), arguments);
    command.env("DATABASE_URL", url);
    command
}

/// The same with a private PostgreSQL in that folder.
fn at_home(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docket"));
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("DOCKET_MASTER_KEY", master_key().to_base64())
        .env("DOCKET_DATA_DIR", folder)
        .env("DOCKET_LOG", "info")
        .env("DOCKET_RATE_LIMIT", "off")
        .env("DOCKET_PUBLIC_URL", PUBLIC_URL)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `docket` to its end.
pub async fn run(database: &Database, arguments: &[&str]) -> Output {
    run_at(database, &database.url(), arguments).await
}

/// Runs `docket` to its end, with a private PostgreSQL in that folder.
pub async fn run_at_home(folder: &Path, arguments: &[&str]) -> Output {
    ended(at_home(folder, arguments)).await
}

/// Runs `docket` to its end, on the database at another address.
pub async fn run_at(database: &Database, url: &str, arguments: &[&str]) -> Output {
    ended(docket(database, url, arguments)).await
}

/// Runs `docket` to its end, with a private PostgreSQL in that folder, and reads what it prints.
pub async fn told_at_home(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = run_at_home(folder, &[arguments, &["--json"]].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

async fn ended(mut command: Command) -> Output {
    tokio::time::timeout(3 * PATIENCE, command.output()).await.expect("docket ends").unwrap()
}

/// Pastes lines of the documentation into a shell that has `docket` in its path and a private PostgreSQL in that folder.
pub async fn pasted_at_home(folder: &Path, lines: &str) -> Output {
    let docket = at_home(folder, &[]);
    let settings = docket.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut path = Path::new(env!("CARGO_BIN_EXE_docket")).parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", lines])
        .env_clear()
        .envs(settings)
        .env("PATH", path)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    ended(shell).await
}

/// A `docket postgres` that was killed ends with this test at the latest.
pub struct BareServer {
    child: Child,
    /// The first line that it printed.
    pub told: String,
}

impl BareServer {
    /// Starts it and waits until it says where it is.
    pub async fn at_home(folder: &Path) -> Self {
        let mut command = at_home(folder, &["postgres"]);
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("docket postgres is ready");
        Self { child, told: told.unwrap().expect("docket postgres says where it is") }
    }

    /// SIGTERM, and how it ended.
    #[cfg(unix)]
    pub async fn terminate(self) -> ExitStatus {
        terminated(self.child, PATIENCE).await
    }
}

/// On a port that is free.
const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

/// A `docket serve` that was killed ends with this test at the latest.
pub struct Served {
    child: Child,
    said: Arc<Mutex<String>>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Served {
    /// Starts `docket serve` and waits until it listens.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, &[]).await
    }

    /// The same with more settings.
    pub async fn start_with(database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut command = docket(database, &database.url(), &SERVE);
        command.envs(settings.iter().copied());
        Self::listening(command).await
    }

    /// The same with a private PostgreSQL in that folder.
    pub async fn at_home(folder: &Path) -> Self {
        Self::listening(at_home(folder, &SERVE)).await
    }

    async fn listening(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let keep = |line: &str| {
            let mut said = said.lock().unwrap();
            said.push_str(line);
            said.push('\n');
        };
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                keep(&line);
                let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = event["fields"]["address"].as_str() {
                    return address.parse().unwrap();
                }
            }
            panic!("docket serve ended: {}", said.lock().unwrap());
        };
        let address = tokio::time::timeout(PATIENCE, listening).await.expect("docket serve listens");
        let logged = said.clone();
        // A full pipe would hold the process up.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut logged = logged.lock().unwrap();
                logged.push_str(&line);
                logged.push('\n');
            }
        });
        Self { child, said, address }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Its memory, in kilobytes.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().expect("the server runs"));
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGTERM, and how it ended within the given time.
    #[cfg(unix)]
    pub async fn terminate(self, within: std::time::Duration) -> ExitStatus {
        terminated(self.child, within).await
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

#[cfg(unix)]
async fn terminated(mut child: Child, within: std::time::Duration) -> ExitStatus {
    let id = i32::try_from(child.id().expect("the server runs")).unwrap();
    let process = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    tokio::time::timeout(within, child.wait()).await.expect("the server drains in time").unwrap()
}

/// A `docket mcp`, spoken to over its standard input and output.
pub struct Spoken {
    child: Child,
    answers: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Spoken {
    /// Starts it in the name of a token and begins a conversation of revision 2025-11-25.
    pub async fn begin(
        database: &Database,
        token: &str,
        capabilities: serde_json::Value,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut child = docket(database, &database.url(), &["mcp"])
            .env("DOCKET_TOKEN", token)
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut spoken = Self { child, answers };
        let client = serde_json::json!({ "name": "test", "version": "1" });
        let params = serde_json::json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client,
        });
        spoken.say(serde_json::json!({ "id": 0, "method": "initialize", "params": params })).await;
        assert_eq!(spoken.hear().await["id"], 0);
        spoken.say(serde_json::json!({ "method": "notifications/initialized" })).await;
        spoken
    }

    /// Sends a message.
    pub async fn say(&mut self, mut message: serde_json::Value) {
        message["jsonrpc"] = "2.0".into();
        self.say_line(message.to_string().as_bytes()).await;
    }

    /// Sends a line, whatever it says.
    pub async fn say_line(&mut self, line: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(&[line, b"\n"].concat()).await.unwrap();
    }

    /// The next message.
    pub async fn hear(&mut self) -> serde_json::Value {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await.expect("an answer in time");
        serde_json::from_str(&line.unwrap().expect("the conversation goes on")).unwrap()
    }
}

/// Runs a script on lines of text; its standard output and standard error, and how it ended.
pub async fn python(script: &str, arguments: &[&str], input: &[u8]) -> (ExitStatus, String) {
    let path = format!("{}/tests/audit/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("python3")
        .arg(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the audit's script needs python3");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = tokio::spawn(async move {
        // A script that has seen enough stops reading.
        let _ = stdin.write_all(&input).await;
    });
    let output = tokio::time::timeout(3 * PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    feeding.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8(said).unwrap())
}
