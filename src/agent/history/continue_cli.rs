//! Continue CLI: `~/.continue/sessions/sessions.json` and a `<id>.json` a conversation, as 1.5.47
//! writes them: each a whole document, written anew after every turn, without times.
//!
//! Knows the documents.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::cwd::{Cwd, fits};
use super::files::{self, BUDGET, COUNTED, DOCUMENT, MOST, Seen};
use super::jsonl;
use super::text::{from_millis, one_line, parts, shortened, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

pub struct Continue;

fn sessions(home: &Home) -> PathBuf {
    home.dir("CONTINUE_GLOBAL_DIR", ".continue").join("sessions")
}

impl Adapter for Continue {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let asked = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let dir = sessions(home);
        let index = index(&dir.join("sessions.json"), &mut listing.trouble);
        let mut files = Vec::new();
        jsonl::gather(&dir, |n| id_of(n).is_some(), &mut files, &mut listing.trouble);
        files::newest_first(&mut files);
        for (i, file) in files.iter().enumerate() {
            if listing.found.len() >= MOST || listing.read >= BUDGET {
                listing
                    .trouble
                    .push(format!("continue: {} older conversations are left out", files.len() - i));
                break;
            }
            let known =
                file.path.file_name().and_then(|n| n.to_str()).and_then(id_of).and_then(|id| index.get(id));
            // Another directory's need not be read.
            if known.is_some_and(|k| !fits(&asked, &k.directory)) {
                continue;
            }
            match scan(file, known, &mut listing.read) {
                Ok(found) => listing.found.extend(found.filter(|c| fits(&asked, &c.cwd))),
                Err(e) => listing.trouble.push(e.text().to_owned()),
            }
        }
        jsonl::finish(listing)
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        let history = read(&c.place)?.history;
        let from = usize::try_from(mark.at).unwrap_or(usize::MAX);
        // Shorter than it was: written anew.
        let from = if from > history.len() { 0 } else { from };
        let mut said = Vec::new();
        history[from..].iter().for_each(|item| add_entries(item, &mut said));
        Ok((said, Mark { at: history.len() as u64, last: String::new() }))
    }

    fn end(&self, home: &Home, c: &Conversation) -> Result<Mark> {
        Ok(self.since(home, c, &Mark::default())?.1)
    }
}

fn id_of(name: &str) -> Option<&str> {
    name.strip_suffix(".json").filter(|id| *id != "sessions" && plain(id))
}

/// A row of the index.
#[derive(Deserialize)]
struct Known {
    #[serde(rename = "sessionId")]
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default, rename = "workspaceDirectory")]
    directory: String,
    #[serde(default, rename = "dateCreated")]
    created: Value,
}

fn index(place: &Path, trouble: &mut Vec<String>) -> HashMap<String, Known> {
    let Some(text) = files::small(place, DOCUMENT) else { return HashMap::new() };
    match serde_json::from_str::<Vec<Value>>(&text) {
        Ok(rows) => {
            let known = rows.into_iter().filter_map(|row| serde_json::from_value::<Known>(row).ok());
            known.map(|k| (k.id.clone(), k)).collect()
        }
        Err(e) => {
            trouble.push(format!("{}: {e}", place.display()));
            HashMap::new()
        }
    }
}

/// A conversation. Other keys are passed over while it is read.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    title: String,
    #[serde(default, rename = "workspaceDirectory")]
    directory: String,
    #[serde(default)]
    history: Vec<Item>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    message: Value,
    #[serde(rename = "toolCallStates")]
    tools: Value,
}

fn read(place: &Path) -> Result<Document> {
    let (file, len) = files::open(place).map_err(|e| Error::io(place.display(), e))?;
    if len > DOCUMENT {
        return fail(Kind::TooLarge, format!("{}: more than {} MB", place.display(), DOCUMENT >> 20));
    }
    let document = serde_json::from_reader(BufReader::new(file));
    document.map_err(|e| Error::new(Kind::Invalid, format!("{}: {e}", place.display())))
}

/// A large conversation that the index names is taken from there, uncounted.
fn scan(file: &Seen, known: Option<&Known>, bytes: &mut u64) -> Result<Option<Conversation>> {
    let Some(id) = file.path.file_name().and_then(|n| n.to_str()).and_then(id_of) else { return Ok(None) };
    let created = known.and_then(|k| {
        let text = k.created.as_str().and_then(|t| t.parse().ok());
        from_millis(text.or(k.created.as_u64())?)
    });
    let mut c = Conversation {
        agent: "continue",
        id: id.to_owned(),
        cwd: known.map(|k| k.directory.clone()).unwrap_or_default(),
        title: known.map(|k| one_line(&k.title)).unwrap_or_default(),
        started: created,
        updated: file.modified,
        prompts: 0,
        at_least: true,
        place: file.path.clone(),
    };
    if file.len == 0 || (file.len > COUNTED && known.is_some()) {
        return Ok((file.len > 0).then_some(c));
    }
    *bytes += file.len;
    let document = read(&file.path)?;
    let mut said = Vec::new();
    document.history.iter().for_each(|item| add_entries(item, &mut said));
    let prompts: Vec<&Entry> = said.iter().filter(|e| e.who == Who::User).collect();
    (c.prompts, c.at_least) = (prompts.len() as u64, false);
    if c.cwd.is_empty() {
        c.cwd = document.directory;
    }
    if c.title.is_empty() {
        c.title = one_line(&document.title);
    }
    if c.title.is_empty() {
        c.title = prompts.first().map(|e| one_line(&e.text)).unwrap_or_default();
    }
    Ok((c.prompts > 0).then_some(c))
}

fn add_entries(item: &Item, out: &mut Vec<Entry>) {
    let message = &item.message;
    let text = parts(&message["content"]).join("\n");
    let who = match message["role"].as_str() {
        Some("user") => Who::User,
        Some("assistant") => Who::Agent,
        Some("tool") => Who::Tool,
        _ => return,
    };
    out.extend(Entry::new(who, &text, None));
    for call in message["toolCalls"].as_array().into_iter().flatten() {
        let call = &call["function"];
        let call = tool_call(call["name"].as_str().unwrap_or("tool"), call.get("arguments"));
        out.extend(Entry::new(Who::Tool, &call, None));
    }
    let outputs = item.tools.as_array().into_iter().flatten().filter_map(|t| t["output"].as_array());
    for output in outputs.flatten() {
        out.extend(Entry::new(Who::Tool, &shortened(output["content"].as_str().unwrap_or_default()), None));
    }
}
