//! A repository with one small fault, a scripted model that mends it, and a home: ready for a loop.

use std::ffi::OsStr;
use std::fmt::Write;

use loop_companion::answers::Verdict;
use loop_companion::scripted::ScriptedServer;
use serde_json::Value;

use super::{Repo, Run, Running, SequenceModel, TestEnvironment, evaluation, issue};

/// The file with the fault.
pub(crate) const SUM: &str = "src/sum.js";

/// Its content: it subtracts.
pub(crate) const FAULTY: &str = "'use strict';\n\nexports.sum = (a, b) => a - b;\n";

/// Its content without the fault.
pub(crate) const MENDED: &str = "'use strict';\n\nexports.sum = (a, b) => a + b;\n";

/// The test file: `adds` fails, the other passes.
pub(crate) const SUM_TEST: &str = "'use strict';\n\nconst test = require('node:test');\nconst assert = require('node:assert/strict');\nconst { sum } = \
     require('../src/sum');\n\ntest('adds', () => assert.equal(sum(2, 3), 5));\n\ntest('nothing and nothing', () => \
     assert.equal(sum(0, 0), 0));\n";

/// The goal of most loops.
pub(crate) const GOAL: &str = "sum adds";

/// A server, an environment that points to it, and a repository in it.
pub(crate) struct Scene {
    pub(crate) server: ScriptedServer,
    pub(crate) environment: TestEnvironment,
    pub(crate) repo: Repo,
}

/// Returns the files of the sample.
pub(crate) fn sum_files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("package.json", "{\n  \"name\": \"sum\",\n  \"private\": true\n}\n"),
        (SUM, FAULTY),
        ("test/sum.test.js", SUM_TEST),
    ]
}

/// Returns the patch that mends the sample.
pub(crate) fn mend() -> String {
    diff(SUM, FAULTY, MENDED)
}

/// Returns the change of one file as git writes it; an empty text stands for no file.
pub(crate) fn diff(path: &str, old: &str, new: &str) -> String {
    let (from, to) = match (old.is_empty(), new.is_empty()) {
        (true, _) => ("/dev/null".to_owned(), format!("b/{path}")),
        (_, true) => (format!("a/{path}"), "/dev/null".to_owned()),
        _ => (format!("a/{path}"), format!("b/{path}")),
    };
    let mut text = format!("diff --git a/{path} b/{path}\n");
    if old.is_empty() {
        text.push_str("new file mode 100644\n");
    }
    if new.is_empty() {
        text.push_str("deleted file mode 100644\n");
    }
    let changes = similar::TextDiff::from_lines(old, new);
    let _ = write!(text, "{}", changes.unified_diff().header(&from, &to));
    text
}

/// A model that finds the sum wrong until its change is shown, and offers the patch that mends it.
pub(crate) fn mender() -> SequenceModel {
    let wrong = issue("wrong-sign", "sum subtracts", SUM);
    SequenceModel::new()
        .evaluate(&evaluation(Verdict::InProgress, 0.5, vec![wrong]))
        .evaluate(&evaluation(Verdict::GoalMet, 0.0, Vec::new()))
        .patches([("mend", mend().as_str())])
}

impl Scene {
    /// Makes a repository of these files, committed, for this model.
    pub(crate) fn new<P: AsRef<str>, C: AsRef<[u8]>>(
        model: SequenceModel,
        files: impl IntoIterator<Item = (P, C)>,
    ) -> Self {
        let server = ScriptedServer::start(model.into_model()).unwrap();
        let environment = TestEnvironment::new(&server);
        let repo = environment.repo("repo");
        repo.files(files).commit("The state with the fault");
        Self { server, environment, repo }
    }

    /// The sample with its mender.
    pub(crate) fn sum() -> Self {
        Self::new(mender(), sum_files())
    }

    /// Runs a command in the repository.
    pub(crate) fn cloop<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.environment.cloop(self.repo.path(), arguments)
    }

    /// Runs `start --json` with the goal and these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Run {
        self.cloop(["start", "--json", "--yes", "--goal", GOAL].iter().chain(arguments))
    }

    /// Begins `start` with the goal and these arguments.
    pub(crate) fn spawn_start(&self, arguments: &[&str]) -> Running {
        let all = ["start", "--json", "--yes", "--goal", GOAL];
        self.environment.spawn_cloop(self.repo.path(), all.iter().chain(arguments), "")
    }

    /// Runs a command with this text on standard input.
    pub(crate) fn cloop_with(&self, arguments: &[&str], stdin: &str) -> Run {
        let limit = std::time::Duration::from_secs(120);
        self.environment.spawn_cloop(self.repo.path(), arguments, stdin).finish(limit)
    }

    /// Returns what `status --json` says.
    pub(crate) fn status(&self) -> Value {
        self.cloop(["status", "--json"]).expect_code(0).json()
    }

    /// Fails unless the fault is mended in the user's tree.
    #[track_caller]
    pub(crate) fn assert_mended(&self) {
        assert_eq!(self.repo.read(SUM), MENDED);
    }

    /// Fails unless the user's tree is clean.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.repo.git(["status", "--porcelain", "--untracked-files=all"]), "");
        assert_eq!(
            self.repo.git(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/stash"]),
            "refs/heads/main"
        );
    }
}

/// Fails, showing all output, unless the loop ended with this exit status and reason; returns its status.
#[track_caller]
pub(crate) fn ended(run: Run, code: i32, reason: &str) -> Value {
    let run = run.expect_code(code);
    let status = run.json();
    assert_eq!(status["stopReason"], reason, "{}\n{}", run.stdout, run.stderr);
    status
}

/// Fails, showing all output, unless the command was refused with this exit status and a document of an error that
/// says what to do; returns message and hint.
#[track_caller]
pub(crate) fn refused(run: Run, code: i32, name: &str) -> (String, String) {
    let run = run.expect_code(code);
    let document = run.json();
    assert_eq!((&document["error"]["code"], &document["schemaVersion"]), (&name.into(), &1.into()), "{document:#}");
    let text =
        |key: &str| document["error"][key].as_str().map_or_else(|| panic!("no {key} in {document:#}"), String::from);
    (text("message"), text("hint"))
}

/// Returns a JSON list of texts as texts.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
