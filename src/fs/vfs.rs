//! File semantics without a kernel: the operations of a file system on inode numbers and handles,
//! with plain values and errors. Tested on a tree in memory; `fuse.rs` only carries it.
//!
//! Knows the tree by its seam, no protocol. Lock order: `inodes`, then `scratch`, then an inode or
//! scratch file; never held across a call into the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::runtime;

use super::computed::{Conflict, PAGE, Retries, is_computed};
use super::gesture::Asker;
use super::handle::{Door, End, Handle, Mode, tid};
use super::inode::{Inode, Inodes, State, What};
use super::listing::or_look;
use super::notify::Notes;
use super::procs::{Procs, killed};
use super::scratch::{AWAY, KEEP, Scratch, ScratchFile};
use super::stream::{Ready, Wakeup};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::apart;
use muxfs_tree::path::is_name;
use muxfs_tree::{Accepts, Access, Caller, Gesture, Place, Shape, Stat, Tree, TreePath};

/// Directories change by our own notice alone, and so do names but those of [`comes_and_goes`]: the
/// kernel may keep them long.
pub const LONG: Duration = Duration::from_secs(60);
/// Those names are kept as long as a walk through what is below takes: else each file of a session costs
/// a look-up of its session too. tmux reports its sessions later than that.
pub const BRIEF: Duration = Duration::from_millis(10);

/// How a mount shows what the tree has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Shown instead of the owner and group.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Masks the defaults. Those have owner's bits alone, so bits of the group and
    /// others came from a chmod and stay.
    pub umask: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Dir,
    File,
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    pub ino: u64,
    pub kind: Type,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: SystemTime,
}

/// A name's attributes, and how long the kernel may keep the name and them.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub attr: Attr,
    pub name_ttl: Duration,
    pub attr_ttl: Duration,
}

/// An open file: its number, and how the kernel is to treat it.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    pub fh: u64,
    /// It has no offsets.
    pub stream: bool,
    /// The kernel need not report closes.
    pub silent: bool,
    /// Pages that the kernel has of it are its own.
    pub keep: bool,
}

/// What `setattr` may ask for.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub mtime: Option<SystemTime>,
}

#[derive(Debug, Clone)]
pub struct DirEntry {
    pub name: String,
    pub ino: u64,
    pub kind: Type,
}

/// What a name leads to.
pub(super) enum Found {
    Tree(Stat),
    Scratch(Arc<ScratchFile>),
}

pub struct Vfs {
    pub(super) door: Door,
    pub(super) inodes: Mutex<Inodes>,
    pub(super) scratch: Mutex<Scratch>,
    pub(super) notes: Arc<dyn Notes>,
    look: Look,
    handles: RwLock<HashMap<u64, Arc<Handle>>>,
    pub(super) dirs: RwLock<HashMap<u64, Arc<Vec<DirEntry>>>>,
    retries: Retries,
    pub(super) next: AtomicU64,
    me: Weak<Vfs>,
}

impl Vfs {
    pub fn new(
        tree: Arc<dyn Tree>,
        procs: Arc<dyn Procs>,
        notes: Arc<dyn Notes>,
        look: Look,
        rt: runtime::Handle,
    ) -> Result<Arc<Self>> {
        let root = tree.stat(&TreePath::root())?;
        Ok(Arc::new_cyclic(|me| Vfs {
            door: Door::new(tree, procs, rt),
            inodes: Mutex::new(Inodes::new(root)),
            scratch: Mutex::default(),
            notes,
            look,
            handles: RwLock::default(),
            dirs: RwLock::default(),
            retries: Retries::default(),
            next: AtomicU64::new(1),
            me: me.clone(),
        }))
    }

    /// Answers every blocked read, now and from now on: the mount ends.
    pub fn close(&self) {
        self.door.parking.close();
    }

    /// `tid`: the calling thread, 0 where the kernel does not say.
    pub fn lookup(&self, tid: u32, parent: u64, name: &OsStr) -> Result<Entry> {
        let Some(name) = valid(name) else { return fail(Kind::NotFound, "no such name") };
        let dir = self.dir(parent)?;
        let (path, found) = self.find(&dir, name)?;
        if let Found::Tree(stat) = &found
            && is_computed(stat.shape)
            && let Some(inode) = self.inode_of_retry(tid, &path, stat)
        {
            return Ok(self.entry(tid, &inode, stat));
        }
        Ok(self.enter(tid, path, &found))
    }

    fn inode_of_retry(&self, tid: u32, path: &TreePath, stat: &Stat) -> Option<Arc<Inode>> {
        let mut inodes = self.inodes.lock();
        let make = |computed| inodes.make_private(path.clone(), *stat, computed);
        let inode = self.retries.inode(tid, stat.id, Instant::now(), make)?;
        inodes.count(&inode);
        Some(inode)
    }

    pub fn forget(&self, ino: u64, lookups: u64) {
        self.inodes.lock().forget(ino, lookups);
    }

    /// `tid`: the calling thread. Never waits.
    pub fn getattr(&self, tid: u32, ino: u64) -> Result<(Attr, Duration)> {
        let inode = self.inode(ino)?;
        let mut stat = self.now(&inode)?;
        stat.size = self.size(tid, &inode, &stat);
        Ok((self.attr(Inodes::shown(&inode, &stat), &stat), attr_ttl(&stat)))
    }

    /// What `stat` shows as a file's size: what its open handles read, else at least what an open
    /// begun now would.
    fn size(&self, tid: u32, inode: &Inode, stat: &Stat) -> u64 {
        let size = match inode.computed.exact() {
            Some(size) => size,
            None => match stat.shape {
                // Only a wait would show it, and 0 is an end for whoever reads by splice. Programs
                // that count bytes by the size trust no whole number of pages: sysfs has those.
                Shape::Events | Shape::Wait | Shape::Ask => *PAGE,
                Shape::View | Shape::Item | Shape::Ctl => {
                    self.door.tree.size(&inode.path()).unwrap_or(stat.size)
                }
                _ => return stat.size,
            },
        };
        inode.computed.report_size(tid, size, Instant::now())
    }

    /// Answers from memory unless a mode, group or document's size really changes.
    pub async fn setattr(&self, who: &Caller, ino: u64, set: SetAttr, fh: Option<u64>) -> Result<Attr> {
        let work =
            async { or_look!(self, who, self.parent(ino), self.set_attributes(who, ino, set, fh).await) };
        self.wait(who, work).await?
    }

    async fn set_attributes(&self, who: &Caller, ino: u64, set: SetAttr, fh: Option<u64>) -> Result<Attr> {
        let inode = self.inode(ino)?;
        let stat = self.now(&inode)?;
        let shown = self.attr(ino, &stat);
        if set.uid.is_some_and(|uid| uid != shown.uid) {
            let path = inode.state().path;
            return self.refuse(who, &path, Kind::Never, "a file's owner is its session's");
        }
        // `cp -p` writes a message, and gives its file the mode of the copied one: that shares nothing.
        let copies = matches!(inode.state().what, What::Tree) && self.is_writing(who, &inode);
        let mode = set.mode.map(|m| m & 0o777).filter(|m| *m != shown.mode && !copies);
        let gid = set.gid.filter(|gid| *gid != shown.gid && !copies);
        let handle = fh.and_then(|fh| self.handle(fh).ok());
        let mut size = None;
        if let Some(wanted) = set.size {
            size = Some(match &handle {
                Some(handle) => handle.truncate(wanted).await?,
                None => self.truncate(who, &inode, &stat, wanted).await?,
            });
        }
        match inode.state().what {
            What::Scratch(file) => file.change(mode, gid, set.mtime),
            What::Tree if mode.is_some() || gid.is_some() => {
                let (path, id) = inode.place()?;
                let (gesture, _canceller) = Gesture::cancellable(who);
                self.door.tree.set_mode(&gesture, Place::new(&path, id), mode, gid).await?;
            }
            // An item that is being written takes its mode when it is there.
            What::Tree | What::Pending | What::Stale => {}
        }
        let (mut attr, _) = self.getattr(tid(who), ino)?;
        attr.size = size.unwrap_or(attr.size);
        Ok(attr)
    }

    /// Whether the calling thread has the file open for writing.
    fn is_writing(&self, who: &Caller, inode: &Arc<Inode>) -> bool {
        let is = |h: &Arc<Handle>| {
            let its_own = h.who.pid().is_some() && h.who.pid() == who.pid();
            Arc::ptr_eq(&h.inode, inode) && h.access().writes() && its_own
        };
        self.handles.read().values().any(is)
    }

    /// `truncate(2)` of a path: of a document an edit like any other.
    async fn truncate(&self, who: &Caller, inode: &Arc<Inode>, stat: &Stat, size: u64) -> Result<u64> {
        match stat.shape {
            Shape::Document | Shape::Scratch => {
                let mode = Mode { access: Access::Write, truncate: false, append: false };
                let handle = Handle::open(&self.door, inode, who, mode).await?;
                let size = handle.truncate(size).await?;
                let saved = handle.end(&self.door, End::Sync).await;
                handle.closed(Instant::now());
                saved.map(|()| size)
            }
            shape if shape.writable() => Ok(stat.size),
            _ => self.refuse(who, &inode.state().path, Kind::Denied, "it can only be read"),
        }
    }

    pub async fn readlink(&self, who: &Caller, ino: u64) -> Result<Bytes> {
        let (path, id) = self.inode(ino)?.place()?;
        self.wait(who, self.door.tree.read(who, Place::new(&path, id))).await?
    }

    pub async fn open(&self, who: &Caller, ino: u64, flags: i32) -> Result<Opened> {
        let (inode, mode) = (self.inode(ino)?, Mode::of(flags));
        if mode.access.writes() && fsync_waits(&inode) && !self.inodes.lock().is_named(&inode) {
            return fail(Kind::Stale, "its name leads to another inode by now");
        }
        let open = || self.wait(who, Handle::open(&self.door, &inode, who, mode));
        let handle = or_look!(self, who, self.parent(ino), open().await?)?;
        self.show(&inode, &handle)?;
        Ok(self.keep(handle))
    }

    /// An inode has one content while it is open; an open that brings other content is to come
    /// again, by itself.
    fn show(&self, inode: &Arc<Inode>, handle: &Handle) -> Result<()> {
        let (now, tid) = (Instant::now(), tid(&handle.who));
        match handle.show(now) {
            Ok(kept) => {
                self.retries.end(tid);
                if kept && self.inodes.lock().is_named(inode) {
                    self.leads_elsewhere(&inode.path());
                }
                Ok(())
            }
            Err(Conflict) => {
                let id = inode.state().stat.id;
                if self.retries.begin(tid, id, handle.who.uid(), handle.text(), now) {
                    return fail(Kind::Stale, "other content of it is open");
                }
                // Once is enough: it is read, and the kernel keeps no pages of it.
                Ok(())
            }
        }
    }

    /// Waits for what may be given up at any moment, until a signal ends the wait of its caller.
    pub(super) async fn wait<T>(&self, who: &Caller, work: impl Future<Output = T>) -> Result<T> {
        self.door.parking.park_call(who.pid().unwrap_or(0), work).await
    }

    /// The same for what is done whole or not at all: it goes on when nobody waits for it any more.
    pub(super) async fn gesture<T: Send + 'static>(
        &self,
        who: &Caller,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.wait(who, apart(work)).await?
    }

    pub(super) fn me(&self) -> Result<Arc<Vfs>> {
        self.me.upgrade().ok_or_else(|| Error::new(Kind::Gone, "the mount ends"))
    }

    pub(super) fn keep(&self, handle: Handle) -> Opened {
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        let opened = Opened { fh, stream: handle.streams(), silent: handle.silent(), keep: handle.waits() };
        self.handles.write().insert(fh, Arc::new(handle));
        opened
    }

    /// `block`: the file is not open with O_NONBLOCK, so a read that finds nothing waits.
    pub async fn read(&self, by: Asker, fh: u64, offset: u64, len: usize, block: bool) -> Result<Bytes> {
        let handle = self.handle(fh)?;
        let read = handle.read(&self.door, by, offset, len, block);
        let bytes =
            if handle.blocks() { read.await } else { self.door.parking.park_call(by.tid, read).await? }?;
        if by.owner == 0 && handle.waits() {
            let Inode { ino, computed, .. } = &*handle.inode;
            computed.ends_at_its_line(by.tid, || self.notes.sizes(*ino)).await?;
            handle.was_read();
        }
        Ok(bytes)
    }

    pub async fn write(&self, by: Asker, fh: u64, offset: u64, data: &[u8]) -> Result<usize> {
        let handle = self.handle(fh)?;
        self.door.parking.park_call(by.tid, handle.write(&self.door, by, offset, data)).await?
    }

    pub async fn flush(&self, by: Asker, fh: u64) -> Result<()> {
        let handle = self.handle(fh)?;
        let killed = if handle.owes() { killed(&self.door.procs, by.tid).await } else { None };
        handle.end(&self.door, End::Flush(by, killed)).await
    }

    /// The kernel locks an inode until its fsync returns, and who writes to it meanwhile waits for
    /// that beyond any signal. So the name of a file whose fsync may take a minute leads to another
    /// inode from then on.
    pub async fn fsync(&self, by: Asker, fh: u64) -> Result<()> {
        let handle = self.handle(fh)?;
        if fsync_waits(&handle.inode) {
            self.let_go(&handle.inode);
        }
        handle.end(&self.door, End::Fsync(by)).await
    }

    fn let_go(&self, inode: &Arc<Inode>) {
        let path = inode.path();
        self.inodes.lock().unname(inode);
        self.leads_elsewhere(&path);
    }

    /// The kernel is to look this name up again.
    pub(super) fn leads_elsewhere(&self, path: &TreePath) {
        let dir = self.inodes.lock().at(&path.parent());
        if let Some(dir) = dir {
            self.notes.entry(dir.ino, path.name());
        }
    }

    /// Nobody waits for a release, so what it still delivers goes on by itself.
    pub fn release(&self, fh: u64) {
        let Some(handle) = self.handles.write().remove(&fh) else { return };
        let is_scratch = handle.scratch().is_some();
        if handle.owes() {
            let Some(vfs) = self.me.upgrade() else { return };
            self.door.rt.spawn(async move {
                // Its error reaches nobody but `errors`, where the tree put it.
                let _ = handle.end(&vfs.door, End::Release).await;
                handle.closed(Instant::now());
            });
        } else {
            handle.closed(Instant::now());
        }
        if is_scratch {
            self.sweep_after(KEEP);
        }
    }

    pub fn poll(&self, fh: u64, wakeup: Option<Wakeup>) -> Result<(Ready, Access)> {
        let handle = self.handle(fh)?;
        Ok((handle.poll(&self.door, wakeup), handle.access()))
    }

    /// The directories whose locks the kernel holds while a call on `name` in `parent` is out: the
    /// name's own too, where it is one.
    pub fn locked(&self, parent: u64, name: &OsStr) -> Vec<u64> {
        let inodes = self.inodes.lock();
        let child = valid(name).and_then(|name| inodes.at(&inodes.get(parent)?.path().join(name)));
        [Some(parent), child.map(|child| child.ino)].into_iter().flatten().collect()
    }

    pub(super) fn inode(&self, ino: u64) -> Result<Arc<Inode>> {
        self.inodes.lock().get(ino).ok_or_else(|| Error::new(Kind::Stale, "an inode that was forgotten"))
    }

    fn handle(&self, fh: u64) -> Result<Arc<Handle>> {
        let handles = self.handles.read();
        handles.get(&fh).cloned().ok_or_else(|| Error::new(Kind::Bug, "no such open file"))
    }

    /// A directory that is still the one the kernel means: names below a session that took
    /// another's name are not the old one's.
    pub(super) fn dir(&self, ino: u64) -> Result<(Arc<Inode>, State, Accepts)> {
        let inode = self.inode(ino)?;
        let Shape::Dir(accepts) = self.now(&inode)?.shape else { return fail(Kind::NotDir, "no directory") };
        let state = inode.state();
        Ok((inode, state, accepts))
    }

    /// What a name of a directory leads to: the tree's own names first.
    pub(super) fn find(
        &self,
        (_, dir, accepts): &(Arc<Inode>, State, Accepts),
        name: &str,
    ) -> Result<(TreePath, Found)> {
        let path = dir.path.join(name);
        if matches!(accepts, Accepts::Scratch | Accepts::Items) {
            let scratch = self.scratch.lock();
            if scratch.is_away(dir.stat.id, name) {
                return fail(Kind::NotFound, format!("{path} is being replaced"));
            }
            if let Some(file) = scratch.get(dir.stat.id, name) {
                drop(scratch);
                // A name the tree took meanwhile is the tree's.
                return match self.door.tree.stat(&path) {
                    Err(e) if e.kind == Kind::Unknown => Err(e),
                    stat => Ok((path, stat.map_or(Found::Scratch(file), Found::Tree))),
                };
            }
        }
        let stat = self.door.tree.stat(&path)?;
        Ok((path, Found::Tree(stat)))
    }

    /// Looks an inode up once more, as the kernel counts.
    pub(super) fn enter(&self, tid: u32, path: TreePath, found: &Found) -> Entry {
        let mut inodes = self.inodes.lock();
        let brief = inodes.at(&path.parent()).is_some_and(|dir| comes_and_goes(&dir));
        let known = inodes.at(&path);
        let (inode, stat) = match found {
            Found::Tree(stat) => (inodes.take(path, *stat), *stat),
            Found::Scratch(file) => (inodes.take_scratch(path, file), file.stat()),
        };
        drop(inodes);
        let mut entry = self.entry(tid, &inode, &stat);
        if brief {
            entry.name_ttl = entry.name_ttl.min(BRIEF);
        }
        // A change is told of names that are known. One that came after the tree was asked, and before
        // the name was entered, was told to nobody.
        if known.is_none_or(|known| !Arc::ptr_eq(&known, &inode))
            && matches!(found, Found::Tree(_))
            && self.door.tree.stat(&inode.path()).map_or(true, |now| now.id != stat.id)
        {
            entry.name_ttl = Duration::ZERO;
        }
        entry
    }

    pub(super) fn entry(&self, tid: u32, inode: &Inode, stat: &Stat) -> Entry {
        let mut attr = self.attr(inode.ino, stat);
        attr.size = inode.log_size().unwrap_or(attr.size);
        let mut name_ttl = LONG;
        if is_computed(stat.shape) {
            let now = Instant::now();
            // The kernel asks for the attributes before it uses any; computed once is enough.
            attr.size = inode.computed.report_size(tid, inode.computed.last_reported(), now);
            if !inode.computed.may_keep(now) {
                name_ttl = Duration::ZERO;
            }
        }
        Entry { attr, name_ttl, attr_ttl: attr_ttl(stat) }
    }

    /// What is known of an inode now. ESTALE where its name leads elsewhere: the kernel then looks
    /// the name up again.
    fn now(&self, inode: &Inode) -> Result<Stat> {
        let state = inode.state();
        let mut stat = match &state.what {
            What::Scratch(file) => return Ok(file.stat()),
            What::Pending => return Ok(state.stat),
            What::Stale => return fail(Kind::Stale, format!("{} was replaced", state.path)),
            What::Tree => match self.door.tree.stat(&state.path) {
                Ok(stat) if stat.id == state.stat.id => {
                    if stat != state.stat {
                        inode.saw(stat);
                    }
                    stat
                }
                Err(e) if !matches!(e.kind, Kind::NotFound | Kind::Gone) => return Err(e),
                // A log that was rotated away is read on, and so is what was computed.
                _ if inode.log_size().is_some() || inode.computed.is_busy() => state.stat,
                _ => return fail(Kind::Stale, format!("{} is another file now", state.path)),
            },
        };
        stat.size = inode.log_size().unwrap_or(stat.size);
        Ok(stat)
    }

    /// What this mount shows of a stat; the kernel judges callers by it.
    pub(super) fn shown(&self, stat: &Stat) -> Stat {
        Stat {
            mode: stat.mode & 0o777 & !(self.look.umask & 0o700),
            uid: self.look.uid.unwrap_or(stat.uid),
            gid: self.look.gid.unwrap_or(stat.gid),
            ..*stat
        }
    }

    fn attr(&self, ino: u64, stat: &Stat) -> Attr {
        let Stat { shape, mode, uid, gid, size, mtime, .. } = self.shown(stat);
        Attr { ino, kind: kind(shape), mode, uid, gid, size, mtime }
    }

    pub(super) fn sweep_after(&self, time: Duration) {
        debug_assert!(time == KEEP || time == AWAY);
        let me = self.me.clone();
        self.door.rt.spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(vfs) = me.upgrade() {
                vfs.sweep(Instant::now());
            }
        });
    }

    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.inodes.lock().len(), self.handles.read().len(), self.dirs.read().len())
    }
}

/// Whether the kernel keeps names of a directory only for a moment ([`BRIEF`]) and is not notified when
/// one goes: so it is where directories are made and removed. A notification takes the lock that their
/// makers hold while they wait for us (notify.rs), and somebody may make one at any moment.
pub(super) fn comes_and_goes(dir: &Inode) -> bool {
    matches!(dir.state().stat.shape, Shape::Dir(Accepts::Dirs))
}

/// Whether an fsync may wait for somebody else to take what was written.
fn fsync_waits(inode: &Inode) -> bool {
    matches!(inode.state().stat.shape, Shape::Append | Shape::Sink(_) | Shape::Ctl)
}

/// A name that can be one of the tree's.
pub(super) fn valid(name: &OsStr) -> Option<&str> {
    name.to_str().filter(|name| is_name(name))
}

pub(super) fn kind(shape: Shape) -> Type {
    match shape {
        Shape::Dir(_) => Type::Dir,
        Shape::Link => Type::Link,
        _ => Type::File,
    }
}

/// Directories change by notice; a file's size and mode are asked for each time.
fn attr_ttl(stat: &Stat) -> Duration {
    if stat.shape.is_dir() { LONG } else { Duration::ZERO }
}
