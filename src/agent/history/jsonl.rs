//! A conversation that is a file of JSON rows: one pass for a listing, one for what was said.
//!
//! Knows how much of such a file is read, and when a listing is full. Must not know any agent's
//! rows: each agent says what a row adds.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::cwd::{Cwd, fits};
use super::files::{self, BUDGET, COUNTED, HEAD, LOOKED, MOST, Seen, TAIL, WINDOW};
use super::text::one_line;
use super::{Conversation, Entry, Listing, Mark, Who};
use muxfs_tree::base::error::{Error, Result};

/// What a listing wants to know, gathered row by row. The first value of an id, a directory and
/// a beginning stays; of the others the last.
#[derive(Debug, Default)]
pub struct Facts {
    pub id: Option<String>,
    pub cwd: Option<String>,
    /// Given by the user or the agent.
    pub title: Option<String>,
    /// Used where no title was given.
    prompt: Option<String>,
    pub started: Option<SystemTime>,
    pub updated: Option<SystemTime>,
    /// It is no conversation of the user's: a sub-agent's, for one.
    pub not_ours: bool,
}

impl Facts {
    pub fn id(&mut self, id: Option<&Value>) {
        first(&mut self.id, id);
    }

    pub fn cwd(&mut self, cwd: Option<&Value>) {
        first(&mut self.cwd, cwd);
    }

    pub fn title(&mut self, title: Option<&Value>) {
        let title = title.and_then(Value::as_str).map(one_line).filter(|t| !t.is_empty());
        self.title = title.or(self.title.take());
    }

    /// The first that is more than `/clear` or such.
    fn prompt(&mut self, text: &str) {
        if self.prompt.as_deref().is_none_or(command) {
            self.prompt = Some(one_line(text));
        }
    }

    /// Whether a prompt of the user's was seen.
    pub fn spoken(&self) -> bool {
        self.prompt.is_some()
    }

    fn known(&self) -> bool {
        self.prompt.as_deref().is_some_and(|p| !command(p)) && self.cwd.is_some() && self.id.is_some()
    }

    pub fn time(&mut self, time: Option<SystemTime>) {
        self.started = self.started.or(time);
        self.updated = self.updated.max(time);
    }
}

/// A path, too, is one word that begins so.
fn command(prompt: &str) -> bool {
    prompt.starts_with('/') && !prompt.contains(' ')
}

fn first(slot: &mut Option<String>, value: Option<&Value>) {
    if let (None, Some(text)) = (&slot, value.and_then(Value::as_str).filter(|t| !t.is_empty())) {
        *slot = Some(text.to_owned());
    }
}

/// How one agent writes its rows.
pub trait Rows: Sync {
    fn agent(&self) -> &'static str;
    /// What the row adds to the listing.
    fn facts(&self, row: &Value, facts: &mut Facts);
    /// What the row says, in order.
    fn said(&self, row: &Value, out: &mut Vec<Entry>);
}

/// One file for a listing: what it is, and the user's prompts in it.
pub struct Looked {
    pub facts: Facts,
    pub prompts: u64,
    pub at_least: bool,
}

/// Reads the whole file where that is little and the listing may still count; else its beginning,
/// until a title, a directory and an id are known, and its end.
pub fn scan(rows: &dyn Rows, file: &Seen, listing: &mut Listing) -> io::Result<Option<Looked>> {
    let mut facts = Facts::default();
    let (mut prompts, mut said) = (0, Vec::new());
    let whole = file.len <= COUNTED && listing.read < BUDGET / 2;
    let most = if whole { COUNTED } else { HEAD };
    let head = files::head(&file.path, most, &mut |row| {
        rows.facts(&row, &mut facts);
        rows.said(&row, &mut said);
        for entry in said.drain(..).filter(|e| e.who == Who::User) {
            prompts += 1;
            facts.prompt(&entry.text);
        }
        whole || !facts.known()
    })?;
    listing.read += head.read;
    let mut found = head.rows;
    let at_least = head.at < file.len && !(whole && head.read >= file.len);
    if at_least {
        let tail = files::rows(&file.path, head.at, TAIL, &mut |row| rows.facts(&row, &mut facts))?;
        listing.read += tail.read;
        found += tail.rows;
        // One row may be longer than that.
        if tail.rows == 0 {
            facts.updated = facts.updated.max(Some(file.modified));
        }
    }
    if found == 0 && head.broken > 0 {
        listing.trouble.push(format!("{}: no row of it can be read", file.path.display()));
    }
    // A file without a prompt is an agent that was only started.
    let none = found == 0 || (prompts == 0 && !at_least);
    Ok((!none && !facts.not_ours).then_some(Looked { facts, prompts, at_least }))
}

/// Lists `files`, newest first; `known` completes what the rows do not say.
pub fn list(
    rows: &dyn Rows,
    mut files: Vec<Seen>,
    cwd: &Option<Cwd>,
    listing: &mut Listing,
    known: &mut dyn FnMut(&Seen, &mut Facts),
) {
    files::newest_first(&mut files);
    for (i, file) in files.iter().enumerate() {
        if listing.found.len() >= MOST || listing.read >= BUDGET {
            listing.trouble.push(format!(
                "{}: {} older conversations are left out",
                rows.agent(),
                files.len() - i
            ));
            break;
        }
        match scan(rows, file, listing) {
            Ok(Some(mut looked)) => {
                known(file, &mut looked.facts);
                listing.found.extend(conversation(rows.agent(), file, looked).filter(|c| fits(cwd, &c.cwd)));
            }
            Ok(None) => {}
            // Gone between two looks: as if it had never been there.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => listing.trouble.push(format!("{}: {e}", file.path.display())),
        }
    }
}

/// None without an id that the agent could be asked for.
pub fn conversation(agent: &'static str, file: &Seen, looked: Looked) -> Option<Conversation> {
    let facts = looked.facts;
    Some(Conversation {
        agent,
        id: facts.id.filter(|id| super::plain(id))?,
        cwd: facts.cwd.unwrap_or_default(),
        title: facts.title.or(facts.prompt).unwrap_or_default(),
        started: facts.started,
        updated: facts.updated.unwrap_or(file.modified),
        prompts: looked.prompts,
        at_least: looked.at_least,
        place: file.path.clone(),
    })
}

/// Newest first, and no more than [`MOST`].
pub fn finish(mut listing: Listing) -> Listing {
    listing.found.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| b.id.cmp(&a.id)));
    listing.found.truncate(MOST);
    listing
}

/// The files of a directory whose names fit, at most [`LOOKED`] together with those before.
pub fn gather(dir: &Path, fits: impl Fn(&str) -> bool, into: &mut Vec<Seen>, trouble: &mut Vec<String>) {
    let names = files::names(dir, trouble);
    let left = LOOKED.saturating_sub(into.len());
    into.extend(names.into_iter().filter(|n| fits(n)).take(left).filter_map(|n| files::seen(dir.join(n))));
}

/// A file that is perhaps there, listed alone.
pub fn one(rows: &dyn Rows, path: PathBuf, cwd: &Option<Cwd>, id: &str) -> Option<Conversation> {
    let mut listing = Listing::default();
    list(rows, vec![files::seen(path)?], cwd, &mut listing, &mut |_, _| {});
    listing.found.into_iter().find(|c| c.id == id)
}

/// What was said after the mark.
pub fn since(rows: &dyn Rows, place: &Path, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
    let mut said = Vec::new();
    let pass = files::rows(place, mark.at, WINDOW, &mut |row| rows.said(&row, &mut said));
    let pass = pass.map_err(|e| Error::io(place.display(), e))?;
    let mark = Mark { at: pass.at, last: String::new() };
    Ok((after_gap(pass.left_out, said), mark))
}

/// Says that something is missing before the rest.
pub fn after_gap(left_out: u64, mut said: Vec<Entry>) -> Vec<Entry> {
    if left_out > 0 {
        said.insert(0, Entry::note(format!("{left_out} bytes before this are left out")));
    }
    said
}

/// The mark at the end of the file, before a line that is being written.
pub fn end(place: &Path) -> Result<Mark> {
    let pass = files::rows(place, 0, TAIL, &mut |_| {}).map_err(|e| Error::io(place.display(), e))?;
    Ok(Mark { at: pass.at, last: String::new() })
}
