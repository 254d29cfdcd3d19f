//! Standard output: the result and nothing else. A reader that goes away is no error.

use std::io::Write;

/// Prints bytes as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Prints text, its last line ended.
pub(super) fn text(text: &str) {
    bytes(text.as_bytes());
    if !text.ends_with('\n') {
        bytes(b"\n");
    }
}

/// Prints one JSON document.
pub(super) fn json(document: &impl serde::Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(document) {
        self::text(&text);
    }
}
