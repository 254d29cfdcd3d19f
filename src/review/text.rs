//! What a person reads of a review: on the terminal, in the output file, and in the records.

use std::fmt::Write;

use super::{Kind, Review, Verdict};
use crate::report;

/// Returns the review for a reader, as Markdown.
pub fn review_text(review: &Review) -> String {
    let mut text = format!("# {} — {}\n\n", review.verdict.name(), review.topic);
    if review.verdict == Verdict::Unavailable {
        let cause = review.cause.map(super::Cause::name).unwrap_or_default();
        let detail = review.detail.as_deref().unwrap_or_default();
        let _ = writeln!(text, "No review took place ({cause}): {detail}\n\nThis is neither a yes nor a no.\n");
    } else {
        let _ = writeln!(text, "{}\n", review.recommendation.trim());
    }
    let list = |text: &mut String, title: &str, items: &[String], ordered: bool| {
        if items.is_empty() {
            return;
        }
        let _ = writeln!(text, "## {title}\n");
        for (at, item) in items.iter().enumerate() {
            let mark = if ordered { format!("{}.", at + 1) } else { "-".to_owned() };
            let _ = writeln!(text, "{mark} {}", item.trim().replace('\n', "\n  "));
        }
        text.push('\n');
    };
    list(&mut text, "Conditions", &review.conditions, false);
    list(&mut text, "Priorities", &review.priorities, true);
    let findings: Vec<String> = review
        .findings
        .iter()
        .map(|finding| {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            let place = match (&finding.file, finding.line) {
                (Some(file), Some(line)) => format!(" `{file}:{line}`"),
                (Some(file), None) => format!(" `{file}`"),
                _ => String::new(),
            };
            format!("**{severity}**{place}: {}", finding.message)
        })
        .collect();
    list(&mut text, "Findings", &findings, false);
    list(&mut text, "Risks", &review.risks, false);
    list(&mut text, "Notes", &review.warnings, false);
    let mut facts = vec![match review.kind {
        Kind::Free => "prompt, sent as it is".to_owned(),
        kind => format!("{} review", kind.name()),
    }];
    if let Some(confidence) = review.confidence {
        facts.push(format!("confidence {:.0} %", confidence * 100.0));
    }
    facts.push(review.model.clone().unwrap_or_else(|| "Codex's default model".into()));
    facts.extend(review.effort.as_ref().map(|effort| format!("effort {effort}")));
    facts.push(report::duration(review.duration_ms));
    facts.push(format!(
        "{}{} tokens",
        if review.tokens.estimated { "about " } else { "" },
        report::count(review.tokens.total())
    ));
    if review.cached {
        facts.push(format!("answered before, at {}", review.at));
    }
    let _ = writeln!(text, "{}", facts.join(" · "));
    if let Some(file) = &review.response_file {
        let _ = writeln!(text, "Record: `{file}`");
    }
    harmless(&text)
}

/// Returns a text that steers no terminal: a model's escape sequences belong on none, and neither do characters that
/// turn the direction round and show other words than there are.
pub fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && !turns(*c)).collect()
}

/// Returns the record that is written before the call.
pub fn request_text(review: &Review, question: &str) -> String {
    format!(
        "# Review request {}\n\n- Kind: {}\n- Topic: {}\n- Asked: {}\n- Model: {}\n- Effort: {}\n- Tree: {}\n\nWhat \
         was sent, secrets masked, follows below the line.\n\n---\n\n{question}\n",
        review.id,
        if review.kind == Kind::Free { "prompt, sent as it is" } else { review.kind.name() },
        review.topic,
        review.at,
        review.model.as_deref().unwrap_or("Codex's default"),
        review.effort.as_deref().unwrap_or("Codex's default"),
        review.tree_hash.as_deref().unwrap_or("unknown"),
    )
}

/// Returns the record that is written after the call. The review is masked already.
pub fn response_text(review: &Review) -> String {
    let json = serde_json::to_string_pretty(review).unwrap_or_default();
    let longest = json.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(3));
    format!("{}\n---\n\n{fence}json\n{json}\n{fence}\n", review_text(review))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Severity;
    use crate::review::{Cause, Finding};

    fn review() -> Review {
        Review {
            schema_version: 1,
            id: "20261121_093005_scale".into(),
            kind: Kind::Gate,
            topic: "scale".into(),
            success: true,
            verdict: Verdict::Modify,
            cause: None,
            detail: None,
            approved: false,
            recommendation: "Run the pilot first.".into(),
            conditions: vec!["A pilot of one day".into()],
            priorities: vec!["Pilot".into(), "Scale".into()],
            risks: vec!["Cost".into()],
            findings: vec![Finding {
                severity: Severity::High,
                file: Some("train.py".into()),
                line: Some(4),
                message: "No seed.".into(),
            }],
            confidence: Some(0.75),
            model: None,
            effort: Some("high".into()),
            tree_hash: None,
            request_file: None,
            response_file: Some("reviews/autonomous/x_codex_response.md".into()),
            duration_ms: 12_000,
            tokens: crate::codex::Usage { input: 900, output: 50, ..Default::default() },
            cached: false,
            at: "2026-11-21T09:30:05Z".parse().unwrap(),
            warnings: vec![],
        }
    }

    #[test]
    fn a_verdict_reads_from_its_first_line_on() {
        insta::assert_snapshot!(review_text(&review()), @r"
        # MODIFY — scale

        Run the pilot first.

        ## Conditions

        - A pilot of one day

        ## Priorities

        1. Pilot
        2. Scale

        ## Findings

        - **high** `train.py:4`: No seed.

        ## Risks

        - Cost

        gate review · confidence 75 % · Codex's default model · effort high · 12 s · 950 tokens
        Record: `reviews/autonomous/x_codex_response.md`
        ");
    }

    #[test]
    fn nothing_in_a_text_steers_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}c\r\n\td\u{202e}OG\u{2066}"), "a[2Jbc\n\tdOG");
        // Right-to-left text and joined emoji stay.
        assert_eq!(harmless("שלום \u{200f}x 👩\u{200d}🚀"), "שלום \u{200f}x 👩\u{200d}🚀");
    }

    #[test]
    fn a_prompt_without_a_type_is_called_what_it_is() {
        let review = Review { kind: Kind::Free, ..review() };
        let text = review_text(&review) + &request_text(&review, "Ship it?");
        assert!(
            text.contains("\nprompt, sent as it is · ") && text.contains("- Kind: prompt, sent as it is\n"),
            "{text}"
        );
        assert!(!text.contains("free"), "{text}");
    }

    #[test]
    fn what_is_unavailable_says_that_it_is_no_answer() {
        let mut review = review();
        review.unavailable(Cause::TimeOut, "no answer within 300 s");
        let text = review_text(&review);
        assert!(text.starts_with("# UNAVAILABLE — scale\n\nNo review took place (time-out): no answer"), "{text}");
        assert!(text.contains("neither a yes nor a no"));
    }
}
