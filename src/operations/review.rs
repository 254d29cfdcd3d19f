//! Asking Codex for a review: the question put together, the record kept, the budget held, the verdict returned.

mod files;
mod gate;
mod place;
mod records;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::Session;
use super::codex_check::{self, CodexReport};
use crate::codex::call::EVENTS_FILE;
use crate::codex::prompt::{Prompt, RepairAnswer};
use crate::codex::{self, Access, CallRequest, FailureClass, Outcome, Usage, schema};
use crate::config;
use crate::error::{self, Failure};
use crate::masking::{Masker, env_pairs};
use crate::options::{Options, Span};
use crate::process::Control;
use crate::report::SCHEMA_VERSION;
use crate::review::{
    self, Answer, Cause, ContextItem, Entry, Kind, Limits, Question, Review, Tally, Verdict, request_text,
    response_text, review_text, slug,
};
use crate::store::write_atomic;
use files::{DiffBase, Material};
pub use gate::{GateReport, TurnEnd, TurnVerdict, review_gate, set_review_gate, turn_begins, turn_ended};
use place::Place;
pub use records::{ReviewList, ReviewRow, ReviewStats, SessionTally, review_list, review_show, review_stats};

/// Longest wait for a verdict where nothing else is said.
const DEFAULT_LIMIT: Duration = Duration::from_secs(300);

/// Effort where nothing else is said: a review is asked for where thought is worth its price.
const DEFAULT_EFFORT: &str = "high";

/// Model used where nobody said otherwise and the installed Codex lists it.
const PREFERRED_MODEL: &str = "gpt-5.4";

/// Longest answer taken for one, in bytes; a verdict is a page.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Least time in which asking again for the right form makes sense.
const LEAST_REPAIR: Duration = Duration::from_secs(3);

/// What is asked. Paths are relative to the session's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReviewRequest {
    /// The asker's own words.
    pub prompt: Option<String>,
    pub kind: Option<Kind>,
    pub topic: Option<String>,
    pub question: Option<String>,
    pub options: Vec<String>,
    pub concern: Option<String>,
    pub proposed: Option<String>,
    /// Pairs `KEY=VALUE`.
    pub context: Vec<String>,
    pub files: Vec<PathBuf>,
    /// Show what changed since this commit; an empty name stands for HEAD.
    pub diff: Option<String>,
    /// Show what changed since this tree, the beginning of a turn; in the place of `diff`.
    pub since: Option<String>,
    /// File that is put in front.
    pub agent_file: Option<PathBuf>,
    pub effort: Option<String>,
    pub model: Option<String>,
    pub timeout: Option<Span>,
    /// File that takes the verdict, for a reader.
    pub output: Option<PathBuf>,
    /// File with variables for Codex.
    pub env_file: Option<PathBuf>,
    /// Ask even where the same was answered before.
    pub fresh: bool,
    /// Most reviews a day and a session.
    pub max_reviews: Option<u32>,
    /// The host's session, where the environment does not name it.
    pub session: Option<String>,
}

/// Whoever waits for a review.
pub trait Watch {
    /// Takes what Codex is doing, secrets masked.
    fn activity(&mut self, text: &str);

    /// Returns true when the review is to be ended. Asked about every 20 ms.
    fn stop(&mut self) -> bool;
}

/// Asks for a review and returns its verdict, UNAVAILABLE with its cause where none can be had.
///
/// Returns a usage error if nothing is asked or an option cannot be what it says.
pub fn review(session: &Session, request: &ReviewRequest, watch: &mut dyn Watch) -> anyhow::Result<Review> {
    let started = Instant::now();
    let output = request.output.as_ref().map(|path| session.dir.join(path));
    if let Some(output) = &output {
        let read = request.files.iter().chain(&request.agent_file).chain(&request.env_file);
        files::remove_old_output(output, read.map(|path| session.dir.join(path)))?;
    }
    let mut asker = Asker::prepare(session, request, started)?;
    let mut review = if let Some(known) = asker.known() { known } else { asker.ask(watch)? };
    if review.success
        && let Some(output) = &output
        && let Err(error) = write_atomic(output, review_text(&review).as_bytes())
    {
        // The verdict is paid for, and has its record.
        review.warnings.push(format!("the output was not written: {error:#}"));
    }
    if let Err(error) = asker.log(&review) {
        review.warnings.push(format!("the review log was not written: {error:#}"));
    }
    Ok(review)
}

/// One question on its way.
struct Asker<'a> {
    session: Session,
    request: &'a ReviewRequest,
    started: Instant,
    limit: Duration,
    place: Place,
    question: Question,
    masker: Masker,
    /// Name of the question: everything that decides the answer.
    key: String,
    limits: Limits,
    host_session: Option<String>,
    review: Review,
}

impl<'a> Asker<'a> {
    fn prepare(session: &Session, request: &'a ReviewRequest, started: Instant) -> anyhow::Result<Self> {
        let mut session = session.clone();
        if !session.dir.is_dir() {
            return Err(
                Failure::usage(format!("{} is not a folder", session.dir.display()), "name a folder with -C").into()
            );
        }
        // Codex is started in the folder and told of it: a relative path would be looked for below itself.
        session.dir = std::path::absolute(&session.dir).context("find the folder")?;
        let mut literals: Vec<String> = Vec::new();
        if let Some(path) = &request.env_file {
            literals.extend(take_env_file(&mut session, path)?);
        }
        let environment = &session.environment;
        literals.extend(environment.openai_api_key.as_ref().and_then(|key| key.to_str()).map(str::to_owned));
        let limit = match (&request.timeout, &environment.codex_timeout) {
            (Some(span), _) => Duration::from_millis(span.ms),
            (None, Some(text)) => {
                let span: Span = text
                    .parse()
                    .map_err(|cause| Failure::usage(format!("CODEX_TIMEOUT: {cause}"), "write seconds, or unset it"))?;
                Duration::from_millis(span.ms)
            }
            (None, None) => DEFAULT_LIMIT,
        };
        let place = Place::find(&session)?;
        literals.extend(place.env_file_values());
        let settings = config::review_settings(&place.root, environment)?;
        let limits = match request.max_reviews {
            Some(most) => Limits { day: most, session: most },
            None => settings.limits(),
        };
        let (question, material, mut warnings) = ask_for(&session, request, &place)?;
        literals.extend(material.secrets);
        let masker = Masker::new(literals);
        let sent = question.render(true)?;
        if sent.chars().count() > review::MAX_QUESTION_CHARS {
            return Err(Failure::usage(
                format!(
                    "the question has {} characters; {} is the most",
                    sent.chars().count(),
                    review::MAX_QUESTION_CHARS
                ),
                "name files in the prompt instead of pasting them",
            )
            .into());
        }
        let tree_hash = place.tree_hash().unwrap_or_else(|error| {
            warnings.push(format!("what the files are like cannot be told: {error:#}"));
            None
        });
        // Hosts fill in what nobody said with an empty text.
        let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let model = said(&request.model).map(|name| if name == "spark" { "gpt-5.3-codex-spark".into() } else { name });
        let effort = said(&request.effort).unwrap_or_else(|| DEFAULT_EFFORT.to_owned());
        // The reviewer works in the folder: the same words in another one are another question.
        let folder = place.repository.as_ref().map_or("", |repository| repository.prefix());
        let key = key(&[question.kind.name(), &sent, model.as_deref().unwrap_or(""), &effort, folder]);
        let topic = topic(request, &question, &masker);
        let host_session = request.session.clone().or_else(|| environment.host_session.clone());
        let now = Timestamp::now();
        let review = Review {
            schema_version: SCHEMA_VERSION,
            id: format!("{}_{}", review::stamp(now), slug(&topic, question.kind.shown())),
            kind: question.kind,
            topic,
            success: false,
            verdict: Verdict::Unavailable,
            cause: Some(Cause::Unknown),
            detail: None,
            approved: false,
            recommendation: String::new(),
            conditions: Vec::new(),
            priorities: Vec::new(),
            risks: Vec::new(),
            findings: Vec::new(),
            confidence: None,
            model,
            effort: Some(effort),
            tree_hash,
            request_file: None,
            response_file: None,
            duration_ms: 0,
            tokens: Usage { estimated: false, ..Usage::default() },
            cached: false,
            at: now,
            warnings,
        };
        Ok(Self { session, request, started, limit, place, question, masker, key, limits, host_session, review })
    }

    /// Returns the answer to the same question on the same files, where there is one.
    fn known(&self) -> Option<Review> {
        let tree = self.review.tree_hash.as_deref().filter(|_| !self.request.fresh)?;
        let ledger = self.place.ledger();
        let root = self.place.shown_root();
        // One that cannot be read answers nothing; the record says why no review is held then.
        let found = ledger.read().unwrap_or_default().into_iter().rev().find_map(|entry| match entry {
            Entry::Ended { key, root: whose, review, .. }
                if key == self.key && whose == root && review.success && review.tree_hash.as_deref() == Some(tree) =>
            {
                Some(*review)
            }
            _ => None,
        });
        // A record that somebody took away answers nothing any more.
        let found = found
            .filter(|review| review.response_file.as_ref().is_some_and(|file| self.place.root.join(file).is_file()));
        let mut review = found?;
        review.cached = true;
        let entry =
            Entry::Repeated { at: Timestamp::now(), id: review.id.clone(), root, session: self.host_session.clone() };
        if let Err(error) = ledger.hold().and_then(|held| ledger.append(&held, &entry)) {
            review.warnings.push(format!("that it was asked again is not recorded: {error:#}"));
        }
        Some(review)
    }

    /// Asks Codex, with the record before and after.
    fn ask(&mut self, watch: &mut dyn Watch) -> anyhow::Result<Review> {
        let examined = self.examine(watch)?;
        let can_read = examined.as_ref().map_or(true, |codex| codex.can_read);
        let blind = if can_read { None } else { self.carry_files() };
        let prompt = self.question.render(can_read)?;
        match self.begin(&prompt, examined.is_ok() && blind.is_none()) {
            Err(error) => {
                let hint = if error::is_disk_full(&error) { "make space" } else { "make the folder writable" };
                let detail = format!("{error:#}; a review that leaves no record is not held: {hint}");
                self.review.unavailable(Cause::Record, detail);
            }
            Ok(Some(refusal)) => self.review.unavailable(Cause::Budget, refusal),
            Ok(None) => match (examined, blind) {
                (Err((cause, detail)), _) => self.review.unavailable(cause, detail),
                (_, Some(detail)) => self.review.unavailable(Cause::Unread, detail),
                (Ok(codex), None) => {
                    if let Err(error) = self.call(&codex, &prompt, can_read, watch) {
                        self.review.unavailable(Cause::Unknown, format!("{error:#}"));
                    }
                }
            },
        }
        self.review.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.finish()
    }

    /// Looks at Codex; the model and the effort are settled here. The inner error is why there is no review.
    fn examine(&mut self, watch: &mut dyn Watch) -> anyhow::Result<Result<CodexReport, (Cause, String)>> {
        let files = config::files(&self.place.root, &self.session.environment)?;
        let typed = Options { model: self.review.model.clone(), ..Options::default() };
        // Whom a review talks to is the user's to say, unless the repository's file is trusted.
        let options = typed.or(files.user).or(if files.trusted { files.repository } else { Options::default() });
        let until = self.started.checked_add(self.limit);
        let watch = RefCell::new(watch);
        let found = codex_check::examine_until(&self.session, &options, until, &mut Stopper(&watch));
        let codex = match found {
            Ok(codex) => codex,
            Err(failure) if failure.name != "usage" && watch.borrow_mut().stop() => {
                let detail = format!("stopped before Codex was asked; {}", review_hint(FailureClass::Stopped));
                return Ok(Err((Cause::Stopped, detail)));
            }
            Err(failure) if failure.name != "usage" && self.started.elapsed() >= self.limit => {
                return Ok(Err((Cause::TimeOut, format!("{}; Codex said nothing of itself", self.too_late()))));
            }
            Err(failure) if failure.name == "usage" => return Err(failure.into()),
            Err(failure) => {
                let text = match &failure.hint {
                    Some(hint) => format!("{}; {hint}", failure.message),
                    None => failure.message.clone(),
                };
                return Ok(Err((Cause::NoCodex, text)));
            }
        };
        let model = options.model.or_else(|| codex.lists(PREFERRED_MODEL).then(|| PREFERRED_MODEL.to_owned()));
        self.review.warnings.extend(codex.model_warning(model.as_deref()));
        if let Some(effort) = &self.review.effort
            && let Some(known) = codex.known_efforts(model.as_deref())
            && !known.contains(effort)
        {
            if self.request.effort.as_ref().is_some_and(|effort| !effort.trim().is_empty()) {
                return Err(Failure::usage(
                    format!("the model has no effort `{effort}`"),
                    format!("it has: {}", known.join(", ")),
                )
                .into());
            }
            self.review.effort = None;
        }
        self.review.model = model;
        if let Err(hint) = &codex.account {
            return Ok(Err((Cause::SignIn, format!("Codex is not signed in: {hint}"))));
        }
        Ok(Ok(codex))
    }

    /// Puts the files the prompt names into the question, for a reviewer that can read none by itself.
    ///
    /// Returns why that is no way to review this, where it is none.
    fn carry_files(&mut self) -> Option<String> {
        let texts = [&self.question.request, &self.question.question, &self.question.concern, &self.question.proposed];
        let text = texts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n");
        let known: Vec<String> = self.question.files.iter().map(|file| file.path.clone()).collect();
        for path in review::mentioned_paths(&text) {
            if !known.iter().any(|known| known == path)
                && let Some(excerpt) = files::readable(&self.session.dir, &self.place.root, path)
            {
                self.question.files.push(excerpt);
            }
        }
        let why = "Codex's sandbox cannot run here, so the reviewer can read no files";
        let empty = self.question.files.is_empty() && self.question.diff.is_none();
        if self.question.kind.needs_files() && empty {
            return Some(format!("{why}; name them with --file or --diff, so that the question carries them"));
        }
        let cut = self.question.files.iter().chain(&self.question.diff).find(|excerpt| !excerpt.whole);
        cut.map(|excerpt| format!("{why}, and {} is too large for the question to carry it", excerpt.path))
    }

    /// Takes a place in the record and in the budget. Returns the refusal where the budget is used up.
    fn begin(&mut self, prompt: &str, will_call: bool) -> anyhow::Result<Option<String>> {
        let ledger = self.place.ledger();
        let held = ledger.hold()?;
        let (id, request_file, response_file) = self.place.reserve(&self.review.id)?;
        self.review.id.clone_from(&id);
        let text = self.masker.text(&request_text(&self.review, prompt));
        let path = self.place.root.join(&request_file);
        if let Err(error) = write_atomic(&path, text.as_bytes()) {
            // The name was taken with an empty file, which is no record.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.review.request_file = Some(request_file);
        let mut refusal = None;
        if will_call {
            let entries = ledger.read()?;
            let whose = self.host_session.as_deref();
            let spent = review::refusal(&entries, self.limits, whose, self.review.at, &TimeZone::system());
            refusal = spent.err();
            if refusal.is_none() {
                let entry = Entry::Begun {
                    at: self.review.at,
                    id,
                    root: self.place.shown_root(),
                    session: self.host_session.clone(),
                };
                ledger.append(&held, &entry)?;
            }
        }
        self.review.response_file = Some(response_file);
        Ok(refusal)
    }

    fn call(
        &mut self,
        codex: &CodexReport,
        question: &str,
        can_read: bool,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<()> {
        let folder = self.place.call_folder()?;
        let form = schema::review_answer();
        let mut prompt = question.to_owned();
        let mut looked = false;
        let mut blocked = None;
        let watch = RefCell::new(watch);
        for repair in [false, true] {
            let left = self.limit.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                self.review.unavailable(Cause::TimeOut, self.too_late());
                return Ok(());
            }
            let call = CallRequest {
                program: codex.program.clone(),
                dir: self.session.dir.clone(),
                folder: folder.path().to_owned(),
                prompt,
                schema: Some(form.clone()),
                access: Access::ReadOnly,
                model: self.review.model.clone(),
                effort: self.review.effort.clone(),
                profile: None,
                mcp_off: codex.mcp_off.clone(),
                env: codex.env.clone(),
                limit: left,
            };
            let masker = &self.masker;
            let done = codex::call(&call, &mut Stopper(&watch), &mut |text| {
                watch.borrow_mut().activity(&masker.text(text));
            })?;
            self.review.tokens.add(&done.usage);
            for warning in done.warnings {
                if !self.review.warnings.contains(&warning) {
                    self.review.warnings.push(warning);
                }
            }
            let text = match done.outcome {
                Outcome::Failure(failure) => {
                    let detail = match failure.class {
                        FailureClass::TimedOut => self.too_late(),
                        class => format!("{}; {}", failure.message.trim_end_matches('.'), review_hint(class)),
                    };
                    self.review.unavailable(failure.class.into(), detail);
                    return Ok(());
                }
                Outcome::Answer(text) => text,
            };
            let events = std::fs::read(folder.path().join(EVENTS_FILE)).context("read the call's events")?;
            match review::blinded(&events) {
                Some(said) => blocked = Some(said),
                None => looked |= done.commands > 0,
            }
            let faults = match judge(&text, &form, self.question.kind) {
                Ok(answer) => {
                    self.take(answer, can_read, blocked.filter(|_| !looked));
                    return Ok(());
                }
                Err(faults) => faults,
            };
            let late = self.limit.saturating_sub(self.started.elapsed()) < LEAST_REPAIR;
            if repair || late {
                self.review.unavailable(
                    Cause::BadAnswer,
                    format!("the answer has no form that a verdict has: {}; ask again", faults.join("; ")),
                );
                return Ok(());
            }
            let answer = if text.len() > MAX_ANSWER_BYTES { String::new() } else { text };
            prompt = RepairAnswer { question: question.to_owned(), answer, faults }.render()?;
        }
        Ok(())
    }

    /// Takes an answer of the right form, unless its writer has not seen what it judges.
    fn take(&mut self, answer: Answer, can_read: bool, blocked: Option<String>) {
        let unread: Vec<&str> = answer.unread.iter().map(|path| path.trim()).filter(|path| !path.is_empty()).collect();
        if !unread.is_empty() {
            let detail = format!(
                "the reviewer could not read {}; make them readable, or hand them over with --file",
                unread.join(", ")
            );
            self.review.unavailable(Cause::Unread, detail);
            return;
        }
        // Where it was told that it can read nothing, everything it needs stood in the question.
        if let Some(said) = blocked.filter(|_| can_read) {
            let detail = format!("the sandbox stopped every command of the reviewer, so it has read nothing ({said})");
            self.review.unavailable(Cause::Unread, detail);
            return;
        }
        self.review.answered(answer);
    }

    fn too_late(&self) -> String {
        format!(
            "no answer within {}; raise the limit with --timeout or CODEX_TIMEOUT, or lower the effort",
            crate::report::duration(u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX))
        )
    }

    /// Masks the review, writes its record, and returns it.
    fn finish(&mut self) -> anyhow::Result<Review> {
        let mut value = serde_json::to_value(&self.review).context("write the review")?;
        self.masker.value(&mut value);
        let mut review: Review = serde_json::from_value(value).context("read the review")?;
        // Names of records hold no secrets: they are made of masked topics.
        review.id.clone_from(&self.review.id);
        review.request_file.clone_from(&self.review.request_file);
        review.response_file.clone_from(&self.review.response_file);
        review.tree_hash.clone_from(&self.review.tree_hash);
        let written = self.record(&review);
        if let Err(error) = written {
            review.unavailable(Cause::Record, format!("the answer could not be recorded: {error:#}"));
            review.response_file = None;
        }
        Ok(review)
    }

    fn record(&self, review: &Review) -> anyhow::Result<()> {
        let Some(file) = &review.response_file else { return Ok(()) };
        write_atomic(&self.place.root.join(file), response_text(review).as_bytes())?;
        let ledger = self.place.ledger();
        let held = ledger.hold()?;
        let entry = Entry::Ended {
            key: self.key.clone(),
            root: self.place.shown_root(),
            session: self.host_session.clone(),
            review: Box::new(review.clone()),
        };
        ledger.append(&held, &entry)
    }

    /// Appends a line to the file that `CODEX_REVIEW_LOG` names.
    fn log(&self, review: &Review) -> anyhow::Result<()> {
        let Some(path) = &self.session.environment.review_log else { return Ok(()) };
        files::append_line(&self.session.dir.join(path), &serde_json::to_string(review).context("write the review")?)
    }
}

/// Takes the variables of an env file over. Returns their values, which are secrets.
fn take_env_file(session: &mut Session, path: &Path) -> anyhow::Result<Vec<String>> {
    let path = session.dir.join(path);
    let text = files::text_of(&path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display()), "name a file that can be read"))?;
    let mut values = Vec::new();
    let environment = &mut session.environment;
    for (name, value) in env_pairs(&text) {
        match name.as_str() {
            "OPENAI_API_KEY" => environment.openai_api_key = Some(value.clone().into()),
            "CODEX_API_KEY" => environment.codex_api_key = true,
            "CODEX_TIMEOUT" => environment.codex_timeout = Some(value.clone()),
            "CODEX_REVIEW_LOG" => environment.review_log = Some(PathBuf::from(&value)),
            "CODEX_HOME" => environment.codex_home = Some(PathBuf::from(&value)),
            _ => {}
        }
        let known = OsString::from(&name);
        environment.codex_env.retain(|(name, _)| *name != known);
        environment.codex_env.push((known, OsString::from(&value)));
        values.push(value);
    }
    Ok(values)
}

/// Puts the question together. Returns it with what was read for it, and warnings.
fn ask_for(
    session: &Session,
    request: &ReviewRequest,
    place: &Place,
) -> anyhow::Result<(Question, Material, Vec<String>)> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let (prompt, question) = (given(&request.prompt), given(&request.question));
    let (concern, proposed) = (given(&request.concern), given(&request.proposed));
    let options: Vec<String> = request.options.iter().filter(|text| !text.trim().is_empty()).cloned().collect();
    let kind = request.kind.unwrap_or(if !options.is_empty() {
        Kind::Priority
    } else if concern.is_some() || proposed.is_some() {
        Kind::SecondOpinion
    } else if question.is_some() {
        Kind::Methodology
    } else if prompt.is_none() && request.diff.is_some() {
        Kind::Code
    } else {
        Kind::Free
    });
    let base = request.since.clone().map(DiffBase::Tree).or_else(|| request.diff.as_deref().map(DiffBase::named));
    let material = Material::read(session, place, &request.files, base)?;
    let words =
        prompt.is_some() || question.is_some() || concern.is_some() || proposed.is_some() || !options.is_empty();
    let files = !material.files.is_empty() || material.diff.is_some();
    if !(words || files && kind != Kind::Free) {
        return Err(Failure::usage(
            "nothing is asked",
            "write the question as PROMPT (`-` reads standard input), or give --question, --option, --concern, --diff",
        )
        .into());
    }
    let mut context = Vec::new();
    for pair in &request.context {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            return Err(
                Failure::usage(format!("--context {pair} is no KEY=VALUE"), "write for example gpu=8xH200").into()
            );
        };
        context.push(ContextItem { key: key.trim().to_owned(), value: value.to_owned() });
    }
    let mut warnings = Vec::new();
    let agent = request.agent_file.as_ref().and_then(|path| {
        let path = session.dir.join(path);
        match files::text_of(&path) {
            Ok(text) => Some(text.trim_end().to_owned()),
            Err(error) => {
                warnings.push(format!("the agent file {} is left out: {error}", path.display()));
                None
            }
        }
    });
    let question = Question {
        kind,
        request: prompt,
        question,
        options,
        concern,
        proposed,
        context,
        files: material.files.clone(),
        diff: material.diff.clone(),
        agent,
    };
    Ok((question, material, warnings))
}

/// Returns the topic: as typed, or the first words of the question; secrets masked.
fn topic(request: &ReviewRequest, question: &Question, masker: &Masker) -> String {
    if let Some(topic) = request.topic.as_ref().filter(|topic| !topic.trim().is_empty()) {
        // One line, whatever was typed: the record's head has a line for it.
        let line: String = topic.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return masker.text(line.trim()).replace(crate::masking::MASK, "masked");
    }
    let texts = [&question.question, &question.concern, &question.request, &question.proposed];
    let first = texts.into_iter().flatten().find_map(|text| {
        let masked = masker.text(text);
        let line =
            masked.lines().map(|line| line.trim_start_matches(['#', ' ', '*', '-'])).find(|line| !line.is_empty())?;
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        Some(words.join(" ").chars().take(60).collect::<String>())
    });
    first.unwrap_or_else(|| question.kind.shown().to_owned()).replace(crate::masking::MASK, "masked")
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the answer, or what makes it none.
fn judge(text: &str, form: &serde_json::Value, kind: Kind) -> Result<Answer, Vec<String>> {
    if text.len() > MAX_ANSWER_BYTES {
        return Err(vec![format!("the answer has {} bytes; a verdict is a page", text.len())]);
    }
    let answer: Answer = codex::parse(text, form).map_err(|misfit| misfit.faults)?;
    let mut faults = review::check(&answer, kind);
    faults.extend(review::contradicted(text, answer.verdict));
    if faults.is_empty() { Ok(answer) } else { Err(faults) }
}

/// What to do about a failed call, in the words of a review.
fn review_hint(class: FailureClass) -> &'static str {
    match class {
        FailureClass::ContextTooLong => "ask about less, or choose a model with a larger context",
        FailureClass::Refused => "reword the question",
        FailureClass::Stopped => "ask again when ready",
        FailureClass::Unknown => "ask again; `codex doctor` checks the installation",
        class => class.hint(),
    }
}

/// Ends a call when whoever waits says so.
struct Stopper<'a, 'b>(&'a RefCell<&'b mut (dyn Watch + 'b)>);

impl Control for Stopper<'_, '_> {
    fn stop(&mut self) -> bool {
        self.0.borrow_mut().stop()
    }
}

/// Says what a review policy would say, on standard terms.
pub fn review_policy(request: &review::PolicyRequest) -> anyhow::Result<review::PolicyReport> {
    if !(0.0..=1.0).contains(&request.confidence) {
        return Err(Failure::usage(
            format!("the confidence {} is not between 0 and 1", request.confidence),
            "write for example 0.8",
        )
        .into());
    }
    Ok(review::decide(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_question_keeps_its_parts_apart() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }
}
