//! New files that take the place of the runner, the assertions or what they stand on.

use super::super::places::words;
use super::super::role::Role;
use super::super::view::Scene;
use super::super::{Code, Report};

/// Python modules whose namesake at the root, or beside tests, is imported instead of the real one.
const PYTHON: [&str; 75] = [
    "pytest",
    "_pytest",
    "py",
    "pluggy",
    "iniconfig",
    "unittest",
    "doctest",
    "nose",
    "nose2",
    "hypothesis",
    "mock",
    "sitecustomize",
    "usercustomize",
    "coverage",
    "mypy",
    "ruff",
    "flake8",
    "pylint",
    "tox",
    "nox",
    "site",
    "os",
    "sys",
    "io",
    "re",
    "ast",
    "abc",
    "argparse",
    "asyncio",
    "builtins",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "decimal",
    "difflib",
    "enum",
    "fnmatch",
    "functools",
    "gc",
    "importlib",
    "inspect",
    "itertools",
    "json",
    "logging",
    "math",
    "operator",
    "pathlib",
    "pdb",
    "pprint",
    "random",
    "runpy",
    "shutil",
    "signal",
    "string",
    "subprocess",
    "tempfile",
    "traceback",
    "types",
    "warnings",
    "csv",
    "time",
    "datetime",
    "threading",
    "multiprocessing",
    "codecs",
    "textwrap",
    "uuid",
    "hashlib",
    "sqlite3",
    "statistics",
    "fractions",
    "numbers",
    "typing",
    "zipfile",
];
/// Folders of packages that stand for the runner in other languages.
const FOLDERS: [&str; 20] = [
    "node_modules/",
    "Test/More",
    "Test/Builder",
    "org/junit/",
    "junit/framework/",
    "org/testng/",
    "org/assertj/",
    "org/hamcrest/",
    "org/mockito/",
    "kotlin/test/",
    "vendor/",
    "testing/internal/",
    "minitest/",
    "rspec/",
    "test/unit/",
    "phpunit/",
    "site-packages/",
    ".venv/",
    "venv/",
    "xunit/",
];
const NAMES: [&str; 10] = [
    "minitest.rb",
    "rspec.rb",
    "rspec-core.rb",
    "PHPUnit.php",
    "junit.jar",
    "assert.js",
    "chai.js",
    "jest.js",
    "vitest.js",
    "mocha.js",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if !view.is_created() || view.restores_seed {
            continue;
        }
        let path = view.path;
        let parts: Vec<&str> = path.split('/').collect();
        let name = parts.last().copied().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or(name);
        let top = parts[0];
        let python = name.ends_with(".py") || name.ends_with(".pyc") || name.ends_with(".so");
        // Roots on the import path: the repository, `src`, and the folders of tests.
        let depth = if matches!(view.role, Role::Test | Role::TestData) {
            parts.len() - 1
        } else {
            usize::from(parts.len() > 1 && matches!(top, "src" | "lib"))
        };
        let module = if parts.len() - 1 > depth { parts[depth] } else { stem };
        let package_known = scene
            .context
            .tree
            .paths()
            .iter()
            .any(|known| known.starts_with(&format!("{}/", parts[..=depth.min(parts.len() - 1)].join("/"))));
        let shadows = python && PYTHON.contains(&module) && !(parts.len() - 1 > depth && package_known);
        let vendored = FOLDERS.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")))
            && !package_known;
        let library = NAMES.contains(&name) && (parts.len() == 1 || matches!(view.role, Role::Test));
        let metadata = path.contains(".egg-info/") || path.contains(".dist-info/") || name.ends_with(".pth");
        if shadows || vendored || library || metadata {
            report.refuse(
                Code::TampersRunner,
                path,
                1,
                format!("a new `{}` is found in place of the real one", if vendored { path } else { stem }),
            );
            continue;
        }
        // A program named as one the checks call.
        let called =
            scene.context.commands.iter().any(|command| words(command).first().is_some_and(|first| *first == stem));
        if called && (parts.len() == 1 || matches!(top, "bin" | "scripts" | ".bin")) && view.role != Role::MixedConfig {
            report.refuse(
                Code::TampersRunner,
                path,
                1,
                format!("a new `{stem}` may run in place of the program that checks call"),
            );
        }
        if name == "build.rs" && parts.len() <= 3 {
            report.flag(Code::TampersRunner, path, 1, "a new build script runs before the tests are compiled");
        }
    }
    for view in &scene.views {
        if view.path.rsplit('/').next() != Some("build.rs") || view.is_deleted() || view.restores_seed {
            continue;
        }
        for text in [
            "rustc-cfg",
            "tests/",
            "tests\"",
            "rustc-env=CARGO",
            "RUSTFLAGS",
            "exit(0",
            "remove_file",
            "remove_dir",
            "test.rs",
            "_test",
        ] {
            if view.new.text.matches(text).count() > view.old.text.matches(text).count() {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    None,
                    format!("the build script reaches for the tests: `{text}`"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes_new, judged_in, unique};

    #[test]
    fn files_that_take_the_place_of_the_runner_are_refused() {
        for path in [
            "pytest.py",
            "_pytest/__init__.py",
            "unittest/__init__.py",
            "sitecustomize.py",
            "tests/pytest.py",
            "src/unittest.py",
            "node_modules/jest/index.js",
            "src/test/java/org/junit/Assert.java",
            "decimal.py",
            "a.pth",
            "x.egg-info/entry_points.txt",
            "vendor/github.com/stretchr/testify/assert/assertions.go",
        ] {
            assert!(codes_new(path, "x = 1\n").contains(&"tampers-runner".to_string()), "{path}");
        }
        assert_eq!(
            unique(&judged_in(&[("go", None, Some("exit 0\n"))], &[("a.go", "x")], &["go test ./..."], &[])),
            ["tampers-runner"]
        );
        assert!(
            codes_new("build.rs", "fn main() { println!(\"cargo:rustc-cfg=no_tests\"); }\n")
                .contains(&"tampers-runner".to_string())
        );
    }

    #[test]
    fn ordinary_new_files_are_free() {
        for path in [
            "src/app/json.py",
            "app/types.py",
            "src/jest.ts",
            "src/assert.js",
            "src/unit.py",
            "docs/site.py",
            "src/main/java/org/app/A.java",
        ] {
            assert!(codes_new(path, "x = 1\n").is_empty(), "{path}");
        }
    }
}
