//! Reading the hooks' file: a plain file of a bounded size, in the folder in which it is named.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::HookRefusal;

/// Bytes of the file, at most.
pub const BYTES_MAX: u64 = 256 * 1024;
/// How long reading may take: the folder may be on a network.
const WITHIN: Duration = Duration::from_secs(5);

/// The text of a file, and its hash.
#[derive(Debug)]
pub struct Text {
    /// The text; empty where there is no file.
    pub text: String,
    /// SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
}

/// Reads the file; one that does not exist is empty.
pub async fn read(path: Option<PathBuf>) -> Result<Text, HookRefusal> {
    let reading = tokio::task::spawn_blocking(move || path.map_or(Ok(vec![]), |path| bytes_of(&path)));
    let bytes = match tokio::time::timeout(WITHIN, reading).await {
        Ok(read) => read.unwrap_or(Err(HookRefusal::Unreadable))?,
        Err(_) => return Err(HookRefusal::TooSlow),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let text = String::from_utf8(bytes).map_err(|_| HookRefusal::NotUtf8)?;
    Ok(Text { text, sha256 })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, HookRefusal> {
    let missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let unreadable = |error: std::io::Error| {
        tracing::warn!(error = %error, "the hooks' file cannot be read");
        HookRefusal::Unreadable
    };
    let target = match path.canonicalize() {
        Ok(target) => target,
        // A link that leads nowhere is a mistake, and not the same as no file.
        Err(error) if missing(&error) && std::fs::symlink_metadata(path).is_err() => return Ok(vec![]),
        Err(error) => return Err(unreadable(error)),
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Whoever may write into the folder could otherwise have any file of this machine read and its lines told back.
    if !target.starts_with(folder.canonicalize().map_err(unreadable)?) {
        return Err(HookRefusal::OutsideFolder);
    }
    // A pipe or a device would keep the reader for ever.
    if !target.metadata().map_err(unreadable)?.is_file() {
        return Err(HookRefusal::NotAFile);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&target).map_err(unreadable)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX { Err(HookRefusal::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_plain_file_of_the_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("hooks.yaml");
        let read_it = || async { read(Some(named.clone())).await.map(|text| text.text) };
        assert_eq!(read(None).await.unwrap().text, "");
        assert_eq!(read_it().await.unwrap(), "");
        std::fs::write(&named, "hooks: []\n").unwrap();
        assert_eq!(read_it().await.unwrap(), "hooks: []\n");
        std::fs::write(&named, [b'h', 0xff]).unwrap();
        assert!(matches!(read_it().await, Err(HookRefusal::NotUtf8)));
        std::fs::write(&named, "#".repeat(BYTES_MAX as usize)).unwrap();
        assert_eq!(read_it().await.unwrap().len(), BYTES_MAX as usize);
        std::fs::write(&named, "#".repeat(BYTES_MAX as usize + 1)).unwrap();
        assert!(matches!(read_it().await, Err(HookRefusal::TooLarge)));
        std::fs::remove_file(&named).unwrap();
        std::fs::create_dir(&named).unwrap();
        assert!(matches!(read_it().await, Err(HookRefusal::NotAFile)));
        std::fs::remove_dir(&named).unwrap();
        #[cfg(unix)]
        {
            let other = outside.path().join("other.yaml");
            std::fs::write(&other, "hooks: []\n").unwrap();
            std::os::unix::fs::symlink(&other, &named).unwrap();
            assert!(matches!(read_it().await, Err(HookRefusal::OutsideFolder)));
            std::fs::remove_file(&named).unwrap();
            std::os::unix::fs::symlink(outside.path().join("none"), &named).unwrap();
            assert!(matches!(read_it().await, Err(HookRefusal::Unreadable)));
            std::fs::remove_file(&named).unwrap();
            // As a mounted configuration does it: a link to a folder beside the file.
            std::fs::create_dir(folder.path().join("v1")).unwrap();
            std::fs::write(folder.path().join("v1/hooks.yaml"), "# v1\n").unwrap();
            std::os::unix::fs::symlink("v1/hooks.yaml", &named).unwrap();
            assert_eq!(read_it().await.unwrap(), "# v1\n");
        }
    }
}
