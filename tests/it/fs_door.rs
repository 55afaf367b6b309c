//! The FUSE door on real mounts, with a tree in memory: what real shells, tools and editors do.
//! Knows no tmux. Needs root, /dev/fuse and the tools it names.

#[path = "../../src/fs/fake.rs"]
pub mod fake;

pub mod callers;
mod editors;
mod life;
mod many;
pub mod sizes;
mod unknown;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fake::Fake;
use muxfs_fs::{Device, MountOptions, Mounted, guard, serve};
use muxfs_tree::Tree;
use muxfs_tree::base::error::Kind;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest that any one condition is waited for.
const LIMIT: Duration = Duration::from_secs(20);

pub struct Mux {
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
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let fake = Fake::new();
        Self::mounted(rt, fake.clone(), fake, change)
    }

    /// Of another tree, that `fake` is in.
    pub fn over(rt: Runtime, tree: Arc<dyn Tree>, fake: Arc<Fake>) -> Self {
        Self::mounted(rt, tree, fake, |_| {})
    }

    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.rt.as_ref().unwrap().handle()
    }

    fn mounted(
        rt: Runtime,
        tree: Arc<dyn Tree>,
        fake: Arc<Fake>,
        change: impl FnOnce(&mut MountOptions),
    ) -> Self {
        let (dir, locks) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut options = MountOptions::new(dir.path());
        change(&mut options);
        let device = Device::open(&options, None, guard(locks.path(), &options.dir).unwrap()).unwrap();
        let mounted = serve(device, tree, rt.handle().clone()).unwrap();
        Mux { fake, mounted, rt: Some(rt), dir, _locks: locks }
    }

    pub fn at(&self, path: &str) -> PathBuf {
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
        "700 2 directory\n600 1 regular file\n400 1 regular file\n"
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

#[test]
fn refusals_reach_the_writer_as_early_as_every_shell_sees_them() {
    let mux = Mux::new();
    mux.fake.refuse("n/s/input", Some(Kind::Busy));
    for shell in ["bash", "dash", "zsh"] {
        assert!(!mux.run(shell, "echo x > input").status.success(), "{shell}");
        assert!(!mux.run(shell, "printf 'start\\nBAD\\n' > ctl").status.success(), "{shell}");
        assert!(!mux.run(shell, "echo BAD > keys").status.success(), "{shell}");
        assert!(mux.run(shell, "echo C-c > keys").status.success(), "{shell}");
    }
    assert!(mux.fails("echo x > input").contains("Device or resource busy"));
    mux.fake.refuse("n/s/input", Some(Kind::Unreachable));
    assert!(mux.fails("echo x > input").contains("Host is down"));
    mux.fake.refuse("n/s/input", None);
    assert!(mux.fails("cat input").contains("Permission denied"));
    assert!(mux.fails("echo x > status").contains("Permission denied"));
    assert!(mux.fails("exec 3<>input").contains("Permission denied"));
    assert!(mux.fails("exec 3<>status").contains("Permission denied"));
    assert!(mux.fails("head -c 1100000 /dev/zero > input").contains("File too large"));
    assert!(
        mux.fails(
            "exec 3>input; python3 -c 'import os; os.write(3, b\"x\"*1000000); os.write(3, b\"y\"*1000000)'"
        )
        .contains("File too large")
    );
    // At a close only the program that closes can say so.
    assert!(mux.fails("cp ../index x.tmp; echo BAD > x.tmp; cp x.tmp input").contains("Invalid argument"));
    let sent: Vec<_> = mux.fake.sent().into_iter().map(|(p, t)| format!("{p} {t}")).collect();
    assert_eq!(sent.join(","), ["n/s/ctl start,n/s/keys C-c"; 3].join(","));
    let refused = mux.fake.refusals();
    assert!(refused.iter().any(|r| r.contains("n/s/input: more than 1048576 bytes")), "{refused:?}");
    assert!(refused.iter().any(|r| r == "n/s/input: not admitted"), "{refused:?}");
}

#[test]
fn lines_are_commands_each_and_the_rest_at_the_close() {
    let mux = Mux::new();
    assert_eq!(mux.sh("cat ctl"), "start\nstop\n");
    mux.sh("printf 'one\\n\\n  \\ntwo' > ctl");
    assert_eq!(mux.sent("ctl", 2), ["one", "two"]);
    // A bad line in the middle of one write: what came before is done once, the rest is not.
    let out = mux.fails("python3 -c 'import os; f=os.open(\"ctl\",1); n=os.write(f, b\"a\\nBAD\\nc\\n\"); print(n, flush=True); os.write(f, b\"BAD\\nc\\n\")'");
    assert!(out.contains("Invalid argument"), "{out}");
    assert_eq!(mux.sent("ctl", 1), ["a"]);
    mux.sh("exec 3<>ctl; read -u 3 verb; test $verb = start; echo x >&3");
    assert_eq!(mux.sent("ctl", 1), ["x"]);
}

#[test]
fn a_killed_writer_delivers_nothing() {
    let mux = Mux::new();
    let half = "python3 -c 'import os,time; os.write(1, b\"half\"); os.write(3, b\"!\"); time.sleep(60)'";
    for (script, signal) in [
        (format!("exec {half} > input"), "KILL"),
        (format!("exec {half} > input"), "INT"),
        (format!("exec {half} > config"), "TERM"),
        // A child that wrote dies, and the shell that opened the file goes on.
        (format!("{{ {half}; }} > input; true"), "TERM"),
    ] {
        let mut child = mux.spawn(&format!("exec 3>&1; {script}"));
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap(); // it wrote
        let pid = nix::unistd::Pid::from_raw(child_of(child.id()));
        nix::sys::signal::kill(pid, signal_of(signal)).unwrap();
        child.wait().unwrap();
        until("line in errors", || mux.fake.refusals().iter().any(|r| r.contains("killed by signal")));
    }
    mux.sh("echo after > input");
    assert_eq!(mux.sent("input", 1), ["after\n"]);
    assert_eq!(mux.fake.text("n/s/config"), "a = 1\n");
}

fn kill(child: &Child, signal: &str) {
    let status =
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn blocked_readers_wait_and_end_on_signals_and_at_the_end() {
    let mux = Mux::new();
    let reader = mux.spawn("cat events");
    until("a reader", || mux.fake.readers("n/s/events") == 1);
    mux.fake.line("n/s/events", "{\"one\":1}\n");
    mux.fake.line("n/s/events", "{\"two\":2}\n");
    mux.fake.end_lines("n/s/events");
    let (status, out) = wait(reader);
    assert!(status.success());
    assert_eq!(out, "{\"one\":1}\n{\"two\":2}\n");
    let mut worst = Duration::ZERO;
    for round in 0..10 {
        let mut readers: Vec<Child> =
            ["cat events", "exec cat wait", "dash -c 'read x < events'"].map(|s| mux.spawn(s)).into();
        until("readers", || mux.fake.readers("n/s/events") == 2 && mux.fake.readers("n/s/wait") == 1);
        let signal = if round % 2 == 0 { "KILL" } else { "TERM" };
        for child in &mut readers {
            let pid = child_of(child.id());
            let start = Instant::now();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal_of(signal)).unwrap();
            child.wait().unwrap();
            worst = worst.max(start.elapsed());
        }
        until("no readers", || mux.fake.readers("n/s/events") == 0 && mux.fake.readers("n/s/wait") == 0);
    }
    eprintln!("slowest end of a blocked reader: {worst:?}");
    assert!(worst < Duration::from_millis(1000), "{worst:?}"); // ten times the promise: the machine is shared
    // A signal that is ignored or blocked does not disturb.
    let reader = mux.spawn("trap '' TERM; exec head -n1 events");
    until("a reader", || mux.fake.readers("n/s/events") == 1);
    kill(&reader, "TERM");
    mux.fake.line("n/s/events", "still\n");
    assert_eq!(wait(reader).1, "still\n");
}

fn signal_of(name: &str) -> nix::sys::signal::Signal {
    format!("SIG{name}").parse().unwrap()
}

/// The process itself, or the one child that bash did not become.
fn child_of(pid: u32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().next().map_or(pid as i32, |c| c.parse().unwrap())
}

#[test]
fn poll_epoll_and_nonblock_work_on_streams() {
    let mux = Mux::new();
    let script = r#"
import os, select, sys
f = os.open("events", os.O_RDONLY | os.O_NONBLOCK)
p = select.poll(); p.register(f, select.POLLIN)
e = select.epoll(); e.register(f, select.EPOLLIN)
try: os.read(f, 10); print("read")
except BlockingIOError: print("again")
print(p.poll(50), e.poll(0.05), flush=True)
ev = p.poll(20000); print(ev[0][1] == select.POLLIN, os.read(f, 100), flush=True)
ev = e.poll(20); print(ev[0][1] == select.EPOLLIN, os.read(f, 100), flush=True)
ev = p.poll(20000); print(ev[0][1] == select.POLLIN | select.POLLHUP, os.read(f, 100))
s = os.open("status", os.O_RDONLY); p = select.poll(); p.register(s); print(p.poll(0)[0][1] & select.POLLIN)
"#;
    let mut child = mux.command("python3").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(out.next().unwrap(), "again");
    assert_eq!(out.next().unwrap(), "[] []");
    mux.fake.line("n/s/events", "one\n");
    assert_eq!(out.next().unwrap(), "True b'one\\n'");
    mux.fake.line("n/s/events", "two\n");
    assert_eq!(out.next().unwrap(), "True b'two\\n'");
    mux.fake.end_lines("n/s/events");
    assert_eq!(out.next().unwrap(), "True b''");
    assert_eq!(out.next().unwrap(), "1");
    assert!(child.wait().unwrap().success());
}

#[test]
fn logs_are_followed_and_survive_a_rotation() {
    let mux = Mux::new();
    mux.fake.log("n/s/logs", "one\ntwo\n");
    assert_eq!(
        mux.sh("cat logs; stat -c %s logs; tail -n1 logs; tail -c3 logs; grep -c . logs; wc -c < logs"),
        "one\ntwo\n8\ntwo\nwo\n2\n8\n"
    );
    let mut child = mux.spawn("exec tail -n +1 -s 0.05 -f logs");
    let mut named = mux.spawn("exec tail -n +1 -s 0.05 --max-unchanged-stats=2 -F logs 2>/dev/null");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut names = BufReader::new(named.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!((lines.next().unwrap(), lines.next().unwrap()), ("one".into(), "two".into()));
    mux.fake.log("n/s/logs", "three\n");
    assert_eq!(lines.next().unwrap(), "three");
    for want in ["one", "two", "three"] {
        assert_eq!(names.next().unwrap(), want);
    }
    mux.fake.rotate("n/s/logs");
    mux.fake.log("n/s/logs", "four\n");
    assert_eq!(names.next().unwrap(), "four", "tail -F goes over to the new inode");
    assert_eq!(mux.sh("cat logs"), "four\n");
    for child in [&mut child, &mut named] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Appending is an entry a close; reading it is reading a log.
    mux.sh("echo a >> notes; { echo b; echo c; } >> notes");
    assert_eq!(mux.sent("notes", 2), ["a\n", "b\nc\n"]);
    assert_eq!(mux.sh("cat notes; stat -c %s notes"), "a\nb\nc\n6\n");
}

#[test]
fn a_question_is_answered_on_the_same_handle() {
    let mux = Mux::new();
    assert_eq!(mux.sh("exec 3<>ask; echo q >&3; cat <&3"), "re: q\n");
    assert_eq!(
        mux.sh("exec 3<>ask; printf a >&3; head -c1 <&3; cat <&3; echo; printf b >&3; cat <&3"),
        "re: a\nre: b"
    );
    assert_eq!(
        mux.sh("python3 -c 'f=open(\"ask\",\"r+\"); f.write(\"py\"); f.flush(); print(f.read())'"),
        "re: py\n"
    );
    assert!(mux.fails("cat ask").contains("Invalid argument"));
    mux.fake.answering.send_replace(false);
    mux.sh("echo early > ask");
    let sent = mux.sent("ask", 5);
    assert_eq!(sent.last().unwrap(), "early\n", "{sent:?}");
    let reader = mux.spawn("exec 3<>ask; echo late >&3; cat <&3");
    assert_eq!(mux.sent("ask", 1), ["late\n"]);
    mux.fake.answering.send_replace(true);
    assert_eq!(wait(reader).1, "re: late\n");
}

#[test]
fn items_are_made_by_copying_and_withdrawn_by_rm() {
    let mux = Mux::new();
    mux.sh("cp ../index queue/build-1; cat queue/build-1; ls queue; stat -c %s queue/build-1");
    assert_eq!(mux.sent("queue/build-1", 1), ["s - ready\n"]);
    assert!(mux.fails("cp status queue/build-1").contains("File exists"));
    mux.sh("rm queue/build-1; test ! -e queue/build-1");
    mux.sh("touch queue/empty; cp -p ../index queue/b2; mv queue/b2 /tmp/x.$$ && rm /tmp/x.$$");
    assert!(mux.fails("mkdir queue/d").contains("not permitted"));
    assert!(mux.fails("touch turns/x; exit 1").contains("not permitted"));
}

/// Programs that write a file beside its name and rename it: nothing is delivered until they do.
#[test]
fn an_item_may_be_written_under_another_name_first() {
    let mux = Mux::new();
    let script = "import os, tempfile
fd, name = tempfile.mkstemp(dir='queue')
os.write(fd, b'atomic'); os.fsync(fd); os.close(fd)
os.rename(name, 'queue/job-1')";
    assert_eq!(mux.sh(&format!("python3 -c \"{script}\"; cat queue/job-1; ls queue")), "atomicjob-1\n");
    assert_eq!(mux.sent("queue/job-1", 1), ["atomic"]);
    mux.sh("echo one > $HOME/job-2; rsync -q $HOME/job-2 queue/");
    assert_eq!(mux.sent("queue/job-2", 1), ["one\n"]);
    mux.sh("mv queue/job-2 queue/job-3 && [ ! -e queue/job-2 ] && cat queue/job-3");
    assert_eq!(mux.fake.sent(), []);
}

#[test]
fn a_copy_that_keeps_its_mode_opens_nothing_to_others() {
    let mux = Mux::new();
    let modes = "stat -c %a input ctl ask";
    let script = "echo hi > $HOME/p; chmod 0666 $HOME/p; cp -p $HOME/p input; echo start > $HOME/v; \
                  chmod 0666 $HOME/v; cp -p $HOME/v ctl; cp -p $HOME/p ask";
    assert_eq!(mux.sh(&format!("{script}; {modes}")), "200\n600\n600\n");
    assert_eq!(mux.sh(&format!("chmod 0620 input; {modes}")), "620\n600\n600\n", "sharing is on purpose");
}

#[test]
fn directories_are_made_ended_and_renamed() {
    let mux = Mux::new();
    mux.sh("mkdir ../a; mkdir -p ../a ; cat ../a/status; mv ../a ../b; cat ../b/status; test ! -e ../a");
    for script in [
        "mkdir ../b",
        "mv -T ../b ../s",
        "mkdir x",
        "mkdir -p x/y",
        "mv status x",
        "mv ../b x",
        "ln -s a b",
        "ln status b",
        "mknod p p",
        "touch ../x",
        "echo > ../../x",
        "rm status",
        "rm -r ../b",
        "rmdir queue",
        "mv queue q2",
        "mv ../index ../i",
        "mkdir $'\\xff'",
        "mv -T ../b ../index",
    ] {
        mux.fails(script);
    }
    assert_eq!(mux.sh("cat ../b/status"), "state: ready\n", "rm -r did not end it");
    mux.sh("rmdir ../b; test ! -e ../b; mkdir ../b; cat ../b/status");
    // What other doors do is seen at once, in spite of long cache times.
    mux.sh("ls ../c 2>/dev/null || true; cat ../b/config");
    mux.fake.add_session("n/c");
    assert_eq!(mux.sh("cat ../c/status"), "state: ready\n");
    mux.fake.rename_session("n/c", "n/d");
    until("the new name", || mux.run("bash", "cat ../d/status && ! cat ../c/status").status.success());
    mux.fake.end_session("n/d");
    until("the end", || !mux.run("bash", "test -e ../d || cat ../d/status").status.success());
    // A new session of an old name is not the old directory.
    let mut inside = mux.spawn("cd ../b; exec 3>input; echo; read go < /dev/stdin; cat status; echo x >&3");
    let mut first = [0; 1];
    inside.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    mux.fake.end_session("n/b");
    mux.fake.add_session("n/b");
    let _ = wait(inside);
    assert_eq!(mux.fake.sent(), [], "no text reached the wrong session");
}

#[test]
fn scratch_files_are_ordinary_files_and_slips_are_refused() {
    let mux = Mux::new();
    assert_eq!(
        mux.sh("echo hello > x.tmp; echo more >> x.tmp; cat x.tmp; stat -c '%s %a' x.tmp; truncate -s 3 x.tmp; cat x.tmp; mv x.tmp y.tmp; ls; rm y.tmp; ls | wc -l"),
        "hello\nmore\n11 600\nhelask\nconfig\nctl\nevents\ninput\nkeys\nlogs\nnotes\nqueue\nstatus\nturns\nwait\ny.tmp\n12\n"
    );
    assert!(mux.fails("echo precious > inptu").contains("not permitted"));
    assert!(mux.fake.refusals().iter().any(|r| r.contains("inptu") && r.contains("input is one")));
    assert!(mux.fails("echo x > t; mv t status").contains("not permitted"));
    assert!(mux.fails("head -c 1100000 /dev/zero > big").contains("File too large"));
    assert!(
        mux.fails("rm -f big t; for i in $(seq 65); do echo > f$i.x || exit 1; done")
            .contains("No space left")
    );
    mux.sh("rm f*.x; set -C; echo a > f.x; ! (echo b > f.x) 2>/dev/null; echo c | dd of=f.x conv=notrunc bs=1 seek=5 status=none; od -c f.x | head -1 >/dev/null; mv -n f.x g.x; chmod 640 g.x; stat -c %a g.x; rm g.x");
    assert_eq!(mux.fake.sent(), [], "the tree never sees scratch files");
}
