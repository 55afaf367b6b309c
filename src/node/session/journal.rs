//! What happened on this node: `logs`, `logs.json`, `errors` and the stream of events.
//!
//! Knows no sessions, only their names and serial numbers. Every line is one line: fields are
//! percent-encoded, secrets are never handed in.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::audit::Deed;
use super::events::{By, Event};
use super::ring::{Found, Line, Ring};
use super::turns::turn::Author;
use crate::log::{ErrorLog, LogFile, LogLimits, NodeLog, RotateAt, text_gap};
use muxfs_tree::base::clock;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::users;

pub use crate::log::Level;
use muxfs_tree::caller::{Origin, User};
use muxfs_tree::{Caller, Lines};

pub struct Journal {
    node: String,
    pub logs: NodeLog,
    pub errors: Refusals,
    /// The size at which every log of the node rotates, those of panes as well.
    pub rotate_at: RotateAt,
    events: Arc<Mutex<Ring>>,
    /// The number of the newest event, for readers that wait.
    newest: watch::Sender<u64>,
}

impl Journal {
    /// Needs a tokio runtime, and knows the name of its own user from then on.
    pub fn open(dir: &Path, node: &str, limits: LogLimits) -> Self {
        users::own();
        let open = |name: &str| Arc::new(LogFile::open(dir.join(name), "node", limits.clone(), text_gap));
        Journal {
            node: node.to_owned(),
            logs: NodeLog { text: open("logs"), json: open("logs.json") },
            errors: Refusals { lines: ErrorLog(open("errors")), runtime: tokio::runtime::Handle::current() },
            rotate_at: limits.rotate_at.clone(),
            events: Arc::default(),
            newest: watch::Sender::new(0),
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
        for log in [&self.logs.text, &self.logs.json, self.errors.log()] {
            log.end();
        }
    }

    /// A refusal or failure: who asked, of which path, and why not.
    pub fn refused(&self, who: &Caller, at: &str, why: &str) {
        self.errors.add(who, at, why);
    }

    /// The same for another file: what is refused by no node.
    pub fn refusals_in(&self, dir: &Path, name: &str) -> Refusals {
        let limits = LogLimits { rotate_at: self.rotate_at.clone(), ..LogLimits::default() };
        let lines = ErrorLog(Arc::new(LogFile::open(dir.join(name), "root", limits, text_gap)));
        Refusals { lines, ..self.errors.clone() }
    }

    /// Something was done at a path, of this session or (empty) of the node.
    pub fn audit(&self, who: &Caller, session: &str, at: &str, deed: Deed) {
        let (now, logs) = (clock::now(), self.logs.clone());
        let (session, at) = (session.to_owned(), at.to_owned());
        let tell = move |by: &str| logs.add(now, Level::Audit, &session, &deed.line(by, &at));
        named(&self.errors.runtime, who, tell);
    }

    /// A failure that nobody asked for: of the daemon itself.
    pub fn trouble(&self, at: &str, why: &str) {
        self.errors.lines.add(clock::now(), "muxfs", at, why);
        self.log(Level::Warn, "", &format!("{at}: {why}"));
    }

    /// Reports an event of a session, by its serial and its name. After [`Event::Ended`] readers of the
    /// session's own `events` reach EOF.
    pub fn report(&self, session: (u64, &str), event: &Event<'_>) {
        let last = matches!(event, Event::Ended {});
        // Numbers are in the order in which readers see them.
        let mut events = self.events.lock();
        let sequence = events.last() + 1;
        let text = line(&self.node, Some(session.1), Some(sequence), event);
        events.push(Line { session: session.0, last, text });
        drop(events);
        self.newest.send_if_modified(|newest| {
            let newer = *newest < sequence;
            *newest = sequence.max(*newest);
            newer
        });
    }

    /// The events from now on: all (`None`), or those of one session until its last.
    pub fn follow(&self, session: Option<u64>) -> EventLines {
        let next = self.events.lock().last() + 1;
        self.follow_from(session, next)
    }

    /// The same from number `from` on; where the first of them are no longer kept, a `gap` stands for
    /// them. Numbers are those of one life of the node: one that is not given yet is of an earlier life.
    pub fn follow_from(&self, session: Option<u64>, from: u64) -> EventLines {
        let newest = self.newest.subscribe();
        let (events, node) = (self.events.clone(), self.node.clone());
        EventLines { events, newest, next: from, session, over: false, node }
    }
}

/// A user of whom a book of an earlier version has the number alone.
fn by_number(uid: u32) -> String {
    users::known(uid).unwrap_or_else(|| uid.to_string())
}

/// A log of refusals: who asked, of which path, and why not.
#[derive(Clone)]
pub struct Refusals {
    lines: ErrorLog,
    /// For a user's name that has to be asked for: refusals come from threads that serve requests.
    runtime: tokio::runtime::Handle,
}

impl Refusals {
    pub fn log(&self) -> &Arc<LogFile> {
        &self.lines.0
    }

    /// The mount ends. Waits for the disk.
    pub fn end(&self) {
        self.lines.0.end();
    }

    pub fn add(&self, who: &Caller, at: &str, why: &str) {
        let (now, lines, at, why) = (clock::now(), self.lines.clone(), at.to_owned(), why.to_owned());
        named(&self.runtime, who, move |by| lines.add(now, by, &at, &why));
    }
}

/// Calls `tell` with who somebody is; later where their name has to be asked for.
fn named(runtime: &tokio::runtime::Handle, who: &Caller, tell: impl FnOnce(&str) + Send + 'static) {
    let known = match &who.identity.user {
        _ if who.origin().user.is_some() => who.origin().user.clone(),
        User::Local { uid, .. } => users::known(*uid),
        User::Named { name, .. } => Some(name.clone()),
    };
    if let Some(name) = known {
        return tell(&describe(&name, who));
    }
    let who = who.clone();
    runtime.spawn(async move { tell(&describe(&users::name(who.uid()).await, &who)) });
}

/// An event with the fields that all have.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    event: &'a Event<'a>,
    time: String,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// An event as its line.
fn line(node: &str, session: Option<&str>, seq: Option<u64>, event: &Event<'_>) -> Bytes {
    let whole = Whole { event, time: clock::rfc3339(clock::now()), node, session, seq };
    // Texts, numbers and an enum: there is nothing in it that JSON cannot hold.
    let mut line = serde_json::to_vec(&whole).unwrap_or_default();
    line.push(b'\n');
    line.into()
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
    events: Arc<Mutex<Ring>>,
    newest: watch::Receiver<u64>,
    /// The number of the next event.
    next: u64,
    session: Option<u64>,
    over: bool,
    node: String,
}

#[async_trait::async_trait]
impl Lines for EventLines {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.over {
            let found = self.events.lock().find(self.next, self.session);
            match found {
                Found::Line(event, next) => {
                    self.next = next;
                    self.over = event.last && self.session.is_some();
                    return Ok(Some(event.text));
                }
                Found::Lost(count, next) => {
                    self.next = next;
                    return Ok(Some(line(&self.node, None, None, &Event::Gap { count })));
                }
                Found::Nothing(next) => {
                    self.next = next;
                    if self.newest.changed().await.is_err() {
                        return Ok(None); // the node has ended
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn journal(dir: &Path) -> Journal {
        Journal::open(dir, "honey", LogLimits::default())
    }

    async fn number(lines: &mut EventLines) -> Value {
        let line = lines.next().await.unwrap().unwrap();
        let event: Value = serde_json::from_slice(&line).unwrap();
        if event["event"] == "gap" { event["count"].clone() } else { event["seq"].clone() }
    }

    #[tokio::test]
    async fn events_are_kept_though_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path());
        for _ in 0..3 {
            journal.report((1, "a"), &Event::Renamed { from: "x" });
        }
        journal.report((2, "b"), &Event::Ended {});
        let mut all = journal.follow_from(None, 2);
        for wanted in [2, 3, 4] {
            assert_eq!(number(&mut all).await, wanted);
        }
        let mut now = journal.follow(None);
        let waiting = tokio::spawn(async move { number(&mut now).await });
        tokio::task::yield_now().await;
        journal.report((1, "a"), &Event::Renamed { from: "y" });
        assert_eq!(waiting.await.unwrap(), 5);
        let mut one = journal.follow_from(Some(2), 1);
        assert_eq!(number(&mut one).await, 4);
        assert_eq!(one.next().await.unwrap(), None, "its last");
        drop(journal);
        assert_eq!(number(&mut all).await, 5);
        assert_eq!(all.next().await.unwrap(), None, "the node has ended");
    }

    #[tokio::test]
    async fn one_gap_stands_for_what_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path());
        let mut slow = journal.follow(None);
        for _ in 0..10_007 {
            journal.report((1, "a"), &Event::Renamed { from: "x" });
        }
        assert_eq!(number(&mut slow).await, 7, "lost");
        assert_eq!(number(&mut slow).await, 8);
        // A number of an earlier life of the node.
        let mut late = journal.follow_from(None, 1_000_000);
        assert_eq!((number(&mut late).await, number(&mut late).await), (Value::Null, 8.into()));
    }
}
