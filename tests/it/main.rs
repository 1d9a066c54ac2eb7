//! The stories: the whole product on a real PostgreSQL.

mod support;

mod auditing;
mod calls;
mod cqrs;
mod crash;
mod faults;
mod golden;
mod imports;
mod ledger;
mod organizations;
mod readme;
mod readside;
mod replay;
mod sealed;
