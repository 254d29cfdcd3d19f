//! What the scripted model answers: texts, tool calls and every fault a real service shows.
//!
//! It only describes and sends an answer; which one fits is the model function's choice.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{error_body, http, lock};

/// How often a held or hanging answer looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// A door that answers can wait at. Clones are the same door.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Makes a closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for good.
    pub fn release(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open or `gone` says that nobody wants the answer any more. Returns whether it opened.
    fn wait(&self, gone: &dyn Fn() -> bool) -> bool {
        let mut open = lock(&self.0.0);
        while !*open {
            if gone() {
                return false;
            }
            open = self.0.1.wait_timeout(open, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Tokens that an answer claims to have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All tokens of the request.
    pub input: u64,
    /// Those of them that came from the cache.
    pub cached: u64,
    /// All tokens of the answer.
    pub output: u64,
    /// Those of them spent on reasoning.
    pub reasoning: u64,
}

/// How a stream ends.
#[derive(Debug, Clone)]
enum End {
    Completed,
    Failed {
        code: String,
        message: String,
    },
    Incomplete {
        reason: String,
    },
    /// The connection is closed in the middle of a chunked answer.
    Cut,
    /// Nothing more comes, the connection stays open.
    Silence,
    /// Letters of the text, one at a time for ever, with this pause between them.
    Drip(Duration),
}

#[derive(Debug, Clone)]
enum Kind {
    Stream {
        items: Vec<Value>,
        partial: Option<String>,
        end: End,
    },
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// A whole event stream of this text, whatever it holds.
    Raw(String),
    /// Not one byte, the connection stays open.
    NoBytes,
    /// A TCP reset.
    Reset,
}

/// One answer of the scripted model.
#[derive(Debug, Clone)]
pub struct Reply {
    kind: Kind,
    usage: Option<Usage>,
    gate: Option<Gate>,
}

impl Reply {
    fn of(kind: Kind) -> Self {
        Self { kind, usage: None, gate: None }
    }

    fn stream(items: Vec<Value>, end: End) -> Self {
        Self::of(Kind::Stream { items, partial: None, end })
    }

    /// An answer of this text.
    pub fn message(text: impl Into<String>) -> Self {
        let content = json!([{"type": "output_text", "text": text.into(), "annotations": []}]);
        Self::stream(
            vec![json!({"type": "message", "role": "assistant", "status": "completed", "content": content})],
            End::Completed,
        )
    }

    /// An answer of this value as JSON.
    pub fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) => Self::message(text),
            Err(error) => Self::status(500, error_body("script", &error.to_string(), "server_error", None)),
        }
    }

    /// A message that refuses to answer.
    pub fn refusal(text: impl Into<String>) -> Self {
        let content = json!([{"type": "refusal", "refusal": text.into()}]);
        Self::stream(
            vec![json!({"type": "message", "role": "assistant", "status": "completed", "content": content})],
            End::Completed,
        )
    }

    /// A completed answer without any output.
    pub fn empty() -> Self {
        Self::stream(Vec::new(), End::Completed)
    }

    /// A call of a function tool; Codex runs it and asks again with its output.
    pub fn function_call(name: &str, arguments: &Value) -> Self {
        Self::stream(
            vec![json!({"type": "function_call", "name": name, "arguments": arguments.to_string()})],
            End::Completed,
        )
    }

    /// A call of a tool of an MCP server.
    pub fn mcp_call(server: &str, tool: &str, arguments: &Value) -> Self {
        let namespace = format!("mcp__{server}");
        Self::stream(
            vec![
                json!({"type": "function_call", "namespace": namespace, "name": tool, "arguments": arguments.to_string()}),
            ],
            End::Completed,
        )
    }

    /// A call of Codex's own shell tool.
    pub fn exec_command(command: &str) -> Self {
        Self::function_call("exec_command", &json!({"cmd": command}))
    }

    /// A call of a tool that takes plain text, for example `exec` of the models that write their calls as code.
    pub fn custom_call(name: &str, input: &str) -> Self {
        Self::stream(vec![json!({"type": "custom_tool_call", "name": name, "input": input})], End::Completed)
    }

    /// An HTTP answer with this status and JSON body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self::of(Kind::Status { status, headers, body: body.into() })
    }

    /// An HTTP answer with an error in the service's shape.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(status, error_body(code, message, code, None))
    }

    /// Status 401 as for a wrong key.
    pub fn unauthorized() -> Self {
        Self::error(401, "invalid_api_key", "Incorrect API key provided.")
    }

    /// Status 429, with `retry-after` in seconds where given.
    pub fn rate_limited(retry_after_s: Option<u64>) -> Self {
        let reply = Self::error(429, "rate_limit_exceeded", "Rate limit reached.");
        match retry_after_s {
            Some(seconds) => reply.with_header("retry-after", &seconds.to_string()),
            None => reply,
        }
    }

    /// A stream that ends with `response.failed`.
    pub fn failed(code: &str, message: &str) -> Self {
        Self::stream(Vec::new(), End::Failed { code: code.into(), message: message.into() })
    }

    /// An answer that was cut short by the service, for example for `max_output_tokens`, after this much text.
    pub fn incomplete(reason: &str, text: &str) -> Self {
        let mut reply = Self::message(text);
        reply.end_with(End::Incomplete { reason: reason.into() });
        reply
    }

    /// Not one byte in answer; the connection stays open until the other side or the server ends.
    pub fn hang() -> Self {
        Self::of(Kind::NoBytes)
    }

    /// The beginning of a text, then silence on an open connection.
    pub fn hang_after(partial: impl Into<String>) -> Self {
        Self::of(Kind::Stream { items: Vec::new(), partial: Some(partial.into()), end: End::Silence })
    }

    /// The beginning of a text, then the end of the connection.
    pub fn cut_after(partial: impl Into<String>) -> Self {
        Self::of(Kind::Stream { items: Vec::new(), partial: Some(partial.into()), end: End::Cut })
    }

    /// A stream that begins and ends there, with nothing in it.
    pub fn cut() -> Self {
        Self::stream(Vec::new(), End::Cut)
    }

    /// A text that comes a letter at a time and never ends.
    pub fn drip(pause: Duration) -> Self {
        Self::of(Kind::Stream { items: Vec::new(), partial: Some(String::new()), end: End::Drip(pause) })
    }

    /// An answer with status 200 whose event stream is this text: none, or one that no service would send.
    pub fn raw_stream(text: impl Into<String>) -> Self {
        Self::of(Kind::Raw(text.into()))
    }

    /// An HTTP answer of this content type.
    pub fn typed(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self::of(Kind::Status { status, headers, body: body.into() })
    }

    /// A TCP reset instead of an answer.
    pub fn reset() -> Self {
        Self::of(Kind::Reset)
    }

    /// Adds a reasoning item with this summary in front of what the answer holds.
    #[must_use]
    pub fn with_reasoning(mut self, summary: &str) -> Self {
        if let Kind::Stream { items, .. } = &mut self.kind {
            let summary = json!([{"type": "summary_text", "text": summary}]);
            items.insert(
                0,
                json!({"type": "reasoning", "summary": summary, "content": null, "encrypted_content": null}),
            );
        }
        self
    }

    /// Adds the items of another answer in front of this one's: a message before a tool call, several calls at once.
    #[must_use]
    pub fn preceded_by(mut self, first: Self) -> Self {
        if let (Kind::Stream { items, .. }, Kind::Stream { items: before, .. }) = (&mut self.kind, first.kind) {
            items.splice(0..0, before);
        }
        self
    }

    /// Sets the tokens the answer claims; without it they are estimated from its length and that of the request.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Adds a header to an answer made by [`Reply::status`] or a shorthand of it.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Kind::Status { headers, .. } = &mut self.kind {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Ends the connection after what the answer holds, instead of completing it.
    #[must_use]
    pub fn then_cut(mut self) -> Self {
        self.end_with(End::Cut);
        self
    }

    /// Holds the answer, before its first byte, until the gate is released.
    #[must_use]
    pub fn after(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    fn end_with(&mut self, new: End) {
        if let Kind::Stream { end, .. } = &mut self.kind {
            *end = new;
        }
    }

    /// Sends the answer to request `number`. Returns whether the connection can take another request.
    pub(super) fn send(
        self,
        stream: &TcpStream,
        request: http::Request,
        number: usize,
        ended: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let asked = request.body.len() as u64;
        if matches!(self.kind, Kind::Reset) {
            // The unread byte of the request turns the coming close into a reset. It also hides whether the other side
            // has left, so a held reset watches for the server's end only.
            if let Some(gate) = &self.gate {
                gate.wait(ended);
            }
            return Ok(false);
        }
        request.finish(stream)?;
        let gone = || ended() || left(stream);
        if let Some(gate) = &self.gate
            && !gate.wait(&gone)
        {
            return Ok(false);
        }
        match self.kind {
            Kind::Status { status, headers, body } => {
                http::write(stream, status, &headers, &body)?;
                Ok(true)
            }
            Kind::NoBytes => {
                Gate::new().wait(&gone);
                Ok(false)
            }
            Kind::Reset => Ok(false),
            Kind::Raw(text) => {
                http::begin_stream(stream)?;
                if !text.is_empty() {
                    http::chunk(stream, &text)?;
                }
                http::chunk(stream, "")?;
                Ok(true)
            }
            Kind::Stream { items, partial, end } => {
                http::begin_stream(stream)?;
                let usage = self.usage.unwrap_or_else(|| estimate(asked, &items));
                send_stream(stream, number, items, partial, &end, usage)?;
                match end {
                    End::Completed | End::Failed { .. } | End::Incomplete { .. } => {
                        http::chunk(stream, "")?;
                        Ok(true)
                    }
                    End::Cut => {
                        let _ = stream.shutdown(Shutdown::Both);
                        Ok(false)
                    }
                    End::Silence => {
                        Gate::new().wait(&gone);
                        Ok(false)
                    }
                    End::Drip(pause) => {
                        while !gone() {
                            send_delta(stream, &format!("item_{number}_partial"), "x")?;
                            std::thread::sleep(pause);
                        }
                        Ok(false)
                    }
                }
            }
        }
    }
}

/// Four bytes a token: near enough for budgets to move as with a real model.
fn estimate(asked: u64, items: &[Value]) -> Usage {
    let output = items.iter().map(|item| item.to_string().len() as u64).sum::<u64>() / 4;
    Usage { input: asked / 4, cached: 0, output, reasoning: 0 }
}

fn send_stream(
    stream: &TcpStream,
    number: usize,
    items: Vec<Value>,
    partial: Option<String>,
    end: &End,
    usage: Usage,
) -> Result<()> {
    let id = format!("resp_{number}");
    let event = |mut data: Value, kind: &str| {
        data["type"] = kind.into();
        http::chunk(stream, &format!("event: {kind}\ndata: {data}\n\n"))
    };
    event(json!({"response": {"id": id, "status": "in_progress"}}), "response.created")?;
    for (index, mut item) in items.into_iter().enumerate() {
        item["id"] = format!("item_{number}_{index}").into();
        if item["type"].as_str().is_some_and(|kind| kind.ends_with("_call")) {
            item["call_id"] = format!("call_{number}_{index}").into();
        }
        event(json!({"output_index": index, "item": item}), "response.output_item.done")?;
    }
    if let Some(text) = partial {
        let id = format!("item_{number}_partial");
        let item = json!({"type": "message", "role": "assistant", "id": id, "status": "in_progress", "content": []});
        event(json!({"output_index": 0, "item": item}), "response.output_item.added")?;
        send_delta(stream, &id, &text)?;
    }
    match end {
        End::Completed => {
            let usage = json!({
                "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
                "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.input + usage.output,
            });
            event(
                json!({"response": {"id": id, "status": "completed", "output": [], "usage": usage}}),
                "response.completed",
            )
        }
        End::Failed { code, message } => {
            let error = json!({"code": code, "message": message});
            event(json!({"response": {"id": id, "status": "failed", "error": error}}), "response.failed")
        }
        End::Incomplete { reason } => {
            let details = json!({"reason": reason});
            event(
                json!({"response": {"id": id, "status": "incomplete", "incomplete_details": details}}),
                "response.incomplete",
            )
        }
        End::Cut | End::Silence | End::Drip(_) => Ok(()),
    }
}

/// Sends a part of a text.
fn send_delta(stream: &TcpStream, item: &str, text: &str) -> Result<()> {
    let kind = "response.output_text.delta";
    let delta = json!({"type": kind, "item_id": item, "output_index": 0, "content_index": 0, "delta": text});
    http::chunk(stream, &format!("event: {kind}\ndata: {delta}\n\n"))
}

/// Says whether the other side has closed the connection. Bytes of a next request do not count as leaving.
fn left(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let seen = stream.peek(&mut [0]);
    if stream.set_nonblocking(false).is_err() {
        return true;
    }
    match seen {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
