//! Reads pyright and basedpyright.

use super::{number, re};

/// Gives the number of errors.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut total = None;
    for line in text.lines() {
        if let Some(captures) = re!(r"^(\d+) errors?, \d+ warnings?, \d+ (?:informations?|notes?) ?$").captures(line) {
            total = Some(total.unwrap_or(0) + number(&captures, 1).unwrap_or(0));
        }
    }
    total
}
