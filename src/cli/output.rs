//! Standard output: the result and nothing else. A reader that goes away is no error.

use std::cell::RefCell;
use std::io::Write;

use crate::masking;
use crate::operations::Ended;
use crate::report::{status_report, status_text};

thread_local! {
    /// Takes what would be printed, while a host's answer is made of it.
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Prints bytes as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let captured = CAPTURED
        .with_borrow_mut(|captured| captured.as_mut().map(|captured| captured.extend_from_slice(bytes)).is_some());
    if !captured {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}

/// Returns what `work` gave, and what it would have printed.
pub(super) fn captured<T>(work: impl FnOnce() -> T) -> (T, String) {
    CAPTURED.set(Some(Vec::new()));
    let given = work();
    let text = CAPTURED.take().unwrap_or_default();
    (given, String::from_utf8_lossy(&text).into_owned())
}

/// Prints text without its secrets, its last line ended.
pub(super) fn text(text: &str) {
    let text = masking::shown().text(text);
    bytes(text.as_bytes());
    if !text.ends_with('\n') {
        bytes(b"\n");
    }
}

/// Prints one JSON document, its texts without their secrets.
pub(super) fn json(document: &impl serde::Serialize) {
    if let Ok(mut value) = serde_json::to_value(document)
        && let () = masking::shown().value(&mut value)
        && let Ok(text) = serde_json::to_string_pretty(&value)
    {
        bytes(text.as_bytes());
        bytes(b"\n");
    }
}

/// Prints a line to standard error without its secrets.
pub(super) fn note(text: &str) {
    eprintln!("{}", masking::shown().text(text));
}

/// Prints the end of a loop and returns its exit code.
pub(super) fn end(ended: &Ended, with_json: bool) -> u8 {
    let report = status_report(&ended.state, false, jiff::Timestamp::now());
    if with_json {
        json(&report);
    } else {
        text(&status_text(&report));
    }
    ended.exit_code()
}
