//! The names in a patch's headers: quoting, time stamps, prefixes.

use std::sync::LazyLock;

use regex::Regex;

/// Longest header line that is searched for names; no usable path comes near it, and the search is quadratic.
const MAX_HEADER_BYTES: usize = 8192;

/// A time stamp as diff(1) and git write it after a name, where the tab before it was lost.
static STAMP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\s+(?:[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ )?\d{2,4}[-:]\d\d[-:]\d\d(?:[ T]\d\d:\d\d\S*)?(?: [+-]\d{4}| \d{4})?\s*$").ok()
});

/// Returns the name after `--- `, `+++ ` or a rename word, or `None` where it cannot be read.
pub(super) fn read(rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches(' ');
    if rest.len() > MAX_HEADER_BYTES {
        return None;
    }
    if rest.starts_with('"') {
        return unquote(rest).map(|(name, _)| name);
    }
    let name = rest.split('\t').next().unwrap_or_default();
    let name = match STAMP.as_ref().and_then(|stamp| stamp.find(name)) {
        Some(stamp) if stamp.start() > 0 => &name[..stamp.start()],
        _ => name,
    };
    let name = name.trim_end();
    let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(name);
    let name = name.strip_prefix("./").unwrap_or(name);
    // Separators as Windows has them; what they lead to is checked like any other name.
    let name = if name.contains('/') { name.to_owned() } else { name.replace('\\', "/") };
    (!name.is_empty()).then_some(name)
}

/// Returns the two names after `diff --git `, or `None` where they cannot be told apart. Two names that agree but for
/// their prefix are preferred, then a second name that begins with `b/`, then a single space.
pub(super) fn read_git(rest: &str) -> Option<(String, String)> {
    let rest = rest.trim();
    if rest.len() > MAX_HEADER_BYTES {
        return None;
    }
    if rest.starts_with('"') {
        let (old, tail) = unquote(rest)?;
        return Some((old, read(tail)?));
    }
    if let Some(at) = rest.find(" \"") {
        return Some((rest[..at].to_owned(), unquote(&rest[at + 1..])?.0));
    }
    let splits = || rest.match_indices(' ').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    let same = splits().find(|(old, new)| bare(old) == bare(new) || old == new);
    let (old, new) = same.or_else(|| splits().find(|(_, new)| new.starts_with("b/"))).or_else(|| {
        let mut all = splits();
        all.next().filter(|_| all.next().is_none())
    })?;
    Some((old.to_owned(), new.to_owned()))
}

/// Returns the name without git's side prefix.
pub(super) fn bare(name: &str) -> &str {
    for prefix in ["a/", "b/", "i/", "w/", "c/", "o/"] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return rest;
        }
    }
    name
}

/// Says whether the name stands for no file.
pub(super) fn is_null(name: &str) -> bool {
    matches!(name, "/dev/null" | "dev/null" | "a/dev/null" | "b/dev/null" | "NUL" | "nul")
}

/// Reads a C-style quoted name; returns it with what follows the closing quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let body = text.strip_prefix('"')?;
    let mut rest = body.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => return String::from_utf8(bytes).ok().map(|name| (name, &body[at + 1..])),
            b'\\' => {
                let (_, escape) = rest.next()?;
                bytes.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'"' | b'\\' => escape,
                    b'0'..=b'3' => {
                        let mut value = u32::from(escape - b'0');
                        for _ in 0..2 {
                            let (_, digit) = rest.next().filter(|(_, digit)| (b'0'..=b'7').contains(digit))?;
                            value = value * 8 + u32::from(digit - b'0');
                        }
                        u8::try_from(value).ok()?
                    }
                    _ => return None,
                });
            }
            _ => bytes.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_no_part_of_a_name() {
        for text in [
            "a/src/x.py\t2024-01-01 12:00:00.000000000 +0000",
            "a/src/x.py   2024-01-01 12:00:00.000000000 +0000",
            "a/src/x.py 2024-01-01",
            "a/src/x.py Mon Jan  1 12:00:00 2024",
            "a/src/x.py",
        ] {
            assert_eq!(read(text).as_deref(), Some("a/src/x.py"), "{text}");
        }
        assert_eq!(read("a/two words v2.txt").as_deref(), Some("a/two words v2.txt"));
    }

    #[test]
    fn quoted_names_are_read_as_bytes() {
        assert_eq!(read(r#""a/gr\303\274n.txt""#).as_deref(), Some("a/grün.txt"));
        assert_eq!(read(r#""a/\056\056/x""#).as_deref(), Some("a/../x"));
        assert_eq!(read(r#""a/\377.txt""#), None);
        assert_eq!(read(r#""a/open"#), None);
    }

    #[test]
    fn git_lines_split_where_both_names_agree() {
        let pair = |old: &str, new: &str| Some((old.to_owned(), new.to_owned()));
        assert_eq!(read_git("a/x y b/x y"), pair("a/x y", "b/x y"));
        assert_eq!(read_git("a/x b/y"), pair("a/x", "b/y"));
        assert_eq!(read_git("x x"), pair("x", "x"));
        assert_eq!(read_git(r#""a/\303\274" "b/\303\274""#), pair("a/ü", "b/ü"));
        assert_eq!(read_git("nonsense"), None);
    }
}
