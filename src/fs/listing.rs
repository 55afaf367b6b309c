//! The names of a directory: listings, and fetching them where the tree does not know them yet.
//!
//! Part of [`Vfs`]; its lock order holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::vfs::{DirEntry, Type, Vfs, kind};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::{Caller, TreePath};

/// The door gives up when a tree has not fetched a directory within this time.
const LOOKED: Duration = Duration::from_secs(10);

impl Vfs {
    /// A snapshot, so that offsets stay true while it is read.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        let (inode, state, _) = self.dir(ino)?;
        let listed = self.door.tree.list(&state.path)?;
        let (inodes, scratch) = (self.inodes.lock(), self.scratch.lock());
        let up = inodes.at(&state.path.parent()).map_or(inode.ino, |p| p.ino);
        let mut entries = vec![
            DirEntry { name: ".".into(), ino: inode.ino, kind: Type::Dir },
            DirEntry { name: "..".into(), ino: up, kind: Type::Dir },
        ];
        let own = scratch.list(state.stat.id);
        let own = own.into_iter().filter(|(name, _)| !listed.iter().any(|e| e.name == *name));
        let own: Vec<_> =
            own.map(|(name, file)| DirEntry { name, ino: file.ino, kind: Type::File }).collect();
        entries.extend(listed.into_iter().filter(|e| !scratch.is_away(state.stat.id, &e.name)).map(|e| {
            let ino = inodes.number(&state.path.join(&e.name), &e.stat);
            DirEntry { name: e.name, ino, kind: kind(e.stat.shape) }
        }));
        entries.extend(own);
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        self.dirs.write().insert(fh, Arc::new(entries));
        Ok(fh)
    }

    /// All names of an opened directory; an offset is an index into them.
    pub fn readdir(&self, fh: u64) -> Result<Arc<Vec<DirEntry>>> {
        let dirs = self.dirs.read();
        dirs.get(&fh).cloned().ok_or_else(|| Error::new(Kind::Bug, "no such open directory"))
    }

    pub fn releasedir(&self, fh: u64) {
        self.dirs.write().remove(&fh);
    }

    pub(super) fn path(&self, ino: u64) -> Result<TreePath> {
        Ok(TreePath::clone(&*self.inode(ino)?.path()))
    }

    /// The directory that the name of an inode is in.
    pub(super) fn parent(&self, ino: u64) -> Result<TreePath> {
        Ok(self.inode(ino)?.path().parent())
    }

    /// Has the tree fetch what is in a directory of which it said `Unknown`.
    pub async fn look(&self, who: &Caller, dir: &TreePath) -> Result<()> {
        let looked = tokio::time::timeout(LOOKED, self.look_as_far(dir));
        match self.wait(who, looked).await? {
            Ok(looked) => looked,
            Err(_) => fail(Kind::TimedOut, format!("{dir} did not answer in {} s", LOOKED.as_secs())),
        }
    }

    /// Looks at `dir` and at the directories above it, as far as the tree does not know them.
    async fn look_as_far(&self, dir: &TreePath) -> Result<()> {
        let tree = &self.door.tree;
        let mut at = TreePath::root();
        for name in dir.names() {
            let next = at.join(name);
            if is_unknown(&tree.stat(&next)) {
                tree.look(&at).await?;
            }
            at = next;
        }
        if is_unknown(&tree.list(&at)) { tree.look(&at).await } else { Ok(()) }
    }
}

/// Does what begins with a question about the names in a directory, once more where the tree does not
/// know them: after a look at it. A macro, because such work borrows over its waits, and must be
/// `Send` all the same.
macro_rules! or_look {
    ($vfs:expr, $who:expr, $dir:expr, $work:expr) => {
        match $work {
            Err(e) if e.kind == Kind::Unknown => {
                $vfs.look($who, &$dir?).await?;
                $work
            }
            done => done,
        }
    };
}
pub(super) use or_look;

fn is_unknown<T>(answer: &Result<T>) -> bool {
    answer.as_ref().is_err_and(|e| e.kind == Kind::Unknown)
}
