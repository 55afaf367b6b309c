//! Where an operation comes from, by name: its user, the session whose pane the calling process sits in, and
//! where that process stands. What they were refused, and what others than the owner did, is recorded here.
//!
//! Of a process only `/proc/PID/status` is read. The kernel answers it without a lock of the process
//! (offload.rs), so this waits for nobody. Must not know what the operation does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::Journal;
use super::audit::Deed;
use super::env::read_environ;
use super::tables::Tables;
use super::turns::turn::Author;
use muxfs_tree::base::names;
use muxfs_tree::base::offload::Offload;
use muxfs_tree::base::users;
use muxfs_tree::caller::{Caller, Origin, User};

/// Parents that are asked.
const FAR: usize = 64;
/// How long an answer holds for all processes of one session (setsid(2)): its parents change when the
/// process that began it ends.
const KEPT: Duration = Duration::from_secs(3);
/// Answers that are kept.
const MOST: usize = 256;

/// Questions to callers' processes, which may be kept from answering (offload.rs).
static CALLERS: Offload = Offload::new("muxfs-callers", 16);
/// How long a caller's process may take to answer one.
const ASKED: Duration = Duration::from_secs(1);

fn local_pid(who: &Caller) -> Option<u32> {
    who.pid().filter(|_| who.origin().node.is_none())
}

pub struct Callers {
    tables: Arc<Tables>,
    journal: Arc<Journal>,
    /// What is known of process sessions that are no pane's: the pane (by its serial) whose process is among
    /// their parents.
    known: Mutex<HashMap<u32, (Instant, Option<u64>)>>,
    /// Directories that are mounts of ours: no session starts in one of them by itself.
    mounts: RwLock<Vec<PathBuf>>,
}

/// What the kernel tells of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kin {
    parent: u32,
    /// The id of its session, of setsid(2).
    session: u32,
}

impl Callers {
    pub(super) fn new(tables: Arc<Tables>, journal: Arc<Journal>) -> Self {
        Callers { tables, journal, known: Mutex::default(), mounts: RwLock::default() }
    }

    /// Keeps sessions from starting inside `dir`, a mount of this process: it must never wait on
    /// itself.
    pub fn avoid(&self, dir: PathBuf) {
        self.mounts.write().push(dir);
    }

    /// A caller with their session, where the calling process sits in a pane of one.
    pub fn placed(&self, who: &Caller) -> Caller {
        let mut who = who.clone();
        if let (Origin { node: None, session: None, .. }, Some(pid)) = (who.origin(), who.pid()) {
            who.identity.origin.session = self.pane_of(pid).and_then(|pane| self.session_of(pane));
        }
        who
    }

    /// Who writes a prompt. May ask for a user's name, for 2 s at most.
    pub(super) async fn author(&self, who: &Caller) -> Author {
        let who = self.placed(who);
        let mut from = who.origin().clone();
        if from.user.is_none() {
            from.user = Some(match &who.identity.user {
                User::Local { uid, .. } => users::name(*uid).await,
                User::Named { name, .. } => name.clone(),
            });
        }
        Author { from, uid: who.local_uid(), init: false }
    }

    /// Records a refusal or failure: who asked, of which path, and why not.
    pub fn refused(&self, who: &Caller, at: &str, why: &str) {
        self.journal.refused(&self.placed(who), at, why);
    }

    /// The directory a local caller stands in, unless it is inside one of our own mounts: a
    /// daemon that waits on its own mount waits for ever. None also where the process does not
    /// tell in time; `errors` says so, as its session then starts elsewhere.
    pub(super) async fn dir_of(&self, who: &Caller, name: &str) -> Option<String> {
        let pid = match &who.identity.cwd {
            Some(dir) if who.origin().node.is_none() => return self.outside(dir.into()),
            _ => local_pid(who)?,
        };
        let link = move || std::fs::read_link(format!("/proc/{pid}/cwd"));
        let Some(dir) = CALLERS.ask(pid, ASKED, link).await else {
            let why = format!("the working directory of process {pid} is not known, so the default is used");
            self.journal.trouble(name, &why);
            return None;
        };
        self.outside(dir.ok()?)
    }

    /// A directory that is there, and in no mount of ours.
    fn outside(&self, dir: PathBuf) -> Option<String> {
        let inside = |mount: &PathBuf| dir.starts_with(mount);
        if self.mounts.read().iter().any(inside) {
            return None;
        }
        dir.to_str().filter(|d| !d.ends_with(" (deleted)")).map(str::to_owned)
    }

    /// The session that a local caller runs in, by its id.
    pub(super) async fn session_id_of(&self, who: &Caller) -> Option<String> {
        let pid = local_pid(who)?;
        let env = CALLERS.ask(pid, ASKED, move || read_environ(pid)).await;
        let id = env??.remove(names::SESSION_ID)?;
        // What stands in an environment is anyone's to write: only a session that is here counts.
        self.tables.by_id(&id).is_some().then_some(id)
    }

    /// Records what was done at a path of this node, where it was not its owner who did it.
    pub fn audit(&self, who: &Caller, at: &str, deed: Deed) {
        if who.local_uid() == Some(nix::unistd::geteuid().as_raw()) {
            return;
        }
        let name = at.split('/').next().unwrap_or_default();
        let session = self.tables.get(name).map(|session| session.shown()).unwrap_or_default();
        self.journal.audit(&self.placed(who), &session, at, deed);
    }

    fn session_of(&self, pane: u64) -> Option<String> {
        self.tables
            .now()
            .sessions
            .values()
            .find(|session| session.has_pane(pane))
            .map(|session| session.shown())
    }

    /// The pane that a process sits in, by its serial.
    fn pane_of(&self, pid: u32) -> Option<u64> {
        let asked = kin(pid)?;
        let of_pane = |pid: u32| {
            self.tables
                .now()
                .panes
                .values()
                .find(|pane| pane.fact(|f| f.pid == pid && !f.dead))
                .map(|pane| pane.serial)
        };
        if let Some(pane) = of_pane(asked.session) {
            return Some(pane);
        }
        let now = Instant::now();
        if let Some((since, pane)) = self.known.lock().get(&asked.session)
            && now.duration_since(*since) < KEPT
        {
            return *pane;
        }
        let found = ancestors(asked, kin).find_map(of_pane);
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, (since, _)| now.duration_since(*since) < KEPT);
        }
        if known.len() < MOST {
            known.insert(asked.session, (now, found));
        }
        found
    }
}

/// The parents of a process, and the processes that began their sessions: the nearest first.
fn ancestors(first: Kin, kin: impl Fn(u32) -> Option<Kin>) -> impl Iterator<Item = u32> {
    let mut next = Some(first);
    let parents = std::iter::from_fn(move || {
        let parent = next.map(|kin| kin.parent).filter(|parent| *parent > 1)?;
        next = kin(parent);
        Some([Some(parent), next.map(|kin| kin.session)])
    });
    parents.take(FAR).flatten().flatten()
}

fn kin(pid: u32) -> Option<Kin> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// `NSsid` has the session's id in each namespace, ours first.
fn parse(status: &str) -> Option<Kin> {
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some(Kin { parent: number("PPid:")?, session: number("NSsid:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_parent_and_a_session() {
        let status = "Name:\tx\nPPid:\t12\nNSpid:\t9\t1\nNSsid:\t7\t1\n";
        assert_eq!(parse(status), Some(Kin { parent: 12, session: 7 }));
        assert_eq!(parse("Name:\tx\nPPid:\t12\n"), None);
        let own = kin(std::process::id()).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw() as u32);
        assert_eq!(own.session, nix::unistd::getsid(None).unwrap().as_raw() as u32);
        assert_eq!(kin(0), None);
    }

    #[test]
    fn parents_come_nearest_first_and_have_an_end() {
        let of = |pid: u32| (pid != 30).then_some(Kin { parent: pid - 10, session: pid + 1 });
        let found: Vec<u32> = ancestors(Kin { parent: 50, session: 9 }, of).collect();
        assert_eq!(found, [50, 51, 40, 41, 30], "30 is gone");
        let circle = ancestors(Kin { parent: 5, session: 5 }, |_| Some(Kin { parent: 5, session: 5 }));
        assert_eq!(circle.count(), 2 * FAR);
        assert_eq!(ancestors(Kin { parent: 1, session: 5 }, of).count(), 0, "init is nobody's");
    }
}
