//! Gemini CLI: `~/.gemini/tmp/<slug>/chats/session-<time>-<id8>.jsonl`, as 0.61.0 writes it.
//!
//! Knows its rows. Measured: each start makes a file, which holds the context of the session
//! alone when an older conversation is resumed; the conversation goes on in its own file. A resume writes all
//! messages once more, as one `$set`, and a message with a tool's outcome once more under its id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::cwd::{Cwd, fits};
use super::files::{self, LOOKED, Pass, Seen, TAIL, WINDOW};
use super::jsonl::{self, Facts, Rows};
use super::qwen::said_parts;
use super::text::{shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who};
use muxfs_tree::base::error::{Error, Result};

pub struct Gemini;

fn root(home: &Home) -> PathBuf {
    // It stands for the home directory.
    home.dir("GEMINI_CLI_HOME", "").join(".gemini")
}

impl Adapter for Gemini {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let root = root(home);
        let asked = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let mut projects = Projects::read(&root, &asked);
        let mut files = Vec::new();
        for name in files::names(&root.join("tmp"), &mut listing.trouble).iter().take(LOOKED) {
            let dir = root.join("tmp").join(name);
            if projects.may_be(&dir, &asked) {
                let fits = |n: &str| n.starts_with("session-") && n.ends_with(".jsonl");
                jsonl::gather(&dir.join("chats"), fits, &mut files, &mut listing.trouble);
            }
        }
        // The directory comes from the project; only then is it known whose the conversation is.
        let mut all = std::mem::take(&mut listing);
        jsonl::list(self, files, &None, &mut all, &mut |file, facts| projects.complete(file, facts));
        let mut all = jsonl::finish(one_an_id(all));
        all.found.retain(|c| fits(&asked, &c.cwd));
        all
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        let mut told = Told { begin: mark.at == 0, last: mark.last.clone(), said: Vec::new() };
        let pass = told.read(c, mark.at, WINDOW)?;
        Ok((jsonl::after_gap(pass.left_out, told.said), Mark { at: pass.at, last: told.last }))
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        let mut told = Told { begin: false, last: String::new(), said: Vec::new() };
        let pass = told.read(c, 0, TAIL)?;
        Ok(Mark { at: pass.at, last: told.last })
    }
}

/// Several files may have one id: the newest is continued, the conversation began with the oldest.
fn one_an_id(mut all: Listing) -> Listing {
    let mut by_id: HashMap<String, Conversation> = HashMap::new();
    for c in all.found.drain(..) {
        match by_id.get_mut(&c.id) {
            Some(kept) => {
                let started = [kept.started, c.started].into_iter().flatten().min();
                if c.updated > kept.updated {
                    *kept = c;
                }
                kept.started = started;
            }
            None => _ = by_id.insert(c.id.clone(), c),
        }
    }
    all.found.extend(by_id.into_values());
    all
}

/// Which directory a project is.
struct Projects {
    /// By the SHA-256 of the directory's name.
    by_hash: HashMap<String, String>,
    /// By the project's own directory under `tmp`.
    by_slug: HashMap<PathBuf, String>,
}

impl Projects {
    fn read(root: &Path, asked: &Option<Cwd>) -> Self {
        let text = files::small(&root.join("projects.json"), 4 << 20).unwrap_or_default();
        let index: Value = serde_json::from_str(&text).unwrap_or_default();
        let known = index["projects"].as_object().into_iter().flatten();
        let known: Vec<(&String, Option<&str>)> = known.map(|(cwd, slug)| (cwd, slug.as_str())).collect();
        let slugs =
            known.iter().filter_map(|(cwd, slug)| Some((root.join("tmp").join((*slug)?), (*cwd).clone())));
        let asked = asked.iter().flat_map(|c| c.names());
        let cwds = known.iter().map(|(cwd, _)| *cwd).chain(asked);
        Projects { by_slug: slugs.collect(), by_hash: cwds.map(|cwd| (hash(cwd), cwd.clone())).collect() }
    }

    /// Whether conversations of the directory asked for may be in there. What is said by the project's
    /// own file is kept.
    fn may_be(&mut self, dir: &Path, asked: &Option<Cwd>) -> bool {
        if let Some(cwd) = files::small(&dir.join(".project_root"), 64 << 10) {
            let cwd = cwd.trim_end_matches('\n').to_owned();
            self.by_hash.insert(hash(&cwd), cwd.clone());
            self.by_slug.insert(dir.to_owned(), cwd);
        }
        // Without that file the rows have to say it.
        self.by_slug.get(dir).is_none_or(|cwd| fits(asked, cwd))
    }

    /// Until here the directory is its hash, where the rows said it.
    fn complete(&self, file: &Seen, facts: &mut Facts) {
        let dir = file.path.parent().and_then(Path::parent);
        facts.cwd = match facts.cwd.take() {
            Some(hash) => self.by_hash.get(&hash).cloned(),
            None => dir.and_then(|dir| self.by_slug.get(dir)).cloned(),
        };
    }
}

fn hash(cwd: &str) -> String {
    Sha256::digest(cwd.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

impl Rows for Gemini {
    fn agent(&self) -> &'static str {
        "gemini"
    }

    fn facts(&self, row: &Value, facts: &mut Facts) {
        let set = row.get("$set").unwrap_or(row);
        facts.id(set.get("sessionId"));
        facts.cwd(set.get("projectHash"));
        facts.not_ours |= set["kind"].as_str().is_some_and(|k| k != "main");
        facts.time(time(set.get("startTime")));
        facts.time(time(set.get("lastUpdated")));
        facts.time(time(row.get("timestamp")));
    }

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        let when = time(row.get("timestamp"));
        match row["type"].as_str() {
            Some("user") if !context(&row["content"]) => said_parts(&row["content"], Who::User, when, out),
            // After a stop it writes older answers once more: as parts, and without their tokens.
            Some("gemini") if row["content"].is_array() && row["tokens"].is_null() => {}
            Some("gemini") => {
                said_parts(&row["content"], Who::Agent, when, out);
                out.extend(calls(row).into_iter().filter_map(|c| Entry::new(Who::Tool, &c, when)));
            }
            Some("info") if row["content"] == "Request cancelled." => {
                said_parts(&row["content"], Who::Interrupt, when, out)
            }
            Some("error") => said_parts(&row["content"], Who::Fault, when, out),
            Some("warning" | "info") => said_parts(&row["content"], Who::Note, when, out),
            _ => {}
        }
    }
}

fn calls(row: &Value) -> Vec<String> {
    let calls = row["toolCalls"].as_array().into_iter().flatten();
    calls.map(|c| shortened(&tool_call(c["name"].as_str().unwrap_or("tool"), c.get("args")))).collect()
}

/// The program describes the directory to the model in the user's name.
fn context(content: &Value) -> bool {
    let first = super::text::parts(content).first().map_or("", |t| t.trim_start());
    first.starts_with("<session_context>")
}

/// Rows in order, each message once.
struct Told {
    /// From the file's beginning, with nothing said yet: a whole conversation in one row is news.
    begin: bool,
    /// The id of the last message.
    last: String,
    said: Vec<Entry>,
}

impl Told {
    fn read(&mut self, c: &Conversation, from: u64, most: u64) -> Result<Pass> {
        files::rows(&c.place, from, most, &mut |row| self.row(&row))
            .map_err(|e| Error::io(c.place.display(), e))
    }

    fn row(&mut self, row: &Value) {
        if let Some(messages) = row["$set"]["messages"].as_array() {
            if self.begin && self.said.is_empty() {
                messages.iter().for_each(|m| self.message(m));
            }
            return;
        }
        self.message(row);
    }

    fn message(&mut self, row: &Value) {
        let from = self.said.len();
        Gemini.said(row, &mut self.said);
        let id = row["id"].as_str().unwrap_or_default();
        if id.is_empty() {
            return;
        }
        if id == self.last {
            // The text is known already; what is new is what its tools did.
            let again = self.said.split_off(from);
            self.said.extend(again.into_iter().filter(|e| e.who == Who::Tool));
        }
        self.last = id.to_owned();
    }
}
