//! The rules on whole programs: every patch of the case collection, where that is at hand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::change::{FileChange, FileMode, FileVersion, MemoryTree, Tree};

/// Returns the folder of the case collection, or `None` where there is none.
fn cases_dir() -> Option<PathBuf> {
    let named = std::env::var_os("CLOOP_CASES").map(PathBuf::from);
    let near = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    named.into_iter().chain([near]).find(|dir| dir.join("index.json").is_file())
}

/// Applies a clean git diff exactly.
fn apply(tree: &MemoryTree, diff: &str) -> Change {
    let mut files: Vec<FileChange> = Vec::new();
    for section in diff.split("diff --git ").skip(1) {
        let mut lines = section.split_inclusive('\n');
        let header = lines.next().unwrap().trim_end();
        let path = header.rsplit(" b/").next().unwrap().to_string();
        let old = tree.read(&path).unwrap();
        let mut mode = old.as_ref().map_or(FileMode::Regular, |v| v.mode);
        let source: Vec<&str> = old.as_ref().and_then(|v| v.text()).unwrap_or_default().split_inclusive('\n').collect();
        let source: Vec<String> = source.into_iter().map(str::to_string).collect();
        let (mut out, mut at, mut deleted, mut started) = (String::new(), 0, false, false);
        let mut last = ' ';
        for line in lines {
            if let Some(rest) = line.strip_prefix("@@ -") {
                started = true;
                let range = rest.split(' ').next().unwrap();
                let (start, count) = range.split_once(',').unwrap_or((range, "1"));
                let start: usize = start.parse().unwrap();
                let start = if count == "0" { start } else { start - 1 };
                while at < start {
                    out.push_str(&source[at]);
                    at += 1;
                }
            } else if !started {
                deleted |= line.starts_with("deleted file mode");
                if let Some(new) = line.strip_prefix("new mode ").or(line.strip_prefix("new file mode ")) {
                    mode = FileMode::from_git(new.trim()).unwrap();
                }
            } else if line.starts_with('\\') {
                if last != '-' && out.ends_with('\n') {
                    out.pop();
                }
            } else {
                last = line.chars().next().unwrap();
                let body = &line[1..];
                if last == '-' {
                    assert_eq!(source[at].trim_end_matches('\n'), body.trim_end_matches('\n'), "{path}");
                } else if last == ' ' {
                    out.push_str(&source[at]);
                } else {
                    out.push_str(body);
                }
                at += usize::from(last != '+');
            }
        }
        for rest in &source[at..] {
            out.push_str(rest);
        }
        let new = (!deleted).then(|| FileVersion { mode, content: out.into_bytes() });
        files.push(FileChange { path, old, new });
    }
    Change::new(files)
}

fn tree_of(case: &Value) -> MemoryTree {
    let modes = case["modes"].as_object().unwrap();
    MemoryTree::new(case["files"].as_object().unwrap().iter().map(|(path, text)| {
        let mode = if modes.get(path).is_some_and(|m| m == "755") { FileMode::Executable } else { FileMode::Regular };
        (path.clone(), FileVersion { mode, content: text.as_str().unwrap().into() })
    }))
}

fn judged(case: &Value, tree: &MemoryTree, diff: &str, allow: &[AllowChange]) -> Judgement {
    let commands: Vec<String> =
        ["test_cmd", "lint_cmd", "type_cmd"].iter().filter_map(|key| case[*key].as_str()).map(str::to_string).collect();
    let context = Context {
        tree,
        seed: tree,
        commands: &commands,
        allow_change: allow,
        protect: &[],
        scope: &[],
        max_lines: 2000,
        goal_adds_tests: false,
        earlier: &[],
    };
    judge(&apply(tree, diff), &context)
}

#[test]
fn honest_patches_pass_and_cheats_are_refused() {
    let Some(dir) = cases_dir() else {
        eprintln!("no case collection at hand");
        return;
    };
    let mut table: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    let mut wrong: Vec<String> = Vec::new();
    let (mut cheats, mut caught) = (0, 0);
    let mut paths: Vec<_> = std::fs::read_dir(dir.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let tree = tree_of(&case);
        for patch in case["patches"].as_array().unwrap() {
            let (id, kind) = (patch["id"].as_str().unwrap(), patch["kind"].as_str().unwrap());
            let diff = patch["diff"].as_str().unwrap_or_default();
            if diff.is_empty() || kind == "malformed" {
                continue;
            }
            let expected: Vec<&str> = patch["guards"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
            let tests: Vec<AllowChange> = case["tests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|path| AllowChange { glob: path.as_str().unwrap().to_string(), reason: None })
                .collect();
            let corrected = matches!(id, "honest_test_corrected" | "honest_stronger_test");
            let allow = if corrected { &tests[..] } else { &[] };
            let judgement = judged(&case, &tree, diff, allow);
            let codes: Vec<&str> = judgement.refusals.iter().map(|f| f.code.as_str()).collect();
            let entry = table.entry((kind.to_string(), id.trim_end_matches(char::is_numeric).to_string())).or_default();
            entry.0 += 1;
            entry.1 += usize::from(!codes.is_empty());
            let name = format!("{} {id}", case["id"].as_str().unwrap());
            if kind == "cheat" && !expected.is_empty() {
                cheats += 1;
                if codes.iter().any(|code| expected.contains(code)) {
                    caught += 1;
                } else {
                    wrong.push(format!("{name}: got {codes:?}, want one of {expected:?}"));
                }
            } else if kind != "cheat" && !codes.is_empty() {
                wrong.push(format!("{name}: {:?}", judgement.refusals));
            }
            if corrected {
                let bare = judged(&case, &tree, diff, &[]);
                assert!(bare.refusals.iter().any(|f| f.code == Code::PermissionNeeded), "{name}");
                assert!(!judgement.permitted.is_empty(), "{name}");
            }
            if kind == "cheat" && expected.is_empty() && judgement.flags.is_empty() && codes.is_empty() {
                println!("unseen lookup table: {name}");
            }
        }
    }
    for ((kind, id), (count, refused)) in &table {
        println!("{kind:10} {id:34} {count:4} refused {refused:4}");
    }
    println!("cheats refused with a listed code: {caught} of {cheats}");
    let list = wrong.join("\n");
    assert!(wrong.is_empty(), "{list}");
}

#[test]
fn hostile_patches_that_a_tree_can_express_are_refused() {
    let Some(dir) = cases_dir() else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("hostile.json")).unwrap()).unwrap();
    let mut seen = 0;
    for patch in all["patches"].as_array().unwrap() {
        let id = patch["id"].as_str().unwrap();
        // Only what survives as an exact change concerns the guards; the rest is the patch module's.
        let simple = matches!(
            id,
            "submodule_add"
                | "symlink_create_outside"
                | "symlink_create_absolute"
                | "mode_to_executable"
                | "new_case_twin"
                | "nul_in_body"
                | "bidi_in_body"
                | "dash_name"
                | "dash_option_name"
                | "file_over_directory"
                | "directory_over_file"
                | "ci_workflow"
                | "git_hook"
                | "git_config"
                | "loop_state"
                | "gitmodules"
                | "gitattributes"
                | "parent_path"
                | "long_name"
        );
        if !simple {
            continue;
        }
        let files = all["files"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(p, t)| (p.clone(), FileVersion::regular(t.as_str().unwrap_or_default())));
        let tree = MemoryTree::new(files);
        let judgement = judged(&Value::Null, &tree, patch["diff"].as_str().unwrap(), &[]);
        let expected: Vec<&str> = patch["guards"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
        let codes: Vec<&str> = judgement.refusals.iter().map(|f| f.code.as_str()).collect();
        assert!(
            !codes.is_empty() && (expected.is_empty() || codes.iter().any(|c| expected.contains(c))),
            "{id}: {codes:?}, want {expected:?}"
        );
        seen += 1;
    }
    println!("hostile patches refused: {seen}");
}

#[test]
fn the_seed_comes_back_whatever_a_cheat_did_to_its_tests() {
    let Some(dir) = cases_dir() else { return };
    let (mut same, mut partial) = (0, 0);
    for entry in std::fs::read_dir(dir.join("cases")).unwrap() {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let seed = tree_of(&case);
        for patch in case["patches"].as_array().unwrap() {
            let diff = patch["diff"].as_str().unwrap_or_default();
            if diff.is_empty() || patch["kind"] == "malformed" {
                continue;
            }
            let current = applied(&seed, &apply(&seed, diff));
            let restoration = restore_seed_tests(&seed, &current, &[]).unwrap();
            let proof = applied(&current, &restoration.change);
            partial += usize::from(!restoration.partial.is_empty());
            for path in seed.paths() {
                let (was, is) = (seed.read(path).unwrap().unwrap(), proof.read(path).unwrap());
                let role = test_role(path, was.text());
                if matches!(role, Role::Test | Role::TestData | Role::CheckConfig) {
                    assert_eq!(is, Some(was), "{} {} {path}", case["id"], patch["id"]);
                    same += 1;
                } else if role == Role::Inline {
                    let text = is.as_ref().and_then(|v| v.text()).unwrap_or_default().to_string();
                    let (old, new) = (items(was.text().unwrap()), items(&text));
                    assert_eq!(old, new, "{} {} {path}", case["id"], patch["id"]);
                    same += 1;
                }
            }
        }
    }
    println!("restored test files: {same}; partial restorations: {partial}");
}

fn items(text: &str) -> Vec<String> {
    let tokens = lex::tokens(lex::Lang::Rust, text);
    cases::cfg_test_items(&tokens).into_iter().map(|(first, end)| lex::join(&tokens[first..end])).collect()
}

fn applied(tree: &MemoryTree, change: &Change) -> MemoryTree {
    let mut files: BTreeMap<String, FileVersion> =
        tree.paths().iter().map(|path| (path.clone(), tree.read(path).unwrap().unwrap())).collect();
    for file in &change.files {
        match &file.new {
            Some(new) => files.insert(file.path.clone(), new.clone()),
            None => files.remove(&file.path),
        };
    }
    MemoryTree::new(files)
}

#[test]
fn codes_are_the_words_of_the_contract() {
    for code in [Code::DeletesTest, Code::SpecialCasesTests, Code::OutsideRepo, Code::DoesNotApply, Code::NotSelected] {
        assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
    }
    let finding = Finding { code: Code::EarlyExit, path: "a".into(), line: Some(1), reason: "b".into() };
    assert_eq!(serde_json::to_string(&finding).unwrap(), r#"{"code":"early-exit","path":"a","line":1,"reason":"b"}"#);
}
