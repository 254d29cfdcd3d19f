//! The loose ways to find a place: lines that differ in indentation or wording, or that were left out.
//!
//! Every way counts all places that are as good, also those it would not use, and gives up where there is a rival.

use std::collections::BTreeMap;

use super::how::How;
use super::needle::{Needle, NewLine};
use super::place::{Found, Hay, Placement};
use super::strict::{Shift, distinctive, plain_adds, shift_of, window};
use super::text::{Form, find_all, indent, is_telling};

/// Most line comparisons one hunk may cost (lines of the file times lines of the hunk); a second of work at the most.
const MAX_WORK: usize = 50_000_000;
/// Least likeness of a context line to the one it stands for, where an addition is beside it.
const LIKE: f64 = 0.6;
/// Least likeness of a removed line to the one that replaces it, where lines were left out right after.
const LIKE_PAIR: f64 = 0.7;
/// Most lines of the file that a hunk may leave out where one half has no change of its own, or little text.
const NEAR: usize = 3;
/// Longest lines whose likeness is measured, in characters; the measure is quadratic.
const MAX_LIKE_CHARS: usize = 400;
/// Old lines from which two of them may differ.
const LONG_HUNK: usize = 10;

/// Looks for a hunk whose lines agree but for an indentation that varies from line to line.
pub(super) fn noise<'a>(hay: &mut Hay<'a>, needle: &Needle<'a>) -> Found {
    if !distinctive(&needle.old) {
        return Found::Nowhere;
    }
    let (ids, old) = hay.ids(Form::Strip, &needle.old);
    let starts = find_all(ids, &old);
    match starts.as_slice() {
        [] => Found::Nowhere,
        [start] => {
            let adds = noise_adds(hay, needle, *start).filter(|_| plain_adds(hay.lines, needle, *start));
            let place = adds.and_then(|adds| window(needle, *start, adds, How::Strip));
            place.map_or(Found::Doubt(starts, "the indentation of the added lines cannot be told"), Found::One)
        }
        _ => Found::Doubt(starts, "the old text stands in several places when indentation does not count"),
    }
}

/// Returns the additions as the file would indent them, or `None` where the lines around them do not agree on it.
fn noise_adds(hay: &Hay<'_>, needle: &Needle<'_>, start: usize) -> Option<Vec<Vec<NewLine>>> {
    let shifts: Vec<Option<Option<Shift>>> = (needle.old.iter().enumerate())
        .map(|(at, typed)| (!typed.trim().is_empty()).then(|| shift_of(hay.lines[start + at], typed)))
        .collect();
    let none = Shift::Plus(String::new());
    let told = shifts.iter().flatten().count();
    let still = shifts.iter().flatten().filter(|shift| shift.as_ref() == Some(&none)).count();
    let mut out = Vec::with_capacity(needle.adds.len());
    for (slot, adds) in needle.adds.iter().enumerate() {
        if adds.is_empty() {
            out.push(Vec::new());
            continue;
        }
        let above = (0..slot).rev().take_while(|at| needle.gone[*at]);
        let below = (slot..needle.old.len()).take_while(|at| needle.gone[*at]);
        let mut governing: Vec<&Option<Shift>> = above.chain(below).filter_map(|at| shifts[at].as_ref()).collect();
        if governing.is_empty() {
            governing.extend(shifts[..slot].iter().rev().flatten().next());
            governing.extend(shifts[slot..].iter().flatten().next());
        }
        let agreed = match governing.split_first() {
            Some((first, rest)) if rest.iter().all(|shift| shift == first) => (*first).clone()?,
            // Most lines were typed as they are: so were, most likely, the new ones.
            Some(_) if still * 5 >= told * 3 => none.clone(),
            _ => return None,
        };
        let shifted = |shift: &Shift| -> Option<Vec<NewLine>> {
            let line = |line: &NewLine| shift.apply(&line.text).map(|text| NewLine { text, cr: line.cr });
            let lines: Option<Vec<NewLine>> = adds.iter().map(line).collect();
            lines.filter(|lines| lines.iter().all(|line| plausible(hay.lines, start, needle.old.len(), &line.text)))
        };
        // The new lines may have been typed as they are to be, or as wrongly as their neighbours. Only where the file
        // makes just one of the two likely is there no doubt.
        let both = (shifted(&none), shifted(&agreed).filter(|_| agreed != none));
        let ((Some(lines), None) | (None, Some(lines))) = both else { return None };
        out.push(lines);
    }
    Some(out)
}

/// Says whether the indentation of a new line is one the file uses nearby, or one step further in.
fn plausible(lines: &[&str], start: usize, len: usize, new: &str) -> bool {
    if new.trim().is_empty() {
        return true;
    }
    let nearby = &lines[start.saturating_sub(40)..(start + len + 40).min(lines.len())];
    let used: Vec<&str> = nearby.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).collect();
    let mut steps: BTreeMap<usize, usize> = BTreeMap::new();
    for pair in used.windows(2) {
        if let Some(step) = pair[1].strip_prefix(pair[0]).filter(|step| !step.is_empty()) {
            *steps.entry(step.len()).or_default() += 1;
        }
    }
    let step = steps.iter().max_by_key(|(_, count)| **count).map(|(step, _)| *step);
    let mine = indent(new);
    used.iter().any(|known| *known == mine || mine.strip_prefix(*known).is_some_and(|rest| Some(rest.len()) == step))
}

/// A place where all but a few context lines stand.
struct Near {
    start: isize,
    /// The context lines that differ.
    odd: Vec<usize>,
}

/// Looks for a hunk of which one or two context lines differ from the file, at its edges or inside.
pub(super) fn altered<'a>(hay: &mut Hay<'a>, needle: &Needle<'a>) -> Found {
    let len = needle.old.len();
    if len < 2 || len.saturating_mul(hay.lines.len()) > MAX_WORK {
        return Found::Nowhere;
    }
    let strip: Vec<u32> = hay.ids(Form::Strip, &[]).0.to_vec();
    let old_strip = hay.ids(Form::Strip, &needle.old).1;
    let (ids, old) = hay.ids(Form::Fold, &needle.old);
    let ids = ids.to_vec();
    for allowed in 1..=2 {
        let near = near(&ids, &old, &needle.gone, allowed);
        if near.is_empty() {
            continue;
        }
        let fits = |near: &Near| fits(hay.lines, needle, near, (&strip, &old_strip));
        if let [one] = near.as_slice()
            && fits(one)
        {
            let at: Vec<Option<usize>> = (0..len)
                .map(|line| one.start.checked_add_unsigned(line).and_then(|at| usize::try_from(at).ok()))
                .map(|at| at.filter(|at| *at < hay.lines.len()))
                .collect();
            let how = if outer(&one.odd, len) { How::Fuzz(one.odd.len()) } else { How::Altered(one.odd.len()) };
            let place = Placement::new(needle, &at, needle.adds.clone(), how);
            return place.map_or(Found::Nowhere, Found::One);
        }
        let starts: Vec<usize> = near.iter().map(|near| usize::try_from(near.start).unwrap_or(0)).collect();
        return Found::Doubt(starts, "no exact match; where it nearly matches is not certain");
    }
    Found::Nowhere
}

/// Returns every place where at most `allowed` lines differ, all of them context. A line beyond the file differs.
fn near(ids: &[u32], old: &[u32], gone: &[bool], allowed: usize) -> Vec<Near> {
    let over = allowed.cast_signed();
    let last = ids.len().cast_signed() - old.len().cast_signed() + over;
    let mut found = Vec::new();
    'places: for start in -over..=last {
        let mut odd = Vec::new();
        for (at, id) in old.iter().enumerate() {
            let line = usize::try_from(start + at.cast_signed()).ok().and_then(|line| ids.get(line));
            if line != Some(id) {
                if gone[at] || odd.len() == allowed {
                    continue 'places;
                }
                odd.push(at);
            }
        }
        found.push(Near { start, odd });
    }
    found
}

/// Says whether the odd lines are all at the edges.
fn outer(odd: &[usize], len: usize) -> bool {
    let top = odd.iter().enumerate().take_while(|(n, at)| *n == **at).count();
    odd[top..].iter().rev().enumerate().all(|(n, at)| at + n + 1 == len)
}

/// Says whether the odd lines leave no doubt about the place of every change.
fn fits(lines: &[&str], needle: &Needle<'_>, near: &Near, strip: (&[u32], &[u32])) -> bool {
    let len = needle.old.len();
    let real = |at: usize| usize::try_from(near.start + at.cast_signed()).ok().and_then(|line| lines.get(line));
    // Beside an addition a line must be the same one in other words. A line that stands elsewhere in the file was not
    // altered: another one was left out.
    let same = |at: usize| {
        let typed = needle.old[at].trim();
        real(at).is_some_and(|real| {
            real.trim() == typed || alike(real.trim(), typed) >= LIKE && !strip.0.contains(&strip.1[at])
        })
    };
    let kept = (0..len).filter(|at| is_telling(needle.old[*at]) && (!near.odd.contains(at) || same(*at))).count();
    if kept < 2 || near.odd.len() > 1 && len < LONG_HUNK && !outer(&near.odd, len) {
        return false;
    }
    if !plain_adds(lines, needle, usize::try_from(near.start).unwrap_or(0)) {
        return false;
    }
    // Where only the indentation of a line differs, that of the added ones may be wrong too.
    let start = usize::try_from(near.start).unwrap_or(0);
    let shifted = near.odd.iter().any(|at| real(*at).is_some_and(|real| real.trim() == needle.old[*at].trim()));
    if shifted && !needle.adds.iter().flatten().all(|line| plausible(lines, start, len, &line.text)) {
        return false;
    }
    near.odd.iter().all(|at| !needle.adds_at(*at) && !needle.adds_at(at + 1) || same(*at))
}

/// Returns the likeness of two lines, 0 to 1.
fn alike(a: &str, b: &str) -> f64 {
    if a.len().max(b.len()) > MAX_LIKE_CHARS {
        return 0.0;
    }
    strsim::normalized_levenshtein(a, b)
}

/// Looks for a hunk that left out lines of the file in one place: a forgotten context line, or two hunks typed as one.
pub(super) fn split<'a>(hay: &mut Hay<'a>, needle: &Needle<'a>) -> Found {
    let len = needle.old.len();
    if len < 2 || len.saturating_mul(hay.lines.len()) > MAX_WORK {
        return Found::Nowhere;
    }
    let (ids, old) = hay.ids(Form::Fold, &needle.old);
    let (ids, lines) = (ids.to_vec(), hay.lines);
    // Where a beginning of the old text stands, and how long it is; where an end of it stands.
    let prefix = |at: usize| old.iter().zip(&ids[at..]).take_while(|(a, b)| a == b).count();
    let suffix = |end: usize| old.iter().rev().zip(ids[..end].iter().rev()).take_while(|(a, b)| a == b).count();
    let heads: Vec<(usize, usize)> = (0..ids.len()).map(|at| (at, prefix(at))).filter(|(_, len)| *len > 0).collect();
    let tails: Vec<(usize, usize)> =
        (1..=ids.len()).map(|end| (end, suffix(end))).filter(|(_, len)| *len > 0).collect();
    if heads.len().saturating_mul(tails.len()) > MAX_WORK / 10 {
        return Found::Nowhere;
    }
    let mut places: Vec<Placement> = Vec::new();
    let mut doubts = Vec::new();
    for (at, head) in &heads {
        for (end, tail) in tails.iter().filter(|(_, tail)| head + tail >= len) {
            let Some(gap) = end.checked_sub(at + len).filter(|gap| *gap > 0) else { continue };
            for cut in (len - tail).max(1)..=(*head).min(len - 1) {
                if !enough(&ids, &old, needle, cut, gap, *end) {
                    continue;
                }
                let at: Vec<Option<usize>> =
                    (0..len).map(|n| Some(if n < cut { at + n } else { at + gap + n })).collect();
                let open = needle.adds_at(cut) && !replaced(needle, cut);
                match Placement::new(needle, &at, needle.adds.clone(), How::Split).filter(|_| !open) {
                    Some(place) if places.iter().any(|other| other.same_edits(&place)) => {}
                    Some(place) => places.push(place),
                    None => doubts.push(at[0].unwrap_or_default()),
                }
            }
            if places.len() + doubts.len() > 50 {
                return Found::Doubt(doubts, "no exact match; the old text is scattered over the file");
            }
        }
    }
    let start = places.first().map_or(0, |place| place.first);
    match places.len() {
        0 if doubts.is_empty() => Found::Nowhere,
        1 if doubts.is_empty() && plain_adds(lines, needle, start) => places.pop().map_or(Found::Nowhere, Found::One),
        _ => {
            doubts.extend(places.iter().map(|place| place.first));
            Found::Doubt(doubts, "the patch left out lines of the file, and where the change belongs is not certain")
        }
    }
}

/// Says whether both halves of a cut hunk hold enough text to be told from others: they are long, or stand in the file
/// once only. The end of the file tells the second half's place as well.
fn enough(hay: &[u32], old: &[u32], needle: &Needle<'_>, cut: usize, gap: usize, end: usize) -> bool {
    let len = old.len();
    let telling = |range: std::ops::Range<usize>| needle.old[range].iter().filter(|line| is_telling(line)).count();
    let (head, tail) = (telling(0..cut), telling(cut..len));
    let open_end = needle.adds_at(len) && !needle.gone[len - 1];
    let at_end = open_end && end == hay.len() && len - cut > 1;
    // A complete diff has context after the last added line, unless the file ends there.
    if open_end && end != hay.len() && (len - cut) > 1 {
        return false;
    }
    let once = |range: std::ops::Range<usize>| {
        distinctive(&needle.old[range.clone()]) && find_all(hay, &old[range]).len() == 1
    };
    let changes = |range: std::ops::Range<usize>| range.clone().any(|at| needle.gone[at] || needle.adds_at(at));
    let both = changes(0..cut) && (changes(cut..len) || needle.adds_at(len));
    let told = |telling: usize, range: std::ops::Range<usize>| telling > 1 || once(range);
    if both && told(head, 0..cut) && (at_end || told(tail, cut..len)) {
        return true;
    }
    gap <= NEAR && head > 0 && tail > 0 && (head + tail > 2 || once(0..cut) && once(cut..len))
}

/// Says whether what is added at a cut clearly takes the place of the lines removed right before it, one for one.
fn replaced(needle: &Needle<'_>, cut: usize) -> bool {
    let adds = &needle.adds[cut];
    let gone = (0..cut).rev().take_while(|at| needle.gone[*at] && (*at + 1 == cut || !needle.adds_at(at + 1))).count();
    let old = &needle.old[cut - gone..cut];
    gone == adds.len() && old.iter().zip(adds).all(|(old, new)| alike(old.trim(), new.text.trim()) >= LIKE_PAIR)
}
