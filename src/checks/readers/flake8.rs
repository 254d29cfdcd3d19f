//! Reads flake8's default output.

use super::re;

/// Gives the number of findings. A clean run prints nothing and is not recognised.
pub(super) fn read(text: &str) -> Option<u64> {
    let is_finding = |line: &&str| re!(r"^\S.*:\d+:\d+: [A-Z]{1,3}\d{3,4} ").is_match(line);
    let findings = text.lines().filter(is_finding).count() as u64;
    (findings > 0).then_some(findings)
}
