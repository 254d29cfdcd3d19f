//! Asks Codex: renders the prompt, makes the call, and reads the answer into an event.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use super::Runtime;
use crate::answers::{Evaluation, Proposal, Ranking, Suggestion};
use crate::change::Tree;
use crate::checks::{self, Receipt};
use crate::codex::call::ANSWER_FILE;
use crate::codex::prompt::{self, Prompt};
use crate::codex::{self, Access, CallRequest, Outcome};
use crate::engine::event::{CallEnd, CallFailure, Event, FailureClass, Prepared, Proposed, Ranked};
use crate::engine::state::{self, Iteration};
use crate::engine::{ranking, survivors, time_for_calls_ms};
use crate::guards::Code;
use crate::plan::CallKind;
use crate::process::Exit;

/// How much of a failing check's log goes into a prompt, in bytes of its end.
const LOG_TAIL: u64 = 12_000;

/// Lines of the progress log that prompts carry.
const PROGRESS_LINES: usize = 30;

/// Refused proposals that prompts carry, newest first.
const REFUSED_SHOWN: usize = 30;

/// Most characters of the reason for which an issue was set aside.
const SETTLED_REASON_CHARS: usize = 600;

/// Where the sandbox cannot read, files shown in a prompt: together at most this many characters.
const SHOWN_FILES_CHARS: usize = 80_000;

/// How Codex is to be called on this machine.
#[derive(Debug, Clone)]
pub struct CodexSetup {
    /// The executable.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
    /// Variables handed on, such as a key under the name that Codex reads.
    pub env: Vec<(OsString, OsString)>,
    /// MCP servers of the user's that are kept out.
    pub mcp_off: Vec<String>,
    /// Whether commands in Codex's sandbox can read the repository; where not, prompts carry the files.
    pub can_read: bool,
}

impl Runtime<'_> {
    /// Makes one call.
    pub(super) fn ask(&mut self, kind: CallKind, repair: bool, shrink: u32) -> anyhow::Result<()> {
        self.take_model_request()?;
        if self.recover_call()? {
            return Ok(());
        }
        let head = self.state.head_tree.clone();
        self.expect_tree_or_stop(&head)?;
        if self.state.stop.is_some() {
            return Ok(());
        }
        let codex_setup = self.codex.clone().context("there is no Codex to ask")?;
        let max_chars = prompt::MAX_PROMPT_CHARS >> shrink.min(4);
        let schema = schema(kind);
        let mut text = self.prompt(kind, max_chars)?;
        if repair {
            text = self.repair_prompt(text)?;
        }
        let number = self.state.used.calls + 1;
        let index = self.iteration_index();
        let name = call_name(number, kind);
        let folder = self.run.folder(index, &name)?;
        let settings = self.state.plan.codex.clone();
        let left = time_for_calls_ms(&self.state, Timestamp::now());
        let request = CallRequest {
            program: codex_setup.program,
            dir: self.workspace().dir().to_owned(),
            folder: folder.clone(),
            prompt: text.clone(),
            schema: Some(schema.clone()),
            access: Access::ReadOnly,
            model: settings.model.clone(),
            effort: Some(settings.effort(kind).to_owned()),
            profile: settings.profile.clone(),
            mcp_off: codex_setup.mcp_off,
            env: codex_setup.env,
            limit: Duration::from_millis(self.state.plan.budget.codex_timeout_ms.min(left).max(1)),
        };
        self.emit(Event::CallStarted {
            call: number,
            kind,
            repair,
            prompt_chars: text.chars().count() as u64,
            model: settings.model.clone(),
            effort: settings.effort(kind).to_owned(),
        })?;
        let observer = &mut *self.observer;
        let state = &self.state;
        let outcome = codex::call(&request, &mut self.stop.watch(), &mut |activity| {
            observer.activity(state, &format!("{}: {activity}", kind.name()));
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                // The call was journalled, so its end has to be too.
                let failure = CallFailure::new(FailureClass::Config, format!("Codex cannot be started: {error:#}"));
                self.emit(Event::CallFinished {
                    call: number,
                    duration_ms: 0,
                    tokens: crate::engine::event::Tokens { estimated: true, ..Default::default() },
                    end: CallEnd::Failed { failure, answer_file: None },
                })?;
                return if crate::error::is_disk_full(&error) { Err(error) } else { Ok(()) };
            }
        };
        let end = self.end_of(outcome.outcome, &name, kind, &schema);
        let failed = matches!(end, CallEnd::Failed { .. });
        self.emit(Event::CallFinished {
            call: number,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            tokens: outcome.usage,
            end,
        })?;
        // A call can fail because its own files found no room; that is not Codex's fault.
        if failed { self.run.has_room().and_then(|()| self.expect_room()) } else { Ok(()) }
    }

    /// Says how a call ended: a valid answer, an invalid one, or none.
    fn end_of(&self, outcome: Outcome, name: &str, kind: CallKind, schema: &Value) -> CallEnd {
        let answer_file = format!("{name}/{ANSWER_FILE}");
        match outcome {
            Outcome::Answer(text) => match self.validate(&text, kind, schema) {
                Ok(()) => CallEnd::Answered { answer_file },
                Err(message) => CallEnd::Failed {
                    failure: CallFailure::new(FailureClass::BadAnswer, message),
                    answer_file: Some(answer_file),
                },
            },
            Outcome::Failure(failure) => CallEnd::Failed { failure, answer_file: None },
        }
    }

    /// Checks an answer's form, and that it answers what was asked.
    fn validate(&self, text: &str, kind: CallKind, schema: &Value) -> Result<(), String> {
        let misfit = |misfit: codex::Misfit| misfit.to_string();
        match kind {
            CallKind::Evaluate | CallKind::SecondEvaluation => {
                codex::parse::<Evaluation>(text, schema).map(drop).map_err(misfit)
            }
            CallKind::Suggest | CallKind::Repair => codex::parse::<Suggestion>(text, schema).map(drop).map_err(misfit),
            CallKind::Rank => {
                let ranking = codex::parse::<Ranking>(text, schema).map_err(misfit)?;
                let known: BTreeSet<String> = self
                    .shown_candidates()
                    .iter()
                    .enumerate()
                    .map(|(place, _)| ranking::anonymous_name(place))
                    .collect();
                let scored: BTreeSet<String> = ranking.scores.iter().map(|scores| scores.id.clone()).collect();
                if !known.contains(&ranking.winner.id) {
                    return Err(format!("winner.id `{}` is none of the candidates", ranking.winner.id));
                }
                let missing: Vec<&str> = known.difference(&scored).map(String::as_str).collect();
                if missing.is_empty() { Ok(()) } else { Err(format!("scores lack {}", missing.join(", "))) }
            }
        }
    }

    /// Takes up what came of a call whose worker died: an answer that was paid for is not asked again. Says whether
    /// there was such a call.
    fn recover_call(&mut self) -> anyhow::Result<bool> {
        let Some(call) = self.state.call.clone().filter(|call| call.end.is_none()) else { return Ok(false) };
        let index = self.iteration_index();
        let name = call_name(call.number, call.kind);
        let folder = self.run.iteration_dir(index)?.join(&name);
        let recovered = codex::recover(&folder)?;
        let (outcome, tokens) = match recovered {
            Some((outcome, usage)) => (outcome, usage),
            None => (
                Outcome::Failure(CallFailure::new(FailureClass::Stopped, "the worker died while Codex worked")),
                crate::engine::event::Tokens::estimate(call.prompt_chars as usize, 0, 0),
            ),
        };
        let end = self.end_of(outcome, &name, call.kind, &schema(call.kind));
        let duration_ms = state::millis_between(call.started_at, Timestamp::now());
        self.emit(Event::CallFinished { call: call.number, duration_ms, tokens, end })?;
        Ok(true)
    }

    /// Takes over what `model` set since the last call.
    pub(super) fn take_model_request(&mut self) -> anyhow::Result<()> {
        let Some(request) = self.store.model_request()? else { return Ok(()) };
        let mut settings = self.state.plan.codex.clone();
        if let Some(model) = request.model.clone() {
            settings.model = Some(model);
        }
        if let Some(effort) = &request.effort
            && let Ok(efforts) = crate::options::efforts(effort)
        {
            settings.efforts.extend(efforts);
        }
        if settings == self.state.plan.codex || request.run_id.as_deref() != Some(&self.state.started.run_id) {
            return Ok(());
        }
        self.emit(Event::ModelChanged { model: settings.model, efforts: settings.efforts })
    }

    /// As [`Self::expect_tree`], but a tree changed by somebody else ends the loop in good order.
    fn expect_tree_or_stop(&mut self, tree: &str) -> anyhow::Result<()> {
        match self.tree_changed(|runtime| runtime.expect_tree(tree))? {
            None => Ok(()),
            Some(stopped) => stopped,
        }
    }

    /// Reads the stored answer into the event it stands for.
    pub(super) fn take_answer(&mut self, kind: CallKind) -> anyhow::Result<()> {
        let file = self.state.attempt.answer_file.clone().context("an answer is to be read but none is stored")?;
        let bytes = self.run.read(self.iteration_index(), &file)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let schema = schema(kind);
        match kind {
            CallKind::Evaluate => {
                let evaluation: Evaluation = codex::parse(&text, &schema)?;
                self.write_json("evaluation.json", &evaluation)?;
                let contents = self.contents_for(&evaluation)?;
                self.emit(Event::IssuesSeen { contents })?;
                self.emit(Event::Evaluated { evaluation })
            }
            CallKind::SecondEvaluation => {
                let evaluation = codex::parse(&text, &schema)?;
                self.write_json("second-evaluation.json", &evaluation)?;
                self.emit(Event::SecondEvaluated { evaluation })
            }
            CallKind::Suggest => {
                let suggestion: Suggestion = codex::parse(&text, &schema)?;
                let most = self.state.plan.method.nproposals as usize;
                let proposals = self.store_proposals(suggestion.proposals, most)?;
                self.emit(Event::Suggested { proposals })
            }
            CallKind::Repair => {
                let suggestion: Suggestion = codex::parse(&text, &schema)?;
                let wanted: BTreeSet<String> =
                    self.failed_patches().iter().map(|(candidate, _)| candidate.proposed.id.clone()).collect();
                let mended: Vec<Proposal> =
                    suggestion.proposals.into_iter().filter(|proposal| wanted.contains(&proposal.id)).collect();
                let most = mended.len();
                let proposals = self.store_mended(mended, most)?;
                self.emit(Event::PatchesMended { proposals })
            }
            CallKind::Rank => {
                let mut ranking: Ranking = codex::parse(&text, &schema)?;
                let shown = self.shown_candidates();
                let real = |name: &str| {
                    let place = shown.iter().enumerate().find(|(place, _)| ranking::anonymous_name(*place) == name);
                    place.map(|(_, id)| id.clone())
                };
                ranking.scores.retain_mut(|scores| match real(&scores.id) {
                    Some(id) => {
                        scores.id = id;
                        true
                    }
                    None => false,
                });
                ranking.winner.id = real(&ranking.winner.id).unwrap_or_default();
                ranking.rejections.retain_mut(|rejection| match real(&rejection.id) {
                    Some(id) => {
                        rejection.id = id;
                        true
                    }
                    None => false,
                });
                self.write_json("ranking.json", &ranking)?;
                self.emit(Event::ProposalRanked { ranked: Ranked { ranking } })
            }
        }
    }

    /// Returns digests of the files that open issues, settled ones and those of an evaluation speak of.
    fn contents_for(&self, evaluation: &Evaluation) -> anyhow::Result<BTreeMap<String, String>> {
        let tree = self.repository.tree(&self.state.head_tree)?;
        let open = self.state.open_issues.iter().chain(&evaluation.open_issues).filter_map(|issue| issue.file.as_ref());
        let settled = self.state.settled.iter().filter_map(|settled| settled.file.as_ref());
        let paths: BTreeSet<&String> = open.chain(settled).collect();
        let mut contents = BTreeMap::new();
        for path in paths {
            // A model may name anything; what is no file of the tree has no content.
            if let Some(file) = tree.read(path).ok().flatten() {
                contents.insert(path.clone(), crate::plan::sha256(&file.content));
            }
        }
        Ok(contents)
    }

    fn write_json(&self, name: &str, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(value).with_context(|| format!("write {name}"))?;
        self.write(name, &bytes).map(drop)
    }

    fn store_proposals(&self, proposals: Vec<Proposal>, most: usize) -> anyhow::Result<Vec<Proposed>> {
        let mut taken = BTreeSet::new();
        proposals
            .into_iter()
            .take(most)
            .map(|mut proposal| {
                proposal.id = usable_id(&proposal.id, &taken);
                taken.insert(proposal.id.clone());
                let patch_file = format!("proposals/{}.raw.patch", proposal.id);
                self.store_proposal(proposal, patch_file)
            })
            .collect()
    }

    fn store_mended(&self, proposals: Vec<Proposal>, most: usize) -> anyhow::Result<Vec<Proposed>> {
        proposals
            .into_iter()
            .take(most)
            .map(|proposal| {
                let patch_file = format!("proposals/{}.mended.raw.patch", proposal.id);
                self.store_proposal(proposal, patch_file)
            })
            .collect()
    }

    pub(super) fn store_proposal(&self, proposal: Proposal, patch_file: String) -> anyhow::Result<Proposed> {
        self.write(&patch_file, proposal.patch.as_bytes())?;
        Ok(Proposed {
            id: proposal.id,
            approach: proposal.approach,
            justification: proposal.justification,
            estimated_risk: proposal.estimated_risk,
            estimated_impact: proposal.estimated_impact,
            test_change_justification: proposal.test_change_justification,
            review_notes: proposal.review_notes,
            patch_file,
        })
    }

    /// Returns the candidates that the judge is shown, in that order.
    fn shown_candidates(&self) -> Vec<String> {
        let Some(iteration) = self.state.current() else { return Vec::new() };
        let tried = iteration.ready().iter().any(|candidate| candidate.trial.is_some());
        let ids: Vec<String> = if tried {
            survivors(iteration)
        } else {
            iteration.ready().iter().map(|candidate| candidate.proposed.id.clone()).collect()
        };
        ranking::shuffled(&self.state.started.run_id, iteration.index, &ids)
    }

    /// Returns where the loop stands, for those who judge or change the repository.
    pub(super) fn situation(&self) -> anyhow::Result<prompt::Situation> {
        let iteration = self.iteration_index();
        Ok(prompt::Situation {
            task: self.task()?,
            iteration,
            max_iterations: self.state.plan.budget.max_iterations.max(iteration),
            history: self.history(),
            progress: self.progress(),
            open_issues: self.state.open_issues.clone(),
            diff: self.diff_since_seed()?,
            receipts: self.check_results(),
        })
    }

    fn prompt(&self, kind: CallKind, max_chars: usize) -> anyhow::Result<String> {
        let plan = &self.state.plan;
        match kind {
            CallKind::Evaluate => prompt::Evaluate {
                situation: self.situation()?,
                settled: self
                    .state
                    .settled
                    .iter()
                    .map(|settled| prompt::Settled {
                        id: settled.id.clone(),
                        summary: settled.summary.clone(),
                        reason: prompt::cut_middle(&settled.reason, SETTLED_REASON_CHARS),
                    })
                    .collect(),
            }
            .render_within(max_chars),
            CallKind::SecondEvaluation => {
                let (task, diff, receipts) = (self.task()?, self.diff_since_seed()?, self.check_results());
                prompt::SecondEvaluation { task, diff, receipts }.render_within(max_chars)
            }
            CallKind::Suggest => prompt::Suggest {
                situation: self.situation()?,
                count: plan.method.nproposals,
                roles: roles(plan.method.nproposals),
                rules: self.rules(),
                refused: self.refused(),
            }
            .render_within(max_chars),
            CallKind::Rank => prompt::Rank {
                task: self.task()?,
                open_issues: self.state.open_issues.clone(),
                candidates: self.candidates_for_judge()?,
            }
            .render_within(max_chars),
            CallKind::Repair => {
                prompt::RepairPatch { task: self.task()?, rules: self.rules(), failures: self.failures_for_mending()? }
                    .render_within(max_chars)
            }
        }
    }

    fn repair_prompt(&self, question: String) -> anyhow::Result<String> {
        let attempt = &self.state.attempt;
        let answer = match &attempt.bad_answer_file {
            Some(file) => String::from_utf8_lossy(&self.run.read(self.iteration_index(), file)?).into_owned(),
            None => String::new(),
        };
        let faults = attempt
            .failures
            .iter()
            .rev()
            .find(|(_, failure)| failure.class == FailureClass::BadAnswer)
            .map(|(_, failure)| failure.message.lines().map(str::to_owned).collect())
            .unwrap_or_default();
        prompt::RepairAnswer { question, answer, faults }.render()
    }

    pub(super) fn task(&self) -> anyhow::Result<prompt::Task> {
        let seed = self.repository.tree(&self.state.started.seed_tree)?;
        let agents_md = seed
            .read("AGENTS.md")?
            .and_then(|file| file.text().map(str::to_owned))
            .filter(|text| !text.trim().is_empty());
        let repository =
            if self.codex.as_ref().is_none_or(|codex| codex.can_read) { None } else { Some(self.shown_repository()?) };
        Ok(prompt::Task {
            goal: self.state.plan.goal.clone(),
            criteria: self.state.plan.acceptance_criteria.clone(),
            agents_md,
            repository,
        })
    }

    /// Shows the repository in the prompt, for where Codex's commands cannot read it: every path, and the files that
    /// issues, failing checks and the diff speak of first.
    fn shown_repository(&self) -> anyhow::Result<prompt::Repository> {
        let tree = self.repository.tree(&self.state.head_tree)?;
        let mut spoken = String::new();
        for receipt in &self.state.head_receipts {
            if !receipt.exit.success() {
                spoken.push_str(&checks::log_tail(Path::new(&receipt.log), LOG_TAIL));
            }
        }
        for issue in &self.state.open_issues {
            spoken.push_str(issue.file.as_deref().unwrap_or_default());
            spoken.push('\n');
        }
        spoken.push_str(&self.state.plan.goal);
        let mut paths: Vec<&String> = tree.paths().iter().collect();
        let named = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            (!spoken.contains(path), !spoken.contains(name))
        };
        paths.sort_by_key(|path| (named(path), path.len()));
        let mut files = Vec::new();
        let mut room = SHOWN_FILES_CHARS;
        for path in paths {
            if room == 0 {
                break;
            }
            let Some(file) = tree.read(path)? else { continue };
            let Some(text) = file.text().filter(|_| !file.is_binary()) else { continue };
            let text = prompt::cut_middle(text, room.min(SHOWN_FILES_CHARS / 4));
            room = room.saturating_sub(text.chars().count());
            files.push(prompt::FileExcerpt { path: path.clone(), text });
        }
        Ok(prompt::Repository { listing: tree.paths().join("\n"), files })
    }

    pub(super) fn diff_since_seed(&self) -> anyhow::Result<String> {
        if !self.state.has_changes() {
            return Ok(String::new());
        }
        let diff = self.repository.diff(&self.state.started.seed_tree, &self.state.head_tree)?;
        Ok(String::from_utf8_lossy(&diff).into_owned())
    }

    pub(super) fn check_results(&self) -> Vec<prompt::CheckResult> {
        let excused = self.state.excused().ids();
        self.state
            .head_receipts
            .iter()
            .map(|receipt| prompt::CheckResult {
                check: receipt.check.clone(),
                command: receipt.command.clone(),
                result: result_line(receipt, &excused),
                output: if receipt.exit.success() {
                    String::new()
                } else {
                    crate::masking::shown().known(&checks::log_tail(Path::new(&receipt.log), LOG_TAIL))
                },
            })
            .collect()
    }

    fn history(&self) -> Vec<String> {
        self.state.rounds().filter(|iteration| iteration.ended_at.is_some()).map(history_line).collect()
    }

    fn progress(&self) -> Vec<String> {
        let text = self.face.read("progress.log").unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(PROGRESS_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Returns the newest refused proposals, oldest first.
    pub(super) fn refused(&self) -> Vec<prompt::Refused> {
        let rejections = self.state.rejections().into_iter().take(REFUSED_SHOWN).rev();
        rejections
            .map(|rejected| prompt::Refused {
                approach: self.approach(&rejected.id),
                code: rejected.code.to_string(),
                reason: rejected.reason,
            })
            .collect()
    }

    fn approach(&self, id: &str) -> String {
        self.state
            .iterations
            .iter()
            .rev()
            .find_map(|iteration| iteration.candidate(id))
            .map(|candidate| candidate.proposed.approach.clone())
            .unwrap_or_default()
    }

    /// Returns the limits of this loop in sentences.
    pub(super) fn rules(&self) -> Vec<String> {
        let plan = &self.state.plan;
        let mut rules = vec![format!("A patch adds and removes at most {} lines.", plan.method.max_patch_lines)];
        if !plan.limits.scope.is_empty() {
            rules.push(format!("Change only paths that match {}.", plan.limits.scope.join(", ")));
        }
        if !plan.limits.protect.is_empty() {
            rules.push(format!("Never change paths that match {}.", plan.limits.protect.join(", ")));
        }
        for allowed in &plan.limits.allow_change {
            let reason = allowed.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            rules.push(format!("Tests and check settings in {} may be changed{reason}.", allowed.glob));
        }
        let red = self.state.head_receipts.iter().any(|receipt| !receipt.exit.success());
        if red {
            rules.push("Every patch has to make something that fails pass, by itself, and break nothing.".into());
        }
        let repeated = self.state.state_ids.values().any(|times| *times >= 2);
        if repeated {
            rules.push(
                "The loop has come back to a state it had before. Take another way than any tried so far.".into(),
            );
        }
        rules
    }

    fn candidates_for_judge(&self) -> anyhow::Result<Vec<prompt::Candidate>> {
        let Some(iteration) = self.state.current() else { return Ok(Vec::new()) };
        self.shown_candidates()
            .iter()
            .enumerate()
            .filter_map(|(place, id)| Some((place, iteration.candidate(id)?)))
            .map(|(place, candidate)| {
                let (diff, mut evidence) = match &candidate.prepared {
                    Some(Prepared::Ready { diff_file, flags, matches, .. }) => {
                        let diff = self.run.read(iteration.index, diff_file)?;
                        let mut notes: Vec<String> = flags
                            .iter()
                            .map(|flag| format!("flag {}: {} ({})", flag.code, flag.reason, flag.path))
                            .collect();
                        let loose = matches.iter().filter(|hunk| hunk.how.is_loose()).count();
                        if loose > 0 {
                            notes.push(format!("{loose} hunks were placed by a loose match"));
                        }
                        (String::from_utf8_lossy(&diff).into_owned(), notes)
                    }
                    _ => (String::new(), Vec::new()),
                };
                if let Some(trial) = &candidate.trial {
                    evidence.insert(
                        0,
                        format!(
                            "{}; {} failing before, {} after",
                            trial.reason, trial.failing_before, trial.failing_after
                        ),
                    );
                }
                Ok(prompt::Candidate { name: ranking::anonymous_name(place), diff, evidence })
            })
            .collect()
    }

    /// Returns the proposals that do not apply and have not been back to the model.
    fn failed_patches(&self) -> Vec<(&state::Candidate, &str)> {
        self.state
            .current()
            .into_iter()
            .flat_map(|iteration| iteration.candidates.iter().flatten())
            .filter(|candidate| !candidate.mended && !candidate.exact)
            .filter_map(|candidate| match &candidate.prepared {
                Some(Prepared::Refused { code: Code::DoesNotApply, reason, .. }) => Some((candidate, reason.as_str())),
                _ => None,
            })
            .collect()
    }

    fn failures_for_mending(&self) -> anyhow::Result<Vec<prompt::FailedPatch>> {
        let index = self.iteration_index();
        self.failed_patches()
            .into_iter()
            .map(|(candidate, reason)| {
                let id = &candidate.proposed.id;
                let windows = self
                    .run
                    .read(index, &format!("proposals/{id}.refusal.json"))
                    .ok()
                    .and_then(|bytes| serde_json::from_slice::<crate::patch::Refusal>(&bytes).ok())
                    .map(|refusal| refusal.real_lines())
                    .unwrap_or_default();
                // Where the real lines are known, seeing its own wrong quotes again would only mislead the model.
                let patch = if windows.is_empty() {
                    let raw = self.run.read(index, &candidate.proposed.patch_file)?;
                    Some(String::from_utf8_lossy(&raw).into_owned())
                } else {
                    None
                };
                Ok(prompt::FailedPatch {
                    id: id.clone(),
                    approach: candidate.proposed.approach.clone(),
                    justification: candidate.proposed.justification.clone(),
                    cause: reason.to_owned(),
                    real_lines: windows,
                    patch,
                })
            })
            .collect()
    }
}

/// Returns the schema of a kind of call's answer.
fn schema(kind: CallKind) -> Value {
    match kind {
        CallKind::Evaluate | CallKind::SecondEvaluation => codex::schema::evaluation(),
        CallKind::Suggest | CallKind::Repair => codex::schema::proposals(),
        CallKind::Rank => codex::schema::ranking(),
    }
}

fn call_name(number: u32, kind: CallKind) -> String {
    format!("call-{number:03}-{}", kind.name())
}

/// Returns a file-name-safe id: the model's own where it keeps to the pattern and is free, else a numbered one.
fn usable_id(wanted: &str, taken: &BTreeSet<String>) -> String {
    let fits = wanted.len() <= 60
        && wanted.starts_with(|c: char| c.is_ascii_lowercase())
        && wanted.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    if fits && !taken.contains(wanted) {
        return wanted.to_owned();
    }
    (1..=u32::MAX).map(|number| format!("p{number}")).find(|id| !taken.contains(id)).unwrap_or_default()
}

fn roles(count: u32) -> Vec<String> {
    prompt::ROLES.iter().cycle().take(count as usize).map(|role| (*role).to_owned()).collect()
}

fn result_line(receipt: &Receipt, excused: &BTreeSet<String>) -> String {
    let exit = match receipt.exit {
        Exit::Code { code } => format!("exit {code}"),
        Exit::Signal { signal } => format!("killed by signal {signal}"),
        Exit::TimedOut => "ended at its time limit".into(),
        Exit::OutputLimit => "ended for too much output".into(),
        Exit::TooManyProcesses => "ended for too many processes".into(),
        Exit::Stopped => "stopped".into(),
    };
    let summary = receipt.summary();
    let mut line = if summary == exit { exit } else { format!("{exit}, {summary}") };
    let failing: Vec<String> = receipt.ids.iter().flat_map(|ids| ids.failed.iter().cloned()).collect();
    if !failing.is_empty() {
        let shown: Vec<&str> = failing.iter().take(20).map(String::as_str).collect();
        let _ = write!(line, "; failing: {}", shown.join(", "));
        if failing.len() > shown.len() {
            let _ = write!(line, " and {} more", failing.len() - shown.len());
        }
    }
    if failing.iter().any(|id| excused.contains(id)) {
        line.push_str("; some of these are known red or flaky and do not count");
    }
    line
}

fn history_line(iteration: &Iteration) -> String {
    let verdict = iteration
        .evaluation
        .as_ref()
        .map_or("no evaluation".to_owned(), |evaluation| format!("distance {:.2}", evaluation.distance_from_goal));
    let winner = iteration.winner.as_ref().and_then(|id| iteration.candidate(id));
    let outcome = match winner {
        Some(winner) if iteration.accepted => {
            let measured = winner.trial.as_ref().map(|trial| format!(" ({})", trial.reason)).unwrap_or_default();
            format!("accepted: {}{measured}", winner.proposed.approach)
        }
        _ => {
            let lost: Vec<String> = state::rejected(iteration)
                .into_iter()
                .map(|rejected| format!("{}: {}", rejected.code, rejected.reason))
                .collect();
            if lost.is_empty() {
                "nothing accepted".to_owned()
            } else {
                format!("nothing accepted ({})", lost.join("; "))
            }
        }
    };
    let refuted = iteration
        .refuted_claim
        .as_ref()
        .map(|reason| format!("; its claim of done was refuted: {reason}"))
        .unwrap_or_default();
    format!("iteration {}: {verdict}; {outcome}{refuted}", iteration.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_do_not_fit_or_are_taken_get_a_number() {
        let mut taken = BTreeSet::new();
        assert_eq!(usable_id("direct-fix", &taken), "direct-fix");
        taken.insert("direct-fix".to_owned());
        assert_eq!(usable_id("direct-fix", &taken), "p1");
        assert_eq!(usable_id("../../x", &taken), "p1");
        assert_eq!(usable_id("", &taken), "p1");
    }
}
