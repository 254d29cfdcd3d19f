//! The review gate: a review of what each turn of a host's session changed, for those who switched it on.
//!
//! While it is off, a hook costs one look at a file. It never holds a turn up for want of a review.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Kind, Review, ReviewRequest, SCHEMA_VERSION, Session, Verdict, Watch, write_atomic};
use crate::codex::prompt::cut_middle;
use crate::masking::Masker;
use crate::operations::news::work_tree;
use crate::options::Span;
use crate::plan::sha256;
use crate::store::Store;
use crate::workspace::{Repository, Workspace};

/// The switch, in the store.
const SWITCH_FILE: &str = "review-gate.json";

/// A file a session, in the store.
const TURNS_DIR: &str = "review-turns";

/// How long a turn that never ended counts as the one that goes on.
const TURN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest review of a turn: below the limit that `hooks/hooks.json` gives the hook.
const LONGEST: Duration = Duration::from_secs(840);

/// Most characters of what the user asked for, and of what the agent says.
const MAX_WORDS: usize = 4000;

/// What the reviewer is asked.
const QUESTION: &str = include_str!("../../../prompts/review/turn.md");

/// Whether a review of every turn's changes is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    pub schema_version: u32,
    pub on: bool,
    /// How to switch it.
    pub hint: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Switch {
    on: bool,
    /// The files when it was switched on: where a session's first turn begins if its prompt came before.
    tree: Option<String>,
}

/// A turn of a session, as far as the gate has to know it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Turn {
    /// The files at its beginning.
    tree: String,
    /// What the user asked for, secrets masked.
    asked: String,
    /// Whether it goes on.
    open: bool,
    /// Whether its agent was sent back.
    sent_back: bool,
}

/// How a turn came to its end, as the host tells it.
#[derive(Debug, Clone, Copy)]
pub struct TurnEnd<'a> {
    /// The host's session.
    pub session: &'a str,
    /// Whether a hook has sent the agent back in this turn already.
    pub sent_back: bool,
    /// The agent's last words.
    pub said: &'a str,
}

/// What the gate says of a turn.
#[derive(Debug, Clone)]
pub enum TurnVerdict {
    /// A verdict, or UNAVAILABLE.
    Reviewed(Box<Review>),
    /// The agent was sent back and has changed more; that is not reviewed again.
    Again,
    /// The gate itself failed.
    Failed(String),
}

/// Says whether the gate is on; it is off where nobody switched it on.
pub fn review_gate(session: &Session) -> anyhow::Result<GateReport> {
    let repository = session.repository()?;
    Ok(gate_report(switch(session.store(&repository).dir()).on))
}

/// Switches the gate of this work tree.
pub fn set_review_gate(session: &Session, on: bool) -> anyhow::Result<GateReport> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    store.create()?;
    let tree = if on { Some(Workspace::of_user(&repository)?.snapshot()?) } else { None };
    let bytes = serde_json::to_vec(&Switch { on, tree }).context("write the gate")?;
    write_atomic(&store.dir().join(SWITCH_FILE), &bytes)?;
    // What was kept of turns belongs to the time before.
    match std::fs::remove_dir_all(store.dir().join(TURNS_DIR)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("clear the turns")?,
        _ => {}
    }
    Ok(gate_report(on))
}

fn gate_report(on: bool) -> GateReport {
    let other = if on { "off" } else { "on" };
    GateReport {
        schema_version: SCHEMA_VERSION,
        on,
        hint: format!("switch it {other} with `loop-companion review gate {other}`"),
    }
}

fn switch(store: &Path) -> Switch {
    let bytes = std::fs::read(store.join(SWITCH_FILE)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Returns the store of the work tree around a folder and its switch, where that is on. No git is started.
fn switched_on(dir: &Path) -> Option<(PathBuf, Switch)> {
    let (_, git_dir) = work_tree(dir)?;
    let store = Store::new(&git_dir).dir().to_owned();
    let switch = switch(&store);
    switch.on.then_some((store, switch))
}

fn turn_file(store: &Path, session: &str) -> PathBuf {
    let name: String = sha256(session.as_bytes()).chars().rev().take(16).collect();
    store.join(TURNS_DIR).join(format!("{name}.json"))
}

fn read_turn(path: &Path) -> Option<Turn> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_turn(path: &Path, turn: &Turn) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    super::place::create_private(folder)?;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_old(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    write_atomic(path, &serde_json::to_vec(turn).context("write the turn")?)
}

fn is_old(path: &Path) -> bool {
    let age = path.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > TURN_KEPT)
}

fn snapshot(dir: &Path) -> anyhow::Result<String> {
    let repository = Repository::discover(dir).map_err(|error| anyhow::anyhow!("{error}"))?;
    Workspace::of_user(&repository)?.snapshot()
}

/// Notes what the files are like when a turn begins, where the gate is on. What cannot be noted is reviewed from an
/// earlier state on.
pub fn turn_begins(dir: &Path, session: &str, prompt: &str) {
    let Some((store, _)) = switched_on(dir) else { return };
    let path = turn_file(&store, session);
    let asked = cut_middle(&Masker::default().text(prompt), MAX_WORDS);
    // A prompt within a turn, or after one that was broken off, adds to it: what that one changed is not reviewed yet.
    let going_on = read_turn(&path).filter(|turn| turn.open && !is_old(&path));
    let turn = match going_on {
        Some(turn) => Turn { asked: cut_middle(&format!("{}\n\n{asked}", turn.asked), MAX_WORDS), ..turn },
        None => match snapshot(dir) {
            Ok(tree) => Turn { tree, asked, open: true, sent_back: false },
            Err(_) => return,
        },
    };
    let _ = write_turn(&path, &turn);
}

/// Has the changes of a turn reviewed that has ended; `None` where the gate is off or nothing has changed.
pub fn turn_ended(session: &Session, end: TurnEnd<'_>, watch: &mut dyn Watch) -> Option<TurnVerdict> {
    let (store, switch) = switched_on(&session.dir)?;
    let path = turn_file(&store, end.session);
    let known = read_turn(&path).or_else(|| switch.tree.map(|tree| Turn { tree, open: true, ..Turn::default() }));
    match reviewed(session, end, known, &path, watch) {
        Ok(verdict) => verdict,
        Err(error) => Some(TurnVerdict::Failed(format!("{error:#}"))),
    }
}

fn reviewed(
    session: &Session,
    end: TurnEnd<'_>,
    known: Option<Turn>,
    path: &Path,
    watch: &mut dyn Watch,
) -> anyhow::Result<Option<TurnVerdict>> {
    let tree = snapshot(&session.dir)?;
    let over = Turn { tree: tree.clone(), ..Turn::default() };
    let Some(turn) = known.filter(|turn| turn.tree != tree) else {
        write_turn(path, &over)?;
        return Ok(None);
    };
    if end.sent_back || turn.sent_back {
        write_turn(path, &over)?;
        return Ok(turn.sent_back.then_some(TurnVerdict::Again));
    }
    let request = ReviewRequest {
        kind: Some(Kind::Code),
        topic: Some("the changes of a turn".into()),
        question: Some(QUESTION.trim().to_owned()),
        context: [("What the user asked for", turn.asked.as_str()), ("What the agent says at the end", end.said)]
            .into_iter()
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(name, text)| format!("{name}={}", cut_middle(text, MAX_WORDS)))
            .collect(),
        since: Some(turn.tree.clone()),
        timeout: longest(session),
        session: (!end.session.is_empty()).then(|| end.session.to_owned()),
        ..ReviewRequest::default()
    };
    let review = super::review(session, &request, watch)?;
    let sent_back = review.verdict == Verdict::NoGo;
    let next = match (sent_back, review.cause) {
        (true, _) => Turn { sent_back: true, open: true, ..turn },
        // Not looked at: the next review has it.
        (false, Some(Cause::Stopped)) => Turn { open: true, ..turn },
        (false, _) => over,
    };
    write_turn(path, &next)?;
    Ok(Some(TurnVerdict::Reviewed(Box::new(review))))
}

/// The limit where `CODEX_TIMEOUT` allows a review more time than the host gives its hook.
fn longest(session: &Session) -> Option<Span> {
    let span: Span = session.environment.codex_timeout.as_ref()?.parse().ok()?;
    let most = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    (span.ms > most).then_some(Span { ms: most })
}
