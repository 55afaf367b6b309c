//! The book of a session's prompts: a file of JSON lines, each row stored before it is acted on.
//!
//! A prompt is accepted once its row is on disk (fdatasync; writers at the same time share one).
//! That a prompt is being typed is on disk before its first byte goes, so after a crash it is
//! known not to be sent again. Texts stay in the file; memory holds where they are.
//!
//! Rows that cannot be read are told, and never passed over: the damaged book is set aside, what may
//! have been typed is `uncertain` and never sent again, and no number is given twice.
//!
//! Knows files. Must not know panes, agents or who waits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::beside::{self, Damage};
use super::row::{self, Found, Row};
use super::turn::{Origin, Rows, Span, Stage, Turn};
use crate::config::file;
use crate::error::{Error, Kind, Result, fail};
use crate::foreign::{self, Links};

/// Turns that ended and are still shown (TREE.md).
const SHOWN: usize = 1000;
/// Bytes of such turns in the file; the oldest go first.
const SHOWN_BYTES: u64 = 64 << 20;
/// A longer file is none of ours: 1,000 prompts of 1 MiB wait at most.
const MAX_FILE: u64 = 8 << 30;
/// Ended turns beyond [`SHOWN`] that are let pile up before the file is written anew.
const SLACK: usize = 250;

pub struct Book {
    path: PathBuf,
    pages: Mutex<Pages>,
    /// Bytes of the file that are on disk. One writer syncs for all that wrote before it.
    synced: Mutex<(u64, u64)>,
}

struct Pages {
    file: File,
    /// Device and inode number: a name may be taken away or go to another file.
    identity: (u64, u64),
    len: u64,
    /// Of the last row that has a number.
    sequence: u64,
    /// Numbers below it may have been given, says the file beside.
    reserved: u64,
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
    /// Why nothing is typed until a person says so.
    held: Option<String>,
    /// What the head of a later version says more, and rows that are not known here.
    head: serde_json::Map<String, serde_json::Value>,
    later: Vec<Span>,
}

impl Book {
    /// Opens the book at `path`, or an empty one. `serial` gives each turn its own. A half-written
    /// last row is cut off: it was never acknowledged. Of a damaged book the second value says what
    /// became of it.
    pub fn open(path: PathBuf, serial: &dyn Fn() -> u64) -> Result<(Self, Option<String>)> {
        let io = |e| Error::io(path.display(), e);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = foreign::open_with(&mut options, &path).map_err(io)?;
        if let Some(dir) = path.parent() {
            File::open(dir).and_then(|d| d.sync_all()).map_err(io)?; // its name is to last too
        }
        let meta = file.metadata().map_err(io)?;
        let mut pages = Pages {
            len: 0,
            identity: (meta.dev(), meta.ino()),
            sequence: 0,
            reserved: beside::reserved(&path)?,
            file,
            edition: 0,
            next: 1,
            used: HashSet::new(),
            turns: BTreeMap::new(),
            by_name: HashMap::new(),
            unsure: false,
            held: None,
            head: serde_json::Map::new(),
            later: Vec::new(),
        };
        let text = foreign::read(&path, Links::Refuse, MAX_FILE).map_err(io)?;
        let damage = pages.load(&text, serial);
        let told = damage.map(|damage| pages.recover(&path, &text, &damage));
        pages.file.set_len(pages.len).map_err(io)?;
        let synced = Mutex::new((pages.edition, pages.len));
        Ok((Book { path, pages: Mutex::new(pages), synced }, told))
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
            beside::is_here(&self.path, pages.identity)?;
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
            pages.reserve(&self.path, number)?;
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

    /// Gives a waiting prompt another name; on disk when it returns. Its old name stays used.
    pub fn rename(&self, number: u64, name: &str) -> Result<Turn> {
        let (turn, end) = {
            let mut pages = self.pages.lock();
            if !pages.turns.get(&number).is_some_and(|t| t.stage == Stage::Queued) {
                return fail(Kind::Busy, "the prompt is under way, or over");
            }
            if pages.used.contains(name) || pages.by_name.contains_key(name) {
                return fail(Kind::Exists, format!("{name}: the name was used before"));
            }
            let row = Row::Rename { number, name: name.to_owned() };
            let span = pages.write(&self.path, &row)?;
            pages.take(row, span, &|| 0);
            (pages.turns[&number].clone(), (pages.edition, pages.len))
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
        self.put(Row::Composer { unsure: false })
    }

    /// Writes a row and takes what it says; on disk when it returns.
    fn put(&self, row: Row) -> Result<()> {
        let end = {
            let mut pages = self.pages.lock();
            let span = pages.write(&self.path, &row)?;
            pages.take(row, span, &|| 0);
            (pages.edition, pages.len)
        };
        self.sync(end)
    }

    /// Why nothing of it is typed until a person says so.
    pub fn held(&self) -> Option<String> {
        self.pages.lock().held.clone()
    }

    /// A person has seen why the book is held.
    pub fn release(&self) -> Result<()> {
        if self.held().is_none() {
            return Ok(());
        }
        self.put(Row::Hold { why: None })
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
        match self.read(turn.number, |t| Some(t.rows.prompt))? {
            Some(Row::Accept { text, .. }) => Ok(text),
            _ => fail(Kind::Gone, format!("{}: too old", turn.name)),
        }
    }

    /// The answer; empty where there is none.
    pub fn reply(&self, turn: &Turn) -> Result<String> {
        match self.read(turn.number, |t| t.rows.reply)? {
            Some(Row::Stage { reply, .. }) => Ok(reply.unwrap_or_default()),
            _ => Ok(String::new()),
        }
    }

    fn read(&self, number: u64, of: impl Fn(&Turn) -> Option<Span>) -> Result<Option<Row>> {
        let pages = self.pages.lock();
        let Some(span) = pages.turns.get(&number).and_then(of) else { return Ok(None) };
        pages.read(span).map(Some).map_err(|e| Error::io(self.path.display(), e))
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
        let json = row.json()?;
        let (line, at) = row::line(self.sequence + 1, &json);
        if let Err(e) = self.file.write_all(&line) {
            let _ = self.file.set_len(self.len); // else the next open cuts the half row
            return Err(Error::io(path.display(), e));
        }
        let span = Span { at: self.len + at as u64, len: json.len() as u64 };
        self.sequence += 1;
        self.len += line.len() as u64;
        Ok(span)
    }

    /// Makes sure that `number` is never given again, whatever becomes of the book.
    fn reserve(&mut self, path: &Path, number: u64) -> Result<()> {
        if number >= self.reserved {
            self.reserved = beside::reserve(path, number)?;
        }
        Ok(())
    }

    /// Takes the rows of a file; what is wrong with it, if anything is.
    fn load(&mut self, text: &[u8], serial: &dyn Fn() -> u64) -> Option<Damage> {
        let mut damage = Damage::default();
        let mut reader = row::Reader::new(text);
        for found in reader.by_ref() {
            match found {
                Found::Row(row, span) => {
                    if let Row::Stage { number, .. } = row {
                        damage.known(number);
                    }
                    self.take(row, span, serial);
                }
                Found::Later(number, span) => self.keep(number, span),
                Found::Hole { at, bytes, missing } => {
                    // What is not there may have ended any turn that is not over.
                    let open = self.turns.values().filter(|t| !t.stage.ended()).map(|t| t.number);
                    damage.hole(at, bytes, missing, open);
                }
                Found::Prompt(row, span) => {
                    let Row::Accept { number, ref name, .. } = row else { continue };
                    if !self.turns.contains_key(&number) && !self.by_name.contains_key(name) {
                        // Its text is shown as it is found, and never typed.
                        self.take(row, span, serial);
                        damage.altered(number);
                    }
                }
                Found::Name(name) => _ = self.used.insert(name),
            }
        }
        (self.len, self.sequence) = (reader.at, reader.sequence);
        if text.is_empty() && self.reserved > 1 {
            damage.places = 1;
        }
        (damage.places > 0).then_some(damage)
    }

    /// A row that a later version wrote stays. Where it speaks of a turn, that one is not touched any
    /// more: what became of it is not understood here.
    fn keep(&mut self, number: Option<u64>, span: Span) {
        self.later.push(span);
        if let Some(number) = number {
            self.next = self.next.max(number + 1);
            if let Some(turn) = self.turns.get_mut(&number).filter(|t| !t.stage.ended()) {
                turn.stage = Stage::Uncertain;
                turn.why = Some("a later muxfs wrote of it what this one does not know".into());
            }
        }
    }

    /// Sets the damaged file aside and goes on with what is whole; what there is to tell.
    fn recover(&mut self, path: &Path, text: &[u8], damage: &Damage) -> String {
        self.next = self.reserved.max(self.next + damage.most_lost());
        let mut names = Vec::new();
        for turn in self.turns.values_mut().filter(|t| damage.doubtful.contains(&t.number)) {
            let why = "its rows in the book of prompts are damaged";
            (turn.stage, turn.why, turn.rows.last) = (Stage::Uncertain, Some(why.into()), None);
            turn.ended = Some(turn.sent.unwrap_or(turn.accepted));
            names.push(turn.name.clone());
        }
        if !names.is_empty() {
            self.unsure = true;
            self.held = Some(format!("damaged: {}", names.join(" ")));
        }
        let aside = beside::keep_copy(path, text).and_then(|copy| {
            self.rewrite(path)?;
            Ok(copy)
        });
        damage.told(path, &names, aside)
    }

    fn bytes(&self, span: Span) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; span.len as usize];
        self.file.read_exact_at(&mut bytes, span.at)?;
        Ok(bytes)
    }

    fn read(&self, span: Span) -> std::io::Result<Row> {
        serde_json::from_slice(&self.bytes(span)?)
            .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
    }

    /// What a row says, into memory.
    fn take(&mut self, row: Row, span: Span, serial: &dyn Fn() -> u64) {
        match row {
            Row::Head { next, used, rest } => {
                self.next = next.max(self.next);
                self.used.extend(used);
                self.head.extend(rest);
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
                    rows: Box::new(Rows {
                        prompt: span,
                        renamed: None,
                        typing: None,
                        last: None,
                        reply: None,
                    }),
                    reply_size: 0,
                };
                self.turns.insert(number, turn);
            }
            Row::Stage { number, at, stage, why, reply } => {
                let Some(turn) = self.turns.get_mut(&number) else { return };
                turn.stage = stage;
                turn.why = why;
                turn.rows.last = Some(span);
                match stage {
                    Stage::Typing => (turn.sent, turn.rows.typing) = (Some(at), Some(span)),
                    // Not typed after all.
                    Stage::Queued => (turn.sent, turn.rows.typing) = (None, None),
                    _ if stage.ended() => turn.ended = Some(at),
                    _ => {}
                }
                turn.reply_size = reply.as_deref().map_or(0, row::size_as_file);
                turn.rows.reply = reply.map(|_| span);
                self.unsure = match stage {
                    Stage::Uncertain => true,
                    Stage::Typing => false, // it was seen empty
                    _ => self.unsure,
                };
            }
            Row::Rename { number, name } => {
                let Some(turn) = self.turns.get_mut(&number) else { return };
                self.by_name.remove(&turn.name);
                self.used.insert(std::mem::replace(&mut turn.name, name.clone()));
                turn.rows.renamed = Some(span);
                self.by_name.insert(name, number);
            }
            Row::Composer { unsure } => self.unsure = unsure,
            Row::Hold { why } => self.held = why,
        }
    }

    /// Forgets the oldest ended turns beyond what is shown.
    fn tidy(&mut self, path: &Path) -> Result<()> {
        let ended: Vec<&Turn> = self.turns.values().filter(|t| t.stage.ended()).collect();
        let bytes = |t: &Turn| t.rows.prompt.len + t.rows.reply.map_or(0, |r| r.len);
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

    /// Writes the file anew with what is kept. Rows are copied as they are, so that what a later
    /// version put into them stays.
    fn rewrite(&mut self, path: &Path) -> Result<()> {
        let io = |e: std::io::Error| Error::io(path.display(), e);
        let mut new = row::Written::default();
        let mut used: Vec<String> = self.used.iter().cloned().collect();
        used.sort();
        new.put(&Row::Head { next: self.next, used, rest: self.head.clone() }.json()?);
        let mut spans = Vec::with_capacity(self.turns.len());
        for turn in self.turns.values() {
            let prompt = new.put(&self.bytes(turn.rows.prompt).map_err(io)?);
            let mut copied = |span: Option<Span>| {
                span.map(|span| self.bytes(span).map(|json| new.put(&json))).transpose().map_err(io)
            };
            let renamed = copied(turn.rows.renamed)?;
            let typing = copied(turn.rows.typing)?;
            let mut last = match turn
                .rows
                .last
                .filter(|_| turn.rows.last != turn.rows.typing && turn.stage != Stage::Queued)
            {
                Some(span) => copied(Some(span))?,
                None => typing.filter(|_| turn.stage == Stage::Typing),
            };
            if last.is_none() && turn.stage.ended() {
                // It was ended while the file was read.
                let (number, stage, why) = (turn.number, turn.stage, turn.why.clone());
                let at = turn.ended.or(turn.sent).unwrap_or(turn.accepted);
                last = Some(new.put(&Row::Stage { number, at, stage, why, reply: None }.json()?));
            }
            let reply = turn.rows.reply.and(last);
            spans.push((turn.number, Rows { prompt, renamed, typing, last, reply }));
        }
        // The rows before are not in their old order.
        new.put(&Row::Composer { unsure: self.unsure }.json()?);
        if self.held.is_some() {
            new.put(&Row::Hold { why: self.held.clone() }.json()?);
        }
        let mut later = Vec::with_capacity(self.later.len());
        for span in &self.later {
            later.push(new.put(&self.bytes(*span).map_err(io)?));
        }
        file::replace(path, &new.text, Links::Refuse)?;
        let open = foreign::open_with(OpenOptions::new().read(true).append(true), path).map_err(io)?;
        let meta = open.metadata().map_err(io)?;
        (self.file, self.len, self.sequence) = (open, new.text.len() as u64, new.rows);
        (self.identity, self.later) = ((meta.dev(), meta.ino()), later);
        self.edition += 1;
        for (number, rows) in spans {
            if let Some(turn) = self.turns.get_mut(&number) {
                *turn.rows = rows;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
