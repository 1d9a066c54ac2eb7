//! Docket: an event-sourced CRM and outreach backend in which nothing happens off the record.
//!
//! Read in this order: `ledger` is the write side, `readside` keeps the read models up to date, `tools` is what
//! an agent may do, `http` and `mcp` are how it is reached.

pub mod access_log;
pub mod agents;
pub mod allowlist;
pub mod analyses;
pub mod app;
pub mod approval_rules;
pub mod approvals;
pub mod bench;
pub mod brand_voice;
pub mod calls;
pub mod channels;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod content_pieces;
pub mod credentials;
pub mod deduplication;
pub mod demo;
pub mod dispatcher;
pub mod envelope;
pub mod follow_ups;
pub mod following;
pub mod hearing;
pub mod hooks;
pub mod http;
pub mod imports;
pub mod json;
pub mod language_model;
pub mod ledger;
pub mod limits;
pub mod mcp;
pub mod metrics;
pub mod normalise;
pub mod organizations;
pub mod outboxes;
pub mod outgoing_webhooks;
pub mod pauses;
pub mod postgres;
pub mod previews;
pub mod qualifications;
pub mod qualifying;
pub mod readside;
pub mod secrets;
pub mod sending;
pub mod sequences;
pub mod service;
pub mod shapes;
pub mod spelling;
pub mod suppressions;
pub mod tools;
pub mod unsubscribe;
pub mod workspaces;
