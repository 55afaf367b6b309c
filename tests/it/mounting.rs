//! How a mount comes and goes: mount(8) and fstab, options, the one node a user has, signals, what
//! is in the way, `umount` with open files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

use crate::support::{Lab, Mount, until, until_true};

/// "Mounted within 200 ms of the start"; limits in tests are ten times what is promised.
const MOUNTED: Duration = Duration::from_millis(2000);

fn said(out: &Output) -> String {
    format!("{} {}{}", out.status, String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn muxfs(lab: &Lab, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muxfs"));
    command.envs(Mount::environment(lab)).args(args).stdin(Stdio::null()).output().unwrap()
}

fn mounts_at(dir: &Path) -> usize {
    let list = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    list.lines().filter(|l| l.split(' ').nth(4) == dir.to_str()).count()
}

/// As in support.rs, but for a daemon that goes to the background by itself.
fn lab_with_dir() -> (Lab, PathBuf) {
    let lab = Lab::new();
    lab.configure("");
    let dir = lab.path("mux");
    std::fs::create_dir(&dir).unwrap();
    (lab, dir)
}

/// Takes the mount off, whatever a test did not get to.
struct Off(PathBuf);

impl Drop for Off {
    fn drop(&mut self) {
        if mounts_at(&self.0) > 0 {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

#[test]
fn mounted_in_the_background_within_the_promised_time() {
    let (lab, dir) = lab_with_dir();
    let _off = Off(dir.clone());
    lab.tmux_ok(&["new-session", "-d", "-s", "before", "sh"]);
    let begun = Instant::now();
    let out = muxfs(&lab, &["mount", dir.to_str().unwrap()]);
    let took = begun.elapsed();
    assert!(out.status.success(), "{}", said(&out));
    assert!(dir.join(".self/before/status").exists(), "sessions from before are there at once");
    eprintln!("mounted after {took:?}");
    assert!(took < MOUNTED, "{took:?}");
    // `umount` returns when the daemon has ended, so that the next mount is not in its way.
    for _ in 0..5 {
        let out = muxfs(&lab, &["umount", dir.to_str().unwrap()]);
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!(mounts_at(&dir), 0);
        let out = muxfs(&lab, &["mount", dir.to_str().unwrap()]);
        assert!(out.status.success(), "{}", said(&out));
    }
    assert!(muxfs(&lab, &["umount", dir.to_str().unwrap()]).status.success());
}

#[test]
fn mount8_and_fstab_mount_it() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not run: mount(8) with a helper needs root");
    }
    let (lab, dir) = lab_with_dir();
    // A /sbin with our helper beside the others, seen by this test alone.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let sbin = lab.path("sbin");
    std::fs::create_dir(&sbin).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_muxfs"), sbin.join("mount.fuse.muxfs")).unwrap();
    let layers = format!("lowerdir={}:/usr/sbin", sbin.display());
    if let Err(e) =
        mount(Some("overlay"), "/usr/sbin", Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
    {
        return eprintln!("not run: no overlay to put the helper into /sbin: {e}");
    }
    let _off = Off(dir.clone());
    let at = dir.to_str().unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.envs(Mount::environment(&lab)).args(args).stdin(Stdio::null()).output().unwrap()
    };
    let ok = |out: Output| assert!(out.status.success(), "{}", said(&out));
    ok(run("mount", &["-t", "fuse.muxfs", "muxfs", at]));
    assert!(dir.join(".self/status").exists() && mounts_at(&dir) == 1);
    let again = run("mount", &["-t", "fuse.muxfs", "muxfs", at]);
    assert!(!again.status.success() && mounts_at(&dir) == 1, "{}", said(&again));
    ok(run("umount", &[at]));
    until_true("the daemon has ended", || muxfs(&lab, &["status"]).status.code() == Some(3));

    let bad = run("mount", &["-t", "fuse.muxfs", "-o", "ro,bogus_option=7", "muxfs", at]);
    assert!(!bad.status.success() && said(&bad).contains("bogus_option"), "{}", said(&bad));
    assert_eq!(mounts_at(&dir), 0);

    // A line of fstab, with the user it is for; `noauto` and `_netdev` are mount(8)'s own words.
    let fstab = lab.path("fstab");
    std::fs::write(
        &fstab,
        format!("muxfs {at} fuse.muxfs setuid=root,noauto,nofail,_netdev,allow_other 0 0\n"),
    )
    .unwrap();
    ok(run("mount", &["--fstab", fstab.to_str().unwrap(), at]));
    let info = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let line = info.lines().find(|l| l.contains(at)).unwrap();
    assert!(line.contains("fuse.muxfs muxfs") && line.contains("allow_other"), "{line}");
    ok(run("umount", &[at]));
}

#[test]
fn an_unknown_option_is_an_error_that_names_it() {
    let (lab, dir) = lab_with_dir();
    let out = muxfs(&lab, &["mount", "-o", "ro,frobnicate", dir.to_str().unwrap()]);
    assert!(!out.status.success() && said(&out).contains("frobnicate"), "{}", said(&out));
    let out = muxfs(&lab, &["mount", "-o", "setuid=no-such-user-here", dir.to_str().unwrap()]);
    assert!(!out.status.success() && said(&out).contains("no-such-user-here"), "{}", said(&out));
    assert_eq!(mounts_at(&dir), 0);
}

#[test]
fn a_second_mount_or_node_names_the_first() {
    let mount = Mount::start();
    let other = mount.lab.path("other");
    std::fs::create_dir(&other).unwrap();
    let _off = Off(other.clone());
    let (pid, dir) = (mount.pid().to_string(), mount.dir.display().to_string());
    for args in [&["mount", other.to_str().unwrap()][..], &["mount", &dir], &["node"]] {
        let out = muxfs(&mount.lab, args);
        let text = said(&out);
        assert!(!out.status.success() && text.contains(&pid) && text.contains(&dir), "{args:?}: {text}");
    }
    assert_eq!((mounts_at(&other), mounts_at(&mount.dir)), (0, 1));
    assert!(mount.path("status").exists());
}

/// umount(8) returns before the daemon has ended.
#[test]
fn a_mount_right_after_an_umount_waits_for_the_daemon_before_it() {
    let mut mount = Mount::start();
    let _off = Off(mount.dir.clone());
    // As if it were slow to end.
    nix::sys::signal::kill(mount.pid(), Signal::SIGSTOP).unwrap();
    let out = Command::new("fusermount3").arg("-uz").arg(&mount.dir).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let mut next = Command::new(env!("CARGO_BIN_EXE_muxfs"));
    next.envs(Mount::environment(&mount.lab)).args(["mount", "-f"]).arg(&mount.dir).stdin(Stdio::null());
    let mut next = next.spawn().unwrap();
    let waits = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|f| std::fs::read_link(f.path()).ok()).any(|f| f.ends_with("muxfs/lock"))
    };
    until_true("it has seen the lock", || {
        assert!(next.try_wait().unwrap().is_none(), "it was refused");
        waits(next.id())
    });
    nix::sys::signal::kill(mount.pid(), Signal::SIGCONT).unwrap();
    until_true("it is mounted", || {
        assert!(next.try_wait().unwrap().is_none(), "it was refused");
        mounts_at(&mount.dir) == 1
    });
    mount.ended();
    let pid = nix::unistd::Pid::from_raw(next.id().cast_signed());
    until_true("it answers", || mount.dir.join(".self/status").exists());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    until("it ends", || next.try_wait().unwrap());
}

#[test]
fn term_and_int_unmount_cleanly_though_readers_wait() {
    let mut mount = Mount::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        mount.sh("mkdir -p demo; cat demo/wait");
        let mut cat = Command::new("cat");
        cat.arg(mount.path("events")).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        until_true("it waits", || {
            std::fs::read_to_string(format!("/proc/{}/wchan", cat.id())).unwrap_or_default()
                == "request_wait_answer"
        });
        let held = std::fs::File::open(mount.path("demo/logs")).unwrap();
        let begun = Instant::now();
        let status = mount.end(signal);
        eprintln!("{signal}: ended after {:?}", begun.elapsed());
        assert!(status.success(), "{signal}: {status}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{signal}: {:?}", begun.elapsed());
        assert_eq!(mounts_at(&mount.dir), 0);
        until("the reader returns", || cat.try_wait().unwrap());
        drop(held);
        // Nothing of ours is left in tmux, and the session is.
        assert_eq!(mount.lab.tmux_ok(&["list-sessions", "-F", "#{session_name}"]), "demo\n");
        mount.start_again();
    }
}

#[test]
fn umount_with_open_files_says_who_and_lazily_goes() {
    let mut mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let dir = mount.dir.to_str().unwrap().to_owned();
    let mut cat = Command::new("cat");
    let mut cat = cat.arg(mount.path("events")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = cat.id().to_string();
    until_true("it waits", || {
        std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default() == "request_wait_answer"
    });
    let out = muxfs(&mount.lab, &["umount", &dir]);
    assert!(!out.status.success() && said(&out).contains(&format!("{pid} (cat)")), "{}", said(&out));
    assert!(mount.path("demo/status").exists(), "nothing was taken off");
    let out = muxfs(&mount.lab, &["umount", "-l", &dir]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(mounts_at(&mount.dir), 0);
    until("the reader returns", || cat.try_wait().unwrap());
    assert!(mount.ended().success());
    mount.start_again();
    assert!(mount.path("demo/status").exists());
}

#[test]
fn a_foreign_mount_a_used_directory_and_a_mount_of_others_are_refused() {
    let (lab, dir) = lab_with_dir();
    std::fs::write(dir.join("file"), "").unwrap();
    let out = muxfs(&lab, &["mount", dir.to_str().unwrap()]);
    assert!(!out.status.success() && said(&out).contains("not empty"), "{}", said(&out));
    std::fs::remove_file(dir.join("file")).unwrap();
    if nix::unistd::geteuid().is_root() {
        mount(Some("x"), &dir, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let _off = Off(dir.clone());
        let out = muxfs(&lab, &["mount", dir.to_str().unwrap()]);
        assert!(!out.status.success() && said(&out).contains("tmpfs"), "{}", said(&out));
        let out = muxfs(&lab, &["umount", dir.to_str().unwrap()]);
        assert!(!out.status.success() && said(&out).contains("tmpfs"), "{}", said(&out));
        assert_eq!(mounts_at(&dir), 1);
    }
    // A live mount of another node, whose locks lie elsewhere.
    let other = Mount::start();
    let out = muxfs(&lab, &["mount", other.dir.to_str().unwrap()]);
    assert!(!out.status.success() && said(&out).contains("is mounted there"), "{}", said(&out));
    assert!(other.path("status").exists() && mounts_at(&other.dir) == 1);
}

/// Aborts the mount when a test fails, or the processes that hang in it would do so for good.
struct Abort(PathBuf);

impl Drop for Abort {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new("umount").arg("-f").arg(&self.0).status();
        }
    }
}

/// Makes, renames and ends sessions, and says so, until its standard output is closed.
const CHANGES: &str = "import os, sys
n, i = sys.argv[1:3]
while True:
    for f, a in ((os.mkdir, (f'{n}/q{i}',)), (os.rename, (f'{n}/q{i}', f'{n}/r{i}')), (os.rmdir, (f'{n}/r{i}',)), (os.rmdir, (f'{n}/q{i}',))):
        try: f(*a)
        except OSError: pass
        print(i, flush=True)
";

#[test]
fn a_daemon_killed_while_sessions_are_made_and_ended_ends() {
    use std::io::{BufRead, BufReader};
    let mut mount = Mount::start();
    let _abort = Abort(mount.dir.clone());
    for round in 0..8 {
        let mut changers: Vec<_> = (0..3)
            .map(|i| {
                let mut python = Command::new("python3");
                python.args(["-c", CHANGES]).arg(mount.path("")).arg(i.to_string());
                python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        // At another moment of the changes each time.
        let first = BufReader::new(changers[0].stdout.take().unwrap());
        assert_eq!(first.lines().take(3 + round).count(), 3 + round);
        let signal = if round % 2 == 0 { Signal::SIGKILL } else { Signal::SIGTERM };
        let begun = Instant::now();
        mount.end(signal);
        eprintln!("{signal}: ended after {:?}", begun.elapsed());
        for changer in &mut changers {
            changer.kill().unwrap();
            until("its callers end", || changer.try_wait().unwrap());
        }
        mount.start_again();
    }
}

#[test]
fn a_signal_ends_a_mkdir_that_waits_for_the_login_shell() {
    let lab = Lab::new();
    let gate = lab.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(lab.home().join(".bash_profile"), format!("read < {}\n", gate.display())).unwrap();
    let mount = Mount::start_in(lab);
    let _abort = Abort(mount.dir.clone());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut mkdir = Command::new("mkdir").arg(mount.path("demo")).stderr(Stdio::null()).spawn().unwrap();
        until_true("it waits", || {
            let wchan = std::fs::read_to_string(format!("/proc/{}/wchan", mkdir.id()));
            wchan.unwrap_or_default() == "request_wait_answer"
        });
        let begun = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(mkdir.id().cast_signed()), signal).unwrap();
        let status = until("mkdir ends", || mkdir.try_wait().unwrap());
        eprintln!("{signal}: {:?}", begun.elapsed());
        assert!(
            !status.success() && begun.elapsed() < Duration::from_secs(1),
            "{status} {:?}",
            begun.elapsed()
        );
    }
    std::fs::write(&gate, "\n").unwrap();
    mount.sh("mkdir other");
    assert!(!mount.path("demo").exists(), "nothing was made");
    let sessions = mount.lab.tmux_ok(&["list-sessions", "-F", "#{session_name}"]);
    assert!(sessions.contains("other") && !sessions.contains("demo"), "{sessions}");
}
