//! What the server says: kept in a file of bounded size, and its last lines in memory.
//!
//! The server writes into a pipe, and Docket writes the file. So the bound holds whatever happens,
//! the file belongs to Docket's own user even when the server runs as another, and the last lines
//! are at hand when a start fails. The settings see to it that no line holds a statement or a value.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::account::own_uid;

/// The file is moved aside when it would grow beyond this, so that two files of it exist at most.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A longer line is broken, so that a line without end cannot fill the memory.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// How much an error message quotes.
const TAIL_LINES: usize = 12;

/// A handle on the log; clones share it.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: Option<LogFile>,
    tail: VecDeque<String>,
    last_line: Instant,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    /// A log that only remembers its last lines.
    pub fn in_memory() -> Log {
        Log::new(None)
    }

    /// A log that also appends to the file at `path`.
    pub fn in_file(path: &Path) -> io::Result<Log> {
        Ok(Log::new(Some(LogFile::open(path)?)))
    }

    fn new(file: Option<LogFile>) -> Log {
        Log(Arc::new(Mutex::new(Inner { file, tail: VecDeque::new(), last_line: Instant::now() })))
    }

    /// Reads the pipe until every process that writes into it is gone.
    pub fn drain(&self, pipe: PipeReader) {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => self.append(&line),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn append(&self, line: &[u8]) {
        let mut inner = self.lock();
        inner.last_line = Instant::now();
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            if inner.tail.len() == TAIL_LINES {
                inner.tail.pop_front();
            }
            inner.tail.push_back(text.to_owned());
        }
        // A full disk must not stop the server; it loses lines of its log.
        if let Some(file) = &mut inner.file
            && let Err(error) = file.write(line)
        {
            tracing::debug!(%error, "lost a line of the private PostgreSQL's log");
        }
    }

    /// The last lines, oldest first, one below the other.
    pub fn tail(&self) -> String {
        self.lock().tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// How long ago the server last said anything, or the log was opened.
    pub fn quiet_for(&self) -> Duration {
        self.lock().last_line.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every state between two statements above is a valid one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_owned(), file, bytes })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > FILE_BYTES_MAX {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            *self = LogFile::open(&self.path)?;
        }
        self.file.write_all(line)?;
        self.bytes += length;
        Ok(())
    }
}

/// Opens a file of the data directory, made when missing, for its owner alone.
///
/// As root it is given to the owner of the directory: who ran Docket as root once, by accident, can
/// still run it as before.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if own_uid() == 0
        && let Some(folder) = path.parent()
    {
        let owner = std::fs::metadata(folder)?;
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_never_grows_beyond_its_bound_and_one_older_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgres.log");
        let log = Log::in_file(&path).unwrap();
        let line = [b'x'; LINE_BYTES_MAX as usize];
        for _ in 0..3 * FILE_BYTES_MAX / LINE_BYTES_MAX {
            log.append(&line);
        }
        log.append(b"the end\n");

        let sizes = ["postgres.log", "postgres.log.1"]
            .map(|name| std::fs::metadata(folder.path().join(name)).unwrap().len());
        assert!(sizes.iter().all(|size| (1..=FILE_BYTES_MAX).contains(size)), "{sizes:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("the end\n"));
        assert!(log.tail().ends_with("\nthe end"));
    }

    #[test]
    fn a_line_without_end_is_broken_into_bounded_ones() {
        let (reader, mut writer) = io::pipe().unwrap();
        let log = Log::in_memory();
        let reading = {
            let log = log.clone();
            std::thread::spawn(move || log.drain(reader))
        };
        writer.write_all(&vec![b'x'; 3 * LINE_BYTES_MAX as usize]).unwrap();
        drop(writer);
        reading.join().unwrap();
        assert_eq!(log.tail().lines().map(str::len).collect::<Vec<_>>(), [LINE_BYTES_MAX as usize; 3]);
    }
}
