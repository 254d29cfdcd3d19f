//! The options of a start, the same from flags, from `.cloop.toml`, and from a JSON object.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::{AllowChange, CallKind, Land, Money, Price, ProofLevel, Propose, TrialOrder, Where};
use crate::review::Limits;

/// A length of time as typed: `90` (seconds), `300s`, `10m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Milliseconds.
    pub ms: u64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bad = || format!("`{text}` is no length of time; write for example 90s, 10m or 1h30m");
        let ms = if let Ok(seconds) = text.parse::<u64>() {
            seconds.checked_mul(1000).ok_or_else(bad)?
        } else {
            let duration: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
            u64::try_from(duration.as_millis()).map_err(|_| bad())?
        };
        if ms == 0 { Err(bad()) } else { Ok(Self { ms }) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a length of time such as \"10m\", or seconds")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.ms))
    }
}

/// Reads `--effort`: one effort for every kind of call, or `STEP=E,…`.
fn parse_effort(text: &str) -> Result<String, String> {
    efforts(text).map(|_| text.to_owned())
}

/// What to do about an effort that is none.
pub(super) const EFFORT_HINT: &str =
    "efforts are words such as low, medium, high or xhigh; Codex lists those of each model";

/// Returns the efforts that an `--effort` text sets.
pub fn efforts(text: &str) -> Result<BTreeMap<CallKind, String>, String> {
    let mut efforts = BTreeMap::new();
    if text.trim().is_empty() {
        return Err("the effort is empty; write for example high, or rank=low,suggest=xhigh".into());
    }
    for part in text.split(',') {
        match part.split_once('=') {
            None if efforts.is_empty() => {
                for kind in CallKind::ALL {
                    efforts.insert(kind, part.trim().to_owned());
                }
            }
            None => return Err(format!("`{part}` has no step; write STEP=EFFORT")),
            Some((step, effort)) => {
                let kind = CallKind::ALL.into_iter().find(|kind| kind.name() == step.trim()).ok_or_else(|| {
                    let names: Vec<&str> = CallKind::ALL.iter().map(|kind| kind.name()).collect();
                    format!("`{}` is no step; there are {}", step.trim(), names.join(", "))
                })?;
                efforts.insert(kind, effort.trim().to_owned());
            }
        }
    }
    if efforts
        .values()
        .any(|effort| !effort.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || effort.is_empty())
    {
        return Err(format!("`{text}` is no effort; write for example high, or rank=low,suggest=xhigh"));
    }
    Ok(efforts)
}

/// Reads `GLOB[:REASON]`.
pub fn allow_change(text: &str) -> AllowChange {
    match text.split_once(':') {
        Some((glob, reason)) => AllowChange {
            glob: glob.trim().to_owned(),
            reason: Some(reason.trim().to_owned()).filter(|r| !r.is_empty()),
        },
        None => AllowChange { glob: text.trim().to_owned(), reason: None },
    }
}

/// Most proposals a round.
const MOST_PROPOSALS: u32 = 8;

/// Most trials at once.
const MOST_JOBS: u32 = 64;

/// What to do about a key or a value of a file that is none.
pub const KEYS_HINT: &str =
    "the keys are the long flags of `start` without the dashes; see `loop-companion start --help`";

/// Returns what serde says is wrong, in a user's words.
pub fn plain(message: &str) -> String {
    let mut text = message.trim().to_owned();
    if let Some((before, rest)) = text.split_once("unknown field `")
        && let Some((key, _)) = rest.split_once('`')
    {
        return format!("{before}`{key}` is no key that is known");
    }
    for (machine, person) in [
        ("unknown variant ", ""),
        ("`, expected one of ", "` is no choice; there are "),
        ("`, expected `", "` is no choice; there is `"),
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("expected u32", "expected a positive whole number"),
        ("expected u64", "expected a positive whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a string", "expected a text"),
        ("expected a boolean", "expected true or false"),
        ("string \"", "the text \""),
        ("integer `", "the number `"),
        ("floating point `", "the number `"),
        ("boolean `", "`"),
        ("missing field `", "there is no `"),
    ] {
        text = text.replacen(machine, person, 1);
    }
    text
}

/// Returns the known key nearest to the unknown one that serde's message names.
pub fn nearest_key(message: &str) -> Option<String> {
    let rest = message.split("unknown field `").nth(1)?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    known
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .min()
        .map(|(_, known)| known.to_owned())
}

const CHECKS: &str = "Checks";
const BUDGET: &str = "Budget";
const METHOD: &str = "Method";
const LIMITS: &str = "Limits";
const CODEX: &str = "Codex";

/// Everything a start can be told besides its goal. An absent option falls to what the repository's `.cloop.toml` and
/// the user's file come to together (`layers`), then the default.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Command that runs the tests
    #[arg(long, value_name = "C", help_heading = CHECKS)]
    pub test_cmd: Option<String>,
    /// Go on without a test command
    #[arg(long, conflicts_with = "test_cmd", help_heading = CHECKS, num_args = 0, default_missing_value = "true")]
    pub no_test: Option<bool>,
    /// Command that lints
    #[arg(long, value_name = "C", help_heading = CHECKS)]
    pub lint_cmd: Option<String>,
    /// Command that checks types
    #[arg(long, value_name = "C", help_heading = CHECKS)]
    pub type_cmd: Option<String>,
    /// Command that fails now and must pass at the end; may be given several times
    #[arg(long, value_name = "C", help_heading = CHECKS)]
    pub accept_cmd: Vec<String>,
    /// Faster command that stands in for the tests when candidates are tried
    #[arg(long, value_name = "C", help_heading = CHECKS, hide_short_help = true)]
    pub trial_cmd: Option<String>,
    /// Longest run time of one check [default: 10m]
    #[arg(long, value_name = "D", help_heading = CHECKS, hide_short_help = true)]
    #[schemars(with = "Option<String>")]
    pub check_timeout: Option<Span>,
    /// Test id that may stay red, or `baseline` for all that are red now
    #[arg(long, value_name = "ID", help_heading = CHECKS, hide_short_help = true)]
    pub known_red: Vec<String>,
    /// Test id that counts neither way
    #[arg(long, value_name = "ID", help_heading = CHECKS, hide_short_help = true)]
    pub flaky: Vec<String>,

    /// Most iterations [default: 20]
    #[arg(long, value_name = "N", help_heading = BUDGET, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_iter: Option<u32>,
    /// Most time, as the wall clock of running workers, such as 90s, 30m or 1h30m [default: 1h]
    #[arg(long, value_name = "D", help_heading = BUDGET)]
    #[schemars(with = "Option<String>")]
    pub max_time: Option<Span>,
    /// Most Codex calls [default: 200]
    #[arg(long, value_name = "N", help_heading = BUDGET, hide_short_help = true, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_calls: Option<u32>,
    /// Most tokens, input and output together [default: no limit]
    #[arg(long, value_name = "N", help_heading = BUDGET, hide_short_help = true, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_tokens: Option<u64>,
    /// Most money, by the prices of your own configuration file [default: no limit]
    #[arg(long, value_name = "N", help_heading = BUDGET, hide_short_help = true)]
    #[schemars(with = "Option<f64>")]
    pub max_cost: Option<Money>,
    /// Longest time of one Codex call [default: 15m]
    #[arg(long, value_name = "D", help_heading = BUDGET, hide_short_help = true)]
    #[schemars(with = "Option<String>")]
    pub codex_timeout: Option<Span>,

    /// Proposals a round [default: 3]
    #[arg(long, value_name = "N", help_heading = METHOD, hide_short_help = true, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PROPOSALS)))]
    pub nproposals: Option<u32>,
    /// How proposals are made [default: auto]
    #[arg(long, value_name = "HOW", help_heading = METHOD, hide_short_help = true)]
    pub propose: Option<Propose>,
    /// When candidates are tried against the checks [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = METHOD, hide_short_help = true)]
    pub trial: Option<TrialOrder>,
    /// Where the loop works [default: auto]
    #[arg(long = "where", value_name = "PLACE", help_heading = METHOD)]
    #[serde(rename = "where")]
    pub place: Option<Where>,
    /// Command run once in a new work tree, before its first check
    #[arg(long, value_name = "C", help_heading = METHOD, hide_short_help = true)]
    pub setup_cmd: Option<String>,
    /// Trials at once [default: 1]
    #[arg(long, value_name = "N", help_heading = METHOD, hide_short_help = true, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_JOBS)))]
    pub jobs: Option<u32>,
    /// Most lines a proposal may add and remove [default: 2000]
    #[arg(long, value_name = "N", help_heading = METHOD, hide_short_help = true, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_patch_lines: Option<u32>,

    /// Glob; nothing outside the scopes is changed
    #[arg(long, value_name = "GLOB", help_heading = LIMITS, hide_short_help = true)]
    pub scope: Vec<String>,
    /// Glob that is never changed
    #[arg(long, value_name = "GLOB", help_heading = LIMITS, hide_short_help = true)]
    pub protect: Vec<String>,
    /// Tests or check configuration the loop may change, and why
    #[arg(long, value_name = "GLOB[:REASON]", help_heading = LIMITS, hide_short_help = true)]
    pub allow_change: Vec<String>,
    /// Least proof accepted
    #[arg(long, value_name = "LEVEL", help_heading = LIMITS, hide_short_help = true)]
    pub require_proof: Option<ProofLevel>,
    /// Start from a work tree with uncommitted changes
    #[arg(long, help_heading = LIMITS, num_args = 0, default_missing_value = "true")]
    pub allow_dirty: Option<bool>,
    /// Whether a proven result is written into the work tree [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = LIMITS, hide_short_help = true)]
    pub land: Option<Land>,

    /// Codex model
    #[arg(long, short = 'm', value_name = "M", help_heading = CODEX)]
    pub model: Option<String>,
    /// Reasoning effort, for all steps or by step [default: xhigh, rank and repair medium]
    #[arg(long, value_name = "E|STEP=E,…", help_heading = CODEX, value_parser = parse_effort, hide_short_help = true)]
    pub effort: Option<String>,
    /// Profile of the Codex configuration
    #[arg(long, value_name = "P", help_heading = CODEX, hide_short_help = true)]
    pub profile: Option<String>,
    /// MCP server of the Codex configuration that stays on
    #[arg(long, value_name = "NAME", help_heading = CODEX, hide_short_help = true)]
    pub codex_mcp: Vec<String>,

    /// What the configuration says of reviews; a start takes no notice of it.
    #[arg(skip)]
    #[serde(skip_serializing_if = "ReviewSettings::is_unset")]
    pub review: ReviewSettings,
    /// Prices of a million tokens by model, in the user's own file only
    #[arg(skip)]
    pub prices: BTreeMap<String, Price>,
}

impl Options {
    /// Checks what only the command line's own parser would: numbers against what they may be, and globs that name
    /// nothing. Options also come from files, documents and tools.
    ///
    /// Returns what is wrong, the key named.
    pub fn check(&self) -> Result<(), String> {
        const ANY: u64 = u64::MAX;
        let numbers = [
            ("max-iter", self.max_iter.map(u64::from), ANY),
            ("max-calls", self.max_calls.map(u64::from), ANY),
            ("max-tokens", self.max_tokens, ANY),
            ("nproposals", self.nproposals.map(u64::from), MOST_PROPOSALS.into()),
            ("jobs", self.jobs.map(u64::from), MOST_JOBS.into()),
            ("max-patch-lines", self.max_patch_lines.map(u64::from), ANY),
        ];
        for (key, value, most) in numbers {
            match value {
                Some(value) if value < 1 && most == ANY => return Err(format!("{key} is {value}; 1 is the least")),
                Some(value) if !(1..=most).contains(&value) => {
                    return Err(format!("{key} is {value}; it can be 1 to {most}"));
                }
                _ => {}
            }
        }
        let allowed: Vec<String> = self.allow_change.iter().map(|text| allow_change(text).glob).collect();
        for (key, globs) in [("scope", &self.scope), ("protect", &self.protect), ("allow-change", &allowed)] {
            if globs.iter().any(|glob| glob.trim().is_empty()) {
                return Err(format!("{key} has an empty path; write a path glob such as src/**"));
            }
        }
        for (key, name) in [("model", &self.model), ("profile", &self.profile)] {
            if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
                return Err(format!("{key} is empty; write a name, or leave it out"));
            }
        }
        match &self.effort {
            Some(effort) => efforts(effort).map(drop).map_err(|cause| format!("effort: {cause}")),
            None => Ok(()),
        }
    }

    /// Returns these options with what they leave open filled from `defaults`.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        fn list<T>(own: Vec<T>, defaults: Vec<T>) -> Vec<T> {
            if own.is_empty() { defaults } else { own }
        }
        // A test command typed on one level overrules a `no-test` of a lower one, and the other way round.
        let decided = self.test_cmd.is_some() || self.no_test.is_some();
        Self {
            test_cmd: if decided { self.test_cmd } else { defaults.test_cmd },
            no_test: if decided { self.no_test } else { defaults.no_test },
            lint_cmd: self.lint_cmd.or(defaults.lint_cmd),
            type_cmd: self.type_cmd.or(defaults.type_cmd),
            accept_cmd: list(self.accept_cmd, defaults.accept_cmd),
            trial_cmd: self.trial_cmd.or(defaults.trial_cmd),
            check_timeout: self.check_timeout.or(defaults.check_timeout),
            known_red: list(self.known_red, defaults.known_red),
            flaky: list(self.flaky, defaults.flaky),
            max_iter: self.max_iter.or(defaults.max_iter),
            max_time: self.max_time.or(defaults.max_time),
            max_calls: self.max_calls.or(defaults.max_calls),
            max_tokens: self.max_tokens.or(defaults.max_tokens),
            max_cost: self.max_cost.or(defaults.max_cost),
            codex_timeout: self.codex_timeout.or(defaults.codex_timeout),
            nproposals: self.nproposals.or(defaults.nproposals),
            propose: self.propose.or(defaults.propose),
            trial: self.trial.or(defaults.trial),
            place: self.place.or(defaults.place),
            setup_cmd: self.setup_cmd.or(defaults.setup_cmd),
            jobs: self.jobs.or(defaults.jobs),
            max_patch_lines: self.max_patch_lines.or(defaults.max_patch_lines),
            scope: list(self.scope, defaults.scope),
            protect: list(self.protect, defaults.protect),
            allow_change: list(self.allow_change, defaults.allow_change),
            require_proof: self.require_proof.or(defaults.require_proof),
            allow_dirty: self.allow_dirty.or(defaults.allow_dirty),
            land: self.land.or(defaults.land),
            model: self.model.or(defaults.model),
            effort: self.effort.or(defaults.effort),
            profile: self.profile.or(defaults.profile),
            codex_mcp: list(self.codex_mcp, defaults.codex_mcp),
            // The two files are weighed against each other where a review is asked for.
            review: ReviewSettings::default(),
            prices: if self.prices.is_empty() { defaults.prices } else { self.prices },
        }
    }
}

/// What the configuration says of reviews.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReviewSettings {
    /// Most reviews a day [default: 50]
    pub max_per_day: Option<u32>,
    /// Most reviews a session of the host [default: 10]
    pub max_per_session: Option<u32>,
}

impl ReviewSettings {
    /// Returns the user's settings with what a repository adds: it may lower what the user allows, never raise it.
    #[must_use]
    pub fn of(user: &Self, repository: &Self) -> Self {
        let base = user.limits();
        let lower = |own: u32, theirs: Option<u32>| Some(theirs.map_or(own, |theirs| theirs.min(own)));
        Self {
            max_per_day: lower(base.day, repository.max_per_day),
            max_per_session: lower(base.session, repository.max_per_session),
        }
    }

    /// Says whether nothing is set.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    pub fn limits(&self) -> Limits {
        let base = Limits::default();
        Limits { day: self.max_per_day.unwrap_or(base.day), session: self.max_per_session.unwrap_or(base.session) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_type_them() {
        let ms = |text: &str| text.parse::<Span>().map(|span| span.ms);
        assert_eq!(ms("90"), Ok(90_000));
        assert_eq!(ms("300s"), Ok(300_000));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("500ms"), Ok(500));
        for bad in ["", "0", "-5m", "ten", "1x"] {
            assert!(ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_effort_is_for_all_steps_and_named_ones_for_theirs() {
        assert_eq!(efforts("high").unwrap().len(), CallKind::ALL.len());
        let mixed = efforts("high,rank=low").unwrap();
        assert_eq!(mixed[&CallKind::Rank], "low");
        assert_eq!(mixed[&CallKind::Suggest], "high");
        assert_eq!(efforts("rank=low").unwrap().len(), 1);
        assert!(efforts("nostep=low").unwrap_err().contains("nostep"));
        assert!(efforts("").is_err());
        assert!(efforts("hi\"gh").is_err());
    }

    #[test]
    fn a_typed_test_command_overrules_a_configured_no_test() {
        let typed = Options { test_cmd: Some("t".into()), ..Options::default() };
        let configured = Options { no_test: Some(true), ..Options::default() };
        let merged = typed.or(configured);
        assert_eq!((merged.test_cmd.as_deref(), merged.no_test), (Some("t"), None));
    }

    #[test]
    fn reasons_of_permissions_may_hold_colons() {
        let allowed = allow_change("tests/**:renamed: see #4");
        assert_eq!((allowed.glob.as_str(), allowed.reason.as_deref()), ("tests/**", Some("renamed: see #4")));
    }

    #[test]
    fn a_repository_may_lower_a_budget_and_never_raise_it() {
        let set = |day, session| ReviewSettings { max_per_day: day, max_per_session: session };
        assert_eq!(ReviewSettings::of(&set(None, None), &set(Some(1000), Some(2))), set(Some(50), Some(2)));
        assert_eq!(ReviewSettings::of(&set(Some(100), None), &set(Some(60), None)), set(Some(60), Some(10)));
    }

    #[test]
    fn numbers_out_of_range_and_empty_names_are_refused_whatever_door_they_came_through() {
        for (text, told) in [
            ("max-iter = 0", "max-iter is 0"),
            ("max-calls = 0", "max-calls is 0"),
            ("max-tokens = 0", "max-tokens is 0"),
            ("max-patch-lines = 0", "max-patch-lines is 0"),
            ("nproposals = 9", "nproposals is 9; it can be 1 to 8"),
            ("jobs = 0", "jobs is 0"),
            ("jobs = 65", "1 to 64"),
            ("scope = [\"\"]", "scope has an empty path"),
            ("allow-change = [\":because\"]", "allow-change has an empty path"),
            ("model = \" \"", "model is empty"),
            ("effort = \"a=b\"", "effort: "),
        ] {
            let options: Options = toml::from_str(text).unwrap();
            let cause = options.check().unwrap_err();
            assert!(cause.contains(told), "{text}: {cause}");
        }
        let all =
            "max-iter = 1\nnproposals = 8\njobs = 64\nscope = [\"src/**\"]\nallow-change = [\"a:b\"]\nmodel = \"m\"";
        assert_eq!(toml::from_str::<Options>(all).unwrap().check(), Ok(()));
    }

    #[test]
    fn what_a_parser_says_is_put_into_plain_words() {
        let told = |text: &str| plain(toml::from_str::<Options>(text).unwrap_err().message());
        for (text, words) in [
            ("max-iter = \"5\"", "found the text \"5\", expected a positive whole number"),
            ("test-cmd = 5", "found the number `5`, expected a text"),
            ("scope = \"src\"", "found the text \"src\", expected a list"),
            ("no-test = 1", "found the number `1`, expected true or false"),
            ("propose = \"agnet\"", "`agnet` is no choice; there are `auto`, `diff`, `agent`"),
            ("tset-cmd = \"x\"", "`tset-cmd` is no key that is known"),
        ] {
            assert_eq!(told(text), words, "{text}");
        }
        assert_eq!(
            nearest_key(toml::from_str::<Options>("tset-cmd = 1").unwrap_err().message()).as_deref(),
            Some("test-cmd")
        );
    }
}
