//! Every way in which Codex fails, with the real Codex CLI: what the loop takes it for, what it does about it, how soon
//! it knows, and where it ends if nothing gets better. The table is also the page `docs/failures.md`.
//!
//! A loop for each row, all in this process: what is looked up once for a start (version, models, account) is looked up
//! once for all of them. `--nocapture` prints the table as it came out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use loop_companion::answers::Verdict;
use loop_companion::codex::{Failure, FailureClass, Usage};
use loop_companion::config::Environment;
use loop_companion::engine::event::{CallEnd, Event, Record};
use loop_companion::engine::{Effect, State, StopReason, decide, remedy};
use loop_companion::operations::{self, CodexReport, Goal, PlanReport, PlanRequest, Session};
use loop_companion::options::Options;
use loop_companion::plan::{CallKind, Where};
use loop_companion::process;
use loop_companion::report::{status_report, status_text};
use loop_companion::runtime::Observer;
use loop_companion::scripted::{ModelRequest, Reply, ScriptedServer, Step};
use loop_companion::store::Store;
use serde_json::json;

use crate::common::scene::{Scene, ended, mend, refused, sum_files};
use crate::common::{
    Repo, SequenceModel, TestEnvironment, codex_bin, evaluation, proposal, suggestion, wait_until_gone,
};

/// What the loop does after a failure, as its journal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Ends.
    Stops,
    /// Waits until the moment Codex named.
    WaitsForReset,
    /// Waits a few seconds, then asks again.
    BacksOff,
    /// Asks once more with what was wrong, then gives the step up.
    Repairs,
    /// Asks with a shorter prompt, twice, then gives the step up.
    Shrinks,
    /// Asks once more, then gives the step up.
    AsksOnceMore,
    /// Gives the step up.
    GivesUp,
    /// Nothing: it is an answer.
    TakesIt,
}

impl Does {
    fn words(self) -> &'static str {
        match self {
            Self::Stops => "stops",
            Self::WaitsForReset => "waits until the named time",
            Self::BacksOff => "asks again after 5, 20 and 60 s",
            Self::Repairs => "asks once more with what is wrong",
            Self::Shrinks => "asks with a shorter prompt, twice",
            Self::AsksOnceMore => "asks once more",
            Self::GivesUp => "gives the step up",
            Self::TakesIt => "takes the answer",
        }
    }
}

/// How a failure is brought about.
enum Cause {
    /// The scripted service answers every question like this.
    Reply(Reply),
    /// The scripted service answers like this, by the number of the request of this row.
    Replies(Vec<Reply>),
    /// The proposals are answered like this, and evaluations well.
    Suggest(Reply),
    /// Codex has this `config.toml`; `URL` stands for the scripted service.
    Config(String),
    /// This script is in the place of Codex: for what the real one cannot be brought to.
    Fake(&'static str),
    /// What is in the place of Codex cannot be started.
    Broken(fn(&Path)),
}

struct Row {
    /// What happens, as the page tells it.
    what: &'static str,
    cause: Cause,
    /// `None` for an answer.
    class: Option<FailureClass>,
    does: Does,
    /// Part of what a person is told.
    says: &'static str,
    /// The time limit of a call, where the row is about that.
    limit: Option<Duration>,
}

/// A call's own limit where a row needs one that ends it: enough for Codex to ask first, also on a busy machine.
const SHORT: Duration = Duration::from_secs(5);

/// Longest time until the loop knows of a failure; what the machine is busy with comes on top of Codex's own time,
/// which is below 6 s for all rows without a limit of their own.
const KNOWS_WITHIN: Duration = Duration::from_secs(20);

fn row(what: &'static str, cause: Cause, class: FailureClass, does: Does, says: &'static str) -> Row {
    Row { what, cause, class: Some(class), does, says, limit: None }
}

impl Row {
    fn limited(self) -> Self {
        self.within(SHORT)
    }

    fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

fn usage_limit(more: &serde_json::Value) -> Reply {
    let mut error =
        json!({"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"});
    error.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::status(429, json!({"error": error}).to_string())
}

fn good() -> Reply {
    Reply::json(&evaluation(Verdict::InProgress, 0.5, Vec::new()))
}

fn good_text() -> String {
    serde_json::to_string(&evaluation(Verdict::InProgress, 0.5, Vec::new())).unwrap()
}

/// The whole table.
fn rows() -> Vec<Row> {
    use Cause::{Broken, Config as Home, Fake, Replies, Suggest};
    use Does::{AsksOnceMore, BacksOff, GivesUp, Repairs, Shrinks, Stops, TakesIt, WaitsForReset};
    use FailureClass::{
        BadAnswer, Config, ContextTooLong, Killed, Network, Overloaded, Quota, RateLimit, Refused, SignIn, TimedOut,
        TooOld, Unknown, UsageWindow,
    };
    let reply = |what, reply, class, does, says| row(what, Cause::Reply(reply), class, does, says);
    let error = |what, status, code, message, class, does, says| {
        row(what, Cause::Reply(Reply::error(status, code, message)), class, does, says)
    };
    let failed = |what, code, message, class, does, says| {
        row(what, Cause::Reply(Reply::failed(code, message)), class, does, says)
    };
    let answer = |what, cause| Row { what, cause, class: None, does: TakesIt, says: "", limit: None };
    let huge = || {
        let mut long = evaluation(Verdict::InProgress, 0.5, Vec::new());
        long.rationale = "x".repeat(5 << 20);
        Reply::json(&long)
    };
    let mut ill_named = proposal("Bad Id!", "");
    ill_named.patch = "--- a/src/sum.js\n".into();
    vec![
        // The account.
        reply("401, wrong key", Reply::unauthorized(), SignIn, Stops, "codex login"),
        error(
            "401, sign-in expired",
            401,
            "token_expired",
            "Your session has ended. Please log in again.",
            SignIn,
            Stops,
            "codex login",
        ),
        error(
            "403, not allowed here",
            403,
            "unsupported_country",
            "Country, region, or territory not supported",
            SignIn,
            Stops,
            "not supported",
        ),
        error("402, payment required", 402, "payment_required", "Payment required", Quota, Stops, "billing"),
        error(
            "429 `insufficient_quota`",
            429,
            "insufficient_quota",
            "You exceeded your current quota",
            Quota,
            Stops,
            "billing",
        ),
        error(
            "429 `billing_hard_limit_reached`",
            429,
            "billing_hard_limit_reached",
            "Billing hard limit has been reached",
            RateLimit,
            BacksOff,
            "rate-limited",
        ),
        error("429 `usage_not_included`", 429, "usage_not_included", "no plan", Quota, Stops, "ChatGPT plan"),
        reply(
            "429 `usage_limit_reached`, opens in 10 min",
            usage_limit(&json!({"resets_in_seconds": 600, "resets_at": Timestamp::now().as_second() + 600})),
            UsageWindow,
            WaitsForReset,
            "Codex usage window is spent; opens at",
        ),
        reply(
            "429 `usage_limit_reached`, opens after the time budget",
            usage_limit(&json!({"resets_at": Timestamp::now().as_second() + 90_000})),
            UsageWindow,
            Stops,
            "longer than the time budget",
        ),
        reply(
            "429 `usage_limit_reached`, no time named",
            usage_limit(&json!({})),
            UsageWindow,
            Stops,
            "usage window is spent",
        ),
        failed("`response.failed`: `insufficient_quota`", "insufficient_quota", "no money", Quota, Stops, "billing"),
        failed(
            "`response.failed`: `usage_not_included`",
            "usage_not_included",
            "no plan",
            Quota,
            Stops,
            "ChatGPT plan",
        ),
        failed(
            "`response.failed`: `usage_limit_reached`",
            "usage_limit_reached",
            "You have reached your usage limit",
            UsageWindow,
            Stops,
            "usage window is spent",
        ),
        // Limits that pass.
        reply("429 without `retry-after`", Reply::rate_limited(None), RateLimit, BacksOff, "rate-limited"),
        reply("429 with `retry-after: 1`", Reply::rate_limited(Some(1)), RateLimit, BacksOff, "rate-limited"),
        row(
            "429 with `retry-after: 3600`, which Codex sits out",
            Replies(vec![Reply::rate_limited(Some(3600))]),
            RateLimit,
            BacksOff,
            "rate-limited; asked again at",
        )
        .within(3 * SHORT),
        failed(
            "`response.failed`: `rate_limit_exceeded`, try again in 10 min",
            "rate_limit_exceeded",
            "Rate limit reached. Please try again in 10m.",
            RateLimit,
            WaitsForReset,
            "rate-limited; opens at",
        ),
        failed(
            "`response.failed`: `rate_limit_exceeded`, no time named",
            "rate_limit_exceeded",
            "Rate limit reached.",
            RateLimit,
            BacksOff,
            "rate-limited",
        ),
        // The provider.
        error("500", 500, "server_error", "oops", Overloaded, BacksOff, "overloaded"),
        reply(
            "502, a proxy's HTML",
            Reply::typed(502, "text/html", "<html><body>Bad gateway</body></html>"),
            Overloaded,
            BacksOff,
            "overloaded",
        ),
        error("503", 503, "unavailable", "try later", Overloaded, BacksOff, "overloaded"),
        error("503 `server_is_overloaded`", 503, "server_is_overloaded", "busy", Overloaded, BacksOff, "at capacity"),
        failed(
            "`response.failed`: `server_is_overloaded`",
            "server_is_overloaded",
            "busy",
            Overloaded,
            BacksOff,
            "at capacity",
        ),
        failed(
            "`response.failed`: `server_error`",
            "server_error",
            "An error occurred while processing your request.",
            Network,
            BacksOff,
            "cannot reach",
        ),
        failed(
            "`response.failed` with a code nobody knows",
            "gremlins",
            "gremlins in the machine",
            Network,
            BacksOff,
            "gremlins",
        ),
        // The question.
        error(
            "404 `model_not_found`",
            404,
            "model_not_found",
            "The model `gpt-x` does not exist or you do not have access to it.",
            Config,
            Stops,
            "does not exist",
        ),
        reply("404, no such route", Reply::typed(404, "text/html", "<html>nothing here</html>"), Config, Stops, "404"),
        error(
            "400, unknown effort",
            400,
            "unsupported_value",
            "Unsupported value: 'banana' is not supported with this model.",
            Config,
            Stops,
            "banana",
        ),
        error(
            "400, schema refused",
            400,
            "invalid_json_schema",
            "Invalid schema for response_format 'codex_output_schema'",
            Config,
            Stops,
            "Invalid schema",
        ),
        error(
            "400, context length",
            400,
            "context_length_exceeded",
            "Your input exceeds the context window of this model.",
            ContextTooLong,
            Shrinks,
            "does not fit",
        ),
        error("413", 413, "too_large", "Request too large", ContextTooLong, Shrinks, "does not fit"),
        failed(
            "`response.failed`: `context_length_exceeded`",
            "context_length_exceeded",
            "too long",
            ContextTooLong,
            Shrinks,
            "does not fit",
        ),
        error(
            "400 `invalid_prompt`",
            400,
            "invalid_prompt",
            "Invalid prompt: this was flagged as violating our usage policy.",
            Refused,
            GivesUp,
            "refuses",
        ),
        failed(
            "`response.failed`: `invalid_prompt`",
            "invalid_prompt",
            "Invalid prompt: flagged",
            Refused,
            GivesUp,
            "refuses",
        ),
        failed(
            "`response.failed`: `cyber_policy`",
            "cyber_policy",
            "This request has been flagged for possible cybersecurity risk",
            Refused,
            GivesUp,
            "refuses",
        ),
        reply(
            "`response.incomplete`: `content_filter`",
            Reply::incomplete("content_filter", "{"),
            Refused,
            GivesUp,
            "refuses",
        ),
        reply(
            "`response.incomplete`: `max_output_tokens`",
            Reply::incomplete("max_output_tokens", "{\"verdict\":"),
            BadAnswer,
            Repairs,
            "no usable answer",
        ),
        error(
            "400 that wants a newer Codex",
            400,
            "invalid_request_error",
            "The 'gpt-9' model requires a newer version of Codex. Please upgrade to the latest version.",
            TooOld,
            Stops,
            "too old",
        ),
        // The connection.
        reply("connection reset", Reply::reset(), Network, BacksOff, "cannot reach"),
        row("connection refused", Home(provider("http://127.0.0.1:CLOSED/v1", "")), Network, BacksOff, "cannot reach"),
        row(
            "name not found (DNS)",
            Home(provider("http://no-such-host.invalid/v1", "")),
            Network,
            BacksOff,
            "cannot reach",
        ),
        row("TLS spoken to a plain port", Home(provider("https://SERVER/v1", "")), Network, BacksOff, "cannot reach"),
        reply(
            "redirect to nowhere",
            Reply::typed(307, "text/plain", "").with_header("location", "http://127.0.0.1:1/v1/responses"),
            Network,
            BacksOff,
            "cannot reach",
        ),
        reply("stream cut before anything", Reply::cut(), Network, BacksOff, "cannot reach"),
        reply(
            "stream cut within a message",
            Reply::cut_after("{\"verdict\":\"goal-"),
            Network,
            BacksOff,
            "cannot reach",
        ),
        reply("a whole message, then a cut", Reply::message(good_text()).then_cut(), Network, BacksOff, "cannot reach"),
        answer(
            "a cut within a message, then the whole after a reconnect",
            Replies(vec![Reply::cut_after("{\"verdict\":\"goal-met\""), good()]),
        ),
        reply("not one byte in answer", Reply::hang(), TimedOut, AsksOnceMore, "within its time limit").limited(),
        reply("silence within a message", Reply::hang_after("{\"verd"), Network, BacksOff, "cannot reach"),
        reply(
            "a letter at a time, without end",
            Reply::drip(Duration::from_millis(100)),
            TimedOut,
            AsksOnceMore,
            "within its time limit",
        )
        .limited(),
        reply("commands without end", Reply::exec_command("true"), TimedOut, AsksOnceMore, "within its time limit")
            .limited(),
        reply("an empty body", Reply::raw_stream(""), Network, BacksOff, "cannot reach"),
        reply(
            "HTML with status 200",
            Reply::typed(200, "text/html", "<html><body>Please sign in to the hotel's network</body></html>"),
            Network,
            BacksOff,
            "cannot reach",
        ),
        reply(
            "JSON in place of a stream",
            Reply::typed(200, "application/json", "{\"output\": []}"),
            Network,
            BacksOff,
            "cannot reach",
        ),
        reply(
            "events that are no JSON",
            Reply::raw_stream("event: response.created\ndata: {\"type\": oops\n\n"),
            Network,
            BacksOff,
            "cannot reach",
        ),
        // The answer.
        reply("prose", Reply::message("Sure! Here is what I think of it."), BadAnswer, Repairs, "no usable answer"),
        reply("JSON of another shape", Reply::message("{\"proposals\": 7}"), BadAnswer, Repairs, "no usable answer"),
        reply("half a JSON", Reply::message("{\"verdict\": \"in-pro"), BadAnswer, Repairs, "not JSON"),
        reply("an empty text", Reply::message(""), BadAnswer, Repairs, "no usable answer"),
        reply("no output at all", Reply::empty(), BadAnswer, Repairs, "no usable answer"),
        reply("thoughts alone", Reply::empty().with_reasoning("Hm."), BadAnswer, Repairs, "no usable answer"),
        reply("a refusal in words", Reply::refusal("I'd rather not."), BadAnswer, Repairs, "no usable answer"),
        reply("an answer of 5 MB", huge(), BadAnswer, Repairs, "at most"),
        row(
            "proposals whose ids are no ids",
            Suggest(Reply::json(&loop_companion::answers::Suggestion { proposals: vec![ill_named] })),
            BadAnswer,
            Repairs,
            "no usable answer",
        ),
        answer(
            "JSON in a Markdown fence",
            Cause::Reply(Reply::message(format!("Here it is:\n\n```json\n{}\n```\n", good_text()))),
        ),
        answer(
            "two messages, the second of which is the answer",
            Cause::Reply(good().preceded_by(Reply::message("One moment."))),
        ),
        // Codex itself.
        row("`config.toml` cannot be read", Home("model_provider = [\n".into()), Config, Stops, "config"),
        row(
            "an unknown provider in `config.toml`",
            Home("model_provider = \"nowhere\"\n".into()),
            Config,
            Stops,
            "nowhere",
        ),
        row(
            "the provider's key is not set",
            Home(provider("http://SERVER/v1", "env_key = \"NO_SUCH_KEY_HERE\"\n")),
            SignIn,
            Stops,
            "NO_SUCH_KEY_HERE",
        ),
        row("Codex dies by a signal", Fake("kill -SEGV $$"), Killed, AsksOnceMore, "killed"),
        row("Codex ends with 0 and no output", Fake("cat > /dev/null"), Unknown, AsksOnceMore, "did not explain"),
        row("Codex ends with 1 and no word", Fake("exit 1"), Unknown, AsksOnceMore, "did not explain"),
        row(
            "Codex prints what is no event",
            Fake("head -c 300000 /dev/urandom; exit 0"),
            Unknown,
            AsksOnceMore,
            "did not explain",
        ),
        row(
            "Codex does not know our flags",
            Fake("echo \"error: unexpected argument '--ephemeral' found\" >&2; exit 2"),
            TooOld,
            Stops,
            "too old",
        ),
        row(
            "Codex hangs without a word, deaf to signals",
            Fake("trap '' INT TERM; while :; do sleep 60; done"),
            TimedOut,
            AsksOnceMore,
            "within its time limit",
        )
        .limited(),
        answer("Codex answers, and a process of its own holds its output open", Fake(ANSWER_AND_LEAVE_A_CHILD)),
        row("Codex is gone", Broken(|path| fs::remove_file(path).unwrap()), Config, Stops, "cannot be started"),
        row(
            "Codex may not be executed",
            Broken(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap()),
            Config,
            Stops,
            "cannot be started",
        ),
        row(
            "Codex is no program",
            Broken(|path| fs::write(path, "\u{7f}ELF nonsense").unwrap()),
            Config,
            Stops,
            "cannot be started",
        ),
    ]
}

/// A stand-in that leaves a child in a session of its own with the output still open.
const ANSWER_AND_LEAVE_A_CHILD: &str = r#"cat > /dev/null
setsid sleep 600 &
echo '{"type":"thread.started","thread_id":"t"}'
echo '{"type":"turn.started"}'
echo '{"type":"item.completed","item":{"type":"agent_message","text":"{\"verdict\":\"in-progress\",\"distanceFromGoal\":0.5,\"openIssues\":[],\"passingTests\":null,\"failingTests\":null,\"typeErrors\":null,\"lintErrors\":null,\"completionClaim\":false,\"rationale\":\"r\"}"}}'
echo '{"type":"turn.completed","usage":{"input_tokens":9,"output_tokens":3}}'"#;

/// A `config.toml` whose provider is at this address and tries nothing twice: Codex's own retries are the user's to
/// set, and their time is not what these rows are about.
pub(crate) fn provider(base_url: &str, more: &str) -> String {
    format!(
        "model_provider = \"scripted\"\n\n[model_providers.scripted]\nname = \"Scripted model\"\nbase_url = \"{base_url}\"\n\
         wire_api = \"responses\"\nrequires_openai_auth = false\nrequest_max_retries = 0\nstream_max_retries = 0\n\
         stream_idle_timeout_ms = 5000\n{more}"
    )
}

/// Ends the loop as soon as what it does about the failure is seen.
struct Witness<'a> {
    store: &'a Store,
    /// What a person reads when the loop has turned to waiting or gone on.
    text: String,
}

impl Observer for Witness<'_> {
    fn event(&mut self, state: &State, record: &Record, _: Option<&str>) {
        let enough = matches!(
            record.event,
            Event::WaitStarted { .. } | Event::StepGivenUp { .. } | Event::Evaluated { .. } | Event::Stopped { .. }
        );
        // Where the proposals are what fails, the evaluation is none of it.
        let enough = enough
            && !(matches!(record.event, Event::Evaluated { .. }) && state.plan.goal.contains("proposals whose ids"));
        if enough && self.text.is_empty() {
            self.text = status_text(&status_report(state, true, Timestamp::now()));
            self.store.request_stop().unwrap();
        }
    }

    fn activity(&mut self, _: &State, _: &str) {}
}

/// What a row came to.
#[derive(Debug)]
struct Found {
    class: Option<FailureClass>,
    does: Option<Does>,
    /// Until the loop knew.
    knew_after: Duration,
    text: String,
    /// Where the loop ends if the failure lasts.
    lasting: Option<StopReason>,
    exit: u8,
}

/// What all rows share.
struct Ground {
    environment: TestEnvironment,
    address: String,
    plan: PlanReport,
    codex: CodexReport,
}

fn session(environment: &TestEnvironment, dir: &Path, home: &Path) -> Session {
    let path = |name: &str| environment.env().iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let variables = ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"];
    let mut codex_env: Vec<_> = variables.iter().filter_map(|name| Some(((*name).into(), path(name)?))).collect();
    codex_env.push(("CODEX_HOME".into(), home.into()));
    let found = Environment {
        codex_bin: Some(codex_bin()),
        path: path("PATH"),
        home: path("HOME").map(PathBuf::from),
        cache: dir.with_extension("cache"),
        codex_home: Some(home.to_owned()),
        codex_env,
        ..Environment::default()
    };
    Session { dir: dir.to_owned(), environment: found, worker_log: None }
}

fn play(ground: &Ground, number: usize, row: &Row) -> Found {
    // A number of fixed width: one row's folder must not be a beginning of another's.
    let folder = ground.environment.root().join(format!("row-{number:03}"));
    let (repository, home) = (folder.join("repo"), folder.join("codex-home"));
    fs::create_dir_all(&home).unwrap();
    let repo = Repo::init(&repository);
    repo.write("a.txt", "wrong\n").commit("The state with the fault");
    let server = format!("http://{}/v1", ground.address);
    let mut config = provider(&server, "");
    let mut codex = ground.codex.clone();
    match &row.cause {
        Cause::Config(text) => {
            // A port that was open and is closed again is one that nobody listens at.
            let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            config = text.replace("SERVER", &ground.address).replace("CLOSED", &closed.to_string());
        }
        // The reconnect is Codex's own.
        Cause::Replies(_) => config = config.replace("stream_max_retries = 0", "stream_max_retries = 1"),
        Cause::Fake(script) => {
            codex.program = folder.join("codex");
            fs::write(&codex.program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&codex.program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Cause::Broken(breaks) => {
            codex.program = folder.join("codex");
            fs::write(&codex.program, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&codex.program, fs::Permissions::from_mode(0o755)).unwrap();
            breaks(&codex.program);
        }
        Cause::Reply(_) | Cause::Suggest(_) => {}
    }
    fs::write(home.join("config.toml"), config).unwrap();
    let session = session(&ground.environment, &repository, &home);
    codex.env.clone_from(&session.environment.codex_env);
    let mut plan = ground.plan.clone();
    plan.plan.root = repository.canonicalize().unwrap().display().to_string();
    plan.plan.goal = format!("[row {number}] {}", row.what);
    if let Some(limit) = row.limit {
        plan.plan.budget.codex_timeout_ms = u64::try_from(limit.as_millis()).unwrap();
    }
    let store = session.store(&session.repository().unwrap());
    let mut witness = Witness { store: &store, text: String::new() };
    let ended = operations::start(&session, plan, &codex, &mut witness).unwrap();
    let left = wait_until_gone(&folder, Duration::from_secs(5));
    assert!(left.is_empty(), "{}: processes were left behind: {left:#?}", row.what);

    let seen = &store.latest().unwrap().unwrap().journal().unwrap().records[..];
    let first = seen.iter().find_map(|record| match &record.event {
        Event::CallFinished { end, tokens, .. } => match end {
            CallEnd::Failed { failure, .. } => Some((record.at, Some(failure.clone()), *tokens)),
            CallEnd::Answered { .. } => Some((record.at, None, *tokens)),
        },
        _ => None,
    });
    let failure = seen.iter().find_map(|record| match &record.event {
        Event::CallFinished { end: CallEnd::Failed { failure, .. }, .. } => Some(failure.clone()),
        _ => None,
    });
    let started = seen.iter().find(|record| matches!(record.event, Event::CallStarted { .. })).unwrap().at;
    let (known_at, _, tokens) = first.expect("a call that ended");
    let lasting = failure.as_ref().map(|failure| lasting(seen, failure));
    let text = format!("{}\n{}", witness.text, status_text(&status_report(&ended.state, false, Timestamp::now())));
    // Lines are broken for a terminal; what is looked for may stand across two of them.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(failure.is_none() || tokens.estimated || tokens.total() > 0, "{}: {tokens:?}", row.what);
    Found {
        class: failure.as_ref().map(|failure| failure.class),
        does: does(seen),
        knew_after: Duration::try_from(known_at.duration_since(started)).unwrap_or_default(),
        text,
        exit: lasting.map_or(0, StopReason::exit_code),
        lasting,
    }
}

/// Reads off the journal what the loop did.
fn does(seen: &[Record]) -> Option<Does> {
    let suggesting = |kind: CallKind| kind == CallKind::Suggest;
    let failing_suggest =
        seen.iter().any(|record| matches!(&record.event, Event::CallStarted { kind, .. } if suggesting(*kind)));
    let calls = seen
        .iter()
        .filter(
            |record| matches!(&record.event, Event::CallStarted { kind, .. } if suggesting(*kind) == failing_suggest),
        )
        .count();
    let repaired = seen.iter().any(|record| matches!(record.event, Event::CallStarted { repair: true, .. }));
    let class = seen.iter().find_map(|record| match &record.event {
        Event::CallFinished { end: CallEnd::Failed { failure, .. }, .. } => Some((failure.clone(), record.at)),
        _ => None,
    });
    seen.iter().find_map(|record| match &record.event {
        Event::WaitStarted { until, .. } => {
            let (failure, at) = class.clone()?;
            let backoff = until.duration_since(at) <= SignedDuration::from_secs(6);
            match failure.reset {
                Some(_) if !backoff => Some(Does::WaitsForReset),
                _ => backoff.then_some(Does::BacksOff),
            }
        }
        Event::StepGivenUp { .. } => match calls {
            1 => Some(Does::GivesUp),
            2 if repaired => Some(Does::Repairs),
            2 => Some(Does::AsksOnceMore),
            3 => Some(Does::Shrinks),
            _ => None,
        },
        Event::Evaluated { .. } if !failing_suggest => Some(Does::TakesIt),
        Event::Stopped { reason, .. } if *reason != Some(StopReason::UserStopped) => {
            (calls == 1).then_some(Does::Stops)
        }
        _ => None,
    })
}

/// Returns where the loop ends if every call from the first failed one on fails like that: the engine alone, with the
/// time it asks for.
fn lasting(seen: &[Record], failure: &Failure) -> StopReason {
    let failed = |record: &Record| matches!(record.event, Event::CallFinished { end: CallEnd::Failed { .. }, .. });
    let first = seen.iter().position(failed).unwrap();
    let mut state = State::replay(&seen[..=first]).unwrap();
    let mut now = seen[first].at;
    let apply = |state: &mut State, at: Timestamp, event: Event| {
        let seq = state.seq + 1;
        state.apply(&Record { seq, at, event });
    };
    for _ in 0..200 {
        let event = match decide(&state, now).expect("the loop has not ended") {
            Effect::Stop { reason, .. } => return reason.unwrap(),
            Effect::Ask { kind, repair, .. } => {
                let call = state.used.calls + 1;
                let (model, effort) = (None, "high".to_owned());
                apply(&mut state, now, Event::CallStarted { call, kind, repair, prompt_chars: 1, model, effort });
                let mut failure = failure.clone();
                failure.reset = failure.reset.map(|reset| reset.max(now + SignedDuration::from_secs(1)));
                let end = CallEnd::Failed { failure, answer_file: None };
                Event::CallFinished { call, duration_ms: 1, tokens: Usage::default(), end }
            }
            Effect::Wait { cause, until, message } => {
                apply(&mut state, now, Event::WaitStarted { cause, until, message });
                now = now.max(until);
                Event::WaitFinished
            }
            Effect::GiveUp { kind, reason, class } => Event::StepGivenUp { kind, reason, class },
            Effect::StartIteration { index, closing } => Event::IterationStarted { index, closing },
            Effect::FinishIteration { index } => Event::IterationFinished { index },
            other => panic!("nothing else is to be done: {other:?}"),
        };
        apply(&mut state, now, event);
    }
    panic!("the loop does not end");
}

/// The scripted service of all rows: which row asks stands in the goal.
fn answer(rows: &[Row], counts: &[AtomicUsize], request: &ModelRequest) -> Reply {
    let number = request.prompt.split_once("[row ").and_then(|(_, rest)| rest.split(']').next()?.parse::<usize>().ok());
    let Some((number, row)) = number.and_then(|number| Some((number, rows.get(number)?))) else {
        return Reply::error(500, "script", "which row is that?");
    };
    let before = counts[number].fetch_add(1, Ordering::SeqCst);
    match &row.cause {
        Cause::Reply(reply) => reply.clone(),
        Cause::Replies(replies) => replies.get(before).unwrap_or(&replies[replies.len() - 1]).clone(),
        Cause::Suggest(reply) if request.step() == Step::Suggest => reply.clone(),
        _ => good(),
    }
}

/// Rows played at the same time. They wait for Codex more than they compute.
const AT_ONCE: usize = 4;

#[test]
fn every_failure_of_codex_has_its_class_its_policy_and_its_words() {
    // What no child of this program may outlive is ended by the program itself, as in life.
    process::use_shim(process::Shim { path: env!("CARGO_BIN_EXE_loop-companion").into(), arguments: Vec::new() });
    let rows: &'static [Row] = rows().leak();
    let counts: &'static [AtomicUsize] = rows.iter().map(|_| AtomicUsize::new(0)).collect::<Vec<_>>().leak();
    let server = ScriptedServer::start(|request| answer(rows, counts, request)).unwrap();
    let environment = TestEnvironment::new(&server);
    let address = server.base_url().trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let first = environment.repo("first");
    first.write("a.txt", "wrong\n").commit("The state with the fault");
    let request = PlanRequest {
        goal: Goal { text: Some("which row".into()), accept: Vec::new() },
        options: Options {
            test_cmd: Some("grep -q right a.txt".into()),
            place: Some(Where::InPlace),
            propose: Some(loop_companion::plan::Propose::Diff),
            ..Options::default()
        },
        dry_run: false,
    };
    let (plan, codex) =
        operations::plan(&session(&environment, first.path(), &environment.codex_home()), &request).unwrap();
    let ground = Ground { environment, address, plan, codex };

    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(row) = rows.get(number) else { return };
                    let one = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&ground, number, row)));
                    found.lock().unwrap().insert(number, one);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut wrong = String::new();
    println!("{:<68} {:<17} {:<14} {:>7}  {:<20} exit", "what happens", "class", "does", "known", "if it lasts");
    for (number, row) in rows.iter().enumerate() {
        let Ok(one) = &found[&number] else {
            let _ = writeln!(wrong, "{}: panicked, see above", row.what);
            continue;
        };
        println!(
            "{:<68} {:<17} {:<14} {:>5.1} s  {:<20} {}",
            row.what,
            one.class.map_or("-", FailureClass::name),
            one.does.map_or("?".to_owned(), |does| format!("{does:?}")),
            one.knew_after.as_secs_f64(),
            one.lasting.map_or("-", StopReason::name),
            one.exit
        );
        let within = KNOWS_WITHIN + row.limit.unwrap_or_default();
        let mut fault = |what: String| {
            let _ = writeln!(wrong, "{}: {what}\n  in: {}", row.what, one.text);
        };
        if one.class != row.class {
            fault(format!("class {:?}, not {:?}", one.class, row.class));
        }
        if one.does != Some(row.does) {
            fault(format!("does {:?}, not {:?}", one.does, row.does));
        }
        if !one.text.contains(row.says) {
            fault(format!("nobody is told `{}`", row.says));
        }
        if row.class.is_some_and(|class| !one.text.contains(class.title()) && one.lasting.is_some()) {
            fault("the class is not told in words".into());
        }
        if one.knew_after > within || row.limit.is_some_and(|limit| one.knew_after < limit) && one.class.is_some() {
            fault(format!("known after {:?}", one.knew_after));
        }
        if row.class.is_some_and(FailureClass::passes_by_itself) && one.lasting.map(StopReason::exit_code) != Some(6) {
            fault(format!("ends as {:?} if it lasts", one.lasting));
        }
    }
    println!("{} rows in {:.0} s", rows.len(), began.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "{wrong}");
    assert!(rows.len() >= 40);
    let page = page(rows, &found.into_values().map(Result::unwrap).collect::<Vec<_>>());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    // CLOOP_BLESS=1 writes the page anew after a change of the table.
    if std::env::var_os("CLOOP_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "{} is not the table", path.display());
}

/// Returns the page `docs/failures.md`.
fn page(rows: &[Row], found: &[Found]) -> String {
    let mut text = String::from(
        "# When Codex fails\n\n\
         Every failure of the Codex CLI has a class, and every class a policy. `status` names the class in words, says \
         what\nthe loop does about it, and counts; `status --json` has them under `failures`, and `waiting` while the \
         loop waits. What\nCodex printed stands in the call's folder. This page is made from the table of \
         `tests/it/faults.rs`, which plays every\nrow with the real Codex CLI; `CLOOP_BLESS=1 cargo test --test it \
         every_failure_of_codex` writes it anew.\n\n\
         ## Classes\n\n| class | what you read | what the loop does | what you can do |\n| --- | --- | --- | --- |\n",
    );
    for class in FailureClass::ALL {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", class.name(), class.title(), remedy(class), class.hint());
    }
    text.push_str(
        "\nWaiting counts as time of the budget and costs nothing else: nothing is asked until the named moment has \
         come, and\nthen once. A wait that the time budget cannot hold is not begun. Codex's own endless waits (no \
         network, a silent server,\na `retry-after` of an hour) end at `--codex-timeout`, or when the time budget does. \
         A call without known usage counts\nwith an estimate from its prompt, marked `estimated`. Failures never count \
         as rounds without progress, but for answers\nthat came and could not be used.\n\n\
         ## What happens\n\nThe last column is where the loop ends if every further call fails like this one.\n\n\
         | what happens | class | the loop | if it lasts |\n| --- | --- | --- | --- |\n",
    );
    for (row, one) in rows.iter().zip(found) {
        let lasts =
            one.lasting.map_or("–".to_owned(), |reason| format!("`{}`, exit {}", reason.name(), reason.exit_code()));
        let class = row.class.map_or("an answer".to_owned(), |class| format!("`{}`", class.name()));
        let _ = writeln!(text, "| {} | {class} | {} | {lasts} |", row.what, row.does.words());
    }
    text.push_str(
        "\nBefore a loop begins, preflight finds what needs no call: no Codex, one that is too old or does not run, \
         nobody signed\nin, a configuration that cannot be read, an effort that the model does not have. Those end with \
         exit 3, or 2 for what was typed.\n",
    );
    text
}

/// A stand-in for Codex that says this at `--version`.
fn fake_version(environment: &TestEnvironment, version: &str) -> PathBuf {
    let path = environment.root().join("fake-codex");
    fs::write(&path, format!("#!/bin/sh\n{version}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_needs_no_call_to_be_known_is_known_before_the_loop() {
    /// What is wrong, how that comes about, what is typed, exit status, name of the error, part of what is to be done.
    type Case = (&'static str, fn(&mut TestEnvironment), Vec<&'static str>, i32, &'static str, &'static str);
    let cases: [Case; 9] = [
        ("no Codex", |it| it.set("LOOP_CODEX_BIN", it.root().join("nowhere")), vec![], 3, "codex", "npm install"),
        (
            "not executable",
            |it| {
                let path = fake_version(it, "");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                it.set("LOOP_CODEX_BIN", path);
            },
            vec![],
            3,
            "codex",
            "npm install",
        ),
        (
            "garbage for a version",
            |it| it.set("LOOP_CODEX_BIN", fake_version(it, "head -c 2000 /dev/urandom")),
            vec![],
            3,
            "codex",
            "npm install",
        ),
        (
            "dies at once",
            |it| it.set("LOOP_CODEX_BIN", fake_version(it, "kill -SEGV $$")),
            vec![],
            3,
            "codex",
            "npm install",
        ),
        (
            "too old",
            |it| it.set("LOOP_CODEX_BIN", fake_version(it, "echo codex-cli 0.20.0")),
            vec![],
            3,
            "codex",
            "npm install",
        ),
        (
            "nobody signed in",
            |it| fs::write(it.codex_home().join("config.toml"), "").unwrap(),
            vec![],
            3,
            "not-signed-in",
            "codex login",
        ),
        (
            "config.toml cannot be read",
            |it| fs::write(it.codex_home().join("config.toml"), "model = [\n").unwrap(),
            vec![],
            3,
            "codex",
            "codex doctor",
        ),
        ("unknown effort", |_| (), vec!["--model", "gpt-5.5", "--effort", "banana"], 2, "usage", "xhigh"),
        ("no price", |_| (), vec!["--max-cost", "5"], 2, "usage", "prices"),
    ];
    let cases: Vec<_> = cases
        .into_iter()
        .map(|(what, breaks, typed, code, name, advice)| {
            std::thread::spawn(move || {
                let mut scene = Scene::new(SequenceModel::new(), sum_files());
                breaks(&mut scene.environment);
                let typed = [vec!["--test-cmd", "true"], typed].concat();
                let (message, hint) = refused(scene.start(&typed), code, name);
                assert!(hint.contains(advice), "{what}: {message}; {hint}");
                assert_eq!(scene.server.requests().len(), 0, "{what}");
                scene.assert_untouched();
                scene.environment.assert_no_processes();
                println!("{what:<28} exit {code}  {name:<14} {message}");
            })
        })
        .collect();
    for case in cases {
        case.join().unwrap();
    }
}

#[test]
fn waiting_asks_nothing_and_after_the_reset_once() {
    const WAIT_S: i64 = 12;
    let opens = Mutex::new(None);
    let server = ScriptedServer::start(move |request| {
        let mut opens = opens.lock().unwrap();
        let now = Timestamp::now();
        if now < *opens.get_or_insert(now + SignedDuration::from_secs(WAIT_S)) {
            return Reply::failed(
                "rate_limit_exceeded",
                &format!("Rate limit reached. Please try again in {WAIT_S}s."),
            );
        }
        match request.step() {
            Step::Suggest => Reply::json(&suggestion([("mend", mend().as_str())])),
            _ => good(),
        }
    })
    .unwrap();
    let environment = TestEnvironment::with_codex_config(&provider(&server.base_url(), ""));
    let repo = environment.repo("repo");
    repo.files(sum_files()).commit("The state with the fault");
    let scene = Scene { server, environment, repo };
    let mut running = scene.spawn_start(&["--test-cmd", "node --test"]);
    let soon = Duration::from_secs(240);
    running.wait_for("pause", soon, |_| scene.status()["status"] == "paused");
    let status = scene.status();
    assert_eq!(status["waiting"]["cause"], "rate-limit");
    assert!(status["waiting"]["timeLeftMs"].as_u64().unwrap() < 3_600_000);
    assert_eq!((&status["failures"][0]["class"], &status["failures"][0]["count"]), (&"rate-limit".into(), &1.into()));
    let text = scene.cloop(["status"]).expect_code(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let opens_at: Timestamp = status["waiting"]["until"].as_str().unwrap().parse().unwrap();
    assert!(text.contains("Codex is rate-limited; opens at ") && text.contains(" of your time budget left"), "{text}");
    assert_eq!(scene.server.requests().len(), 1);
    // Whatever looks at a waiting loop costs nothing either.
    for _ in 0..3 {
        scene.cloop(["wait", "--timeout", "300ms"]).expect_code(124);
    }
    assert!(Timestamp::now() < opens_at, "the machine is too slow for this test");
    assert_eq!(scene.server.requests().len(), 1);
    let done = ended(running.finish(soon), 0, "goal-met");
    // The refused one, the evaluation after the reset, and the proposals.
    assert_eq!(scene.server.requests().len(), 3);
    assert_eq!(done["budget"]["calls"]["used"], 3);
    scene.environment.assert_no_processes();
}
