//! One node a user: a lock in the state directory, whose file names its holder.
//!
//! It lies beside what two nodes must not both write, and not in the runtime directory, which
//! logging out takes away under a daemon that lives on. An open-file-description lock (fcntl(2)):
//! it goes when its holder dies, however that happens, and others can ask about it without
//! taking it. Knows no mount and no node.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use serde::Serialize;

use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::{self, Links};
use muxfs_tree::base::locks::take_left;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub pid: u32,
    /// `mount` or `node`.
    pub verb: String,
    /// Where it is mounted.
    pub dir: Option<PathBuf>,
}

/// Held until dropped, or until the process ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

fn is_dead(holder: &Holder) -> bool {
    !Path::new(&format!("/proc/{}", holder.pid)).exists()
}

/// The whole file, exclusively.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0, // must be 0 for locks of an open file description
    }
}

impl InstanceLock {
    /// Takes the lock of the state directory `dir`, or says who has it. One whose holder died, or
    /// `is_ending`, is waited for.
    pub fn take(dir: &Path, holder: &Holder, is_ending: impl Fn(&Holder) -> bool) -> Result<InstanceLock> {
        let path = dir.join("lock");
        let failed = |e| Error::io(path.display(), e);
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = foreign::open_with(&mut open, &path).map_err(failed)?;
        let take = || match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => Ok(Some(())),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
            Err(e) => Err(failed(e.into())),
        };
        let left = || read(&file).is_some_and(|holder| is_dead(&holder) || is_ending(&holder));
        if take_left(take, left)?.is_none() {
            return refuse(read(&file));
        }
        let dir = holder.dir.as_deref().map(Path::to_string_lossy).unwrap_or_default();
        let text = format!("{} {} {dir}\n", holder.pid, holder.verb);
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(InstanceLock { _file: file })
    }
}

fn refuse<T>(holder: Option<Holder>) -> Result<T> {
    let who = match holder {
        None => "another muxfs of this user is just starting".to_owned(),
        Some(Holder { pid, dir: Some(dir), .. }) => {
            format!("muxfs of this user runs already: pid {pid}, mounted on {}", dir.display())
        }
        Some(Holder { pid, verb, dir: None }) => {
            format!("muxfs of this user runs already: pid {pid}, muxfs {verb}")
        }
    };
    fail(Kind::Exists, format!("{who}; a user has one node"))
}

fn read(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(8192).read_to_string(&mut text)).ok()?;
    let mut words = text.strip_suffix('\n')?.splitn(3, ' ');
    let pid = words.next()?.parse().ok()?;
    let verb = words.next()?.to_owned();
    let dir = words.next().filter(|d| !d.is_empty()).map(PathBuf::from);
    Some(Holder { pid, verb, dir })
}

/// Who holds the lock of the state directory `dir`; takes nothing and waits for nothing.
pub fn holder(dir: &Path) -> Result<Option<Holder>> {
    let path = dir.join("lock");
    let file = match foreign::open(&path, Links::Refuse) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path.display(), e)),
    };
    // A question for a read lock tells an exclusive holder, and needs no right to write.
    let mut question = whole();
    question.l_type = libc::F_RDLCK as _;
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut question)).map_err(|e| Error::io(path.display(), e.into()))?;
    Ok(if question.l_type == libc::F_UNLCK as libc::c_short { None } else { read(&file) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_second_is_told_about_the_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        let pid = std::process::id();
        let first = Holder { pid, verb: "mount".into(), dir: Some("/mnt/my mux".into()) };
        let lock = InstanceLock::take(dir.path(), &first, |_| false).unwrap();
        assert_eq!(holder(dir.path()).unwrap().as_ref(), Some(&first));

        let second = Holder { pid: 1, verb: "node".into(), dir: None };
        let error = InstanceLock::take(dir.path(), &second, |_| false).unwrap_err();
        assert_eq!(error.kind, Kind::Exists);
        assert!(error.text().contains(&pid.to_string()) && error.text().contains("/mnt/my mux"), "{error}");

        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None, "a free lock has no holder, whatever the file says");
        let _lock = InstanceLock::take(dir.path(), &second, |_| false).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(second));
    }

    #[test]
    fn a_lock_that_outlives_its_holder_for_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = Holder { pid: child.id(), verb: "node".into(), dir: None };
        let lock = InstanceLock::take(dir.path(), &dead, |_| false).unwrap();
        let living = Holder { pid: std::process::id(), ..dead };
        std::thread::scope(|scope| {
            let next = scope.spawn(|| InstanceLock::take(dir.path(), &living, |_| false).map(drop));
            std::thread::park_timeout(Duration::from_millis(100));
            drop(lock);
            next.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("precious"), "text").unwrap();
        std::os::unix::fs::symlink("precious", dir.path().join("lock")).unwrap();
        let me = Holder { pid: 1, verb: "node".into(), dir: None };
        assert!(InstanceLock::take(dir.path(), &me, |_| false).is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "text");
    }
}
