//! What every tree promises, once more through the kernel: one mount with the local node and a tree in
//! memory in it, used by system calls alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use muxfs_tree::nodes::Nodes;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::nodes::mounted;
use super::runtime;
use crate::fs_door::Mux;
use crate::fs_door::callers::answered;
use crate::fs_door::fake::Fake;
use crate::support::{Lab, Node, until_true};

/// A mount with `here`, the local node, and `far`, a tree in memory; each has a session `s`.
struct Door {
    // Unmounted before the node ends.
    mux: Mux,
    far: Arc<Fake>,
    node: Node,
    nodes: Arc<Nodes>,
}

impl Door {
    fn new() -> Self {
        let node = Node::start();
        node.mkdir("s").unwrap();
        until_true("a shell", || node.read("s/status").contains("state: ready"));
        Door::over(node)
    }

    fn over(node: Node) -> Self {
        let (root, nodes) = mounted(&node);
        let far = Fake::node();
        {
            let _in = node.runtime.enter();
            nodes.add("far", far.clone()).unwrap();
        }
        Door { mux: Mux::over(runtime(), root, far.clone()), far, node, nodes }
    }

    /// Ends all of it but what is on disk and in tmux.
    fn stop(self) -> Lab {
        let Door { mux, far, node, nodes } = self;
        drop((mux, far, nodes));
        super::once::stop(node)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.mux.at(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn errno(&self, done: std::io::Result<()>) -> i32 {
        done.unwrap_err().raw_os_error().unwrap()
    }

    /// The inode of every directory and file but links and logs, by path.
    fn inodes(&self) -> BTreeMap<PathBuf, u64> {
        let mut all = BTreeMap::new();
        let mut dirs = vec![self.at("here"), self.at("far")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                // A log is shown in two directories, each with an inode of its own.
                if meta.is_symlink() || is_log(&entry.path()) {
                    continue;
                }
                assert_eq!(entry.ino(), meta.ino(), "{:?} is listed as what it is", entry.path());
                if meta.is_dir() {
                    dirs.push(entry.path());
                }
                all.insert(entry.path().strip_prefix(self.at("")).unwrap().to_owned(), meta.ino());
            }
        }
        all
    }
}

fn is_log(path: &Path) -> bool {
    ["logs", "raw", "errors"].iter().any(|log| path.file_stem().is_some_and(|stem| stem == *log))
}

#[test]
fn inodes_are_of_one_object_over_restarts_and_are_not_used_again() {
    let door = Door::new();
    std::fs::create_dir(door.at("here/gone")).unwrap();
    let before = door.inodes();
    let distinct: std::collections::BTreeSet<_> = before.values().collect();
    assert_eq!(distinct.len(), before.len(), "{before:?}");
    std::fs::remove_dir(door.at("here/gone")).unwrap();

    let node = Node::start_in(door.stop());
    until_true("the session is there", || node.ls("").contains(&"s".to_owned()));
    let door = Door::over(node);
    std::fs::create_dir(door.at("here/gone")).unwrap();
    let after = door.inodes();
    for (path, ino) in before.iter().filter(|(path, _)| path.starts_with("here")) {
        let now = after.get(path);
        match path.starts_with("here/gone") {
            true => assert!(now.is_some_and(|now| now != ino), "{path:?} is of another session"),
            false => assert_eq!(now, Some(ino), "{path:?}"),
        }
    }
}

#[test]
fn a_caller_sees_its_own_writes() {
    let door = Door::new();
    for node in ["here", "far"] {
        for n in 0..5 {
            let made = door.at(&format!("{node}/made{n}"));
            std::fs::create_dir(&made).unwrap();
            std::fs::write(made.join("input"), "true\n").unwrap();
            let (renamed, ino) = (made.with_file_name("other"), made.metadata().unwrap().ino());
            std::fs::rename(&made, &renamed).unwrap();
            assert!(!made.exists(), "{node}");
            assert_eq!(renamed.metadata().unwrap().ino(), ino, "{node}: the same under another name");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o440);
            std::fs::set_permissions(renamed.join("status"), mode).unwrap();
            assert_eq!(renamed.join("status").metadata().unwrap().mode() & 0o777, 0o440, "{node}");
            std::fs::remove_dir(&renamed).unwrap();
            let names: Vec<_> =
                std::fs::read_dir(door.at(node)).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(!names.iter().any(|n| n != "s" && door.at(node).join(n).is_dir()), "{node}: {names:?}");
        }
    }
}

/// Who stands in a directory means that session, whatever has its name by now.
#[test]
fn a_name_that_leads_to_another_object_is_not_touched() {
    let door = Door::new();
    for node in ["here", "far"] {
        let dir = door.at(&format!("{node}/twice"));
        std::fs::create_dir(&dir).unwrap();
        let open = File::open(&dir).unwrap();
        let old = |file: &str| nix::fcntl::openat(&open, file, OFlag::O_WRONLY, Mode::empty());
        drop(old("input").unwrap());
        std::fs::remove_dir(&dir).unwrap();
        std::fs::create_dir(&dir).unwrap();
        for file in ["input", "config", "ctl"] {
            let refused = old(file).unwrap_err();
            assert!(matches!(refused, nix::Error::ENOENT | nix::Error::ESTALE), "{node}/{file}: {refused}");
        }
        drop(std::fs::OpenOptions::new().write(true).open(dir.join("input")).unwrap());
    }
    assert!(door.far.sent().iter().all(|(_, text)| text.is_empty()));
}

/// The maker is killed while its call is under way; what has begun goes on.
#[test]
fn what_has_begun_goes_on_when_nobody_waits() {
    let door = Door::new();
    for node in ["here", "far"] {
        let made = door.at(&format!("{node}/made"));
        let far = node == "far";
        door.far.stall("made", far);
        let mut maker = Command::new("mkdir").arg(&made).stderr(Stdio::null()).spawn().unwrap();
        until_true("the call is under way", || !far || door.far.waiting() == 1);
        maker.kill().unwrap();
        maker.wait().unwrap();
        door.far.stall("made", false);
        // Wholly or not at all: what is there has its files, and can be made where it is not.
        match std::fs::create_dir(&made) {
            Ok(()) => {}
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::AlreadyExists, "{node}"),
        }
        assert!(std::fs::read_dir(&made).unwrap().filter(|e| e.is_ok()).count() > 10, "{node}");
        std::fs::remove_dir(&made).unwrap();
    }
}

#[test]
fn each_refusal_is_one_line() {
    let door = Door::new();
    let lines = || door.read("here/errors").lines().count();
    let before = lines();
    let refused = [
        door.errno(std::fs::write(door.at("here/s/ctl"), "no-such-verb\n")),
        door.errno(std::fs::create_dir(door.at("here/s"))),
        door.errno(std::fs::rename(door.at("here/s"), door.at("here/a.b"))),
    ];
    assert_eq!(refused, [libc::EINVAL, libc::EEXIST, libc::EINVAL]);
    // The kernel itself knows that the directory is there: nobody was asked.
    assert_eq!(lines(), before + 2, "{}", door.read("here/errors"));
}

/// More changes than are kept for a door: it looks at all that the kernel knows, and what the kernel asks
/// for is checked by its id.
#[test]
fn lag_is_made_up_for() {
    let door = Door::new();
    let (old, new) = (door.at("far/s"), door.at("far/t"));
    old.metadata().unwrap();
    // Nobody follows the changes meanwhile.
    let (gates, held): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let (gate, wait) = std::sync::mpsc::channel::<()>();
            let (reached, begun) = std::sync::mpsc::channel();
            (gate, (wait, reached, begun))
        })
        .unzip();
    let rts = [door.node.runtime.handle(), door.mux.handle()];
    for (n, (wait, reached, begun)) in held.into_iter().enumerate() {
        rts[n / 2].spawn(async move {
            reached.send(()).unwrap();
            let _ = wait.recv();
        });
        begun.recv_timeout(crate::support::LIMIT).unwrap();
    }
    door.far.rename_session("s", "t");
    for _ in 0..200 {
        door.far.rotate("t/logs");
    }
    drop(gates);
    until_true("its new name", || !old.exists() && new.join("status").exists());
}

/// A node that says nothing: what asks it waits for its limit, all else goes on.
#[test]
fn what_asks_a_silent_node_has_a_limit() {
    let door = Door::new();
    door.far.forget("s");
    door.far.stall("s", true);
    let status = door.at("far/s/status");
    let asked = std::thread::spawn(move || std::fs::read_to_string(status));
    until_true("it is asked", || door.far.waiting() == 1);
    let (here, root) = (door.at("here/s/status"), door.at(""));
    answered("another node", move || assert!(std::fs::read_to_string(here).unwrap().contains("state: ")));
    answered("the root", move || assert!(std::fs::read_dir(root).unwrap().count() >= 2));
    let refused = asked.join().unwrap().unwrap_err();
    assert!(matches!(refused.raw_os_error(), Some(libc::ETIMEDOUT | libc::EHOSTDOWN)), "{refused}");
    door.far.stall("s", false);
    until_true("it is known again", || door.at("far/s/status").exists());
}
