//! A user who edits, links and kills at the worst moment: nothing of theirs is lost, nothing is written elsewhere.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use loop_companion::answers::Verdict;
use loop_companion::scripted::{ModelRequest, Reply, ScriptedServer, Step};
use rustix::process::Signal;

use crate::common::{Repo, Running, TestEnvironment, evaluation, issue, suggestion};

const SOON: Duration = Duration::from_secs(60);

/// Two values have to become 2; each look at them is counted beside the repository, and look number `N` in the file
/// `hold` waits for the file `go`.
const CHECK: &str = r#"
. ./values.sh
echo look >> ../looks
if [ "$(wc -l < ../looks | tr -d ' ')" = "$(cat ../hold)" ]; then
  touch ../held
  while [ ! -e ../go ]; do sleep 0.02; done
fi
echo "TAP version 13"
echo "1..2"
status=0
if [ "$a" = 2 ]; then echo "ok 1 - a"; else echo "not ok 1 - a"; status=1; fi
if [ "$b" = 2 ]; then echo "ok 2 - b"; else echo "not ok 2 - b"; status=1; fi
exit $status
"#;

const FIX: &str = "--- a/values.sh\n+++ b/values.sh\n@@ -1,2 +1,2 @@\n-a=1\n-b=1\n+a=2\n+b=2\n";
const SEED: &str = "a=1\nb=1\n";
const FIXED: &str = "a=2\nb=2\n";

struct Ground {
    _server: ScriptedServer,
    environment: TestEnvironment,
    repo: Repo,
}

impl Ground {
    /// A repository whose check holds at look number `hold`, 0 for never, and a model that knows the fix.
    fn new(hold: u32) -> Self {
        let server = ScriptedServer::start(|request: &ModelRequest| match request.step() {
            Step::Evaluate => {
                Reply::json(&evaluation(Verdict::InProgress, 0.5, vec![issue("values", "they are 1", "values.sh")]))
            }
            _ => Reply::json(&suggestion([("fix", FIX)])),
        })
        .unwrap();
        let environment = TestEnvironment::new(&server);
        let repo = environment.repo("project");
        // By an absolute path, so that it also works from a work tree elsewhere.
        let root = environment.root().display().to_string();
        repo.files([
            ("values.sh", SEED),
            ("notes.txt", "as committed\n"),
            ("t.sh", &CHECK.replace("../", &format!("{root}/"))),
        ]);
        repo.commit("Begin");
        fs::write(environment.root().join("hold"), hold.to_string()).unwrap();
        Self { _server: server, environment, repo }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.environment.root().join(name)
    }

    fn start(&self, place: &str) -> Running {
        let arguments = ["start", "make both 2", "--test-cmd", "sh t.sh", "--max-iter", "3", "--where", place];
        self.environment.spawn_cloop(self.repo.path(), arguments, "")
    }

    /// Starts a loop, and returns when its check is held.
    fn held(&self, place: &str) -> Running {
        let mut run = self.start(place);
        run.wait_for("held check", SOON, |_| self.file("held").exists());
        run
    }

    fn go(&self) {
        fs::write(self.file("go"), "").unwrap();
    }

    fn stop_reason(&self) -> String {
        let status = self.environment.cloop(self.repo.path(), ["status", "--json"]).expect_code(0).json();
        status["stopReason"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn an_edit_made_while_the_baseline_runs_in_the_users_tree_stays() {
    for (place, code, reason) in [("auto", 0, "goal-met"), ("in-place", 1, "tree-changed")] {
        let ground = Ground::new(1);
        let run = ground.held(place);
        ground.repo.write("notes.txt", "my work\n").write("new.txt", "more of it\n");
        ground.go();
        run.finish(SOON).expect_code(code);
        assert_eq!(ground.stop_reason(), reason, "{place}");
        let now = ["notes.txt", "new.txt", "values.sh"].map(|path| ground.repo.read(path));
        assert_eq!(now, ["my work\n", "more of it\n", SEED], "{place}");
    }
}

#[test]
fn an_edit_under_an_in_place_loop_stops_it_and_leaves_no_untried_candidate_behind() {
    // Two looks for the baseline, the third is the trial, the fourth the proof.
    for (look, values) in [(3, SEED), (4, FIXED)] {
        let ground = Ground::new(look);
        let run = ground.held("in-place");
        ground.repo.write("notes.txt", "my work\n");
        ground.go();
        run.finish(SOON).expect_code(1);
        assert_eq!(ground.stop_reason(), "tree-changed", "look {look}");
        let now = ["notes.txt", "values.sh"].map(|path| ground.repo.read(path));
        assert_eq!(now, ["my work\n", values], "look {look}");
        ground.environment.assert_no_processes();
    }
}

#[test]
fn a_write_cut_short_in_the_users_tree_is_no_change_of_theirs() {
    let ground = Ground::new(3);
    let run = ground.held("in-place");
    run.signal(Signal::KILL);
    run.finish(SOON);
    ground.repo.write(".cloop-write-12345", "a=2\n");
    ground.go();
    ground.environment.cloop(ground.repo.path(), ["resume"]).expect_code(0);
    assert_eq!(ground.stop_reason(), "goal-met");
    assert_eq!(ground.repo.git(["status", "--porcelain"]), " M values.sh");
    assert_eq!(ground.repo.read("values.sh"), FIXED);
    ground.environment.assert_no_processes();
}

#[test]
fn a_loop_folder_that_is_a_link_is_refused_before_there_is_a_loop() {
    let ground = Ground::new(0);
    let outside = ground.file("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, ground.repo.path().join(".loop")).unwrap();
    ground.repo.git(["add", "--force", ".loop"]);
    ground.repo.commit("Link");
    ground.start("auto").finish(SOON).expect_code(3);
    let status = ground.environment.cloop(ground.repo.path(), ["status", "--json"]).expect_code(0).json();
    assert_eq!(status["status"], "none");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn links_and_pipes_in_the_loop_folder_are_neither_written_through_nor_waited_for() {
    let ground = Ground::new(0);
    let folder = ground.repo.path().join(".loop");
    fs::create_dir(&folder).unwrap();
    let victim = ground.file("victim");
    std::os::unix::fs::symlink(&victim, folder.join("progress.log")).unwrap();
    for name in ["loop.pid", "loop-state.json"] {
        ground.environment.shell(&folder, &format!("mkfifo {name}")).expect_code(0);
    }
    ground.start("worktree").finish(SOON).expect_code(0);
    assert!(!victim.exists(), "the progress log was written through a link");
    assert!(fs::symlink_metadata(folder.join("progress.log")).unwrap().is_file());
}
