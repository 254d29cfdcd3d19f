//! The user's own commands (test, lint, type, accept): run to receipts, read to ids and counts.

pub mod readers;
mod receipt;
mod run;

pub use receipt::{Ids, Receipt, Receipts, failing};
pub use run::{CheckRun, log_tail};
