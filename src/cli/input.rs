//! What a start is asked for: the flags, and what standard input and task files hold.

use std::io::Read;

use anyhow::Context;
use serde::Deserialize;

use super::arguments::Start;
use crate::error::Failure;
use crate::operations::{self, Goal, PlanRequest, Session};
use crate::options::{self, Options};

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
fn read_task_file(file: &str, session: &Session) -> anyhow::Result<String> {
    let path = session.dir.join(file);
    let bytes = std::fs::read(&path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display()), "name a file that can be read"))?;
    text_of(bytes, file)
}

/// What `--args-stdin` reads: goal, criteria and options in one object, the keys as the flags are called or in
/// camelCase.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct StdinArguments {
    goal: Option<String>,
    task_file: Option<String>,
    accept: Vec<String>,
    pub(super) approved: Option<String>,
    pub(super) plan: bool,
    dry_run: bool,
    pub(super) yes: bool,
}

/// Returns the request of a start as typed.
pub(super) fn request(start: &Start, session: &Session) -> anyhow::Result<(PlanRequest, StdinArguments)> {
    if start.args_stdin {
        return request_from_stdin(start, session);
    }
    let text = match (&start.goal, &start.task_file) {
        (Some(goal), _) if goal == "-" => Some(read_stdin("the goal on standard input")?),
        (Some(goal), _) => Some(goal.clone()),
        (None, Some(file)) if file == "-" => Some(read_stdin("the goal on standard input")?),
        (None, Some(file)) => Some(read_task_file(file, session)?),
        (None, None) if start.words.is_empty() => None,
        (None, None) => Some(start.words.join(" ")),
    };
    let request = PlanRequest {
        goal: Goal { text, accept: start.accept.clone() },
        options: start.options.clone(),
        dry_run: start.dry_run,
    };
    Ok((request, StdinArguments::default()))
}

fn request_from_stdin(start: &Start, session: &Session) -> anyhow::Result<(PlanRequest, StdinArguments)> {
    let text = read_stdin("standard input")?;
    let unusable = |cause: String| {
        Failure::usage(
            format!("standard input is neither a JSON object of options nor TOML: {}", cause.trim()),
            options::KEYS_HINT,
        )
    };
    // Claude Code refuses JSON in a command, so what it passes on is TOML, as in `.cloop.toml`.
    let value: serde_json::Value = if text.trim_start().starts_with(['{', '[', '"']) {
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?
    } else {
        toml::from_str(&text).map_err(|error| unusable(error.to_string()))?
    };
    let serde_json::Value::Object(mut object) = value else { return Err(unusable("it is no object".into()).into()) };
    // What a host kept of the typed command, under what is given here.
    if let Some(id) = object.remove("typed") {
        let id = id.as_str().ok_or_else(|| unusable("typed is no text".into()))?;
        let given: Vec<String> = object.keys().map(|key| kebab(key)).collect();
        let replaced = |key: &str| given.iter().any(|given| given == key || (given == "goal" && key == "task-file"));
        object.extend(
            operations::typed::<serde_json::Map<_, _>>(session, id)?.into_iter().filter(|(key, _)| !replaced(key)),
        );
    }
    let (mut mine, mut rest) = (serde_json::Map::new(), serde_json::Map::new());
    for (key, value) in object {
        let key = kebab(&key);
        let part = if OWN_KEYS.contains(&key.as_str()) {
            named::<StdinArguments>(&key, &value)?;
            &mut mine
        } else {
            named::<Options>(&key, &value)?;
            &mut rest
        };
        part.insert(key, value);
    }
    let own: StdinArguments = serde_json::from_value(mine.into()).map_err(|error| unusable(error.to_string()))?;
    let options: Options = serde_json::from_value(rest.into()).map_err(|error| unusable(error.to_string()))?;
    options.check().map_err(|cause| Failure::usage(format!("standard input: {cause}"), options::KEYS_HINT))?;
    let text = match (&own.goal, &own.task_file) {
        (None, Some(file)) => Some(read_task_file(file, session)?),
        (goal, _) => goal.clone(),
    };
    let request = PlanRequest {
        goal: Goal { text, accept: if start.accept.is_empty() { own.accept.clone() } else { start.accept.clone() } },
        options: start.options.clone().or(options),
        dry_run: start.dry_run || own.dry_run,
    };
    Ok((request, own))
}

/// Keys of `--args-stdin` besides the options.
const OWN_KEYS: [&str; 7] = ["goal", "task-file", "accept", "approved", "plan", "dry-run", "yes"];

/// Returns the usage error for a key that `T` does not know, or a value that it cannot have, by name: a parser of the
/// whole document would not say whose value it is.
fn named<T: serde::de::DeserializeOwned>(key: &str, value: &serde_json::Value) -> anyhow::Result<()> {
    let alone = serde_json::Map::from_iter([(key.to_owned(), value.clone())]);
    let Err(error) = serde_json::from_value::<T>(alone.into()) else { return Ok(()) };
    let message = error.to_string();
    let failure = if message.starts_with("unknown field") {
        let hint = options::nearest_key(&message)
            .map_or_else(|| options::KEYS_HINT.to_owned(), |near| format!("did you mean `{near}`?"));
        Failure::usage(format!("standard input: {}", options::plain(&message)), hint)
    } else {
        Failure::usage(format!("standard input, `{key}`: {}", options::plain(&message)), options::KEYS_HINT)
    };
    Err(failure.into())
}

/// Turns `testCmd` into `test-cmd`.
fn kebab(key: &str) -> String {
    let mut text = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            text.push('-');
            text.push(c.to_ascii_lowercase());
        } else {
            text.push(if c == '_' { '-' } else { c });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_camel_case_or_as_the_flags_are_called() {
        assert_eq!(kebab("testCmd"), "test-cmd");
        assert_eq!(kebab("test-cmd"), "test-cmd");
        assert_eq!(kebab("max_iter"), "max-iter");
    }

    #[test]
    fn a_bad_value_on_standard_input_is_named_with_its_key() {
        let refused = |key: &str, value: serde_json::Value| {
            let error = if OWN_KEYS.contains(&key) {
                named::<StdinArguments>(key, &value)
            } else {
                named::<Options>(key, &value)
            };
            let error = error.unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            (failure.message.clone(), failure.hint.clone().unwrap_or_default())
        };
        for (key, value) in
            [("goal", 5.into()), ("max-iter", "five".into()), ("max-time", "10x".into()), ("accept", "one".into())]
        {
            let (message, hint) = refused(key, value);
            assert!(message.contains(&format!("`{key}`")) && !hint.is_empty(), "{message}; {hint}");
        }
        let (message, hint) = refused("testcmd", "t".into());
        assert!(message.contains("`testcmd`") && hint.contains("`test-cmd`"), "{message}; {hint}");
    }
}
