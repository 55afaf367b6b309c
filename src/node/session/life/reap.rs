//! Ending a pane's whole process tree: HUP, TERM, KILL, by process group and by descent.
//!
//! `tmux kill-session` alone is not enough: some agents survive SIGHUP, an interactive bash
//! ignores SIGTERM. Knows no tmux.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::observation::shell_state::{ASKED, PROCESSES};

/// After HUP, and after TERM (docs/tree.md, "The end of a session").
const TERM_AFTER: Duration = Duration::from_secs(1);
const KILL_AFTER: Duration = Duration::from_secs(3);
/// After KILL nothing is left to send; the kernel needs a moment.
const GIVE_UP: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);

/// A process, told from a later one of the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    started: u64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
}

/// Ends `roots` (a pane's first process each) and everything below them. Returns the pids that
/// outlived SIGKILL: none, unless a process is stuck in the kernel.
pub async fn end(roots: &[i32]) -> Vec<i32> {
    let mut tree = collect(roots);
    let begun = Instant::now();
    send(&tree, Signal::SIGHUP);
    let mut stage = 0;
    loop {
        tree.retain(|p| started(p.pid) == Some(p.started));
        if tree.is_empty() {
            return Vec::new();
        }
        // What they started meanwhile belongs to them.
        let more = collect(&tree.iter().map(|p| p.pid).collect::<Vec<_>>());
        tree.extend(more);
        let (due, signal) =
            if stage == 0 { (TERM_AFTER, Signal::SIGTERM) } else { (KILL_AFTER, Signal::SIGKILL) };
        if stage < 2 && begun.elapsed() >= due {
            send(&tree, signal);
            stage += 1;
        }
        if begun.elapsed() >= GIVE_UP {
            return tree.iter().map(|p| p.pid).collect();
        }
        tokio::time::sleep(TICK).await;
    }
}

/// What is left of the terminal sessions of processes that ended themselves: jobs that ignored
/// the hang-up. A number is not used again while a session has it, so where a process bears it
/// now, nothing is left and that process is a stranger.
pub fn left_by(dead: &[i32]) -> Vec<i32> {
    let rows = table();
    let taken = |pid: i32| rows.iter().any(|r| r.pid == pid);
    let dead: Vec<i32> = dead.iter().copied().filter(|pid| *pid > 1 && !taken(*pid)).collect();
    rows.iter().filter(|r| dead.contains(&r.session)).map(|r| r.pid).collect()
}

fn send(tree: &BTreeSet<Process>, signal: Signal) {
    for p in tree.iter().filter(|p| started(p.pid) == Some(p.started)) {
        let _ = kill(Pid::from_raw(p.pid), signal); // it may be gone meanwhile
        let _ = kill(Pid::from_raw(p.pid), Signal::SIGCONT); // a stopped one takes nothing
    }
}

/// The roots, their descendants, and the members of the process groups and terminal sessions
/// that a root leads: a background job whose parent is gone has lost its line of descent.
fn collect(roots: &[i32]) -> BTreeSet<Process> {
    let own = std::process::id() as i32;
    let rows = table();
    let mut children: BTreeMap<i32, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        children.entry(row.parent).or_default().push(row);
    }
    let mut found = BTreeSet::new();
    let mut todo: Vec<&Row> = rows
        .iter()
        .filter(|r| roots.iter().any(|root| *root > 1 && [r.pid, r.group, r.session].contains(root)))
        .collect();
    while let Some(row) = todo.pop() {
        let Some(started) = started(row.pid).filter(|_| row.pid != own) else { continue };
        if found.insert(Process { pid: row.pid, started }) {
            todo.extend(children.get(&row.pid).into_iter().flatten());
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "looks at /proc, which waits for no disk")]
fn table() -> Vec<Row> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    dir.flatten().filter_map(|e| row(e.file_name().to_str()?.parse().ok()?)).collect()
}

/// `None` for a process that is gone or only waits to be reaped. Reads what no process can keep
/// from being read: these are all of the machine's.
fn row(pid: i32) -> Option<Row> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // The first number is the one in our own process namespace.
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()
    };
    if matches!(field("State:")?, "Z" | "X") {
        return None;
    }
    let number = |name| field(name)?.parse::<i32>().ok();
    Some(Row { pid, parent: number("PPid:")?, group: number("NSpgid:")?, session: number("NSsid:")? })
}

/// When a process started, in clock ticks since the machine's start; 0 where it does not let that
/// be read in time. `None` for a process that is gone or only waits to be reaped.
fn started(pid: i32) -> Option<u64> {
    row(pid)?;
    let stat = move || fs::read_to_string(format!("/proc/{pid}/stat"));
    match PROCESSES.ask_blocking(pid.cast_unsigned(), ASKED, stat) {
        Some(stat) => {
            let stat = stat.ok()?;
            stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(19)?.parse().ok()
        }
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// A shell in its own group that ignores HUP and TERM and has a child in another group.
    #[tokio::test]
    async fn a_stubborn_tree_ends_whole() {
        let script = "trap '' HUP TERM; setsid sleep 1000 & sleep 1001 & while :; do sleep 0.1; done";
        let mut child =
            Command::new("bash").args(["-c", script]).process_group(0).stdout(Stdio::null()).spawn().unwrap();
        let root = child.id() as i32;
        let limit = Instant::now() + Duration::from_secs(10);
        while collect(&[root]).len() < 4 {
            assert!(Instant::now() < limit);
            tokio::task::yield_now().await;
        }
        let tree = collect(&[root]);
        let reaper = std::thread::spawn(move || child.wait());
        assert_eq!(end(&[root]).await, Vec::<i32>::new());
        assert!(tree.iter().all(|p| started(p.pid) != Some(p.started)));
        reaper.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn jobs_outlive_their_shell_only_until_they_are_looked_for() {
        let script = "trap '' HUP; sleep 1002 & exit";
        let mut shell = Command::new("setsid").args(["bash", "-c", script]).spawn().unwrap();
        let root = shell.id() as i32;
        shell.wait().unwrap();
        let left = left_by(&[root]);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left_by(&[left[0]]), Vec::<i32>::new(), "a number that lives is no dead one's");
        assert_eq!(end(&left).await, Vec::<i32>::new());
    }

    #[tokio::test]
    async fn pids_that_are_gone_are_no_trouble() {
        assert_eq!(end(&[i32::MAX, 0, 1, -1]).await, Vec::<i32>::new());
    }
}
