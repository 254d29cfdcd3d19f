//! Standard output: the result and nothing else. A reader that goes away is no error.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use crate::masking;

thread_local! {
    /// Takes what would be printed, while a host's answer is made of it.
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The folder that was typed with `-C`, as it is typed again; unset where none was.
static TYPED_DIR: OnceLock<String> = OnceLock::new();

/// Keeps the folder that `-C` names, or that is to be named with it, for the commands that are offered.
pub(super) fn typed_dir(dir: &Path) {
    if dir != Path::new(".") {
        let _ = TYPED_DIR.set(quoted(&dir.to_string_lossy()));
    }
}

/// Returns a path as a shell takes it, whatever is in it.
pub(super) fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn in_dir(command: &str, dir: Option<&str>) -> String {
    match (command.strip_prefix("loop-companion "), dir) {
        (Some(rest), Some(dir)) => format!("loop-companion -C {dir} {rest}"),
        _ => command.to_owned(),
    }
}

/// Makes commands to type next reach the folder that this one was typed for.
pub(super) fn again(next: &mut [String]) {
    for command in next {
        *command = in_dir(command, TYPED_DIR.get().map(String::as_str));
    }
}

/// Does the same for the commands that a text of our own names in backticks.
pub(super) fn again_in(text: &str) -> String {
    let dir = TYPED_DIR.get().map(String::as_str);
    text.split('`').map(|part| in_dir(part, dir)).collect::<Vec<_>>().join("`")
}

/// Prints bytes as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let captured = CAPTURED
        .with_borrow_mut(|captured| captured.as_mut().map(|captured| captured.extend_from_slice(bytes)).is_some());
    if !captured {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}

/// Returns what `work` gave, and what it would have printed.
pub(super) fn captured<T>(work: impl FnOnce() -> T) -> (T, String) {
    CAPTURED.set(Some(Vec::new()));
    let given = work();
    let text = CAPTURED.take().unwrap_or_default();
    (given, String::from_utf8_lossy(&text).into_owned())
}

/// Prints text without its secrets, its last line ended.
pub(super) fn text(text: &str) {
    let text = masking::shown().text(text);
    bytes(text.as_bytes());
    if !text.ends_with('\n') {
        bytes(b"\n");
    }
}

/// Prints one JSON document, its texts without their secrets.
pub(super) fn json(document: &impl serde::Serialize) {
    if let Ok(mut value) = serde_json::to_value(document)
        && let () = masking::shown().value(&mut value)
        && let Ok(text) = serde_json::to_string_pretty(&value)
    {
        bytes(text.as_bytes());
        bytes(b"\n");
    }
}

/// Prints a line to standard error without its secrets.
pub(super) fn note(text: &str) {
    eprintln!("{}", masking::shown().text(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_type_names_the_folder_again() {
        let dir = quoted("it's here");
        let told = in_dir("loop-companion resume --max-calls 4", Some(&dir));
        assert_eq!(told, r"loop-companion -C 'it'\''s here' resume --max-calls 4");
        assert_eq!(in_dir("loop-companion resume", None), "loop-companion resume");
        assert_eq!(in_dir("git diff", Some(&dir)), "git diff");
    }
}
