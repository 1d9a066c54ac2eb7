//! The stories: the whole product on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod support;

mod auditing;
mod calls;
mod channels;
mod cqrs;
mod crash;
mod faults;
mod golden;
mod http;
mod imports;
mod ledger;
mod organizations;
mod readme;
mod readside;
mod replay;
mod sealed;
mod tools;
