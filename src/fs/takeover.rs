//! Takes a mount from a daemon that was killed and cannot end: a thread of it waits in the kernel
//! for a caller of the mount, and that caller waits for the daemon (notify.rs says how). It keeps
//! its locks, its callers hang, and no signal helps; only its connection can be aborted.
//!
//! Asks the mount nothing, not even by stat(2): it would not answer. Knows no locks.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::mounts::{self, MOUNTINFO, Mount};
use super::point::Dir;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// How long a daemon may take to end, once nothing holds it.
const ENDS: Duration = Duration::from_secs(5);

/// Ends process `pid`, which has `dir` mounted for user `uid`, where it was killed and has not
/// ended. Anything else is left alone: a daemon that lives, and a mount of somebody else.
pub fn take_over(pid: u32, dir: &Path, uid: u32) -> Result<()> {
    if !is_dying(pid) {
        return Ok(());
    }
    let all = mounts::all().map_err(|e| Error::io(MOUNTINFO, e))?;
    let mount = mounts::upmost(&all, dir).filter(|m| m.is_muxfs());
    let Some(mount) = mount.filter(|m| m.owner().is_some_and(|(owner, _)| owner == uid)) else {
        return Ok(());
    };
    let until = Instant::now() + ENDS;
    if force(mount).is_err() && abort(mount, &all).is_err() {
        return fail(
            Kind::Busy,
            format!(
                "muxfs (pid {pid}) was killed and cannot end while its callers wait; run as root: umount -f {}",
                dir.display()
            ),
        );
    }
    while is_dying(pid) {
        if Instant::now() > until {
            let text = format!("muxfs (pid {pid}) was killed and has not ended {} s later", ENDS.as_secs());
            return fail(Kind::TimedOut, text);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

/// Aborts the connection by umount2(2), as root. The mount stays where it is in use, and answers
/// ENOTCONN.
pub fn force(mount: &Mount) -> Result<()> {
    let failed = |e: Errno| Error::io(format!("aborting {}", mount.dir.display()), e.into());
    match umount2(&Dir::of_mount(mount)?.path(), MntFlags::MNT_FORCE) {
        // The descriptor alone makes it busy, after the abort.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// Aborts the connection by its file in fusectl, as root or as its user, where that is mounted.
pub fn abort(mount: &Mount, all: &[Mount]) -> io::Result<()> {
    let control = all.iter().rfind(|m| m.fstype == "fusectl").ok_or(io::ErrorKind::NotFound)?;
    std::fs::write(control.dir.join(mount.minor.to_string()).join("abort"), "1")
}

/// Whether a process got SIGKILL, or its first thread has ended, and it is still there. Reads what
/// is answered without waiting (offload.rs).
#[expect(clippy::disallowed_methods, reason = "a start looks at /proc")]
fn is_dying(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).ok();
    let tasks: Vec<String> = tasks.filter_map(status).collect();
    let ended =
        |status: &str| status.lines().any(|l| l.starts_with("State:\tZ") || l.starts_with("State:\tX"));
    let killed = |status: &str| {
        let pending = status.lines().filter_map(|l| l.strip_prefix("SigPnd:").or(l.strip_prefix("ShdPnd:")));
        let kill = 1_u64 << (libc::SIGKILL - 1);
        pending.filter_map(|hex| u64::from_str_radix(hex.trim(), 16).ok()).any(|bits| bits & kill != 0)
    };
    // One that has ended whole is no longer there: its parent is only late in asking.
    tasks.iter().any(|task| !ended(task)) && tasks.iter().any(|task| ended(task) || killed(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_or_has_ended_is_left_alone() {
        assert!(!is_dying(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            status.contains("State:\tZ")
        };
        while !zombie() {
            std::thread::yield_now();
        }
        assert!(!is_dying(child.id()));
        child.wait().unwrap();
        assert!(!is_dying(child.id()));
        take_over(std::process::id(), Path::new("/proc"), 0).unwrap();
    }
}
