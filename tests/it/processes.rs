//! Checks that want to get away: each is contained within its limits, and nothing of it is left.

use std::fs;
use std::time::{Duration, Instant};

use loop_companion::process::MAX_PROCESSES;

use crate::common::TestEnvironment;
use crate::common::scene::{Scene, mender, sum_files};

/// Far longer than what any of these loops needs, far shorter than what its check would like.
const SOON: Duration = Duration::from_secs(90);

/// Runs a loop whose test command is this script.
fn checked_by(script: &str, more: &[&str]) -> (Scene, serde_json::Value, Duration) {
    let scene = Scene::new(mender(), sum_files().into_iter().chain([("check.sh", script)]));
    let began = Instant::now();
    let arguments = [&["--test-cmd", "sh check.sh", "--where", "in-place"], more].concat();
    let run = scene.spawn_start(&arguments).finish(SOON);
    let status = run.json();
    assert_eq!(run.code == Some(0), status["stopReason"] == "goal-met", "{}", run.stderr);
    scene.environment.assert_no_processes();
    (scene, status, began.elapsed())
}

fn biggest_file(environment: &TestEnvironment) -> u64 {
    fn walk(dir: &std::path::Path) -> u64 {
        let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let sizes = entries.map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path()),
            _ => entry.metadata().map_or(0, |meta| meta.len()),
        });
        sizes.max().unwrap_or(0)
    }
    walk(environment.root())
}

const TELLS: &str = "node --test\n";

#[test]
fn a_check_that_leaves_a_daemon_and_closes_its_pipes_is_judged_by_itself_and_swept() {
    // The daemon has forked twice, has a session of its own, and holds nothing open.
    let script =
        format!("(setsid sh -c 'trap \"\" TERM INT HUP; sleep 600 & sleep 600' </dev/null >/dev/null 2>&1 &)\n{TELLS}");
    let (scene, status, _) = checked_by(&script, &[]);
    assert_eq!(status["stopReason"], "goal-met", "{status:#}");
    scene.assert_mended();
    let quiet = format!("{TELLS}code=$?\nexec >&- 2>&- <&-\nexit $code\n");
    let (_, status, _) = checked_by(&quiet, &[]);
    assert_eq!(status["stopReason"], "goal-met", "{status:#}");
}

#[test]
fn a_check_that_ignores_every_polite_signal_ends_at_its_limit() {
    let script = "trap '' TERM INT HUP\nwhile :; do sleep 600; done\n";
    let (scene, status, took) = checked_by(script, &["--check-timeout", "1s"]);
    assert_eq!(status["stopReason"], "checks-unusable", "{status:#}");
    assert!(status["stopMessage"].as_str().unwrap().contains("time limit"), "{status:#}");
    assert!(took < Duration::from_secs(40), "{took:?}");
    scene.assert_untouched();
}

#[test]
fn a_check_that_floods_its_output_is_ended_with_its_log_and_the_disk_within_bounds() {
    // Ten gigabytes, if nobody minds; deaf to SIGTERM, so that every grace would cost gigabytes more.
    let script = "trap '' TERM\nhead -c 10000000000 /dev/zero\nsleep 600\n";
    let (scene, status, took) = checked_by(script, &[]);
    assert_eq!(status["stopReason"], "checks-unusable", "{status:#}");
    assert!(status["stopMessage"].as_str().unwrap().contains("output"), "{status:#}");
    assert!(biggest_file(&scene.environment) <= 256 << 20);
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(scene.server.requests().len(), 0);
}

#[test]
fn a_check_that_forks_without_end_is_ended_while_the_machine_still_answers() {
    // An end of its own all the same: a fault in the product must not take the machine along.
    let most = MAX_PROCESSES * 2;
    let script = format!("trap '' TERM\nn=0\nwhile [ $n -lt {most} ]; do sleep 600 & n=$((n + 1)); done\nwait\n");
    let (scene, status, took) = checked_by(&script, &[]);
    assert_eq!(status["stopReason"], "checks-unusable", "{status:#}");
    assert!(status["stopMessage"].as_str().unwrap().contains("processes"), "{status:#}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    scene.assert_untouched();
}

#[test]
fn codex_and_what_its_commands_started_end_with_the_loop() {
    use loop_companion::scripted::{Gate, Reply, ScriptedServer};
    use rustix::process::Signal;
    // The model has Codex start a daemon, and then never answers again.
    let gate = Gate::new();
    let held = gate.clone();
    let server = ScriptedServer::start(move |request| {
        if request.has_function_output {
            Reply::message("late").after(&held)
        } else {
            Reply::exec_command("(setsid sleep 600 >/dev/null 2>&1 &) ; sleep 0.1; echo started")
        }
    })
    .unwrap();
    // One of the user's MCP servers, let in, which neither signals nor the end of its input can move.
    let deaf = "[mcp_servers.deaf]\ncommand = \"sh\"\nargs = [\"-c\", \"trap '' TERM INT HUP; sleep 600; sleep 600\"]\n\
                startup_timeout_sec = 1\n";
    let environment = TestEnvironment::with_codex_config(&format!("{}\n{deaf}", server.codex_config()));
    let repo = environment.repo("repo");
    repo.files(sum_files()).commit("The state with the fault");
    let scene = Scene { server, environment, repo };
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let before = scene.server.requests().len();
        let arguments: &[&str] = if before == 0 {
            &["start", "--json", "--yes", "--goal", "g", "--test-cmd", "node --test", "--codex-mcp", "deaf"]
        } else {
            &["resume", "--json"]
        };
        let running = scene.environment.spawn_cloop(scene.repo.path(), arguments, "");
        scene.server.wait_for_requests(before + 2, SOON).unwrap();
        running.signal(signal);
        let run = running.finish(SOON);
        assert_eq!(run.code, code, "{}", run.stderr);
        scene.environment.assert_no_processes();
    }
    gate.release();
    let status = scene.status();
    assert_eq!(status["status"], "interrupted");
}
