//! Writes the new version of a file from the old one and the places of its hunks.
//!
//! Context is taken from the file, never from the patch, and so are line ends, the end of the last line and a
//! byte-order mark.

use std::collections::BTreeMap;

use super::how::{How, HunkMatch};
use super::locate;
use super::needle::{self, Needle, NewLine};
use super::parse::{Hunk, Side};
use super::place::{Found, Hay, Placement};
use super::refusal::{Refusal, RefusalCode, Window};
use super::resolve::{Action, Job};
use super::strict::strict;
use super::text::{Form, TextFile, find_all, is_telling};
use crate::change::{FileChange, FileMode, FileVersion};

/// Most places named in a cause, and most windows sent back.
const MAX_PLACES: usize = 3;

/// Carries out a job: appends the file's change and how its hunks matched.
///
/// Returns a refusal if one hunk has no certain place.
pub(super) fn run(
    job: &Job<'_, '_>,
    crlf_patch: bool,
    files: &mut Vec<FileChange>,
    matches: &mut Vec<HunkMatch>,
) -> Result<(), Refusal> {
    match &job.action {
        Action::Create { path, mode } => {
            let content = created(path, &job.hunks, crlf_patch)?;
            matches.push(HunkMatch {
                path: path.clone(),
                hunk: usize::from(!content.is_empty()),
                line: 0,
                how: How::NewFile,
            });
            files.push(FileChange { path: path.clone(), old: None, new: Some(FileVersion { mode: *mode, content }) });
        }
        Action::Delete { path, old, quoted } => {
            if *quoted || !job.hunks.is_empty() {
                deleted(path, old, &job.hunks)?;
            }
            let hunk = usize::from(!job.hunks.is_empty());
            matches.push(HunkMatch { path: path.clone(), hunk, line: hunk, how: How::DeleteFile });
            files.push(FileChange { path: path.clone(), old: Some(old.clone()), new: None });
        }
        Action::Modify { path, old } => {
            let content = edited(path, old, &job.hunks, crlf_patch, matches)?;
            let new = FileVersion { mode: old.mode, content };
            files.push(FileChange { path: path.clone(), old: Some(old.clone()), new: Some(new) });
        }
        Action::Rename { from, to, old } => {
            matches.push(HunkMatch { path: to.clone(), hunk: 0, line: 0, how: How::Rename });
            let content = if job.hunks.is_empty() {
                old.content.clone()
            } else {
                edited(to, old, &job.hunks, crlf_patch, matches)?
            };
            files.push(FileChange { path: from.clone(), old: Some(old.clone()), new: None });
            files.push(FileChange { path: to.clone(), old: None, new: Some(FileVersion { mode: old.mode, content }) });
        }
    }
    Ok(())
}

fn refuse(path: &str, cause: impl Into<String>) -> Refusal {
    Refusal::of_path(RefusalCode::DoesNotApply, path, cause)
}

/// Refuses added text that no honest source file needs: NUL, and marks that make code read differently than it runs.
fn check_added(path: &str, number: usize, hunk: &Hunk<'_>) -> Result<(), Refusal> {
    let hidden = |c: char| matches!(c, '\0' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if hunk.lines.iter().any(|line| line.side == Side::Add && line.text.contains(hidden)) {
        let cause = "an added line holds NUL or bidirectional control characters";
        return Err(refuse(path, cause).at_hunk(number));
    }
    Ok(())
}

/// Returns the text of a new file.
fn created(path: &str, hunks: &[(usize, &Hunk<'_>)], crlf_patch: bool) -> Result<Vec<u8>, Refusal> {
    if hunks.len() > 1 {
        return Err(refuse(path, "a new file has more than one hunk"));
    }
    let Some((number, hunk)) = hunks.first() else { return Ok(Vec::new()) };
    check_added(path, *number, hunk)?;
    if hunk.lines.iter().any(|line| line.side != Side::Add && !line.raw_blank) {
        return Err(refuse(path, "a new file has context or removed lines").at_hunk(*number));
    }
    // Carriage returns in the headers too are the transport's, not the file's.
    let crlf = !crlf_patch && hunk.lines.iter().all(|line| line.cr || line.raw_blank);
    let mut text = String::new();
    for line in &hunk.lines {
        text.push_str(line.text);
        if !line.no_eol {
            text.push_str(if crlf { "\r\n" } else { "\n" });
        }
    }
    Ok(text.into_bytes())
}

/// Checks that the patch quotes the whole of a file that it deletes.
fn deleted(path: &str, old: &FileVersion, hunks: &[(usize, &Hunk<'_>)]) -> Result<(), Refusal> {
    let file = TextFile::new(old.text().unwrap_or_default());
    let quoted: Vec<&str> = hunks
        .iter()
        .flat_map(|(_, hunk)| &hunk.lines)
        .filter(|line| line.side == Side::Remove || !line.raw_blank)
        .map(|line| line.text.strip_prefix('\u{feff}').unwrap_or(line.text))
        .collect();
    let removed =
        hunks.iter().flat_map(|(_, hunk)| &hunk.lines).all(|line| line.side == Side::Remove || line.raw_blank);
    let equal = |full: bool| {
        let keep = |line: &&&str| full || !line.trim().is_empty();
        let form = |line: &&str| Form::Ws.of(line).into_owned();
        file.lines.iter().filter(keep).map(form).eq(quoted.iter().filter(keep).map(form))
    };
    if !removed || !equal(false) {
        let windows = vec![Window::around(path, &file.lines, 0, file.lines.len())];
        return Err(Refusal {
            windows,
            ..refuse(path, "the patch deletes the file but does not quote all of its lines")
        });
    }
    Ok(())
}

/// Returns the new text of an existing file.
fn edited(
    path: &str,
    old: &FileVersion,
    hunks: &[(usize, &Hunk<'_>)],
    crlf_patch: bool,
    matches: &mut Vec<HunkMatch>,
) -> Result<Vec<u8>, Refusal> {
    let Some(text) = old.text() else { return Err(refuse(path, "the file is not UTF-8 text")) };
    if matches!(old.mode, FileMode::Symlink | FileMode::Submodule) {
        return Err(refuse(path, "the file is no plain file"));
    }
    let file = TextFile::new(text);
    for (number, hunk) in hunks {
        check_added(path, *number, hunk)?;
    }
    if file.lines.is_empty() {
        let content = created(path, hunks, crlf_patch)?;
        matches.push(HunkMatch { path: path.to_owned(), hunk: 1, line: 0, how: How::NewFile });
        return Ok(content);
    }
    let mut edit = Edit { path, file: &file, crlf_patch, places: Vec::new() };
    edit.place_all(hunks)?;
    for ((number, _), (place, _)) in hunks.iter().zip(&edit.places) {
        matches.push(HunkMatch { path: path.to_owned(), hunk: *number, line: place.first + 1, how: place.how });
    }
    edit.write(hunks)
}

struct Edit<'f, 'a> {
    path: &'f str,
    file: &'f TextFile<'a>,
    crlf_patch: bool,
    /// The place of each hunk, with its markers about the end of the file.
    places: Vec<(Placement, (bool, bool))>,
}

impl<'a> Edit<'_, 'a> {
    /// Finds the place of every hunk.
    fn place_all(&mut self, hunks: &[(usize, &Hunk<'a>)]) -> Result<(), Refusal> {
        let lines: &[&str] = &self.file.lines;
        let mut hay = Hay::new(lines);
        let mut found = Vec::with_capacity(hunks.len());
        for (number, hunk) in hunks {
            let mut needle = Needle::new(hunk, false);
            if needle.old.is_empty() {
                let cause = "the hunk only adds lines and quotes none of the file, so its place is not certain";
                return Err(self.refusal(*number, &needle, hunk, cause.to_owned(), &[]));
            }
            let mut result = locate::locate(&mut hay, &needle);
            if !matches!(result, Found::One(_) | Found::Many(_)) && needle::has_blank_adds(hunk) {
                let blank = Needle::new(hunk, true);
                if let Found::One(place) = strict(&mut hay, &blank) {
                    result = Found::One(Placement { how: How::Blank, ..place });
                    needle = blank;
                }
            }
            found.push((needle, result));
        }
        // Where one hunk stands elsewhere than its number says, the numbers of this file are not to be relied on.
        let astray = found.iter().zip(hunks).any(|((_, result), (_, hunk))| {
            matches!(result, Found::One(place) if hunk.old_start.is_some_and(|line| line != place.first + 1))
        });
        for ((needle, result), (number, hunk)) in found.into_iter().zip(hunks) {
            let place = match result {
                Found::One(place) => place,
                Found::Many(places) => {
                    let stated = hunk.old_start.filter(|_| !astray);
                    match locate::pick(lines, &needle, &places, hunk.heading, stated) {
                        Some(place) => place.clone(),
                        None => return Err(self.ambiguous(*number, &needle, hunk, &places)),
                    }
                }
                Found::Doubt(starts, why) => {
                    return Err(self.refusal(*number, &needle, hunk, why.to_owned(), &starts));
                }
                Found::Nowhere => {
                    let cause = "no match: the old text of the hunk does not stand in the file".to_owned();
                    return Err(self.refusal(*number, &needle, hunk, cause, &[]));
                }
            };
            self.places.push((place, needle.open_end));
        }
        self.overlaps(hunks)
    }

    fn ambiguous(&self, number: usize, needle: &Needle<'_>, hunk: &Hunk<'_>, places: &[Placement]) -> Refusal {
        let starts: Vec<usize> = places.iter().map(|place| place.first).collect();
        let named: Vec<String> = starts.iter().take(10).map(|start| (start + 1).to_string()).collect();
        let more = if starts.len() > 10 { " and more" } else { "" };
        let cause = format!(
            "{} matches, at lines {}{more}: quote more lines around the change",
            starts.len(),
            named.join(", ")
        );
        self.refusal(number, needle, hunk, cause, &starts)
    }

    /// Returns a refusal with the real lines at these places, or else where most of the quoted lines stand.
    fn refusal(&self, number: usize, needle: &Needle<'_>, hunk: &Hunk<'_>, cause: String, starts: &[usize]) -> Refusal {
        let lines = &self.file.lines;
        let mut starts: Vec<usize> = starts.iter().take(MAX_PLACES).copied().collect();
        if starts.is_empty() {
            let stated = hunk.old_start.map(|line| line.saturating_sub(1)).filter(|line| *line < lines.len());
            starts.push(best_start(lines, needle).or(stated).unwrap_or(0));
        }
        starts.dedup();
        let len = needle.old.len().max(1);
        let windows = starts.iter().map(|start| Window::around(self.path, lines, *start, start + len)).collect();
        Refusal { windows, ..refuse(self.path, cause).at_hunk(number) }
    }

    /// Refuses hunks that edit the same lines, or one of which quotes as kept what another one changes.
    fn overlaps(&self, hunks: &[(usize, &Hunk<'_>)]) -> Result<(), Refusal> {
        let mut gone: BTreeMap<usize, usize> = BTreeMap::new();
        let mut come: BTreeMap<usize, usize> = BTreeMap::new();
        let clash = |at: usize, line: usize| {
            let windows = vec![Window::around(self.path, &self.file.lines, line, line + 1)];
            let cause = format!("overlapping hunks: another hunk also changes the text at line {}", line + 1);
            Refusal { windows, ..refuse(self.path, cause).at_hunk(hunks[at].0) }
        };
        for (at, (place, _)) in self.places.iter().enumerate() {
            for line in &place.deletes {
                if gone.insert(*line, at).is_some() {
                    return Err(clash(at, *line));
                }
            }
            for (line, _) in &place.inserts {
                if come.insert(*line, at).is_some() {
                    return Err(clash(at, *line));
                }
            }
        }
        for (at, (place, _)) in self.places.iter().enumerate() {
            if let Some(line) = place.keeps.iter().find(|line| gone.get(line).is_some_and(|other| *other != at)) {
                return Err(clash(at, *line));
            }
            // Two quoted neighbours claim that nothing comes between them.
            let mut claimed: Vec<usize> = place.keeps.iter().chain(&place.deletes).copied().collect();
            claimed.sort_unstable();
            for pair in claimed.windows(2).filter(|pair| pair[0] + 1 == pair[1]) {
                if come.get(&pair[1]).is_some_and(|other| *other != at) {
                    return Err(clash(at, pair[1]));
                }
            }
        }
        Ok(())
    }

    /// Writes the file with all edits.
    fn write(&self, hunks: &[(usize, &Hunk<'_>)]) -> Result<Vec<u8>, Refusal> {
        let count = self.file.lines.len();
        let mut gone = vec![false; count];
        let mut come: BTreeMap<usize, &[NewLine]> = BTreeMap::new();
        for (place, _) in &self.places {
            for line in &place.deletes {
                gone[*line] = true;
            }
            for (line, lines) in &place.inserts {
                come.insert(*line, lines);
            }
        }
        // Each line with whether it ends in CR LF.
        let mut out: Vec<(&str, bool)> = Vec::with_capacity(count);
        for at in 0..=count {
            for line in come.get(&at).copied().unwrap_or_default() {
                out.push((&line.text, self.crlf_of_new(at, line)));
            }
            if gone.get(at) == Some(&false) {
                // The last line may have had no end of its own, and needs one if it is last no more.
                let crlf = if at + 1 == count && !self.file.ends { self.crlf_near(at) } else { self.file.crlf[at] };
                out.push((self.file.lines[at], crlf));
            }
        }
        let ends = self.ends_after(&gone, &come);
        let mut text = String::with_capacity(self.file.lines.iter().map(|line| line.len() + 2).sum());
        if self.file.bom {
            text.push('\u{feff}');
        }
        for (at, (line, crlf)) in out.iter().enumerate() {
            text.push_str(line);
            if at + 1 < out.len() || ends {
                text.push_str(if *crlf { "\r\n" } else { "\n" });
            }
        }
        if self.file.lines.len() == out.len()
            && ends == self.file.ends
            && out.iter().map(|line| line.0).eq(self.file.lines.iter().copied())
        {
            let number = hunks.first().map_or(1, |(number, _)| *number);
            return Err(refuse(self.path, "no change: what is added equals what is removed").at_hunk(number));
        }
        Ok(text.into_bytes())
    }

    /// Says whether a new line before line `at` ends in CR LF: as all lines do, or else as typed, or as its neighbour.
    fn crlf_of_new(&self, at: usize, line: &NewLine) -> bool {
        match self.file.style() {
            Some(crlf) => crlf,
            None if !self.crlf_patch && line.cr => true,
            None => self.crlf_near(at),
        }
    }

    /// Returns the line end used next to line `at`.
    fn crlf_near(&self, at: usize) -> bool {
        let ended = if self.file.ends { self.file.crlf.len() } else { self.file.crlf.len().saturating_sub(1) };
        let ends = &self.file.crlf[..ended];
        at.checked_sub(1)
            .and_then(|above| ends.get(above))
            .or_else(|| ends.get(at))
            .or(ends.last())
            .copied()
            .unwrap_or(false)
    }

    /// Says whether the last line of the result has an end: as the file has it, unless the markers of a hunk that
    /// replaces the last line say otherwise.
    fn ends_after(&self, gone: &[bool], come: &BTreeMap<usize, &[NewLine]>) -> bool {
        let count = self.file.lines.len();
        let at_end = |place: &Placement| {
            place.deletes.last() == Some(&(count - 1)) || place.inserts.last().is_some_and(|(line, _)| *line == count)
        };
        let Some((_, (old_open, new_open))) = self.places.iter().find(|(place, _)| at_end(place)) else {
            return self.file.ends;
        };
        // The new last line is an added one if something comes after the old last line, or that one went.
        let added_last = come.contains_key(&count) || gone[count - 1] && come.contains_key(&(count - 1));
        match (old_open, new_open) {
            (_, true) if added_last => false,
            (true, false) if added_last => true,
            _ => self.file.ends,
        }
    }
}

/// Returns the line where the old text would begin if most of its telling lines are to stand where they stand.
fn best_start(lines: &[&str], needle: &Needle<'_>) -> Option<usize> {
    let mut interner = super::text::Interner::default();
    let ids = interner.ids(lines, Form::Strip);
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    // A few hundred quoted lines vote well enough.
    for (at, line) in needle.old.iter().enumerate().filter(|(_, line)| is_telling(line)).take(300) {
        let id = interner.id(Form::Strip.of(line));
        for place in find_all(&ids, &[id]).into_iter().take(100) {
            *votes.entry(place.saturating_sub(at)).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|(start, votes)| (*votes, std::cmp::Reverse(*start))).map(|(start, _)| start)
}
