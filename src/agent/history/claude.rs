//! Claude Code: `~/.claude/projects/<encoded cwd>/<id>.jsonl`, as 2.1.329 writes it.
//!
//! Knows its rows. A conversation that was rewound keeps both branches in one file; they are read in
//! the order in which they were written.

use serde_json::Value;

use super::cwd::{Cwd, LONGEST, encoded};
use super::files::{self, Seen};
use super::jsonl::{self, Facts, Rows};
use super::text::{parts, shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain};
use muxfs_tree::base::error::Result;

pub struct Claude;

impl Adapter for Claude {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let cwd = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let files = projects(&home.dir("CLAUDE_CONFIG_DIR", ".claude"), "", &cwd, &mut listing.trouble);
        jsonl::list(self, files, &cwd, &mut listing, &mut |_, _| {});
        jsonl::finish(listing)
    }

    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        find(self, &home.dir("CLAUDE_CONFIG_DIR", ".claude"), "", cwd, id)
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        jsonl::since(self, &c.place, mark)
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        jsonl::end(&c.place)
    }
}

/// The `*.jsonl` in the directories `projects/<encoded cwd>/<below>`: those that may be of `cwd`.
pub fn projects(
    root: &std::path::Path,
    below: &str,
    cwd: &Option<Cwd>,
    trouble: &mut Vec<String>,
) -> Vec<Seen> {
    let root = root.join("projects");
    let mut files = Vec::new();
    for name in files::names(&root, trouble) {
        if cwd.as_ref().is_none_or(|cwd| may_be(&name, cwd)) {
            jsonl::gather(&root.join(name).join(below), |n| n.ends_with(".jsonl"), &mut files, trouble);
        }
    }
    files
}

pub fn find(
    rows: &dyn Rows,
    root: &std::path::Path,
    below: &str,
    cwd: Option<&str>,
    id: &str,
) -> Option<Conversation> {
    let cwd = cwd.map(Cwd::new);
    if !plain(id) {
        return None;
    }
    let root = root.join("projects");
    let dirs = files::names(&root, &mut Vec::new()).into_iter();
    let dirs = dirs.filter(|n| cwd.as_ref().is_none_or(|cwd| may_be(n, cwd)));
    let mut places = dirs.map(|d| root.join(d).join(below).join(format!("{id}.jsonl")));
    places.find_map(|place| jsonl::one(rows, place, &cwd, id))
}

/// The encoding loses, and of a long name only the beginning is kept: the rows decide.
fn may_be(dir: &str, cwd: &Cwd) -> bool {
    cwd.names().iter().map(|n| encoded(n)).any(|name| match name.get(..LONGEST) {
        Some(begin) if name.len() > LONGEST => dir.starts_with(begin),
        _ => dir == name,
    })
}

impl Rows for Claude {
    fn agent(&self) -> &'static str {
        "claude"
    }

    fn facts(&self, row: &Value, facts: &mut Facts) {
        // A fork begins with rows of the conversation it came from; those have the new id as well.
        facts.id(row.get("sessionId"));
        facts.cwd(row.get("cwd"));
        facts.time(time(row.get("timestamp")));
        match row["type"].as_str() {
            Some("custom-title") => facts.title(row.get("customTitle")),
            Some("user") if yes(row, "isSidechain") && !facts.spoken() => facts.not_ours = true,
            _ => {}
        }
    }

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        if yes(row, "isSidechain") {
            return;
        }
        let when = time(row.get("timestamp"));
        match row["type"].as_str() {
            Some("user") if aside(row) => {}
            Some("user") => user(row, when, out),
            Some("assistant") => assistant(row, when, out),
            // A prompt that went into a running turn.
            Some("attachment") if row["attachment"]["type"] == "queued_command" => {
                let mode = row["attachment"]["commandMode"].as_str().unwrap_or("prompt");
                let who = if mode == "prompt" { Who::User } else { Who::Note };
                out.extend(Entry::new(who, &parts(&row["attachment"]["prompt"]).join("\n"), when));
            }
            Some("system") if row["subtype"] == "compact_boundary" => {
                out.extend(Entry::new(Who::Note, "the conversation was compacted", when));
            }
            _ => {}
        }
    }
}

fn yes(row: &Value, key: &str) -> bool {
    row[key] == true
}

/// Written in the user's name, but neither typed nor shown.
fn aside(row: &Value) -> bool {
    yes(row, "isMeta") || yes(row, "isCompactSummary")
}

fn user(row: &Value, when: Option<std::time::SystemTime>, out: &mut Vec<Entry>) {
    let content = &row["message"]["content"];
    for block in content.as_array().into_iter().flatten().filter(|b| b["type"] == "tool_result") {
        out.extend(Entry::new(Who::Tool, &shortened(&parts(&block["content"]).join("\n")), when));
    }
    let human = row["origin"]["kind"].as_str().is_none_or(|kind| kind == "human");
    let texts: Vec<&str> = parts(content);
    let text = texts.join("\n");
    match command(&text) {
        Some(line) => out.extend(Entry::new(Who::User, &line, when)),
        // Also where a dialog was declined; an answer that the user gave with it goes on instead.
        None if text.trim_start().starts_with("[Request interrupted by user") => {
            out.extend(Entry::new(Who::Interrupt, &text, when))
        }
        None if human && !by_program(&text) => out.extend(Entry::new(Who::User, &text, when)),
        None => out.extend(Entry::new(Who::Note, &shortened(&text), when)),
    }
}

fn assistant(row: &Value, when: Option<std::time::SystemTime>, out: &mut Vec<Entry>) {
    // "API Error …" and "You've hit your limit" are written as if the model had said them.
    let who = if yes(row, "isApiErrorMessage") { Who::Fault } else { Who::Agent };
    match &row["message"]["content"] {
        Value::String(text) => out.extend(Entry::new(who, text, when)),
        Value::Array(blocks) => {
            for block in blocks {
                match block["type"].as_str() {
                    Some("text") => {
                        out.extend(Entry::new(who, block["text"].as_str().unwrap_or_default(), when))
                    }
                    Some("tool_use") => {
                        let call = tool_call(block["name"].as_str().unwrap_or("tool"), block.get("input"));
                        out.extend(Entry::new(Who::Tool, &call, when));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// `<command-name>/review</command-name> … <command-args>x</command-args>` was typed `/review x`.
fn command(text: &str) -> Option<String> {
    let text = text.trim_start();
    if !text.starts_with("<command-name>") && !text.starts_with("<command-message>") {
        return None;
    }
    let name = between(text, "<command-name>", "</command-name>")?;
    let args = between(text, "<command-args>", "</command-args>").unwrap_or_default();
    Some(format!("{name} {args}").trim_end().to_owned())
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.split_once(open)?.1.split_once(close)?.0.trim())
}

/// The program's own words in the user's place.
fn by_program(text: &str) -> bool {
    const BEGIN: &[&str] = &["<local-command-", "<bash-", "<task-notification>", "<system-reminder>"];
    let text = text.trim_start();
    BEGIN.iter().any(|begin| text.starts_with(begin))
}
