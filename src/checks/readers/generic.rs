//! Reads compilers and linters of no known name by the place that most of them put before a message.

use super::re;

/// Gives the number of lines of the form `file:line: message` or `file:line:column: error: message`. If any of them says
/// `error`, only those count; warnings and notes never do.
pub(super) fn read(text: &str) -> Option<u64> {
    let (mut errors, mut plain, mut lesser) = (0, 0, 0);
    for line in text.lines() {
        let Some(captures) = re!(r"^([^\s:()]+)[:(]\d+(?:[:,]\d+)?\)?: *(.+)$").captures(line) else { continue };
        // A file has a suffix or a folder, and a letter: neither a host with a port nor a time of day is one.
        if !captures[1].contains(['.', '/', '\\']) || !captures[1].contains(|c: char| c.is_alphabetic()) {
            continue;
        }
        let message = captures[2].to_ascii_lowercase();
        if re!(r"^(?:fatal )?(?:error|err)\b").is_match(&message) {
            errors += 1;
        } else if re!(r"^(?:warning|warn|note|info|hint|remark|style|convention|refactor)\b").is_match(&message) {
            lesser += 1;
        } else {
            plain += 1;
        }
    }
    let count = if errors > 0 { errors } else { plain };
    (errors + plain + lesser > 0).then_some(count)
}
