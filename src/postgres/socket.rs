//! A folder for the server's socket that nobody else can enter.
//!
//! Whoever reaches the socket is let in without a password, so the folder is the lock. The cluster
//! itself is such a folder already, and is used as long as its path leaves room for the socket's
//! name: an address of a Unix socket holds about a hundred bytes. Otherwise the socket goes to a
//! folder below `/tmp`, which is trusted only if it is truly ours.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::account::{Account, own_uid};
use super::{PostgresError, file_error};

/// The server adds this to the name of its socket. It listens on no network, so none is taken.
pub const PORT: u16 = 5432;

/// Linux takes 107 bytes and macOS 103; one bound for all keeps a folder movable between them.
const ADDRESS_BYTES_MAX: usize = 103;

/// Where short paths begin. Not `XDG_RUNTIME_DIR`, which goes away when the user logs out, and not
/// `TMPDIR`, which is long on macOS.
const SHORT: &str = "/tmp";

/// The folder for the socket of the cluster in `cluster`, made if need be.
pub fn folder(cluster: &Path, account: Option<&Account>) -> Result<PathBuf, PostgresError> {
    let address = cluster.join(format!(".s.PGSQL.{PORT}"));
    // The server's settings and its lock file take the path as text.
    if address.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX && cluster.to_str().is_some() {
        return Ok(cluster.to_owned());
    }
    let owner = account.map_or_else(own_uid, |account| account.uid);
    let metadata = fs::metadata(cluster).map_err(file_error("read", cluster))?;
    // A file system and a file on it: as unique as the path, and short.
    let name = format!("docket-{:x}-{:x}", metadata.dev(), metadata.ino());
    below(Path::new(SHORT), &name, owner)
}

fn below(parent: &Path, name: &str, owner: u32) -> Result<PathBuf, PostgresError> {
    let path = parent.join(name);
    let refused = |reason| PostgresError::NoSocketFolder { path: path.clone(), reason };
    // Whoever could rename the folder could put another in its place.
    let parent = fs::metadata(parent).map_err(file_error("read", parent))?;
    if !is_safe_parent(&parent) {
        return Err(refused("other users could replace it"));
    }
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) if owner == own_uid() => {}
        Ok(()) => std::os::unix::fs::lchown(&path, Some(owner), None)
            .map_err(file_error("give to the server's user", &path))?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file_error("make the folder", &path)(error)),
    }
    // A symbolic link is not followed: it is not a folder, and refused.
    let metadata = fs::symlink_metadata(&path).map_err(file_error("read", &path))?;
    if !metadata.is_dir() {
        return Err(refused("it is not a folder"));
    }
    if metadata.uid() != owner {
        return Err(refused("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refused("other users may enter it"));
    }
    Ok(path)
}

fn is_safe_parent(parent: &Metadata) -> bool {
    const STICKY: u32 = 0o1000;
    let trusted_owner = parent.uid() == 0 || parent.uid() == own_uid();
    trusted_owner && (parent.mode() & 0o022 == 0 || parent.mode() & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_short_cluster_path_holds_its_own_socket_and_a_long_one_gets_a_short_folder() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(folder(temp.path(), None).unwrap(), temp.path());

        let long = temp.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let short = folder(&long, None).unwrap();
        assert_eq!(short.parent(), Some(Path::new(SHORT)));
        assert_eq!(fs::metadata(&short).unwrap().mode() & 0o777, 0o700);
        // The next start finds the same one.
        assert_eq!(folder(&long, None).unwrap(), short);
        fs::remove_dir(short).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_truly_ours_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let parent = temp.path();
        fs::write(parent.join("file"), "").unwrap();
        fs::create_dir(parent.join("open")).unwrap();
        mode(&parent.join("open"), 0o755);
        fs::create_dir(parent.join("target")).unwrap();
        mode(&parent.join("target"), 0o700);
        symlink(parent.join("target"), parent.join("link")).unwrap();

        let own = own_uid();
        let rows = [
            ("file", own, "it is not a folder"),
            ("link", own, "it is not a folder"),
            ("open", own, "other users may enter it"),
            ("target", own + 1, "it belongs to another user"),
        ];
        for (name, owner, expected) in rows {
            let refused = below(parent, name, owner).unwrap_err();
            assert!(
                matches!(refused, PostgresError::NoSocketFolder { reason, .. } if reason == expected),
                "{name}: {refused}"
            );
        }
        assert_eq!(below(parent, "target", own).unwrap(), parent.join("target"));

        mode(parent, 0o777);
        assert!(matches!(
            below(parent, "target", own),
            Err(PostgresError::NoSocketFolder { reason: "other users could replace it", .. })
        ));
    }
}
