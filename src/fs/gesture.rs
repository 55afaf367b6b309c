//! Decides which close of an open file ends a message.
//!
//! A shell and its children each close the file that they share, and a writer may be killed halfway. So a
//! close by the process that opened the file ends a message, or the release of the file. Where a writer was
//! killed by a signal the result says so, because the text may not be whole. docs/tree.md, "Delivery".
//!
//! Knows who writes and who closes. Must not know what is written, or where it goes.

use super::procs::Procs;

/// Who asks: the calling thread, and the kernel's mark of its process's file table (0 where a
/// request carries none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub tid: u32,
    pub owner: u64,
}

/// What a close means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Not the end: another process's, or nothing was written since the last one.
    Nothing,
    /// The process that opened the file is done.
    Done,
    /// A writer died by this signal, so the text may be half of one.
    Killed(i32),
}

/// The writers of one open file since its last delivery.
#[derive(Debug)]
pub struct Writers {
    opener: u32,
    /// The opener's file table, once a write of its own showed it: it may close from another thread.
    opener_owner: Option<u64>,
    owners: Vec<u64>,
    killed: Option<i32>,
}

impl Writers {
    pub fn new(opener: u32) -> Self {
        Writers { opener, opener_owner: None, owners: Vec::new(), killed: None }
    }

    pub fn wrote(&mut self, by: Asker) {
        if by.owner != 0 && !self.owners.contains(&by.owner) {
            self.owners.push(by.owner);
        }
        if by.tid == self.opener && by.tid != 0 && by.owner != 0 {
            self.opener_owner = Some(by.owner);
        }
    }

    /// A FLUSH while something undelivered was written, by a caller that is dying of signal
    /// `killed`. The cheap comparisons stand first: of a plain `echo` it is the opening thread
    /// itself that closes.
    pub fn closes(&mut self, by: Asker, killed: Option<i32>, procs: &dyn Procs) -> Close {
        let done = self.is_opener(by, procs);
        if !done && !self.owners.contains(&by.owner) {
            return Close::Nothing;
        }
        self.killed = self.killed.or(killed);
        match self.killed {
            _ if !done => Close::Nothing,
            Some(signal) => Close::Killed(signal),
            None => Close::Done,
        }
    }

    /// The RELEASE: nobody will write any more.
    pub fn ends(&self) -> Close {
        self.killed.map_or(Close::Done, Close::Killed)
    }

    /// What follows is a new message.
    pub fn again(&mut self) {
        self.owners.clear();
        self.killed = None;
    }

    fn is_opener(&self, by: Asker, procs: &dyn Procs) -> bool {
        // 0 is every process of another PID namespace; those are told apart by RELEASE alone.
        if by.tid == 0 || self.opener == 0 {
            return false;
        }
        by.tid == self.opener
            || (by.owner != 0 && self.opener_owner == Some(by.owner))
            || matches!((procs.group(by.tid), procs.group(self.opener)), (Some(a), Some(b)) if a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procs::FakeProcs;

    fn asker(tid: u32) -> Asker {
        Asker { tid, owner: u64::from(tid) }
    }

    #[test]
    fn the_opener_ends_a_message_and_nobody_else() {
        let procs = FakeProcs::default();
        let mut w = Writers::new(10);
        w.wrote(asker(11)); // { cat a; …
        assert_eq!(w.closes(asker(11), None, &procs), Close::Nothing);
        w.wrote(asker(12)); // cat b; } > f
        assert_eq!(w.closes(asker(12), None, &procs), Close::Nothing);
        assert_eq!(w.closes(asker(10), None, &procs), Close::Done);
    }

    #[test]
    fn another_thread_of_the_opener_is_the_opener() {
        let procs = FakeProcs::default();
        procs.thread(21, 20);
        let mut w = Writers::new(20);
        w.wrote(asker(20));
        assert_eq!(w.closes(asker(21), None, &procs), Close::Done);
        // Even when the thread that opened is gone, its file table is known from its write.
        let mut w = Writers::new(30);
        w.wrote(Asker { tid: 30, owner: 5 });
        assert_eq!(w.closes(Asker { tid: 31, owner: 5 }, None, &procs), Close::Done);
    }

    #[test]
    fn a_killed_writer_spoils_the_message() {
        let procs = FakeProcs::default();
        let mut w = Writers::new(10);
        w.wrote(asker(11));
        assert_eq!(w.closes(asker(11), Some(2), &procs), Close::Nothing);
        assert_eq!(w.closes(asker(10), None, &procs), Close::Killed(2));
        assert_eq!(w.ends(), Close::Killed(2));
        w.again();
        assert_eq!(w.ends(), Close::Done);
    }

    #[test]
    fn strangers_of_another_namespace_end_it_at_the_release() {
        let procs = FakeProcs::default();
        let mut w = Writers::new(0);
        w.wrote(Asker { tid: 0, owner: 3 });
        assert_eq!(w.closes(Asker { tid: 0, owner: 3 }, None, &procs), Close::Nothing);
        assert_eq!(w.ends(), Close::Done);
    }
}
