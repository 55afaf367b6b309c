//! `muxfs umount`: only mounts of muxfs, with what is in the way said by pid.
//!
//! Never looks into the mount: it may be dead. Sessions live on, so there is nothing to save.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};

use super::privileges::{self, User};
use super::{facts, lock, paths};
use muxfs_fs::mounts::{self, MOUNTINFO, Mount};
use muxfs_fs::point::Dir;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::offload::Offload;

/// How long the mount and its daemon may take to go.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the search for whoever uses a mount may take.
const SEARCH: Duration = Duration::from_secs(2);

/// Unmounts `dir` and waits until its daemon has ended, so that it may be mounted again at once.
pub fn umount(dir: &Path, lazy: bool) -> Result<()> {
    let dir = paths::mount_point(dir)?;
    let mount = target(&mounts::all().map_err(|e| Error::io(MOUNTINFO, e))?, &dir)?;
    let daemon = daemon(&mount);
    take_off(&mount, lazy)?;
    let Some(pid) = daemon.filter(|_| !lazy) else { return Ok(()) };
    let until = Instant::now() + LIMIT;
    while alive(pid) {
        if Instant::now() > until {
            let text = format!("{}: unmounted, but its daemon (pid {pid}) has not ended", dir.display());
            return fail(Kind::TimedOut, text);
        }
        std::thread::sleep(Duration::from_millis(10)); // not our child: there is nothing to wait on
    }
    Ok(())
}

/// The process behind a mount, by the lock of the user who has it.
fn daemon(mount: &Mount) -> Option<u32> {
    let own = nix::unistd::geteuid().as_raw();
    let holder = match mount.owner().map(|(uid, _)| uid) {
        // Another user's variables are not ours: their daemon's places are the default ones. What
        // lies there is read with their rights, or a link would show them where root's lead.
        Some(uid) if uid != own => {
            let user = User::find(&uid.to_string()).ok()?;
            let paths = paths::Paths::of(&user, &|_| None);
            privileges::as_user(&user, || lock::holder(&paths.state)).ok()??
        }
        _ => lock::holder(&paths::Paths::own().state).ok()??,
    };
    (holder.dir.as_ref() == Some(&mount.dir)).then_some(holder.pid)
}

/// The muxfs mount on `dir`, or what is there instead.
fn target(mounts: &[Mount], dir: &Path) -> Result<Mount> {
    match mounts::upmost(mounts, dir) {
        Some(mount) if mount.is_muxfs() => Ok(mount.clone()),
        Some(other) => fail(
            Kind::Invalid,
            format!("{}: a mount of type {} ({}), not of muxfs", dir.display(), other.fstype, other.source),
        ),
        None => {
            let ours: Vec<_> =
                mounts.iter().filter(|m| m.is_muxfs()).map(|m| m.dir.display().to_string()).collect();
            let hint = if ours.is_empty() {
                "muxfs is mounted nowhere".to_owned()
            } else {
                format!("muxfs is mounted on {}", ours.join(" and "))
            };
            fail(Kind::NotFound, format!("{}: no mount; {hint}", dir.display()))
        }
    }
}

fn alive(pid: u32) -> bool {
    // A zombie has ended: its parent is only late in asking.
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ")))
}

fn take_off(mount: &Mount, lazy: bool) -> Result<()> {
    let dir = &mount.dir;
    if nix::unistd::geteuid().is_root() {
        let mut flags = MntFlags::UMOUNT_NOFOLLOW;
        flags.set(MntFlags::MNT_DETACH, lazy);
        // Not busy by a descriptor of ours: of the directory above, in which nobody's link is followed.
        let (Some(above), Some(name)) = (dir.parent(), dir.file_name()) else {
            return fail(Kind::Invalid, format!("{}: not a mount of muxfs", dir.display()));
        };
        let above = Dir::open(above)?;
        return match umount2(&above.path().join(name), flags) {
            Ok(()) => Ok(()),
            Err(nix::Error::EBUSY) => busy(dir),
            Err(e) => Err(Error::io(dir.display(), e.into())),
        };
    }
    let own = nix::unistd::geteuid().as_raw();
    if let Some(owner) = mount.owner().map(|(uid, _)| uid).filter(|owner| *owner != own) {
        return fail(
            Kind::Denied,
            format!("{}: mounted by uid {owner}, and only they and root can unmount it", dir.display()),
        );
    }
    let Some(fusermount) = facts::fusermount() else {
        return fail(Kind::NotFound, "fusermount3 is not installed (package fuse3)");
    };
    let mut command = Command::new(fusermount);
    command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(dir).env("LC_ALL", "C");
    let done = facts::run_limited(&mut command, LIMIT).map_err(|e| Error::io("fusermount3", e))?;
    let said = String::from_utf8_lossy(&done.stderr);
    match done.status.success() {
        true => Ok(()),
        false if said.contains("busy") => busy(dir),
        false => fail(Kind::Denied, format!("{}: {}", dir.display(), said.trim())),
    }
}

fn busy(dir: &Path) -> Result<()> {
    // It reads the links of every process, and one of them may not let them be read.
    static HOLDERS: Offload = Offload::new("holders", 1);
    let at = dir.to_owned();
    let found = HOLDERS.ask_blocking(0, SEARCH, move || holders(Path::new("/proc"), &at));
    let holders = found.unwrap_or_default();
    let mut who: Vec<_> = holders.iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
    if who.is_empty() {
        who.push("processes this user cannot see".into());
    }
    fail(
        Kind::Busy,
        format!("{}: in use by {}; `muxfs umount -l` detaches it now", dir.display(), who.join(", ")),
    )
}

/// Processes with a working directory, root or open file in `dir`, as far as they may be seen.
/// Reads links only, which never asks the file system they lead into.
#[expect(clippy::disallowed_methods, reason = "a command looks at /proc")]
fn holders(proc: &Path, dir: &Path) -> Vec<(u32, String)> {
    let inside = |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(dir));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let at = entry.path();
        let mut files = std::fs::read_dir(at.join("fd")).into_iter().flatten().flatten();
        if inside(at.join("cwd")) || inside(at.join("root")) || files.any(|fd| inside(fd.path())) {
            let name = std::fs::read_to_string(at.join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_owned()));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mount_of_muxfs_is_taken_off() {
        let mounts = [
            Mount::test("/", "ext4"),
            Mount::test("/mux", "fuse.muxfs"),
            Mount::test("/mnt", "tmpfs"),
            Mount::test("/mnt", "fuse.sshfs"),
        ];
        assert_eq!(target(&mounts, "/mux".as_ref()).unwrap(), mounts[1]);
        let text = |dir: &str| target(&mounts, dir.as_ref()).unwrap_err().text().to_owned();
        assert!(text("/").contains("ext4"));
        assert!(text("/mnt").contains("fuse.sshfs"));
        assert!(text("/home").contains("muxfs is mounted on /mux"));
        assert!(umount("/proc".as_ref(), false).unwrap_err().text().contains("type proc"));
    }

    #[test]
    fn who_uses_it_is_found_by_cwd_and_by_open_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        let (file, me) = (std::fs::File::create(at.join("f")).unwrap(), std::process::id());
        assert!(holders("/proc".as_ref(), &at).iter().any(|(pid, _)| *pid == me));
        drop(file);
        let mut child =
            Command::new("cat").current_dir(&at).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let found = holders("/proc".as_ref(), &at);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found, [(child.id(), "cat".to_owned())]);
    }
}
