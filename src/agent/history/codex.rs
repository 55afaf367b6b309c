//! OpenAI Codex CLI: the table `threads` of `~/.codex/state_*.sqlite`, and the rollout files it
//! names (`~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl`), as 0.169 writes them.
//!
//! Knows the table and the rows. Without a database that can be read the files are listed.

use std::path::{Path, PathBuf};

use rusqlite::params_from_iter;
use serde_json::Value;

use super::cwd::{Cwd, fits};
use super::files::{self, LOOKED, MOST, Seen};
use super::jsonl::{self, Facts, Rows};
use super::text::{from_millis, one_line, parts, shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain, sqlite};
use muxfs_tree::base::error::Result;

pub struct Codex;

fn root(home: &Home) -> PathBuf {
    home.dir("CODEX_HOME", ".codex")
}

impl Adapter for Codex {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let cwd = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        if let Some(place) = database(home, &mut listing.trouble) {
            match threads(&place, &cwd, None) {
                Ok(threads) => {
                    threads.into_iter().for_each(|t| count(t, &mut listing));
                    return jsonl::finish(listing);
                }
                Err(e) => listing.trouble.push(e.text().to_owned()),
            }
        }
        let files = rollouts(&root(home).join("sessions"), &mut listing.trouble);
        jsonl::list(self, files, &cwd, &mut listing, &mut |_, _| {});
        jsonl::finish(listing)
    }

    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        let cwd = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        if !plain(id) {
            return None;
        }
        if let Some(place) = database(home, &mut listing.trouble)
            && let Ok(threads) = threads(&place, &cwd, Some(id))
        {
            threads.into_iter().for_each(|t| count(t, &mut listing));
            return listing.found.pop();
        }
        let files = rollouts(&root(home).join("sessions"), &mut listing.trouble);
        let end = format!("-{id}.jsonl");
        let file = files.into_iter().find(|f| f.path.to_string_lossy().ends_with(&end))?;
        jsonl::one(self, file.path, &cwd, id)
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        jsonl::since(self, &c.place, mark)
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        jsonl::end(&c.place)
    }
}

/// The number is the version of its tables: the highest is the one in use.
fn database(home: &Home, trouble: &mut Vec<String>) -> Option<PathBuf> {
    let set = |var: &str| (home.env)(var).is_some_and(|v| !v.is_empty());
    let dir = home.dir(if set("CODEX_SQLITE_HOME") { "CODEX_SQLITE_HOME" } else { "CODEX_HOME" }, ".codex");
    let version = |name: &str| name.strip_prefix("state_")?.strip_suffix(".sqlite")?.parse::<u32>().ok();
    let names = files::names(&dir, trouble);
    let (_, name) = names.iter().filter_map(|n| Some((version(n)?, n))).max()?;
    Some(dir.join(name))
}

/// The threads of the user, newest first, without their prompts' count.
fn threads(place: &Path, cwd: &Option<Cwd>, id: Option<&str>) -> Result<Vec<Conversation>> {
    let mut sql = "SELECT * FROM threads WHERE archived = 0".to_owned();
    let mut values: Vec<&str> = Vec::new();
    if let Some(cwd) = cwd {
        values.extend(cwd.names().iter().map(String::as_str));
        sql += if values.len() == 2 { " AND cwd IN (?, ?)" } else { " AND cwd = ?" };
    }
    if let Some(id) = id {
        values.push(id);
        sql += " AND id = ?";
    }
    sql += &format!(" ORDER BY updated_at DESC LIMIT {MOST}");
    let db = sqlite::open(place)?;
    let read = || -> rusqlite::Result<Vec<Conversation>> {
        let mut found = Vec::new();
        let mut query = db.prepare(&sql)?;
        let mut rows = query.query(params_from_iter(&values))?;
        while let Some(row) = rows.next()? {
            found.extend(thread(row).filter(|c| fits(cwd, &c.cwd)));
        }
        Ok(found)
    };
    read().map_err(|e| sqlite::fault(place, e))
}

fn thread(row: &rusqlite::Row) -> Option<Conversation> {
    let text = |column| sqlite::text(row, column).filter(|t| !t.is_empty());
    let at = |ms, s| {
        let ms = sqlite::number(row, ms).filter(|ms| *ms > 0);
        from_millis(ms.or_else(|| sqlite::number(row, s)?.checked_mul(1000))?)
    };
    // What a sub-agent did is part of the conversation that started it.
    let source = text("source").unwrap_or_default();
    if text("thread_source").is_some_and(|s| s != "user") || source.contains("subagent") {
        return None;
    }
    let title = text("name").or(text("title")).or(text("first_user_message")).or(text("preview"));
    Some(Conversation {
        agent: "codex",
        id: text("id").filter(|id| plain(id))?,
        cwd: text("cwd").unwrap_or_default(),
        title: one_line(&title.unwrap_or_default()),
        started: at("created_at_ms", "created_at"),
        updated: at("updated_at_ms", "updated_at")?,
        prompts: 0,
        at_least: true,
        place: text("rollout_path")?.into(),
    })
}

/// Adds the thread with its prompts. One without a file was never spoken to.
fn count(mut thread: Conversation, listing: &mut Listing) {
    let Some(file) = files::seen(thread.place.clone()) else { return };
    if let Ok(looked) = jsonl::scan(&Codex, &file, listing) {
        let Some(looked) = looked else { return };
        (thread.prompts, thread.at_least) = (looked.prompts, looked.at_least);
    }
    listing.found.push(thread);
}

/// `sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl`, those begun last first.
fn rollouts(sessions: &Path, trouble: &mut Vec<String>) -> Vec<Seen> {
    let mut found = Vec::new();
    let number = |n: &String| n.bytes().all(|b| b.is_ascii_digit());
    for year in files::names(sessions, trouble).iter().filter(|n| number(n)) {
        let year = sessions.join(year);
        for month in files::names(&year, trouble).iter().filter(|n| number(n)) {
            let month = year.join(month);
            for day in files::names(&month, trouble).iter().filter(|n| number(n)) {
                let fits = |n: &str| n.starts_with("rollout-") && n.ends_with(".jsonl");
                jsonl::gather(&month.join(day), fits, &mut found, trouble);
                if found.len() >= LOOKED {
                    return found;
                }
            }
        }
    }
    found
}

impl Rows for Codex {
    fn agent(&self) -> &'static str {
        "codex"
    }

    fn facts(&self, row: &Value, facts: &mut Facts) {
        facts.time(time(row.get("timestamp")));
        let payload = &row["payload"];
        if row["type"] == "session_meta" && facts.id.is_none() {
            facts.id(payload.get("id"));
            facts.cwd(payload.get("cwd"));
            facts.started = time(payload.get("timestamp")).or(facts.started);
            let theirs = payload["thread_source"].as_str().is_some_and(|s| s != "user");
            facts.not_ours = theirs || payload["source"].is_object();
        }
    }

    /// What went to the model and came from it. The same stands in `event_msg` rows once more.
    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        let (payload, when) = (&row["payload"], time(row.get("timestamp")));
        match (row["type"].as_str(), payload["type"].as_str()) {
            (Some("response_item"), Some("message")) => {
                let texts = parts(&payload["content"]);
                match payload["role"].as_str() {
                    Some("user") => {
                        let typed: Vec<&str> = texts.into_iter().filter(|t| !context(t)).collect();
                        out.extend(Entry::new(Who::User, &typed.join("\n"), when));
                    }
                    Some("assistant") => out.extend(Entry::new(Who::Agent, &texts.join("\n"), when)),
                    _ => {}
                }
            }
            (Some("response_item"), Some("function_call" | "custom_tool_call" | "local_shell_call")) => {
                let input = payload.get("arguments").or(payload.get("input")).or(payload.get("action"));
                let call = tool_call(payload["name"].as_str().unwrap_or("shell"), input);
                out.extend(Entry::new(Who::Tool, &call, when));
            }
            (Some("response_item"), Some("function_call_output" | "custom_tool_call_output")) => {
                let output = &payload["output"];
                let text = output.as_str().or(output["content"].as_str()).unwrap_or_default();
                out.extend(Entry::new(Who::Tool, &shortened(text), when));
            }
            (Some("event_msg"), Some(kind @ ("error" | "stream_error" | "turn_aborted"))) => {
                let text = payload["message"]
                    .as_str()
                    .or(payload["reason"].as_str())
                    .unwrap_or("the turn was aborted");
                let who = match kind {
                    "stream_error" => Who::Note, // it tries again
                    "turn_aborted" if text == "interrupted" => Who::Interrupt,
                    _ => Who::Fault,
                };
                out.extend(Entry::new(who, text, when));
            }
            (Some("event_msg"), Some("task_complete")) => {
                let text = payload["error"]["message"].as_str().unwrap_or_default();
                out.extend(Entry::new(Who::Fault, text, when));
            }
            (Some("compacted"), _) => {
                out.extend(Entry::new(Who::Note, "the conversation was compacted", when))
            }
            _ => {}
        }
    }
}

/// Codex describes the directory and its rules to the model in the user's name.
fn context(text: &str) -> bool {
    const BEGIN: &[&str] = &[
        "<environment_context>",
        "<user_instructions>",
        "<permissions instructions>",
        "# AGENTS.md instructions for ",
        "<turn_aborted>",
        "<skill>",
        "<user_shell_command>",
        "<subagent_notification>",
    ];
    let text = text.trim_start();
    BEGIN.iter().any(|begin| text.starts_with(begin))
}
