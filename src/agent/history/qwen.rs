//! Qwen Code: `~/.qwen/projects/<encoded cwd>/chats/<id>.jsonl`, as 0.24.4 writes it.
//!
//! Knows its rows, which have Gemini's parts in claude's frame.

use serde_json::Value;

use super::claude::{find, projects};
use super::cwd::Cwd;
use super::jsonl::{self, Facts, Rows};
use super::text::{shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who};
use muxfs_tree::base::error::Result;

pub struct Qwen;

fn root(home: &Home) -> std::path::PathBuf {
    let set = |var: &str| (home.env)(var).is_some_and(|v| !v.is_empty());
    home.dir(if set("QWEN_RUNTIME_DIR") { "QWEN_RUNTIME_DIR" } else { "QWEN_HOME" }, ".qwen")
}

impl Adapter for Qwen {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let cwd = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let files = projects(&root(home), "chats", &cwd, &mut listing.trouble);
        jsonl::list(self, files, &cwd, &mut listing, &mut |_, _| {});
        jsonl::finish(listing)
    }

    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        find(self, &root(home), "chats", cwd, id)
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        jsonl::since(self, &c.place, mark)
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        jsonl::end(&c.place)
    }
}

impl Rows for Qwen {
    fn agent(&self) -> &'static str {
        "qwen"
    }

    fn facts(&self, row: &Value, facts: &mut Facts) {
        facts.id(row.get("sessionId"));
        facts.cwd(row.get("cwd"));
        facts.time(time(row.get("timestamp")));
        if row["subtype"] == "custom_title" {
            facts.title(row["systemPayload"].get("customTitle"));
        }
    }

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        let typed = row["provenance"].as_str().is_none_or(|p| p == "real_user");
        let text_of = match row["type"].as_str() {
            Some("user") if typed => Who::User,
            Some("user") => Who::Note,
            Some("assistant") => Who::Agent,
            Some("tool_result") => Who::Tool,
            _ => return,
        };
        let when = time(row.get("timestamp"));
        said_parts(&row["message"]["parts"], text_of, when, out);
        // Where it asks nothing more of the model, this is the end of the turn.
        if row["toolCallResult"]["status"] == "cancelled" {
            out.extend(Entry::new(Who::Interrupt, "the tool was refused", when));
        }
    }
}

/// Gemini's parts: text in one entry, calls and their outcomes in one each, thoughts not at all.
pub fn said_parts(content: &Value, who: Who, when: Option<std::time::SystemTime>, out: &mut Vec<Entry>) {
    let mut text = String::new();
    let mut tools = Vec::new();
    match content {
        Value::String(all) => text.push_str(all),
        Value::Array(parts) => {
            for part in parts.iter().filter(|p| p["thought"] != true) {
                if let Some(call) = part.get("functionCall") {
                    tools.push(tool_call(call["name"].as_str().unwrap_or("tool"), call.get("args")));
                } else if let Some(outcome) = part.get("functionResponse") {
                    let response = &outcome["response"];
                    let output = response["output"].as_str().or(response["error"].as_str());
                    tools.push(shortened(output.unwrap_or(&response.to_string())));
                } else if let Some(more) = part.as_str().or(part["text"].as_str()) {
                    text.push_str(more);
                }
            }
        }
        _ => {}
    }
    out.extend(Entry::new(who, &text, when));
    out.extend(tools.iter().filter_map(|t| Entry::new(Who::Tool, t, when)));
}
