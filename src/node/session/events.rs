//! What happens on a node, as its `events` files say it: a closed set, each with its fields.
//!
//! Pure. Must not know who reads events, nor how they are kept.

use std::borrow::Cow;

use serde::Serialize;

/// One event. Beside its own fields each has `event`, `time`, `node`, `seq`, and `session` where it is
/// about one.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    Made { ours: bool, tmux: &'a str },
    Renamed { from: &'a str },
    Ended {},
    State(Change<'a>),
    Accepted(Turn<'a>),
    TurnRenamed(Turn<'a>),
    Withdrawn(Turn<'a>),
    Delivered(Turn<'a>),
    Suspended(Turn<'a>),
    Done(Turn<'a>),
    Typed { file: &'a str, pane: &'a str, origin: By<'a> },
    Gap { count: Option<u64> },
}

/// A session is in another state.
#[derive(Debug, Serialize)]
pub struct Change<'a> {
    pub state: &'a str,
    pub detail: String,
    pub before: &'a str,
    pub evidence: &'a str,
    pub why: Option<&'a str>,
    pub until: Option<String>,
}

/// Something happened to a prompt.
#[derive(Debug, Clone, Serialize)]
pub struct Turn<'a> {
    pub turn: &'a str,
    pub stage: &'a str,
    pub bytes: u64,
    pub why: Option<&'a str>,
    pub origin: By<'a>,
}

/// What happened to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Accepted,
    Renamed,
    Withdrawn,
    Delivered,
    Suspended,
    Done,
}

impl Step {
    pub fn event(self, turn: Turn<'_>) -> Event<'_> {
        match self {
            Step::Accepted => Event::Accepted(turn),
            Step::Renamed => Event::TurnRenamed(turn),
            Step::Withdrawn => Event::Withdrawn(turn),
            Step::Delivered => Event::Delivered(turn),
            Step::Suspended => Event::Suspended(turn),
            Step::Done => Event::Done(turn),
        }
    }
}

/// Who wrote it: names, then numbers of this machine.
#[derive(Debug, Clone, Serialize)]
pub struct By<'a> {
    pub node: &'a str,
    pub user: Option<Cow<'a, str>>,
    /// The session whose pane it was written in.
    pub session: Option<&'a str>,
    pub uid: Option<u32>,
    pub init: bool,
    pub pid: Option<u32>,
}

/// A row of the manual: an event's name, its own fields, and what it means.
pub type Row = (&'static str, &'static [&'static str], &'static str);

const TURN: &[&str] = &["turn", "stage", "bytes", "why", "origin"];

/// Fields of every event, and what they mean.
pub const COMMON: &[(&str, &str)] = &[
    ("event", "The event's name."),
    ("time", "When it happened, RFC 3339 in UTC with milliseconds."),
    ("node", "The node's name."),
    (
        "seq",
        "Counts the node's events from 1 at its start. A number that is left out belongs to another session.",
    ),
    ("session", "The session's name at that time; not there where the event is about the node."),
];

/// Every event.
pub const TABLE: &[Row] = &[
    ("made", &["ours", "tmux"], "A session came: made here (`ours`) or by others; `tmux` is its id there."),
    ("renamed", &["from"], "A session has another name; `from` was the old one."),
    ("ended", &[], "A session is gone. The last event of its own `events`."),
    (
        "state",
        &["state", "detail", "before", "evidence", "why", "until"],
        "A session's state changed: `detail` with its exit status, `before` the old state, `evidence` what it was seen by; \
         `why` and `until` where it is `limited`.",
    ),
    (
        "accepted",
        TURN,
        "A prompt is stored and waits for its turn. `origin` has who wrote it: `node`, `user` and, where it was written in \
         a session's pane, `session` are names; `uid` and `pid` are numbers of that node; `init` is true of a first prompt \
         of the settings.",
    ),
    ("turn-renamed", TURN, "A waiting prompt has another name."),
    ("withdrawn", TURN, "A waiting prompt was taken back."),
    ("delivered", TURN, "The agent took a prompt."),
    ("suspended", TURN, "A turn waits for a person, or for the end of a limit."),
    ("done", TURN, "A turn is over; `stage` says how, a word of TURNS, and `why` more."),
    ("typed", &["file", "pane", "origin"], "A message that waits for no turn was typed into a pane."),
    (
        "gap",
        &["count"],
        "`count` events of the node are left out here, as they are no longer kept: this reader was too slow, or came back \
         too late. `null` where nobody knows how many: the node has started anew.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Event<'static>> {
        let origin = By {
            node: "honey",
            user: Some("root".into()),
            session: None,
            uid: Some(0),
            init: false,
            pid: Some(1),
        };
        let turn = Turn { turn: "0001", stage: "queued", bytes: 1, why: None, origin: origin.clone() };
        let change = Change {
            state: "ready",
            detail: "ready".into(),
            before: "busy",
            evidence: "hook",
            why: None,
            until: None,
        };
        vec![
            Event::Made { ours: true, tmux: "$1" },
            Event::Renamed { from: "old" },
            Event::Ended {},
            Event::State(change),
            Event::Accepted(turn.clone()),
            Event::TurnRenamed(turn.clone()),
            Event::Withdrawn(turn.clone()),
            Event::Delivered(turn.clone()),
            Event::Suspended(turn.clone()),
            Event::Done(turn),
            Event::Typed { file: "text", pane: "%1", origin },
            Event::Gap { count: Some(1) },
        ]
    }

    #[test]
    fn the_table_has_every_event_with_its_fields() {
        // An event more makes this match incomplete: then it is a row more, too.
        let place = |event: &Event<'_>| match event {
            Event::Made { .. } => 0,
            Event::Renamed { .. } => 1,
            Event::Ended {} => 2,
            Event::State(_) => 3,
            Event::Accepted(_) => 4,
            Event::TurnRenamed(_) => 5,
            Event::Withdrawn(_) => 6,
            Event::Delivered(_) => 7,
            Event::Suspended(_) => 8,
            Event::Done(_) => 9,
            Event::Typed { .. } => 10,
            Event::Gap { .. } => 11,
        };
        let every = every();
        assert_eq!(every.len(), TABLE.len());
        for (n, event) in every.iter().enumerate() {
            assert_eq!(place(event), n);
            let json = serde_json::to_value(event).unwrap();
            let (name, fields, _) = TABLE[n];
            assert_eq!(json["event"], name);
            let mut named: Vec<&str> = fields.to_vec();
            named.push("event");
            named.sort_unstable();
            let written: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(written, named, "{name}");
        }
    }
}
