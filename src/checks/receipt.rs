//! The proof of a check run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::readers::{Counts, Reading, TestStatus};
use crate::process::Exit;

/// Most ids a receipt carries. A larger run keeps its failing and skipped ids and its counts; the log has the rest.
/// Keeps the journal small for suites of tens of thousands of tests.
const MAX_IDS: usize = 5000;

/// Most failures a receipt quotes. Beyond a screenful nobody reads on, and every one is looked at for each state id.
const MAX_FIRST_ERRORS: usize = 200;

/// Ids of tests by what happened to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ids {
    pub passed: BTreeSet<String>,
    pub failed: BTreeSet<String>,
    pub skipped: BTreeSet<String>,
}

/// The proof of a check run: what ran on which tree, how it ended, and what the output says about tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// `test`, `lint`, `type`, `accept-1`, `trial`…
    pub check: String,
    /// The command as the plan has it.
    pub command: String,
    /// Id of the git tree the command ran on.
    pub tree_hash: String,
    /// How the command ended.
    pub exit: Exit,
    /// Exit status, or null where the command was ended or died by a signal.
    pub exit_code: Option<i32>,
    /// Format recognised in the output, or null.
    pub runner: Option<String>,
    /// Counts of tests; null where the output does not say.
    pub counts: Counts,
    /// Test ids, or null where the output names none.
    pub ids: Option<Ids>,
    /// Whether `ids` names every test of the run.
    pub ids_complete: bool,
    /// Errors a linter, type checker or compiler reports, or null.
    pub errors: Option<u64>,
    /// First line of the failure of each failing id, where shown.
    pub first_errors: BTreeMap<String, String>,
    /// Wall-clock time, in milliseconds.
    pub duration_ms: u64,
    /// When it was started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// File with the whole output.
    pub log: String,
    /// Paths the command wrote or removed in the tree; they were restored.
    pub wrote: Vec<String>,
    /// What a reader of the receipt should know, for example that report and output disagree.
    pub notes: Vec<String>,
}

impl Receipt {
    /// Fills in what the output said.
    #[must_use]
    pub fn with_reading(mut self, reading: Reading) -> Self {
        self.runner = reading.runner;
        self.counts = reading.counts;
        self.errors = reading.errors;
        self.ids_complete = reading.ids_complete;
        self.first_errors = reading.first_errors.into_iter().take(MAX_FIRST_ERRORS).collect();
        self.notes = reading.notes;
        self.ids = reading.ids.map(|ids| {
            let mut sorted = Ids::default();
            let keep_passed = ids.len() <= MAX_IDS;
            for (id, status) in ids {
                match status {
                    TestStatus::Passed if keep_passed => drop(sorted.passed.insert(id)),
                    TestStatus::Passed => self.ids_complete = false,
                    TestStatus::Failed => drop(sorted.failed.insert(id)),
                    TestStatus::Skipped | TestStatus::ExpectedFailure => drop(sorted.skipped.insert(id)),
                }
            }
            sorted
        });
        self
    }

    /// Says whether this is an accept command: red at first, and green at the end or the goal is not met.
    pub fn is_accept(&self) -> bool {
        self.check.starts_with("accept-")
    }

    /// Returns what fails: the failing test ids, or the check's own name in parentheses where it failed and named none.
    pub fn failing(&self) -> BTreeSet<String> {
        let named = self.ids.as_ref().map(|ids| ids.failed.clone()).unwrap_or_default();
        if named.is_empty() && !self.exit.success() { BTreeSet::from([format!("({})", self.check)]) } else { named }
    }

    /// Says whether the check holds: status 0, or nothing fails but what is excused (known red or flaky).
    pub fn holds(&self, excused: &BTreeSet<String>) -> bool {
        match self.exit {
            Exit::Code { code: 0 } => self.failing().is_subset(excused),
            Exit::Code { .. } => {
                let failing = self.failing();
                !failing.is_empty() && failing.is_subset(excused)
            }
            _ => false,
        }
    }

    /// Says whether the command itself could not be used: not found, not executable, or it never ended.
    pub fn unusable(&self) -> Option<String> {
        match self.exit {
            Exit::Code { code: 127 } => Some(format!("`{}` was not found (exit 127)", self.command)),
            Exit::Code { code: 126 } => Some(format!("`{}` could not be executed (exit 126)", self.command)),
            Exit::TimedOut => Some(format!(
                "`{}` had not ended at its time limit, and was ended after {}",
                self.command,
                crate::report::duration(self.duration_ms)
            )),
            Exit::OutputLimit => Some(format!("`{}` wrote more output than a check may", self.command)),
            Exit::TooManyProcesses => Some(format!(
                "`{}` had more than {} processes running at once",
                self.command,
                crate::process::MAX_PROCESSES
            )),
            _ => None,
        }
    }

    /// Returns the counts as a person reads them: `12 passed, 2 failed`, or the exit status where counts are unknown.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(passed) = self.counts.passed {
            parts.push(format!("{passed} passed"));
        }
        if let Some(failed) = self.counts.failed {
            parts.push(format!("{failed} failed"));
        }
        if let Some(skipped) = self.counts.skipped.filter(|skipped| *skipped > 0) {
            parts.push(format!("{skipped} skipped"));
        }
        if let Some(errors) = self.errors {
            parts.push(format!("{errors} error{}", if errors == 1 { "" } else { "s" }));
        }
        if parts.is_empty() {
            parts.push(match self.exit {
                Exit::Code { code } => format!("exit {code}"),
                Exit::Signal { signal } => format!("signal {signal}"),
                Exit::TimedOut => "timed out".into(),
                Exit::OutputLimit => "output limit".into(),
                Exit::TooManyProcesses => "process limit".into(),
                Exit::Stopped => "stopped".into(),
            });
        }
        parts.join(", ")
    }
}

/// Receipts of one run of the checks, in the plan's order.
pub type Receipts = Vec<Receipt>;

/// Returns everything that fails over all checks.
pub fn failing(receipts: &[Receipt]) -> BTreeSet<String> {
    receipts.iter().flat_map(Receipt::failing).collect()
}
