//! Antigravity CLI: `~/.gemini/antigravity-cli/history.jsonl`, a row a prompt, and for each
//! conversation `brain/<id>/.system_generated/logs/transcript.jsonl`.
//!
//! Knows their rows as others describe them: no real file was at hand. Where there is no
//! transcript only the prompts are shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cwd::{Cwd, fits};
use super::files::{self, WINDOW};
use super::jsonl::{self, Facts, Rows};
use super::text::{one_line, shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain};
use muxfs_tree::base::error::{Error, Result};

pub struct Agy;

fn root(home: &Home) -> PathBuf {
    home.home.join(".gemini/antigravity-cli")
}

impl Adapter for Agy {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let asked = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let place = root(home).join("history.jsonl");
        let mut all: HashMap<String, Conversation> = HashMap::new();
        let pass = files::rows(&place, 0, WINDOW, &mut |row| prompt(&row, &place, &mut all));
        match pass {
            Ok(pass) => {
                listing.read = pass.read;
                if pass.rows == 0 && pass.broken > 0 {
                    listing.trouble.push(format!("{}: no row of it can be read", place.display()));
                }
                if pass.left_out > 0 {
                    all.values_mut().for_each(|c| c.at_least = true);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => listing.trouble.push(format!("{}: {e}", place.display())),
        }
        listing.found = all.into_values().filter(|c| fits(&asked, &c.cwd)).collect();
        jsonl::finish(listing)
    }

    fn since(&self, home: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        let file = transcript(home, &c.id);
        if files::seen(file.clone()).is_some() {
            return jsonl::since(&TranscriptRows, &file, mark);
        }
        let mut said = Vec::new();
        let pass = files::rows(&c.place, mark.at, WINDOW, &mut |row| {
            if row["conversationId"] == c.id.as_str() {
                Prompts.said(&row, &mut said);
            }
        });
        let pass = pass.map_err(|e| Error::io(c.place.display(), e))?;
        Ok((jsonl::after_gap(pass.left_out, said), Mark { at: pass.at, last: String::new() }))
    }

    fn end(&self, home: &Home, c: &Conversation) -> Result<Mark> {
        let file = transcript(home, &c.id);
        jsonl::end(if files::seen(file.clone()).is_some() { &file } else { &c.place })
    }
}

fn transcript(home: &Home, id: &str) -> PathBuf {
    root(home).join("brain").join(id).join(".system_generated/logs/transcript.jsonl")
}

/// Adds a prompt to its conversation. A row without one belongs to none.
fn prompt(row: &Value, place: &Path, all: &mut HashMap<String, Conversation>) {
    let Some(id) = row["conversationId"].as_str().filter(|id| plain(id)) else { return };
    let when = time(row.get("timestamp"));
    let text = row["display"].as_str().unwrap_or_default();
    let c = all.entry(id.to_owned()).or_insert_with(|| Conversation {
        agent: "agy",
        id: id.to_owned(),
        cwd: String::new(),
        title: String::new(),
        started: when,
        updated: std::time::SystemTime::UNIX_EPOCH,
        prompts: 0,
        at_least: false,
        place: place.to_owned(),
    });
    c.prompts += 1;
    c.updated = c.updated.max(when.unwrap_or(c.updated));
    if c.cwd.is_empty() {
        c.cwd = row["workspace"].as_str().unwrap_or_default().to_owned();
    }
    if c.title.is_empty() {
        c.title = one_line(text);
    }
}

/// `{"display","timestamp","workspace","conversationId"}`
struct Prompts;

impl Rows for Prompts {
    fn agent(&self) -> &'static str {
        "agy"
    }

    fn facts(&self, _: &Value, _: &mut Facts) {}

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        out.extend(Entry::new(
            Who::User,
            row["display"].as_str().unwrap_or_default(),
            time(row.get("timestamp")),
        ));
    }
}

/// `{"step_index","source","type","status","created_at","content","tool_calls"}`
struct TranscriptRows;

impl Rows for TranscriptRows {
    fn agent(&self) -> &'static str {
        "agy"
    }

    fn facts(&self, _: &Value, _: &mut Facts) {}

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        let (text, when) = (row["content"].as_str().unwrap_or_default(), time(row.get("created_at")));
        match row["type"].as_str() {
            Some("USER_INPUT") => out.extend(Entry::new(Who::User, request(text), when)),
            Some("PLANNER_RESPONSE") => {
                out.extend(Entry::new(Who::Agent, text, when));
                for call in row["tool_calls"].as_array().into_iter().flatten() {
                    let call = tool_call(call["name"].as_str().unwrap_or("tool"), call.get("args"));
                    out.extend(Entry::new(Who::Tool, &call, when));
                }
            }
            Some("ERROR_MESSAGE") => out.extend(Entry::new(Who::Note, text, when)),
            Some("RUN_COMMAND" | "VIEW_FILE" | "LIST_DIRECTORY" | "CODE_ACTION" | "GENERIC") => {
                out.extend(Entry::new(Who::Tool, &shortened(text), when));
            }
            _ => {}
        }
    }
}

/// What was typed, out of what the program put around it.
fn request(text: &str) -> &str {
    let text = text.split_once("<USER_REQUEST>").map_or(text, |(_, rest)| rest);
    let text = text.split_once("</USER_REQUEST>").map_or(text, |(typed, _)| typed);
    text.split_once("<ADDITIONAL_METADATA>").map_or(text, |(typed, _)| typed).trim()
}
