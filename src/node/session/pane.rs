//! One tmux pane: what tmux says of it, its state, its messages' queue, its logs.
//!
//! Belongs to its tmux pane id: handles, queues and logs follow it from session to session.
//! Lock order: `dying` before `facts`, `facts` before `judge` or `eyes`; `judge`, `eyes`, `tap` are
//! leaves. None is held across a wait.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::connection::capture::Captures;
use super::observation::agent_state::{Eyes, Picture, Signal};
use super::observation::shell_state::{Judge, Look, Verdict, look};
use super::program::Agent;
use super::state::{Evidence, Exit, Seen, State};
use crate::log::{LogFile, LogLimits, text_gap};
use muxfs_agent::osc7501::{self, Said};
use muxfs_tmux::state::PaneInfo;
use muxfs_tree::base::error::{Kind, Result, fail};

/// A pane is dead for tmux as soon as its terminal closes, and how its process ended is known
/// only when tmux has waited for it; tmux 3.2 never tells of a signal. So long may that take.
const STATUS: Duration = Duration::from_secs(1);

/// A process that does not let itself be looked at is tried again after this time.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Who gets the pane's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tap {
    /// Not asked for yet.
    None,
    /// tmux was asked for a pipe.
    Asked,
    /// A pipe of ours.
    Ours,
    /// `logs = false`.
    Off,
    /// A pipe-pane that somebody else set up: left alone.
    Theirs,
    /// Ours was taken by another pipe-pane, or broke.
    Taken,
    /// The tmux server is short of descriptors: used, limit.
    NoRoom(u64, u64),
    /// The pipe could not be set up.
    Failed(String),
}

impl Tap {
    /// As `status` shows it.
    pub fn describe(&self) -> String {
        match self {
            Tap::None | Tap::Asked => "starting".into(),
            Tap::Ours => "pipe".into(),
            Tap::Off => "off".into(),
            Tap::Theirs => "screen (the pane has a pipe-pane of its own)".into(),
            Tap::Taken => "screen (our pipe was taken)".into(),
            Tap::NoRoom(used, limit) => {
                format!("screen (the tmux server has {used} of {limit} descriptors in use)")
            }
            Tap::Failed(why) => format!("screen ({why})"),
        }
    }

    /// Whether the transcript has to come from the screen.
    pub fn from_screen(&self) -> bool {
        matches!(self, Tap::Theirs | Tap::Taken | Tap::NoRoom(..) | Tap::Failed(_))
    }
}

/// Why messages to a pane wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `draft`, `composer`, `dialog`, `turns-off`.
    pub word: &'static str,
    /// What a person can act on; empty where the word says it.
    pub why: String,
}

impl Held {
    pub fn new(word: &'static str, why: impl Into<String>) -> Self {
        Held { word, why: why.into() }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.why {
            "" => f.write_str(self.word),
            why => f.write_str(why),
        }
    }
}

pub struct Pane {
    /// tmux's own id, `%5`.
    pub id: String,
    /// What it is for good: the life of the tmux server and its number there.
    pub identity: String,
    /// Distinct among all that this process ever shows.
    pub serial: u64,
    pub raw: Arc<LogFile>,
    /// For the sizes of its files.
    pub(super) captures: Captures,
    pub logs: Arc<LogFile>,
    /// One message at a time, in the order of arrival.
    pub queue: Arc<tokio::sync::Mutex<()>>,
    /// One prompt at a time in an agent's composer, from the look at it to its Enter. That may take
    /// long; keys and text do not wait for it.
    pub prompts: Arc<tokio::sync::Mutex<()>>,
    /// Messages in the queue, the one being typed included.
    pub waiting: AtomicUsize,
    facts: RwLock<PaneInfo>,
    judge: Mutex<Judge>,
    /// Where an agent is known to run here.
    eyes: Mutex<Option<Eyes>>,
    seen: watch::Sender<Seen>,
    tap: Mutex<(Tap, Instant)>,
    held: Mutex<Option<Held>>,
    /// Set by `ctl stop`: the exit that follows is a stop.
    stopping: AtomicBool,
    gone: AtomicBool,
    /// Dead since then, how is not known yet.
    dying: Mutex<Option<Instant>>,
    /// The program paints the alternate screen.
    full_screen: AtomicBool,
    shell: AtomicBool,
    /// It printed since tmux was last asked about it.
    printed: AtomicBool,
    /// A look is due already.
    pub(super) poked: AtomicBool,
    /// A picture is being taken.
    pub(super) looking: AtomicBool,
    /// A read of its agent's status file is out. Nobody waits for it any more where it takes long.
    pub(super) reading_status: Arc<AtomicBool>,
}

impl Pane {
    pub fn new(
        facts: PaneInfo,
        identity: String,
        serial: u64,
        dir: &Path,
        limits: LogLimits,
        now: Instant,
    ) -> Self {
        let open = |name: &str, lines| {
            let limits = LogLimits { lines, ..limits.clone() };
            Arc::new(LogFile::open(dir.join(name), &identity, limits, text_gap))
        };
        let (raw, logs) = (open("raw", false), open("logs", true));
        Pane {
            captures: Captures::default(),
            id: facts.id.clone(),
            identity,
            serial,
            raw,
            logs,
            queue: Arc::default(),
            prompts: Arc::default(),
            waiting: AtomicUsize::new(0),
            facts: RwLock::new(facts),
            judge: Mutex::new(Judge::new(now)),
            eyes: Mutex::new(None),
            seen: watch::channel(Seen::nothing(SystemTime::now())).0,
            tap: Mutex::new((Tap::None, now)),
            held: Mutex::new(None),
            stopping: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            dying: Mutex::new(None),
            full_screen: AtomicBool::new(false),
            shell: AtomicBool::new(false),
            printed: AtomicBool::new(false),
            poked: AtomicBool::new(false),
            looking: AtomicBool::new(false),
            reading_status: Arc::default(),
        }
    }

    pub fn facts(&self) -> PaneInfo {
        self.facts.read().clone()
    }

    /// One field of the facts, without a copy of all.
    pub fn fact<T>(&self, get: impl FnOnce(&PaneInfo) -> T) -> T {
        get(&self.facts.read())
    }

    /// Takes over what tmux says now. True where a look is due: another process, another
    /// foreground command, dead or alive.
    pub fn update(&self, mut new: PaneInfo) -> bool {
        new.dead &= !self.is_dying(&new);
        let mut facts = self.facts.write();
        // tmux may say that a pane is dead before it says how its process ended.
        let end = |f: &PaneInfo| (f.pid, f.dead, f.dead_status, f.dead_signal);
        let look = (end(&facts), &facts.command) != (end(&new), &new.command);
        if facts.dead && !new.dead || facts.pid != new.pid {
            self.stopping.store(false, Ordering::Relaxed); // a new life
            *self.judge.lock() = Judge::new(Instant::now());
            if let Some(eyes) = &mut *self.eyes.lock() {
                eyes.begin_anew(Instant::now());
            }
            self.publish_anew(); // what was seen of the one before it is no word of this one
        }
        *facts = new;
        look
    }

    /// Whether `new` says that it ended, but not how, and that may still come.
    fn is_dying(&self, new: &PaneInfo) -> bool {
        let untold = new.dead && new.dead_status.is_none() && new.dead_signal.is_none();
        let mut dying = self.dying.lock();
        if !untold || self.fact(|f| f.dead) {
            *dying = None;
            return false;
        }
        dying.get_or_insert_with(Instant::now).elapsed() < STATUS
    }

    /// Whether tmux called it dead and was given time to say how.
    pub fn is_ending(&self) -> bool {
        self.dying.lock().is_some()
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// tmux has no such pane any more. Its logs end here.
    pub fn set_gone(&self, now: SystemTime) {
        self.gone.store(true, Ordering::Release);
        let state = self.ended_state();
        self.publish(Verdict { state, evidence: Evidence::PaneGone, fresh: true, again: None }, now);
        self.raw.close(now);
        self.logs.close(now);
    }

    pub fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::Relaxed);
    }

    pub fn full_screen(&self) -> bool {
        self.full_screen.load(Ordering::Relaxed)
    }

    /// Whether the last look found an interactive shell.
    pub fn is_shell(&self) -> bool {
        self.shell.load(Ordering::Relaxed)
    }

    pub fn set_full_screen(&self, on: bool) {
        self.full_screen.store(on, Ordering::Relaxed);
    }

    /// ENXIO where nothing could read what is typed.
    pub fn check_alive(&self) -> Result<()> {
        if self.is_gone() {
            return fail(Kind::Gone, format!("pane {} is gone", self.id));
        }
        if self.fact(|f| f.dead) {
            return fail(Kind::Gone, format!("nothing runs in pane {}: {}", self.id, self.seen().state));
        }
        Ok(())
    }

    pub fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub fn judge<T>(&self, act: impl FnOnce(&mut Judge) -> T) -> T {
        act(&mut self.judge.lock())
    }

    /// A picture counts for the process that showed it alone: after a restart the last one of the
    /// program before may still be on its way.
    pub fn saw(&self, pid: u32, picture: Picture) {
        let facts = self.facts.read(); // until it is looked at: as in `update`
        if let Some(eyes) = self.eyes.lock().as_mut().filter(|_| facts.pid == pid) {
            eyes.look(picture, Instant::now());
        }
    }

    /// Acts on what is known of the agent here, while process `pid` runs it.
    pub fn eyes_of<T>(&self, pid: u32, act: impl FnOnce(&mut Eyes) -> T) -> Option<T> {
        let facts = self.facts.read(); // until it has acted: as in `saw`
        self.eyes.lock().as_mut().filter(|_| facts.pid == pid).map(act)
    }

    /// Acts on what is known of the agent here, if one is.
    pub fn eyes<T>(&self, act: impl FnOnce(&mut Eyes) -> T) -> Option<T> {
        self.eyes.lock().as_mut().map(act)
    }

    /// Shows both at one moment, in which no other process begins here.
    pub(super) fn facts_and_eyes<T>(&self, show: impl FnOnce(&PaneInfo, Option<&Eyes>) -> T) -> T {
        let facts = self.facts.read(); // as in `saw`
        show(&facts, self.eyes.lock().as_ref())
    }

    /// The agent that runs here from now on. True where it was another, or none.
    pub fn set_agent(&self, agent: Option<Agent>) -> bool {
        let mut eyes = self.eyes.lock();
        let same = match (&*eyes, &agent) {
            (Some(old), Some(new)) => {
                old.agent.key == new.key && Arc::ptr_eq(&old.agent.manifest, &new.manifest)
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            *eyes = agent.map(|agent| Eyes::new(agent, Instant::now()));
            self.shell.store(false, Ordering::Relaxed);
        }
        !same
    }

    /// Whether an agent is known to run here, and tmux has to be asked what it shows.
    pub fn has_agent(&self) -> bool {
        self.eyes.lock().is_some() && !self.is_gone() && !self.fact(|f| f.dead)
    }

    /// Whether its state is told by rules.
    pub fn has_rules(&self) -> bool {
        self.eyes(|e| !e.agent.manifest.rules.is_empty()).unwrap_or(false)
    }

    /// Nothing that was seen counts any more: other eyes look from now on.
    pub fn publish_anew(&self) {
        self.seen.send_replace(Seen::nothing(SystemTime::now()));
    }

    /// The program said its state (OSC 7501).
    pub fn program_status(&self, text: &str) {
        let signal = match osc7501::parse(text) {
            Some(Said::Working) => Signal::Works,
            Some(Said::Blocked(_)) => Signal::Asks,
            Some(Said::Idle | Said::Done | Said::Error | Said::Clear) => Signal::Idle,
            None => return,
        };
        self.eyes(|e| e.agent.manifest.osc7501.then(|| e.stream(signal, Instant::now())));
    }

    /// The agent's key, as the catalogue has it.
    pub fn agent(&self) -> Option<String> {
        self.eyes(|e| e.agent.key.clone())
    }

    /// A message or key is about to go in: the state from before counts no more.
    pub fn input(&self, now: Instant) {
        self.judge(|j| j.input(now));
        self.eyes(|e| e.input(now));
        self.seen.send_if_modified(|s| std::mem::replace(&mut s.fresh, false));
    }

    /// What went in took until now: quiet from before says nothing of what it does.
    pub fn input_lasted(&self, now: Instant) {
        self.judge(|j| j.input_lasted(now));
        self.eyes(|e| e.input(now));
        self.seen.send_if_modified(|s| std::mem::replace(&mut s.fresh, false));
    }

    /// Looks at the process and publishes what is seen. Returns the state before where it
    /// changed, and when to look again.
    pub fn observe(&self) -> (Option<(State, State)>, Option<Duration>) {
        if self.is_gone() {
            return (None, None);
        }
        let (pid, dead, tty) = self.fact(|f| (f.pid, f.dead, f.tty.clone()));
        let verdict = if dead {
            Verdict { state: self.ended_state(), evidence: Evidence::Process, fresh: true, again: None }
        } else {
            let now = Instant::now();
            let quiet = self.judge(|j| j.quiet(now));
            match self.eyes(|e| e.decide(quiet, now, SystemTime::now())) {
                Some(verdict) => verdict,
                None => {
                    let Some(found) = look(pid as i32, &tty) else { return (None, Some(UNANSWERED)) };
                    if found == Look::Gone {
                        return (None, None); // tmux is about to say how it ended
                    }
                    self.shell.store(matches!(found, Look::Shell(_)), Ordering::Relaxed);
                    self.judge(|j| j.decide(found, now))
                }
            }
        };
        (self.publish(verdict, SystemTime::now()), verdict.again)
    }

    fn ended_state(&self) -> State {
        if self.stopping.load(Ordering::Relaxed) {
            return State::Stopped;
        }
        self.fact(|f| match (f.dead_status, f.dead_signal) {
            (Some(code), _) => State::Exited(Exit::Code(code)),
            (None, Some(signal)) => State::Exited(Exit::Signal(signal)),
            (None, None) => State::Exited(Exit::Untold),
        })
    }

    fn publish(&self, verdict: Verdict, now: SystemTime) -> Option<(State, State)> {
        let mut changed = None;
        self.seen.send_if_modified(|seen| {
            let old = *seen;
            let looked = Instant::now();
            let (since, held) =
                if old.state == verdict.state { (old.since, old.held) } else { (now, looked) };
            *seen = Seen {
                state: verdict.state,
                evidence: verdict.evidence,
                since,
                at: now,
                held,
                looked,
                fresh: verdict.fresh,
            };
            if old.state != verdict.state {
                changed = Some((old.state, verdict.state));
            }
            old.state != seen.state || old.fresh != seen.fresh
        });
        changed
    }

    pub(super) fn set_printed(&self) {
        self.printed.store(true, Ordering::Release);
    }

    /// Whether it printed since this was last asked.
    pub(super) fn take_printed(&self) -> bool {
        self.printed.swap(false, Ordering::AcqRel)
    }

    pub fn tap(&self) -> Tap {
        self.tap.lock().0.clone()
    }

    /// Since when the tap is what it is.
    pub fn tap_since(&self) -> Instant {
        self.tap.lock().1
    }

    /// True where it changed.
    pub fn set_tap(&self, tap: Tap) -> bool {
        let mut now = self.tap.lock();
        let changed = now.0 != tap;
        if changed {
            *now = (tap, Instant::now());
        }
        changed
    }

    pub fn held(&self) -> Option<Held> {
        self.held.lock().clone()
    }

    pub fn set_held(&self, held: Option<Held>) {
        *self.held.lock() = held;
    }

    /// A line of ours in the transcript: gaps, and messages under a full-screen program.
    pub fn note(&self, text: &str, now: SystemTime) {
        self.logs.append(format!("[muxfs: {text}]\n").as_bytes(), now);
    }
}
