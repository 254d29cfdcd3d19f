//! Reads the errors of `go vet`, `go build` and of packages that do not build under `go test`.

use super::re;

/// Gives the number of findings, which stand under a `# package` header. A clean run prints nothing.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut under = false;
    let mut findings = 0;
    for line in text.lines() {
        if re!(r"^# [\w./-]+(?: \[[\w./ -]+\])?$").is_match(line) {
            under = true;
        } else if under && re!(r"^(?:vet: )?\S+\.go:\d+(?::\d+)?: ").is_match(line) {
            findings += 1;
        } else if !line.starts_with('\t') && line != "too many errors" {
            under = false;
        }
    }
    (findings > 0).then_some(findings)
}
