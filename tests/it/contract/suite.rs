//! What every tree promises, checked on the tree in memory, the local node, and the union with both in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muxfs_tree::base::error::{Kind, Result};
use muxfs_tree::{Access, Caller, Gesture, Intent, Place, Receipt, Shape, Stat, Tree, TreePath, Until};

use super::nodes::mounted;
use super::runtime;
use crate::fs_door::fake::{Fake, path};
use crate::support::{LIMIT, Node, until_true};

/// A tree with a session that has the files of every shape, and where it is in the tree.
struct Subject {
    tree: Arc<dyn Tree>,
    session: TreePath,
    what: &'static str,
}

impl Subject {
    fn at(&self, file: &str) -> TreePath {
        self.session.under(&path(file))
    }

    fn stat(&self, at: &TreePath) -> Stat {
        self.tree.stat(at).unwrap_or_else(|e| panic!("{}: {at}: {e}", self.what))
    }

    /// Each operation that changes something, as `gesture` and on the object of this id.
    async fn each(&self, gesture: &Gesture, wrong: Option<u64>) -> BTreeMap<&'static str, Result<Receipt>> {
        let tree = &self.tree;
        let (input, config, ctl, status) =
            (self.at("input"), self.at("config"), self.at("ctl"), self.at("status"));
        let place = |path| Place { path, id: wrong };
        let body = || Bytes::from_static(b"# nothing\n");
        let mut done = BTreeMap::new();
        done.insert("write", tree.write(gesture, place(&input), body(), Until::Accepted).await);
        done.insert("save", tree.write(gesture, place(&config), body(), Until::Accepted).await);
        done.insert("ctl", tree.write(gesture, place(&ctl), body(), Until::Accepted).await);
        done.insert("mode", tree.set_mode(gesture, place(&status), Some(0o440), None).await);
        done.insert("remove", tree.remove(gesture, place(&self.session)).await);
        let to = self.session.parent().join("renamed");
        done.insert("rename", tree.rename(gesture, place(&self.session), &to).await);
        if wrong.is_none() {
            let at = self.session.parent().join("made");
            done.insert("mkdir", tree.make(gesture, &at, None, Until::Accepted).await.map(|(_, r)| r));
            let at = self.at("queue/made");
            done.insert("make", tree.make(gesture, &at, Some(body()), Until::Accepted).await.map(|(_, r)| r));
        }
        done
    }

    /// Nothing of [`Subject::each`] was done.
    fn is_untouched(&self) {
        let names: Vec<String> =
            self.tree.list(&self.session.parent()).unwrap().into_iter().map(|e| e.name).collect();
        assert!(names.contains(&self.session.name().to_owned()), "{}: {names:?}", self.what);
        assert!(!names.iter().any(|n| n == "made" || n == "renamed"), "{}: {names:?}", self.what);
        assert!(self.tree.list(&self.at("queue")).unwrap().is_empty(), "{}", self.what);
        assert_eq!(self.stat(&self.at("status")).mode, 0o400, "{}", self.what);
    }
}

/// On each kind of tree.
fn everywhere(check: impl Fn(&Subject, &tokio::runtime::Runtime)) {
    let rt = runtime();
    let fake = Fake::node();
    check(&Subject { tree: fake, session: path("s"), what: "in memory" }, &rt);

    let node = Node::start();
    node.mkdir("s").unwrap();
    node.write("s/config", "turns = \"on\"\n").unwrap();
    until_true("a shell", || node.read("s/status").contains("state: ready"));
    check(&Subject { tree: node.tree.clone(), session: path("s"), what: "the node" }, &node.runtime);

    let node = Node::start();
    node.mkdir("s").unwrap();
    node.write("s/config", "turns = \"on\"\n").unwrap();
    until_true("a shell", || node.read("s/status").contains("state: ready"));
    let (root, nodes) = mounted(&node);
    {
        let _in = node.runtime.enter();
        nodes.add("far", Fake::node()).unwrap();
    }
    for (session, what) in [("here/s", "the node below a root"), ("far/s", "another node below a root")] {
        check(&Subject { tree: root.clone(), session: path(session), what }, &node.runtime);
    }
}

#[test]
fn what_is_listed_is_what_is_there_and_ids_are_of_one_object() {
    everywhere(|subject, _| {
        let mut dirs = vec![subject.session.parent()];
        let mut ids: BTreeMap<u64, TreePath> = BTreeMap::new();
        while let Some(dir) = dirs.pop() {
            for entry in subject.tree.list(&dir).unwrap() {
                let at = dir.join(&entry.name);
                // A log may have grown, and a state changed, since.
                let Ok(stat) = subject.tree.stat(&at) else { continue };
                assert_eq!(
                    (stat.id, stat.shape, stat.mode),
                    (entry.stat.id, entry.stat.shape, entry.stat.mode)
                );
                // A link is another object than what it leads to; a log is shown in two directories.
                if matches!(stat.shape, Shape::Link | Shape::Log) {
                    continue;
                }
                if let Some(other) = ids.insert(stat.id, at.clone()) {
                    panic!("{}: {at} and {other} have the id {}", subject.what, stat.id);
                }
                if stat.shape.is_dir() {
                    dirs.push(at);
                }
            }
        }
        assert!(ids.len() > 10, "{}: {ids:?}", subject.what);
        assert_eq!(subject.tree.stat(&path("no/such/name")).unwrap_err().kind, Kind::NotFound);
    });
}

#[test]
fn what_was_taken_back_or_is_late_does_not_begin() {
    everywhere(|subject, rt| {
        rt.block_on(async {
            let (gone, canceller) = Gesture::cancellable(&Caller::own());
            drop(canceller);
            let late = Gesture::of(&Caller::own()).with_deadline(Instant::now());
            for (gesture, kind) in [(gone, Kind::Interrupted), (late, Kind::TimedOut)] {
                for (what, done) in subject.each(&gesture, None).await {
                    let refused = done.err().unwrap_or_else(|| panic!("{}: {what} was done", subject.what));
                    assert_eq!(refused.kind, kind, "{}: {what}: {refused}", subject.what);
                }
            }
            subject.is_untouched();
        });
    });
}

#[test]
fn a_name_that_leads_to_another_object_is_not_touched() {
    everywhere(|subject, rt| {
        rt.block_on(async {
            let wrong = subject.stat(&subject.session).id ^ (1 << 40);
            for (what, done) in subject.each(&Gesture::of(&Caller::own()), Some(wrong)).await {
                let refused = done.err().unwrap_or_else(|| panic!("{}: {what} was done", subject.what));
                assert_eq!(refused.kind, Kind::Gone, "{}: {what}: {refused}", subject.what);
            }
            let read = subject.tree.read(&Caller::own(), Place::new(&subject.at("status"), wrong)).await;
            assert_eq!(read.unwrap_err().kind, Kind::Gone, "{}", subject.what);
            subject.is_untouched();
        });
    });
}

#[test]
fn what_has_begun_goes_on_when_nobody_waits() {
    everywhere(|subject, rt| {
        rt.block_on(async {
            let at = subject.session.parent().join("made");
            let gesture = Gesture::of(&Caller::own());
            let mut made = Box::pin(subject.tree.make(&gesture, &at, None, Until::Accepted));
            // Polled once, and given up.
            let _ = tokio::time::timeout(Duration::ZERO, &mut made).await;
            drop(made);
            let limit = Instant::now() + LIMIT;
            while subject.tree.stat(&at).is_err() {
                assert!(Instant::now() < limit, "{}: it is made", subject.what);
                tokio::task::yield_now().await;
            }
            let stat = subject.stat(&at);
            subject.tree.remove(&gesture, Place::new(&at, stat.id)).await.unwrap();
            assert!(subject.tree.stat(&at).is_err(), "{}: its own writes are seen", subject.what);
        });
    });
}

#[test]
fn a_look_is_answered_and_admission_says_what_is_meant() {
    everywhere(|subject, rt| {
        rt.block_on(async {
            let who = Caller::own();
            for dir in [&subject.session, &subject.at("queue"), &subject.at("turns")] {
                let looked = tokio::time::timeout(LIMIT, subject.tree.look(dir)).await;
                looked.expect("it is answered").unwrap_or_else(|e| panic!("{}: {dir}: {e}", subject.what));
            }
            let input = subject.at("input");
            subject.tree.admit(&who, Intent::Open(Place::from(&input), Access::Write)).unwrap();
            subject.tree.admit(&who, Intent::Make(&subject.at("queue/one"))).unwrap();
            let nowhere = path("no/such/name");
            let refused = subject.tree.admit(&who, Intent::Open(Place::from(&nowhere), Access::Read));
            assert_eq!(refused.unwrap_err().kind, Kind::NotFound, "{}", subject.what);
        });
    });
}

/// docs/tree.md, "Errors": each refusal is one line.
#[test]
fn each_refusal_of_a_node_is_one_line() {
    let node = Node::start();
    node.mkdir("s").unwrap();
    let subject = Subject { tree: node.tree.clone(), session: path("s"), what: "the node" };
    let lines = || node.read("errors").lines().count();
    let before = lines();
    let wrong = subject.stat(&subject.session).id ^ (1 << 40);
    let gesture = Gesture::of(&Caller::own());
    let refused = node.runtime.block_on(subject.each(&gesture, Some(wrong)));
    assert_eq!(lines(), before + refused.len(), "{}", node.read("errors"));
}
