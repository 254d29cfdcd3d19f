//! Short hands for the rules' own cases.

use super::super::{AllowChange, Context, Judgement, judge};
use crate::change::{Change, FileChange, FileVersion, MemoryTree};

/// Judges `files` (path, old text, new text) on a tree of the old texts; `others` stand in the tree unchanged.
pub(in crate::guards) fn judged_in(
    files: &[(&str, Option<&str>, Option<&str>)],
    others: &[(&str, &str)],
    commands: &[&str],
    allow: &[&str],
) -> Judgement {
    let old =
        files.iter().filter_map(|(path, old, _)| old.map(|text| ((*path).to_string(), FileVersion::regular(text))));
    let rest = others.iter().map(|(path, text)| ((*path).to_string(), FileVersion::regular(*text)));
    let tree = MemoryTree::new(old.chain(rest));
    let change = Change::new(
        files
            .iter()
            .map(|(path, old, new)| FileChange {
                path: (*path).into(),
                old: old.map(FileVersion::regular),
                new: new.map(FileVersion::regular),
            })
            .collect(),
    );
    let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
    let allow: Vec<AllowChange> = allow.iter().map(|glob| AllowChange { glob: (*glob).into(), reason: None }).collect();
    judge(
        &change,
        &Context {
            tree: &tree,
            seed: &tree,
            commands: &commands,
            allow_change: &allow,
            protect: &[],
            scope: &[],
            max_lines: 2000,
            goal_adds_tests: false,
            earlier: &[],
        },
    )
}

/// Returns the codes that refuse one changed file.
pub(in crate::guards) fn codes(path: &str, old: &str, new: &str) -> Vec<String> {
    unique(&judged_in(&[(path, Some(old), Some(new))], &[], &[], &[]))
}

/// Returns the codes that refuse one created file.
pub(in crate::guards) fn codes_new(path: &str, new: &str) -> Vec<String> {
    unique(&judged_in(&[(path, None, Some(new))], &[("src/app.py", "x = 1\n")], &[], &[]))
}

pub(in crate::guards) fn unique(judgement: &Judgement) -> Vec<String> {
    let mut out: Vec<String> = judgement.refusals.iter().map(|f| f.code.to_string()).collect();
    out.dedup();
    out
}
