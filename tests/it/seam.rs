//! The seam holds: one list of acceptance steps, walked through a mount and walked straight
//! through [`Tree`], with the same results, errnos and texts. What a user sees is the tree's doing;
//! the door only carries it.

use std::io::Read;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;

use muxfs_tree::base::error::Kind;
use muxfs_tree::{Access, Caller, Follow, Gesture, Intent, Place, Tree};

use crate::support::{LIMIT, Lab, Mount, Node, until, until_true};

/// An errno, as the door has it.
type Outcome<T = ()> = Result<T, i32>;

/// What a user does, each a whole gesture.
trait Steps {
    fn lab(&self) -> &Lab;
    fn mkdir(&self, name: &str) -> Outcome;
    fn rmdir(&self, name: &str) -> Outcome;
    fn mv(&self, from: &str, to: &str) -> Outcome;
    fn write(&self, path: &str, text: &[u8]) -> Outcome;
    /// Views, documents and verbs; what a log has; the line of a `wait`.
    fn read(&self, path: &str) -> Outcome<String>;
    fn ls(&self, dir: &str) -> Vec<String>;
    fn chmod(&self, path: &str, mode: u32) -> Outcome;
    fn mode(&self, path: &str) -> u32;
    /// A log kept open: each call gives what came since.
    fn tail(&self, path: &str) -> Box<dyn FnMut() -> String>;
    /// Events kept open: each call blocks for the next line, `None` at the end.
    fn events(&self, path: &str) -> Box<dyn FnMut() -> Option<String>>;

    fn text(&self, path: &str) -> String {
        self.read(path).unwrap_or_else(|e| panic!("{path}: errno {e}"))
    }
}

fn outcome<T>(result: std::io::Result<T>) -> Outcome<T> {
    result.map_err(|e| e.raw_os_error().unwrap_or(-1))
}

struct ThroughFuse(Mount);

impl Steps for ThroughFuse {
    fn lab(&self) -> &Lab {
        &self.0.lab
    }
    fn mkdir(&self, name: &str) -> Outcome {
        outcome(std::fs::create_dir(self.0.path(name)))
    }
    fn rmdir(&self, name: &str) -> Outcome {
        outcome(std::fs::remove_dir(self.0.path(name)))
    }
    fn mv(&self, from: &str, to: &str) -> Outcome {
        outcome(std::fs::rename(self.0.path(from), self.0.path(to)))
    }
    fn write(&self, path: &str, text: &[u8]) -> Outcome {
        let open = std::fs::OpenOptions::new().write(true).truncate(true).open(self.0.path(path));
        let mut file = outcome(open)?;
        outcome(std::io::Write::write_all(&mut file, text))?;
        nix::unistd::close(file.into_raw_fd()).map_err(|e| e as i32)
    }
    fn read(&self, path: &str) -> Outcome<String> {
        let bytes = outcome(std::fs::read(self.0.path(path)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
    fn ls(&self, dir: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path(dir)).unwrap();
        names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
    fn chmod(&self, path: &str, mode: u32) -> Outcome {
        outcome(std::fs::set_permissions(self.0.path(path), std::fs::Permissions::from_mode(mode)))
    }
    fn mode(&self, path: &str) -> u32 {
        std::fs::metadata(self.0.path(path)).unwrap().permissions().mode() & 0o7777
    }
    fn tail(&self, path: &str) -> Box<dyn FnMut() -> String> {
        let mut file = std::fs::File::open(self.0.path(path)).unwrap();
        Box::new(move || {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        })
    }
    fn events(&self, path: &str) -> Box<dyn FnMut() -> Option<String>> {
        use std::io::BufRead;
        let mut lines = std::io::BufReader::new(std::fs::File::open(self.0.path(path)).unwrap()).lines();
        Box::new(move || lines.next().map(|l| l.unwrap()))
    }
}

struct ThroughTrait(Node);

fn errno(e: &muxfs_tree::base::error::Error) -> i32 {
    muxfs_fs::errno::errno(e.kind)
}

impl ThroughTrait {
    fn tree(&self) -> &dyn Tree {
        &*self.0.tree
    }
}

impl Steps for ThroughTrait {
    fn lab(&self) -> &Lab {
        &self.0.place
    }
    fn mkdir(&self, name: &str) -> Outcome {
        self.0.mkdir(name).map_err(|e| errno(&e))
    }
    fn rmdir(&self, name: &str) -> Outcome {
        self.0.rmdir(name).map_err(|e| errno(&e))
    }
    fn mv(&self, from: &str, to: &str) -> Outcome {
        self.0.mv(from, to).map_err(|e| errno(&e))
    }
    fn write(&self, path: &str, text: &[u8]) -> Outcome {
        let path = Node::path(path);
        let who = Caller::own();
        // As a door does it: asked first, and what is refused is told.
        let admitted = self.tree().admit(&who, Intent::Open(Place::from(&path), Access::Write));
        let admitted = admitted.inspect_err(|e| {
            if e.kind != Kind::NotFound {
                self.tree().refused(&who, &path, e);
            }
        });
        admitted.and_then(|()| self.0.write_bytes(&path, text)).map_err(|e| errno(&e))
    }
    fn read(&self, path: &str) -> Outcome<String> {
        self.0.try_read(path).map_err(|e| errno(&e))
    }
    fn ls(&self, dir: &str) -> Vec<String> {
        let entries = self.tree().list(&Node::path(dir)).unwrap();
        entries.into_iter().map(|e| e.name).collect()
    }
    fn chmod(&self, path: &str, mode: u32) -> Outcome {
        let path = Node::path(path);
        let gesture = Gesture::of(&Caller::own());
        let set = self.tree().set_mode(&gesture, Place::from(&path), Some(mode), None);
        self.0.runtime.block_on(set).map(drop).map_err(|e| errno(&e))
    }
    fn mode(&self, path: &str) -> u32 {
        self.tree().stat(&Node::path(path)).unwrap().mode
    }
    fn tail(&self, path: &str) -> Box<dyn FnMut() -> String> {
        let handle = self.0.runtime.handle().clone();
        let path = Node::path(path);
        let follow = handle.block_on(self.tree().follow(&Caller::own(), Place::from(&path))).unwrap();
        let Follow::Log(log) = follow else { panic!("{path}: no log") };
        let mut at = 0;
        Box::new(move || {
            let bytes = handle.block_on(log.read_at(at, 1 << 20)).unwrap();
            at += bytes.len() as u64;
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    fn events(&self, path: &str) -> Box<dyn FnMut() -> Option<String>> {
        let handle = self.0.runtime.handle().clone();
        let path = Node::path(path);
        let follow = handle.block_on(self.tree().follow(&Caller::own(), Place::from(&path))).unwrap();
        let Follow::Lines(mut lines) = follow else { panic!("{path}: no lines") };
        Box::new(move || {
            let line = handle.block_on(async { tokio::time::timeout(LIMIT, lines.next()).await.unwrap() });
            let line = line.unwrap()?;
            Some(String::from_utf8_lossy(&line).trim_end().to_owned())
        })
    }
}

/// What was seen on the way and must be the same through both.
fn walk(on: &dyn Steps) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, value: String| seen.push(format!("{what}: {value}"));
    let outcome = |o: Outcome| o.map_or_else(|e| format!("errno {e}"), |()| "done".to_owned());

    let mut events = on.events("events");
    note("mkdir", outcome(on.mkdir("demo")));
    note("mkdir again", outcome(on.mkdir("demo")));
    note("wait", on.text("demo/wait"));
    let mut names = on.ls("demo");
    names.retain(|n| !n.ends_with(".1"));
    names.sort();
    note("ls", names.join(" "));
    let mut log = on.tail("demo/logs");
    note("input", outcome(on.write("demo/input", b"echo one; echo $((1+1)) >&2\n")));
    note("wait", on.text("demo/wait"));
    assert!(on.text("demo/output").contains("\none\n2\n") && on.text("demo/screen").contains("\none\n2\n"));
    let mut text = String::new();
    until_true("the log has it", || {
        text += &log();
        text.contains("\none\n2\n")
    });
    let field = |key: &str| {
        let status = on.text("demo/status");
        let value = status.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).map(str::to_owned);
        format!("{key} {}", value.unwrap_or_default())
    };
    for key in ["name", "state", "managed", "agent", "pending"] {
        note("status", field(key));
    }
    note("index", on.text("index").split(' ').take(3).collect::<Vec<_>>().join(" "));

    note("good config", outcome(on.write("demo/config", b"# mine\nlogs = true\n")));
    note("bad config", outcome(on.write("demo/config", b"logs = true\nsise = 3\n")));
    note("no text", outcome(on.write("demo/config", b"\xff")));
    note("error", on.text("demo/config.error"));
    note("config", on.text("demo/config"));
    note("better config", outcome(on.write("demo/config", b"logs = true\n")));
    note("error", on.text("demo/config.error"));

    note("verbs", on.text("demo/ctl"));
    for verb in ["frobnicate\n", "stop now\n", "apply\n"] {
        note(verb, outcome(on.write("demo/ctl", verb.as_bytes())));
    }
    note("keys", outcome(on.write("demo/input", b"sleep 1000\n")));
    until_true("it is busy", || field("state") == "state busy");
    note("keys", outcome(on.write("demo/keys", b"NoSuchKey\n")));
    note("keys", outcome(on.write("demo/keys", b"C-c\n")));
    note("wait", on.text("demo/wait"));

    note("mode", format!("{:o} {:o}", on.mode("demo/output"), on.mode("demo/config")));
    note("chmod", outcome(on.chmod("demo/output", 0o440)));
    note("chmod", outcome(on.chmod("demo/config", 0o666)));
    note("mode", format!("{:o} {:o}", on.mode("demo/output"), on.mode("demo/config")));

    note("mv", outcome(on.mv("demo", "other")));
    note("old name", on.read("demo/status").unwrap_err().to_string());
    note("mode", format!("{:o}", on.mode("other/output")));
    note("bad name", outcome(on.mv("other", "a:b")));
    note("bad name", outcome(on.mkdir("a.b")));
    note("inside", outcome(on.mkdir("other/x")));
    note("no sink", on.read("other/input").unwrap_err().to_string());
    note("view", outcome(on.write("other/status", b"x")));
    note("no name", outcome(on.write("nobody/input", b"x")));

    on.lab().tmux_ok(&["new-session", "-d", "-s", "theirs", "sh"]);
    until_true("it is seen", || on.ls("").contains(&"theirs".to_owned()));
    note("another's", outcome(on.rmdir("theirs")));
    note("another's", outcome(on.write("theirs/ctl", b"restart\n")));

    note("stop", outcome(on.write("other/ctl", b"stop\n")));
    note("wait", on.text("other/wait"));
    note("dead", outcome(on.write("other/input", b"x\n")));
    note("start", outcome(on.write("other/ctl", b"start\n")));
    note("wait", on.text("other/wait"));
    note("part", outcome(on.rmdir("other/panes")));
    note("rmdir", outcome(on.rmdir("other")));
    note("gone", outcome(on.rmdir("other")));
    note("ls", on.ls("").contains(&"other".to_owned()).to_string());

    // What was told of it, in order, without times.
    let told = until("the end is told", || {
        let mut told = Vec::new();
        loop {
            let line = events().unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            let word = event["event"].as_str().unwrap().to_owned();
            if matches!(word.as_str(), "made" | "renamed" | "ended") && event["session"] != "theirs" {
                told.push(format!("{word} {}", event["session"].as_str().unwrap()));
            }
            if word == "ended" {
                return Some(told);
            }
        }
    });
    note("events", told.join(", "));
    // Refusals: where and why, without when and who. What the kernel answers by itself is not ours.
    for line in on.text("errors").lines() {
        let place = line.split(' ').nth(2).unwrap_or_default();
        note("errors", place.to_owned());
    }
    seen
}

#[test]
fn the_same_steps_give_the_same_through_the_mount_and_through_the_trait() {
    let fuse = walk(&ThroughFuse(Mount::start()));
    let direct = Node::start();
    let direct = walk(&ThroughTrait(direct));
    let errors =
        |all: &[String]| all.iter().filter(|l| l.starts_with("errors: ")).cloned().collect::<Vec<_>>();
    let steps =
        |all: &[String]| all.iter().filter(|l| !l.starts_with("errors: ")).cloned().collect::<Vec<_>>();
    for (a, b) in steps(&fuse).iter().zip(&steps(&direct)) {
        assert_eq!(a, b);
    }
    assert_eq!(steps(&fuse).len(), steps(&direct).len());
    // A name the kernel knows is EEXIST without asking.
    let mut expected = errors(&direct);
    let first = expected
        .iter()
        .position(|l| l == "errors: demo")
        .expect("the trait was asked for `mkdir demo` twice");
    expected.remove(first);
    assert_eq!(errors(&fuse), expected);
    eprintln!("{}", fuse.join("\n"));
}
