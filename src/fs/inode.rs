//! Which inode number means which object: the kernel's names for what the tree shows. Holds what
//! the kernel knows and nothing else, so its size is bounded by the kernel's own cache.
//!
//! Knows no I/O. Lock order: the table, then an inode's state.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::computed::{Computed, is_computed};
use super::scratch::ScratchFile;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::id::OWN;
use muxfs_tree::{Log, Stat, TreePath};

pub const ROOT: u64 = 1;

/// What stands behind an inode; it may change while the kernel holds it (an editor renames its
/// temporary file onto a document).
#[derive(Clone)]
pub enum What {
    /// An object of the tree, by path and id.
    Tree,
    /// An editor's file, kept here.
    Scratch(Arc<ScratchFile>),
    /// An item that is being written; the tree does not know it yet.
    Pending,
    /// Replaced or removed: every operation fails with ESTALE, and the kernel looks the name up again.
    Stale,
}

#[derive(Clone)]
pub struct State {
    pub path: Arc<TreePath>,
    /// As last seen.
    pub stat: Stat,
    pub what: What,
}

pub struct Inode {
    pub ino: u64,
    state: Mutex<State>,
    /// The log that open handles of this inode read, and how many they are: it keeps its size
    /// after a rotation, and fstat does not say which handle it means.
    log: Mutex<Option<(Arc<dyn Log>, usize)>>,
    /// Of a file whose content is computed.
    pub computed: Computed,
}

impl Inode {
    fn new(ino: u64, path: TreePath, stat: Stat, what: What) -> Arc<Self> {
        Inode::with(ino, path, stat, what, Computed::default())
    }

    fn with(ino: u64, path: TreePath, stat: Stat, what: What, computed: Computed) -> Arc<Self> {
        let state = State { path: Arc::new(path), stat, what };
        Arc::new(Inode { ino, state: Mutex::new(state), log: Mutex::default(), computed })
    }

    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub fn path(&self) -> Arc<TreePath> {
        self.state.lock().path.clone()
    }

    /// Path and id of an object of the tree; ESTALE where it is none any more.
    pub fn place(&self) -> Result<(Arc<TreePath>, u64)> {
        let state = self.state.lock();
        match state.what {
            What::Tree => Ok((state.path.clone(), state.stat.id)),
            What::Scratch(_) | What::Pending | What::Stale => {
                fail(Kind::Stale, format!("{} is another file now", state.path))
            }
        }
    }

    pub fn saw(&self, stat: Stat) {
        self.state.lock().stat = stat;
    }

    /// Changes what stands behind a number that the kernel keeps.
    pub fn becomes(&self, path: TreePath, stat: Stat, what: What) {
        *self.state.lock() = State { path: Arc::new(path), stat, what };
    }

    pub fn stale(&self) {
        self.state.lock().what = What::Stale;
    }

    pub fn log_opened(&self, log: &Arc<dyn Log>) {
        let mut open = self.log.lock();
        let count = open.as_ref().map_or(0, |(_, count)| *count);
        *open = Some((log.clone(), count + 1));
    }

    pub fn log_closed(&self) {
        let mut open = self.log.lock();
        *open = open.take().and_then(|(log, count)| (count > 1).then(|| (log, count - 1)));
    }

    /// The size of the log that open handles read.
    pub fn log_size(&self) -> Option<u64> {
        self.log.lock().as_ref().map(|(log, _)| log.size())
    }
}

/// The table. `lookups` are counted as the kernel counts them.
pub struct Inodes {
    by_ino: HashMap<u64, (Arc<Inode>, u64)>,
    by_path: HashMap<Arc<TreePath>, Arc<Inode>>,
    next: u64,
}

impl Inodes {
    pub fn new(root: Stat) -> Self {
        let inode = Inode::new(ROOT, TreePath::root(), root, What::Tree);
        Inodes {
            by_path: HashMap::from([(inode.path(), inode.clone())]),
            by_ino: HashMap::from([(ROOT, (inode, 1))]),
            next: OWN,
        }
    }

    pub fn get(&self, ino: u64) -> Option<Arc<Inode>> {
        self.by_ino.get(&ino).map(|(inode, _)| inode.clone())
    }

    pub fn at(&self, path: &TreePath) -> Option<Arc<Inode>> {
        self.by_path.get(path).cloned()
    }

    /// The number a listing shows for an object, looked up or not.
    pub fn number(&self, path: &TreePath, stat: &Stat) -> u64 {
        self.by_path.get(path).map_or(stat.id.wrapping_add(1), |inode| inode.ino)
    }

    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The number that `stat` shows of an object: the tree's own, so that a file keeps its number
    /// when the kernel forgets it, and whichever inode a computed file has now.
    pub fn shown(inode: &Inode, stat: &Stat) -> u64 {
        let own = stat.id.wrapping_add(1);
        if is_computed(stat.shape) && own > ROOT { own } else { inode.ino }
    }

    /// The inode of what `path` names now, looked up once more. Another id is another inode, and so
    /// is what was computed while other content is open.
    pub fn take(&mut self, path: TreePath, stat: Stat) -> Arc<Inode> {
        let mut computed = Computed::default();
        if let Some(inode) = self.by_path.get(&path) {
            let inode = inode.clone();
            let mut state = inode.state.lock();
            let busy = is_computed(stat.shape) && inode.computed.is_busy();
            if busy {
                computed = inode.computed.beside();
            }
            if matches!(state.what, What::Tree) && state.stat.id == stat.id && !busy {
                state.stat = stat;
                drop(state);
                self.count(&inode);
                return inode;
            }
        }
        // The tree's own id, so that a file keeps its number when the kernel forgets it. Two
        // inodes of one object exist when an editor replaced a document.
        let mut ino = stat.id.wrapping_add(1);
        if ino <= ROOT || self.by_ino.contains_key(&ino) {
            ino = self.fresh();
        }
        self.insert(Inode::with(ino, path, stat, What::Tree, computed))
    }

    /// The inode of a scratch file, looked up once more.
    pub fn take_scratch(&mut self, path: TreePath, file: &Arc<ScratchFile>) -> Arc<Inode> {
        if let Some(inode) = self.get(file.ino) {
            self.count(&inode);
            return inode;
        }
        let stat = file.stat();
        self.insert(Inode::new(file.ino, path, stat, What::Scratch(file.clone())))
    }

    /// An inode for an item that is being written: no name leads to it yet.
    pub fn take_pending(&mut self, path: TreePath, stat: Stat) -> Arc<Inode> {
        let inode = Inode::new(self.fresh(), path, stat, What::Pending);
        self.by_ino.insert(inode.ino, (inode.clone(), 1));
        inode
    }

    /// An inode for one open, which no name leads to but for its thread.
    pub fn make_private(&mut self, path: TreePath, stat: Stat, computed: Computed) -> Arc<Inode> {
        Inode::with(self.fresh(), path, stat, What::Tree, computed)
    }

    fn insert(&mut self, inode: Arc<Inode>) -> Arc<Inode> {
        self.by_path.insert(inode.path(), inode.clone());
        self.by_ino.insert(inode.ino, (inode.clone(), 1));
        inode
    }

    /// Looked up once more.
    pub fn count(&mut self, inode: &Arc<Inode>) {
        self.by_ino.entry(inode.ino).or_insert_with(|| (inode.clone(), 0)).1 += 1;
    }

    pub fn forget(&mut self, ino: u64, lookups: u64) {
        let Some((inode, count)) = self.by_ino.get_mut(&ino) else { return };
        *count = count.saturating_sub(lookups);
        if *count == 0 && ino != ROOT {
            let inode = inode.clone();
            self.by_ino.remove(&ino);
            self.unname(&inode);
        }
    }

    /// Whether the inode's path leads to it.
    pub fn is_named(&self, inode: &Arc<Inode>) -> bool {
        self.by_path.get(&inode.path()).is_some_and(|named| Arc::ptr_eq(named, inode))
    }

    /// The inode's path leads to it no more.
    pub fn unname(&mut self, inode: &Arc<Inode>) {
        if self.is_named(inode) {
            self.by_path.remove(&inode.path());
        }
    }

    /// What `path` led to leads nowhere; the inode stays while the kernel holds it.
    pub fn unname_at(&mut self, path: &TreePath) -> Option<Arc<Inode>> {
        self.by_path.remove(path)
    }

    /// Turns a known inode into something else under another name (or the same).
    pub fn turn(&mut self, inode: &Arc<Inode>, path: TreePath, stat: Stat, what: What) {
        self.unname(inode);
        inode.becomes(path, stat, what);
        // One the kernel forgot has no place in the table.
        if self.by_ino.contains_key(&inode.ino) {
            self.by_path.insert(inode.path(), inode.clone());
        }
    }

    /// `from`, and all that is below it, is called `to` now; also what is open there and has no name.
    pub fn renamed(&mut self, from: &TreePath, to: &TreePath) {
        for (inode, _) in self.by_ino.values().filter(|(inode, _)| inode.ino != ROOT) {
            let (old, named) = (inode.path(), self.is_named(inode));
            let Some(tail) = old.strip(from) else { continue };
            let new = Arc::new(to.under(&tail));
            inode.state.lock().path = new.clone();
            if named {
                self.by_path.remove(&old);
                self.by_path.insert(new, inode.clone());
            }
        }
    }

    /// Every name the kernel may remember.
    pub fn names(&self) -> Vec<Arc<TreePath>> {
        self.by_path.keys().filter(|path| !path.is_root()).cloned().collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_ino.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muxfs_tree::{Accepts, Shape};
    use std::time::SystemTime;

    fn stat(id: u64) -> Stat {
        let shape = Shape::Dir(Accepts::Nothing);
        Stat { shape, id, mode: 0o700, uid: 0, gid: 0, size: 0, mtime: SystemTime::UNIX_EPOCH }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn numbers_follow_objects_not_names() {
        let mut inodes = Inodes::new(stat(7));
        let a = inodes.take(path("n/a"), stat(10));
        assert_eq!(inodes.take(path("n/a"), stat(10)).ino, a.ino);
        let again = inodes.take(path("n/a"), stat(11));
        assert_ne!(again.ino, a.ino);
        inodes.forget(again.ino, 1);
        assert!(inodes.get(again.ino).is_none());
        assert!(inodes.at(&path("n/a")).is_none());
        inodes.forget(a.ino, 2);
        inodes.forget(ROOT, 100);
        assert_eq!(inodes.len(), 1);
    }

    #[test]
    fn a_rename_moves_what_is_below() {
        let mut inodes = Inodes::new(stat(7));
        let (a, b, c) = (
            inodes.take(path("n/a"), stat(10)),
            inodes.take(path("n/a/status"), stat(11)),
            inodes.take(path("n/ab"), stat(12)),
        );
        inodes.renamed(&path("n/a"), &path("n/x"));
        assert_eq!(a.path().as_str(), "n/x");
        assert_eq!(b.path().as_str(), "n/x/status");
        assert_eq!(c.path().as_str(), "n/ab");
        assert!(inodes.at(&path("n/x/status")).is_some_and(|i| Arc::ptr_eq(&i, &b)));
        assert!(inodes.at(&path("n/a")).is_none());
        inodes.unname(&b);
        inodes.renamed(&path("n/x"), &path("n/y"));
        assert_eq!(b.path().as_str(), "n/y/status", "open, without a name");
        assert!(inodes.at(&path("n/y/status")).is_none());
    }
}
