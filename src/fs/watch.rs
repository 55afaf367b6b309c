//! What went out of date: changes of the tree, and scratch files that time ran out for. Tells the
//! kernel through [`Notes`](super::notify::Notes), and only of what really leads elsewhere: to
//! invalidate a directory that is still the same would take it from under the shells inside it.
//!
//! Part of [`Vfs`]; its lock order holds.

use std::sync::Weak;
use std::time::Instant;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::inode::{Inode, What};
use super::scratch::Swept;
use super::vfs::{Vfs, comes_and_goes};
use muxfs_tree::base::error::{Error, Kind};
use muxfs_tree::{Caller, Change, TreePath};

/// Follows `changes` while the mount lives. The caller subscribes before the first lookup.
pub async fn watch(vfs: Weak<Vfs>, mut changes: Receiver<Change>) {
    loop {
        let change = changes.recv().await;
        let Some(vfs) = vfs.upgrade() else { return };
        match change {
            Ok(change) => vfs.changed(change),
            Err(RecvError::Lagged(_)) => vfs.changed_below(&TreePath::root()),
            Err(RecvError::Closed) => return,
        }
    }
}

impl Vfs {
    pub fn changed(&self, change: Change) {
        match change {
            Change::Name { dir, name } => self.changed_name(&dir.join(&name)),
            Change::Renamed { dir, from, to } => self.renamed(&dir, &from, &to),
            Change::Attributes { at } => {
                let inode = self.inodes.lock().at(&at);
                if let Some(inode) = inode {
                    self.notes.attributes(inode.ino);
                }
            }
            Change::Everything { below } => self.changed_below(&below),
        }
    }

    /// Changes were missed: what the kernel may know of `dir` and below it is looked at again.
    pub fn changed_below(&self, dir: &TreePath) {
        let names = self.inodes.lock().names();
        for path in names.iter().filter(|path| path.strip(dir).is_some()) {
            self.changed_name(path);
        }
    }

    fn changed_name(&self, path: &TreePath) {
        let (inode, parent) = {
            let inodes = self.inodes.lock();
            (inodes.at(path), inodes.at(&path.parent()))
        };
        // The kernel keeps no names that are not there, so what is unknown needs no word.
        let (Some(inode), Some(parent)) = (inode, parent) else { return };
        let state = inode.state();
        let now = match self.door.tree.stat(path) {
            Err(e) if e.kind == Kind::Unknown => return, // asked for again, it is looked for
            now => now.ok(),
        };
        let same = match state.what {
            What::Tree => now.is_some_and(|now| now.id == state.stat.id),
            What::Scratch(_) => now.is_none(),
            What::Pending | What::Stale => false,
        };
        match now {
            Some(now) if same && now.shape.is_dir() => self.notes.attributes(inode.ino),
            _ if same => {}
            _ => self.outdated(&parent, path.name()),
        }
    }

    fn renamed(&self, dir: &TreePath, from: &str, to: &str) {
        let (old, new) = (dir.join(from), dir.join(to));
        let known = self.inodes.lock().at(&old).map(|inode| inode.state().stat.id);
        let moved = known.is_some() && self.door.tree.stat(&new).ok().map(|now| now.id) == known;
        self.changed_name(&new);
        if !moved {
            // Renamed through this mount, where the kernel knows it, or never looked up.
            return self.changed_name(&old);
        }
        let parent = {
            let mut inodes = self.inodes.lock();
            inodes.renamed(&old, &new);
            inodes.at(dir)
        };
        if let Some(parent) = parent {
            self.outdated(&parent, from);
        }
    }

    /// The kernel's copy of a name is.
    fn outdated(&self, dir: &Inode, name: &str) {
        match comes_and_goes(dir) {
            true => self.notes.attributes(dir.ino),
            false => self.notes.entry(dir.ino, name),
        }
    }

    /// Drops scratch files that became nothing and brings documents back, as of `now`.
    pub fn sweep(&self, now: Instant) {
        let swept = self.scratch.lock().sweep(now);
        for one in swept {
            let (dir, name) = match &one {
                Swept::Dropped(dir, name, _) | Swept::Back(dir, name) => (dir, name),
            };
            let path = dir.path().join(name);
            if let Swept::Dropped(_, _, file) = &one {
                self.inodes.lock().unname_at(&path);
                let stat = file.stat();
                let who = Caller::of_kernel(stat.uid, stat.gid, None);
                let why = format!("scratch file {name} was dropped: it became nothing ({} bytes)", stat.size);
                self.door.tree.refused(&who, &path, &Error::new(Kind::TimedOut, why));
            }
            self.notes.entry(dir.ino, name);
        }
    }
}
