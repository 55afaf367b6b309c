//! OpenCode: `~/.local/share/opencode/opencode.db`, tables `session`, `message` and `part`, as
//! 1.18.33 writes them.
//!
//! Knows the tables. A part is written again and again while its text comes, so a message is
//! read when it is complete.

use std::path::PathBuf;

use rusqlite::{Connection, params, params_from_iter};
use serde_json::Value;

use super::cwd::{Cwd, fits};
use super::files::{self, MOST, WINDOW};
use super::text::{from_millis, one_line, shortened};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain, sqlite};
use muxfs_tree::base::error::Result;

pub struct Opencode;

/// Messages that are read at once, the newest.
const MESSAGES: usize = 20_000;

fn place(home: &Home) -> PathBuf {
    let data = home.dir("XDG_DATA_HOME", ".local/share").join("opencode");
    match (home.env)("OPENCODE_DB").filter(|v| !v.is_empty() && v != ":memory:") {
        // An absolute path stands for itself.
        Some(name) => data.join(name),
        None => data.join("opencode.db"),
    }
}

impl Adapter for Opencode {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let mut listing = Listing::default();
        match sessions(home, &cwd.map(Cwd::new), None) {
            Ok(found) => listing.found = found,
            Err(e) => listing.trouble.push(e.text().to_owned()),
        }
        super::jsonl::finish(listing)
    }

    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        sessions(home, &cwd.map(Cwd::new), Some(id)).ok()?.pop()
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        let db = sqlite::open(&c.place)?;
        let newest = newest(&db, &c.id, mark).map_err(|e| sqlite::fault(&c.place, e))?;
        Ok(newest.finish(mark))
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        let db = sqlite::open(&c.place)?;
        let sql = "SELECT time_created, id FROM message WHERE session_id = ? ORDER BY time_created DESC, id DESC LIMIT 1";
        let last = db.query_row(sql, [&c.id], |row| {
            Ok(Mark {
                at: sqlite::number(row, "time_created").unwrap_or(0),
                last: sqlite::text(row, "id").unwrap_or_default(),
            })
        });
        match last {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Mark::default()),
            last => last.map_err(|e| sqlite::fault(&c.place, e)),
        }
    }
}

/// Sessions of the user, newest first: not those of sub-agents, and not what was put away.
fn sessions(home: &Home, cwd: &Option<Cwd>, id: Option<&str>) -> Result<Vec<Conversation>> {
    let place = place(home);
    if files::seen(place.clone()).is_none() {
        return Ok(Vec::new());
    }
    let mut values: Vec<&str> = Vec::new();
    let mut sql = "SELECT * FROM session WHERE parent_id IS NULL AND time_archived IS NULL".to_owned();
    if let Some(cwd) = cwd {
        values.extend(cwd.names().iter().map(String::as_str));
        sql += if values.len() == 2 { " AND directory IN (?, ?)" } else { " AND directory = ?" };
    }
    if let Some(id) = id {
        values.push(id);
        sql += " AND id = ?";
    }
    sql += &format!(" ORDER BY time_updated DESC LIMIT {MOST}");
    let db = sqlite::open(&place)?;
    let read = || -> rusqlite::Result<Vec<Conversation>> {
        let mut found = Vec::new();
        let mut query = db.prepare(&sql)?;
        let mut rows = query.query(params_from_iter(&values))?;
        while let Some(row) = rows.next()? {
            found.extend(session(row, &place).filter(|c| fits(cwd, &c.cwd)));
        }
        Ok(found)
    };
    let mut found = read().map_err(|e| sqlite::fault(&place, e))?;
    // A count that takes too long is no reason to show nothing.
    for c in &mut found {
        match prompts(&db, &c.id) {
            Ok(count) => (c.prompts, c.at_least) = (count, false),
            Err(_) => break,
        }
    }
    // Opened and never spoken to.
    found.retain(|c| c.prompts > 0 || c.at_least);
    Ok(found)
}

fn session(row: &rusqlite::Row, place: &std::path::Path) -> Option<Conversation> {
    let text = |column| sqlite::text(row, column);
    Some(Conversation {
        agent: "opencode",
        id: text("id").filter(|id| plain(id))?,
        cwd: text("directory").unwrap_or_default(),
        title: one_line(&text("title").unwrap_or_default()),
        started: sqlite::number(row, "time_created").and_then(from_millis),
        updated: sqlite::number(row, "time_updated").and_then(from_millis)?,
        prompts: 0,
        at_least: true,
        place: place.to_owned(),
    })
}

fn prompts(db: &Connection, session: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM message WHERE session_id = ? \
               AND CASE WHEN json_valid(data) THEN json_extract(data, '$.role') END = 'user'";
    db.prepare_cached(sql)?.query_row([session], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

struct Message {
    mark: Mark,
    data: Value,
    parts: Vec<Value>,
}

impl Message {
    fn by_agent(&self) -> bool {
        self.data["role"] == "assistant"
    }

    fn whole(&self) -> bool {
        let over = !self.data["time"]["completed"].is_null() || !self.data["error"].is_null();
        !self.parts.is_empty() && (over || !self.by_agent()) || !self.data.is_object()
    }

    fn add_entries(&self, out: &mut Vec<Entry>) {
        let when = from_millis(self.mark.at);
        let who = if self.by_agent() { Who::Agent } else { Who::User };
        for part in &self.parts {
            match part["type"].as_str() {
                // Written into the user's prompt by the program.
                Some("text") if part["synthetic"] == true => {}
                Some("text") => out.extend(Entry::new(who, part["text"].as_str().unwrap_or_default(), when)),
                Some("tool") => {
                    let state = &part["state"];
                    let call =
                        super::text::tool_call(part["tool"].as_str().unwrap_or("tool"), state.get("input"));
                    out.extend(Entry::new(Who::Tool, &call, when));
                    let outcome = state["output"].as_str().or(state["error"].as_str()).unwrap_or_default();
                    out.extend(Entry::new(Who::Tool, &shortened(outcome), when));
                    // Where it asks nothing more of the model, this is the end of the turn.
                    if outcome.starts_with("The user rejected permission") {
                        out.extend(Entry::new(Who::Interrupt, "the tool was refused", when));
                    }
                }
                Some("compaction") => {
                    out.extend(Entry::new(Who::Note, "the conversation was compacted", when))
                }
                _ => {}
            }
        }
        let error = &self.data["error"];
        let text = error["data"]["message"].as_str().or(error["name"].as_str()).unwrap_or_default();
        let who = if error["name"] == "MessageAbortedError" { Who::Interrupt } else { Who::Fault };
        out.extend(Entry::new(who, text, when));
    }
}

/// Messages after a mark, the oldest first.
struct Newest {
    messages: Vec<Message>,
    /// Older ones did not fit in.
    more: bool,
}

fn newest(db: &Connection, session: &str, mark: &Mark) -> rusqlite::Result<Newest> {
    let sql = "SELECT id, time_created, data FROM message WHERE session_id = ?1 \
               AND (time_created, id) > (?2, ?3) ORDER BY time_created DESC, id DESC";
    let mut query = db.prepare(sql)?;
    let mut rows = query.query(params![session, mark.at as i64, mark.last])?;
    let mut newest = Newest { messages: Vec::new(), more: false };
    let mut left = WINDOW;
    while let Some(row) = rows.next()? {
        let id = sqlite::text(row, "id").unwrap_or_default();
        let (parts, size) = parts(db, &id)?;
        if newest.messages.len() >= MESSAGES || size > left {
            newest.more = true;
            break;
        }
        left -= size;
        let data = sqlite::text(row, "data").unwrap_or_default();
        newest.messages.push(Message {
            mark: Mark { at: sqlite::number(row, "time_created").unwrap_or(0), last: id },
            data: serde_json::from_str(&data).unwrap_or_default(),
            parts,
        });
    }
    newest.messages.reverse();
    Ok(newest)
}

/// A message's parts and their size. One that is larger than all that is read at once is left out.
fn parts(db: &Connection, message: &str) -> rusqlite::Result<(Vec<Value>, u64)> {
    let sql = format!(
        "SELECT CASE WHEN octet_length(data) <= {WINDOW} THEN data END AS data FROM part WHERE message_id = ? ORDER BY id"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query([message])?;
    let (mut parts, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let data = sqlite::text(row, "data").unwrap_or_default();
        size += data.len() as u64;
        if size <= WINDOW {
            parts.push(serde_json::from_str(&data).unwrap_or_default());
        }
    }
    Ok((parts, size.min(WINDOW)))
}

impl Newest {
    /// Up to the first message that is being written. One before a later answer is over.
    fn finish(self, mark: &Mark) -> (Vec<Entry>, Mark) {
        let answer = self.messages.iter().rposition(Message::by_agent).unwrap_or(0);
        let (mut out, mut mark) = (Vec::new(), mark.clone());
        if self.more {
            out.push(Entry::note("older messages are left out"));
        }
        for (i, message) in self.messages.iter().enumerate() {
            if i >= answer && !message.whole() {
                break;
            }
            message.add_entries(&mut out);
            mark = message.mark.clone();
        }
        (out, mark)
    }
}
