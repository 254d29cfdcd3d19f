//! Reads test ids, counts and error counts out of what test runners, linters and type checkers print.
//!
//! One format a file. Unknown output is `None`, never zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestStatus {
    /// It ran and passed.
    Passed,
    /// It ran and failed, or could not be collected or set up.
    Failed,
    /// It was skipped, ignored, or marked todo.
    Skipped,
    /// It failed as its mark expects (xfail, `todo` that fails): counts as skipped, never as passed.
    ExpectedFailure,
}

/// Counts of one run. `None` where the output does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Tests that ran: passed plus failed.
    pub run: Option<u64>,
    /// Tests that passed.
    pub passed: Option<u64>,
    /// Tests that failed.
    pub failed: Option<u64>,
    /// Tests that were skipped, ignored, or failed as expected.
    pub skipped: Option<u64>,
}

/// What a check's output says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Name of the format that was recognised, for example `pytest`.
    pub runner: Option<String>,
    /// Counts of tests.
    pub counts: Counts,
    /// Tests by id, or `None` where the output names none (a quiet summary, an unknown runner). Where only the failing
    /// ones are named (pytest -q), `ids` holds those and `ids_complete` is false.
    pub ids: Option<BTreeMap<String, TestStatus>>,
    /// Whether `ids` names every test of the run, not only the failing ones.
    pub ids_complete: bool,
    /// First line of the failure of each failing id (exception type and message), where the output shows it.
    pub first_errors: BTreeMap<String, String>,
    /// Number of errors a linter, type checker or compiler reports.
    pub errors: Option<u64>,
}
