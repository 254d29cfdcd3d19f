//! Reads `ruff check`, full and concise.

use super::{number, re};

/// Gives the number of findings: each fails the run.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut total = None;
    let mut shown = false;
    for line in text.lines() {
        // Biome and mypy write a similar closing line; ruff's rules are a letter code and a number, alone or after the
        // place.
        shown |= re!(r"^(?:\S.*:\d+:\d+: )?(?:[A-Z]+\d+|invalid-syntax|SyntaxError):? ").is_match(line);
        if line == "All checks passed!" {
            total.get_or_insert(0);
        } else if shown && let Some(captures) = re!(r"^Found (\d+) errors?(?: \(.*\))?\.$").captures(line) {
            total = Some(total.unwrap_or(0) + number(&captures, 1).unwrap_or(0));
            shown = false;
        }
    }
    total
}
