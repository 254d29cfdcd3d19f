//! The worker is killed with SIGKILL at every event and at any instant; what comes after has the same end.
//!
//! A short form runs always. `CLOOP_KILL_LOOPS=20` (or any number) plays that many loops instead, with at least ten
//! kills in each.
#![allow(clippy::print_stdout, reason = "the counts are what the full run is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::lab::{CALLS, IN_PLACE, Lab, SOON, WORKTREE};
use crate::common::{Run, Running};

/// Figures that look random and are the same every time.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// When a worker is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// As soon as the journal has so many lines more than before the worker began.
    Lines(usize),
    /// So long after that.
    LinesAnd(usize, Duration),
    /// At the first event of this type, and so long after that.
    Event(&'static str, Duration),
}

/// What happened in all loops.
#[derive(Debug, Default)]
struct Counts {
    loops: usize,
    kills: usize,
    /// Kills by the last event in the journal.
    at: BTreeMap<String, usize>,
    requests: usize,
    in_flight: usize,
}

fn kind(record: &Value) -> &str {
    record["event"]["type"].as_str().unwrap()
}

/// Watches a worker and kills it. Returns how it ended, where it was quicker.
fn kill(lab: &Lab, mut worker: Running, when: When, before: usize) -> Option<Run> {
    let deadline = Instant::now() + SOON;
    let due = |lab: &Lab| {
        let journal = lab.journal();
        match when {
            When::Lines(more) | When::LinesAnd(more, _) => journal.len() >= before + more,
            When::Event(name, _) => journal.iter().skip(before).any(|record| kind(record) == name),
        }
    };
    while !due(lab) {
        if !worker.is_running() {
            return Some(worker.finish(SOON));
        }
        assert!(Instant::now() < deadline, "{when:?} never came: {}\n{}", lab.told(), worker.stderr());
        std::thread::sleep(Duration::from_millis(1));
    }
    if let When::LinesAnd(_, pause) | When::Event(_, pause) = when {
        // The instant itself is the point here: nothing is waited for.
        std::thread::sleep(pause);
    }
    if !worker.is_running() {
        return Some(worker.finish(SOON));
    }
    worker.signal(Signal::KILL);
    let run = worker.finish(SOON);
    (run.signal != Some(9)).then_some(run)
}

/// Plays one loop with these kills, one for each worker, and compares its end with that of a loop left alone.
fn play(place: &str, kills: impl IntoIterator<Item = When>, counts: &mut Counts) {
    let lab = Lab::new();
    let states = lab.states();
    let mut in_flight = 0;
    let mut before = 0;
    let mut worker = Some(lab.start(place, &[]));
    let mut last = None;
    for when in kills {
        let Some(running) = worker.take() else { break };
        if let Some(run) = kill(&lab, running, when, before) {
            last = Some(run);
            break;
        }
        let journal = lab.journal();
        let at = journal.last().map_or("nothing", kind).to_owned();
        let paying = at == "call-started";
        in_flight += usize::from(paying);
        counts.kills += 1;
        *counts.at.entry(at.clone()).or_default() += 1;

        let context = || format!("{place}, {when:?}: killed after {}", lab.told());
        let report = lab.status();
        let finished = report["status"] == "finished";
        if finished {
            assert!(journal.iter().any(|record| kind(record) == "stopped"), "{}", context());
        } else {
            assert_eq!(report["status"], "interrupted", "{}", context());
            assert!(report["step"].is_string() && report["resumable"] == true, "{}", context());
            assert_eq!(report["next"][0], "loop-companion resume", "{}", context());
            assert_eq!(report["worker"]["alive"], false, "{}", context());
        }
        let found = lab.repo.fingerprint();
        let standing = states.iter().position(|state| *state == found);
        assert!(standing.is_some(), "{}: a mixture: {found:#?}\n{report:#}", context());
        if place == WORKTREE && !finished {
            assert_eq!(standing, Some(0), "{}", context());
        }
        lab.assert_no_worktree();
        lab.environment.assert_no_processes();
        before = lab.journal().len();
        if finished {
            break;
        }
        worker = Some(lab.spawn(["resume"]));
    }
    if let Some(running) = worker {
        last = Some(running.finish(SOON * 2));
    }
    if let Some(run) = last {
        run.expect_code(0);
    }
    let report = lab.status();
    assert_eq!((&report["status"], &report["stopReason"]), (&"finished".into(), &"goal-met".into()), "{}", lab.told());
    assert_eq!(report["proof"]["level"], "measured");
    assert_eq!(report["landing"]["landed"], true);
    assert_eq!(lab.repo.fingerprint(), states[2], "{}", lab.told());
    assert!(lab.repo.git(["diff", "--cached", "--name-only"]).is_empty());
    assert_eq!(lab.repo.git(["branch", "--format", "%(refname)"]), "refs/heads/main");
    let requests = lab.server.requests().len();
    assert!((CALLS..=CALLS + in_flight).contains(&requests), "{requests} requests, {in_flight} in flight at a kill");
    lab.assert_clean();
    counts.loops += 1;
    counts.requests += requests;
    counts.in_flight += in_flight;
}

/// Number of loops asked for, where a full run is.
fn asked_for() -> Option<usize> {
    std::env::var("CLOOP_KILL_LOOPS").ok().map(|text| text.parse().expect("CLOOP_KILL_LOOPS is a number"))
}

fn told(counts: &Counts, began: Instant) {
    println!(
        "{} loops, {} kills in {:.0?}; {} requests, {} undisturbed, {} in flight at a kill; kills by last event: {:?}",
        counts.loops,
        counts.kills,
        began.elapsed(),
        counts.requests,
        counts.loops * CALLS,
        counts.in_flight,
        counts.at
    );
}

fn alone(place: &str) {
    let mut counts = Counts::default();
    play(place, [], &mut counts);
    assert_eq!((counts.loops, counts.kills, counts.requests), (1, 0, CALLS));
}

#[test]
fn a_loop_left_alone_makes_the_calls_that_the_others_are_measured_by() {
    alone(WORKTREE);
    alone(IN_PLACE);
}

/// Kills for one worker after the other: at each event in turn, some of them a while later.
fn plan(index: usize, kills: usize) -> Vec<When> {
    let mut draw = Draw(index as u64);
    (0..kills)
        .map(|_| {
            // A worker's own mark is its first line. One more line at the least, or nothing would ever go on.
            let lines = 3 + draw.next(6) as usize;
            if draw.next(2) == 0 {
                When::Lines(lines)
            } else {
                When::LinesAnd(lines, Duration::from_millis(draw.next(400)))
            }
        })
        .collect()
}

#[test]
fn killed_anywhere_the_loop_reaches_the_same_end() {
    let began = Instant::now();
    let mut counts = Counts::default();
    let (loops, kills) = asked_for().map_or((2, 6), |loops| (loops, 12));
    for index in 0..loops {
        let place = if index % 2 == 0 { IN_PLACE } else { WORKTREE };
        play(place, plan(index, kills), &mut counts);
    }
    told(&counts, began);
    if let Some(loops) = asked_for() {
        assert!(counts.kills >= loops * 5, "{counts:?}");
    } else {
        assert!(counts.kills >= 8, "{counts:?}");
    }
}

#[test]
fn killed_at_each_event_in_turn_the_loop_reaches_the_same_end() {
    const EVERY: [&str; 18] = [
        "started",
        "worker-started",
        "baseline-taken",
        "iteration-started",
        "call-started",
        "call-finished",
        "evaluated",
        "suggested",
        "proposal-prepared",
        "trial-started",
        "proposal-tried",
        "accepted",
        "iteration-finished",
        "proof-started",
        "proof-finished",
        "stopped",
        "landing-started",
        "landing-finished",
    ];
    let began = Instant::now();
    let mut counts = Counts::default();
    let places: &[&str] = if asked_for().is_some() { &[WORKTREE, IN_PLACE] } else { &[IN_PLACE] };
    for place in places {
        // Several in one loop, each later in it than the one before.
        for few in [&EVERY[..], &["proposal-ranked"]] {
            let mut rest: BTreeSet<&str> = few.iter().copied().collect();
            for chunk in few.chunks(if asked_for().is_some() { 4 } else { 6 }) {
                play(place, chunk.iter().map(|name| When::Event(name, Duration::ZERO)), &mut counts);
                rest.retain(|name| !chunk.contains(name));
            }
            assert!(rest.is_empty());
        }
    }
    told(&counts, began);
}

#[test]
fn killed_while_the_result_is_written_it_is_finished_or_undone() {
    let began = Instant::now();
    let mut counts = Counts::default();
    let pauses: &[u64] = if asked_for().is_some() { &[0, 1, 3, 6, 10, 15, 20, 30] } else { &[4] };
    for pause in pauses {
        let pause = Duration::from_millis(*pause);
        play(WORKTREE, [When::Event("landing-started", pause)], &mut counts);
        play(IN_PLACE, [When::Event("accepted", pause), When::Event("trial-started", pause)], &mut counts);
    }
    told(&counts, began);
}

/// Every byte where a full run is asked for; else both ends of each line and some between.
#[test]
fn after_a_power_cut_at_any_byte_the_journal_tells_a_state_that_goes_on() {
    use loop_companion::engine::{State, decide};
    use loop_companion::store::read_journal;

    let lab = Lab::new();
    let killed = kill(&lab, lab.start(IN_PLACE, &[]), When::Event("trial-started", Duration::ZERO), 0);
    assert!(killed.is_none());
    lab.run(["resume"]).expect_code(0);
    let bytes = std::fs::read(lab.journal_path().unwrap()).unwrap();
    let path = lab.environment.root().join("cut.jsonl");
    std::fs::write(&path, &bytes).unwrap();
    let all = read_journal(&path).unwrap().records;
    let whole = State::replay(&all).unwrap();
    assert!(whole.finished);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    assert_eq!(ends.len(), all.len());
    let step = if asked_for().is_some() { 1 } else { 1009 };
    let mut cuts = 0;
    // From the end, so that each cut is one more of the same file.
    for kept in (0..all.len()).rev() {
        let (from, to) = (if kept == 0 { 0 } else { ends[kept - 1] }, ends[kept]);
        let near = |at: usize| at < from + 4 || at + 4 > to || (at - from).is_multiple_of(step);
        for at in (from..to).rev().filter(|at| near(*at)) {
            file.set_len(at as u64).unwrap();
            let journal = read_journal(&path).unwrap();
            assert_eq!((journal.records.len(), journal.whole as usize, journal.torn), (kept, from, at != from));
            cuts += 1;
        }
        let state = State::replay(&all[..kept]);
        assert_eq!(state.is_some(), kept > 0);
        let Some(mut state) = state else { continue };
        // What comes next is what did come next, in the loop that was not cut; a second look says the same.
        assert_eq!(decide(&state, state.updated_at), decide(&state, state.updated_at));
        assert_eq!(decide(&state, state.updated_at).is_none(), state.finished);
        for record in &all[kept..] {
            state.apply(record);
        }
        assert_eq!(state, whole);
    }
    println!("{} events, {} bytes, {cuts} cuts", all.len(), bytes.len());
}
