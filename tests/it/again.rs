//! Proposals that come a second time.

use loop_companion::answers::Verdict;
use loop_companion::scripted::ScriptedServer;
use serde_json::{Value, json};

use crate::common::{SequenceModel, TestEnvironment, evaluation, own_cases};

/// Runs a loop on the case in which each of two files holds half of the fault; every round brings the same patches.
fn play(patches: &[&str], flags: &[&str], code: i32) -> Value {
    let case = own_cases().into_iter().find(|case| case.id == "js-seating").unwrap();
    let model = SequenceModel::new()
        .evaluate(&evaluation(Verdict::InProgress, 0.5, Vec::new()))
        .patches(patches.iter().map(|id| (*id, case.patch(id).diff.as_str())));
    let server = ScriptedServer::start(model.into_model()).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = case.unpack(&environment);
    let mut arguments = vec!["start", "--json", "--yes", "--goal", &case.goal, "--test-cmd", &case.test_cmd];
    arguments.extend(flags);
    let state = environment.cloop(repo.path(), arguments).expect_code(code).json();
    environment.assert_no_processes();
    state
}

fn codes(state: &Value, iteration: usize) -> Vec<Value> {
    let rejected = state["iterations"][iteration]["rejected"].as_array().unwrap();
    rejected.iter().map(|rejected| rejected["code"].clone()).collect()
}

#[test]
fn what_only_lost_to_a_better_one_may_come_again_and_bring_the_other_half() {
    for trial in ["before-rank", "after-rank"] {
        let state = play(&["part1", "part2"], &["--trial", trial, "--max-iter", "3"], 0);
        assert_eq!(state["stopReason"], "goal-met", "{trial}");
        assert_eq!(codes(&state, 0), ["not-selected"], "{trial}");
        assert_eq!(state["iterations"].as_array().unwrap().len(), 2, "{trial}");
    }
}

#[test]
fn what_was_refused_or_lost_its_trial_on_the_same_tree_is_a_duplicate() {
    let state = play(&["wrong_breaks", "cheat_skip"], &["--max-iter", "2"], 1);
    assert_eq!(codes(&state, 0), [json!("breaks-check"), json!("skips-test")]);
    let again = codes(&state, 1);
    assert_eq!(again[0], "duplicate");
    assert!(again[1] == "duplicate" || again[1] == "skips-test", "{again:?}");
}
