//! The FUSE door on real mounts, with a tree in memory: what real shells, tools and editors do.
//! Knows no tmux. Needs root, /dev/fuse and the tools it names.

#[path = "../../src/fs/fake.rs"]
mod fake;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fake::Fake;
use muxfs::error::Kind;
use muxfs::fs::{Device, MountOptions, Mounted, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest that any one condition is waited for.
const LIMIT: Duration = Duration::from_secs(20);

struct Mux {
    fake: Arc<Fake>,
    mounted: Mounted,
    rt: Option<Runtime>,
    dir: TempDir,
    _locks: TempDir,
}

impl Mux {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut MountOptions)) -> Self {
        let (fake, dir, locks) = (Fake::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut options = MountOptions::new(dir.path());
        change(&mut options);
        let device = Device::open(&options, None, locks.path()).unwrap();
        let mounted = serve(device, fake.clone(), rt.handle().clone()).unwrap();
        Mux { fake, mounted, rt: Some(rt), dir, _locks: locks }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A command in the session's directory, killed when it takes too long.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "20", program]).current_dir(self.at("n/s"));
        command.env("HOME", self._locks.path()).env("TERM", "xterm").stdin(Stdio::null());
        command
    }

    fn run(&self, shell: &str, script: &str) -> Output {
        self.command(shell).args(["-c", script]).output().unwrap()
    }

    /// Standard output of a script that must succeed.
    fn sh(&self, script: &str) -> String {
        let out = self.run("bash", script);
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{script}: {} {err}", out.status);
        assert_eq!(err, "", "{script}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Standard error of a script that must fail.
    fn fails(&self, script: &str) -> String {
        let out = self.run("bash", script);
        assert!(!out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8(out.stderr).unwrap()
    }

    fn spawn(&self, script: &str) -> Child {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.at("n/s"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Texts delivered to `path` below the session, once there are `count` of them.
    fn sent(&self, path: &str, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        until(&format!("{count} deliveries to {path}"), || {
            let sent = self.fake.sent();
            all.extend(sent.into_iter().filter(|(p, _)| *p == format!("n/s/{path}")).map(|(_, text)| text));
            all.len() >= count
        });
        all
    }

    fn unmount(&self) {
        self.rt.as_ref().unwrap().block_on(self.mounted.unmount()).unwrap();
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.unmount();
        if let Some(rt) = self.rt.take() {
            rt.shutdown_background();
        }
    }
}

/// Waits for a condition, with a limit.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "no {what} within {LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn wait(mut child: Child) -> (std::process::ExitStatus, String) {
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    (child.wait().unwrap(), out)
}

fn is_mounted(dir: &Path) -> bool {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|l| l.split(' ').nth(4) == dir.to_str())
}

#[test]
fn the_tree_is_listed_and_read() {
    let mux = Mux::new();
    assert_eq!(mux.sh("cat status ../index"), "state: ready\ns - ready\n");
    assert_eq!(mux.sh("ls ../../.self/s/config; readlink ../../.self"), "../../.self/s/config\nn\n");
    assert_eq!(
        mux.sh("ls"),
        "ask\nconfig\nctl\nevents\ninput\nkeys\nlogs\nnotes\nqueue\nstatus\nturns\nwait\n"
    );
    assert_eq!(
        mux.sh("stat -c '%a %h %F' . config status"),
        "700 2 directory\n600 1 regular file\n400 1 regular empty file\n"
    );
    assert!(mux.sh("ls -laR ../..").contains("config"));
    assert_eq!(mux.sh("stat -f -c %T ."), "fuseblk\n"); // coreutils' word for FUSE
    assert_eq!(mux.sh("df --output=source . | tail -1"), "muxfs\n");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|l| l.contains(mux.dir.path().to_str().unwrap())).unwrap();
    assert!(line.contains(" fuse.muxfs ") && line.contains("default_permissions"), "{line}");
    // Nothing stays open or known that should not.
    assert_eq!(mux.fake.refusals(), [""; 0]);
}

#[test]
fn one_open_write_close_is_one_message_in_every_shell() {
    let mux = Mux::new();
    for shell in ["bash", "dash", "zsh"] {
        for (script, texts) in [
            ("echo one > input", vec!["one\n"]),
            ("printf 'a\\nb' > input", vec!["a\nb"]),
            ("{ echo a; echo b; } >> input", vec!["a\nb\n"]),
            ("{ cat ../index; cat status; } > input", vec!["s - ready\nstate: ready\n"]),
            ("(echo x; /bin/echo y) > input", vec!["x\ny\n"]),
            ("cat <<E > input\nhere\nE", vec!["here\n"]),
            ("echo t | tee input >/dev/null", vec!["t\n"]),
            ("cp ../index input", vec!["s - ready\n"]),
            ("exec 3>input; echo a >&3; echo b >&3; exec 3>&-", vec!["a\n", "b\n"]),
            ("dd if=../index of=input conv=fsync status=none", vec!["s - ready\n"]),
            ("dd if=../index of=input bs=4 status=none", vec!["s - ready\n"]),
            ("python3 -c 'open(\"input\",\"w\").write(\"py\")'", vec!["py"]),
            (
                "python3 -c 'import subprocess as s; f=open(\"input\",\"w\"); p=s.Popen([\"echo\",\"kid\"],stdout=f); p.wait()'",
                vec!["kid\n"],
            ),
            (": > input; echo end > input", vec!["end\n"]),
        ] {
            let out = mux.run(shell, script);
            assert!(out.status.success(), "{shell} {script}: {}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(mux.sent("input", texts.len()), texts, "{shell}: {script}");
        }
    }
    assert_eq!(mux.fake.refusals(), [""; 0]);
}
