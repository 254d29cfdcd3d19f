//! Whether a reviewer's commands were all stopped by the sandbox: then it has seen nothing, whatever it answers.

use serde_json::Value;

/// What the sandbox's own failures say, in small letters: bubblewrap, Landlock and seccomp on Linux, Seatbelt on
/// macOS.
const SIGNS: [&str; 9] = [
    "bwrap:",
    "bubblewrap",
    "creating new namespace",
    "failed rtm_newaddr",
    "landlock",
    "seccomp",
    "sandbox_apply",
    "sandbox-exec:",
    "codex-linux-sandbox",
];

/// Returns what the sandbox said where Codex tried to run commands and not one of them ran; `None` where one did, or
/// none was tried.
pub fn blinded(events: &[u8]) -> Option<String> {
    let mut said = None;
    for line in events.split(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { continue };
        let item = &event["item"];
        if event["type"] != "item.completed" || item["type"] != "command_execution" {
            continue;
        }
        let output = item["aggregated_output"].as_str().unwrap_or_default();
        let folded = output.to_lowercase();
        let failed = item["exit_code"].as_i64() != Some(0);
        if !(failed && SIGNS.iter().any(|sign| folded.contains(sign))) {
            return None;
        }
        said.get_or_insert_with(|| output.lines().next().unwrap_or_default().chars().take(200).collect());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(exit: i64, output: &str) -> String {
        serde_json::json!({"type": "item.completed", "item": {
            "type": "command_execution", "command": "cat x", "exit_code": exit, "aggregated_output": output}})
        .to_string()
            + "\n"
    }

    #[test]
    fn one_command_that_ran_is_enough_to_have_looked() {
        let blocked = event(1, "bwrap: No permissions to create new namespace\nmore");
        let failed = event(1, "grep: nothing");
        let ran = event(0, "text");
        let said = Some("bwrap: No permissions to create new namespace".to_owned());
        assert_eq!(blinded(blocked.as_bytes()), said);
        assert_eq!(blinded(format!("{blocked}noise\n{blocked}").as_bytes()), said);
        for log in
            [format!("{blocked}{ran}"), format!("{ran}{blocked}"), failed.clone(), blocked + &failed, String::new()]
        {
            assert_eq!(blinded(log.as_bytes()), None, "{log}");
        }
    }
}
