//! Where a hunk can stand: the file to search in, one place, and what a search found.

use super::how::How;
use super::needle::{Needle, NewLine};
use super::text::{Form, Interner};

/// A file to search in, in every form of its lines.
#[derive(Debug)]
pub(super) struct Hay<'a> {
    pub(super) lines: &'a [&'a str],
    forms: [(Form, Interner<'a>, Vec<u32>); 4],
}

impl<'a> Hay<'a> {
    /// Prepares the lines of a file.
    pub(super) fn new(lines: &'a [&'a str]) -> Self {
        let form = |form: Form| {
            let mut interner = Interner::default();
            let ids = interner.ids(lines, form);
            (form, interner, ids)
        };
        let forms = [form(Form::Exact), form(Form::Ws), form(Form::Fold), form(Form::Strip)];
        Self { lines, forms }
    }

    /// Returns the numbers of the file's lines and of these lines, in one form.
    pub(super) fn ids(&mut self, form: Form, old: &[&'a str]) -> (&[u32], Vec<u32>) {
        let (_, interner, ids) = &mut self.forms[form as usize];
        let old = interner.ids(old, form);
        (ids, old)
    }
}

/// One place for a hunk, as edits of the file's lines (numbered from 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    /// The line where the hunk's old text begins.
    pub(super) first: usize,
    /// Lines that go.
    pub(super) deletes: Vec<usize>,
    /// Lines that the hunk quotes and keeps.
    pub(super) keeps: Vec<usize>,
    /// What comes in before a line; the number of lines stands for the end.
    pub(super) inserts: Vec<(usize, Vec<NewLine>)>,
    /// How the place was found.
    pub(super) how: How,
}

impl Placement {
    /// Builds the placement of a needle whose old lines stand at these lines of the file (`None`: nowhere), with its
    /// additions rewritten.
    pub(super) fn new(needle: &Needle<'_>, at: &[Option<usize>], adds: Vec<Vec<NewLine>>, how: How) -> Option<Self> {
        let first = at.iter().position(Option::is_some)?;
        let mut place = Self {
            first: at[first]?.saturating_sub(first),
            deletes: Vec::new(),
            keeps: Vec::new(),
            inserts: Vec::new(),
            how,
        };
        for (line, slot) in at.iter().zip(&needle.gone) {
            match line {
                Some(line) if *slot => place.deletes.push(*line),
                Some(line) => place.keeps.push(*line),
                None if *slot => return None,
                None => {}
            }
        }
        for (slot, lines) in adds.into_iter().enumerate().filter(|(_, lines)| !lines.is_empty()) {
            let before = slot.checked_sub(1).and_then(|before| at[before]).map(|line| line + 1);
            place.inserts.push((before.or_else(|| at.get(slot).copied().flatten())?, lines));
        }
        Some(place)
    }

    /// Says whether two placements edit the file alike, whatever context they claim.
    pub(super) fn same_edits(&self, other: &Self) -> bool {
        self.deletes == other.deletes && self.inserts == other.inserts
    }
}

/// What the search found.
#[derive(Debug)]
pub(super) enum Found {
    /// One place.
    One(Placement),
    /// Several; a heading or a line number may choose among them.
    Many(Vec<Placement>),
    /// Places that look possible and are not certain; nothing may choose among them.
    Doubt(Vec<usize>, &'static str),
    /// None.
    Nowhere,
}

impl Found {
    /// Returns what so many places come to.
    pub(super) fn of(mut places: Vec<Placement>) -> Self {
        match places.len() {
            0 => Self::Nowhere,
            1 => places.pop().map_or(Self::Nowhere, Self::One),
            _ => Self::Many(places),
        }
    }
}
