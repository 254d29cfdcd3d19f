//! How long a round of three proposals takes whose checks wait: one after the other, and three at once.
//!
//! `cargo bench --bench jobs` prints the times. It needs an installed Codex (or `LOOP_CODEX_BIN`), no account.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::path::Path;
use std::process::Command;

use loop_companion::answers::Verdict;
use loop_companion::scripted::script::{evaluation, issue, ranking, suggestion};
use loop_companion::scripted::{Reply, ScriptedServer, Step};
use serde_json::Value;

/// How long one check waits.
const SECONDS: u32 = 4;

fn patch(new: &str) -> String {
    format!("--- a/value.txt\n+++ b/value.txt\n@@ -1 +1 @@\n-broken\n+{new}\n")
}

fn git(dir: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"];
    let status = Command::new("git").args(identity).args(arguments).current_dir(dir).status().unwrap();
    assert!(status.success());
}

/// Runs one loop and returns the time from the first trial's start to the last one's end, in milliseconds, with the
/// time of the whole loop.
fn round(jobs: u32) -> (i64, u64) {
    let server = ScriptedServer::start(|request| match request.step() {
        Step::Suggest => {
            let patches = ["one", "two", "three"].map(patch);
            Reply::json(&suggestion([("one", &*patches[0]), ("two", &*patches[1]), ("three", &*patches[2])]))
        }
        Step::Rank => Reply::json(&ranking(&request.candidates(), |_| 0.5)),
        _ => Reply::json(&evaluation(Verdict::InProgress, 0.5, vec![issue("value", "it is broken", "value.txt")])),
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let repo = root.join("project");
    for name in ["project", "home", "codex", "cache"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    std::fs::write(root.join("codex/config.toml"), server.codex_config()).unwrap();
    std::fs::write(repo.join("value.txt"), "broken\n").unwrap();
    let check = format!("grep -q broken value.txt && exit 1\nsleep {SECONDS}\n");
    std::fs::write(repo.join("check.sh"), check).unwrap();
    git(&repo, &["init", "--quiet"]);
    git(&repo, &["add", "--all"]);
    git(&repo, &["commit", "--quiet", "-m", "Begin"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loop-companion"));
    command.args(["start", "mend it", "--yes", "--json", "--test-cmd", "sh check.sh", "--trial", "before-rank"]);
    command.args(["--where", "worktree", "--propose", "diff", "--jobs", &jobs.to_string()]);
    command.env("HOME", root.join("home")).env("CODEX_HOME", root.join("codex"));
    let output = command.env("XDG_CACHE_HOME", root.join("cache")).current_dir(&repo).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for trial in status["iterations"][0]["trials"].as_array().unwrap() {
        for receipt in trial["receipts"].as_array().unwrap() {
            let start: jiff::Timestamp = receipt["startedAt"].as_str().unwrap().parse().unwrap();
            starts.push(start.as_millisecond());
            ends.push(start.as_millisecond() + receipt["durationMs"].as_i64().unwrap());
        }
    }
    (ends.iter().max().unwrap() - starts.iter().min().unwrap(), status["budget"]["timeMs"]["used"].as_u64().unwrap())
}

fn main() {
    println!("three proposals, each check waits {SECONDS} s");
    for jobs in [1, 3] {
        let (trials, whole) = round(jobs);
        println!("--jobs {jobs}: trials {:>5.1} s, whole loop {:>5.1} s", trials as f64 / 1e3, whole as f64 / 1e3);
    }
}
