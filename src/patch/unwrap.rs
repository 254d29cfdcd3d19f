//! Takes off what the way from the model to here laid over a whole patch: colours, quote marks, an indentation, escapes.
//!
//! Owns whole texts only, and only coverings that leave a trace on every line they went over, so that taking one off
//! loses nothing and invents nothing. Whether what comes out is meant is decided by whether it fits the tree.

use std::sync::LazyLock;

use regex::Regex;

use super::parse::Patch;

/// A colour as terminals read it.
static COLOUR: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;]*[mK]").ok());
/// A hunk header with both its counts' places, so that the counts can vouch for the lines.
static NUMBERED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^@@ -\d+(,\d+)? \+\d+(,\d+)? @@").ok());

/// Returns the text below the covering, for a text in which no diff was found.
pub(super) fn uncovered(raw: &str) -> Option<String> {
    coloured(raw).or_else(|| carriage_returns(raw)).or_else(|| indented(raw)).or_else(|| escaped(raw))
}

fn coloured(raw: &str) -> Option<String> {
    let plain = COLOUR.as_ref()?.replace_all(raw, "");
    (plain != raw && plain.lines().any(opens)).then(|| plain.into_owned())
}

fn carriage_returns(raw: &str) -> Option<String> {
    (!raw.trim_end_matches('\n').contains('\n') && raw.contains('\r')).then(|| raw.replace('\r', "\n"))
}

/// Takes an indentation or a mail's quote marks off every line from the first header on; blank lines may have lost it.
fn indented(raw: &str) -> Option<String> {
    let lines: Vec<&str> = raw.split('\n').collect();
    let start = |line: &str| line.trim_start_matches([' ', '\t', '>']).len();
    let at = lines.iter().position(|line| start(line) < line.len() && opens(&line[line.len() - start(line)..]))?;
    let cover = &lines[at][..lines[at].len() - start(lines[at])];
    let mut plain = String::new();
    let mut ended = false;
    for line in &lines[at..] {
        match line.strip_prefix(cover) {
            Some(rest) if !ended => plain.push_str(rest),
            _ if line.trim().is_empty() || line.trim() == cover.trim() => {}
            // Prose after the end; what is covered again after it would have been left out.
            Some(_) => return None,
            None if line.starts_with([' ', '\t', '+', '-', '@']) => return None,
            None => ended = true,
        }
        plain.push('\n');
    }
    Some(plain)
}

/// Reads a text typed as one line of a JSON string. An escape of the code's own, typed once where it had to be typed
/// twice, would come apart into two lines; the counts of every hunk have to vouch that none did.
fn escaped(raw: &str) -> Option<String> {
    let line = raw.trim();
    if line.contains('\n') || !line.contains("\\n") {
        return None;
    }
    let line = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line);
    let text: String =
        serde_json::from_str(&format!("\"{line}\"")).or_else(|_| serde_json::from_str(&quoted(line))).ok()?;
    Some(text)
}

/// Returns the line as a JSON string whose bare quotes are escaped.
fn quoted(line: &str) -> String {
    let mut out = String::from("\"");
    let mut escape = false;
    for c in line.chars() {
        if c == '"' && !escape {
            out.push('\\');
        }
        escape = c == '\\' && !escape;
        out.push(c);
    }
    out.push('"');
    out
}

/// Says whether a text that came out of [`uncovered`] was escaped, so that its counts have to be right.
pub(super) fn needs_counts(raw: &str) -> bool {
    !raw.trim().contains(['\n', '\r'])
}

/// Says whether every hunk's counts are those of its lines, and every line has its sign.
pub(super) fn counts_hold(text: &str, patch: &Patch<'_>) -> bool {
    let numbered = |line: &str| NUMBERED.as_ref().is_some_and(|numbered| numbered.is_match(line));
    text.lines().filter(|line| line.starts_with("@@")).all(numbered) && patch.counts_hold()
}

/// Returns the text with its HTML entities read, if it went through an escaper as a whole: no character that an
/// escaper would have changed is left.
pub(super) fn unescaped_html(raw: &str) -> Option<String> {
    if !raw.contains('&') || raw.contains(['<', '>']) {
        return None;
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (entity, plain) = [
            ("&lt;", '<'),
            ("&gt;", '>'),
            ("&amp;", '&'),
            ("&quot;", '"'),
            ("&#39;", '\''),
            ("&#x27;", '\''),
            ("&apos;", '\''),
        ]
        .into_iter()
        .find(|(entity, _)| rest.starts_with(entity))?;
        out.push(plain);
        rest = &rest[entity.len()..];
    }
    out.push_str(rest);
    Some(out)
}

fn opens(line: &str) -> bool {
    line.starts_with("diff --git ") || line.starts_with("--- ") || line.starts_with("*** Begin Patch")
}
