//! Docket: an event-sourced CRM and outreach backend in which nothing happens off the record.
//!
//! Read in this order: `ledger` is the write side, `readside` keeps the read models up to date, `tools` is what
//! an agent may do, `http` is how it is reached.

pub mod app;
pub mod clock;
pub mod credentials;
pub mod ledger;
pub mod readside;
