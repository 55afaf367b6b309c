//! The rules of the door, one a test, without a kernel: on a tree in memory, with callers of the
//! test's own making.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::fake::{Fake, path};
use super::gesture::Asker;
use super::notify::Notes;
use super::procs::FakeProcs;
use super::vfs::{Attr, Look, SetAttr, Vfs};
use muxfs_tree::base::error::{Kind, Result};
use muxfs_tree::{Caller, Change, Tree, TreePath};

const RDONLY: i32 = libc::O_RDONLY;
const WRONLY: i32 = libc::O_WRONLY;
const RDWR: i32 = libc::O_RDWR;
const TRUNC: i32 = libc::O_WRONLY | libc::O_TRUNC;

#[derive(Default)]
pub struct Noted(Mutex<Vec<String>>);

impl Notes for Noted {
    fn entry(&self, parent: u64, name: &str) {
        self.0.lock().push(format!("{parent}/{name}"));
    }
    fn attributes(&self, ino: u64) {
        self.0.lock().push(format!("{ino}"));
    }
    fn sizes(&self, ino: u64) -> tokio::sync::oneshot::Receiver<()> {
        self.0.lock().push(format!("sizes of {ino}"));
        tokio::sync::oneshot::channel().1
    }
}

/// A file system, and what a kernel would remember of it.
pub struct Kernel {
    pub fake: Arc<Fake>,
    pub vfs: Arc<Vfs>,
    pub procs: Arc<FakeProcs>,
    noted: Arc<Noted>,
    lookups: Mutex<HashMap<u64, u64>>,
}

pub fn who(tid: u32) -> Caller {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    Caller::of_kernel(uid, gid, Some(tid))
}

pub fn by(tid: u32) -> Asker {
    Asker { tid, owner: u64::from(tid) }
}

impl Kernel {
    /// Within a runtime.
    pub fn new() -> Self {
        let (fake, procs, noted) = (Fake::new(), Arc::new(FakeProcs::default()), Arc::new(Noted::default()));
        let vfs =
            Vfs::new(fake.clone(), procs.clone(), noted.clone(), Look::default(), Handle::current()).unwrap();
        Kernel { fake, vfs, procs, noted, lookups: Mutex::default() }
    }

    pub fn seen(&self, ino: u64) -> u64 {
        *self.lookups.lock().entry(ino).or_default() += 1;
        ino
    }

    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr> {
        let entry = self.vfs.lookup(1, parent, OsStr::new(name))?;
        self.seen(entry.attr.ino);
        Ok(entry.attr)
    }

    pub fn walk(&self, at: &str) -> Result<u64> {
        at.split('/').try_fold(1, |dir, name| self.lookup(dir, name).map(|attr| attr.ino))
    }

    pub async fn open(&self, at: &str, flags: i32) -> Result<u64> {
        Ok(self.open_as(1, at, flags, None).await?.1)
    }

    pub async fn create(&self, dir: &str, name: &str, flags: i32) -> Result<u64> {
        let dir = self.walk(dir)?;
        let (entry, opened) = self.vfs.create(&who(1), dir, OsStr::new(name), flags).await?;
        self.seen(entry.attr.ino);
        Ok(opened.fh)
    }

    pub async fn write(&self, fh: u64, text: &str) -> Result<usize> {
        self.vfs.write(by(1), fh, 0, text.as_bytes()).await
    }

    pub async fn read(&self, fh: u64) -> Result<String> {
        let bytes = self.vfs.read(by(1), fh, 0, 1 << 20, false).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn close(&self, fh: u64) -> Result<()> {
        let flushed = self.vfs.flush(by(1), fh).await;
        self.vfs.release(fh);
        flushed
    }

    pub async fn rename(&self, dir: &str, from: &str, to: &str) -> Result<()> {
        let dir = self.walk(dir)?;
        self.vfs.rename(&who(1), (dir, OsStr::new(from)), (dir, OsStr::new(to)), 0).await
    }

    pub async fn unlink(&self, dir: &str, name: &str) -> Result<()> {
        self.vfs.unlink(&who(1), self.walk(dir)?, OsStr::new(name)).await
    }

    /// What the kernel was told to forget, since the last call.
    pub fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.noted.0.lock())
    }

    pub fn sent(&self) -> Vec<String> {
        self.fake.sent().into_iter().map(|(_, text)| text).collect()
    }

    /// The kernel forgets all it knew; nothing may be left.
    pub fn forget_all(&self) {
        for (ino, count) in std::mem::take(&mut *self.lookups.lock()) {
            self.vfs.forget(ino, count);
        }
        assert_eq!(self.vfs.counts(), (1, 0, 0), "inodes, open files, open directories");
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind
}

/// Lets what was spawned run until a condition holds.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition never held");
}

/// The kernel locks an inode through its fsync, and who writes to the same one waits unkillably.
#[tokio::test]
async fn an_fsync_leaves_the_name_to_others() {
    let k = Kernel::new();
    let old = k.walk("n/s/input").unwrap();
    let fh = k.open("n/s/input", WRONLY).await.unwrap();
    k.vfs.write(by(1), fh, 0, b"a").await.unwrap();
    k.vfs.fsync(by(1), fh).await.unwrap();
    assert_eq!(kind(k.vfs.open(&who(2), old, WRONLY).await), Kind::Stale);
    let new = k.walk("n/s/input").unwrap();
    assert_ne!(new, old);
    k.vfs.open(&who(2), new, WRONLY).await.unwrap();
    k.vfs.write(by(1), fh, 1, b"b").await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(k.sent(), ["a", "b"]);
}

#[tokio::test]
async fn a_message_is_what_came_before_its_openers_close() {
    let k = Kernel::new();
    let fh = k.open("n/s/input", WRONLY).await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap(); // the shell's dup2
    k.vfs.write(by(2), fh, 7, b"a").await.unwrap();
    k.vfs.flush(by(2), fh).await.unwrap();
    k.vfs.write(by(3), fh, 0, b"b").await.unwrap();
    k.vfs.flush(by(3), fh).await.unwrap();
    assert_eq!(k.sent(), [""; 0]);
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(k.sent(), ["ab"]);
    k.vfs.flush(by(1), fh).await.unwrap();
    k.vfs.write(by(2), fh, 0, b"c").await.unwrap();
    k.vfs.fsync(by(1), fh).await.unwrap();
    assert_eq!(k.sent(), ["c"], "an fsync ends it, whoever calls");
    k.vfs.write(by(2), fh, 0, b"d").await.unwrap();
    k.vfs.release(fh);
    let mut sent = Vec::new();
    until(|| {
        sent.extend(k.sent());
        !sent.is_empty()
    })
    .await;
    assert_eq!(sent, ["d"], "without its opener's close, at the release");
    k.forget_all();
}

#[tokio::test]
async fn a_refused_part_spoils_the_whole_message() {
    let k = Kernel::new();
    let fh = k.open("n/s/input", TRUNC).await.unwrap();
    k.write(fh, "half ").await.unwrap();
    k.fake.refuse("n/s/input", Some(Kind::Busy));
    assert_eq!(kind(k.write(fh, "of it").await), Kind::Busy);
    k.fake.refuse("n/s/input", None);
    assert_eq!(kind(k.write(fh, "of it").await), Kind::Busy);
    assert_eq!(kind(k.vfs.flush(by(1), fh).await), Kind::Busy);
    assert_eq!(k.sent(), [""; 0]);
    k.write(fh, "whole").await.unwrap();
    k.close(fh).await.unwrap();
    assert_eq!(k.sent(), ["whole"]);
    let fh = k.open("n/s/input", TRUNC).await.unwrap();
    k.write(fh, &"x".repeat(1 << 20)).await.unwrap();
    assert_eq!(kind(k.write(fh, "y").await), Kind::TooLarge);
    assert_eq!(kind(k.close(fh).await), Kind::TooLarge);
    assert_eq!(k.sent(), [""; 0]);
    // After an error at the close nothing is delivered again.
    let fh = k.open("n/s/input", TRUNC).await.unwrap();
    k.write(fh, "BAD").await.unwrap();
    assert_eq!(kind(k.close(fh).await), Kind::Invalid);
    assert_eq!(k.fake.refusals().iter().filter(|r| r.contains("a bad text")).count(), 1);
}

#[tokio::test]
async fn a_message_is_for_the_session_that_was_opened() {
    let k = Kernel::new();
    let fh = k.open("n/s/input", WRONLY).await.unwrap();
    let status = k.walk("n/s/status").unwrap();
    k.fake.rename_session("n/s", "n/t");
    k.vfs.changed(Change::Renamed { dir: path("n"), from: "s".into(), to: "t".into() });
    k.write(fh, "moved").await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(k.sent(), ["moved"], "a renamed session is the same");
    assert!(k.vfs.getattr(1, status).is_ok());
    k.fake.end_session("n/t");
    k.fake.add_session("n/t");
    assert_eq!(kind(k.write(fh, "wrong").await), Kind::Gone);
    assert_eq!(kind(k.vfs.getattr(1, status)), Kind::Stale);
    assert_eq!(kind(k.vfs.open(&who(1), status, RDONLY).await), Kind::Stale);
    assert!(k.close(fh).await.is_err());
    assert_eq!(k.sent(), [""; 0]);
    k.fake.end_session("n/t");
    assert_eq!(kind(k.walk("n/t")), Kind::NotFound);
    k.forget_all();
}

#[tokio::test]
async fn shapes_say_who_may_open_how() {
    let k = Kernel::new();
    for (file, flags, want) in [
        ("input", RDONLY, Kind::Denied),
        ("input", RDWR, Kind::Denied),
        ("status", WRONLY, Kind::Denied),
        ("status", RDWR, Kind::Denied),
        ("logs", WRONLY, Kind::Denied),
        ("events", WRONLY, Kind::Denied),
        ("wait", RDWR, Kind::Denied),
        ("queue", RDONLY, Kind::IsDir),
    ] {
        assert_eq!(kind(k.open(&format!("n/s/{file}"), flags).await), want, "{file} {flags}");
    }
    assert_eq!(kind(k.lookup(k.walk("n/s/status").unwrap(), "x")), Kind::NotDir);
    assert_eq!(kind(k.vfs.opendir(k.walk("n/s/status").unwrap())), Kind::NotDir);
}

#[tokio::test]
async fn a_view_is_what_it_was_at_its_open() {
    let k = Kernel::new();
    let fh = k.open("n/s/config", RDONLY).await.unwrap();
    let edit = k.open("n/s/config", TRUNC).await.unwrap();
    k.vfs.flush(by(1), edit).await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "a = 1\n", "emptied, not written: not saved yet");
    k.write(edit, "b = 2\n").await.unwrap();
    k.close(edit).await.unwrap();
    assert_eq!(k.read(fh).await.unwrap(), "a = 1\n");
    assert_eq!(k.fake.text("n/s/config"), "b = 2\n");
}

#[tokio::test]
async fn a_document_is_edited_in_place_and_saved_whole() {
    let k = Kernel::new();
    let fh = k.open("n/s/config", WRONLY).await.unwrap();
    k.vfs.write(by(1), fh, 4, b"7").await.unwrap();
    assert_eq!(k.sent(), [""; 0]);
    k.vfs.fsync(by(1), fh).await.unwrap();
    assert_eq!(k.sent(), ["a = 7\n"]);
    k.close(fh).await.unwrap();
    assert_eq!(k.sent(), [""; 0], "nothing changed since");
    let fh = k.open("n/s/config", RDWR | libc::O_APPEND).await.unwrap();
    k.write(fh, "BAD").await.unwrap();
    assert_eq!(k.read(fh).await.unwrap(), "a = 7\nBAD");
    assert_eq!(kind(k.vfs.fsync(by(1), fh).await), Kind::Invalid);
    let ino = k.walk("n/s/config").unwrap();
    let set = SetAttr { size: Some(0), ..SetAttr::default() };
    assert_eq!(k.vfs.setattr(&who(1), ino, set, Some(fh)).await.unwrap().size, 0);
    k.close(fh).await.unwrap();
    assert_eq!(k.sent(), [""]);
    // `: > config` empties it, at the very end.
    let fh = k.open("n/s/config", WRONLY).await.unwrap();
    k.write(fh, "x").await.unwrap();
    k.close(fh).await.unwrap();
    let fh = k.open("n/s/config", TRUNC).await.unwrap();
    k.close(fh).await.unwrap();
    until(|| k.fake.text("n/s/config").is_empty()).await;
    // But not when its writer was killed.
    let fh = k.open("n/s/config", WRONLY).await.unwrap();
    k.write(fh, "keep").await.unwrap();
    k.close(fh).await.unwrap();
    let fh = k.open("n/s/config", TRUNC).await.unwrap();
    k.procs.kill(1, 2);
    k.close(fh).await.unwrap();
    until(|| k.fake.refusals().iter().any(|r| r.contains("killed by signal 2"))).await;
    assert_eq!(k.fake.text("n/s/config"), "keep");
}

#[tokio::test]
async fn a_name_that_changes_while_it_is_looked_up_is_not_kept() {
    let k = Kernel::new();
    let dir = k.walk("n/s").unwrap();
    let look = |name: &str| k.vfs.lookup(1, dir, OsStr::new(name)).unwrap();
    k.fake.after_stat("n/s/logs", |fake| fake.rotate("n/s/logs"));
    let (first, second) = (look("logs"), look("logs"));
    assert_ne!(first.attr.ino, second.attr.ino, "another inode took the name");
    assert_eq!(first.name_ttl, Duration::ZERO, "and the kernel asks again");
    assert!(second.name_ttl > Duration::ZERO);
    k.fake.after_stat("n/s/raw-not-there", |_| ());
    assert!(k.vfs.lookup(1, dir, OsStr::new("raw-not-there")).is_err());
}

#[tokio::test]
async fn an_open_log_keeps_its_size_after_a_rotation() {
    let k = Kernel::new();
    k.fake.log("n/s/logs", "one\n");
    let old = k.walk("n/s/logs").unwrap();
    let fh = k.vfs.open(&who(1), old, RDONLY).await.unwrap().fh;
    k.fake.rotate("n/s/logs");
    k.fake.log("n/s/logs", "another\n");
    assert_eq!(k.vfs.getattr(1, old).unwrap().0.size, 4);
    assert_eq!(k.read(fh).await.unwrap(), "one\n");
    assert_eq!(k.vfs.read(by(1), fh, 4, 10, true).await.unwrap(), "");
    let new = k.lookup(k.walk("n/s").unwrap(), "logs").unwrap();
    assert_ne!(new.ino, old);
    assert_eq!(new.size, 8);
    k.close(fh).await.unwrap();
    assert_eq!(kind(k.vfs.getattr(1, old)), Kind::Stale);
    k.forget_all();
}

#[tokio::test]
async fn a_question_ends_at_a_close_or_a_read() {
    let k = Kernel::new();
    k.fake.answering.send_replace(false);
    let fh = k.open("n/s/ask", RDWR).await.unwrap();
    assert_eq!(kind(k.read(fh).await), Kind::Invalid, "nothing asked");
    k.write(fh, "q").await.unwrap();
    assert_eq!(kind(k.read(fh).await), Kind::Full, "EAGAIN");
    assert!(!k.vfs.poll(fh, None).unwrap().0.readable);
    let reading = tokio::spawn({
        let vfs = k.vfs.clone();
        async move { vfs.read(by(1), fh, 99, 5, true).await }
    });
    until(|| !k.fake.sent().is_empty()).await;
    k.fake.answering.send_replace(true);
    assert_eq!(reading.await.unwrap().unwrap(), "re: q");
    assert_eq!(k.read(fh).await.unwrap(), "");
    k.write(fh, "r").await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(k.vfs.read(by(1), fh, 0, 3, true).await.unwrap(), "re:");
    assert_eq!(k.read(fh).await.unwrap(), " r");
    k.vfs.release(fh);
    let fh = k.open("n/s/ask", WRONLY).await.unwrap();
    k.vfs.write(by(9), fh, 0, b"left").await.unwrap();
    k.vfs.release(fh);
    let mut sent = k.sent();
    until(|| {
        sent.extend(k.sent());
        sent.last().is_some_and(|q| q == "left")
    })
    .await;
}

#[tokio::test]
async fn names_change_and_only_then_is_the_kernel_told() {
    let k = Kernel::new();
    let dir = k.walk("n").unwrap();
    let s = k.walk("n/s").unwrap();
    let changed = |name: &str| k.vfs.changed(Change::Name { dir: path("n"), name: name.into() });
    changed("s");
    assert_eq!(std::mem::take(&mut *k.noted.0.lock()), [s.to_string()], "its attributes alone");
    changed("unknown");
    assert_eq!(*k.noted.0.lock(), [""; 0]);
    k.fake.end_session("n/s");
    changed("s");
    // Names of sessions are asked for anew in a moment.
    assert_eq!(std::mem::take(&mut *k.noted.0.lock()), [dir.to_string()]);
    k.vfs.changed_below(&TreePath::root());
    let mut noted = std::mem::take(&mut *k.noted.0.lock());
    noted.sort();
    assert_eq!(noted, [dir.to_string(), dir.to_string()], "after a lag all is looked at");
    k.fake.add_session("n/s");
    let again = k.walk("n/s").unwrap();
    assert_ne!(again, s);
    let kept = |dir: u64, name: &str| {
        let entry = k.vfs.lookup(1, dir, OsStr::new(name)).unwrap();
        k.seen(entry.attr.ino);
        entry.name_ttl
    };
    assert_eq!((kept(dir, "s"), kept(again, "logs")), (super::vfs::BRIEF, super::vfs::LONG));
    let logs = k.walk("n/s/logs").unwrap();
    k.fake.rotate("n/s/logs");
    k.vfs.changed(Change::Name { dir: path("n/s"), name: "logs".into() });
    assert_eq!(std::mem::take(&mut *k.noted.0.lock()), [format!("{again}/logs")]);
    assert_ne!(k.walk("n/s/logs").unwrap(), logs);
    k.fake.rename_session("n/s", "n/t");
    k.vfs.changed(Change::Renamed { dir: path("n"), from: "s".into(), to: "t".into() });
    assert_eq!(std::mem::take(&mut *k.noted.0.lock()), [dir.to_string()]);
    assert_eq!(k.walk("n/t").unwrap(), again);
    k.forget_all();
}

#[tokio::test]
async fn scratch_files_and_documents_run_out_of_time() {
    let k = Kernel::new();
    let fh = k.create("n/s", "x.tmp", WRONLY).await.unwrap();
    k.write(fh, "text").await.unwrap();
    let soon = |s| Instant::now() + Duration::from_secs(s);
    k.vfs.sweep(soon(61));
    assert!(k.walk("n/s/x.tmp").is_ok(), "it is open");
    k.close(fh).await.unwrap();
    k.unlink("n/s", "config").await.unwrap();
    k.vfs.sweep(soon(9));
    assert_eq!(kind(k.walk("n/s/config")), Kind::NotFound);
    k.vfs.sweep(soon(11));
    assert!(k.walk("n/s/config").is_ok() && k.walk("n/s/x.tmp").is_ok());
    assert_eq!(k.fake.text("n/s/config"), "a = 1\n");
    k.vfs.sweep(soon(61));
    assert_eq!(kind(k.walk("n/s/x.tmp")), Kind::NotFound);
    let refused = k.fake.refusals();
    assert!(
        refused.len() == 1 && refused[0].contains("n/s/x.tmp: scratch file x.tmp was dropped"),
        "{refused:?}"
    );
    k.forget_all();
}

#[tokio::test]
async fn a_scratch_file_becomes_the_document() {
    let k = Kernel::new();
    let old = k.walk("n/s/config").unwrap();
    let fh = k.create("n/s", "x.tmp", WRONLY).await.unwrap();
    k.write(fh, "c = 3\n").await.unwrap();
    let new = k.walk("n/s/x.tmp").unwrap();
    k.rename("n/s", "x.tmp", "config").await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "c = 3\n");
    assert_eq!(kind(k.vfs.getattr(1, old)), Kind::Stale);
    let attr = k.vfs.getattr(1, new).unwrap().0;
    assert_eq!((attr.mode, attr.size), (0o600, 6));
    assert_eq!(k.walk("n/s/config").unwrap(), new);
    assert_eq!(kind(k.write(fh, "late").await), Kind::Stale, "nothing is lost in silence");
    k.close(fh).await.unwrap();
    // vim's backup, and a successor that is its own inode.
    k.rename("n/s", "config", "config~").await.unwrap();
    assert_eq!(k.walk("n/s/config~").unwrap(), new);
    assert_eq!(kind(k.walk("n/s/config")), Kind::NotFound);
    let fh = k.create("n/s", "config", TRUNC).await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "c = 3\n", "settings stay in force");
    k.write(fh, "d = 4\n").await.unwrap();
    k.vfs.fsync(by(1), fh).await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "d = 4\n");
    k.close(fh).await.unwrap();
    k.unlink("n/s", "config~").await.unwrap();
    assert_eq!(k.fake.refusals(), ["n/s/config: the scratch file was renamed onto a document"]);
    k.forget_all();
}

#[tokio::test]
async fn an_item_is_made_at_its_close_and_once() {
    let k = Kernel::new();
    let fh = k.create("n/s/queue", "b", WRONLY | libc::O_EXCL).await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(kind(k.walk("n/s/queue/b")), Kind::NotFound, "nothing written yet");
    k.write(fh, "prompt").await.unwrap();
    k.vfs.flush(by(1), fh).await.unwrap();
    assert_eq!(kind(k.write(fh, "more").await), Kind::Denied);
    k.close(fh).await.unwrap();
    assert_eq!(k.sent(), ["prompt"]);
    assert_eq!(kind(k.open("n/s/queue/b", WRONLY).await), Kind::Exists);
    k.unlink("n/s/queue", "b").await.unwrap();
    let fh = k.create("n/s/queue", "b", WRONLY).await.unwrap();
    k.write(fh, "again").await.unwrap();
    k.close(fh).await.unwrap();
    k.forget_all();
}

#[tokio::test]
async fn an_unfinished_item_waits_for_its_rename() {
    let k = Kernel::new();
    let fh = k.create("n/s/queue", "tmpAb3xYz", WRONLY | libc::O_EXCL).await.unwrap();
    k.write(fh, "prompt").await.unwrap();
    k.close(fh).await.unwrap();
    assert_eq!(k.sent(), [""; 0]);
    k.rename("n/s/queue", "tmpAb3xYz", ".job.part").await.unwrap();
    assert_eq!(k.sent(), [""; 0], "still a name for what is not finished");
    k.rename("n/s/queue", ".job.part", "job").await.unwrap();
    assert_eq!(k.sent(), ["prompt"]);
    assert_eq!(kind(k.walk("n/s/queue/.job.part")), Kind::NotFound);
    let fh = k.open("n/s/queue/job", RDONLY).await.unwrap();
    assert_eq!(k.read(fh).await.unwrap(), "prompt");
    k.vfs.release(fh);
    // What waits takes another name, but none for what is not finished, and none in use.
    k.rename("n/s/queue", "job", "other").await.unwrap();
    assert_eq!(kind(k.rename("n/s/queue", "other", "other~").await), Kind::Never);
    let fh = k.create("n/s/queue", "x.tmp", WRONLY).await.unwrap();
    k.write(fh, "again").await.unwrap();
    k.close(fh).await.unwrap();
    assert_eq!(kind(k.rename("n/s/queue", "x.tmp", "other").await), Kind::Exists);
    k.vfs.sweep(Instant::now() + Duration::from_secs(61));
    assert_eq!(kind(k.walk("n/s/queue/x.tmp")), Kind::NotFound, "nobody renamed it");
    let refusals = k.fake.refusals();
    assert!(refusals.iter().any(|r| r.contains("x.tmp was dropped")), "{refusals:?}");
    assert_eq!(k.sent(), [""; 0]);
    k.forget_all();
}

#[tokio::test]
async fn listings_are_snapshots_with_scratch_and_without_what_is_away() {
    let k = Kernel::new();
    let fh = k.create("n/s", "x.tmp", WRONLY).await.unwrap();
    k.close(fh).await.unwrap();
    k.rename("n/s", "config", "old.cfg").await.unwrap();
    let dir = k.vfs.opendir(k.walk("n/s").unwrap()).unwrap();
    k.unlink("n/s", "x.tmp").await.unwrap();
    let names: Vec<_> = k.vfs.readdir(dir).unwrap().iter().map(|e| e.name.clone()).collect();
    assert_eq!(
        names.join(" "),
        ". .. ask ctl events input keys logs notes queue status turns wait old.cfg x.tmp"
    );
    k.vfs.releasedir(dir);
    k.forget_all();
}

#[tokio::test]
async fn a_closed_door_answers_whoever_waits() {
    let k = Kernel::new();
    let fh = k.open("n/s/events", RDONLY).await.unwrap();
    assert_eq!(kind(k.read(fh).await), Kind::Full, "O_NONBLOCK");
    let reading = tokio::spawn({
        let vfs = k.vfs.clone();
        async move { vfs.read(by(1), fh, 0, 5, true).await }
    });
    tokio::task::yield_now().await;
    k.vfs.close();
    assert_eq!(kind(reading.await.unwrap()), Kind::Gone);
    let fh = k.open("n/s/events", RDONLY).await.unwrap();
    assert_eq!(kind(k.vfs.read(by(1), fh, 0, 5, true).await), Kind::Gone);
    drop(k.fake.changes());
}
