//! What a loop is likely to use: read off its plan and off the earlier loops of the same repository. An estimate that
//! says what it rests on, never a limit.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{count, duration};
use crate::codex::events::REQUEST_OVERHEAD_CHARS;
use crate::engine::State;
use crate::plan::{Money, Plan, Propose};

/// Earlier loops worth looking at, the newest.
pub const FORECAST_LOOPS: usize = 10;

/// Rounds taken for likely where no earlier loop shows better: one for a small fault, a few for a hard one.
const ROUNDS: (u32, u32) = (1, 3);

/// What a prompt holds besides the goal where nothing is measured yet, in characters: the instructions of a step, and
/// the output of failing checks.
const PROMPT_CHARS: u64 = 16_000;

/// Output of a call where nothing is measured yet, in tokens: a reasoned answer with a patch.
const OUTPUT_TOKENS: u64 = 4_000;

/// From least to most that is likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    pub low: u64,
    pub high: u64,
}

/// From least to most money that is likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostRange {
    #[schemars(with = "f64")]
    pub low: Money,
    #[schemars(with = "f64")]
    pub high: Money,
}

/// A forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Always true: a forecast is an estimate.
    pub estimated: bool,
    /// What it rests on, as a sentence without a full stop.
    pub from: String,
    pub iterations: Range,
    pub calls: Range,
    /// Input and output together.
    pub tokens: Range,
    /// Null where nothing shows how long a call takes.
    pub time_ms: Option<Range>,
    /// Null where the model has no price.
    pub cost: Option<CostRange>,
}

/// Returns the forecast of a plan. `earlier` are the loops of the same work tree, oldest first.
pub fn forecast(plan: &Plan, earlier: &[State]) -> Forecast {
    let known: Vec<&State> =
        earlier.iter().rev().filter(|state| state.finished && state.used.calls > 0).take(FORECAST_LOOPS).collect();
    let sum = |of: &dyn Fn(&State) -> u64| known.iter().map(|state| of(state)).sum::<u64>();
    let rounds: Vec<u32> =
        known.iter().map(|state| state.used.iterations).filter(|iterations| *iterations > 0).collect();
    let (least, most) = match (rounds.iter().min(), rounds.iter().max()) {
        _ if plan.dry_run => (1, 1),
        (Some(least), Some(most)) => (*least, *most),
        _ => ROUNDS,
    };
    let max_rounds = plan.budget.max_iterations.max(1);
    let (least, most) = (least.min(max_rounds), most.min(max_rounds));
    // An evaluation, the proposals, and where there are several a ranking; at most a repair, and a claim to confirm.
    let proposing = if plan.method.propose == Propose::Agent { u64::from(plan.method.nproposals) } else { 1 };
    let ranking = u64::from(plan.method.nproposals > 1);
    let cap = |calls: u64| calls.min(u64::from(plan.budget.max_calls));
    let calls = Range {
        low: cap(u64::from(least) * (1 + proposing)),
        high: cap(u64::from(most) * (2 + proposing + ranking) + 2 * u64::from(!plan.measurable)),
    };
    let used_calls = sum(&|state| u64::from(state.used.calls));
    let goal = plan.goal.chars().count() as u64;
    let (input, cached, output) = if used_calls > 0 {
        let mean = |of: &dyn Fn(&State) -> u64| sum(of).div_ceil(used_calls);
        (
            mean(&|state| state.used.tokens.input),
            mean(&|state| state.used.tokens.cached_input),
            mean(&|state| state.used.tokens.output),
        )
    } else {
        ((goal + PROMPT_CHARS + REQUEST_OVERHEAD_CHARS as u64) / 4, 0, OUTPUT_TOKENS)
    };
    let token_cap = plan.budget.max_tokens.unwrap_or(u64::MAX);
    let tokens = |calls: u64| (calls * (input + output)).min(token_cap);
    let time = (used_calls > 0).then(|| {
        // Checks and all: what a loop took, by its calls.
        let each = sum(&|state| state.used.time_ms) / used_calls;
        let time = |calls: u64| (calls * each).min(plan.budget.max_time_ms);
        Range { low: time(calls.low), high: time(calls.high) }
    });
    let cost = plan.codex.price(plan.codex.model.as_deref()).map(|price| {
        let cost = |calls: u64| {
            let cost = price.of(calls * input, calls * cached, calls * output);
            plan.budget.max_cost.map_or(cost, |max| max.min(cost))
        };
        CostRange { low: cost(calls.low), high: cost(calls.high) }
    });
    let from = match known.len() {
        0 => "from the plan alone: no earlier loop of this repository has ended".to_owned(),
        1 => "from the plan and one earlier loop of this repository".to_owned(),
        more => format!("from the plan and the last {more} loops of this repository"),
    };
    Forecast {
        estimated: true,
        from,
        iterations: Range { low: least.into(), high: most.into() },
        calls,
        tokens: Range { low: tokens(calls.low), high: tokens(calls.high) },
        time_ms: time,
        cost,
    }
}

impl Forecast {
    /// Returns the forecast in one sentence.
    pub(super) fn text(&self) -> String {
        let span = |low: String, high: String| if low == high { low } else { format!("{low} to {high}") };
        let numbers = |range: Range| span(count(range.low), count(range.high));
        let plural = |range: Range| if range.high == 1 { "" } else { "s" };
        let mut text = format!(
            "Likely: {} iteration{}, {} call{}, {} tokens",
            numbers(self.iterations),
            plural(self.iterations),
            numbers(self.calls),
            plural(self.calls),
            numbers(self.tokens)
        );
        if let Some(time) = self.time_ms {
            let _ = write!(text, ", {}", span(duration(time.low), duration(time.high)));
        }
        if let Some(cost) = self.cost {
            let _ = write!(text, ", cost {}", span(cost.low.to_string(), cost.high.to_string()));
        }
        let _ = write!(text, " (an estimate {})", self.from);
        text
    }
}
