//! Whether the directories in which things are stored are still those this node began with.
//!
//! A cleaner, or a hand, may remove or move them while the node runs. Whatever is stored from then on
//! is lost with this process, so it is refused. Must not know what is stored.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::watcher::{EventMask, WatchMask, Watcher};

pub(super) struct Home {
    /// Each with the device and inode number it had.
    places: Vec<(PathBuf, (u64, u64))>,
    /// The kernel puts an event there as a directory goes, before the call that removes it returns.
    events: Mutex<Watcher>,
    gone: AtomicBool,
    /// One of them was removed, and cannot come back.
    deleted: AtomicBool,
    /// A look at the disk is under way.
    looking: AtomicBool,
}

impl Home {
    pub(super) fn watch(dirs: &[&Path]) -> Result<Home> {
        let io = |dir: &Path, e: std::io::Error| Error::io(dir.display(), e);
        let mut events = Watcher::new()?;
        let mut places = Vec::new();
        for dir in dirs {
            // A directory below is missed by its name: its own event comes only when the last file that
            // was open in it is closed.
            let below = WatchMask::DELETE | WatchMask::MOVED_FROM;
            let own = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
            events.add(dir, below | own | WatchMask::ONLYDIR).map_err(|e| io(dir, e))?;
            places.push(((*dir).to_owned(), identity(dir).map_err(|e| io(dir, e))?));
        }
        Ok(Home {
            places,
            events: Mutex::new(events),
            gone: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            looking: AtomicBool::new(false),
        })
    }

    /// Whether things can be stored, from memory alone: it waits for no disk.
    pub(super) fn is_here(&self) -> Result<()> {
        for event in self.events.lock().pending() {
            let named = |name: &OsString| self.places.iter().any(|(dir, _)| dir.file_name() == Some(name));
            if event.name.as_ref().is_none_or(named) {
                let for_good = EventMask::DELETE | EventMask::DELETE_SELF;
                self.deleted.fetch_or(event.mask.intersects(for_good), Ordering::AcqRel);
                self.gone.store(true, Ordering::Release);
            }
        }
        if self.gone.load(Ordering::Acquire) { self.refuse() } else { Ok(()) }
    }

    /// The same by a look at the disk, which may find them back in their places.
    pub(super) fn look(&self) -> Result<()> {
        if self.looking.swap(true, Ordering::AcqRel) {
            return self.is_here();
        }
        // A number is given again: a new directory may have that of the old one.
        let here = !self.deleted.load(Ordering::Acquire)
            && self.places.iter().all(|(dir, known)| identity(dir).is_ok_and(|now| now == *known));
        self.gone.store(!here, Ordering::Release);
        self.looking.store(false, Ordering::Release);
        if here { Ok(()) } else { self.refuse() }
    }

    fn refuse(&self) -> Result<()> {
        let dir = self.places.first().map(|(dir, _)| dir.display().to_string()).unwrap_or_default();
        fail(
            Kind::Gone,
            format!(
                "{dir}: the state directory was removed or replaced while muxfs runs, so nothing can be stored; \
                 put it back, or restart muxfs"
            ),
        )
    }
}

fn identity(dir: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(dir).map(|m| (m.dev(), m.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_went_is_missed_at_once_and_known_when_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (state, inner, away) =
            (dir.path().join("s"), dir.path().join("s/inner"), dir.path().join("away"));
        std::fs::create_dir_all(&inner).unwrap();
        let home = Home::watch(&[&state, &inner]).unwrap();
        home.is_here().unwrap();
        std::fs::write(state.join("file"), "").unwrap();
        home.is_here().unwrap();
        std::fs::rename(&state, &away).unwrap();
        assert_eq!(home.is_here().unwrap_err().kind, Kind::Gone);
        assert!(home.look().is_err());
        std::fs::rename(&away, &state).unwrap();
        home.look().unwrap();
        let _ = home.is_here(); // the event of its way back
        home.look().unwrap();
        home.is_here().unwrap();
        std::fs::remove_dir_all(&inner).unwrap();
        assert!(home.is_here().is_err());
        std::fs::create_dir(&inner).unwrap();
        assert!(home.look().is_err(), "another one of its name");
    }
}
