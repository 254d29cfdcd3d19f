//! Reads biome's `lint`, `check` and `ci`.

use super::{number, re};

/// Gives the number of errors.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut total = None;
    let mut closing = false;
    for line in text.lines() {
        if re!(r"^Checked \d+ files? in ").is_match(line) {
            total.get_or_insert(0);
            closing = true;
        } else if closing && let Some(captures) = re!(r"^Found (\d+) errors?\.$").captures(line) {
            total = Some(total.unwrap_or(0) + number(&captures, 1).unwrap_or(0));
        }
    }
    total
}
