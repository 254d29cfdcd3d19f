//! Every text sent to Codex, rendered from the templates in `prompts/`.
//!
//! What comes from the repository, from tools or from earlier answers is put between fences that nothing inside can
//! close, and is never treated as a template. Every prompt is bounded: long texts lose their middle, long lists
//! their older or later part, and the prompt says so. It never reads a file and never decides what belongs in.

use std::sync::LazyLock;

use anyhow::Context;
use handlebars::Handlebars;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::answers::OpenIssue;

/// Most characters of a prompt: about 50,000 tokens, a fifth of the smallest context window of the models Codex
/// lists, so that there is room for the files Codex reads and for thought.
pub const MAX_PROMPT_CHARS: usize = 200_000;

/// Most characters of one text, to begin with; halved until the prompt fits.
const MAX_TEXT_CHARS: usize = 60_000;

/// Most entries of one list, to begin with; halved until the prompt fits.
const MAX_ITEMS: usize = 200;

/// Limits that are not gone below: with these, any prompt fits.
const LEAST_TEXT_CHARS: usize = 200;
const LEAST_ITEMS: usize = 8;

/// Most characters of the goal. It is cut only together with everything else at its least: nobody should be judged
/// by half a goal. A start refuses longer ones, so in a prompt of full length the goal is always whole.
pub const MAX_GOAL_CHARS: usize = 120_000;

/// Lines of the progress log that are shown.
const PROGRESS_LINES: usize = 30;

/// The part of a prompt that stays the same through a loop; it comes first, where providers can cache it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The user's goal, word for word.
    pub goal: String,
    /// The acceptance criteria.
    #[serde(serialize_with = "numbered")]
    pub criteria: Vec<String>,
    /// AGENTS.md of the seed tree.
    pub agents_md: Option<String>,
    /// What the repository holds, for where Codex cannot read it by itself.
    pub repository: Option<Repository>,
}

/// A repository shown in the prompt.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Its paths, one a line.
    pub listing: String,
    /// The files that matter.
    pub files: Vec<FileExcerpt>,
}

/// A file or a part of one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileExcerpt {
    /// Path, and the lines where it is a part.
    pub path: String,
    pub text: String,
}

/// What a check gave when it was last run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Which check: `test`, `lint`, `type`, `accept`.
    pub check: String,
    /// The command line.
    pub command: String,
    /// In one line: exit status and counts.
    pub result: String,
    /// The output where it failed; empty where it did not.
    pub output: String,
}

/// A proposal that was turned down.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub approach: String,
    /// The guard's code.
    pub code: String,
    pub reason: String,
}

/// An issue that was set aside.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    pub id: String,
    pub summary: String,
    /// Why, as the evaluation of then has it.
    pub reason: String,
}

/// A change to be compared with others.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `candidate-N`: says nothing about where it comes from.
    pub name: String,
    pub diff: String,
    /// What was measured, a sentence each.
    pub evidence: Vec<String>,
}

/// A patch that did not apply.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedPatch {
    /// The proposal's id.
    pub id: String,
    pub approach: String,
    pub justification: String,
    /// Why it did not apply.
    pub cause: String,
    /// The file's lines at the places it meant, with their numbers.
    pub real_lines: String,
    /// The patch itself, or `None` where seeing its wrong quotes again would only mislead.
    pub patch: Option<String>,
}

/// Where the loop stands, as everyone is told who judges or changes the repository.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Situation {
    pub task: Task,
    /// Counted from 1.
    pub iteration: u32,
    pub max_iterations: u32,
    /// One summary of each earlier iteration, oldest first.
    pub history: Vec<String>,
    /// The progress log; its last 30 lines are shown.
    pub progress: Vec<String>,
    /// Issues of the evaluation before.
    pub open_issues: Vec<OpenIssue>,
    /// Everything changed since the seed tree; empty for nothing.
    pub diff: String,
    pub receipts: Vec<CheckResult>,
}

/// What the evaluator is told.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluate {
    #[serde(flatten)]
    pub situation: Situation,
    /// Issues that earlier evaluations set aside.
    pub settled: Vec<Settled>,
}

/// What the second, independent evaluator is told: nothing of what others concluded.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecondEvaluation {
    pub task: Task,
    /// Everything changed since the seed tree; empty for nothing.
    pub diff: String,
    pub receipts: Vec<CheckResult>,
}

/// What is told to get proposals.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggest {
    #[serde(flatten)]
    pub situation: Situation,
    /// Number of proposals wanted.
    pub count: u32,
    /// A sentence for each role, as [`ROLES`] has them.
    pub roles: Vec<String>,
    /// Limits of this loop in sentences: scope, protected paths, permissions, size.
    pub rules: Vec<String>,
    pub refused: Vec<Refused>,
}

/// What an agent that edits a work tree of its own is told.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    #[serde(flatten)]
    pub situation: Situation,
    /// One of [`ROLES`].
    pub role: String,
    /// As in [`Suggest`].
    pub rules: Vec<String>,
    pub refused: Vec<Refused>,
}

/// The roles proposals are written in, in the order they are given out.
pub const ROLES: [&str; 3] = [
    "direct fix: the smallest change that removes the cause",
    "refactor: put right the structure that let the fault arise, with the fix in it",
    "test designer: write the test that shows the fault first, then the fix that passes it",
];

/// What the judge is told.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rank {
    pub task: Task,
    pub open_issues: Vec<OpenIssue>,
    /// In the order they are to be shown.
    pub candidates: Vec<Candidate>,
}

/// What is told to get an answer into its form.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairAnswer {
    /// The prompt the answer was to. It comes first, word for word, so that providers can take it from their cache.
    #[serde(skip)]
    pub question: String,
    /// The answer as it came; empty for none.
    pub answer: String,
    /// What does not fit.
    pub faults: Vec<String>,
}

/// What is told to get patches that apply.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairPatch {
    pub task: Task,
    /// As in [`Suggest`].
    pub rules: Vec<String>,
    pub failures: Vec<FailedPatch>,
}

/// A prompt of one kind.
pub trait Prompt: Serialize {
    /// The template's name in `prompts/`, without its ending.
    const TEMPLATE: &'static str;

    /// Returns the text to send.
    ///
    /// Returns an error only if the template and the type disagree, which a test rules out for all of them.
    fn render(&self) -> anyhow::Result<String>
    where
        Self: Sized,
    {
        self.render_within(MAX_PROMPT_CHARS)
    }

    /// Returns the text to send, cut to at most this many characters: for a model whose context a longer one overran.
    ///
    /// Returns an error only if the template and the type disagree.
    fn render_within(&self, max_chars: usize) -> anyhow::Result<String>
    where
        Self: Sized,
    {
        render_bounded(Self::TEMPLATE, self, max_chars)
    }
}

fn render_bounded(template: &str, context: &impl Serialize, max_chars: usize) -> anyhow::Result<String> {
    let full = serde_json::to_value(context).context("prepare a prompt")?;
    let mut limits = Limits { text: MAX_TEXT_CHARS, items: MAX_ITEMS, goal: MAX_GOAL_CHARS };
    loop {
        let text = render_within(template, &full, limits)?;
        if text.chars().count() <= max_chars {
            return Ok(text);
        }
        match limits.tighter() {
            Some(tighter) => limits = tighter,
            None => return Ok(cut_middle(&text, max_chars)),
        }
    }
}

impl Prompt for Evaluate {
    const TEMPLATE: &'static str = "evaluate";
}

impl Prompt for SecondEvaluation {
    const TEMPLATE: &'static str = "second-evaluation";
}

impl Prompt for Suggest {
    const TEMPLATE: &'static str = "suggest";
}

impl Prompt for Agent {
    const TEMPLATE: &'static str = "agent";
}

impl Prompt for Rank {
    const TEMPLATE: &'static str = "rank";
}

impl Prompt for RepairAnswer {
    const TEMPLATE: &'static str = "repair-answer";

    fn render(&self) -> anyhow::Result<String> {
        Ok(format!("{}\n\n{}", self.question.trim_end(), render_bounded(Self::TEMPLATE, self, MAX_PROMPT_CHARS)?))
    }
}

impl Prompt for RepairPatch {
    const TEMPLATE: &'static str = "repair-patch";
}

fn numbered<S: serde::Serializer>(criteria: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(criteria.iter().enumerate().map(|(at, text)| json!({"number": at + 1, "text": text})))
}

/// Shortens a text to `max_chars` characters by leaving out its middle, and says there how much is missing: of
/// outputs and diffs, beginning and end tell most.
pub fn cut_middle(text: &str, max_chars: usize) -> String {
    let count = text.chars().count();
    if count <= max_chars {
        return text.to_owned();
    }
    let note = |left_out: usize| format!("\n[... {left_out} characters left out ...]\n");
    let kept = max_chars.saturating_sub(note(count).chars().count());
    if kept == 0 {
        return text.chars().take(max_chars).collect();
    }
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let end_of_head = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let start_of_tail = text.char_indices().rev().nth(tail.saturating_sub(1)).map_or(0, |(at, _)| at);
    let mut cut = text[..end_of_head].to_owned();
    cut.push_str(&note(count - kept));
    cut.push_str(if tail == 0 { "" } else { &text[start_of_tail..] });
    cut
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    text: usize,
    items: usize,
    goal: usize,
}

impl Limits {
    fn tighter(self) -> Option<Self> {
        if self.text > LEAST_TEXT_CHARS || self.items > LEAST_ITEMS {
            let text = (self.text / 2).max(LEAST_TEXT_CHARS);
            // Lists stay whole for longer than texts: an entry lost is lost whole.
            let items = if self.text <= 4000 { (self.items / 2).max(LEAST_ITEMS) } else { self.items };
            return Some(Self { text, items, ..self });
        }
        (self.goal > LEAST_TEXT_CHARS).then(|| Self { goal: (self.goal / 2).max(LEAST_TEXT_CHARS), ..self })
    }
}

fn render_within(template: &str, full: &Value, limits: Limits) -> anyhow::Result<String> {
    let mut omitted = Vec::new();
    let mut view = bounded(full, "", limits, &mut omitted);
    let map = view.as_object_mut().context("a prompt's context is an object")?;
    map.insert("omitted".to_owned(), json!(omitted));
    let several = full.get("count").and_then(Value::as_u64) != Some(1);
    map.insert("several".to_owned(), json!(several));
    let fence = fence_for(&Value::Object(map.clone()));
    map.insert("fence".to_owned(), json!(fence));
    let text = TEMPLATES.render(template, &view).with_context(|| format!("render the prompt {template}"))?;
    Ok(squeeze_blank_lines(&text, &fence))
}

/// Returns the value with long texts and lists cut. `omitted` takes what was left out of lists.
fn bounded(value: &Value, key: &str, limits: Limits, omitted: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => {
            let max = if key == "goal" { limits.goal } else { limits.text };
            let text = cut_middle(text.strip_suffix('\n').unwrap_or(text), max);
            // Paths stand on the line that opens a fence: a line feed in one would be a way out of it.
            let line = key == "path";
            Value::String(if line { text.replace(|c: char| c.is_control() || c == '`', "?") } else { text })
        }
        Value::Array(list) => {
            let most = if key == "progress" { limits.items.min(PROGRESS_LINES) } else { limits.items };
            let from_end = matches!(key, "progress" | "history" | "refused");
            let skipped = if from_end { list.len().saturating_sub(most) } else { 0 };
            if list.len() > most && key != "progress" {
                let part = if from_end { "first" } else { "last" };
                omitted.push(format!("the {part} {} of {} entries of {key}", list.len() - most, list.len()));
            }
            list.iter().skip(skipped).take(most).map(|inner| bounded(inner, key, limits, omitted)).collect()
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(name, inner)| {
                // The text of a criterion is part of the goal.
                let name_or_goal = if key == "criteria" { "goal" } else { name.as_str() };
                (name.clone(), bounded(inner, name_or_goal, limits, omitted))
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// Returns a fence of backticks longer than any run of them in the value, so that nothing inside can close it.
fn fence_for(value: &Value) -> String {
    "`".repeat((longest_run(value) + 1).max(4))
}

fn longest_run(value: &Value) -> usize {
    match value {
        Value::String(text) => text.split(|c| c != '`').map(str::len).max().unwrap_or_default(),
        Value::Array(list) => list.iter().map(longest_run).max().unwrap_or_default(),
        Value::Object(map) => map.values().map(longest_run).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Makes one of the several blank lines that parts left empty leave behind, outside fences only.
fn squeeze_blank_lines(text: &str, fence: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    let mut inside = false;
    let mut blank_before = true;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        if bare.starts_with(fence) {
            inside = !inside;
        }
        let blank = bare.is_empty() && !inside;
        if !(blank && blank_before) {
            squeezed.push_str(line);
        }
        blank_before = blank;
    }
    squeezed
}

const SOURCES: [(&str, &str); 14] = [
    ("agent", include_str!("../../prompts/agent.hbs")),
    ("evaluate", include_str!("../../prompts/evaluate.hbs")),
    ("second-evaluation", include_str!("../../prompts/second-evaluation.hbs")),
    ("suggest", include_str!("../../prompts/suggest.hbs")),
    ("rank", include_str!("../../prompts/rank.hbs")),
    ("repair-answer", include_str!("../../prompts/repair-answer.hbs")),
    ("repair-patch", include_str!("../../prompts/repair-patch.hbs")),
    ("data", include_str!("../../prompts/partials/data.hbs")),
    ("task", include_str!("../../prompts/partials/task.hbs")),
    ("repository", include_str!("../../prompts/partials/repository.hbs")),
    ("state", include_str!("../../prompts/partials/state.hbs")),
    ("issues", include_str!("../../prompts/partials/issues.hbs")),
    ("past", include_str!("../../prompts/partials/past.hbs")),
    ("omitted", include_str!("../../prompts/partials/omitted.hbs")),
];

static TEMPLATES: LazyLock<Handlebars<'static>> = LazyLock::new(|| templates(&SOURCES));

/// Returns the engine for these templates of ours, name and text each: what they are filled with is text to it, never
/// markup, and a part that is missing is a fault.
#[expect(clippy::expect_used, reason = "the templates are part of the program, and each is parsed by a test")]
pub fn templates(sources: &[(&str, &str)]) -> Handlebars<'static> {
    let mut templates = Handlebars::new();
    templates.register_escape_fn(handlebars::no_escape);
    templates.set_strict_mode(true);
    for (name, source) in sources {
        templates.register_template_string(name, source).expect("a template of ours");
    }
    templates
}

#[cfg(test)]
mod tests;
