//! The text of a question: rendered from the templates in `prompts/review/`, one a kind.
//!
//! What the asker wrote arrives byte for byte; files and differences stand between fences that nothing inside can
//! close. It reads no file.

use std::fmt::Write;
use std::sync::LazyLock;

use anyhow::Context;
use handlebars::Handlebars;
use serde::Serialize;
use serde_json::json;

use super::Kind;
use crate::codex::prompt::{cut_middle, templates};

/// Most characters of a question. Codex takes no more than 1,048,576, and a repair adds an answer to it.
pub const MAX_QUESTION_CHARS: usize = 900_000;

/// Most characters of one file or difference: about 30,000 tokens.
const MAX_EXCERPT_CHARS: usize = 120_000;

/// Most paths of a prompt that are looked at as possible files.
const MAX_MENTIONED: usize = 20;

/// A named piece of context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextItem {
    pub key: String,
    pub value: String,
}

/// A file or difference in the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// On one line, without backticks.
    pub path: String,
    pub text: String,
    /// What a reader should know of it, for example that its middle is missing.
    pub note: Option<String>,
    /// Whether all of it is there.
    #[serde(skip)]
    pub whole: bool,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub kind: Kind,
    /// The asker's own words.
    pub request: Option<String>,
    pub question: Option<String>,
    pub options: Vec<String>,
    pub concern: Option<String>,
    pub proposed: Option<String>,
    pub context: Vec<ContextItem>,
    pub files: Vec<Excerpt>,
    pub diff: Option<Excerpt>,
    /// What is put in front.
    pub agent: Option<String>,
}

impl Question {
    /// Returns the text to send. `can_read` says whether the reviewer can read files by itself.
    ///
    /// Returns an error only if a template and this type disagree, which a test rules out.
    pub fn render(&self, can_read: bool) -> anyhow::Result<String> {
        let options: Vec<_> =
            self.options.iter().enumerate().map(|(at, text)| json!({"number": at + 1, "text": text})).collect();
        let view = json!({
            "agent": self.agent,
            "request": self.request,
            "question": self.question,
            "options": options,
            "concern": self.concern,
            "proposed": self.proposed,
            "context": self.context,
            "files": self.files,
            "diff": self.diff,
            "can_read": can_read,
            "fence": self.fence(),
        });
        TEMPLATES
            .render(self.kind.name(), &view)
            .with_context(|| format!("render the question of a {} review", self.kind.name()))
    }

    /// Says whether everything the question holds is there whole.
    pub fn whole(&self) -> bool {
        self.files.iter().chain(&self.diff).all(|excerpt| excerpt.whole)
    }

    /// A fence longer than any run of backticks in the material.
    fn fence(&self) -> String {
        let texts = self.files.iter().chain(&self.diff).map(|excerpt| excerpt.text.as_str());
        let longest = texts.flat_map(|text| text.split(|c| c != '`').map(str::len)).max().unwrap_or_default();
        "`".repeat((longest + 1).max(4))
    }
}

/// Returns a text as part of a question, its middle left out where it is too long.
pub fn excerpt(path: &str, text: &str) -> Excerpt {
    let path = path.replace(|c: char| c.is_control() || c == '`', "?");
    let count = text.chars().count();
    let whole = count <= MAX_EXCERPT_CHARS;
    let note = (!whole).then(|| format!("{} of {count} characters left out in the middle", count - MAX_EXCERPT_CHARS));
    Excerpt { path, text: cut_middle(text.trim_end_matches('\n'), MAX_EXCERPT_CHARS), note, whole }
}

/// Puts its number before every line.
pub fn numbered(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let width = lines.len().to_string().len();
    lines.iter().enumerate().fold(String::with_capacity(text.len()), |mut all, (at, line)| {
        let _ = writeln!(all, "{:>width$} | {line}", at + 1);
        all
    })
}

/// Returns what in a prompt could be the path of a file, each once, in order.
pub fn mentioned_paths(prompt: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for word in prompt.split(|c: char| c.is_whitespace() || "`\"'()[]{}<>,;|*".contains(c)) {
        let word = word.trim_end_matches(['.', ':', '!', '?']);
        let word = match word.split_once(':') {
            Some((path, rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => path,
            _ => word,
        };
        let shaped = word.contains(['/', '.']) && !word.contains("://") && !word.starts_with(['-', '/', '~']);
        if shaped && word.len() > 2 && !found.contains(&word) && found.len() < MAX_MENTIONED {
            found.push(word);
        }
    }
    found
}

const SOURCES: [(&str, &str); 18] = [
    ("gate", include_str!("../../prompts/review/gate.hbs")),
    ("methodology", include_str!("../../prompts/review/methodology.hbs")),
    ("priority", include_str!("../../prompts/review/priority.hbs")),
    ("second-opinion", include_str!("../../prompts/review/second-opinion.hbs")),
    ("experimental", include_str!("../../prompts/review/experimental.hbs")),
    ("technical", include_str!("../../prompts/review/technical.hbs")),
    ("code", include_str!("../../prompts/review/code.hbs")),
    ("spec", include_str!("../../prompts/review/spec.hbs")),
    ("doc", include_str!("../../prompts/review/doc.hbs")),
    ("contract", include_str!("../../prompts/review/contract.hbs")),
    ("free", include_str!("../../prompts/review/free.hbs")),
    ("head", include_str!("../../prompts/review/partials/head.hbs")),
    ("context", include_str!("../../prompts/review/partials/context.hbs")),
    ("state", include_str!("../../prompts/review/partials/state.hbs")),
    ("material", include_str!("../../prompts/review/partials/material.hbs")),
    ("proposed", include_str!("../../prompts/review/partials/proposed.hbs")),
    ("request", include_str!("../../prompts/review/partials/request.hbs")),
    ("answer", include_str!("../../prompts/review/partials/answer.hbs")),
];

static TEMPLATES: LazyLock<Handlebars<'static>> = LazyLock::new(|| templates(&SOURCES));

#[cfg(test)]
mod tests {
    use super::*;

    fn question(kind: Kind) -> Question {
        Question {
            kind,
            request: Some("Ship {{it}}?\n\n```sh\necho \"$HOME\" & <b>\n```\n".into()),
            question: None,
            options: vec![],
            concern: None,
            proposed: None,
            context: vec![],
            files: vec![],
            diff: None,
            agent: None,
        }
    }

    #[test]
    fn every_kind_has_its_sections_and_carries_everything_it_is_given_byte_for_byte() {
        for kind in Kind::ALL {
            let full = Question {
                question: Some("Is it {{sound}}?".into()),
                options: vec!["first & only".into(), "second".into()],
                concern: Some("it <leaks>".into()),
                proposed: Some("line one\n\n\n  line two".into()),
                context: vec![ContextItem { key: "gpu".into(), value: "8 × \"H200\"".into() }],
                files: vec![excerpt("a.rs", "1 | ````\n")],
                diff: Some(excerpt("the difference from HEAD", "+x\n")),
                agent: Some("You are {{strict}}.".into()),
                ..question(kind)
            };
            for (question, can_read) in [(&full, true), (&full, false), (&question(kind), true)] {
                let text = question.render(can_read).unwrap();
                assert!(text.contains(question.request.as_deref().unwrap()), "{text}");
                let mut at = 0;
                for section in ["Context", "Current State", "Proposed Approach", "Review Questions", "Request"] {
                    let found = text[at..].find(&format!("\n## {section}\n"));
                    assert_eq!(found.is_some(), kind != Kind::Free, "{section} in {text}");
                    at += found.unwrap_or_default();
                }
                assert!(!text.contains("&lt;") && !text.contains("\n\n\n\n"), "{text}");
            }
            let text = full.render(true).unwrap();
            for part in ["8 × \"H200\"", "`````data a.rs\n", "1 | ````\n`````\n", "+x\n`````", "You are {{strict}}."] {
                assert!(text.contains(part), "{part} in {text}");
            }
            if kind != Kind::Free {
                for part in ["Is it {{sound}}?", "1. first & only\n2. second\n", "it <leaks>", "one\n\n\n  line"] {
                    assert!(text.contains(part), "{part} in {text}");
                }
            }
        }
    }

    #[test]
    fn long_files_lose_their_middle_and_say_so() {
        let short = excerpt("a", "text\n");
        assert!(short.whole && short.note.is_none());
        let long = excerpt("a`\nb", &"x".repeat(MAX_EXCERPT_CHARS + 5));
        assert!(!long.whole && long.text.chars().count() <= MAX_EXCERPT_CHARS);
        assert_eq!(long.path, "a??b");
        assert!(long.note.unwrap().starts_with("5 of"));
    }

    #[test]
    fn lines_are_numbered_in_one_column() {
        assert_eq!(numbered("a\n\nb"), "1 | a\n2 | \n3 | b\n");
    }

    #[test]
    fn paths_are_found_in_prose() {
        let prompt = "Look at `src/lib.rs:12`, (docs/a b.md), README.md. Not https://x.org/y, -x.y or /etc/passwd!";
        assert_eq!(mentioned_paths(prompt), ["src/lib.rs", "docs/a", "b.md", "README.md"]);
    }
}
