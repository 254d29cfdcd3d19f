//! Reads what a model typed into file sections and hunks, without believing its counts.
//!
//! Owns the grammar only: fences, prose, headers, prefixes. It never looks at a tree, so it decides nothing that needs
//! the real file; where a line could be read in two ways the reading that loses no change is kept.

use super::{Limits, Refusal, RefusalCode, names};

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
    /// What was cut off its end as prose stood right below a line of the hunk.
    pub(super) cut: bool,
    /// Anything was cut off its end as prose.
    prose: bool,
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
    /// From a format without prefixes to its names, in which a deletion quotes nothing.
    pub(super) verbatim: bool,
    pub(super) hunks: Vec<Hunk<'a>>,
}

/// A whole patch.
#[derive(Debug, Default)]
pub(super) struct Patch<'a> {
    pub(super) sections: Vec<Section<'a>>,
    /// The header lines end in a carriage return, so those of the body say nothing about the files.
    pub(super) crlf: bool,
}

impl<'a> Patch<'a> {
    /// Says whether every hunk's counts are those of its lines, and every line has its sign.
    pub(super) fn counts_hold(&self) -> bool {
        let mut hunks = self.sections.iter().flat_map(|section| &section.hunks);
        hunks.all(|hunk| {
            (hunk.old_count, hunk.new_count) == pair(hunk.counted())
                && !hunk.prose
                && hunk.lines.iter().all(|line| !line.bare && !line.raw_blank)
        })
    }

    /// Returns the patch without line numbers copied from a listing, or `None` where the hunks hold none.
    pub(super) fn without_numbers(&self) -> Option<Self> {
        self.with_hunks(|hunk| unnumbered(hunk).map(|hunk| vec![hunk]))
    }

    /// Returns the patch with its hunks cut where a context line stands for omitted ones, or `None` where none does.
    pub(super) fn without_ellipses(&self) -> Option<Self> {
        self.with_hunks(|hunk| {
            let omits = |line: &Line<'_>| line.side == Side::Keep && is_ellipsis(line.text);
            if !hunk.lines.iter().any(omits) {
                return None;
            }
            let mut parts: Vec<Hunk<'a>> = Vec::new();
            for lines in hunk.lines.split(omits) {
                // The numbers are those of the first part.
                let head = if parts.is_empty() { hunk.clone() } else { Hunk::default() };
                parts.push(Hunk { lines: lines.to_vec(), old_count: None, new_count: None, ..head });
            }
            Some(parts)
        })
    }

    /// Returns the patch with the hunks that can be read otherwise read so, or `None` where there is none.
    fn with_hunks(&self, read: impl Fn(&Hunk<'a>) -> Option<Vec<Hunk<'a>>>) -> Option<Self> {
        let mut changed = false;
        let sections = (self.sections.iter())
            .map(|section| {
                let hunks = section.hunks.iter().flat_map(|hunk| {
                    let other = read(hunk);
                    changed |= other.is_some();
                    other.unwrap_or_else(|| vec![hunk.clone()])
                });
                let hunks = hunks.collect();
                Section { hunks, ..section.clone() }
            })
            .collect();
        changed.then_some(Self { sections, crlf: self.crlf })
    }
}

/// Splits the number of a listing off a line: `12<tab>text`, `12: text`, `12| text`.
fn number(text: &str) -> Option<(usize, &str)> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let rest = &text[digits..];
    let rest =
        rest.strip_prefix(['\t', '→']).or_else(|| rest.strip_prefix(": ")).or_else(|| rest.strip_prefix("| "))?;
    Some((text[..digits].parse().ok()?, rest))
}

/// Takes the numbers of a listing off a hunk: at least two old lines have one, they count on with the lines, and where
/// a removed line has none, no added line has.
fn unnumbered<'a>(hunk: &Hunk<'a>) -> Option<Hunk<'a>> {
    let old = || hunk.lines.iter().filter(|line| line.side != Side::Add);
    let starts: Vec<usize> = old()
        .enumerate()
        .filter_map(|(at, line)| number(line.text).map(|(number, _)| number.checked_sub(at)))
        .collect::<Option<_>>()?;
    let start = *starts.first()?;
    if starts.len() < 2 || start == 0 || starts.iter().any(|other| *other != start) {
        return None;
    }
    let kept = old().all(|line| line.side == Side::Remove || line.raw_blank || number(line.text).is_some());
    let all = |side: Side, has: bool| {
        (hunk.lines.iter()).filter(|line| line.side == side).all(|line| number(line.text).is_some() == has)
    };
    let one_way = all(Side::Remove, true) && (all(Side::Add, true) || all(Side::Add, false))
        || all(Side::Remove, false) && all(Side::Add, false);
    if !kept || !one_way {
        return None;
    }
    let lines =
        hunk.lines.iter().map(|line| Line { text: number(line.text).map_or(line.text, |(_, rest)| rest), ..*line });
    Some(Hunk { old_start: Some(start), lines: lines.collect(), ..hunk.clone() })
}

/// Says whether a line only says that lines were left out.
fn is_ellipsis(text: &str) -> bool {
    let text = text.trim().trim_start_matches(['/', '#', '-', '*']).trim_end_matches(['*', '/']).trim();
    text == "..." || text == "…"
}

/// Says whether a line stands for code that its writer left out: `# ... rest unchanged ...`.
fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["rest", "existing", "unchanged", "remaining", "remains", "same as", "omitted", "as before"];
    let text = text.trim();
    let Some(said) = ["//", "#", "--", "/*", "<!--"].iter().find_map(|mark| text.strip_prefix(mark)) else {
        return false;
    };
    let said = said.trim_start_matches(['/', '#', '*', '-', '!']).trim_start().to_lowercase();
    let Some(said) = said.strip_prefix("...").or_else(|| said.strip_prefix('…')) else { return false };
    WORDS.iter().any(|word| said.contains(word))
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
/// The patch of a text without a diff has no section. Returns a refusal if it is too large, or cannot be read without
/// losing a change.
pub(super) fn parse<'a>(raw: &'a str, limits: &Limits) -> Result<Patch<'a>, Refusal> {
    if raw.len() > limits.max_bytes {
        return Err(too_large(format!("the patch has {} bytes, more than {}", raw.len(), limits.max_bytes)));
    }
    let raw = raw.strip_prefix('\u{feff}').unwrap_or(raw);
    let lines: Vec<(&str, bool)> =
        raw.split('\n').map(|line| line.strip_suffix('\r').map_or((line, false), |cut| (cut, true))).collect();
    let mut reader = Reader {
        limits,
        patch: Patch::default(),
        state: State::Prose,
        fenced: false,
        envelope: false,
        cut: false,
        changed: 0,
        hunks: 0,
    };
    let mut at = 0;
    while at < lines.len() {
        at = if let Some(end) = reader.block(&lines, at)? {
            end
        } else {
            reader.line(&lines, at)?;
            at + 1
        };
    }
    reader.finish()
}

struct Reader<'a, 'l> {
    limits: &'l Limits,
    patch: Patch<'a>,
    state: State,
    fenced: bool,
    /// Inside `*** Begin Patch`.
    envelope: bool,
    /// A fence ended a hunk before all the lines that its header counts.
    cut: bool,
    changed: usize,
    hunks: usize,
}

impl<'a> Reader<'a, '_> {
    fn line(&mut self, lines: &[(&'a str, bool)], at: usize) -> Result<(), Refusal> {
        let (line, cr) = lines[at];
        if line.starts_with("```") || line.starts_with("~~~") {
            self.fenced = !self.fenced;
            self.cut = self.state == State::Body && self.open_hunk();
            self.state = State::Prose;
            return Ok(());
        }
        if line.starts_with("*** Begin Patch") {
            (self.envelope, self.state) = (true, State::Prose);
            return Ok(());
        }
        let announces =
            |line: &str| ["Update", "Add", "Delete"].iter().any(|deed| line.starts_with(&format!("*** {deed} File: ")));
        self.envelope |= self.state == State::Prose && line.starts_with("*** ") && announces(line);
        if line.starts_with("*** ") && (self.envelope || line.trim_end() == "*** End Patch") {
            return self.directive(line, cr);
        }
        if let Some(names) = line.strip_prefix("diff --git ") {
            return self.section(cr, Section { git: Some(names), ..Section::default() });
        }
        if self.opens_file(lines, at) {
            let old = line.strip_prefix("--- ").unwrap_or_default();
            if let Some(last) = self.patch.sections.last_mut()
                && self.state == State::Header
                && (last.old.is_none()
                    || self.envelope
                        && last.old == last.new
                        && last.new == names::read(old).as_deref().map(names::bare))
            {
                // An envelope's own header says no more than these.
                (last.old, last.new, last.verbatim) = (Some(old), None, false);
                return Ok(());
            }
            return self.section(cr, Section { old: Some(old), ..Section::default() });
        }
        // A header that lost its first line.
        if self.state != State::Header
            && line.starts_with("+++ ")
            && lines.get(at + 1).is_some_and(|next| next.0.starts_with("@@"))
        {
            if self.state == State::Body && self.open_hunk() {
                return Err(malformed(
                    "a +++ line before a hunk may be a header without its --- line or an added line",
                ));
            }
            return self.section(cr, Section { new: line.strip_prefix("+++ "), ..Section::default() });
        }
        // Or its second; a line that is claimed for the hunk is a removal, which has to stand in the file.
        if line.starts_with("--- ")
            && lines.get(at + 1).is_some_and(|next| next.0.starts_with("@@"))
            && (self.state == State::Prose || self.state == State::Body && !self.open_hunk())
        {
            return self.section(cr, Section { old: line.strip_prefix("--- "), ..Section::default() });
        }
        if self.state != State::Body && line.starts_with("@@") || self.state == State::Body && is_hunk_header(line) {
            return self.hunk(line);
        }
        match self.state {
            // The first chunk of a file in an envelope needs no header.
            State::Header if self.verbatim() && line.starts_with([' ', '+', '-']) => {
                self.hunk("@@")?;
                self.body(line, cr)
            }
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
            State::Prose if self.cut && lost_removal(line) => Err(malformed("removed lines stand outside any hunk")),
            State::Prose => Ok(()),
        }
    }

    /// Says whether the last section's names came without a diff's header lines.
    fn verbatim(&self) -> bool {
        self.patch.sections.last().is_some_and(|section| section.verbatim)
    }

    /// Says whether the header of the last hunk counts more lines than have been read.
    fn open_hunk(&self) -> bool {
        let hunk = self.patch.sections.last().and_then(|section| section.hunks.last());
        hunk.is_some_and(|hunk| {
            let (old, new) = hunk.counted();
            hunk.old_count.is_none_or(|count| count > old) || hunk.new_count.is_none_or(|count| count > new)
        })
    }

    /// Reads a line of the envelope that `apply_patch` takes.
    fn directive(&mut self, line: &'a str, cr: bool) -> Result<(), Refusal> {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("*** Update File: ") {
            return self
                .section(cr, Section { old: Some(name), new: Some(name), verbatim: true, ..Section::default() });
        }
        if let Some(name) = line.strip_prefix("*** Add File: ") {
            self.section(
                cr,
                Section { old: Some("/dev/null"), new: Some(name), verbatim: true, ..Section::default() },
            )?;
            return self.hunk("@@ -0,0 @@");
        }
        if let Some(name) = line.strip_prefix("*** Delete File: ") {
            let section = Section { old: Some(name), new: Some("/dev/null"), verbatim: true, ..Section::default() };
            return self.section(cr, section);
        }
        if let Some(name) = line.strip_prefix("*** Move to: ") {
            let last = self.patch.sections.last_mut().filter(|section| section.hunks.is_empty());
            let Some(last) = last else { return Err(malformed("a move without the file that is moved")) };
            last.rename_from = last.old;
            last.rename_to = Some(name);
            (last.old, last.new) = (None, None);
            return Ok(());
        }
        match line {
            "*** End Patch" => (self.envelope, self.state) = (false, State::Prose),
            "*** End of File" => {}
            _ => return Err(malformed("a *** line that is none of apply_patch's")),
        }
        Ok(())
    }

    /// Reads a search/replace block; returns where it ends, or `None` where none begins.
    fn block(&mut self, lines: &[(&'a str, bool)], at: usize) -> Result<Option<usize>, Refusal> {
        let mark = |line: &str, sign: &str, word: &str| {
            let rest = line.trim_end().trim_start_matches(sign);
            (5..=9).contains(&(line.trim_end().len() - rest.len())) && rest.trim() == word
        };
        if !mark(lines[at].0, "<", "SEARCH") {
            return Ok(None);
        }
        let find = |from: usize, sign, word| (from..lines.len()).find(|at| mark(lines[*at].0, sign, word));
        let Some((middle, end)) =
            find(at + 1, "=", "").and_then(|middle| Some((middle, find(middle, ">", "REPLACE")?)))
        else {
            return Err(malformed("a search/replace block without its ======= or >>>>>>> REPLACE line"));
        };
        // A heading of the text may be underlined just like that.
        if find(middle + 1, "=", "").is_some_and(|other| other < end) {
            return Err(malformed("a search/replace block with two ======= lines; send a unified diff"));
        }
        let above = lines[..at].iter().rev().map(|line| line.0.trim());
        let above = { above }.find(|line| !line.is_empty() && !line.starts_with("```")).unwrap_or_default();
        let name = above.trim_start_matches(['#', ' ']).trim_matches(['*', '`', ':', ' ']);
        let again = above.starts_with(">>>>>") && above.ends_with("REPLACE");
        let name = match self.patch.sections.last() {
            Some(last) if again => last.new.unwrap_or_default(),
            _ => name,
        };
        if name.is_empty() || name.contains(char::is_whitespace) || name.starts_with(['<', '>', '+', '-', '@']) {
            return Err(malformed("a search/replace block without the name of its file on the line above"));
        }
        let (old, new) = (&lines[at + 1..middle], &lines[middle + 1..end]);
        let first = if old.is_empty() { "/dev/null" } else { name };
        self.section(false, Section { old: Some(first), new: Some(name), verbatim: true, ..Section::default() })?;
        self.hunk(if old.is_empty() { "@@ -0,0 @@" } else { "@@" })?;
        let head = old.iter().zip(new).take_while(|(old, new)| old.0 == new.0).count();
        let (old_rest, new_rest) = (&old[head..], &new[head..]);
        let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old.0 == new.0).count();
        self.typed(&old[..head], Side::Keep)?;
        self.typed(&old_rest[..old_rest.len() - tail], Side::Remove)?;
        self.typed(&new_rest[..new_rest.len() - tail], Side::Add)?;
        self.typed(&old_rest[old_rest.len() - tail..], Side::Keep)?;
        self.state = State::Prose;
        Ok(Some(end + 1))
    }

    /// Appends lines that are all of one side and carry no sign.
    fn typed(&mut self, lines: &[(&'a str, bool)], side: Side) -> Result<(), Refusal> {
        lines.iter().try_for_each(|(text, cr)| {
            self.push(Line { side, text, raw_blank: false, bare: false, cr: *cr, no_eol: false })
        })
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
        self.push(Line { side, text, raw_blank: line.is_empty(), bare, cr, no_eol: false })
    }

    fn push(&mut self, line: Line<'a>) -> Result<(), Refusal> {
        if line.side != Side::Keep {
            self.changed += 1;
            if self.changed > self.limits.max_lines {
                return Err(too_large(format!("the patch changes more than {} lines", self.limits.max_lines)));
            }
        }
        if let Some(hunk) = self.patch.sections.last_mut().and_then(|section| section.hunks.last_mut()) {
            hunk.lines.push(line);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Patch<'a>, Refusal> {
        for section in &mut self.patch.sections {
            for hunk in &mut section.hunks {
                cut_tail(hunk)?;
                let has = |side: Side| {
                    hunk.lines
                        .iter()
                        .any(|line| (line.side == Side::Add) == (side == Side::Add) && is_placeholder(line.text))
                };
                if has(Side::Add) && !has(Side::Keep) {
                    return Err(malformed("an added line stands for code that was left out; write the code itself"));
                }
            }
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

/// Says whether a line in prose looks like a removal rather than a bullet or a rule.
fn lost_removal(line: &str) -> bool {
    line.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with("  ") || rest.starts_with(|c: char| !c.is_whitespace() && c != '-'))
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
    // Between the signs stands what the hunk is about, and no numbers.
    let heading = if heading.is_empty() && !inner.contains(['-', '+']) { inner.trim() } else { heading };
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
fn cut_tail(hunk: &mut Hunk<'_>) -> Result<(), Refusal> {
    let changed = hunk.lines.iter().rposition(|line| line.side != Side::Keep).map_or(0, |at| at + 1);
    if let Some(bare) = hunk.lines[changed..].iter().position(|line| line.bare) {
        let end = changed + bare;
        let dropped = hunk.lines[end..].iter().take_while(|line| line.bare).count();
        hunk.prose = true;
        hunk.cut = end == 0 || !hunk.lines[end - 1].raw_blank;
        hunk.lines.truncate(end);
        // Lines that the header counts on the new side alone are additions that lost their sign.
        let (old, new) = hunk.counted();
        if let (Some(claimed_old), Some(claimed_new)) = (hunk.old_count, hunk.new_count)
            && hunk.cut
            && claimed_old <= old
            && claimed_new > new
            && claimed_new <= new + dropped
        {
            return Err(malformed("a line right below a hunk may be an added one that lost its plus sign"));
        }
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
    Ok(())
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
