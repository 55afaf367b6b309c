//! What happened on this node: `logs`, `logs.json`, `errors` and the stream of events.
//!
//! Knows no sessions, only their names and serial numbers. Every line is one line: fields are
//! percent-encoded, secrets are never handed in.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use super::events::{By, Event};
use super::turns::turn::Author;
use crate::clock;
use crate::log::{ErrorLog, LogFile, LogLimits, NodeLog, RotateAt, text_gap};
use crate::users;

pub use crate::log::Level;
use crate::tree::caller::{Origin, User};
use crate::tree::{Caller, Lines};

/// Events kept for a slow reader; one that lags further is told how many it lost.
const EVENTS: usize = 4096;

/// One event, already a line of JSON.
#[derive(Debug, Clone)]
struct Line {
    /// Serial of the session it is about; 0: the node.
    session: u64,
    last: bool,
    text: Bytes,
}

pub struct Journal {
    node: String,
    pub logs: NodeLog,
    pub errors: ErrorLog,
    /// The size at which every log of the node rotates, those of panes as well.
    pub rotate_at: RotateAt,
    events: broadcast::Sender<Line>,
    /// Of the last event.
    sequence: Mutex<u64>,
    /// For a user's name that has to be asked for: refusals come from threads that serve requests.
    runtime: tokio::runtime::Handle,
}

impl Journal {
    /// Needs a tokio runtime, and knows the name of its own user from then on.
    pub fn open(dir: &Path, node: &str, limits: LogLimits) -> Self {
        users::own();
        let open = |name: &str| Arc::new(LogFile::open(dir.join(name), "node", limits.clone(), text_gap));
        Journal {
            node: node.to_owned(),
            logs: NodeLog { text: open("logs"), json: open("logs.json") },
            errors: ErrorLog(open("errors")),
            rotate_at: limits.rotate_at.clone(),
            events: broadcast::channel(EVENTS).0,
            sequence: Mutex::new(0),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    /// An author as events have it.
    pub fn by<'a>(&'a self, author: &'a Author, pid: Option<u32>) -> By<'a> {
        let Origin { node, user, session } = &author.from;
        By {
            node: node.as_deref().unwrap_or(&self.node),
            user: user.as_deref().map(Cow::from).or_else(|| author.uid.map(|uid| by_number(uid).into())),
            session: session.as_deref(),
            uid: author.uid,
            init: author.init,
            pid,
        }
    }

    pub fn log(&self, level: Level, session: &str, text: &str) {
        self.logs.add(clock::now(), level, session, text);
    }

    /// The node ends. Waits for the disk.
    pub fn end(&self) {
        for log in [&self.logs.text, &self.logs.json, &self.errors.0] {
            log.end();
        }
    }

    /// A refusal or failure: who asked, of which path, and why not.
    pub fn refused(&self, who: &Caller, at: &str, why: &str) {
        let now = clock::now();
        let known = match &who.identity.user {
            _ if who.origin().user.is_some() => who.origin().user.clone(),
            User::Local { uid, .. } => users::known(*uid),
            User::Named { name, .. } => Some(name.clone()),
        };
        if let Some(name) = known {
            return self.errors.add(now, &describe(&name, who), at, why);
        }
        let (errors, who) = (self.errors.clone(), who.clone());
        let (at, why) = (at.to_owned(), why.to_owned());
        self.runtime.spawn(async move {
            let name = users::name(who.uid()).await;
            errors.add(now, &describe(&name, &who), &at, &why);
        });
    }

    /// A failure that nobody asked for: of the daemon itself.
    pub fn trouble(&self, at: &str, why: &str) {
        self.errors.add(clock::now(), "muxfs", at, why);
        self.log(Level::Warn, "", &format!("{at}: {why}"));
    }

    /// Reports an event of a session, by its serial and its name. After [`Event::Ended`] readers of the
    /// session's own `events` reach EOF.
    pub fn report(&self, session: (u64, &str), event: &Event<'_>) {
        let last = matches!(event, Event::Ended {});
        // Numbers are in the order in which readers see them.
        let mut sequence = self.sequence.lock();
        *sequence += 1;
        if self.events.receiver_count() == 0 {
            return; // nobody listens, and what was is not said again
        }
        let text = line(&self.node, Some(session.1), Some(*sequence), event);
        let _ = self.events.send(Line { session: session.0, last, text }); // nobody may listen
    }

    /// The events from now on: all (`None`), or those of one session until its last.
    pub fn follow(&self, session: Option<u64>) -> EventLines {
        EventLines { events: self.events.subscribe(), session, over: false, node: self.node.clone() }
    }
}

/// A user of whom a book of an earlier version has the number alone.
fn by_number(uid: u32) -> String {
    users::known(uid).unwrap_or_else(|| uid.to_string())
}

/// An event as its line.
fn line(node: &str, session: Option<&str>, sequence: Option<u64>, event: &Event<'_>) -> Bytes {
    // Texts, numbers and an enum: there is nothing in it that JSON cannot hold.
    let mut object = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    object.insert("time".into(), clock::rfc3339(clock::now()).into());
    object.insert("node".into(), node.into());
    if let Some(session) = session {
        object.insert("session".into(), session.into());
    }
    if let Some(sequence) = sequence {
        object.insert("seq".into(), sequence.into());
    }
    format!("{}\n", Value::Object(object)).into()
}

/// `user@node/session:pid`, as far as it is known: enough to find who it was. A name is never taken for
/// another part: no session's name has a `:` or `/` as a path shows it.
fn describe(user: &str, who: &Caller) -> String {
    let Origin { node, session, .. } = who.origin();
    let part = |mark: char, name: Option<&str>| name.map(|name| format!("{mark}{name}")).unwrap_or_default();
    let pid = who.pid().map(|pid| pid.to_string());
    let (node, session) = (part('@', node.as_deref()), part('/', session.as_deref()));
    format!("{user}{node}{session}{}", part(':', pid.as_deref()))
}

pub struct EventLines {
    events: broadcast::Receiver<Line>,
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
                    return Some(event.text);
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    return Some(line(&self.node, None, None, &Event::Gap { count }));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
        None
    }
}
