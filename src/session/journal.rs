//! What happened on this node: `logs`, `logs.json`, `errors` and the stream of events.
//!
//! Knows no sessions, only their names and serial numbers. Every line is one line: fields are
//! percent-encoded, secrets are never handed in.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::clock;
use crate::log::{ErrorLog, LogFile, LogLimits, NodeLog, RotateAt, text_gap};

pub use crate::log::Level;
use crate::tree::{Caller, Lines};

/// Events kept for a slow reader; one that lags further is told how many it lost.
const EVENTS: usize = 4096;

/// One event, already a line of JSON.
#[derive(Debug, Clone)]
pub struct Event {
    /// Serial of the session it is about; 0: the node.
    pub session: u64,
    pub last: bool,
    line: Bytes,
}

pub struct Journal {
    node: String,
    pub logs: NodeLog,
    pub errors: ErrorLog,
    /// The size at which every log of the node rotates, those of panes as well.
    pub rotate_at: RotateAt,
    events: broadcast::Sender<Event>,
}

/// What an event says beside its time and node.
pub struct Told<'a> {
    pub what: &'static str,
    pub session: (u64, &'a str),
    pub fields: Value,
}

impl Journal {
    pub fn open(dir: &Path, node: &str, limits: LogLimits) -> Self {
        let open = |name: &str| Arc::new(LogFile::open(dir.join(name), limits.clone(), text_gap));
        Journal {
            node: node.to_owned(),
            logs: NodeLog { text: open("logs"), json: open("logs.json") },
            errors: ErrorLog(open("errors")),
            rotate_at: limits.rotate_at.clone(),
            events: broadcast::channel(EVENTS).0,
        }
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    pub fn log(&self, level: Level, session: &str, text: &str) {
        self.logs.add(clock::now(), level, session, text);
    }

    /// A refusal or failure: who asked, of which path, and why not.
    pub fn refused(&self, who: &Caller, at: &str, why: &str) {
        self.errors.add(clock::now(), &describe(who), at, why);
    }

    /// A failure that nobody asked for: of the daemon itself.
    pub fn trouble(&self, at: &str, why: &str) {
        self.errors.add(clock::now(), "muxfs", at, why);
        self.log(Level::Warn, "", &format!("{at}: {why}"));
    }

    pub fn tell(&self, told: Told<'_>) {
        self.tell_one(told, false);
    }

    /// The last event of its session: readers of the session's own `events` reach EOF after it.
    pub fn tell_last(&self, told: Told<'_>) {
        self.tell_one(told, true);
    }

    fn tell_one(&self, told: Told<'_>, last: bool) {
        if self.events.receiver_count() == 0 {
            return; // nobody listens, and what was is not told again
        }
        let mut object = Map::new();
        object.insert("time".into(), clock::rfc3339(clock::now()).into());
        object.insert("event".into(), told.what.into());
        object.insert("node".into(), self.node.as_str().into());
        if told.session.0 != 0 {
            object.insert("session".into(), told.session.1.into());
        }
        if let Value::Object(fields) = told.fields {
            object.extend(fields);
        }
        let line = format!("{}\n", Value::Object(object)).into();
        let _ = self.events.send(Event { session: told.session.0, last, line }); // nobody may listen
    }

    /// The events from now on: all (`None`), or those of one session until its last.
    pub fn follow(&self, session: Option<u64>) -> EventLines {
        EventLines { events: self.events.subscribe(), session, over: false, node: self.node.clone() }
    }
}

/// `user pid`: enough to find who it was.
fn describe(who: &Caller) -> String {
    let user = nix::unistd::User::from_uid(who.uid.into()).ok().flatten();
    let mut text = user.map_or_else(|| who.uid.to_string(), |u| u.name);
    if let Some(node) = &who.node {
        text = format!("{user}@{node}", user = text);
    }
    match who.pid {
        Some(pid) if pid != 0 => format!("{text}:{pid}"),
        _ => text,
    }
}

pub struct EventLines {
    events: broadcast::Receiver<Event>,
    session: Option<u64>,
    over: bool,
    node: String,
}

#[async_trait::async_trait]
impl Lines for EventLines {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            match self.events.recv().await {
                Ok(event) if self.session.is_none_or(|s| s == event.session) => {
                    self.over = event.last && self.session.is_some();
                    return Some(event.line);
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    let time = clock::rfc3339(SystemTime::now());
                    let gap = json!({"time": time, "event": "lost", "node": self.node, "count": count});
                    return Some(format!("{gap}\n").into());
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
        None
    }
}
