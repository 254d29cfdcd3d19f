//! Proposals made by agents: Codex runs that each edit a work tree of their own, at the same time.
//!
//! Threads only wait for Codex. What an agent left is read by git in the loop's thread and stored before the journal
//! says that the agent has ended, so that a change that was paid for is not lost with the worker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::Runtime;
use crate::answers::{AgentReport, Proposal};
use crate::codex::call::ANSWER_FILE;
use crate::codex::prompt::{self, Prompt};
use crate::codex::{self, Access, CallOutcome, CallRequest, Outcome};
use crate::engine::event::{CallEnd, CallFailure, Event, FailureClass, Tokens};
use crate::engine::state::{self, Agent};
use crate::engine::time_for_calls_ms;
use crate::plan::CallKind;
use crate::workspace::{Worktree, further_worktree};

/// The file of a call's folder that holds what the agent changed, as git writes it.
const CHANGE_FILE: &str = "change.patch";

impl Runtime<'_> {
    /// Sets agents to work in these places and waits for all of them; what a dead worker left is taken up first.
    pub(super) fn ask_agents(&mut self, slots: &[u32], shrink: u32) -> anyhow::Result<()> {
        self.take_model_request()?;
        self.recover_agents()?;
        let Some(last) = slots.iter().max() else { return Ok(()) };
        // Fresh ones: nothing of an earlier trial or agent, ignored files among it, may be found in them.
        self.empty_pool()?;
        let made = self.fill_pool(*last as usize + 1);
        if made <= *last as usize {
            self.expect_room()?;
        }
        let setup = self.codex.clone().context("there is no Codex to ask")?;
        let settings = self.state.plan.codex.clone();
        let effort = settings.effort(CallKind::Suggest).to_owned();
        let head = self.state.head_tree.clone();
        let left = time_for_calls_ms(&self.state, Timestamp::now());
        let limit = Duration::from_millis(self.state.plan.budget.codex_timeout_ms.min(left).max(1));
        let access = self.access();
        let mut requests = Vec::new();
        let first = self.state.used.calls + 1;
        for (call, slot) in (first..).zip(slots.iter().copied()) {
            let text = self.agent_prompt(slot, prompt::MAX_PROMPT_CHARS >> shrink.min(4))?;
            let folder = self.agent_folder(call)?;
            self.emit(Event::AgentStarted {
                call,
                slot,
                prompt_chars: text.chars().count() as u64,
                model: settings.model.clone(),
                effort: effort.clone(),
            })?;
            let dir = self.pool.get(slot as usize).map(|worktree| worktree.path().to_owned());
            requests.push((call, slot, dir.filter(|_| (slot as usize) < made), folder, text));
        }
        let requests: Vec<(u32, u32, Option<CallRequest>)> = requests
            .into_iter()
            .map(|(call, slot, dir, folder, prompt)| {
                let request = dir.map(|dir| CallRequest {
                    program: setup.program.clone(),
                    dir,
                    folder,
                    prompt,
                    schema: Some(codex::schema::agent_report()),
                    access,
                    model: settings.model.clone(),
                    effort: Some(effort.clone()),
                    profile: settings.profile.clone(),
                    mcp_off: setup.mcp_off.clone(),
                    env: setup.env.clone(),
                    limit,
                });
                (call, slot, request)
            })
            .collect();
        let outcomes = self.work_together(&requests);
        for ((call, slot, _), outcome) in requests.iter().zip(outcomes) {
            let (duration, tokens, end) = match outcome {
                Ok(outcome) => {
                    let end = self.end_of_agent(*call, *slot, &head, outcome.outcome)?;
                    (outcome.duration, outcome.usage, end)
                }
                Err(error) => {
                    let failure = CallFailure::new(FailureClass::Unknown, format!("{error:#}"));
                    let tokens = Tokens { estimated: true, ..Tokens::default() };
                    (Duration::ZERO, tokens, CallEnd::Failed { failure, answer_file: None })
                }
            };
            let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            self.emit(Event::AgentFinished { call: *call, duration_ms, tokens, end })?;
        }
        // An agent may have written where git does not look; no check may ever run on that.
        self.empty_pool()
    }

    /// Runs every request in a thread of its own and shows what each is doing. The outcomes are in the same order.
    fn work_together(&mut self, requests: &[(u32, u32, Option<CallRequest>)]) -> Vec<anyhow::Result<CallOutcome>> {
        let (told, tell) = std::sync::mpsc::channel::<(u32, String)>();
        std::thread::scope(|scope| {
            let running: Vec<_> = requests
                .iter()
                .map(|(_, slot, request)| {
                    let told = told.clone();
                    let mut watch = self.stop.watch();
                    scope.spawn(move || {
                        let request = request.as_ref().context("no work tree could be made for this agent")?;
                        codex::call(request, &mut watch, &mut |line| {
                            // Nobody listens any more only where everything is over.
                            let _ = told.send((*slot, line.to_owned()));
                        })
                    })
                })
                .collect();
            drop(told);
            for (slot, line) in tell {
                self.observer.activity(&self.state, &format!("agent {}: {line}", slot + 1));
            }
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("an agent's thread panicked"))))
                .collect()
        })
    }

    /// Says how an agent ended, and stores what it changed where it ended well.
    fn end_of_agent(&self, call: u32, slot: u32, head: &str, outcome: Outcome) -> anyhow::Result<CallEnd> {
        let failed =
            |class, message: String| CallEnd::Failed { failure: CallFailure::new(class, message), answer_file: None };
        let text = match outcome {
            Outcome::Answer(text) => text,
            Outcome::Failure(failure) => return Ok(CallEnd::Failed { failure, answer_file: None }),
        };
        if let Err(misfit) = codex::parse::<AgentReport>(&text, &codex::schema::agent_report()) {
            return Ok(failed(FailureClass::BadAnswer, misfit.to_string()));
        }
        let Some(worktree) = self.pool.get(slot as usize) else {
            return Ok(failed(FailureClass::Unknown, "the agent's work tree is gone".into()));
        };
        let folder = self.agent_folder(call)?;
        match self.store_change(worktree, head, &folder) {
            Ok(()) => Ok(CallEnd::Answered { answer_file: format!("{}/{ANSWER_FILE}", agent_name(call)) }),
            // A path that is no text, for example: no reason to lose the others' work.
            Err(error) => Ok(failed(FailureClass::Unknown, format!("its change cannot be read: {error:#}"))),
        }
    }

    /// Writes down what git says changed in an agent's work tree.
    fn store_change(&self, worktree: &Worktree, head: &str, folder: &Path) -> anyhow::Result<()> {
        let tree = worktree.workspace().snapshot_on(head)?;
        let diff = self.repository.diff(head, &tree)?;
        let name = format!("{}/{CHANGE_FILE}", folder.file_name().unwrap_or_default().to_string_lossy());
        self.write(&name, &diff).map(drop)
    }

    /// Takes up the agents of a dead worker: one that had answered is paid for and counts, with what it changed.
    fn recover_agents(&mut self) -> anyhow::Result<()> {
        self.save_edits()?;
        for agent in self.open_agents() {
            let folder = self.agent_folder(agent.call)?;
            let (tokens, end) = match codex::recover(&folder)? {
                Some((Outcome::Answer(text), usage)) => {
                    let fits = codex::parse::<AgentReport>(&text, &codex::schema::agent_report()).is_ok();
                    let end = (fits && folder.join(CHANGE_FILE).exists()).then(|| CallEnd::Answered {
                        answer_file: format!("{}/{ANSWER_FILE}", agent_name(agent.call)),
                    });
                    (usage, end)
                }
                Some((Outcome::Failure(_), usage)) => (usage, None),
                None => (Tokens::estimate(usize::try_from(agent.prompt_chars).unwrap_or(usize::MAX), 0, 0), None),
            };
            let end = end.unwrap_or_else(|| CallEnd::Failed {
                failure: CallFailure::new(FailureClass::Stopped, "the worker died while an agent worked"),
                answer_file: None,
            });
            let duration_ms = state::millis_between(agent.started_at, Timestamp::now());
            self.emit(Event::AgentFinished { call: agent.call, duration_ms, tokens, end })?;
        }
        Ok(())
    }

    /// Stores what agents of a dead worker changed, where they had answered, before their work trees go.
    pub(super) fn save_edits(&self) -> anyhow::Result<()> {
        let head = self.state.head_tree.clone();
        for agent in self.open_agents() {
            let folder = self.agent_folder(agent.call)?;
            let answered = matches!(codex::recover(&folder)?, Some((Outcome::Answer(_), _)));
            if !answered || folder.join(CHANGE_FILE).exists() {
                continue;
            }
            let name = further_worktree(&self.state.started.run_id, agent.slot + 2);
            if let Some(worktree) = Worktree::open(&self.repository, &self.cache, &name, &head)? {
                self.store_change(&worktree, &head, &folder)?;
            }
        }
        Ok(())
    }

    fn open_agents(&self) -> Vec<Agent> {
        let agents = self.state.current().map(|iteration| iteration.agents.iter());
        agents.into_iter().flatten().filter(|agent| agent.end.is_none()).cloned().collect()
    }

    /// Reads what the agents left into proposals.
    pub(super) fn take_agents(&mut self) -> anyhow::Result<()> {
        let index = self.iteration_index();
        let mut agents: Vec<Agent> = self.state.current().map(|iteration| iteration.agents.clone()).unwrap_or_default();
        agents.sort_by_key(|agent| agent.slot);
        let mut proposals = Vec::new();
        for agent in agents.iter().filter(|agent| agent.answered()) {
            let name = agent_name(agent.call);
            let text = self.run.read(index, &format!("{name}/{ANSWER_FILE}"))?;
            let report: AgentReport = codex::parse(&String::from_utf8_lossy(&text), &codex::schema::agent_report())?;
            let change = self.run.read(index, &format!("{name}/{CHANGE_FILE}"))?;
            let id = format!("agent-{}", agent.slot + 1);
            let patch_file = format!("proposals/{id}.raw.patch");
            let proposal = Proposal {
                id,
                approach: report.approach,
                justification: report.justification,
                estimated_risk: report.estimated_risk,
                estimated_impact: report.estimated_impact,
                files_touched: Vec::new(),
                modifies_tests: false,
                test_change_justification: report.test_change_justification,
                review_notes: report.review_notes,
                patch: String::new(),
            };
            let proposed = self.store_proposal(proposal, patch_file.clone())?;
            // As bytes: a change may hold text in any encoding.
            self.write(&patch_file, &change)?;
            proposals.push(proposed);
        }
        self.emit(Event::AgentsProposed { proposals })
    }

    fn agent_prompt(&self, slot: u32, max_chars: usize) -> anyhow::Result<String> {
        let role = prompt::ROLES[slot as usize % prompt::ROLES.len()];
        prompt::Agent {
            situation: self.situation()?,
            role: role.to_owned(),
            rules: self.rules(),
            refused: self.refused(),
        }
        .render_within(max_chars)
    }

    /// Codex's sandbox opens the temporary folders beside the working folder: not where the user's repository, the
    /// store or another agent's work tree is in one of them.
    fn access(&self) -> Access {
        let temporary: Vec<PathBuf> = [PathBuf::from("/tmp"), std::env::temp_dir()]
            .into_iter()
            .flat_map(|folder| [folder.canonicalize().ok(), Some(folder)])
            .flatten()
            .collect();
        let ours = [self.repository.root(), self.repository.git_dir(), self.repository.common_dir(), &self.cache];
        let exposed = ours.iter().any(|path| temporary.iter().any(|folder| path.starts_with(folder)));
        if exposed { Access::WriteFolderAlone } else { Access::WriteFolder }
    }

    fn agent_folder(&self, call: u32) -> anyhow::Result<PathBuf> {
        self.run.folder(self.iteration_index(), &agent_name(call))
    }

    fn empty_pool(&mut self) -> anyhow::Result<()> {
        self.pool.drain(..).try_for_each(Worktree::remove)
    }
}

fn agent_name(call: u32) -> String {
    format!("call-{call:03}-agent")
}
