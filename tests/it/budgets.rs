//! Budgets that hold inside a step too, what things cost, and what a plan says they will.

use std::fs;
use std::time::Duration;

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Reply, ScriptedServer, Step, Usage};
use serde_json::{Value, json};

use crate::common::lab::{Lab, Script, WORKTREE, answer};
use crate::common::scene::{SUM, Scene, ended, mend, refused, sum_files};
use crate::common::{SequenceModel, TestEnvironment, evaluation, issue, suggestion};
use crate::faults::provider;

const TEST: &[&str] = &["--test-cmd", "node --test"];

/// What one call with [`USAGE`] costs: 600 at 2, 400 at 0.5, 50 at 10, for a million each.
const CALL: f64 = 0.0019;

const USAGE: Usage = Usage { input: 1000, cached: 400, output: 50, reasoning: 20 };

fn wrong() -> Reply {
    Reply::json(&evaluation(Verdict::InProgress, 0.5, vec![issue("wrong-sign", "sum subtracts", SUM)]))
        .with_usage(USAGE)
}

fn mending() -> Reply {
    Reply::json(&suggestion([("mend", mend().as_str())])).with_usage(USAGE)
}

/// A scene whose Codex tries nothing twice, and whose user has these prices.
fn scene(model: SequenceModel, prices: &str) -> Scene {
    let server = ScriptedServer::start(model.into_model()).unwrap();
    let environment = TestEnvironment::with_codex_config(&provider(&server.base_url(), ""));
    let folder = environment.root().join("config/cloop");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), prices).unwrap();
    let repo = environment.repo("repo");
    repo.files(sum_files()).commit("The state with the fault");
    Scene { server, environment, repo }
}

#[test]
fn tokens_are_counted_by_thread_and_what_nobody_named_is_estimated_and_marked() {
    // Two requests of one thread: Codex names their sum, which counts once.
    let model = SequenceModel::new()
        .queue(Step::Evaluate, Reply::exec_command("true").with_usage(USAGE))
        .queue(Step::Evaluate, wrong());
    let done = ended(scene(model.queue(Step::Suggest, mending()), "").start(TEST), 0, "goal-met");
    let expected =
        json!({"input": 3000, "cachedInput": 1200, "output": 150, "reasoning": 60, "estimated": false, "max": null});
    assert_eq!(done["budget"]["tokens"], expected);

    // A call that broke off was paid for: its prompt, and what Codex sends round it.
    let model = SequenceModel::new().queue(Step::Evaluate, Reply::incomplete("max_output_tokens", "{\"verd"));
    let scene = scene(model.queue(Step::Evaluate, wrong()).queue(Step::Suggest, mending()), "");
    let done = ended(scene.start(TEST), 0, "goal-met");
    let tokens = &done["budget"]["tokens"];
    assert_eq!(tokens["estimated"], true);
    let prompt = scene.server.requests()[0].prompt.chars().count() as u64;
    let broken_off = tokens["input"].as_u64().unwrap() - 2000;
    assert!(
        broken_off >= prompt / 4 + 9000 && broken_off < prompt / 4 + 12_000,
        "{broken_off} for {prompt} characters"
    );
    let text = scene.cloop(["status"]).expect_code(0).stdout;
    assert!(text.contains("estimated"), "{text}");
}

#[test]
fn money_is_shown_bounds_the_loop_and_can_be_raised() {
    let prices = "[prices.default]\ninput = 2.0\ncachedInput = 0.5\noutput = 10\n";
    let model = || SequenceModel::new().queue(Step::Evaluate, wrong()).queue(Step::Suggest, mending());
    let scene = scene(model(), prices);
    let plan = scene.start(&[TEST, &["--plan", "--max-cost", "0.001"]].concat()).expect_code(0).json();
    assert_eq!((&plan["plan"]["budget"]["maxCost"], &plan["forecast"]["estimated"]), (&0.001.into(), &true.into()));
    assert!(plan["forecast"]["cost"]["high"].as_f64().unwrap() > 0.0, "{plan:#}");
    assert!(plan["forecast"]["from"].as_str().unwrap().contains("no earlier loop"), "{plan:#}");

    let stopped = ended(scene.start(&[TEST, &["--max-cost", "0.001"]].concat()), 1, "budget-cost");
    assert_eq!(stopped["resumable"], true);
    let cost = |status: &Value| status["budget"]["cost"].clone();
    assert_eq!(cost(&stopped), json!({"used": CALL, "max": 0.001, "estimated": false}));
    refused(scene.cloop(["resume", "--json", "--max-cost", "0.0005"]), 2, "usage");
    let done = ended(scene.cloop(["resume", "--json", "--max-cost", "1"]), 0, "goal-met");
    assert_eq!(cost(&done), json!({"used": 2.0 * CALL, "max": 1.0, "estimated": false}));
    assert_eq!(scene.cloop(["result", "--json"]).expect_code(0).json()["cost"], cost(&done));
    for command in ["status", "result"] {
        let text = scene.cloop([command]).expect_code(0).stdout;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("cost 0.0038 of 1.00"), "{command}: {text}");
    }

    // The next plan knows what the last loop took.
    scene.repo.commit("mended");
    let plan = scene.start(&[TEST, &["--plan"]].concat()).expect_code(0).json();
    assert!(plan["forecast"]["from"].as_str().unwrap().contains("one earlier loop"), "{plan:#}");
    let calls = plan["forecast"]["calls"]["low"].as_u64().unwrap();
    assert_eq!(plan["forecast"]["tokens"]["low"], calls * 1050);
    assert!(plan["forecast"]["timeMs"]["high"].is_u64(), "{plan:#}");

    // Prices are the user's to say.
    scene.repo.write(".cloop.toml", prices);
    let (message, _) = refused(scene.start(&[TEST, &["--plan"]].concat()), 2, "usage");
    assert!(message.contains("prices"), "{message}");
}

#[test]
fn a_check_that_the_time_budget_cuts_off_says_nothing_against_its_candidate() {
    let server = ScriptedServer::start(|request| answer(&Script::default(), request)).unwrap();
    let mut environment = TestEnvironment::new(&server);
    let slow = environment.root().join("slow");
    environment.set("SLOW", &slow);
    fs::write(&slow, "").unwrap();
    let repo = Lab::seed(&environment, "repo");
    let script = repo.read("t.sh");
    repo.write("t.sh", format!("if [ -e \"$SLOW\" ] && grep -q right a.txt; then sleep 600; fi\n{script}"));
    repo.commit("A check that is slow where something is right");
    let lab = Lab { server, environment, repo };
    let run =
        lab.spawn(Lab::start_arguments(WORKTREE, &["--json", "--max-time", "12s"])).finish(Duration::from_secs(60));
    assert!(run.duration < Duration::from_secs(40), "{:?}", run.duration);
    let status = ended(run, 1, "budget-time");
    assert_eq!(status["iterations"][0]["rejected"].as_array().unwrap().len(), 0, "{status:#}");
    lab.assert_clean();
    let over = status["budget"]["timeMs"]["used"].as_u64().unwrap();
    assert!(over < 18_000, "{over}");
    fs::remove_file(&slow).unwrap();
    ended(lab.run(["resume", "--json", "--max-time", "10m"]), 0, "goal-met");
    assert_eq!(lab.repo.read("a.txt"), "right a\n");
}
