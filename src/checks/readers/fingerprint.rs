//! Makes error texts of different runs comparable.

use super::{plain, re};

/// Gives `text` without what changes from run to run although the error is the same: colours, paths, addresses, times,
/// durations, numbers, blanks. Letters and the order of lines stay.
pub fn error_fingerprint(text: &str) -> String {
    let text = plain(text);
    // The longest shapes first: a time holds numbers, a path may hold hex digits.
    let text = re!(r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?")
        .replace_all(&text, "<time>");
    let text = re!(r"\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?(?: ?[AaPp][Mm]\b)?").replace_all(&text, "<time>");
    let text = re!(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b").replace_all(&text, "<hex>");
    let text = re!(r#"\b[a-z][a-z0-9+.-]*://[^\s"'`<>()\[\]{},;]+"#).replace_all(&text, "<path>");
    let text =
        re!(r#"(?:\b[A-Za-z]:[\\/]|\.{0,2}/|~/|\b[\w.@+-]+/)[^\s"'`<>()\[\]{},;:|=*]*[^\s"'`<>()\[\]{},;:|=*.]"#)
            .replace_all(&text, "<path>");
    let text = re!(r"(?i)\b0x[0-9a-f]+\b").replace_all(&text, "<hex>");
    let text = re!(r"\b\d+(?:\.\d+)? ?(?:ns|us|µs|μs|ms|s|secs?|seconds?|mins?|minutes?|m|hours?|h)\b")
        .replace_all(&text, "<duration>");
    let text = re!(r"[0-9a-fA-F]{7,}").replace_all(&text, |found: &regex::Captures<'_>| {
        // Seven letters of a to f are a word, with a digit they are a hash.
        if found[0].bytes().any(|b| b.is_ascii_digit()) { "<hex>".to_owned() } else { found[0].to_owned() }
    });
    let text = re!(r"\d+(?:[._]\d+)*").replace_all(&text, "<n>");
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn what_changes_from_run_to_run_is_taken_out() {
        for (text, expected) in [
            ("ValueError: bad value: 17", "ValueError: bad value: <n>"),
            ("at /home/dev/app-12/src/a.rs:26:59", "at <path>:<n>:<n>"),
            ("src/lib.rs:3: assertion failed", "<path>:<n>: assertion failed"),
            (r"C:\work\a.py not found", "<path> not found"),
            ("<Foo object at 0x7ff74b3f47d0>", "<Foo object at <hex>>"),
            ("2026-11-21T11:11:36.143829+00:00 started", "<time> started"),
            ("took 0.35s, limit 20 ms", "took <duration>, limit <duration>"),
            ("commit 4a592c6 of 5b3f7f18-fbf5-4ea4-b465-65b4b69376d0", "commit <hex> of <hex>"),
            ("\u{1b}[31mError\u{1b}[39m:   two\n\n  lines", "Error: two\nlines"),
            ("expected 2.50 got 1_000", "expected <n> got <n>"),
            ("a / b and/or defaced", "a / b <path> defaced"),
        ] {
            assert_eq!(error_fingerprint(text), expected, "{text}");
        }
    }

    #[test]
    fn two_errors_of_different_words_differ() {
        assert_ne!(error_fingerprint("KeyError: 'a'"), error_fingerprint("KeyError: 'b'"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_fingerprint(text in "\\PC*") {
            let once = error_fingerprint(&text);
            let escaped = once.contains('\u{1b}');
            proptest::prop_assert!(!escaped);
        }
    }
}
