//! `history/`: past conversations of a session's agent in its directory; the node's
//! `conversations`.

use std::fmt::Write;
use std::time::SystemTime;

use super::dir::{Described, DirRow, Found, Holds, Others, Subject, What, join};
use super::row::{Answer, At, Fetched, File, MAX_VIEW, Row};
use super::rows_turn::ended_line;
use super::subject::{SessionAt, TalkAt};
use crate::log::field;
use muxfs_agent::history::Conversation;
use muxfs_tree::base::clock::rfc3339;
use muxfs_tree::id::Ids;

pub static HISTORY: DirRow<SessionAt> = DirRow {
    lacks: "conversation",
    ..DirRow::new(
        "history",
        0o500,
        "Past conversations of the session's agent in its directory.",
        &[Holds::Files(ROWS), Holds::Others(&All)],
    )
};

/// What stands beside the conversations.
static ROWS: &[Row<SessionAt>] = &[
    Row::new(
        "index",
        0o400,
        "A line a conversation, newest first: id, last change, start, prompts, title.",
        File::Fetched(Fetched { read: |s| index(s, false), size: index_size }),
    ),
    Row::new(
        "index.json",
        0o400,
        "The same as JSON.",
        File::Fetched(Fetched { read: |s| index(s, true), size: index_size }),
    ),
];

/// The row of every conversation; its name is the conversation's id.
static CONVERSATIONS: [Row<TalkAt>; 1] = [Row::new(
    "<id>",
    0o400,
    "A conversation as a readable transcript.",
    File::Fetched(Fetched { read: transcript, size: |_| MAX_VIEW }),
)];

/// Every conversation that is known. Each listing has the disk read in the background.
struct All;

impl Others<SessionAt> for All {
    fn names(&self, s: &SessionAt) -> Vec<String> {
        s.sessions.conversations.poke(&s.session);
        s.session.history.list().iter().map(|c| c.id.clone()).collect()
    }

    fn look(&self, s: &SessionAt) -> Option<Answer<()>> {
        let s = s.clone();
        Some(Box::pin(async move { s.sessions.conversations.refresh(&s.session).await }))
    }

    fn find(&self, s: &SessionAt, ids: &Ids, path: &str, name: &str) -> Option<Found> {
        let list = s.session.history.list();
        let Some(conversation) = list.iter().find(|c| c.id == name) else {
            s.sessions.conversations.poke(&s.session);
            return None;
        };
        let (sessions, session) = (s.sessions.clone(), s.session.clone());
        let subject = TalkAt { sessions, session, conversation: conversation.clone() };
        let (id, modes) = (subject.id(ids), s.modes(&join(path, name)));
        let file = At { row: &CONVERSATIONS[0], subject, rotated: false };
        Some(Found { id, modes, what: What::File(Box::new(file)) })
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.files(dir, &CONVERSATIONS);
    }
}

fn index(s: SessionAt, json: bool) -> Answer<Vec<u8>> {
    Box::pin(async move {
        s.sessions.conversations.refresh(&s.session).await?;
        let list = s.session.history.list();
        let bound = s.session.conversation();
        let text = if json {
            let all: Vec<_> = list.iter().map(|c| as_json(c, bound.as_ref() == Some(&c.id))).collect();
            format!("{}\n", serde_json::Value::from(all))
        } else {
            list.iter().map(|c| format!("{:<38} {}\n", field(&c.id), dates(c))).collect()
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
    Box::pin(async move {
        let text = t.sessions.conversations.transcript(&t.session, &t.conversation).await?;
        Ok(ended_line(text).into_bytes())
    })
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
