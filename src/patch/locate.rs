//! Finds the places where a hunk can stand, from the strictest reading to the loosest, and picks one only where there
//! is no doubt.

use super::how::How;
use super::loose;
use super::needle::{Needle, NewLine};
use super::text::{Form, Interner, find_all, fold, indent, is_telling, is_typographic};

/// Context lines git writes on either side of a change; a heading is taken from above them.
const USUAL_CONTEXT: usize = 3;

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
    fn of(mut places: Vec<Placement>) -> Self {
        match places.len() {
            0 => Self::Nowhere,
            1 => places.pop().map_or(Self::Nowhere, Self::One),
            _ => Self::Many(places),
        }
    }
}

/// Looks for a needle.
pub(super) fn locate<'a>(hay: &mut Hay<'a>, needle: &Needle<'a>) -> Found {
    let found = strict(hay, needle);
    if !matches!(found, Found::Nowhere) {
        return found;
    }
    let found = loose::noise(hay, needle);
    if !matches!(found, Found::Nowhere) {
        return found;
    }
    match (loose::altered(hay, needle), loose::split(hay, needle)) {
        // Two different stories about what went wrong are as good as two places.
        (Found::One(place), Found::One(other)) if !place.same_edits(&other) => {
            Found::Doubt(vec![place.first, other.first], "no exact match, and two places where it nearly matches")
        }
        (found, Found::Nowhere) | (found @ Found::One(_), _) => found,
        (_, split) => split,
    }
}

/// Looks for a needle at the levels that overlook no word: as typed, line ends, typography, a shift of the whole.
pub(super) fn strict<'a>(hay: &mut Hay<'a>, needle: &Needle<'a>) -> Found {
    for (form, how) in [(Form::Exact, How::Exact), (Form::Ws, How::Ws), (Form::Fold, How::Fold)] {
        let (ids, old) = hay.ids(form, &needle.old);
        let starts = find_all(ids, &old);
        if starts.is_empty() {
            continue;
        }
        if how == How::Fold && starts.iter().any(|start| !plain_adds(hay.lines, needle, *start)) {
            return Found::Doubt(starts, "the added lines hold typographic characters that the file may not want");
        }
        let places = starts.iter().filter_map(|start| window(needle, *start, needle.adds.clone(), how));
        return edges(hay.lines, needle, Found::of(places.collect()));
    }
    let (ids, old) = hay.ids(Form::Strip, &needle.old);
    let starts = find_all(ids, &old);
    if !distinctive(&needle.old) {
        return Found::Nowhere;
    }
    let mut places = Vec::new();
    let mut lost = Vec::new();
    for start in starts {
        let Some(shift) = uniform(&hay.lines[start..start + needle.old.len()], &needle.old) else { continue };
        match shift_adds(&needle.adds, &shift).filter(|_| plain_adds(hay.lines, needle, start)) {
            Some(adds) => places.extend(window(needle, start, adds, shift.how())),
            None => lost.push(start),
        }
    }
    if !lost.is_empty() {
        return Found::Doubt(lost, "the indentation of the added lines cannot be told");
    }
    edges(hay.lines, needle, Found::of(places))
}

/// Refuses an addition at the very edge of a hunk that has context on the other side only, unless it is the edge of the
/// file: a complete diff has context on both sides everywhere else, so lines were left out there.
fn edges(lines: &[&str], needle: &Needle<'_>, found: Found) -> Found {
    let Found::One(place) = &found else { return found };
    let last = needle.old.len();
    let (lead, trail) = (needle.lead(), needle.trail());
    // Empty lines at the very end of a patch get lost on the way; the count in the header still claims them.
    let rest = &lines[place.first + last..];
    let ended =
        rest.is_empty() || needle.claimed == Some(last + rest.len()) && rest.iter().all(|line| line.trim().is_empty());
    let open_end = needle.adds_at(last) && !needle.gone[last - 1] && lead > 1 && !ended;
    let open_start = needle.adds_at(0) && !needle.gone[0] && trail > 1 && place.first != 0;
    if open_end || open_start {
        return Found::Doubt(vec![place.first], "the context on one side of the added lines is missing");
    }
    found
}

/// Returns the placement of a needle whose old lines stand in one piece.
pub(super) fn window(needle: &Needle<'_>, start: usize, adds: Vec<Vec<NewLine>>, how: How) -> Option<Placement> {
    let at: Vec<Option<usize>> = (start..start + needle.old.len()).map(Some).collect();
    Placement::new(needle, &at, adds, how)
}

/// Says whether the old text can be told from others when indentation does not count.
pub(super) fn distinctive(old: &[&str]) -> bool {
    let telling = old.iter().filter(|line| is_telling(line)).count();
    telling > 1 || old.iter().any(|line| line.chars().filter(|c| c.is_alphanumeric()).take(8).count() == 8)
}

/// Says whether the added lines are free of typographic characters, unless the file has them right there. Where the old
/// text had to be folded, those of the new text are most likely no one's wish.
pub(super) fn plain_adds(lines: &[&str], needle: &Needle<'_>, start: usize) -> bool {
    let here = &lines[start.min(lines.len())..(start + needle.old.len()).min(lines.len())];
    let typed_plain = needle.old.iter().all(|line| matches!(fold(line), std::borrow::Cow::Borrowed(_)));
    let odd = |c: char| is_typographic(c) && !here.iter().any(|line| line.contains(c));
    typed_plain || !needle.adds.iter().flatten().any(|line| line.text.chars().any(odd))
}

/// How the indentation of the file differs from the typed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shift {
    /// The file has this before what was typed.
    Plus(String),
    /// What was typed has this before what the file has.
    Minus(String),
    /// The file has a tab for every so many typed spaces.
    ToTabs(usize),
    /// The file has so many spaces for every typed tab.
    ToSpaces(usize),
}

impl Shift {
    fn how(&self) -> How {
        match self {
            Self::Plus(by) if by.is_empty() => How::Fold,
            Self::Plus(by) => How::Indent(by.len().cast_signed()),
            Self::Minus(by) => How::Indent(-by.len().cast_signed()),
            Self::ToTabs(_) | Self::ToSpaces(_) => How::Tabs,
        }
    }

    /// Returns the line as the file would indent it, or `None` where that cannot be told.
    pub(super) fn apply(&self, line: &str) -> Option<String> {
        if line.trim().is_empty() {
            return Some(line.to_owned());
        }
        let (blank, body) = line.split_at(indent(line).len());
        match self {
            Self::Plus(by) => Some(format!("{by}{line}")),
            Self::Minus(by) => line.strip_prefix(by.as_str()).map(str::to_owned),
            Self::ToTabs(width) => {
                let spaces = blank.bytes().all(|b| b == b' ') && blank.len() % width == 0;
                spaces.then(|| format!("{}{body}", "\t".repeat(blank.len() / width)))
            }
            Self::ToSpaces(width) => {
                let tabs = blank.bytes().all(|b| b == b'\t');
                tabs.then(|| format!("{}{body}", " ".repeat(blank.len() * width)))
            }
        }
    }
}

/// Returns the shift between one line of the file and one typed line, where one begins with the other's indentation.
pub(super) fn shift_of(real: &str, typed: &str) -> Option<Shift> {
    let typed = fold(typed);
    let (real, typed) = (indent(real), indent(&typed));
    match (real.strip_suffix(typed), typed.strip_suffix(real)) {
        (Some(by), _) => Some(Shift::Plus(by.to_owned())),
        (None, Some(by)) => Some(Shift::Minus(by.to_owned())),
        (None, None) => None,
    }
}

/// Returns the one shift between all lines of two texts that agree but for their indentation.
fn uniform(real: &[&str], typed: &[&str]) -> Option<Shift> {
    let pairs = || real.iter().zip(typed).filter(|(real, _)| !real.trim().is_empty());
    let mut shifts = pairs().map(|(real, typed)| shift_of(real, typed));
    if let Some(Some(first)) = shifts.next()
        && shifts.all(|shift| shift.as_ref() == Some(&first))
    {
        return Some(first);
    }
    let widths = [2, 4, 8];
    let all = |shift: Shift| {
        let fits =
            pairs().all(|(real, typed)| shift.apply(&fold(typed)).is_some_and(|line| indent(&line) == indent(real)));
        fits.then_some(shift)
    };
    let tabs = widths.iter().find_map(|width| all(Shift::ToTabs(*width)));
    tabs.or_else(|| widths.iter().find_map(|width| all(Shift::ToSpaces(*width))))
}

/// Returns the additions as the file would indent them.
fn shift_adds(adds: &[Vec<NewLine>], shift: &Shift) -> Option<Vec<Vec<NewLine>>> {
    let line = |line: &NewLine| shift.apply(&line.text).map(|text| NewLine { text, cr: line.cr });
    adds.iter().map(|slot| slot.iter().map(line).collect()).collect()
}

/// Picks one of several places by the section heading or by the stated line (from 1); never against one of them.
pub(super) fn pick<'p>(
    lines: &[&str],
    needle: &Needle<'_>,
    places: &'p [Placement],
    heading: Option<&str>,
    stated: Option<usize>,
) -> Option<&'p Placement> {
    let heads: Vec<usize> = heading
        .map_or_else(Vec::new, |heading| (0..lines.len()).filter(|at| is_heading(lines[*at], heading)).collect());
    let slack = USUAL_CONTEXT.saturating_sub(needle.lead());
    let under =
        |place: &Placement| (0..=slack).any(|up| place.first >= up && is_under(lines, &heads, place.first - up));
    let headed: Vec<&Placement> = places.iter().filter(|place| under(place)).collect();
    let by_line = places.iter().find(|place| Some(place.first + 1) == stated);
    match (headed.as_slice(), by_line) {
        ([], Some(place)) => (heads.is_empty() || heads[0] < place.first).then_some(place),
        (headed, Some(place)) => headed.iter().any(|other| other.first == place.first).then_some(place),
        ([one], None) => Some(*one),
        _ => None,
    }
}

/// Says whether a line is what a heading quotes; git cuts headings at 80 bytes, and models leave out what opens a block.
fn is_heading(line: &str, heading: &str) -> bool {
    let Some(rest) = line.trim().strip_prefix(heading.trim_end_matches([':', '{', ' '])) else { return false };
    heading.len() >= 79 || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Says whether the nearest heading above a line governs it: nothing that begins a section stands between.
fn is_under(lines: &[&str], heads: &[usize], at: usize) -> bool {
    let Some(head) = heads.iter().rev().find(|head| **head < at) else { return false };
    let depth = indent(lines[*head]).len();
    let begins = |line: &str| {
        indent(line).len() <= depth
            && line.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$')
    };
    !lines[head + 1..at].iter().any(|line| begins(line))
}
