//! Finding the server's programs, `postgres` and `initdb`, on this machine.
//!
//! They are looked for in `PATH` and where the packages of the usual systems put them. Each
//! candidate is asked for its version, as the account that will run it: a program that this account
//! cannot run does not count. For a new cluster the newest wins; an existing cluster can only be
//! run by its own major version.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::OLDEST_MAJOR;
use super::account::{Account, command};
use super::child::Child;
use super::log::Log;

/// Where packages put the programs. One component of each may hold one `*`.
const FOLDERS: [&str; 11] = [
    "/usr/lib/postgresql/*/bin", // Debian, Ubuntu
    "/usr/pgsql-*/bin",          // PostgreSQL's own packages for Red Hat and its kin
    "/usr/lib/postgresql*/bin",  // SUSE, Gentoo
    "/usr/libexec/postgresql*",  // Alpine
    "/usr/bin",                  // Fedora, Arch, when PATH is bare
    "/usr/local/pgsql/bin",      // built from source
    "/usr/local/bin",            // the BSDs
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// Where to look: the whole machine, unless a test narrows it.
#[derive(Debug, Clone)]
pub struct Search {
    /// What the folders of packages are relative to.
    pub root: PathBuf,
    /// The value of `PATH`.
    pub path: Option<OsString>,
}

/// A folder with the programs of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub bin: PathBuf,
    pub version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Installation {
    pub fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    pub fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    /// Asks the programs in `bin` for their version; `None` when they are not both there, or do not
    /// run as `account`.
    pub async fn at(bin: &Path, account: Option<&Account>) -> Option<Installation> {
        let bin = bin.to_owned();
        let mut asking = command(bin.join("postgres"), account);
        asking.arg("--version");
        if !bin.join("initdb").is_file() {
            return None;
        }
        let answer = Log::in_memory();
        let child = Child::spawn(asking, Signal::KILL, &answer).ok()?;
        let Ok(status) = tokio::time::timeout(VERSION_LIMIT, child.ended()).await else {
            child.signal(Signal::KILL);
            return None;
        };
        status.filter(|status| status.success())?;
        Some(Installation { bin, version: Version::parse(&answer.tail())? })
    }
}

impl Version {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.14 (Debian …)`, `… 19beta1`.
    fn parse(answer: &str) -> Option<Version> {
        let number = answer.split("(PostgreSQL) ").nth(1)?;
        let (major, rest) = leading_number(number)?;
        let minor = rest.strip_prefix('.').and_then(leading_number).map_or(0, |(minor, _)| minor);
        Some(Version { major, minor })
    }
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

impl Search {
    /// The machine as it is.
    pub fn machine() -> Search {
        Search { root: PathBuf::from("/"), path: std::env::var_os("PATH") }
    }

    /// The newest installation that `account` can run: of the given major version, or of any that
    /// Docket supports. `fetched` holds the installations that Docket fetched itself.
    pub async fn find(
        &self,
        fetched: &[PathBuf],
        account: Option<&Account>,
        major: Option<u32>,
    ) -> Option<Installation> {
        let mut seen = HashSet::new();
        let mut best: Option<Installation> = None;
        for bin in self.candidates(fetched) {
            if !seen.insert(bin.clone()) {
                continue;
            }
            let Some(found) = Installation::at(&bin, account).await else {
                continue;
            };
            let wanted = match major {
                Some(major) => found.version.major == major,
                None => found.version.major >= OLDEST_MAJOR,
            };
            // Strictly newer: among equals, the one that PATH names first stays.
            if wanted && best.as_ref().is_none_or(|best| found.version > best.version) {
                best = Some(found);
            }
        }
        best
    }

    fn candidates(&self, fetched: &[PathBuf]) -> Vec<PathBuf> {
        let in_path = self.path.iter().flat_map(std::env::split_paths);
        // A relative entry would let the working directory decide what Docket runs.
        let in_path = in_path.filter(|folder| folder.is_absolute()).filter_map(|folder| home_of(&folder));
        let packaged = FOLDERS.iter().flat_map(|pattern| expand(&self.root, pattern));
        in_path.chain(packaged).chain(fetched.iter().cloned()).collect()
    }
}

/// The folder where the `postgres` found in `folder` has its `initdb` beside it: where a symbolic
/// link leads to, or else the folder itself, as for a wrapper script.
fn home_of(folder: &Path) -> Option<PathBuf> {
    let program = fs::canonicalize(folder.join("postgres")).ok()?;
    let home = program.parent()?;
    let home = if home.join("initdb").is_file() { home } else { folder };
    Some(home.to_owned())
}

/// The existing folders that a pattern stands for, with links resolved.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    for component in Path::new(pattern).components() {
        let Component::Normal(name) = component else {
            continue;
        };
        let name = name.to_string_lossy();
        folders = match name.split_once('*') {
            None => folders.iter().map(|folder| folder.join(&*name)).collect(),
            Some((prefix, suffix)) => {
                folders.iter().flat_map(|folder| matching(folder, prefix, suffix)).collect()
            }
        };
    }
    folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).collect()
}

fn matching(folder: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let mut names: Vec<OsString> = names
        .filter(|name| {
            let name = name.to_string_lossy();
            name.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
        })
        .collect();
    names.sort();
    names.iter().map(|name| folder.join(name)).collect()
}

/// What to install, by the name it has on this system: of one major version, or of any.
pub fn package(major: Option<u32>) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    package_on(&release, cfg!(target_os = "macos"), major)
}

fn package_on(os_release: &str, macos: bool, major: Option<u32>) -> String {
    // `ID` and `ID_LIKE` name the system and those it descends from.
    let system = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .find_map(|id| match id {
            "debian" | "ubuntu" => Some(("postgresql-", "")),
            "fedora" | "rhel" | "centos" => Some(("postgresql", "-server")),
            "suse" | "opensuse" => Some(("postgresql", "-server")),
            "alpine" => Some(("postgresql", "")),
            _ => None,
        });
    let (before, after) = if macos { ("postgresql@", "") } else { system.unwrap_or(("PostgreSQL ", "")) };
    match major {
        Some(major) => format!("{before}{major}{after}"),
        None => format!("{before}{OLDEST_MAJOR}{after} or newer"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A machine of its own, in a folder, on which nothing is installed.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Machine {
            let folder = tempfile::tempdir().unwrap();
            // Programs are run as another user when the tests run as root.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            Machine(folder)
        }

        fn install(&self, bin: &str, version: &str) -> PathBuf {
            let bin = self.0.path().join(bin);
            fs::create_dir_all(&bin).unwrap();
            for program in ["postgres", "initdb"] {
                let script = format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n");
                fs::write(bin.join(program), script).unwrap();
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(bin.join(program), mode).unwrap();
            }
            fs::canonicalize(bin).unwrap()
        }

        fn search(&self, path: &[&Path]) -> Search {
            let path = std::env::join_paths(path).unwrap();
            Search { root: self.0.path().to_owned(), path: Some(path) }
        }
    }

    #[tokio::test]
    async fn the_newest_server_wins_unless_a_cluster_needs_another() {
        let machine = Machine::new();
        machine.install("usr/lib/postgresql/14/bin", "14.19");
        let fifteen = machine.install("usr/lib/postgresql/15/bin", "15.14 (Debian 15.14-0+deb12u1)");
        let newer_fifteen = machine.install("usr/pgsql-15/bin", "15.15");
        let nineteen = machine.install("Applications/Postgres.app/Contents/Versions/19/bin", "19beta1");
        let search = machine.search(&[]);

        let account = Account::for_new_cluster(machine.0.path()).unwrap();
        let find = async |major| {
            let found = search.find(&[], account.as_ref(), major).await;
            found.map(|found| found.bin)
        };
        assert_eq!(find(None).await, Some(nineteen));
        assert_eq!(find(Some(15)).await, Some(newer_fifteen.clone()));
        assert_eq!(find(Some(16)).await, None);

        fs::remove_file(newer_fifteen.join("initdb")).unwrap();
        assert_eq!(find(Some(15)).await, Some(fifteen));
    }

    #[tokio::test]
    async fn a_server_that_is_too_old_or_does_not_run_is_none() {
        let machine = Machine::new();
        machine.install("usr/lib/postgresql/14/bin", "14.19");
        let broken = machine.install("usr/lib/postgresql/16/bin", "16.1");
        fs::write(broken.join("postgres"), "#!/bin/sh\nexit 1\n").unwrap();
        machine.install("usr/lib/postgresql/17/bin", "banana");
        assert_eq!(machine.search(&[]).find(&[], None, None).await, None);
    }

    #[tokio::test]
    async fn links_and_wrappers_in_path_lead_to_the_folder_with_both_programs() {
        let machine = Machine::new();
        let real = machine.install("cellar/postgresql/16.2/bin", "16.2");
        let links = machine.0.path().join("links");
        fs::create_dir(&links).unwrap();
        symlink(real.join("postgres"), links.join("postgres")).unwrap();
        let wrappers = machine.install("wrappers", "16.3");

        let rows = [(&links, &real), (&wrappers, &wrappers)];
        for (in_path, expected) in rows {
            let found = machine.search(&[in_path]).find(&[], None, None).await;
            assert_eq!(found.map(|found| found.bin).as_ref(), Some(expected));
        }
        // A relative entry of PATH is never followed.
        let relative = Search { root: machine.0.path().to_owned(), path: Some("links".into()) };
        assert_eq!(relative.find(&[], None, None).await, None);
    }

    #[test]
    fn the_package_has_the_name_the_system_knows() {
        let rows = [
            ("ID=debian\n", false, "postgresql-16"),
            ("NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", false, "postgresql-16"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", false, "postgresql16-server"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", false, "postgresql16-server"),
            ("ID=alpine\n", false, "postgresql16"),
            ("", true, "postgresql@16"),
            ("ID=plan9\n", false, "PostgreSQL 16"),
        ];
        for (release, macos, expected) in rows {
            assert_eq!(package_on(release, macos, Some(16)), expected, "{release}");
        }
        assert_eq!(package_on("ID=debian", false, None), "postgresql-15 or newer");
    }
}
