//! The lines of a node's own logs: `logs` with its twin `logs.json`, and `errors`.
//!
//! Knows how such a line looks and where it goes. Knows nothing of who has something to say.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::field::{field, free_text};
use super::file::LogFile;
use muxfs_tree::base::clock::rfc3339;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    /// Who did what.
    Audit,
    Warn,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Audit => "audit",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    time: &'a str,
    level: Level,
    /// `null` where the event belongs to no session.
    session: Option<&'a str>,
    text: &'a str,
}

/// `logs` and `logs.json`: each event is one line in both.
#[derive(Debug, Clone)]
pub struct NodeLog {
    pub text: Arc<LogFile>,
    pub json: Arc<LogFile>,
}

impl NodeLog {
    /// An empty `session` means the node itself.
    pub fn add(&self, now: SystemTime, level: Level, session: &str, text: &str) {
        let time = rfc3339(now);
        let line = format!("{time} {} {} {}\n", level.name(), field(session), free_text(text));
        self.text.append(line.as_bytes(), now);
        let session = (!session.is_empty()).then_some(session);
        let entry = Entry { time: &time, level, session, text };
        // Strings and an enum: there is nothing in it that JSON cannot hold.
        if let Ok(mut line) = serde_json::to_vec(&entry) {
            line.push(b'\n');
            self.json.append(&line, now);
        }
    }
}

/// `errors`: what was refused or failed.
#[derive(Debug, Clone)]
pub struct ErrorLog(pub Arc<LogFile>);

impl ErrorLog {
    /// Who asked, for which file, and why it was refused.
    pub fn add(&self, now: SystemTime, who: &str, place: &str, why: &str) {
        let time = rfc3339(now);
        let line = format!("{time} {} {} {}\n", field(who), field(place), free_text(why));
        self.0.append(line.as_bytes(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LogLimits, text_gap};
    use std::time::Duration;

    #[test]
    fn an_event_is_one_line_in_both_faces() {
        let dir = tempfile::tempdir().unwrap();
        let open =
            |name| Arc::new(LogFile::open(dir.path().join(name), "node", LogLimits::default(), text_gap));
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_089);
        let log = NodeLog { text: open("logs"), json: open("logs.json") };
        log.add(now, Level::Warn, "my session", "two\nlines \"q\"");
        log.add(now, Level::Info, "", "up");
        let text = String::from_utf8(log.text.current().read_at(0, 999).unwrap()).unwrap();
        assert_eq!(
            text,
            "2023-11-14T22:13:20.089Z warn my%20session two%0Alines \"q\"\n\
             2023-11-14T22:13:20.089Z info - up\n"
        );
        let json = String::from_utf8(log.json.current().read_at(0, 999).unwrap()).unwrap();
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["text"], "two\nlines \"q\"");
        assert_eq!(first["session"], "my session");
        assert_eq!(json.lines().count(), 2);

        let errors = ErrorLog(open("errors"));
        errors.add(now, "user", "s/ctl", "unknown verb: \"bad\x1b\"");
        let text = String::from_utf8(errors.0.current().read_at(0, 999).unwrap()).unwrap();
        assert_eq!(text, "2023-11-14T22:13:20.089Z user s/ctl unknown verb: \"bad%1B\"\n");
    }
}
