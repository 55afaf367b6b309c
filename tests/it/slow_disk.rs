//! A node whose state lies on a disk that takes 2 s for each fsync: what needs no disk does not wait
//! for it, nor does anybody for another's. And an agent whose records lie on a disk that takes as long
//! as the test wants to open a file: what happens meanwhile is told apart from what they say.
//!
//! The disk is a FUSE file system of this file, which passes everything on to a directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::support::{Lab, Mount, until_true};
use super::turns::Fakes;

/// An fsync takes this long.
const DELAY: Duration = Duration::from_secs(2);
/// What needs no disk is answered within this, on a busy machine too.
const SOON: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Shared {
    /// Where the object of an inode number is.
    paths: Mutex<HashMap<u64, PathBuf>>,
    open: Mutex<HashMap<u64, Arc<File>>>,
    next: AtomicU64,
    slow: AtomicBool,
    syncs: AtomicUsize,
    /// Nothing is opened for reading while it is set; how many wait for that.
    held: Mutex<bool>,
    let_go: Condvar,
    readers: AtomicUsize,
}

impl Shared {
    fn path(&self, ino: INodeNo) -> PathBuf {
        self.paths.lock().unwrap().get(&ino.0).cloned().unwrap_or_else(|| "/nonexistent".into())
    }

    fn keep(&self, file: File) -> FileHandle {
        let fh = self.next.fetch_add(1, Ordering::AcqRel);
        self.open.lock().unwrap().insert(fh, Arc::new(file));
        FileHandle(fh)
    }

    fn open(&self, ino: INodeNo, flags: i32) -> std::io::Result<FileHandle> {
        let mut options = OpenOptions::new();
        match flags & nix::libc::O_ACCMODE {
            nix::libc::O_RDONLY => options.read(true),
            _ => options.read(true).write(true),
        };
        Ok(self.keep(options.custom_flags(flags & nix::libc::O_TRUNC).open(self.path(ino))?))
    }
}

struct Disk(Arc<Shared>);

fn errno(e: &std::io::Error) -> Errno {
    Errno::from_i32(e.raw_os_error().unwrap_or(5))
}

fn attr(meta: &std::fs::Metadata) -> FileAttr {
    let kind = match meta {
        m if m.is_dir() => FileType::Directory,
        m if m.is_symlink() => FileType::Symlink,
        _ => FileType::RegularFile,
    };
    let time = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(meta.ino()),
        size: meta.len(),
        blocks: meta.blocks(),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: (meta.permissions().mode() & 0o7777) as u16,
        nlink: meta.nlink() as u32,
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Disk {
    fn path(&self, ino: INodeNo) -> PathBuf {
        self.0.path(ino)
    }

    fn known(&self, path: PathBuf) -> std::io::Result<FileAttr> {
        let attr = attr(&std::fs::symlink_metadata(&path)?);
        self.0.paths.lock().unwrap().insert(attr.ino.0, path);
        Ok(attr)
    }

    fn file(&self, fh: FileHandle) -> Arc<File> {
        self.0.open.lock().unwrap()[&fh.0].clone()
    }

    fn entry(&self, path: PathBuf, reply: ReplyEntry) {
        match self.known(path) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn sync(&self, reply: ReplyEmpty) {
        self.0.syncs.fetch_add(1, Ordering::AcqRel);
        if !self.0.slow.load(Ordering::Acquire) {
            return reply.ok();
        }
        std::thread::spawn(move || {
            let until = Instant::now() + DELAY;
            while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
            {
                std::thread::park_timeout(rest);
            }
            reply.ok();
        });
    }
}

fn done(result: std::io::Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(&e)),
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(self.path(parent).join(name), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match std::fs::symlink_metadata(self.path(ino)) {
            Ok(meta) => reply.attr(&Duration::ZERO, &FileAttr { ino, ..attr(&meta) }),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let path = self.path(ino);
        let set = || {
            if let Some(mode) = mode {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o7777))?;
            }
            if let Some(size) = size {
                OpenOptions::new().write(true).open(&path)?.set_len(size)?;
            }
            std::fs::symlink_metadata(&path)
        };
        match set() {
            Ok(meta) => reply.attr(&Duration::ZERO, &FileAttr { ino, ..attr(&meta) }),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let path = self.path(parent).join(name);
        match std::fs::DirBuilder::new().mode(mode & !umask & 0o7777).create(&path) {
            Ok(()) => self.entry(path, reply),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(std::fs::remove_file(self.path(parent).join(name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(std::fs::remove_dir(self.path(parent).join(name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let to = self.path(to).join(new);
        let renamed = std::fs::rename(self.path(parent).join(name), &to);
        done(renamed.and_then(|()| self.known(to).map(drop)), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (disk, flags) = (self.0.clone(), flags.0);
        let open = move || match disk.open(ino, flags) {
            Ok(fh) => reply.opened(fh, FopenFlags::empty()),
            Err(e) => reply.error(errno(&e)),
        };
        if flags & nix::libc::O_ACCMODE != nix::libc::O_RDONLY || !*self.0.held.lock().unwrap() {
            return open();
        }
        let disk = self.0.clone();
        disk.readers.fetch_add(1, Ordering::AcqRel);
        std::thread::spawn(move || {
            drop(disk.let_go.wait_while(disk.held.lock().unwrap(), |held| *held));
            open();
        });
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let path = self.path(parent).join(name);
        let new = flags & nix::libc::O_EXCL;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(mode & !umask & 0o7777).custom_flags(new);
        match options.open(&path).and_then(|file| Ok((file, self.known(path)?))) {
            Ok((file, attr)) => {
                reply.created(&TTL, &attr, Generation(0), self.0.keep(file), FopenFlags::empty());
            }
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        match self.file(fh).read_at(&mut bytes, offset) {
            Ok(len) => reply.data(&bytes[..len]),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(fh).write_all_at(data, offset) {
            Ok(()) => reply.written(data.len() as u32),
            Err(e) => reply.error(errno(&e)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
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
        self.0.open.lock().unwrap().remove(&fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match std::fs::read_dir(self.path(ino)) {
            Ok(entries) => entries.flatten().collect::<Vec<_>>(),
            Err(e) => return reply.error(errno(&e)),
        };
        for (n, entry) in entries.iter().enumerate().skip(offset as usize) {
            let Ok(meta) = entry.metadata() else { continue };
            let attr = attr(&meta);
            if reply.add(attr.ino, n as u64 + 1, attr.kind, entry.file_name()) {
                break;
            }
        }
        reply.ok();
    }
}

/// A mount that has one directory on the slow disk, which is unmounted after it.
struct Slow {
    fakes: Option<Fakes>,
    disk: Arc<Shared>,
    session: Option<fuser::BackgroundSession>,
}

impl Slow {
    /// Its state directory.
    fn start() -> Slow {
        Slow::with(Fakes::prepared(Lab::new()), "state", "")
    }

    /// Its agents' records.
    fn records() -> Slow {
        let lab = Fakes::prepared(Lab::new());
        Fakes::records(&lab);
        let args = format!("--claude-history --go {}", lab.path("go").display());
        Slow::with(lab, "home/.claude", &args)
    }

    fn with(lab: Lab, dir: &str, args: &str) -> Slow {
        let (real, dir) = (lab.path("real"), lab.path(dir));
        std::fs::create_dir(&real).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        let disk = Arc::new(Shared::default());
        disk.paths.lock().unwrap().insert(1, real);
        let mut config = Config::default();
        config.n_threads = Some(2);
        let session = fuser::spawn_mount(Disk(disk.clone()), &dir, &config).unwrap();
        let args = format!("--log {} {args}", lab.path("taken").display());
        let fakes = Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) };
        Slow { fakes: Some(fakes), disk, session: Some(session) }
    }

    fn fakes(&self) -> &Fakes {
        self.fakes.as_ref().unwrap()
    }

    fn slow(&self, slow: bool) {
        self.disk.slow.store(slow, Ordering::Release);
    }

    fn hold(&self, hold: bool) {
        *self.disk.held.lock().unwrap() = hold;
        self.disk.let_go.notify_all();
    }

    fn syncs(&self) -> usize {
        self.disk.syncs.load(Ordering::Acquire)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.slow(false);
        self.hold(false);
        drop(self.fakes.take());
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// How long `act` takes.
fn timed(act: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    act();
    begun.elapsed()
}

/// Asks for metadata of everybody; how long the slowest answer took. Not for the names in `queue/`: the
/// kernel locks a directory until an `rm` in it is answered.
fn look_around(dir: &Path) -> Duration {
    let paths = ["status", "index", "fake", "fake/status", "fake/queue", "fake/turns", "other/input"];
    let each = paths.iter().map(|path| timed(|| _ = std::fs::metadata(dir.join(path)).unwrap()));
    let lists = ["", "fake", "fake/turns", "other"];
    let listed = lists.iter().map(|path| timed(|| _ = std::fs::read_dir(dir.join(path)).unwrap().count()));
    let none = timed(|| assert!(std::fs::metadata(dir.join("fake/nothing")).is_err()));
    each.chain(listed).chain([none]).max().unwrap()
}

#[test]
fn nobody_waits_for_the_disk_of_another() {
    let s = Slow::start();
    let f = s.fakes();
    let dir = f.mount.dir.join(".self");
    f.session("fake");
    f.session("fake-2");
    f.session("fake-3");
    f.mount.sh("mkdir other; echo first > fake-2/input; cat fake-2/wait > /dev/null");
    f.mount.sh("for s in fake fake-3; do echo 'SLOW600000 first' > $s/input; done");
    f.until_state("fake", "busy");
    f.until_state("fake-3", "busy");
    f.mount.sh("echo waits > fake-3/input");
    f.mount.sh("for n in 1 2 3 4 5 6 7 8; do echo $n > fake/input; done");
    s.slow(true);
    let changes = [
        "chmod 640 fake/status",
        "chmod 440 status",
        "rm fake-3/queue/0002", // `clear-queue` may be faster where both mean the same one
        "echo clear-queue > fake/ctl",
        "{ cat fake/config; echo '# mine'; } > $HOME/new && cat $HOME/new > fake/config",
        "echo nonsense > fake/ctl || true",
    ];
    let mut running: Vec<_> = changes
        .iter()
        .map(|script| (f.mount.command("bash").args(["-c", script]).spawn().unwrap(), script))
        .collect();
    let begun = Instant::now();
    let [mut prompted, mut typed] =
        ["echo second > fake-2/input", "echo 'echo typed' > other/text"].map(|script| {
            let child = f.mount.command("bash").args(["-c", script]).spawn().unwrap();
            (child, None)
        });
    let mut worst = Duration::ZERO;
    while !running.is_empty() || prompted.1.is_none() || typed.1.is_none() {
        worst = worst.max(look_around(&dir));
        running.retain_mut(|(child, script)| match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{script}: {status}\n{}", f.mount.read("errors"));
                false
            }
            None => true,
        });
        for (child, when) in [&mut prompted, &mut typed] {
            if when.is_none() && child.try_wait().unwrap().is_some_and(|status| status.success()) {
                *when = Some(begun.elapsed());
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "left: {running:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(begun.elapsed() > DELAY, "the disk was not slow");
    assert!(worst < SOON, "metadata waited {worst:?} for the disk");
    let (prompted, typed) = (prompted.1.unwrap(), typed.1.unwrap());
    assert!(typed < SOON, "text for another session waited {typed:?}");
    // Its own row is on disk before it is accepted, and waits for no other's.
    assert!(prompted < DELAY + SOON, "a prompt for another session waited {prompted:?}");
    until_true("it is delivered", || f.taken().contains(&"second".to_owned()));
    assert_eq!(
        f.mount.sh("stat -c %a status fake/status; cat fake/queue/* fake-3/queue/* 2> /dev/null | wc -l"),
        "440\n640\n0\n"
    );
    assert!(f.mount.read("fake/config").ends_with("# mine\n"));
}

#[test]
fn a_queue_is_cleared_by_one_write() {
    let s = Slow::start();
    let f = s.fakes();
    f.session("fake");
    f.mount.sh("echo 'SLOW600000 first' > fake/input");
    f.until_state("fake", "busy");
    f.mount.sh("for n in $(seq 30); do echo $n > fake/input; done");
    let before = s.syncs();
    f.mount.sh("echo clear-queue > fake/ctl");
    assert_eq!(s.syncs() - before, 1);
    assert_eq!(f.mount.sh("ls fake/queue | wc -l"), "0\n");
    assert_eq!(f.turn("0020", "state"), "withdrawn");
}

/// A restart comes while the record of the turn before is read: what that says of a limit is the old
/// process's, and the new one takes prompts.
#[test]
fn what_limited_one_process_limits_no_other() {
    let s = Slow::records();
    let f = s.fakes();
    f.session("fake");
    f.mount.sh("echo 'FAULT(Not logged in · Please run /login)' > fake/input");
    f.until_state("fake", "busy");
    s.hold(true);
    f.go();
    until_true("it is at work no more", || f.status("fake", "state") != "busy");
    until_true("its record is opened", || s.disk.readers.load(Ordering::Acquire) > 0);
    let pid = f.status("fake", "pid");
    f.mount.sh("echo restart > fake/ctl");
    until_true("another process is ready", || {
        f.status("fake", "pid") != pid && f.status("fake", "state") == "ready"
    });
    s.hold(false);
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "limited\n");
    f.mount.sh("echo 'SAY(next)' > fake/input");
    f.until_state("fake", "busy");
    f.go();
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
}
