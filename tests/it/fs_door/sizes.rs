//! Whoever reads by splice, sendfile, mmap or by a file's size gets the bytes that `cat` gets: real
//! tools on a real mount, while the text changes and other handles are open.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Mux, until};

/// What each tool makes of file `$F`, on standard output; `$T` is a directory to copy to.
pub const TOOLS: &[(&str, &str)] = &[
    ("busybox cat", "busybox cat \"$F\""),
    ("busybox cp", "busybox cp \"$F\" $T/a && cat $T/a"),
    ("uutils cat", "coreutils cat \"$F\""),
    ("uutils cp", "coreutils cp \"$F\" $T/b && cat $T/b"),
    ("cp", "cp \"$F\" $T/c && cat $T/c"),
    ("rsync", "rsync -q \"$F\" $T/d && cat $T/d"),
    ("tar", "tar -cPf $T/e.tar \"$F\" && tar -xPOf $T/e.tar"),
    ("shutil.copyfile", "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' \"$F\" $T/f && cat $T/f"),
    ("sendfile", "python3 -c '
import os, sys
fd, at = os.open(sys.argv[1], os.O_RDONLY), 0
while n := os.sendfile(1, fd, at, 1 << 20): at += n' \"$F\" | cat"),
    ("splice", "python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
while os.splice(fd, 1, 1 << 16): pass' \"$F\" | cat"),
    ("tac", "tac \"$F\" | tac"),
    ("tail -c", "tail -c +1 \"$F\""),
    ("busybox tail -c", "busybox tail -c 9999999 \"$F\""),
    ("head by wc -c", "n=$(wc -c < \"$F\"); head -c \"$n\" \"$F\""),
    ("size and read", "python3 -c '
import os, sys
f = open(sys.argv[1], \"rb\")
sys.stdout.buffer.write(f.read(os.fstat(f.fileno()).st_size))' \"$F\""),
    ("mmap", "python3 -c '
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
n = os.fstat(fd).st_size
sys.stdout.buffer.write(mmap.mmap(fd, n, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)[:] if n else b\"\")' \"$F\""),
];

impl Mux {
    fn tool(&self, script: &str, file: &str) -> Result<String, String> {
        let out = self
            .command("bash")
            .args(["-c", &format!("set -o pipefail; {script}")])
            .env("F", file)
            .env("T", self._locks.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let err = String::from_utf8_lossy(&out.stderr);
        if out.status.success() && err.is_empty() { Ok(text) } else { Err(format!("{} {err}", out.status)) }
    }
}

/// Lines that say how many there are: a cut or mixed text is none.
fn text(lines: usize) -> String {
    format!("{lines} lines of text\n").repeat(lines)
}

fn is_whole(got: &str) -> bool {
    let lines = got.lines().next().and_then(|l| l.split(' ').next()).map_or(Ok(0), str::parse);
    lines.is_ok_and(|n: usize| got == text(n))
}

fn short(text: &str) -> String {
    format!("{} bytes: {:?}", text.len(), text.chars().take(60).collect::<String>())
}

#[test]
fn every_tool_gets_the_bytes_that_cat_gets() {
    let mux = Mux::new();
    // None, less than a page, several pages, more than is read ahead; whole pages.
    for text in [String::new(), text(3), text(400), text(20_000), "x".repeat(8191) + "\n"] {
        mux.fake.set("n/s/status", &text);
        for (name, script) in TOOLS {
            let got = mux.tool(script, "status").unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(got == text, "{name}: {}, not {}", short(&got), short(&text));
        }
        mux.fake.bound("n/s/status", text.len() as u64);
        assert_eq!(mux.sh("git hash-object status"), mux.sh("cat status | git hash-object --stdin"));
        assert_eq!(mux.run("sh", "[ -s status ]").status.success(), !text.is_empty());
    }
    // A bound is above what an open gives, and harmless to all.
    let text = text(400);
    mux.fake.set("n/s/status", &text);
    mux.fake.bound("n/s/status", 1 << 20);
    for (name, script) in TOOLS {
        let got = mux.tool(script, "status").unwrap_or_else(|e| panic!("{name} below a bound: {e}"));
        assert!(got == text, "{name} below a bound: {}, not {}", short(&got), short(&text));
    }
    for (file, want) in [("ctl", "start\nstop\n"), ("config", "a = 1\n"), ("../index", "s - ready\n")] {
        for (name, script) in TOOLS {
            assert_eq!(mux.tool(script, file).as_deref(), Ok(want), "{name} {file}");
        }
    }
}

/// A reader that splices once got 524,288 bytes of 400,000: zeros where pages behind the end were read
/// ahead.
#[test]
#[ignore = "many rounds: make soak"]
fn soak_a_bound_of_before_adds_no_bytes() {
    let mux = Mux::new();
    let (small, large) = (text(400), text(20_000));
    for round in 0..200 {
        for (text, bound) in [(&small, Some(1 << 20)), (&large, None)] {
            mux.fake.set("n/s/status", text);
            if let Some(bound) = bound {
                mux.fake.bound("n/s/status", bound);
            }
            for (name, script) in TOOLS.iter().filter(|(name, _)| name.ends_with(" cat")) {
                let got = mux.tool(script, "status").unwrap_or_else(|e| panic!("{round} {name}: {e}"));
                assert!(got == *text, "{round} {name}: {}, not {}", short(&got), short(text));
            }
        }
    }
}

#[test]
fn texts_stay_whole_while_they_change_under_many_readers() {
    let mux = Mux::new();
    mux.fake.set("n/s/status", &text(5));
    let (stop, held) = (AtomicBool::new(false), std::fs::File::open(mux.at("n/s/status")).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                n = (n * 5 + 7) % 1009; // grows and shrinks, by pages and by a few bytes
                mux.fake.set("n/s/status", &text(n));
                std::thread::park_timeout(std::time::Duration::from_micros(300));
            }
        });
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let mux = &mux;
                scope.spawn(move || {
                    let tools = TOOLS.iter().filter(|(name, _)| !name.starts_with("head by"));
                    tools
                        .map(|(name, script)| {
                            // Files of the tools are each reader's own.
                            let script = format!("T=$T/{reader}; mkdir -p $T; {script}");
                            (*name, mux.tool(&script, "status"))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let results: Vec<_> = readers.into_iter().flat_map(|r| r.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        for (name, got) in results {
            let got = got.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(is_whole(&got), "{name}: {}", short(&got));
        }
    });
    // The handle of before has its own text still, and its size.
    let mut first = String::new();
    assert_eq!(held.metadata().unwrap().len(), text(5).len() as u64);
    std::io::Read::read_to_string(&mut { held }, &mut first).unwrap();
    assert_eq!(first, text(5));
}

#[test]
fn a_size_asked_for_by_name_is_that_of_now() {
    let mux = Mux::new();
    mux.fake.set("n/s/status", "");
    let held = std::fs::File::open(mux.at("n/s/status")).unwrap();
    mux.fake.set("n/s/status", "a question\n");
    until("size by name", || mux.run("sh", "[ -s status ]").status.success());
    assert_eq!(mux.sh("python3 -c 'import os; print(os.path.getsize(\"status\"))'"), "11\n");
    assert_eq!(held.metadata().unwrap().len(), 0);
    // Its number is one, whichever inode it has: cp compares what it looked at with what it opened.
    let number = |meta: std::fs::Metadata| std::os::unix::fs::MetadataExt::ino(&meta);
    let by_name = std::fs::metadata(mux.at("n/s/status")).unwrap();
    assert_eq!(number(held.metadata().unwrap()), number(by_name));
}

#[test]
fn a_wait_is_read_by_splice_and_ends_on_signals() {
    let mux = Mux::new();
    for (name, script) in TOOLS {
        // What seeks, or looks at the size first, is not for a file that is waited for.
        if ["tac", "tail", "head", "size", "mmap", "busybox tail", "tar", "rsync"]
            .iter()
            .any(|n| name.starts_with(n))
        {
            continue;
        }
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| mux.tool(script, "wait"));
            until(&format!("{name} to wait"), || mux.fake.readers("n/s/wait") > 0 || reading.is_finished());
            // Nobody is held up by pages that a reader waits for.
            assert!(mux.sh("ls -l wait; stat wait; timeout 5 head -c 0 wait && echo open").contains("open"));
            // uutils' cp has the file open twice: once for a clone, once for a copy.
            let opens = if *name == "uutils cp" { 2 } else { 1 };
            until(&format!("{name} alone"), || {
                mux.fake.readers("n/s/wait") == opens || reading.is_finished()
            });
            mux.fake.line("n/s/wait", "ready\n");
            mux.fake.end_lines("n/s/wait");
            // sendfile(2) by an offset is refused where a file has none.
            match reading.join().unwrap() {
                Ok(line) => assert_eq!(line, "ready\n", "{name}"),
                Err(why) => assert!(*name == "sendfile" && why.contains("Illegal seek"), "{name}: {why}"),
            }
        });
    }
    for signal in ["INT", "TERM", "KILL"].map(super::signal_of) {
        let mut command = std::process::Command::new("busybox");
        let mut child = command.args(["cat", "wait"]).current_dir(mux.at("n/s")).spawn().unwrap();
        until("a reader", || mux.fake.readers("n/s/wait") > 0);
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
        let ended = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap());
        assert_eq!(ended, Some(signal as i32));
        until("no reader", || mux.fake.readers("n/s/wait") == 0);
    }
    // A signal with a handler ends the call, and the page that was waited for.
    let script = "python3 -c '
import os, signal, sys
class Rung(Exception): pass
def ring(*_): raise Rung
signal.signal(signal.SIGALRM, ring)
fd = os.open(\"wait\", os.O_RDONLY); r, w = os.pipe()
signal.setitimer(signal.ITIMER_REAL, 0.2)
try: os.splice(fd, w, 4096)
except Rung: print(\"rung\")'";
    assert_eq!(mux.sh(script), "rung\n");
}

/// The kernel ended the file where the page ended only if no stat was answered since it asked for the
/// page: 4,090 zeros followed the line.
#[test]
fn a_stat_of_a_wait_that_is_being_spliced_adds_no_bytes() {
    let mux = Mux::new();
    let script = "python3 -c '
import os, sys, threading, time
fd = os.open(\"wait\", os.O_RDONLY)
def splice():
    while os.splice(fd, 1, 1 << 16): pass
reader = threading.Thread(target=splice)
reader.start()
def state(): return open(f\"/proc/self/task/{reader.native_id}/stat\").read().rsplit(\")\", 1)[1].split()[0]
while state() != \"D\": time.sleep(0.001) # it waits for the page
print(\"stat\", os.fstat(fd).st_size, file=sys.stderr, flush=True)
reader.join()' | cat";
    for _ in 0..3 {
        let mut child = mux.spawn(script);
        let mut told = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told, format!("stat {}\n", rustix::param::page_size()));
        mux.fake.line("n/s/wait", "ready\n");
        mux.fake.end_lines("n/s/wait");
        let (status, line) = super::wait(child);
        assert!(status.success() && line == "ready\n", "{status} {}", short(&line));
    }
}

#[test]
fn what_blocks_without_an_end_is_read_by_those_who_would_splice() {
    let mux = Mux::new();
    for program in ["busybox cat", "coreutils cat"] {
        let child = mux.spawn(&format!("timeout 10 {program} events | head -n 1"));
        until("a reader", || mux.fake.readers("n/s/events") > 0);
        mux.fake.line("n/s/events", "{\"n\":1}\n");
        until("a second line", || {
            mux.fake.line("n/s/events", "{\"n\":2}\n");
            mux.fake.readers("n/s/events") == 0
        });
        let (_, line) = super::wait(child);
        assert_eq!(line, "{\"n\":1}\n", "{program}");
        assert_eq!(mux.sh(&format!("exec 3<>ask; echo -n q >&3; {program} <&3")), "re: q");
        mux.fake.sent();
    }
}

#[test]
fn a_log_that_grows_is_read_by_splice_without_gaps() {
    let mux = Mux::new();
    mux.fake.log("n/s/logs", "one\n");
    let script = "python3 -c '
import os, sys, time
fd = os.open(\"logs\", os.O_RDONLY); r, w = os.pipe(); got = b\"\"
while not got.endswith(b\"end\\n\"):
    if os.splice(fd, w, 1 << 16): got += os.read(r, 1 << 16)
    else: os.stat(\"logs\")
sys.stdout.buffer.write(got)'";
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| mux.sh(script));
        for n in 0..200 {
            mux.fake.log("n/s/logs", &format!("line {n}\n"));
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        mux.fake.log("n/s/logs", "end\n");
        let want: String = (0..200).map(|n| format!("line {n}\n")).collect();
        assert_eq!(reading.join().unwrap(), format!("one\n{want}end\n"));
    });
}
