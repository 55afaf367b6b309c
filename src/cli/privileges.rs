//! Users of this machine, and becoming one of them for good.
//!
//! Nothing of a user's tmux may run as root, nor with root's environment: the environment is
//! changed by running the program anew (a process cannot change its own safely), the ids by
//! [`become_user`] once the mount is made. Knows no mount and no tmux.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Uid};

use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::users;

/// An entry of the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
    pub shell: PathBuf,
}

impl From<unistd::User> for User {
    fn from(u: unistd::User) -> Self {
        User { name: u.name, uid: u.uid.as_raw(), gid: u.gid.as_raw(), home: u.dir, shell: u.shell }
    }
}

impl User {
    /// Whom this process acts for. A uid without an entry (a container's) has a home of `/`.
    pub fn own() -> Self {
        let uid = unistd::geteuid();
        match users::by_uid(uid) {
            Ok(Some(user)) => user.into(),
            _ => User {
                name: uid.to_string(),
                uid: uid.as_raw(),
                gid: unistd::getegid().as_raw(),
                home: "/".into(),
                shell: "/bin/sh".into(),
            },
        }
    }

    /// By name, else by number.
    pub fn find(text: &str) -> Result<Self> {
        let by_name = users::by_name(text);
        let found = match (by_name, text.parse::<u32>()) {
            (Ok(None), Ok(uid)) => users::by_uid(Uid::from_raw(uid)),
            (found, _) => found,
        };
        match found {
            Ok(Some(user)) => Ok(user.into()),
            Ok(None) => fail(Kind::Invalid, format!("no user {text:?} on this machine")),
            Err(e) => Err(Error::io(format!("looking up user {text:?}"), e.into())),
        }
    }

    /// Their runtime directory as the login manager makes it, if it is there and theirs.
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        let dir = PathBuf::from(format!("/run/user/{}", self.uid));
        owned_dir(&dir, self.uid).then_some(dir)
    }
}

/// A user id for `uid=`: a name, or a number that need not have a name.
pub fn find_uid(text: &str) -> Result<u32> {
    text.parse().or_else(|_| User::find(text).map(|u| u.uid))
}

/// A group id for `gid=`.
pub fn find_gid(text: &str) -> Result<u32> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    match users::group(text) {
        Ok(Some(gid)) => Ok(gid.as_raw()),
        Ok(None) => fail(Kind::Invalid, format!("no group {text:?} on this machine")),
        Err(e) => Err(Error::io(format!("looking up group {text:?}"), e.into())),
    }
}

/// A directory itself, not a link to one.
pub fn owned_dir(dir: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == uid)
}

/// Caller's variables that mean the same for everyone. Everything else (XDG_*, TMUX*, secrets,
/// SUDO_*, a session bus) is the caller's own.
fn passes(key: &OsStr) -> bool {
    const SAME: &[&str] =
        &["LANG", "LANGUAGE", "TZ", "TERM", "RUST_BACKTRACE", "NOTIFY_SOCKET", "LLVM_PROFILE_FILE"];
    let key = key.to_string_lossy();
    SAME.contains(&key.as_ref()) || key.starts_with("LC_") || key.starts_with("MUXFS_")
}

/// The environment `user` starts with: their own from the user database, and of `caller` what
/// means the same for everyone.
pub fn environment(
    user: &User,
    caller: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = caller.into_iter().filter(|(key, _)| passes(key)).collect();
    let mut set = |key: &str, value: &OsStr| env.push((key.into(), value.into()));
    set("HOME", user.home.as_os_str());
    set("USER", user.name.as_ref());
    set("LOGNAME", user.name.as_ref());
    set("SHELL", user.shell.as_os_str());
    // Sessions get the PATH of the user's login shell; this one finds tmux and fusermount3.
    set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ref());
    if let Some(dir) = user.runtime_dir() {
        let bus = dir.join("bus");
        set("XDG_RUNTIME_DIR", dir.as_os_str());
        if bus.exists() {
            let mut address = OsString::from("unix:path=");
            address.push(&bus);
            set("DBUS_SESSION_BUS_ADDRESS", &address);
        }
    }
    env
}

/// Becomes `user` with all ids and groups, and makes sure there is no way back.
/// Call it while the process has no threads that do work of their own.
pub fn become_user(user: &User) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let failed = |what: &str, e: nix::Error| Error::io(format!("becoming {}: {what}", user.name), e.into());
    let name = std::ffi::CString::new(user.name.as_str())
        .map_err(|_| Error::new(Kind::Invalid, "a user's name holds a NUL byte"))?;
    unistd::initgroups(&name, gid).map_err(|e| failed("initgroups", e))?;
    unistd::setresgid(gid, gid, gid).map_err(|e| failed("setresgid", e))?;
    unistd::setresuid(uid, uid, uid).map_err(|e| failed("setresuid", e))?;
    let uids = unistd::getresuid().map_err(|e| failed("getresuid", e))?;
    let gids = unistd::getresgid().map_err(|e| failed("getresgid", e))?;
    let all = [uids.real, uids.effective, uids.saved].iter().all(|u| *u == uid)
        && [gids.real, gids.effective, gids.saved].iter().all(|g| *g == gid);
    if !all || (user.uid != 0 && unistd::setuid(Uid::from_raw(0)).is_ok()) {
        return fail(Kind::Bug, format!("becoming {}: root's rights did not go away", user.name));
    }
    // Giving up root makes the process undumpable, and its /proc entries root's.
    nix::sys::prctl::set_dumpable(true).map_err(|e| failed("set_dumpable", e))
}

/// Does `work` with the rights of `user` on files, then takes root's rights back. For what is
/// made in a user's directories before the mount, where root could be led astray by links.
/// Without a change of user it is `work` alone.
pub fn as_user<T>(user: &User, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (uid, gid) = (unistd::geteuid(), unistd::getegid());
    if uid.as_raw() == user.uid {
        return work();
    }
    let failed = |e: nix::Error| Error::io(format!("acting as {}", user.name), e.into());
    let groups = unistd::getgroups().map_err(failed)?;
    let back = || -> nix::Result<()> {
        unistd::seteuid(uid)?;
        unistd::setegid(gid)?;
        unistd::setgroups(&groups)
    };
    let name = std::ffi::CString::new(user.name.as_str())
        .map_err(|_| Error::new(Kind::Invalid, "a user's name holds a NUL byte"))?;
    let there = unistd::initgroups(&name, Gid::from_raw(user.gid))
        .and_then(|()| unistd::setegid(Gid::from_raw(user.gid)))
        .and_then(|()| unistd::seteuid(Uid::from_raw(user.uid)));
    let done = there.map_err(failed).and_then(|()| work());
    back().map_err(failed)?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User {
            name: "ann".into(),
            uid: 4_000_000,
            gid: 4_000_001,
            home: "/home/ann".into(),
            shell: "/bin/zsh".into(),
        }
    }

    #[test]
    fn nothing_of_the_caller_leaks_into_a_users_environment() {
        let caller = [
            ("HOME", "/root"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
            ("XDG_STATE_HOME", "/root/state"),
            ("TMUX", "/tmp/tmux-0/default,1,0"),
            ("TMUX_TMPDIR", "/root/tmp"),
            ("SSH_AUTH_SOCK", "/root/agent"),
            ("PATH", "/root/bin"),
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("MUXFS_LOG", "debug"),
        ];
        let env = environment(&ann(), caller.map(|(k, v)| (k.into(), v.into())));
        let get = |key: &str| env.iter().find(|(k, _)| k == key).map(|(_, v)| v.to_str().unwrap());
        assert_eq!(get("HOME"), Some("/home/ann"));
        assert_eq!((get("USER"), get("LOGNAME"), get("SHELL")), (Some("ann"), Some("ann"), Some("/bin/zsh")));
        assert_eq!(
            (get("LANG"), get("LC_ALL"), get("MUXFS_LOG")),
            (Some("de_DE.UTF-8"), Some("C.UTF-8"), Some("debug"))
        );
        for key in ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMUX", "TMUX_TMPDIR", "SSH_AUTH_SOCK"] {
            assert_eq!(get(key), None, "{key}");
        }
        assert!(!get("PATH").unwrap().contains("/root"));
    }

    #[test]
    fn users_and_groups_go_by_name_or_number() {
        assert_eq!(User::find("root").unwrap().uid, 0);
        assert_eq!(User::find("0").unwrap().name, "root");
        assert!(User::find("no-such-user").unwrap_err().text().contains("no-such-user"));
        assert!(User::find("4000000000").is_err(), "setuid needs an entry: its home and groups");
        assert_eq!((find_uid("root").unwrap(), find_uid("4000000000").unwrap()), (0, 4_000_000_000));
        assert_eq!((find_gid("root").unwrap(), find_gid("17").unwrap()), (0, 17));
        assert!(find_gid("no-such-group").is_err());
    }

    /// In a process of its own: there is no way back.
    #[test]
    fn root_can_act_as_someone_and_then_become_them_for_good() {
        if !unistd::geteuid().is_root() {
            eprintln!("not run: only root can become someone else");
            return;
        }
        let me = std::env::current_exe().unwrap();
        let inner = ["--exact", "--ignored", "privileges::tests::inner_becomes_nobody"];
        let done = std::process::Command::new(me).args(inner).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "run by the test above"]
    fn inner_becomes_nobody() {
        let nobody = User::find("nobody").unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(nobody.uid), None).unwrap();
        let file = dir.path().join("file");
        as_user(&nobody, || {
            std::fs::write(&file, "").map_err(|e| Error::io("file", e))?;
            assert!(std::fs::read("/etc/shadow").is_err());
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().uid(), nobody.uid);
        std::fs::read("/etc/shadow").expect("root again");

        become_user(&nobody).unwrap();
        assert_eq!(User::own().name, "nobody");
        assert!(unistd::seteuid(Uid::from_raw(0)).is_err() && std::fs::read("/etc/shadow").is_err());
        assert!(!unistd::getgroups().unwrap().contains(&Gid::from_raw(0)));
        assert!(std::fs::read_dir("/proc/self/fd").is_ok(), "still its own /proc entries");
    }

    #[test]
    fn acting_as_oneself_changes_nothing() {
        assert_eq!(as_user(&User::own(), || Ok(7)).unwrap(), 7);
    }
}
