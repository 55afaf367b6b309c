//! Carries the file system to the kernel: requests in, replies out. Decides nothing.
//!
//! What may wait is polled once on the event-loop thread, and goes on in the runtime when what it
//! waits for is there: an answer from memory costs no change of thread, one of tmux's is sent from
//! the thread that read it, and no request ever holds the loop. Nothing unwinds into it either: a
//! reply that is dropped is EIO.

use std::ffi::OsStr;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use super::errno::errno;
use super::gesture::Asker;
use super::notify::Queue;
use super::stream::Wakeup;
use super::vfs::{Attr, Opened, SetAttr, Type, Vfs};
use muxfs_tree::base::error::{Error, Kind, Result};
use muxfs_tree::base::names::MAX_NAME;
use muxfs_tree::{Caller, TreePath};

/// The most one write request carries: the kernel's own bound (fs.fuse.max_pages_limit).
const MAX_WRITE: u32 = 1 << 20;

/// Inode numbers are not used again for other objects while the mount lives.
const GENERATION: Generation = Generation(0);

pub struct Fuse {
    vfs: Arc<Vfs>,
    queue: Arc<Queue>,
    rt: Handle,
}

impl Fuse {
    pub fn new(vfs: Arc<Vfs>, queue: Arc<Queue>, rt: Handle) -> Self {
        Fuse { vfs, queue, rt }
    }

    /// Runs what may wait.
    fn go(&self, work: impl Future<Output = ()> + Send + 'static) {
        // A panic is told by its hook; the reply it dropped is EIO.
        let _ = catch_unwind(AssertUnwindSafe(|| muxfs_tree::base::later::run(&self.rt, Box::pin(work))));
    }

    /// The same for a call whose caller holds locks of directories until it is answered.
    fn go_in(&self, dirs: Vec<u64>, work: impl Future<Output = ()> + Send + 'static) {
        let call = self.queue.call(dirs);
        self.go(async move {
            work.await;
            drop(call);
        });
    }

    /// Answers a question about the names in `dir` that the tree could not answer from memory: after
    /// one look, and off this thread. `locked`: the directories whose locks its caller holds.
    fn after_look<T>(
        &self,
        req: &Request,
        locked: Vec<u64>,
        dir: Result<TreePath>,
        ask: impl FnOnce(&Vfs) -> Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        self.go_in(locked, async move {
            let looked = match dir {
                Ok(dir) => vfs.look(&who, &dir).await,
                Err(e) => Err(e),
            };
            answer(looked.and_then(|()| ask(&vfs)));
        });
    }

    /// Runs what is answered from memory.
    fn now(&self, work: impl FnOnce(&Arc<Vfs>)) {
        // A panic is told by its hook; the reply it dropped is EIO.
        let _ = catch_unwind(AssertUnwindSafe(|| work(&self.vfs)));
    }
}

fn who(req: &Request) -> Caller {
    Caller::of_kernel(req.uid(), req.gid(), Some(req.pid()))
}

fn asker(req: &Request, owner: Option<LockOwner>) -> Asker {
    Asker { tid: req.pid(), owner: owner.map_or(0, |o| o.0) }
}

fn code(why: &Error) -> Errno {
    Errno::from_i32(errno(why.kind))
}

fn file_attr(attr: &Attr) -> FileAttr {
    let (kind, nlink) = match attr.kind {
        Type::Dir => (FileType::Directory, 2),
        Type::File => (FileType::RegularFile, 1),
        Type::Link => (FileType::Symlink, 1),
    };
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: attr.mtime,
        mtime: attr.mtime,
        ctime: attr.mtime,
        crtime: attr.mtime,
        kind,
        perm: attr.mode as u16, // at most 0o777
        nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn open_flags(opened: &Opened) -> FopenFlags {
    // No read(2) may be served from the kernel's page cache: sizes are computed, texts change. What
    // splice and mmap put there goes with the next open.
    let mut flags = FopenFlags::FOPEN_DIRECT_IO;
    flags.set(FopenFlags::FOPEN_STREAM, opened.stream);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep);
    flags.set(FopenFlags::FOPEN_NOFLUSH, opened.silent);
    flags
}

fn empty(reply: ReplyEmpty, result: Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(code(&e)),
    }
}

fn data(reply: ReplyData, result: Result<bytes::Bytes>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(e) => reply.error(code(&e)),
    }
}

fn entry(reply: ReplyEntry, result: Result<super::vfs::Entry>) {
    match result {
        Ok(e) => reply.entry_with_ttls(&e.attr_ttl, &e.name_ttl, &file_attr(&e.attr), GENERATION),
        Err(e) => reply.error(code(&e)),
    }
}

fn attributes(reply: ReplyAttr, result: Result<(Attr, Duration)>) {
    match result {
        Ok((attr, ttl)) => reply.attr(&ttl, &file_attr(&attr)),
        Err(e) => reply.error(code(&e)),
    }
}

fn directory(reply: ReplyOpen, result: Result<u64>) {
    match result {
        Ok(fh) => reply.opened(FileHandle(fh), FopenFlags::empty()),
        Err(e) => reply.error(code(&e)),
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // O_TRUNC comes with the open then, so it belongs to that handle. A kernel without one of
        // these works as well, only less well.
        for flag in [InitFlags::FUSE_ATOMIC_O_TRUNC, InitFlags::FUSE_PARALLEL_DIROPS] {
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.now(|vfs| match vfs.lookup(req.pid(), parent.0, name) {
            Err(e) if e.kind == Kind::Unknown => {
                let (tid, name) = (req.pid(), name.to_owned());
                let ask = move |vfs: &Vfs| vfs.lookup(tid, parent.0, &name);
                self.after_look(req, vec![parent.0], vfs.path(parent.0), ask, |found| entry(reply, found));
            }
            found => entry(reply, found),
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.now(|vfs| vfs.forget(ino.0, lookups));
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let tid = req.pid();
        self.now(|vfs| match vfs.getattr(tid, ino.0) {
            Err(e) if e.kind == Kind::Unknown => {
                let ask = move |vfs: &Vfs| vfs.getattr(tid, ino.0);
                self.after_look(req, Vec::new(), vfs.parent(ino.0), ask, |got| attributes(reply, got));
            }
            got => attributes(reply, got),
        });
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        let set = SetAttr { mode, uid, gid, size, mtime };
        let (vfs, who) = (self.vfs.clone(), who(req));
        // Of a directory the kernel holds its lock meanwhile.
        self.go_in(vec![ino.0], async move {
            match vfs.setattr(&who, ino.0, set, fh.map(|fh| fh.0)).await {
                Ok(attr) => reply.attr(&Duration::ZERO, &file_attr(&attr)),
                Err(e) => reply.error(code(&e)),
            }
        });
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        self.go(async move { data(reply, vfs.readlink(&who, ino.0).await) });
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), name.to_owned());
        let work = async move { entry(reply, vfs.mkdir(&who, parent.0, &name).await) };
        self.go_in(vec![parent.0], work);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), name.to_owned());
        let work = async move { empty(reply, vfs.unlink(&who, parent.0, &name).await) };
        self.go_in(vec![parent.0], work);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), name.to_owned());
        let dirs = self.vfs.locked(parent.0, &name);
        self.go_in(dirs, async move { empty(reply, vfs.rmdir(&who, parent.0, &name).await) });
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let dirs = [self.vfs.locked(parent.0, name), self.vfs.locked(new_parent.0, new_name)].concat();
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.go_in(dirs, async move {
            let (from, to) = ((parent.0, name.as_os_str()), (new_parent.0, new_name.as_os_str()));
            empty(reply, vfs.rename(&who, from, to, flags.bits()).await);
        });
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        self.go(async move {
            match vfs.open(&who, ino.0, flags.0).await {
                Ok(opened) => reply.opened(FileHandle(opened.fh), open_flags(&opened)),
                Err(e) => reply.error(code(&e)),
            }
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), name.to_owned());
        self.go_in(vec![parent.0], async move {
            match vfs.create(&who, parent.0, &name, flags).await {
                Ok((e, opened)) => reply.created(
                    // One time for both, so the shorter.
                    &e.attr_ttl.min(e.name_ttl),
                    &file_attr(&e.attr),
                    GENERATION,
                    FileHandle(opened.fh),
                    open_flags(&opened),
                ),
                Err(e) => reply.error(code(&e)),
            }
        });
    }

    fn read(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (vfs, by) = (self.vfs.clone(), asker(req, owner));
        let block = flags.0 & libc::O_NONBLOCK == 0;
        self.go(async move { data(reply, vfs.read(by, fh.0, offset, size as usize, block).await) });
    }

    fn write(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (vfs, by, data) = (self.vfs.clone(), asker(req, owner), data.to_vec());
        self.go(async move {
            match vfs.write(by, fh.0, offset, &data).await {
                Ok(len) => reply.written(len as u32), // at most MAX_WRITE
                Err(e) => reply.error(code(&e)),
            }
        });
    }

    fn flush(&self, req: &Request, _: INodeNo, fh: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        let (vfs, by) = (self.vfs.clone(), asker(req, Some(owner)));
        self.go(async move { empty(reply, vfs.flush(by, fh.0).await) });
    }

    fn fsync(&self, req: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let (vfs, by) = (self.vfs.clone(), asker(req, None));
        self.go(async move { empty(reply, vfs.fsync(by, fh.0).await) });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.now(|vfs| vfs.release(fh.0));
        reply.ok();
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.now(|vfs| match vfs.opendir(ino.0) {
            Err(e) if e.kind == Kind::Unknown => {
                let ask = move |vfs: &Vfs| vfs.opendir(ino.0);
                self.after_look(req, Vec::new(), vfs.path(ino.0), ask, |fh| directory(reply, fh));
            }
            fh => directory(reply, fh),
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.now(|vfs| {
            let entries = match vfs.readdir(fh.0) {
                Ok(entries) => entries,
                Err(e) => return reply.error(code(&e)),
            };
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            for (i, e) in entries.iter().enumerate().skip(start) {
                let kind = match e.kind {
                    Type::Dir => FileType::Directory,
                    Type::File => FileType::RegularFile,
                    Type::Link => FileType::Symlink,
                };
                if reply.add(INodeNo(e.ino), i as u64 + 1, kind, &e.name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.now(|vfs| vfs.releasedir(fh.0));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // A tree has no size; these numbers only keep programs from seeing a full disk.
        const BLOCKS: u64 = 1 << 20;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, MAX_NAME as u32, 4096);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: fuser::IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        notifier: PollNotifier,
        _: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        self.now(|vfs| {
            let wakeup = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY).then(|| -> Wakeup {
                // Unlike an invalidation this takes no lock of the kernel's, so any thread may. An
                // error means that the file is closed.
                Box::new(move || drop(notifier.notify()))
            });
            match vfs.poll(fh.0, wakeup) {
                Ok((ready, access)) => {
                    let mut events = PollEvents::empty();
                    let input = PollEvents::POLLIN | PollEvents::POLLRDNORM;
                    events.set(input, access.reads() && (ready.readable || ready.end));
                    events.set(PollEvents::POLLHUP, ready.end);
                    events.set(PollEvents::POLLERR, ready.failed);
                    events.set(PollEvents::POLLOUT | PollEvents::POLLWRNORM, access.writes());
                    reply.poll(events);
                }
                Err(e) => reply.error(code(&e)),
            }
        });
    }
}
