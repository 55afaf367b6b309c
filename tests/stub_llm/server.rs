//! The HTTP of the stub: takes questions in, hands the answers out at their pace.
//!
//! Knows axum and time. Must not know what a prompt means.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::ask::Ask;
use super::log::{Log, Open, Request};
use super::plan::Plan;
use super::wire::{Frame, Writer, error};

/// A conversation is sent whole with every question; a prompt of 200 kB twenty times is 4 MB.
const MOST: usize = 64 << 20;

/// A stub of this process, on a port of its own; ends when dropped.
pub struct Stub {
    log: Arc<Log>,
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    pub fn start() -> std::io::Result<Stub> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
        let port = listener.local_addr()?.port();
        let log = Arc::new(Log::default());
        runtime.spawn(serve(listener, Arc::clone(&log)));
        Ok(Stub { log, port, _runtime: runtime })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every question so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.log.requests()
    }

    /// Those that begin a turn.
    pub fn prompts(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_prompt).collect()
    }
}

struct Shared {
    log: Arc<Log>,
    /// Part of every id: an agent that resumes a conversation must not meet the same ids again.
    started: u128,
    serial: AtomicU64,
    /// Where whole bodies are kept, to learn what an agent sends.
    keep: Option<std::path::PathBuf>,
}

/// Answers until the listener fails. `STUB_KEEP=DIR` keeps every body there.
pub async fn serve(listener: tokio::net::TcpListener, log: Arc<Log>) -> std::io::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    let keep = std::env::var_os("STUB_KEEP").map(Into::into);
    let shared = Arc::new(Shared { log, started, serial: AtomicU64::new(0), keep });
    let router = axum::Router::new().fallback(answer).layer(DefaultBodyLimit::max(MOST)).with_state(shared);
    axum::serve(listener, router).await
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(dir) = &shared.keep {
        keep(dir, serial, &method, &uri, &body);
    }
    let path = uri.path();
    let Some(ask) = Some(method).filter(|m| m == Method::POST).and_then(|_| Ask::parse(path, &value)) else {
        return json_body(other(path));
    };
    let again = shared.log.requests().iter().any(|r| !r.side && r.text == ask.text);
    let mut plan = Plan::default();
    let open = shared.log.open(&ask, |n| {
        plan = Plan::of(&ask, n);
        let is_text = plan.call.is_none() && plan.error.is_none();
        if is_text { plan.text.clone() } else { String::new() }
    });
    if let Some(status) = plan.error {
        if !plan.think.is_zero() && !again {
            let at = tokio::time::Instant::now() + plan.think;
            tokio::time::interval_at(at, plan.think).tick().await;
        }
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (code, [("x-should-retry", "false")], json_body(error(ask.wire, status))).into_response();
    }
    let id = format!("{:x}{serial:04}", shared.started);
    let writer = Writer { ask: &ask, plan: &plan, id: &id };
    if ask.stream {
        return paced(writer.stream(), plan.think, plan.over, open);
    }
    open.finish();
    json_body(writer.whole())
}

/// What is no question to a model.
fn other(path: &str) -> Value {
    match path {
        _ if path.contains("count_tokens") => json!({"input_tokens": 42}),
        _ if path.contains("countTokens") => json!({"totalTokens": 42}),
        _ if path.ends_with("/models") => {
            let model = json!({"id": "stub-model", "object": "model", "created": 1, "owned_by": "stub"});
            json!({"object": "list", "data": [model], "models": []})
        }
        _ => json!({}),
    }
}

fn json_body(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn paced(frames: Vec<Frame>, think: Duration, over: Duration, open: Open) -> Response {
    let count = frames.iter().filter(|f| f.paced).count().max(1);
    let gap = over / u32::try_from(count).unwrap_or(u32::MAX);
    let first = frames.iter().position(|f| f.paced).unwrap_or(0);
    let frames = frames.into_iter().enumerate();
    let body = stream::unfold((frames, open), move |(mut frames, open)| async move {
        let Some((i, frame)) = frames.next() else {
            open.finish();
            return None;
        };
        let mut wait = if frame.paced { gap } else { Duration::ZERO };
        if i == first {
            wait += think;
        }
        if !wait.is_zero() {
            let at = tokio::time::Instant::now() + wait;
            tokio::time::interval_at(at, wait).tick().await;
        }
        Some((Ok::<_, std::convert::Infallible>(frame.text), (frames, open)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

fn keep(dir: &Path, serial: u64, method: &Method, uri: &Uri, body: &[u8]) {
    let name = format!("{serial:04}-{method}-{}", uri.path().trim_matches('/').replace('/', "_"));
    let _ = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(dir.join(name), body));
}
