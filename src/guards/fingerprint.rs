//! The identity of a change up to white space, comments and the order of files.

use sha2::{Digest, Sha256};

use super::lex::{self, Lang};
use crate::change::{Change, FileVersion};

/// Returns a hash, in hexadecimal, that two changes share if they do the same but for white space and comments.
pub fn fingerprint(change: &Change) -> String {
    let mut files: Vec<String> = change
        .files
        .iter()
        .map(|file| {
            format!(
                "{}\0{}\0{}",
                file.path,
                normal(&file.path, file.old.as_ref()),
                normal(&file.path, file.new.as_ref())
            )
        })
        .filter(|text| {
            let mut parts = text.split('\0').skip(1);
            parts.next() != parts.next()
        })
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

/// Tokens joined, with the nesting of Python kept: there white space is meaning.
fn normal(path: &str, version: Option<&FileVersion>) -> String {
    let Some(version) = version else { return "absent".to_string() };
    let Some(text) = version.text() else {
        return format!("{} bytes {:?}", version.mode.as_git(), Sha256::digest(&version.content));
    };
    let lang = Lang::of(path, text);
    let mut out = version.mode.as_git().to_string();
    if lang == Lang::Plain || lang == Lang::Hash {
        for word in text.split_whitespace() {
            out.push(' ');
            out.push_str(word);
        }
        return out;
    }
    let tokens = lex::tokens(lang, text);
    let mut columns: Vec<u32> = vec![0];
    let mut line = 0;
    for token in &tokens {
        if lang == Lang::Python && token.line != line {
            while columns.last().is_some_and(|top| *top > token.col) {
                columns.pop();
            }
            if columns.last() != Some(&token.col) {
                columns.push(token.col);
            }
            out.push('\n');
            out.push_str(&columns.len().to_string());
        }
        line = token.line;
        out.push(' ');
        out.push_str(token.text);
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
    fn another_value_is_another_change() {
        let a = Change::new(vec![change("a.go", "x", "f(1)")]);
        let b = Change::new(vec![change("a.go", "x", "f(2)")]);
        assert_ne!(fingerprint(&a), fingerprint(&b));
    }
}
