//! One spelling for values that people write in many ways.
//!
//! Each function here is pure and answers two questions apart: what do we keep, and what do we compare by.
//! Nothing here decides that two contacts are one person; `deduplication` does.

pub mod email;
pub mod phone;

pub use docket_projections::names::{self as name, fold_name};
pub use email::{Email, EmailError, normalise_email};
pub use phone::{Country, CountryError, Phone, PhoneError, is_meant_as_number, normalise_phone};
