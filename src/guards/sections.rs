//! The parts of mixed files (`package.json`, `pyproject.toml`, `Cargo.toml`, `Makefile`, …) that decide checks.
//!
//! Reads them as settings that can be compared, and writes a file that has the settings of one version and the
//! rest of another.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Settings by name; what is not in here does not decide checks.
pub(super) type Settings = BTreeMap<String, String>;

/// The result of giving a file the settings of its seed version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// The settings are those of the seed already.
    Same,
    /// The file with the seed's settings and everything else as it is.
    Text(String),
    /// Settings and the rest cannot be told apart: the whole seed version, and why.
    Whole(&'static str),
}

/// Top-level keys of `package.json` and `composer.json` that configure tools which check.
const JSON_KEYS: [&str; 25] = [
    "jest",
    "mocha",
    "ava",
    "c8",
    "nyc",
    "tap",
    "vitest",
    "eslintConfig",
    "eslintIgnore",
    "prettier",
    "xo",
    "standard",
    "babel",
    "overrides",
    "resolutions",
    "packageManager",
    "workspaces",
    "husky",
    "lint-staged",
    "config",
    "pnpm",
    "stylelint",
    "autoload-dev",
    "repositories",
    "imports",
];
/// Packages that run or judge tests; their versions and sources are settings.
const RUNNERS: [&str; 48] = [
    "jest",
    "vitest",
    "mocha",
    "ava",
    "tap",
    "chai",
    "jasmine",
    "karma",
    "c8",
    "nyc",
    "ts-jest",
    "ts-node",
    "tsx",
    "typescript",
    "eslint",
    "prettier",
    "playwright",
    "@playwright/test",
    "cypress",
    "sinon",
    "assert",
    "expect",
    "@jest/globals",
    "babel-jest",
    "pytest",
    "unittest2",
    "nose",
    "nose2",
    "tox",
    "nox",
    "hypothesis",
    "coverage",
    "mypy",
    "ruff",
    "flake8",
    "pylint",
    "pyright",
    "pluggy",
    "phpunit/phpunit",
    "rspec",
    "minitest",
    "rubocop",
    "junit",
    "junit-jupiter",
    "testng",
    "xunit",
    "nunit",
    "pretty_assertions",
];

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the settings in `text` that decide checks, given the user's `commands`; `None` where it cannot be read.
pub(super) fn settings(path: &str, text: &str, commands: &[String]) -> Option<Settings> {
    if text.trim().is_empty() {
        return Some(Settings::new());
    }
    let name = name_of(path);
    match name {
        "package.json" | "composer.json" => Some(json_settings(&serde_json::from_str(text).ok()?, commands)),
        "Cargo.toml" => Some(cargo_settings(&text.parse().ok()?)),
        "pyproject.toml" | "Pipfile" => Some(pyproject_settings(&text.parse().ok()?)),
        "setup.cfg" => Some(ini_settings(text)),
        "Makefile" | "makefile" | "GNUmakefile" => Some(make_settings(text, commands, false)),
        "justfile" | "Justfile" | ".justfile" => Some(make_settings(text, commands, true)),
        _ => Some(rest_settings(name, text)),
    }
}

/// Returns `current` with the settings of `seed`.
pub(super) fn merged(path: &str, seed: &str, current: &str, commands: &[String]) -> Merged {
    let (Some(wanted), Some(have)) = (settings(path, seed, commands), settings(path, current, commands)) else {
        return Merged::Whole("it cannot be read as settings");
    };
    if wanted == have {
        return Merged::Same;
    }
    let text = match name_of(path) {
        "package.json" | "composer.json" => merge_json(seed, current, &wanted, &have),
        "Cargo.toml" | "pyproject.toml" | "Pipfile" => merge_toml(seed, current, &wanted, &have),
        "setup.cfg" => Some(merge_ini(seed, current)),
        _ => None,
    };
    match text {
        // Trust a merge only if it reads back as wanted.
        Some(text) if settings(path, &text, commands).as_ref() == Some(&wanted) => Merged::Text(text),
        _ => Merged::Whole("its settings cannot be told from the rest"),
    }
}

/// Whether a script, target or task of this name is a check or part of one.
fn is_check_name(name: &str) -> bool {
    const STARTS: [&str; 20] = [
        "test",
        "pretest",
        "posttest",
        "lint",
        "prelint",
        "postlint",
        "check",
        "type",
        "tsc",
        "ci",
        "verify",
        "valid",
        "cover",
        "build",
        "prepare",
        "install",
        "preinstall",
        "postinstall",
        "e2e",
        "spec",
    ];
    let name = name.to_ascii_lowercase();
    STARTS.iter().any(|start| name.starts_with(start))
        || matches!(name.as_str(), "all" | "unit" | "compile" | "prebuild" | "postbuild" | "default")
}

/// Says whether `name` is a word of `text`.
fn mentions(text: &str, name: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.'))).any(|word| word == name)
}

/// Returns the names among `known` that are checks, or that the commands or another such name call.
/// `wanted` has the last word on those that are checks by their name alone.
fn called<'a>(known: &BTreeMap<&'a str, String>, commands: &[String], wanted: impl Fn(&&str) -> bool) -> Vec<&'a str> {
    let mut out: Vec<&'a str> = known
        .keys()
        .filter(|name| is_check_name(name) && wanted(name) || commands.iter().any(|command| mentions(command, name)))
        .copied()
        .collect();
    loop {
        let more: Vec<&'a str> = known
            .keys()
            .filter(|name| !out.contains(name) && out.iter().any(|caller| mentions(&known[caller], name)))
            .copied()
            .collect();
        if more.is_empty() {
            return out;
        }
        out.extend(more);
    }
}

fn json_settings(root: &Json, commands: &[String]) -> Settings {
    let mut out = Settings::new();
    for key in JSON_KEYS {
        if let Some(value) = root.get(key) {
            out.insert(key.to_string(), value.to_string());
        }
    }
    if let Some(Json::Object(scripts)) = root.get("scripts") {
        let known: BTreeMap<&str, String> =
            scripts.iter().map(|(name, text)| (name.as_str(), text.to_string())).collect();
        for name in called(&known, commands, |_| true) {
            out.insert(format!("scripts/{name}"), known[name].clone());
        }
    }
    for group in ["dependencies", "devDependencies", "optionalDependencies", "require", "require-dev"] {
        if let Some(Json::Object(list)) = root.get(group) {
            for (name, version) in list {
                let odd = version.as_str().is_none_or(|v| v.contains(':') || v.contains('/'));
                if RUNNERS.contains(&name.as_str()) || odd {
                    out.insert(format!("{group}/{name}"), version.to_string());
                }
            }
        }
    }
    out
}

fn merge_json(seed: &str, current: &str, wanted: &Settings, have: &Settings) -> Option<String> {
    let seed: Json = serde_json::from_str(seed).ok()?;
    let mut root: Json = serde_json::from_str(current).ok()?;
    for name in have.keys().chain(wanted.keys()) {
        let (group, key) = name.split_once('/').map_or((None, name.as_str()), |(group, key)| (Some(group), key));
        let (from, into) = match group {
            None => (Some(&seed), root.as_object_mut()?),
            Some(group) => {
                let top = root.as_object_mut()?;
                if !top.contains_key(group) {
                    top.insert(group.to_string(), Json::Object(serde_json::Map::new()));
                }
                (seed.get(group), top.get_mut(group)?.as_object_mut()?)
            }
        };
        match from.and_then(|from| from.get(key)) {
            Some(value) => {
                into.insert(key.to_string(), value.clone());
            }
            None => {
                into.shift_remove(key);
            }
        }
    }
    let mut text = serde_json::to_string_pretty(&root).ok()?;
    text.push('\n');
    Some(text)
}

fn put(out: &mut Settings, table: &toml::Table, path: &[&str]) {
    let mut at = table;
    for (index, part) in path.iter().enumerate() {
        let Some(value) = at.get(*part) else { return };
        if index + 1 == path.len() {
            out.insert(path.join("/"), value.to_string());
        } else if let Some(next) = value.as_table() {
            at = next;
        } else {
            return;
        }
    }
}

fn cargo_settings(root: &toml::Table) -> Settings {
    let mut out = Settings::new();
    for key in ["autotests", "autobins", "autobenches", "autoexamples", "build", "default-run", "links", "metadata"] {
        put(&mut out, root, &["package", key]);
    }
    for key in ["test", "bench", "profile", "patch", "replace", "lints"] {
        put(&mut out, root, &[key]);
    }
    for key in ["test", "harness", "doctest", "bench", "path", "name", "proc-macro", "doc", "required-features"] {
        put(&mut out, root, &["lib", key]);
    }
    for key in ["lints", "exclude", "members", "default-members", "resolver", "metadata"] {
        put(&mut out, root, &["workspace", key]);
    }
    put(&mut out, root, &["features", "default"]);
    // A binary may be added, but not taken out of the tests.
    for (index, bin) in root.get("bin").and_then(|bins| bins.as_array()).into_iter().flatten().enumerate() {
        for key in ["test", "harness", "required-features"] {
            if let Some(value) = bin.get(key) {
                out.insert(format!("bin#{index}/{key}"), value.to_string());
            }
        }
    }
    for group in ["dev-dependencies", "dependencies"] {
        for (name, value) in root.get(group).and_then(|deps| deps.as_table()).into_iter().flatten() {
            let renamed = value.get("package").is_some();
            if RUNNERS.contains(&name.as_str()) || renamed {
                out.insert(format!("{group}/{name}"), value.to_string());
            }
        }
    }
    out
}

fn pyproject_settings(root: &toml::Table) -> Settings {
    /// Tools that build or describe; every other tool may judge.
    const BUILDERS: [&str; 8] = ["setuptools", "flit", "poetry", "hatch", "pdm", "uv", "maturin", "setuptools_scm"];
    let mut out = Settings::new();
    for (tool, value) in root.get("tool").and_then(|tools| tools.as_table()).into_iter().flatten() {
        if !BUILDERS.contains(&tool.as_str()) {
            out.insert(format!("tool/{tool}"), value.to_string());
        }
    }
    for path in [
        &["tool", "hatch", "envs"][..],
        &["tool", "pdm", "scripts"],
        &["tool", "poetry", "plugins"],
        &["tool", "poetry", "scripts", "test"],
        &["tool", "uv", "sources"],
        &["tool", "setuptools", "package-dir"],
        &["project", "entry-points"],
        &["build-system"],
        &["scripts"],
    ] {
        put(&mut out, root, path);
    }
    out
}

fn merge_toml(seed: &str, current: &str, wanted: &Settings, have: &Settings) -> Option<String> {
    let seed: toml::Table = seed.parse().ok()?;
    let mut root: toml::Table = current.parse().ok()?;
    for name in have.keys().chain(wanted.keys()) {
        if name.contains('#') {
            match seed.get("bin") {
                Some(bins) => root.insert("bin".to_string(), bins.clone()),
                None => root.remove("bin"),
            };
            continue;
        }
        let parts: Vec<&str> = name.split('/').collect();
        let (last, folders) = parts.split_last()?;
        let mut from = Some(&seed);
        let mut into = &mut root;
        for folder in folders {
            from = from.and_then(|table| table.get(*folder)).and_then(|value| value.as_table());
            into = into.entry(*folder).or_insert_with(|| toml::Value::Table(toml::Table::new())).as_table_mut()?;
        }
        match from.and_then(|table| table.get(*last)) {
            Some(value) => into.insert((*last).to_string(), value.clone()),
            None => into.remove(*last),
        };
    }
    toml::to_string(&root).ok()
}

/// Splits an INI file into `(section, text)`, in order; text before the first section has an empty name.
fn ini_sections(text: &str) -> Vec<(String, String)> {
    let mut out = vec![(String::new(), String::new())];
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            out.push((name.trim().to_string(), String::new()));
        }
        if let Some((_, body)) = out.last_mut() {
            body.push_str(line);
        }
    }
    out
}

fn is_check_section(name: &str) -> bool {
    !(name.is_empty()
        || matches!(name, "metadata" | "options" | "bdist_wheel" | "egg_info" | "sdist" | "build_ext")
        || (name.starts_with("options.") && name != "options.entry_points"))
}

fn ini_settings(text: &str) -> Settings {
    let mut out = Settings::new();
    for (name, body) in ini_sections(text).into_iter().filter(|(name, _)| is_check_section(name)) {
        let lines: Vec<&str> = body
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']))
            .collect();
        out.entry(name).or_default().push_str(&lines.join("\n"));
    }
    out
}

fn merge_ini(seed: &str, current: &str) -> String {
    let mut out = String::new();
    for (name, body) in ini_sections(current)
        .iter()
        .filter(|(name, _)| !is_check_section(name))
        .chain(ini_sections(seed).iter().filter(|(name, _)| is_check_section(name)))
    {
        let _ = name;
        out.push_str(body);
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// Returns the targets a check needs, with their recipes, and every variable and directive: of a makefile, or of a
/// `justfile`, which looks much the same.
fn make_settings(text: &str, commands: &[String], just: bool) -> Settings {
    let mut targets: BTreeMap<String, String> = BTreeMap::new();
    let mut globals: Vec<String> = Vec::new();
    let mut current: Vec<String> = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        let recipe = line.starts_with('\t') || just && line.starts_with(' ');
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with('#') {
            continue;
        }
        if recipe {
            for name in &current {
                let body = targets.entry(name.clone()).or_default();
                body.push('\n');
                body.push_str(plain);
            }
            continue;
        }
        let rule = plain
            .split_once(':')
            .filter(|(names, rest)| !names.contains('=') && !rest.starts_with('=') && !rest.starts_with(":="));
        if let Some((names, needs)) = rule {
            let special = names.trim().starts_with('.');
            // Which targets are phony is of no weight, except for the checks themselves.
            current = if just {
                // What follows the name are its parameters.
                names.split_whitespace().take(1).map(|name| name.trim_start_matches('@').to_string()).collect()
            } else if special && names.trim() == ".PHONY" {
                Vec::new()
            } else {
                names.split_whitespace().map(str::to_string).collect()
            };
            for name in &current {
                let body = targets.entry(name.clone()).or_default();
                body.push(' ');
                body.push_str(needs.trim());
            }
        } else {
            current = Vec::new();
            globals.push(plain.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let known: BTreeMap<&str, String> = targets.iter().map(|(name, body)| (name.as_str(), body.clone())).collect();
    // What a package manager runs by name, make and just run only where they are asked to.
    let asked = |name: &&str| {
        !["install", "build", "prepare", "pre", "post"].iter().any(|start| name.starts_with(start))
            || commands.iter().any(|command| mentions(command, name))
    };
    let used = called(&known, commands, asked);
    let mut out = Settings::new();
    for name in
        targets.keys().filter(|name| used.contains(&name.as_str()) || name.starts_with('.') || name.contains('%'))
    {
        out.insert(format!("target/{name}"), targets[name].clone());
    }
    let recipes: String = used.iter().map(|name| known[name].as_str()).collect();
    for (index, global) in globals.iter().enumerate() {
        let name = global
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .find(|word| !word.is_empty() && !matches!(*word, "export" | "override"))
            .unwrap_or(global);
        let special = matches!(
            name,
            "SHELL"
                | ".SHELLFLAGS"
                | "MAKEFLAGS"
                | "include"
                | "define"
                | "ifeq"
                | "ifneq"
                | "ifdef"
                | "ifndef"
                | "else"
                | "endif"
                | "endef"
                | "unexport"
                | "PATH"
                | "sinclude"
                | "load"
                | "set"
                | "alias"
                | "import"
                | "mod"
        );
        if special
            || global.starts_with("export")
            || recipes.contains(&format!("({name})"))
            || recipes.contains(&format!("{{{name}}}"))
            || recipes.contains(&format!("{{ {name} }}"))
            || just && global.starts_with('[')
        {
            out.insert(format!("global/{name}#{index}"), global.clone());
        }
    }
    out
}

/// Files without a format of ours: everything but dependencies and descriptions, as one setting.
fn rest_settings(name: &str, text: &str) -> Settings {
    let mut kept = Vec::new();
    let mut depth = 0usize;
    let mut inside = false;
    for line in text.lines() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with("//") || plain.starts_with('#') {
            continue;
        }
        let free = match name {
            "go.mod" => !(plain.starts_with("replace") || plain.contains("=>") || plain.starts_with("toolchain")),
            "Gemfile" => !RUNNERS
                .iter()
                .any(|runner| plain.contains(&format!("\"{runner}\"")) || plain.contains(&format!("'{runner}'"))),
            "pom.xml" => {
                if plain.starts_with("<dependencies>") {
                    inside = true;
                }
                let free = inside
                    || ["<version>", "<description>", "<name>", "<url>"].iter().any(|tag| plain.starts_with(tag));
                if plain.starts_with("</dependencies>") {
                    inside = false;
                }
                free
            }
            _ if name.starts_with("build.gradle") || name.starts_with("Package.swift") || name == "pubspec.yaml" => {
                if depth == 0 && plain.starts_with("dependencies") {
                    inside = true;
                }
                let free = inside || ["version", "description", "group"].iter().any(|key| plain.starts_with(key));
                depth = (depth + plain.matches('{').count()).saturating_sub(plain.matches('}').count());
                if depth == 0 {
                    inside = inside && name == "pubspec.yaml";
                }
                free
            }
            _ if name.ends_with("proj") => {
                plain.contains("<PackageReference") || plain.contains("<Version>") || plain.contains("<Description>")
            }
            _ if name.starts_with("requirements") => {
                let package = plain
                    .split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
                    .next()
                    .unwrap_or_default();
                !RUNNERS.contains(&package.to_ascii_lowercase().as_str())
                    && !plain.starts_with('-')
                    && !plain.contains('@')
            }
            "setup.py" => {
                !(plain.contains("entry_points")
                    || plain.contains("pytest11")
                    || plain.contains("test_suite")
                    || plain.contains("tests_require")
                    || plain.contains("cmdclass"))
            }
            _ => plain.starts_with("version") || plain.starts_with("description"),
        };
        if !free {
            kept.push(plain);
        }
    }
    let mut out = Settings::new();
    if !kept.is_empty() {
        out.insert("settings".to_string(), kept.join("\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, text: &str, commands: &[&str]) -> Vec<String> {
        let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
        settings(path, text, &commands).unwrap().into_keys().collect()
    }

    #[test]
    fn settings_are_told_from_the_rest() {
        assert_eq!(
            names(
                "package.json",
                r#"{"name":"a","description":"b","scripts":{"test":"npm run unit-x","unit-x":"node x","start":"node a"},"dependencies":{"left":"1"},"jest":{}}"#,
                &[]
            ),
            ["jest", "scripts/test", "scripts/unit-x"]
        );
        assert_eq!(
            names("package.json", r#"{"scripts":{"start":"node a","smoke-it":"b"}}"#, &["npm run smoke-it"]),
            ["scripts/smoke-it"]
        );
        assert_eq!(
            names(
                "Cargo.toml",
                "[package]\nname='a'\nautotests=false\ndescription='x'\n[lib]\ntest=false\n[dependencies]\nserde='1'\n[[bin]]\nname='b'\ntest=false\n",
                &[]
            ),
            ["bin#0/test", "lib/test", "package/autotests"]
        );
        assert_eq!(
            names(
                "pyproject.toml",
                "[project]\nname='a'\ndependencies=['x']\n[tool.pytest.ini_options]\naddopts='-q'\n[tool.poetry]\nname='a'\n",
                &[]
            ),
            ["tool/pytest"]
        );
        assert_eq!(
            names(
                "Makefile",
                "PY = python3\nX = 1\ntest: build\n\t$(PY) -m unittest\nbuild:\n\techo\nrun:\n\techo $(X)\n",
                &[]
            ),
            ["global/PY#0", "target/build", "target/test"]
        );
    }

    #[test]
    fn a_merge_has_the_settings_of_the_seed_and_the_rest_of_the_current_file() {
        let commands = Vec::new();
        let seed = "{\"name\":\"a\",\"scripts\":{\"test\":\"node --test\"}}";
        let now = "{\"name\":\"b\",\"scripts\":{\"test\":\"true\",\"start\":\"x\"},\"jest\":{},\"dependencies\":{\"left\":\"1\"}}";
        let Merged::Text(text) = merged("package.json", seed, now, &commands) else { panic!("no merge") };
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"name": "b", "scripts": {"test": "node --test", "start": "x"}, "dependencies": {"left": "1"}})
        );

        let Merged::Text(text) = merged(
            "Cargo.toml",
            "[package]\nname='a'\n",
            "[package]\nname='a'\nautotests=false\n[dependencies]\nx='1'\n[lib]\ntest=false\n",
            &commands,
        ) else {
            panic!("no merge")
        };
        let table: toml::Table = text.parse().unwrap();
        assert!(
            table["package"].get("autotests").is_none()
                && table.get("dependencies").is_some()
                && table["lib"].get("test").is_none()
        );

        let Merged::Text(text) = merged(
            "setup.cfg",
            "[metadata]\nname=a\n[tool:pytest]\naddopts=-q\n",
            "[metadata]\nname=b\n[tool:pytest]\naddopts=--co\n",
            &commands,
        ) else {
            panic!("no merge")
        };
        assert_eq!(text, "[metadata]\nname=b\n[tool:pytest]\naddopts=-q\n");

        assert_eq!(
            merged("Makefile", "test:\n\ta\n", "test:\n\ttrue\n", &commands),
            Merged::Whole("its settings cannot be told from the rest")
        );
        assert_eq!(
            merged("package.json", seed, "{\"name\":\"b\",\"scripts\":{\"test\":\"node --test\"}}", &commands),
            Merged::Same
        );
    }
}
