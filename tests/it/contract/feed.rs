//! The feed of the local node: what a copy of it would know.

use bytes::Bytes;
use muxfs_tree::node::{Node as _, Update};
use muxfs_tree::{Caller, Change, Gesture, Place, Position, Tree, Until};

use super::Follower;
use crate::support::Node;

fn gesture() -> Gesture {
    Gesture::of(&Caller::own())
}

/// Follows until the receipt's position is reached.
async fn reach(follower: &mut Follower, at: Position) {
    follower
        .until("the receipt's position", |f| f.last.is_some_and(|last| last.sequence >= at.sequence))
        .await;
    assert_eq!(follower.last.map(|last| last.epoch), Some(at.epoch));
}

#[test]
fn a_follower_sees_its_own_writes_at_their_position() {
    let node = Node::start();
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        let mut follower = Follower::new(&tree);
        let Update::Snapshot { all, .. } = follower.step().await else { panic!("a snapshot first") };
        let (files, about) = (all.files, all.node);
        assert!(files.iter().any(|f| f.dir == "<node>/<session>" && f.name == "input"), "{files:?}");
        assert_eq!((about.sessions, about.via.as_str()), (0, "local"));

        let (stat, receipt) = tree.make(&gesture(), &Node::path("one"), None, Until::Accepted).await.unwrap();
        reach(&mut follower, receipt.at).await;
        let one = follower.session("one").expect("it is told").clone();
        assert_eq!(one.id, stat.id, "by the id that its directory has");
        for name in ["logs", "raw"] {
            let log = tree.stat(&Node::path(&format!("one/{name}"))).unwrap();
            assert!(one.logs.iter().any(|(n, id, _)| n == name && *id == log.id), "{:?}", one.logs);
        }

        let (from, to) = (Node::path("one"), Node::path("two"));
        let receipt = tree.rename(&gesture(), Place::new(&from, one.id), &to).await.unwrap();
        reach(&mut follower, receipt.at).await;
        assert_eq!(follower.session("two").map(|s| s.id), Some(one.id), "the same one under another name");
        assert!(follower.session("one").is_none());

        let at = Node::path("two/status");
        let receipt = tree.set_mode(&gesture(), Place::from(&at), Some(0o440), None).await.unwrap();
        reach(&mut follower, receipt.at).await;
        let modes = &follower.session("two").unwrap().modes;
        assert!(modes.contains(&("status".into(), Some(0o440), None)), "{modes:?}");

        let (at, text) = (Node::path("two/config"), Bytes::from_static(b"turns = \"on\"\n"));
        let before = follower.session("two").unwrap().documents.clone();
        let receipt = tree.write(&gesture(), Place::from(&at), text, Until::Accepted).await.unwrap();
        reach(&mut follower, receipt.at).await;
        assert_ne!(follower.session("two").unwrap().documents, before, "size and time of the settings");

        let receipt = tree.remove(&gesture(), Place::from(&to)).await.unwrap();
        reach(&mut follower, receipt.at).await;
        assert!(follower.known.is_empty(), "{:?}", follower.known);
    });
}

#[test]
fn states_queues_and_refusals_are_told() {
    let node = Node::start();
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        let mut follower = Follower::new(&tree);
        let at = Node::path("sh");
        tree.make(&gesture(), &at, None, Until::Accepted).await.unwrap();
        follower.until("ready", |f| f.session("sh").is_some_and(|s| s.state == "ready")).await;
        assert_eq!(follower.session("sh").unwrap().agent.as_deref(), Some("shell"));
        assert!(follower.session("sh").unwrap().refuses.is_empty());
        let (input, text) = (Node::path("sh/input"), Bytes::from_static(b"exit 3\n"));
        tree.write(&gesture(), Place::from(&input), text, Until::Accepted).await.unwrap();
        follower.until("exited", |f| f.session("sh").is_some_and(|s| s.detail == "exited 3")).await;
        follower
            .until("refusals", |f| {
                let refuses = &f.session("sh").unwrap().refuses;
                ["input", "text", "keys"].iter().all(|file| refuses.iter().any(|(name, ..)| name == file))
            })
            .await;
        for (name, kind, _) in &follower.session("sh").unwrap().refuses {
            let at = Node::path(&format!("sh/{name}"));
            let intent = muxfs_tree::Intent::Open(Place::from(&at), muxfs_tree::Access::Write);
            assert_eq!(tree.admit(&Caller::own(), intent).unwrap_err().kind, *kind, "{name}");
        }
    });
}

#[test]
fn a_follower_that_lags_gets_a_snapshot() {
    let node = Node::start();
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        let mut follower = Follower::new(&tree);
        follower.step().await;
        tree.make(&gesture(), &Node::path("one"), None, Until::Accepted).await.unwrap();
        let at = Node::path("one/status");
        // More moves than are kept for anybody.
        for n in 0..5000 {
            tree.sessions().tables.tell_moved(muxfs_node::session::Moved::Conversation {
                session: "one".into(),
                name: n.to_string(),
            });
        }
        let receipt = tree.set_mode(&gesture(), Place::from(&at), Some(0o440), None).await.unwrap();
        reach(&mut follower, receipt.at).await;
        assert!(follower.snapshots >= 2);
        // What came before the snapshot is not told after it.
        let at = Node::path("one/screen");
        let receipt = tree.set_mode(&gesture(), Place::from(&at), Some(0o440), None).await.unwrap();
        reach(&mut follower, receipt.at).await;
        let told = follower.session("one").expect("nothing is lost");
        assert!(told.modes.contains(&("status".into(), Some(0o440), None)));
    });
}

#[test]
fn a_restart_is_another_epoch_with_the_same_ids() {
    let node = Node::start();
    node.mkdir("one").unwrap();
    let first = node.tree.sessions().tables.position();
    let id = node.tree.session("one").unwrap().id;
    let Node { tree, runtime, place } = node;
    runtime.block_on(tree.sessions().close());
    drop((tree, runtime));
    let node = Node::start_in(place);
    crate::support::until_true("the session is there", || node.ls("").contains(&"one".to_owned()));
    assert_ne!(node.tree.sessions().tables.position().epoch, first.epoch);
    assert_eq!(node.tree.session("one").unwrap().id, id);
}

#[test]
fn attributes_are_told_to_doors() {
    let node = Node::start();
    node.mkdir("one").unwrap();
    let mut changes = node.tree.changes();
    let at = Node::path("one/status");
    node.runtime.block_on(async {
        node.tree.set_mode(&gesture(), Place::from(&at), Some(0o440), None).await.unwrap();
        let told =
            async { while changes.recv().await.unwrap() != (Change::Attributes { at: at.clone() }) {} };
        tokio::time::timeout(crate::support::LIMIT, told).await.unwrap();
    });
}

#[test]
fn two_sessions_that_swap_their_names_stay_what_they_are() {
    let node = Node::start();
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        let mut ids = Vec::new();
        for name in ["a", "b"] {
            let made = tree.make(&gesture(), &Node::path(name), None, Until::Accepted).await.unwrap();
            ids.push(made.0.id);
        }
        let mut follower = Follower::new(&tree);
        follower.step().await;
        // One line of tmux: nobody sees the name in between.
        let swap = ["rename-session", "-t", "=a", "c", ";", "rename-session", "-t", "=b", "a", ";"];
        node.place.tmux_ok(&[&swap[..], &["rename-session", "-t", "=c", "b"]].concat());
        let swapped = |f: &Follower| {
            f.session("a").is_some_and(|s| s.id == ids[1]) && f.session("b").is_some_and(|s| s.id == ids[0])
        };
        while !swapped(&follower) {
            let update = follower.step().await;
            assert!(!matches!(update, Update::Gone { .. }), "none of them is gone: {update:?}");
        }
    });
}

#[test]
fn a_prompts_names_are_told_before_its_receipt_is_reached() {
    let node = Node::start();
    node.mkdir("q").unwrap();
    node.write("q/config", "turns = \"on\"\n").unwrap();
    node.write("q/input", "sleep 1000\n").unwrap();
    crate::support::until_true("it runs", || node.read("q/status").contains("turn: 0001"));
    let tree = node.tree.clone();
    node.runtime.block_on(async {
        let mut follower = Follower::new(&tree);
        follower.step().await;
        let queue = Node::path("q/queue");
        let (one, two) = (queue.join("one"), queue.join("two"));
        let text = Some(Bytes::from_static(b"waits\n"));
        let (stat, receipt) = tree.make(&gesture(), &one, text, Until::Accepted).await.unwrap();
        assert_eq!(receipt.turn.as_deref(), Some("one"));
        let mut named = false;
        while follower.last.is_none_or(|last| last.sequence < receipt.at.sequence) {
            let update = follower.step().await;
            named |=
                matches!(&update, Update::Changed { change: Change::Name { name, .. }, .. } if name == "one");
        }
        assert!(named && follower.session("q").unwrap().queue == 1);
        let receipt = tree.rename(&gesture(), Place::new(&one, stat.id), &two).await.unwrap();
        reach(&mut follower, receipt.at).await;
        let id = tree.stat(&two).unwrap().id;
        let receipt = tree.remove(&gesture(), Place::new(&two, id)).await.unwrap();
        reach(&mut follower, receipt.at).await;
        assert_eq!(follower.session("q").unwrap().queue, 0);
    });
}
