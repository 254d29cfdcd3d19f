//! What is typed or handed in beside the flags: standard input and task files.

use std::io::Read;

use anyhow::Context;

use crate::error::Failure;
use crate::operations::Session;

/// Most bytes read from standard input or a task file; far above the longest goal.
const MAX_INPUT: u64 = 4 << 20;

/// Returns the text on standard input, which the error calls `what`.
pub(super) fn read_stdin(what: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_INPUT + 1).read_to_end(&mut bytes).context("read standard input")?;
    text_of(bytes, what)
}

fn text_of(bytes: Vec<u8>, what: &str) -> anyhow::Result<String> {
    if bytes.len() as u64 > MAX_INPUT {
        let hint = "give a shorter text, and name files in it instead of pasting them";
        return Err(Failure::usage(format!("{what} is larger than 4 MiB"), hint).into());
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{what} is not UTF-8"), "save it as UTF-8 text").into())
}

/// Returns the text of a file named on the command line.
pub(super) fn read_task_file(file: &str, session: &Session) -> anyhow::Result<String> {
    let path = session.dir.join(file);
    let bytes = std::fs::read(&path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display()), "name a file that can be read"))?;
    text_of(bytes, file)
}
