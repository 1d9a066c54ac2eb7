//! An upload on its way to disk.
//!
//! The reader must see a file twice: once to learn how it is encoded, once to read it. A request body can be
//! seen once, so it is spooled to a temporary file that has no name: nobody else can open it, and it is gone
//! with the process. What the first pass has to find out ([`Scan`]) is noted while the bytes pass by, so that
//! a spooled upload is read from disk only once. Memory stays below half a megabyte whatever the size of the
//! upload.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::Instant;

/// The largest upload that is accepted unless the operator says otherwise: 2 GiB.
pub const DEFAULT_LIMIT: u64 = 2 << 30;

/// How fast an upload must be: in every stretch of this length so many bytes, unless it ends before. Whoever is slower holds
/// a place that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The length of a stretch, and the longest that nothing at all may arrive.
    pub within: Duration,
    /// The bytes.
    pub bytes: u64,
}

/// How much is gathered in memory before it is handed to a blocking write.
const BATCH: usize = 256 * 1024;

/// Why an upload was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the upload was interrupted before its end")]
    Interrupted,
    #[error("less than {} bytes arrived within {} seconds", .pace.bytes, .pace.within.as_secs())]
    Stalled { pace: Pace },
    #[error("there is no room left for the upload")]
    NoRoom,
    #[error("the upload could not be written")]
    Io(#[source] io::Error),
}

impl SpoolError {
    /// The code under which a client finds this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            SpoolError::TooLarge { .. } => "FILE_TOO_LARGE",
            SpoolError::Interrupted => "UPLOAD_INTERRUPTED",
            SpoolError::Stalled { .. } => "UPLOAD_STALLED",
            SpoolError::NoRoom => "STORAGE_FULL",
            SpoolError::Io(_) => "UPLOAD_NOT_WRITTEN",
        }
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::NoRoom,
            _ => SpoolError::Io(error),
        }
    }
}

/// An unnamed temporary file being filled. Dropping it deletes what was written.
#[derive(Debug)]
pub struct Spool {
    file: File,
    limit: u64,
    written: u64,
    scanner: Scanner,
}

/// A complete upload: the file, and what is known of its bytes. Give it to
/// [`open_scanned`](super::open_scanned).
#[derive(Debug)]
pub struct Spooled {
    pub file: File,
    pub scan: Scan,
}

impl Spool {
    /// A spool in `folder`, which should be on a disk with room for `limit` bytes.
    pub fn create_in(folder: &Path, limit: u64) -> Result<Spool, SpoolError> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Spool { file, limit, written: 0, scanner: Scanner::default() })
    }

    /// Append a piece of the upload. Blocks on the disk: async callers use [`receive`].
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SpoolError> {
        let limit = self.limit;
        self.written += chunk.len() as u64;
        if self.written > limit {
            return Err(SpoolError::TooLarge { limit });
        }
        self.file.write_all(chunk)?;
        self.scanner.feed(chunk);
        Ok(())
    }

    /// The upload has ended.
    pub fn finish(mut self) -> Result<Spooled, SpoolError> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Spooled { file: self.file, scan: self.scanner.finish() })
    }
}

/// Spool a whole request body without blocking the runtime. Gives up on one that falls behind `pace`.
///
/// The limit is judged as chunks arrive, so that an endless body is refused at the limit and not at its end.
pub async fn receive<S, E>(mut spool: Spool, body: S, pace: Pace) -> Result<Spooled, SpoolError>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut body = pin!(body);
    let mut batch = Vec::with_capacity(BATCH);
    let (mut until, mut arrived) = (Instant::now() + pace.within, 0);
    loop {
        let next = tokio::time::timeout_at(until, body.next()).await;
        match next.map_err(|_| SpoolError::Stalled { pace })? {
            Some(Ok(chunk)) => {
                arrived += chunk.len() as u64;
                if arrived >= pace.bytes {
                    (until, arrived) = (Instant::now() + pace.within, 0);
                }
                batch.extend_from_slice(&chunk);
                if batch.len() >= BATCH {
                    (spool, batch) = blocking(move || {
                        spool.write(&batch)?;
                        batch.clear();
                        Ok((spool, batch))
                    })
                    .await?;
                }
            }
            Some(Err(_)) => return Err(SpoolError::Interrupted),
            None => {
                return blocking(move || {
                    spool.write(&batch)?;
                    spool.finish()
                })
                .await;
            }
        }
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> impl Future<Output = Result<T, SpoolError>> {
    let task = tokio::task::spawn_blocking(work);
    async { task.await.unwrap_or_else(|stopped| Err(SpoolError::Io(io::Error::other(stopped)))) }
}

/// What one pass over the bytes of a file tells about its encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Size of the file.
    pub bytes: u64,
    /// Well-formed UTF-8 sequences of two bytes or more.
    pub multibyte: u64,
    /// Maximal byte sequences that are not UTF-8.
    pub malformed: u64,
    /// Where the first of them starts.
    pub first_malformed: Option<u64>,
    /// NUL bytes: plenty in UTF-16, a defect elsewhere.
    pub nuls: u64,
}

impl Scan {
    /// Scan a file that is already on disk, from its beginning, and leave it there.
    pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Scan> {
        file.seek(SeekFrom::Start(0))?;
        let mut scanner = Scanner::default();
        let mut buffer = vec![0; BATCH];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => scanner.feed(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(scanner.finish())
    }

    pub fn is_utf8(&self) -> bool {
        self.malformed == 0
    }
}

/// Judges UTF-8 across chunk borders: an unfinished sequence of at most three bytes is carried over.
#[derive(Debug, Default)]
struct Scanner {
    scan: Scan,
    carried: Vec<u8>,
}

impl Scanner {
    fn feed(&mut self, mut chunk: &[u8]) {
        self.scan.nuls += memchr::memchr_iter(0, chunk).count() as u64;
        while !self.carried.is_empty() {
            let Some((first, rest)) = chunk.split_first() else {
                return;
            };
            // A byte at a time is enough: at most three are ever needed to settle what was carried.
            match std::str::from_utf8(&[&self.carried[..], &[*first]].concat()) {
                Ok(_) => {
                    self.scan.multibyte += 1;
                    self.scan.bytes += self.carried.len() as u64 + 1;
                    self.carried.clear();
                    chunk = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.carried.push(*first);
                    chunk = rest;
                }
                // The new byte is not part of the broken sequence: it is judged again below.
                Err(_) => self.drop_carried(),
            }
        }
        while !chunk.is_empty() {
            match std::str::from_utf8(chunk) {
                Ok(_) => {
                    self.valid(chunk);
                    return;
                }
                Err(error) => {
                    let (valid, rest) = chunk.split_at(error.valid_up_to());
                    self.valid(valid);
                    let Some(length) = error.error_len() else {
                        self.carried.extend_from_slice(rest);
                        return;
                    };
                    self.malformed(length);
                    chunk = &rest[length..];
                }
            }
        }
    }

    fn finish(mut self) -> Scan {
        if !self.carried.is_empty() {
            self.drop_carried();
        }
        self.scan
    }

    fn valid(&mut self, text: &[u8]) {
        self.scan.bytes += text.len() as u64;
        self.scan.multibyte += text.iter().filter(|byte| **byte >= 0xC0).count() as u64;
    }

    fn malformed(&mut self, length: usize) {
        self.scan.first_malformed.get_or_insert(self.scan.bytes);
        self.scan.malformed += 1;
        self.scan.bytes += length as u64;
    }

    fn drop_carried(&mut self) {
        self.malformed(self.carried.len());
        self.carried.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Scan {
        Scan::of(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn a_scan_counts_what_decides_the_encoding() {
        for (bytes, multibyte, malformed, first, nuls) in [
            (&b""[..], 0, 0, None, 0),
            (b"plain", 0, 0, None, 0),
            ("é€😀".as_bytes(), 3, 0, None, 0),
            (b"caf\xe9;", 0, 1, Some(3), 0),
            (b"caf\xc3\xa9 caf\xe9", 1, 1, Some(9), 0),
            (b"cut \xe2\x82", 0, 1, Some(4), 0),
            (b"a\0b\0", 0, 0, None, 2),
        ] {
            let expected =
                Scan { bytes: bytes.len() as u64, multibyte, malformed, first_malformed: first, nuls };
            assert_eq!(scan(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_scan_does_not_depend_on_where_chunks_end(
            pieces in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..6),
                "[é€😀a;]{0,4}".prop_map(String::into_bytes),
            ], 0..12)
        ) {
            let mut scanner = Scanner::default();
            for piece in &pieces {
                scanner.feed(piece);
            }
            prop_assert_eq!(scanner.finish(), scan(&pieces.concat()));
        }
    }

    #[test]
    fn a_spool_refuses_the_first_byte_over_its_limit() {
        let mut spool = Spool::create_in(&std::env::temp_dir(), 4).unwrap();
        spool.write(b"1234").unwrap();
        assert!(matches!(spool.write(b"5"), Err(SpoolError::TooLarge { limit: 4 })));
    }

    const PACE: Pace = Pace { within: Duration::from_secs(30), bytes: 3_000 };

    fn new_spool() -> Spool {
        Spool::create_in(&std::env::temp_dir(), DEFAULT_LIMIT).unwrap()
    }

    #[tokio::test]
    async fn a_body_arrives_on_disk_as_it_was_sent() {
        let chunk = Bytes::from(vec![b'x'; 100_000]);
        let body = stream::iter((0..20).map(|_| Ok::<_, io::Error>(chunk.clone())));
        let mut spooled = receive(new_spool(), body, PACE).await.unwrap();
        let mut text = Vec::new();
        spooled.file.read_to_end(&mut text).unwrap();
        assert_eq!(text, vec![b'x'; 2_000_000]);
        assert_eq!(spooled.scan.bytes, 2_000_000);
    }

    #[tokio::test]
    async fn an_endless_body_is_refused_at_the_limit() {
        let spool = Spool::create_in(&std::env::temp_dir(), 1_000_000).unwrap();
        let body = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 4096])));
        assert!(matches!(receive(spool, body, PACE).await, Err(SpoolError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_a_file() {
        let body = stream::iter([Ok(Bytes::from_static(b"email\n")), Err(io::Error::other("reset"))]);
        assert!(matches!(receive(new_spool(), body, PACE).await, Err(SpoolError::Interrupted)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let body = stream::pending::<Result<Bytes, io::Error>>();
        assert!(matches!(receive(new_spool(), body, PACE).await, Err(SpoolError::Stalled { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_and_a_slow_one_is_not() {
        let every_second = |bytes: usize| {
            stream::iter(vec![bytes; 600]).then(async |bytes| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, io::Error>(Bytes::from(vec![b'x'; bytes]))
            })
        };
        assert!(matches!(
            receive(new_spool(), every_second(99), PACE).await,
            Err(SpoolError::Stalled { .. })
        ));
        assert_eq!(receive(new_spool(), every_second(101), PACE).await.unwrap().scan.bytes, 60_600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_file_need_not_keep_the_pace() {
        let body = stream::once(async { Ok::<_, io::Error>(Bytes::from_static(b"email\n")) });
        assert_eq!(receive(new_spool(), body, PACE).await.unwrap().scan.bytes, 6);
    }
}
