//! Finds the places where a hunk can stand, from the strictest reading to the loosest, and picks one only where there
//! is no doubt.

use super::loose;
use super::needle::Needle;
use super::place::{Found, Hay, Placement};
use super::strict::strict;
use super::text::indent;

/// Context lines git writes on either side of a change; a heading is taken from above them.
const USUAL_CONTEXT: usize = 3;

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
