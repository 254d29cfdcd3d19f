//! Reads mypy.

use super::{number, re};

/// Gives the number of errors.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut total = None;
    for line in text.lines() {
        if re!(r"^Success: no issues found in \d+ source files?$").is_match(line) {
            total.get_or_insert(0);
        } else if let Some(captures) = re!(r"^Found (\d+) errors? in \d+ files? \(").captures(line) {
            total = Some(total.unwrap_or(0) + number(&captures, 1).unwrap_or(0));
        }
    }
    total
}
