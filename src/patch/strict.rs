//! The strict ways to find a place, which overlook no word: as typed, line ends, typography, a shift of the whole.

use super::how::How;
use super::needle::{Needle, NewLine};
use super::place::{Found, Hay, Placement};
use super::text::{Form, find_all, fold, indent, is_telling, is_typographic};

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
