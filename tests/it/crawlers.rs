//! Programs that walk everything: with 100 sessions they end soon, start nothing and leave
//! nothing blocked. On a real mount and real tmux.

use std::time::{Duration, Instant};

use crate::support::{Lab, Mount, until_true};

const SESSIONS: usize = 100;
/// What a crawler and the daemon may take of a processor for it. How long that lasts is up to what else
/// the machine does.
const SOON: Duration = Duration::from_secs(5);
/// What waits for us waits for good; what is slow ends within this on any machine.
const BLOCKED: &str = "120";

/// A process's own children, as the kernel counts them.
fn children(of: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).unwrap();
    let lists = tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    lists.map(|l| l.split_whitespace().count()).sum()
}

/// Grows with each child that ran and was waited for: the page faults of those.
fn made_by_daemon(mount: &Mount) -> u64 {
    let pid = mount.pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(8).unwrap().parse().unwrap()
}

/// What a process took of a processor, and those of its children that have ended.
fn processor(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(4);
    Duration::from_millis(ticks.map(|n| n.parse::<u64>().unwrap()).sum::<u64>() * 10)
}

/// What a crawler printed, in lines. It must succeed and complain of nothing.
fn crawl(mount: &Mount, crawler: &str) -> usize {
    let mut command = std::process::Command::new("timeout");
    command.args(["-k", "1", BLOCKED, "bash", "-c", crawler]).current_dir(mount.path(""));
    let out = command.output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && err.is_empty(), "{crawler}: {} {err}", out.status);
    String::from_utf8(out.stdout).unwrap().lines().count()
}

#[test]
fn crawlers_end_soon_start_nothing_and_leave_nothing_blocked() {
    let lab = Lab::new();
    // One command for all: what others made is walked like the rest.
    lab.tmux_ok(&["new-session", "-d", "-s", "s0", "exec sleep 1000"]);
    let mut args = Vec::new();
    let names: Vec<_> = (1..SESSIONS).map(|n| format!("s{n}")).collect();
    for name in &names {
        args.extend(["new-session", "-d", "-s", name, "exec sleep 1000", ";"]);
    }
    lab.tmux_ok(&args);
    let mount = Mount::start_in(lab);
    until_true("all are shown", || {
        mount.sh("ls").lines().filter(|n| n.starts_with('s')).count() >= SESSIONS + 4
    });
    let helpers =
        || (children(&mount.pid().to_string()), mount.lab.tmux_ok(&["list-clients"]).lines().count());
    until_true("every pane is tapped", || (0..SESSIONS).all(|n| mount.path(&format!("s{n}/raw")).exists()));
    // The control client is there for good; the shell that was asked for its environment is not.
    until_true("only tmux's client is left", || helpers().0 == 1);
    let before = helpers();
    let sessions = mount.lab.tmux_ok(&["list-sessions", "-F", "#S"]);
    let crawlers = [
        "find . s0",
        "find . -type f -perm -200",
        "ls -lR",
        "ls -laR",
        "du -a",
        "du -sh *",
        "stat s*/*",
        "find . -name '*.json' -perm -400 -ls",
        "python3 -c 'import os; [print(os.stat(os.path.join(d, f))) for d, _, fs in os.walk(\".\") for f in fs]'",
    ];
    // A tmux that is slow to answer is asked for the reason by a client of ours, once; what a crawler
    // starts it starts each time.
    let none_ran = (0..3).any(|_| {
        let ran = made_by_daemon(&mount);
        for crawler in crawlers {
            let so_far = || processor("self") + processor(&mount.pid().to_string());
            let (begun, before) = (Instant::now(), so_far());
            let seen = crawl(&mount, crawler);
            let took = so_far() - before;
            eprintln!("{crawler}: {took:?} of a processor, {:?}, {seen} lines", begun.elapsed());
            assert!(took < SOON, "{crawler}: {took:?} of a processor");
            assert!(seen > SESSIONS, "{crawler}: {seen} lines");
        }
        made_by_daemon(&mount) == ran
    });
    assert!(none_ran, "no program was run");
    assert_eq!(helpers(), before, "children of the daemon and clients of tmux");
    assert_eq!(mount.lab.tmux_ok(&["list-sessions", "-F", "#S"]), sessions);
    assert_eq!(mount.read("errors"), "");
    // Nothing of ours waits in the kernel: the mount can be left at once.
    let out = std::process::Command::new("umount").arg(&mount.dir).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// `.help` says what to leave out; with that, a search of contents ends too.
#[test]
fn a_search_of_contents_ends_where_it_leaves_out_what_blocks() {
    let mount = Mount::start();
    mount.sh("mkdir one two; cat one/wait two/wait; echo 'echo needle' > one/input; cat one/wait");
    let help = std::fs::read_to_string(mount.dir.join(".help")).unwrap();
    assert!(help.contains("--exclude=events --exclude=wait --exclude=ask"), "{help}");
    let out = mount.run("grep -rl --exclude=events --exclude=wait --exclude=ask needle .");
    let found = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(found.contains("./one/output") && !found.contains("./two/output"), "{found}");
    let tar = mount.sh("tar -cf ~/all.tar --exclude=events --exclude=wait --exclude=ask --exclude=input --exclude=steer --exclude=text --exclude=keys one two && tar -tf ~/all.tar");
    assert!(tar.contains("one/config\n"), "{tar}");
}
