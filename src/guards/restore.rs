//! Prepares the tree on which proof is taken: the product as it is, the tests and check configuration of the seed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::cases::cfg_test_items;
use super::lex::{self, Lang, Token};
use super::places::Places;
use super::role::{Role, is_lock, test_role};
use super::sections::{self, Merged};
use super::{AllowChange, glob_set};
use crate::change::{Change, FileChange, FileVersion, Tree};

/// A change that brings the seed's tests and check configuration back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restoration {
    /// From the current tree to the one on which proof is taken.
    pub change: Change,
    /// What could be restored only in part, each as `path: why`.
    pub partial: Vec<String>,
}

/// Returns what brings the seed's tests and check configuration back into `current`: by their names, and by what
/// `commands`, the user's checks, run.
///
/// Paths that `allow_change` covers stay as they are. Returns an error if a tree cannot be read.
pub fn restore_seed_tests(
    seed: &dyn Tree,
    current: &dyn Tree,
    allow_change: &[AllowChange],
    commands: &[String],
) -> anyhow::Result<Restoration> {
    let allowed = glob_set(allow_change.iter().map(|allow| allow.glob.as_str()));
    let places = Places::of(seed, commands);
    let mut out = Restoration::default();
    let mut files = Vec::new();
    let paths: BTreeSet<&String> = seed.paths().iter().chain(current.paths()).collect();
    let manifest_same = |lock: &str| -> anyhow::Result<bool> {
        // A lock file belongs to the manifest beside it: it goes back only if that did not change.
        let folder = lock.rsplit_once('/').map_or("", |(folder, _)| folder);
        for path in seed.paths().iter().filter(|p| p.rsplit_once('/').map_or("", |(f, _)| f) == folder) {
            if test_role(path, None) == Role::MixedConfig && read(seed, path)? != read(current, path)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for path in paths {
        if allowed.is_match(path.as_str()) {
            continue;
        }
        // What is product by name and cannot hold tests need not be read.
        let named = places.role(path, None);
        if named == Role::Source && !Lang::of(path, "").is_code() && !places.scripts.contains(path) {
            continue;
        }
        let (was, is) = (read(seed, path)?, read(current, path)?);
        if was == is {
            continue;
        }
        let text = |version: &Option<FileVersion>| {
            version.as_ref().and_then(FileVersion::text).unwrap_or_default().to_string()
        };
        let (old_text, new_text) = (text(&was), text(&is));
        let mut role = places.role(path, Some(if was.is_some() { &old_text } else { &new_text }));
        if role == Role::Source {
            role = places.role(path, Some(&new_text));
        }
        if places.scripts.contains(path) && matches!(role, Role::Source | Role::Inline) {
            role = Role::CheckConfig;
        }
        let wanted = match role {
            Role::CheckConfig if is_lock(path) && !manifest_same(path)? => {
                out.partial.push(format!("{path}: the lock file stays, its manifest changed"));
                continue;
            }
            Role::Test | Role::TestData | Role::CheckConfig => was,
            Role::MixedConfig => match mixed(path, was.as_ref(), is.as_ref(), commands, &mut out.partial) {
                Some(version) => version,
                None => continue,
            },
            Role::Inline => match inline(path, was.as_ref(), is.as_ref(), &mut out.partial) {
                Some(version) => Some(version),
                None => continue,
            },
            Role::Source => continue,
        };
        files.push(FileChange { path: path.clone(), old: is, new: wanted });
    }
    out.change = Change::new(files);
    Ok(out)
}

fn read(tree: &dyn Tree, path: &str) -> anyhow::Result<Option<FileVersion>> {
    tree.read(path).with_context(|| format!("read {path}"))
}

/// Returns the version a mixed file should have, or `None` where it stays as it is.
#[allow(clippy::option_option)]
fn mixed(
    path: &str,
    was: Option<&FileVersion>,
    is: Option<&FileVersion>,
    commands: &[String],
    partial: &mut Vec<String>,
) -> Option<Option<FileVersion>> {
    let Some(is) = is else { return Some(was.cloned()) };
    let (old, new) = (was.and_then(FileVersion::text).unwrap_or_default(), is.text().unwrap_or_default());
    match sections::merged(path, old, new, commands) {
        Merged::Same => None,
        Merged::Text(text) => Some(Some(FileVersion { mode: is.mode, content: text.into_bytes() })),
        Merged::Whole(why) => {
            partial.push(format!("{path}: restored as a whole, {why}"));
            Some(was.cloned())
        }
    }
}

/// A piece of a file: from where its line starts to where its line ends.
struct Item {
    key: String,
    start: usize,
    end: usize,
}

/// Returns the test items of a Rust file with the lines they stand on.
fn rust_items(text: &str) -> Vec<Item> {
    let tokens = lex::tokens(Lang::Rust, text);
    let mut spans = cfg_test_items(&tokens);
    for case in super::cases::cases(Lang::Rust, &tokens) {
        if !spans.iter().any(|(first, end)| *first <= case.first && case.end <= *end) {
            spans.push((case.first, case.end));
        }
    }
    spans.sort_unstable();
    spans
        .into_iter()
        .map(|(first, end)| {
            let last = tokens[end - 1];
            let start = text[..tokens[first].at].rfind('\n').map_or(0, |at| at + 1);
            let stop = last.at + last.text.len();
            let end_of_line = text[stop..].find('\n').map_or(text.len(), |at| stop + at + 1);
            Item { key: item_key(&tokens[first..end]), start, end: end_of_line }
        })
        .collect()
}

/// Names an item by its kind and name: `mod tests`, `fn a`.
fn item_key(tokens: &[Token<'_>]) -> String {
    tokens
        .windows(2)
        .find(|pair| {
            matches!(
                pair[0].text,
                "mod"
                    | "fn"
                    | "use"
                    | "struct"
                    | "impl"
                    | "const"
                    | "static"
                    | "enum"
                    | "trait"
                    | "macro_rules"
                    | "type"
            )
        })
        .map_or_else(
            || lex::join(&tokens[..tokens.len().min(12)]),
            |pair| {
                // Imports and implementations have no name of their own: all of them counts.
                if matches!(pair[0].text, "use" | "impl") {
                    lex::join(tokens)
                } else {
                    format!("{} {}", pair[0].text, pair[1].text)
                }
            },
        )
}

fn inline(
    path: &str,
    was: Option<&FileVersion>,
    is: Option<&FileVersion>,
    partial: &mut Vec<String>,
) -> Option<FileVersion> {
    let Some(is) = is else {
        partial.push(format!("{path}: the file is gone, its inline tests with it"));
        return None;
    };
    let (old, new) = (was.and_then(FileVersion::text).unwrap_or_default(), is.text().unwrap_or_default());
    if Lang::of(path, new) != Lang::Rust {
        if was.is_some() {
            partial.push(format!("{path}: inline tests of this language stay as they are"));
        }
        return None;
    }
    let text = with_items(old, new);
    (text != new).then(|| FileVersion { mode: is.mode, content: text.into_bytes() })
}

/// Returns `new` with the test items of `old`: those with the same name in place, the others at the end; test
/// items that `old` does not have are left out.
fn with_items(old: &str, new: &str) -> String {
    let (wanted, have) = (rust_items(old), rust_items(new));
    let mut by_key: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in &wanted {
        by_key.entry(&item.key).or_default().push(item);
    }
    let mut out = String::with_capacity(new.len());
    let mut at = 0;
    for item in &have {
        if item.start < at {
            continue;
        }
        out.push_str(&new[at..item.start]);
        if let Some(list) = by_key.get_mut(item.key.as_str())
            && !list.is_empty()
        {
            let source = list.remove(0);
            out.push_str(&old[source.start..source.end]);
        }
        at = item.end;
    }
    out.push_str(&new[at..]);
    let mut missing: Vec<&Item> = by_key.into_values().flatten().collect();
    missing.sort_by_key(|item| item.start);
    for item in missing {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&old[item.start..item.end]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::MemoryTree;

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        MemoryTree::new(files.iter().map(|(path, text)| ((*path).to_string(), FileVersion::regular(*text))))
    }

    fn restored(seed: &[(&str, &str)], now: &[(&str, &str)], allow: &[&str]) -> (Vec<(String, Option<String>)>, usize) {
        let allow: Vec<AllowChange> =
            allow.iter().map(|glob| AllowChange { glob: (*glob).into(), reason: None }).collect();
        let out = restore_seed_tests(&tree(seed), &tree(now), &allow, &[]).unwrap();
        let files = out
            .change
            .files
            .iter()
            .map(|f| (f.path.clone(), f.new.as_ref().map(|v| v.text().unwrap().to_string())))
            .collect();
        (files, out.partial.len())
    }

    #[test]
    fn whole_files_come_back_and_new_ones_go() {
        let seed = [
            ("tests/test_a.py", "a\n"),
            ("tests/rows.csv", "1\n2\n"),
            ("src/a.py", "x\n"),
            ("pytest.ini", "[pytest]\n"),
        ];
        let now = [
            ("tests/test_a.py", "b\n"),
            ("src/a.py", "y\n"),
            ("conftest.py", "z\n"),
            ("tests/test_new.py", "n\n"),
            ("pytest.ini", "[pytest]\n"),
        ];
        assert_eq!(
            restored(&seed, &now, &[]).0,
            [
                ("conftest.py".to_string(), None),
                ("tests/rows.csv".to_string(), Some("1\n2\n".to_string())),
                ("tests/test_a.py".to_string(), Some("a\n".to_string())),
                ("tests/test_new.py".to_string(), None),
            ]
        );
        assert_eq!(restored(&seed, &now, &["tests/**", "conftest.py"]).0, []);
    }

    #[test]
    fn mixed_files_come_back_by_section() {
        let (files, partial) = restored(
            &[("package.json", "{\"scripts\":{\"test\":\"node --test\"}}"), ("Makefile", "test:\n\ta\nrun:\n\tb\n")],
            &[
                ("package.json", "{\"scripts\":{\"test\":\"true\"},\"dependencies\":{\"a\":\"1\"}}"),
                ("Makefile", "test:\n\ta\nrun:\n\tc\n"),
            ],
            &[],
        );
        assert_eq!(files.len(), 1);
        assert!(
            files[0].1.as_ref().unwrap().contains("node --test")
                && files[0].1.as_ref().unwrap().contains("dependencies")
        );
        assert_eq!(partial, 0);
        let (files, partial) = restored(&[("Makefile", "test:\n\ta\n")], &[("Makefile", "test:\n\ttrue\n")], &[]);
        assert_eq!((files, partial), (vec![("Makefile".to_string(), Some("test:\n\ta\n".to_string()))], 1));
    }

    #[test]
    fn inline_tests_come_back_by_item() {
        let seed = "fn f() -> i32 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {\n        assert_eq!(super::f(), 2);\n    }\n}\n";
        let cheated = "fn f() -> i32 {\n    2\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {}\n}\n";
        let product = "fn f() -> i32 {\n    2\n}\n";
        let wanted = seed.replace("    1\n", "    2\n");
        assert_eq!(with_items(seed, cheated), wanted);
        assert_eq!(with_items(seed, product), wanted);
        assert_eq!(with_items(seed, &wanted), wanted);
        let extra = format!("{wanted}\n#[cfg(test)]\nmod more {{\n    fn x() {{}}\n}}\n");
        assert_eq!(with_items(seed, &extra), format!("{wanted}\n"));
    }
}
