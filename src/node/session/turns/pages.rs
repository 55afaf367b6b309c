//! What is known of a book's prompts without its file: read from its rows, and brought up to date by each
//! new one.
//!
//! Reads texts from the file where they lie; writes nothing. Must not know when rows are on disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::beside::Damage;
use super::row::{self, Found, Row};
use super::turn::{Rows, Span, Stage, Turn};
use muxfs_tree::base::error::{Error, Kind, Result};

/// Turns that ended and are still shown (docs/tree.md, "Turns").
pub const SHOWN: usize = 1000;
/// Bytes of such turns in the file; the oldest go first.
const SHOWN_BYTES: u64 = 64 << 20;
/// Ended turns beyond [`SHOWN`] that are let pile up before the file is written anew.
pub const SLACK: usize = 250;

/// Why a prompt was taken back that the disk did not take: it was never acknowledged.
pub const NOT_STORED: &str = "not stored";

#[derive(Clone)]
pub struct Pages {
    pub file: Arc<File>,
    pub len: u64,
    /// Counts the files: a rewrite makes offsets of before mean nothing.
    pub edition: u64,
    pub next: u64,
    used: HashSet<String>,
    pub turns: BTreeMap<u64, Turn>,
    pub by_name: HashMap<String, u64>,
    /// The last prompt may stand in the composer, sent or not. Kept, because a daemon that is ended
    /// before it emptied the composer leaves that to the next one, which must know it from
    /// somebody's draft.
    pub unsure: bool,
    /// Why nothing is typed until a person says so.
    pub held: Option<String>,
    /// What the head of a later version says more, and rows that are not known here.
    head: serde_json::Map<String, serde_json::Value>,
    later: Vec<Span>,
}

impl Pages {
    /// Of a book without rows.
    pub fn new(file: File) -> Self {
        Pages {
            file: Arc::new(file),
            len: 0,
            edition: 0,
            next: 1,
            used: HashSet::new(),
            turns: BTreeMap::new(),
            by_name: HashMap::new(),
            unsure: false,
            held: None,
            head: serde_json::Map::new(),
            later: Vec::new(),
        }
    }

    pub fn queued(&self) -> impl Iterator<Item = &Turn> {
        self.turns.values().filter(|t| t.stage == Stage::Queued)
    }

    /// The prompt that a gesture brought before.
    pub fn by_gesture(&self, gesture: &str) -> Option<&Turn> {
        let stored = |turn: &&Turn| turn.why.as_deref() != Some(NOT_STORED);
        self.turns.values().rev().filter(stored).find(|turn| turn.gesture.as_deref() == Some(gesture))
    }

    /// Whether a prompt ever had this name.
    pub fn is_used(&self, name: &str) -> bool {
        self.used.contains(name) || self.by_name.contains_key(name)
    }

    pub fn free_number(&self) -> String {
        (self.next..).map(|n| format!("{n:04}")).find(|name| !self.is_used(name)).unwrap_or_default()
    }

    /// Takes the rows of a file: the number of the last, and what is wrong with the file, if anything
    /// is. Numbers below `reserved` may have been given.
    pub fn load(&mut self, text: &[u8], reserved: u64) -> (u64, Option<Damage>) {
        let mut damage = Damage::default();
        let mut reader = row::Reader::new(text);
        for found in reader.by_ref() {
            match found {
                Found::Row(row, span) => {
                    if let Row::Stage { number, .. } = row {
                        damage.known(number);
                    }
                    self.take(row, span);
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
                        self.take(row, span);
                        damage.altered(number);
                    }
                }
                Found::Name(name) => _ = self.used.insert(name),
            }
        }
        self.len = reader.at;
        if text.is_empty() && reserved > 1 {
            damage.places = 1;
        }
        (reader.sequence, (damage.places > 0).then_some(damage))
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

    /// Goes on with what is whole of a damaged book; the names of those that are uncertain now.
    pub fn doubt(&mut self, reserved: u64, damage: &Damage) -> Vec<String> {
        self.next = reserved.max(self.next + damage.most_lost());
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
        names
    }

    /// What a row says, into memory.
    pub fn take(&mut self, row: Row, span: Span) {
        match row {
            Row::Head { next, used, rest } => {
                self.next = next.max(self.next);
                self.used.extend(used);
                self.head.extend(rest);
            }
            Row::Accept { number, name, at, origin, gesture, text } => {
                self.next = self.next.max(number + 1);
                self.by_name.insert(name.clone(), number);
                let turn = Turn {
                    number,
                    name,
                    stage: Stage::Queued,
                    why: None,
                    origin,
                    gesture,
                    accepted: at,
                    sent: None,
                    ended: None,
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

    /// What stays where the oldest ended turns go; none where no more are there than are shown.
    pub fn tidied(&self) -> Option<Pages> {
        let ended: Vec<&Turn> = self.turns.values().filter(|t| t.stage.ended()).collect();
        let bytes = |t: &Turn| t.rows.prompt.len + t.rows.reply.map_or(0, |r| r.len);
        let all: u64 = ended.iter().map(|t| bytes(t)).sum();
        if ended.len() <= SHOWN + SLACK && all <= SHOWN_BYTES {
            return None;
        }
        let (mut kept, mut room) = (0, SHOWN_BYTES * 3 / 4);
        let mut old = Vec::new();
        for turn in ended.iter().rev() {
            match room.checked_sub(bytes(turn)) {
                Some(left) if kept < SHOWN && old.is_empty() => (kept, room) = (kept + 1, left),
                _ => old.push(turn.number),
            }
        }
        let mut stays = self.clone();
        for number in old {
            if let Some(turn) = stays.turns.remove(&number) {
                stays.by_name.remove(&turn.name);
                // Numbers are never given again anyhow.
                if turn.name != format!("{number:04}") {
                    stays.used.insert(turn.name);
                }
            }
        }
        Some(stays)
    }

    /// The text of a file with what is kept here, which then says where it lies there. Rows are copied
    /// as they are, so that what a later version put into them stays.
    pub fn written(&mut self) -> Result<row::Written> {
        let file = self.file.clone();
        let bytes = |span: Span| bytes(&file, span);
        let mut new = row::Written::default();
        let mut used: Vec<String> = self.used.iter().cloned().collect();
        used.sort();
        new.put(&Row::Head { next: self.next, used, rest: self.head.clone() }.json()?);
        for turn in self.turns.values_mut() {
            let prompt = new.put(&bytes(turn.rows.prompt)?);
            let mut copied =
                |span: Option<Span>| span.map(|span| bytes(span).map(|json| new.put(&json))).transpose();
            let renamed = copied(turn.rows.renamed)?;
            let typing = copied(turn.rows.typing)?;
            let differs = turn.rows.last != turn.rows.typing && turn.stage != Stage::Queued;
            let mut last = match turn.rows.last.filter(|_| differs) {
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
            *turn.rows = Rows { prompt, renamed, typing, last, reply };
        }
        // The rows before are not in their old order.
        new.put(&Row::Composer { unsure: self.unsure }.json()?);
        if self.held.is_some() {
            new.put(&Row::Hold { why: self.held.clone() }.json()?);
        }
        for span in &mut self.later {
            *span = new.put(&bytes(*span)?);
        }
        Ok(new)
    }
}

fn bytes(file: &File, span: Span) -> Result<Vec<u8>> {
    let mut bytes = vec![0; span.len as usize];
    file.read_exact_at(&mut bytes, span.at).map_err(|e| Error::io("the book of prompts", e))?;
    Ok(bytes)
}

/// The row at `span`.
pub fn read(file: &File, span: Span) -> Result<Row> {
    serde_json::from_slice(&bytes(file, span)?)
        .map_err(|e| Error::new(Kind::Invalid, "a row of the book of prompts is damaged").because(e))
}
