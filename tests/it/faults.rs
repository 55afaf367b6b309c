//! What goes wrong outside muxfs: crashes of the daemon and of tmux, signals, freezers, logs that
//! cannot be written. On a real mount, through a shell.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Mount, until, until_true};

/// A signal ends a blocked reader within 100 ms. Limits in tests are ten times what is promised.
const SIGNAL_LIMIT: Duration = Duration::from_millis(1000);

/// `cat FILE`, blocked.
fn blocked(mount: &Mount, file: &str) -> Child {
    let mut cat = Command::new("cat");
    let cat = cat.arg(mount.path(file)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = cat.spawn().unwrap();
    until_true("cat waits in its read", || {
        if child.try_wait().unwrap().is_some() {
            panic!("{file} did not block: {:?}", ended(&mut child));
        }
        waits_in_fuse(child.id())
    });
    child
}

fn waits_in_fuse(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    // Read of the file it opened itself: 0 is read(2), 0x3 the first descriptor.
    wchan == "request_wait_answer" && text.starts_with("0 0x3 ")
}

fn ended(child: &mut Child) -> (std::process::ExitStatus, String, String) {
    let status = until("it ends", || child.try_wait().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (status, out, err)
}

/// The tmux server dies, and its process is gone: a client that comes in between finds it leaving.
/// (`kill-server` sometimes leaves it asleep for minutes.)
fn end_tmux(mount: &Mount) {
    let pid = mount.lab.tmux_ok(&["display-message", "-p", "#{pid}"]);
    let signalled = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(signalled, Signal::SIGKILL).unwrap();
    until_true("the tmux server has ended", || !Path::new("/proc").join(pid.trim()).exists());
}

/// Kept busy until it is told to go on, so that `wait` blocks.
fn keep_busy(mount: &Mount, session: &str) -> PathBuf {
    let go = mount.lab.path(&format!("go-{session}"));
    let line = format!("until [ -e {} ]; do sleep 0.05; done\n", go.display());
    std::fs::write(mount.path(&format!("{session}/input")), line).unwrap();
    go
}

#[test]
fn a_signal_ends_a_blocked_reader_soon() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let go = keep_busy(&mount, "demo");
    for file in ["demo/events", "demo/wait", "events"] {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
            let mut cat = blocked(&mount, file);
            let begun = Instant::now();
            let pid = nix::unistd::Pid::from_raw(cat.id().cast_signed());
            nix::sys::signal::kill(pid, signal).unwrap();
            let status = cat.wait().unwrap();
            let took = begun.elapsed();
            assert_eq!(status.signal(), Some(signal as i32), "{file}");
            assert!(took < SIGNAL_LIMIT, "{file} {signal}: {took:?}");
            eprintln!("{file} {signal}: {took:?}");
        }
    }
    std::fs::write(go, "").unwrap();
    assert_eq!(mount.sh("cat demo/wait"), "ready\n", "the session is as it was");
}

/// A control group of this test's own, in a freezer that is mounted already.
struct Group {
    dir: PathBuf,
    switch: &'static str,
    words: (&'static str, &'static str),
}

impl Group {
    /// None where this machine has no such freezer, or keeps it from us.
    fn make(kind: &str) -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let find = |fstype: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let f: Vec<&str> = line.split(' ').collect();
                (f[2] == fstype && f[3].split(',').any(|o| o == option)).then(|| PathBuf::from(f[1]))
            })
        };
        let (top, switch, words) = match kind {
            "cgroup2" => (find(kind, "rw")?, "cgroup.freeze", ("1", "0")),
            _ => (find(kind, "freezer")?, "freezer.state", ("FROZEN", "THAWED")),
        };
        let dir = top.join(format!("muxfs-test-{}", std::process::id()));
        std::fs::create_dir(&dir).ok()?;
        Some(Group { dir, switch, words })
    }

    fn set(&self, freeze: bool) {
        let word = if freeze { self.words.0 } else { self.words.1 };
        std::fs::write(self.dir.join(self.switch), word).unwrap();
    }

    fn frozen(&self) -> bool {
        let read = |name: &str| std::fs::read_to_string(self.dir.join(name)).unwrap();
        match self.switch {
            "cgroup.freeze" => read("cgroup.events").contains("frozen 1"),
            _ => read(self.switch).trim() == "FROZEN",
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.set(false);
        let begun = Instant::now();
        while std::fs::remove_dir(&self.dir).is_err() && begun.elapsed() < LIMIT {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_control_group_freezes_although_a_reader_is_blocked() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let go = keep_busy(&mount, "demo");
    // After a first signal the kernel knows that we take no interrupts, and waits differently.
    let mut first = blocked(&mount, "demo/wait");
    first.kill().unwrap();
    first.wait().unwrap();
    let mut tried = 0;
    for kind in ["cgroup2", "cgroup"] {
        let Some(group) = Group::make(kind) else {
            eprintln!("{kind}: no freezer of this kind here");
            continue;
        };
        tried += 1;
        let mut cat = blocked(&mount, "demo/wait");
        std::fs::write(group.dir.join("cgroup.procs"), cat.id().to_string()).unwrap();
        let begun = Instant::now();
        group.set(true);
        until_true("the group is frozen", || group.frozen());
        eprintln!("{kind}: frozen after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{kind}: {:?}", begun.elapsed());
        group.set(false);
        until_true("the reader waits again", || waits_in_fuse(cat.id()));
        assert_eq!(cat.try_wait().unwrap(), None);
        cat.kill().unwrap();
        cat.wait().unwrap();
    }
    if tried == 0 {
        eprintln!("not run: no freezer is mounted that this user may use");
    }
    std::fs::write(go, "").unwrap();
}

#[test]
fn readers_and_pollers_of_a_session_that_ends_return() {
    let mount = Mount::start();
    for how in [
        "rmdir demo",
        "tmux -S $MUXFS_TMUX_SOCKET kill-session -t demo",
        "tmux -S $MUXFS_TMUX_SOCKET kill-server",
    ] {
        mount.sh("mkdir demo; cat demo/wait");
        keep_busy(&mount, "demo");
        let (mut wait, mut events) = (blocked(&mount, "demo/wait"), blocked(&mount, "demo/events"));
        let mut tail = Command::new("tail");
        let tail = tail.args(["-n", "1", "-F"]).arg(mount.path("demo/logs"));
        let mut tail = tail.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The line comes first, and the end right behind it or with it.
        let poll = "import os,select,sys\n\
            f=os.open(sys.argv[1],os.O_RDONLY); p=select.poll(); p.register(f, select.POLLIN)\n\
            e=0\n\
            while not e & select.POLLHUP:\n  e=p.poll()[0][1]; print(e, os.read(f, 99))";
        let mut poller = Command::new("python3");
        let poller = poller.args(["-c", poll]).arg(mount.path("demo/wait"));
        let mut poller = poller.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until_true("it polls", || {
            std::fs::read_to_string(format!("/proc/{}/wchan", poller.id()))
                .unwrap_or_default()
                .contains("poll")
        });
        mount.sh(how);
        let (status, out, err) = ended(&mut wait);
        assert!(status.success() && out == "ended\n", "{how}: wait: {status} {out:?} {err}");
        let (status, out, err) = ended(&mut events);
        assert!(
            status.success() && out.lines().last().unwrap().contains("\"ended\""),
            "{how}: {status} {out} {err}"
        );
        let (status, out, _) = ended(&mut poller);
        let hup = out.lines().any(|l| l.starts_with("17 "));
        assert!(status.success() && hup && out.contains("ended"), "{how}: IN|HUP is told: {out:?}");
        tail.kill().unwrap();
        tail.wait().unwrap();
        until_true("the directory is gone", || !mount.path("demo").exists());
    }
}

#[test]
fn a_new_tmux_server_fills_the_tree_again_without_a_restart() {
    let mut mount = Mount::start();
    mount.sh(
        "mkdir demo && echo 'logs = true\n# kept' > demo/config && chmod 0640 demo/status && chmod 0750 demo",
    );
    mount.lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "sh"]);
    until_true("both are there", || mount.path("theirs/status").exists());
    end_tmux(&mount);
    until_true("the tree is empty", || !mount.path("demo").exists() && !mount.path("theirs").exists());
    assert_eq!(mount.sh("cat index"), "");
    assert!(mount.run("echo x > demo/input").status.code() != Some(0));
    // tmux itself may still be told "server exited" right after the old one's end.
    let again = || mount.lab.tmux(&["new-session", "-d", "-s", "again", "sh"]).status.success();
    until_true("a new server starts", again);
    until_true("what others make is seen", || mount.path("again/status").exists());
    assert!(!mount.path("demo").exists(), "a directory exists exactly while its session does");
    // The record of the one made here stayed.
    mount.sh("mkdir demo");
    assert!(mount.sh("cat demo/config").contains("# kept"));
    assert_eq!(mount.sh("stat -c %a demo demo/status"), "750\n640\n");
    // And it outlives both, the server and the daemon.
    mount.kill9();
    end_tmux(&mount);
    mount.start_again();
    assert!(!mount.path("demo").exists());
    mount.sh("mkdir demo");
    assert!(mount.sh("cat demo/config").contains("# kept"));
    assert_eq!(mount.sh("stat -c %a demo demo/status"), "750\n640\n");
}

#[test]
fn a_crash_under_load_loses_and_doubles_nothing() {
    let mut mount = Mount::start();
    crash_rounds(&mut mount, 1);
}

/// Eight writers and four readers, SIGKILL in the middle, start again; `rounds` times.
fn crash_rounds(mount: &mut Mount, rounds: usize) {
    const WRITERS: usize = 8;
    let begun = Instant::now();
    mount.sh("mkdir plain");
    for w in 0..WRITERS {
        // A program that keeps what it was told, so that what arrived can be counted.
        let got = mount.lab.path(&format!("got{w}"));
        mount.sh(&format!("mkdir w{w} && cat w{w}/wait"));
        let line = format!("while IFS= read -r line; do echo \"$line\" >> {}; done\n", got.display());
        std::fs::write(mount.path(&format!("w{w}/input")), line).unwrap();
        until_true("the counting loop runs", || {
            mount.read(&format!("w{w}/status")).contains("state: busy\n")
        });
    }
    mount.sh("chmod 0640 w0/status; printf '# kept\\n' > w1/config");
    let mut sent = vec![Vec::new(); WRITERS];
    for round in 0..rounds {
        let stop = mount.lab.path(&format!("stop{round}"));
        let mut writers = Vec::new();
        for w in 0..WRITERS {
            // Each line is on record only when its close succeeded; `try` before it.
            let script = format!(
                "n=0; while [ ! -e {stop} ]; do n=$((n+1)); echo try {round}.$n >> {log}; \
                 /bin/echo {round}.$n > {to} 2>/dev/null && echo ok {round}.$n >> {log} || break; done",
                stop = stop.display(),
                log = mount.lab.path(&format!("log{w}")).display(),
                to = mount.path(&format!("w{w}/input")).display(),
            );
            writers.push(Command::new("bash").args(["-c", &script]).spawn().unwrap());
        }
        let mut readers: Vec<_> = ["events", "w0/events", "w1/wait", "plain/events"]
            .iter()
            .map(|f| {
                let mut cat = Command::new("cat");
                cat.arg(mount.path(f)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        let least = 5 + round * 7 % 23;
        until_true("every writer got some through", || {
            (0..WRITERS).all(|w| {
                oks(mount, w).iter().filter(|l| l.starts_with(&format!("{round}."))).count() >= least
            })
        });
        eprintln!("{:?}: written under load", begun.elapsed());
        mount.kill9();
        for mut child in writers.into_iter().chain(readers.drain(..)) {
            until("writers and readers return", || child.try_wait().unwrap());
        }
        std::fs::write(stop, "").unwrap();
        let again = Instant::now();
        mount.start_again();
        eprintln!("{:?}: serves again after {:?}", begun.elapsed(), again.elapsed());
        for w in 0..WRITERS {
            assert!(mount.path(&format!("w{w}")).exists(), "found at once: w{w}");
        }
    }
    for (w, sent) in sent.iter_mut().enumerate() {
        *sent = oks(mount, w);
        // One more, as a mark that everything before it has come.
        std::fs::write(mount.path(&format!("w{w}/input")), "end\n").unwrap();
        let got = || std::fs::read_to_string(mount.lab.path(&format!("got{w}"))).unwrap();
        until_true("the last line has come", || got().ends_with("end\n"));
        let got: Vec<String> = got().lines().map(str::to_owned).filter(|l| l != "end").collect();
        let mut once = got.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), got.len(), "w{w}: nothing comes twice: {got:?}");
        let lost: Vec<_> = sent.iter().filter(|l| !got.contains(l)).collect();
        assert!(lost.is_empty(), "w{w}: accepted and lost: {lost:?}");
        let tried = logged(mount, w, "try ");
        let strange: Vec<_> = got.iter().filter(|l| !tried.contains(l)).collect();
        assert!(strange.is_empty(), "w{w}: torn lines: {strange:?}");
    }
    eprintln!("{:?}: all is there", begun.elapsed());
    // Everything is as it was, and the logs go on.
    assert_eq!(mount.sh("stat -c %a w0/status"), "640\n");
    assert!(mount.sh("cat w1/config").starts_with("# kept\n"));
    let raw = String::from_utf8_lossy(&std::fs::read(mount.path("w0/raw")).unwrap()).into_owned();
    assert!(raw.contains("bytes were not kept while muxfs was not running"));
    mount.sh("echo 'echo after the crash' > plain/input; cat plain/wait");
    until_true("the log goes on", || mount.read("plain/logs").contains("\nafter the crash\n"));
    assert!(mount.read("plain/logs").contains("bytes were not kept"), "{}", mount.read("plain/logs"));
}

fn oks(mount: &Mount, w: usize) -> Vec<String> {
    logged(mount, w, "ok ")
}

fn logged(mount: &Mount, w: usize, what: &str) -> Vec<String> {
    let text = std::fs::read_to_string(mount.lab.path(&format!("log{w}"))).unwrap_or_default();
    text.lines().filter_map(|l| l.strip_prefix(what)).map(str::to_owned).collect()
}

#[test]
fn a_pipe_that_a_dead_daemon_left_is_opened_anew_and_a_users_is_left_alone() {
    let mut mount = Mount::start();
    mount.sh("mkdir demo theirs; cat demo/wait theirs/wait");
    let file = mount.lab.path("theirs.raw");
    mount.kill9();
    mount.start_again();
    until_true("the pipe is ours again", || mount.read("demo/status").contains("logs: pipe\n"));
    mount.kill9();
    // While nobody looks the user sets up a pipe of their own.
    mount.lab.tmux_ok(&["pipe-pane", "-t", "theirs", &format!("exec cat >> {}", file.display())]);
    mount.start_again();
    until_true("theirs is seen", || mount.read("theirs/status").contains("a pipe-pane of its own"));
    mount.sh("echo 'echo for the user' > theirs/input; cat theirs/wait");
    until_true("the user's pipe still gets it", || {
        std::fs::read_to_string(&file).unwrap_or_default().contains("for the user\r\n")
    });
}

#[test]
fn a_tmux_that_hangs_hangs_nobody_else() {
    let mut mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let pid: i32 = mount.lab.tmux_ok(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap();
    let _stopped = Stopped::at(pid);
    let begun = Instant::now();
    for script in ["ls -la . demo", "cat status demo/status index", "tail -n 1 logs"] {
        assert!(mount.run(script).status.success(), "{script}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // What needs tmux ends as well, with an error and not by the time limit of `run` (124).
    let out = mount.run("/bin/echo x > demo/input");
    assert!(!out.status.success() && out.status.code() != Some(124), "{out:?}");
    let status = mount.end(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    eprintln!("with tmux stopped, all of it took {:?}", begun.elapsed());
    mount.start_again();
    drop(_stopped);
    until_true("it is seen when tmux answers again", || mount.path("demo/status").exists());
    assert_eq!(mount.sh("cat demo/wait"), "ready\n");
}

/// A process that stands still until this is dropped.
struct Stopped(nix::unistd::Pid);

impl Stopped {
    fn at(pid: i32) -> Self {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn logs_that_cannot_be_written_keep_nobody_from_working() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not run: only root can mount a file system read-only here");
    }
    let mut mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    mount.end(Signal::SIGTERM);
    let _hidden = ReadOnly::over(&mount.lab.path("state/muxfs/logs"));
    mount.start_again();
    assert_eq!(mount.sh("echo 'echo still here' > demo/input; cat demo/wait"), "ready\n");
    let output = mount.sh("cat demo/output; cat demo/status demo/logs errors");
    assert!(output.contains("\nstill here\n"), "{output}");
    until_true("status says what is wrong", || mount.read("demo/status").contains("Read-only"));
    mount.sh("mkdir other; cat other/wait; rmdir other");
}

/// A directory made read-only by a mount of its own.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn over(dir: &Path) -> Self {
        let run =
            |args: &[&str]| assert!(Command::new("mount").args(args).arg(dir).status().unwrap().success());
        run(&["--bind", dir.to_str().unwrap()]);
        run(&["-o", "remount,bind,ro"]);
        ReadOnly(dir.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

mod soak {
    //! The same at length, for the long runs.

    use super::*;

    #[test]
    #[ignore = "soak: thirty crashes take minutes"]
    fn thirty_crashes_under_load() {
        let mut mount = Mount::start();
        crash_rounds(&mut mount, 30);
    }
}
