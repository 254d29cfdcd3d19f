//! Configuration of runners, linters and type checkers, and the scripts that checks run.

use super::super::lex;
use super::super::role::{Role, is_check_script, is_lock};
use super::super::sections;
use super::super::view::{Scene, View};
use super::super::{Code, Report, glob_set};

/// Texts in configuration that force an outcome or leave out tests; no permission covers these.
const FORCED: [&str; 24] = [
    "|| true",
    "||true",
    "|| :",
    "|| exit 0",
    "; true",
    "exit 0",
    "--collect-only",
    "--co ",
    "--deselect",
    "--passWithNoTests",
    "passWithNoTests",
    "script-shell",
    "pytest_runtest",
    "pytest_pyfunc_call",
    "pytest_sessionfinish",
    "pytest_collection_modifyitems",
    "pytest_cmdline",
    "exitstatus",
    ".outcome",
    "runner =",
    "rustc-wrapper",
    "--no-run",
    "-DskipTests",
    "set +e",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if view.restores_seed {
            continue;
        }
        suppressed(view, report);
        silenced(view, report);
        match view.role {
            Role::CheckConfig => whole(view, scene, report),
            Role::MixedConfig => mixed(view, scene, report),
            _ => {}
        }
        if view.path.rsplit('/').next().is_some_and(|name| name.starts_with('.') && name.ends_with("ignore")) {
            ignored(view, scene, report);
        }
    }
}

fn whole(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    if is_lock(view.path) {
        let manifest = scene.views.iter().any(|other| other.role == Role::MixedConfig);
        if manifest && !view.is_deleted() {
            report.flag(Code::EditsCheckConfig, view.path, None, "a lock file changes with its manifest");
        } else {
            report.refuse(Code::EditsCheckConfig, view.path, None, "a lock file changes without its manifest");
        }
        return;
    }
    let same = !view.is_created()
        && !view.is_deleted()
        && view.lang != lex::Lang::Plain
        && lex::lines(&view.old.tokens) == lex::lines(&view.new.tokens)
        && view.removed.is_empty();
    if same
        && view.added.is_empty()
        && (view.lang != lex::Lang::Hash
            || view.old.text.lines().filter(|l| !l.trim_start().starts_with('#')).eq(view
                .new
                .text
                .lines()
                .filter(|l| !l.trim_start().starts_with('#'))))
    {
        return;
    }
    if view.is_created() && is_check_script(view.path) && view.lang.is_code() {
        report.flag(Code::EditsCheckConfig, view.path, None, "a new script that checks something");
        return;
    }
    let what = if view.is_created() {
        "appears"
    } else if view.is_deleted() {
        "is deleted"
    } else {
        "changes"
    };
    let line = view.added.first().copied();
    report.refuse(Code::EditsCheckConfig, view.path, line, format!("a file that decides checks {what}"));
    forced(view, report);
}

fn forced(view: &View<'_>, report: &mut Report) {
    for text in FORCED {
        if view.new.text.matches(text).count() > view.old.text.matches(text).count() {
            let line = view.new.text.lines().position(|line| line.contains(text)).map(|at| at as u32 + 1);
            report.refuse(
                Code::TampersRunner,
                view.path,
                line,
                format!("`{}` decides the outcome of a check", text.trim()),
            );
        }
    }
}

fn mixed(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    let read = |text| sections::settings(view.path, text, scene.context.commands);
    let (Some(old), Some(new)) = (read(view.old.text), read(view.new.text)) else {
        report.refuse(
            Code::EditsCheckConfig,
            view.path,
            None,
            "a file that decides checks changes and cannot be read as settings",
        );
        return;
    };
    if view.is_deleted() {
        report.refuse(Code::EditsCheckConfig, view.path, None, "a file that decides checks is deleted");
        return;
    }
    // A module of its own takes the packages below out of the one that is tested.
    let folder = view.path.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
    let name = view.path.rsplit('/').next().unwrap_or(view.path);
    let below = |path: &String| folder.as_ref().is_some_and(|folder| path.starts_with(folder)) && path.ends_with(".go");
    if view.is_created() && name == "go.mod" && scene.context.seed.paths().iter().any(below) {
        report.refuse(Code::EditsCheckConfig, view.path, None, "a module inside the module hides packages from checks");
    }
    // A second makefile takes the place of the first.
    if view.is_created() && matches!(name, "Makefile" | "makefile" | "GNUmakefile") {
        let other = scene
            .context
            .tree
            .paths()
            .iter()
            .any(|path| matches!(path.as_str(), "Makefile" | "makefile" | "GNUmakefile"));
        if other || scene.runs("make") {
            report.refuse(
                Code::EditsCheckConfig,
                view.path,
                None,
                "a new makefile takes the place of the one checks use",
            );
        }
    }
    if view.is_created() && matches!(name, "justfile" | "Justfile" | ".justfile") && scene.runs("just") {
        report.refuse(Code::EditsCheckConfig, view.path, None, "a new justfile takes the place of the one checks use");
    }
    let mut changed: Vec<&String> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    changed.dedup();
    if view.is_created()
        && !scene.context.tree.paths().is_empty()
        && changed.iter().all(|key| key.starts_with("settings") || key.starts_with("build-system"))
        && !view.path.contains("test")
    {
        // A first manifest of a package that had none brings no settings of a runner.
        changed.clear();
    }
    if let Some(first) = changed.first() {
        let line = view.added.first().copied();
        report.refuse(
            Code::EditsCheckConfig,
            view.path,
            line,
            format!("the setting `{first}` decides checks and changes"),
        );
        forced(view, report);
    } else if lex::lines(&view.old.tokens) != lex::lines(&view.new.tokens) {
        report.flag(
            Code::EditsCheckConfig,
            view.path,
            None,
            "a file that also configures checks changes in another part",
        );
    }
}

/// Remarks that silence a linter or a type checker; there are good ones, so a reader decides.
fn suppressed(view: &View<'_>, report: &mut Report) {
    if !view.is_program() {
        return;
    }
    for mark in [
        "# type: ignore",
        "# noqa",
        "# pylint: disable",
        "# pyright: ignore",
        "eslint-disable",
        "@ts-ignore",
        "@ts-nocheck",
        "@ts-expect-error",
        "prettier-ignore",
        "#![allow(",
        "#[allow(",
        "//nolint",
        "@SuppressWarnings",
        "rubocop:disable",
        "#pragma warning disable",
        "phpstan-ignore",
        "biome-ignore",
    ] {
        if view.new.text.matches(mark).count() > view.old.text.matches(mark).count() {
            let line = view.new.text.lines().position(|line| line.contains(mark)).map(|at| at as u32 + 1);
            report.flag(Code::EditsCheckConfig, view.path, line, format!("`{mark}` silences a check"));
        }
    }
}

/// Comments and attributes that take a whole file, or a whole crate, out of a check.
fn silenced(view: &View<'_>, report: &mut Report) {
    if !(view.is_program() || view.role == Role::Test) || view.is_created() {
        return;
    }
    for (index, line) in view.new.text.lines().enumerate() {
        let compact: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let comment = compact.trim_start_matches(['#', '/', '*', ' ']).trim_end_matches(['*', '/', ' ']);
        let marked = compact.starts_with(['#', '/', '*']);
        let whole = marked
            && (matches!(
                comment,
                "mypy: ignore-errors"
                    | "mypy: ignore_errors"
                    | "flake8: noqa"
                    | "ruff: noqa"
                    | "pylint: skip-file"
                    | "type: ignore"
                    | "pyright: basic"
                    | "eslint-disable"
                    | "@ts-nocheck"
                    | "tslint:disable"
                    | "biome-ignore-all lint"
                    | "jshint ignore:start"
                    | "phpcs:ignoreFile"
                    | "nolint:all"
            ) || comment.starts_with("@ts-nocheck"))
            && (view.lang != lex::Lang::Python || comment != "type: ignore" || index < 5);
        let crate_wide = compact.starts_with("#![allow(")
            && ["warnings", "clippy::all", "clippy::pedantic", "clippy::correctness"]
                .iter()
                .any(|lint| compact.contains(lint));
        if (whole || crate_wide) && !view.old.text.lines().any(|old| old.trim() == line.trim()) {
            let reason = format!("`{}` takes the whole file out of a check", comment.trim_matches(['!', '[', ']']));
            report.refuse(Code::EditsCheckConfig, view.path, index as u32 + 1, reason);
        }
    }
}

/// Ignore files may grow, but not over files that are there.
fn ignored(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    let old: Vec<&str> = view.old.text.lines().collect();
    for (index, line) in view.new.text.lines().enumerate() {
        let pattern = line.trim();
        if pattern.is_empty() || pattern.starts_with(['#', '!']) || old.contains(&line) {
            continue;
        }
        let rooted = pattern.trim_start_matches('/');
        let anywhere = format!("**/{rooted}");
        let forms = [rooted, anywhere.as_str()];
        let set = glob_set(
            if pattern.trim_end_matches('/').contains('/') { &forms[..1] } else { &forms[..] }.iter().copied(),
        );
        if let Some(hit) = scene.context.seed.paths().iter().find(|path| set.is_match(path.as_str())) {
            report.refuse(
                Code::EditsCheckConfig,
                view.path,
                index as u32 + 1,
                format!("`{pattern}` hides `{hit}`, which is in the repository"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, codes_new, judged_in, unique};

    #[test]
    fn a_file_is_not_taken_out_of_a_check_by_a_comment() {
        for (path, line) in [
            ("app/a.py", "# mypy: ignore-errors"),
            ("app/a.py", "# ruff: noqa"),
            ("src/a.js", "/* eslint-disable */"),
            ("src/a.ts", "// @ts-nocheck"),
            ("src/lib.rs", "#![allow(clippy::all, warnings)]"),
        ] {
            let found = codes(path, "one = 1\n", &format!("{line}\none = 1\n"));
            assert_eq!(found, ["edits-check-config"], "{line}");
        }
        for (path, line) in [
            ("app/a.py", "import os  # noqa: F401"),
            ("src/a.js", "// eslint-disable-next-line no-console"),
            ("src/lib.rs", "#![allow(dead_code)]"),
        ] {
            assert!(codes(path, "one = 1\n", &format!("{line}\none = 1\n")).is_empty(), "{line}");
        }
    }

    #[test]
    fn settings_of_checks_do_not_change() {
        for (path, text) in [
            ("pytest.ini", "[pytest]\naddopts = --collect-only\n"),
            ("conftest.py", "import pytest\n"),
            ("sub/conftest.py", "x = 1\n"),
            (".npmrc", "script-shell=/bin/true\n"),
            (".cargo/config.toml", "[target.'cfg(all())']\nrunner = 'true'\n"),
            ("jest.config.js", "module.exports = {}\n"),
            ("vitest.config.ts", "export default {}\n"),
            (".mocharc.json", "{}\n"),
            ("tox.ini", "[pytest]\n"),
            (".env", "CI=1\n"),
            ("phpunit.xml", "<phpunit/>\n"),
            ("go.work", "go 1.22\n"),
            ("setup.cfg", "[tool:pytest]\naddopts = -k nothing\n"),
            ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '-k x'\n"),
            (".eslintrc.json", "{}\n"),
        ] {
            assert!(codes_new(path, text).contains(&"edits-check-config".to_string()), "{path}");
        }
        let package = "{\n  \"name\": \"a\",\n  \"scripts\": { \"test\": \"node --test\" }\n}\n";
        assert_eq!(
            codes("package.json", package, &package.replace("--test\"", "--test || true\"")),
            ["tampers-runner", "edits-check-config"].iter().rev().copied().collect::<Vec<_>>()
        );
        assert!(codes("package.json", package, &package.replace("\"a\"", "\"b\"")).is_empty());
        assert!(
            codes("Cargo.toml", "[package]\nname='a'\n", "[package]\nname='a'\n[lib]\ntest=false\n")
                .contains(&"edits-check-config".to_string())
        );
        assert!(
            codes("Cargo.toml", "[package]\nname='a'\n", "[package]\nname='a'\n[dependencies]\nserde='1'\n").is_empty()
        );
        assert!(
            codes(
                "pom.xml",
                "<project>\n<build>\n</build>\n</project>\n",
                "<project>\n<build>\n<skipTests>true</skipTests>\n</build>\n</project>\n"
            )
            .contains(&"edits-check-config".to_string())
        );
        assert!(
            codes(
                "build.gradle",
                "dependencies {\n  implementation 'a:b:1'\n}\ntest {\n}\n",
                "dependencies {\n  implementation 'a:b:2'\n}\ntest {\n}\n"
            )
            .is_empty()
        );
        assert!(
            codes("build.gradle", "test {\n}\n", "test {\n  ignoreFailures = true\n}\n")
                .contains(&"edits-check-config".to_string())
        );
        assert!(codes("go.mod", "module a\n", "module a\nrequire b v1.0.0\n").is_empty());
        assert!(
            codes("go.mod", "module a\n", "module a\nreplace github.com/stretchr/testify => ./fake\n")
                .contains(&"edits-check-config".to_string())
        );
    }

    #[test]
    fn scripts_that_commands_run_do_not_change() {
        let judged = |path: &str, command: &str| {
            unique(&judged_in(&[(path, Some("x = 1\n"), Some("x = 2\n"))], &[], &[command], &[]))
        };
        assert_eq!(judged("build/style.py", "python3 build/style.py src"), ["edits-check-config"]);
        assert_eq!(judged("accept.sh", "bash accept.sh"), ["edits-check-config"]);
        assert!(judged("src/app.py", "python3 src/app.py --version").is_empty());
        assert!(judged("bin/app.js", "node bin/app.js warn").is_empty());
        assert!(judged("app/main.py", "ruff check app/main.py").is_empty());
    }

    #[test]
    fn ignore_files_grow_but_hide_nothing() {
        let judged = |text: &str| {
            unique(&judged_in(
                &[(".gitignore", Some("/target\n"), Some(text))],
                &[("tests/test_a.py", "x"), ("src/a.py", "y")],
                &[],
                &[],
            ))
        };
        assert!(judged("/target\n*.swp\n.idea/\n").is_empty());
        assert_eq!(judged("/target\ntests/\n"), ["edits-check-config"]);
        assert_eq!(judged("/target\n*.py\n"), ["edits-check-config"]);
    }

    #[test]
    fn a_module_inside_the_module_hides_its_packages() {
        let judged = |path: &str| {
            let others = [("go.mod", "module a\n"), ("version/version.go", "package version\n")];
            unique(&judged_in(&[(path, None, Some("module b\n"))], &others, &["go test ./..."], &[]))
        };
        assert!(judged("version/go.mod").contains(&"edits-check-config".to_string()));
        assert!(judged("tools/go.mod").is_empty());
    }

    #[test]
    fn recipes_that_no_check_runs_are_free() {
        let make = "PREFIX = /usr\nOUT = out\n\ntest: all\n\t./run $(OUT)\n\nall:\n\tcc a.c\n";
        let just = "prefix := '/usr'\nout := 'out'\n\ntest: all\n    ./run {{ out }}\n\nall:\n    cc a.c\n";
        for (path, command, text) in [("Makefile", "make test", make), ("justfile", "just test", just)] {
            let judged =
                |new: &str| unique(&judged_in(&[(path, Some(text), Some(new))], &[("a.c", "")], &[command], &[]));
            let tab = if path == "justfile" { "    " } else { "\t" };
            assert!(judged(&format!("{text}\ninstall:\n{tab}cp a /usr/bin\n")).is_empty(), "{path}");
            assert!(judged(&text.replace("/usr", "/opt")).is_empty(), "{path}");
            for (from, to) in [("./run", "true || ./run"), ("cc a.c", "touch a"), ("out'", "'"), ("= out", "=")] {
                let new = text.replace(from, to);
                assert!(new == text || judged(&new).contains(&"edits-check-config".to_string()), "{path}: {to}");
            }
        }
        let set = format!("set shell := ['true']\n{just}");
        let judged = unique(&judged_in(&[("justfile", Some(just), Some(&set))], &[], &["just test"], &[]));
        assert!(judged.contains(&"edits-check-config".to_string()));
    }
}
