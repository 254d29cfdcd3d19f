//! Proposes the check commands of a repository, each with the file and line that shows it.
//!
//! Owns the reading of manifests. Never runs anything, never writes, and never follows a link out of the repository.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes of a manifest that are read. A larger one is generated and says nothing about the checks.
const MAX_FILE: u64 = 1024 * 1024;
/// Most test files whose imports are looked at.
const MAX_TESTS_READ: usize = 20;
/// Most entries of a folder that are looked at for test files.
const MAX_ENTRIES: usize = 10_000;
/// Goal files people use, in the order in which they are named to the user.
const GOAL_FILES: &[&str] = &["TASK.md", "GOAL.md", "PRD.md", "AGENTS.md"];

/// What a proposed command checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// Runs the tests.
    Test,
    /// Runs a linter or a format check.
    Lint,
    /// Runs a type checker or the compiler without output.
    Type,
}

/// How sure a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The repository names the command itself.
    High,
    /// A tool's own configuration is there; the command is the tool's usual one.
    Medium,
    /// Only a convention speaks for it.
    Low,
}

/// A command that may serve as a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// What it checks.
    pub kind: CheckKind,
    /// The command, to be run in the check folder.
    pub command: String,
    /// File, and the line or key in it, that shows the command, for example `package.json: scripts.test`.
    pub evidence: String,
    /// How sure the proposal is.
    pub confidence: Confidence,
}

/// What a repository shows about its checks and goals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    /// Proposed commands: tests, linters, type checkers, in each kind the best one first.
    pub proposals: Vec<Proposal>,
    /// Goal files that are there, relative to the root.
    pub goal_files: Vec<String>,
    /// Files that could not be read or understood, and why.
    pub notes: Vec<String>,
}

impl Detection {
    /// Gives the best command of a kind, if there is one.
    pub fn best(&self, kind: CheckKind) -> Option<&Proposal> {
        self.proposals.iter().find(|proposal| proposal.kind == kind)
    }
}

/// Gives the check commands that the files in `check_dir` show, and the goal files in it or in `root`, the top of the
/// work tree that holds it.
///
/// A file that is malformed, too large, or a link that leaves `root` yields a note. Returns an error if `root` or
/// `check_dir` can't be resolved, or `check_dir` is not inside `root`.
pub fn detect(root: &Path, check_dir: &Path) -> anyhow::Result<Detection> {
    let root = root.canonicalize().with_context(|| format!("resolve {}", root.display()))?;
    let folder = check_dir.canonicalize().with_context(|| format!("resolve {}", check_dir.display()))?;
    anyhow::ensure!(folder.starts_with(&root), "{} is not inside {}", folder.display(), root.display());
    let mut finder = Finder { root, folder, proposals: Vec::new(), notes: Vec::new() };
    finder.package_json();
    finder.node_by_convention();
    finder.deno();
    finder.cargo();
    finder.python();
    finder.go();
    finder.php();
    finder.java();
    finder.ruby();
    finder.task_files();
    if finder.proposals.is_empty() {
        finder.elsewhere();
    }
    let goal_files = finder.goal_files();
    let Finder { mut proposals, notes, .. } = finder;
    // Stable: within a kind and a confidence the order above stands.
    proposals.sort_by_key(|proposal| (proposal.kind, proposal.confidence));
    let mut seen = HashSet::new();
    proposals.retain(|proposal| seen.insert((proposal.kind, proposal.command.clone())));
    Ok(Detection { proposals, goal_files, notes })
}

struct Finder {
    root: PathBuf,
    folder: PathBuf,
    proposals: Vec<Proposal>,
    notes: Vec<String>,
}

/// Files that a project of its own begins with.
const MANIFESTS: [&str; 12] = [
    "package.json",
    "pyproject.toml",
    "setup.py",
    "pytest.ini",
    "Cargo.toml",
    "go.mod",
    "Makefile",
    "Gemfile",
    "composer.json",
    "pom.xml",
    "build.gradle",
    "deno.json",
];

/// How deep, and at how many folders, projects below the check folder are looked for.
const DEPTH_BELOW: usize = 3;
const FOLDERS_BELOW: usize = 500;

/// Most projects below that are named.
const NAMED_BELOW: usize = 6;

impl Finder {
    /// Names the folders below that hold a project, where the check folder itself has nothing to run.
    fn elsewhere(&mut self) {
        let (mut found, mut looked) = (Vec::new(), 0);
        let mut level = vec![PathBuf::new()];
        for _ in 0..DEPTH_BELOW {
            let mut below: Vec<PathBuf> = Vec::new();
            for folder in &level {
                for entry in std::fs::read_dir(self.folder.join(folder)).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let skipped = ["node_modules", "target", "vendor", "venv", "dist", "build"];
                    if entry.file_type().is_ok_and(|kind| kind.is_dir())
                        && !name.starts_with('.')
                        && !skipped.contains(&name.as_str())
                    {
                        below.push(folder.join(name));
                    }
                }
            }
            below.sort();
            below.truncate(FOLDERS_BELOW.saturating_sub(looked));
            looked += below.len();
            let has = |folder: &PathBuf| MANIFESTS.iter().any(|name| self.folder.join(folder).join(name).is_file());
            found.extend(below.iter().filter(|folder| has(folder)).map(|folder| folder.display().to_string()));
            level = below;
        }
        if !found.is_empty() {
            found.truncate(NAMED_BELOW);
            self.notes.push(format!("projects lie below this folder: {}; name one with -C", found.join(", ")));
        }
    }

    fn propose(&mut self, kind: CheckKind, confidence: Confidence, command: &str, evidence: impl Into<String>) {
        self.proposals.push(Proposal { kind, command: command.to_owned(), evidence: evidence.into(), confidence });
    }

    /// The resolved path of a file in the check folder, if it is a plain file inside the root.
    fn resolve(&mut self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        std::fs::symlink_metadata(&path).ok()?;
        let Ok(real) = path.canonicalize() else {
            self.notes.push(format!("{name} is a link to nothing and is not read"));
            return None;
        };
        if !real.starts_with(&self.root) {
            self.notes.push(format!("{name} is a link out of the repository and is not read"));
            return None;
        }
        // A pipe or a device would block the reader.
        std::fs::metadata(&real).ok()?.is_file().then_some(real)
    }

    fn has(&mut self, name: &str) -> bool {
        self.resolve(name).is_some()
    }

    /// Whether the folder holds a folder of this name (links are not followed).
    fn has_folder(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.folder.join(name)).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Names of the plain files in a folder that `wanted` holds for.
    fn files_in(&self, folder: &str, wanted: fn(&str) -> bool) -> Vec<String> {
        let path = self.folder.join(folder);
        if std::fs::symlink_metadata(&path).map_or(true, |metadata| !metadata.is_dir()) {
            return Vec::new();
        }
        // Sorted, so that two runs show the same evidence; bounded, for a folder of generated files.
        let mut names: Vec<String> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .take(MAX_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| wanted(name))
            .collect();
        names.sort();
        names
    }

    /// First of the names that is there.
    fn first_of(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.has(name))
    }

    fn read(&mut self, name: &str) -> Option<String> {
        let path = self.resolve(name)?;
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            self.notes.push(format!("{name} can't be read: {error}"));
            return None;
        }
        if bytes.len() as u64 > MAX_FILE {
            self.notes.push(format!("{name} is larger than {MAX_FILE} bytes and is not read"));
            return None;
        }
        let Ok(text) = String::from_utf8(bytes) else {
            self.notes.push(format!("{name} is not UTF-8 and is not read"));
            return None;
        };
        Some(text.trim_start_matches('\u{feff}').to_owned())
    }

    fn json(&mut self, name: &str) -> Option<serde_json::Value> {
        let text = self.read(name)?;
        self.noted(name, serde_json::from_str(&text))
    }

    fn toml(&mut self, name: &str) -> Option<toml::Table> {
        let text = self.read(name)?;
        self.noted(name, toml::from_str(&text).map_err(|error| error.message().to_owned()))
    }

    fn noted<T, E: std::fmt::Display>(&mut self, name: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.notes.push(format!("{name} is not understood: {error}"));
                None
            }
        }
    }

    fn goal_files(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let folder = self.folder.clone();
        for base in [folder.clone(), self.root.clone()] {
            self.folder.clone_from(&base);
            for name in GOAL_FILES {
                if self.has(name) {
                    let path = base.strip_prefix(&self.root).unwrap_or(Path::new("")).join(name);
                    found.push(path.display().to_string());
                }
            }
            if base == self.root {
                break;
            }
        }
        self.folder = folder;
        found
    }

    /// Tests for node's own runner, which needs no configuration, known by what the test files import.
    fn node_by_convention(&mut self) {
        for place in ["test", "tests", "__tests__", "."] {
            // Without the folder's name a file must say by its own that it is a test.
            let wanted = if place == "." { is_node_test } else { is_node_source };
            for name in self.files_in(place, wanted).into_iter().take(MAX_TESTS_READ) {
                let file = if place == "." { name } else { format!("{place}/{name}") };
                if self.read(&file).is_some_and(|text| text.contains("node:test")) {
                    self.propose(CheckKind::Test, Confidence::Medium, "node --test", file);
                    return;
                }
            }
        }
    }

    fn package_json(&mut self) {
        let Some(package) = self.json("package.json") else { return };
        let manager = self.package_manager(&package);
        let scripts: Vec<(String, String)> = package
            .get("scripts")
            .and_then(serde_json::Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(name, body)| Some((name.clone(), body.as_str()?.to_owned())))
            .collect();
        for (kind, names) in SCRIPT_NAMES {
            for name in *names {
                let Some((_, body)) = scripts.iter().find(|(script, _)| script == name) else { continue };
                if body.trim().is_empty() || body.contains("no test specified") {
                    continue;
                }
                // `npm test` is a command of its own, the others are run; bun's own `test` is its runner, no script.
                let command = match *name {
                    "test" if manager != "bun" => format!("{manager} test"),
                    _ => format!("{manager} run {name}"),
                };
                self.propose(*kind, Confidence::High, &command, format!("package.json: scripts.{name}"));
            }
        }
        let depends_on = |name: &str| {
            ["devDependencies", "dependencies"].iter().find(|key| package.pointer(&format!("/{key}/{name}")).is_some())
        };
        let run = match manager {
            "npm" => "npx --no-install",
            "yarn" => "yarn",
            "pnpm" => "pnpm exec",
            _ => "bunx --no-install",
        };
        for (kind, dependency, arguments) in NODE_TOOLS {
            if let Some(key) = depends_on(dependency) {
                let tool = match *dependency {
                    "@biomejs~1biome" => "biome",
                    "typescript" => "tsc",
                    other => other,
                };
                // A compiler without its configuration would check nothing or everything.
                if tool == "tsc" && !self.has("tsconfig.json") {
                    continue;
                }
                let command = format!("{run} {tool} {arguments}").trim_end().to_owned();
                let dependency = dependency.replace("~1", "/");
                self.propose(*kind, Confidence::Medium, &command, format!("package.json: {key}.{dependency}"));
            }
        }
    }

    /// By the lock file in the folder or above it, else by the `packageManager` key, else npm.
    fn package_manager(&mut self, package: &serde_json::Value) -> &'static str {
        const LOCKS: &[(&str, &str)] = &[
            ("pnpm-lock.yaml", "pnpm"),
            ("yarn.lock", "yarn"),
            ("bun.lock", "bun"),
            ("bun.lockb", "bun"),
            ("package-lock.json", "npm"),
            ("npm-shrinkwrap.json", "npm"),
        ];
        let mut folder = Some(self.folder.as_path());
        while let Some(current) = folder.filter(|current| current.starts_with(&self.root)) {
            let is_file = |name: &str| std::fs::symlink_metadata(current.join(name)).is_ok_and(|m| m.is_file());
            if let Some((_, manager)) = LOCKS.iter().find(|(lock, _)| is_file(lock)) {
                return manager;
            }
            folder = current.parent();
        }
        let named = package.get("packageManager").and_then(serde_json::Value::as_str).unwrap_or_default();
        ["pnpm", "yarn", "bun"].into_iter().find(|name| named.split('@').next() == Some(name)).unwrap_or("npm")
    }

    fn deno(&mut self) {
        let Some(name) = self.first_of(&["deno.json", "deno.jsonc"]) else { return };
        let Some(text) = self.read(name) else { return };
        let parsed = serde_json::from_str::<serde_json::Value>(&without_comments(&text));
        let Some(config) = self.noted(name, parsed) else { return };
        for (kind, names) in SCRIPT_NAMES {
            for task in *names {
                if config.pointer(&format!("/tasks/{task}")).is_some() {
                    self.propose(
                        *kind,
                        Confidence::High,
                        &format!("deno task {task}"),
                        format!("{name}: tasks.{task}"),
                    );
                }
            }
        }
        self.propose(CheckKind::Test, Confidence::Medium, "deno test", name);
        self.propose(CheckKind::Lint, Confidence::Medium, "deno lint", name);
        self.propose(CheckKind::Type, Confidence::Medium, "deno check .", name);
    }

    fn cargo(&mut self) {
        let Some(manifest) = self.toml("Cargo.toml") else { return };
        let key = if manifest.contains_key("workspace") { "workspace" } else { "package" };
        if !manifest.contains_key(key) {
            self.notes.push("Cargo.toml has neither a package nor a workspace".to_owned());
            return;
        }
        let evidence = format!("Cargo.toml: {key}");
        let all = if key == "workspace" { " --workspace" } else { "" };
        if self.has(".config/nextest.toml") {
            let command = format!("cargo nextest run{all}");
            self.propose(CheckKind::Test, Confidence::High, &command, ".config/nextest.toml");
        }
        self.propose(CheckKind::Test, Confidence::High, &format!("cargo test{all}"), evidence.clone());
        let clippy = ["clippy.toml", ".clippy.toml"].into_iter().find(|name| self.has(name));
        let lints = manifest.get("lints").or(manifest.get("workspace").and_then(|w| w.get("lints"))).is_some();
        let command = format!("cargo clippy{all} --all-targets -- -D warnings");
        match clippy {
            Some(name) => self.propose(CheckKind::Lint, Confidence::Medium, &command, name),
            None if lints => self.propose(CheckKind::Lint, Confidence::Medium, &command, "Cargo.toml: lints"),
            None => self.propose(CheckKind::Lint, Confidence::Low, &command, evidence.clone()),
        }
        self.propose(CheckKind::Type, Confidence::Medium, &format!("cargo check{all} --all-targets"), evidence);
    }

    fn python(&mut self) {
        let pyproject = self.toml("pyproject.toml");
        let tox = self.read("tox.ini");
        let setup = self.read("setup.cfg");
        let tool = |name: &str| pyproject.as_ref().and_then(|table| table.get("tool")?.get(name)).is_some();
        let section = |text: &Option<String>, names: &[&str]| -> Option<String> {
            let text = text.as_ref()?;
            let hit = |line: &str| names.iter().find(|name| line.trim_end() == format!("[{name}]"));
            text.lines().find_map(hit).map(|name| (*name).to_owned())
        };
        let places = |key: &str, ini: &[&str]| -> Option<String> {
            if tool(key) {
                return Some(format!("pyproject.toml: tool.{key}"));
            }
            section(&setup, ini)
                .map(|name| format!("setup.cfg: [{name}]"))
                .or_else(|| section(&tox, ini).map(|name| format!("tox.ini: [{name}]")))
        };
        let pytest = places("pytest", &["tool:pytest", "pytest"]);
        let mypy = places("mypy", &["mypy"]);
        let flake8 = places("flake8", &["flake8"]);
        let pylint = places("pylint", &["pylint"]);
        let [ruff, black, pyright, poetry, uv, hatch] = ["ruff", "black", "pyright", "poetry", "uv", "hatch"].map(tool);
        let requires_pytest = pyproject.as_ref().is_some_and(|table| table.to_string().contains("\"pytest"));
        // The lock file says who owns the environment the tools are in.
        let run = if self.has("uv.lock") || uv {
            "uv run "
        } else if self.has("poetry.lock") || poetry {
            "poetry run "
        } else {
            ""
        };
        let python = if run.is_empty() { "python3 -m " } else { run };
        let pytest_command = format!("{python}pytest");
        if let Some(evidence) = self.first_of(&["pytest.ini", ".pytest.ini"]).map(str::to_owned).or(pytest) {
            self.propose(CheckKind::Test, Confidence::High, &pytest_command, evidence);
        } else if self.has("conftest.py") {
            self.propose(CheckKind::Test, Confidence::High, &pytest_command, "conftest.py");
        } else if requires_pytest {
            self.propose(CheckKind::Test, Confidence::High, &pytest_command, "pyproject.toml: pytest is a dependency");
        } else if self.has("tests/conftest.py") {
            self.propose(CheckKind::Test, Confidence::High, &pytest_command, "tests/conftest.py");
        }
        if self.has("manage.py") {
            self.propose(CheckKind::Test, Confidence::Medium, "python3 manage.py test", "manage.py");
        }
        if let Some(name) = section(&tox, &["tox", "testenv"]) {
            self.propose(CheckKind::Test, Confidence::Medium, "tox", format!("tox.ini: [{name}]"));
        }
        if self.has("noxfile.py") {
            self.propose(CheckKind::Test, Confidence::Medium, "nox", "noxfile.py");
        }
        if hatch {
            self.propose(CheckKind::Test, Confidence::Low, "hatch test", "pyproject.toml: tool.hatch");
        }
        self.python_by_convention(&pytest_command, &format!("{run}python3 -m unittest"), pyproject.is_some());
        if let Some(name) = self.first_of(&["ruff.toml", ".ruff.toml"]) {
            self.propose(CheckKind::Lint, Confidence::Medium, &format!("{run}ruff check"), name);
        } else if ruff {
            self.propose(CheckKind::Lint, Confidence::Medium, &format!("{run}ruff check"), "pyproject.toml: tool.ruff");
        }
        if let Some(evidence) = self.first_of(&[".flake8"]).map(str::to_owned).or(flake8) {
            self.propose(CheckKind::Lint, Confidence::Medium, &format!("{python}flake8"), evidence);
        }
        if let Some(evidence) = self.first_of(&[".pylintrc", "pylintrc"]).map(str::to_owned).or(pylint) {
            self.propose(CheckKind::Lint, Confidence::Low, &format!("{run}pylint --recursive=y ."), evidence);
        }
        if black {
            self.propose(
                CheckKind::Lint,
                Confidence::Low,
                &format!("{run}black --check ."),
                "pyproject.toml: tool.black",
            );
        }
        if let Some(evidence) = self.first_of(&["mypy.ini", ".mypy.ini"]).map(str::to_owned).or(mypy) {
            self.propose(CheckKind::Type, Confidence::Medium, &format!("{python}mypy ."), evidence);
        }
        if let Some(name) = self.first_of(&["pyrightconfig.json"]) {
            self.propose(CheckKind::Type, Confidence::Medium, &format!("{run}pyright"), name);
        } else if pyright {
            self.propose(CheckKind::Type, Confidence::Medium, &format!("{run}pyright"), "pyproject.toml: tool.pyright");
        }
    }

    /// Test files by their usual names where no configuration names a runner.
    fn python_by_convention(&mut self, pytest: &str, unittest: &str, packaged: bool) {
        for place in ["tests", "test", "."] {
            let Some(name) = self.files_in(place, is_python_test).into_iter().next() else { continue };
            let top = place == ".";
            let file = if top { name } else { format!("{place}/{name}") };
            let uses_unittest = self.read(&file).is_some_and(|text| text.contains("unittest"));
            let is_package = self.has(&format!("{place}/__init__.py"));
            if uses_unittest {
                let command =
                    if top || is_package { unittest.to_owned() } else { format!("{unittest} discover -s {place}") };
                self.propose(CheckKind::Test, Confidence::Medium, &command, file);
            } else {
                let confidence = if packaged { Confidence::Medium } else { Confidence::Low };
                self.propose(CheckKind::Test, confidence, pytest, file);
            }
            return;
        }
    }

    fn go(&mut self) {
        let Some(text) = self.read("go.mod") else { return };
        if !text.lines().any(|line| line.starts_with("module ")) {
            self.notes.push("go.mod names no module".to_owned());
        }
        self.propose(CheckKind::Test, Confidence::High, "go test ./...", "go.mod: module");
        let lint = [".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json"];
        if let Some(name) = self.first_of(&lint) {
            self.propose(CheckKind::Lint, Confidence::Medium, "golangci-lint run", name);
        }
        self.propose(CheckKind::Lint, Confidence::Low, "go vet ./...", "go.mod: module");
        self.propose(CheckKind::Type, Confidence::Low, "go build ./...", "go.mod: module");
    }

    fn php(&mut self) {
        let Some(package) = self.json("composer.json") else { return };
        for (kind, names) in SCRIPT_NAMES {
            for name in *names {
                if package.get("scripts").and_then(|scripts| scripts.get(*name)).is_some() {
                    let command = format!("composer run-script {name}");
                    self.propose(*kind, Confidence::High, &command, format!("composer.json: scripts.{name}"));
                }
            }
        }
        if let Some(name) = self.first_of(&["phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml"]) {
            self.propose(CheckKind::Test, Confidence::Medium, "vendor/bin/phpunit", name);
        }
        if let Some(name) = self.first_of(&["phpstan.neon", "phpstan.neon.dist", "phpstan.dist.neon"]) {
            self.propose(CheckKind::Type, Confidence::Medium, "vendor/bin/phpstan analyse", name);
        }
        if let Some(name) = self.first_of(&["phpcs.xml", "phpcs.xml.dist", ".phpcs.xml", ".phpcs.xml.dist"]) {
            self.propose(CheckKind::Lint, Confidence::Medium, "vendor/bin/phpcs", name);
        }
    }

    fn java(&mut self) {
        if let Some(text) = self.read("pom.xml") {
            let parsed =
                roxmltree::Document::parse(&text).map(|document| document.root_element().has_tag_name("project"));
            let is_project = self.noted("pom.xml", parsed);
            if is_project.is_some() {
                let maven = if self.has("mvnw") { "./mvnw" } else { "mvn" };
                self.propose(CheckKind::Test, Confidence::High, &format!("{maven} -B test"), "pom.xml: project");
                self.propose(CheckKind::Type, Confidence::Low, &format!("{maven} -B compile"), "pom.xml: project");
            }
        }
        let Some(name) = self.first_of(&["build.gradle", "build.gradle.kts"]) else { return };
        let gradle = if self.has("gradlew") { "./gradlew" } else { "gradle" };
        self.propose(CheckKind::Test, Confidence::High, &format!("{gradle} test"), name);
        self.propose(CheckKind::Type, Confidence::Low, &format!("{gradle} classes"), name);
    }

    fn ruby(&mut self) {
        let Some(gems) = self.read("Gemfile") else { return };
        let gem = |name: &str| {
            let quoted = [format!("'{name}'"), format!("\"{name}\"")];
            gems.lines()
                .position(|line| line.trim_start().starts_with("gem ") && quoted.iter().any(|q| line.contains(q)))
                .map(|at| format!("Gemfile: line {}", at + 1))
        };
        let (rspec, rails, rubocop) = (gem("rspec").or(gem("rspec-rails")), gem("rails"), gem("rubocop"));
        if let Some(name) = self.first_of(&[".rspec"]).map(str::to_owned).or(rspec) {
            self.propose(CheckKind::Test, Confidence::High, "bundle exec rspec", name);
        }
        if let Some(evidence) = rails
            && self.has_folder("test")
        {
            self.propose(CheckKind::Test, Confidence::Medium, "bundle exec rails test", evidence);
        }
        if let Some(text) = self.read("Rakefile")
            && let Some(at) = text.lines().position(|line| {
                line.contains("Rake::TestTask") || line.trim_start().starts_with("task ") && line.contains("test")
            })
        {
            let evidence = format!("Rakefile: line {}", at + 1);
            self.propose(CheckKind::Test, Confidence::Medium, "bundle exec rake test", evidence);
        }
        if let Some(evidence) = self.first_of(&[".rubocop.yml"]).map(str::to_owned).or(rubocop) {
            self.propose(CheckKind::Lint, Confidence::Medium, "bundle exec rubocop", evidence);
        }
        if let Some(name) = self.first_of(&["Steepfile"]) {
            self.propose(CheckKind::Type, Confidence::Medium, "bundle exec steep check", name);
        }
    }

    /// Makefile and justfile, last: where a language has a command of its own for the same, that one is more exact.
    fn task_files(&mut self) {
        if let Some(name) = self.first_of(&["GNUmakefile", "makefile", "Makefile"])
            && let Some(text) = self.read(name)
        {
            self.targets(name, "make", &text);
        }
        if let Some(name) = self.first_of(&["justfile", "Justfile", ".justfile"])
            && let Some(text) = self.read(name)
        {
            self.targets(name, "just", &text);
        }
    }

    fn targets(&mut self, file: &str, program: &str, text: &str) {
        // A rule of make: names, then a colon that is no assignment. A recipe of just: one name, perhaps parameters.
        let pattern = match program {
            "make" => r"^([A-Za-z0-9_.][A-Za-z0-9_./ -]*?)\s*::?(?:[^=:]|$)",
            _ => r"^@?([A-Za-z0-9_-]+)(?:\s+[A-Za-z_*+$][^:]*)?\s*:(?:[^=]|$)",
        };
        let Ok(rule) = Regex::new(pattern) else { return };
        let mut lines: Vec<(String, usize)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if let Some(captures) = rule.captures(line) {
                lines.extend(captures[1].split_whitespace().map(|name| (name.to_owned(), at + 1)));
            }
        }
        for (kind, names) in SCRIPT_NAMES {
            for name in *names {
                if let Some((_, at)) = lines.iter().find(|(target, _)| target == name) {
                    let evidence = format!("{file}: {name} (line {at})");
                    self.propose(*kind, Confidence::High, &format!("{program} {name}"), evidence);
                }
            }
        }
    }
}

/// Names of scripts and targets, the best first. None of those that change files (`fix`, `format`) is among them.
const SCRIPT_NAMES: &[(CheckKind, &[&str])] = &[
    (CheckKind::Test, &["test", "tests", "test:unit", "test-unit", "unit", "test:ci"]),
    (CheckKind::Lint, &["lint", "lint:check", "lint:ci", "eslint", "clippy", "format:check", "fmt-check"]),
    (
        CheckKind::Type,
        &["typecheck", "type-check", "check-types", "check:types", "types:check", "types", "tsc", "mypy", "typing"],
    ),
];

/// Dependencies of a package.json (as JSON pointers have them) that are tools, with the arguments of a check.
const NODE_TOOLS: &[(CheckKind, &str, &str)] = &[
    (CheckKind::Test, "vitest", "run"),
    (CheckKind::Test, "jest", ""),
    (CheckKind::Test, "mocha", ""),
    (CheckKind::Test, "ava", ""),
    (CheckKind::Lint, "eslint", "."),
    (CheckKind::Lint, "@biomejs~1biome", "lint ."),
    (CheckKind::Type, "typescript", "--noEmit"),
];

fn is_node_source(name: &str) -> bool {
    [".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|suffix| name.ends_with(suffix))
}

fn is_node_test(name: &str) -> bool {
    is_node_source(name)
        && (["test-", "test."].iter().any(|start| name.starts_with(start))
            || [".test.", "-test.", "_test."].iter().any(|part| name.contains(part)))
}

fn is_python_test(name: &str) -> bool {
    let stem = name.strip_suffix(".py");
    stem.is_some_and(|stem| stem.starts_with("test_") || stem.ends_with("_test"))
}

/// JSON with comments and trailing commas, as deno takes it, made plain. Strings are left alone.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => {
                out.push(c);
                while let Some(inner) = chars.next() {
                    out.push(inner);
                    match inner {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => {
                for skipped in chars.by_ref() {
                    if skipped == '\n' {
                        out.push('\n');
                        break;
                    }
                }
            }
            ('/', Some('*')) => {
                chars.next();
                let mut last = ' ';
                for skipped in chars.by_ref() {
                    if last == '*' && skipped == '/' {
                        break;
                    }
                    last = skipped;
                }
                out.push(' ');
            }
            ('}' | ']', _) => {
                let kept = out.trim_end().len();
                if out[..kept].ends_with(',') {
                    out.truncate(kept - 1);
                }
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    /// A repository of these files; `dir/` makes a folder.
    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(files: &[(&str, &str)]) -> Detection {
        let folder = repository(files);
        detect(folder.path(), folder.path()).unwrap()
    }

    fn commands(detection: &Detection, kind: CheckKind) -> Vec<(&str, &str)> {
        detection
            .proposals
            .iter()
            .filter(|p| p.kind == kind)
            .map(|p| (p.command.as_str(), p.evidence.as_str()))
            .collect()
    }

    #[test]
    fn scripts_are_run_with_the_manager_of_the_lock_file() {
        let package = r#"{"scripts":{"test":"vitest run","lint":"eslint .","typecheck":"tsc --noEmit"}}"#;
        for (lock, test, lint) in [
            ("package-lock.json", "npm test", "npm run lint"),
            ("yarn.lock", "yarn test", "yarn run lint"),
            ("pnpm-lock.yaml", "pnpm test", "pnpm run lint"),
            ("bun.lock", "bun run test", "bun run lint"),
        ] {
            let detection = found(&[("package.json", package), (lock, "")]);
            assert_eq!(commands(&detection, CheckKind::Test), [(test, "package.json: scripts.test")]);
            assert_eq!(commands(&detection, CheckKind::Lint), [(lint, "package.json: scripts.lint")]);
            assert_eq!(detection.best(CheckKind::Type).unwrap().evidence, "package.json: scripts.typecheck");
        }
        let named = r#"{"packageManager":"pnpm@9.1.0","scripts":{"test":"x"}}"#;
        assert_eq!(found(&[("package.json", named)]).best(CheckKind::Test).unwrap().command, "pnpm test");
    }

    #[test]
    fn the_placeholder_of_npm_init_is_no_test() {
        let package =
            r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"},"devDependencies":{"jest":"^29"}}"#;
        let detection = found(&[("package.json", package)]);
        assert_eq!(
            commands(&detection, CheckKind::Test),
            [("npx --no-install jest", "package.json: devDependencies.jest")]
        );
    }

    #[test]
    fn a_cargo_project_has_all_three() {
        let detection = found(&[("Cargo.toml", "[package]\nname = 'a'\n")]);
        let commands: Vec<&str> = detection.proposals.iter().map(|p| p.command.as_str()).collect();
        assert_eq!(commands, ["cargo test", "cargo clippy --all-targets -- -D warnings", "cargo check --all-targets"]);
        let workspace = found(&[("Cargo.toml", "[workspace]\nmembers = ['a']\n")]);
        assert_eq!(workspace.best(CheckKind::Test).unwrap().command, "cargo test --workspace");
    }

    #[test]
    fn pytest_is_known_by_its_configuration() {
        for (file, text, evidence) in [
            ("pyproject.toml", "[tool.pytest.ini_options]\n", "pyproject.toml: tool.pytest"),
            ("setup.cfg", "[tool:pytest]\naddopts = -q\n", "setup.cfg: [tool:pytest]"),
            ("tox.ini", "[pytest]\n", "tox.ini: [pytest]"),
            ("pytest.ini", "[pytest]\n", "pytest.ini"),
            ("conftest.py", "", "conftest.py"),
        ] {
            let detection = found(&[(file, text)]);
            assert_eq!(commands(&detection, CheckKind::Test), [("python3 -m pytest", evidence)]);
        }
        let uv = found(&[("pyproject.toml", "[tool.pytest]\n[tool.ruff]\n[tool.mypy]\n"), ("uv.lock", "")]);
        let commands: Vec<&str> = uv.proposals.iter().map(|p| p.command.as_str()).collect();
        assert_eq!(commands, ["uv run pytest", "uv run ruff check", "uv run mypy ."]);
    }

    #[test]
    fn test_files_of_python_show_their_runner() {
        let detection = found(&[("tests/test_a.py", "import unittest\n")]);
        let expected = [("python3 -m unittest discover -s tests", "tests/test_a.py")];
        assert_eq!(commands(&detection, CheckKind::Test), expected);
        let package = found(&[("tests/test_a.py", "import unittest\n"), ("tests/__init__.py", "")]);
        assert_eq!(package.best(CheckKind::Test).unwrap().command, "python3 -m unittest");
        let plain = found(&[("test_a.py", "def test_a(): pass\n")]);
        assert_eq!(commands(&plain, CheckKind::Test), [("python3 -m pytest", "test_a.py")]);
    }

    #[test]
    fn targets_of_make_and_just_are_named_with_their_line() {
        let make = ".PHONY: test\nlint := x\nunit check: deps\n\ttrue\ntest: unit\n\ttrue\n";
        let detection = found(&[("Makefile", make)]);
        assert_eq!(
            commands(&detection, CheckKind::Test),
            [("make test", "Makefile: test (line 5)"), ("make unit", "Makefile: unit (line 3)")]
        );
        assert_eq!(detection.best(CheckKind::Lint), None);
        let just = found(&[("justfile", "set shell := ['sh']\n@lint:\n  true\ntest *args='a':\n  true\n")]);
        assert_eq!(commands(&just, CheckKind::Test), [("just test", "justfile: test (line 4)")]);
        assert_eq!(commands(&just, CheckKind::Lint), [("just lint", "justfile: lint (line 2)")]);
    }

    #[test]
    fn the_other_languages_have_their_usual_commands() {
        for (files, kind, command) in [
            (vec![("go.mod", "module a\n")], CheckKind::Test, "go test ./..."),
            (vec![("go.mod", "module a\n"), (".golangci.yml", "")], CheckKind::Lint, "golangci-lint run"),
            (vec![("test/a.js", "require('node:test')")], CheckKind::Test, "node --test"),
            (vec![("a.test.mjs", "import 'node:test'"), ("package.json", "{}")], CheckKind::Test, "node --test"),
            (vec![("composer.json", r#"{"scripts":{"test":"x"}}"#)], CheckKind::Test, "composer run-script test"),
            (vec![("composer.json", "{}"), ("phpunit.xml", "")], CheckKind::Test, "vendor/bin/phpunit"),
            (vec![("pom.xml", "<project/>"), ("mvnw", "")], CheckKind::Test, "./mvnw -B test"),
            (vec![("build.gradle.kts", "")], CheckKind::Test, "gradle test"),
            (vec![("Gemfile", "gem 'rspec'\n")], CheckKind::Test, "bundle exec rspec"),
            (vec![("Gemfile", "gem \"rubocop\"\n")], CheckKind::Lint, "bundle exec rubocop"),
            (
                vec![("deno.json", "{ // tasks\n\"tasks\": {\"test\": \"a // b\",}, /* x */ }")],
                CheckKind::Test,
                "deno task test",
            ),
        ] {
            let detection = found(&files);
            assert_eq!(detection.best(kind).map(|p| p.command.as_str()), Some(command), "{files:?}");
            assert_eq!(detection.notes, Vec::<String>::new());
        }
    }

    #[test]
    fn a_malformed_file_is_a_note_and_hides_no_other() {
        let detection = found(&[
            ("package.json", "{"),
            ("Cargo.toml", "= ["),
            ("pyproject.toml", "x"),
            ("composer.json", "[1"),
            ("pom.xml", "<project>"),
            ("deno.json", "{"),
            ("Makefile", "test:\n\ttrue\n"),
        ]);
        assert_eq!(detection.notes.len(), 6, "{:?}", detection.notes);
        assert_eq!(detection.best(CheckKind::Test).unwrap().command, "make test");
        let odd = found(&[("package.json", r#"{"scripts":["test"],"devDependencies":7}"#), ("Cargo.toml", "")]);
        assert_eq!(odd.proposals, []);
    }

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_a_note() {
        let large = " ".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        let folder = repository(&[("package.json", &large)]);
        std::fs::write(folder.path().join("go.mod"), [0xff, 0xfe]).unwrap();
        let detection = detect(folder.path(), folder.path()).unwrap();
        assert_eq!(detection.notes.len(), 2, "{:?}", detection.notes);
        assert_eq!(detection.proposals, []);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_repository_is_not_followed() {
        let outside = repository(&[("package.json", r#"{"scripts":{"test":"x"}}"#)]);
        let folder = repository(&[("real/go.mod", "module a\n")]);
        std::os::unix::fs::symlink(outside.path().join("package.json"), folder.path().join("package.json")).unwrap();
        std::os::unix::fs::symlink("real/go.mod", folder.path().join("go.mod")).unwrap();
        let detection = detect(folder.path(), folder.path()).unwrap();
        assert_eq!(detection.best(CheckKind::Test).unwrap().command, "go test ./...");
        assert_eq!(detection.notes, ["package.json is a link out of the repository and is not read"]);
        assert!(detect(folder.path(), outside.path()).is_err());
    }

    #[test]
    fn goal_files_of_the_folder_and_of_the_root_are_named() {
        let folder =
            repository(&[("AGENTS.md", ""), ("sub/TASK.md", ""), ("sub/package.json", "{}"), ("pnpm-lock.yaml", "")]);
        let detection = detect(folder.path(), &folder.path().join("sub")).unwrap();
        assert_eq!(detection.goal_files, ["sub/TASK.md", "AGENTS.md"]);
    }

    #[test]
    fn a_detection_serialises_in_camel_case() {
        let detection = found(&[("go.mod", "module a\n")]);
        let json = serde_json::to_value(&detection).unwrap();
        assert_eq!(json["proposals"][0]["confidence"], "high");
        assert_eq!(json["goalFiles"], serde_json::json!([]));
        assert_eq!(serde_json::from_value::<Detection>(json).unwrap(), detection);
    }

    /// The case data, where it is at hand.
    #[test]
    fn every_case_repository_shows_a_test_command() {
        let folder = std::env::var_os("CLOOP_CASES")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases"), PathBuf::from);
        for entry in std::fs::read_dir(folder.join("cases")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let case: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let files: Vec<(&str, &str)> = case["files"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str().unwrap()))
                .collect();
            let best = found(&files).best(CheckKind::Test).cloned();
            assert!(best.is_some(), "{}: no proposal for {}", path.display(), case["test_cmd"]);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_in_a_manifest_is_survived(text in "\\PC{0,60}|[{}\\[\\]\",:/*a\n]{0,40}") {
            let names = ["package.json", "Cargo.toml", "pyproject.toml", "deno.json", "Makefile", "justfile", "pom.xml"];
            let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, text.as_str())).collect();
            let _ = found(&files);
        }
    }

    #[test]
    fn projects_below_a_folder_without_one_are_named() {
        let detection = found(&[
            ("packages/app/package.json", "{\"scripts\": {\"test\": \"node --test\"}}"),
            ("api/pyproject.toml", "[project]\n"),
            ("node_modules/x/package.json", "{}"),
            ("README.md", "x"),
        ]);
        assert_eq!(detection.proposals, []);
        assert_eq!(detection.notes, ["projects lie below this folder: api, packages/app; name one with -C"]);
        assert_eq!(found(&[("go.mod", "module a\n"), ("api/pyproject.toml", "")]).notes, Vec::<String>::new());
    }
}
