//! Rebuilds the patches that models write into exact changes.
//!
//! Owns the way from the text of a patch to whole files before and after. Pure: it reads a [`Tree`] and writes nothing.
//! It never trusts a count, and a line number only where the text alone leaves a choice; it never places a hunk that
//! could stand in more than one place, because a wrong place is far worse than a refusal.

mod assemble;
mod how;
mod locate;
mod loose;
mod names;
mod needle;
mod parse;
mod place;
mod refusal;
mod resolve;
mod strict;
mod text;
mod unwrap;

#[cfg(test)]
mod tests;

pub use how::{How, HunkMatch};
pub use refusal::{Refusal, RefusalCode, Window};

use crate::change::{Change, Tree};

/// How large a patch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Added and removed lines together.
    pub max_lines: usize,
    /// Bytes of the raw text.
    pub max_bytes: usize,
    /// File sections.
    pub max_files: usize,
}

impl Default for Limits {
    /// 2000 lines is what a person can still review; 4 MiB leaves room for very long lines; 200 files is more than
    /// any change of 2000 lines needs.
    fn default() -> Self {
        Self { max_lines: 2000, max_bytes: 4 << 20, max_files: 200 }
    }
}

/// A patch rebuilt against a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The exact change.
    pub change: Change,
    /// How each hunk found its place, in the order of the patch.
    pub matches: Vec<HunkMatch>,
}

impl Rebuilt {
    /// Says whether one hunk found its place with lines overlooked.
    fn is_loose(&self) -> bool {
        self.matches.iter().any(|hunk| hunk.how.is_loose())
    }
}

/// Rebuilds a patch as an exact change against a tree: every hunk of every file, or nothing.
///
/// Returns a refusal that names the cause if the patch is too large, names a path that must not be touched, or has a
/// hunk whose place is not certain.
pub fn rebuild(raw: &str, tree: &dyn Tree, limits: &Limits) -> Result<Rebuilt, Refusal> {
    let typed = read(raw, tree, limits);
    if typed.as_ref().is_ok_and(|rebuilt| !rebuilt.is_loose()) || raw.len() > limits.max_bytes {
        return typed;
    }
    // Escaped as a whole, nearly all of a text can still match, and its additions would be written with the escapes.
    let plain = unwrap::unescaped_html(raw).map(|plain| read(&plain, tree, limits));
    match plain {
        Some(Ok(plain)) if !plain.is_loose() => Ok(plain),
        _ => typed,
    }
}

/// Reads the text as it is, or where it holds no diff, below what covers it.
fn read(raw: &str, tree: &dyn Tree, limits: &Limits) -> Result<Rebuilt, Refusal> {
    let patch = parse::parse(raw, limits)?;
    if !patch.sections.is_empty() {
        return fit(&patch, tree);
    }
    let nothing = || Refusal::new(RefusalCode::DoesNotApply, "no unified diff found in the text".to_owned());
    let text = unwrap::uncovered(raw).ok_or_else(nothing)?;
    let patch = parse::parse(&text, limits)?;
    if patch.sections.is_empty() {
        return Err(nothing());
    }
    if unwrap::needs_counts(raw) && !unwrap::counts_hold(&text, &patch) {
        let cause = "the patch is typed in one line with \\n for its line ends, and its counts do not bear it out";
        return Err(Refusal::new(RefusalCode::DoesNotApply, cause.to_owned()));
    }
    fit(&patch, tree)
}

/// Fits a patch to the tree: as typed, or else without the line numbers or the marks of omission typed into it.
fn fit(patch: &parse::Patch<'_>, tree: &dyn Tree) -> Result<Rebuilt, Refusal> {
    let typed = build(patch, tree);
    let retry = match &typed {
        Ok(rebuilt) => rebuilt.is_loose(),
        Err(refusal) => refusal.code == RefusalCode::DoesNotApply,
    };
    if !retry {
        return typed;
    }
    let other = [patch.without_numbers(), patch.without_ellipses()];
    let tight = other.iter().flatten().map(|patch| build(patch, tree)).find(|built| match built {
        Ok(rebuilt) => !rebuilt.is_loose(),
        Err(_) => false,
    });
    tight.unwrap_or(typed)
}

/// Builds the change of a patch whose lines are settled.
fn build(patch: &parse::Patch<'_>, tree: &dyn Tree) -> Result<Rebuilt, Refusal> {
    let jobs = resolve::resolve(patch, tree)?;
    let mut files = Vec::new();
    let mut matches = Vec::new();
    for job in &jobs {
        assemble::run(job, patch.crlf, &mut files, &mut matches)?;
    }
    let change = Change::new(files);
    if change.is_empty() {
        return Err(Refusal::new(RefusalCode::DoesNotApply, "the patch makes no change".to_owned()));
    }
    Ok(Rebuilt { change, matches })
}
