//! The server that ran on the cluster before: still dying, left behind, or long gone.
//!
//! A server writes `postmaster.pid` into its cluster and removes it when it ends in order. Guests
//! read from it where the socket is. The new owner reads from it whom it has to deal with:
//!
//! - A process that is gone, or of which nothing can be proven: that is left to the new server, which
//!   has a look of its own and refuses to start while it sees one.
//! - A server of this cluster. Nobody owns it, since the lock is ours; usually it is on its way out
//!   because its owner died. It is told to stop, as on a system without death signals nobody else
//!   would, and waited for.
//! - A stranger that was given the same process id since, which in containers is common. A new
//!   server would respect it for ever, so the file is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::Instant;

use super::{PostgresError, file_error};

/// How long it may take over a fast shutdown, and then once more over an immediate one.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// What `postmaster.pid` tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Postmaster {
    pub pid: i32,
    pub port: u16,
    pub socket: PathBuf,
    /// Whether it accepts connections, rather than starting, recovering or stopping.
    pub ready: bool,
}

/// Reads the file; `None` when there is none, or when it is not written to its end yet.
pub fn read(cluster: &Path) -> Result<Option<Postmaster>, PostgresError> {
    match read_file(cluster)? {
        Some(text) => Ok(parse(&text)),
        None => Ok(None),
    }
}

fn read_file(cluster: &Path) -> Result<Option<String>, PostgresError> {
    let path = file(cluster);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("read", &path)(error)),
    }
}

fn file(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

/// The lines are: process id, data directory, start time, port, socket folder, addresses, shared
/// memory, state. They are written one after the other.
fn parse(text: &str) -> Option<Postmaster> {
    let lines: Vec<&str> = text.lines().collect();
    let [_, _, _, port, socket, _, _, state] = lines[..] else {
        return None;
    };
    let ready = state.trim_end() == "ready";
    Some(Postmaster { pid: parse_pid(text)?, port: port.parse().ok()?, socket: socket.into(), ready })
}

fn parse_pid(text: &str) -> Option<i32> {
    // A server in single-user mode writes its id as a negative number.
    text.lines().next()?.trim().parse::<i32>().ok().and_then(i32::checked_abs)
}

/// Returns when no earlier server is in the way any more. The caller holds the lock.
pub async fn settle(cluster: &Path) -> Result<(), PostgresError> {
    let begun = Instant::now();
    let mut told = None;
    while let Some(pid) = read_file(cluster)?.as_deref().and_then(parse_pid) {
        match identify(pid, cluster) {
            Suspect::Unproven => return Ok(()),
            Suspect::Stranger => {
                tracing::info!("removing a stale postmaster.pid that names a stranger, {pid}");
                let path = file(cluster);
                return fs::remove_file(&path).map_err(file_error("remove", &path));
            }
            Suspect::Server if begun.elapsed() > 2 * STOP_LIMIT => {
                return Err(PostgresError::StillRunning { pid, cluster: cluster.to_owned() });
            }
            Suspect::Server => {
                // Fast first; it ends its connections and writes its pages. Immediate at last: it
                // ends as in a crash, and the next start recovers.
                let urgent = begun.elapsed() > STOP_LIMIT;
                if told != Some(urgent) {
                    tracing::info!("stopping the PostgreSQL left behind as process {pid}");
                    signal(pid, if urgent { Signal::QUIT } else { Signal::INT });
                    told = Some(urgent);
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid)
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(%error, "could not signal process {pid}");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Suspect {
    /// Proven to run on this cluster.
    Server,
    /// Proven not to.
    Stranger,
    /// Gone, or out of our sight: it is neither signalled nor overruled.
    Unproven,
}

fn identify(pid: i32, cluster: &Path) -> Suspect {
    let Some(existing) = Pid::from_raw(pid) else { return Suspect::Unproven };
    match rustix::process::test_kill_process(existing) {
        Ok(()) => look_at(pid, cluster),
        Err(_) => Suspect::Unproven,
    }
}

#[cfg(target_os = "linux")]
fn look_at(pid: i32, cluster: &Path) -> Suspect {
    let process = PathBuf::from(format!("/proc/{pid}"));
    // The state follows the program's name, which is in brackets and may itself hold brackets.
    let Ok(stat) = fs::read_to_string(process.join("stat")) else { return Suspect::Unproven };
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        // A zombie waits for a parent to collect it, which in a container may be for ever.
        Some('Z' | 'X') => return Suspect::Stranger,
        Some(_) => {}
        None => return Suspect::Unproven,
    }
    // A server works in its cluster from its first moments to its end.
    match fs::read_link(process.join("cwd")) {
        Ok(folder) if folder == cluster => Suspect::Server,
        Ok(_) => Suspect::Stranger,
        // Not ours to see, as for root in a container. The command line can still prove it.
        Err(_) => {
            let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            judge_by_command(command.split('\0'), cluster)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn look_at(pid: i32, cluster: &Path) -> Suspect {
    let mut asking = super::account::command("/bin/ps", None);
    asking.args(["-o", "command=", "-p", &pid.to_string()]);
    let Ok(answer) = asking.output() else { return Suspect::Unproven };
    let command = String::from_utf8_lossy(&answer.stdout);
    // Arguments are told apart by blanks, of which a path can hold some: then nothing is proven.
    judge_by_command(command.split_whitespace(), cluster)
}

fn judge_by_command<'a>(mut command: impl Iterator<Item = &'a str>, cluster: &Path) -> Suspect {
    let is_server = command.next().is_some_and(|program| program.ends_with("postgres"));
    if is_server && command.any(|argument| Path::new(argument) == cluster) {
        Suspect::Server
    } else {
        Suspect::Unproven
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_whole_file_tells_where_the_server_listens_and_whether_it_is_ready() {
        let start = "71\n/data/postgres\n1755\n5432\n/data/a, b\n\n  5 0\n";
        let found = |ready| Some(Postmaster { pid: 71, port: 5432, socket: "/data/a, b".into(), ready });
        let rows = [
            (format!("{start}ready   \n"), found(true)),
            (format!("{start}starting\n"), found(false)),
            (format!("{start}stopping\n"), found(false)),
            (start.to_owned(), None),
            (String::new(), None),
            (format!("x{start}ready   \n"), None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(&text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_file_that_names_a_living_stranger_is_removed() {
        let cluster = tempfile::tempdir().unwrap();
        let path = file(cluster.path());
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        settle(cluster.path()).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_file_that_names_nobody_is_left_to_the_server() {
        let cluster = tempfile::tempdir().unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        fs::write(file(cluster.path()), format!("{}\n", ended.id())).unwrap();
        settle(cluster.path()).await.unwrap();
        assert!(file(cluster.path()).exists());
    }

    #[test]
    fn only_a_server_of_this_very_cluster_is_told_to_stop() {
        let rows = [
            ("/usr/lib/postgresql/15/bin/postgres -D /data/postgres -c jit=off", Suspect::Server),
            ("/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main", Suspect::Unproven),
            ("/usr/lib/postgresql/15/bin/postgres -D /data/postgres2", Suspect::Unproven),
            ("ls /data/postgres", Suspect::Unproven),
            ("", Suspect::Unproven),
        ];
        for (command, expected) in rows {
            let judged = judge_by_command(command.split(' '), Path::new("/data/postgres"));
            assert_eq!(judged, expected, "{command}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dead_process_that_nobody_collects_does_not_hold_the_cluster() {
        let cluster = tempfile::tempdir().unwrap();
        let zombie = Command::new("true").current_dir(cluster.path()).spawn();
        let mut zombie = zombie.unwrap();
        let pid = Pid::from_child(&zombie);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();

        fs::write(file(cluster.path()), format!("{}\n", zombie.id())).unwrap();
        settle(cluster.path()).await.unwrap();
        assert!(!file(cluster.path()).exists());
        zombie.wait().unwrap();
    }
}
