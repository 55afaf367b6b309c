//! Tells the kernel which names, attributes and sizes it must forget. One thread does this.
//!
//! To forget a name, the kernel takes the lock of its directory. The caller of a mkdir, rmdir, rename, unlink
//! or create holds that lock until it has our reply, and a thread that waits for the lock keeps a killed
//! daemon from exiting. So the names of a directory wait while such a call is unanswered, and for [`QUIET`]
//! after the last reply; those of other directories go on. An outdated name does no harm: its inode answers
//! ESTALE, and the kernel looks the name up again.
//!
//! A call that the kernel has begun and that was not read yet cannot be counted. On a busy machine that
//! happens (1 of 11 daemons killed beside three callers of mkdir, rename and rmdir). So the kernel keeps the
//! names of directories in which directories are made for a moment only, and needs no notice of them
//! (`comes_and_goes`). The next start takes over a mount whose daemon was caught all the same (takeover.rs).
//!
//! Linux 6.16 can mark all names as outdated without a lock (FUSE_NOTIFY_INC_EPOCH). That is not used: each
//! name is then looked up under its directory's lock, so that one stalled mkdir holds up all names beside it.
//!
//! The thread answers no requests, and holds no lock of ours while it writes to the kernel. The queue holds
//! each name and each attribute once, and only those of inodes that the kernel knows; that bounds it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// A directory is left alone this long after a call in it: callers that wait for its lock get it
/// one after the other, and the next one's request is on its way.
const QUIET: Duration = Duration::from_millis(50);

/// Where the door reports that the kernel's copy of something is out of date.
pub trait Notes: Send + Sync + 'static {
    /// `name` in directory `parent` leads elsewhere.
    fn entry(&self, parent: u64, name: &str);
    /// The attributes of `ino` changed.
    fn attributes(&self, ino: u64);
    /// The kernel passes over every answer that told a size of `ino` before this. The result ends
    /// when that is so.
    fn sizes(&self, ino: u64) -> oneshot::Receiver<()>;
}

/// Who gets the notifications. An error means that the kernel forgot the name already, or that the mount
/// is gone.
pub trait Kernel: Send + 'static {
    fn entry(&self, parent: u64, name: &str);
    fn attributes(&self, ino: u64);
}

impl Kernel for Notifier {
    fn entry(&self, parent: u64, name: &str) {
        let _ = self.inval_entry(INodeNo(parent), OsStr::new(name));
    }

    fn attributes(&self, ino: u64) {
        let _ = self.inval_inode(INodeNo(ino), -1, 0); // attributes alone; takes no lock
    }
}

#[derive(Default)]
pub struct Queue {
    due: Mutex<Due>,
    more: Condvar,
}

#[derive(Default)]
struct Due {
    /// By directory.
    entries: HashMap<u64, HashSet<String>>,
    attributes: HashSet<u64>,
    /// The same, and who waits until the kernel was told.
    sizes: Vec<(u64, oneshot::Sender<()>)>,
    /// Directories with calls out, or that had some a moment ago.
    calls: HashMap<u64, Calls>,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Calls {
    out: usize,
    /// Until then the directory is left alone; meaningful while none is out.
    quiet: Instant,
}

/// A notification to send now.
struct Ready {
    entries: Vec<(u64, HashSet<String>)>,
    attributes: HashSet<u64>,
    sizes: Vec<(u64, oneshot::Sender<()>)>,
}

impl Notes for Queue {
    fn entry(&self, parent: u64, name: &str) {
        self.due.lock().entries.entry(parent).or_default().insert(name.to_owned());
        self.more.notify_one();
    }

    fn attributes(&self, ino: u64) {
        self.due.lock().attributes.insert(ino);
        self.more.notify_one();
    }

    fn sizes(&self, ino: u64) -> oneshot::Receiver<()> {
        let (told, done) = oneshot::channel();
        let mut due = self.due.lock();
        if !due.closed {
            due.sizes.push((ino, told));
        }
        drop(due);
        self.more.notify_one();
        done
    }
}

/// A call that is not answered yet, whose caller holds the locks of these directories.
pub struct Call {
    queue: Arc<Queue>,
    dirs: Vec<u64>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut due = self.queue.due.lock();
        let quiet = Instant::now() + QUIET;
        for dir in &self.dirs {
            if let Some(calls) = due.calls.get_mut(dir) {
                *calls = Calls { out: calls.out - 1, quiet };
            }
        }
        drop(due);
        self.queue.more.notify_one();
    }
}

impl Queue {
    /// Counts a call in these directories until the result is dropped, after its reply.
    pub fn call(self: &Arc<Self>, dirs: Vec<u64>) -> Call {
        let mut due = self.due.lock();
        let now = Instant::now();
        due.calls.retain(|_, calls| calls.out > 0 || now < calls.quiet);
        for dir in &dirs {
            due.calls.entry(*dir).or_insert(Calls { out: 0, quiet: now }).out += 1;
        }
        drop(due);
        Call { queue: self.clone(), dirs }
    }

    /// The thread of this mount, until [`Queue::close`].
    pub fn run(self: Arc<Self>, kernel: impl Kernel) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("muxfs-notify".into());
        thread.spawn(move || {
            while let Some(ready) = self.take() {
                ready.attributes.into_iter().for_each(|ino| kernel.attributes(ino));
                for (ino, told) in ready.sizes {
                    kernel.attributes(ino);
                    drop(told);
                }
                for (parent, names) in ready.entries {
                    names.iter().for_each(|name| kernel.entry(parent, name));
                }
            }
        })?;
        Ok(())
    }

    pub fn close(&self) {
        let mut due = self.due.lock();
        due.closed = true;
        due.sizes.clear();
        drop(due);
        self.more.notify_all();
    }

    /// Waits for a notification that may be sent now. `None` when the queue is closed.
    fn take(&self) -> Option<Ready> {
        let mut due = self.due.lock();
        loop {
            if due.closed {
                return None;
            }
            let now = Instant::now();
            let ready = due.ready(now);
            if !ready.entries.is_empty() || !ready.attributes.is_empty() || !ready.sizes.is_empty() {
                return Some(ready);
            }
            match due.next(now) {
                Some(at) => drop(self.more.wait_until(&mut due, at)),
                None => self.more.wait(&mut due),
            }
        }
    }
}

impl Due {
    fn ready(&mut self, now: Instant) -> Ready {
        self.calls.retain(|_, calls| calls.out > 0 || now < calls.quiet);
        let calls = &self.calls;
        let entries = self.entries.extract_if(|dir, _| !calls.contains_key(dir)).collect();
        let (attributes, sizes) = (std::mem::take(&mut self.attributes), std::mem::take(&mut self.sizes));
        Ready { entries, attributes, sizes }
    }

    /// When the next directory with pending notifications has been left alone long enough. `None`
    /// while each of them has calls out, or nothing is pending.
    fn next(&self, now: Instant) -> Option<Instant> {
        let calls = self.entries.keys().filter_map(|dir| self.calls.get(dir));
        calls.filter(|calls| calls.out == 0).map(|calls| calls.quiet.max(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Tells a test what it was told.
    struct Fake(mpsc::Sender<String>);

    impl Kernel for Fake {
        fn entry(&self, parent: u64, name: &str) {
            let _ = self.0.send(format!("{parent}/{name}"));
        }
        fn attributes(&self, ino: u64) {
            let _ = self.0.send(format!("{ino}"));
        }
    }

    #[test]
    fn a_directory_with_a_call_out_waits_and_the_others_go_on() {
        let (said, heard) = mpsc::channel();
        let queue = Arc::new(Queue::default());
        queue.clone().run(Fake(said)).unwrap();
        let (first, second) = (queue.call(vec![7, 8]), queue.call(vec![7]));
        queue.entry(7, "held");
        queue.entry(9, "free");
        queue.attributes(7);
        let mut said = [heard.recv_timeout(LIMIT).unwrap(), heard.recv_timeout(LIMIT).unwrap()];
        said.sort();
        assert_eq!(said, ["7", "9/free"]);
        drop(first);
        queue.entry(9, "more");
        assert_eq!(heard.recv_timeout(LIMIT).unwrap(), "9/more");
        drop(second);
        assert_eq!(heard.recv_timeout(LIMIT).unwrap(), "7/held");
        queue.entry(8, "after");
        assert_eq!(heard.recv_timeout(LIMIT).unwrap(), "8/after");
        assert!(queue.sizes(8).blocking_recv().is_err());
        assert_eq!(heard.try_recv().unwrap(), "8", "told before it returns");
        queue.close();
        assert!(heard.recv_timeout(LIMIT).is_err(), "the thread ends");
        assert!(queue.sizes(8).blocking_recv().is_err(), "nobody waits for a mount that ended");
    }
}
