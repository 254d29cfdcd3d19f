//! What a refused patch says: a code for the program, one sentence and the real lines for the model.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::paths::PathFault;

/// Most lines of one window; enough for a function, little enough for a prompt.
const WINDOW_LINES: usize = 40;
/// Most characters of a window's line, so that a minified file cannot fill a prompt.
const WINDOW_CHARS: usize = 300;

/// Why a patch was refused, for callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// It does not fit the tree with certainty.
    DoesNotApply,
    /// It is larger than the limits.
    TooLarge,
    /// A path leaves the repository, or goes through a link.
    OutsideRepo,
    /// It touches git's data, links, modes, submodules, binary files or an existing file under another name.
    ProtectedPath,
    /// It touches the state of the loop.
    TouchesLoopState,
}

/// Real lines of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The file.
    pub path: String,
    /// Number of the first line, from 1.
    pub first_line: usize,
    /// The lines, without their ends; very long ones are cut.
    pub lines: Vec<String>,
}

impl Window {
    /// Returns the lines of a range (from 0, end exclusive) with three more on either side.
    pub(super) fn around(path: &str, lines: &[&str], from: usize, to: usize) -> Self {
        let first = from.saturating_sub(3).min(lines.len());
        let last = to.saturating_add(3).min(lines.len()).min(first + WINDOW_LINES);
        let cut = |line: &&str| line.chars().take(WINDOW_CHARS).collect();
        let lines = lines.get(first..last).unwrap_or_default().iter().map(cut).collect();
        Self { path: path.to_owned(), first_line: first + 1, lines }
    }
}

/// A patch that was not applied, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// One sentence that names the cause.
    pub cause: String,
    /// The path it is about, where there is one.
    pub path: Option<String>,
    /// Number of the hunk in its file, from 1.
    pub hunk: Option<usize>,
    /// The real lines nearest to what the patch quotes.
    pub windows: Vec<Window>,
}

impl Refusal {
    /// Returns the windows as text for a model: each path, then its lines with their numbers.
    pub fn real_lines(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for window in &self.windows {
            let _ = writeln!(text, "{}:", window.path);
            for (place, line) in window.lines.iter().enumerate() {
                let _ = writeln!(text, "{:>5} {line}", window.first_line + place);
            }
        }
        text
    }

    /// Returns a refusal of the whole patch.
    pub(super) fn new(code: RefusalCode, cause: String) -> Self {
        Self { code, cause, path: None, hunk: None, windows: Vec::new() }
    }

    /// Returns a refusal because of one path.
    pub(super) fn of_path(code: RefusalCode, path: &str, cause: impl Into<String>) -> Self {
        // Escaped, because such a path may hold control characters.
        let path = path.escape_debug().to_string();
        Self { path: Some(path), ..Self::new(code, cause.into()) }
    }

    /// Returns a refusal because of the text of a path.
    pub(super) fn of_fault(fault: PathFault, path: &str) -> Self {
        let code = match fault {
            PathFault::Outside | PathFault::Unusable => RefusalCode::OutsideRepo,
            PathFault::GitInternal => RefusalCode::ProtectedPath,
            PathFault::LoopState => RefusalCode::TouchesLoopState,
        };
        let shown: String = path.escape_debug().take(WINDOW_CHARS).collect();
        Self::of_path(code, &shown, format!("the path {}", fault.reason()))
    }

    /// Returns the refusal with the number of its hunk.
    pub(super) fn at_hunk(self, hunk: usize) -> Self {
        Self { hunk: Some(hunk), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.hunk) {
            (Some(path), Some(hunk)) => write!(f, "{path}, hunk {hunk}: {}", self.cause),
            (Some(path), None) => write!(f, "{path}: {}", self.cause),
            _ => f.write_str(&self.cause),
        }
    }
}

impl std::error::Error for Refusal {}
