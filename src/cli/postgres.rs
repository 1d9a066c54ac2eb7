//! `docket postgres`: runs the private PostgreSQL and does nothing else with it.
//!
//! Whoever restores a backup needs a server that nobody works on: `docket serve` makes tables, folds and sends from its
//! first moment on, also while they are put in. So this opens no ledger and touches no table; a new data directory has an
//! empty database `docket` then, into which a backup is restored as it is.

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;

use super::open;
use super::serve::told_to_stop;
use crate::config::Config;

/// Runs the private PostgreSQL until it is told to stop.
#[derive(Debug, Args)]
pub struct Postgres {}

/// Where the server is.
#[derive(Serialize)]
struct Told {
    /// The folder of its socket.
    host: String,
    port: u16,
    user: String,
    database: String,
}

impl Postgres {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        if config.database_url.is_some() {
            bail!(
                "DATABASE_URL is set, so that Docket has no PostgreSQL of its own to run: restore into the database that it \
                 names, or unset it"
            );
        }
        let told = told_to_stop()?;
        let Some(opened) = told.run_until_cancelled(open::start(config)).await else { return Ok(()) };
        let postgres = opened?;
        if !postgres.is_owner() {
            bail!(
                "another process runs the private PostgreSQL of {} and works on it: stop that one first",
                config.data_dir()?.display()
            );
        }
        super::print(config, &Told::of(&postgres.options()), Told::line)?;
        let ended = tokio::select! {
            () = told.cancelled() => false,
            () = postgres.ended() => true,
        };
        postgres.shutdown().await;
        if ended {
            bail!("the private PostgreSQL ended by itself: postgres.log in the data directory says why");
        }
        Ok(())
    }
}

impl Told {
    fn of(options: &PgConnectOptions) -> Self {
        let host = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let user = options.get_username().to_owned();
        let database = options.get_database().unwrap_or(&user).to_owned();
        Self { host, port: options.get_port(), user, database }
    }

    /// The connection as PostgreSQL's own programs take it, after `-d`.
    fn line(&self) -> String {
        let quoted = self.host.replace('\\', r"\\").replace('\'', r"\'");
        format!("host='{quoted}' port={} user={} dbname={}", self.port, self.user, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read_by_programs_whatever_the_folder_is_called() {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(r"/data of o'brien\x")
            .username("docket")
            .database("docket");
        let line = r"host='/data of o\'brien\\x' port=5432 user=docket dbname=docket";
        assert_eq!(Told::of(&options.port(5432)).line(), line);
    }
}
