//! Turns of a session: prompts are stored, wait, go one at a time, and end when the agent was seen
//! ready after them. docs/tree.md, "Delivery".
//!
//! `book` stores (`row`: how a row looks on disk; `beside`: the files beside it). `machine` decides which
//! prompt goes when and how its turn ends, `run` carries that out. `submit` looks and types, `mode` leaves
//! a mode in which text is no prompt, `submission` decides about Enter, `entry` presses it. `interrupt`
//! stops a turn, `reply` finds what is known of the answer, `outcome` says how the turn ended.

mod accept;
pub mod beside;
pub mod book;
mod entry;
mod interrupt;
mod machine;
mod mode;
mod outcome;
mod pages;
mod reply;
mod row;
mod run;
mod submission;
mod submit;
pub mod turn;
pub mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::callers::Callers;
use super::connection::Connection;
use super::conversations::Conversations;
use super::events::{self, Step};
use super::moves::Moves;
use super::observation::Observation;
use super::observation::agent_state::Eyes;
use super::records::Records;
use super::settings::Settings;
use super::{Journal, Moved, Session, State, record};
use crate::config::SessionConfig;
use crate::config::session::Turns as Setting;
use book::Book;
use muxfs_tree::Gesture;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::on_disk;
use turn::{Stage, Turn};

/// A session's turns. The book is opened when there is something to write, or to read.
pub struct Turns {
    book: RwLock<Option<Arc<Book>>>,
    /// Held while the book is opened, which waits for the disk.
    opening: Mutex<()>,
    /// Counts every change, for those who wait.
    changed: watch::Sender<u64>,
    /// A task sees to the queue.
    driven: AtomicBool,
    /// `ctl interrupt` was given to the turn under way.
    interrupted: AtomicBool,
    /// What a hook told with the last turn's end.
    told: Mutex<Option<HookReply>>,
    /// The process that wrote nothing at all of a turn into its history, however long it was waited
    /// for: its next turns end without that wait. 0: none.
    mute: AtomicU32,
    /// The turn that was interrupted last, and when: its prompt may come back as a draft.
    restores: Mutex<Option<(u64, Instant)>>,
}

/// What a hook told with a turn's end.
pub(super) struct HookReply {
    pub text: String,
    /// An error in the place of an answer.
    pub fault: bool,
}

/// Whether prompts wait for their turn, in a session of these settings, whose program's state is told by
/// rules or not.
pub fn are_on(config: &SessionConfig, has_rules: bool) -> bool {
    match config.turns {
        Setting::On => true,
        Setting::Off => false,
        Setting::Auto => has_rules,
    }
}

/// What a row says of the gesture that brought it: its caller and its id.
fn remembered(gesture: &Gesture) -> Option<String> {
    gesture.key().map(|(by, id)| format!("{by} {id}"))
}

/// Within this an agent puts an interrupted prompt back; what stands there later is somebody's.
const RESTORED: Duration = Duration::from_secs(10);

impl Default for Turns {
    fn default() -> Self {
        Turns {
            book: RwLock::new(None),
            opening: Mutex::new(()),
            changed: watch::channel(0).0,
            driven: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            told: Mutex::new(None),
            mute: AtomicU32::new(0),
            restores: Mutex::new(None),
        }
    }
}

impl Turns {
    /// A hook reported the end of a turn, and what was answered.
    pub(super) fn hook_reported(&self, reply: Option<HookReply>) {
        *self.told.lock() = reply;
    }

    /// The agent's process `pid` wrote nothing of a turn before.
    fn is_mute(&self, pid: u32) -> bool {
        self.mute.load(Ordering::Acquire) == pid
    }

    /// The turn whose prompt a draft may be.
    fn just_interrupted(&self, now: Instant) -> Option<u64> {
        let (turn, at) = (*self.restores.lock())?;
        (now.saturating_duration_since(at) < RESTORED).then_some(turn)
    }

    pub fn book(&self) -> Option<Arc<Book>> {
        self.book.read().clone()
    }

    /// Prompts that wait, and whether one is under way.
    pub fn load(&self) -> (usize, bool) {
        self.book().map_or((0, false), |book| book.load())
    }

    /// Both at one moment: prompts that wait, and the one under way by its name.
    pub fn at_once(&self) -> (usize, Option<String>) {
        self.book().map_or((0, None), |book| book.at_once())
    }

    pub fn current(&self) -> Option<Turn> {
        self.book()?.current()
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

/// What sees to the turns of all sessions, and types into their panes.
pub struct Delivery {
    pub(super) settings: Arc<Settings>,
    records: Arc<Records>,
    pub(super) connection: Arc<Connection>,
    pub(super) callers: Arc<Callers>,
    conversations: Arc<Conversations>,
    pub(super) observation: Arc<Observation>,
    pub(super) journal: Arc<Journal>,
    moves: Arc<Moves>,
}

impl Delivery {
    #[expect(clippy::too_many_arguments, reason = "each is one component that it uses")]
    pub(super) fn new(
        settings: Arc<Settings>,
        records: Arc<Records>,
        connection: Arc<Connection>,
        callers: Arc<Callers>,
        conversations: Arc<Conversations>,
        observation: Arc<Observation>,
        journal: Arc<Journal>,
        moves: Arc<Moves>,
    ) -> Self {
        Delivery { settings, records, connection, callers, conversations, observation, journal, moves }
    }

    /// Whether prompts to this session's main pane wait for their turn.
    pub fn turns_on(&self, session: &Session) -> bool {
        are_on(&session.config(), session.main().has_rules())
    }

    fn book_of(&self, session: &Session) -> Result<Arc<Book>> {
        if let Some(book) = session.turns.book() {
            return Ok(book);
        }
        let _opening = session.turns.opening.lock();
        if let Some(book) = session.turns.book() {
            return Ok(book);
        }
        let (open, damage) = Book::open(self.records.store().turns(&session.id))?;
        if let Some(damage) = damage {
            session.set_last_error(&damage);
            self.journal.trouble(&session.shown(), &damage);
        }
        let open = Arc::new(open);
        *session.turns.book.write() = Some(open.clone());
        Ok(open)
    }

    /// The prompt that this gesture brought before.
    pub fn accepted_before(&self, session: &Session, gesture: &Gesture) -> Option<Turn> {
        session.turns.book()?.by_gesture(&remembered(gesture)?)
    }

    /// Takes a waiting prompt back. `Busy` for one that is under way.
    pub async fn withdraw(self: &Arc<Self>, session: &Arc<Session>, turn: &Turn) -> Result<()> {
        let (number, name) = (turn.number, turn.name.clone());
        if self.withdraw_all(session, vec![number]).await? == 0 {
            return fail(Kind::Busy, format!("{name}: it is under way, or over"));
        }
        Ok(())
    }

    /// Takes those of `numbers` back that still wait, in one write; how many.
    async fn withdraw_all(self: &Arc<Self>, session: &Arc<Session>, numbers: Vec<u64>) -> Result<usize> {
        let Some(book) = session.turns.book() else { return fail(Kind::Gone, "no such prompt") };
        let (delivery, session) = (self.clone(), session.clone());
        on_disk(move || {
            let withdrawn = book.withdraw(&numbers, record::millis(SystemTime::now()))?;
            for turn in &withdrawn {
                delivery.report_turn(&session, turn, Step::Withdrawn);
            }
            session.turns.tell();
            Ok(withdrawn.len())
        })
        .await?
    }

    /// Gives a waiting prompt another name, which no prompt ever had. `Busy` for one that is under way.
    pub async fn rename_turn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        turn: &Turn,
        name: String,
    ) -> Result<()> {
        let Some(book) = session.turns.book() else { return fail(Kind::Gone, "no such prompt") };
        let (delivery, session) = (self.clone(), session.clone());
        let (number, old) = (turn.number, turn.name.clone());
        on_disk(move || {
            let renamed = book.rename(number, &name)?;
            delivery.moves.tell(Moved::Turn { session: session.shown(), name: old });
            delivery.report_turn(&session, &renamed, Step::Renamed);
            session.turns.tell();
            Ok(())
        })
        .await?
    }

    /// `ctl clear-queue`.
    pub async fn clear_queue(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let waiting = session.turns.book().map_or_else(Vec::new, |book| book.queue());
        if !waiting.is_empty() {
            // One may begin meanwhile: it stays.
            self.withdraw_all(session, waiting.iter().map(|turn| turn.number).collect()).await?;
        }
        self.release_turns(session).await
    }

    /// A person goes on after damage to the book.
    pub async fn release_turns(&self, session: &Arc<Session>) -> Result<()> {
        if let Some(book) = session.turns.book().filter(|book| book.held().is_some()) {
            on_disk(move || book.release()).await??;
            session.turns.tell();
        }
        Ok(())
    }

    /// What a session of an earlier life left: nothing of it is sent.
    pub(super) async fn report_left(self: &Arc<Self>, id: &str, name: &str) {
        let path = self.records.store().turns(id);
        if !beside::is_there(&path) {
            return;
        }
        let (delivery, of) = (self.clone(), name.to_owned());
        let report = on_disk(move || -> Result<()> {
            let (book, damage) = Book::open(path)?;
            if let Some(damage) = damage {
                delivery.journal.trouble(&of, &damage);
            }
            for turn in book.all().iter().filter(|t| !t.stage.ended()) {
                let stage = if turn.stage == Stage::Typing { Stage::Uncertain } else { Stage::Failed };
                let why = "the tmux server ended before";
                book.stage(turn.number, stage, record::millis(SystemTime::now()), Some(why), None)?;
                delivery.journal.trouble(&of, &format!("prompt {}: {}: {why}", turn.name, stage.word()));
            }
            Ok(())
        });
        if let Err(e) = report.await.and_then(|report| report) {
            self.journal.trouble(name, e.text());
        }
    }

    /// The last word about a turn, on disk and to everybody who waits.
    async fn end_turn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        book: &Arc<Book>,
        turn: &Turn,
        stage: Stage,
        why: Option<&str>,
        reply: Option<String>,
    ) -> Result<()> {
        let (delivery, session, book) = (self.clone(), session.clone(), book.clone());
        let (turn, why) = (turn.clone(), why.map(str::to_owned));
        on_disk(move || delivery.end_turn_now(&session, &book, &turn, stage, why.as_deref(), reply)).await?
    }

    /// The same on a thread that may wait for the disk.
    fn end_turn_now(
        &self,
        session: &Session,
        book: &Book,
        turn: &Turn,
        stage: Stage,
        why: Option<&str>,
        reply: Option<String>,
    ) -> Result<()> {
        let ended = book.stage(turn.number, stage, record::millis(SystemTime::now()), why, reply)?;
        if let Some(turn) = ended {
            self.report_turn(session, &turn, Step::Done);
            if !matches!(stage, Stage::Done | Stage::Interrupted) {
                let text = format!("prompt {}: {}: {}", turn.name, stage.word(), why.unwrap_or("-"));
                session.set_last_error(&text);
                self.journal.trouble(&session.shown(), &text);
            }
        }
        session.turns.tell();
        Ok(())
    }

    fn report_turn(&self, session: &Session, turn: &Turn, step: Step) {
        let now = session.turns.book().and_then(|b| b.by_number(turn.number));
        self.report_turn_of(session, now.as_ref().unwrap_or(turn), None, step);
    }

    /// `pid`: who wrote the prompt, so that a client knows its own turn among others'.
    fn report_turn_of(&self, session: &Session, turn: &Turn, pid: Option<u32>, step: Step) {
        let name = session.shown();
        self.moves.tell(Moved::Turn { session: name.clone(), name: turn.name.clone() });
        let fields = events::Turn {
            turn: &turn.name,
            stage: turn.stage.word(),
            bytes: turn.size,
            why: turn.why.as_deref(),
            origin: self.journal.by(&turn.origin, pid),
        };
        self.journal.report((session.serial, &name), &step.event(fields));
    }

    /// `EBUSY` where a prompt must not reach the pane now: somebody is asked something there, or
    /// nobody knows what stands there.
    pub fn may_type(&self, session: &Session) -> Result<()> {
        let pane = session.main();
        let knows = pane.has_rules();
        let state = pane.seen().state;
        let welcome = !knows || matches!(state, State::Ready | State::Busy | State::Limited) || state.ended();
        // The rules may not know a composer in another mode, which is left first.
        let leaves = |eyes: &mut Eyes| eyes.may_leave(&eyes.picture.composer);
        if welcome || state == State::Unknown && pane.eyes(leaves).unwrap_or(false) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Busy,
            format!("{}: it is {state}; a prompt could be taken for an answer", session.shown()),
        ))
    }
}
