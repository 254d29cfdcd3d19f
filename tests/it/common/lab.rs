//! A small loop that takes two rounds, with a model whose answers depend on the question alone: asked again after a
//! kill it says the same, so every way through has the same end.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Gate, ModelRequest, Reply, ScriptedServer, Step};
use serde_json::Value;

use super::process_table::children_that_ended;
use super::{Repo, Run, Running, TestEnvironment, evaluation, issue, processes_of, ranking, suggestion};

/// Longest wait for something that takes a second or two; machines that build at the same time are slow.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Tells three things apart; with the file `$HOLD` it says that it runs and stays.
const CHECK: &str = r#"if [ -e "$HOLD" ]; then : > "$HOLD.reached"; sleep 600; fi
failed=0
n=0
look() { n=$((n + 1)); if grep -qs "$2" "$1"; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi; }
echo 1..3
look a.txt right
look src/b.txt right
look c.txt good
exit $failed
"#;

/// Makes the first fault good, in three files.
const FIRST: &str = "diff --git a/a.txt b/a.txt
--- a/a.txt
+++ b/a.txt
@@ -1 +1 @@
-wrong a
+right a
diff --git a/src/a2.txt b/src/a2.txt
--- a/src/a2.txt
+++ b/src/a2.txt
@@ -1 +1 @@
-old helper
+new helper
diff --git a/docs/a.md b/docs/a.md
new file mode 100644
--- /dev/null
+++ b/docs/a.md
@@ -0,0 +1 @@
+About a.
";

/// Makes the second fault good, and takes a file away.
const SECOND: &str = "diff --git a/src/b.txt b/src/b.txt
--- a/src/b.txt
+++ b/src/b.txt
@@ -1 +1 @@
-wrong b
+right b
diff --git a/stale.txt b/stale.txt
deleted file mode 100644
--- a/stale.txt
+++ /dev/null
@@ -1 +0,0 @@
-stale
";

/// The same in fewer words; the judge likes it less.
const SECOND_ONLY: &str = "diff --git a/src/b.txt b/src/b.txt
--- a/src/b.txt
+++ b/src/b.txt
@@ -1 +1 @@
-wrong b
+right b, but no more
";

/// Makes the first fault good and another thing bad.
const BREAKING: &str = "diff --git a/a.txt b/a.txt
--- a/a.txt
+++ b/a.txt
@@ -1 +1 @@
-wrong a
+right a, at a price
diff --git a/c.txt b/c.txt
--- a/c.txt
+++ b/c.txt
@@ -1 +1 @@
-good c
+bad c
";

/// Calls that the loop makes when nothing disturbs it: two evaluations, two suggestions, one ranking.
pub(crate) const CALLS: usize = 5;

/// What the model can be told to do.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Answers to this number of a request (from 1) wait at a gate.
    pub(crate) held: Option<(usize, Gate)>,
    /// Never offers what helps.
    pub(crate) useless: bool,
    /// Says that nothing can help.
    pub(crate) blocked: bool,
}

/// What the model answers.
pub(crate) fn answer(script: &Script, request: &ModelRequest) -> Reply {
    let first = request.prompt.contains("+right a\n");
    let second = request.prompt.contains("+right b\n");
    let reply = match request.step() {
        Step::Evaluate if script.blocked => Reply::json(&evaluation(Verdict::Blocked, 0.9, Vec::new())),
        Step::Evaluate if first && second => Reply::json(&evaluation(Verdict::GoalMet, 0.0, Vec::new())),
        Step::Evaluate => {
            let file = if first { "src/b.txt" } else { "a.txt" };
            Reply::json(&evaluation(Verdict::InProgress, 0.5, vec![issue(file, "It is wrong.", file)]))
        }
        Step::Suggest if script.useless => {
            // Another text each time, or it would be refused as a duplicate.
            let text = BREAKING.replace("at a price", &format!("at price {}", request.number));
            Reply::json(&suggestion([("breaking", text.as_str())]))
        }
        Step::Suggest if first => Reply::json(&suggestion([("second", SECOND), ("second-only", SECOND_ONLY)])),
        Step::Suggest => Reply::json(&suggestion([("breaking", BREAKING), ("first", FIRST)])),
        Step::Rank => {
            Reply::json(&ranking(
                &request.candidates(),
                |candidate| {
                    if candidate.text.contains("no more") { 0.3 } else { 0.9 }
                },
            ))
        }
        Step::Other => Reply::message("?"),
    };
    match &script.held {
        Some((number, gate)) if *number == request.number => reply.after(gate),
        _ => reply,
    }
}

/// A repository with two faults, its model and its environment.
pub(crate) struct Lab {
    pub(crate) server: ScriptedServer,
    pub(crate) environment: TestEnvironment,
    pub(crate) repo: Repo,
}

/// Where a loop works.
pub(crate) const WORKTREE: &str = "worktree";
pub(crate) const IN_PLACE: &str = "in-place";

impl Lab {
    pub(crate) fn new() -> Self {
        Self::scripted(Script::default())
    }

    pub(crate) fn scripted(script: Script) -> Self {
        let server = ScriptedServer::start(move |request| answer(&script, request)).unwrap();
        let mut environment = TestEnvironment::new(&server);
        let hold = environment.root().join("hold");
        environment.set("HOLD", hold);
        let repo = Self::seed(&environment, "repo");
        Self { server, environment, repo }
    }

    /// Makes a repository with the two faults.
    pub(crate) fn seed(environment: &TestEnvironment, name: &str) -> Repo {
        let repo = environment.repo(name);
        repo.files([
            ("t.sh", CHECK),
            ("a.txt", "wrong a\n"),
            ("src/a2.txt", "old helper\n"),
            ("src/b.txt", "wrong b\n"),
            ("c.txt", "good c\n"),
            ("stale.txt", "stale\n"),
            ("users.txt", "the user's\n"),
        ]);
        repo.commit("Two faults");
        repo
    }

    /// The trees that a user may find: the seed, and what was accepted, in order.
    pub(crate) fn states(&self) -> [BTreeMap<String, String>; 3] {
        let twin = Self::seed(&self.environment, "twin");
        let seed = twin.fingerprint();
        let first = twin.apply(FIRST).fingerprint();
        let both = twin.apply(SECOND).fingerprint();
        fs::remove_dir_all(twin.path()).unwrap();
        [seed, first, both]
    }

    /// The arguments of a start.
    pub(crate) fn start_arguments<'a>(place: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments =
            vec!["start", "--yes", "--goal", "Make a and b right", "--test-cmd", "sh t.sh", "--where", place];
        arguments.extend(more);
        arguments
    }

    /// Starts a loop in the foreground.
    pub(crate) fn start(&self, place: &str, more: &[&str]) -> Running {
        self.spawn(Self::start_arguments(place, more))
    }

    /// Starts a loop on its own. Returns what `start` said.
    #[track_caller]
    pub(crate) fn background(&self, place: &str, more: &[&str]) -> Value {
        let mut more = more.to_vec();
        more.extend(["--background", "--json"]);
        self.run(Self::start_arguments(place, &more)).expect_code(0).json()
    }

    pub(crate) fn spawn<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Running {
        self.environment.spawn_cloop(self.repo.path(), arguments, "")
    }

    pub(crate) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        self.environment.cloop(self.repo.path(), arguments)
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.run(["status", "--json"]).expect_code(0).json()
    }

    /// The journal of the newest loop, as far as it has whole lines; empty before there is one.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = self.journal_path().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn journal_path(&self) -> Option<PathBuf> {
        let runs = self.repo.path().join(".git/cloop/runs");
        let mut ids: Vec<PathBuf> = fs::read_dir(runs).ok()?.map(|entry| entry.unwrap().path()).collect();
        ids.sort();
        Some(ids.pop()?.join("events.jsonl"))
    }

    /// Waits until the journal has an event of this type. Fails at the limit.
    #[track_caller]
    pub(crate) fn wait_for_event(&self, kind: &str) {
        self.wait(&format!("event {kind}"), || self.journal().iter().any(|record| record["event"]["type"] == kind));
    }

    /// Waits until a check has reached the hold.
    #[track_caller]
    pub(crate) fn wait_for_check(&self) {
        let reached = self.environment.root().join("hold.reached");
        self.wait("check at the hold", || reached.exists());
    }

    /// Makes every check from now on stay where it is.
    pub(crate) fn hold_checks(&self) {
        fs::write(self.environment.root().join("hold"), "").unwrap();
    }

    /// Lets checks run through again.
    pub(crate) fn free_checks(&self) {
        for name in ["hold", "hold.reached"] {
            let _ = fs::remove_file(self.environment.root().join(name));
        }
    }

    /// Ends the sleep in which a held check stays, so that it goes on.
    #[track_caller]
    pub(crate) fn end_held_check(&self) {
        let sleeping = || processes_of(self.environment.root()).into_iter().find(|one| one.command == "sleep 600");
        let mut found = None;
        self.wait("sleeping check", || {
            found = sleeping();
            found.is_some()
        });
        found.unwrap().kill();
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !ready() {
            assert!(Instant::now() < deadline, "no {what}; the journal:\n{}", self.told());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The types of the journal's events, for messages.
    pub(crate) fn told(&self) -> String {
        let journal = self.journal();
        journal.iter().map(|record| record["event"]["type"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    /// Fails if a work tree of ours is left, in git's eyes or on disk.
    #[track_caller]
    pub(crate) fn assert_no_worktree(&self) {
        let listed = self.repo.git(["worktree", "list", "--porcelain"]);
        assert_eq!(listed.matches("worktree ").count(), 1, "{listed}");
        let left: Vec<_> = fs::read_dir(self.environment.cache().join("cloop/worktrees"))
            .map(|folder| folder.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Fails if a process of this test is left, or something of ours in the user's repository.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        self.environment.assert_no_processes();
        self.assert_no_worktree();
    }

    /// Fails if this process has children that ended and were not waited for.
    #[track_caller]
    pub(crate) fn assert_no_zombies_below(pid: i32) {
        let mut left = Vec::new();
        for _ in 0..100 {
            left = children_that_ended(pid);
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("zombies below {pid}: {left:?}");
    }
}
