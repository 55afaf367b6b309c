//! Editors' temporary files, kept in memory for one mount, and documents that an editor moved
//! away for a moment. docs/tree.md, "Editors and crawlers". The tree never sees any of this.
//!
//! Knows no kernel and no tree; time is passed in. Lock order: the store, then a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::budget::Share;
use super::inode::Inode;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::{Shape, Stat};

/// Bytes of one scratch file.
pub const MAX_BYTES: u64 = 1 << 20;
/// Scratch files of one directory.
pub const MAX_FILES: usize = 64;
/// After its last close a scratch file has this long to become something.
pub const KEEP: Duration = Duration::from_secs(60);
/// A document that was moved away or removed comes back after this long without a successor.
pub const AWAY: Duration = Duration::from_secs(10);

pub struct ScratchFile {
    /// Its inode number, for as long as it exists.
    pub ino: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    data: Vec<u8>,
    /// Of the memory for scratch files.
    share: Share,
    stat: Stat,
    opens: usize,
    closed: Instant,
    /// It became a document: a handle still open on it would write into nothing.
    turned: bool,
}

impl ScratchFile {
    /// `ENOSPC` where `share` has no room for `data`.
    pub fn new(ino: u64, data: Vec<u8>, mut share: Share, mut stat: Stat, now: Instant) -> Result<Arc<Self>> {
        stat.shape = Shape::Scratch;
        share.resize(data.len())?;
        let inner = Inner { data, share, stat, opens: 0, closed: now, turned: false };
        Ok(Arc::new(ScratchFile { ino, inner: Mutex::new(inner) }))
    }

    pub fn stat(&self) -> Stat {
        let inner = self.inner.lock();
        Stat { size: inner.data.len() as u64, ..inner.stat }
    }

    pub fn change(&self, mode: Option<u32>, gid: Option<u32>, mtime: Option<SystemTime>) {
        let stat = &mut self.inner.lock().stat;
        // It may be a copy of a document, which is its owner's alone.
        stat.mode = mode.map_or(stat.mode, |m| m & 0o700);
        stat.gid = gid.unwrap_or(stat.gid);
        stat.mtime = mtime.unwrap_or(stat.mtime);
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.inner.lock().data.clone()
    }

    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        slice(&self.inner.lock().data, offset, len).to_vec()
    }

    pub fn write(&self, offset: Option<u64>, data: &[u8]) -> Result<()> {
        let mut inner = self.inner.lock();
        if inner.turned {
            return fail(Kind::Stale, "the scratch file was renamed onto a document");
        }
        let len = inner.data.len();
        let end = fits(offset.unwrap_or(len as u64).saturating_add(data.len() as u64))?;
        inner.share.resize(end.max(len))?;
        write_at(&mut inner.data, offset, data)?;
        inner.stat.mtime = SystemTime::now();
        Ok(())
    }

    pub fn resize(&self, size: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.share.resize(fits(size)?)?;
        resize(&mut inner.data, size)?;
        inner.stat.mtime = SystemTime::now();
        Ok(())
    }

    pub fn opened(&self) {
        self.inner.lock().opens += 1;
    }

    pub fn closed(&self, now: Instant) {
        let mut inner = self.inner.lock();
        inner.opens = inner.opens.saturating_sub(1);
        inner.closed = now;
    }

    pub fn turned(&self) {
        self.inner.lock().turned = true;
    }

    fn left_over(&self, now: Instant) -> bool {
        let inner = self.inner.lock();
        inner.opens == 0 && now.saturating_duration_since(inner.closed) >= KEEP
    }
}

/// The bytes a read gets.
pub fn slice(data: &[u8], offset: u64, len: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
    &data[start..start.saturating_add(len).min(data.len())]
}

/// Writes at `offset` (`None`: the end), filling a gap with zeros.
pub fn write_at(text: &mut Vec<u8>, offset: Option<u64>, data: &[u8]) -> Result<()> {
    let start = offset.unwrap_or(text.len() as u64);
    let end = fits(start.saturating_add(data.len() as u64))?;
    let start = start as usize; // not beyond `end`
    if text.len() < end {
        text.resize(end, 0);
    }
    text[start..end].copy_from_slice(data);
    Ok(())
}

/// `size`, where a file may be so large.
pub fn fits(size: u64) -> Result<usize> {
    match usize::try_from(size) {
        Ok(bytes) if size <= MAX_BYTES => Ok(bytes),
        _ => fail(Kind::TooLarge, format!("{size} bytes; {MAX_BYTES} are the most")),
    }
}

pub fn resize(text: &mut Vec<u8>, size: u64) -> Result<()> {
    text.resize(fits(size)?, 0);
    Ok(())
}

/// All scratch files of the mount, by the id of their directory: a session that is renamed keeps
/// them, and one that takes its name does not get them.
#[derive(Default)]
pub struct Scratch {
    dirs: HashMap<u64, Dir>,
}

struct Dir {
    inode: Arc<Inode>,
    files: BTreeMap<String, Arc<ScratchFile>>,
    away: HashMap<String, Instant>,
}

/// What a sweep dropped or brought back, by its directory.
pub enum Swept {
    /// A scratch file that became nothing.
    Dropped(Arc<Inode>, String, Arc<ScratchFile>),
    /// A document that nothing replaced.
    Back(Arc<Inode>, String),
}

impl Scratch {
    fn dir(&mut self, inode: &Arc<Inode>) -> &mut Dir {
        let id = inode.state().stat.id;
        self.dirs.entry(id).or_insert_with(|| Dir {
            inode: inode.clone(),
            files: BTreeMap::new(),
            away: HashMap::new(),
        })
    }

    pub fn get(&self, dir: u64, name: &str) -> Option<Arc<ScratchFile>> {
        self.dirs.get(&dir)?.files.get(name).cloned()
    }

    pub fn is_away(&self, dir: u64, name: &str) -> bool {
        self.dirs.get(&dir).is_some_and(|d| d.away.contains_key(name))
    }

    /// Whether another file may be put there, in place of `name` or beside it.
    pub fn room(&self, dir: u64, name: &str) -> Result<()> {
        match self.dirs.get(&dir) {
            Some(d) if d.files.len() >= MAX_FILES && !d.files.contains_key(name) => {
                fail(Kind::NoSpace, format!("{MAX_FILES} scratch files are the most a directory takes"))
            }
            _ => Ok(()),
        }
    }

    /// Gives back what stood under that name.
    pub fn put(
        &mut self,
        dir: &Arc<Inode>,
        name: &str,
        file: Arc<ScratchFile>,
    ) -> Result<Option<Arc<ScratchFile>>> {
        self.room(dir.state().stat.id, name)?;
        Ok(self.dir(dir).files.insert(name.to_owned(), file))
    }

    pub fn remove(&mut self, dir: u64, name: &str) -> Option<Arc<ScratchFile>> {
        let d = self.dirs.get_mut(&dir)?;
        let file = d.files.remove(name);
        self.tidy(dir);
        file
    }

    pub fn away(&mut self, dir: &Arc<Inode>, name: &str, now: Instant) {
        self.dir(dir).away.insert(name.to_owned(), now);
    }

    pub fn back(&mut self, dir: u64, name: &str) {
        if let Some(d) = self.dirs.get_mut(&dir) {
            d.away.remove(name);
            self.tidy(dir);
        }
    }

    fn tidy(&mut self, dir: u64) {
        if self.dirs.get(&dir).is_some_and(|d| d.files.is_empty() && d.away.is_empty()) {
            self.dirs.remove(&dir);
        }
    }

    /// Names and files of a directory, for its listing.
    pub fn list(&self, dir: u64) -> Vec<(String, Arc<ScratchFile>)> {
        let files = self.dirs.get(&dir).map(|d| d.files.iter());
        files.into_iter().flatten().map(|(name, file)| (name.clone(), file.clone())).collect()
    }

    /// Drops what became nothing and brings documents back, as of `now`.
    pub fn sweep(&mut self, now: Instant) -> Vec<Swept> {
        let mut swept = Vec::new();
        for d in self.dirs.values_mut() {
            let Dir { inode, files, away } = d;
            files.retain(|name, file| {
                let drop = file.left_over(now);
                if drop {
                    swept.push(Swept::Dropped(inode.clone(), name.clone(), file.clone()));
                }
                !drop
            });
            away.retain(|name, since| {
                let back = now.saturating_duration_since(*since) >= AWAY;
                if back {
                    swept.push(Swept::Back(inode.clone(), name.clone()));
                }
                !back
            });
        }
        self.dirs.retain(|_, d| !d.files.is_empty() || !d.away.is_empty());
        swept
    }
}

/// Whether editors and `sed -i` call their temporary files like this. vim probes with `4913`.
pub fn is_temporary(name: &str) -> bool {
    let sed = name.strip_prefix("sed");
    name.starts_with('.')
        || name.ends_with('~')
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'))
        || name.bytes().all(|b| b.is_ascii_digit())
        || sed.is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Whether programs call a file like this that they have not finished: in a directory of items it
/// waits for its rename.
pub fn is_unfinished(name: &str) -> bool {
    let ends = ["~", ".tmp", ".part"];
    name.starts_with('.') || name.starts_with("tmp") || ends.iter().any(|end| name.ends_with(end))
}

/// Whether two names are one insertion, deletion, substitution or transposition apart: a prompt whose file
/// name was mistyped must not vanish into a scratch file.
pub fn is_slip(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len().abs_diff(b.len()) {
        0 if a.is_empty() => false,
        0 => a[1..] == b[1..] || (a.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..]),
        1 if a.len() < b.len() => *a == b[1..],
        1 => a[1..] == *b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_one_edit_away() {
        for (a, b) in [("inptu", "input"), ("imput", "input"), ("inpt", "input"), ("inputt", "input")] {
            assert!(is_slip(a, b) && is_slip(b, a), "{a} {b}");
        }
        for (a, b) in [("input", "input"), ("tupni", "input"), ("in", "input"), ("notes", "input")] {
            assert!(!is_slip(a, b), "{a} {b}");
        }
    }

    #[test]
    fn editors_names_are_known() {
        for name in [".config.swp", "config~", "#config#", ".#config", "4913", "sedAb3xYz", "5036"] {
            assert!(is_temporary(name), "{name}");
        }
        for name in ["config", "inptu", "#", "sedative", "x.tmp", "confi"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn unfinished_files_are_known_by_their_names() {
        for name in [".x", ".job.Ab3xYz", "tmp1a2b", "x~", "job-1.tmp", "job-1.part"] {
            assert!(is_unfinished(name), "{name}");
        }
        for name in ["job-1", "0001", "x.tmp2", "atmp", "part"] {
            assert!(!is_unfinished(name), "{name}");
        }
    }

    #[test]
    fn bytes_are_bounded_and_gaps_are_zero() {
        let mut text = Vec::new();
        write_at(&mut text, Some(2), b"x").unwrap();
        assert_eq!(text, b"\0\0x");
        write_at(&mut text, None, b"y").unwrap();
        assert_eq!(text, b"\0\0xy");
        assert_eq!(write_at(&mut text, Some(MAX_BYTES), b"z").unwrap_err().kind, Kind::TooLarge);
        assert_eq!(write_at(&mut text, Some(u64::MAX), b"z").unwrap_err().kind, Kind::TooLarge);
        assert_eq!(resize(&mut text, MAX_BYTES + 1).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(slice(&text, u64::MAX, usize::MAX), b"");
        assert_eq!(slice(&text, 2, 100), b"xy");
    }
}
