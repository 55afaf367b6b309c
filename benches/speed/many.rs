//! Rows of whole states: the start, doing nothing, a thousand sessions, a flood.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::lab::{Lab, Mount, until};
use super::stats::{Samples, Table};

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(10);
const FLOOD: usize = 50_000_000;
const MB: f64 = 1e6;

/// From the start of `muxfs mount -f` to the first read of the node's `status`.
pub fn start(table: &mut Table) {
    // A place of its own: tmux sees that a pipe's reader is gone only when its pane prints, so
    // quiet panes would count as piped by somebody else after a restart.
    let lab = Lab::new();
    lab.sessions(10, "");
    let mut took = Samples::default();
    for _ in 0..10 {
        let mount = Mount::start(&lab);
        took.add(mount.took);
        std::thread::sleep(Duration::from_millis(200)); // its own start-up is over
        drop(mount);
    }
    let worst = format!("the slowest of 10: {:.0} ms", took.at(1.0) * 1e3);
    table.number("mounted after".into(), took.p50() * 1e3, "ms", worst, 200.0);
}

/// Seconds that all threads of a process were on a processor.
pub fn cpu(pid: i32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: &Path| {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tasks.map(|t| of(&t.path())).sum::<f64>() / 1e9
}

/// The same of a process with all below it, and of those of its children that have ended.
pub fn cpu_below(pid: i32) -> f64 {
    let stat = |pid: i32| -> Option<Vec<i64>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields = text.rsplit_once(") ")?.1.split(' ').skip(1);
        Some(fields.map(|f| f.trim().parse().unwrap_or(0)).collect())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all: Vec<i32> = all.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    let parents: Vec<(i32, i32)> = all.iter().filter_map(|p| Some((*p, stat(*p)?[0] as i32))).collect();
    let (mut below, mut sum) = (vec![pid], 0.0);
    while let Some(one) = below.pop() {
        below.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(p, _)| *p));
        // cutime and cstime, in ticks.
        let ended = stat(one).map_or(0, |f| f[12] + f[13]);
        sum += ended as f64 / 100.0 + cpu(one);
    }
    sum
}

fn rss(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kb = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    kb.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

/// Memory, and processor time when nothing happens.
pub fn idle(table: &mut Table, lab: &Lab, mount: &Mount, sessions: usize, memory: f64) {
    let tmux = lab.server_pid().unwrap();
    std::thread::sleep(Duration::from_secs(3)); // the last start-up is over
    let before = (cpu(mount.pid()), cpu(tmux));
    std::thread::sleep(IDLE);
    let share = |now: f64, before: f64| (now - before) / IDLE.as_secs_f64() * 100.0;
    let (ours, theirs) = (share(cpu(mount.pid()), before.0), share(cpu(tmux), before.1));
    let tmux_rss = format!("tmux: {:.1} MB", rss(tmux) / MB);
    table.number(format!("memory, {sessions} sessions"), rss(mount.pid()) / MB, "MB", tmux_rss, memory);
    let beside = format!("tmux: {theirs:.2} %");
    table.number(
        format!("processor when nothing happens, {sessions} sessions"),
        ours,
        "% of a core",
        beside,
        1.0,
    );
    let asked = "asked by us";
    table.number(format!("tmux's, {sessions} sessions"), theirs, "% of a core", asked.into(), 2.0);
}

/// A thousand sessions.
pub fn sessions(table: &mut Table) {
    const COUNT: usize = 1000;
    let lab = Lab::new();
    lab.sessions(COUNT, "exec sleep 1000000");
    let mount = Mount::start(&lab);
    mount.wait_for(COUNT);
    idle(table, &lab, &mount, COUNT, 100.0);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let fields = "#{session_name} #{pane_current_command} #{pane_dead} #{window_activity} #{history_size} #{pane_current_path}";
    for _ in 0..100 {
        ours.time(|| {
            let mut cat = std::process::Command::new("cat");
            let out = cat.arg(mount.at("index")).stderr(Stdio::null()).output().unwrap();
            assert_eq!(out.stdout.iter().filter(|b| **b == b'\n').count(), COUNT);
        });
        theirs.time(|| lab.tmux(&["list-panes", "-a", "-F", fields]).output().unwrap());
    }
    let peer = "`tmux list-panes -a -F` of the same fields";
    table.ratio(format!("`cat index`, {COUNT} sessions"), &ours, peer, &theirs, 0.5);
}

/// 50 MB of lines, `cat` in a pane: with our logs, and on a server that nobody watches.
pub fn flood(table: &mut Table) {
    let (watched, alone, piped) = (Lab::new(), Lab::new(), Lab::new());
    let text = watched.path("flood");
    let line = |n: usize| format!("{n:08} all work and no play makes jack{}\n", " a dull boy".repeat(5));
    let lines = FLOOD / line(0).len();
    std::fs::write(&text, (0..lines).map(line).collect::<String>()).unwrap();
    watched.sessions(1, "");
    alone.sessions(1, "");
    piped.sessions(1, "");
    let mount = Mount::start(&watched);
    mount.wait_for(1);
    let [mut ours, mut theirs, mut cat, mut complete] = std::array::from_fn(|_| Samples::default());
    for n in 0..7 {
        let name = format!("f{n}");
        // Its own time from its first to its last byte; it begins when it is told to.
        let script = |lab: &Lab| {
            let (text, took) = (text.display(), lab.path(&name));
            format!(
                "read go; b=$EPOCHREALTIME; cat {text}; e=$EPOCHREALTIME; echo $b $e > {0}.new; mv {0}.new {0}; echo the end; read stay",
                took.display()
            )
        };
        let run = |lab: &Lab| {
            lab.tmux_ok(&[
                "new-session",
                "-d",
                "-x",
                "120",
                "-y",
                "40",
                "-s",
                &name,
                "bash",
                "-c",
                &script(lab),
            ]);
            if lab.path("mnt") == mount.root("").components().as_path() {
                until("its pipe", Duration::from_millis(10), || mount.piped(&name));
            }
            if lab.path("") == piped.path("") {
                let keep = format!("exec cat > {}", lab.path("raw").display());
                lab.tmux_ok(&["pipe-pane", "-O", "-t", &name, &keep]);
            }
            std::thread::sleep(Duration::from_millis(300));
            lab.tmux_ok(&["send-keys", "-t", &name, "Enter"]);
            until("the flood", Duration::from_millis(2), || lab.path(&name).exists());
            let times = std::fs::read_to_string(lab.path(&name)).unwrap();
            let times: Vec<f64> = times.split_whitespace().map(|t| t.parse().unwrap()).collect();
            Duration::from_secs_f64(times[1] - times[0])
        };
        theirs.add(run(&alone));
        ours.add(run(&watched));
        cat.add(run(&piped));
        let log = mount.at(&format!("{name}/logs"));
        let size = || std::fs::metadata(&log).map_or(0, |m| m.len());
        complete.add(until("logs", Duration::from_millis(5), || size() >= (lines * line(0).len()) as u64));
        assert_eq!(std::fs::read(&log).unwrap().iter().filter(|b| **b == b'\n').count() / lines, 1);
        for lab in [&watched, &alone, &piped] {
            lab.tmux_ok(&["kill-session", "-t", &name]);
        }
    }
    table.ratio("50 MB in a pane, `logs` and `raw` kept".into(), &ours, "nobody watching", &theirs, 1.15);
    // tmux's own price: the same bytes into a file by the plainest program there is.
    table.ratio("the same".into(), &ours, "tmux's `pipe-pane 'cat > FILE'`", &cat, 1.15);
    let worst = format!("the slowest of 7: {:.2} s", complete.at(1.0));
    table.number("its `logs` complete after".into(), complete.p50(), "s", worst, 5.0);
}
