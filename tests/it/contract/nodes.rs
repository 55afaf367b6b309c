//! Many nodes under one root: they come, go and are replaced, and one that fails hurts no other.

use std::sync::Arc;
use std::time::Instant;

use muxfs_node::rows::modes::NodeModes;
use muxfs_node::rows::root::Root;
use muxfs_tree::base::error::{Error, Kind};
use muxfs_tree::nodes::Nodes;
use muxfs_tree::union::Union;
use muxfs_tree::{Caller, Change, Gesture, Intent, Place, Tree, TreePath, Until};

use super::runtime;
use crate::fs_door::fake::{Fake, path};
use crate::support::{LIMIT, Node};

/// A mount's tree over a local node, and the nodes in it.
pub fn mounted(node: &Node) -> (Arc<Union>, Arc<Nodes>) {
    let _in = node.runtime.enter();
    let (modes, _) = NodeModes::load(node.place.path("state/modes.json"));
    let sessions = node.tree.sessions().clone();
    let errors = sessions.journal.refusals_in(&node.place.path("state/root"), "errors");
    let nodes = Nodes::new();
    let front = Root::new("here", "help\n".into(), Arc::new(modes), nodes.clone(), errors, sessions);
    nodes.add("here", node.tree.clone()).unwrap();
    (Union::new(front, nodes.clone()), nodes)
}

fn names(tree: &dyn Tree, at: &str) -> Vec<String> {
    tree.list(&path(at)).unwrap().into_iter().map(|e| e.name).collect()
}

async fn text(tree: &dyn Tree, at: &str) -> String {
    let bytes = tree.read(&Caller::own(), Place::from(&path(at))).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The next change that `met` wants.
async fn change(changes: &mut tokio::sync::broadcast::Receiver<Change>, met: impl Fn(&Change) -> bool) {
    let next = async {
        loop {
            let change = changes.recv().await.unwrap();
            if met(&change) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, next).await.expect("it is told");
}

#[test]
fn ten_thousand_nodes_come_and_go() {
    let rt = runtime();
    let _in = rt.enter();
    let nodes = Nodes::new();
    let union = Union::new(Fake::node(), nodes.clone());
    for n in 0..10_000 {
        nodes.add(&format!("n{n:05}"), Fake::node()).unwrap();
    }
    let begun = Instant::now();
    let all = names(&*union, "");
    assert_eq!(all.iter().filter(|name| name.starts_with('n')).count(), 10_000);
    eprintln!("ls of 10,000 nodes: {:?}", begun.elapsed());
    assert_eq!(nodes.add("n00007", Fake::node()).unwrap_err().kind, Kind::Exists);
    for bad in ["", ".", "..", "a/b", ".self", "a.b"] {
        assert_eq!(nodes.add(bad, Fake::node()).unwrap_err().kind, Kind::Invalid, "{bad:?}");
    }

    rt.block_on(async {
        let mut changes = union.changes();
        let below = |name: &'static str| move |c: &Change| *c == Change::Everything { below: path(name) };
        nodes.remove("n00007").unwrap();
        change(&mut changes, below("n00007")).await;
        assert_eq!(union.stat(&path("n00007/s")).unwrap_err().kind, Kind::NotFound);
        assert_eq!(nodes.remove("n00007").unwrap_err().kind, Kind::NotFound);

        let other = Fake::node();
        other.add_session("t");
        nodes.replace("n00008", other.clone()).unwrap();
        change(&mut changes, below("n00008")).await;
        assert!(names(&*union, "n00008").contains(&"t".to_owned()));
        assert_eq!(nodes.replace("n00007", Fake::node()).unwrap_err().kind, Kind::NotFound);
        // The one in its place is heard, the one before is not.
        other.add_session("u");
        change(&mut changes, |c| *c == Change::Name { dir: path("n00008"), name: "u".into() }).await;
    });
}

#[test]
fn a_node_that_fails_hurts_no_listing() {
    let rt = runtime();
    let _in = rt.enter();
    let nodes = Nodes::new();
    let union = Union::new(Fake::node(), nodes.clone());
    let (good, bad) = (Fake::node(), Fake::node());
    nodes.add("good", good).unwrap();
    nodes.add("bad", bad.clone()).unwrap();
    bad.forget(""); // not even its root is known
    assert!(names(&*union, "").contains(&"good".to_owned()));
    assert!(!names(&*union, "").contains(&"bad".to_owned()));
    assert_eq!(names(&*union, "good"), ["s"]);
}

#[test]
fn the_root_tells_of_every_node() {
    let node = Node::start();
    node.mkdir("one").unwrap();
    let (root, nodes) = mounted(&node);
    let far = Fake::node();
    node.runtime.block_on(async {
        let mut changes = root.changes();
        nodes.add("far", far.clone()).unwrap();
        let lines = text(&*root, ".nodes").await;
        let words: Vec<Vec<&str>> = lines.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!((words[0][0], words[0][1], words[0][4]), ("far", "online", "memory"), "{lines}");
        assert_eq!((words[1][0], words[1][4], words[1][6]), ("here", "local", "1"), "{lines}");
        let json: serde_json::Value = serde_json::from_str(&text(&*root, ".nodes.json").await).unwrap();
        for key in ["os", "arch", "cores", "load", "memory", "agents", "why"] {
            assert!(json[1].get(key).is_some(), "{key}: {json}");
        }

        // A session of any node that asks is in the inbox, from what the node says of it.
        assert_eq!(names(&*root, ".inbox"), [""; 0]);
        far.state("s", "blocked");
        let asks = |c: &Change| *c == Change::Name { dir: path(".inbox"), name: "far.s".into() };
        change(&mut changes, asks).await;
        assert_eq!(names(&*root, ".inbox"), ["far.s"]);
        assert_eq!(text(&*root, ".inbox/far.s").await, "../far/s");
        far.state("s", "ready");
        change(&mut changes, asks).await;
        assert_eq!(root.stat(&path(".inbox/far.s")).unwrap_err().kind, Kind::NotFound);
        far.state("s", "blocked");
        change(&mut changes, asks).await;
        nodes.remove("far").unwrap();
        assert_eq!(names(&*root, ".inbox"), [""; 0]);
    });
}

#[test]
fn what_no_node_refuses_stands_in_the_mounts_own_errors() {
    let node = Node::start();
    let (root, nodes) = mounted(&node);
    let far = Fake::node();
    let who = Caller::own();
    node.runtime.block_on(async {
        nodes.add("far", far.clone()).unwrap();
        root.refused(&who, &path("nobody/x"), &Error::new(Kind::Never, "no such node"));
        root.refused(&who, &path("far/s/x"), &Error::new(Kind::Never, "not there"));
        root.refused(&who, &path("here/x"), &Error::new(Kind::Never, "not here"));
        let read = async |at: &str| {
            let at = path(at);
            let muxfs_tree::Follow::Log(log) = root.follow(&who, Place::from(&at)).await.unwrap() else {
                panic!("{at}: no log")
            };
            String::from_utf8(log.read_at(0, 1 << 20).await.unwrap().to_vec()).unwrap()
        };
        let errors = read(".errors").await;
        assert!(errors.contains("nobody/x") && errors.lines().count() == 1, "{errors}");
        assert_eq!(root.stat(&path(".errors")).unwrap().size, errors.len() as u64);
        assert!(read("here/errors").await.contains("not here"));
        assert_eq!(far.refusals(), ["s/x: not there"]);
        let gesture = Gesture::of(&who);
        let made = root.make(&gesture, &TreePath::root().join("new"), None, Until::Accepted).await;
        assert_eq!(made.unwrap_err().kind, Kind::Never);
        assert_eq!(root.admit(&who, Intent::Make(&path("new"))).unwrap_err().kind, Kind::Never);
    });
}
