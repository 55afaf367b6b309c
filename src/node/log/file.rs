//! A log that grows, rotates, and outlives a disk that is full or read-only.
//!
//! Appending never fails for its caller: what cannot be written is kept in memory within a bound and shown
//! to readers from there; beyond the bound it is counted, and the log itself says what is missing. Must not
//! know what the bytes mean.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::generation;
use super::inode::{self, LogInode};
use muxfs_tree::base::clock::rfc3339;

/// Bytes remembered while nothing can be written.
const BACKLOG: usize = 64 * 1024;
/// How often a disk in trouble is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A line log may grow this much beyond its limit to end with a line.
const LINE_GRACE: u64 = 1024 * 1024;

/// A size that may change while logs are open. Clones are the same size.
#[derive(Debug, Clone)]
pub struct RotateAt(Arc<AtomicU64>);

impl RotateAt {
    pub fn new(bytes: u64) -> Self {
        RotateAt(Arc::new(AtomicU64::new(bytes)))
    }

    /// Counts from the next record on, in every log that has a clone.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a log rotates.
#[derive(Debug, Clone)]
pub struct LogLimits {
    /// Bytes at which a log goes on in another file.
    pub rotate_at: RotateAt,
    /// It does not rotate twice within this time; until then the file grows beyond its limit. GNU `tail -F`
    /// needs 8 s to 15 s to see each file (it reopens only after five unchanged polls).
    pub min_between_rotations: Duration,
    /// Records are lines: rotate where one ends.
    pub lines: bool,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            rotate_at: RotateAt::new(64 << 20),
            min_between_rotations: Duration::from_secs(15),
            lines: true,
        }
    }
}

/// Bytes that never reached the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub since: SystemTime,
    pub lost_bytes: u64,
    pub text: String,
    /// The log ends within a line.
    pub mid_line: bool,
}

/// What is written in place of lost bytes.
pub type GapFormat = fn(&Gap) -> Vec<u8>;

/// `[muxfs: 123 bytes missing since 2026-11-21T05:06:07.089Z: No space left on device]`.
pub fn text_gap(gap: &Gap) -> Vec<u8> {
    let begin = if gap.mid_line { "\n" } else { "" };
    let (lost, since) = (gap.lost_bytes, rfc3339(gap.since));
    format!("{begin}[muxfs: {lost} bytes missing since {since}: {}]\n", gap.text).into_bytes()
}

/// The log cannot be written at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub since: SystemTime,
    /// Bytes that are lost for good; what is only late is not counted.
    pub lost_bytes: u64,
    pub text: String,
}

/// An append-only log, in numbered files beside its path.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// What it is called for good.
    key: Arc<str>,
    limits: LogLimits,
    gap: GapFormat,
    state: Mutex<State>,
    tell: Tell,
}

/// Called when another generation begins.
#[derive(Default)]
struct Tell(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tell({})", self.0.get().is_some())
    }
}

#[derive(Debug)]
struct State {
    current: Arc<LogInode>,
    rotated: Option<Arc<LogInode>>,
    last_rotation: Option<SystemTime>,
    /// The current generation is for readers alone: the next record begins another.
    stale: bool,
    /// The file is marked as one that grows no more.
    ended: bool,
    /// The file ends within a line.
    mid_line: bool,
    /// An earlier life died within a line: the next record begins a new one.
    torn: bool,
    trouble: Option<Troubled>,
    closed: bool,
}

#[derive(Debug)]
struct Troubled {
    trouble: Trouble,
    backlog: Vec<u8>,
    tried: SystemTime,
}

impl LogFile {
    /// Goes on with the newest file of the log at `path`, or begins one with the first record. `owner` is
    /// whose log it is, for good. Never fails: a directory that cannot be written is a [`Trouble`], told
    /// once something was to be written.
    pub fn open(path: impl Into<PathBuf>, owner: &str, limits: LogLimits, gap: GapFormat) -> LogFile {
        let path = path.into();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let key: Arc<str> = format!("{owner}/{name}").into();
        let numbers = generation::found(&path);
        let inode = |number| LogInode::new(generation::path(&path, number), key.clone(), number);
        let newest = numbers.first().copied();
        let current = Arc::new(inode(newest.unwrap_or_else(|| generation::after(0, SystemTime::now()))));
        let stale = newest.is_some() && !current.may_grow();
        let torn = limits.lines && current.last_byte().is_some_and(|b| b != b'\n');
        let rotated = numbers.get(1).map(|&number| Arc::new(inode(number)));
        for &number in numbers.iter().skip(2) {
            // A life that ended while it rotated left it.
            let _ = std::fs::remove_file(generation::path(&path, number));
        }
        let state = State {
            mid_line: torn,
            torn,
            current,
            last_rotation: rotated.as_ref().and_then(|inode| inode.changed_at()),
            rotated,
            stale,
            ended: false,
            trouble: None,
            closed: false,
        };
        // A descriptor is not kept for a log that may stay silent.
        state.current.tidy();
        state.current.tidy();
        LogFile { path, key, limits, gap, state: Mutex::new(state), tell: Tell::default() }
    }

    /// Has `tell` called each time another generation begins, and the last is `NAME.1`. It is called
    /// with the log locked, so it must not wait and not use the log. Only the first one counts.
    pub fn on_new_inode(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.tell.0.set(Box::new(tell));
    }

    /// Appends one record. Never fails, and waits for nothing but the disk.
    pub fn append(&self, record: &[u8], now: SystemTime) {
        if record.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if std::mem::take(&mut state.stale) {
            self.rotate(&mut state, now);
        }
        if std::mem::take(&mut state.ended) {
            generation::mark_ahead(&state.current.path(), false);
        }
        if state.trouble.is_some() && !self.recover(&mut state, now) {
            state.miss(record);
            return;
        }
        if std::mem::take(&mut state.torn) {
            self.write(&mut state, b"\n", now);
        }
        self.write(&mut state, record, now);
    }

    /// Why records are missing or late at the moment.
    pub fn trouble(&self) -> Option<Trouble> {
        self.state.lock().trouble.as_ref().map(|t| t.trouble.clone())
    }

    /// Whether an earlier life of the node wrote anything here.
    pub fn is_known(&self) -> bool {
        let state = self.state.lock();
        state.current.size() > 0 || state.rotated.is_some()
    }

    /// The generation that grows.
    pub fn current(&self) -> Arc<LogInode> {
        self.state.lock().current.clone()
    }

    /// `NAME.1`, if it is there.
    pub fn rotated(&self) -> Option<Arc<LogInode>> {
        let mut state = self.state.lock();
        if state.rotated.as_ref().is_some_and(|inode| !inode.is_there()) {
            state.rotated = None;
        }
        state.rotated.clone()
    }

    /// The session ended: followers reach EOF, later records are dropped.
    pub fn close(&self, now: SystemTime) {
        let mut state = self.state.lock();
        if state.trouble.is_some() {
            if let Some(t) = &mut state.trouble {
                t.tried = SystemTime::UNIX_EPOCH;
            }
            self.recover(&mut state, now);
        }
        state.closed = true;
        state.current.close();
    }

    /// The node ends: what is there is brought to the disk, so that the next life goes on with it even
    /// where the machine starts in between. Waits for the disk.
    pub fn end(&self) {
        let mut state = self.state.lock();
        if state.trouble.is_none() && !state.stale {
            // Where it fails the next life begins another generation.
            state.ended = generation::end(&state.current.path()).is_ok();
        }
    }

    /// Retries a disk in trouble, and closes descriptors that were idle since the last call. To
    /// be called every few seconds.
    pub fn tidy(&self, now: SystemTime) {
        let mut state = self.state.lock();
        if state.trouble.is_some() {
            self.recover(&mut state, now);
        }
        state.current.tidy();
        if let Some(inode) = &state.rotated {
            inode.tidy();
        }
    }

    /// Writes a record; what does not fit on the disk begins a trouble.
    fn write(&self, state: &mut State, record: &[u8], now: SystemTime) {
        if state.trouble.is_some() {
            return state.miss(record);
        }
        self.rotate_if_due(state, record.len() as u64, now);
        let (done, error) = self.put(state, record, now);
        if let Some(error) = error {
            let text = plain_text(&error);
            let trouble = Trouble { since: now, lost_bytes: 0, text };
            state.trouble = Some(Troubled { trouble, backlog: Vec::new(), tried: now });
            generation::mark_ahead(&state.current.path(), true);
            state.miss(&record[done..]);
        }
    }

    /// Writes what goes. A file that somebody took away is begun anew.
    fn put(&self, state: &mut State, bytes: &[u8], now: SystemTime) -> (usize, Option<io::Error>) {
        let mut result = state.current.append(bytes, now);
        let gone = result.1.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::NotFound);
        if gone && !state.current.is_there() {
            self.begin(state, now);
            result = state.current.append(bytes, now);
        }
        state.wrote(&bytes[..result.0], self.limits.lines);
        result
    }

    /// Another generation takes the name. Gives the last one.
    fn begin(&self, state: &mut State, now: SystemTime) -> Arc<LogInode> {
        let number = generation::after(state.current.number(), now);
        let path = generation::path(&self.path, number);
        let next = Arc::new(LogInode::new(path, self.key.clone(), number));
        let last = std::mem::replace(&mut state.current, next);
        last.close();
        (state.mid_line, state.torn) = (false, false);
        if let Some(tell) = self.tell.0.get() {
            tell();
        }
        last
    }

    /// Tries to write what was missed. True when the log is whole again.
    fn recover(&self, state: &mut State, now: SystemTime) -> bool {
        let Some(mut t) = state.trouble.take() else {
            return true;
        };
        // A clock that was set back must not silence the log for long.
        if now.duration_since(t.tried).is_ok_and(|since| since < RETRY) {
            state.trouble = Some(t);
            return false;
        }
        t.tried = now;
        let keep = t.backlog.len();
        if t.trouble.lost_bytes > 0 {
            let mid_line = t.backlog.last().map_or(state.mid_line, |&b| b != b'\n');
            let Trouble { since, lost_bytes, text } = t.trouble.clone();
            // One write with the backlog, so that the note stands where the gap is.
            t.backlog.extend((self.gap)(&Gap { since, lost_bytes, text, mid_line }));
        }
        let (done, error) = self.put(state, &t.backlog, now);
        let Some(error) = error else {
            generation::mark_ahead(&state.current.path(), false);
            return true;
        };
        t.backlog.truncate(keep.max(done));
        t.backlog.drain(..done);
        state.current.set_late(&t.backlog);
        t.trouble.text = plain_text(&error);
        state.trouble = Some(t);
        false
    }

    fn rotate_if_due(&self, state: &mut State, more: u64, now: SystemTime) {
        let size = state.current.size();
        let rotate_at = self.limits.rotate_at.get();
        if size == 0 || size + more <= rotate_at {
            return;
        }
        if state.mid_line && size + more <= rotate_at.saturating_add(LINE_GRACE) {
            return;
        }
        let early = state.last_rotation.is_some_and(|last| {
            now.duration_since(last).is_ok_and(|d| d < self.limits.min_between_rotations)
        });
        if early {
            return;
        }
        state.last_rotation = Some(now);
        let next = generation::path(&self.path, generation::after(state.current.number(), now));
        // Where no file can be made the last one just grows on.
        if state.current.is_there() && inode::make(&next).is_ok() {
            self.rotate(state, now);
        }
    }

    /// The current generation becomes `NAME.1`, what was that goes.
    fn rotate(&self, state: &mut State, now: SystemTime) {
        if let Some(inode) = state.rotated.take() {
            if Arc::strong_count(&inode) > 1 {
                inode.lose_name();
            }
            let _ = std::fs::remove_file(inode.path()); // the next start tries again
        }
        state.rotated = Some(self.begin(state, now));
    }
}

impl State {
    fn wrote(&mut self, bytes: &[u8], lines: bool) {
        if let Some(&last) = bytes.last() {
            self.mid_line = lines && last != b'\n';
        }
    }

    /// Remembers a record, or counts it. After the first lost byte everything is lost until the
    /// disk is back, so that the log has one gap and not many.
    fn miss(&mut self, record: &[u8]) {
        let Some(t) = &mut self.trouble else { return };
        if t.trouble.lost_bytes == 0 && t.backlog.len() + record.len() <= BACKLOG {
            t.backlog.extend_from_slice(record);
            self.current.set_late(&t.backlog);
        } else {
            t.trouble.lost_bytes += record.len() as u64;
        }
    }
}

/// `No space left on device`, without the number.
fn plain_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
