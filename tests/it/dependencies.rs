//! What the program is built from, against `deny.toml`: licences, sources, doubles. `cargo deny` checks more of it where
//! it is installed; this holds everywhere and needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The licences of everything in Cargo.lock.
const THIRD_PARTY: &str = "THIRD-PARTY.md";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn toml(name: &str) -> toml::Table {
    read(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A package of Cargo.lock.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn locked() -> Vec<Locked> {
    let lock = toml("Cargo.lock");
    let text = |entry: &toml::Value, key: &str| entry.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let packages = lock["package"].as_array().unwrap().iter().map(|entry| Locked {
        name: text(entry, "name").unwrap(),
        version: text(entry, "version").unwrap(),
        source: text(entry, "source"),
        checksum: text(entry, "checksum"),
    });
    let packages: Vec<Locked> = packages.filter(|package| package.name != env!("CARGO_PKG_NAME")).collect();
    assert!(packages.len() > 50);
    packages
}

/// Returns the texts of a list in `deny.toml`: plain, or the `crate` of each entry.
fn denied(section: &str, key: &str) -> Vec<String> {
    let table = toml("deny.toml");
    let list = table[section][key].as_array().unwrap();
    let named = |entry: &toml::Value| {
        entry.as_str().or_else(|| entry.get("crate").and_then(toml::Value::as_str)).map(str::to_owned)
    };
    list.iter().map(|entry| named(entry).unwrap()).collect()
}

/// Returns what `cargo metadata` knows of packages: name and version, licence. `all` asks for every platform's, which
/// may have to be fetched; without it, what this machine has built is enough.
fn metadata(all: bool) -> BTreeMap<(String, String), String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !all {
        let rustc = Command::new("rustc").arg("-vV").output().unwrap();
        let host = String::from_utf8(rustc.stdout).unwrap();
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
        command.args(["--offline", "--filter-platform", &host]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let packages = value["packages"].as_array().unwrap().iter();
    packages.map(|package| ((text(package, "name"), text(package, "version")), text(package, "license"))).collect()
}

/// Says whether a licence expression can be met with the allowed licences.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim();
    for (word, all) in [(" AND ", true), (" OR ", false), ("/", false)] {
        let mut depth = 0;
        let mut parts = vec![String::new()];
        let mut rest = expression;
        while let Some(c) = rest.chars().next() {
            if depth == 0 && rest.starts_with(word) {
                parts.push(String::new());
                rest = &rest[word.len()..];
                continue;
            }
            depth += i32::from(c == '(') - i32::from(c == ')');
            parts.last_mut().unwrap().push(c);
            rest = &rest[c.len_utf8()..];
        }
        if parts.len() > 1 {
            let mut parts = parts.iter().map(|part| is_allowed(part, allowed));
            return if all { parts.all(|met| met) } else { parts.any(|met| met) };
        }
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.iter().any(|one| one == expression),
    }
}

#[test]
fn every_dependency_is_listed_with_a_licence_that_is_allowed() {
    let allowed = denied("licenses", "allow");
    assert!(is_allowed("(MIT OR GPL-3.0) AND Zlib", &allowed) && !is_allowed("MIT AND GPL-3.0", &allowed));
    let packages = locked();
    // CLOOP_BLESS=1 writes the list anew after a change of the dependencies.
    if std::env::var_os("CLOOP_BLESS").is_some() {
        let known = metadata(true);
        let mut text = "# Third-party software\n\nEvery crate in `Cargo.lock`, also those for building, testing and other platforms. `CLOOP_BLESS=1 cargo test \
                        every_dependency` writes this list.\n\n| crate | version | licence |\n| --- | --- | --- |\n"
            .to_owned();
        for package in &packages {
            let licence = &known[&(package.name.clone(), package.version.clone())];
            text.extend(["| ", &package.name, " | ", &package.version, " | ", licence, " |\n"]);
        }
        fs::write(path(THIRD_PARTY), text).unwrap();
    }
    let list = read(THIRD_PARTY);
    let rows: BTreeMap<(String, String), String> = list
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
            let [name, version, licence] = cells[..] else { return None };
            Some(((name.to_owned(), version.to_owned()), licence.to_owned()))
        })
        .filter(|((name, _), _)| name != "crate" && name != "---")
        .collect();
    let listed: BTreeSet<_> = rows.keys().cloned().collect();
    let wanted: BTreeSet<_> = packages.into_iter().map(|package| (package.name, package.version)).collect();
    let differ: Vec<_> = listed.symmetric_difference(&wanted).collect();
    assert!(differ.is_empty(), "{THIRD_PARTY} differs from Cargo.lock in {differ:?}");
    for (package, licence) in &rows {
        assert!(is_allowed(licence, &allowed), "{package:?} has the licence {licence:?}");
    }
    for (package, licence) in metadata(false).iter().filter(|((name, _), _)| name != env!("CARGO_PKG_NAME")) {
        assert_eq!(rows.get(package), Some(licence), "{package:?}");
    }
}

#[test]
fn everything_comes_from_crates_io_with_a_checksum_and_needs_no_c_compiler() {
    let denied = denied("bans", "deny");
    for package in locked() {
        assert_eq!(package.source.as_deref(), Some(CRATES_IO), "{package:?}");
        assert!(package.checksum.is_some(), "{package:?}");
    }
    // The lock file also names what only platforms need that this program does not run on.
    for (name, _) in metadata(false).into_keys() {
        assert!(!denied.contains(&name), "{name} is not to be used");
    }
}

#[test]
fn no_crate_is_there_twice_but_those_that_cannot_be_helped() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in locked() {
        versions.entry(package.name).or_default().push(package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let twice: BTreeSet<String> = versions.into_keys().collect();
    let excused: BTreeSet<String> =
        denied("bans", "skip").iter().map(|entry| entry.split('@').next().unwrap().to_owned()).collect();
    assert_eq!(twice, excused);
}

#[test]
fn lock_files_name_no_other_registry() {
    let npm: Value = serde_json::from_str(&read("tests/package-lock.json")).unwrap();
    for (name, package) in npm["packages"].as_object().unwrap() {
        assert!(package["resolved"].is_null(), "{name} is bound to {}", package["resolved"]);
        assert!(name.is_empty() || package["integrity"].is_string(), "{name} has no checksum");
    }
    let python = read("tests/requirements.txt");
    for word in ["://", "--index-url", "--extra-index-url", "--find-links", "-i "] {
        assert!(!python.contains(word), "{word} in tests/requirements.txt");
    }
    for line in python.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['#', ' '])) {
        assert!(line.contains("=="), "{line} is not pinned");
    }
}
