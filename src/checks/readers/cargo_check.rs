//! Reads the errors of the Rust compiler and clippy, as `cargo check`, `clippy`, `build` and `test` print them.

use std::collections::HashSet;

use super::re;

/// Lines after an error's message in which its place must come.
const PLACE_WITHIN: usize = 3;

/// Gives the number of errors, warnings promoted to errors among them. One error of a file that is compiled twice (for
/// the library and for its tests) counts once.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut errors: HashSet<(&str, &str)> = HashSet::new();
    let mut open: Option<(&str, usize)> = None;
    let (mut failed, mut finished, mut tests) = (false, false, false);
    let mut unplaced = 0;
    for (at, line) in text.lines().enumerate() {
        if let Some((message, since)) = open {
            if let Some(place) = line.trim_start().strip_prefix("--> ") {
                errors.insert((message, place));
                open = None;
            } else if at > since + PLACE_WITHIN {
                open = None;
            }
        }
        if re!(r"^error(?:\[E\d+\])?: ").is_match(line) {
            if line.starts_with("error: could not compile ") {
                failed = true;
            } else {
                open = Some((line, at));
            }
            // A linker or a manifest that fails has no place in the source.
            if line.starts_with("error: linking with ") || line.starts_with("error: failed to ") {
                unplaced += 1;
            }
        }
        finished |= line.starts_with("    Finished ");
        tests |=
            line.starts_with("     Running ") || line.starts_with("    Starting ") || line.starts_with("test result: ");
    }
    let count = errors.len() as u64 + unplaced;
    if count > 0 || failed {
        return Some(count.max(1));
    }
    // Of a test run the compiler's silence is no news.
    (finished && !tests).then_some(0)
}
