//! A hunk as something to look for: its old text, and what goes in before each old line.

use super::parse::{Hunk, Side};

/// A line to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewLine {
    pub(super) text: String,
    /// It was typed with a carriage return at its end.
    pub(super) cr: bool,
}

/// The old text of a hunk, and its additions by place.
#[derive(Debug, Clone)]
pub(super) struct Needle<'a> {
    /// The context and removed lines.
    pub(super) old: Vec<&'a str>,
    /// Says of each old line whether it goes.
    pub(super) gone: Vec<bool>,
    /// What is added before each old line; the last entry is what follows them all.
    pub(super) adds: Vec<Vec<NewLine>>,
    /// The marker "no newline at end of file" stood on a removed line, on an added one.
    pub(super) open_end: (bool, bool),
    /// How many old lines the header claims.
    pub(super) claimed: Option<usize>,
}

impl<'a> Needle<'a> {
    /// Returns the needle of a hunk. With `blank_adds`, empty lines without a prefix between added lines are added too.
    pub(super) fn new(hunk: &Hunk<'a>, blank_adds: bool) -> Self {
        let mut needle = Self {
            old: Vec::new(),
            gone: Vec::new(),
            adds: vec![Vec::new()],
            open_end: (false, false),
            claimed: hunk.old_count,
        };
        let blanks = if blank_adds { between_adds(hunk) } else { vec![false; hunk.lines.len()] };
        for (line, blank) in hunk.lines.iter().zip(blanks) {
            let text = line.text.strip_prefix('\u{feff}').unwrap_or(line.text);
            let added = line.side == Side::Add || blank;
            if added {
                needle.open_end.1 |= line.no_eol;
                if let Some(slot) = needle.adds.last_mut() {
                    slot.push(NewLine { text: text.to_owned(), cr: line.cr });
                }
            } else {
                needle.open_end.0 |= line.no_eol && line.side == Side::Remove;
                needle.old.push(text);
                needle.gone.push(line.side == Side::Remove);
                needle.adds.push(Vec::new());
            }
        }
        needle
    }

    /// Says whether anything is added before old line `at`.
    pub(super) fn adds_at(&self, at: usize) -> bool {
        !self.adds[at].is_empty()
    }

    /// Returns the number of context lines before the first change.
    pub(super) fn lead(&self) -> usize {
        (0..self.old.len()).take_while(|at| !self.gone[*at] && !self.adds_at(*at)).count()
    }

    /// Returns the number of context lines after the last change.
    pub(super) fn trail(&self) -> usize {
        (0..self.old.len()).rev().take_while(|at| !self.gone[*at] && !self.adds_at(*at + 1)).count()
    }
}

/// Says of each line whether it is empty, without a prefix, and the nearest lines that are not so are added ones.
fn between_adds(hunk: &Hunk<'_>) -> Vec<bool> {
    let mut out = vec![false; hunk.lines.len()];
    let mut after_add = false;
    let mut at = 0;
    for run in hunk.lines.chunk_by(|a, b| a.raw_blank == b.raw_blank) {
        let end = at + run.len();
        if run[0].raw_blank {
            let before_add = hunk.lines.get(end).is_some_and(|line| line.side == Side::Add);
            out[at..end].fill(after_add && before_add);
        } else {
            after_add = run[run.len() - 1].side == Side::Add;
        }
        at = end;
    }
    out
}

/// Says whether some empty line of the hunk may be an added one that lost its prefix.
pub(super) fn has_blank_adds(hunk: &Hunk<'_>) -> bool {
    hunk.lines.iter().zip(between_adds(hunk)).any(|(line, blank)| blank && line.side == Side::Keep)
}
