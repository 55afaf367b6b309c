//! Reads from `/proc` about a calling thread: its process, whether a signal is pending, whether its control
//! group is freezing, and whether a signal killed it. FUSE names a caller by its thread id alone.
//!
//! An event loop reads only `status` and `statm`, because they take no lock that the caller can hold. A caller
//! in execve(2) that closes a file of ours holds its exec lock until it has our reply; a read of `stat` or of a
//! symbolic link in `/proc/TID` would wait for that lock. Other threads read those (offload.rs).
//!
//! Must not know the files of the mount.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::freezer::Freezers;
use muxfs_tree::base::offload::Offload;

/// A caller of another PID namespace has no id we could look up, so its blocked reads end with
/// EINTR this often: late enough to be rare, soon enough for Ctrl-C.
const UNKNOWN_CALLER: Duration = Duration::from_secs(1);

/// Of `/proc/<pid>/stat`, field 9: the task dies by a signal (include/linux/sched.h).
const PF_SIGNALED: u64 = 0x400;

/// The questions, so that tests can answer them.
pub trait Procs: Send + Sync + 'static {
    /// The process (thread group) of a thread.
    fn group(&self, tid: u32) -> Option<u32>;
    /// Whether this thread has begun to exit. Waits for nothing.
    fn is_exiting(&self, tid: u32) -> bool;
    /// The signal this thread's process is dying of. May wait for the process.
    fn killed(&self, tid: u32) -> Option<i32>;
    /// For asking again and again whether this thread is wanted elsewhere: by a signal of `which`,
    /// or to freeze.
    fn watch(&self, tid: u32, which: Signals) -> Box<dyn Watch>;
}

/// Which signals end a wait. An interrupted read is asked again, an interrupted close is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// Any, and a control group that is to freeze.
    Any,
    /// Those that are meant to end a process: HUP, INT, QUIT, KILL, TERM; not the SIGCHLD of a
    /// shell that closes what its `echo` wrote.
    Ending,
}

impl Signals {
    fn bits(self) -> u64 {
        let bit = |signal: i32| 1_u64 << (signal - 1);
        match self {
            Signals::Any => u64::MAX,
            Signals::Ending => [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL, libc::SIGTERM]
                .map(bit)
                .iter()
                .sum(),
        }
    }
}

pub trait Watch: Send {
    fn signalled(&mut self) -> bool;
}

/// A caller's control group is checked once for so many checks of its signals.
const FREEZER_LOOKS: u32 = 4;

/// Whether the caller is dying of a signal, and of which; 0 where that is not known. A caller that
/// exits and cannot be asked why counts as killed: what it wrote may be half of a message.
pub async fn killed(procs: &Arc<dyn Procs>, tid: u32) -> Option<i32> {
    if !procs.is_exiting(tid) {
        return None;
    }
    let procs = procs.clone();
    EXITING.ask(tid, ASKED, move || procs.killed(tid)).await.unwrap_or(Some(0))
}

/// Questions about callers that exit.
static EXITING: Offload = Offload::new("muxfs-exiting", 16);
/// How long such a question may take. It takes microseconds on an idle machine.
const ASKED: Duration = Duration::from_secs(2);

/// The kernel's own `/proc`.
#[derive(Default)]
pub struct Linux {
    freezers: Arc<Freezers>,
}

impl Procs for Linux {
    fn group(&self, tid: u32) -> Option<u32> {
        field(&std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?, "Tgid:")?.parse().ok()
    }

    fn is_exiting(&self, tid: u32) -> bool {
        // A thread gives up its memory before its files; all sizes are 0 from then on. One in
        // execve(2) has its new memory when it closes files.
        tid != 0
            && std::fs::read_to_string(format!("/proc/{tid}/statm"))
                .is_ok_and(|sizes| sizes.starts_with("0 "))
    }

    fn killed(&self, tid: u32) -> Option<i32> {
        killed_in(&std::fs::read_to_string(format!("/proc/{tid}/stat")).ok()?)
    }

    fn watch(&self, tid: u32, which: Signals) -> Box<dyn Watch> {
        // The open file stays with this thread even when its number is used again.
        let status = (tid != 0).then(|| File::open(format!("/proc/{tid}/status")).ok()).flatten();
        Box::new(Status {
            status,
            which,
            tid,
            since: Instant::now(),
            looks: 0,
            freezers: self.freezers.clone(),
        })
    }
}

struct Status {
    status: Option<File>,
    which: Signals,
    tid: u32,
    since: Instant,
    looks: u32,
    freezers: Arc<Freezers>,
}

impl Watch for Status {
    fn signalled(&mut self) -> bool {
        if self.tid == 0 {
            return self.which == Signals::Any && self.since.elapsed() >= UNKNOWN_CALLER;
        }
        let mut buf = [0; 4096];
        // A thread that cannot be read any more is not there to be answered otherwise.
        let Some(len) = self.status.as_ref().and_then(|f| f.read_at(&mut buf, 0).ok()) else { return true };
        self.looks = self.looks.wrapping_add(1);
        std::str::from_utf8(&buf[..len]).is_ok_and(|status| pending_in(status, self.which))
            || (self.which == Signals::Any
                && self.looks.is_multiple_of(FREEZER_LOOKS)
                && self.freezers.freezing(self.tid))
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Whether a signal of these waits that is neither blocked nor ignored.
fn pending_in(status: &str, which: Signals) -> bool {
    let bits = |name| field(status, name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    (bits("SigPnd:") | bits("ShdPnd:")) & !(bits("SigBlk:") | bits("SigIgn:")) & which.bits() != 0
}

/// From `/proc/<pid>/stat`: the flag alone does not tell, as `exit()` ends a process's other
/// threads by a signal as well; the exit code (field 52) then has no signal in it. It reads 0
/// where we may not know it, and then the flag has to do.
fn killed_in(stat: &str) -> Option<i32> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let flags: u64 = fields.get(6)?.parse().ok()?;
    let code: i32 = fields.get(49).and_then(|code| code.parse().ok()).unwrap_or(0);
    if flags & PF_SIGNALED == 0 {
        return None;
    }
    match (code & 0x7f, code) {
        (0, 0) if !nix::unistd::geteuid().is_root() => Some(0),
        (0, _) => None,
        (signal, _) => Some(signal),
    }
}

/// Callers of a test's own making.
#[cfg(test)]
#[derive(Default)]
pub struct FakeProcs {
    groups: parking_lot::Mutex<std::collections::HashMap<u32, u32>>,
    killed: parking_lot::Mutex<std::collections::HashMap<u32, i32>>,
}

#[cfg(test)]
impl FakeProcs {
    pub fn thread(&self, tid: u32, group: u32) {
        self.groups.lock().insert(tid, group);
    }

    pub fn kill(&self, tid: u32, signal: i32) {
        self.killed.lock().insert(tid, signal);
    }
}

#[cfg(test)]
impl Procs for FakeProcs {
    fn group(&self, tid: u32) -> Option<u32> {
        Some(self.groups.lock().get(&tid).copied().unwrap_or(tid))
    }

    fn is_exiting(&self, tid: u32) -> bool {
        self.killed.lock().contains_key(&tid)
    }

    fn killed(&self, tid: u32) -> Option<i32> {
        self.killed.lock().get(&tid).copied()
    }

    fn watch(&self, tid: u32, _: Signals) -> Box<dyn Watch> {
        struct Fixed(bool);
        impl Watch for Fixed {
            fn signalled(&mut self) -> bool {
                self.0
            }
        }
        Box::new(Fixed(self.killed.lock().contains_key(&tid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_means_neither_blocked_nor_ignored() {
        let status = |pnd: &str, blk: &str, ign: &str| {
            format!(
                "Name:\tcat\nTgid:\t12\nSigPnd:\t{pnd}\nShdPnd:\t0000000000000000\nSigBlk:\t{blk}\nSigIgn:\t{ign}\n"
            )
        };
        assert!(pending_in(&status("0000000000000002", "0", "0"), Signals::Any));
        assert!(!pending_in(&status("0000000000000002", "0000000000000002", "0"), Signals::Any));
        assert!(!pending_in(&status("0000000000000002", "0", "0000000000000002"), Signals::Any));
        assert!(!pending_in(&status("0", "0", "0"), Signals::Any));
        for (signal, ends) in [(libc::SIGINT, true), (libc::SIGKILL, true), (libc::SIGCHLD, false)] {
            let bit = format!("{:016x}", 1_u64 << (signal - 1));
            assert!(pending_in(&status(&bit, "0", "0"), Signals::Any));
            assert_eq!(pending_in(&status(&bit, "0", "0"), Signals::Ending), ends, "{signal}");
        }
        assert_eq!(field(&status("0", "0", "0"), "Tgid:"), Some("12"));
    }

    #[test]
    fn a_name_with_a_parenthesis_does_not_confuse_stat() {
        let stat = |flags: u64, code: i32| {
            let zeros = "0 ".repeat(42);
            format!("12 (a) b) R 1 1 1 0 -1 {flags} {zeros}{code}\n")
        };
        assert_eq!(killed_in(&stat(0x400, 9)), Some(9));
        assert_eq!(killed_in(&stat(0x400, 0x100)), None, "a thread that exit() ended");
        assert_eq!(killed_in(&stat(0x40, 9)), None);
    }

    #[test]
    fn our_own_thread_is_alive_and_ours() {
        let tid = nix::unistd::gettid().as_raw() as u32;
        assert_eq!(Linux::default().group(tid), Some(std::process::id()));
        assert!(!Linux::default().is_exiting(tid));
        assert_eq!(Linux::default().killed(tid), None);
        assert!(!Linux::default().watch(tid, Signals::Any).signalled());
        assert!(!Linux::default().watch(0, Signals::Any).signalled());
    }
}
