//! The user the server runs as, and the bare environment it runs in.
//!
//! PostgreSQL refuses to run as root. When Docket does, server and `initdb` run as the owner of the
//! data directory, or if that is root too as `postgres`, or as `nobody` where that does not exist.
//! Otherwise they run as Docket's own user. They get next to none of Docket's environment, which may
//! hold the master key and the providers' secrets.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PostgresError, file_error};

/// What the server's programs may need to be found and loaded. `LANG` and its kin are not among
/// them: our own settings fix the language, because messages of the server are recognised by it.
const ENVIRONMENT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LOCPATH"];

/// A user other than our own, as whom only root can run something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// The user id Docket itself runs as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Account {
    /// The account for a new cluster: `None` unless Docket runs as root.
    ///
    /// A data directory that somebody else owns was made for that user, who then owns the cluster
    /// as well and can run Docket without being root.
    pub fn for_new_cluster(data_dir: &Path) -> Result<Option<Account>, PostgresError> {
        if own_uid() != 0 {
            return Ok(None);
        }
        let owner = std::fs::metadata(data_dir).map_err(file_error("read", data_dir))?.uid();
        let passwd = users();
        let account = entries(&passwd)
            .find(|entry| entry.uid == owner && owner != 0)
            .or_else(|| ["postgres", "nobody"].iter().find_map(|name| named(&passwd, name)));
        account.map(Some).ok_or(PostgresError::NoAccount)
    }

    /// The account that owns a cluster: it stays the same one, whoever was installed since.
    pub fn owning(uid: u32, gid: u32) -> Account {
        let name = entries(&users()).find(|entry| entry.uid == uid).map(|entry| entry.name);
        Account { name: name.unwrap_or_else(|| uid.to_string()), uid, gid }
    }

    /// The topmost folder on the way to `path` that this account may not enter, or `None`.
    ///
    /// The kernel is asked by entering each one as that account, so that access lists and security
    /// modules count as well. `program` must be one that the account can run with `--version`.
    pub fn closed_folder(&self, path: &Path, program: &Path) -> io::Result<Option<PathBuf>> {
        let enters = |folder: &Path| {
            let mut entering = command(program, Some(self));
            entering.arg("--version").current_dir(folder);
            match entering.stdout(Stdio::null()).stderr(Stdio::null()).status() {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
                Err(error) => Err(error),
            }
        };
        if enters(path)? {
            return Ok(None);
        }
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        for folder in folders {
            if !enters(folder)? {
                return Ok(Some(folder.to_owned()));
            }
        }
        // It was opened just now.
        Ok(None)
    }
}

/// A command that runs `program` as `account`, or as ourselves, in a bare environment.
pub fn command(program: impl AsRef<OsStr>, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // Our own working directory may be closed to the account, and the server insists on returning
    // to where it was started.
    command.current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        // The standard library also gives up root's supplementary groups.
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// System users are in this file, wherever else people may be kept.
fn users() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

fn named(passwd: &str, name: &str) -> Option<Account> {
    // An account with root's id would defeat its purpose.
    entries(passwd).find(|entry| entry.name == name && entry.uid != 0)
}

fn entries(passwd: &str) -> impl Iterator<Item = Account> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(Account { name, uid, gid })
    })
}

/// Reads a user or group id. macOS writes the topmost ones as negative numbers.
fn id(field: &str) -> Option<u32> {
    field.parse().ok().or_else(|| field.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_the_users_file() {
        let passwd = "# comment\nroot:x:0:0:root:/root:/bin/sh\nbroken:x\n\
                      nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n\
                      postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let rows = [
            ("postgres", Some((101, 104))),
            ("nobody", Some((4_294_967_294, 4_294_967_294))),
            ("root", None),
            ("broken", None),
            ("missing", None),
        ];
        for (name, ids) in rows {
            let found = named(passwd, name).map(|account| (account.uid, account.gid));
            assert_eq!(found, ids, "{name}");
        }
    }
}
