//! Mount points by descriptor: a directory that was looked at is the one that is mounted on, and a
//! mount that was looked at is the one that is taken off, whatever is laid at their path meanwhile.
//!
//! Opens with O_PATH, which asks nothing of the file system that a directory is of: it may be dead.
//! Knows no session and no options.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, fstat};

use super::mounts::{self, MOUNTINFO, Mount};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// Symbolic links in one path, as in path_resolution(7).
const LINKS: usize = 40;

/// An open directory; of a mount point, the root of what is mounted there.
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens the directory that `path` leads to, through symbolic links. For root they are followed
    /// only where root laid them: any other user could lead root's mount elsewhere with one.
    pub fn find(path: &Path) -> Result<Dir> {
        let path = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
        if nix::unistd::geteuid().is_root() { Dir::walk(&path) } else { Dir::canonical(&path) }
    }

    fn canonical(path: &Path) -> Result<Dir> {
        let failed = |e| Error::io(path.display(), e);
        match (path.canonicalize(), path.parent(), path.file_name()) {
            // A dead mount cannot be looked into, so only what is above it is resolved.
            (Err(e), Some(parent), Some(name)) if e.raw_os_error() == Some(libc::ENOTCONN) => {
                Dir::open(&parent.canonicalize().map_err(failed)?.join(name))
            }
            (found, ..) => Dir::open(&found.map_err(failed)?),
        }
    }

    fn walk(path: &Path) -> Result<Dir> {
        let failed = |e: Errno| Error::io(path.display(), e.into());
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = open("/", flags | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?;
        let mut todo: Vec<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match openat(&at, name.as_os_str(), flags | OFlag::O_DIRECTORY, Mode::empty()) {
                Ok(next) => at = next,
                Err(Errno::ENOTDIR) => {
                    let link = openat(&at, name.as_os_str(), flags, Mode::empty()).map_err(failed)?;
                    let stat = fstat(&link).map_err(failed)?;
                    if stat.st_mode & libc::S_IFMT != libc::S_IFLNK {
                        return fail(Kind::NotDir, format!("{}: not a directory", path.display()));
                    }
                    links += 1;
                    if stat.st_uid != 0 || links > LINKS {
                        let name = name.display();
                        let text = format!(
                            "{}: root does not follow the symbolic link {name} of uid {}; give the directory itself",
                            path.display(),
                            stat.st_uid
                        );
                        return fail(Kind::Denied, text);
                    }
                    let target = PathBuf::from(readlinkat(&link, "").map_err(failed)?);
                    if target.is_absolute() {
                        at = open("/", flags | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?;
                    }
                    todo.extend(names(&target));
                }
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(Dir(at))
    }

    /// `path` is one without symbolic links: a link in it now was laid after it was resolved.
    pub fn open(path: &Path) -> Result<Dir> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = match openat2(AT_FDCWD, path, how) {
            // Linux before 5.6, or a sandbox that does not know the call: at least the directory
            // itself is no link.
            Err(Errno::ENOSYS | Errno::EPERM) => open(path, flags | OFlag::O_NOFOLLOW, Mode::empty()),
            opened => opened,
        };
        match opened {
            Ok(fd) => Ok(Dir(fd)),
            Err(Errno::ELOOP) => fail(
                Kind::Denied,
                format!("{}: there is a symbolic link in it now, which is not followed", path.display()),
            ),
            Err(Errno::ENOTDIR) => fail(Kind::NotDir, format!("{}: not a directory", path.display())),
            Err(e) => Err(Error::io(path.display(), e.into())),
        }
    }

    /// A path that leads to this directory and nowhere else.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Its path as the kernel lists it now.
    pub fn name(&self) -> Result<PathBuf> {
        std::fs::read_link(self.path()).map_err(|e| Error::io(self.path().display(), e))
    }

    /// The mount it belongs to, as mountinfo numbers them.
    pub fn mount_id(&self) -> Result<u64> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        id.ok_or_else(|| Error::new(Kind::Bug, format!("{path}: no mnt_id")))
    }

    /// Opens the root of this very mount.
    pub fn of_mount(mount: &Mount) -> Result<Dir> {
        let dir = Dir::open(&mount.dir)?;
        if dir.mount_id()? != mount.id {
            return fail(Kind::Busy, format!("{}: another file system is there now", mount.dir.display()));
        }
        Ok(dir)
    }
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

/// A mount of ours in the kernel's list, told apart from any later one.
pub struct Point {
    pub dir: PathBuf,
    id: u64,
    minor: u32,
}

impl Point {
    /// What is mounted on `dir`.
    pub fn find(dir: &Path) -> Result<Point> {
        match mounts::at(dir).map_err(|e| Error::io(MOUNTINFO, e))? {
            Some(mount) => Ok(Point { dir: dir.to_owned(), id: mount.id, minor: mount.minor }),
            None => fail(Kind::Gone, format!("{} was unmounted at once", dir.display())),
        }
    }

    /// Its line in the list now: a directory above it may have been renamed.
    fn line(&self) -> std::io::Result<Option<Mount>> {
        Ok(mounts::all()?.into_iter().find(|m| m.id == self.id && m.minor == self.minor))
    }

    pub fn is_mounted(&self) -> bool {
        self.line().map_or(true, |line| line.is_some())
    }

    pub fn detach(&self) -> Result<()> {
        match self.line().map_err(|e| Error::io(MOUNTINFO, e))? {
            Some(mount) => detach(&mount),
            None => Ok(()),
        }
    }
}

/// Lazily, so that open files do not keep the directory: as root, or as the user who mounted.
pub fn detach(mount: &Mount) -> Result<()> {
    let dir = Dir::of_mount(mount)?;
    match umount2(&dir.path(), MntFlags::MNT_DETACH) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(e) => return Err(Error::io(format!("unmounting {}", mount.dir.display()), e.into())),
    }
    // It knows paths alone; a user may unmount only what is the user's own.
    let mut command = Command::new("fusermount3");
    command.args(["-u", "-z", "-q", "--"]).arg(&mount.dir).stdin(Stdio::null());
    let output = command.output().map_err(|e| Error::io("fusermount3", e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    fail(Kind::Denied, format!("unmounting {}: {said}", mount.dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_laid_at_any_place_of_the_path_is_not_followed() {
        let at = tempfile::tempdir().unwrap();
        let at = at.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("a/mux")).unwrap();
        std::fs::create_dir_all(at.join("secret/mux")).unwrap();
        let dir = Dir::open(&at.join("a/mux")).unwrap();
        assert_eq!(dir.name().unwrap(), at.join("a/mux"));
        std::fs::rename(at.join("a"), at.join("b")).unwrap();
        symlink(at.join("secret"), at.join("a")).unwrap();
        symlink(at.join("secret/mux"), at.join("link")).unwrap();
        for path in ["a/mux", "link"] {
            assert_eq!(Dir::open(&at.join(path)).err().unwrap().kind, Kind::Denied, "{path}");
        }
        // What was opened before is the directory it was.
        assert_eq!(dir.name().unwrap(), at.join("b/mux"));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(at.join("b/mux/file").exists());
    }

    #[test]
    fn root_follows_links_of_root_alone() {
        let at = tempfile::tempdir().unwrap();
        let at = at.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("real/mux")).unwrap();
        symlink("../real", at.join("real/link")).unwrap();
        symlink(at.join("real"), at.join("abs")).unwrap();
        for path in ["real/mux", "real/link/mux", "abs/./mux", "abs/link/../real/mux"] {
            assert_eq!(Dir::find(&at.join(path)).unwrap().name().unwrap(), at.join("real/mux"), "{path}");
        }
        assert_eq!(Dir::find(&at.join("none")).err().unwrap().kind, Kind::NotFound);
        std::fs::write(at.join("file"), "").unwrap();
        assert_eq!(Dir::find(&at.join("file")).err().unwrap().kind, Kind::NotDir);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(at.join("abs"), Some(65534), None).unwrap();
            let refused = Dir::find(&at.join("abs/mux")).err().unwrap();
            assert!(refused.kind == Kind::Denied && refused.text().contains("abs of uid 65534"), "{refused}");
        }
    }

    #[test]
    fn a_mount_is_told_from_another_at_its_path() {
        let proc = mounts::at(Path::new("/proc")).unwrap().unwrap();
        assert_eq!(Dir::of_mount(&proc).unwrap().mount_id().unwrap(), proc.id);
        let other = Mount { id: proc.id + 100_000, ..proc };
        assert_eq!(Dir::of_mount(&other).err().unwrap().kind, Kind::Busy);
    }
}
