//! Reads `go test`: plain, `-v` and `-json`.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::tally::Tally;
use super::{Counts, Reading, TestStatus, re};

/// Tests by package and name.
type Tests = BTreeMap<(String, String), TestStatus>;

#[derive(Default)]
struct Run {
    tests: Tests,
    errors: HashMap<(String, String), String>,
    /// Packages that fail with no test of theirs named: they do not build, or panic outside of a test.
    broken: BTreeMap<String, String>,
    /// Compiler messages by package, from the `# package` headers.
    build: HashMap<String, String>,
    /// Tests seen since the last package line: plain output names the package afterwards.
    open: Vec<(String, TestStatus)>,
    open_errors: HashMap<String, String>,
    started: Vec<String>,
    last_failed: Option<String>,
    last_started: Option<String>,
    building: Option<String>,
    /// Whether some package passed without its tests being named.
    silent: bool,
    seen: bool,
}

/// Gives what all packages of the output say.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut run = Run::default();
    for line in text.lines() {
        if !(line.starts_with('{') && run.json_line(line)) {
            run.plain_line(line);
        }
    }
    run.finish()
}

impl Run {
    fn json_line(&mut self, line: &str) -> bool {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return false };
        let field = |name: &str| event.get(name).and_then(serde_json::Value::as_str);
        let Some(action) = field("Action") else { return false };
        if action == "build-output" {
            let package = field("ImportPath").unwrap_or_default().split(' ').next().unwrap_or_default();
            let output = field("Output").unwrap_or_default().trim();
            if !output.is_empty() && !output.starts_with('#') {
                self.build.entry(package.to_owned()).or_insert_with(|| output.to_owned());
            }
            return true;
        }
        let Some(package) = field("Package") else { return false };
        self.seen = true;
        let Some(test) = field("Test") else {
            if action == "fail" && !self.has_failure(package) {
                self.broken.entry(package.to_owned()).or_default();
            }
            return true;
        };
        let key = (package.to_owned(), test.to_owned());
        match action {
            // A test that starts and never ends was cut off: failed until it says otherwise.
            "run" | "fail" => {
                self.tests.insert(key, TestStatus::Failed);
            }
            "pass" => {
                self.tests.insert(key, TestStatus::Passed);
            }
            "skip" => {
                self.tests.insert(key, TestStatus::Skipped);
            }
            "output" => {
                let output = field("Output").unwrap_or_default().trim();
                if !output.is_empty() && !output.starts_with("=== ") && !output.starts_with("--- ") {
                    self.errors.entry(key).or_insert_with(|| message(output).to_owned());
                }
            }
            _ => {}
        }
        true
    }

    fn has_failure(&self, package: &str) -> bool {
        self.tests
            .range((package.to_owned(), String::new())..)
            .take_while(|((p, _), _)| p == package)
            .any(|(_, status)| *status == TestStatus::Failed)
    }

    fn plain_line(&mut self, line: &str) {
        if let Some(package) = line.strip_prefix("# ") {
            self.building = package.split(' ').next().map(str::to_owned);
        } else if let Some(captures) = re!(r"^(ok  |FAIL|\?   )\t(\S+)\t?(.*)$").captures(line) {
            self.package_line(&captures[1], &captures[2], &captures[3]);
        } else if let Some(captures) = re!(r"^( *)--- (PASS|FAIL|SKIP): (.+) \([\d.]+s\)$").captures(line) {
            let status = match &captures[2] {
                "PASS" => TestStatus::Passed,
                "FAIL" => TestStatus::Failed,
                _ => TestStatus::Skipped,
            };
            self.last_failed = (status == TestStatus::Failed).then(|| captures[3].to_owned());
            self.open.push((captures[3].to_owned(), status));
        } else if let Some(name) = line.strip_prefix("=== RUN   ") {
            self.started.push(name.to_owned());
            self.last_started = Some(name.to_owned());
            self.last_failed = None;
        } else if let Some(package) = &self.building
            && re!(r"^(?:vet: )?\S+\.go:\d+").is_match(line)
        {
            self.build.entry(package.clone()).or_insert_with(|| line.to_owned());
        } else if let Some(name) = self.last_failed.clone().or(self.last_started.clone()) {
            let trimmed = line.trim();
            if line.starts_with("    ") && trimmed.contains(".go:") || line.starts_with("panic: ") {
                self.open_errors.entry(name).or_insert_with(|| message(trimmed).to_owned());
            }
        }
    }

    fn package_line(&mut self, word: &str, package: &str, rest: &str) {
        self.seen = true;
        self.building = None;
        let open = std::mem::take(&mut self.open);
        let started = std::mem::take(&mut self.started);
        let mut errors = std::mem::take(&mut self.open_errors);
        (self.last_failed, self.last_started) = (None, None);
        match word {
            "ok  " if started.is_empty() && open.is_empty() && !rest.contains("[no tests to run]") => {
                self.silent = true;
            }
            "FAIL" => {
                if !open.iter().any(|(_, status)| *status == TestStatus::Failed) {
                    self.broken.insert(package.to_owned(), rest.trim_matches(['[', ']']).to_owned());
                } else if started.is_empty() {
                    self.silent = true;
                }
            }
            _ => {}
        }
        let ended: HashSet<String> = open.iter().map(|(name, _)| name.clone()).collect();
        let cut_off = started.into_iter().filter(|name| !ended.contains(name)).map(|name| (name, TestStatus::Failed));
        for (name, status) in open.into_iter().chain(cut_off.collect::<Vec<_>>()) {
            let key = (package.to_owned(), name);
            if let Some(error) = errors.remove(&key.1) {
                self.errors.insert(key.clone(), error);
            }
            self.tests.insert(key, status);
        }
    }

    fn finish(mut self) -> Option<Reading> {
        if !self.seen {
            return None;
        }
        let mut tally = Tally::default();
        for (package, reason) in std::mem::take(&mut self.broken) {
            if self.has_failure(&package) {
                continue;
            }
            tally.error(&package, self.build.get(&package).unwrap_or(&reason));
            tally.add(package, TestStatus::Failed);
        }
        for ((package, name), status) in &self.tests {
            let id = format!("{package}.{name}");
            if let Some(error) = self.errors.get(&(package.clone(), name.clone())) {
                tally.error(&id, error);
            }
            tally.add(id, *status);
        }
        let counts = tally.counts();
        if self.silent {
            // `ok  package 0.1s` says that all passed, not how many.
            let counts = Counts { failed: counts.failed, ..Counts::default() };
            return Some(tally.finish_as("go-test", counts, false));
        }
        Some(tally.finish_as("go-test", counts, true))
    }
}

/// The message without the place that `t.Errorf` puts before it.
fn message(line: &str) -> &str {
    re!(r"^\S+\.go:\d+: ").find(line).map_or(line, |found| &line[found.end()..])
}
