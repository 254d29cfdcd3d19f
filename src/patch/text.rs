//! A file as lines that know their ends, and the forms in which lines are compared.

use std::borrow::Cow;
use std::collections::HashMap;

/// A text file split in lines.
#[derive(Debug)]
pub(super) struct TextFile<'a> {
    /// It begins with a byte-order mark, which is no part of the first line.
    pub(super) bom: bool,
    /// The lines without their ends.
    pub(super) lines: Vec<&'a str>,
    /// Says of each line whether it ends in CR LF.
    pub(super) crlf: Vec<bool>,
    /// The last line has an end.
    pub(super) ends: bool,
}

impl<'a> TextFile<'a> {
    /// Splits a text.
    pub(super) fn new(text: &'a str) -> Self {
        let (bom, text) = text.strip_prefix('\u{feff}').map_or((false, text), |rest| (true, rest));
        let mut file = Self { bom, lines: Vec::new(), crlf: Vec::new(), ends: text.is_empty() || text.ends_with('\n') };
        for line in text.split_inclusive('\n') {
            let (body, crlf) = match line.strip_suffix('\n') {
                Some(cut) => cut.strip_suffix('\r').map_or((cut, false), |cut| (cut, true)),
                None => (line, false),
            };
            file.lines.push(body);
            file.crlf.push(crlf);
        }
        file
    }

    /// Returns the end that all lines share (true for CR LF), or `None` where they are mixed. A last line without an
    /// end has no say.
    pub(super) fn style(&self) -> Option<bool> {
        let ended = if self.ends { self.crlf.len() } else { self.crlf.len().saturating_sub(1) };
        let first = self.crlf[..ended].first().copied().unwrap_or(false);
        self.crlf[..ended].iter().all(|crlf| *crlf == first).then_some(first)
    }
}

/// Returns the line with typographic quotes, dashes and spaces as plain ones.
pub(super) fn fold(line: &str) -> Cow<'_, str> {
    if line.is_ascii() || !line.chars().any(is_typographic) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\u{2018}'..='\u{201b}' | '\u{2032}' => out.push('\''),
            '\u{201c}'..='\u{201f}' | '\u{2033}' => out.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => out.push('-'),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => out.push(' '),
            '\u{2026}' => out.push_str("..."),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Says whether word processors and chat windows put this character in place of a plain one.
pub(super) fn is_typographic(c: char) -> bool {
    matches!(c, '\u{2018}'..='\u{201f}' | '\u{2032}' | '\u{2033}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{a0}'
        | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{2026}')
}

/// Returns the white space a line begins with.
pub(super) fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// Says whether a line tells places apart: three letters or digits rule out braces and bare punctuation.
pub(super) fn is_telling(line: &str) -> bool {
    line.chars().filter(|c| c.is_alphanumeric()).take(3).count() == 3
}

/// Gives equal strings equal numbers, so that lines compare as integers.
#[derive(Debug, Default)]
pub(super) struct Interner<'a> {
    ids: HashMap<Cow<'a, str>, u32>,
}

impl<'a> Interner<'a> {
    /// Returns the number of a string.
    pub(super) fn id(&mut self, text: Cow<'a, str>) -> u32 {
        let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        *self.ids.entry(text).or_insert(next)
    }

    /// Returns the numbers of lines in one of the forms.
    pub(super) fn ids(&mut self, lines: &[&'a str], form: Form) -> Vec<u32> {
        lines.iter().map(|line| self.id(form.of(line))).collect()
    }
}

/// A form in which lines are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As typed.
    Exact,
    /// Without blanks at the end.
    Ws,
    /// Also with plain quotes, dashes and spaces.
    Fold,
    /// Also without indentation.
    Strip,
}

impl Form {
    /// Returns a line in this form.
    pub(super) fn of(self, line: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(line),
            Self::Ws => Cow::Borrowed(line.trim_end()),
            Self::Fold => match fold(line) {
                Cow::Borrowed(line) => Cow::Borrowed(line.trim_end()),
                Cow::Owned(line) => Cow::Owned(line.trim_end().to_owned()),
            },
            Self::Strip => match fold(line) {
                Cow::Borrowed(line) => Cow::Borrowed(line.trim()),
                Cow::Owned(line) => Cow::Owned(line.trim().to_owned()),
            },
        }
    }
}

/// Returns every place where `needle` stands in `hay`, in linear time (Knuth, Morris and Pratt).
pub(super) fn find_all(hay: &[u32], needle: &[u32]) -> Vec<usize> {
    if needle.is_empty() || needle.len() > hay.len() {
        return Vec::new();
    }
    let mut fail = vec![0; needle.len()];
    let mut len = 0;
    for at in 1..needle.len() {
        while len > 0 && needle[at] != needle[len] {
            len = fail[len - 1];
        }
        len += usize::from(needle[at] == needle[len]);
        fail[at] = len;
    }
    let mut found = Vec::new();
    len = 0;
    for (at, id) in hay.iter().enumerate() {
        while len > 0 && *id != needle[len] {
            len = fail[len - 1];
        }
        len += usize::from(*id == needle[len]);
        if len == needle.len() {
            found.push(at + 1 - len);
            len = fail[len - 1];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_their_own_ends() {
        let file = TextFile::new("\u{feff}a\r\nb\nc");
        assert_eq!((file.bom, file.lines.as_slice(), file.ends), (true, ["a", "b", "c"].as_slice(), false));
        assert_eq!((file.crlf.as_slice(), file.style()), ([true, false, false].as_slice(), None));
        assert_eq!(TextFile::new("a\r\nb").style(), Some(true));
        assert_eq!(TextFile::new("").lines.len(), 0);
    }

    #[test]
    fn typographic_characters_fold_to_plain_ones() {
        assert_eq!(fold("‘a’ “b” c–d\u{a0}e…"), "'a' \"b\" c-d e...");
        assert_eq!(fold("grün"), "grün");
    }

    #[test]
    fn every_occurrence_is_found_also_overlapping_ones() {
        assert_eq!(find_all(&[1, 1, 1, 2, 1, 1], &[1, 1]), [0, 1, 4]);
        assert_eq!(find_all(&[1], &[1, 1]), [] as [usize; 0]);
    }
}
