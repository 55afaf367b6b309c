//! Callers that hold something up while they wait for the door: an exec lock, a directory's lock.

use super::*;

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

/// The list in `src/offload.rs`: what an event loop may read of a caller.
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
