//! `history/`: past conversations of a session's agent in its directory; the node's
//! `conversations`.

use std::fmt::Write;
use std::time::SystemTime;

use super::row::{Answer, At, Fetched, File, MAX_VIEW, Row};
use super::rows_turn::ended_line;
use super::subject::{SessionAt, TalkAt};
use super::{LocalNode, PER_OBJECT, Shows, Spot, no_file};
use crate::agent::history::Conversation;
use crate::clock::rfc3339;
use crate::error::Result;
use crate::log::field;
use crate::session::ModeSet;
use crate::tree::Accepts;

pub const HISTORY: &str = "history";
const HISTORY_DIR: u64 = 0xfb;
/// Within a session: the two files of `history/`.
const INDEX: u64 = 0xe0;
/// Within a conversation: its transcript.
const TALK: u64 = 1;

/// What stands beside the conversations.
pub static ROWS: &[Row<SessionAt>] = &[
    Row {
        name: "index",
        mode: 0o400,
        about: "A line a conversation, newest first: id, last change, start, prompts, title.",
        file: File::Fetched(Fetched { read: |s| index(s, false), size: index_size }),
    },
    Row {
        name: "index.json",
        mode: 0o400,
        about: "The same as JSON.",
        file: File::Fetched(Fetched { read: |s| index(s, true), size: index_size }),
    },
];

/// The row of every conversation; its name is the conversation's id.
pub static TALK_ROW: Row<TalkAt> = Row {
    name: "<id>",
    mode: 0o400,
    about: "A conversation as a readable transcript.",
    file: File::Fetched(Fetched { read: transcript, size: |_| MAX_VIEW }),
};

impl LocalNode {
    pub(super) fn walk_history(&self, s: SessionAt, rest: &[&str]) -> Result<Spot> {
        match rest {
            [] => {
                let set = s.session.modes(HISTORY);
                Ok(Spot::Dir {
                    id: s.session.serial << PER_OBJECT | HISTORY_DIR,
                    accepts: Accepts::Nothing,
                    modes: ModeSet { mode: set.mode.or(Some(0o500)), ..set },
                    shows: Shows::History(s),
                })
            }
            [name] => {
                let modes = s.session.modes(&format!("{HISTORY}/{name}"));
                if let Some(n) = ROWS.iter().position(|r| r.name == *name) {
                    let id = s.session.serial << PER_OBJECT | (INDEX + n as u64);
                    let file = At { row: &ROWS[n], subject: s, rotated: false };
                    return Ok(Spot::File { id, file: Box::new(file), modes });
                }
                let list = s.session.history.list();
                let Some((serial, talk)) = list.iter().find(|(_, c)| c.id == *name) else {
                    s.sessions.poke_history(&s.session);
                    return no_file(name);
                };
                let subject = TalkAt { sessions: s.sessions, session: s.session, talk: talk.clone() };
                let file = At { row: &TALK_ROW, subject, rotated: false };
                Ok(Spot::File { id: serial << PER_OBJECT | TALK, file: Box::new(file), modes })
            }
            _ => no_file(rest.last().unwrap_or(&HISTORY)),
        }
    }

    pub(super) fn talk_names(s: &SessionAt) -> Vec<String> {
        s.sessions.poke_history(&s.session);
        let list = s.session.history.list();
        ROWS.iter().map(|r| r.name.to_owned()).chain(list.iter().map(|(_, c)| c.id.clone())).collect()
    }
}

fn index(s: SessionAt, json: bool) -> Answer<Vec<u8>> {
    Box::pin(async move {
        s.sessions.refresh_history(&s.session).await?;
        let list = s.session.history.list();
        let bound = s.session.conversation();
        let text = if json {
            let all: Vec<_> = list.iter().map(|(_, c)| as_json(c, bound.as_ref() == Some(&c.id))).collect();
            format!("{}\n", serde_json::Value::from(all))
        } else {
            list.iter().map(|(_, c)| format!("{:<38} {}\n", field(&c.id), dates(c))).collect()
        };
        Ok(text.into_bytes())
    })
}

/// A bound: the disk knows how many conversations there are now.
fn index_size(s: &SessionAt) -> u64 {
    const LINE: u64 = 8 << 10; // a working directory is the longest of its fields, and JSON escapes it
    const MORE: u64 = 64;
    (s.session.history.list().len() as u64 + MORE) * LINE
}

fn transcript(t: TalkAt) -> Answer<Vec<u8>> {
    Box::pin(async move { Ok(ended_line(t.sessions.transcript(&t.session, &t.talk).await?).into_bytes()) })
}

/// `conversations`: of every agent that can be read, newest first.
pub(super) fn conversations(all: &[(String, Conversation)]) -> String {
    let mut out = String::new();
    for (agent, c) in all {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{agent:<10} {} {:<38} {}", field(&c.cwd), field(&c.id), dates(c));
    }
    out
}

fn dates(c: &Conversation) -> String {
    let time = |t: Option<SystemTime>| t.map_or_else(|| "-".to_owned(), rfc3339);
    let more = if c.at_least { "+" } else { "" };
    format!("{} {} {}{more} {}", time(Some(c.updated)), time(c.started), c.prompts, field(&c.title))
}

fn as_json(c: &Conversation, bound: bool) -> serde_json::Value {
    serde_json::json!({
        "id": c.id, "agent": c.agent, "cwd": c.cwd, "title": c.title, "updated": rfc3339(c.updated),
        "started": c.started.map(rfc3339), "prompts": c.prompts, "at_least": c.at_least, "bound": bound,
    })
}
