//! Performs what the engine decides, and appends what happened to the journal.
//!
//! One event is appended and synced before anything relies on it; the readable face follows after. The engine never
//! sees a process or a file, and nothing here decides what comes next.

mod agents;
mod ask;
mod baseline;
mod candidates;
mod ending;
mod inputs;
mod place;
mod pool;
mod proof;
mod signals;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;

pub use ask::CodexSetup;
pub use place::Place;
pub use signals::{StopSignal, Watch};

use crate::engine::event::{Event, PlaceKind, Record, Started, Worker};
use crate::engine::{Effect, State, StopReason, decide};
use crate::masking;
use crate::process;
use crate::report::{self, progress_line, status_report};
use crate::store::{Face, JournalWriter, Lock, Run, Store};
use crate::workspace::{Repository, Workspace, Worktree, seed_ref};

/// Between two looks at a wait's end or a stop request.
const WAIT_TICK: Duration = Duration::from_millis(100);

/// Who watches a loop from outside: a terminal, an MCP client, nobody.
pub trait Observer {
    /// Told of every event after it is in the journal, with the line that `progress.log` got for it.
    fn event(&mut self, state: &State, record: &Record, line: Option<&str>);

    /// Told what a running call or check is doing.
    fn activity(&mut self, state: &State, text: &str);
}

/// An observer that looks away.
pub struct Unwatched;

impl Observer for Unwatched {
    fn event(&mut self, _: &State, _: &Record, _: Option<&str>) {}
    fn activity(&mut self, _: &State, _: &str) {}
}

/// What a worker needs besides the state.
pub struct Resources {
    pub repository: Repository,
    pub store: Store,
    pub run: Run,
    pub lock: Lock,
    /// `None` for one who only puts things in order.
    pub codex: Option<CodexSetup>,
    /// The user's cache folder, where our work trees live.
    pub cache: PathBuf,
    pub pytest_addopts: Option<String>,
    pub stop: StopSignal,
    /// Where the worker's messages go, or `None` for a terminal.
    pub log: Option<PathBuf>,
}

/// A worker at work on one loop.
pub struct Runtime<'a> {
    repository: Repository,
    /// The user's work tree.
    user: Workspace,
    place: Option<Place>,
    /// Further work trees, for what is done at the same time.
    pool: Vec<Worktree>,
    store: Store,
    run: Run,
    face: Face,
    writer: JournalWriter,
    state: State,
    codex: Option<CodexSetup>,
    cache: PathBuf,
    pytest_addopts: Option<String>,
    stop: StopSignal,
    /// Whether this is the worker, and not one who puts things in order after it.
    alive: bool,
    /// What the running trial has shown, between its checks and its event.
    measured: Option<crate::engine::event::Trial>,
    /// The tree that was last written into the user's work tree, while the loop works there.
    standing: Option<String>,
    /// What the runs of the baseline wrote.
    baseline_runs: Vec<place::BaselineRun>,
    /// How the readable state names another goal, once it has.
    face_drift: Option<String>,
    observer: &'a mut dyn Observer,
    /// Held for as long as the worker works.
    _lock: Lock,
}

impl<'a> Runtime<'a> {
    /// Begins a new loop: its journal's first event, its first ref, and the worker's mark.
    ///
    /// Returns an error if the store cannot be written.
    pub fn begin(started: Started, resources: Resources, observer: &'a mut dyn Observer) -> anyhow::Result<Self> {
        let name = seed_ref(&started.run_id);
        let commit = started.seed_commit.clone();
        let message = ref_message(&started, "The work tree as the loop found it.");
        let mut writer = resources.run.writer()?;
        // The first ref carries the goal's hash; a clean HEAD is wrapped so that its own message stays its own.
        let marker = resources.repository.commit(&started.seed_tree, &[&commit], &message)?;
        // Before the journal: a run whose journal begins has its ref, at whatever instant the power goes.
        resources.repository.set_ref(&name, &marker, crate::workspace::ExpectedRef::Any)?;
        let record = writer.append(Timestamp::now(), Event::Started(Box::new(started)))?;
        let state = State::begin(&record).context("begin a state")?;
        Self::with(state, writer, resources, observer)
    }

    /// Takes an existing loop up again.
    ///
    /// Returns an error if its journal cannot be read or written.
    pub fn take_up(state: State, resources: Resources, observer: &'a mut dyn Observer) -> anyhow::Result<Self> {
        let writer = resources.run.writer()?;
        Self::with(state, writer, resources, observer)
    }

    /// Puts in order what a dead worker left: in place, the user's tree goes to the best state or stays theirs; work
    /// trees of the run go away; a loop that had decided to end is ended. Nothing is asked and nothing proposed.
    ///
    /// Returns the state, or an error if the disk or git refuses.
    pub fn tidy(state: State, resources: Resources, observer: &'a mut dyn Observer) -> anyhow::Result<State> {
        let writer = resources.run.writer()?;
        let mut runtime = Self::new(state, writer, resources, observer)?;
        runtime.alive = false;
        if runtime.state.stop.is_some() {
            runtime.work()?;
            return Ok(runtime.state);
        }
        let in_place =
            runtime.state.baseline.as_ref().is_some_and(|baseline| baseline.place.kind == PlaceKind::InPlace);
        if in_place {
            match runtime.open_place() {
                // What somebody else changed stays as it is; `resume` says so and asks.
                Err(error) if error.is::<place::TreeChanged>() => drop(runtime.keep_users_version()?),
                opened => opened?,
            }
        }
        // What cannot be saved is asked for again.
        let _ = runtime.save_edits();
        runtime.remove_worktrees()?;
        runtime.show(None);
        Ok(runtime.state)
    }

    fn with(
        state: State,
        writer: JournalWriter,
        resources: Resources,
        observer: &'a mut dyn Observer,
    ) -> anyhow::Result<Self> {
        let log = resources.log.clone();
        let mut runtime = Self::new(state, writer, resources, observer)?;
        let pid = std::process::id();
        let worker = Worker {
            pid,
            start_time: process::process_start_time(pid),
            log: log.map(|path| path.display().to_string()),
        };
        runtime.emit(Event::WorkerStarted(worker))?;
        Ok(runtime)
    }

    fn new(
        state: State,
        writer: JournalWriter,
        resources: Resources,
        observer: &'a mut dyn Observer,
    ) -> anyhow::Result<Self> {
        let face = Face::new(resources.repository.root());
        face.create()?;
        let user = Workspace::of_user(&resources.repository)?;
        Ok(Self {
            user,
            place: None,
            pool: Vec::new(),
            measured: None,
            face_drift: None,
            alive: true,
            standing: None,
            baseline_runs: Vec::new(),
            face,
            writer,
            state,
            observer,
            repository: resources.repository,
            store: resources.store,
            run: resources.run,
            codex: resources.codex,
            cache: resources.cache,
            pytest_addopts: resources.pytest_addopts,
            stop: resources.stop,
            _lock: resources.lock,
        })
    }

    /// Returns the state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Appends an event, folds it in, and shows it.
    pub fn emit(&mut self, event: Event) -> anyhow::Result<()> {
        let record = self.writer.append(Timestamp::now(), event)?;
        self.state.apply(&record);
        let line = progress_line(&self.state, &record);
        self.show(line.as_deref());
        self.observer.event(&self.state, &record, line.as_deref());
        Ok(())
    }

    /// Writes the readable face. It can be rebuilt, so a failure here loses nothing and stops nothing.
    fn show(&mut self, line: Option<&str>) {
        // What somebody edited there is looked at before it is replaced, and left as the proof until the loop has
        // stopped for it.
        if self.face_drift.is_none() {
            self.face_drift = self.edited_face();
        }
        let report = status_report(&self.state, self.alive && !self.state.finished, Timestamp::now());
        if self.face_drift.is_none() || self.state.stop.is_some() {
            let _ = self.face.write_state(&report);
        }
        if self.state.finished || !self.alive {
            self.face.remove("loop.pid");
        } else if let Some(worker) = &self.state.worker
            && let Ok(bytes) = serde_json::to_vec(worker)
            && self.face.read("loop.pid").as_deref() != Some(&bytes[..])
        {
            let _ = self.face.write("loop.pid", &bytes);
        }
        if let Some(line) = line {
            if !self.face.path("progress.log").exists()
                && let Ok(journal) = self.run.journal()
                && journal.records.len() > 1
            {
                let _ = self.face.write_log(&progress_log(&journal.records));
                return;
            }
            let _ = self.face.log(&format!("{} {line}", report::clock(self.state.updated_at)));
        }
    }

    /// Runs the loop to its end.
    ///
    /// Returns an error only where even the end cannot be written down (a full or broken disk); the journal then ends
    /// at the last thing that could, and `resume` goes on from there.
    pub fn run(mut self) -> anyhow::Result<State> {
        let result = self.work();
        self.close();
        result.map(|()| self.state)
    }

    fn work(&mut self) -> anyhow::Result<()> {
        loop {
            if self.state.stop.is_none() && self.stop.requested() {
                let message = self.stop.reason();
                self.emit(Event::Stopped {
                    reason: Some(StopReason::UserStopped),
                    message,
                    hint: Some("go on with `resume`".into()),
                })?;
            }
            let Some(effect) = decide(&self.state, Timestamp::now()) else { return Ok(()) };
            let ending = matches!(effect, Effect::Stop { .. } | Effect::Land | Effect::Finish);
            let performed = match self.drift() {
                Ok(Some(cause)) if self.state.stop.is_none() => self.emit(Event::Stopped {
                    reason: Some(StopReason::GoalDrift),
                    message: format!("The goal is no longer the approved one: {cause}."),
                    hint: Some("start a new loop; accepted states are kept in their refs".into()),
                }),
                Ok(_) => self.perform(effect),
                Err(error) => Err(error),
            };
            if let Err(error) = performed {
                if ending || self.state.stop.is_some() {
                    return Err(error);
                }
                match error.downcast::<place::TreeChanged>() {
                    Ok(changed) => self.stop_for_changed_tree(&changed)?,
                    Err(error) => self.stop_for(&error)?,
                }
            }
        }
    }

    /// Ends the loop for a fault.
    fn stop_for(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        let full = crate::error::is_disk_full(error) || self.out_of_room();
        let (reason, hint) = if full {
            (StopReason::DiskFull, "make space, then `resume`")
        } else {
            (StopReason::Error, "the run's folder has the details; `resume` goes on from the last finished step")
        };
        let message = if full { format!("The disk is full: {error:#}") } else { format!("{error:#}") };
        self.emit(Event::Stopped { reason: Some(reason), message, hint: Some(hint.into()) })
            .with_context(|| format!("after: {error:#}"))
    }

    /// Says whether a disk that the loop needs is full: git does not always say that this is why it failed.
    fn out_of_room(&self) -> bool {
        [self.run.dir(), self.repository.private_dir(), &self.cache].into_iter().any(crate::workspace::is_full)
    }

    /// Returns an error if a disk that the loop needs is full: what fails on one says nothing about a proposal.
    fn expect_room(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.out_of_room(), "no room is left for the store, the loop's work trees or temporary files");
        Ok(())
    }

    /// Returns how the goal differs between the journal, the readable state and the first ref, if it does.
    fn drift(&self) -> anyhow::Result<Option<String>> {
        let expected = &self.state.started.goal_hash;
        if self.state.plan.goal_hash() != *expected {
            return Ok(Some("the journal's goal does not have the hash it names".into()));
        }
        let name = seed_ref(&self.state.started.run_id);
        let message = self.repository.commit_message(&name)?;
        if !message.is_some_and(|message| message.contains(expected)) {
            return Ok(Some(format!("{name} does not carry its hash")));
        }
        Ok(self.face_drift.clone().or_else(|| self.edited_face()))
    }

    /// Says so where the readable state names another goal. A missing or unreadable one is rebuilt from the journal.
    fn edited_face(&self) -> Option<String> {
        let bytes = self.face.read("loop-state.json")?;
        let told: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let fits =
            |told: &serde_json::Value, text: &str| told.as_str().is_some_and(|told| masking::could_be(told, text));
        let criteria = &self.state.plan.acceptance_criteria;
        let same = told["goalHash"] == self.state.started.goal_hash.as_str()
            && fits(&told["goal"], &self.state.plan.goal)
            && told["acceptanceCriteria"].as_array().is_some_and(|told| {
                told.len() == criteria.len() && told.iter().zip(criteria).all(|(told, text)| fits(told, text))
            });
        (told["runId"] == self.state.started.run_id.as_str() && !same)
            .then(|| ".loop/loop-state.json names another goal".into())
    }

    fn perform(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::TakeBaseline => self.take_baseline(),
            Effect::StartIteration { index, closing } => self.emit(Event::IterationStarted { index, closing }),
            Effect::Ask { kind, repair, shrink } => self.ask(kind, repair, shrink),
            Effect::AskAgents { slots, shrink } => self.ask_agents(&slots, shrink),
            Effect::TakeAgents => self.take_agents(),
            Effect::TakeAnswer { kind } => self.take_answer(kind),
            Effect::GiveUp { kind, reason, class } => self.emit(Event::StepGivenUp { kind, reason, class }),
            Effect::Wait { cause, until, message } => {
                self.emit(Event::WaitStarted { cause, until, message })?;
                self.wait(until)
            }
            Effect::Prepare { id } => self.prepare(&id),
            Effect::Try { id } => self.try_candidate(&id),
            Effect::TryTogether { ids } => self.try_together(&ids),
            Effect::Accept { id } => self.accept(&id),
            Effect::Prove => self.prove(),
            Effect::FinishIteration { index } => self.finish_iteration(index),
            Effect::Stop { reason, message, hint } => self.emit(Event::Stopped { reason, message, hint }),
            Effect::Land => self.land(),
            Effect::Finish => self.finish(),
        }
    }

    fn wait(&mut self, until: Timestamp) -> anyhow::Result<()> {
        let (began, now) = (Instant::now(), Timestamp::now());
        let whole = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        // By both clocks: that of the day may be set back while the loop waits, the other stands still in a sleep.
        while Timestamp::now() < until && began.elapsed() < whole {
            if self.stop.requested() {
                return Ok(());
            }
            std::thread::sleep(WAIT_TICK);
        }
        self.emit(Event::WaitFinished)
    }

    /// Leaves the journal saying that the worker has ended by itself.
    fn close(&mut self) {
        if !self.state.finished {
            let _ = self.emit(Event::WorkerEnded);
        }
    }

    /// Writes an artefact of the current iteration (0 for the baseline).
    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        self.run.write(self.iteration_index(), name, bytes)
    }

    fn iteration_index(&self) -> u32 {
        self.state.current().map_or(0, |iteration| iteration.index)
    }
}

/// Returns what `progress.log` says after these events.
fn progress_log(records: &[Record]) -> String {
    let mut state = None;
    let mut text = String::new();
    for record in records {
        match &mut state {
            None => state = State::begin(record),
            Some(state) => state.apply(record),
        }
        if let Some(line) = state.as_ref().and_then(|state| progress_line(state, record)) {
            text.extend([&report::clock(record.at), " ", &line, "\n"]);
        }
    }
    text
}

/// Writes the readable face of a loop that has ended, where it is missing.
///
/// Returns an error if it cannot be written.
pub fn show(face: &Face, run: &Run, state: &State) -> anyhow::Result<()> {
    let report = status_report(state, false, Timestamp::now());
    face.write_state(&report)?;
    if !face.path("progress.log").exists() {
        face.write_log(&progress_log(&run.journal()?.records))?;
    }
    Ok(())
}

/// Returns the message of a ref's commit: a subject, and the goal's hash.
pub(crate) fn ref_message(started: &Started, subject: &str) -> String {
    format!("{subject}\n\nLoop: {}\nGoal-Hash: {}\n", started.run_id, started.goal_hash)
}
