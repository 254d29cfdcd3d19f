//! What a file is for: tests, their data, the configuration of checks, or the product.
//!
//! Judges by name first and by content where the name leaves it open; never reads a disk.

use super::cases;
use super::lex::{self, Lang};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Test code, helpers of tests included.
    Test,
    /// What tests read: fixtures, expected output, snapshots.
    TestData,
    /// Product code with tests inside.
    Inline,
    /// Decides which checks run and how: runner, lint and type configuration, hooks, lock files.
    CheckConfig,
    /// Decides checks in some of its sections and the product in others.
    MixedConfig,
    /// Everything else.
    Source,
}

const TEST_DIRS: [&str; 8] =
    ["test", "tests", "__tests__", "e2e", "unittests", "integration-tests", "testcases", "androidtest"];
const DATA_DIRS: [&str; 10] = [
    "testdata",
    "test-data",
    "test_data",
    "fixtures",
    "__fixtures__",
    "__snapshots__",
    "snapshots",
    "golden",
    "goldens",
    "cassettes",
];
const DATA_SUFFIXES: [&str; 6] = [".snap", ".golden", ".expected", ".approved.txt", ".ambr", ".snap.new"];

/// Files that only decide how checks run, by full name.
const CONFIG_NAMES: [&str; 74] = [
    "node.config.json",
    "mocha.opts",
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    ".coveragerc",
    "noxfile.py",
    "mypy.ini",
    ".mypy.ini",
    ".flake8",
    ".pylintrc",
    "pylintrc",
    "ruff.toml",
    ".ruff.toml",
    "pyrightconfig.json",
    ".style.yapf",
    ".isort.cfg",
    ".pre-commit-config.yaml",
    "sitecustomize.py",
    "usercustomize.py",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
    "bunfig.toml",
    ".nycrc",
    ".c8rc",
    ".swcrc",
    ".eslintignore",
    ".prettierignore",
    ".stylelintignore",
    "biome.json",
    "biome.jsonc",
    "deno.json",
    "deno.jsonc",
    "tslint.json",
    "lerna.json",
    "nx.json",
    "turbo.json",
    ".node-version",
    ".nvmrc",
    ".python-version",
    "rust-toolchain",
    "rust-toolchain.toml",
    "clippy.toml",
    ".clippy.toml",
    "rustfmt.toml",
    ".rustfmt.toml",
    "nextest.toml",
    "deny.toml",
    "go.work",
    ".golangci.yml",
    ".golangci.yaml",
    ".golangci.toml",
    "phpunit.xml",
    "phpunit.xml.dist",
    "phpstan.neon",
    "phpstan.neon.dist",
    "psalm.xml",
    ".rspec",
    ".rubocop.yml",
    "checkstyle.xml",
    "detekt.yml",
    "junit-platform.properties",
    "xunit.runner.json",
    "testng.xml",
    "Taskfile.yml",
    "Taskfile.yaml",
    ".envrc",
    ".ruby-version",
    ".proverc",
];
/// Beginnings of names that only decide how checks run (`jest.config.ts`, `.eslintrc.cjs`, `tsconfig.test.json`).
const CONFIG_STARTS: [&str; 23] = [
    "jest.config.",
    "jest.setup.",
    "jest.preset.",
    "vitest.config.",
    "vitest.workspace.",
    "vitest.setup.",
    "vite.config.",
    "playwright.config.",
    "cypress.config.",
    "karma.conf.",
    "ava.config.",
    ".mocharc",
    ".eslintrc",
    "eslint.config.",
    ".prettierrc",
    "prettier.config.",
    ".stylelintrc",
    "stylelint.config.",
    ".babelrc",
    "babel.config.",
    "tsconfig",
    ".taprc",
    ".env",
];
const LOCK_NAMES: [&str; 18] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lockb",
    "bun.lock",
    "Cargo.lock",
    "poetry.lock",
    "Pipfile.lock",
    "uv.lock",
    "pdm.lock",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    "mix.lock",
    "gradle.lockfile",
    "packages.lock.json",
    "deno.lock",
];
const MIXED_NAMES: [&str; 29] = [
    "package.json",
    "pyproject.toml",
    "Cargo.toml",
    "setup.cfg",
    "setup.py",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "justfile",
    "Justfile",
    ".justfile",
    "composer.json",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "go.mod",
    "Gemfile",
    "Rakefile",
    "mix.exs",
    "CMakeLists.txt",
    "Pipfile",
    "Directory.Build.props",
    "Directory.Build.targets",
    "gradle.properties",
    "build.sbt",
    "Package.swift",
    "pubspec.yaml",
];
const CHECK_WORDS: [&str; 14] = [
    "lint",
    "linter",
    "check",
    "checks",
    "checker",
    "test",
    "tests",
    "verify",
    "validate",
    "typecheck",
    "accept",
    "acceptance",
    "smoke",
    "ci",
];
const TOOL_DIRS: [&str; 10] = ["tools", "tool", "scripts", "script", "ci", "hack", "dev", "qa", ".ci", "build-tools"];

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Says whether `path` is the lock file of a package manager.
pub(crate) fn is_lock(path: &str) -> bool {
    LOCK_NAMES.contains(&name_of(path))
}

/// Says whether `path` is documentation by its name.
pub(crate) fn is_doc(path: &str) -> bool {
    let name = name_of(path).to_ascii_lowercase();
    [".md", ".rst", ".adoc", ".markdown"].iter().any(|ext| name.ends_with(ext))
        || name.starts_with("license")
        || name.starts_with("readme")
}

/// Returns what the file at `path` is for. `content` settles what the name leaves open (inline tests).
pub fn test_role(path: &str, content: Option<&str>) -> Role {
    let name = name_of(path);
    let lang = Lang::of(path, content.unwrap_or_default());
    let folders: Vec<String> = path.split('/').rev().skip(1).map(str::to_ascii_lowercase).collect();
    let inside = |list: &[&str]| folders.iter().any(|folder| list.contains(&folder.as_str()));
    if CONFIG_NAMES.contains(&name) || CONFIG_STARTS.iter().any(|start| name.starts_with(start)) || is_lock(path) {
        // `.env.example` documents; it is read by nothing.
        if name.starts_with(".env") && (name.ends_with(".example") || name.ends_with(".sample")) {
            return Role::Source;
        }
        return Role::CheckConfig;
    }
    if inside(&[".cargo", ".config", ".vscode", ".husky", ".mvn", "node_modules", ".yarn", "site-packages"])
        || name.ends_with(".pth")
    {
        return Role::CheckConfig;
    }
    if MIXED_NAMES.contains(&name) || name.ends_with("proj") && lang == Lang::Plain && name.contains('.') {
        return Role::MixedConfig;
    }
    if name.starts_with("requirements") && name.ends_with(".txt") {
        return Role::MixedConfig;
    }
    if DATA_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return Role::TestData;
    }
    // `spec` and `testing` also name product code inside a source folder.
    let top = path.split('/').next().unwrap_or_default();
    let loose = matches!(top, "spec" | "specs" | "testing") || (inside(&["spec", "specs"]) && lang == Lang::Ruby);
    let test_folder = loose
        || inside(&TEST_DIRS)
        || folders
            .iter()
            .any(|f| f.ends_with(".tests") || f.ends_with(".test") || f.ends_with("_tests") || f.ends_with("-tests"));
    let data_folder = inside(&DATA_DIRS);
    if lang.is_code() {
        if test_folder || named_as_test(name) {
            return if data_folder && !named_as_test(name) { Role::TestData } else { Role::Test };
        }
        if data_folder && inside(&["testdata", "test-data", "test_data", "__fixtures__", "__snapshots__"]) {
            return Role::TestData;
        }
        if is_check_script(path) {
            return Role::CheckConfig;
        }
        if content.is_some_and(|text| is_test_by_content(lang, text)) {
            return Role::Test;
        }
        if content.is_some_and(|text| has_inline_tests(lang, text)) {
            return Role::Inline;
        }
        return Role::Source;
    }
    if is_doc(path) && !data_folder {
        return Role::Source;
    }
    if test_folder || data_folder { Role::TestData } else { Role::Source }
}

fn named_as_test(name: &str) -> bool {
    let Some((stem, ext)) = name.rsplit_once('.') else {
        return name.starts_with("test_") || name.ends_with("_test");
    };
    if matches!(ext, "bats" | "t") {
        return true;
    }
    let lower = stem.to_ascii_lowercase();
    if lower.starts_with("test_") || lower == "test" || lower == "tests" {
        return true;
    }
    for end in
        ["_test", "_tests", "-test", "-tests", ".test", ".tests", ".spec", "_spec", "-spec", ".e2e", ".cy", "_unittest"]
    {
        if lower.ends_with(end) {
            return true;
        }
    }
    // `FooTest.java`, `FooTests.cs`, `FooSpec.kt`, `TestFoo.java`: a capital tells the word from `latest`.
    let camel =
        ["Test", "Tests", "TestCase", "Spec", "IT"].iter().any(|end| stem.ends_with(end) && stem.len() > end.len());
    let leading = stem.strip_prefix("Test").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    (camel || leading)
        && matches!(
            ext,
            "java" | "kt" | "scala" | "groovy" | "cs" | "fs" | "php" | "swift" | "cpp" | "cc" | "m" | "mm" | "dart"
        )
}

/// Says whether the name and place of a script say that it checks things (`tools/lint.py`, `scripts/check_types.sh`, `run-tests.sh`).
pub(crate) fn is_check_script(path: &str) -> bool {
    let name = name_of(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_ascii_lowercase();
    let words: Vec<&str> = stem.split(['_', '-', '.']).collect();
    if !words.iter().any(|word| CHECK_WORDS.contains(word)) {
        return false;
    }
    let folders: Vec<&str> = path.split('/').rev().skip(1).collect();
    folders.iter().any(|folder| TOOL_DIRS.contains(folder)) || (folders.is_empty() && name.ends_with(".sh"))
}

/// Test libraries of JavaScript that product code has no use for.
const TEST_LIBRARIES: [&str; 8] = ["node:test", "vitest", "@jest/globals", "mocha", "ava", "tap", "uvu", "bun:test"];

/// Says whether a file is a test wherever it stands: it loads a test library and holds tests. Runners find such files
/// where their configuration says.
fn is_test_by_content(lang: Lang, text: &str) -> bool {
    if !matches!(lang, Lang::Python | Lang::Js) {
        return false;
    }
    let tokens = lex::tokens(lang, text);
    let loads = tokens.windows(2).any(|pair| match lang {
        Lang::Python => pair[0].col == 0 && matches!(pair[0].text, "import" | "from") && pair[1].is("pytest"),
        _ => {
            matches!(pair[0].text, "from" | "import" | "(")
                && pair[1].is_str()
                && TEST_LIBRARIES.contains(&pair[1].value())
        }
    });
    loads && !cases::cases(lang, &tokens).is_empty()
}

fn has_inline_tests(lang: Lang, text: &str) -> bool {
    let tokens = lex::tokens(lang, text);
    let has = |patterns: &[&str]| patterns.iter().any(|pattern| !lex::find(&tokens, pattern).is_empty());
    match lang {
        Lang::Rust => has(&[
            "# [ cfg ( test )",
            "# [ cfg ( all ( test",
            "# [ test ]",
            "# [ tokio :: test",
            "# [ rstest",
            "# [ test_case",
        ]),
        Lang::Python => has(&["( unittest . TestCase )", "( TestCase )"]),
        Lang::Js => has(&["import . meta . vitest"]),
        Lang::Java => has(&["@ Test", "@ ParameterizedTest"]),
        Lang::CSharp => has(&["[ Fact ]", "[ Theory ]", "[ TestMethod ]", "[ Test ]"]),
        Lang::C => has(&["TEST_CASE (", "TEST ( * , * )"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_tests_in_many_languages() {
        for path in [
            "tests/test_a.py",
            "a_test.go",
            "src/a.test.ts",
            "web/__tests__/a.tsx",
            "spec/models/a_spec.rb",
            "src/test/java/app/AppTest.java",
            "App.Tests/PriceTests.cs",
            "tests/PriceTest.php",
            "test/price.bats",
            "tests/common/mod.rs",
            "lib/foo_test.exs",
            "src/tests.rs",
            "tests/__init__.py",
        ] {
            assert_eq!(test_role(path, Some("x = 1")), Role::Test, "{path}");
        }
        for path in [
            "src/latest.ts",
            "contest.py",
            "src/inspect.go",
            "src/attestation.rs",
            "lib/spectrum.rb",
            "src/greatest.java",
        ] {
            assert_eq!(test_role(path, Some("x")), Role::Source, "{path}");
        }
    }

    #[test]
    fn data_and_configuration_have_roles_of_their_own() {
        assert_eq!(test_role("tests/data/rows.csv", None), Role::TestData);
        assert_eq!(test_role("pkg/testdata/in.json", None), Role::TestData);
        assert_eq!(test_role("src/__snapshots__/a.snap", None), Role::TestData);
        assert_eq!(test_role("conftest.py", None), Role::CheckConfig);
        assert_eq!(test_role("web/.eslintrc.cjs", None), Role::CheckConfig);
        assert_eq!(test_role(".cargo/config.toml", None), Role::CheckConfig);
        assert_eq!(test_role("tools/lint.js", Some("x")), Role::CheckConfig);
        assert_eq!(test_role("package.json", None), Role::MixedConfig);
        assert_eq!(test_role("App/App.csproj", None), Role::MixedConfig);
        assert_eq!(test_role("docs/guide.md", None), Role::Source);
    }

    #[test]
    fn a_file_that_loads_a_test_library_and_holds_tests_is_one() {
        let py = "import pytest\n\ndef test_a():\n    assert f(1) == 2\n";
        assert_eq!(test_role("checks/check_a.py", Some(py)), Role::Test);
        assert_eq!(test_role("checks/a.py", Some("import pytest\n")), Role::Source);
        assert_eq!(test_role("app/a.py", Some("def test_a():\n    pass\n")), Role::Source);
        let js = "import { test } from 'node:test';\ntest('a', () => {});\n";
        assert_eq!(test_role("checks/a.mjs", Some(js)), Role::Test);
        assert_eq!(test_role("src/a.js", Some("if (/a/.test(x)) {}")), Role::Source);
    }

    #[test]
    fn inline_tests_are_seen_in_code_only() {
        assert_eq!(test_role("src/lib.rs", Some("#[cfg(test)]\nmod tests {}")), Role::Inline);
        assert_eq!(test_role("src/lib.rs", Some("// #[cfg(test)]\nfn a() {}")), Role::Source);
        assert_eq!(test_role("app.py", Some("class A(unittest.TestCase):\n    pass\n")), Role::Inline);
    }
}
