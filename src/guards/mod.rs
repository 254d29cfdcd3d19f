//! The rules that refuse a proposal whatever its score.
//!
//! Judges a rebuilt tree-to-tree change: static, deterministic, without a disk or a clock. It never applies,
//! repairs or runs anything, and never asks a model. What it cannot know without running (a lookup table of the
//! visible test inputs) it only flags; [`restore_seed_tests`] prepares the tree on which proof is taken.

// Runners and package managers look for names in exactly one spelling.
#![allow(clippy::case_sensitive_file_extension_comparisons)]

mod cases;
mod fingerprint;
mod layout;
mod lex;
mod lookup;
mod places;
mod restore;
mod role;
mod rules;
mod sections;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Tree};

pub use fingerprint::fingerprint;
pub use lookup::{Suspicion, suspect};
pub use restore::{Restoration, restore_seed_tests};
pub use role::{Role, test_role};

pub use crate::plan::AllowChange;

/// Why a proposal is refused, or what a reader should look at. The words are part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A test, or a row of test data, is gone, commented out, renamed or compiled out.
    DeletesTest,
    /// A test no longer runs.
    SkipsTest,
    /// A test, or what it compares, demands less than before.
    WeakensTest,
    /// A test is declared to fail.
    ExpectsFailure,
    /// The configuration of a check is changed.
    EditsCheckConfig,
    /// The runner or its assertions are replaced, patched or deceived.
    TampersRunner,
    /// The process ends before the tests can tell.
    EarlyExit,
    /// An error is caught and dropped.
    SwallowsError,
    /// The inputs of the visible tests are treated specially.
    SpecialCasesTests,
    /// The loop's own state is touched.
    TouchesLoopState,
    /// A path leads out of the repository.
    OutsideRepo,
    /// A path, or a kind of entry, that no proposal may touch.
    ProtectedPath,
    /// An existing test changes, which only the user may allow.
    PermissionNeeded,
    /// A path outside the scope the user set.
    OutOfScope,
    /// The same change was proposed before.
    Duplicate,
    /// The patch does not fit the tree.
    DoesNotApply,
    /// More changed lines or files than allowed.
    TooLarge,
    /// A check that held no longer holds.
    BreaksCheck,
    /// The checks hold only because fewer tests ran.
    VacuousPass,
    /// Another proposal won.
    NotSelected,
}

impl Code {
    /// Returns the word of the public contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeletesTest => "deletes-test",
            Self::SkipsTest => "skips-test",
            Self::WeakensTest => "weakens-test",
            Self::ExpectsFailure => "expects-failure",
            Self::EditsCheckConfig => "edits-check-config",
            Self::TampersRunner => "tampers-runner",
            Self::EarlyExit => "early-exit",
            Self::SwallowsError => "swallows-error",
            Self::SpecialCasesTests => "special-cases-tests",
            Self::TouchesLoopState => "touches-loop-state",
            Self::OutsideRepo => "outside-repo",
            Self::ProtectedPath => "protected-path",
            Self::PermissionNeeded => "permission-needed",
            Self::OutOfScope => "out-of-scope",
            Self::Duplicate => "duplicate",
            Self::DoesNotApply => "does-not-apply",
            Self::TooLarge => "too-large",
            Self::BreaksCheck => "breaks-check",
            Self::VacuousPass => "vacuous-pass",
            Self::NotSelected => "not-selected",
        }
    }

    /// Says whether the user's permission for a path lifts a finding of this kind.
    fn can_be_permitted(self) -> bool {
        matches!(
            self,
            Self::DeletesTest
                | Self::SkipsTest
                | Self::WeakensTest
                | Self::ExpectsFailure
                | Self::EditsCheckConfig
                | Self::SwallowsError
                | Self::PermissionNeeded
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing a rule found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// Path relative to the work-tree root; empty where the finding is about the change as a whole.
    pub path: String,
    /// Line counted from 1, in the new version where there is one; null where no line can be named.
    pub line: Option<u32>,
    /// One clause for a person, without a full stop.
    pub reason: String,
}

/// What the rules say of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Any of these refuses the change.
    pub refusals: Vec<Finding>,
    /// These only inform the judge and the reader.
    pub flags: Vec<Finding>,
    /// Whether existing tests or their data change.
    pub touches_tests: bool,
    /// What would refuse the change, had the plan not allowed it.
    pub permitted: Vec<Finding>,
}

impl Judgement {
    /// Says whether nothing refuses the change.
    pub fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// What a change is judged against.
pub struct Context<'a> {
    /// The tree the change applies to.
    pub tree: &'a dyn Tree,
    /// The tree at the start of the loop: tests are protected as they stand there.
    pub seed: &'a dyn Tree,
    /// The user's check commands: they say which scripts and settings decide.
    pub commands: &'a [String],
    /// What the approved plan permits.
    pub allow_change: &'a [AllowChange],
    /// Globs no proposal may touch.
    pub protect: &'a [String],
    /// Globs a proposal must stay in; empty means everywhere.
    pub scope: &'a [String],
    /// Most added plus removed lines a change may have.
    pub max_lines: usize,
    /// Whether adding tests is the goal, so that additions inside existing tests are free.
    pub goal_adds_tests: bool,
    /// Fingerprints of earlier proposals, as [`fingerprint`] gives them.
    pub earlier: &'a [String],
}

/// Judges a change by every rule.
pub fn judge(change: &Change, context: &Context<'_>) -> Judgement {
    let scene = view::Scene::new(change, context);
    let mut report = Report::default();
    for rule in rules::RULES {
        rule(&scene, &mut report);
    }
    report.finish(&scene)
}

/// Findings on their way to a judgement.
#[derive(Debug, Default)]
struct Report {
    refusals: Vec<Finding>,
    flags: Vec<Finding>,
    touches_tests: bool,
}

impl Report {
    fn refuse(&mut self, code: Code, path: &str, line: impl Into<Option<u32>>, reason: impl Into<String>) {
        self.refusals.push(Finding { code, path: path.to_string(), line: line.into(), reason: reason.into() });
    }

    fn flag(&mut self, code: Code, path: &str, line: impl Into<Option<u32>>, reason: impl Into<String>) {
        self.flags.push(Finding { code, path: path.to_string(), line: line.into(), reason: reason.into() });
    }

    fn finish(self, scene: &view::Scene<'_>) -> Judgement {
        let (permitted, refusals): (Vec<_>, Vec<_>) =
            self.refusals.into_iter().partition(|f| f.code.can_be_permitted() && scene.is_allowed(&f.path));
        let tidy = |mut list: Vec<Finding>| {
            list.sort();
            list.dedup();
            list
        };
        Judgement {
            refusals: tidy(refusals),
            flags: tidy(self.flags),
            touches_tests: self.touches_tests,
            permitted: tidy(permitted),
        }
    }
}

/// Says whether the plan permits changes of tests or check configuration at this path.
pub fn is_allowed(path: &str, allow_change: &[AllowChange]) -> bool {
    glob_set(allow_change.iter().map(|allowed| allowed.glob.as_str())).is_match(path)
}

/// Builds a matcher of these globs; a pattern that is not a valid glob matches only itself.
fn glob_set<'a>(patterns: impl IntoIterator<Item = &'a str>) -> globset::GlobSet {
    let mut builder = globset::GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        for form in [pattern.to_string(), format!("{pattern}/**")] {
            let glob = globset::GlobBuilder::new(&form).literal_separator(true).build();
            if let Ok(glob) = glob.or_else(|_| globset::Glob::new(&globset::escape(&form))) {
                builder.add(glob);
            }
        }
    }
    builder.build().unwrap_or_default()
}

#[cfg(test)]
mod tests;
