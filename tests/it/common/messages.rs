//! The model behind Claude Code: a Messages endpoint on loopback that answers by script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// What the model says.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// A text that ends the turn.
    Text(String),
    /// A call of a tool.
    Tool { name: String, input: Value },
}

impl Turn {
    /// A command for the Bash tool.
    pub(crate) fn bash(command: &str) -> Self {
        Self::Tool { name: "Bash".into(), input: json!({"command": command, "description": "Run it"}) }
    }
}

/// A request that carries tools: a turn of the conversation, not a helper's question.
#[derive(Debug, Clone)]
pub(crate) struct TurnRequest {
    pub(crate) body: Value,
    /// Counted from 0.
    pub(crate) number: usize,
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        Value::Array(parts) => parts
            .iter()
            .flat_map(|part| match part["type"].as_str() {
                Some("text") => part["text"].as_str().map(String::from).into_iter().collect(),
                Some("tool_result") => texts(&part["content"]),
                _ => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

impl TurnRequest {
    /// The text of all user messages, tool results among them.
    pub(crate) fn user_text(&self) -> String {
        let messages = self.body["messages"].as_array().into_iter().flatten();
        let user = messages.filter(|message| message["role"] != "assistant");
        user.flat_map(|message| texts(&message["content"])).collect::<Vec<_>>().join("\n")
    }

    /// What the newest tool call gave, or nothing.
    pub(crate) fn tool_result(&self) -> Option<String> {
        let messages = self.body["messages"].as_array()?;
        let parts = messages.iter().rev().filter_map(|message| message["content"].as_array());
        let result = parts.flatten().find(|part| part["type"] == "tool_result")?;
        Some(texts(&result["content"]).join("\n"))
    }
}

type Model = Box<dyn Fn(&TurnRequest) -> Turn + Send + Sync>;

struct Shared {
    model: Model,
    requests: Mutex<Vec<TurnRequest>>,
    over: AtomicBool,
}

/// The endpoint; it ends when dropped.
pub(crate) struct MessagesServer {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
}

impl MessagesServer {
    /// Starts with this model.
    pub(crate) fn start(model: impl Fn(&TurnRequest) -> Turn + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { model: Box::new(model), requests: Mutex::default(), over: AtomicBool::new(false) });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&own);
                // A client that goes away in the middle is no fault of a test.
                std::thread::spawn(move || serve(&shared, &stream).unwrap_or_default());
            }
        });
        Self { shared, address }
    }

    /// The address that Claude Code is given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The turns asked for so far.
    pub(crate) fn requests(&self) -> Vec<TurnRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MessagesServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(shared: &Shared, stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let posted = line.starts_with("POST ");
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (kind, text) = match path {
        // Not offered: Claude Code then counts by itself, and a test of sizes is no test of a made-up figure.
        "/v1/messages/count_tokens" => ("application/json", json!({"type": "error"}).to_string()),
        "/v1/messages" if posted => {
            let turn = if body["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
                let request = {
                    let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
                    let request = TurnRequest { body: body.clone(), number: requests.len() };
                    requests.push(request.clone());
                    request
                };
                (shared.model)(&request)
            } else {
                Turn::Text("ok".into())
            };
            ("text/event-stream", events(&turn, &body["model"]))
        }
        _ => ("application/json", "{}".to_owned()),
    };
    let status = if path.ends_with("/count_tokens") { "404 Not Found" } else { "200 OK" };
    let mut writer = stream;
    write!(
        writer,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )?;
    writer.flush()
}

/// One turn as the stream of events that the real endpoint sends.
fn events(turn: &Turn, model: &Value) -> String {
    static CALLS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let (block, delta, reason) = match turn {
        Turn::Text(text) => {
            (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": text}), "end_turn")
        }
        Turn::Tool { name, input } => (
            json!({"type": "tool_use", "id": format!("toolu_{call}"), "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
    };
    let usage = json!({"input_tokens": 10, "output_tokens": 1});
    let message = json!({"id": format!("msg_{call}"), "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
    [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
    .collect::<Vec<_>>()
    .concat()
}
