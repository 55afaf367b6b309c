//! Callers that hold something up while they wait for the door: an exec lock, a directory's lock.

use std::os::unix::process::{CommandExt, ExitStatusExt};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// 100 or 200 ms are promised; ten times that for busy machines.
const SOON: Duration = Duration::from_secs(1);

/// Writes, then calls execve(2) with the descriptor close-on-exec: the kernel closes it inside
/// execve, with the caller's exec lock held, and waits there for our answer to the FLUSH.
const EXEC: &str = "import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, sys.argv[2].encode())
if sys.argv[3] == 'exec': os.execv('/bin/true', ['true'])
os.waitpid(os.posix_spawn('/bin/true', ['true'], os.environ), 0)
os.close(fd)
";

/// Unmounts by force when a test fails, or its processes would hang in the kernel for good.
struct Force<'a>(&'a Mux);

impl Drop for Force<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = nix::mount::umount2(self.0.dir.path(), nix::mount::MntFlags::MNT_FORCE);
        }
    }
}

impl Mux {
    fn exec(&self, path: &str, text: &str, how: &str) -> Child {
        let mut python = Command::new("python3");
        python.args(["-c", EXEC]).arg(self.at(path)).args([text, how]);
        python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }
}

#[test]
fn a_writer_that_calls_execve_is_answered_like_any_other() {
    let mux = Mux::new();
    let _force = Force(&mux);
    for (path, text) in [("n/s/input", "hello\n"), ("n/s/config", "a = 2\n"), ("n/s/ctl", "start")] {
        for how in ["exec", "spawn"] {
            // More of them than there are event loops.
            let mut callers: Vec<_> = (0..4).map(|_| mux.exec(path, text, how)).collect();
            until(&format!("end of the writers to {path} ({how})"), || {
                callers.iter_mut().all(|c| c.try_wait().unwrap().is_some())
            });
            assert!(callers.iter_mut().all(|c| c.wait().unwrap().success()), "{path} {how}");
        }
    }
    assert_eq!(mux.sent("input", 8), ["hello\n"; 8]);
    assert_eq!(mux.sh("cat status"), "state: ready\n");
}

/// The list in `src/tree/base/offload.rs`: what an event loop may read of a caller.
#[test]
fn status_and_statm_of_a_caller_inside_execve_are_answered() {
    let mux = Mux::new();
    let _force = Force(&mux);
    mux.fake.stall("n/s/input", true);
    let mut caller = mux.exec("n/s/input", "hello\n", "exec");
    until("FLUSH inside execve", || mux.fake.waiting() == 1);
    for file in ["status", "statm", "cgroup", "comm"] {
        let (path, (said, heard)) = (format!("/proc/{}/{file}", caller.id()), std::sync::mpsc::channel());
        std::thread::spawn(move || said.send(std::fs::read_to_string(path)));
        let text =
            heard.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{file} waits for the caller")).unwrap();
        assert!(file != "statm" || !text.starts_with("0 "), "it has not begun to exit: {text}");
    }
    mux.fake.stall("n/s/input", false);
    until("end of the writer", || caller.try_wait().unwrap().is_some());
    assert_eq!(mux.sent("input", 1), ["hello\n"]);
}

/// A program that exits without a close is no program that was killed.
#[test]
fn what_an_exiting_program_wrote_is_delivered_and_what_a_killed_one_wrote_is_not() {
    let mux = Mux::new();
    let script = |end: &str| {
        format!("import os, signal; fd = os.open('input', os.O_WRONLY); os.write(fd, b'{end}'); {end}")
    };
    let run = |end: &str| mux.command("python3").args(["-c", &script(end)]).output().unwrap();
    assert!(run("os._exit(0)").status.success());
    assert_eq!(mux.sent("input", 1), ["os._exit(0)"]);
    run("os.kill(0+os.getpid(), signal.SIGKILL)");
    let mut refusals = Vec::new();
    until("a line that says so", || {
        refusals.extend(mux.fake.refusals());
        refusals.iter().any(|line| line.contains("killed by signal 9"))
    });
    assert_eq!(mux.fake.sent(), []);
}

/// The answer of something that could hang.
pub fn answered<T: Send + 'static>(what: &str, ask: impl FnOnce() -> T + Send + 'static) -> T {
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || said.send(ask()));
    let begun = Instant::now();
    let answer = heard.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{what}: no answer"));
    eprintln!("{what}: {:?}", begun.elapsed());
    assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
    answer
}

#[test]
fn a_stalled_mkdir_holds_up_its_own_directory_alone() {
    let mux = Mux::new();
    let _force = Force(&mux);
    mux.fake.add_node("m");
    for session in ["m/a", "m/b", "n/b"] {
        mux.fake.add_session(session);
        assert!(mux.at(session).join("status").exists(), "the kernel knows {session} from now on");
    }
    mux.fake.stall("m/new", true);
    let mut maker = Command::new("mkdir").arg(mux.at("m/new")).spawn().unwrap();
    until("mkdir under way", || mux.fake.waiting() == 1);
    // Its caller holds the directory's lock.
    mux.fake.end_session("m/a");
    mux.fake.end_session("n/b");
    let (gone, known) = (mux.at("n/b"), mux.at("m/b/status"));
    answered("a name of another directory goes", move || until("end of n/b", || !gone.exists()));
    assert!(answered("a known name of its own", move || known.exists()));
    let (from, to) = (mux.at("n/s"), mux.at("n/t"));
    answered("a rename in another directory", move || std::fs::rename(from, to)).unwrap();
    let unknown = mux.at("n/none");
    assert!(!answered("an unknown name of another directory", move || unknown.exists()));
    assert!(maker.try_wait().unwrap().is_none(), "all that while mkdir waited");
    mux.fake.stall("m/new", false);
    until("end of mkdir", || maker.try_wait().unwrap().is_some());
    until("end of m/a", || !mux.at("m/a").exists());
    assert!(mux.at("m/new/status").exists());
}

/// The caller of rmdir holds the lock of the directory that goes, too.
#[test]
fn what_goes_out_of_date_below_a_stalled_rmdir_holds_up_no_other_directory() {
    use std::os::unix::fs::MetadataExt;
    let mux = Mux::new();
    let _force = Force(&mux);
    mux.fake.add_session("n/old");
    let inode = |path: &str| mux.at(path).metadata().unwrap().ino();
    let (old, other) = (inode("n/old/logs"), inode("n/s/logs"));
    mux.fake.stall("n/old", true);
    let mut remover = Command::new("rmdir").arg(mux.at("n/old")).spawn().unwrap();
    until("rmdir under way", || mux.fake.waiting() == 1);
    mux.fake.rotate("n/old/logs");
    mux.fake.rotate("n/s/logs");
    let path = mux.at("n/s/logs");
    answered("another inode under a name elsewhere", move || {
        until("rotation", || path.metadata().unwrap().ino() != other);
    });
    assert!(remover.try_wait().unwrap().is_none(), "all that while rmdir waited");
    kill(Pid::from_raw(remover.id().cast_signed()), Signal::SIGKILL).unwrap();
    until("end of rmdir", || remover.try_wait().unwrap().is_some());
    // Now that nobody holds the lock, the kernel hears of the first one, too.
    until("the rotation below", || inode("n/old/logs") != old);
    mux.fake.stall("n/old", false);
    until("end of n/old", || !mux.at("n/old").exists());
}

/// Calls that wait: what is run in the session's directory, and the path whose operation waits.
const CALLS: &[(&str, &str)] = &[
    ("cat status", "n/s/status"),
    ("head -c 6 $MUX/start | dd of=ctl conv=notrunc status=none", "n/s/ctl"),
    ("cp $MUX/start input", "n/s/input"),
    ("cp $MUX/start queue/SIGNAL", "n/s/queue/SIGNAL"),
    ("cp --no-preserve=all $MUX/start config", "n/s/config"),
    ("chmod 640 status", "n/s/status"),
    ("mkdir ../new-SIGNAL", "n/new-SIGNAL"),
    ("rmdir ../old-SIGNAL", "n/old-SIGNAL"),
    ("mv ../from-SIGNAL ../to-SIGNAL", "n/from-SIGNAL"),
    ("rm queue/item-SIGNAL", "n/s/queue/item-SIGNAL"),
];

#[test]
fn a_signal_ends_every_call_that_waits() {
    let mux = Mux::new();
    let _force = Force(&mux);
    std::fs::write(mux._locks.path().join("start"), "start\n").unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        for name in ["old", "from"] {
            mux.fake.add_session(&format!("n/{name}-{signal}"));
        }
        std::fs::write(mux.at(&format!("n/s/queue/item-{signal}")), "text").unwrap();
        for (script, path) in CALLS {
            let (script, path) =
                (script.replace("SIGNAL", signal.as_str()), path.replace("SIGNAL", signal.as_str()));
            mux.fake.stall(&path, true);
            // The last command of a script is the process itself.
            let mut bash = Command::new("bash");
            bash.args(["-c", &script.replace("| dd", "| exec dd")]).current_dir(mux.at("n/s"));
            bash.env("MUX", mux._locks.path()).stdin(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut child = bash.spawn().unwrap();
            until(&format!("wait of {script}"), || mux.fake.waiting() == 1);
            let begun = Instant::now();
            kill(Pid::from_raw(-child.id().cast_signed()), signal).unwrap();
            until(&format!("end of {script} by {signal}"), || child.try_wait().unwrap().is_some());
            eprintln!("{signal} {script}: {:?}", begun.elapsed());
            assert!(begun.elapsed() < SOON, "{signal} {script}: {:?}", begun.elapsed());
            let status = child.wait().unwrap();
            assert!(status.signal().is_some() || status.code() != Some(0), "{signal} {script}: {status}");
            mux.fake.stall(&path, false);
            until("nothing waits", || mux.fake.waiting() == 0);
        }
        // What had not begun is taken back, what must not be left half done is done.
        let here = |name: &str| mux.at(&format!("n/{name}-{signal}")).exists();
        until("whole", || !here("old") && here("to") && !here("s/queue/item") && !here("from"));
        assert!(!here("new") && !mux.at(&format!("n/s/queue/{signal}")).exists());
    }
    let sent = mux.fake.sent();
    let sent: Vec<_> = sent.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert!(!sent.contains(&("n/s/input", "start\n")), "{sent:?}");
    assert_eq!(mux.sh("stat -c %a status; cat config"), "400\na = 1\n");
}
