//! What a node asks of tmux while nothing happens, and how soon it sees what does. On real tmux.

use std::time::{Duration, Instant};

use super::support::{Lab, Node, until, within};

/// Panes of one window; each is listed once for each session that shows it.
const PANES: usize = 20;
/// Sessions that share that window: 1,000 panes to list, with few processes.
const SESSIONS: usize = 50;

/// Commands of this name in tmux's message log, which `show-messages` prints to a client.
fn asked(lab: &Lab, command: &str) -> usize {
    let client = until("a client of the node's", || {
        let list = lab.tmux_ok(&["list-clients", "-F", "#{client_name}"]);
        list.lines().next().map(str::to_owned)
    });
    let log = lab.tmux_ok(&["show-messages", "-t", &client]);
    log.lines().filter(|line| line.contains(&format!(" {command} "))).count()
}

/// Processor time of the server.
fn spent(lab: &Lab) -> Duration {
    let pid = lab.tmux_ok(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap();
    muxfs_tmux::process::spent(pid).unwrap()
}

fn fleet() -> Node {
    let lab = Lab::new();
    lab.configure("");
    lab.tmux_ok(&["new-session", "-d", "-s", "s0", "-x", "80", "-y", "200", "exec cat"]);
    for _ in 1..PANES {
        lab.tmux_ok(&["split-window", "-d", "-t", "s0:", "-l", "5", "exec cat"]);
    }
    for n in 1..SESSIONS {
        lab.tmux_ok(&["new-session", "-d", "-t", "s0", "-s", &format!("s{n}")]);
    }
    let node = Node::start_in(lab);
    until("all panes are seen and read", || {
        let piped = |n: usize| node.read(&format!("s0/panes/0.{n}/status")).contains("\nlogs: pipe\n");
        (node.ls("").iter().any(|n| *n == format!("s{}", SESSIONS - 1)) && (0..PANES).all(piped))
            .then_some(())
    });
    node
}

/// Each look is a line of `list-sessions`, `list-panes` and `list-clients`.
#[test]
fn an_idle_fleet_is_asked_about_seldom() {
    let node = fleet();
    let lab = &node.place;
    // An empty log from here on.
    lab.tmux_ok(&["set-option", "-s", "message-limit", "0"]);
    lab.tmux_ok(&["set-option", "-s", "message-limit", "1000"]);
    let (begun, before, looks) = (Instant::now(), spent(lab), asked(lab, "list-panes"));
    within(Duration::from_secs(20), "ten seconds", || {
        (begun.elapsed() > Duration::from_secs(10)).then_some(())
    });
    let (looks, took) = (asked(lab, "list-panes") - looks, spent(lab) - before);
    let share = took.as_secs_f64() / begun.elapsed().as_secs_f64();
    let said = format!("{looks} looks, tmux at {:.1} %", share * 100.0);
    // One each tick would be 14. On a machine where so many cost next to nothing that is as well.
    assert!(looks >= 1 && (looks <= 10 || share < 0.025), "{said}");
}

#[test]
fn in_a_fleet_a_title_and_a_directory_are_seen_while_a_pane_prints() {
    let node = fleet();
    node.place.tmux_ok(&["new-window", "-d", "-t", "s0:", "-n", "sh", "sh"]);
    let status = || node.read("s0/panes/1.0/status");
    until("the pane's pipe", || {
        node.ls("s0/panes").contains(&"1.0".to_owned()).then(status)?.contains("\nlogs: pipe\n").then_some(())
    });
    for n in 0..3 {
        let dir = node.place.path(&format!("dir{n}"));
        std::fs::create_dir(&dir).unwrap();
        let line = format!("cd {}; printf '\\033]2;title-{n}\\007'", dir.display());
        node.place.tmux_ok(&["send-keys", "-t", "s0:1.0", &line, "Enter"]);
        let new = format!("cwd: {}\n", dir.display());
        until("its directory", || status().contains(&new).then_some(()));
        until("its title", || status().contains(&format!("title-{n}\n")).then_some(()));
    }
}

#[test]
fn in_a_fleet_what_a_script_changes_without_a_word_is_seen() {
    let node = fleet();
    node.place.tmux_ok(&["select-pane", "-t", "s0:0.3", "-T", "silent"]);
    within(Duration::from_secs(15), "the title", || {
        node.read("s0/panes/0.3/status").contains("silent\n").then_some(())
    });
    node.place.tmux_ok(&["split-window", "-d", "-t", "s0:0.3", "-l", "2", "exec cat"]);
    within(Duration::from_secs(15), "the new pane", || {
        node.ls("s7/panes").contains(&format!("0.{PANES}")).then_some(())
    });
}
