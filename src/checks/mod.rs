//! The user's own commands (test, lint, type, accept): run to receipts, read to ids and counts.

pub mod readers;
