//! The book of a session's prompts: a file of JSON lines, each row stored before it is acted on.
//!
//! A prompt is accepted once its row is on disk (fdatasync; writers at the same time share one).
//! That a prompt is being typed is on disk before its first byte goes, so after a crash it is
//! known not to be sent again. Texts stay in the file; memory holds where they are.
//!
//! Rows that cannot be read are told, and never passed over: the damaged book is set aside, what may
//! have been typed is `uncertain` and never sent again, and no number is given twice.
//!
//! What changes the book waits for the disk, so it is called on threads that may. Who asks what is in
//! the book never waits for a writer.
//!
//! Knows files. Must not know panes, agents or who waits.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::beside::{self, Damage};
use super::pages::{self, Pages};
use super::row::{self, Row};
use super::turn::{Author, Span, Stage, Turn};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::{self, Links};

/// A longer file is none of ours: 1,000 prompts of 1 MiB wait at most.
const MAX_FILE: u64 = 8 << 30;

pub struct Book {
    path: PathBuf,
    /// Held by who changes the book, also while the disk is waited for.
    writer: Mutex<Writer>,
    /// Changed by who has the writer's lock. Never held while the disk is waited for.
    pages: Mutex<Pages>,
    /// Bytes of the file that are on disk. One writer syncs for all that wrote before it.
    synced: Mutex<(u64, u64)>,
}

/// What only writers need.
struct Writer {
    /// Device and inode number: a name may be taken away or go to another file.
    identity: (u64, u64),
    /// Of the last row that has a number.
    sequence: u64,
    /// Numbers below it may have been given, says the file beside.
    reserved: u64,
}

impl Book {
    /// Opens the book at `path`, or an empty one. A half-written last row is cut off: it
    /// was never acknowledged. Of a damaged book the second value says what became of it.
    pub fn open(path: PathBuf) -> Result<(Self, Option<String>)> {
        let io = |e| Error::io(path.display(), e);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = foreign::open_with(&mut options, &path).map_err(io)?;
        if let Some(dir) = path.parent() {
            disk::sync_dir(dir).map_err(io)?; // its name is to last too
        }
        let meta = file.metadata().map_err(io)?;
        let reserved = beside::reserved(&path)?;
        let mut writer = Writer { identity: (meta.dev(), meta.ino()), sequence: 0, reserved };
        let mut pages = Pages::new(file);
        let text = foreign::read(&path, Links::Refuse, MAX_FILE).map_err(io)?;
        let (sequence, damage) = pages.load(&text, reserved);
        writer.sequence = sequence;
        let pages = Mutex::new(pages);
        let told = damage.map(|damage| recover(&path, &mut writer, &pages, &text, &damage));
        let end = {
            let pages = pages.lock();
            pages.file.set_len(pages.len).map_err(io)?;
            (pages.edition, pages.len)
        };
        Ok((Book { path, writer: Mutex::new(writer), pages, synced: Mutex::new(end) }, told))
    }

    /// The prompt that a gesture brought before.
    pub fn by_gesture(&self, gesture: &str) -> Option<Turn> {
        self.pages.lock().by_gesture(gesture).cloned()
    }

    /// Stores a prompt; returns when it is on disk. Without a name it gets the next number. One that
    /// the same gesture brought before is that one, on disk by then, and the second value is false.
    /// `Full` where `most` wait already, `Exists` for a name that was ever used.
    pub fn accept(
        &self,
        name: Option<&str>,
        text: &str,
        origin: Author,
        gesture: Option<&str>,
        most: usize,
        at: u64,
    ) -> Result<(Turn, bool)> {
        let (turn, end) = {
            let mut writer = self.writer.lock();
            beside::is_here(&self.path, writer.identity)?;
            let (number, name) = {
                let pages = self.pages.lock();
                if let Some(turn) = gesture.and_then(|gesture| pages.by_gesture(gesture)) {
                    let (turn, end) = (turn.clone(), (pages.edition, pages.len));
                    drop((pages, writer));
                    self.sync(end)?;
                    return Ok((turn, false));
                }
                let name = match name {
                    Some(name) if pages.is_used(name) => return used(name),
                    Some(name) => name.to_owned(),
                    None => pages.free_number(),
                };
                if !origin.init && pages.queued().filter(|t| !t.origin.init).count() >= most {
                    return fail(Kind::Full, format!("{most} prompts wait in this session already"));
                }
                (pages.next, name)
            };
            if number >= writer.reserved {
                // Never given again, whatever becomes of the book.
                writer.reserved = beside::reserve(&self.path, number)?;
            }
            let (gesture, text) = (gesture.map(str::to_owned), text.to_owned());
            let row = Row::Accept { number, name, at, origin, gesture, text };
            let end = self.append(&mut writer, vec![row])?;
            (self.there(number)?, end)
        };
        if let Err(e) = self.sync(end) {
            // It was not acknowledged, so it must not go.
            let _ = self.stage(turn.number, Stage::Withdrawn, at, Some(pages::NOT_STORED), None); // as broken
            return Err(e);
        }
        Ok((turn, true))
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
            let mut writer = self.writer.lock();
            let from = self.pages.lock().turns.get(&number).map(|t| t.stage);
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
            let end = self.append(&mut writer, vec![row])?;
            let turn = self.by_number(number);
            (turn, if stage.ended() { self.tidy(&mut writer)? } else { end })
        };
        self.sync(end)?;
        Ok(turn)
    }

    /// Takes back those of `numbers` that still wait, by one write; which. On disk when it returns.
    pub fn withdraw(&self, numbers: &[u64], at: u64) -> Result<Vec<Turn>> {
        let (turns, end) = {
            let mut writer = self.writer.lock();
            let waiting: Vec<u64> = {
                let pages = self.pages.lock();
                let waits = |n: &u64| pages.turns.get(n).is_some_and(|t| t.stage == Stage::Queued);
                numbers.iter().copied().filter(waits).collect()
            };
            let row = |number| Row::Stage { number, at, stage: Stage::Withdrawn, why: None, reply: None };
            self.append(&mut writer, waiting.iter().copied().map(row).collect())?;
            let turns = waiting.into_iter().filter_map(|number| self.by_number(number)).collect();
            (turns, self.tidy(&mut writer)?)
        };
        self.sync(end)?;
        Ok(turns)
    }

    /// Gives a waiting prompt another name; on disk when it returns. Its old name stays used.
    pub fn rename(&self, number: u64, name: &str) -> Result<Turn> {
        let (turn, end) = {
            let mut writer = self.writer.lock();
            {
                let pages = self.pages.lock();
                if !pages.turns.get(&number).is_some_and(|t| t.stage == Stage::Queued) {
                    return fail(Kind::Busy, "the prompt is under way, or over");
                }
                if pages.is_used(name) {
                    return used(name);
                }
            }
            let end = self.append(&mut writer, vec![Row::Rename { number, name: name.to_owned() }])?;
            (self.there(number)?, end)
        };
        self.sync(end)?;
        Ok(turn)
    }

    /// A turn that was just written about.
    fn there(&self, number: u64) -> Result<Turn> {
        self.by_number(number).ok_or_else(|| Error::new(Kind::Bug, "a turn that was stored is not there"))
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
        let end = self.append(&mut self.writer.lock(), vec![row])?;
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

    /// Writes rows by one call, or leaves the file as it was; takes what they say, and returns where
    /// they end.
    fn append(&self, writer: &mut Writer, rows: Vec<Row>) -> Result<(u64, u64)> {
        let (file, len) = {
            let pages = self.pages.lock();
            (pages.file.clone(), pages.len)
        };
        let (mut text, mut spans) = (Vec::new(), Vec::with_capacity(rows.len()));
        for (n, row) in rows.iter().enumerate() {
            let json = row.json()?;
            let (line, at) = row::line(writer.sequence + 1 + n as u64, &json);
            spans.push(Span { at: len + (text.len() + at) as u64, len: json.len() as u64 });
            text.extend_from_slice(&line);
        }
        if let Err(e) = (&*file).write_all(&text) {
            let _ = file.set_len(len); // else the next open cuts the half row
            return Err(Error::io(self.path.display(), e));
        }
        writer.sequence += rows.len() as u64;
        let mut pages = self.pages.lock();
        pages.len += text.len() as u64;
        for (row, span) in rows.into_iter().zip(spans) {
            pages.take(row, span);
        }
        Ok((pages.edition, pages.len))
    }

    /// Forgets the oldest ended turns beyond what is shown; returns where the file ends.
    fn tidy(&self, writer: &mut Writer) -> Result<(u64, u64)> {
        let kept = self.pages.lock().tidied();
        if let Some(kept) = kept {
            rewrite(&self.path, writer, &self.pages, kept)?;
        }
        let pages = self.pages.lock();
        Ok((pages.edition, pages.len))
    }

    fn sync(&self, (edition, end): (u64, u64)) -> Result<()> {
        let mut synced = self.synced.lock();
        if *synced >= (edition, end) {
            return Ok(());
        }
        let (file, now) = {
            let pages = self.pages.lock();
            (pages.file.clone(), (pages.edition, pages.len))
        };
        disk::sync_data(&file).map_err(|e| Error::io(self.path.display(), e))?;
        *synced = now;
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<Turn> {
        let pages = self.pages.lock();
        pages.by_name.get(name).and_then(|n| pages.turns.get(n)).cloned()
    }

    /// Whether a prompt ever had this name.
    pub fn is_used(&self, name: &str) -> bool {
        self.pages.lock().is_used(name)
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

    /// How many wait, and the name of the one under way.
    pub fn at_once(&self) -> (usize, Option<String>) {
        let pages = self.pages.lock();
        let current = pages.turns.values().find(|t| matches!(t.stage, Stage::Typing | Stage::Running));
        (pages.queued().count(), current.map(|t| t.name.clone()))
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
        let (file, span) = {
            let pages = self.pages.lock();
            let Some(span) = pages.turns.get(&number).and_then(of) else { return Ok(None) };
            (pages.file.clone(), span)
        };
        pages::read(&file, span).map(Some)
    }
}

fn used<T>(name: &str) -> Result<T> {
    fail(Kind::Exists, format!("{name}: the name was used before"))
}

/// Sets the damaged file aside and goes on with what is whole; what there is to tell.
fn recover(path: &Path, writer: &mut Writer, pages: &Mutex<Pages>, text: &[u8], damage: &Damage) -> String {
    let (names, kept) = {
        let mut pages = pages.lock();
        let names = pages.doubt(writer.reserved, damage);
        (names, pages.clone())
    };
    let aside = beside::keep_copy(path, text).and_then(|copy| {
        rewrite(path, writer, pages, kept)?;
        Ok(copy)
    });
    damage.told(path, &names, aside)
}

/// Replaces the file by one with what is `kept`, and `pages` by that.
fn rewrite(path: &Path, writer: &mut Writer, pages: &Mutex<Pages>, mut kept: Pages) -> Result<()> {
    let io = |e: std::io::Error| Error::io(path.display(), e);
    let new = kept.written()?;
    disk::replace(path, &new.text, Links::Refuse)?;
    let open = foreign::open_with(OpenOptions::new().read(true).append(true), path).map_err(io)?;
    let meta = open.metadata().map_err(io)?;
    (writer.identity, writer.sequence) = ((meta.dev(), meta.ino()), new.rows);
    (kept.file, kept.len, kept.edition) = (Arc::new(open), new.text.len() as u64, kept.edition + 1);
    *pages.lock() = kept;
    Ok(())
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
