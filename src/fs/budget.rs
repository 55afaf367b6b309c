//! Bounds the memory that callers occupy with unfinished writes: in all and for each user.
//!
//! Knows bytes and users; not what the bytes are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use muxfs_tree::base::error::{Kind, Result, fail};

/// Bounds in bytes, and how much of them is in use.
pub struct Budget {
    /// What is counted, as a refusal names it.
    what: &'static str,
    /// The kind of a refusal.
    kind: Kind,
    by_user: usize,
    in_all: usize,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    in_all: usize,
    by_user: HashMap<u32, usize>,
}

impl Budget {
    pub fn new(what: &'static str, kind: Kind, by_user: usize, in_all: usize) -> Arc<Self> {
        Arc::new(Budget { what, kind, by_user, in_all, used: Mutex::default() })
    }

    /// An empty share of `uid`'s.
    pub fn share(self: &Arc<Self>, uid: u32) -> Share {
        Share { budget: self.clone(), uid, bytes: 0 }
    }

    fn take(&self, uid: u32, bytes: usize) -> Result<()> {
        let mut used = self.used.lock();
        let own = used.by_user.get(&uid).copied().unwrap_or_default();
        let (most, whose) = if own + bytes > self.by_user {
            (self.by_user, format!("of user {uid}"))
        } else if used.in_all + bytes > self.in_all {
            (self.in_all, "of all users".to_owned())
        } else {
            used.in_all += bytes;
            used.by_user.insert(uid, own + bytes);
            return Ok(());
        };
        let (what, mib) = (self.what, most >> 20);
        fail(self.kind, format!("more than {mib} MiB in {what} {whose}; try again when some are finished"))
    }

    fn give_back(&self, uid: u32, bytes: usize) {
        let mut used = self.used.lock();
        used.in_all -= bytes;
        if let Some(own) = used.by_user.get_mut(&uid) {
            *own -= bytes;
            if *own == 0 {
                used.by_user.remove(&uid);
            }
        }
    }
}

/// The bytes that one buffer occupies. They are given back when it is dropped.
pub struct Share {
    budget: Arc<Budget>,
    uid: u32,
    bytes: usize,
}

impl Share {
    /// Makes the share `bytes` large. Where that is refused it stays as it is.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.budget.take(self.uid, bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.budget.give_back(self.uid, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Hands the share over, and leaves an empty one.
    pub fn take(&mut self) -> Share {
        let empty = self.budget.share(self.uid);
        std::mem::replace(self, empty)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.uid, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_by_user_and_in_all_and_come_back() {
        let budget = Budget::new("messages", Kind::Full, 3 << 20, 5 << 20);
        let mut a = budget.share(1);
        a.resize(3 << 20).unwrap();
        let why = budget.share(1).resize(1).unwrap_err();
        assert_eq!(why.kind, Kind::Full);
        assert!(why.text().contains("3 MiB in messages of user 1"), "{why}");
        let mut b = budget.share(2);
        assert!(b.resize(3 << 20).unwrap_err().text().contains("5 MiB in messages of all users"));
        b.resize(2 << 20).unwrap();
        let handed_over = a.take();
        assert!(a.resize(1).is_err(), "what is handed over still counts");
        drop(handed_over);
        a.resize(1 << 20).unwrap();
        a.resize(0).unwrap();
        b.resize(3 << 20).unwrap();
        drop((a, b));
        assert!(budget.used.lock().by_user.is_empty());
        assert_eq!(budget.used.lock().in_all, 0);
    }
}
