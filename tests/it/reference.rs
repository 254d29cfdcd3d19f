//! The reference, the README and the change log against the program: nothing public is undocumented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use loop_companion::cli::Arguments;
use loop_companion::engine::StopReason;
use loop_companion::error::ExitCode;
use loop_companion::guards::Code;
use schemars::JsonSchema;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the part of a Markdown text below a heading, up to the next one of the same depth.
#[track_caller]
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let depth = heading.split(' ').next().unwrap();
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`"));
    let rest = &text[start + heading.len() + 2..];
    rest.find(&format!("\n{depth} ")).map_or(rest, |end| &rest[..end])
}

/// Returns the first cells of a section's table rows, `|` and back quotes taken off, with the rest of the row.
fn rows(section: &str) -> BTreeMap<String, String> {
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(first, rest)| (first.replace('`', ""), rest.trim().to_owned()))
        .filter(|(first, _)| !first.chars().all(|c| c == '-' || c == ' '))
        .skip(1)
        .collect()
}

/// Every value of a type that serialises to one word.
fn words<T: JsonSchema>() -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(word)) = map.get("const") {
                    found.insert(word.clone());
                }
                if let Some(Value::Array(list)) = map.get("enum") {
                    found.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                map.values().for_each(|value| collect(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(&schemars::schema_for!(T).to_value(), &mut found);
    found
}

#[test]
fn every_command_and_every_long_flag_is_in_the_reference_and_no_other() {
    let reference = read("docs/reference.md");
    let command = Arguments::command();
    let mut flags = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    for subcommand in command.get_subcommands() {
        let heading = format!("### {}", subcommand.get_name());
        let own = section(&reference, &heading);
        for flag in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(own.contains(&format!("`--{flag}")), "{heading} does not name --{flag}");
            flags.insert(format!("--{flag}"));
        }
    }
    for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
        assert!(section(&reference, "## Commands").contains(&format!("`--{flag}")), "--{flag}");
        flags.insert(format!("--{flag}"));
    }
    let named: BTreeSet<String> = section(&reference, "## Commands")
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("--"))
        .map(|code| code.split([' ', '=']).next().unwrap().to_owned())
        .collect();
    let unknown: Vec<_> = named.difference(&flags).collect();
    assert!(unknown.is_empty(), "the reference names flags that do not exist: {unknown:?}");
}

#[test]
fn the_tables_of_exit_codes_are_the_enum() {
    let codes = [
        ExitCode::Success,
        ExitCode::NotMet,
        ExitCode::Usage,
        ExitCode::Preflight,
        ExitCode::Held,
        ExitCode::State,
        ExitCode::Codex,
        ExitCode::NoGo,
        ExitCode::Modify,
        ExitCode::Unavailable,
        ExitCode::Internal,
        ExitCode::TimedOut,
        ExitCode::Interrupted,
        ExitCode::Terminated,
    ];
    // Fails to compile when a code is added to the enum and not to this list.
    let known = |code: ExitCode| match code {
        ExitCode::Success
        | ExitCode::NotMet
        | ExitCode::Usage
        | ExitCode::Preflight
        | ExitCode::Held
        | ExitCode::State
        | ExitCode::Codex
        | ExitCode::NoGo
        | ExitCode::Modify
        | ExitCode::Unavailable
        | ExitCode::Internal
        | ExitCode::TimedOut
        | ExitCode::Interrupted
        | ExitCode::Terminated => (code as u8).to_string(),
    };
    let codes: BTreeSet<String> = codes.into_iter().map(known).collect();
    for file in ["docs/reference.md", "README.md"] {
        let documented: BTreeSet<String> = rows(section(&read(file), "## Exit codes")).into_keys().collect();
        assert_eq!(documented, codes, "{file}");
    }
}

#[test]
fn every_stop_reason_is_in_the_reference_with_its_exit_code_and_whether_it_can_go_on() {
    let rows = rows(section(&read("docs/reference.md"), "## Stop reasons"));
    let wanted: BTreeMap<String, (String, bool)> = StopReason::ALL
        .into_iter()
        .map(|reason| (reason.name().to_owned(), (reason.exit_code().to_string(), reason.resumable())))
        .collect();
    let documented: BTreeMap<String, (String, bool)> = rows
        .into_iter()
        .map(|(name, rest)| {
            let cells: Vec<&str> = rest.trim_matches('|').split('|').map(str::trim).collect();
            (name, (cells[0].to_owned(), cells[1] == "yes"))
        })
        .collect();
    assert_eq!(documented, wanted);
}

#[test]
fn every_guard_code_is_in_the_reference() {
    let documented: BTreeSet<String> =
        rows(section(&read("docs/reference.md"), "## Guard codes")).into_keys().collect();
    assert_eq!(documented, words::<Code>());
}

#[test]
fn every_member_of_the_status_is_in_the_reference() {
    let schema: Value = serde_json::from_str(&read("schemas/loop-state.json")).unwrap();
    let members: BTreeSet<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let documented: BTreeSet<String> = rows(section(&read("docs/reference.md"), "## The status document"))
        .into_keys()
        .flat_map(|names| names.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(documented, members);
}

#[test]
fn every_module_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(&source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let shown = if source.join(&name).is_dir() { format!("`{name}/`") } else { format!("`{name}`") };
        assert!(map.contains(&shown), "ARCHITECTURE.md does not name {shown}");
    }
}

#[test]
fn the_change_log_begins_with_this_version() {
    let log = read("CHANGELOG.md");
    let first = log.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
    assert!(first.starts_with(env!("CARGO_PKG_VERSION")), "{first}");
}
