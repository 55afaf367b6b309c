//! The book of a session's prompts: a file of JSON lines, each row stored before it is acted on.
//!
//! A prompt is accepted once its row is on disk (fdatasync; writers at the same time share one).
//! That a prompt is being typed is on disk before its first byte goes, so after a crash it is
//! known not to be sent again. Texts stay in the file; memory holds where they are.
//!
//! Knows files. Must not know panes, agents or who waits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::turn::{Origin, Span, Stage, Turn};
use crate::config::file;
use crate::error::{Error, Kind, Result, fail};

/// Turns that ended and are still shown (TREE.md).
const SHOWN: usize = 1000;
/// Bytes of such turns in the file; the oldest go first.
const SHOWN_BYTES: u64 = 64 << 20;
/// Ended turns beyond [`SHOWN`] that are let pile up before the file is written anew.
const SLACK: usize = 250;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Row {
    /// What was used before the rows that follow.
    Head {
        next: u64,
        used: Vec<String>,
    },
    Accept {
        number: u64,
        name: String,
        at: u64,
        origin: Origin,
        text: String,
    },
    /// Another stage; with the answer where it ended.
    Stage {
        number: u64,
        at: u64,
        stage: Stage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<String>,
    },
    /// Whether the composer may hold a text of ours.
    Composer {
        unsure: bool,
    },
}

pub struct Book {
    path: PathBuf,
    pages: Mutex<Pages>,
    /// Bytes of the file that are on disk. One writer syncs for all that wrote before it.
    synced: Mutex<(u64, u64)>,
}

struct Pages {
    file: File,
    len: u64,
    /// Counts the files: a rewrite makes offsets of before mean nothing.
    edition: u64,
    next: u64,
    used: HashSet<String>,
    turns: BTreeMap<u64, Turn>,
    by_name: HashMap<String, u64>,
    /// The last prompt may stand in the composer, sent or not. Kept, because a daemon that is ended
    /// before it emptied the composer leaves that to the next one, which must know it from
    /// somebody's draft.
    unsure: bool,
}

impl Book {
    /// Opens the book at `path`, or an empty one. `serial` gives each turn its own. A half-written
    /// last row is cut off: it was never acknowledged.
    pub fn open(path: PathBuf, serial: &dyn Fn() -> u64) -> Result<Self> {
        let io = |e| Error::io(path.display(), e);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(io)?;
        if let Some(dir) = path.parent() {
            File::open(dir).and_then(|d| d.sync_all()).map_err(io)?; // its name is to last too
        }
        let mut pages = Pages {
            len: 0,
            file,
            edition: 0,
            next: 1,
            used: HashSet::new(),
            turns: BTreeMap::new(),
            by_name: HashMap::new(),
            unsure: false,
        };
        let text = std::fs::read(&path).map_err(io)?;
        for line in text.split_inclusive(|b| *b == b'\n') {
            let Some(row) = line.strip_suffix(b"\n") else { break };
            let span = Span { at: pages.len, len: row.len() as u64 };
            if let Ok(row) = serde_json::from_slice(row) {
                pages.take(row, span, serial);
            }
            pages.len += line.len() as u64;
        }
        pages.file.set_len(pages.len).map_err(io)?;
        let synced = Mutex::new((0, pages.len));
        Ok(Book { path, pages: Mutex::new(pages), synced })
    }

    /// Stores a prompt; returns when it is on disk. Without a name it gets the next number.
    /// `Full` where `most` wait already, `Exists` for a name that was ever used.
    pub fn accept(
        &self,
        name: Option<&str>,
        text: &str,
        origin: Origin,
        most: usize,
        at: u64,
        serial: u64,
    ) -> Result<Turn> {
        let (turn, end) = {
            let mut pages = self.pages.lock();
            let number = pages.next;
            let name = match name {
                Some(name) if pages.used.contains(name) || pages.by_name.contains_key(name) => {
                    return fail(Kind::Exists, format!("{name}: the name was used before"));
                }
                Some(name) => name.to_owned(),
                None => pages.free_number(),
            };
            if !origin.init && pages.queued().filter(|t| !t.origin.init).count() >= most {
                return fail(Kind::Full, format!("{most} prompts wait in this session already"));
            }
            let row = Row::Accept { number, name: name.clone(), at, origin, text: text.to_owned() };
            let span = pages.write(&self.path, &row)?;
            pages.take(row, span, &|| serial);
            (pages.turns[&number].clone(), (pages.edition, pages.len))
        };
        match self.sync(end) {
            Ok(()) => Ok(turn),
            Err(e) => {
                // It was not acknowledged, so it must not go.
                let _ = self.stage(turn.number, Stage::Withdrawn, at, Some("not stored"), None); // as broken
                Err(e)
            }
        }
    }

    /// Moves a turn on; on disk when it returns. Only forward: one that ended stays as it is, and
    /// `None` is returned.
    pub fn stage(
        &self,
        number: u64,
        stage: Stage,
        at: u64,
        why: Option<&str>,
        reply: Option<String>,
    ) -> Result<Option<Turn>> {
        let (turn, end) = {
            let mut pages = self.pages.lock();
            let from = pages.turns.get(&number).map(|t| t.stage);
            let fits = match (from, stage) {
                (None, _) => false,
                // Only what nobody types can be taken back.
                (Some(from), Stage::Withdrawn | Stage::Typing) => from == Stage::Queued,
                (Some(from), _) => !from.ended(),
            };
            if !fits {
                return Ok(None);
            }
            let row = Row::Stage { number, at, stage, why: why.map(str::to_owned), reply };
            let span = pages.write(&self.path, &row)?;
            pages.take(row, span, &|| 0);
            let turn = pages.turns.get(&number).cloned();
            if stage.ended() {
                pages.tidy(&self.path)?;
            }
            (turn, (pages.edition, pages.len))
        };
        self.sync(end)?;
        Ok(turn)
    }

    /// The last prompt may stand in the composer: it is emptied before the next one goes.
    pub fn is_unsure(&self) -> bool {
        self.pages.lock().unsure
    }

    /// The composer was emptied: what stands there from now on is somebody's.
    pub fn composer_is_clean(&self) -> Result<()> {
        let end = {
            let mut pages = self.pages.lock();
            pages.write(&self.path, &Row::Composer { unsure: false })?;
            pages.unsure = false;
            (pages.edition, pages.len)
        };
        self.sync(end)
    }

    fn sync(&self, (edition, end): (u64, u64)) -> Result<()> {
        let mut synced = self.synced.lock();
        if *synced >= (edition, end) {
            return Ok(());
        }
        let (file, now) = {
            let pages = self.pages.lock();
            (pages.file.try_clone(), (pages.edition, pages.len))
        };
        let io = |e| Error::io(self.path.display(), e);
        file.map_err(io)?.sync_data().map_err(io)?;
        *synced = now;
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<Turn> {
        let pages = self.pages.lock();
        pages.by_name.get(name).and_then(|n| pages.turns.get(n)).cloned()
    }

    /// Whether a prompt ever had this name.
    pub fn is_used(&self, name: &str) -> bool {
        let pages = self.pages.lock();
        pages.used.contains(name) || pages.by_name.contains_key(name)
    }

    pub fn by_number(&self, number: u64) -> Option<Turn> {
        self.pages.lock().turns.get(&number).cloned()
    }

    /// All that are shown, in the order of acceptance.
    pub fn all(&self) -> Vec<Turn> {
        self.pages.lock().turns.values().cloned().collect()
    }

    /// Those that wait, in the order in which they go.
    pub fn queue(&self) -> Vec<Turn> {
        let pages = self.pages.lock();
        let mut queue: Vec<Turn> = pages.queued().cloned().collect();
        queue.sort_by_key(|t| (!t.origin.init, t.number));
        queue
    }

    /// How many wait, and whether one is under way.
    pub fn load(&self) -> (usize, bool) {
        let pages = self.pages.lock();
        (
            pages.queued().count(),
            pages.turns.values().any(|t| matches!(t.stage, Stage::Typing | Stage::Running)),
        )
    }

    /// The one under way.
    pub fn current(&self) -> Option<Turn> {
        let pages = self.pages.lock();
        pages.turns.values().find(|t| matches!(t.stage, Stage::Typing | Stage::Running)).cloned()
    }

    /// The one that ended last, by when it did.
    pub fn last_ended(&self) -> Option<Turn> {
        let pages = self.pages.lock();
        let sent = pages.turns.values().filter(|t| t.stage.ended() && t.sent.is_some());
        sent.max_by_key(|t| (t.ended, t.number)).cloned()
    }

    pub fn prompt(&self, turn: &Turn) -> Result<String> {
        match self.read(turn.number, |t| Some(t.prompt))? {
            Some(Row::Accept { text, .. }) => Ok(text),
            _ => fail(Kind::Gone, format!("{}: too old", turn.name)),
        }
    }

    /// The answer; empty where there is none.
    pub fn reply(&self, turn: &Turn) -> Result<String> {
        match self.read(turn.number, |t| t.reply)? {
            Some(Row::Stage { reply, .. }) => Ok(reply.unwrap_or_default()),
            _ => Ok(String::new()),
        }
    }

    fn read(&self, number: u64, of: impl Fn(&Turn) -> Option<Span>) -> Result<Option<Row>> {
        let pages = self.pages.lock();
        let Some(span) = pages.turns.get(&number).and_then(of) else { return Ok(None) };
        pages.read(span).map(Some).map_err(|e| Error::io(self.path.display(), e))
    }

    /// The session is forgotten.
    pub fn remove(path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path.display(), e)),
            _ => Ok(()),
        }
    }
}

impl Pages {
    fn queued(&self) -> impl Iterator<Item = &Turn> {
        self.turns.values().filter(|t| t.stage == Stage::Queued)
    }

    fn free_number(&self) -> String {
        let free = |name: &String| !self.used.contains(name) && !self.by_name.contains_key(name);
        (self.next..).map(|n| format!("{n:04}")).find(free).unwrap_or_default()
    }

    /// Appends a row whole, or leaves the file as it was.
    fn write(&mut self, path: &Path, row: &Row) -> Result<Span> {
        let io = |e| Error::io(path.display(), e);
        let mut line =
            serde_json::to_vec(row).map_err(|e| Error::new(Kind::Bug, "a row as JSON").because(e))?;
        line.push(b'\n');
        if let Err(e) = self.file.write_all(&line) {
            let _ = self.file.set_len(self.len); // else the next open cuts the half row
            return Err(io(e));
        }
        let span = Span { at: self.len, len: line.len() as u64 - 1 };
        self.len += line.len() as u64;
        Ok(span)
    }

    fn read(&self, span: Span) -> std::io::Result<Row> {
        let mut bytes = vec![0; span.len as usize];
        self.file.read_exact_at(&mut bytes, span.at)?;
        serde_json::from_slice(&bytes).map_err(std::io::Error::other)
    }

    /// What a row says, into memory.
    fn take(&mut self, row: Row, span: Span, serial: &dyn Fn() -> u64) {
        match row {
            Row::Head { next, used } => {
                self.next = next.max(self.next);
                self.used.extend(used);
            }
            Row::Accept { number, name, at, origin, text } => {
                self.next = self.next.max(number + 1);
                self.by_name.insert(name.clone(), number);
                let turn = Turn {
                    number,
                    name,
                    stage: Stage::Queued,
                    why: None,
                    origin,
                    accepted: at,
                    sent: None,
                    ended: None,
                    serial: serial(),
                    size: text.len() as u64,
                    prompt: span,
                    reply: None,
                };
                self.turns.insert(number, turn);
            }
            Row::Stage { number, at, stage, why, reply } => {
                let Some(turn) = self.turns.get_mut(&number) else { return };
                turn.stage = stage;
                turn.why = why;
                match stage {
                    Stage::Typing => turn.sent = Some(at),
                    // Not typed after all.
                    Stage::Queued => turn.sent = None,
                    _ if stage.ended() => turn.ended = Some(at),
                    _ => {}
                }
                turn.reply = reply.map(|_| span);
                self.unsure = match stage {
                    Stage::Uncertain => true,
                    Stage::Typing => false, // it was seen empty
                    _ => self.unsure,
                };
            }
            Row::Composer { unsure } => self.unsure = unsure,
        }
    }

    /// Forgets the oldest ended turns beyond what is shown.
    fn tidy(&mut self, path: &Path) -> Result<()> {
        let ended: Vec<&Turn> = self.turns.values().filter(|t| t.stage.ended()).collect();
        let bytes = |t: &Turn| t.prompt.len + t.reply.map_or(0, |r| r.len);
        let all: u64 = ended.iter().map(|t| bytes(t)).sum();
        if ended.len() <= SHOWN + SLACK && all <= SHOWN_BYTES {
            return Ok(());
        }
        let (mut kept, mut room) = (0, SHOWN_BYTES * 3 / 4);
        let mut old = Vec::new();
        for turn in ended.iter().rev() {
            match room.checked_sub(bytes(turn)) {
                Some(left) if kept < SHOWN && old.is_empty() => (kept, room) = (kept + 1, left),
                _ => old.push(turn.number),
            }
        }
        for number in old {
            if let Some(turn) = self.turns.remove(&number) {
                self.by_name.remove(&turn.name);
                // Numbers are never given again anyhow.
                if turn.name != format!("{number:04}") {
                    self.used.insert(turn.name);
                }
            }
        }
        self.rewrite(path)
    }

    fn rewrite(&mut self, path: &Path) -> Result<()> {
        let io = |e: std::io::Error| Error::io(path.display(), e);
        let mut text = Vec::new();
        let row = |text: &mut Vec<u8>, row: &Row| -> Result<Span> {
            let at = text.len() as u64;
            serde_json::to_writer(&mut *text, row)
                .map_err(|e| Error::new(Kind::Bug, "a row as JSON").because(e))?;
            text.push(b'\n');
            Ok(Span { at, len: text.len() as u64 - 1 - at })
        };
        let mut used: Vec<String> = self.used.iter().cloned().collect();
        used.sort();
        row(&mut text, &Row::Head { next: self.next, used })?;
        let mut spans = Vec::with_capacity(self.turns.len());
        for turn in self.turns.values() {
            let prompt = row(&mut text, &self.read(turn.prompt).map_err(io)?)?;
            if let Some(at) = turn.sent {
                let sent =
                    Row::Stage { number: turn.number, at, stage: Stage::Typing, why: None, reply: None };
                row(&mut text, &sent)?;
            }
            let mut reply = None;
            if !matches!(turn.stage, Stage::Queued | Stage::Typing) {
                let answer = match turn.reply.map(|span| self.read(span)).transpose().map_err(io)? {
                    Some(Row::Stage { reply, .. }) => reply,
                    _ => None,
                };
                let at = turn.ended.or(turn.sent).unwrap_or(turn.accepted);
                let (number, stage, why) = (turn.number, turn.stage, turn.why.clone());
                let has = answer.is_some();
                let span = row(&mut text, &Row::Stage { number, at, stage, why, reply: answer })?;
                reply = has.then_some(span);
            }
            spans.push((turn.number, prompt, reply));
        }
        row(&mut text, &Row::Composer { unsure: self.unsure })?; // the rows before are not in their old order
        file::replace(path, &text)?;
        let open = OpenOptions::new().read(true).append(true).open(path).map_err(io)?;
        (self.file, self.len) = (open, text.len() as u64);
        self.edition += 1;
        for (number, prompt, reply) in spans {
            if let Some(turn) = self.turns.get_mut(&number) {
                (turn.prompt, turn.reply) = (prompt, reply);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
