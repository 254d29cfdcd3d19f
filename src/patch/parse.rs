//! Reads what a model typed into file sections and hunks, without believing its counts.
//!
//! Owns the grammar only: fences, prose, headers, prefixes. It never looks at a tree, so it decides nothing that needs
//! the real file; where a line could be read in two ways the reading that loses no change is kept.

use super::{Limits, Refusal, RefusalCode};

/// Longest hunk after which a mail signature is looked for; counting its lines is not free.
const MAX_SIGNED: usize = 10_000;

/// The side of the change a body line stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Stays.
    Keep,
    /// Goes.
    Remove,
    /// Comes.
    Add,
}

/// One body line of a hunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) side: Side,
    pub(super) text: &'a str,
    /// It was an empty line, without even the space of a context line.
    pub(super) raw_blank: bool,
    /// It had no prefix.
    bare: bool,
    /// It ended in a carriage return.
    pub(super) cr: bool,
    /// A "no newline at end of file" marker follows.
    pub(super) no_eol: bool,
}

/// One hunk; the numbers are claims, not facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hunk<'a> {
    pub(super) old_start: Option<usize>,
    pub(super) old_count: Option<usize>,
    pub(super) new_count: Option<usize>,
    pub(super) heading: Option<&'a str>,
    pub(super) lines: Vec<Line<'a>>,
}

impl Hunk<'_> {
    /// Says whether the hunk adds or removes anything.
    pub(super) fn changes(&self) -> bool {
        self.lines.iter().any(|line| line.side != Side::Keep)
    }

    /// Returns how many lines the body has on the old and on the new side.
    fn counted(&self) -> (usize, usize) {
        let old = self.lines.iter().filter(|line| line.side != Side::Add).count();
        let new = self.lines.iter().filter(|line| line.side != Side::Remove).count();
        (old, new)
    }
}

/// One file section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// What follows `diff --git `.
    pub(super) git: Option<&'a str>,
    /// What follows `--- `.
    pub(super) old: Option<&'a str>,
    /// What follows `+++ `.
    pub(super) new: Option<&'a str>,
    pub(super) old_mode: Option<&'a str>,
    pub(super) new_mode: Option<&'a str>,
    pub(super) new_file_mode: Option<&'a str>,
    pub(super) deleted_mode: Option<&'a str>,
    /// The mode at the end of the `index` line.
    pub(super) index_mode: Option<&'a str>,
    pub(super) rename_from: Option<&'a str>,
    pub(super) rename_to: Option<&'a str>,
    pub(super) copy: bool,
    pub(super) binary: bool,
    pub(super) hunks: Vec<Hunk<'a>>,
}

/// A whole patch.
#[derive(Debug, Default)]
pub(super) struct Patch<'a> {
    pub(super) sections: Vec<Section<'a>>,
    /// The header lines end in a carriage return, so those of the body say nothing about the files.
    pub(super) crlf: bool,
}

/// Where the reader stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Prose,
    Header,
    Body,
}

/// Reads a patch.
///
/// Returns a refusal if it is too large, holds no diff, or cannot be read without losing a change.
pub(super) fn parse<'a>(raw: &'a str, limits: &Limits) -> Result<Patch<'a>, Refusal> {
    if raw.len() > limits.max_bytes {
        return Err(too_large(format!("the patch has {} bytes, more than {}", raw.len(), limits.max_bytes)));
    }
    let raw = raw.strip_prefix('\u{feff}').unwrap_or(raw);
    let lines: Vec<(&str, bool)> =
        raw.split('\n').map(|line| line.strip_suffix('\r').map_or((line, false), |cut| (cut, true))).collect();
    let mut reader =
        Reader { limits, patch: Patch::default(), state: State::Prose, fenced: false, changed: 0, hunks: 0 };
    for at in 0..lines.len() {
        reader.line(&lines, at)?;
    }
    reader.finish()
}

struct Reader<'a, 'l> {
    limits: &'l Limits,
    patch: Patch<'a>,
    state: State,
    fenced: bool,
    changed: usize,
    hunks: usize,
}

impl<'a> Reader<'a, '_> {
    fn line(&mut self, lines: &[(&'a str, bool)], at: usize) -> Result<(), Refusal> {
        let (line, cr) = lines[at];
        if line.starts_with("```") || line.starts_with("~~~") {
            self.fenced = !self.fenced;
            self.state = State::Prose;
            return Ok(());
        }
        if line.starts_with("*** Begin Patch") {
            return Err(malformed("the patch is in another format than a unified diff"));
        }
        if let Some(names) = line.strip_prefix("diff --git ") {
            return self.section(cr, Section { git: Some(names), ..Section::default() });
        }
        if self.opens_file(lines, at) {
            let old = line.strip_prefix("--- ").unwrap_or_default();
            if let Some(last) = self.patch.sections.last_mut()
                && self.state == State::Header
                && last.old.is_none()
            {
                last.old = Some(old);
                return Ok(());
            }
            return self.section(cr, Section { old: Some(old), ..Section::default() });
        }
        if self.state != State::Body && line.starts_with("@@") || self.state == State::Body && is_hunk_header(line) {
            return self.hunk(line);
        }
        match self.state {
            State::Header => self.header(line),
            State::Body if is_extended_header(line) => {
                self.section(cr, Section::default())?;
                self.header(line)
            }
            State::Body => self.body(line, cr),
            State::Prose if line.starts_with('+') && !self.patch.sections.is_empty() => {
                Err(malformed("added lines stand outside any hunk"))
            }
            State::Prose if is_extended_header(line) => {
                self.section(cr, Section::default())?;
                self.header(line)
            }
            State::Prose => Ok(()),
        }
    }

    /// Says whether a `---` line opens a file: a `+++` line follows and, inside a hunk, a hunk header after that. Two
    /// lines that the counts still claim for the hunk stay a removal of `-- ...` and an addition of `++ ...`.
    fn opens_file(&self, lines: &[(&str, bool)], at: usize) -> bool {
        let next = |n: usize| lines.get(at + n).map_or("", |line| line.0);
        if !lines[at].0.starts_with("--- ") || !next(1).starts_with("+++ ") {
            return false;
        }
        if self.state != State::Body {
            return true;
        }
        if !next(2).starts_with("@@") {
            return false;
        }
        let Some(hunk) = self.patch.sections.last().and_then(|section| section.hunks.last()) else { return true };
        let (old, new) = hunk.counted();
        hunk.old_count != Some(old + 1) || hunk.new_count != Some(new + 1)
    }

    fn section(&mut self, cr: bool, section: Section<'a>) -> Result<(), Refusal> {
        if self.patch.sections.len() >= self.limits.max_files {
            return Err(too_large(format!("the patch touches more than {} files", self.limits.max_files)));
        }
        self.patch.crlf |= cr;
        self.patch.sections.push(section);
        self.state = State::Header;
        Ok(())
    }

    fn header(&mut self, line: &'a str) -> Result<(), Refusal> {
        let Some(section) = self.patch.sections.last_mut() else { return Ok(()) };
        if let Some(name) = line.strip_prefix("+++ ") {
            if section.new.is_some() {
                return Err(malformed("one file section has two +++ lines"));
            }
            section.new = Some(name);
        } else if let Some(name) = line.strip_prefix("--- ") {
            if section.old.is_some() {
                return Err(malformed("one file section has two --- lines"));
            }
            section.old = Some(name);
        } else if let Some(mode) = line.strip_prefix("new file mode ") {
            section.new_file_mode = Some(mode.trim());
        } else if let Some(mode) = line.strip_prefix("deleted file mode ") {
            section.deleted_mode = Some(mode.trim());
        } else if let Some(mode) = line.strip_prefix("old mode ") {
            section.old_mode = Some(mode.trim());
        } else if let Some(mode) = line.strip_prefix("new mode ") {
            section.new_mode = Some(mode.trim());
        } else if let Some(name) = line.strip_prefix("rename from ") {
            section.rename_from = Some(name);
        } else if let Some(name) = line.strip_prefix("rename to ") {
            section.rename_to = Some(name);
        } else if line.starts_with("copy from ") || line.starts_with("copy to ") {
            section.copy = true;
        } else if line.starts_with("GIT binary patch") || line.starts_with("Binary files ") {
            section.binary = true;
        } else if let Some(rest) = line.strip_prefix("index ") {
            section.index_mode = rest.split_whitespace().nth(1);
        } else if line.starts_with('+') {
            return Err(malformed("added lines stand outside any hunk"));
        }
        Ok(())
    }

    fn hunk(&mut self, line: &'a str) -> Result<(), Refusal> {
        if line.starts_with("@@@") {
            return Err(malformed("a combined diff of a merge cannot be applied"));
        }
        self.hunks += 1;
        // A hunk that changes nothing is worth nothing, so the limit on changed lines bounds the hunks as well.
        if self.hunks > self.limits.max_lines {
            return Err(too_large(format!("the patch has more than {} hunks", self.limits.max_lines)));
        }
        let Some(section) = self.patch.sections.last_mut().filter(|_| self.state != State::Prose) else {
            return Err(malformed("a hunk stands without the name of a file"));
        };
        section.hunks.push(hunk_header(line));
        self.state = State::Body;
        Ok(())
    }

    fn body(&mut self, line: &'a str, cr: bool) -> Result<(), Refusal> {
        let Some(hunk) = self.patch.sections.last_mut().and_then(|section| section.hunks.last_mut()) else {
            return Ok(());
        };
        if line.starts_with("\\ ") {
            if let Some(last) = hunk.lines.last_mut() {
                last.no_eol = true;
            }
            return Ok(());
        }
        // The signature line that ends a mailed patch.
        if line == "-- " && hunk.lines.len() <= MAX_SIGNED && (hunk.old_count, hunk.new_count) == pair(hunk.counted()) {
            self.state = State::Prose;
            return Ok(());
        }
        let (side, text, bare) = match line.as_bytes().first() {
            Some(b'+') => (Side::Add, &line[1..], false),
            Some(b'-') => (Side::Remove, &line[1..], false),
            Some(b' ') => (Side::Keep, &line[1..], false),
            None => (Side::Keep, line, false),
            Some(_) => (Side::Keep, line, true),
        };
        if side != Side::Keep {
            self.changed += 1;
            if self.changed > self.limits.max_lines {
                return Err(too_large(format!("the patch changes more than {} lines", self.limits.max_lines)));
            }
        }
        hunk.lines.push(Line { side, text, raw_blank: line.is_empty(), bare, cr, no_eol: false });
        Ok(())
    }

    fn finish(mut self) -> Result<Patch<'a>, Refusal> {
        for section in &mut self.patch.sections {
            for hunk in &mut section.hunks {
                cut_tail(hunk);
            }
        }
        if self.patch.sections.is_empty() {
            return Err(malformed("no unified diff found in the text"));
        }
        Ok(self.patch)
    }
}

/// Says whether a line is one of git's header lines that never has a body prefix.
fn is_extended_header(line: &str) -> bool {
    const STARTS: [&str; 11] = [
        "new file mode ",
        "deleted file mode ",
        "old mode ",
        "new mode ",
        "rename from ",
        "rename to ",
        "copy from ",
        "copy to ",
        "similarity index ",
        "GIT binary patch",
        "Binary files ",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
}

/// Says whether a line inside a hunk opens the next one. An at sign is no prefix, so every such line does.
fn is_hunk_header(line: &str) -> bool {
    line.starts_with("@@")
}

/// Reads `@@ -a,b +c,d @@ heading` and every poorer form of it.
fn hunk_header(line: &str) -> Hunk<'_> {
    let rest = &line[2..];
    let (inner, heading) = match rest.find("@@") {
        Some(end) => (&rest[..end], rest[end + 2..].trim()),
        None if rest.trim_start().starts_with('-') => (rest, ""),
        None => ("", rest.trim()),
    };
    let mut hunk = Hunk { heading: (!heading.is_empty() && heading != "...").then_some(heading), ..Hunk::default() };
    for word in inner.split_whitespace() {
        let (old, range) = match (word.strip_prefix('-'), word.strip_prefix('+')) {
            (Some(range), _) => (true, range),
            (_, Some(range)) => (false, range),
            _ => continue,
        };
        let (start, count) = range.split_once(',').unwrap_or((range, "1"));
        let start: Option<usize> = start.parse().ok();
        let count = count.parse().ok().filter(|_| start.is_some());
        if old {
            hunk.old_start = start;
            hunk.old_count = count;
        } else {
            hunk.new_count = count;
        }
    }
    hunk
}

/// Takes off the end of a hunk what is no part of it: prose without a prefix, and empty lines that the counts do not
/// claim. Only context can be lost that way, never a change. Where the header says that there is no old text, empty
/// lines are added ones whose prefix was lost.
fn cut_tail(hunk: &mut Hunk<'_>) {
    let changed = hunk.lines.iter().rposition(|line| line.side != Side::Keep).map_or(0, |at| at + 1);
    if let Some(bare) = hunk.lines[changed..].iter().position(|line| line.bare) {
        hunk.lines.truncate(changed + bare);
    }
    let nothing_old = hunk.lines.iter().all(|line| line.side == Side::Add || line.raw_blank);
    if hunk.old_count == Some(0) && nothing_old {
        for line in &mut hunk.lines {
            line.side = Side::Add;
        }
    }
    let (mut old, mut new) = hunk.counted();
    let mut end = hunk.lines.len();
    while (hunk.old_count, hunk.new_count) != pair((old, new)) {
        let Some(line) = hunk.lines[..end].last().filter(|line| line.raw_blank) else { break };
        old -= usize::from(line.side != Side::Add);
        new -= usize::from(line.side != Side::Remove);
        end -= 1;
    }
    hunk.lines.truncate(end);
}

fn pair(counts: (usize, usize)) -> (Option<usize>, Option<usize>) {
    (Some(counts.0), Some(counts.1))
}

fn malformed(cause: &str) -> Refusal {
    Refusal::new(RefusalCode::DoesNotApply, cause.to_owned())
}

fn too_large(cause: String) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, cause)
}
