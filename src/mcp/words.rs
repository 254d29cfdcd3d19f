//! What to do, in words of the tools: the operations say it in those of the command line.

/// Words of the command line, and what a client of the tools does instead. Longer ones come first.
const WORDS: [(&str, &str); 22] = [
    (
        "write the question as PROMPT (`-` reads standard input), or give --question, --option, --concern, --diff",
        "say it in the arguments; a blank one asks nothing",
    ),
    ("raise the limit with --timeout or CODEX_TIMEOUT", "raise timeout_seconds, or have the user raise CODEX_TIMEOUT"),
    (
        "raise it with --max-reviews",
        "have the user raise max-per-day or max-per-session in the table `review` of their configuration",
    ),
    ("name them with --file or --diff, so that the question carries them", "put their text into the prompt"),
    ("hand them over with --file", "put their text into the prompt"),
    (
        "print the plan with `start --plan` and approve the hash it shows",
        "make it with loop_plan, and pass the planHash it returns",
    ),
    ("look at it again with `start --plan`", "make it again with loop_plan"),
    ("write it after `start`, or give it with --goal or --task-file", "put it into `goal`"),
    ("write the goal after `start`", "put the goal into `goal`"),
    ("name one with --test-cmd", "name one as `test-cmd` in `options`"),
    ("or go on without with --no-test", "or go on without, with `no-test` true"),
    ("or start with --allow-dirty", "or plan with `allow-dirty` true in `options`"),
    ("or add --allow-dirty", "or plan with `allow-dirty` true in `options`"),
    ("with --require-proof reviewed", "with `require-proof` as `reviewed` in `options`"),
    ("start one with `loop-companion start`", "make a plan with loop_plan, then start it with loop_start"),
    ("start a new one with `loop-companion start`", "make a new plan with loop_plan"),
    ("`loop-companion resume`", "loop_resume"),
    ("`loop-companion result`", "loop_result"),
    ("`loop-companion iterate`", "loop_iterate"),
    ("`loop-companion status --follow`", "loop_wait"),
    ("`loop-companion stop`", "loop_stop"),
    (" with -C", " with `cwd`"),
];

/// Returns a text in words of the tools.
pub(super) fn of_tools(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_words_of_the_command_line_are_those_that_the_operations_say() {
        let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut said = String::new();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if !path.ends_with("mcp/words.rs") {
                said += &std::fs::read_to_string(&path).unwrap();
            }
        }
        for (from, to) in WORDS {
            assert!(said.contains(from), "nobody says {from}");
            assert_eq!(of_tools(from), to);
        }
    }
}
