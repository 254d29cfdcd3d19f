//! Where a repository keeps its tests, beside what the names of files tell: by what the checks run, by what runners
//! are told to collect, and by what stands in a folder of checks.

use std::collections::BTreeSet;

use super::glob_set;
use super::lex::Lang;
use super::role::{Role, is_check_script, test_role};
use crate::change::Tree;

/// Most files read to learn what a folder is for.
const MOST_FILES: usize = 400;
/// Folders at the top of a repository that hold checks where what stands in them checks something.
const CHECK_FOLDERS: [&str; 7] = ["check", "checks", "qa", "selftest", "selftests", "t", "xt"];
/// Programs and options that take folders of tests as arguments.
const COLLECTORS: [&str; 9] = ["prove", "--test", "mocha", "pytest", "jest", "vitest", "bats", "rspec", "phpunit"];
/// Words of code that checks something.
const CHECKING: [&str; 7] = ["assert", "Assert", "expect", "not ok", "FAIL", "failed", "failures"];

/// Where the tests of a repository stand.
pub(super) struct Places {
    /// Scripts that the user's commands run.
    pub(super) scripts: BTreeSet<String>,
    /// Folders whose program code is all tests or scripts of checks, by what it holds.
    holding: BTreeSet<String>,
    /// Folders in which everything is tests or their data, whatever its name.
    whole: BTreeSet<String>,
    /// Files that a runner is told to collect.
    collected: globset::GlobSet,
}

impl Places {
    /// Reads them off the seed and the user's check commands.
    pub(super) fn of(seed: &dyn Tree, commands: &[String]) -> Self {
        let scripts = check_scripts(commands, seed.paths());
        let holding = test_folders(seed, &scripts);
        Self { whole: whole_folders(seed, commands), collected: collected(seed), holding, scripts }
    }

    /// Returns what the file at `path` is for, its content settling what name and place leave open.
    pub(super) fn role(&self, path: &str, content: Option<&str>) -> Role {
        let role = test_role(path, content);
        if !matches!(role, Role::Source | Role::Inline) {
            return role;
        }
        let code = Lang::of(path, content.unwrap_or_default()).is_code();
        if code && (self.collected.is_match(path) || is_below(path, &self.whole)) {
            Role::Test
        } else if !code && role == Role::Source && self.holds(path) {
            Role::TestData
        } else {
            role
        }
    }

    /// Says whether `path` stands in a folder of tests.
    pub(super) fn holds(&self, path: &str) -> bool {
        is_below(path, &self.whole) || is_below(path, &self.holding)
    }

    /// Says whether `path` is collected as a test or stands among nothing else.
    pub(super) fn is_test_by_place(&self, path: &str) -> bool {
        self.collected.is_match(path) || is_below(path, &self.whole)
    }
}

/// Returns the folders of checks by name that no program elsewhere uses, and those that a command gives to a runner,
/// where a program in them checks something and is no test by its own name already.
fn whole_folders(seed: &dyn Tree, commands: &[String]) -> BTreeSet<String> {
    let mut folders: BTreeSet<String> = CHECK_FOLDERS.iter().map(ToString::to_string).collect();
    // An application that has checks of its own, of hosts or of cheques, takes them in somewhere.
    folders.retain(|folder| seed.paths().iter().any(|path| path.starts_with(&format!("{folder}/"))));
    folders.retain(|folder| !is_used(seed, folder));
    for command in commands {
        let words = words(command);
        if let Some(first) = words.iter().position(|word| COLLECTORS.contains(word)) {
            let given = words[first + 1..].iter().map(|word| word.trim_start_matches("./").trim_end_matches('/'));
            // The product's own folders hold tests beside what they test.
            let product = |folder: &str| matches!(folder, "src" | "lib" | "app" | "pkg" | "bin" | "cmd" | "." | "");
            folders.extend(given.filter(|folder| !product(folder)).map(str::to_string));
        }
    }
    folders.retain(|folder| {
        let inside = format!("{folder}/");
        let files = seed.paths().iter().filter(|path| path.starts_with(&inside));
        files.take(MOST_FILES).any(|path| {
            let text = text_of(seed, path);
            let test = path.ends_with(".t") || test_role(path, Some(&text)) == Role::Source;
            test && Lang::of(path, &text).is_code() && CHECKING.iter().any(|word| text.contains(word))
        })
    });
    folders
}

/// Says whether a program outside a folder names it as a program names what it takes in.
fn is_used(seed: &dyn Tree, folder: &str) -> bool {
    let inside = format!("{folder}/");
    let mut ways = vec![
        format!("import {folder}"),
        format!("from {folder}"),
        format!("mod {folder};"),
        format!("{folder}::"),
        format!("/{folder}/"),
        format!("/{folder}\""),
        format!("/{folder}'"),
        format!("\"{folder}/"),
    ];
    // A single letter before a point is anything.
    if folder.len() > 1 {
        ways.push(format!("{folder}."));
    }
    let outside = seed.paths().iter().filter(|path| !path.starts_with(&inside) && Lang::of(path, "").is_code());
    outside.take(MOST_FILES).any(|path| {
        let text = text_of(seed, path);
        test_role(path, Some(&text)) == Role::Source && ways.iter().any(|way| text.contains(way.as_str()))
    })
}

fn text_of(seed: &dyn Tree, path: &str) -> String {
    let version = seed.read(path).ok().flatten();
    version.as_ref().and_then(|version| version.text()).unwrap_or_default().to_owned()
}

/// Returns what pytest is told to collect beside the names it knows by itself (`python_files = check_*.py`).
fn collected(seed: &dyn Tree) -> globset::GlobSet {
    let mut globs = Vec::new();
    for path in ["pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"] {
        let Ok(Some(version)) = seed.read(path) else { continue };
        let text = version.text().unwrap_or_default();
        let mut taken = false;
        for line in text.lines() {
            let value = match line.trim_start().strip_prefix("python_files") {
                Some(rest) => rest.trim_start().strip_prefix('='),
                None => Some(line).filter(|line| taken && line.starts_with([' ', '\t'])),
            };
            taken = value.is_some();
            let patterns = value.unwrap_or_default().split(|c: char| c.is_whitespace() || "[],\"'".contains(c));
            // `*.py` collects the product too.
            let telling = |glob: &&str| glob.ends_with(".py") && glob.trim_matches('*') != ".py";
            globs.extend(patterns.filter(telling).map(|glob| format!("**/{glob}")));
        }
    }
    glob_set(globs.iter().map(String::as_str))
}

/// Splits a shell command into words, quotes and operators left out.
pub(super) fn words(command: &str) -> Vec<&str> {
    command
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '"' | '\'' | '='))
        .filter(|w| !w.is_empty())
        .collect()
}

/// Returns the folders of `seed` in which every program is a test or the script of a check, by what it holds: what
/// else stands there is what they read.
fn test_folders(seed: &dyn Tree, scripts: &BTreeSet<String>) -> BTreeSet<String> {
    let (mut tests, mut product) = (BTreeSet::new(), BTreeSet::new());
    let code = seed.paths().iter().filter(|path| Lang::of(path, "").is_code());
    for path in code.take(MOST_FILES) {
        let text = seed.read(path).ok().flatten();
        let role = test_role(path, text.as_ref().and_then(|version| version.text()));
        let mut folder = path.as_str();
        let mut first = true;
        while let Some((above, _)) = folder.rsplit_once('/') {
            folder = above;
            if role == Role::Test || scripts.contains(path) {
                if first {
                    tests.insert(folder.to_string());
                }
            } else {
                product.insert(folder.to_string());
            }
            first = false;
        }
    }
    &tests - &product
}

/// Says whether one of `folders` holds `path`, at any depth.
fn is_below(path: &str, folders: &BTreeSet<String>) -> bool {
    let mut folder = path;
    while let Some((above, _)) = folder.rsplit_once('/') {
        folder = above;
        if folders.contains(folder) {
            return true;
        }
    }
    false
}

const INTERPRETERS: [&str; 15] = [
    "python", "python3", "node", "bash", "sh", "zsh", "ruby", "php", "perl", "tsx", "ts-node", "deno", "bun", "run",
    "source",
];

/// Returns the files in `paths` that `commands` run as scripts of a check. The product's own programs (under
/// `src`, `lib`, `bin`, `app`, `cmd`) are what is checked, unless their name says otherwise.
fn check_scripts(commands: &[String], paths: &[String]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for command in commands {
        let words = words(command);
        for (index, word) in words.iter().enumerate() {
            let path = word.trim_start_matches("./");
            if !paths.iter().any(|known| known == path) {
                continue;
            }
            let before = index.checked_sub(1).map(|i| words[i]);
            let script = before.is_none_or(|word| {
                let program = word.rsplit('/').next().unwrap_or(word);
                INTERPRETERS.contains(&program) || program.starts_with("python3.")
            }) || word.starts_with("./");
            let product =
                path.split('/').next().is_some_and(|top| matches!(top, "src" | "lib" | "bin" | "app" | "cmd" | "pkg"));
            if script && (!product || is_check_script(path)) && (path.contains('/') || is_named_check(path)) {
                out.insert(path.to_string());
            }
        }
    }
    out
}

/// Says whether a script at the root is a check by its name; `app.py` at the root is the product.
fn is_named_check(path: &str) -> bool {
    ["lint", "check", "test", "verify", "validate", "accept", "smoke"]
        .iter()
        .any(|word| path.to_ascii_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{FileVersion, MemoryTree};

    fn places(files: &[(&str, &str)], commands: &[&str]) -> Places {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), FileVersion::regular(*text)));
        let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
        Places::of(&MemoryTree::new(files), &commands)
    }

    #[test]
    fn a_folder_of_checks_is_known_by_what_stands_in_it() {
        let java = ("check/RomanCheck.java", "class RomanCheck { void a() { throw new AssertionError(); } }");
        let found = places(&[java, ("src/Roman.java", "class Roman {}"), ("check/rows.txt", "1 I\n")], &["make check"]);
        assert_eq!(found.role(java.0, Some(java.1)), Role::Test);
        assert_eq!(found.role("check/rows.txt", Some("1 I\n")), Role::TestData);
        assert_eq!(found.role("src/Roman.java", Some("class Roman {}")), Role::Source);
        // An application of that name checks nothing, or is taken in somewhere.
        let model = ("checks/models.py", "class Cheque:\n    pass\n");
        assert_eq!(places(&[model], &["python3 manage.py test"]).role(model.0, Some(model.1)), Role::Source);
        let probe = ("checks/http.py", "def probe(url):\n    return 'failed' if down(url) else 'up'\n");
        for using in ["from checks.http import probe\n", "from checks import http\n", "import checks.http\n"] {
            assert_eq!(places(&[probe, ("app.py", using)], &["pytest"]).role(probe.0, Some(probe.1)), Role::Source);
        }
        let folder = ("verify/a.mjs", "import assert from 'node:assert';\nassert(f());\n");
        assert_eq!(places(&[folder], &["node --test verify/"]).role(folder.0, Some(folder.1)), Role::Test);
        assert_eq!(places(&[folder], &["node verify/a.mjs"]).role("verify/b.mjs", Some("f();")), Role::Source);
    }

    #[test]
    fn files_that_pytest_is_told_to_collect_are_tests() {
        for (path, text) in [
            ("pytest.ini", "[pytest]\npython_files = check_*.py *_spec.py\n"),
            ("pyproject.toml", "[tool.pytest.ini_options]\npython_files = [\"check_*.py\"]\n"),
            ("tox.ini", "[pytest]\npython_files =\n    check_*.py\n    x_*.py\n"),
        ] {
            let found = places(&[(path, text)], &["pytest"]);
            assert_eq!(found.role("shelf/check_loan.py", Some("x = 1\n")), Role::Test, "{path}");
            assert_eq!(found.role("shelf/loan.py", Some("x = 1\n")), Role::Source, "{path}");
        }
        let broad = places(&[("pytest.ini", "[pytest]\npython_files = *.py\n")], &["pytest"]);
        assert_eq!(broad.role("shelf/loan.py", Some("x = 1\n")), Role::Source);
    }
}
