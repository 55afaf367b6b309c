//! Files that block, on a real mount: what ends a wait, and how soon. Knows the tree's contract.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use muxfs_tmux::process::version_of;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{LIMIT, Mount, until, until_true};

/// 100 ms, times ten for busy machines.
const SOON: Duration = Duration::from_secs(1);

/// The sentence of the manual, typed as it stands there, in three shells.
#[test]
fn wait_waits_for_make() {
    let mount = Mount::start();
    let work = mount.lab.path("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("Makefile"), "all:\n\t@sleep 1; date > done\n").unwrap();
    for shell in ["bash", "dash", "zsh"] {
        std::fs::create_dir(mount.path(shell)).unwrap();
        let config = format!("command = {shell:?}\ncwd = {work:?}\n");
        std::fs::write(mount.path(&format!("{shell}/config")), config).unwrap();
        until_true("the configured shell runs", || {
            let status = mount.read(&format!("{shell}/status"));
            status.contains("pending: -\n") && status.contains(&format!("command: {shell}\n"))
        });
        {
            let begun = Instant::now();
            let line = format!("echo 'sleep 2; make' > {shell}/input; cat {shell}/wait");
            let out = mount.command(shell).args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "ready\n", "{shell}");
            assert!(work.join("done").exists(), "{shell}: before make's end, after {:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(8), "{shell}: {:?}", begun.elapsed());
            std::fs::remove_file(work.join("done")).unwrap();
        }
    }
}

/// Starts `cat` on a file and waits until it is in its read.
fn blocked(mount: &Mount, file: &str) -> Child {
    let mut cat = std::process::Command::new("cat");
    let child = cat.arg(mount.path(file)).stdout(Stdio::piped()).spawn().unwrap();
    until_true("cat is in its read", || {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        call.starts_with("0 0x3 ") // read(2) on what it opened first
    });
    child
}

#[test]
fn a_signal_ends_a_blocked_reader() {
    let mount = Mount::start();
    std::fs::create_dir(mount.path("demo")).unwrap();
    std::fs::write(mount.path("demo/input"), "sleep 1000\n").unwrap();
    until_true("it is busy", || mount.read("demo/status").contains("state: busy\n"));
    let mut worst = Duration::ZERO;
    for file in ["demo/events", "demo/wait", "events"] {
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let mut cat = blocked(&mount, file);
            let begun = Instant::now();
            kill(Pid::from_raw(cat.id() as i32), signal).unwrap();
            let status = cat.wait().unwrap();
            worst = worst.max(begun.elapsed());
            assert_eq!(status.signal(), Some(signal as i32), "{file}");
            assert!(begun.elapsed() < SOON, "{file}, {signal}: {:?}", begun.elapsed());
        }
    }
    println!("longest: {worst:?}");
    // One reader's signal is nobody else's.
    let (mut one, mut other) = (blocked(&mount, "demo/events"), blocked(&mount, "demo/events"));
    one.kill().unwrap();
    one.wait().unwrap();
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
}

/// A signal that is ignored or blocked must not end a read with an error.
#[test]
fn an_ignored_signal_ends_nothing() {
    let mount = Mount::start();
    std::fs::create_dir(mount.path("demo")).unwrap();
    let mut cat = mount.command("bash");
    cat.args(["-c", "trap '' USR1; echo $$; exec cat demo/events"]).stdout(Stdio::piped());
    let mut cat = cat.spawn().unwrap();
    let mut out = std::io::BufReader::new(cat.stdout.take().unwrap());
    let mut pid = String::new();
    std::io::BufRead::read_line(&mut out, &mut pid).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    until_true("cat is in its read", || {
        std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default().starts_with("0 0x3 ")
    });
    kill(Pid::from_raw(pid), Signal::SIGUSR1).unwrap();
    // The event comes after many looks for signals would have.
    std::fs::write(mount.path("demo/input"), "sleep 0.5\n").unwrap();
    assert_eq!(mount.read("demo/wait"), "ready\n");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    cat.wait().unwrap();
}

/// What a child printed, once it has ended by itself.
fn rest(what: &str, mut child: Child) -> String {
    let status = until(what, || child.try_wait().unwrap());
    assert!(status.success(), "{what}: {status}");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn ends_under_readers(mount: &Mount, name: &str, end: impl FnOnce()) {
    std::fs::create_dir(mount.path(name)).unwrap();
    std::fs::write(mount.path(&format!("{name}/input")), "sleep 1000\n").unwrap();
    until_true("it is busy", || mount.read(&format!("{name}/status")).contains("state: busy\n"));
    let (events, wait) = (blocked(mount, &format!("{name}/events")), blocked(mount, &format!("{name}/wait")));
    let open = |file: &str| {
        let nonblocking = nix::libc::O_NONBLOCK;
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(mount.path(&format!("{name}/{file}")))
            .unwrap()
    };
    let mut files = [open("events"), open("wait")];
    for file in &mut files {
        let e = file.read(&mut [0; 100]).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
    }
    // One thread a file sits in poll(2) when the end comes.
    let pollers: Vec<_> = files
        .into_iter()
        .map(|mut file| {
            std::thread::spawn(move || {
                let mut text = String::new();
                loop {
                    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
                    let limit = PollTimeout::try_from(LIMIT).unwrap();
                    assert_eq!(poll(&mut fds, limit).unwrap(), 1, "poll came back by its limit");
                    let seen = fds[0].revents().unwrap();
                    let mut buf = [0; 4096];
                    let n = file.read(&mut buf).unwrap();
                    text.push_str(std::str::from_utf8(&buf[..n]).unwrap());
                    if n == 0 {
                        return (seen, text);
                    }
                }
            })
        })
        .collect();
    end();
    assert_eq!(rest("wait ends", wait), "ended\n");
    let last = rest("events end", events);
    assert!(last.lines().last().is_some_and(|l| l.contains("\"ended\"")), "{last}");
    let mut seen = pollers.into_iter().map(|p| p.join().unwrap());
    let (flags, text) = seen.next().unwrap();
    assert!(text.lines().last().is_some_and(|l| l.contains("\"ended\"")), "{text}");
    assert!(flags.contains(PollFlags::POLLIN | PollFlags::POLLHUP), "events: {flags:?}");
    let (flags, text) = seen.next().unwrap();
    assert_eq!(text, "ended\n");
    assert!(flags.contains(PollFlags::POLLIN | PollFlags::POLLHUP), "wait: {flags:?}");
    until_true("the directory is gone", || !mount.path(name).exists());
}

#[test]
fn rmdir_ends_readers_and_pollers() {
    let mount = Mount::start();
    ends_under_readers(&mount, "demo", || std::fs::remove_dir(mount.path("demo")).unwrap());
}

#[test]
fn a_session_killed_in_tmux_ends_readers_and_pollers() {
    let mount = Mount::start();
    ends_under_readers(&mount, "demo", || drop(mount.lab.tmux_ok(&["kill-session", "-t", "=demo"])));
}

#[test]
fn the_end_of_the_tmux_server_ends_readers_and_pollers() {
    let mount = Mount::start();
    ends_under_readers(&mount, "demo", || drop(mount.lab.tmux_ok(&["kill-server"])));
}

/// tmux says that a pane is dead before it says how: the number must not be missed.
#[test]
fn wait_tells_the_exit_status_every_time() {
    let mount = Mount::start();
    std::fs::create_dir(mount.path("demo")).unwrap();
    for n in 1..=20 {
        std::fs::write(mount.path("demo/input"), format!("exit {n}\n")).unwrap();
        assert_eq!(mount.read("demo/wait"), format!("exited {n}\n"));
        std::fs::write(mount.path("demo/ctl"), "start\n").unwrap();
        assert_eq!(mount.read("demo/wait"), "ready\n");
    }
    std::fs::write(mount.path("demo/input"), "kill -KILL $$\n").unwrap();
    // tmux 3.2 never tells a signal: the end is known when it was waited for.
    let version = mount.read("status").lines().find_map(|l| Some(version_of(l.strip_prefix("tmux: ")?)));
    let tells = version.flatten() >= Some((3, 3));
    assert_eq!(mount.read("demo/wait"), if tells { "exited signal 9\n" } else { "exited\n" });
}

/// A restart for a saved config is not lost where tmux sees the old program's end late.
#[test]
fn a_pending_restart_always_happens() {
    let mount = Mount::start();
    std::fs::create_dir(mount.path("demo")).unwrap();
    for n in 0..25 {
        std::fs::write(mount.path("demo/config"), format!("[env]\nN = \"{n}\"\n")).unwrap();
        until_true("restarted", || mount.read("demo/status").contains("pending: -\n"));
        assert_eq!(mount.read("demo/wait"), "ready\n");
    }
    assert_eq!(mount.read("errors"), "");
}
