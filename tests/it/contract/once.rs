//! A gesture with an id happens once: sent twice in one life of the node, and sent again after a kill -9.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use muxfs_node::rows::modes::NodeModes;
use muxfs_node::rows::{LocalNode, NODE_SERIAL, rows_node};
use muxfs_node::session::{Dirs, Sessions};
use muxfs_tmux::OwnProgram;
use muxfs_tree::base::error::{Kind, Result};
use muxfs_tree::{Caller, Gesture, GestureId, Place, Receipt, Tree, Until};

use super::runtime;
use crate::support::{Lab, Node, until_true};

/// An operation that changes something, and how often it was done.
struct Case {
    name: &'static str,
    act: fn(Arc<LocalNode>, Gesture) -> BoxFuture<'static, Result<Receipt>>,
    count: fn(&Node) -> usize,
}

fn write(
    tree: Arc<LocalNode>,
    gesture: Gesture,
    path: &'static str,
    text: &'static str,
) -> BoxFuture<'static, Result<Receipt>> {
    Box::pin(async move {
        let body = Bytes::from_static(text.as_bytes());
        tree.write(&gesture, Place::from(&Node::path(path)), body, Until::Accepted).await
    })
}

fn make(
    tree: Arc<LocalNode>,
    gesture: Gesture,
    path: &'static str,
    text: Option<&'static str>,
) -> BoxFuture<'static, Result<Receipt>> {
    Box::pin(async move {
        let body = text.map(|text| Bytes::from_static(text.as_bytes()));
        tree.make(&gesture, &Node::path(path), body, Until::Accepted).await.map(|(_, receipt)| receipt)
    })
}

/// By the object that has the name before anything is done: its id is kept in a file beside.
fn meant(tree: &LocalNode, path: &str) -> u64 {
    let file = tree.sessions().about.dirs.state.join(format!("meant-{}", path.replace('/', "-")));
    match std::fs::read_to_string(&file) {
        Ok(id) => id.parse().unwrap(),
        Err(_) => {
            let id = tree.stat(&Node::path(path)).unwrap().id;
            std::fs::write(&file, id.to_string()).unwrap();
            id
        }
    }
}

fn remove(tree: Arc<LocalNode>, gesture: Gesture, path: &'static str) -> BoxFuture<'static, Result<Receipt>> {
    Box::pin(async move {
        let id = meant(&tree, path);
        tree.remove(&gesture, Place::new(&Node::path(path), id)).await
    })
}

fn rename(
    tree: Arc<LocalNode>,
    gesture: Gesture,
    from: &'static str,
    to: &'static str,
) -> BoxFuture<'static, Result<Receipt>> {
    Box::pin(async move {
        let id = meant(&tree, from);
        tree.rename(&gesture, Place::new(&Node::path(from), id), &Node::path(to)).await
    })
}

fn has(node: &Node, dir: &str, name: &str) -> usize {
    usize::from(node.ls(dir).iter().any(|n| n == name))
}

/// How often a program shows a text.
fn shown(node: &Node, text: &str) -> usize {
    node.read("t/output").matches(text).count()
}

const CASES: &[Case] = &[
    Case { name: "mkdir", act: |t, g| make(t, g, "new", None), count: |n| has(n, "", "new") },
    Case {
        name: "input",
        act: |t, g| write(t, g, "q/input", "one prompt\n"),
        count: |n| {
            n.ls("q/queue").iter().filter(|p| n.read(&format!("q/queue/{p}")) == "one prompt\n").count()
        },
    },
    Case {
        name: "queue",
        act: |t, g| make(t, g, "q/queue/build", Some("built\n")),
        count: |n| has(n, "q/queue", "build"),
    },
    Case { name: "rm", act: |t, g| remove(t, g, "q/queue/gone"), count: |n| 1 - has(n, "q/queue", "gone") },
    Case {
        name: "mv",
        act: |t, g| rename(t, g, "q/queue/old", "q/queue/young"),
        count: |n| has(n, "q/queue", "young"),
    },
    Case { name: "rmdir", act: |t, g| remove(t, g, "ends"), count: |n| 1 - has(n, "", "ends") },
    Case { name: "mv a session", act: |t, g| rename(t, g, "was", "is"), count: |n| has(n, "", "is") },
    Case { name: "text", act: |t, g| write(t, g, "t/text", "xtextx"), count: |n| shown(n, "xtextx") },
    Case { name: "keys", act: |t, g| write(t, g, "t/keys", "y z y"), count: |n| shown(n, "yzy") },
    Case { name: "steer", act: |t, g| write(t, g, "t/steer", "xsteerx\n"), count: |n| shown(n, "xsteerx") },
    Case { name: "ctl", act: |t, g| write(t, g, "ctl", "new made\n"), count: |n| has(n, "", "made") },
    Case {
        name: "config",
        act: |t, g| write(t, g, "t/config", "turns = \"off\"\n"),
        count: |n| usize::from(n.read("t/config") == "turns = \"off\"\n"),
    },
    Case {
        name: "chmod",
        act: |t, g| {
            Box::pin(
                async move { t.set_mode(&g, Place::from(&Node::path("t/status")), Some(0o440), None).await },
            )
        },
        count: |n| usize::from(n.tree.stat(&Node::path("t/status")).unwrap().mode == 0o440),
    },
];

fn gesture(id: u128) -> Gesture {
    Gesture::of(&Caller::own()).with_id(GestureId(id))
}

/// A node with something to act on: a session whose first prompt never ends, so that others wait; one that
/// shows what is typed; and some to be ended and renamed.
fn prepared() -> Node {
    let node = Node::start();
    for name in ["q", "t", "ends", "was"] {
        node.mkdir(name).unwrap();
    }
    node.write("q/config", "turns = \"on\"\n").unwrap();
    node.write("q/input", "sleep 1000\n").unwrap();
    until_true("the first prompt runs", || node.read("q/status").contains("turn: 0001"));
    for name in ["gone", "old"] {
        let (gesture, at) = (Gesture::of(&Caller::own()), Node::path(&format!("q/queue/{name}")));
        let made = node.tree.make(&gesture, &at, Some(Bytes::from_static(b"waits\n")), Until::Accepted);
        node.runtime.block_on(made).unwrap();
    }
    node.write("t/input", "stty -echo -icanon; exec cat\n").unwrap();
    until_true("cat runs", || node.read("t/status").contains("command: cat"));
    // Each byte is shown once, and at once.
    node
}

/// Ends the node as a kill would have it: what it keeps is on disk, its tmux server runs.
pub fn stop(node: Node) -> Lab {
    let Node { tree, runtime, place } = node;
    runtime.block_on(tree.sessions().close());
    drop((tree, runtime));
    place
}

impl Case {
    /// The id of its gesture.
    fn id(&self) -> u128 {
        1 + CASES.iter().position(|case| case.name == self.name).unwrap() as u128
    }
}

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// The other process of these tests: a node that does what it is told to, and dies of a SIGKILL before
/// anybody hears its answer.
#[test]
fn does_it_and_is_killed() {
    let Some(dir) = std::env::var_os("MUXFS_TEST_ONCE") else { return };
    let dir = std::path::PathBuf::from(dir);
    let case = case(&std::env::var("MUXFS_TEST_CASE").unwrap());
    let dirs =
        Dirs { state: dir.join("state"), runtime: dir.join("run"), config: dir.join("config/muxfs.toml") };
    let rt = runtime();
    let tree = rt.block_on(async {
        let own = OwnProgram::new(env!("CARGO_BIN_EXE_muxfs"));
        let (modes, _) = NodeModes::load(dir.join("state/modes.json"));
        let sessions = Sessions::start(dirs, own, NODE_SERIAL + 1, rows_node::reserved).await.unwrap();
        LocalNode::new(sessions, Arc::new(modes))
    });
    until_true("the sessions", || tree.stat(&Node::path("t/text")).is_ok());
    std::fs::write(dir.join("ready"), "").unwrap();
    until_true("leave to begin", || dir.join("go").exists());
    rt.block_on((case.act)(tree, gesture(case.id()))).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn other(place: &Lab, case: &Case) -> Child {
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "contract::once::does_it_and_is_killed", "--nocapture"]);
    other.env("MUXFS_TEST_ONCE", place.path("")).env("MUXFS_TEST_CASE", case.name);
    other.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn again(node: &Node, case: &Case, id: u128) -> Result<Receipt> {
    node.runtime.block_on((case.act)(node.tree.clone(), gesture(id)))
}

#[test]
fn each_operation_is_done_once_in_one_life() {
    let node = prepared();
    for case in CASES {
        let first = again(&node, case, case.id()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        until_true(&format!("{} is done", case.name), || (case.count)(&node) == 1);
        let second = again(&node, case, case.id()).unwrap_or_else(|e| panic!("{} again: {e}", case.name));
        assert_eq!(first.turn, second.turn, "{}", case.name);
        assert_eq!((case.count)(&node), 1, "{}", case.name);
    }
    // Under another id it is another gesture.
    for name in ["mkdir", "queue", "ctl"] {
        assert_eq!(again(&node, case(name), 100).unwrap_err().kind, Kind::Exists, "{name}");
    }
    again(&node, case("text"), 200).unwrap();
    until_true("the text twice", || shown(&node, "xtextx") == 2);
}

#[test]
fn each_operation_is_done_once_over_a_kill() {
    let mut place = stop(prepared());
    for case in CASES {
        use std::os::unix::process::ExitStatusExt;
        std::fs::write(place.path("go"), "").unwrap();
        let ended = other(&place, case).wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "{}", case.name);
        let node = Node::start_in(place);
        until_true("the sessions", || node.tree.stat(&Node::path("t/text")).is_ok());
        until_true(&format!("{} was done", case.name), || (case.count)(&node) == 1);
        for _ in 0..2 {
            again(&node, case, case.id()).unwrap_or_else(|e| panic!("{} after the kill: {e}", case.name));
        }
        assert_eq!((case.count)(&node), 1, "{}", case.name);
        place = stop(node);
    }
}

#[test]
fn what_a_kill_interrupts_is_not_known_and_not_done_again() {
    let place = stop(prepared());
    let case = case("text");
    let server = muxfs_tmux::process::server_pid(&place.socket()).unwrap().cast_signed();
    let server = nix::unistd::Pid::from_raw(server);
    let mut child = other(&place, case);
    until_true("the node", || place.path("ready").exists());
    // So that tmux does not answer before the daemon is gone.
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGSTOP).unwrap();
    std::fs::write(place.path("go"), "").unwrap();
    until_true("the gesture is under way", || {
        let begun = std::fs::read_to_string(place.path("state/node/gestures")).unwrap_or_default();
        begun.contains(&GestureId(case.id()).to_string())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGCONT).unwrap();
    let node = Node::start_in(place);
    until_true("the sessions", || node.tree.stat(&Node::path("t/text")).is_ok());
    for _ in 0..2 {
        let told = again(&node, case, case.id()).unwrap_err();
        assert!(told.kind == Kind::TimedOut && told.text().contains("not known"), "{told}");
    }
    assert!(shown(&node, "xtextx") <= 1);
    again(&node, case, 100).unwrap();
    until_true("another gesture is done", || shown(&node, "xtextx") >= 1);
}

/// What stands in the file of gestures when the daemon is killed at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// It has begun, and nothing is done.
    BeforeDoing,
    /// It is done, and nothing says so.
    AfterDoing,
}

/// Those of which nothing but the file says what became of them.
const WRITTEN_DOWN: &[&str] = &["text", "keys", "steer", "ctl", "config"];

#[test]
fn at_each_point_of_a_kill_nothing_is_done_twice() {
    let mut place = stop(prepared());
    let file = |place: &Lab| place.path("state/node/gestures");
    for name in WRITTEN_DOWN {
        let case = case(name);
        for point in [Point::BeforeDoing, Point::AfterDoing] {
            let _ = std::fs::remove_file(file(&place));
            let node = Node::start_in(place);
            until_true("the sessions", || node.tree.stat(&Node::path("t/text")).is_ok());
            let before = (case.count)(&node);
            assert_eq!(before, 0, "{name}: {point:?}");
            if point == Point::AfterDoing {
                again(&node, case, case.id()).unwrap();
                until_true(&format!("{name} is done"), || (case.count)(&node) == 1);
            }
            place = stop(node);
            // As the file is then: the beginning, and no end.
            let (by, id) = gesture(case.id()).key().unwrap();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let begun = serde_json::json!({"id": id, "by": by, "at": now.as_millis() as u64});
            std::fs::create_dir_all(place.path("state/node")).unwrap();
            std::fs::write(file(&place), format!("{begun}\n")).unwrap();
            let node = Node::start_in(place);
            until_true("the sessions", || node.tree.stat(&Node::path("t/text")).is_ok());
            for _ in 0..2 {
                match again(&node, case, case.id()) {
                    // It can be seen that these settings are in force.
                    Ok(_) => assert!(*name == "config" && point == Point::AfterDoing, "{name}: {point:?}"),
                    Err(e) => {
                        assert!(e.kind == Kind::TimedOut && e.text().contains("not known"), "{name}: {e}");
                        assert!(*name != "config" || point == Point::BeforeDoing, "{name}: {point:?}");
                    }
                }
            }
            let after = (case.count)(&node);
            assert_eq!(after, usize::from(point == Point::AfterDoing), "{name}: {point:?}");
            place = stop(node);
        }
    }
}

#[test]
fn an_object_is_meant_by_its_id_whatever_it_is_called() {
    let node = prepared();
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        // A session that is made, and renamed before the second sending.
        let made = tree.make(&gesture(50), &Node::path("first"), None, Until::Accepted).await.unwrap().0;
        node.tree
            .rename(&gesture(51), Place::from(&Node::path("first")), &Node::path("second"))
            .await
            .unwrap();
        let again = tree.make(&gesture(50), &Node::path("first"), None, Until::Accepted).await.unwrap().0;
        assert_eq!((again.id, tree.stat(&Node::path("first")).is_err()), (made.id, true), "no second one");
        // What has another name is not gone.
        for (from, to) in [("second", "third"), ("q/queue/old", "q/queue/new")] {
            let (from, to) = (Node::path(from), Node::path(to));
            let id = tree.stat(&from).unwrap().id;
            tree.rename(&gesture(52), Place::new(&from, id), &to).await.unwrap();
            let removed = tree.remove(&gesture(53), Place::new(&from, id)).await;
            assert!(removed.is_err() && tree.stat(&to).is_ok(), "{from}: {removed:?}");
        }
        let fixed = Node::path("q/status");
        assert!(tree.remove(&gesture(54), Place::new(&fixed, 12345)).await.is_err());
        // Ended since, it is not made once more by the same gesture.
        let third = Node::path("third");
        tree.remove(&gesture(55), Place::new(&third, made.id)).await.unwrap();
        tree.remove(&gesture(55), Place::new(&third, made.id)).await.unwrap();
        let late = tree.make(&gesture(50), &Node::path("first"), None, Until::Accepted).await;
        assert!(late.is_err() && tree.stat(&Node::path("first")).is_err(), "{late:?}");
    });
}

#[test]
fn a_prompt_is_remembered_when_turns_are_switched() {
    let node = prepared();
    let first = again(&node, case("input"), 60).unwrap();
    node.write("q/config", "turns = \"off\"\n").unwrap();
    let second = again(&node, case("input"), 60).unwrap();
    assert_eq!((second.turn.clone(), (case("input").count)(&node)), (first.turn, 1));
    assert!(second.turn.is_some());
}
