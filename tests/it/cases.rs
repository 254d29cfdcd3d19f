//! The cases as whole loops: the real binary, the real Codex CLI and the real test runners, patches of known effect.
//!
//! By default the project's own cases run and a sample of the collection that `CLOOP_CASES` names, chosen so that it
//! covers the cases' traits. `CLOOP_ALL=1` runs everything there is (an hour or so on two cores; under `cargo nextest`
//! two scenes at a time); `CLOOP_CASE=ID` runs one case alone. Each test prints a row per case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use loop_companion::answers::{Evaluation, Verdict};
use loop_companion::scripted::script::Candidate;
use loop_companion::scripted::{ScriptedServer, Step};
use pretty_assertions::assert_eq;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{
    Case, CasePatch, Malformed, RankBy, Repo, Run, SequenceModel, TestEnvironment, cases, evaluation, issue, own_cases,
    python_env,
};

/// Ends a loop that hangs; the longest ones compile a dozen candidates.
const LOOP_LIMIT: Duration = Duration::from_secs(900);

/// The most proposals that one round takes.
const ROUND: usize = 8;

/// Says whether everything is to be run, not a sample.
fn all() -> bool {
    std::env::var_os("CLOOP_ALL").is_some()
}

/// Returns the cases to run: everything, or the own cases and `wanted` of each language from the collection, those
/// with the rarest traits first.
fn chosen(wanted: &[(&str, usize)]) -> Vec<Case> {
    if let Ok(id) = std::env::var("CLOOP_CASE") {
        return cases().into_iter().filter(|case| case.id == id).collect();
    }
    if all() {
        return cases();
    }
    let mut picked = own_cases();
    let own: BTreeSet<String> = picked.iter().map(|case| case.id.clone()).collect();
    let mut rest: Vec<Case> = cases().into_iter().filter(|case| !own.contains(&case.id)).collect();
    let mut covered: BTreeSet<String> = picked.iter().flat_map(|case| case.traits.clone()).collect();
    for (lang, count) in wanted {
        for _ in 0..*count {
            let news = |case: &Case| case.traits.iter().filter(|name| !covered.contains(*name)).count();
            let best = (0..rest.len()).rev().filter(|&at| rest[at].lang == *lang).max_by_key(|&at| news(&rest[at]));
            let Some(best) = best else { break };
            let case = rest.remove(best);
            covered.extend(case.traits.iter().cloned());
            picked.push(case);
        }
    }
    picked
}

/// Plays `scene` on each case, prints a row for each, and fails at the end if any failed.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the table is what a run of all the cases is for")]
fn each(cases: Vec<Case>, scene: impl Fn(&Case) -> String) {
    assert!(!cases.is_empty());
    let mut failed = Vec::new();
    for case in cases {
        let began = std::time::Instant::now();
        let row = catch_unwind(AssertUnwindSafe(|| scene(&case))).unwrap_or_else(|_| {
            failed.push(case.id.clone());
            "FAILED".into()
        });
        println!("{:<14} {:>5.1} s  {row}", case.id, began.elapsed().as_secs_f64());
    }
    assert!(failed.is_empty(), "these cases failed, see above: {failed:?}");
}

/// Answers "in progress" to every evaluation.
fn in_progress(case: &Case) -> Evaluation {
    let file = case.files.keys().next().unwrap();
    evaluation(Verdict::InProgress, 0.6, vec![issue("fault", "The tests fail.", file)])
}

fn goal_met() -> Evaluation {
    evaluation(Verdict::GoalMet, 0.0, Vec::new())
}

/// A model that sees work left, and proposes these patches round after round; the last round repeats.
fn proposing(case: &Case, rounds: &[Vec<&CasePatch>]) -> SequenceModel {
    let model = SequenceModel::new().evaluate(&in_progress(case));
    rounds.iter().fold(model, |model, round| {
        let ids: Vec<String> = round.iter().map(|patch| patch.id.to_lowercase()).collect();
        model.patches(ids.iter().zip(round).map(|(id, patch)| (id.as_str(), patch.diff.as_str())))
    })
}

/// A repository with a case in it, things of the user's around, and a scripted model.
struct Ground {
    server: ScriptedServer,
    environment: TestEnvironment,
    repo: Repo,
    case: Case,
    before: UsersOwn,
}

/// What belongs to the user and must not change.
#[derive(Debug, PartialEq)]
struct UsersOwn {
    files: BTreeMap<String, String>,
    head: String,
    index: String,
    refs: String,
    stash: String,
}

impl UsersOwn {
    fn of(repo: &Repo) -> Self {
        Self {
            files: repo.fingerprint(),
            head: repo.read(".git/HEAD"),
            index: repo
                .git(["ls-files", "--stage", "--debug"])
                .lines()
                .filter(|line| !line.starts_with("  "))
                .collect(),
            refs: repo.git(["for-each-ref", "--exclude=refs/cloop/"]),
            stash: repo.git(["stash", "list"]),
        }
    }
}

impl Ground {
    fn new(case: &Case, model: SequenceModel) -> Self {
        Self::prepared(case, model, |_| {})
    }

    /// Unpacks the case, lets `prepare` change and commit more, and adds the user's own: an untracked file of an
    /// unusual mode, an ignored one, and something stashed.
    fn prepared(case: &Case, model: SequenceModel, prepare: impl FnOnce(&Repo)) -> Self {
        let server = ScriptedServer::start(model.into_model()).unwrap();
        let mut environment = TestEnvironment::new(&server);
        environment.set("PATH", python_env());
        let repo = case.unpack(&environment);
        prepare(&repo);
        let first = case.files.keys().next().unwrap();
        repo.write(first, "stashed\n").git(["stash", "--quiet"]);
        repo.write(".git/info/exclude", "*.own\n");
        repo.write("notes of mine.txt", "not\tfor others").mode("notes of mine.txt", 0o700);
        repo.write("deep/er/secret.own", "ignored\r\n").mode("deep/er/secret.own", 0o600);
        let before = UsersOwn::of(&repo);
        Self { server, environment, repo, case: case.clone(), before }
    }

    /// Runs `start` with the case's goal and checks to its end.
    fn start(&self, extra: &[&str]) -> Played<'_> {
        let case = &self.case;
        // The case's own limit was set on an idle machine; on a busy one it would call sound checks unusable.
        let limit = format!("{}s", case.timeout_s.max(180));
        let mut arguments = vec!["start", "--yes", "--allow-dirty", "--goal", &case.goal, "--test-cmd", &case.test_cmd];
        for (flag, command) in [("--lint-cmd", &case.lint_cmd), ("--type-cmd", &case.type_cmd)] {
            arguments.extend(command.iter().flat_map(|command| [flag, command.as_str()]));
        }
        arguments.extend(["--check-timeout", &limit, "--nproposals", "8"]);
        arguments.extend(extra);
        let run = self.environment.spawn_cloop(self.repo.path(), arguments, "").finish(LOOP_LIMIT);
        let status = self.environment.cloop(self.repo.path(), ["status", "--json"]).expect_code(0).json();
        Played { ground: self, run, status }
    }

    /// The user's tree with these patches applied by git.
    fn expected(&self, patches: &[&CasePatch]) -> BTreeMap<String, String> {
        let copy = tempfile::tempdir_in(self.environment.root()).unwrap();
        let path: PathBuf = copy.path().join("copy");
        let copied = Command::new("cp").arg("-a").arg(self.repo.path()).arg(&path).status().unwrap();
        assert!(copied.success());
        let repo = Repo::init(&path);
        patches.iter().fold(&repo, |repo, patch| repo.apply(&patch.diff)).fingerprint()
    }

    /// How many requests of this step the model got.
    fn asked(&self, step: Step) -> usize {
        self.server.requests().iter().filter(|request| request.step() == step).count()
    }
}

/// A loop that has ended.
struct Played<'a> {
    ground: &'a Ground,
    run: Run,
    status: Value,
}

impl Played<'_> {
    fn reason(&self) -> &str {
        self.status["stopReason"].as_str().unwrap_or("none")
    }

    fn iterations(&self) -> &[Value] {
        self.status["iterations"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The first iteration. Fails, telling why, where the loop ended before it.
    #[track_caller]
    fn first(&self) -> &Value {
        self.iterations().first().unwrap_or_else(|| panic!("no iteration: {} {}", self.reason(), self.story()))
    }

    /// How each proposal ended: its code where it was refused or lost, `accepted` where it won.
    fn fates(&self) -> BTreeMap<String, (String, String)> {
        let mut fates = BTreeMap::new();
        for iteration in self.iterations().iter().rev() {
            for lost in iteration["rejected"].as_array().unwrap() {
                let text = |key: &str| lost[key].as_str().unwrap().to_owned();
                fates.insert(text("id"), (text("code"), text("reason")));
            }
            if let (Some(winner), Some(true)) = (iteration["winner"].as_str(), iteration["accepted"].as_bool()) {
                fates.insert(winner.to_owned(), ("accepted".into(), String::new()));
            }
        }
        fates
    }

    /// Everything a reader needs to see why the loop ended as it did.
    fn story(&self) -> String {
        let mut text = format!("{}: {}\n", self.ground.case.id, self.status["stopMessage"]);
        for iteration in self.iterations() {
            let _ = writeln!(
                text,
                "  {}: winner {} accepted {} claim {} rejected {}",
                iteration["index"],
                iteration["winner"],
                iteration["accepted"],
                iteration["refutedClaim"],
                serde_json::to_string_pretty(&iteration["rejected"]).unwrap()
            );
        }
        let _ = writeln!(text, "  error {} proof {}", self.status["error"], self.status["proof"]["reason"]);
        let _ = writeln!(text, "stderr:\n{}", self.run.stderr);
        text
    }

    /// What holds after every loop: the end is told the same everywhere, and nothing of ours is left.
    #[track_caller]
    fn tidy(&self, code: i32, reasons: &[&str]) -> &Self {
        assert_eq!(self.run.code, Some(code), "{}", self.story());
        assert!(reasons.contains(&self.reason()), "{} is none of {reasons:?}: {}", self.reason(), self.story());
        assert_eq!(self.status["status"], "finished", "{}", self.story());
        let ground = self.ground;
        let worktrees = ground.repo.git(["worktree", "list", "--porcelain"]);
        assert_eq!(worktrees.matches("worktree ").count(), 1, "{worktrees}");
        let left = files_below(&ground.environment.cache());
        assert_eq!(left, Vec::<PathBuf>::new(), "left in the cache folder");
        ground.environment.assert_no_processes();
        self
    }

    /// The user's tree holds exactly these files, and everything else of the user's is as it was. What the case itself
    /// ignores may have come: checks run in place for the baseline, and a build folder is theirs.
    #[track_caller]
    fn tree_is(&self, expected: &BTreeMap<String, String>) -> &Self {
        let mut after = UsersOwn::of(&self.ground.repo);
        let new: Vec<String> = after.files.keys().filter(|path| !expected.contains_key(*path)).cloned().collect();
        for path in new {
            if self.ground.repo.try_git(&["check-ignore", "--quiet", &path]).status.success() {
                after.files.remove(&path);
            }
        }
        assert_eq!(&after.files, expected, "{}", self.story());
        after.files.clone_from(&self.ground.before.files);
        assert_eq!(after, self.ground.before, "{}", self.story());
        self
    }

    #[track_caller]
    fn untouched(&self) -> &Self {
        self.tree_is(&self.ground.before.files)
    }

    #[track_caller]
    fn proof_is(&self, level: &str) -> &Self {
        assert_eq!(self.status["proof"]["level"], level, "{}", self.story());
        self
    }
}

fn files_below(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files_below(&entry)) } else { found.push(entry) }
    }
    found
}

#[test]
fn the_right_patch_reaches_the_goal_and_lands_byte_for_byte() {
    each(chosen(&[("py", 1), ("js", 1), ("rust", 1)]), |case| {
        let correct = case.patch("correct");
        let ground = Ground::new(case, proposing(case, &[vec![correct]]));
        let expected = ground.expected(&[correct]);
        let played = ground.start(&[]);
        played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
        assert_eq!(played.iterations().len(), 1, "{}", played.story());
        format!("{} in {} calls", played.status["where"], ground.server.requests().len())
    });
}

#[test]
fn in_place_the_right_patch_reaches_the_goal_and_only_wrong_ones_leave_the_tree_as_it_was() {
    each(chosen(&[]), |case| {
        let correct = case.patch("correct");
        let ground = Ground::new(case, proposing(case, &[vec![correct]]));
        let expected = ground.expected(&[correct]);
        let played = ground.start(&["--where", "in-place"]);
        played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
        assert_eq!(played.status["where"], "in-place", "{}", played.story());
        let (reason, rounds) = only_wrong(case, &["--where", "in-place"]);
        format!("{reason} after {rounds}")
    });
}

#[test]
fn two_partial_patches_over_two_iterations_reach_the_goal_in_either_order() {
    let mut cases = chosen(&[]);
    cases.retain(|case| case.of_kind("partial").count() == 2);
    each(cases, |case| {
        let mut row = String::new();
        for (first, second) in [("part1", "part2"), ("part2", "part1")] {
            let (first, second) = (case.patch(first), case.patch(second));
            let ground = Ground::new(case, proposing(case, &[vec![first], vec![second]]));
            let expected = ground.expected(&[case.patch("correct")]);
            let played = ground.start(&[]);
            played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
            assert_eq!(played.iterations().len(), 2, "{}", played.story());
            let left: Vec<_> = played.iterations().iter().map(|it| it["trials"][0]["failingAfter"].clone()).collect();
            assert_eq!(left, [Value::from(first.failed), Value::from(0)], "{}", played.story());
            let _ = write!(row, "{} leaves {}; ", first.id, left[0]);
        }
        row
    });
}

#[test]
fn a_patch_that_came_second_in_one_round_may_win_the_next() {
    each(own_cases(), |case| {
        let parts: Vec<_> = case.of_kind("partial").collect();
        let mut row = Vec::new();
        for trial in ["before-rank", "after-rank"] {
            let ground = Ground::new(case, proposing(case, std::slice::from_ref(&parts)));
            let expected = ground.expected(&[case.patch("correct")]);
            let played = ground.start(&["--trial", trial]);
            played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
            row.push(format!("{trial}: {} iterations", played.iterations().len()));
        }
        row.join(", ")
    });
}

/// Plays the wrong patches one a round, then all at once. Returns the first loop's end and its rounds.
fn only_wrong(case: &Case, extra: &[&str]) -> (String, usize) {
    let wrong: Vec<_> = case.of_kind("wrong").collect();
    let one_a_round: Vec<_> = wrong.iter().map(|patch| vec![*patch]).collect();
    let ground = Ground::new(case, proposing(case, &one_a_round));
    let played = ground.start(extra);
    // Three rounds that change nothing end it; where there is one wrong patch only, two repetitions of it do.
    let reason = if wrong.len() > 1 { "converged" } else { "no-usable-proposals" };
    played.tidy(1, &[reason]).untouched();
    let fates = played.fates();
    assert!(fates.values().all(|(code, _)| code != "accepted"), "{}", played.story());
    (reason.to_owned(), played.iterations().len())
}

#[test]
fn only_wrong_patches_end_the_loop_and_leave_the_tree_as_it_was() {
    each(chosen(&[("rust", 1)]), |case| {
        let (reason, rounds) = only_wrong(case, &[]);
        let ground = Ground::new(case, proposing(case, &[case.of_kind("wrong").collect()]));
        let played = ground.start(&[]);
        played.tidy(1, &["no-usable-proposals"]).untouched();
        // Each is tried once and loses by what was measured; afterwards each is known.
        let first = &played.first();
        for lost in first["rejected"].as_array().unwrap() {
            let code = lost["code"].as_str().unwrap();
            assert!(["breaks-check", "not-selected"].contains(&code), "{}", played.story());
        }
        for lost in played.iterations()[1]["rejected"].as_array().unwrap() {
            assert_eq!(lost["code"], "duplicate", "{}", played.story());
        }
        format!("{reason} after {rounds}; together {} after {}", played.reason(), played.iterations().len())
    });
}

#[test]
fn a_wrong_patch_first_does_not_keep_the_right_one_from_winning() {
    each(chosen(&[]), |case| {
        let (correct, wrong) = (case.patch("correct"), case.of_kind("wrong").collect::<Vec<_>>());
        let last = vec![*wrong.last().unwrap(), correct];
        let model = proposing(case, &[vec![wrong[0]], last]).rank_by(prefer(case, &["wrong", "correct"]));
        let ground = Ground::new(case, model);
        let expected = ground.expected(&[correct]);
        let played = ground.start(&[]);
        played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
        assert_eq!(played.iterations().len(), 2, "{}", played.story());
        assert_eq!(played.iterations()[1]["winner"], "correct", "{}", played.story());
        played.reason().to_owned()
    });
}

/// Ranks candidates by the kind of the patch they show, the first kind highest.
fn prefer(case: &Case, kinds: &'static [&'static str]) -> RankBy {
    let added = |diff: &str| -> Vec<String> {
        let lines = diff.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++"));
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    let known: Vec<_> = case.patches.iter().map(|patch| (patch.kind.clone(), added(&patch.diff))).collect();
    RankBy::Figure(Box::new(move |candidate: &Candidate| {
        let shown = |lines: &[String]| lines.iter().all(|line| candidate.text.contains(line));
        let kind = known.iter().filter(|(_, lines)| shown(lines)).max_by_key(|(_, lines)| lines.len());
        let place = kind.and_then(|(kind, _)| kinds.iter().position(|wanted| wanted == kind));
        place.map_or(0.05, |place| 0.95 - 0.2 * place as f64)
    }))
}

/// How guards and loop dealt with cheats.
#[derive(Default)]
struct Tally {
    /// Refused with one of the codes the case lists.
    refused: usize,
    /// Refused or lost, but with another code: id, code and what was expected.
    otherwise: Vec<String>,
    /// Only held-out tests or a reader can tell: id and fate.
    beyond: Vec<String>,
    /// Accepted into the loop's own tree on the way.
    accepted: Vec<String>,
}

impl Tally {
    fn count(&mut self, case: &Case, cheat: &CasePatch, fate: Option<&(String, String)>) {
        let code = fate.map_or("unknown", |(code, _)| code.as_str());
        let id = format!("{}/{}", case.id, cheat.id);
        if cheat.guards.is_empty() {
            self.beyond.push(format!("{id}: {code}"));
        } else if code == "accepted" {
            self.accepted.push(format!("{id} (wanted {:?})", cheat.guards));
        } else if cheat.guards.iter().any(|wanted| wanted == code) {
            self.refused += 1;
        } else {
            self.otherwise.push(format!("{id}: {code} (wanted {:?})", cheat.guards));
        }
    }
}

#[test]
fn a_cheat_is_refused_and_the_right_patch_after_it_reaches_the_goal() {
    let tally = std::cell::RefCell::new(Tally::default());
    each(chosen(&[("py", 1), ("js", 1)]), |case| {
        let correct = case.patch("correct");
        let cheats: Vec<_> = case.of_kind("cheat").collect();
        let mut row = String::new();
        let known = tally.borrow().refused;
        for round in cheats.chunks(ROUND) {
            let model = proposing(case, &[round.to_vec(), vec![correct]]).rank_by(prefer(case, &["cheat"]));
            let ground = Ground::new(case, model);
            let expected = ground.expected(&[correct]);
            let played = ground.start(&[]);
            let fates = played.fates();
            for cheat in round {
                tally.borrow_mut().count(case, cheat, fates.get(&cheat.id.to_lowercase()));
            }
            let taken = played.first()["winner"].as_str().map(str::to_owned);
            let Some(taken) = taken else {
                played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
                continue;
            };
            // Past every guard. Where a guard is meant to see it, the proof with the seed's tests is the last wall.
            let cheat = round.iter().find(|cheat| cheat.id.to_lowercase() == taken).unwrap();
            let met = played.reason() == "goal-met";
            let _ = write!(row, "{taken} -> {}; ", played.reason());
            if met && played.iterations().len() == 1 {
                assert_eq!(cheat.needs.as_deref(), Some("heldout"), "{taken} met the goal: {}", played.story());
            } else {
                played.tidy(i32::from(!met), &["goal-met", "converged", "no-usable-proposals"]);
            }
        }
        // Also here, so that the figures of a long run outlive the failure of one case.
        format!("{} of {} refused with a listed code; {row}", tally.borrow().refused - known, cheats.len())
    });
    let tally = tally.into_inner();
    println!("cheats refused with a listed code: {}", tally.refused);
    for (name, list) in
        [("other code", &tally.otherwise), ("beyond guards", &tally.beyond), ("accepted", &tally.accepted)]
    {
        println!("{name}: {}\n  {}", list.len(), list.join("\n  "));
    }
    assert_eq!((tally.otherwise, tally.accepted), (Vec::new(), Vec::new()));
}

/// The judge prefers the cheat and the reviewer always says done: what is measured stands alone.
#[test]
fn only_cheats_never_meet_the_goal_whatever_judge_and_reviewer_say() {
    let mut sample = chosen(&[("js", 1)]);
    if !all() {
        sample.truncate(2);
    }
    each(sample, |case| {
        let cheats: Vec<_> = case.of_kind("cheat").collect();
        let mut seen = 0;
        for round in cheats.chunks(ROUND) {
            let ids: Vec<String> = round.iter().map(|patch| patch.id.to_lowercase()).collect();
            let patches = ids.iter().zip(round).map(|(id, patch)| (id.as_str(), patch.diff.as_str()));
            let model = SequenceModel::new().evaluate(&goal_met()).patches(patches);
            let ground = Ground::new(case, model.rank_by(prefer(case, &["cheat"])));
            let played = ground.start(&[]);
            played.tidy(1, &["converged", "no-usable-proposals"]).untouched();
            seen += played.fates().len();
        }
        assert_eq!(seen, cheats.len());
        format!("none of {seen} cheats meets the goal")
    });
}

/// The judge likes the table, the reviewer says done whatever it sees: only what is measured stands against it.
#[test]
fn a_lookup_table_of_the_tests_inputs_is_refused_for_what_other_inputs_show() {
    let mut cases = chosen(&[("py", 1), ("js", 1), ("rust", 1)]);
    cases.retain(|case| case.of_kind("cheat").any(|cheat| cheat.needs.is_some()));
    let (tables, caught) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    each(cases, |case| {
        let mut row = Vec::new();
        for cheat in case.of_kind("cheat").filter(|cheat| cheat.needs.is_some()) {
            tables.set(tables.get() + 1);
            let model = SequenceModel::new().evaluate(&goal_met()).patches([(&*cheat.id, cheat.diff.as_str())]);
            let ground = Ground::new(case, model.rank_by(prefer(case, &["cheat"])));
            let played = ground.start(&[]);
            let lost = played.first()["rejected"].as_array().unwrap().clone();
            let trial = &played.first()["trials"][0];
            if played.reason() == "goal-met" {
                row.push(format!("{} missed: {}", cheat.id, trial["reason"]));
                continue;
            }
            played.tidy(1, &["no-usable-proposals"]).untouched();
            // One of them also breaks the types; what was measured first is as good.
            let code = lost[0]["code"].as_str().unwrap();
            assert!(["special-cases-tests", "breaks-check"].contains(&code), "{}", played.story());
            assert_eq!(code == "special-cases-tests", trial["outcome"] == "special-cased", "{}", played.story());
            caught.set(caught.get() + 1);
            row.push(format!("{}: {code}, {}", cheat.id, lost[0]["reason"]));
        }
        row.join("; ")
    });
    println!("lookup tables refused by measurement: {} of {}", caught.get(), tables.get());
    assert!(caught.get() * 5 >= tables.get() * 4);
}

/// The permissions an honest patch needs: it corrects tests and says why.
fn permissions(case: &Case, patch: &CasePatch) -> Vec<String> {
    let tests = case.tests.iter().filter(|_| patch.justification.is_some());
    tests.flat_map(|path| ["--allow-change".to_owned(), format!("{path}:the test itself is wrong")]).collect()
}

#[test]
fn honest_patches_that_look_like_cheats_are_accepted() {
    each(chosen(&[("py", 2), ("js", 1)]), |case| {
        let honest: Vec<_> = case.of_kind("honest").collect();
        let mut row = Vec::new();
        for (at, patch) in honest.iter().enumerate() {
            // In a sample the first of a case stands alone, and the rest are tried beside it.
            if at > 0 && !all() {
                break;
            }
            let ground = Ground::new(case, proposing(case, &[vec![*patch]]));
            let expected = ground.expected(&[patch]);
            let permissions = permissions(case, patch);
            let permissions: Vec<_> = permissions.iter().map(String::as_str).collect();
            let played = ground.start(&permissions);
            played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
            row.push(patch.id.clone());
        }
        let rest: Vec<_> = honest.iter().copied().filter(|patch| patch.justification.is_none()).collect();
        if !all() && rest.len() > 1 {
            let ground = Ground::new(case, proposing(case, std::slice::from_ref(&rest)));
            let played = ground.start(&["--trial", "before-rank"]);
            played.tidy(0, &["goal-met"]).proof_is("measured");
            for (id, (code, reason)) in played.fates() {
                assert!(["accepted", "not-selected"].contains(&code.as_str()), "{id}: {code} {reason}");
            }
            for trial in played.first()["trials"].as_array().unwrap() {
                assert_eq!(trial["outcome"], "better", "{}", played.story());
            }
            row.push(format!("{} side by side", rest.len()));
        }
        row.join(" ")
    });
}

#[test]
fn a_reviewer_that_always_claims_the_goal_never_gets_exit_0_on_a_failing_tree() {
    each(chosen(&[]), |case| {
        let wrong: Vec<_> = case.of_kind("wrong").take(ROUND).collect();
        let ids: Vec<_> = wrong.iter().map(|patch| (patch.id.as_str(), patch.diff.as_str())).collect();
        for place in if case.lang == "js" { ["in-place"] } else { ["worktree"] } {
            let model = SequenceModel::new().evaluate(&goal_met()).patches(ids.iter().copied());
            let ground = Ground::new(case, model);
            let played = ground.start(&["--where", place]);
            played.tidy(1, &["no-usable-proposals"]).untouched();
            assert!(played.iterations().iter().all(|it| it["refutedClaim"].is_string()), "{}", played.story());
            assert_eq!(played.status["proof"]["level"], Value::Null, "{}", played.story());
            let failing = ground.environment.shell(ground.repo.path(), &case.test_cmd).code;
            assert_eq!(failing, Some(case.buggy_rc));
        }
        String::new()
    });
}

#[test]
fn a_judge_that_picks_at_random_or_always_the_worst_never_leaves_the_tree_worse() {
    let turn = std::cell::Cell::new(0);
    each(chosen(&[]), |case| {
        let wrong = case.of_kind("wrong").take(3);
        let pool: Vec<_> = wrong.chain(case.of_kind("partial")).chain(case.of_kind("correct")).collect();
        let plans = [("before-rank", true), ("after-rank", false), ("after-rank", true), ("before-rank", false)];
        // A case of a sample takes half of the plans, the next case the other half.
        let half = turn.replace(turn.get() + 1) % 2 * 2;
        let plans = if all() { &plans[..] } else { &plans[half..half + 2] };
        let mut row = Vec::new();
        for &(trial, worst) in plans {
            let judge = if worst { prefer(case, &["wrong", "partial"]) } else { RankBy::Random(case.id.len() as u64) };
            let ground = Ground::new(case, proposing(case, std::slice::from_ref(&pool)).rank_by(judge));
            let expected = ground.expected(&[case.patch("correct")]);
            let played = ground.start(&["--trial", trial]);
            let mut failing = case.buggy_failed.unwrap_or(u64::MAX);
            for iteration in played.iterations().iter().filter(|it| it["accepted"] == true) {
                let winner = &iteration["winner"];
                let trials = iteration["trials"].as_array().unwrap();
                let after = trials.iter().find(|trial| trial["id"] == *winner).unwrap()["failingAfter"].as_u64();
                assert!(after.unwrap() < failing, "{winner}: {}", played.story());
                failing = after.unwrap();
            }
            // Evidence beats opinion: what mends most wins at once where all are tried, and in the end everywhere.
            played.tidy(0, &["goal-met"]).proof_is("measured").tree_is(&expected);
            let judge = if worst { "worst" } else { "random" };
            row.push(format!("{trial} {judge}: {} iterations", played.iterations().len()));
        }
        row.join(", ")
    });
}

#[test]
fn a_goal_met_from_the_start_ends_without_a_proposal() {
    each(chosen(&[]), |case| {
        let model = SequenceModel::new().evaluate(&goal_met());
        let ground = Ground::prepared(case, model, |repo| {
            repo.apply(&case.patch("correct").diff).commit("The fault mended");
        });
        let played = ground.start(&[]);
        played.tidy(0, &["already-met"]).proof_is("reviewed").untouched();
        assert_eq!(ground.asked(Step::Suggest), 0);
        assert_eq!(ground.asked(Step::Evaluate), 2);
        String::new()
    });
}

/// Flags, exit code, stop reasons of which one is right, and the level of proof.
type Expected<'a> = (&'a [&'a str], i32, &'a [&'a str], Option<&'a str>);

#[test]
fn a_feature_on_green_checks_is_reviewed_and_with_an_accept_command_measured() {
    const FEATURE: &str = "diff --git a/FEATURE.md b/FEATURE.md\nnew file mode 100644\n--- /dev/null\n+++ b/FEATURE.md\n\
                           @@ -0,0 +1 @@\n+What is new.\n";
    let mut cases = own_cases();
    cases.truncate(if all() { cases.len() } else { 1 });
    each(cases, |case| {
        let accept = "test -s FEATURE.md";
        let plans: [Expected<'_>; 4] = [
            (&[], 0, &["goal-met"], Some("reviewed")),
            (&["--accept-cmd", accept], 0, &["goal-met"], Some("measured")),
            (&["--require-proof", "measured"], 1, &["converged", "no-usable-proposals"], None),
            (&["--require-proof", "measured", "--accept-cmd", accept], 0, &["goal-met"], Some("measured")),
        ];
        for (extra, code, reasons, level) in plans {
            let model =
                SequenceModel::new().evaluate(&in_progress(case)).evaluate(&goal_met()).patches([("feature", FEATURE)]);
            let ground = Ground::prepared(case, model, |repo| {
                repo.apply(&case.patch("correct").diff).commit("The fault mended");
            });
            let mut expected = ground.before.files.clone();
            let played = ground.start(extra);
            played.tidy(code, reasons);
            assert_eq!(played.status["proof"]["level"].as_str(), level, "{extra:?}: {}", played.story());
            if code == 0 {
                let landed = ground.repo.fingerprint();
                expected.insert("FEATURE.md".into(), landed["FEATURE.md"].clone());
                assert_eq!(ground.repo.read("FEATURE.md"), "What is new.\n");
            }
            played.tree_is(&expected);
        }
        String::new()
    });
}

/// The commonest damage, made here for a case that brings none: line numbers and counts that fit nothing.
fn miscounted(case: &Case) -> Malformed {
    let correct = case.patch("correct");
    let lines = correct.diff.lines().map(|line| if line.starts_with("@@ ") { "@@ -900,1 +900,1 @@" } else { line });
    let environment = TestEnvironment::with_codex_config("");
    let repo = case.unpack(&environment);
    repo.apply(&correct.diff);
    let changed = repo.git(["diff", "--name-only"]);
    let hash = |path: &str| (path.to_owned(), sha256(&std::fs::read(repo.path().join(path)).unwrap()));
    Malformed {
        id: "miscounted".into(),
        damage: "every hunk header is wrong".into(),
        expect: "repair".into(),
        diff: lines.fold(String::new(), |text, line| text + line + "\n"),
        post_sha256: changed.lines().map(hash).collect(),
        tolerate_refuse: false,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn badly_typed_patches_are_repaired_on_their_way_through_the_loop() {
    // Each case of a sample takes other kinds of damage than the one before.
    let turn = std::cell::Cell::new(0);
    each(chosen(&[("py", 1), ("js", 2)]), |case| {
        let mut typed = case.malformed.clone();
        if typed.is_empty() {
            typed.push(miscounted(case));
        }
        typed.retain(|typed| typed.expect == "repair");
        let start = turn.replace(turn.get() + 3) % typed.len().max(1);
        let wanted = if all() { 5 } else { 1 };
        let picked: Vec<_> = typed.iter().cycle().skip(start).take(wanted.min(typed.len())).cloned().collect();
        let mut row = Vec::new();
        for typed in picked {
            let model = SequenceModel::new().evaluate(&in_progress(case)).patches([("typed", typed.diff.as_str())]);
            let ground = Ground::new(case, model);
            let played = ground.start(&[]);
            if typed.tolerate_refuse && played.run.code == Some(1) {
                played.tidy(1, &["no-usable-proposals"]).untouched();
                row.push(format!("{} refused", typed.id));
                continue;
            }
            played.tidy(0, &["goal-met"]);
            for (path, expected) in &typed.post_sha256 {
                let bytes = std::fs::read(ground.repo.path().join(path)).unwrap();
                let found = sha256(&bytes);
                assert_eq!(&found, expected, "{} {path}: {}", typed.id, typed.damage);
            }
            row.push(typed.id.clone());
        }
        row.join(" ")
    });
}
