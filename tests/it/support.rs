//! What the stories share: one PostgreSQL for the run, a database for each test, and the product on it.
//!
//! Nothing here knows how the product works inside: organizations, tokens and everything else are made through what
//! the library or the API offers. Where a test does reach into a table, it says so itself.

pub mod app;
pub mod client;
pub mod commands;
pub mod drafts;
pub mod house;
pub mod leaks;
pub mod process;
pub mod proxy;
pub mod resend;
pub mod server;

use std::future::Future;
use std::time::Duration;

pub use app::TestApp;
pub use client::Client;
pub use server::Database;

/// How long anything may take that a test waits for: a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Asks again and again until there is an answer; fails the test when that takes too long. Between two questions
/// other tasks run.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}
