//! Reads pylint's default (text) output.

use super::re;

/// Gives the number of messages of every category: each changes the exit status.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut rated = false;
    let mut messages = 0;
    for line in text.lines() {
        rated |= line.starts_with("Your code has been rated at ");
        if re!(r"^\S.*:\d+:\d+: [CRWEF]\d{4}: .*\([a-z0-9-]+\)$").is_match(line) {
            messages += 1;
        }
    }
    (rated || messages > 0).then_some(messages)
}
