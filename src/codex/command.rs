//! The command line of one call of `codex exec`. Pure: it starts nothing and reads nothing.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the commands that Codex runs may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only: every judging step.
    ReadOnly,
    /// Write in the call's folder: a proposal made by editing a worktree of its own.
    WriteFolder,
    /// The same, with the temporary folders shut: for where something that is not the agent's lies in one.
    WriteFolderAlone,
}

/// What goes into the command line.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The Codex executable.
    pub program: PathBuf,
    /// The folder Codex works in.
    pub dir: PathBuf,
    /// The file with the answer's schema, or `None` for free text.
    pub schema: Option<PathBuf>,
    pub access: Access,
    /// `None`: Codex's own default.
    pub model: Option<String>,
    /// Reasoning effort. `None`: Codex's own default.
    pub effort: Option<String>,
    /// One of the user's configuration profiles.
    pub profile: Option<String>,
    /// Folders whose own Codex settings do not count, whether or not the user has trusted them in Codex: those the
    /// call's folder lies in, and the repository it is a work tree of.
    pub untrusted: Vec<PathBuf>,
    /// The user's MCP servers that are kept out of the call.
    pub mcp_off: Vec<String>,
    /// Features to switch off besides [`FEATURES_OFF`].
    pub features_off: Vec<String>,
}

/// Features of the user's set-up that could change what a call sees or does; and the endless waiting for a network,
/// which ends nowhere near a time limit.
pub const FEATURES_OFF: [&str; 3] = ["plugins", "hooks", "unbounded_connection_retries"];

/// Variables of every Codex process. Outside of its sandbox Codex asks git about its folder, and git would run the
/// filters and monitors that the repository's settings name; so its own git finds no repository. The commands of a
/// model do not see these variables.
pub const GIT_NOWHERE: [(&str, &str); 1] = [("GIT_DIR", "/dev/null")];

/// Returns these variables, with those of every Codex process before them.
pub fn environment(more: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let own = GIT_NOWHERE.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    own.chain(more.iter().cloned()).collect()
}

/// Returns the command line; the prompt is read from standard input.
pub fn argv(arguments: &Arguments) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![arguments.program.clone().into()];
    let mut push = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
    push(&["exec", "--json", "--ephemeral", "--skip-git-repo-check"]);
    push(&[
        "-s",
        match arguments.access {
            Access::ReadOnly => "read-only",
            Access::WriteFolder | Access::WriteFolderAlone => "workspace-write",
        },
    ]);
    if arguments.access == Access::WriteFolderAlone {
        push(&["-c", "sandbox_workspace_write.exclude_slash_tmp=true"]);
        push(&["-c", "sandbox_workspace_write.exclude_tmpdir_env_var=true"]);
    }
    for feature in FEATURES_OFF.into_iter().chain(arguments.features_off.iter().map(String::as_str)) {
        push(&["--disable", feature]);
    }
    if let Some(effort) = &arguments.effort {
        push(&["-c", &format!("model_reasoning_effort={}", toml_string(effort))]);
    }
    // The parent's variables hold keys; the commands of a model need none of them.
    push(&["-c", "shell_environment_policy.inherit=\"core\""]);
    // The repository's AGENTS.md is what proposals may change: it is shown as data, never obeyed.
    push(&["-c", "project_doc_max_bytes=0"]);
    // Skills lie in the repository too, and their descriptions would stand among the instructions.
    push(&["-c", "skills.include_instructions=false"]);
    if let Some(projects) = untrusted(&arguments.untrusted) {
        push(&["-c", &projects]);
    }
    for name in &arguments.mcp_off {
        push(&["-c", &mcp_server_off(name)]);
    }
    if let Some(model) = &arguments.model {
        push(&["-m", model]);
    }
    if let Some(profile) = &arguments.profile {
        push(&["-p", profile]);
    }
    if let Some(schema) = &arguments.schema {
        argv.push("--output-schema".into());
        argv.push(schema.clone().into());
    }
    argv.push("-C".into());
    argv.push(arguments.dir.clone().into());
    argv.push("-".into());
    argv
}

/// Returns the override by which Codex reads no settings, rules or hooks from these folders.
pub(super) fn untrusted(folders: &[PathBuf]) -> Option<String> {
    let entries: Vec<String> = folders
        .iter()
        .filter_map(|folder| Some(format!("{}={{trust_level=\"untrusted\"}}", toml_string(folder.to_str()?))))
        .collect();
    (!entries.is_empty()).then(|| format!("projects={{{}}}", entries.join(",")))
}

/// Returns the override that switches one MCP server off.
///
/// Codex splits the key at every full stop and knows no quotes in it, so any but a simple name goes into the value,
/// which it merges with the rest of the table.
fn mcp_server_off(name: &str) -> String {
    let simple = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if simple {
        format!("mcp_servers.{name}.enabled=false")
    } else {
        format!("mcp_servers={{{}={{enabled=false}}}}", toml_string(name))
    }
}

/// Writes a text as a TOML basic string.
pub(crate) fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            program: "/opt/codex".into(),
            dir: "/repo dir".into(),
            schema: Some("/run/schema.json".into()),
            access: Access::ReadOnly,
            model: Some("gpt-x".to_owned()),
            effort: Some("xhigh".to_owned()),
            profile: Some("work".to_owned()),
            untrusted: vec!["/repo dir".into(), "/".into()],
            mcp_off: vec!["docs".to_owned(), "a.b".to_owned()],
            features_off: Vec::new(),
        }
    }

    fn words(arguments: &Arguments) -> Vec<String> {
        argv(arguments).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_full_call_has_exactly_these_words() {
        let wanted = [
            "/opt/codex",
            "exec",
            "--json",
            "--ephemeral",
            "--skip-git-repo-check",
            "-s",
            "read-only",
            "--disable",
            "plugins",
            "--disable",
            "hooks",
            "--disable",
            "unbounded_connection_retries",
            "-c",
            "model_reasoning_effort=\"xhigh\"",
            "-c",
            "shell_environment_policy.inherit=\"core\"",
            "-c",
            "project_doc_max_bytes=0",
            "-c",
            "skills.include_instructions=false",
            "-c",
            "projects={\"/repo dir\"={trust_level=\"untrusted\"},\"/\"={trust_level=\"untrusted\"}}",
            "-c",
            "mcp_servers.docs.enabled=false",
            "-c",
            "mcp_servers={\"a.b\"={enabled=false}}",
            "-m",
            "gpt-x",
            "-p",
            "work",
            "--output-schema",
            "/run/schema.json",
            "-C",
            "/repo dir",
            "-",
        ];
        assert_eq!(words(&arguments()), wanted);
    }

    #[test]
    fn what_is_not_set_is_left_to_codex() {
        let bare = Arguments {
            schema: None,
            model: None,
            effort: None,
            profile: None,
            mcp_off: Vec::new(),
            access: Access::WriteFolder,
            ..arguments()
        };
        let words = words(&bare);
        for absent in ["-m", "-p", "--output-schema", "read-only"] {
            assert!(!words.iter().any(|word| word == absent), "{absent}");
        }
        assert!(words.iter().any(|word| word == "workspace-write"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives_as_a_toml_string(text in "\\PC*|[\\x00-\\x7f\"\\\\]{0,20}") {
            let table: toml::Table = format!("x = {}", toml_string(&text)).parse().unwrap();
            proptest::prop_assert_eq!(table["x"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_server_name_makes_a_valid_override(name in "\\PC{1,20}") {
            let text = mcp_server_off(&name);
            let table: toml::Table = text.parse().unwrap();
            proptest::prop_assert_eq!(table["mcp_servers"][&name]["enabled"].as_bool(), Some(false));
        }
    }
}
