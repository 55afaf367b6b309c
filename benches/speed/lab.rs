//! What is measured on: directories, a tmux server and a mount that nothing else uses, and their
//! end. Knows no measurements.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest that any one condition is waited for.
const LIMIT: Duration = Duration::from_secs(120);
const NODE: &str = "bench";

/// Waits until `met`, and tells how long it took.
pub fn until(what: &str, step: Duration, mut met: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(step);
    }
    begun.elapsed()
}

pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let lab = Lab { dir: tempfile::Builder::new().prefix("muxb").tempdir_in("/tmp").unwrap() };
        for dir in ["home", "state", "config", "run", "mnt"] {
            std::fs::create_dir(lab.path(dir)).unwrap();
        }
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("TMUX").env("HOME", self.path("home")).env("SHELL", "/bin/bash");
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// `tmux` against this place's server.
    pub fn tmux(&self, args: &[&str]) -> Command {
        let mut command = self.command("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(self.path("tmux")).args(args);
        command
    }

    pub fn tmux_ok(&self, args: &[&str]) -> String {
        let out = self.tmux(args).output().unwrap();
        assert!(out.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Sessions `s0`, `s1`, … with `command` in each; none: a shell.
    pub fn sessions(&self, count: usize, command: &str) {
        for made in (0..count).step_by(50) {
            // Many in one call of tmux; a line has its bounds.
            let mut args: Vec<String> = Vec::new();
            for n in made..count.min(made + 50) {
                args.extend(["new-session", "-d", "-x", "120", "-y", "40", "-s"].map(String::from));
                args.push(format!("s{n}"));
                args.extend((!command.is_empty()).then(|| command.to_owned()));
                args.push(";".into());
            }
            self.tmux_ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    pub fn server_pid(&self) -> Option<i32> {
        let out = self.tmux(&["display-message", "-p", "#{pid}"]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().parse().ok()
    }
}

impl Drop for Lab {
    /// Ends the server and waits for its process; it may hang in its last client.
    fn drop(&mut self) {
        let Some(pid) = self.server_pid() else { return };
        let _ = self.tmux(&["kill-server"]).output();
        let begun = Instant::now();
        // A zombie has ended, though nobody may ask for a while.
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while stat().rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The program, mounted; ended when dropped.
pub struct Mount {
    daemon: Child,
    dir: PathBuf,
    /// From the start of the process to the first answer.
    pub took: Duration,
}

impl Mount {
    pub fn start(lab: &Lab) -> Self {
        let dir = lab.path("mnt");
        let mut command = lab.command(env!("CARGO_BIN_EXE_muxfs"));
        command.env("XDG_STATE_HOME", lab.path("state")).env("XDG_CONFIG_HOME", lab.path("config"));
        command.env("XDG_RUNTIME_DIR", lab.path("run")).env("MUXFS_TMUX_SOCKET", lab.path("tmux"));
        command.env_remove("MUXFS_CONFIG").env("MUXFS_NODE_NAME", NODE);
        command.args(["mount", "-f"]).arg(&dir);
        let begun = Instant::now();
        let daemon = command.spawn().unwrap();
        let status = dir.join(NODE).join("status");
        until("the mount", Duration::from_micros(500), || std::fs::read(&status).is_ok());
        Mount { daemon, dir, took: begun.elapsed() }
    }

    pub fn pid(&self) -> i32 {
        self.daemon.id() as i32
    }

    /// A file of the mount's root.
    pub fn root(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of the node, by its path there.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(NODE).join(path)
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    /// Until so many sessions are there and their logs are kept, the shells ready.
    pub fn wait_for(&self, sessions: usize) {
        until("all sessions", Duration::from_millis(20), || {
            self.read("index").lines().filter(|l| !l.contains(" starting ")).count() == sessions
        });
        for n in 0..sessions {
            until("pipes", Duration::from_millis(20), || self.piped(&format!("s{n}")));
        }
    }

    pub fn piped(&self, session: &str) -> bool {
        std::fs::read_to_string(self.at(&format!("{session}/status"))).is_ok_and(|s| s.contains("logs: pipe"))
    }

    /// This thread and all threads of the daemon on one processor, or on any.
    pub fn pin(&self, pinned: bool) {
        let mut set = CpuSet::new();
        let last = if pinned {
            1
        } else {
            CpuSet::count().min(std::thread::available_parallelism().map_or(64, usize::from).max(64))
        };
        (0..last).for_each(|cpu| set.set(cpu).unwrap());
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten() {
            let tid = task.file_name().to_string_lossy().parse().unwrap();
            let _ = sched_setaffinity(Pid::from_raw(tid), &set); // it may have ended
        }
        sched_setaffinity(Pid::from_raw(0), &set).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let _ = self.daemon.wait();
    }
}

/// A control client of the measuring thread's own: what a round trip costs without any of ours.
pub struct Control {
    child: Child,
    write: Option<ChildStdin>,
    read: ChildStdout,
    buffer: Vec<u8>,
}

impl Control {
    pub fn attach(lab: &Lab, session: &str) -> Self {
        let mut command = lab.tmux(&["-C", "attach-session", "-t", session, "-f", "no-output,ignore-size"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (write, read) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut control = Control { child, write, read, buffer: vec![0; 64 << 10] };
        control.round_trip();
        control
    }

    pub fn round_trip(&mut self) {
        self.write.as_mut().unwrap().write_all(b"display-message -p muxfs-bench\n").unwrap();
        let mut seen = Vec::new();
        while !seen.windows(17).any(|w| w == b"muxfs-bench\n%end ") {
            let n = self.read.read(&mut self.buffer).unwrap();
            assert!(n > 0, "the control client ended");
            seen.extend_from_slice(&self.buffer[..n]);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.write = None; // detaches
        let _ = self.read.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}
