//! Random names, paths, bytes and orders of operations against the real node and real tmux, with
//! a reference model: which sessions there are, which modes and settings they have. No panic, no
//! fault of ours, no difference.

use std::collections::BTreeMap;
use std::sync::Mutex;

use muxfs_tree::base::error::{Kind, Result};
use muxfs_tree::{Access, Caller, Gesture, Intent, Place, Tree, TreePath};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Node, until_true};

#[derive(Debug, Clone)]
enum Op {
    Mkdir(String),
    Rmdir(String),
    Mv(String, String),
    Write(String, Vec<u8>),
    Config(String, Vec<u8>),
    Chmod(String, u32),
    Read(String),
    List(String),
    Ctl(String, Vec<u8>),
}

/// Few good names, so that operations meet; odd ones between them.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "a:b", "a.b", "-t", "=a", "a b", "#{pid}", "$HOME", "%2F", "%41", "status", "_muxfs", "é", "{last}",
        ])
        .prop_map(str::to_owned),
        1 => "[ -~]{1,12}".prop_filter("a name", |n| !n.contains('/') && n != "." && n != ".."),
    ]
}

fn file() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "input",
        "text",
        "keys",
        "output",
        "screen",
        "logs",
        "raw",
        "status",
        "status.json",
        "config",
        "config.error",
        "ctl",
        "panes",
        "panes/0.0/status",
        "panes/0.0/input",
        "panes/7.7",
        "logs.1",
        "nothing",
        "config/x",
    ])
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    (name(), file()).prop_map(|(n, f)| format!("{n}/{f}"))
}

/// Nothing that ends a shell: the model does not know states.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"true\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"Escape C-c\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut b| {
            b.insert(0, b'#');
            b.retain(|c| *c != b'\n' && *c != 4);
            b
        }),
    ]
}

fn settings() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "# [a-z]{0,8}\n".prop_map(String::into_bytes),
        Just(b"logs = false\n".to_vec()),
        Just(b"logs = 3\n".to_vec()),
        Just(b"pane = '0.0'\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => name().prop_map(Op::Mkdir),
        2 => name().prop_map(Op::Rmdir),
        2 => (name(), name()).prop_map(|(a, b)| Op::Mv(a, b)),
        3 => (path(), bytes()).prop_map(|(p, b)| Op::Write(p, b)),
        3 => (name(), settings()).prop_map(|(n, b)| Op::Config(n, b)),
        2 => (path(), 0u32..0o1000).prop_map(|(p, m)| Op::Chmod(p, m)),
        3 => path().prop_map(Op::Read),
        1 => name().prop_map(Op::List),
        2 => (name(), "[a-z]{2,6}( [a-z]{1,5})?\n".prop_map(String::into_bytes)).prop_map(|(n, b)| Op::Ctl(n, b)),
    ]
}

/// What is known of a session without asking the node.
#[derive(Default, Clone)]
struct Known {
    config: Option<Vec<u8>>,
    modes: BTreeMap<String, u32>,
}

impl Known {
    /// Whether its owner may do this with the config: `chmod` may have taken it away.
    fn config_is_for(&self, owner: u32) -> bool {
        self.modes.get("config").is_none_or(|mode| mode & owner != 0)
    }
}

struct Run<'a> {
    node: &'a Node,
    model: BTreeMap<String, Known>,
}

/// A fault of ours is never an answer.
fn answered<T>(what: &str, result: Result<T>) -> std::result::Result<T, Kind> {
    result.map_err(|e| {
        assert!(
            !matches!(e.kind, Kind::Bug | Kind::Stale | Kind::TimedOut | Kind::Unreachable),
            "{what}: {e:?}"
        );
        e.kind
    })
}

/// Whether a session of this name can be made here.
fn possible(name: &str) -> bool {
    let name = muxfs_tree::base::names::new_session(name, &muxfs_node::rows::rows_node::reserved);
    name.is_ok_and(|name| muxfs_tmux::session::check_name(&name).is_ok())
}

impl Run<'_> {
    fn step(&mut self, op: &Op) {
        let what = format!("{op:?}");
        let (node, who) = (self.node, Caller::own());
        match op {
            Op::Mkdir(name) => {
                let made = answered(&what, node.mkdir(name));
                let fits = possible(name) && !self.model.contains_key(name);
                assert_eq!(made.is_ok(), fits, "{what}: {made:?}");
                if fits {
                    self.model.insert(name.clone(), Known::default());
                }
            }
            Op::Rmdir(name) => {
                let gone = answered(&what, node.rmdir(name));
                assert_eq!(gone.is_ok(), self.model.remove(name).is_some(), "{what}: {gone:?}");
            }
            Op::Mv(from, to) => {
                let moved = answered(&what, node.mv(from, to));
                let fits = self.model.contains_key(from) && possible(to) && !self.model.contains_key(to);
                assert_eq!(moved.is_ok(), fits, "{what}: {moved:?}");
                if fits {
                    let known = self.model.remove(from).unwrap();
                    self.model.insert(to.clone(), known);
                }
            }
            Op::Write(path, bytes) => {
                // Documents have an operation of their own.
                let Some(path) = TreePath::parse(path).filter(|p| p.name() != "config") else { return };
                let written = answered(&what, node.write_bytes(&path, bytes));
                let there = path.split_first().is_some_and(|(s, _)| self.model.contains_key(s));
                assert!(written.is_err() || there, "{what}: nobody is there");
            }
            Op::Config(name, bytes) => {
                let path = Node::path(&format!("{name}/config"));
                let saved = answered(&what, node.write_bytes(&path, bytes));
                let good = std::str::from_utf8(bytes)
                    .is_ok_and(|t| muxfs_node::config::SessionConfig::parse(t, true).is_ok());
                let may = self.model.get(name).is_some_and(|known| known.config_is_for(0o200));
                assert_eq!(saved.is_ok(), good && may, "{what}: {saved:?}");
                if let (Ok(()), Some(known)) = (saved, self.model.get_mut(name)) {
                    known.config = Some(bytes.clone());
                }
            }
            Op::Chmod(path, mode) => {
                let Some(path) = TreePath::parse(path) else { return };
                let gesture = Gesture::of(&who);
                let set = node.tree.set_mode(&gesture, Place::from(&path), Some(*mode), None);
                let set = node.runtime.block_on(set);
                let (name, file) = path.split_first().unwrap();
                if answered(&what, set).is_ok() {
                    let known = self.model.get_mut(name).unwrap_or_else(|| panic!("{what}: nobody is there"));
                    let private = file.name().starts_with("config");
                    known.modes.insert(file.as_str().to_owned(), if private { mode & 0o700 } else { *mode });
                }
            }
            Op::Read(path) => {
                let Some(parsed) = TreePath::parse(path) else { return };
                let admitted = node.tree.admit(&who, Intent::Open(Place::from(&parsed), Access::Read));
                if answered(&what, admitted).is_ok() {
                    let _ = answered(&what, node.try_read(path));
                }
            }
            Op::List(name) => {
                let listed = answered(&what, node.tree.list(&Node::path(name)));
                let file = muxfs_node::rows::rows_node::ROWS.iter().any(|r| r.name == name);
                assert_eq!(listed.is_ok() && !file, self.model.contains_key(name), "{what}");
            }
            Op::Ctl(name, line) => {
                let verb = String::from_utf8_lossy(line).split_whitespace().next().unwrap_or("").to_owned();
                if matches!(verb.as_str(), "stop" | "start" | "restart" | "apply") {
                    return;
                }
                let path = Node::path(&format!("{name}/ctl"));
                let done = answered(&what, node.write_bytes(&path, line));
                assert!(done.is_err(), "{what}: no such verb");
            }
        }
    }

    /// The whole tree against the whole model.
    fn compare(&self) {
        let reserved = muxfs_node::rows::rows_node::ROWS;
        let mut names: Vec<_> = self.node.ls("");
        names.retain(|n| !reserved.iter().any(|r| n.trim_end_matches(".1") == r.name));
        names.sort();
        assert_eq!(names, self.model.keys().cloned().collect::<Vec<_>>());
        for (name, known) in &self.model {
            let read = self.node.try_read(&format!("{name}/config"));
            match (&known.config, known.config_is_for(0o400)) {
                (Some(config), true) => assert_eq!(read.expect(name).as_bytes(), config, "{name}"),
                (None, true) => assert!(read.is_ok(), "{name}: {read:?}"),
                (_, false) => assert_eq!(read.map_err(|e| e.kind), Err(Kind::Denied), "{name}"),
            }
            for (file, mode) in &known.modes {
                let stat = self.node.tree.stat(&Node::path(&format!("{name}/{file}")));
                assert_eq!(stat.map(|s| s.mode).ok(), Some(*mode), "{name}/{file}");
            }
        }
    }
}

#[test]
fn random_operations_agree_with_the_model() {
    let cases = std::env::var("MUXFS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let node = Mutex::new(Node::start());
    let ops = prop::collection::vec(op(), 1..30);
    TestRunner::new(config)
        .run(&ops, |ops| {
            // A failed case panics with the node locked; shrinking goes on with it.
            let node = node.lock().unwrap_or_else(|e| e.into_inner());
            for name in node.ls("") {
                let _ = node.rmdir(&name);
            }
            let mut run = Run { node: &node, model: BTreeMap::new() };
            for op in &ops {
                run.step(op);
                run.compare();
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    let node = node.into_inner().unwrap();
    until_true("it still works", || node.mkdir("last").is_ok() || node.ls("").contains(&"last".to_owned()));
    assert_eq!(node.read("last/wait"), "ready\n");
}

/// tmux's server ends with its last session, and is there again for the next.
#[test]
fn a_session_is_made_right_after_the_last_one_ended() {
    let node = Node::start();
    for round in 0..12 {
        node.mkdir("demo").unwrap_or_else(|e| panic!("round {round}: {e}"));
        node.rmdir("demo").unwrap();
    }
}
