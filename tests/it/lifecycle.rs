//! The life of a loop: detached, stopped, waited for, resumed; beside other loops, and beside its user.

use std::fs;
use std::path::Path;
use std::time::Duration;

use loop_companion::scripted::Gate;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::lab::{CALLS, IN_PLACE, Lab, SOON, Script, WORKTREE};
use crate::common::scene::{GOAL, Scene};
use crate::common::{Repo, Running, processes_of};

/// A lab whose model holds its answer to this number of a request back.
fn held_at(number: usize) -> (Lab, Gate) {
    let gate = Gate::new();
    let lab = Lab::scripted(Script { held: Some((number, gate.clone())), ..Script::default() });
    (lab, gate)
}

#[track_caller]
fn assert_stopped(lab: &Lab, reason: &str) -> Value {
    let report = lab.status();
    assert_eq!((&report["status"], &report["stopReason"]), (&"finished".into(), &reason.into()), "{report:#}");
    report
}

#[track_caller]
fn assert_met(lab: &Lab) {
    assert_stopped(lab, "goal-met");
    assert_eq!(lab.repo.fingerprint(), lab.states()[2], "{}", lab.told());
    lab.assert_clean();
}

fn signal(pid: &Value, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()).unwrap(), signal).unwrap();
}

/// The commits that the run keeps, by the last parts of their refs.
fn refs(lab: &Lab) -> Vec<String> {
    let text = lab.repo.git(["for-each-ref", "--format=%(refname)", "refs/cloop"]);
    let mut names: Vec<String> = text.lines().map(|name| name.splitn(4, '/').nth(3).unwrap().to_owned()).collect();
    names.sort();
    names
}

fn run_id(lab: &Lab) -> String {
    lab.status()["runId"].as_str().unwrap().to_owned()
}

#[test]
fn a_worker_in_the_background_outlives_its_parent_and_its_terminal() {
    let (lab, gate) = held_at(1);
    let launched = lab.background(WORKTREE, &[]);
    let pid = launched["pid"].as_i64().unwrap();
    lab.server.wait_for_requests(1, SOON).unwrap();
    let report = lab.status();
    assert_eq!((&report["status"], &report["worker"]["pid"]), (&"running".into(), &pid.into()));
    assert!(Path::new(launched["log"].as_str().unwrap()).is_file());
    let named: Value = serde_json::from_str(&lab.repo.read(".loop/loop.pid")).unwrap();
    assert!(named["pid"] == pid && named["startTime"].is_u64(), "{named}");
    // Its own session: no terminal's end reaches it; and a hang-up sent by hand is no order to stop.
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        assert_eq!(session, pid.to_string());
    }
    signal(&launched["pid"], Signal::HUP);

    let second = lab.start(WORKTREE, &[]).finish(SOON).expect_code(4);
    assert!(second.stderr.contains(&format!("pid {pid}, run {}", run_id(&lab))), "{}", second.stderr);
    assert_eq!(lab.run(["resume"]).expect_code(4).stdout, "");
    assert_eq!(lab.run(["wait", "--timeout", "200ms", "--json"]).expect_code(124).json()["status"], "running");

    let mut follower = lab.spawn(["status", "--follow", "--json"]);
    follower.wait_for("first status", SOON, |follower| follower.stdout().contains("\"running\""));
    let waiting = lab.spawn(["wait"]);
    gate.release();
    waiting.finish(SOON).expect_code(0);
    let followed = follower.finish(SOON).expect_code(0).stdout;
    assert!(followed.matches("\"schemaVersion\"").count() > 2 && followed.contains("\"goal-met\""), "{followed}");
    assert!(!lab.repo.path().join(".loop/loop.pid").exists());
    assert_eq!(lab.server.requests().len(), CALLS);
    assert_met(&lab);
}

/// Ends a foreground loop by a signal while it is at something, and goes on with it.
fn ended_by(place: &str, at_check: bool, signal: Signal, code: i32) {
    // The second request: the first round's suggestion; the first check after that is a trial.
    let (lab, gate) = held_at(2);
    let mut worker = lab.start(place, &[]);
    worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 2);
    if at_check {
        lab.hold_checks();
        gate.release();
        lab.wait_for_check();
    }
    Lab::assert_no_zombies_below(worker.pid());
    // As a terminal does: to the whole group. What runs has a group of its own.
    worker.signal_group(signal);
    worker.finish(SOON).expect_code(code);
    lab.environment.assert_no_processes();
    lab.free_checks();
    let report = assert_stopped(&lab, "user-stopped");
    assert_eq!(report["resumable"], true);
    assert_eq!(lab.repo.fingerprint(), lab.states()[0]);
    lab.assert_clean();
    gate.release();
    lab.run(["resume"]).expect_code(0);
    assert_met(&lab);
}

#[test]
fn an_interrupt_ends_a_foreground_loop_in_good_order() {
    ended_by(WORKTREE, false, Signal::INT, 130);
    ended_by(IN_PLACE, true, Signal::INT, 130);
}

#[test]
fn a_termination_ends_a_foreground_loop_in_good_order() {
    ended_by(IN_PLACE, false, Signal::TERM, 143);
    ended_by(WORKTREE, true, Signal::TERM, 143);
}

#[test]
fn a_closed_terminal_ends_a_foreground_loop_in_good_order() {
    ended_by(IN_PLACE, true, Signal::HUP, 143);
}

#[test]
fn a_signal_ends_a_loop_in_the_background_in_good_order() {
    for (number, code) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let (lab, _gate) = held_at(1);
        let launched = lab.background(WORKTREE, &[]);
        lab.server.wait_for_requests(1, SOON).unwrap();
        signal(&launched["pid"], number);
        lab.run(["wait"]).expect_code(1);
        let report = assert_stopped(&lab, "user-stopped");
        assert!(report["stopMessage"].as_str().unwrap().contains(code), "{report:#}");
        lab.assert_clean();
    }
}

#[test]
fn stop_ends_a_call_or_a_check_at_once_and_the_loop_goes_on_later() {
    for (place, at_check) in [(WORKTREE, false), (IN_PLACE, true)] {
        let (lab, gate) = held_at(2);
        let launched = lab.background(place, &[]);
        lab.server.wait_for_requests(2, SOON).unwrap();
        if at_check {
            lab.hold_checks();
            gate.release();
            lab.wait_for_check();
        }
        let stopped = lab.run(["stop", "--json"]).expect_code(0);
        assert_eq!(stopped.json()["stopped"], true);
        assert!(stopped.duration < Duration::from_secs(20), "{:?}", stopped.duration);
        lab.environment.assert_no_processes();
        lab.free_checks();
        let report = assert_stopped(&lab, "user-stopped");
        assert_eq!((&report["resumable"], &report["runId"]), (&true.into(), &launched["runId"]));
        assert_eq!(lab.repo.fingerprint(), lab.states()[0]);
        lab.assert_clean();

        let again = lab.run(["stop"]).expect_code(0);
        assert!(again.stdout.contains("has ended already"), "{}", again.stdout);
        gate.release();
        lab.run(["resume", "--background"]).expect_code(0);
        lab.run(["wait"]).expect_code(0);
        assert_met(&lab);
    }
}

#[test]
fn stopping_nothing_or_the_dead_says_so() {
    let (lab, _gate) = held_at(1);
    assert!(lab.run(["stop"]).expect_code(0).stdout.contains("No loop has run"));
    assert!(lab.run(["status"]).expect_code(0).stdout.contains("No loop has run"));
    lab.run(["wait"]).expect_code(2);
    lab.run(["resume"]).expect_code(2);
    lab.run(["iterate"]).expect_code(2);
    let mut worker = lab.start(WORKTREE, &[]);
    worker.wait_for("request", SOON, |_| !lab.server.requests().is_empty());
    worker.signal(Signal::KILL);
    worker.finish(SOON);
    let stopped = lab.run(["stop"]).expect_code(0);
    assert!(stopped.stdout.contains("died") && stopped.stdout.contains("resume"), "{}", stopped.stdout);
    lab.assert_clean();
    assert_eq!(lab.run(["wait", "--json"]).expect_code(1).json()["status"], "interrupted");
}

#[test]
fn a_loop_that_begins_after_a_killed_one_leaves_nothing_of_it_behind() {
    let (lab, gate) = held_at(1);
    let mut worker = lab.start(WORKTREE, &[]);
    worker.wait_for("request", SOON, |_| !lab.server.requests().is_empty());
    worker.signal(Signal::KILL);
    worker.finish(SOON);
    gate.release();
    // Nobody looks in between: from now on the new loop is the one that is looked after.
    lab.start(WORKTREE, &[]).finish(SOON).expect_code(0);
    lab.assert_no_worktree();
    assert_met(&lab);
}

#[test]
fn force_ends_a_worker_that_does_not_answer_with_all_its_processes() {
    let (lab, gate) = held_at(2);
    let launched = lab.background(IN_PLACE, &[]);
    lab.server.wait_for_requests(2, SOON).unwrap();
    lab.hold_checks();
    gate.release();
    lab.wait_for_check();
    signal(&launched["pid"], Signal::STOP);
    assert!(processes_of(lab.environment.root()).len() > 2);
    let stopped = lab.run(["stop", "--force"]).expect_code(0);
    assert!(stopped.stdout.contains("by force"), "{}", stopped.stdout);
    lab.free_checks();
    lab.environment.assert_no_processes();
    assert_eq!(lab.status()["status"], "interrupted");
    assert_eq!(lab.repo.fingerprint(), lab.states()[0]);
    lab.assert_clean();
    lab.run(["resume"]).expect_code(0);
    assert_met(&lab);
}

#[test]
fn of_twenty_starts_at_once_one_wins_and_the_others_name_it() {
    let (lab, _gate) = held_at(1);
    let all: Vec<Running> = (0..20).map(|_| lab.start(WORKTREE, &["--background"])).collect();
    // Twenty times the whole examination of Codex, on the cores there are.
    let runs: Vec<_> = all.into_iter().map(|one| one.finish(SOON * 5)).collect();
    let won = runs.iter().filter(|run| run.code == Some(0)).count();
    assert_eq!(won, 1, "{runs:#?}");
    let id = run_id(&lab);
    for run in runs.iter().filter(|run| run.code != Some(0)) {
        assert!(run.code == Some(4) && run.stderr.contains(&id), "{run:#?}");
    }
    assert_eq!(lab.run(["history", "--json"]).expect_code(0).json()["runs"].as_array().unwrap().len(), 1);
    lab.run(["stop"]).expect_code(0);
    lab.assert_clean();
}

/// `CLOOP_PARALLEL_LOOPS=20` plays that many; four always.
#[test]
fn loops_in_several_repositories_at_once_all_end_right() {
    let count = std::env::var("CLOOP_PARALLEL_LOOPS").map_or(4, |text| text.parse().unwrap());
    let lab = Lab::new();
    let [_, _, both] = lab.states();
    let repos: Vec<Repo> = (0..count).map(|index| Lab::seed(&lab.environment, &format!("r{index}"))).collect();
    let arguments = Lab::start_arguments(WORKTREE, &[]);
    let all: Vec<Running> = repos.iter().map(|repo| lab.environment.spawn_cloop(repo.path(), &arguments, "")).collect();
    for (running, repo) in all.into_iter().zip(&repos) {
        running.finish(SOON * 6).expect_code(0);
        assert_eq!(repo.fingerprint(), both);
    }
    assert_eq!(lab.server.requests().len(), CALLS * repos.len());
    lab.assert_clean();
}

#[test]
fn an_edit_under_a_loop_in_place_stops_it_and_can_be_adopted_or_discarded() {
    for answer in ["--adopt", "--discard"] {
        // The first round is over and accepted; the second's evaluation is under way.
        let (lab, gate) = held_at(3);
        let mut worker = lab.start(IN_PLACE, &[]);
        worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 3);
        lab.repo.write("users.txt", "the user's, edited\n").write("new.txt", "new\n");
        gate.release();
        worker.finish(SOON).expect_code(1);
        let report = assert_stopped(&lab, "tree-changed");
        assert_eq!(report["resumable"], true);
        assert!(report["stopMessage"].as_str().unwrap().contains("users.txt"), "{report:#}");
        let found = lab.repo.fingerprint();
        assert_eq!(
            (lab.repo.read("users.txt"), lab.repo.read("a.txt")),
            ("the user's, edited\n".into(), "right a\n".into())
        );
        lab.run(["resume"]).expect_code(2);
        assert_eq!(lab.repo.fingerprint(), found);

        lab.run(["resume", answer]).expect_code(0);
        assert_stopped(&lab, "goal-met");
        let mut expected = lab.states()[2].clone();
        let id = run_id(&lab);
        let kept = |path: &str| lab.repo.git(["show", &format!("refs/cloop/{id}/kept/found:{path}")]);
        assert_eq!((kept("users.txt"), kept("new.txt")), ("the user's, edited".into(), "new".into()));
        if answer == "--adopt" {
            for path in ["users.txt", "new.txt"] {
                expected.insert(path.into(), found[path].clone());
            }
        }
        assert_eq!(lab.repo.fingerprint(), expected, "{answer}");
        lab.assert_clean();
    }
}

#[test]
fn an_edit_while_a_candidate_stands_in_place_leaves_the_edit_alone_and_takes_the_candidate_out() {
    for killed in [false, true] {
        let (lab, gate) = held_at(2);
        let mut worker = lab.start(IN_PLACE, &[]);
        worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 2);
        lab.hold_checks();
        gate.release();
        lab.wait_for_check();
        assert!(lab.repo.read("a.txt").contains("right a"));
        lab.repo.write("users.txt", "the user's, edited\n");
        if killed {
            worker.signal(Signal::KILL);
            worker.finish(SOON);
            lab.environment.assert_no_processes();
            assert_eq!(lab.status()["status"], "interrupted");
        } else {
            // The check goes on where it waits: end it, and let the loop see what it left.
            lab.end_held_check();
            worker.finish(SOON).expect_code(1);
            assert_stopped(&lab, "tree-changed");
        }
        lab.free_checks();
        let mut own = lab.states()[0].clone();
        own.insert("users.txt".into(), lab.repo.fingerprint()["users.txt"].clone());
        assert_eq!(lab.repo.fingerprint(), own, "killed: {killed}");
        assert_eq!(lab.repo.read("users.txt"), "the user's, edited\n");
        if killed {
            lab.run(["resume"]).expect_code(1);
            assert_stopped(&lab, "tree-changed");
            assert_eq!(lab.repo.fingerprint(), own);
        }
        lab.run(["resume", "--adopt"]).expect_code(0);
        let mut expected = lab.states()[2].clone();
        expected.insert("users.txt".into(), own["users.txt"].clone());
        assert_eq!(lab.repo.fingerprint(), expected);
        lab.assert_clean();
    }
}

#[test]
fn an_edit_beside_a_loop_in_its_own_work_tree_is_left_alone_and_the_result_still_applies() {
    let (lab, gate) = held_at(1);
    let mut worker = lab.start(WORKTREE, &[]);
    worker.wait_for("request", SOON, |_| !lab.server.requests().is_empty());
    lab.repo.write("users.txt", "the user's, edited\n");
    let own = lab.repo.fingerprint();
    gate.release();
    worker.finish(SOON).expect_code(0);
    let report = assert_stopped(&lab, "goal-met");
    assert_eq!(report["landing"]["landed"], false);
    assert!(report["landing"]["reason"].as_str().unwrap().contains("users.txt"), "{report:#}");
    assert_eq!(lab.repo.fingerprint(), own);
    let patch = lab.run(["result", "--patch"]).expect_code(0).stdout;
    lab.repo.apply(&patch);
    let mut expected = lab.states()[2].clone();
    expected.insert("users.txt".into(), own["users.txt"].clone());
    assert_eq!(lab.repo.fingerprint(), expected);
    lab.assert_clean();
}

#[test]
fn edits_made_while_the_baseline_is_taken_stay() {
    let lab = Lab::new();
    lab.hold_checks();
    let mut worker = lab.spawn(Lab::start_arguments("auto", &[]));
    worker.wait_for("check", SOON, |_| lab.environment.root().join("hold.reached").exists());
    lab.repo.write("users.txt", "the user's, edited\n");
    let own = lab.repo.fingerprint();
    lab.free_checks();
    lab.end_held_check();
    worker.finish(SOON).expect_code(0);
    assert_stopped(&lab, "goal-met");
    assert_eq!(lab.repo.fingerprint(), own);
    lab.assert_clean();
}

/// What a user may do to a repository while a loop works elsewhere, and still have the same files in the end.
#[test]
fn cleaning_collecting_switching_and_rebasing_lose_nothing() {
    for place in [WORKTREE, IN_PLACE] {
        // The judge is at two candidates, whose trees nothing of the user's names.
        let (lab, gate) = held_at(CALLS);
        let mut worker = lab.start(place, &[]);
        worker.wait_for("request", SOON, |_| lab.server.requests().len() >= CALLS);
        let told = lab.repo.read(".loop/progress.log").lines().next().unwrap().to_owned();
        if place == WORKTREE {
            lab.repo.git(["clean", "-fdxq"]);
        }
        let _ = fs::remove_dir_all(lab.repo.path().join(".loop"));
        lab.repo.git(["switch", "--quiet", "-c", "elsewhere"]);
        lab.repo.git(["commit", "--quiet", "--allow-empty", "--amend", "-m", "Rewritten"]);
        lab.repo.git(["branch", "--quiet", "-D", "main"]);
        lab.repo.git(["reflog", "expire", "--expire=all", "--all"]);
        lab.repo.git(["gc", "--quiet", "--prune=now"]);
        lab.start(place, &[]).finish(SOON).expect_code(4);
        assert_eq!(lab.status()["status"], "running");
        gate.release();
        worker.finish(SOON).expect_code(0);
        assert_met(&lab);
        assert_eq!(lab.repo.git(["log", "--format=%s", "-1"]), "Rewritten");
        let log = lab.repo.read(".loop/progress.log");
        assert_eq!(log.lines().next().unwrap(), told, "{log}");
        let id = run_id(&lab);
        assert_eq!(refs(&lab), ["1", "2", "seed"]);

        // Gone again, after the end: a look brings it back.
        fs::remove_dir_all(lab.repo.path().join(".loop")).unwrap();
        lab.status();
        let state: Value = serde_json::from_str(&lab.repo.read(".loop/loop-state.json")).unwrap();
        assert_eq!((&state["runId"], &state["stopReason"]), (&id.into(), &"goal-met".into()));
        assert_eq!(lab.repo.read(".loop/progress.log"), log);
    }
}

#[test]
fn a_model_set_while_a_loop_runs_is_used_from_the_next_call_on() {
    let (lab, gate) = held_at(1);
    let mut worker = lab.start(WORKTREE, &[]);
    worker.wait_for("request", SOON, |_| !lab.server.requests().is_empty());
    let told = lab.run(["model", "gpt-5.4-mini", "low", "--json"]).expect_code(0).json();
    assert_eq!((&told["running"], &told["model"]), (&true.into(), &"gpt-5.4-mini".into()));
    gate.release();
    worker.finish(SOON).expect_code(0);
    let requests = lab.server.requests();
    assert_ne!(requests[0].model, "gpt-5.4-mini");
    for request in &requests[1..] {
        assert_eq!((request.model.as_str(), request.effort.as_deref()), ("gpt-5.4-mini", Some("low")));
    }
    assert_met(&lab);
}

/// Plays a loop into a limit and goes on with raised budgets.
fn raised(limit: &[&str], reason: &str, more: &[&str]) {
    let lab = Lab::new();
    lab.start(WORKTREE, limit).finish(SOON).expect_code(1);
    let report = assert_stopped(&lab, reason);
    assert_eq!(report["resumable"], true);
    assert_eq!(lab.repo.fingerprint(), lab.states()[0]);
    lab.assert_clean();
    lab.run(more.iter().copied()).expect_code(0);
    assert_eq!(lab.server.requests().len(), CALLS);
    assert_met(&lab);
}

#[test]
fn every_budget_can_be_raised_and_the_loop_goes_on_where_it_was() {
    raised(&["--max-iter", "1"], "budget-iterations", &["resume", "--max-iter", "5"]);
    raised(&["--max-calls", "3"], "budget-calls", &["resume", "--max-calls", "20"]);
    raised(&["--max-tokens", "1"], "budget-tokens", &["resume", "--max-tokens", "100000000"]);
    raised(&["--max-iter", "1"], "budget-iterations", &["iterate", "-n", "1"]);
}

#[test]
fn a_loop_that_got_nowhere_goes_on_when_resumed() {
    for (script, reason) in [
        (Script { useless: true, ..Script::default() }, "converged"),
        (Script { blocked: true, useless: true, ..Script::default() }, "blocked"),
    ] {
        let lab = Lab::scripted(script);
        lab.start(WORKTREE, &[]).finish(SOON).expect_code(1);
        let rounds = assert_stopped(&lab, reason)["iterations"].as_array().unwrap().len();
        let requests = lab.server.requests().len();
        lab.run(["resume"]).expect_code(1);
        let report = assert_stopped(&lab, reason);
        assert!(lab.server.requests().len() > requests, "{reason}: nothing was asked");
        if reason == "converged" {
            assert!(report["iterations"].as_array().unwrap().len() > rounds + 1, "{report:#}");
        }
    }
}

#[test]
fn a_journal_that_cannot_be_read_is_shown_as_such_and_never_written() {
    let lab = Lab::new();
    lab.start(WORKTREE, &["--max-calls", "1"]).finish(SOON).expect_code(1);
    let path = lab.journal_path().unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let newer = good.replacen("\"format\":1", "\"format\":2", 1);
    let old = good.replacen("\"format\":1,", "", 1);
    let broken = good.replacen("\"seq\":2", "\"seq\":", 1);
    let foreign = format!(
        "{good}{{\"seq\":{},\"at\":\"2026-01-01T00:00:00Z\",\"event\":{{\"type\":\"new\"}}}}\n",
        good.lines().count() + 1
    );
    for (text, code) in
        [(newer, "state-newer"), (old, "state-unreadable"), (broken, "state-unreadable"), (foreign, "state-unreadable")]
    {
        fs::write(&path, &text).unwrap();
        for arguments in
            [&["status", "--json"][..], &["resume", "--json"], &["result", "--json"], &["iterate", "--json"]]
        {
            let run = lab.run(arguments.iter().copied()).expect_code(5);
            assert_eq!(run.json()["error"]["code"], code, "{arguments:?}");
        }
        let rows = lab.run(["history", "--json"]).expect_code(0).json();
        assert!(rows["runs"][0]["error"].is_string(), "{rows:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, &good[..good.len() - 5]).unwrap();
    assert_eq!(lab.status()["status"], "finished");
    assert_stopped(&lab, "budget-calls");
    lab.run(["resume", "--max-calls", "50"]).expect_code(0);
    assert_met(&lab);
}

#[test]
fn prune_removes_old_loops_with_their_refs_and_keeps_the_live_one() {
    let (lab, _gate) = held_at(3);
    for _ in 0..2 {
        lab.start(WORKTREE, &["--max-calls", "1"]).finish(SOON).expect_code(1);
    }
    lab.background(WORKTREE, &[]);
    lab.server.wait_for_requests(3, SOON).unwrap();
    let live = run_id(&lab);
    let rows = lab.run(["history", "--json"]).expect_code(0).json();
    assert_eq!((rows["runs"].as_array().unwrap().len(), &rows["runs"][0]["runId"]), (3, &live.clone().into()));
    let first = rows["runs"][2]["runId"].as_str().unwrap().to_owned();
    let pruned = lab.run(["prune", "--keep", "2", "--json"]).expect_code(0).json();
    assert_eq!((&pruned["removed"][0], &pruned["kept"]), (&first.clone().into(), &2.into()));
    assert!(!lab.repo.git(["for-each-ref", "refs/cloop"]).contains(&first));
    let pruned = lab.run(["prune", "--keep", "0", "--json"]).expect_code(0).json();
    assert_eq!(pruned["kept"], 1);
    assert_eq!(lab.status()["status"], "running");
    lab.run(["stop"]).expect_code(0);
    // As of a worker that died between its ref and its first event; and a run whose journal somebody moved away.
    let runs = lab.repo.path().join(".git/cloop/runs");
    let (died, moved) = (runs.join("20200101-000000-dead"), runs.join("20200102-000000-beef"));
    fs::create_dir_all(&died).and_then(|()| fs::create_dir_all(moved.join("iterations/0001"))).unwrap();
    fs::write(died.join("events.jsonl"), "{\"se").unwrap();
    lab.repo.git(["update-ref", "refs/cloop/20200101-000000-dead/seed", "HEAD"]);
    lab.run(["prune", "--keep", "0"]).expect_code(0);
    assert!(lab.repo.git(["for-each-ref", "refs/cloop"]).is_empty());
    assert!(!died.exists() && moved.exists());
    assert_eq!(lab.status()["status"], "none");
    lab.assert_clean();
}

/// A small file system, or, where it may not be made, none.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_loop_with_nothing_lost_and_it_goes_on_when_there_is_space() {
    for place in [WORKTREE, IN_PLACE] {
        let (mut lab, gate) = held_at(3);
        let Some(_disk) = Tmpfs::mount(&lab.environment.root().join("disk")) else {
            // Who may not mount has the other test.
            return;
        };
        lab.repo = Lab::seed(&lab.environment, "disk/repo");
        let mut worker = lab.start(place, &[]);
        worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 3);
        let ballast = lab.environment.root().join("disk/ballast");
        let written = fs::write(&ballast, vec![1u8; 16 << 20]);
        assert!(written.is_err());
        let before = lab.repo.fingerprint();
        gate.release();
        let run = worker.finish(SOON).expect_code(1);
        assert!(format!("{}{}", run.stdout, run.stderr).contains("disk is full"), "{run:#?}");
        let report = lab.status();
        assert!(report["stopReason"] == "disk-full" || report["status"] == "interrupted", "{report:#}");
        let found = lab.repo.fingerprint();
        let states = lab.states();
        assert!(states.contains(&found), "{before:#?}\n{found:#?}");
        fs::remove_file(ballast).unwrap();
        lab.run(["resume"]).expect_code(0);
        assert_met(&lab);
        assert!(lab.server.requests().len() <= CALLS + 1);
    }
}

#[test]
fn a_full_disk_of_temporary_files_is_named_and_the_loop_goes_on_when_there_is_space() {
    let (mut lab, gate) = held_at(2);
    let small = lab.environment.root().join("small");
    let Some(_disk) = Tmpfs::mount(&small) else { return };
    lab.environment.set("TMPDIR", &small);
    let mut worker = lab.start(WORKTREE, &[]);
    worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 2);
    let ballast = small.join("ballast");
    assert!(fs::write(&ballast, vec![1u8; 16 << 20]).is_err());
    gate.release();
    worker.finish(SOON).expect_code(1);
    // What the worker took away at its end left some room.
    let rest = small.join("rest");
    assert!(fs::write(&rest, vec![1u8; 16 << 20]).is_err());
    // Nothing has to be put in order, so a look needs no room; the change is read out of git, which does.
    assert_eq!(lab.run(["status", "--json"]).expect_code(0).json()["stopReason"], "disk-full");
    let refused = lab.run(["result", "--json"]).expect_code(1).json();
    assert_eq!(refused["error"]["code"], "disk-full", "{refused:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("make space"), "{refused:#}");
    fs::remove_file(ballast).and_then(|()| fs::remove_file(rest)).unwrap();
    assert_stopped(&lab, "disk-full");
    lab.run(["resume"]).expect_code(0);
    assert_met(&lab);
}

/// The same without a file system of its own: no file may grow beyond what the journal is.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_stops_the_loop_with_nothing_lost_and_it_goes_on_later() {
    use rustix::process::{Resource, Rlimit, prlimit};

    let (lab, gate) = held_at(3);
    let mut command = lab.environment.command("bash", lab.repo.path());
    // A process that does not ignore this signal dies of what is an error to others.
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_loop-companion")]);
    command.args(Lab::start_arguments(IN_PLACE, &[]));
    let mut worker = Running::start(command, "", &lab.environment.root().join("tmp"));
    worker.wait_for("request", SOON, |_| lab.server.requests().len() >= 3);
    let size = fs::metadata(lab.journal_path().unwrap()).unwrap().len();
    let limit = Rlimit { current: Some(size + 300), maximum: None };
    prlimit(Pid::from_raw(worker.pid()), Resource::Fsize, limit).unwrap();
    gate.release();
    let run = worker.finish(SOON).expect_code(1);
    assert!(run.stderr.contains("disk is full"), "{run:#?}");
    let report = lab.status();
    assert_eq!((&report["status"], &report["resumable"]), (&"interrupted".into(), &true.into()), "{report:#}");
    assert_eq!(lab.repo.fingerprint(), lab.states()[1]);
    lab.assert_clean();
    lab.run(["resume"]).expect_code(0);
    assert_eq!(lab.server.requests().len(), CALLS);
    assert_met(&lab);
}

/// Runs a program on a terminal of its own, answers its question, and prints what the terminal was sent.
const ON_A_TERMINAL: &str = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown, asked = b'', False
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if not asked and b'[y/N] ' in shown:
        asked = True
        os.write(fd, sys.argv[1].encode() + b'\\r')
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn on_a_terminal_the_question_stays_and_the_end_stands_on_lines_of_its_own() {
    let scene = Scene::sum();
    fs::write(scene.environment.root().join("terminal.py"), ON_A_TERMINAL).unwrap();
    let on_terminal = |answer: &str| {
        let program = env!("CARGO_BIN_EXE_loop-companion");
        let command = format!("python3 ../terminal.py {answer} '{program}' start '{GOAL}' --test-cmd 'node --test'");
        scene.environment.shell(scene.repo.path(), &command).expect_code(0).stdout
    };
    let refused = on_terminal("n");
    assert!(refused.ends_with("Start this loop? [y/N] n\r\nNothing was started.\r\n"), "{refused:?}");
    let met = on_terminal("y");
    let (progress, _) = met.split_once("## Loop ").expect("the end of the loop");
    // What stands before the heading on its line has been wiped.
    let line = progress.rsplit(['\r', '\n']).next().unwrap();
    assert!(matches!(line, "" | "\u{1b}[2K" | "\u{1b}[K"), "{line:?} before the heading in {met:?}");
    scene.assert_mended();
}
