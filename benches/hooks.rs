//! How long each hook takes that sessions of Claude Code run, through the plugin's launcher, in a work tree with a
//! finished loop behind it.
//!
//! `cargo bench --bench hooks` prints the times, and marks what takes longer than a session may notice. It needs an
//! installed Codex (or `LOOP_CODEX_BIN`), no account. The figures mean something on a machine that has nothing else
//! to do.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use loop_companion::answers::Verdict;
use loop_companion::scripted::script::{evaluation, issue, suggestion};
use loop_companion::scripted::{Reply, ScriptedServer, Step};
use serde_json::{Value, json};

/// What no hook may take longer than, lest a session be noticeably slower.
const MOST: Duration = Duration::from_millis(20);

/// How often each hook is run.
const ROUNDS: usize = 50;

/// Iterations of the loop behind the work tree: what hooks read grows with them.
const ITERATIONS: u32 = 6;

/// A suite of six cases, of which as many pass as the file says.
const CHECK: &str = "have=$(cat value.txt)
for case in 1 2 3 4 5 6; do
  if [ $case -le $have ]; then echo \"ok $case - case $case\"; else echo \"not ok $case - case $case\"; fi
done
echo 1..6
[ $have -ge 6 ]
";

/// A folder with everything that a host's hook sees.
struct Ground {
    root: PathBuf,
    repo: PathBuf,
}

impl Ground {
    /// Lays out a repository, homes of its own, and the plugin with an installed program.
    fn new(root: &Path, codex_config: &str) -> Self {
        for name in ["project", "home", "codex", "cache", "plugin/bin", "installed/bin"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("codex/config.toml"), codex_config).unwrap();
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/loop-companion");
        std::fs::copy(launcher, root.join("plugin/bin/loop-companion")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_loop-companion"), root.join("installed/bin/loop-companion")).unwrap();
        let repo = root.join("project");
        std::fs::write(repo.join("value.txt"), "0\n").unwrap();
        std::fs::write(repo.join("check.sh"), CHECK).unwrap();
        let ground = Self { root: root.to_owned(), repo };
        ground.git(&["init", "--quiet"]);
        ground.git(&["add", "--all"]);
        ground.git(&["commit", "--quiet", "-m", "Begin"]);
        ground
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"];
        let status = Command::new("git").args(identity).args(arguments).current_dir(&self.repo).status().unwrap();
        assert!(status.success());
    }

    /// The program as a host starts it.
    fn launcher(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("plugin/bin/loop-companion"));
        command.args(arguments).current_dir(&self.repo);
        command.env("HOME", self.root.join("home")).env("CODEX_HOME", self.root.join("codex"));
        command.env("XDG_CACHE_HOME", self.root.join("cache")).env_remove("CARGO_TARGET_DIR");
        command.env("CARGO_INSTALL_ROOT", self.root.join("installed")).env_remove("CLOOP_WORKER");
        command
    }

    /// Runs a command to its end and returns what it printed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.launcher(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Answers one event and returns the time that took, from the start of the process to its end.
    fn hook(&self, name: &str, event: &Value) -> Duration {
        let mut command = self.launcher(&["hook", name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let took = began.elapsed();
        assert!(output.status.success());
        took
    }

    /// Prints what one hook takes.
    fn time(&self, label: &str, name: &str, text: &str) {
        let command = label.split(' ').next().unwrap().trim_start_matches('/');
        let event = json!({"cwd": self.repo, "session_id": "bench", "prompt": "x", "last_assistant_message": "x",
            "command_name": command, "command_args": text});
        // The first one may have something to tell.
        self.hook(name, &event);
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| self.hook(name, &event)).collect();
        times.sort();
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        let (best, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        let mark = if median > MOST { "over" } else { "" };
        println!("| {label} | {} | {} | {} | {mark} |", ms(best), ms(median), ms(most));
    }
}

fn main() {
    let mended = AtomicU32::new(0);
    let server = ScriptedServer::start(move |request| {
        let value = mended.load(Ordering::SeqCst);
        if request.step() == Step::Suggest {
            mended.store(value + 1, Ordering::SeqCst);
            let patch = format!("--- a/value.txt\n+++ b/value.txt\n@@ -1 +1 @@\n-{value}\n+{}\n", value + 1);
            return Reply::json(&suggestion([("one", &*patch)]));
        }
        let left = 1.0 - f64::from(value) / f64::from(ITERATIONS);
        Reply::json(&if left > 0.0 {
            evaluation(Verdict::InProgress, left, vec![issue("value", "it is too low", "value.txt")])
        } else {
            evaluation(Verdict::GoalMet, 0.0, Vec::new())
        })
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::new(&folder.path().canonicalize().unwrap(), &server.codex_config());
    let start = ["start", "all cases pass", "--yes", "--json", "--test-cmd", "sh check.sh", "--propose", "diff"];
    let status: Value = serde_json::from_str(&ground.run(&start)).unwrap();
    let iterations = status["iterations"].as_array().unwrap().len();
    println!("behind the work tree: a loop of {iterations} iterations, {}", status["stopReason"]);
    println!("| hook, {ROUNDS} times | best ms | median ms | most ms | over {} ms |", MOST.as_millis());
    println!("| --- | --- | --- | --- | --- |");
    ground.time("session-start", "session-start", "");
    ground.time("turn-start", "turn-start", "");
    ground.time("stop", "stop", "");
    ground.time("file-changed", "file-changed", "");
    ground.time("/cloop:start", "prompt", "all cases pass --max-iter 5");
    ground.time("/cloop:status", "prompt", "");
    ground.time("/cloop:result", "prompt", "");
    ground.run(&["review", "gate", "on"]);
    ground.time("turn-start with the review gate on", "turn-start", "");
    ground.time("stop with the review gate on, nothing changed", "stop", "");
}
