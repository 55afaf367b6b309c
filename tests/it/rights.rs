//! Who may do what: owners, groups, other users, an unprivileged mount, `setuid=`. On a real
//! mount. Everything here needs root to become somebody else; without it the tests say so.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

use crate::support::{Lab, Mount, until, until_true};

/// An account that every Debian has and nobody logs in to, and another as the stranger.
const USER: &str = "www-data";
const STRANGER: &str = "nobody";

fn not_root() -> bool {
    let not = !nix::unistd::geteuid().is_root();
    if not {
        eprintln!("not run: only root can become another user");
    }
    not
}

fn account(name: &str) -> nix::unistd::User {
    muxfs_tree::base::users::by_name(name).unwrap().unwrap()
}

/// Runs a script as `user`, with their groups.
fn as_user(user: &str, script: &str) -> Output {
    let mut command = Command::new("setpriv");
    let group = account(user).gid.to_string();
    command.args([
        "--reuid",
        user,
        "--regid",
        &group,
        "--init-groups",
        "timeout",
        "30",
        "bash",
        "-c",
        script,
    ]);
    command.current_dir("/").stdin(Stdio::null()).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{} {}{}", out.status, String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// From here on this thread, and what it starts, sees mounts of its own: what a test mounts is
/// nobody else's, and gone with it.
fn own_mounts() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

/// A /dev/fuse with these bits, in mounts of our own.
fn fuse_device(lab: &Lab, mode: u32) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let devices = lab.path("devices");
    std::fs::create_dir(&devices).unwrap();
    mount(Some("devices"), &devices, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let node = devices.join("fuse");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(mode), makedev(10, 229)).unwrap();
    std::fs::set_permissions(&node, PermissionsExt::from_mode(mode)).unwrap();
    mount(Some(&node), "/dev/fuse", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn give(path: &Path, user: &str) {
    let user = account(user);
    std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// Passable, so that others get as far as the mount itself.
fn open_to_all(lab: &Lab) {
    std::fs::set_permissions(lab.path("."), PermissionsExt::from_mode(0o755)).unwrap();
}

/// A mount that others may enter, as far as its bits let them; none where nobody can become another
/// user.
fn shared_mount(words: &[&str]) -> Option<Mount> {
    if not_root() {
        return None;
    }
    let mount = Mount::start_with(words);
    open_to_all(&mount.lab);
    Some(mount)
}

/// Mounts of our own, in which `USER` has the program, a home, a runtime directory and a mount point;
/// and what to set for their programs. None where nobody can become another user.
fn users_place() -> Option<(Lab, String)> {
    if not_root() {
        return None;
    }
    let lab = Lab::new();
    own_mounts();
    open_to_all(&lab);
    // A build directory may be private.
    std::fs::copy(env!("CARGO_BIN_EXE_muxfs"), lab.path("muxfs")).unwrap();
    for name in ["uhome", "urun", "umux"] {
        std::fs::create_dir(lab.path(name)).unwrap();
        std::fs::set_permissions(lab.path(name), PermissionsExt::from_mode(0o700)).unwrap();
        give(&lab.path(name), USER);
    }
    let at = |name: &str| lab.path(name).display().to_string();
    let env = format!(
        "export HOME={} XDG_RUNTIME_DIR={} MUXFS_TMUX_SOCKET={}/tmux MUXFS_NODE_NAME=honey SHELL=/bin/bash \
         LC_ALL=C.UTF-8; unset XDG_STATE_HOME XDG_CONFIG_HOME MUXFS_CONFIG TMUX; PATH={}:$PATH; cd; ",
        at("uhome"),
        at("urun"),
        at("urun"),
        lab.path(".").display()
    );
    Some((lab, env))
}

fn no_mount_at(dir: &Path) -> bool {
    let list = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    !list.lines().any(|l| l.split(' ').nth(4) == dir.to_str())
}

/// Ends what belongs to no `Lab`, however the test ends: the user's daemon and tmux server.
struct UsersOwn(PathBuf);

impl UsersOwn {
    fn of(lab: &Lab) -> Self {
        UsersOwn(lab.path("."))
    }
}

impl Drop for UsersOwn {
    fn drop(&mut self) {
        let at = self.0.display();
        let script = format!(
            "tmux -S {at}/urun/tmux kill-server; pid=$(cut -d' ' -f1 {at}/uhome/.local/state/muxfs/lock) && \
             grep -q muxfs /proc/$pid/cmdline && kill $pid"
        );
        as_user(USER, &script);
    }
}

#[test]
fn by_default_only_the_owner_gets_in() {
    let Some(mount) = shared_mount(&[]) else { return };
    // The modes would let everybody in.
    mount.sh(&format!("mkdir demo; chmod 0755 {} . demo && chmod 0644 demo/status", mount.dir.display()));
    for script in ["ls", "cat .self/demo/status", "cat .self/config", "mkdir .self/x"] {
        let out = as_user(STRANGER, &format!("cd / && cd {} && {script}", mount.dir.display()));
        let text = said(&out);
        assert!(!out.status.success() && text.contains("Permission denied"), "{script}: {text}");
    }
}

#[test]
fn with_allow_other_the_modes_decide_and_last() {
    let Some(mut mount) = shared_mount(&["-o", "allow_other"]) else { return };
    mount.sh("mkdir demo; echo 'echo hello' > demo/input; cat demo/wait");
    assert!(
        !as_user(STRANGER, &format!("ls {}", mount.dir.display())).status.success(),
        "directories are 0700"
    );
    let group = account(STRANGER).gid;
    let dir = mount.dir.display();
    // The whole way in is for the group, then two files of it.
    mount.sh(&format!(
        "chgrp {group} {dir} . demo demo/output demo/input demo/config && chmod 0750 {dir} . demo && \
         chmod 0440 demo/output && chmod 0220 demo/input"
    ));
    let check = |mount: &Mount| {
        let try_it =
            |script: &str| as_user(STRANGER, &format!("cd {} && {script}", mount.path("").display()));
        let out = try_it("cat demo/output");
        assert!(out.status.success() && said(&out).contains("\nhello\n"), "{}", said(&out));
        let out = try_it("echo 'echo from a friend' > demo/input");
        assert!(out.status.success(), "{}", said(&out));
        mount.sh("cat demo/wait");
        assert!(mount.read("demo/output").contains("\nfrom a friend\n"));
        for script in
            ["cat demo/logs", "echo x > demo/keys", "cat demo/input", "mkdir x", "rmdir demo", "mv demo x"]
        {
            let out = try_it(script);
            assert!(!out.status.success() && said(&out).contains("denied"), "{script}: {}", said(&out));
        }
        // What is shared is not for the friend to share on.
        let out = try_it("chmod 0777 demo/output");
        assert!(!out.status.success() && said(&out).contains("not permitted"), "{}", said(&out));
        let modes = format!("750 {group}\n440 {group}\n220 {group}\n");
        assert_eq!(mount.sh("stat -c '%a %g' demo demo/output demo/input"), modes);
    };
    check(&mount);
    mount.end(Signal::SIGTERM);
    mount.start_again();
    check(&mount);
    mount.kill9();
    mount.start_again();
    check(&mount);
}

#[test]
fn nobody_but_the_owner_reads_config_however_it_was_copied() {
    let Some(mount) = shared_mount(&["-o", "allow_other"]) else { return };
    let dir = mount.dir.display();
    mount.sh(&format!("mkdir demo; chmod 0755 {dir} . demo"));
    mount.sh("echo '[env]' > demo/config; echo 'TOKEN = \"geheim\"' >> demo/config; chmod 0644 demo/config config || true");
    // By hand, by an editor's ways, by a rename onto it and off it: the copies in the tree as well.
    mount.sh(
        "chmod 0644 demo/config.rejected demo/config.error || true; echo 'geheim =' > demo/config || true; \
         cp demo/config demo/config~; cp -p demo/config demo/.config.swp; chmod 0666 demo/config~ demo/.config.swp || true; \
         umask 0; cat demo/config > demo/4913; install -m 0644 /dev/null demo/config.new && cat demo/config > demo/config.new; \
         mv demo/config.new demo/config; chmod a+r demo/config || true; true",
    );
    let names = mount.sh("ls -a demo");
    let mut seen = 0;
    for name in names.lines().filter(|n| n.contains("config") || *n == "4913") {
        let file = mount.path("demo").join(name);
        if !file.is_file() {
            continue;
        }
        seen += 1;
        let mode = std::fs::metadata(&file).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{name} is {mode:o}");
        let out = as_user(STRANGER, &format!("cat {}", file.display()));
        assert!(!said(&out).contains("geheim") && !out.status.success(), "{name}: {}", said(&out));
    }
    assert!(seen >= 4, "{names}");
    // The files behind it are the owner's alone, and so is every copy in status or errors.
    let out = as_user(
        STRANGER,
        &format!(
            "grep -rs geheim {} ; grep -rs geheim {}",
            mount.path("demo").display(),
            mount.lab.path("state").display()
        ),
    );
    assert!(!String::from_utf8_lossy(&out.stdout).contains("geheim"), "{}", said(&out));
}

#[test]
fn an_unprivileged_user_mounts_through_fusermount3() {
    let Some((lab, env)) = users_place() else { return };
    fuse_device(&lab, 0o666); // as distributions have it
    let _ended = UsersOwn::of(&lab);
    let dir = lab.path("umux");
    let run = |script: &str| {
        let out = as_user(USER, &format!("{env}{script}"));
        assert!(out.status.success(), "{script}: {}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    for how in ["muxfs umount DIR", "fusermount3 -u DIR", "kill -TERM PID", "kill -INT PID"] {
        run(&format!("muxfs mount {}", dir.display()));
        assert!(!no_mount_at(&dir));
        let made = format!(
            "cd {}/.self; mkdir -p demo; echo 'id -un' > demo/input; cat demo/wait; cat demo/output",
            dir.display()
        );
        assert!(run(&made).contains(&format!("\n{USER}\n")));
        let second = as_user(USER, &format!("{env} mkdir -p other; muxfs mount other; muxfs node"));
        let text = said(&second);
        assert_eq!(text.matches(&format!("mounted on {}", dir.display())).count(), 2, "{text}");
        let pid = run("cut -d' ' -f1 $HOME/.local/state/muxfs/lock");
        let pid = pid.trim();
        run(&how.replace("DIR", dir.to_str().unwrap()).replace("PID", pid));
        until_true("the mount is gone", || no_mount_at(&dir));
        until_true("the daemon has ended", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    // allow_other is the administrator's to allow.
    let out = as_user(USER, &format!("{env} muxfs mount -o allow_other {}", dir.display()));
    assert!(!out.status.success() && said(&out).contains("user_allow_other"), "{}", said(&out));
    // A dead mount is taken over by its user as well.
    run(&format!("muxfs mount {}", dir.display()));
    run("kill -9 $(cut -d' ' -f1 $HOME/.local/state/muxfs/lock)");
    until("it is taken over", || {
        as_user(USER, &format!("{env} muxfs mount {}", dir.display())).status.success().then_some(())
    });
    assert!(run(&format!("ls {}/.self", dir.display())).contains("demo"));
    // Another user's mount is not for others to take off, nor to mount on.
    let stranger = as_user(STRANGER, &format!("{}/muxfs umount {}", lab.path(".").display(), dir.display()));
    assert!(!stranger.status.success() && !no_mount_at(&dir), "{}", said(&stranger));
    run(&format!("muxfs umount {}", dir.display()));
}

/// What keeps `USER` from mounting is `why`, in one line, and the check of `muxfs doctor` that sees it.
fn keeps_from_mounting(lab: &Lab, env: &str, why: &str, check: &str) {
    let dir = lab.path("umux");
    let out = as_user(USER, &format!("{env}muxfs mount {}", dir.display()));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && no_mount_at(&dir), "{text}");
    assert!(text.contains(why) && text.contains("`muxfs doctor`"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let out = as_user(USER, &format!("{env}muxfs doctor"));
    let text = said(&out);
    assert!(out.status.code() == Some(1) && text.contains(check), "{text}");
}

#[test]
fn a_device_that_is_closed_to_its_user_is_told() {
    let Some((lab, env)) = users_place() else { return };
    fuse_device(&lab, 0o600);
    let check = "BAD   fuse device: /dev/fuse: Permission denied (os error 13)\n      -> chmod 666 /dev/fuse (as root)";
    keeps_from_mounting(&lab, &env, "muxfs: /dev/fuse: Permission denied", check);
}

#[test]
fn a_fusermount3_that_is_not_there_is_told() {
    let Some((lab, env)) = users_place() else { return };
    fuse_device(&lab, 0o666);
    let env = format!("{env}export FUSERMOUNT_PATH=/nonexistent/fusermount3; ");
    let check = "BAD   mount rights: fusermount3 not found\n      -> install fuse3";
    keeps_from_mounting(&lab, &env, "fusermount3 was not found (package fuse3)", check);
}

/// Every process whose environment names this lab: uid, command line, and its HOME and USER.
fn processes_of(lab: &Lab) -> Vec<(u32, String, String)> {
    let mark = lab.path("").display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let at = entry.path();
        let Ok(env) = std::fs::read(at.join("environ")) else { continue };
        let env = String::from_utf8_lossy(&env).replace('\0', "\n");
        let command = std::fs::read(at.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if env.contains(&mark) || command.contains(&mark) {
            found.push((std::fs::metadata(&at).map_or(0, |m| m.uid()), command, env));
        }
    }
    found
}

/// The account as it would be for a person: a home and a shell, in a user database of our own. The
/// home, and the user's number.
fn person(lab: &Lab) -> (PathBuf, u32) {
    let user = account(USER);
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let home = lab.path("uhome");
    let passwd: String = std::fs::read_to_string("/etc/passwd")
        .unwrap()
        .lines()
        .map(|line| {
            if line.starts_with(&format!("{USER}:")) {
                format!("{USER}:x:{uid}:{gid}:{USER}:{}:/bin/bash\n", home.display())
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(lab.path("passwd"), passwd).unwrap();
    mount(Some(&lab.path("passwd")), "/etc/passwd", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    (home, uid)
}

#[test]
fn root_follows_nothing_that_the_user_of_setuid_laid() {
    let Some((lab, _)) = users_place() else { return };
    let (home, uid) = person(&lab);
    let dir = lab.path("umux");
    let of_root = lab.path("of-root");
    let precious = of_root.join("shadow");
    std::fs::create_dir(&of_root).unwrap();
    std::fs::write(&precious, "secret of root").unwrap();
    std::fs::set_permissions(&precious, PermissionsExt::from_mode(0o600)).unwrap();
    let muxfs = |words: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "25"]).arg(lab.path("muxfs")).args(words).arg(&dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/root");
        command.env("MUXFS_TMUX_SOCKET", lab.path("urun/tmux")).env("MUXFS_NODE_NAME", "honey");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let mount_it = || muxfs(&["mount", "-o", &format!("setuid={USER}")]);
    let state = home.join(".local/state/muxfs");
    let runtime = match Path::new(&format!("/run/user/{uid}")) {
        dir if dir.is_dir() => dir.join("muxfs"),
        _ => PathBuf::from(format!("/tmp/muxfs-{uid}")),
    };
    let guard = runtime.join(format!("mount-{}.lock", muxfs_fs::mounts::short(&dir)));
    let lay = |what: &str, place: &Path| {
        let (above, place) = (place.parent().unwrap().display(), place.display());
        let what = match what {
            "fifo" => format!("mkfifo {place}"),
            "link to a file" => format!("ln -s {} {place}", precious.display()),
            _ => format!("ln -s {} {place}", of_root.display()),
        };
        let out = as_user(USER, &format!("umask 077; mkdir -p {above} && rm -rf {place} && {what}"));
        assert!(out.status.success(), "{}", said(&out));
    };
    let whole = || {
        let meta = std::fs::metadata(&precious).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "secret of root");
        assert_eq!(std::fs::read_dir(&of_root).unwrap().count(), 1, "nothing was made in root's directory");
    };
    let state_lock = state.join("lock");
    let traps = [
        ("link to a file", &guard),
        ("fifo", &guard),
        ("link to a file", &state_lock),
        ("fifo", &state_lock),
        ("link to a directory", &state),
        ("link to a directory", &home.join(".local")),
    ];
    for (what, place) in traps {
        lay(what, place);
        let out = mount_it();
        whole();
        assert!(no_mount_at(&dir), "{what} at {}: {}", place.display(), said(&out));
        let named = said(&out).contains(&place.display().to_string());
        assert!(!out.status.success() && named, "{what} at {}: {}", place.display(), said(&out));
        assert!(as_user(USER, &format!("rm -rf {}", place.display())).status.success());
    }
    // Nor does root's umount, which asks the lock for the daemon behind the mount.
    let _ended = UsersOwn::of(&lab);
    for what in ["fifo", "link to a file"] {
        let out = mount_it();
        assert!(out.status.success(), "{}", said(&out));
        let lock = std::fs::read_to_string(&state_lock).unwrap();
        let pid = lock.split(' ').next().unwrap();
        lay(what, &state_lock);
        let out = muxfs(&["umount"]);
        assert!(out.status.success(), "{what}: {}", said(&out));
        whole();
        until_true("the daemon has ended", || !Path::new(&format!("/proc/{pid}")).exists());
        assert!(as_user(USER, &format!("rm -f {}", state_lock.display())).status.success());
    }
}

#[test]
fn setuid_drops_root_before_anything_of_tmux() {
    let Some((lab, _)) = users_place() else { return };
    let _ended = UsersOwn::of(&lab);
    let (home, uid) = person(&lab);
    // Whoever runs tmux or a shell writes down as whom; root must not be among them.
    let log = lab.path("uhome/who");
    std::fs::write(home.join(".bashrc"), format!("echo $EUID:$HOME:$USER >> {}\n", log.display())).unwrap();
    std::fs::write(home.join(".tmux.conf"), format!("run-shell 'id -u >> {}'\n", log.display())).unwrap();

    let dir = lab.path("umux");
    let socket = lab.path("urun/tmux");
    let mount_it = || {
        let mut command = Command::new(lab.path("muxfs"));
        command.args(["mount", "-o", &format!("setuid={USER}")]).arg(&dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/root").env("USER", "root");
        command.env("XDG_STATE_HOME", lab.path("root-state")).env("SECRET_OF_ROOT", "1");
        command.env("MUXFS_TMUX_SOCKET", &socket).env("MUXFS_NODE_NAME", "honey").env("LC_ALL", "C.UTF-8");
        command.output().unwrap()
    };
    let out = mount_it();
    assert!(out.status.success(), "{}", said(&out));
    let in_it = |script: &str| as_user(USER, &format!("cd {}/.self && {script}", dir.display()));
    let out = in_it("mkdir demo && echo 'id -u; env' > demo/input && cat demo/wait && cat demo/output");
    let text = said(&out);
    assert!(out.status.success() && text.contains(&format!("\n{uid}\n")), "{text}");
    assert!(
        text.contains(&format!("\nHOME={}\n", home.display())) && text.contains(&format!("\nUSER={USER}\n")),
        "{text}"
    );
    assert!(!text.contains("SECRET_OF_ROOT") && !text.contains("/root"), "{text}");
    let processes = processes_of(&lab);
    assert!(processes.iter().any(|(_, c, _)| c.contains("tmux")) && processes.len() >= 3, "{processes:?}");
    for (owner, command, env) in &processes {
        assert_eq!(*owner, uid, "{command}");
        assert!(!env.contains("SECRET_OF_ROOT") && !env.contains("HOME=/root"), "{command}: {env}");
    }
    let who = std::fs::read_to_string(&log).unwrap();
    assert!(who.lines().count() >= 2 && !who.lines().any(|l| l == "0" || l.starts_with("0:")), "{who}");
    for place in [home.join(".local/state/muxfs"), home.join(".local/state"), socket.clone()] {
        assert_eq!(std::fs::metadata(&place).unwrap().uid(), uid, "{}", place.display());
    }
    assert!(!lab.path("root-state").exists(), "root's own places are not used");
    // Root itself is no user of this mount.
    assert!(std::fs::read_dir(&dir).is_err());

    let pid = || {
        let lock = std::fs::read_to_string(home.join(".local/state/muxfs/lock")).unwrap();
        lock.split(' ').next().unwrap().to_owned()
    };
    let gone = |how: &str, pid: &str| {
        until_true(&format!("{how}: the mount is gone"), || no_mount_at(&dir));
        until_true(&format!("{how}: the daemon has ended"), || !Path::new(&format!("/proc/{pid}")).exists());
    };
    // The daemon is no longer root, and unmounts all the same.
    let exe = lab.path("muxfs");
    let ways = [
        format!("kill -TERM {}", pid()),
        format!("fusermount3 -u {}", dir.display()),
        format!("{} umount {}", exe.display(), dir.display()),
    ];
    for (n, how) in ways.iter().enumerate() {
        if n > 0 {
            let out = mount_it();
            assert!(out.status.success(), "{}", said(&out));
        }
        let pid = pid();
        let env = format!("export HOME={}; unset XDG_STATE_HOME;", home.display());
        let out = as_user(USER, &format!("{env}{how}"));
        assert!(out.status.success(), "{how}: {}", said(&out));
        gone(how, &pid);
    }
    // Root takes its user's dead mount over, and takes a live one off.
    let out = mount_it();
    assert!(out.status.success(), "{}", said(&out));
    let crashed = pid();
    assert!(Command::new("kill").args(["-9", &crashed]).status().unwrap().success());
    until_true("it died", || !Path::new(&format!("/proc/{crashed}")).exists());
    let out = mount_it();
    assert!(out.status.success(), "taken over: {}", said(&out));
    let out = mount_it();
    assert!(!out.status.success() && said(&out).contains(&pid()), "live: {}", said(&out));
    let last = pid();
    let mut umount = Command::new(&exe);
    let out = umount.arg("umount").arg(&dir).env_clear().env("HOME", "/root").output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    gone("root's umount", &last);
}

#[test]
fn a_stranger_in_the_owners_group_sees_nothing_by_default() {
    // With allow_other and the default bits, a member of root's own group is a stranger still.
    let Some(mount) = shared_mount(&["-o", "allow_other"]) else { return };
    let mut ls = Command::new("ls");
    let out = ls.arg(&mount.dir).uid(account(STRANGER).uid.as_raw()).gid(0).output().unwrap();
    assert!(!out.status.success(), "{}", said(&out));
}

/// A session is shared by its directory's bits, and its settings are not shared with it: they name
/// the program that runs as the owner.
#[test]
fn who_may_make_files_beside_config_may_not_replace_it() {
    let Some(mount) = shared_mount(&["-o", "allow_other"]) else { return };
    let (group, dir) = (account(STRANGER).gid, mount.dir.display());
    mount.sh(&format!("mkdir demo; chmod 0711 {dir} .; chgrp {group} demo; chmod 0770 demo"));
    let before = mount.read("demo/config");
    for script in [
        "echo 'env = { A = \"b\" }' > mine && mv -f mine config",
        "mv config config~",
        "rm -f config",
        "rm -f config; echo 'env = { A = \"b\" }' > config",
        "python3 -c 'import os; open(\"new\", \"w\").write(\"args = []\\n\"); os.replace(\"new\", \"config\")'",
    ] {
        let out = as_user(STRANGER, &format!("cd {} && {script}", mount.path("demo").display()));
        let text = said(&out).to_lowercase();
        assert!(!out.status.success() && text.contains("permission denied"), "{script}: {text}");
        assert_eq!(mount.read("demo/config"), before, "{script}");
    }
    assert!(mount.read("errors").contains("config: not yours to write, so not to replace"));
    mount.sh("echo 'env = { A = \"b\" }' > demo/own && mv demo/own demo/config");
    assert!(mount.read("demo/config").contains("A = \"b\""));
}
