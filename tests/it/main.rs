//! The stories: the whole product on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod starting;
mod support;

mod answer_tokens;
mod approvals;
mod auditing;
mod back_test;
mod brand_voice;
mod calls;
mod canaries;
mod channels;
mod company_tools;
mod cqrs;
mod crash;
mod deduplication;
mod dispatcher;
mod event_stream;
mod faults;
mod following;
mod golden;
mod hearing;
mod hooks;
mod http;
mod imports;
mod ledger;
mod limits;
mod mcp;
mod organizations;
#[cfg(target_os = "linux")]
mod pressure;
mod problems;
mod qualifying;
mod readme;
mod readside;
mod reference;
mod replay;
#[cfg(unix)]
mod restoring;
mod roles;
mod sealed;
mod secrets;
mod senders;
mod sending;
mod sequences;
mod taking_over;
mod tokens;
mod tools;
mod webhooks_out;
