//! The cluster: the folder that holds the private server's data, and how it comes to be.
//!
//! `postgres` in the data directory is the cluster, or a link to it, or does not exist; there is no
//! fourth state. A new one is made under another name and renamed when it is whole, so that a crash
//! at any moment leaves either nothing or a cluster.
//!
//! As root there is one difficulty. The server runs as another user, who can often not enter the
//! data directory: root's home is closed, and rightly so. Then the cluster is made in a folder
//! outside, below `/var/lib`, and `postgres` is a link to it. Opening root's home instead would
//! change what the operator has not asked about.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::account::{Account, command, own_uid};
use super::binaries::Installation;
use super::child::Child;
use super::log::Log;
use super::{PostgresError, file_error};

/// The cluster's name in the data directory.
const NAME: &str = "postgres";
/// What the names of unfinished clusters begin with.
const UNFINISHED: &str = "postgres.new-";
/// The user and the database within the cluster.
pub const DOCKET: &str = "docket";
/// From this version on, the server brings its own locales instead of borrowing the system's.
const BUILTIN_LOCALES_MAJOR: u32 = 17;
/// `initdb` takes a second on a laptop; most of it waits for the disk.
const INITDB_LIMIT: Duration = Duration::from_secs(120);

/// A whole cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its folder, with links resolved.
    pub folder: PathBuf,
    /// The major version that made it, and alone can run it.
    pub major: u32,
    /// Who may run it; `None` means ourselves.
    pub account: Option<Account>,
}

/// Finds the cluster of a data directory.
pub fn locate(data_dir: &Path) -> Result<Option<Cluster>, PostgresError> {
    let entry = data_dir.join(NAME);
    let folder = match fs::canonicalize(&entry) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::read_link(&entry) {
                Ok(target) => Err(PostgresError::ClusterGone { link: entry, target }),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(file_error("read", &entry)(error)),
    };

    let metadata = fs::metadata(&folder).map_err(file_error("read", &folder))?;
    let (owner, own) = (metadata.uid(), own_uid());
    if own != 0 && owner != own {
        return Err(PostgresError::ForeignCluster { path: folder, owner, own });
    }
    let version = match fs::read_to_string(folder.join("PG_VERSION")) {
        Ok(version) => version,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(&folder).map_err(file_error("read", &folder))?;
            // An empty folder may have been made in advance; there is nothing in it to lose.
            return match entries.next() {
                None => Ok(None),
                Some(_) => Err(PostgresError::NotACluster { path: folder }),
            };
        }
        Err(error) => {
            return Err(file_error("read the version of the cluster in", &folder)(error));
        }
    };
    let Ok(major) = version.trim().parse() else {
        return Err(PostgresError::NotACluster { path: folder });
    };

    let account = match (own, owner) {
        (0, 0) => {
            // Copied back by root, who forgot to keep the owner.
            let account = Account::for_new_cluster(data_dir)?;
            if let Some(account) = &account {
                give(&folder, account)?;
            }
            account
        }
        (0, _) => Some(Account::owning(owner, metadata.gid())),
        _ => None,
    };
    Ok(Some(Cluster { folder, major, account }))
}

/// Makes the cluster of a data directory that has none. The caller holds the directory's lock.
pub async fn create(
    data_dir: &Path,
    outside: &Path,
    account: Option<&Account>,
    installation: &Installation,
) -> Result<(), PostgresError> {
    sweep(data_dir, outside);
    let unfinished = match account {
        None => make_folder(data_dir, UNFINISHED, None)?,
        Some(account) if can_enter(account, data_dir, installation)?.is_none() => {
            make_folder(data_dir, UNFINISHED, Some(account))?
        }
        Some(account) => make_outside(data_dir, outside, account, installation)?,
    };
    // The server's user may not be able to take the way through the link.
    let folder = fs::canonicalize(&unfinished).map_err(file_error("read", &unfinished))?;
    initdb(&folder, account, installation).await?;

    let entry = data_dir.join(NAME);
    // Removes nothing but an empty folder. If that is not what is in the way, the next line tells.
    let _ = fs::remove_dir(&entry);
    fs::rename(&unfinished, &entry).map_err(file_error("rename the new cluster to", &entry))?;
    let synced = File::open(data_dir).and_then(|folder| folder.sync_all());
    synced.map_err(file_error("write", data_dir))
}

/// The topmost folder that closes `path` to the account, or `None` if nothing does.
pub fn can_enter(
    account: &Account,
    path: &Path,
    installation: &Installation,
) -> Result<Option<PathBuf>, PostgresError> {
    account.closed_folder(path, &installation.postgres()).map_err(file_error("enter", path))
}

/// Makes the folder, shared by all data directories of this machine, that the server's user can
/// reach where it cannot reach the data directory.
pub fn prepare_outside(outside: &Path) -> Result<(), PostgresError> {
    if outside.is_dir() {
        return Ok(());
    }
    let mode = fs::Permissions::from_mode(0o711);
    let made = fs::create_dir_all(outside).and_then(|()| fs::set_permissions(outside, mode));
    made.map_err(file_error("make the folder", outside))
}

/// Makes an empty folder outside and a link to it in the data directory, in this order: a link only
/// ever points to a folder that was made for it.
fn make_outside(
    data_dir: &Path,
    outside: &Path,
    account: &Account,
    installation: &Installation,
) -> Result<PathBuf, PostgresError> {
    prepare_outside(outside)?;
    if let Some(folder) = can_enter(account, outside, installation)? {
        return Err(PostgresError::ClosedFolder { account: account.name.clone(), folder });
    }
    let target = make_folder(outside, &name_outside(data_dir), Some(account))?;
    tracing::warn!(
        "the private PostgreSQL's cluster is in {}, because its user {} may not enter {}",
        target.display(),
        account.name,
        data_dir.display()
    );
    numbered(data_dir, UNFINISHED, |link| symlink(&target, link))
        .map_err(file_error("make a link in", data_dir))
}

/// Makes an empty folder that is closed to everyone but the server's user.
fn make_folder(parent: &Path, prefix: &str, account: Option<&Account>) -> Result<PathBuf, PostgresError> {
    let folder = numbered(parent, prefix, |path| DirBuilder::new().mode(0o700).create(path))
        .map_err(file_error("make a folder in", parent))?;
    if let Some(account) = account {
        lchown(&folder, Some(account.uid), Some(account.gid))
            .map_err(file_error("give to the server's user", &folder))?;
    }
    Ok(folder)
}

/// Makes something under the first number that is free.
fn numbered(parent: &Path, prefix: &str, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let mut number: u32 = 0;
    loop {
        let path = parent.join(format!("{prefix}{number}"));
        match make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX => {
                number += 1;
            }
            made => return made.map(|()| path),
        }
    }
}

/// Tells an administrator which data directory a folder outside belongs to.
fn name_outside(data_dir: &Path) -> String {
    const LENGTH_MAX: usize = 60;
    let path = data_dir.to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: Vec<char> = path.chars().map(plain).collect();
    let end = &name[name.len().saturating_sub(LENGTH_MAX)..];
    let name: String = end.iter().collect();
    format!("{}-", name.trim_matches('-'))
}

/// Removes what an interrupted start left unfinished. What resists is left alone: it is in nobody's
/// way, because new clusters are made under a name that is free.
fn sweep(data_dir: &Path, outside: &Path) {
    let Ok(entries) = fs::read_dir(data_dir) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        let path = entry.path();
        let removed = match fs::read_link(&path) {
            Ok(target) if target.parent() == Some(outside) => {
                // If the target stays, so does the link that tells of it.
                fs::remove_dir_all(target).and_then(|()| fs::remove_file(&path))
            }
            Ok(_) => fs::remove_file(&path),
            Err(_) => fs::remove_dir_all(&path),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "could not remove the unfinished cluster {}", path.display());
        }
    }
}

async fn initdb(
    folder: &Path,
    account: Option<&Account>,
    installation: &Installation,
) -> Result<(), PostgresError> {
    tracing::info!("making a PostgreSQL {} cluster", installation.version.major);
    // Bytes are compared as bytes, so that no update of the system's libraries can ever reorder an
    // index; letters know their upper and lower case all the same.
    let unicode: &[&str] = if installation.version.major >= BUILTIN_LOCALES_MAJOR {
        &["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    } else {
        &["--lc-ctype=C.UTF-8"]
    };
    let output = match run_initdb(folder, account, installation, unicode).await? {
        None => return Ok(()),
        Some(output) => output,
    };
    if !output.contains("locale name") {
        return Err(PostgresError::InitdbFailed { output });
    }
    tracing::warn!("this system has no locale C.UTF-8: only ASCII letters will know their case");
    match run_initdb(folder, account, installation, &[]).await? {
        None => Ok(()),
        Some(output) => Err(PostgresError::InitdbFailed { output }),
    }
}

/// Runs `initdb` once, and returns what it said if it failed.
async fn run_initdb(
    folder: &Path,
    account: Option<&Account>,
    installation: &Installation,
    locale: &[&str],
) -> Result<Option<String>, PostgresError> {
    let program = installation.initdb();
    let mut making = command(&program, account);
    making.arg("--pgdata").arg(folder);
    making.args(["--username", DOCKET, "--encoding=UTF8", "--locale=C"]).args(locale);
    // Who can reach the socket is let in; the folder that holds the socket is the lock.
    making.args(["--auth-local=trust", "--auth-host=reject"]);
    making.args(["--data-checksums", "--no-instructions"]);

    let said = Log::in_memory();
    let child = Child::spawn(making, Signal::KILL, &said).map_err(file_error("run", &program))?;
    match tokio::time::timeout(INITDB_LIMIT, child.ended()).await {
        Ok(Some(status)) if status.success() => Ok(None),
        Ok(_) => Ok(Some(said.tail())),
        Err(_) => {
            child.signal(Signal::KILL);
            Err(PostgresError::InitdbSlow { limit: INITDB_LIMIT })
        }
    }
}

/// Hands a whole folder to the server's user, itself last, so that an interrupted try is repeated.
fn give(folder: &Path, account: &Account) -> Result<(), PostgresError> {
    for entry in fs::read_dir(folder).map_err(file_error("read", folder))? {
        let entry = entry.map_err(file_error("read", folder))?;
        let path = entry.path();
        if entry.file_type().map_err(file_error("read", &path))?.is_dir() {
            give(&path, account)?;
        } else {
            lchown(&path, Some(account.uid), Some(account.gid))
                .map_err(file_error("give to the server's user", &path))?;
        }
    }
    lchown(folder, Some(account.uid), Some(account.gid))
        .map_err(file_error("give to the server's user", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_with_a_version_is_a_cluster_and_only_an_empty_one_is_none() {
        let rows = [
            (None, Ok(None)),
            (Some(("PG_VERSION", "15\n")), Ok(Some(15))),
            (Some(("PG_VERSION", "")), Err("not a cluster")),
            (Some(("PG_VERSION", "9.6\n")), Err("not a cluster")),
            (Some(("letters.txt", "of great worth")), Err("not a cluster")),
        ];
        for (file, expected) in rows {
            let data_dir = tempfile::tempdir().unwrap();
            let folder = data_dir.path().join(NAME);
            fs::create_dir(&folder).unwrap();
            if let Some((name, text)) = file {
                fs::write(folder.join(name), text).unwrap();
            }
            let found = match locate(data_dir.path()) {
                Ok(found) => Ok(found.map(|cluster| cluster.major)),
                Err(PostgresError::NotACluster { .. }) => Err("not a cluster"),
                Err(other) => panic!("{file:?}: {other}"),
            };
            assert_eq!(found, expected, "{file:?}");
        }
    }

    #[test]
    fn a_link_to_a_cluster_that_is_gone_is_not_taken_for_an_empty_database() {
        let data_dir = tempfile::tempdir().unwrap();
        assert!(locate(data_dir.path()).unwrap().is_none());
        symlink(data_dir.path().join("gone"), data_dir.path().join(NAME)).unwrap();
        assert!(matches!(locate(data_dir.path()), Err(PostgresError::ClusterGone { .. })));
    }

    #[test]
    fn what_an_interrupted_start_left_is_removed_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let (data_dir, outside) = (temp.path().join("data"), temp.path().join("outside"));
        for folder in ["data/postgres.new-0/base", "data/other", "outside/ours-0", "elsewhere"] {
            fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        symlink(outside.join("ours-0"), data_dir.join("postgres.new-1")).unwrap();
        symlink(temp.path().join("elsewhere"), data_dir.join("postgres.new-2")).unwrap();

        sweep(&data_dir, &outside);

        let left = |folder: &Path| -> Vec<_> {
            let entries = fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(left(&data_dir), ["other"]);
        assert!(left(&outside).is_empty());
        assert!(temp.path().join("elsewhere").exists());
    }

    #[test]
    fn a_folder_outside_is_named_after_its_data_directory() {
        let rows = [("/root/.local/share/docket", "root--local-share-docket-"), ("/d\u{e9}/x", "d--x-")];
        for (data_dir, name) in rows {
            assert_eq!(name_outside(Path::new(data_dir)), name);
        }
        assert!(name_outside(Path::new(&format!("/{}", "x".repeat(300)))).len() <= 61);
    }
}
