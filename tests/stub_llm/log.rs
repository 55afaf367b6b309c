//! What was asked and answered, in order of arrival, in memory and in a file.
//!
//! Knows time. Must not know wires.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::json;

use super::ask::Ask;

/// One question to the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// The newest text of the user.
    pub text: String,
    /// The prompts before this one and it: the `n` of its answer. A tool's result has its prompt's.
    pub n: usize,
    /// No part of the conversation: a title, a route, a summary.
    pub side: bool,
    /// Messages that were sent: those of the conversation so far, and it.
    pub messages: usize,
    /// A tool's result: the turn of the prompt before goes on.
    pub after_tool: bool,
    /// The text that is sent, or would be; empty where a tool is called or an error sent.
    pub answer: String,
    pub arrived: Instant,
    /// When the last byte was handed out, or the agent hung up.
    pub ended: Option<Instant>,
    /// The answer was sent to its end.
    pub whole: bool,
}

impl Request {
    /// It begins a turn.
    pub fn is_prompt(&self) -> bool {
        !self.side && !self.after_tool
    }
}

#[derive(Default)]
pub struct Log {
    all: Mutex<Vec<Request>>,
    file: Option<Mutex<std::fs::File>>,
}

/// Ends its request when dropped, which is when the agent hangs up too.
pub struct Open {
    log: Arc<Log>,
    at: usize,
    whole: bool,
}

impl Open {
    /// The answer was handed out to its end.
    pub fn finish(mut self) {
        self.whole = true;
    }
}

impl Log {
    pub fn to_file(path: &Path) -> std::io::Result<Log> {
        let file = std::fs::File::options().append(true).create(true).open(path)?;
        Ok(Log { file: Some(Mutex::new(file)), ..Log::default() })
    }

    /// All so far.
    pub fn requests(&self) -> Vec<Request> {
        self.all.lock().clone()
    }

    /// Takes a request up; `answer` is made from its number.
    pub fn open(self: &Arc<Self>, ask: &Ask, answer: impl FnOnce(usize) -> String) -> Open {
        let Ask { text, side, after_tool, messages, .. } = ask;
        let (side, after_tool) = (*side, *after_tool);
        let mut all = self.all.lock();
        let before = all.iter().filter(|r| r.is_prompt()).count();
        let n = before + usize::from(!side && !after_tool);
        let request = Request {
            text: text.clone(),
            n,
            side,
            messages: *messages,
            after_tool,
            answer: answer(n),
            arrived: Instant::now(),
            ended: None,
            whole: false,
        };
        let at = all.len();
        self.write(json!({
            "at": at, "n": n, "side": side, "after_tool": after_tool, "messages": messages, "text": text,
            "answer": request.answer,
        }));
        all.push(request);
        Open { log: Arc::clone(self), at, whole: false }
    }

    fn write(&self, mut line: serde_json::Value) {
        let Some(file) = &self.file else { return };
        line["time"] = json!(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()));
        // One write, so that a reader never meets half a line; a full disk must not stop the answer.
        let _ = file.lock().write_all(format!("{line}\n").as_bytes());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.log.all.lock();
        let request = &mut all[self.at];
        (request.ended, request.whole) = (Some(Instant::now()), self.whole);
        self.log.write(json!({"at": self.at, "ended": true, "whole": self.whole}));
    }
}
