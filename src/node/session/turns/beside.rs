//! The files beside a book of prompts: which numbers may have been given, and copies of books that
//! were found damaged. And what is told of such damage.
//!
//! Must not know rows, nor what a turn is.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::Links;

/// Copies of damaged books that are kept; a further one replaces the last.
const COPIES: usize = 9;
/// Least bytes of the row of an accepted prompt: how many of them a damaged place may have held.
const LEAST_ROW: u64 = 40;

/// The files beside the book at `path` that go with it.
pub fn all(path: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(numbers(path)).chain((1..=COPIES).map(|n| copy(path, n)))
}

/// Whether there is a book at `path`, or one was lost there.
pub fn is_there(path: &Path) -> bool {
    path.exists() || numbers(path).exists()
}

fn numbers(path: &Path) -> PathBuf {
    path.with_extension("next")
}

fn copy(path: &Path, n: usize) -> PathBuf {
    path.with_extension(format!("turns-damaged.{n}"))
}

/// Whether the book that was opened, by its device and inode number, is still the file of its name: a
/// prompt that is stored in another one is lost with this process.
///
/// # Errors
/// `Gone` where it is not.
pub fn is_here(path: &Path, identity: (u64, u64)) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == identity) {
        return Ok(());
    }
    let what = "removed or replaced while muxfs runs, so no prompt can be stored; restart muxfs";
    fail(Kind::Gone, format!("{}: {what}", path.display()))
}

/// The bound of the numbers that may have been given; 0 where nothing says one.
pub fn reserved(path: &Path) -> Result<u64> {
    let path = numbers(path);
    let text = disk::read(&path, Links::Refuse)?.unwrap_or_default();
    match text.trim() {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            let what = "not a number: write one that no prompt had, or remove the file";
            Error::new(Kind::Invalid, format!("{}: {what}", path.display()))
        }),
    }
}

/// Numbers that are set aside at once, so that a book that is lost gives none of them again.
const RESERVED: u64 = 1000;

/// Sets `number` and the [`RESERVED`] after it aside: numbers below the result may be given.
pub fn reserve(path: &Path, number: u64) -> Result<u64> {
    let bound = number + RESERVED;
    disk::replace(&numbers(path), format!("{bound}\n").as_bytes(), Links::Refuse)?;
    Ok(bound)
}

/// Keeps the text of a damaged book; where.
pub fn keep_copy(path: &Path, text: &[u8]) -> Result<PathBuf> {
    let free = (1..=COPIES).map(|n| copy(path, n)).find(|to| !to.exists());
    let to = free.unwrap_or_else(|| copy(path, COPIES));
    disk::replace(&to, text, Links::Refuse)?;
    Ok(to)
}

/// What is wrong with a book that was read.
#[derive(Default)]
pub struct Damage {
    pub places: u64,
    bytes: u64,
    /// Of the first place.
    at: u64,
    /// Rows that are known to be missing.
    missing: u64,
    /// Turns of which it is not known what became of them.
    pub doubtful: HashSet<u64>,
    /// Those among them whose text may be wrong.
    altered: HashSet<u64>,
}

impl Damage {
    /// Bytes that cannot be read, or rows that are not there; `open` are the turns that were not over.
    pub fn hole(&mut self, at: u64, bytes: u64, missing: u64, open: impl Iterator<Item = u64>) {
        if self.places == 0 {
            self.at = at;
        }
        self.places += 1;
        self.bytes += bytes;
        self.missing += missing;
        self.doubtful.extend(open);
    }

    /// What became of a turn is known again; not so what its text was.
    pub fn known(&mut self, number: u64) {
        if !self.altered.contains(&number) {
            self.doubtful.remove(&number);
        }
    }

    /// A prompt whose row was changed.
    pub fn altered(&mut self, number: u64) {
        self.altered.insert(number);
        self.doubtful.insert(number);
    }

    /// How many accepted prompts may be lost, at most.
    pub fn most_lost(&self) -> u64 {
        self.bytes / LEAST_ROW + self.missing
    }

    /// One line. `names` are the prompts that are uncertain now, `aside` where the file as it was is.
    pub fn told(&self, path: &Path, names: &[String], aside: Result<PathBuf>) -> String {
        let place = path.display();
        let what = match self.at == 0 && self.bytes == 0 && self.missing == 0 {
            true => format!("{place}: the book of prompts is empty, though prompts were accepted"),
            false => format!(
                "{place}: {} damaged places in the book of prompts, the first at byte {} ({} bytes, {} rows missing)",
                self.places, self.at, self.bytes, self.missing
            ),
        };
        let doubt = match names {
            [] => "prompts may be lost".to_owned(),
            names => format!(
                "prompts may be lost; uncertain and not sent again: {}; the queue waits for ctl clear-queue or interrupt",
                names.join(", ")
            ),
        };
        match aside {
            Ok(copy) => format!("{what}; {doubt}; the file as it was is {}", copy.display()),
            Err(e) => format!("{what}; {doubt}; it could not be set aside: {e}"),
        }
    }
}
