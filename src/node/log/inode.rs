//! One inode of a log, as its readers hold it: it outlives the rotation that takes its name away.
//!
//! Knows one file. Knows nothing of rotation rules or of what the bytes mean.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::generation;
use muxfs_tree::base::foreign::{self, Links};

/// Descriptors that all logs of the process keep open between uses. Beyond it, each use opens and
/// closes the file for itself.
const KEEP_OPEN: usize = 256;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub size: u64,
    /// Nothing more will ever come: followers reach EOF.
    pub closed: bool,
}

/// One inode of a log file.
#[derive(Debug)]
pub struct LogInode {
    /// What the log is called for good, and which of its generations this is.
    log: Arc<str>,
    number: u64,
    place: Mutex<Place>,
    /// Bytes on the disk.
    size: AtomicU64,
    /// Bytes that come after them and could not be written yet. Readers see them already.
    late: Mutex<Vec<u8>>,
    /// When it last grew: milliseconds since the epoch, 0 where it never did.
    changed: AtomicU64,
    /// Used since the last `tidy`.
    used: AtomicBool,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Device and inode number, once the file was opened: a name may be taken by another.
    identity: Option<(u64, u64)>,
    file: Option<Arc<Held>>,
    /// The name is gone: the descriptor is all there is, and stays.
    nameless: bool,
}

/// A descriptor that is counted while it is kept.
#[derive(Debug)]
struct Held(File);

impl Held {
    fn new(file: File) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Held(file)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LogInode {
    /// The file at `path`, which may not be there yet: a generation of a log.
    pub(super) fn new(path: PathBuf, log: Arc<str>, number: u64) -> Self {
        let meta = std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file);
        let changed = meta.as_ref().and_then(|m| m.modified().ok()).map_or(0, millis);
        let size = meta.map_or(0, |m| m.len());
        LogInode {
            log,
            number,
            place: Mutex::new(Place { path, identity: None, file: None, nameless: false }),
            size: AtomicU64::new(size),
            late: Mutex::default(),
            changed: AtomicU64::new(changed),
            used: AtomicBool::new(false),
            progress: watch::Sender::new(Progress { size, closed: false }),
        }
    }

    /// Which generation of its log it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it is called for good: no other inode of a log ever is, in this life of the node and in
    /// later ones.
    pub fn key(&self) -> String {
        format!("{}.{}", self.log, self.number)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place.lock().path.clone()
    }

    /// Bytes so far; only grows.
    pub fn size(&self) -> u64 {
        let late = self.late.lock();
        self.on_disk() + late.len() as u64
    }

    fn on_disk(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// What could not be written so far, after what is on the disk.
    pub(super) fn set_late(&self, bytes: &[u8]) {
        let size = {
            let mut late = self.late.lock();
            bytes.clone_into(&mut late);
            self.on_disk() + late.len() as u64
        };
        self.progress.send_if_modified(|p| {
            let grew = p.size < size;
            p.size = p.size.max(size);
            grew
        });
    }

    /// When its last byte came. `None`: it has none yet.
    pub fn changed_at(&self) -> Option<SystemTime> {
        let changed = self.changed.load(Ordering::Acquire);
        (changed > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(changed))
    }

    /// Nothing more will ever come.
    pub fn is_closed(&self) -> bool {
        self.progress.borrow().closed
    }

    /// Tells of growth and of the end. Subscribe first, then read.
    pub fn changed(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Up to `len` bytes from `offset`; empty at and past the end. Blocks for the disk alone.
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let (end, late) = {
            let late = self.late.lock();
            let end = self.on_disk();
            let from = usize::try_from(offset.saturating_sub(end)).unwrap_or(usize::MAX);
            (end, late.get(from..).unwrap_or_default().to_vec())
        };
        let most = len;
        let len = len.min(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut bytes = if len == 0 { Vec::new() } else { self.read_disk(offset, len)? };
        if bytes.len() == len {
            bytes.extend(late.into_iter().take(most - len));
        }
        Ok(bytes)
    }

    fn read_disk(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.open(false)?;
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match file.0.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// Appends as much as goes: the bytes written, and why it was not all of them.
    pub(super) fn append(&self, bytes: &[u8], now: SystemTime) -> (usize, Option<io::Error>) {
        let mut done = 0;
        let file = match self.open(true) {
            Ok(file) => file,
            Err(e) => return (0, Some(e)),
        };
        let mut trouble = None;
        while done < bytes.len() {
            match io::Write::write(&mut &file.0, &bytes[done..]) {
                Ok(0) => trouble = Some(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(e) => trouble = Some(e),
            }
            if trouble.is_some() {
                break;
            }
        }
        if done > 0 {
            self.changed.store(millis(now), Ordering::Release);
            let mut late = self.late.lock();
            self.size.fetch_add(done as u64, Ordering::Release);
            let known = done.min(late.len());
            late.drain(..known);
            let size = self.on_disk() + late.len() as u64;
            drop(late);
            self.progress.send_modify(|p| p.size = size);
        }
        (done, trouble)
    }

    pub(super) fn close(&self) {
        self.progress.send_if_modified(|p| !std::mem::replace(&mut p.closed, true));
    }

    fn open(&self, make: bool) -> io::Result<Arc<Held>> {
        self.used.store(true, Ordering::Relaxed);
        let mut place = self.place.lock();
        if let Some(file) = &place.file {
            return Ok(file.clone());
        }
        let file = open_file(&place.path, make)?;
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        match place.identity {
            // Numbers are used again; a log that became shorter is another one.
            Some(known) if known != identity || meta.len() < self.on_disk() => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Some(_) => (),
            None => {
                // First use: what is there is what counts, should it have changed since.
                place.identity = Some(identity);
                if meta.len() > self.on_disk() {
                    self.size.store(meta.len(), Ordering::Release);
                }
            }
        }
        let held = Arc::new(Held::new(file));
        if OPEN.load(Ordering::Relaxed) <= KEEP_OPEN {
            place.file = Some(held.clone());
        }
        Ok(held)
    }

    /// The file is about to be removed: readers keep it by its descriptor.
    pub(super) fn lose_name(&self) {
        let held = self.open(false).ok();
        let mut place = self.place.lock();
        place.nameless = true;
        if held.is_some() {
            place.file = held;
        }
    }

    /// Is the file still there under its name?
    pub(super) fn is_there(&self) -> bool {
        let place = self.place.lock();
        let Ok(meta) = std::fs::symlink_metadata(&place.path) else {
            return false;
        };
        let same = |known| known == (meta.dev(), meta.ino()) && meta.len() >= self.on_disk();
        place.identity.is_none_or(same)
    }

    /// Whether the file is there, and may be gone on with.
    pub(super) fn may_grow(&self) -> bool {
        let path = self.path();
        std::fs::symlink_metadata(&path).is_ok_and(|meta| generation::may_grow(&path, &meta))
    }

    /// The last byte, if the file has one and can be read.
    pub(super) fn last_byte(&self) -> Option<u8> {
        let at = self.size().checked_sub(1)?;
        self.read_at(at, 1).ok()?.first().copied()
    }

    /// Closes a descriptor that was not used since the last call.
    pub(super) fn tidy(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            let mut place = self.place.lock();
            if !place.nameless {
                place.file = None;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn holds_descriptor(&self) -> bool {
        self.place.lock().file.is_some()
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the file of another generation.
pub(super) fn make(path: &Path) -> io::Result<()> {
    foreign::open_with(OpenOptions::new().append(true).mode(0o600).create_new(true), path).map(drop)
}

fn open_file(path: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).create(make);
    match foreign::open_with(&mut options, path) {
        Err(e) if make && e.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            }
            foreign::open_with(&mut options, path)
        }
        // A log on a disk that went read-only can still be read.
        Err(_) if !make => foreign::open(path, Links::Refuse),
        other => other,
    }
}
