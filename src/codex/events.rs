//! The event stream of `codex exec --json`: bytes in, typed events out.
//!
//! It never fails: what is not an event is passed on as noise, so that one broken line does not lose an answer that
//! was paid for. It keeps no more than one line in memory and never judges what an event means for the call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest line that is read. Final messages of 3 MB come through in one line and a command's output is capped at
/// 1 MiB by Codex, so a longer line is garbage; it is dropped up to its end.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// How often an event is looked for in a line that is not JSON as a whole. Each try costs a scan of the line's rest.
const MAX_RESCUES_PER_LINE: usize = 16;

/// Length of the excerpt kept of a line that is no event, in characters.
const NOISE_CHARS: usize = 200;

/// What Codex sends beside the prompt, its instructions and tools, in characters: measured as 38 kB with 0.169.
pub const REQUEST_OVERHEAD_CHARS: usize = 38_000;

/// Tokens of a call.
///
/// Codex names the sum over all requests of a thread so far. Every call is a thread of its own, never a resumed one, so
/// that sum is the call's share and nothing has to be taken off it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens sent, the cached ones included.
    pub input: u64,
    /// Those of `input` that the provider had cached.
    pub cached_input: u64,
    /// Tokens generated, the reasoning ones included.
    pub output: u64,
    /// Those of `output` that were reasoning.
    pub reasoning: u64,
    /// Whether these are our own estimate, Codex having named none.
    pub estimated: bool,
}

impl Usage {
    /// Adds another call's tokens.
    pub fn add(&mut self, other: &Self) {
        // A provider's figures can be anything; a sum that began anew at zero would pass every budget.
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.estimated |= other.estimated;
    }

    /// Returns input plus output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Returns an estimate at four characters a token, what English and code come to on average. Every command that
    /// Codex ran means one more request, which carries the prompt again, with Codex's own words round it.
    pub fn estimate(prompt_chars: usize, answer_chars: usize, commands: usize) -> Self {
        let tokens = |chars: usize| chars.div_ceil(4) as u64;
        let request = tokens(prompt_chars.saturating_add(REQUEST_OVERHEAD_CHARS));
        let input = request.saturating_mul(commands as u64 + 1);
        Self { input, output: tokens(answer_chars), estimated: true, ..Self::default() }
    }
}

/// How far an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Started,
    Updated,
    Completed,
}

/// One thing Codex did in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Text for the caller; the last one of a turn is the answer.
    AgentMessage { text: String },
    /// A summary of what the model thought.
    Reasoning { text: String },
    /// A command in the sandbox; `exit_code` is `None` while it runs.
    Command { command: String, exit_code: Option<i64> },
    /// Files changed through the patch tool.
    FileChange { paths: Vec<String> },
    /// A call of an MCP tool.
    McpTool { server: String, tool: String },
    /// A search of the web.
    WebSearch { query: String },
    /// The model's own list: done, and all.
    TodoList { done: usize, total: usize },
    /// A warning; the turn goes on.
    Warning { message: String },
    /// A kind this version does not know.
    Other { kind: String },
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    ThreadStarted {
        id: String,
    },
    TurnStarted,
    /// The turn ended well. `None`: no tokens were named.
    TurnCompleted {
        usage: Option<Usage>,
    },
    TurnFailed {
        message: String,
    },
    Item {
        phase: Phase,
        item: Item,
    },
    /// A problem that Codex may still get over by itself.
    Error {
        message: String,
    },
    /// A kind this version does not know.
    Other {
        kind: String,
    },
    /// A line, or part of one, that is no event.
    Noise {
        excerpt: String,
    },
}

/// Cuts the stream into events.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    /// The line has become too long and is being dropped up to its end.
    dropping: bool,
}

impl EventParser {
    /// Returns a parser at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and returns the events they complete.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end], &mut events);
            self.end_line(&mut events);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes, &mut events);
        events
    }

    /// Takes the stream's end as the end of its last line and returns the events in it.
    pub fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.end_line(&mut events);
        events
    }

    fn keep(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        if self.dropping {
            return;
        }
        if self.line.len() + bytes.len() > MAX_LINE_BYTES {
            self.dropping = true;
            events.push(noise(&self.line));
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        if !std::mem::take(&mut self.dropping) {
            read_line(&self.line, events);
        }
        self.line.clear();
    }
}

/// How every event begins.
const MARK: &[u8] = br#"{"type":"#;

/// Reads one line: an event, several run together, or an event with something else before or after it.
fn read_line(line: &[u8], events: &mut Vec<Event>) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    if let Some(event) = serde_json::from_slice(line).ok().and_then(|value| event(&value)) {
        events.push(event);
        return;
    }
    let mut rest = line;
    let mut found = false;
    for _ in 0..MAX_RESCUES_PER_LINE {
        let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) else { break };
        rest = &rest[at..];
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                let end = stream.byte_offset();
                if let Some(event) = event(&value) {
                    found = true;
                    events.push(event);
                }
                rest = &rest[end..];
            }
            _ => rest = &rest[MARK.len()..],
        }
    }
    if !found {
        events.push(noise(line));
    }
}

fn noise(line: &[u8]) -> Event {
    // Four bytes are the most a character takes.
    let start = &line[..line.len().min(NOISE_CHARS * 4)];
    Event::Noise { excerpt: String::from_utf8_lossy(start).chars().take(NOISE_CHARS).collect() }
}

/// Returns the text at a key, or the empty string.
fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns `None` for JSON that has no `type`.
fn event(value: &Value) -> Option<Event> {
    let kind = value.get("type")?.as_str()?;
    let item = |phase| Event::Item { phase, item: item(value.get("item").unwrap_or(&Value::Null)) };
    Some(match kind {
        "thread.started" => Event::ThreadStarted { id: text(value, "thread_id") },
        "turn.started" => Event::TurnStarted,
        "turn.completed" => Event::TurnCompleted { usage: value.get("usage").and_then(usage) },
        "turn.failed" => Event::TurnFailed { message: text(value.get("error").unwrap_or(value), "message") },
        "item.started" => item(Phase::Started),
        "item.updated" => item(Phase::Updated),
        "item.completed" => item(Phase::Completed),
        "error" => Event::Error { message: text(value, "message") },
        other => Event::Other { kind: other.chars().take(NOISE_CHARS).collect() },
    })
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    let input = count("input_tokens")?;
    let output = count("output_tokens")?;
    // All zero is what Codex reports when the provider named nothing: no call is free.
    (input + output > 0).then(|| Usage {
        input,
        cached_input: count("cached_input_tokens").unwrap_or_default(),
        output,
        reasoning: count("reasoning_output_tokens").unwrap_or_default(),
        estimated: false,
    })
}

fn item(value: &Value) -> Item {
    let list = |key: &str| value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match value.get("type").and_then(Value::as_str).unwrap_or_default() {
        "agent_message" => Item::AgentMessage { text: text(value, "text") },
        "reasoning" => Item::Reasoning { text: text(value, "text") },
        "command_execution" => {
            Item::Command { command: text(value, "command"), exit_code: value.get("exit_code").and_then(Value::as_i64) }
        }
        "file_change" => {
            Item::FileChange { paths: list("changes").iter().map(|change| text(change, "path")).collect() }
        }
        "mcp_tool_call" => Item::McpTool { server: text(value, "server"), tool: text(value, "tool") },
        "web_search" => Item::WebSearch { query: text(value, "query") },
        "todo_list" => {
            let items = list("items");
            let done = items.iter().filter(|item| item.get("completed").and_then(Value::as_bool) == Some(true));
            Item::TodoList { done: done.count(), total: items.len() }
        }
        "error" => Item::Warning { message: text(value, "message") },
        other => Item::Other { kind: other.chars().take(NOISE_CHARS).collect() },
    }
}

/// Returns in one short line what Codex is doing, or `None` where an event says nothing about that.
pub fn activity(event: &Event) -> Option<String> {
    let line = match event {
        Event::TurnStarted => "thinking".to_owned(),
        Event::Error { message } => message.clone(),
        Event::Item { phase, item } => match item {
            Item::AgentMessage { .. } => "writing the answer".to_owned(),
            Item::Reasoning { text } => format!("thinking: {}", text.trim_start_matches(['*', '#', ' '])),
            Item::Command { command, .. } if *phase == Phase::Started => format!("running {}", bare_command(command)),
            Item::Command { .. } | Item::Other { .. } => return None,
            Item::FileChange { paths } => format!("editing {}", paths.join(", ")),
            Item::McpTool { server, tool } => format!("calling {server}/{tool}"),
            Item::WebSearch { query } => format!("searching the web: {query}"),
            Item::TodoList { done, total } => format!("{done} of {total} steps done"),
            Item::Warning { message } => format!("warning: {message}"),
        },
        _ => return None,
    };
    Some(one_line(&line, 100))
}

/// Codex wraps each command in a login shell, which says nothing to a reader.
fn bare_command(command: &str) -> &str {
    let inner = ["/bin/bash -lc ", "bash -lc ", "/bin/zsh -lc ", "/bin/sh -lc "];
    let inner = inner.iter().find_map(|prefix| command.strip_prefix(prefix));
    inner.map_or(command, |inner| inner.trim_matches(['\'', '"']))
}

/// Folds a text into one line of at most `limit` characters. Control characters, which could steer a terminal, go.
fn one_line(text: &str, limit: usize) -> String {
    // More than enough for the line wanted, however long the text.
    let start: String = text.chars().take(limit * 8).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let folded = start.split_whitespace().collect::<Vec<_>>().join(" ");
    if folded.chars().count() <= limit {
        return folded;
    }
    folded.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<Event> {
        let mut parser = EventParser::new();
        let mut events = parser.push(text.as_bytes());
        events.extend(parser.finish());
        events
    }

    fn message(text: &str) -> Event {
        Event::Item { phase: Phase::Completed, item: Item::AgentMessage { text: text.to_owned() } }
    }

    const STREAM: &str = r#"{"type":"thread.started","thread_id":"t1"}
{"type":"turn.started"}
{"type":"error","message":"Reconnecting... 1/5 (stream disconnected)"}
{"type":"item.started","item":{"id":"item_0","type":"command_execution","command":"/bin/bash -lc 'cat a.txt'","aggregated_output":"","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_0","type":"command_execution","command":"/bin/bash -lc 'cat a.txt'","aggregated_output":"x","exit_code":0,"status":"completed"}}
{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"{\"a\":1}"}}
{"type":"turn.completed","usage":{"input_tokens":120,"cached_input_tokens":100,"cache_write_input_tokens":0,"output_tokens":30,"reasoning_output_tokens":20}}
"#;

    fn stream_events() -> Vec<Event> {
        let command = |phase, exit_code| Event::Item {
            phase,
            item: Item::Command { command: "/bin/bash -lc 'cat a.txt'".to_owned(), exit_code },
        };
        vec![
            Event::ThreadStarted { id: "t1".to_owned() },
            Event::TurnStarted,
            Event::Error { message: "Reconnecting... 1/5 (stream disconnected)".to_owned() },
            command(Phase::Started, None),
            command(Phase::Completed, Some(0)),
            message("{\"a\":1}"),
            Event::TurnCompleted {
                usage: Some(Usage { input: 120, cached_input: 100, output: 30, reasoning: 20, estimated: false }),
            },
        ]
    }

    #[test]
    fn a_whole_stream_is_read() {
        assert_eq!(all(STREAM), stream_events());
    }

    #[test]
    fn an_unfinished_last_line_counts_at_the_end_only() {
        let mut parser = EventParser::new();
        assert_eq!(parser.push(br#"{"type":"turn.started"}"#), []);
        assert_eq!(parser.finish(), [Event::TurnStarted]);
        assert_eq!(parser.finish(), []);
    }

    #[test]
    fn a_message_of_four_megabytes_comes_through() {
        let text = "é".repeat(2_000_000);
        let line = serde_json::json!({"type": "item.completed", "item": {"type": "agent_message", "text": text}});
        assert_eq!(all(&format!("{line}\n")), [message(&text)]);
    }

    #[test]
    fn a_line_beyond_all_measure_is_dropped_and_the_next_one_read() {
        let mut parser = EventParser::new();
        let chunk = vec![b'x'; 1 << 20];
        let mut events = Vec::new();
        for _ in 0..40 {
            events.extend(parser.push(&chunk));
            assert!(parser.line.len() <= MAX_LINE_BYTES);
        }
        assert_eq!(events.len(), 1);
        assert_eq!(parser.push(b"\n{\"type\":\"turn.started\"}\n"), [Event::TurnStarted]);
    }

    #[test]
    fn events_run_together_or_mixed_with_other_text_are_found() {
        let line = r#"warning: {odd} {"type":"turn.started"}{"type":"error","message":"m"} tail"#;
        assert_eq!(all(line), [Event::TurnStarted, Event::Error { message: "m".to_owned() }]);
        let cut = r#"{"type":"item.completed","item":{"type":"agent_mess{"type":"turn.started"}"#;
        assert_eq!(all(cut), [Event::TurnStarted]);
    }

    #[test]
    fn what_is_no_event_is_noise() {
        for line in ["hello", "[1,2]", "{}", r#"{"type":5}"#, "{\"type\":"] {
            assert!(matches!(all(line).as_slice(), [Event::Noise { .. }]), "{line}");
        }
    }

    #[test]
    fn missing_fields_and_unknown_kinds_do_no_harm() {
        assert_eq!(all(r#"{"type":"turn.failed"}"#), [Event::TurnFailed { message: String::new() }]);
        assert_eq!(all(r#"{"type":"turn.completed"}"#), [Event::TurnCompleted { usage: None }]);
        assert_eq!(all(r#"{"type":"new.kind"}"#), [Event::Other { kind: "new.kind".to_owned() }]);
        assert_eq!(
            all(r#"{"type":"item.completed"}"#),
            [Event::Item { phase: Phase::Completed, item: Item::Other { kind: String::new() } }]
        );
        let zeros = r#"{"type":"turn.completed","usage":{"input_tokens":0,"output_tokens":0}}"#;
        assert_eq!(all(zeros), [Event::TurnCompleted { usage: None }]);
    }

    #[test]
    fn the_activity_is_one_short_line_without_control_characters() {
        let lines: Vec<String> = stream_events().iter().filter_map(activity).collect();
        assert_eq!(
            lines,
            ["thinking", "Reconnecting... 1/5 (stream disconnected)", "running cat a.txt", "writing the answer"]
        );
        let long = Event::Error { message: format!("a\x1b[31m\n{}", "b".repeat(5000)) };
        let line = activity(&long).unwrap();
        assert_eq!(line.chars().count(), 100);
        assert!(!line.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cut in 0_usize..2000) {
            let mut parser = EventParser::new();
            let cut = cut.min(bytes.len());
            let mut events = parser.push(&bytes[..cut]);
            events.extend(parser.push(&bytes[cut..]));
            events.extend(parser.finish());
            for event in &events {
                let _ = activity(event);
            }
        }

        #[test]
        fn the_cuts_between_pushes_change_nothing(cuts in proptest::collection::vec(0_usize..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = EventParser::new();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&STREAM.as_bytes()[pair[0]..pair[1]]));
            }
            events.extend(parser.finish());
            prop_assert_eq!(events, stream_events());
        }

        #[test]
        fn damaged_streams_never_panic(at in 0_usize..STREAM.len(), with in any::<u8>()) {
            let mut bytes = STREAM.as_bytes().to_vec();
            bytes[at] = with;
            let mut parser = EventParser::new();
            let mut events = parser.push(&bytes);
            events.extend(parser.finish());
            // One byte damages at most two lines (a line feed lost joins two), and never the others.
            let kept = events.iter().filter(|event| !matches!(event, Event::Noise { .. })).count();
            prop_assert!(kept >= 5);
        }
    }
}
