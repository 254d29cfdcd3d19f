//! The identity of a change: what it takes away and puts in, and between what, up to white space and comments.
//!
//! The rest of a file does not count, so that a proposal sent again after something else changed is known again.

use sha2::{Digest, Sha256};
use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::lex::{self, Lang};
use crate::change::{Change, FileVersion};

/// How much on both sides of a change tells its place, in tokens: the same text is written in more than one place.
const AROUND: usize = 12;

/// Returns a hash, in hexadecimal, that two changes share if they do the same in the same places.
pub fn fingerprint(change: &Change) -> String {
    let mut files: Vec<String> = change
        .files
        .iter()
        .map(|file| (file, edits(&file.path, file.old.as_ref(), file.new.as_ref())))
        .filter(|(_, edits)| !edits.is_empty())
        .map(|(file, edits)| format!("{}\0{edits}", file.path))
        .collect();
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.as_bytes());
        hasher.update([0, 0]);
    }
    hasher.finalize().iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What becomes of one file, edit by edit; empty where nothing that counts does.
fn edits(path: &str, old: Option<&FileVersion>, new: Option<&FileVersion>) -> String {
    let kind = |version: Option<&FileVersion>| match version {
        None => "absent".to_owned(),
        Some(version) if version.text().is_some() => version.mode.as_git().to_owned(),
        Some(version) => format!("{} bytes {:?}", version.mode.as_git(), Sha256::digest(&version.content)),
    };
    let (old_kind, new_kind) = (kind(old), kind(new));
    let text = |version: Option<&FileVersion>| version.and_then(FileVersion::text).unwrap_or_default().to_owned();
    let (old, new) = (text(old), text(new));
    let (old, new) = (words(path, &old), words(path, &new));
    if old_kind == new_kind && old == new {
        return String::new();
    }
    let mut out = format!("{old_kind} {new_kind}");
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        if op.tag() == DiffTag::Equal {
            continue;
        }
        let (gone, come) = (op.old_range(), op.new_range());
        let before = &old[gone.start.saturating_sub(AROUND)..gone.start];
        let after = &old[gone.end..(gone.end + AROUND).min(old.len())];
        for part in [before, &old[gone.clone()], &new[come], after] {
            out.push('\u{1}');
            out.push_str(&part.join(" "));
        }
    }
    out
}

/// The tokens of a text, with the nesting of Python kept: there white space is meaning.
fn words(path: &str, text: &str) -> Vec<String> {
    let lang = Lang::of(path, text);
    if lang == Lang::Plain || lang == Lang::Hash {
        return text.split_whitespace().map(str::to_owned).collect();
    }
    let mut out = Vec::new();
    let mut columns: Vec<u32> = vec![0];
    let mut line = 0;
    for token in &lex::tokens(lang, text) {
        if lang == Lang::Python && token.line != line {
            while columns.last().is_some_and(|top| *top > token.col) {
                columns.pop();
            }
            if columns.last() != Some(&token.col) {
                columns.push(token.col);
            }
            out.push(format!("\n{}", columns.len()));
        }
        line = token.line;
        out.push(token.text.to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::FileChange;

    fn change(path: &str, old: &str, new: &str) -> FileChange {
        FileChange { path: path.into(), old: Some(FileVersion::regular(old)), new: Some(FileVersion::regular(new)) }
    }

    #[test]
    fn white_space_comments_and_order_do_not_matter() {
        let a = Change { files: vec![change("a.js", "x", "f( 1 ) // one"), change("b.rs", "y", "z")] };
        let b = Change { files: vec![change("b.rs", "y", "/* hm */ z\n"), change("a.js", "x", "f(1)")] };
        assert_eq!(fingerprint(&a), fingerprint(&b));
    }

    #[test]
    fn indentation_matters_in_python_but_not_its_width() {
        let deep = Change::new(vec![change("a.py", "", "if a:\n    b()\n    c()\n")]);
        let wide = Change::new(vec![change("a.py", "", "if a:\n  b()\n  c()\n")]);
        let flat = Change::new(vec![change("a.py", "", "if a:\n    b()\nc()\n")]);
        assert_eq!(fingerprint(&deep), fingerprint(&wide));
        assert_ne!(fingerprint(&deep), fingerprint(&flat));
    }

    #[test]
    fn what_changed_elsewhere_in_the_file_does_not_matter() {
        let body = |first: &str, word: &str| {
            let rest = "const one = 1;\nconst two = 2;\nconst three = 3;\nconst four = 4;\n";
            format!("{first}{rest}{rest}function f() {{\n  return {word};\n}}\n{rest}")
        };
        let a = Change::new(vec![change("a.js", &body("", "1"), &body("", "2"))]);
        let b =
            Change::new(vec![change("a.js", &body("let new1 = 0;\n", "1"), &body("let new1 = 0;\n", "/* so */ 2"))]);
        assert_eq!(fingerprint(&a), fingerprint(&b));
    }

    #[test]
    fn the_same_words_in_another_place_are_another_change() {
        let body = |first: u32, second: u32| {
            format!("function first() {{\n  return {first};\n}}\nfunction second() {{\n  return {second};\n}}\n")
        };
        let a = Change::new(vec![change("a.js", &body(1, 1), &body(2, 1))]);
        let b = Change::new(vec![change("a.js", &body(1, 1), &body(1, 2))]);
        assert_ne!(fingerprint(&a), fingerprint(&b));
    }

    #[test]
    fn another_value_is_another_change() {
        let a = Change::new(vec![change("a.go", "x", "f(1)")]);
        let b = Change::new(vec![change("a.go", "x", "f(2)")]);
        assert_ne!(fingerprint(&a), fingerprint(&b));
    }
}
