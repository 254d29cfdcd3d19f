//! The user's own commands (test, lint, type, accept): run to receipts, read to ids and counts.

mod failures;
pub mod readers;
mod receipt;
mod run;

pub use failures::{failure_texts, short_name};
pub use receipt::{Ids, Receipt, Receipts, failing};
pub use run::{CheckRun, log_tail, read_log};
