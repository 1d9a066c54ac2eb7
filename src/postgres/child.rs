//! A child process that does not outlive this one.
//!
//! On Linux the kernel sends a child its death signal when the *thread* that spawned it ends, not
//! the process; so each child is spawned on a thread of its own, the keeper, which then waits for
//! it. The signal is forgotten when a process changes its user, so it is set after that, and the
//! parent is looked at once more in case it died before. Other systems have no such signal: there
//! a server survives the sudden death of its owner, and the next owner stops it (see
//! [`super::predecessor`]).
//!
//! A child is also put in a process group of its own: Ctrl-C in a terminal is meant for Docket,
//! which has work to finish while its database still runs.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use super::log::Log;

/// How long the end of a child's output is waited for once the child itself has ended: a process
/// that it left behind may hold the pipe open.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// A running or ended child. Dropping it does nothing: whoever holds it decides how it ends.
#[derive(Debug)]
pub struct Child {
    life: Arc<Life>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

#[derive(Debug)]
struct Life {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The process exists, if only as a zombie: its id cannot have passed to another.
    Running(Pid),
    /// It is gone, but what it last said may not have been read yet.
    Reaped,
    Ended,
}

impl Child {
    /// Spawns `command`, which gets `death_signal` should this process die, and sends all that it
    /// prints to `log`.
    pub fn spawn(command: Command, death_signal: Signal, log: &Log) -> io::Result<Child> {
        let (spawned, spawning) = mpsc::sync_channel(1);
        let (announce, ended) = watch::channel(None);
        let log = log.clone();
        thread::Builder::new().name("postgres-keeper".to_owned()).spawn(move || {
            match start(command, death_signal, log) {
                Ok(child) => {
                    let life = Arc::new(Life {
                        state: Mutex::new(State::Running(child.pid)),
                        changed: Condvar::new(),
                    });
                    // Nobody listening means that the caller is gone; the child is kept anyway.
                    let _ = spawned.send(Ok(Arc::clone(&life)));
                    keep(child, &life, &announce);
                }
                Err(error) => {
                    let _ = spawned.send(Err(error));
                }
            }
        })?;
        let life = spawning.recv().map_err(io::Error::other)??;
        Ok(Child { life, ended })
    }

    /// Its process id, or `None` when it has ended.
    pub fn pid(&self) -> Option<i32> {
        match *self.life.lock() {
            State::Running(pid) => Some(pid.as_raw_pid()),
            State::Reaped | State::Ended => None,
        }
    }

    /// Sends a signal, unless the child has ended.
    pub fn signal(&self, signal: Signal) {
        if let State::Running(pid) = *self.life.lock()
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            tracing::warn!(%error, "could not signal process {pid}");
        }
    }

    /// Blocks until it has ended, for `limit` at most; tells whether it has.
    pub fn wait(&self, limit: Duration) -> bool {
        let running = |state: &mut State| !matches!(state, State::Ended);
        let waited = self.life.changed.wait_timeout_while(self.life.lock(), limit, running);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        matches!(*state, State::Ended)
    }

    /// Resolves when it has ended; `None` if the keeper was lost, which only a panic could do.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }
}

impl Life {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A single value is stored whole; a panic elsewhere cannot have left half of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }
}

/// What the keeper holds of its child.
struct Kept {
    process: std::process::Child,
    pid: Pid,
    /// Closed when all that the child printed has been read.
    last_words: mpsc::Receiver<()>,
}

fn start(mut command: Command, death_signal: Signal, log: Log) -> io::Result<Kept> {
    let (reader, writer) = io::pipe()?;
    let (reading, last_words) = mpsc::channel();
    thread::Builder::new().name("postgres-log".to_owned()).spawn(move || {
        log.drain(reader);
        drop::<mpsc::Sender<()>>(reading);
    })?;

    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    dies_with_parent(&mut command, death_signal);
    let process = command.spawn()?;
    // `command` held our ends of the pipe: they are closed on return, or its end would never come.
    Ok(Kept { pid: Pid::from_child(&process), process, last_words })
}

/// Waits for the child to end. The process is reaped under the lock that [`Child::signal`] takes,
/// so that no signal ever reaches a stranger who was given the same process id.
fn keep(mut child: Kept, life: &Life, announce: &watch::Sender<Option<ExitStatus>>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(child.pid), options) {}
    let status = {
        let mut state = life.lock();
        let status = child.process.wait();
        *state = State::Reaped;
        status
    };
    // Either it closes, or the time is over; the channel carries nothing.
    let _ = child.last_words.recv_timeout(LAST_WORDS_LIMIT);
    // A child that cannot be waited for was reaped by somebody else: it is gone all the same.
    let status = status.unwrap_or_default();
    life.set(State::Ended);
    announce.send_replace(Some(status));
}

#[cfg(target_os = "linux")]
fn dies_with_parent(command: &mut Command, death_signal: Signal) {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(death_signal))?;
        // The parent may have died before the line above, and then nobody sends the signal.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(rustix::io::Errno::SRCH))
        }
    };
    #[allow(unsafe_code, reason = "no safe call sets a death signal in a child")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two
    // plain system calls (prctl and getppid), allocates nothing, takes no lock and cannot panic.
    // It runs after the change of user, which would have cleared what it sets.
    unsafe {
        command.pre_exec(tie);
    }
}

#[cfg(not(target_os = "linux"))]
fn dies_with_parent(_: &mut Command, _: Signal) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn all_that_a_child_said_is_known_when_it_has_ended() {
        let log = Log::in_memory();
        let talking = shell("echo out; echo err >&2; exit 3");
        let child = Child::spawn(talking, Signal::KILL, &log).unwrap();
        assert_eq!(child.ended().await.and_then(|status| status.code()), Some(3));
        assert_eq!(log.tail(), "out\nerr");
    }

    #[test]
    fn a_child_runs_until_it_is_told_otherwise() {
        let endless = shell("exec tail -f /dev/null");
        let child = Child::spawn(endless, Signal::KILL, &Log::in_memory()).unwrap();
        assert!(!child.wait(Duration::ZERO) && child.pid().is_some());
        child.signal(Signal::KILL);
        assert!(child.wait(Duration::from_secs(10)) && child.pid().is_none());
        // A signal after the end goes nowhere.
        child.signal(Signal::KILL);
    }

    #[test]
    fn a_program_that_is_missing_is_an_error_not_a_child() {
        let missing = Child::spawn(Command::new("/nonexistent"), Signal::KILL, &Log::in_memory());
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
