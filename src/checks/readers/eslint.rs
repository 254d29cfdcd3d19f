//! Reads eslint's default (stylish) output.

use super::{number, re};

/// Gives the number of errors; warnings count where a limit on them failed the run.
pub(super) fn read(text: &str) -> Option<u64> {
    let (mut found, mut errors, mut warnings) = (false, 0, 0);
    let mut limit_broken = false;
    for line in text.lines() {
        if let Some(captures) = re!(r"^[✖×] \d+ problems? \((\d+) errors?, (\d+) warnings?\)$").captures(line) {
            found = true;
            errors += number(&captures, 1).unwrap_or(0);
            warnings += number(&captures, 2).unwrap_or(0);
        }
        limit_broken |= line.starts_with("ESLint found too many warnings (maximum: ");
    }
    found.then_some(if limit_broken { errors + warnings } else { errors })
}
