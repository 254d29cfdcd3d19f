//! A model that answers by script, served to the real Codex CLI over loopback.
//!
//! It owns a small Responses API server (HTTP, SSE) for the demo and for tests, which can also play every fault a
//! real service shows. It never listens on anything but 127.0.0.1 and never calls out.

mod http;
mod reply;
pub mod script;
pub mod strict_schema;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use reply::{Gate, Reply, Usage};

/// Which step of the loop a request belongs to, as its answer schema tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The schema asks for a verdict and a distance.
    Evaluate,
    /// The schema asks for proposals.
    Suggest,
    /// The schema asks for scores and a winner.
    Rank,
    /// No schema, or another one.
    Other,
}

/// One request for an answer, as Codex sent it.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Counts from 1, in the order of arrival.
    pub number: usize,
    /// The whole body.
    pub raw: Value,
    /// All text with the role `user`, parts joined by an empty line.
    pub prompt: String,
    /// The `instructions` and all text with the role `developer` or `system`, joined likewise.
    pub instructions: String,
    /// The schema of the answer, if one was sent.
    pub schema: Option<Value>,
    /// The model's name; empty if none was sent.
    pub model: String,
    /// The reasoning effort, if one was sent.
    pub effort: Option<String>,
    /// Whether the request brings back the output of a tool the model called.
    pub has_function_output: bool,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl ModelRequest {
    /// Reads a request's body.
    fn new(number: usize, raw: Value, headers: Vec<(String, String)>) -> Self {
        let mut users = Vec::new();
        let mut instructions: Vec<String> =
            raw["instructions"].as_str().filter(|text| !text.is_empty()).map(String::from).into_iter().collect();
        if let Some(text) = raw["input"].as_str() {
            users.push(text.to_owned());
        }
        for item in raw["input"].as_array().into_iter().flatten() {
            let texts = content_text(&item["content"]);
            match item["role"].as_str() {
                Some("user") => users.extend(texts),
                Some("developer" | "system") => instructions.extend(texts),
                _ => {}
            }
        }
        let format = &raw["text"]["format"];
        let has_function_output = function_outputs(&raw).next().is_some();
        Self {
            number,
            prompt: users.join("\n\n"),
            instructions: instructions.join("\n\n"),
            schema: format.get("schema").cloned(),
            model: raw["model"].as_str().unwrap_or_default().to_owned(),
            effort: raw["reasoning"]["effort"].as_str().map(String::from),
            has_function_output,
            headers,
            raw,
        }
    }

    /// Tells the step from the properties of the answer's schema.
    pub fn step(&self) -> Step {
        let Some(properties) = self.schema.as_ref().and_then(|schema| schema["properties"].as_object()) else {
            return Step::Other;
        };
        let has = |names: &[&str]| names.iter().all(|name| properties.contains_key(*name));
        if has(&["verdict", "distanceFromGoal"]) {
            Step::Evaluate
        } else if has(&["proposals"]) {
            Step::Suggest
        } else if has(&["scores", "winner"]) {
            Step::Rank
        } else {
            Step::Other
        }
    }

    /// Returns the text of every tool output the request brings back, oldest first.
    pub fn function_outputs(&self) -> Vec<String> {
        function_outputs(&self.raw)
            .map(|item| match &item["output"] {
                Value::String(text) => text.clone(),
                Value::Array(_) => content_text(&item["output"]).join("\n"),
                other => other.to_string(),
            })
            .collect()
    }

    /// Returns the names of the tools the model may call, as far as the request lists them.
    pub fn tools(&self) -> Vec<String> {
        /// Tools may stand in named groups.
        fn collect(list: &Value, names: &mut Vec<String>) {
            for tool in list.as_array().into_iter().flatten() {
                if tool["tools"].is_array() {
                    collect(&tool["tools"], names);
                } else {
                    names.extend(tool["name"].as_str().or_else(|| tool["type"].as_str()).map(String::from));
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.raw["tools"], &mut names);
        // Newer models get their tools in an input item instead of the request's own field.
        for item in self.raw["input"].as_array().into_iter().flatten() {
            collect(&item["tools"], &mut names);
        }
        names
    }

    /// Returns the value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Texts of a message's content, which is a string or a list of parts.
fn content_text(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).map(String::from).collect(),
        _ => Vec::new(),
    }
}

/// Input items that hold the output of a tool.
fn function_outputs(raw: &Value) -> impl Iterator<Item = &Value> {
    raw["input"].as_array().into_iter().flatten().filter(|item| {
        matches!(
            item["type"].as_str(),
            Some("function_call_output" | "custom_tool_call_output" | "local_shell_call_output")
        )
    })
}

/// Takes a lock also where another thread panicked while holding it: the log stays readable for the failing test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the server treats what it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether a schema outside the strict subset is answered with status 400, as the real service does.
    pub strict_schemas: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { strict_schemas: true }
    }
}

type Model = dyn Fn(&ModelRequest) -> Reply + Send + Sync;

/// What the threads of one server have in common.
struct Common {
    model: Box<Model>,
    options: Options,
    ended: AtomicBool,
    log: Mutex<Vec<ModelRequest>>,
    arrived: Condvar,
    /// Open connections by number, to be shut when the server ends.
    open: Mutex<Vec<(usize, Arc<TcpStream>)>>,
}

impl Common {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// A Responses API server on a free port of 127.0.0.1 that answers by a function. It ends when dropped.
pub struct ScriptedServer {
    address: SocketAddr,
    common: Arc<Common>,
    acceptor: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Starts a server that asks `model` for every answer and refuses schemas that the real service would refuse.
    ///
    /// Returns an error if no port can be opened.
    pub fn start(model: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::start_with(Options::default(), model)
    }

    /// Starts a server with options. Returns an error if no port can be opened.
    pub fn start_with(
        options: Options,
        model: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("open a port on 127.0.0.1")?;
        let address = listener.local_addr().context("read the port of the scripted model")?;
        let common = Arc::new(Common {
            model: Box::new(model),
            options,
            ended: AtomicBool::new(false),
            log: Mutex::default(),
            arrived: Condvar::new(),
            open: Mutex::default(),
        });
        let theirs = Arc::clone(&common);
        let acceptor = std::thread::Builder::new()
            .name("scripted-model".into())
            .spawn(move || accept(&listener, &theirs))
            .context("start the thread of the scripted model")?;
        Ok(Self { address, common, acceptor: Some(acceptor) })
    }

    /// Returns what belongs into `base_url` of a Codex provider: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the `config.toml` of a CODEX_HOME that sends every call to this server, without sign-in and with one
    /// retry, so that a fault shows at once.
    pub fn codex_config(&self) -> String {
        codex_config(&self.base_url())
    }

    /// Returns every request so far, oldest first; also those that were refused for their schema.
    pub fn requests(&self) -> Vec<ModelRequest> {
        lock(&self.common.log).clone()
    }

    /// Waits until `count` requests have arrived. Returns an error at the time limit.
    pub fn wait_for_requests(&self, count: usize, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut log = lock(&self.common.log);
        while log.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} of {count} requests arrived within {limit:?}", log.len());
            }
            log = self.common.arrived.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.common.ended.store(true, Ordering::SeqCst);
        // A blocked accept only wakes for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for (_, stream) in lock(&self.common.open).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Returns the text of a `config.toml` whose provider is the server at `base_url`.
pub fn codex_config(base_url: &str) -> String {
    format!(
        "model_provider = \"scripted\"\n\n[model_providers.scripted]\nname = \"Scripted model\"\nbase_url = \"{base_url}\"\n\
         wire_api = \"responses\"\nrequires_openai_auth = false\nrequest_max_retries = 1\nstream_max_retries = 1\n\
         stream_idle_timeout_ms = 60000\n"
    )
}

/// Takes connections until the server ends; each gets a thread.
fn accept(listener: &TcpListener, common: &Arc<Common>) {
    for (number, stream) in listener.incoming().enumerate() {
        if common.ended() {
            return;
        }
        let Ok(stream) = stream.map(Arc::new) else { continue };
        // Answers are small writes that the other side waits for.
        let _ = stream.set_nodelay(true);
        lock(&common.open).push((number, Arc::clone(&stream)));
        let theirs = Arc::clone(common);
        let spawned = std::thread::Builder::new().name(format!("scripted-model-{number}")).spawn(move || {
            // The other side may leave at any point: then there is nobody to tell.
            let _ = serve(&stream, &theirs);
            lock(&theirs.open).retain(|(open, _)| *open != number);
        });
        if spawned.is_err() {
            lock(&common.open).retain(|(open, _)| *open != number);
        }
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, common: &Common) -> Result<()> {
    while !common.ended() {
        let Some(request) = http::read(stream)? else { return Ok(()) };
        let path = request.target.split('?').next().unwrap_or_default();
        let keep = match (request.method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
            ("POST", "responses") => answer(stream, common, request)?,
            // Codex tries a WebSocket first with some providers; this status makes it fall back at once.
            ("GET", "responses") => {
                request.finish(stream)?;
                http::write(stream, 426, &[("upgrade", "websocket")], "")?;
                true
            }
            _ => {
                request.finish(stream)?;
                let body = error_body("not_found", "there is nothing here", "invalid_request_error", None);
                http::write(stream, 404, &[("content-type", "application/json")], &body)?;
                true
            }
        };
        if !keep {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers one request for a response. Returns whether the connection can take another.
fn answer(stream: &TcpStream, common: &Common, request: http::Request) -> Result<bool> {
    let Ok(raw) = serde_json::from_slice::<Value>(&request.body) else {
        request.finish(stream)?;
        let body = error_body("invalid_json", "the body is not JSON", "invalid_request_error", None);
        http::write(stream, 400, &[("content-type", "application/json")], &body)?;
        return Ok(true);
    };
    let headers = request.headers.clone();
    let asked = {
        let mut log = lock(&common.log);
        let asked = ModelRequest::new(log.len() + 1, raw, headers);
        log.push(asked.clone());
        common.arrived.notify_all();
        asked
    };
    let refusal = if common.options.strict_schemas { schema_refusal(&asked) } else { None };
    let reply = refusal.unwrap_or_else(|| (common.model)(&asked));
    reply.send(stream, request, asked.number, &|| common.ended())
}

/// The answer of the real service to a schema it does not take.
fn schema_refusal(request: &ModelRequest) -> Option<Reply> {
    let format = &request.raw["text"]["format"];
    if format["type"] != "json_schema" || format["strict"] != true {
        return None;
    }
    let cause = strict_schema::check(request.schema.as_ref()?).err()?;
    let name = format["name"].as_str().unwrap_or_default();
    let message = format!("Invalid schema for response_format '{name}': {cause}");
    let body = error_body("invalid_json_schema", &message, "invalid_request_error", Some("text.format.schema"));
    Some(Reply::status(400, body))
}

/// An error in the shape of the Responses API.
fn error_body(code: &str, message: &str, kind: &str, param: Option<&str>) -> String {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}}).to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use pretty_assertions::assert_eq;

    use super::*;

    /// Sends bytes and reads until the server closes or the answer's final chunk is there.
    fn exchange(server: &ScriptedServer, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        read_answer(&mut stream)
    }

    fn read_answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) {
            text.push(byte[0]);
            let seen = String::from_utf8_lossy(&text);
            if seen.ends_with("0\r\n\r\n") && seen.contains("chunked") {
                break;
            }
            if let Some((head, body)) = seen.split_once("\r\n\r\n")
                && let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: "))
                && body.len() == length.parse::<usize>().unwrap()
            {
                break;
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn post(body: &str) -> Vec<u8> {
        format!("POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn a_message_comes_as_a_completed_stream_on_a_connection_that_stays_open() {
        let server = ScriptedServer::start(|request| Reply::message(format!("answer {}", request.number))).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        for number in 1..=2 {
            stream.write_all(&post(r#"{"model":"m","input":"hello"}"#)).unwrap();
            let text = read_answer(&mut stream);
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.contains(&format!("answer {number}")), "{text}");
            assert!(text.contains("event: response.completed"), "{text}");
        }
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(
            (requests[0].prompt.as_str(), requests[0].model.as_str(), requests[0].step()),
            ("hello", "m", Step::Other)
        );
    }

    #[test]
    fn a_chunked_body_is_read_whole() {
        let server = ScriptedServer::start(|request| Reply::message(request.prompt.clone())).unwrap();
        let bytes = b"POST /v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"inpu\r\n8;x=y\r\nt\":\"two\"\r\n1\r\n}\r\n0\r\nTrailer: t\r\n\r\n";
        assert!(exchange(&server, bytes).contains("\"text\":\"two\""));
    }

    proptest::proptest! {
        // Each case opens a socket; a few dozen cuts are enough.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        #[test]
        fn a_body_is_the_same_however_it_is_cut_into_chunks(text in "\\PC{0,200}", size in 1usize..50) {
            let server = ScriptedServer::start(|_| Reply::message("x")).unwrap();
            let mut bytes = b"POST /v1/responses HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for part in json!({"input": text}).to_string().into_bytes().chunks(size) {
                bytes.extend(format!("{:X}\r\n", part.len()).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            exchange(&server, &bytes);
            assert_eq!(server.requests()[0].prompt, text);
        }
    }

    #[test]
    fn a_websocket_upgrade_is_answered_426() {
        let server = ScriptedServer::start(|_| Reply::message("x")).unwrap();
        let text =
            exchange(&server, b"GET /v1/responses HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 426 "), "{text}");
        assert_eq!(server.requests().len(), 0);
    }

    #[test]
    fn a_reset_reaches_the_other_side_as_an_error() {
        let server = ScriptedServer::start(|_| Reply::reset()).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&post(r#"{"input":"x"}"#)).unwrap();
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_gate_holds_an_answer_until_it_is_released() {
        let gate = Gate::new();
        let held = gate.clone();
        let server = ScriptedServer::start(move |_| Reply::message("late").after(&held)).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&post(r#"{"input":"x"}"#)).unwrap();
        server.wait_for_requests(1, Duration::from_secs(5)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0]).is_err());
        gate.release();
        stream.set_read_timeout(None).unwrap();
        assert!(read_answer(&mut stream).contains("late"));
    }

    #[test]
    fn many_connections_are_served_at_once() {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Arc::new(ScriptedServer::start(move |_| Reply::message("ok").after(&held)).unwrap());
        let clients: Vec<_> = (0..32)
            .map(|_| {
                let server = Arc::clone(&server);
                std::thread::spawn(move || exchange(&server, &post(r#"{"input":"x"}"#)))
            })
            .collect();
        // Every one is open before the first is answered.
        server.wait_for_requests(32, Duration::from_secs(10)).unwrap();
        gate.release();
        assert!(clients.into_iter().all(|client| client.join().unwrap().contains("response.completed")));
    }

    #[test]
    fn dropping_the_server_ends_hanging_answers() {
        let server = ScriptedServer::start(|_| Reply::hang()).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&post(r#"{"input":"x"}"#)).unwrap();
        server.wait_for_requests(1, Duration::from_secs(5)).unwrap();
        let address = server.address;
        drop(server);
        assert!(stream.read(&mut [0]).map_or(true, |read| read == 0));
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_schema_outside_the_strict_subset_is_refused_unless_switched_off() {
        let body = json!({"input": "x", "text": {"format": {"type": "json_schema", "strict": true, "name": "n",
            "schema": {"type": "object", "properties": {}, "required": []}}}})
        .to_string();
        let strict = ScriptedServer::start(|_| Reply::message("fine")).unwrap();
        let text = exchange(&strict, &post(&body));
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        assert!(
            text.contains("Invalid schema for response_format 'n': In context=(), 'additionalProperties'"),
            "{text}"
        );
        assert!(text.contains("invalid_json_schema"), "{text}");
        let lenient =
            ScriptedServer::start_with(Options { strict_schemas: false }, |_| Reply::message("fine")).unwrap();
        assert!(exchange(&lenient, &post(&body)).contains("fine"));
    }

    #[test]
    fn the_step_is_told_by_the_schema() {
        let step = |names: &[&str]| {
            let properties: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
            ModelRequest::new(1, json!({"text": {"format": {"schema": {"properties": properties}}}}), Vec::new()).step()
        };
        assert_eq!(step(&["verdict", "distanceFromGoal", "rationale"]), Step::Evaluate);
        assert_eq!(step(&["proposals"]), Step::Suggest);
        assert_eq!(step(&["scores", "winner", "tiebreaker"]), Step::Rank);
        assert_eq!(step(&["verdict"]), Step::Other);
    }

    #[test]
    fn texts_are_sorted_by_role_and_tool_outputs_are_found() {
        let request = ModelRequest::new(
            1,
            json!({"instructions": "base", "model": "m", "reasoning": {"effort": "high"}, "tools": [{"name": "exec_command"}],
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "dev"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
                {"type": "function_call_output", "call_id": "c", "output": "seen"},
            ]}),
            Vec::new(),
        );
        assert_eq!((request.prompt.as_str(), request.instructions.as_str()), ("one\n\ntwo", "base\n\ndev"));
        assert_eq!((request.has_function_output, request.function_outputs()), (true, vec!["seen".to_owned()]));
        assert_eq!((request.effort.as_deref(), request.tools()), (Some("high"), vec!["exec_command".to_owned()]));
    }
}
