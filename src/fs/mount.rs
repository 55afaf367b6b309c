//! A mount's life: the guard before it, the device, the session, and its end from either side.
//!
//! As root the mount is made here, on a device of ours, so that privileges can be dropped before
//! anything is served; otherwise by fusermount3, as fuser does it. Knows no tree but to pass it on.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fuse::Fuse;
use super::mounts::{self, MOUNTINFO};
use super::notify::Queue;
use super::point::{Dir, Point, detach};
use super::procs::Linux;
use super::vfs::{Look, Vfs};
use muxfs_tree::Tree;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign;
use muxfs_tree::base::locks::take_left;
use muxfs_tree::base::offload::Offload;

/// As `mount` and /proc/mounts show it.
pub use super::mounts::FSTYPE;

/// Event-loop threads: none waits for anything, and two keep two processors busy.
const THREADS: usize = 2;

/// How long a mount may take to say that its daemon lives.
const ANSWERS: Duration = Duration::from_secs(2);

/// An unmount waits this long for programs that still hold files; then their mount is left to end
/// with this process.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Absolute and without symbolic links, as [`point::Dir::find`](super::point::Dir::find) names it.
    pub dir: PathBuf,
    /// The first column of `mount` and `df`.
    pub source: String,
    pub allow_other: bool,
    pub ro: bool,
    /// Shown as the owner and group of everything.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub umask: u32,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub noatime: bool,
}

impl MountOptions {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        MountOptions {
            dir: dir.into(),
            source: "muxfs".into(),
            allow_other: false,
            ro: false,
            uid: None,
            gid: None,
            umask: 0,
            nosuid: true,
            nodev: true,
            noexec: false,
            noatime: false,
        }
    }

    fn presentation(&self) -> Look {
        Look { uid: self.uid, gid: self.gid, umask: self.umask }
    }

    fn flags(&self) -> MsFlags {
        let mut flags = MsFlags::empty();
        flags.set(MsFlags::MS_NOSUID, self.nosuid);
        flags.set(MsFlags::MS_NODEV, self.nodev);
        flags.set(MsFlags::MS_NOEXEC, self.noexec);
        flags.set(MsFlags::MS_NOATIME, self.noatime);
        flags.set(MsFlags::MS_RDONLY, self.ro);
        flags
    }

    fn config(&self) -> Config {
        let mut options = vec![
            MountOption::FSName(self.source.clone()),
            MountOption::Subtype("muxfs".into()),
            MountOption::DefaultPermissions,
            if self.nosuid { MountOption::NoSuid } else { MountOption::Suid },
            if self.nodev { MountOption::NoDev } else { MountOption::Dev },
        ];
        options.extend(self.noexec.then_some(MountOption::NoExec));
        options.extend(self.noatime.then_some(MountOption::NoAtime));
        options.extend(self.ro.then_some(MountOption::RO));
        let mut config = Config::default();
        config.mount_options = options;
        config.acl = self.acl();
        config.n_threads = Some(THREADS);
        config
    }

    fn acl(&self) -> SessionACL {
        if self.allow_other { SessionACL::All } else { SessionACL::Owner }
    }
}

/// A directory that is ours to mount on, and perhaps mounted already. Dropped unserved, it is
/// unmounted.
pub struct Device {
    options: MountOptions,
    /// Mounted by root; otherwise fusermount3 mounts when it is served.
    fd: Option<OwnedFd>,
    point: Option<Point>,
    dir: PathBuf,
    /// Held while this lives, and let go by its drop.
    _lock: Flock<File>,
}

impl Device {
    /// Guards the directory with a lock on `guard` (see [`guard`]), takes a dead mount of ours
    /// over, and refuses what is in use. As root it mounts for `owner` (default: root), and
    /// privileges may be dropped after it.
    pub fn open(options: &MountOptions, owner: Option<(u32, u32)>, guard: File) -> Result<Device> {
        let dir = options.dir.clone();
        let lock = lock(guard, &dir)?;
        clear(&dir)?;
        // From here on it is this directory, whatever is laid at its path.
        let place = Dir::open(&dir)?;
        check_dir(&place, &dir)?;
        let mut device = Device { options: options.clone(), fd: None, point: None, dir, _lock: lock };
        // Of a user whom fusermount3 serves as well: what refuses them later does not name it.
        let opened = File::options().read(true).write(true).open("/dev/fuse");
        let fuse = opened.map_err(|e| Error::io("/dev/fuse", e))?;
        if nix::unistd::geteuid().is_root() {
            device.mount(fuse.into(), &place, owner)?;
        }
        Ok(device)
    }

    fn mount(&mut self, fd: OwnedFd, place: &Dir, owner: Option<(u32, u32)>) -> Result<()> {
        let (uid, gid) =
            owner.unwrap_or_else(|| (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
        let mut data =
            format!("fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions", fd.as_raw_fd());
        if self.options.allow_other {
            data.push_str(",allow_other");
        }
        let source = Some(self.options.source.as_str());
        let (flags, data) = (self.options.flags(), Some(data.as_str()));
        match nix::mount::mount(source, &place.path(), Some(FSTYPE), flags, data) {
            Ok(()) => {}
            // Root of a container that may not mount: fusermount3 may.
            Err(Errno::EPERM) => return Ok(()),
            // The options are good: it is the device that is none.
            Err(Errno::EINVAL) => return fail(Kind::Denied, "/dev/fuse is not the kernel's FUSE device"),
            Err(e) => {
                return Err(Error::io(format!("mounting on {}", self.dir.display()), e.into()));
            }
        }
        self.fd = Some(fd);
        self.point = Some(point_of(place)?);
        Ok(())
    }
}

/// The mount that was just made on `place`. Its directory may get another name between the look at that
/// and at the kernel's list; nobody renames it from then on.
fn point_of(place: &Dir) -> Result<Point> {
    const TRIES: usize = 100;
    let mut found = place.name().and_then(|dir| Point::find(&dir));
    for _ in 0..TRIES {
        if found.is_ok() {
            break;
        }
        std::thread::yield_now();
        found = place.name().and_then(|dir| Point::find(&dir));
    }
    found
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(point) = &self.point {
            let _ = point.detach(); // nothing was served; an error leaves a mount that answers ENOTCONN
        }
    }
}

/// Serves `tree` on the device until it is unmounted, by [`Mounted::unmount`] or from outside.
/// `rt` is a multi-threaded runtime that outlives the mount.
pub fn serve(mut device: Device, tree: Arc<dyn Tree>, rt: Handle) -> Result<Mounted> {
    let queue = Arc::new(Queue::default());
    let changes = tree.changes(); // before the first look
    let vfs =
        Vfs::new(tree, Arc::new(Linux::default()), queue.clone(), device.options.presentation(), rt.clone())?;
    let fuse = Fuse::new(vfs.clone(), queue.clone(), rt.clone());
    let what = format!("mounting on {}", device.dir.display());
    let config = device.options.config();
    let session = match device.fd.take() {
        Some(fd) => Session::from_fd(fuse, fd, device.options.acl(), config),
        None => Session::new(fuse, &device.dir, &config),
    };
    let session = session.map_err(|e| match e.raw_os_error() {
        // Directory and device were opened before.
        Some(libc::ENOENT) => {
            Error::new(Kind::NotFound, format!("{what}: fusermount3 was not found (package fuse3)"))
        }
        Some(_) => Error::io(&what, e),
        // fusermount3 says in words what it is not content with.
        None => Error::new(Kind::Denied, format!("{what}: {}", e.to_string().trim())),
    })?;
    if device.point.is_none() {
        device.point = Some(Point::find(&device.dir)?);
    }
    rt.spawn(super::watch::watch(Arc::downgrade(&vfs), changes));
    queue.clone().run(session.notifier()).map_err(|e| Error::io(&what, e))?;
    let (over, _) = watch::channel(false);
    let over = Arc::new(over);
    let ended = over.clone();
    let thread = std::thread::Builder::new().name("muxfs-fuse".into());
    thread
        .spawn(move || {
            if let Err(e) = session.run() {
                tracing::warn!("the mount ended: {e}");
            }
            queue.close();
            ended.send_replace(true);
        })
        .map_err(|e| Error::io(&what, e))?;
    let point = device.point.take().ok_or_else(|| Error::new(Kind::Bug, "mounted nowhere"))?;
    let shared = Arc::new(Shared { vfs, point, over });
    rt.spawn(shared.clone().unmounted_outside());
    Ok(Mounted { shared, _device: device })
}

/// A mount that is being served. Dropping this does not end it, it only lets the lock go.
pub struct Mounted {
    shared: Arc<Shared>,
    _device: Device, // its lock
}

struct Shared {
    vfs: Arc<Vfs>,
    point: Point,
    over: Arc<watch::Sender<bool>>,
}

impl Mounted {
    /// The directory, as the kernel lists it.
    pub fn dir(&self) -> &Path {
        &self.shared.point.dir
    }

    /// Until the mount has ended, from either side.
    pub async fn wait(&self) {
        let _ = self.shared.over.subscribe().wait_for(|over| *over).await; // its sender lives in `self`
    }

    /// Ends it: blocked reads are answered ENXIO, the directory is free at once; programs that
    /// still hold files get 2 s, and ENOTCONN when this process ends. Bounded by 5 s.
    pub async fn unmount(&self) -> Result<()> {
        self.shared.vfs.close();
        let shared = self.shared.clone();
        let detached = tokio::task::spawn_blocking(move || shared.point.detach()).await;
        detached.map_err(|e| Error::new(Kind::Bug, "unmounting failed").because(e))??;
        let _ = tokio::time::timeout(LINGER, self.wait()).await;
        self.shared.over.send_replace(true);
        Ok(())
    }
}

impl Shared {
    /// A lazy unmount from outside leaves the session alive for as long as a file is open, and a
    /// blocked reader would keep it for ever.
    async fn unmounted_outside(self: Arc<Self>) {
        let Ok(list) = File::open(MOUNTINFO) else { return };
        // Deprecated for types that do not own their descriptor; a `File` does.
        #[allow(deprecated)]
        let Ok(list) = AsyncFd::with_interest(list, Interest::PRIORITY) else { return };
        let mut over = self.over.subscribe();
        loop {
            if !self.point.is_mounted() {
                self.vfs.close();
                let _ = tokio::time::timeout(LINGER, over.wait_for(|over| *over)).await;
                self.over.send_replace(true);
                return;
            }
            tokio::select! {
                _ = over.wait_for(|over| *over) => return,
                changed = list.ready(Interest::PRIORITY) => match changed {
                    Ok(mut changed) => changed.clear_ready(),
                    Err(_) => return,
                },
            }
        }
    }
}

/// Opens, or makes, the file whose lock keeps a second daemon from the same directory `dir`. It
/// lies in `locks`, a directory of the user whose node it is: call this with the rights of that
/// user, who may have laid anything there.
pub fn guard(locks: &Path, dir: &Path) -> Result<File> {
    let path = locks.join(format!("mount-{}.lock", mounts::short(dir)));
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    foreign::open_with(&mut options, &path).map_err(|e| Error::io(path.display(), e))
}

/// One daemon a directory, also while neither has mounted yet.
fn lock(guard: File, dir: &Path) -> Result<Flock<File>> {
    let mut file = Some(guard);
    let take = || match file.take().map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock)) {
        Some(Err((again, Errno::EWOULDBLOCK))) => {
            file = Some(again);
            Ok(None)
        }
        Some(Err((_, e))) => Err(Error::io(format!("locking {}", dir.display()), e.into())),
        Some(Ok(lock)) => Ok(Some(lock)),
        None => Ok(None), // it is given back above
    };
    match take_left(take, || !is_served(dir))? {
        Some(lock) => Ok(lock),
        None => {
            let text = format!("{}: another muxfs mounts it or has it mounted", dir.display());
            fail(Kind::Busy, text)
        }
    }
}

fn is_served(dir: &Path) -> bool {
    mounts::at(dir).is_ok_and(|found| found.is_some_and(|mount| !is_dead(&mount)))
}

/// Takes dead mounts of ours away; refuses live and foreign ones.
fn clear(dir: &Path) -> Result<()> {
    while let Some(mount) = mounts::at(dir).map_err(|e| Error::io(MOUNTINFO, e))? {
        if mount.fstype != FSTYPE || !is_dead(&mount) {
            let text =
                format!("{}: {} (type {}) is mounted there", dir.display(), mount.source, mount.fstype);
            return fail(Kind::Busy, text);
        }
        detach(&mount)?;
    }
    Ok(())
}

/// Whether a mount's daemon has ended. One that does not answer in time counts as alive.
fn is_dead(mount: &mounts::Mount) -> bool {
    static STATFS: Offload = Offload::new("muxfs-statfs", 4);
    let mount = mount.clone();
    STATFS.ask_blocking(std::process::id(), ANSWERS, move || says_dead(&mount)).unwrap_or(false)
}

/// Asks with statfs(2), which is answered from no cache: the attributes of a mount's root outlive
/// its daemon in the kernel's. It waits as long as the daemon lives and does not answer.
fn says_dead(mount: &mounts::Mount) -> bool {
    let own = nix::unistd::geteuid();
    match mount.owner() {
        // Without allow_other the kernel lets only processes that are the owner's through and
        // through ask, and root no more than others.
        Some((uid, gid)) if uid != own.as_raw() && !mount.options.split(',').any(|o| o == "allow_other") => {
            let mut ask = Command::new("stat");
            ask.args(["-f", "-c", "", "--"]).arg(&mount.dir).uid(uid).gid(gid).env("LC_ALL", "C");
            let said = ask.stdin(Stdio::null()).output();
            said.is_ok_and(|o| String::from_utf8_lossy(&o.stderr).contains(Errno::ENOTCONN.desc()))
        }
        _ => nix::sys::statfs::statfs(&mount.dir).err() == Some(Errno::ENOTCONN),
    }
}

#[expect(clippy::disallowed_methods, reason = "a start looks at its mount point")]
fn check_dir(place: &Dir, dir: &Path) -> Result<()> {
    let entries = std::fs::read_dir(place.path()).map_err(|e| Error::io(dir.display(), e))?;
    // Files a directory is kept in a repository by, and the like, may be hidden by the mount.
    let used = entries.flatten().any(|e| !e.file_name().as_encoded_bytes().starts_with(b"."));
    if used {
        return fail(Kind::NotEmpty, format!("{} is not empty; the mount would hide it", dir.display()));
    }
    Ok(())
}
