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
    /// A text, and then a call of a tool.
    Said { text: String, name: String, input: Value },
}

impl Turn {
    /// A command for the Bash tool.
    pub(crate) fn bash(command: &str) -> Self {
        Self::Tool { name: "Bash".into(), input: json!({"command": command, "description": "Run it"}) }
    }

    /// A question to the user with these choices.
    pub(crate) fn ask(text: &str, questions: &[(&str, &str, &[&str])]) -> Self {
        let question = |(header, question, labels): &(&str, &str, &[&str])| {
            let option = |label: &&str| json!({"label": label, "description": format!("It means {label}")});
            let options: Vec<Value> = labels.iter().map(option).collect();
            json!({"header": header, "question": question, "multiSelect": false, "options": options})
        };
        let input = json!({"questions": questions.iter().map(question).collect::<Vec<_>>()});
        let name = "AskUserQuestion".to_owned();
        if text.is_empty() { Self::Tool { name, input } } else { Self::Said { text: text.into(), name, input } }
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

    /// The text of what came since the model last spoke: what was typed, or what its call gave.
    pub(crate) fn newest(&self) -> String {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let spoke = messages.iter().rposition(|message| message["role"] == "assistant").map_or(0, |last| last + 1);
        messages[spoke..].iter().flat_map(|message| texts(&message["content"])).collect::<Vec<_>>().join("\n")
    }

    /// Whether the model's own call was answered last.
    pub(crate) fn is_result(&self) -> bool {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let spoke = messages.iter().rposition(|message| message["role"] == "assistant").map_or(0, |last| last + 1);
        let parts = messages[spoke..].iter().filter_map(|message| message["content"].as_array()).flatten();
        parts.into_iter().any(|part| part["type"] == "tool_result")
    }

    /// What the newest tool call gave, or nothing.
    pub(crate) fn tool_result(&self) -> Option<String> {
        let messages = self.body["messages"].as_array()?;
        let parts = messages.iter().rev().filter_map(|message| message["content"].as_array());
        let result = parts.flatten().find(|part| part["type"] == "tool_result")?;
        Some(texts(&result["content"]).join("\n"))
    }
}

/// One turn of a scripted conversation.
pub(crate) type Step = Box<dyn Fn(&TurnRequest) -> Turn + Send + Sync>;

type Model = Box<dyn Fn(&TurnRequest) -> Turn + Send + Sync>;

struct Shared {
    model: Mutex<Arc<Model>>,
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
        let shared = Arc::new(Shared {
            model: Mutex::new(Arc::new(Box::new(model))),
            requests: Mutex::default(),
            over: AtomicBool::new(false),
        });
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

    /// Starts with a model that takes these steps in order; past the last one it says that it is over.
    pub(crate) fn steps(steps: Vec<Step>) -> Self {
        let steps = Mutex::new(steps.into_iter());
        Self::start(move |request| {
            let step = steps.lock().unwrap_or_else(PoisonError::into_inner).next();
            step.map_or_else(|| Turn::Text("The script is over.".into()), |step| step(request))
        })
    }

    /// The address that Claude Code is given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Goes on with another model.
    pub(crate) fn play(&self, model: impl Fn(&TurnRequest) -> Turn + Send + Sync + 'static) {
        *self.shared.model.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(model));
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
                let model = Arc::clone(&shared.model.lock().unwrap_or_else(PoisonError::into_inner));
                model(&request)
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
    let said = |text: &String| (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": text}));
    let called = |name: &String, input: &Value| {
        let id = format!("toolu_{call}");
        (
            json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
        )
    };
    let (blocks, reason) = match turn {
        Turn::Text(text) => (vec![said(text)], "end_turn"),
        Turn::Tool { name, input } => (vec![called(name, input)], "tool_use"),
        Turn::Said { text, name, input } => (vec![said(text), called(name, input)], "tool_use"),
    };
    let usage = json!({"input_tokens": 10, "output_tokens": 1});
    let message = json!({"id": format!("msg_{call}"), "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
    let mut events = vec![json!({"type": "message_start", "message": message})];
    for (index, (block, delta)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}));
    events.push(json!({"type": "message_stop"}));
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .concat()
}
