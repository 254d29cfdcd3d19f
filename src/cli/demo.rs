//! `demo`: a whole loop without an account. Lays out a sample repository, finds or fetches Codex, starts the scripted
//! model on loopback, and then runs the loop as anybody else's; the loop does not know.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::arguments::Demo;
use super::{output, terminal};
use crate::codex::locate;
use crate::config::Environment;
use crate::demo as ingredients;
use crate::error::Failure;
use crate::operations::{self, Goal, PlanRequest, Session};
use crate::options::Options;
use crate::process::{self, Capture};
use crate::report::plan_text;
use crate::scripted::ScriptedServer;

/// Plays the demo.
pub(super) fn run(arguments: &Demo, session: &Session, json: bool) -> anyhow::Result<u8> {
    let home = folder(arguments.folder.as_deref(), session)?;
    let repository = home.join("library-fines");
    let codex_home = home.join("codex-home");
    eprintln!("Sample repository: {}", repository.display());
    lay_out(&repository)?;
    let codex = ingredients::find_or_install_codex(&session.environment.cache.join("cloop"), &mut |line| {
        eprintln!("{line}");
    })?;
    let codex = usable(codex, session)?;
    eprintln!("Codex: {}", codex.display());
    let server = ScriptedServer::start(ingredients::model())?;
    eprintln!("Scripted model: {} (loopback; no account, no cost)\n", server.base_url());
    make_dir(&codex_home)?;
    let config = codex_home.join("config.toml");
    std::fs::write(&config, server.codex_config()).with_context(|| format!("write {}", config.display()))?;
    let environment = Environment {
        codex_bin: Some(codex),
        codex_home: Some(codex_home.clone()),
        openai_api_key: None,
        user_file: None,
        codex_env: vec![("CODEX_HOME".into(), codex_home.clone().into_os_string())],
        ..session.environment.clone()
    };
    let demo = Session { dir: repository.clone(), environment, worker_log: None };
    let request = PlanRequest {
        goal: Goal { text: Some(ingredients::GOAL.to_owned()), accept: Vec::new() },
        options: Options {
            test_cmd: Some(ingredients::TEST_COMMAND.to_owned()),
            lint_cmd: Some(ingredients::LINT_COMMAND.to_owned()),
            max_iter: Some(5),
            ..Options::default()
        },
        dry_run: false,
    };
    output::typed_dir(&repository);
    let (report, codex) = operations::plan(&demo, &request)?;
    eprintln!("{}", plan_text(&report.plan, &report.plan_hash, &report.notes, &report.forecast));
    let mut progress = terminal::Progress::new();
    let ended = operations::start(&demo, report, &codex, &mut progress)?;
    let code = progress.finish(&ended, json);
    if !json {
        output::text(&farewell(&repository));
    }
    Ok(if ended.goal_met() { 0 } else { code.max(1) })
}

/// Returns the Codex that was found where it will do, else one brought for the demo. One that the user names stays,
/// with whatever is to be said about it.
fn usable(found: PathBuf, session: &Session) -> anyhow::Result<PathBuf> {
    let environment = &session.environment;
    if environment.codex_bin.is_some() {
        return Ok(found);
    }
    match locate::find(Some(found.as_os_str()), environment.path.as_deref(), &session.dir, &[], None, &mut ()) {
        Ok(_) => Ok(found),
        Err(error) => {
            eprintln!("The Codex on PATH cannot be used: {error:#}");
            ingredients::install_codex(&environment.cache.join("cloop"), &mut |line| eprintln!("{line}"))
        }
    }
}

fn farewell(repository: &Path) -> String {
    let shown = repository.display();
    let typed = output::quoted(&repository.to_string_lossy());
    format!(
        "\nThe repository is {shown}\nIts state is in {shown}/.loop and {shown}/.git/cloop.\n\nTry next:\n- \
         `loop-companion -C {typed} result` — why each proposal lost\n- `loop-companion -C {typed} result --patch` \
         — the change as a patch\n- `git -C {typed} diff` — the change, uncommitted, in the work tree\n- \
         `loop-companion start --help` — your own repository\n"
    )
}

/// Returns an empty folder for the demo.
fn folder(named: Option<&Path>, session: &Session) -> anyhow::Result<PathBuf> {
    let Some(named) = named else {
        let made = tempfile::Builder::new().prefix("cloop-demo-").tempdir().context("create a folder for the demo")?;
        return Ok(made.keep());
    };
    let path = session.dir.join(named);
    make_dir(&path)?;
    let mut entries = std::fs::read_dir(&path).with_context(|| format!("read {}", path.display()))?;
    if entries.next().is_some() {
        return Err(Failure::usage(
            format!("{} is not empty", path.display()),
            "name a new or empty folder, or none for a temporary one",
        )
        .into());
    }
    path.canonicalize().with_context(|| format!("open {}", path.display()))
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).with_context(|| format!("create {}", path.display()))
}

fn lay_out(repository: &Path) -> anyhow::Result<()> {
    for (name, content) in ingredients::sample_files() {
        let path = repository.join(name);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &[
            "-c",
            "user.name=Demo",
            "-c",
            "user.email=demo@example.invalid",
            "-c",
            "commit.gpgsign=false",
            "commit",
            "-q",
            "-m",
            "The sample",
        ],
    ] {
        let mut argv = vec![OsString::from("git")];
        argv.extend(arguments.iter().map(OsString::from));
        let done = process::capture(&Capture {
            argv,
            cwd: repository.to_owned(),
            limit: Duration::from_secs(60),
            ..Capture::default()
        })?;
        anyhow::ensure!(
            done.exit.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(())
}
