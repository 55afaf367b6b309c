//! Tells the kernel what it may no longer remember. Invalidation takes the kernel's locks on
//! directories, which a request we are answering may hold: so one thread does it, that answers
//! nothing and holds no lock of ours.
//!
//! The queue holds each name once, and only names the kernel knows; that bounds it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{INodeNo, Notifier};
use parking_lot::{Condvar, Mutex};

use super::vfs::Notes;

#[derive(Default)]
pub struct Queue {
    due: Mutex<Due>,
    more: Condvar,
}

#[derive(Default)]
struct Due {
    entries: HashSet<(u64, String)>,
    attributes: HashSet<u64>,
    closed: bool,
}

impl Notes for Queue {
    fn entry(&self, parent: u64, name: &str) {
        self.due.lock().entries.insert((parent, name.to_owned()));
        self.more.notify_one();
    }

    fn attributes(&self, ino: u64) {
        self.due.lock().attributes.insert(ino);
        self.more.notify_one();
    }
}

impl Queue {
    /// The thread of this mount, until [`Queue::close`].
    pub fn run(self: Arc<Self>, kernel: Notifier) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("muxfs-notify".into());
        thread.spawn(move || {
            while let Some(due) = self.take() {
                // Errors mean that the kernel forgot it already, or that the mount is gone.
                for (parent, name) in due.entries {
                    let _ = kernel.inval_entry(INodeNo(parent), OsStr::new(&name));
                }
                for ino in due.attributes {
                    let _ = kernel.inval_inode(INodeNo(ino), -1, 0); // attributes alone
                }
            }
        })?;
        Ok(())
    }

    pub fn close(&self) {
        self.due.lock().closed = true;
        self.more.notify_all();
    }

    fn take(&self) -> Option<Due> {
        let mut due = self.due.lock();
        while due.entries.is_empty() && due.attributes.is_empty() && !due.closed {
            self.more.wait(&mut due);
        }
        if due.closed { None } else { Some(std::mem::take(&mut due)) }
    }
}
