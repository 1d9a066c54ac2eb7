//! The stories: the whole product on a real PostgreSQL.

mod support;

mod auditing;
mod golden;
mod calls;
mod imports;
mod ledger;
mod organizations;
