//! The plan a person approves: everything a loop needs to know, frozen before it starts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What may be asked of Codex: one name per kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Evaluate,
    SecondEvaluation,
    Suggest,
    Rank,
    Repair,
}

impl CallKind {
    /// Every kind, in the order of a loop.
    pub const ALL: [Self; 5] = [Self::Evaluate, Self::SecondEvaluation, Self::Suggest, Self::Rank, Self::Repair];

    /// Returns the name used in files, flags and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::SecondEvaluation => "second-evaluation",
            Self::Suggest => "suggest",
            Self::Rank => "rank",
            Self::Repair => "repair",
        }
    }

    /// Returns the effort used where nobody said otherwise. Ordering and mending need less thought than judging.
    pub fn default_effort(self) -> &'static str {
        match self {
            Self::Evaluate | Self::SecondEvaluation | Self::Suggest => "xhigh",
            Self::Rank | Self::Repair => "medium",
        }
    }
}

/// How proposals are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Propose {
    /// Typed diffs, and agents after a round without a usable patch.
    #[default]
    Auto,
    /// One call answers with unified diffs.
    Diff,
    /// Codex edits a work tree per proposal.
    Agent,
}

/// When candidates are tried against the checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TrialOrder {
    /// Before ranking where a check run is cheap against the time budget.
    #[default]
    Auto,
    /// Every candidate is tried, then ranked with the evidence.
    BeforeRank,
    /// Candidates are ranked, then tried in that order until one holds.
    AfterRank,
}

/// Where the loop works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// In a work tree of its own, unless the checks give another result there.
    #[default]
    Auto,
    /// In a work tree of its own.
    Worktree,
    /// In the user's work tree.
    InPlace,
}

/// What proof the user accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProofLevel {
    /// The checks hold and a second, independent evaluation agrees.
    Reviewed,
    /// Something that failed on the seed tree passes now.
    Measured,
}

/// Whether a proven result is written into the user's work tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Land {
    /// On goal-met, if the work tree still equals the seed tree.
    #[default]
    Auto,
    /// Never; `result` shows and hands out the patch.
    Never,
}

/// A glob of test or configuration paths the loop may change, with the user's reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowChange {
    /// Which paths; `**` crosses folders, a pattern that names a folder means all in it.
    pub glob: String,
    /// Why, in the user's words; null where none were given.
    pub reason: Option<String>,
}

/// The user's commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    pub test: Option<String>,
    pub lint: Option<String>,
    #[serde(rename = "type")]
    pub type_check: Option<String>,
    /// Commands that fail at first and must pass at the end.
    pub accept: Vec<String>,
    /// A faster command that stands in for `test` when candidates are tried.
    pub trial: Option<String>,
    /// Longest run time of one command, in milliseconds.
    pub timeout_ms: u64,
    /// Ids that may stay red; the single word `baseline` stands for all that is red at the start.
    pub known_red: Vec<String>,
    /// Ids that never count, for or against.
    pub flaky: Vec<String>,
}

impl Checks {
    /// Returns the commands of a full run with their names, in the order they are run.
    pub fn commands(&self) -> Vec<(String, String)> {
        let mut commands = Vec::new();
        for (name, command) in [("test", &self.test), ("lint", &self.lint), ("type", &self.type_check)] {
            if let Some(command) = command {
                commands.push((name.to_owned(), command.clone()));
            }
        }
        for (index, command) in self.accept.iter().enumerate() {
            commands.push((format!("accept-{}", index + 1), command.clone()));
        }
        commands
    }

    /// Says whether there is no command at all.
    pub fn is_empty(&self) -> bool {
        self.commands().is_empty()
    }
}

/// Upper bounds of what a loop may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub max_iterations: u32,
    /// Wall clock of running workers, in milliseconds.
    pub max_time_ms: u64,
    pub max_calls: u32,
    /// Input plus output tokens, or null for no limit.
    pub max_tokens: Option<u64>,
    /// Money, in the currency of the prices, or null for no limit.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub max_cost: Option<Money>,
    /// Longest time of one Codex call, in milliseconds.
    pub codex_timeout_ms: u64,
}

/// An amount of money in whole millionths of the currency: exact, so that plans and budgets compare and add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    /// Millionths.
    pub micros: u64,
}

impl Money {
    /// Returns the amount as a number of the currency's units.
    pub fn units(self) -> f64 {
        self.micros as f64 / 1e6
    }

    fn from_units(units: f64) -> Option<Self> {
        // Up to 2^53 a float holds every whole millionth.
        (units.is_finite() && (0.0..9e9).contains(&units)).then(|| Self { micros: (units * 1e6).round() as u64 })
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Small sums need more places: a call may cost a tenth of a cent.
        if self.micros < 100_000 { write!(f, "{:.4}", self.units()) } else { write!(f, "{:.2}", self.units()) }
    }
}

impl std::str::FromStr for Money {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = text.trim().parse::<f64>().ok().and_then(Self::from_units).filter(|money| money.micros > 0);
        units.ok_or_else(|| format!("`{text}` is no amount of money; write for example 2.50"))
    }
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.units())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = f64::deserialize(deserializer)?;
        Self::from_units(units).ok_or_else(|| serde::de::Error::custom(format!("{units} is no amount of money")))
    }
}

/// What a million tokens of a model cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    #[schemars(with = "f64")]
    pub input: Money,
    /// Input that the provider had cached; without it, it costs as any input.
    #[serde(default, alias = "cached-input")]
    #[schemars(with = "Option<f64>")]
    pub cached_input: Option<Money>,
    /// Output, reasoning included.
    #[schemars(with = "f64")]
    pub output: Money,
}

impl Price {
    /// Returns what so many tokens cost. `input` counts the cached ones too.
    pub fn of(&self, input: u64, cached_input: u64, output: u64) -> Money {
        let cached = cached_input.min(input);
        let part = |tokens: u64, price: Money| u128::from(tokens) * u128::from(price.micros);
        let sum = part(input - cached, self.input)
            + part(cached, self.cached_input.unwrap_or(self.input))
            + part(output, self.output);
        Money { micros: u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX) }
    }
}

/// Name under which the price of every model without one of its own stands.
pub const ANY_MODEL: &str = "default";

/// Returns the price of this model, or of any model, where one is known.
pub fn price_of<'a>(prices: &'a BTreeMap<String, Price>, model: Option<&str>) -> Option<&'a Price> {
    model.and_then(|model| prices.get(model)).or_else(|| prices.get(ANY_MODEL))
}

/// How the loop goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    pub nproposals: u32,
    pub propose: Propose,
    pub trial: TrialOrder,
    #[serde(rename = "where")]
    pub place: Where,
    /// Run once in a new work tree, before its baseline.
    pub setup_command: Option<String>,
    pub jobs: u32,
    pub max_patch_lines: u32,
}

/// What the loop may touch and what proof it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Globs; where there are any, nothing outside them is changed.
    pub scope: Vec<String>,
    /// Globs never changed.
    pub protect: Vec<String>,
    pub allow_change: Vec<AllowChange>,
    /// The least proof accepted, or null for `reviewed`.
    pub require_proof: Option<ProofLevel>,
    pub allow_dirty: bool,
    pub land: Land,
}

/// How Codex is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodexSettings {
    /// Null for Codex's own default.
    pub model: Option<String>,
    /// Efforts by kind of call.
    pub efforts: BTreeMap<CallKind, String>,
    pub profile: Option<String>,
    /// MCP servers of the user's that stay on.
    pub mcp: Vec<String>,
    /// Prices of a million tokens by model; `default` for every other.
    #[serde(default)]
    pub prices: BTreeMap<String, Price>,
}

impl CodexSettings {
    /// Returns the effort of a kind of call.
    pub fn effort(&self, kind: CallKind) -> &str {
        self.efforts.get(&kind).map_or_else(|| kind.default_effort(), String::as_str)
    }

    /// Returns the price of this model, or of Codex's own default, where one is known.
    pub fn price(&self, model: Option<&str>) -> Option<&Price> {
        price_of(&self.prices, model)
    }
}

/// The whole plan of a loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub goal: String,
    /// What must be true at the end, in words; never empty.
    pub acceptance_criteria: Vec<String>,
    /// Whether every criterion is the exit status of a command, so that a measurement alone can prove the goal.
    pub measurable: bool,
    /// The work-tree root.
    pub root: String,
    /// Where checks run, relative to the root; empty for the root.
    pub check_dir: String,
    pub checks: Checks,
    pub budget: Budget,
    pub method: Method,
    pub limits: Limits,
    pub codex: CodexSettings,
    /// Proposals are made, guarded and ranked, and nothing is applied.
    pub dry_run: bool,
}

/// Returns `sha256:` and the digest in hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(bytes.as_ref());
    let mut text = String::from("sha256:");
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Plan {
    /// Returns the identity of this plan: the digest of its JSON.
    pub fn hash(&self) -> String {
        sha256(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Returns the identity of the goal: the digest of the JSON array of the goal and its criteria.
    pub fn goal_hash(&self) -> String {
        sha256(serde_json::to_vec(&(&self.goal, &self.acceptance_criteria)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_and_reads_as_people_write_it() {
        let money = |text: &str| text.parse::<Money>().map(|money| money.micros);
        assert_eq!((money("2.50"), money("0.000001"), money(" 3 ")), (Ok(2_500_000), Ok(1), Ok(3_000_000)));
        for bad in ["", "0", "-1", "NaN", "inf", "1e30", "ten", "0.0000001"] {
            assert!(money(bad).is_err(), "{bad}");
        }
        let shown = [1, 99_999, 100_000, 2_500_000].map(|micros| Money { micros }.to_string());
        assert_eq!(shown, ["0.0000", "0.1000", "0.10", "2.50"]);
        for micros in [0, 1, 333_333, 123_456_789_012] {
            let text = serde_json::to_string(&Money { micros }).unwrap();
            assert_eq!(serde_json::from_str::<Money>(&text).unwrap().micros, micros, "{text}");
        }
    }

    #[test]
    fn cached_input_has_its_own_price_and_reasoning_is_part_of_the_output() {
        let price: Price = serde_json::from_str(r#"{"input": 2, "cached-input": 0.5, "output": 10}"#).unwrap();
        assert_eq!(price.of(1_000_000, 400_000, 100_000), Money { micros: 1_200_000 + 200_000 + 1_000_000 });
        let plain = Price { cached_input: None, ..price };
        assert_eq!(plain.of(1_000_000, 400_000, 0), Money { micros: 2_000_000 });
        assert_eq!(plain.of(1, 5, 0), Money { micros: 2 });
        let prices = CodexSettings { prices: [("m".to_owned(), price)].into(), ..CodexSettings::default() };
        assert!(prices.price(Some("m")).is_some() && prices.price(Some("n")).is_none() && prices.price(None).is_none());
    }
}
