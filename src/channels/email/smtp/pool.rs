//! The connections of one credential: at most so many at once, kept for a while.

use std::sync::Mutex;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Connections that nobody uses at the moment, and how many more there may be.
pub struct Pool {
    turns: Semaphore,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
    idle_within: Duration,
}

impl Pool {
    /// No connections yet.
    pub fn new(connections_max: usize, idle_within: Duration) -> Self {
        Self { turns: Semaphore::new(connections_max), idle: Mutex::default(), idle_within }
    }

    /// Waits until one more connection may be used. Whoever waits too long is ended by the message's own time.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }

    /// A connection that was used lately.
    pub fn take(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        // Dropping closes them; the server has probably done so already.
        idle.retain(|(_, since)| now.duration_since(*since) <= self.idle_within);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Keeps a connection on which the next mail may begin.
    pub fn put_back(&self, connection: AsyncSmtpConnection) {
        if !connection.has_broken() {
            let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            idle.push((connection, Instant::now()));
        }
    }
}
