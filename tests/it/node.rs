//! The local node through the seam, on real tmux, without a kernel in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use muxfs_tree::{Caller, Follow, Log, Place, Shape, Tree};

use crate::support::{Lab, Node, until_true};

#[test]
fn a_session_is_made_typed_to_read_and_ended() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    assert!(node.ls("").contains(&"demo".to_owned()));
    node.write("demo/input", "echo one; echo $((1+1)) >&2\n").unwrap();
    assert_eq!(node.read("demo/wait"), "ready\n");
    let output = node.read("demo/output");
    assert!(output.contains("\none\n2\n"), "{output}");
    let status = node.read("demo/status");
    assert!(status.contains("state: ready\n") && status.contains("managed: true\n"), "{status}");
    until_true("the transcript has the line", || node.read("demo/logs").contains("\none\n2\n"));
    assert!(node.read("index").starts_with("demo "), "{}", node.read("index"));
    node.mv("demo", "other").unwrap();
    assert!(node.try_read("demo/status").is_err());
    assert!(node.read("other/status").starts_with("name: other\n"));
    node.rmdir("other").unwrap();
    assert!(node.try_read("other/status").is_err());
    assert!(!node.ls("").contains(&"other".to_owned()));
}

#[test]
fn sessions_of_others_appear_and_go() {
    let lab = Lab::new();
    lab.configure("");
    lab.tmux_ok(&["new-session", "-d", "-s", "before", "sh"]);
    let node = Node::start_in(lab);
    until_true("the session from before is there", || node.ls("").contains(&"before".to_owned()));
    node.place.tmux_ok(&["new-session", "-d", "-s", "after", "sh"]);
    until_true("the session made later is there", || node.ls("").contains(&"after".to_owned()));
    assert_eq!(node.rmdir("after").unwrap_err().kind, muxfs_tree::base::error::Kind::Busy);
    node.place.tmux_ok(&["kill-session", "-t", "after"]);
    until_true("it is gone", || !node.ls("").contains(&"after".to_owned()));
    assert!(!node.ls("").iter().any(|n| n.contains("_muxfs")));
    assert!(node.read("errors").contains("made by others"));
}

/// `echo 'sleep 2; make' > input; cat wait` waits for make, in every shell.
#[test]
fn wait_waits_for_the_end_of_what_was_typed() {
    let node = Node::start();
    for shell in ["bash", "dash", "zsh"] {
        node.mkdir(shell).unwrap();
        node.write(&format!("{shell}/config"), &format!("command = \"{shell}\"\n")).unwrap();
        until_true("the configured shell runs", || {
            let status = node.read(&format!("{shell}/status"));
            status.contains("pending: -\n") && status.contains(&format!("command: {shell}\n"))
        });
        let done = node.place.path(&format!("{shell}.done"));
        let line = format!("sleep 1; for i in 1 2 3; do sleep 0.1; done; echo x > {}\n", done.display());
        for _ in 0..3 {
            node.write(&format!("{shell}/input"), &line).unwrap();
            assert_eq!(node.read(&format!("{shell}/wait")), "ready\n", "{shell}");
            assert!(done.exists(), "{shell}: wait returned before the command's end");
            std::fs::remove_file(&done).unwrap();
        }
    }
}

#[test]
fn a_command_typed_ahead_is_waited_for_too() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    let done = node.place.path("done");
    node.write("demo/input", "sleep 1\n").unwrap();
    node.write("demo/input", &format!("sleep 1; echo x > {}\n", done.display())).unwrap();
    assert_eq!(node.read("demo/wait"), "ready\n");
    assert!(done.exists());
}

#[test]
fn a_program_that_is_no_shell_is_unknown_and_waited_for_by_quiet() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    node.write("demo/config", "command = [\"cat\"]\n").unwrap();
    until_true("cat runs", || node.read("demo/status").contains("command: cat\n"));
    node.write("demo/input", "hello\n").unwrap();
    assert_eq!(node.read("demo/wait"), "unknown\n");
    assert!(node.read("demo/screen").starts_with("hello\nhello\n"), "{}", node.read("demo/screen"));
}

#[test]
fn exits_and_stops_are_told_apart() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    node.write("demo/input", "exit 3\n").unwrap();
    assert_eq!(node.read("demo/wait"), "exited 3\n");
    assert_eq!(node.write("demo/input", "x\n").unwrap_err().kind, muxfs_tree::base::error::Kind::Gone);
    node.write("demo/ctl", "start\n").unwrap();
    assert_eq!(node.read("demo/wait"), "ready\n");
    node.write("demo/ctl", "stop\n").unwrap();
    assert_eq!(node.read("demo/wait"), "stopped\n");
    assert!(node.read("errors").contains("nothing runs in pane"));
}

#[test]
fn a_missing_program_is_exit_127() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    node.write("demo/config", "command = \"no-such-program\"\n").unwrap();
    until_true("it was tried", || node.read("demo/status").contains("state: exited 127\n"));
    until_true("and is told", || node.read("errors").contains("127"));
}

#[test]
fn a_bad_config_changes_nothing_and_says_where() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    node.write("demo/config", "# mine\nlogs = true\n").unwrap();
    let e = node.write("demo/config", "logs = true\nsise = 3\n").unwrap_err();
    assert_eq!(e.kind, muxfs_tree::base::error::Kind::Invalid);
    assert!(node.read("demo/config.error").starts_with("line 2, column 1: unknown key sise"));
    assert_eq!(node.read("demo/config.rejected"), "logs = true\nsise = 3\n");
    assert_eq!(node.read("demo/config"), "# mine\nlogs = true\n");
    node.write("demo/config", "logs = true\n").unwrap();
    assert_eq!(node.read("demo/config.error"), "");
}

#[test]
fn hand_edits_of_the_files_behind_take_effect() {
    let node = Node::start();
    node.mkdir("demo").unwrap();
    let id =
        node.read("demo/status").lines().find_map(|l| l.strip_prefix("id: ").map(str::to_owned)).unwrap();
    let file = node.place.path(&format!("state/sessions/{id}.toml"));
    std::fs::write(&file, "# by hand\nlogs = false\n").unwrap();
    until_true("the edit is seen", || node.read("demo/config").starts_with("# by hand"));
    std::fs::write(&file, "logs = 7\n").unwrap();
    until_true("the bad one too", || node.read("demo/config.error").starts_with("line 1, column 8"));
    assert!(node.read("demo/config").starts_with("# by hand"));

    let config = node.place.dirs().config;
    let text = std::fs::read_to_string(&config).unwrap() + "[logs]\nkeep = \"3d\"\n";
    std::fs::write(&config, text).unwrap();
    until_true("the node's too", || node.read("settings").contains("\"259200s\""));
}

/// Path and id of everything in `dir`, and below. Without logs: one log is one file wherever its pane
/// is shown, and goes with its rotation.
fn ids(node: &Node, dir: &str, found: &mut BTreeMap<String, u64>) {
    for entry in node.tree.list(&Node::path(dir)).unwrap() {
        let path = if dir.is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
        if entry.stat.shape != Shape::Log {
            found.insert(path.clone(), entry.stat.id);
        }
        if entry.stat.shape.is_dir() {
            ids(node, &path, found);
        }
    }
}

#[test]
fn ids_are_of_one_object_each_and_the_same_after_a_restart() {
    let lab = crate::turns::Fakes::prepared(Lab::new());
    lab.configure("");
    let node = Node::start_in(lab);
    node.mkdir("demo").unwrap();
    node.mkdir("fake").unwrap();
    node.write("fake/input", "one\n").unwrap();
    node.write("fake/input", "two\n").unwrap();
    node.place.tmux_ok(&["split-window", "-t", "=demo:"]);
    until_true("the second pane is there", || node.ls("demo/panes").len() == 2);
    until_true("a prompt is over", || node.read("fake/turns/0001/status").contains("state: done"));
    let mut before = BTreeMap::new();
    ids(&node, "", &mut before);
    assert!(before.len() > 100, "{before:?}");
    let mut paths: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
    for (path, id) in &before {
        assert!((2..muxfs_tree::id::OWN).contains(id), "{path}: {id}");
        paths.entry(*id).or_default().push(path);
    }
    let shared: Vec<_> = paths.values().filter(|paths| paths.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:?}");

    let Node { tree, runtime, place } = node;
    runtime.block_on(tree.sessions().close());
    drop((tree, runtime));
    let node = Node::start_in(place);
    until_true("the sessions are there", || node.ls("").contains(&"demo".to_owned()));
    node.mkdir("other").unwrap();
    let mut after = BTreeMap::new();
    ids(&node, "", &mut after);
    for (path, id) in &before {
        // What waited is on its way.
        assert!(after.get(path) == Some(id) || path.starts_with("fake/queue/"), "{path}");
    }
    let new: Vec<_> = after.iter().filter(|(path, _)| path.starts_with("other/")).collect();
    assert!(!new.is_empty() && new.iter().all(|(_, id)| !paths.contains_key(id)), "{new:?}");
}

/// Who followed a log by its id and an offset goes on there, as if the node had not been away.
#[test]
fn a_followed_log_goes_on_after_a_restart() {
    let lab = Lab::new();
    lab.configure("");
    let mut node = Node::start_in(lab);
    node.mkdir("demo").unwrap();
    let open = |node: &Node, path: &str| {
        let (who, path) = (Caller::own(), Node::path(path));
        let follow = node.tree.follow(&who, Place::from(&path));
        let Ok(Follow::Log(log)) = node.runtime.block_on(follow) else { panic!("{path} is no log") };
        log
    };
    let rest = |node: &Node, log: &Arc<dyn Log>, from: u64| {
        String::from_utf8(node.runtime.block_on(log.read_at(from, 1 << 20)).unwrap().to_vec()).unwrap()
    };
    let mut seen: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    for round in 0..3 {
        node.write("demo/input", &format!("echo round-{round}\n")).unwrap();
        until_true("it is printed", || node.read("demo/logs").contains(&format!("\nround-{round}\n")));
        for path in ["demo/logs", "demo/raw", "logs", "logs.json"] {
            let log = open(&node, path);
            let (id, text) = seen.entry(path).or_insert((log.id(), String::new()));
            assert_eq!(*id, log.id(), "{path}");
            text.push_str(&rest(&node, &log, text.len() as u64));
        }
        let Node { tree, runtime, place } = node;
        if round == 0 {
            runtime.block_on(tree.sessions().close());
        }
        drop((tree, runtime)); // the other times without a word, as a crash does
        node = Node::start_in(place);
        until_true("the session is there", || node.ls("").contains(&"demo".to_owned()));
    }
    for (path, (_, text)) in &seen {
        let all = rest(&node, &open(&node, path), 0);
        assert!(all.starts_with(text), "{path}");
        let starts = |text: &str| text.matches(" starts").count();
        assert!(path.starts_with("demo") || starts(text) == 3, "{path}: {text}");
        assert!(*path != "demo/logs" || text.matches("\nround-").count() == 3, "{path}: {text}");
    }
}

/// Whoever saw a log before its rotation and opens it after it gets what they saw, or nothing.
#[test]
fn a_log_that_is_opened_by_its_id_is_no_other() {
    let lab = Lab::new();
    lab.configure("[logs]\nrotate = \"64KiB\"\n");
    let node = Node::start_in(lab);
    node.mkdir("demo").unwrap();
    let path = Node::path("demo/raw");
    let id = |name: &str| node.tree.stat(&Node::path(name)).unwrap().id;
    let first = id("demo/raw");
    let open = || {
        let who = Caller::own();
        node.runtime.block_on(node.tree.follow(&who, Place::new(&path, first)))
    };
    let rotate = |gone: u64| {
        until_true("a rotation", || {
            node.write("demo/input", "seq 1 40000\n").unwrap();
            node.read("demo/wait");
            node.ls("demo").contains(&"raw.1".to_owned()) && id("demo/raw.1") != gone
        });
    };
    rotate(0);
    let Ok(Follow::Log(log)) = open() else { panic!("it is raw.1 now") };
    assert_eq!((log.id(), id("demo/raw.1")), (first, first));
    assert_ne!(id("demo/raw"), first);
    rotate(first);
    assert_eq!(open().err().map(|e| e.kind), Some(muxfs_tree::base::error::Kind::Gone));
    assert_eq!(node.runtime.block_on(log.read_at(0, 1)).unwrap().len(), 1, "a reader keeps it");
}
