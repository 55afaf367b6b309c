//! The error table of the tree, row by row, on a real mount and real tmux: each refusal is
//! provoked as a user would, its errno is compared, and so is the line it leaves in `errors`.
//!
//! Rows of other nodes and of turns (EHOSTDOWN, an open dialog, a name used before) are not due.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Mount, until, until_true};

fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(e) => e.raw_os_error().unwrap_or(-1),
    }
}

/// `echo text > file` with all its results: of open, write and close, the first that failed.
fn write(path: &Path, text: &[u8]) -> i32 {
    let mut file = match OpenOptions::new().write(true).truncate(true).open(path) {
        Ok(file) => file,
        Err(e) => return e.raw_os_error().unwrap_or(-1),
    };
    let written = errno(file.write_all(text));
    let closed = nix::unistd::close(file.into_raw_fd());
    if written != 0 { written } else { closed.map_or_else(|e| e as i32, |()| 0) }
}

/// Lines about what somebody asked for; the daemon's own troubles stand beside them.
fn asked(errors: &str) -> impl Iterator<Item = &str> {
    errors.lines().filter(|l| !l.contains("Z muxfs "))
}

/// What `errors` has gained since the last call.
struct Told<'a> {
    mount: &'a Mount,
    seen: usize,
}

impl Told<'_> {
    /// `did` fails with `wanted`, and one line about `at` says `why`.
    #[track_caller]
    fn fails(&mut self, wanted: i32, at: &str, why: &str, did: impl FnOnce(&Mount) -> i32) {
        let got = did(self.mount);
        let name = std::io::Error::from_raw_os_error(got);
        assert_eq!(got, wanted, "{at}: {why}: {name}");
        let seen = self.seen;
        let new = until(&format!("a line in errors about {at:?}: {why}"), || {
            let text = self.mount.read("errors");
            let new: Vec<_> = asked(&text).skip(seen).map(str::to_owned).collect();
            (!new.is_empty()).then_some(new)
        });
        assert_eq!(new.len(), 1, "one refusal is one line: {new:?}");
        // `TIME WHO WHERE WHY`; a `%` in a field is encoded.
        let fields: Vec<_> = new[0].splitn(4, ' ').collect();
        assert!(fields[0].ends_with('Z') && fields[1].starts_with("root:"), "{new:?}");
        assert_eq!(fields[2], if at.is_empty() { "-".to_owned() } else { at.replace('%', "%25") }, "{new:?}");
        assert!(fields[3].contains(why), "{why:?}: {new:?}");
        self.seen += 1;
    }

    /// `did` fails, and there is nothing to say about it: an answer, or the kernel's own.
    #[track_caller]
    fn answers(&self, wanted: i32, did: impl FnOnce(&Mount) -> i32) {
        assert_eq!(did(self.mount), wanted);
        assert_eq!(asked(&self.mount.read("errors")).count(), self.seen);
    }
}

fn told(mount: &Mount) -> Told<'_> {
    Told { mount, seen: asked(&mount.read("errors")).count() }
}

fn started() -> Mount {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    mount
}

#[test]
fn names_that_are_not_there_are_an_answer() {
    let mount = started();
    let told = told(&mount);
    for name in ["nobody/input", "nobody", "demo/nothing", "demo/panes/9.9", "demo/panes/9.9/input"] {
        told.answers(libc::ENOENT, |m| errno(std::fs::metadata(m.path(name))));
        told.answers(libc::ENOENT, |m| write(&m.path(name), b"x\n"));
    }
    told.answers(libc::ENOENT, |m| errno(std::fs::remove_dir(m.path("nobody"))));
    told.answers(libc::ENOENT, |m| errno(std::fs::remove_file(m.path("demo/nothing"))));
    told.answers(libc::ENOENT, |m| errno(std::fs::rename(m.path("nobody"), m.path("other"))));
    told.answers(libc::ENOTDIR, |m| errno(std::fs::metadata(m.path("demo/status/x"))));
    told.answers(libc::ENOTDIR, |m| errno(std::fs::remove_dir(m.path("demo/status"))));
    told.answers(libc::EISDIR, |m| errno(std::fs::read(m.path("demo"))));
}

#[test]
fn a_session_that_ended_is_enxio_on_what_is_open() {
    let mount = started();
    let mut file = OpenOptions::new().write(true).open(mount.path("demo/input")).unwrap();
    let mut ctl = OpenOptions::new().write(true).open(mount.path("demo/ctl")).unwrap();
    mount.sh("rmdir demo");
    let mut told = told(&mount);
    told.fails(libc::ENXIO, "demo/input", "demo", |_| errno(file.write_all(b"echo x\n")));
    told.fails(libc::ENXIO, "demo/ctl", "demo", |_| errno(ctl.write_all(b"start\n")));
    // Another of the same name is another: what was meant for the first reaches nobody.
    mount.sh("mkdir demo; cat demo/wait");
    told.fails(libc::ENXIO, "demo/ctl", "demo", |_| errno(ctl.write_all(b"stop\n")));
    assert!(mount.read("demo/status").contains("state: ready\n"));
}

#[test]
fn a_program_that_ended_takes_no_text() {
    let mount = started();
    let mut told = told(&mount);
    mount.sh("echo stop > demo/ctl");
    until_true("it stopped", || mount.read("demo/status").contains("state: stopped\n"));
    for file in ["demo/input", "demo/text", "demo/keys", "demo/panes/0.0/input"] {
        told.fails(libc::ENXIO, file, "nothing runs in pane", |m| write(&m.path(file), b"x\n"));
    }
}

#[test]
fn shapes_refuse_what_they_have_not() {
    let mount = started();
    let mut told = told(&mount);
    // Root passes the permission bits, and is refused by shape like anyone.
    for file in ["demo/status", "demo/logs", "demo/output", "demo/events", "demo/wait", "index", "errors"] {
        told.fails(libc::EACCES, file, "cannot be", |m| write(&m.path(file), b"x\n"));
    }
    for file in ["demo/input", "demo/text", "demo/keys"] {
        told.answers(libc::EACCES, |m| errno(std::fs::read(m.path(file))));
    }
    told.fails(libc::EACCES, "demo/status", "read", |m| {
        errno(nix::unistd::truncate(&m.path("demo/status"), 0).map_err(Into::into))
    });
}

#[test]
fn what_nobody_may_is_eperm() {
    let mount = started();
    mount.sh("mkdir other; cat other/wait");
    let mut told = told(&mount);
    let fixed = "part of the tree";
    told.fails(libc::EPERM, "demo/input", fixed, |m| errno(std::fs::remove_file(m.path("demo/input"))));
    told.fails(libc::EPERM, "demo/panes", fixed, |m| errno(std::fs::remove_dir(m.path("demo/panes"))));
    told.fails(libc::EPERM, "index", fixed, |m| errno(std::fs::remove_file(m.path("index"))));
    told.fails(libc::EPERM, "demo/ctl", fixed, |m| {
        errno(std::fs::rename(m.path("demo/ctl"), m.path("demo/x")))
    });
    told.fails(libc::EPERM, "demo/dir", "no directory", |m| errno(std::fs::create_dir(m.path("demo/dir"))));
    told.fails(libc::EPERM, "file", "takes no files", |m| errno(std::fs::write(m.path("file"), "x")));
    told.fails(libc::EPERM, "demo/inptu", "input is one", |m| {
        errno(std::fs::write(m.path("demo/inptu"), "x"))
    });
    told.answers(libc::EPERM, |m| errno(std::os::unix::fs::symlink("x", m.path("demo/link"))));
    told.answers(libc::EPERM, |m| errno(std::fs::hard_link(m.path("demo/config"), m.path("demo/link"))));
    told.answers(libc::EPERM, |m| {
        errno(nix::unistd::mkfifo(&m.path("demo/pipe"), nix::sys::stat::Mode::S_IRUSR).map_err(Into::into))
    });
    // The owner is the session's; chmod is allowed, chown is not.
    told.fails(libc::EPERM, "demo/input", "owner", |m| {
        errno(std::os::unix::fs::chown(m.path("demo/input"), Some(65534), None))
    });
    assert_eq!(mount.sh("ls; cat demo/status | grep ^state"), mount.sh("ls; cat other/status | grep ^state"));
}

/// mv must not fall back to copy and delete, so it is never EXDEV within the mount.
#[test]
fn moves_between_directories_are_eperm_and_between_mounts_exdev() {
    let mount = started();
    mount.sh("mkdir other; cat other/wait; touch demo/notes.tmp");
    let mut told = told(&mount);
    let moves = "another directory";
    let mv = |m: &Mount, from: &str, to: &str| errno(std::fs::rename(m.path(from), m.path(to)));
    told.fails(libc::EPERM, "demo", moves, |m| mv(m, "demo", "other/demo"));
    told.fails(libc::EPERM, "demo/config", moves, |m| mv(m, "demo/config", "other/config"));
    told.fails(libc::EPERM, "demo/notes.tmp", moves, |m| mv(m, "demo/notes.tmp", "other/notes.tmp"));
    told.answers(libc::EXDEV, |m| errno(std::fs::rename(m.path("demo/config"), m.lab.path("config.away"))));
    std::fs::write(mount.lab.path("x"), "x").unwrap();
    told.answers(libc::EXDEV, |m| errno(std::fs::rename(m.lab.path("x"), m.path("demo/x"))));
    // So mv(1) says it, and leaves both where they are.
    let out = mount.run("mv demo other");
    assert!(String::from_utf8_lossy(&out.stderr).contains("Operation not permitted"), "{out:?}");
    mount.sh("[ -d demo ] && [ -d other ] && [ -e demo/config ]");
}

#[test]
fn anothers_session_is_ebusy() {
    let mount = started();
    mount.lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "sh"]);
    until_true("it is seen", || mount.path("theirs/input").exists());
    let mut told = told(&mount);
    told.fails(libc::EBUSY, "theirs", "made by others", |m| errno(std::fs::remove_dir(m.path("theirs"))));
    for verb in ["start", "restart"] {
        told.fails(libc::EPERM, "theirs/ctl", "made by others", |m| {
            write(&m.path("theirs/ctl"), format!("{verb}\n").as_bytes())
        });
    }
    told.fails(libc::EINVAL, "theirs/config", "line 2, column 1: cwd", |m| {
        write(&m.path("theirs/config"), b"logs = true\ncwd = '/'\n")
    });
    mount.lab.tmux_ok(&["has-session", "-t", "=theirs"]);
}

#[test]
fn what_cannot_be_understood_is_einval() {
    let mount = started();
    let mut told = told(&mount);
    for (name, why) in [
        ("a:b", "tmux would rewrite"),
        ("a.b", "tmux would rewrite"),
        ("a\\b", "tmux would rewrite"),
        ("%41", "percent-encoded"),
    ] {
        told.fails(libc::EINVAL, name, why, |m| errno(std::fs::create_dir(m.path(name))));
        told.fails(libc::EINVAL, "demo", why, |m| errno(std::fs::rename(m.path("demo"), m.path(name))));
    }
    let sessions = mount.lab.tmux_ok(&["list-sessions", "-F", "#{session_name}"]);
    assert_eq!(sessions.lines().filter(|s| *s != "_muxfs").collect::<Vec<_>>(), ["demo"], "nothing was made");
    told.fails(libc::EINVAL, "x%0Ay", "tmux would rewrite", |m| errno(std::fs::create_dir(m.path("x%0Ay"))));
    told.fails(libc::EINVAL, "", "UTF-8", |m| {
        errno(std::fs::create_dir(m.path("").join(std::ffi::OsStr::from_bytes(b"a\xff"))))
    });
    for (file, line, why) in [
        ("demo/ctl", "frobnicate\n", "frobnicate"),
        ("demo/ctl", "stop now\n", "usage: stop"),
        ("ctl", "new\n", "usage: new NAME"),
        ("ctl", "new x no-such-agent\n", "no-such-agent"),
        ("demo/keys", "Enter NoSuchKey\n", "NoSuchKey"),
        ("demo/config", "sise = 3\n", "line 1, column 1: unknown key sise"),
        ("config", "[nodes]\n", "line 1"),
        ("demo/config", "agent = 'clade'\n", "line 1, column 1: unknown agent \"clade\"; known: agy, aider"),
        ("config", "[turns]\nhold = '5m'\n[agent.clade]\n", "line 3, column 8: unknown agent \"clade\""),
        ("config", "[[sessions]]\nname = 'x'\nagent = 'clade'\n", "line 3, column 1: unknown agent"),
    ] {
        told.fails(libc::EINVAL, file, why, |m| write(&m.path(file), line.as_bytes()));
    }
    // A bad line fails in every shell, at its write.
    for shell in ["bash", "dash", "zsh"] {
        let out = mount.command(shell).args(["-c", "echo frobnicate > demo/ctl"]).output().unwrap();
        assert!(!out.status.success(), "{shell}");
    }
    assert!(mount.read("demo/status").contains("state: ready\n"));
}

#[test]
fn bytes_that_are_no_text_are_eilseq() {
    let mount = started();
    let mut told = told(&mount);
    for file in ["demo/input", "demo/text", "demo/keys", "demo/ctl", "demo/config", "config", "ctl"] {
        told.fails(libc::EILSEQ, file, "UTF-8", |m| write(&m.path(file), b"a\xff\n"));
    }
}

#[test]
fn what_is_too_large_is_efbig() {
    let mount = started();
    let mut told = told(&mount);
    let large = vec![b'#'; (1 << 20) + 1];
    for file in ["demo/input", "demo/text", "demo/keys", "demo/ctl", "demo/config"] {
        told.fails(libc::EFBIG, file, "1048576", |m| write(&m.path(file), &large));
    }
    told.fails(libc::EFBIG, "demo/notes.tmp", "1048576", |m| {
        let file = std::fs::File::create(m.path("demo/notes.tmp")).unwrap();
        errno(std::os::unix::fs::FileExt::write_at(&file, b"x", 1 << 20))
    });
}

#[test]
fn a_name_that_is_taken_is_eexist() {
    let mount = started();
    mount.sh("mkdir other; cat other/wait");
    let told = told(&mount);
    // The kernel knows the name, and answers itself.
    for name in ["demo", "index", "demo/config", "demo/panes"] {
        told.answers(libc::EEXIST, |m| errno(std::fs::create_dir(m.path(name))));
    }
    let mut told = told;
    told.fails(libc::EEXIST, "demo", "there already", |m| {
        errno(std::fs::rename(m.path("demo"), m.path("other")))
    });
    told.fails(libc::EEXIST, "ctl", "there is such a session", |m| write(&m.path("ctl"), b"new demo\n"));
    told.fails(libc::ENOSPC, "demo/65.tmp", "64 scratch files", |m| {
        (0..65)
            .map(|n| errno(std::fs::write(m.path(&format!("demo/{}.tmp", n + 1)), "x")))
            .find(|e| *e != 0)
            .unwrap_or(0)
    });
}

fn server(mount: &Mount) -> Pid {
    Pid::from_raw(mount.lab.tmux_ok(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap())
}

/// A process that stands still until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn at(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).unwrap();
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// So many messages may wait for one pane. Those that wait are sent, each once, when it goes on.
#[test]
fn a_full_queue_is_eagain() {
    const QUEUE: usize = 1000;
    let mount = started();
    let kept = mount.lab.path("kept");
    let stopped = Stopped::at(server(&mount));
    let writers: Vec<_> = (0..QUEUE)
        .map(|n| {
            let (path, text) = (mount.path("demo/input"), format!("echo {n} >>{}\n", kept.display()));
            let small = std::thread::Builder::new().stack_size(64 << 10);
            small.spawn(move || write(&path, text.as_bytes())).unwrap()
        })
        .collect();
    until_true("all of them wait", || mount.read("demo/status").contains(&format!("queue: {QUEUE}\n")));
    let mut told = told(&mount);
    told.fails(libc::EAGAIN, "demo/input", "1000 messages wait", |m| write(&m.path("demo/input"), b"x\n"));
    drop(stopped);
    let failed = writers.into_iter().map(|w| w.join().unwrap()).filter(|e| *e != 0).count();
    assert_eq!(failed, 0);
    assert_eq!(mount.sh("cat demo/wait"), "ready\n");
    let mut got: Vec<usize> =
        std::fs::read_to_string(kept).unwrap().lines().map(|l| l.parse().unwrap()).collect();
    got.sort();
    assert_eq!(got, (0..QUEUE).collect::<Vec<_>>());
}

/// A tmux that does not answer: nothing hangs on it, the limit is 10 s.
#[test]
fn a_tmux_that_hangs_is_etimedout() {
    let mount = started();
    let pid = server(&mount);
    let stopped = Stopped::at(pid);
    let begun = std::time::Instant::now();
    let mut told = told(&mount);
    assert_eq!(errno(std::fs::read(mount.path("demo/screen"))), libc::ETIMEDOUT);
    told.fails(libc::ETIMEDOUT, "demo/input", "10 s", |m| write(&m.path("demo/input"), b"echo x\n"));
    assert!(begun.elapsed().as_secs() < 25, "{:?}", begun.elapsed());
    assert!(mount.sh("ls; cat status index demo/status").contains("demo"), "memory answers meanwhile");
    drop(stopped);
    until_true("it goes on", || std::fs::read(mount.path("demo/screen")).is_ok());
}

#[test]
fn a_tmux_server_that_is_gone_is_enxio_and_comes_back() {
    let mount = started();
    let mut input = OpenOptions::new().write(true).open(mount.path("demo/input")).unwrap();
    mount.lab.tmux_ok(&["kill-server"]);
    until_true("no session is shown", || !mount.path("demo").exists());
    let mut told = told(&mount);
    told.fails(libc::ENXIO, "demo/input", "demo", |_| errno(input.write_all(b"x\n")));
    mount.sh("mkdir demo; cat demo/wait; echo 'echo again' > demo/input; cat demo/wait; grep -qx again demo/output");
}

/// Whatever is asked of whatever is there: no I/O error, which would be a fault of ours.
#[test]
fn nothing_is_an_io_error() {
    let mount = started();
    let out = mount.run(
        "for f in $(find . demo -maxdepth 3 ! -name events ! -name wait); do
           for op in 'cat FILE' 'echo x >FILE' 'echo x >>FILE' 'truncate -s 3 FILE' 'rm FILE' 'rmdir FILE' \
             'mv FILE FILE.x' 'ln FILE FILE.l' 'ln -s x FILE/y' 'mkdir FILE/z' 'touch FILE/inputt' 'mknod FILE/p p' \
             'chmod 640 FILE' 'chown 3 FILE' 'setfattr -n user.x -v y FILE' 'getfattr -d FILE' 'fallocate -l 9 FILE' \
             'flock -n FILE true' 'sync FILE' 'cp FILE /dev/null' 'ls -la FILE' 'stat -f FILE' 'readlink FILE'; do
             timeout 20 bash -c \"${op//FILE/$f}\" || [ $? != 124 ] || echo \"hangs: $op $f\"
           done
         done; true",
    );
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(!said.contains("Input/output error") && !said.contains("hangs:"), "{said}");
    assert!(!mount.said().contains("panicked"), "{}", mount.said());
    assert!(mount.read("status").contains("state: online"), "{}", mount.read("status"));
}
