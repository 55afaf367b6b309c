//! Sizes, times and copies of a real node's files, as people's tools see them: on a real mount and
//! real tmux, also while tmux stands still.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fs_door::sizes::TOOLS;
use super::support::{Mount, until, until_true};
use super::turns::{Fakes, logged};

/// What takes a disk to know: it shows a bound before an open.
const BOUNDED: &[&str] = &["agents", "agents.json", "conversations", "index", "index.json"];

fn views(mount: &Mount) -> Vec<String> {
    let find = "find . fake/history fake/turns/0001 -maxdepth 2 -type f ! -name events ! -name wait ! -name ask \
                ! -path './fake/queue/*' | sort -u";
    let all = mount.sh(find);
    // Sinks have nothing to read.
    let sinks = ["input", "steer", "text", "keys"];
    all.lines().filter(|f| !sinks.iter().any(|s| f.ends_with(&format!("/{s}")))).map(str::to_owned).collect()
}

#[test]
fn sizes_are_what_cat_counts_when_nothing_happens() {
    let f = logged("");
    f.session("fake");
    f.mount.sh("echo 'SAY(hello)' > fake/input; cat fake/turns/0001/wait");
    f.until_state("fake", "ready");
    let m = &f.mount;
    let all = views(m);
    assert!(all.len() > 30, "{all:?}");
    for view in all {
        let bounded = |name: &&&str| {
            view.ends_with(&format!("history/{name}"))
                || view == format!("./{name}") && !name.starts_with("index")
        };
        let script = format!("cat {view} > /dev/null; stat -c %s {view}; cat {view} | wc -c");
        // A time in it may get another digit between the two.
        until(&view, || {
            let said = m.sh(&script);
            let (size, counted) = said.trim().split_once('\n').unwrap();
            let (size, counted): (u64, u64) = (size.parse().unwrap(), counted.trim().parse().unwrap());
            match BOUNDED.iter().find(bounded) {
                Some(_) => (size >= counted).then_some(()),
                None => (size == counted).then_some(()),
            }
        });
    }
}

#[test]
fn logs_have_the_time_of_their_last_line() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let time = |file: &str| std::fs::metadata(mount.path(file)).unwrap().modified().unwrap();
    for (file, word) in [("demo/logs", "\none\n"), ("demo/raw", "two\r\n"), ("demo/logs", "\nthree\n")] {
        let before = SystemTime::now();
        mount.sh(&format!("echo 'echo {}' > demo/input; cat demo/wait", word.trim()));
        until_true("it is there", || mount.read(file).contains(word));
        let (size, changed) = (std::fs::metadata(mount.path(file)).unwrap().size(), time(file));
        // The kernel's clock for files ticks every few ms.
        assert!(
            changed + Duration::from_millis(50) >= before && changed <= SystemTime::now(),
            "{file}: {changed:?}"
        );
        // Reading it and asking for it change nothing.
        mount.read(file);
        let again = std::fs::metadata(mount.path(file)).unwrap();
        assert!(again.size() != size || again.modified().unwrap() == changed);
    }
    let first = time("logs");
    mount.sh("mkdir other");
    until_true("the node's as well", || time("logs") > first);
}

/// The right bytes or ETIMEDOUT, within one limit: no tool hangs, and none takes a part for all.
#[test]
fn a_stopped_tmux_gives_no_tool_the_wrong_bytes() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo 'seq 3000; echo end' > demo/input; cat demo/wait");
    until_true("it printed", || mount.read("demo/output").contains("\nend\n"));
    let files = ["demo/output", "demo/screen", "demo/config", "settings"];
    let want: Vec<String> = files.iter().map(|file| mount.read(file)).collect();
    let pid = mount.lab.tmux_ok(&["display-message", "-p", "#{pid}"]);
    let server = Pid::from_raw(pid.trim().parse().unwrap());
    kill(server, Signal::SIGSTOP).unwrap();
    let more = [
        ("[ -s ]", "[ -s \"$F\" ] && cat \"$F\""),
        ("git", "git hash-object \"$F\" > /dev/null; cat \"$F\""),
    ];
    let begun = Instant::now();
    let tools = TOOLS.iter().chain(&more);
    let run = |(name, script): &(&str, &str), file: &str, want: &str| {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("set -o pipefail; {script}");
        let out =
            mount.command("bash").args(["-c", &script]).env("F", file).env("T", dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        let said = String::from_utf8_lossy(&out.stderr).to_lowercase();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(25), "{name} {file}: {took:?}");
        match out.status.code() {
            Some(0) if said.is_empty() => assert!(text == want, "{name} {file}: {} bytes", text.len()),
            _ => assert!(said.contains("timed out") || said.contains("110"), "{name} {file}: {out:?}"),
        }
    };
    std::thread::scope(|s| {
        for tool in tools {
            for (file, want) in files.iter().zip(&want) {
                s.spawn(|| run(tool, file, want));
            }
        }
    });
    kill(server, Signal::SIGCONT).unwrap();
    until_true("tmux answers again", || mount.run("cat demo/output").status.success());
    assert_eq!(mount.read("demo/output"), want[0]);
}

/// rename(2) fails with EXDEV, and mv copies: the name is the new one from the start, and its
/// owner, time and permissions are set while the copy is open.
#[test]
fn a_prompt_is_moved_into_the_queue_from_another_file_system() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = |name: &str, mode: &str| {
        let path = other.path().join(name);
        std::fs::write(&path, format!("SAY({name})\n")).unwrap();
        m.sh(&format!("chmod {mode} {0}; touch -d '2020-02-02' {0}", path.display()));
        path.display().to_string()
    };
    for (mv, name, mode) in
        [("mv", "a", "0644"), ("mv", "b.md", "0400"), ("busybox mv", "c", "0755"), ("cp -p", "d", "0444")]
    {
        // busybox sets the bits by name afterwards, and says so where the prompt is on its way by then.
        let moved = m.run(&format!("{mv} {} fake/queue/", file(name, mode)));
        assert!(moved.status.success(), "{mv}: {moved:?}");
        until_true(name, || f.taken().contains(&format!("SAY({name})")));
        f.until_state("fake", "ready");
    }
    // A copy is whole when it is closed, so a name that waits for its rename is given at once.
    m.sh(&format!("mv {} fake/queue/e", file("e.tmp", "0600")));
    until_true("e", || f.taken().contains(&"SAY(e.tmp)".to_owned()));
    f.until_state("fake", "ready");
    // One that keeps such a name waits for it.
    m.sh(&format!("mv {} fake/queue/", file("f.tmp", "0600")));
    m.sh("echo 'SAY(g)' > fake/input");
    until_true("a later one goes before it", || f.taken().contains(&"SAY(g)".to_owned()));
    assert_eq!(m.sh("ls fake/queue"), "f.tmp\n");
    m.sh("mv fake/queue/f.tmp fake/queue/f");
    until_true("f", || f.taken().contains(&"SAY(f.tmp)".to_owned()));
    let all: Vec<String> =
        ["a", "b.md", "c", "d", "e.tmp", "g", "f.tmp"].iter().map(|n| format!("SAY({n})")).collect();
    assert_eq!(f.taken(), all, "each once");
    assert_eq!(Fakes::status(&f, "fake", "queue"), "0");
}
