//! Reads golangci-lint's text output.

use super::{number, re};

/// Gives the number of issues.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut summary = None;
    let mut lines = 0;
    for line in text.lines() {
        // From version 2 on the run ends with a sum, broken down by linter.
        if let Some(captures) = re!(r"^(\d+) issues?(?::|\.)$").captures(line) {
            summary = Some(summary.unwrap_or(0) + number(&captures, 1).unwrap_or(0));
        }
        if re!(r"^\S+\.go:\d+(?::\d+)?: .*\([a-z][a-z0-9-]*\)$").is_match(line) {
            lines += 1;
        }
    }
    summary.or((lines > 0).then_some(lines))
}
