//! A model that plays answers in order, step by step.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use loop_companion::answers::{AgentReport, Evaluation, Level, Suggestion};
use loop_companion::scripted::script::{self, Candidate};
use loop_companion::scripted::{ModelRequest, Reply, Step};

/// How candidates are ranked where no answer is queued for it.
pub(crate) enum RankBy {
    /// In the order shown.
    First,
    /// By figures drawn from this seed.
    Random(u64),
    /// By a figure from 0 to 1 for what each candidate shows: for example highest where a known cheat stands.
    Figure(Box<dyn Fn(&Candidate) -> f64 + Send + Sync>),
}

impl RankBy {
    /// Prefers the candidates that contain one of these texts, the earlier the better.
    pub(crate) fn preferring(texts: &[&str]) -> Self {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Self::Figure(Box::new(move |candidate| {
            let place = texts.iter().position(|text| candidate.text.contains(text));
            place.map_or(0.1, |place| 0.95 - 0.5 * place as f64 / texts.len() as f64)
        }))
    }
}

/// Says whether an agent asks that edits a work tree of its own.
pub(crate) fn is_agent(request: &ModelRequest) -> bool {
    request.schema.as_ref().is_some_and(|schema| !schema["properties"]["approach"].is_null())
}

/// What an agent says at its end.
pub(crate) fn agent_report(approach: &str) -> AgentReport {
    AgentReport {
        approach: approach.into(),
        justification: "It answers the open issue.".into(),
        estimated_risk: Level::Low,
        estimated_impact: Level::High,
        test_change_justification: None,
        review_notes: String::new(),
    }
}

#[derive(Default)]
struct Queue(Mutex<VecDeque<Reply>>);

impl Queue {
    fn push(&self, reply: Reply) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(reply);
    }

    /// Takes the next answer; the last one stays.
    fn next(&self) -> Option<Reply> {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    }
}

/// Answers queued by step; the last of each queue repeats. A step without any answers with status 500.
#[derive(Default)]
pub(crate) struct SequenceModel {
    evaluations: Queue,
    suggestions: Queue,
    rankings: Queue,
    others: Queue,
    rank_by: Option<RankBy>,
}

impl SequenceModel {
    /// A model without any answer; it ranks candidates in the order shown.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Queues an evaluation.
    pub(crate) fn evaluate(self, answer: &Evaluation) -> Self {
        self.queue(Step::Evaluate, Reply::json(answer))
    }

    /// Queues a suggestion.
    pub(crate) fn suggest(self, answer: &Suggestion) -> Self {
        self.queue(Step::Suggest, Reply::json(answer))
    }

    /// Queues a suggestion of these ids and patches.
    pub(crate) fn patches<'a>(self, patches: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.suggest(&script::suggestion(patches))
    }

    /// Queues any answer, a fault for example, for a step.
    pub(crate) fn queue(self, step: Step, reply: Reply) -> Self {
        match step {
            Step::Evaluate => &self.evaluations,
            Step::Suggest => &self.suggestions,
            Step::Rank => &self.rankings,
            Step::Other => &self.others,
        }
        .push(reply);
        self
    }

    /// Sets how candidates are ranked.
    pub(crate) fn rank_by(mut self, rank_by: RankBy) -> Self {
        self.rank_by = Some(rank_by);
        self
    }

    /// Turns it into what a server takes.
    pub(crate) fn into_model(self) -> impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static {
        move |request| self.answer(request)
    }

    fn answer(&self, request: &ModelRequest) -> Reply {
        let step = request.step();
        let queued = match step {
            Step::Evaluate => self.evaluations.next(),
            Step::Suggest => self.suggestions.next(),
            Step::Rank => self.rankings.next().or_else(|| Some(self.rank(request))),
            // An agent that finds nothing to do: proposals of an empty change, where a test is not about agents.
            Step::Other => self.others.next().or_else(|| is_agent(request).then(|| Reply::json(&agent_report("idle")))),
        };
        queued.unwrap_or_else(|| Reply::error(500, "script", &format!("no answer is queued for {step:?}")))
    }

    fn rank(&self, request: &ModelRequest) -> Reply {
        let candidates = request.candidates();
        let count = candidates.len() as f64;
        let mut shown = 0.0;
        let mut draw = match self.rank_by {
            // Rounds differ, a second run with the same seed does not.
            Some(RankBy::Random(seed)) => seed ^ (request.number as u64) << 32,
            _ => 0,
        };
        Reply::json(&script::ranking(&candidates, |candidate| match &self.rank_by {
            Some(RankBy::Figure(figure)) => figure(candidate),
            Some(RankBy::Random(_)) => {
                // SplitMix64: a few lines, and the figures are known for ever.
                draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
            }
            Some(RankBy::First) | None => {
                shown += 1.0;
                1.0 - shown / (count + 1.0)
            }
        }))
    }
}
