//! What an ended call came to: an answer, or a failure of a known class.
//!
//! `codex exec` names no error codes, so classes are read from message texts; the tests hold the texts as the real
//! binary writes them. It never retries or waits, and never looks into an answer.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{Event, Item, Phase, Usage};
use crate::process::Exit;

/// Why a call gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Nobody is signed in, or the key or token is not taken.
    SignIn,
    /// No credit, or a plan without Codex: only the account's owner can help.
    Quota,
    /// The plan's usage window is spent; it opens again at a time that is often named.
    UsageWindow,
    /// Too many requests or tokens a minute.
    RateLimit,
    /// The provider has trouble or no capacity.
    Overloaded,
    /// The provider was not reached, or the connection did not hold.
    Network,
    /// The prompt, or what Codex read on top of it, does not fit into the model's context.
    ContextTooLong,
    /// The provider will not answer this prompt.
    Refused,
    /// The turn ended, but without a usable answer.
    BadAnswer,
    /// Ended by us, the caller having asked for it.
    Stopped,
    /// Ended by us at the wall-clock limit.
    TimedOut,
    /// Ended by a signal that was not ours.
    Killed,
    /// The configuration, the model's name or another setting is not taken.
    Config,
    /// This Codex, or this model in it, needs a newer Codex.
    TooOld,
    /// None of these.
    Unknown,
}

impl FailureClass {
    /// Every class, in the order of the reference.
    pub const ALL: [Self; 15] = [
        Self::SignIn,
        Self::Quota,
        Self::UsageWindow,
        Self::RateLimit,
        Self::Overloaded,
        Self::Network,
        Self::ContextTooLong,
        Self::Refused,
        Self::BadAnswer,
        Self::Stopped,
        Self::TimedOut,
        Self::Killed,
        Self::Config,
        Self::TooOld,
        Self::Unknown,
    ];

    /// Returns the name used in JSON and in the reference.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Quota => "quota",
            Self::UsageWindow => "usage-window",
            Self::RateLimit => "rate-limit",
            Self::Overloaded => "overloaded",
            Self::Network => "network",
            Self::ContextTooLong => "context-too-long",
            Self::Refused => "refused",
            Self::BadAnswer => "bad-answer",
            Self::Stopped => "stopped",
            Self::TimedOut => "timed-out",
            Self::Killed => "killed",
            Self::Config => "config",
            Self::TooOld => "too-old",
            Self::Unknown => "unknown",
        }
    }

    /// Returns what happened, as a sentence without a full stop.
    pub fn title(self) -> &'static str {
        match self {
            Self::SignIn => "Codex is not signed in, or its sign-in is refused",
            Self::Quota => "The quota or credit of Codex's account is spent",
            Self::UsageWindow => "Codex usage window is spent",
            Self::RateLimit => "Codex is rate-limited",
            Self::Overloaded => "The model's provider is overloaded",
            Self::Network => "Codex cannot reach the model's provider",
            Self::ContextTooLong => "The prompt does not fit into the model's context",
            Self::Refused => "The model's provider refuses the question",
            Self::BadAnswer => "Codex gave no usable answer",
            Self::Stopped => "The Codex call was stopped",
            Self::TimedOut => "Codex did not answer within its time limit",
            Self::Killed => "Codex was killed",
            Self::Config => "Codex cannot be used as it is configured",
            Self::TooOld => "Codex is too old for this",
            Self::Unknown => "Codex failed in a way it did not explain",
        }
    }

    /// Says whether the same call may well succeed later without anybody doing anything.
    pub fn passes_by_itself(self) -> bool {
        matches!(self, Self::UsageWindow | Self::RateLimit | Self::Overloaded | Self::Network)
    }

    /// Returns what the user can do, as one sentence without a full stop.
    pub fn hint(self) -> &'static str {
        match self {
            Self::SignIn => "sign in with `codex login`, or set CODEX_API_KEY, and try again",
            Self::Quota => "check the plan and the billing of the account that Codex uses",
            Self::UsageWindow => "wait until the usage window opens again, or use another account",
            Self::RateLimit => "wait a minute, or run fewer calls at a time",
            Self::Overloaded => "wait a few minutes, or choose another model",
            Self::Network => "check the connection, the proxy and the provider's address (`codex doctor`)",
            Self::ContextTooLong => "narrow the goal or the scope, or choose a model with a larger context",
            Self::Refused => "reword the goal; the provider does not answer this request",
            Self::BadAnswer => "try again, or choose a stronger model",
            Self::Stopped => "resume when ready",
            Self::TimedOut => "raise the limit of a call with `--codex-timeout`, or lower the effort",
            Self::Killed => "look for what ended Codex, such as the system's memory limit",
            Self::Config => "correct the setting named in the message; `codex doctor` checks the configuration",
            Self::TooOld => "update Codex: `npm install -g @openai/codex@latest`",
            Self::Unknown => "read the call's stderr.log and events.jsonl",
        }
    }
}

/// A call without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub class: FailureClass,
    /// What Codex said, or what we saw.
    pub message: String,
    /// When the limit ends, where the message names it.
    pub reset: Option<Timestamp>,
    /// What the user can do.
    pub hint: String,
}

impl Failure {
    /// Returns a failure with its class's hint and no reset.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), reset: None, hint: class.hint().to_owned() }
    }
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The text of the last message of a turn that ended well.
    Answer(String),
    Failure(Failure),
}

/// What matters of the events so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// Codex's name of the conversation.
    pub thread_id: Option<String>,
    /// The last message of the turn: each one replaces those before it, of which some are left over from retries.
    pub message: Option<String>,
    /// Whether the turn ended well.
    pub completed: bool,
    /// The message of a turn that ended badly.
    pub failed: Option<String>,
    /// The last problem reported; Codex may have got over it.
    pub last_error: Option<String>,
    /// Tokens, where named.
    pub usage: Option<Usage>,
    /// Warnings of Codex, each once.
    pub warnings: Vec<String>,
    /// Commands Codex has started.
    pub commands: usize,
}

/// Most warnings kept of a call: what is said more often says nothing new.
const MAX_WARNINGS: usize = 20;

impl Digest {
    /// Takes in the next event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::ThreadStarted { id } => self.thread_id = Some(id.clone()),
            Event::TurnStarted => {
                *self = Self {
                    thread_id: self.thread_id.take(),
                    warnings: std::mem::take(&mut self.warnings),
                    ..Self::default()
                };
            }
            Event::TurnCompleted { usage } => {
                self.completed = true;
                self.usage = *usage;
            }
            Event::TurnFailed { message } => self.failed = Some(message.clone()),
            Event::Error { message } => self.last_error = Some(message.clone()),
            Event::Item { phase: Phase::Completed, item: Item::AgentMessage { text } } => {
                self.message = Some(text.clone());
            }
            Event::Item { phase: Phase::Started, item: Item::Command { .. } } => self.commands += 1,
            Event::Item { item: Item::Warning { message }, .. }
                if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(message) =>
            {
                self.warnings.push(message.clone());
            }
            _ => {}
        }
    }
}

/// Longest answer that is read, in bytes: above eight proposals of the default 2000 lines each. What is longer is a
/// model that went round in circles.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Says what an ended call came to. `stderr` is the end of its standard error, read only where the event stream
/// says nothing; `now` and `zone` turn the times in messages into moments.
pub fn classify(exit: Exit, digest: &Digest, stderr: &str, now: Timestamp, zone: &TimeZone) -> Outcome {
    // An answer that has come is an answer, however the process ended after it.
    if digest.completed && digest.failed.is_none() {
        return match digest.message.as_deref().filter(|text| !text.trim().is_empty()) {
            Some(text) if text.len() > MAX_ANSWER_BYTES => Outcome::Failure(Failure::new(
                FailureClass::BadAnswer,
                format!("the answer has {} bytes; at most {MAX_ANSWER_BYTES} are read. Answer far shorter", text.len()),
            )),
            Some(text) => Outcome::Answer(text.to_owned()),
            None => Outcome::Failure(Failure::new(FailureClass::BadAnswer, "Codex ended its turn without a message")),
        };
    }
    let failure = if let Some(message) = &digest.failed {
        classify_message(message, now, zone)
    } else {
        classify_exit(exit, digest, stderr, now, zone)
    };
    Outcome::Failure(failure)
}

fn classify_exit(exit: Exit, digest: &Digest, stderr: &str, now: Timestamp, zone: &TimeZone) -> Failure {
    let last = || digest.last_error.as_deref().map(|error| format!("; last: {error}")).unwrap_or_default();
    match exit {
        Exit::Stopped => Failure::new(FailureClass::Stopped, "the call was stopped"),
        Exit::TimedOut => {
            // Time went by in retries: what it was waiting for is the cause, the limit only the end.
            let cause = digest.last_error.as_deref().map(|error| classify_message(error, now, zone));
            match cause.filter(|cause| cause.class.passes_by_itself()) {
                Some(cause) => Failure { message: format!("time limit reached{}", last()), ..cause },
                None => Failure::new(FailureClass::TimedOut, format!("time limit reached{}", last())),
            }
        }
        Exit::OutputLimit => Failure::new(FailureClass::BadAnswer, "Codex wrote more than an event stream may hold"),
        Exit::TooManyProcesses => Failure::new(FailureClass::Killed, "Codex's commands started processes without end"),
        Exit::Signal { signal } => {
            Failure::new(FailureClass::Killed, format!("Codex died by signal {signal}{}", last()))
        }
        Exit::Code { code } => {
            let said = said_at_start(stderr);
            let class = class_at_start(code, &said);
            if class == FailureClass::Unknown
                && let Some(error) = &digest.last_error
            {
                return classify_message(error, now, zone);
            }
            let what = if said.is_empty() { "no message".to_owned() } else { said };
            Failure::new(class, format!("Codex ended with status {code} before an answer: {what}"))
        }
    }
}

/// Returns what Codex complained of before its first event: the lines from `error:` on, without tracing lines,
/// warnings and back traces.
fn said_at_start(stderr: &str) -> String {
    let kept = stderr.lines().map(str::trim_end).filter(|line| {
        !line.trim().is_empty()
            && !line.starts_with("WARNING")
            && !line.starts_with("Reading ")
            && !TRACE.is_match(line)
    });
    let lines: Vec<&str> = kept.take_while(|line| !line.starts_with("Stack backtrace")).collect();
    let start = lines.iter().position(|line| line.to_lowercase().starts_with("error")).unwrap_or_default();
    let text = lines[start..].iter().take(6).map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    text.chars().take(600).collect()
}

static TRACE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\S*\d{4}-\d\d-\d\dT\S+\s+(ERROR|WARN|INFO|DEBUG|TRACE)\b"));

fn class_at_start(code: i32, said: &str) -> FailureClass {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["input exceeds the maximum length", "input_too_large"]) {
        FailureClass::ContextTooLong
    } else if code == 2 && has(&["unexpected argument", "unrecognized subcommand", "unknown feature"]) {
        // The flags are ours and fixed, so it is the other side that does not know them.
        FailureClass::TooOld
    } else if has(&["not logged in", "codex login", "missing environment variable"]) {
        FailureClass::SignIn
    } else if code == 2
        || has(&[
            "config",
            "profile",
            "model provider",
            "schema",
            "read-only file system",
            "permission denied",
            "not inside a trusted directory",
            "no prompt",
            "no such file",
        ])
    {
        FailureClass::Config
    } else {
        FailureClass::Unknown
    }
}

/// Says of which class a message of a failed turn is, and when its limit ends.
pub fn classify_message(message: &str, now: Timestamp, zone: &TimeZone) -> Failure {
    let body = Body::of(message);
    let class = body.code.as_deref().and_then(class_of_code).unwrap_or_else(|| class_of_text(&body.text));
    let known = matches!(class, FailureClass::UsageWindow | FailureClass::RateLimit | FailureClass::Overloaded);
    let reset = if known { body.reset(now).or_else(|| reset_in(&body.text, now, zone)) } else { None };
    let shown = if body.text.trim().is_empty() { "Codex gave no reason" } else { body.text.trim() };
    Failure { reset, ..Failure::new(class, shown) }
}

/// A message; where it is the provider's JSON answer, taken apart.
struct Body {
    text: String,
    code: Option<String>,
    resets_at: Option<i64>,
    resets_in_seconds: Option<i64>,
}

impl Body {
    fn of(message: &str) -> Self {
        // Codex writes a typographic apostrophe in some messages and a plain one in others.
        let plain = message.replace('\u{2019}', "'");
        let json: Option<Value> = plain.find('{').and_then(|start| serde_json::from_str(plain[start..].trim()).ok());
        let error = json.as_ref().map(|json| json.get("error").filter(|error| error.is_object()).unwrap_or(json));
        let Some(error) = error.filter(|error| error.get("message").is_some() || error.get("code").is_some()) else {
            return Self { text: plain, code: None, resets_at: None, resets_in_seconds: None };
        };
        let word = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            text: word("message").unwrap_or_else(|| plain.clone()),
            code: word("code").filter(|code| class_of_code(code).is_some()).or_else(|| word("type")),
            resets_at: error.get("resets_at").and_then(Value::as_i64),
            resets_in_seconds: error.get("resets_in_seconds").and_then(Value::as_i64),
        }
    }

    fn reset(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.resets_at.and_then(|second| Timestamp::from_second(second).ok());
        at.or_else(|| now.checked_add(Span::new().try_seconds(self.resets_in_seconds?).ok()?).ok())
    }
}

fn class_of_code(code: &str) -> Option<FailureClass> {
    Some(match code {
        "invalid_api_key" | "authentication_error" | "token_expired" | "unauthorized" => FailureClass::SignIn,
        "insufficient_quota" | "usage_not_included" | "billing_hard_limit_reached" | "billing_not_active" => {
            FailureClass::Quota
        }
        "usage_limit_reached" => FailureClass::UsageWindow,
        "rate_limit_exceeded" | "rate_limit_error" | "slow_down" => FailureClass::RateLimit,
        "server_is_overloaded" | "overloaded_error" | "server_error" | "internal_error" => FailureClass::Overloaded,
        "context_length_exceeded" | "string_above_max_length" | "input_too_large" => FailureClass::ContextTooLong,
        "invalid_prompt" | "cyber_policy" | "content_filter" | "content_policy_violation" => FailureClass::Refused,
        "invalid_json_schema" | "model_not_found" | "unsupported_value" | "unsupported_parameter" | "invalid_value" => {
            FailureClass::Config
        }
        _ => return None,
    })
}

/// Texts, the more telling ones first: "stream disconnected" and a status may stand before any of the others.
static TEXTS: LazyLock<Vec<(FailureClass, Regex)>> = LazyLock::new(|| {
    use FailureClass::{
        BadAnswer, Config, ContextTooLong, Network, Overloaded, Quota, RateLimit, Refused, SignIn, TooOld, UsageWindow,
    };
    let rows = [
        (TooOld, r"requires a newer version of codex|upgrade to the latest (version of )?codex"),
        (UsageWindow, r"(hit|reached|exceeded) your (\S+ )?(usage|message) limit|usage[ _]limit[ _](reached|exceeded)"),
        (Quota, r"to use codex with your chatgpt plan|usage[ _]not[ _]included"),
        (RateLimit, r"rate[ _]limit|too many requests|status:? 429"),
        (Quota, r"quota|billing|out of credits|insufficient (credit|fund|balance)|status:? 402"),
        (ContextTooLong, r"context window|context[ _]length|input exceeds the maximum|maximum context|status:? 413"),
        (Refused, r"content[ _]filter|cyber[ _]policy|invalid[ _]prompt|flagged|usage polic|safety|violat"),
        (BadAnswer, r"max_output_tokens"),
        (
            SignIn,
            r"status:? 40[13]\b|unauthorized|not (logged|signed) in|(log|sign) in again|api key|access token|refresh token|missing environment variable",
        ),
        (Overloaded, r"at capacity|overloaded|high demand|internal server error|service unavailable|status:? 5\d\d"),
        (
            Config,
            r"model .*(does not exist|not found|not supported|not available)|invalid schema|unknown (model|provider)|unsupported (value|parameter)|invalid value|status:? 40[04]",
        ),
        (
            Network,
            r"stream (disconnected|closed|error)|idle timeout|connection|connect error|waiting for network|error sending request|dns|network|timed? ?out|reset by peer|broken pipe|proxy|tls|certificate|status:? 40[78]",
        ),
    ];
    rows.into_iter().map(|(class, text)| (class, pattern(&format!("(?i){text}")))).collect()
});

fn class_of_text(text: &str) -> FailureClass {
    TEXTS.iter().find(|(_, regex)| regex.is_match(text)).map_or(FailureClass::Unknown, |(class, _)| *class)
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and each is compiled by a test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// A clock time without seconds is the beginning of its minute: waiting a minute more is surely late enough.
const CLOCK_ROUNDING: Duration = Duration::from_secs(60);

/// A clock time of today that is this little past means "now", not "tomorrow".
const JUST_PAST: Duration = Duration::from_secs(600);

static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(?:try again|retry|resets?|available)(?: again)?\s+(?:in|after)\s+(?:about )?(.+)")
});
static UNIT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:\s|,|and\b)*(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)(?:[^a-z]|$)",
    )
});
static AT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(?:try again|retry|resets?|available)(?: again)?\s+(?:at|on)\s+(.+)"));
static LONG_DATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^([a-z]{3})[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4}),?(?: at)? (\d{1,2}):(\d\d)(?::\d\d)? ?([ap]m)?",
    )
});
static CLOCK: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(\d{1,2}):(\d\d)(?::\d\d)? ?([ap]m)?"));
static ISO: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)? ?(z|utc|[+-]\d\d:?\d\d)?"));

/// Returns the moment a message names as the end of a limit: "in 2.5s", "in 1 day 3 hours", "at 3:45 PM", "at Nov
/// 24th, 2026 11:22 AM", or an ISO time. Times without a zone are in `zone`, as Codex writes them.
pub fn reset_in(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(found) = AFTER.captures(text)
        && let Some(wait) = duration(&found[1])
    {
        return now.checked_add(wait).ok();
    }
    moment(AT.captures(text)?.get(1)?.as_str().trim(), now, zone)
}

fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = None;
    while let Some(found) = UNIT.captures(rest) {
        let number: f64 = found[1].parse().ok()?;
        let unit = found[2].to_lowercase();
        let seconds = match unit.as_str() {
            "ms" => 0.001,
            _ if unit.starts_with("millisecond") => 0.001,
            _ if unit.starts_with('s') => 1.0,
            _ if unit.starts_with('m') => 60.0,
            _ if unit.starts_with('h') => 3600.0,
            _ if unit.starts_with('d') => 86_400.0,
            _ => 604_800.0,
        };
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = Some(total.unwrap_or(Duration::ZERO) + part);
        rest = &rest[found.get(2)?.end()..];
    }
    total
}

fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(found) = ISO.captures(text) {
        let time = format!("{}T{}", &found[1], &found[2]);
        let zone_text = found.get(3).map(|zone| zone.as_str().to_lowercase());
        let civil: DateTime = time.parse().ok()?;
        return match zone_text.as_deref() {
            None => Some(zone.to_timestamp(civil).ok()?),
            Some("z" | "utc") => Some(TimeZone::UTC.to_timestamp(civil).ok()?),
            Some(offset) => {
                let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
                let sign = if offset.starts_with('-') { -1 } else { 1 };
                let hours: i32 = digits.get(..2)?.parse().ok()?;
                let minutes: i32 = digits.get(2..4)?.parse().ok()?;
                let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
                offset.to_timestamp(civil).ok()
            }
        };
    }
    if let Some(found) = LONG_DATE.captures(text) {
        let month =
            "janfebmaraprmayjunjulaugsepoctnovdec".find(&found[1].to_lowercase()).filter(|at| at % 3 == 0)? / 3 + 1;
        let date = Date::new(found[3].parse().ok()?, i8::try_from(month).ok()?, found[2].parse().ok()?).ok()?;
        let time = clock(&found[4], &found[5], found.get(6).map(|half| half.as_str()))?;
        return zone.to_timestamp(date.to_datetime(time)).ok()?.checked_add(CLOCK_ROUNDING).ok();
    }
    let found = CLOCK.captures(text)?;
    let time = clock(&found[1], &found[2], found.get(3).map(|half| half.as_str()))?;
    let today = now.to_zoned(zone.clone()).date();
    let first = zone.to_timestamp(today.to_datetime(time)).ok()?;
    let chosen = if first.checked_add(JUST_PAST).ok()? >= now {
        first
    } else {
        zone.to_timestamp(today.tomorrow().ok()?.to_datetime(time)).ok()?
    };
    chosen.checked_add(CLOCK_ROUNDING).ok()
}

fn clock(hour: &str, minute: &str, half: Option<&str>) -> Option<Time> {
    let hour: i8 = hour.parse().ok()?;
    let hour = match half.map(str::to_lowercase).as_deref() {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("am") => hour % 12,
        Some(_) => hour % 12 + 12,
    };
    Time::new(hour, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::FailureClass::*;
    use super::*;

    /// Saturday noon in Berlin.
    fn now() -> Timestamp {
        "2026-11-21T11:00:00Z".parse().unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(1))
    }

    fn failed(message: &str) -> Failure {
        let digest = Digest { failed: Some(message.to_owned()), ..Digest::default() };
        match classify(Exit::Code { code: 1 }, &digest, "", now(), &berlin()) {
            Outcome::Failure(failure) => failure,
            Outcome::Answer(answer) => panic!("{answer}"),
        }
    }

    fn ended(exit: Exit, digest: &Digest, stderr: &str) -> FailureClass {
        match classify(exit, digest, stderr, now(), &berlin()) {
            Outcome::Failure(failure) => failure.class,
            Outcome::Answer(answer) => panic!("{answer}"),
        }
    }

    #[test]
    fn every_message_of_a_failed_turn_has_its_class() {
        let rows = [
            (
                r#"{"error": {"type": "invalid_request_error", "code": "invalid_json_schema", "message": "Invalid schema for response_format 'codex_output_schema': In context=(), 'additionalProperties' is required to be supplied and to be false."}}"#,
                Config,
            ),
            (
                r#"{"type":"invalid_request_error","code":"invalid_json_schema","message":"Invalid schema for response_format"}"#,
                Config,
            ),
            (
                r#"{"error":{"type":"invalid_request_error","code":"unsupported_value","message":"Unsupported value: 'banana'"}}"#,
                Config,
            ),
            (
                r#"{"error":{"type":"invalid_request_error","code":null,"message":"Your input exceeds the context window of this model."}}"#,
                ContextTooLong,
            ),
            (
                "unexpected status 401 Unauthorized: Incorrect API key provided, url: http://127.0.0.1:8977/v1/responses",
                SignIn,
            ),
            ("unexpected status 403 Forbidden: Country not supported, url: http://127.0.0.1:8977/v1/responses", SignIn),
            ("Missing environment variable: `X`.", SignIn),
            ("Your access token could not be refreshed. Please log out and sign in again.", SignIn),
            ("The model `x` does not exist", Config),
            ("unexpected status 404 Not Found: no route, url: http://127.0.0.1/v1/responses", Config),
            ("exceeded retry limit, last status: 429 Too Many Requests", RateLimit),
            ("exceeded retry limit, last status: 429 Too Many Requests, request id: 9", RateLimit),
            ("Quota exceeded. Check your plan and billing details.", Quota),
            ("To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus.", Quota),
            ("You\u{2019}ve hit your usage limit. Try again later.", UsageWindow),
            (
                "You've hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), visit https://chatgpt.com/settings/usage to purchase more credits or try again at 1:22 PM.",
                UsageWindow,
            ),
            ("stream disconnected before completion: You have reached your usage limit", UsageWindow),
            ("We\u{2019}re currently experiencing high demand, which may cause temporary errors.", Overloaded),
            ("unexpected status 502 Bad Gateway: bad gateway, url: http://127.0.0.1:8977/v1/responses", Overloaded),
            ("exceeded retry limit, last status: 503 Service Unavailable", Overloaded),
            ("Selected model is at capacity. Please try a different model.", Overloaded),
            ("stream disconnected before completion: stream closed before response.completed", Network),
            ("stream disconnected before completion: An error occurred while processing", Network),
            ("stream disconnected before completion: idle timeout waiting for SSE", Network),
            (
                "stream disconnected before completion: error sending request for url (http://127.0.0.1:9/v1/responses)",
                Network,
            ),
            ("Reconnecting... waiting for network", Network),
            ("rate limit exceeded: Rate limit reached for gpt. Please try again in 2.5s.", RateLimit),
            (
                "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.",
                ContextTooLong,
            ),
            ("Incomplete response returned, reason: max_output_tokens", BadAnswer),
            ("stream disconnected before completion: Incomplete response returned, reason: content_filter", Refused),
            ("This request has been flagged for possible cybersecurity risk", Refused),
            (r#"{"error":{"code":"invalid_prompt","message":"bad prompt"}}"#, Refused),
            ("The 'gpt-9' model requires a newer version of Codex. Please upgrade.", TooOld),
            ("something nobody has seen", Unknown),
            ("", Unknown),
        ];
        let found: Vec<_> = rows.iter().map(|(text, _)| (*text, failed(text).class)).collect();
        assert_eq!(found, rows);
    }

    #[test]
    fn resets_are_read_from_every_wording() {
        let rows = [
            ("Please try again in 2.5s.", Some("2026-11-21T11:00:02.5Z")),
            ("Please try again in 350ms. Visit the page", Some("2026-11-21T11:00:00.35Z")),
            ("try again in 2h", Some("2026-11-21T13:00:00Z")),
            ("Please try again in 1m12.5s.", Some("2026-11-21T11:01:12.5Z")),
            ("try again in 1 day 3 hours 20 minutes.", Some("2026-11-22T14:20:00Z")),
            ("try again in 6 days, 1 hour and 5 minutes", Some("2026-11-27T12:05:00Z")),
            ("Your limit resets in 45 minutes", Some("2026-11-21T11:45:00Z")),
            ("retry after 30 seconds", Some("2026-11-21T11:00:30Z")),
            // 13:22 in Berlin, and the minute that the text rounds away.
            ("or try again at 1:22 PM.", Some("2026-11-21T12:23:00Z")),
            ("or try again at 11:55 AM.", Some("2026-11-21T10:56:00Z")),
            ("or try again at 9:15 AM.", Some("2026-11-22T08:16:00Z")),
            ("try again at 12:30 AM.", Some("2026-11-21T23:31:00Z")),
            ("try again at Nov 24th, 2026 11:22 AM.", Some("2026-11-24T10:23:00Z")),
            ("try again at December 1st, 2026 9:05 PM", Some("2026-12-01T20:06:00Z")),
            ("try again at 2026-11-22T10:00:00Z", Some("2026-11-22T10:00:00Z")),
            ("try again at 2026-11-22 10:00 UTC", Some("2026-11-22T10:00:00Z")),
            ("resets at 2026-11-22T10:00:00+02:00.", Some("2026-11-22T08:00:00Z")),
            ("resets at 2026-11-22 10:00", Some("2026-11-22T09:00:00Z")),
            ("Try again later.", None),
            ("try again in a moment", None),
            ("try again at your own risk", None),
            ("try again at 99:99", None),
            ("try again at Foo 40th, 2026 1:00 AM", None),
            ("try again in 99999999999999999999999999 days", None),
        ];
        let read = |text| reset_in(text, now(), &berlin());
        let found: Vec<_> = rows.iter().map(|(text, _)| (*text, read(text))).collect();
        let wanted: Vec<_> =
            rows.iter().map(|(text, at)| (*text, at.map(|at| at.parse::<Timestamp>().unwrap()))).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_reset_comes_with_the_failure() {
        let text = "You\u{2019}ve hit your usage limit. Visit https://chatgpt.com/settings/usage to purchase more credits or try again at Nov 24th, 2026 11:22 AM.";
        assert_eq!(failed(text).reset, Some("2026-11-24T10:23:00Z".parse().unwrap()));
        let body = r#"{"error":{"type":"usage_limit_reached","message":"limit","resets_at":1795345200}}"#;
        assert_eq!((failed(body).class, failed(body).reset), (UsageWindow, Timestamp::from_second(1_795_345_200).ok()));
        let body = r#"{"error":{"type":"usage_limit_reached","message":"limit","resets_in_seconds":60}}"#;
        assert_eq!(failed(body).reset, Some("2026-11-21T11:01:00Z".parse().unwrap()));
        assert_eq!(failed("Quota exceeded, try again in 2h").reset, None);
    }

    #[test]
    fn the_last_message_of_a_completed_turn_is_the_answer() {
        let message =
            |text: &str| Event::Item { phase: Phase::Completed, item: Item::AgentMessage { text: text.to_owned() } };
        let mut digest = Digest::default();
        for event in [
            Event::TurnStarted,
            message("cut off by a reconn"),
            Event::Error { message: "Reconnecting... 1/5".to_owned() },
            message("whole"),
            Event::TurnCompleted { usage: None },
        ] {
            digest.add(&event);
        }
        for exit in [Exit::Code { code: 0 }, Exit::TimedOut, Exit::Stopped, Exit::Code { code: 1 }] {
            let outcome = classify(exit, &digest, "", now(), &berlin());
            assert_eq!(outcome, Outcome::Answer("whole".to_owned()));
        }
    }

    #[test]
    fn a_turn_that_ends_well_without_a_message_is_a_bad_answer() {
        for message in [None, Some(" \n".to_owned())] {
            let digest = Digest { completed: true, message, ..Digest::default() };
            assert_eq!(ended(Exit::Code { code: 0 }, &digest, ""), BadAnswer);
        }
    }

    #[test]
    fn an_answer_far_too_long_is_a_bad_answer() {
        let digest = |bytes| Digest { completed: true, message: Some("x".repeat(bytes)), ..Digest::default() };
        assert_eq!(ended(Exit::Code { code: 0 }, &digest(MAX_ANSWER_BYTES + 1), ""), BadAnswer);
        let outcome = classify(Exit::Code { code: 0 }, &digest(MAX_ANSWER_BYTES), "", now(), &berlin());
        assert!(matches!(outcome, Outcome::Answer(_)));
    }

    #[test]
    fn a_message_without_the_end_of_its_turn_is_no_answer() {
        let digest = Digest { message: Some("{}".to_owned()), ..Digest::default() };
        assert_eq!(ended(Exit::Code { code: 0 }, &digest, ""), Unknown);
        assert_eq!(ended(Exit::Stopped, &digest, ""), Stopped);
        assert_eq!(ended(Exit::Signal { signal: 9 }, &digest, ""), Killed);
    }

    #[test]
    fn a_time_out_spent_in_retries_has_their_class() {
        assert_eq!(ended(Exit::TimedOut, &Digest::default(), ""), TimedOut);
        let waiting = "Reconnecting... waiting for network".to_owned();
        let digest = Digest { last_error: Some(waiting), ..Digest::default() };
        assert_eq!(ended(Exit::TimedOut, &digest, ""), Network);
    }

    #[test]
    fn an_end_before_the_first_event_is_explained_by_standard_error() {
        let rows = [
            (2, "error: unexpected argument '--nope' found\n\nUsage: codex exec", TooOld),
            (2, "error: invalid value 'nope' for '--sandbox <SANDBOX_MODE>'", Config),
            (
                1,
                "WARNING: proceeding\nError loading config.toml:\n/home/u/.codex/config.toml:1:12: unclosed array",
                Config,
            ),
            (1, "Error: Model provider `y` not found", Config),
            (1, "Failed to read output schema file /x/s.json: No such file or directory", Config),
            (1, "Not inside a trusted directory and --skip-git-repo-check was not specified.", Config),
            (1, "Error: Read-only file system (os error 30)", Config),
            (
                1,
                "Reading prompt from stdin...\n2026-11-21T11:00:00.1Z ERROR codex: x\nError: Input exceeds the maximum length of 1048576 characters. input_error_code: input_too_large",
                ContextTooLong,
            ),
            (1, "", Unknown),
            (101, "thread 'main' panicked at failed printing to stdout", Unknown),
        ];
        let found: Vec<_> = rows
            .iter()
            .map(|(code, text, _)| (*code, *text, ended(Exit::Code { code: *code }, &Digest::default(), text)))
            .collect();
        assert_eq!(found, rows);
    }

    #[test]
    fn every_class_says_what_to_do_and_has_a_stable_name() {
        for class in FailureClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            assert!(!class.title().ends_with('.'));
        }
        assert!(UsageWindow.passes_by_itself() && !Quota.passes_by_itself() && !SignIn.passes_by_itself());
        for class in [SignIn, Quota, TooOld, Unknown] {
            assert!(!class.hint().is_empty() && !class.hint().ends_with('.'));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(text in ".{0,300}") {
            let _ = classify_message(&text, now(), &berlin());
            let _ = reset_in(&format!("try again in {text}"), now(), &berlin());
            let _ = reset_in(&format!("try again at {text}"), now(), &berlin());
        }

        #[test]
        fn no_clock_makes_it_panic(a in 0_u32..100, b in 0_u32..100, half in "( ?[AaPp][Mm])?") {
            let _ = reset_in(&format!("try again at {a}:{b:02}{half}"), now(), &berlin());
        }
    }
}
