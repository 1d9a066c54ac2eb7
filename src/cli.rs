//! The command line. One verb is one file.
//!
//! Exit status: 0 good, 1 refused or not verified, 2 wrong usage. Every command that prints takes `--json`.

mod bench;
mod demo;
mod import;
mod mcp;
mod open;
mod organization;
mod postgres;
mod rebuild;
mod replay;
mod serve;
pub(crate) mod token;
mod tools;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::Config;

pub use open::Opened;

/// An event-sourced CRM and outreach backend in which nothing happens off the record.
#[derive(Debug, Parser)]
#[command(name = "docket", version)]
struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a sample organization from a private database.
    Demo(demo::Demo),
    /// Serve the API.
    Serve(serve::Serve),
    /// Run the private PostgreSQL and nothing else, as for restoring a backup.
    Postgres(postgres::Postgres),
    /// Create, list and change organizations.
    #[command(subcommand)]
    Organization(organization::Organization),
    /// Create, list and revoke tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Read a file of contacts into an import folder.
    Import(import::Import),
    /// Speak the Model Context Protocol over standard input and output.
    Mcp(mcp::Mcp),
    /// List the agent tools.
    Tools(tools::Tools),
    /// Print an organization's events as JSON lines.
    Replay(replay::Replay),
    /// Recompute an organization's hash chain.
    Verify(verify::Verify),
    /// Measure what the product claims.
    Bench(bench::Bench),
    /// Make the read models anew, compare and switch.
    Rebuild(rebuild::Rebuild),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("docket: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let config = cli.config;
    let result = runtime.block_on(async {
        match cli.verb {
            Verb::Demo(verb) => verb.run(&config).await,
            Verb::Import(verb) => verb.run(&config).await,
            Verb::Mcp(verb) => verb.run(&config).await,
            Verb::Tools(verb) => verb.run(&config),
            Verb::Serve(verb) => verb.run(&config).await,
            Verb::Postgres(verb) => verb.run(&config).await,
            Verb::Organization(verb) => verb.run(&config).await,
            Verb::Token(verb) => verb.run(&config).await,
            Verb::Replay(verb) => verb.run(&config).await,
            Verb::Verify(verb) => verb.run(&config).await,
            Verb::Bench(verb) => verb.run(&config).await,
            Verb::Rebuild(verb) => verb.run(&config).await,
        }
    });
    // Work that cannot be broken off, as a mail that is being read, is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docket: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a value: as JSON where that was asked for, else as `text` writes it.
fn print<T: serde::Serialize>(
    config: &Config,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let line = if config.json { serde_json::to_string(value)? } else { text(value) };
    say(&format!("{line}\n"))
}

/// Writes to the standard output, whose reader may have gone and whose disk may be full.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the output cannot be written")
}
