//! Everything that a surface needs to do its work: one value, handed to every handler.

use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::ledger::Ledger;
use crate::readside::ReadSide;

/// The product without its surfaces. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The write side.
    pub ledger: Ledger,
    /// The read side.
    pub readside: ReadSide,
    /// Who may do what.
    pub credentials: Credentials,
    /// Where time and ids come from.
    pub clock: Clock,
}
