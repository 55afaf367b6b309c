//! tmux stands still, or ends our client alone: limits do not add up, nothing is done late, and
//! nothing is taken for the end of a session. On a real mount.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::support::{Mount, until, until_true};

/// What a wait on tmux takes at most, and what a busy machine adds to it.
const ANSWER: Duration = Duration::from_secs(15);

/// How something ended, and when.
type Ended = (&'static str, std::io::Result<()>, Duration);

/// A message, with what its close says.
fn send(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    Ok(nix::unistd::close(file)?)
}

fn tmux(mount: &Mount) -> nix::unistd::Pid {
    let pid = mount.lab.tmux_ok(&["display-message", "-p", "#{pid}"]);
    nix::unistd::Pid::from_raw(pid.trim().parse().unwrap())
}

#[test]
fn a_stopped_tmux_holds_nobody_longer_than_one_limit() {
    let mount = Mount::start();
    let got = mount.lab.path("got");
    let record = format!("stty raw; exec cat > {}", got.display());
    mount.lab.tmux_ok(&["new-session", "-d", "-s", "rec", &record]);
    until_true("it records", || got.exists() && mount.path("rec/input").exists());
    mount.sh("mkdir demo; cat demo/wait");
    let server = tmux(&mount);
    kill(server, Signal::SIGSTOP).unwrap();

    let begun = Instant::now();
    let (input, dir) = (mount.path("rec/input"), mount.path(""));
    let ended: Vec<Ended> = std::thread::scope(|s| {
        let mut all = Vec::new();
        for n in 0..7 {
            let input = &input;
            all.push(s.spawn(move || ("write", send(input, &format!("prompt {n}\n")), begun.elapsed())));
        }
        let dir = &dir;
        all.push(s.spawn(move || ("mkdir", std::fs::create_dir(dir.join("new")), begun.elapsed())));
        all.push(s.spawn(move || {
            ("rename", std::fs::rename(dir.join("demo"), dir.join("other")), begun.elapsed())
        }));
        all.push(s.spawn(move || ("index", std::fs::read(dir.join("index")).map(drop), begun.elapsed())));
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (what, result, took) in &ended {
        assert!(*took < ANSWER, "{what} took {took:?}: {ended:?}");
        match result {
            Ok(()) => assert_eq!(*what, "index"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::TimedOut, "{what}: {ended:?}"),
        }
    }
    // Who comes later is told at once.
    let later = Instant::now();
    assert_eq!(send(&input, "later\n").unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(later.elapsed() < Duration::from_secs(5), "{:?}", later.elapsed());

    kill(server, Signal::SIGCONT).unwrap();
    until_true("tmux takes messages again", || send(&input, "after\n").is_ok());
    let arrived = || String::from_utf8_lossy(&std::fs::read(&got).unwrap()).replace('\r', "\n");
    until_true("one arrives", || arrived().contains("after"));
    assert!(!arrived().contains("prompt") && !arrived().contains("later"), "{}", arrived());
    assert!(mount.path("demo/status").exists() && !mount.path("new").exists());
}

#[test]
fn a_lost_client_ends_no_session() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let go = mount.lab.path("go");
    let busy = format!("until [ -e {} ]; do sleep 0.05; done\n", go.display());
    std::fs::write(mount.path("demo/input"), busy).unwrap();
    let inode = |name: &str| std::fs::metadata(mount.path(name)).unwrap().ino();
    let before = (inode("demo"), inode("demo/input"));
    until_true("it is busy", || mount.read("demo/status").contains("state: busy"));
    let wait = mount.command("cat").arg("demo/wait").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let events =
        mount.command("cat").arg("demo/events").stdout(std::process::Stdio::piped()).spawn().unwrap();

    let client = || mount.lab.tmux_ok(&["list-clients", "-F", "#{client_pid}"]).trim().to_owned();
    for how in [&["detach-client", "-s", "_muxfs"][..], &["kill-session", "-t", "=_muxfs:"], &["kill -9"]] {
        let old = until("a client of ours", || Some(client()).filter(|c| !c.is_empty() && !c.contains('\n')));
        match how {
            ["kill -9"] => {
                kill(nix::unistd::Pid::from_raw(old.parse().unwrap()), Signal::SIGKILL).unwrap();
            }
            _ => drop(mount.lab.tmux_ok(how)),
        }
        // Never out of sight, from the moment it went.
        until_true("another client of ours", || {
            assert_eq!(before, (inode("demo"), inode("demo/input")), "{how:?}");
            let now = client();
            !now.is_empty() && now != old
        });
        mount.sh("printf ' ' > demo/text");
    }
    std::fs::write(go, "").unwrap();
    let said = wait.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "ready\n");
    mount.sh("rmdir demo");
    let told = events.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.matches("\"ended\"").count(), 1, "{told}");
}

/// The hook runs between the command that makes the session and those that make it ours.
#[test]
fn a_session_whose_making_a_hook_holds_up_is_ours_all_the_same() {
    let mount = Mount::start();
    mount.lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "cat"]);
    until_true("tmux is seen", || mount.path("theirs").exists());
    mount.lab.tmux_ok(&["set-hook", "-g", "after-new-session", "wait-for never"]);
    for name in ["demo", "$1"] {
        let made = std::fs::create_dir(mount.path(name)).unwrap_err();
        assert_eq!(made.kind(), ErrorKind::TimedOut, "{made}");
        until_true("the next look finds it", || mount.path(name).join("status").exists());
        assert!(mount.read("errors").contains(&format!("{name} it was made")), "{}", mount.read("errors"));
        assert!(mount.sh(&format!("stat -c %A '{name}/config'")).starts_with("-rw"), "its config is its own");
        let sessions = mount.lab.tmux_ok(&["list-sessions", "-F", "#{session_name} #{@muxfs}"]);
        let [_, id] =
            sessions.lines().find(|l| l.starts_with(name)).unwrap().split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{sessions}")
        };
        assert!(!id.is_empty(), "{sessions}");
    }
    mount.lab.tmux_ok(&["set-hook", "-gu", "after-new-session"]);
    // One of a person's that bears the name of a session that was ours is theirs.
    mount.lab.tmux_ok(&["kill-session", "-t", "=demo:"]);
    until_true("it is gone", || !mount.path("demo").exists());
    mount.lab.tmux_ok(&["new-session", "-d", "-s", "demo", "cat"]);
    until_true("another is there", || mount.path("demo").exists());
    assert_eq!(mount.lab.tmux_ok(&["display-message", "-p", "-t", "=demo:", "#{@muxfs}"]), "\n");
    mount.sh("rmdir '$1'; mkdir again; cat again/wait; rmdir again");
}

#[test]
fn a_window_whose_opening_a_hook_holds_up_has_the_main_pane_all_the_same() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let pane = mount.read("demo/status").lines().find_map(|l| l.strip_prefix("pane: ").map(str::to_owned));
    mount.lab.tmux_ok(&["new-window", "-d", "-t", "=demo:", "cat"]);
    mount.lab.tmux_ok(&["kill-pane", "-t", &pane.unwrap()]);
    until_true("its pane is gone", || mount.read("demo/status").contains("evidence: pane gone"));
    mount.lab.tmux_ok(&["set-hook", "-g", "after-new-window", "wait-for never"]);
    let started = std::fs::write(mount.path("demo/ctl"), "start\n").unwrap_err();
    assert_eq!(started.kind(), ErrorKind::TimedOut, "{started}");
    until_true("the next look finds it", || mount.read("demo/status").contains("state: ready"));
    assert!(mount.read("errors").contains("demo it was started"), "{}", mount.read("errors"));
    let windows = || mount.lab.tmux_ok(&["list-windows", "-t", "=demo:", "-F", "#{remain-on-exit}"]);
    until_true("it is one of ours", || windows() == "off\non\n");
    let again = std::fs::write(mount.path("demo/ctl"), "start\n").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ResourceBusy, "{again}");
    mount.lab.tmux_ok(&["set-hook", "-gu", "after-new-window"]);
    mount.sh("echo 'echo here' > demo/input; cat demo/wait; grep '^here' demo/output");
    assert_eq!(windows().lines().count(), 2);
    mount.sh("rmdir demo");
}
