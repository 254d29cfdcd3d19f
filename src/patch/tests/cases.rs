//! Recorded patches, good and bad, from a folder of cases; skipped where there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::change::{FileMode, FileVersion, MemoryTree};
use crate::patch::{Limits, RefusalCode, rebuild};

fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    let folder = std::env::var_os("CLOOP_CASES").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn load(path: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns the repository of a case, with the links and submodules of one entry.
fn repository(case: &Value, entry: &Value) -> MemoryTree {
    let mut files: BTreeMap<String, FileVersion> = BTreeMap::new();
    for (path, text) in case["files"].as_object().unwrap() {
        let mode = if case["modes"][path].as_str() == Some("755") { FileMode::Executable } else { FileMode::Regular };
        files.insert(path.clone(), FileVersion { mode, content: text.as_str().unwrap().into() });
    }
    for (key, mode) in [("links", FileMode::Symlink), ("submodules", FileMode::Submodule)] {
        for (path, target) in entry[key].as_object().into_iter().flatten() {
            files.insert(path.clone(), FileVersion { mode, content: target.as_str().unwrap().into() });
        }
    }
    MemoryTree::new(files)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn all_cases() -> Vec<(String, Value)> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), load(path))).collect()
}

#[test]
fn badly_typed_patches_are_repaired_or_refused_as_recorded() {
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, case) in all_cases() {
        for entry in case["malformed"].as_array().unwrap() {
            let tree = repository(&case, entry);
            let id = format!("{name} {}", entry["id"].as_str().unwrap());
            let result = rebuild(entry["diff"].as_str().unwrap(), &tree, &Limits::default());
            let counts = table.entry(entry["damage"].as_str().unwrap().to_owned()).or_default();
            match (&result, entry["expect"].as_str().unwrap()) {
                (Err(_), "refuse") => counts[0] += 1,
                (Ok(rebuilt), "repair") => {
                    let right = entry["post_sha256"].as_object().unwrap().iter().all(|(path, sum)| {
                        let now = rebuilt.change.files.iter().find(|file| file.path == *path);
                        let bytes = match now {
                            Some(file) => file.new.as_ref().map(|new| new.content.clone()),
                            None => case["files"][path].as_str().map(|text| text.as_bytes().to_vec()),
                        };
                        bytes.map(|bytes| sha256(&bytes)).as_deref() == sum.as_str()
                    });
                    counts[if right { 0 } else { 2 }] += 1;
                    if !right {
                        faults.push(format!("{id}: another result, {:?}", rebuilt.matches));
                    }
                }
                (Err(refusal), _) => {
                    counts[1] += 1;
                    if entry["tolerate_refuse"] != true {
                        faults.push(format!("{id}: {refusal}"));
                    }
                }
                (Ok(rebuilt), _) => {
                    counts[2] += 1;
                    faults.push(format!("{id}: applied, {:?}", rebuilt.matches));
                }
            }
        }
    }
    for (damage, [right, refused, wrong]) in &table {
        println!("{right:5} right {refused:4} refused {wrong:4} wrong  {damage}");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn clean_patches_match_exactly() {
    for (name, case) in all_cases() {
        for entry in case["patches"].as_array().unwrap().iter().filter(|entry| entry["kind"] != "malformed") {
            let tree = repository(&case, entry);
            let id = format!("{name} {}", entry["id"].as_str().unwrap());
            match rebuild(entry["diff"].as_str().unwrap(), &tree, &Limits::default()) {
                Ok(rebuilt) => {
                    assert!(rebuilt.matches.iter().all(|hunk| !hunk.how.is_loose()), "{id}: {:?}", rebuilt.matches);
                }
                Err(refusal) => assert_ne!(refusal.code, RefusalCode::DoesNotApply, "{id}: {refusal}"),
            }
        }
    }
}

#[test]
fn hostile_patches_are_refused_with_a_fitting_code() {
    let Some(folder) = folder() else { return };
    let hostile = load(&folder.join("hostile.json"));
    let mut faults = Vec::new();
    for entry in hostile["patches"].as_array().unwrap() {
        let tree = repository(&hostile, entry);
        let patch = entry["diff"].as_str().map_or_else(|| generate(&entry["generator"]), str::to_owned);
        let allowed: Vec<&str> = entry["guards"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let started = std::time::Instant::now();
        let result = rebuild(&patch, &tree, &Limits::default());
        let id = entry["id"].as_str().unwrap();
        match result {
            Ok(_) => faults.push(format!("{id}: applied")),
            Err(refusal) => {
                let code = serde_json::to_value(refusal.code).unwrap();
                if !allowed.is_empty() && !allowed.contains(&code.as_str().unwrap()) {
                    faults.push(format!("{id}: {code}, not one of {allowed:?}: {refusal}"));
                }
            }
        }
        println!("{:6} ms  {id}", started.elapsed().as_millis());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Builds a patch that is too large to store.
fn generate(how: &Value) -> String {
    let part = |key: &str| how[key].as_str().unwrap_or_default();
    let count = how["count"].as_u64().unwrap();
    let mut patch = part("head").to_owned();
    for n in 1..=count {
        match how["kind"].as_str() {
            Some("repeat") => return patch + &part("line").repeat(usize::try_from(count).unwrap()) + part("tail"),
            _ => patch.push_str(&part("each").replace("{n}", &n.to_string())),
        }
    }
    patch + part("tail")
}
