//! `demo`, the first command a new user types: the real loop with the real Codex CLI, as it comes.

use std::fs;

use crate::common::{Repo, TestEnvironment};
use crate::schemas::assert_fits;

#[test]
fn the_demo_refuses_the_cheat_restores_the_breaker_and_proves_the_goal() {
    let environment = TestEnvironment::with_codex_config("");
    let folder = environment.root().join("the demo");
    let run = environment.cloop(environment.root(), ["demo", "--json", folder.to_str().unwrap()]).expect_code(0);
    // Read by whoever looks at the time of a run: the aim is 20 s on two idle cores.
    println!("the demo took {:.1} s", run.duration.as_secs_f64());
    environment.assert_no_processes();

    let state = run.json();
    assert_fits("loop-state", &state);
    assert_eq!(state["stopReason"], "goal-met");
    assert_eq!(state["proof"]["level"], "measured");
    // The folder is not the one the demo was typed in.
    let next = format!("loop-companion -C '{}' result", folder.join("library-fines").display());
    assert_eq!(state["next"][0], next.as_str());
    let iterations = state["iterations"].as_array().unwrap();
    assert!((2..=3).contains(&iterations.len()), "{} iterations", iterations.len());
    let lost = |id: &str| {
        let rejected = iterations.iter().flat_map(|iteration| iteration["rejected"].as_array().unwrap());
        rejected.into_iter().find(|rejected| rejected["id"] == id).map(|rejected| rejected["code"].clone())
    };
    assert_eq!(lost("skip-unstable-tests"), Some("skips-test".into()));
    assert_eq!(lost("rewrite-both"), Some("breaks-check".into()));
    for said in ["skip-unstable-tests refused, skips-test", "rewrite-both worse, restored", "goal-met: "] {
        assert!(run.stderr.contains(said), "no `{said}` in:\n{}", run.stderr);
    }

    // The right change and nothing else is in the work tree, and its patch is what git says changed.
    let repo = Repo::open(&folder.join("library-fines"));
    assert_eq!(repo.git(["diff", "--name-only"]), "src/dates.js\nsrc/fines.js");
    assert_eq!(repo.git(["status", "--porcelain"]), " M src/dates.js\n M src/fines.js");
    environment.shell(repo.path(), loop_companion::demo::TEST_COMMAND).expect_code(0);
    let patch = environment.cloop(repo.path(), ["result", "--patch"]).expect_code(0).stdout;
    repo.git(["stash", "--quiet"]);
    repo.apply(&patch);
    assert_eq!(repo.git(["diff", "stash@{0}"]), "");

    // No work tree of ours is left, neither known to git nor on the disk.
    assert_eq!(repo.git(["worktree", "list"]).lines().count(), 1);
    let left: Vec<_> = fs::read_dir(environment.cache().join("cloop"))
        .into_iter()
        .flatten()
        .flat_map(|entry| fs::read_dir(entry.unwrap().path()).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_demo_writes_into_no_folder_that_holds_something() {
    let environment = TestEnvironment::with_codex_config("");
    let folder = environment.root().join("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "Dear").unwrap();
    let run = environment.cloop(environment.root(), ["demo", folder.to_str().unwrap()]).expect_code(2);
    assert!(run.stderr.contains("is not empty"), "{}", run.stderr);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_codex_on_the_path_that_is_too_old_is_passed_over_for_the_pinned_one() {
    use std::os::unix::fs::PermissionsExt;
    let mut environment = TestEnvironment::with_codex_config("");
    let bin = environment.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = |name: &str, text: String| {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("codex", "#!/bin/sh\necho codex-cli 0.20.0\n".into());
    // What npm would fetch is here already.
    let codex = crate::common::codex_bin();
    let place = "node_modules/@openai/codex-test/vendor/test/bin";
    script("npm", format!("#!/bin/sh\nmkdir -p {place} && ln -s '{}' {place}/codex\n", codex.display()));
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    environment.set("PATH", path.unwrap());
    environment.unset("LOOP_CODEX_BIN");
    let run = environment.cloop(environment.root(), ["demo", "--json", "demo"]).expect_code(0);
    assert_eq!(run.json()["stopReason"], "goal-met");
    for said in ["cannot be used", "0.20.0", "Downloading @openai/codex@"] {
        assert!(run.stderr.contains(said), "no `{said}` in:\n{}", run.stderr);
    }
    environment.assert_no_processes();
}
