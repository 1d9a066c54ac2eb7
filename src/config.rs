//! What an operator may set: environment variables, and flags of the same names, which win.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::channels::ChannelConfig;
use crate::http::Settings;
use crate::language_model::LanguageModelConfig;
use crate::ledger::seal::Key;
use crate::limits::MaybeRate;
use crate::web_address;

/// What every command needs to reach the database.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The Postgres to use; without it Docket runs a private one in its data folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Where the private Postgres and the key file are kept.
    #[arg(long, env = "DOCKET_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// The key that wraps all others: 32 bytes in base64; default is a file in the data folder.
    #[arg(long, env = "DOCKET_MASTER_KEY", hide_env_values = true, global = true)]
    pub master_key: Option<String>,
    /// What is logged, as in `info` or `docket=debug`.
    #[arg(long, env = "DOCKET_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What a server needs beside it.
#[derive(Clone, Debug, Args)]
pub struct ServeConfig {
    /// The address to listen on.
    #[arg(long, env = "DOCKET_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The address under which the outside reaches this server.
    #[arg(long, env = "DOCKET_PUBLIC_URL", value_parser = reached_at)]
    pub public_url: Option<String>,
    /// Where the providers are, and whom we trust.
    #[command(flatten)]
    pub channels: ChannelConfig,
    /// The language model that fills in qualifications.
    #[command(flatten)]
    pub language_model: LanguageModelConfig,
    /// The file that names the post-issue hooks; default is `post-issue-hooks.yaml` in the data folder.
    #[arg(long, env = "DOCKET_HOOKS_FILE")]
    pub hooks_file: Option<PathBuf>,
    /// Hosts beside that one, and beside this machine's own names, under which `/mcp` may be called.
    #[arg(long = "allow-host", env = "DOCKET_ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call `/mcp`, as in `https://app.example.com:443`; all others may not.
    #[arg(long = "allow-origin", env = "DOCKET_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// How many calls one token may make: in a minute, and at once; `off` for any number.
    #[arg(long, env = "DOCKET_RATE_LIMIT", default_value = "600/100")]
    pub rate_limit: MaybeRate,
}

impl ServeConfig {
    /// The settings of the HTTP surface.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings { rate: self.rate_limit.0, ..Settings::default() };
        if !self.listen.ip().is_unspecified() {
            settings.allowed_hosts.push(self.listen.ip().to_string());
        }
        settings.allowed_hosts.extend(self.allowed_hosts.iter().cloned());
        settings.allowed_origins.extend(self.allowed_origins.iter().cloned());
        match &self.public_url {
            Some(public_url) => settings.reached_at(public_url),
            None => settings,
        }
    }
}

/// An address under which this server is reached: it stands in the links of every e-mail.
fn reached_at(text: &str) -> Result<String, &'static str> {
    web_address::parse(text).map(|_| text.to_owned()).ok_or("is not an http or https address")
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no folder for this user's data.
    #[error("there is no data folder for this user; set DOCKET_DATA_DIR")]
    NoDataDir,
    /// The key is not one.
    #[error("DOCKET_MASTER_KEY is not 32 bytes in base64")]
    BadMasterKey,
    /// The key file is not one.
    #[error("{0} does not hold 32 bytes in base64")]
    BadKeyFile(PathBuf),
    /// A file cannot be read or written.
    #[error("{path} cannot be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Config {
    /// The data folder: the one that is set, else the platform's.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        match &self.data_dir {
            Some(folder) => Ok(folder.clone()),
            // A server's own user may not enter root's home, so root's default is where services keep their data.
            #[cfg(unix)]
            None if rustix::process::geteuid().is_root() => Ok(PathBuf::from("/var/lib/docket")),
            None => directories::ProjectDirs::from("", "", "docket")
                .map(|folders| folders.data_dir().to_owned())
                .ok_or(ConfigError::NoDataDir),
        }
    }

    /// The file of the post-issue hooks: the one that is set, else the data folder's; none where there is no data folder.
    pub fn hooks_file(&self, set: Option<&PathBuf>) -> Option<PathBuf> {
        match set {
            Some(path) => Some(path.clone()),
            None => self.data_dir().ok().map(|folder| folder.join("post-issue-hooks.yaml")),
        }
    }

    /// The master key: the one that is set, else the key file's; the first start makes that file, for its owner's
    /// eyes only.
    pub fn master_key(&self) -> Result<Key, ConfigError> {
        if let Some(text) = &self.master_key {
            return Key::from_base64(text).ok_or(ConfigError::BadMasterKey);
        }
        let folder = self.data_dir()?;
        let path = folder.join("master.key");
        let failed = |source| ConfigError::File { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(text) => Key::from_base64(&text).ok_or(ConfigError::BadKeyFile(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&folder).map_err(failed)?;
                match make_key_file(&path) {
                    Ok(key) => Ok(key),
                    // Another process made it in the meantime.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        let text = std::fs::read_to_string(&path).map_err(failed)?;
                        Key::from_base64(&text).ok_or(ConfigError::BadKeyFile(path))
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// Written aside and linked into place, so that nobody ever reads half a key.
fn make_key_file(path: &Path) -> std::io::Result<Key> {
    let key = Key::random();
    let aside = path.with_extension(format!("key.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    writeln!(file, "{}", key.to_base64())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&aside, path);
    std::fs::remove_file(&aside)?;
    linked.map(|()| key)
}
