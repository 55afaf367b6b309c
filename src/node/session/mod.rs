//! Sessions of one tmux server: their life, panes, messages, output and records.
//!
//! Knows tmux (through `muxfs_tmux`), settings and logs. Does not know paths of the tree, doors
//! or kernels: `node` gives what is here its file names.
//!
//! Each component owns its state, and gets the components below that it needs when it is made (`start`).
//! From the lowest to the highest:
//!
//! | component | owns | modules |
//! |---|---|---|
//! | [`Journal`], [`moves`] | logs of the node, events; the sequence of what moves | journal, events, ring, audit, moves |
//! | [`Records`] | the writer of records, the state directory | records, record, home |
//! | [`Settings`] | the node's settings, the catalogue, the login shell's environment | settings |
//! | [`Connection`] | the tmux server, its clients, the last failure | connection |
//! | [`Tables`] | which sessions and panes there are | tables |
//! | [`Callers`] | who asks, and from where | callers |
//! | [`Observation`](observation::Observation) | when panes are observed | observation |
//! | [`Taps`](taps::Taps), [`PaneLogs`](pane_logs::PaneLogs) | pipes of panes and their thread; their logs | taps, pane_logs |
//! | [`Conversations`] | nothing: agents' files are read when they are asked for | conversations |
//! | [`Delivery`] | nothing: turns are each session's own | turns, input, answer, wait |
//! | [`Reconciler`](reconcile::Reconciler) | the writer of the tables, lost sessions, what tmux said last | reconcile |
//! | [`Life`] | the files of hooks | life |
//! | engine | the loop: connections, notices, requests | engine, start |
//!
//! Nothing calls upwards. What a lower component wants of a higher one it asks of the engine's loop
//! ([`Connection`] has its queue), or returns for its caller to do.
//!
//! Lock order: the reconciler's (held across tmux calls), then leaves. A session's save comes before all
//! leaves. No leaf lock is held across a wait.

pub mod answer;
pub mod audit;
mod callers;
pub mod connection;
pub mod conversations;
pub mod engine;
pub mod env;
pub mod events;
mod home;
pub mod input;
pub mod journal;
pub mod life;
pub mod limit;
pub mod message;
pub mod moves;
pub mod observation;
pub mod pane;
pub mod pane_logs;
pub mod program;
pub mod reconcile;
pub mod record;
pub mod records;
mod ring;
pub mod settings;
pub mod start;
pub mod state;
pub mod tables;
pub mod taps;
pub mod turns;
pub mod view;
pub mod wait;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::config::SessionConfig;
use callers::Callers;
use connection::Connection;
use conversations::Conversations;
use life::Life;
use muxfs_tree::id::Ids;
use records::Records;
use settings::Settings;
use settings::session::SessionSettings;
use tables::Tables;
use turns::{Delivery, Turns};

pub use journal::{Journal, Level};
pub use moves::Moved;
pub use pane::{Pane, Tap};
pub use record::{ModeSet, Record};
pub use state::{Evidence, Seen, State};

/// tmux, the disk and the logs get this long each when the node ends: `muxfs umount` waits for that end.
const CLOSED: Duration = Duration::from_secs(3);

/// Where a node keeps what it keeps.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub state: PathBuf,
    pub runtime: PathBuf,
    /// The node's settings file.
    pub config: PathBuf,
}

pub struct Session {
    pub serial: u64,
    /// The record's id.
    pub id: String,
    pub ours: bool,
    pub made: SystemTime,
    face: RwLock<Face>,
    /// The pane that the session's own files act on.
    main: watch::Sender<Arc<Pane>>,
    pub record: Arc<records::Kept>,
    settings: SessionSettings,
    /// A saved config waits for the program to be ready.
    restart: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    last_error: Mutex<Option<String>>,
    pub turns: Turns,
    pub history: conversations::History,
    backoff: Mutex<life::lifecycle::Backoff>,
    /// The mark of a window for its main pane that tmux may have opened, though it did not say so.
    late_window: Mutex<Option<String>>,
    /// Written by a start, stop or restart, one at a time; read while something is typed, so that
    /// no message goes to a program that is being ended.
    life: tokio::sync::RwLock<()>,
}

/// What tmux says of a session now.
#[derive(Clone, Default)]
struct Face {
    tmux_id: String,
    name: String,
    shown: String,
    attached: u32,
    /// `WINDOW.PANE` and the pane, in tmux's order.
    panes: Vec<(String, Arc<Pane>)>,
}

impl Session {
    /// The name as a path shows it.
    pub fn shown(&self) -> String {
        self.face.read().shown.clone()
    }

    /// The name as tmux has it.
    pub fn name(&self) -> String {
        self.face.read().name.clone()
    }

    /// Whether one of its panes is that of this serial.
    fn has_pane(&self, serial: u64) -> bool {
        self.face.read().panes.iter().any(|(_, pane)| pane.serial == serial)
    }

    pub fn tmux_id(&self) -> String {
        self.face.read().tmux_id.clone()
    }

    /// Clients of people (not ours) that are attached.
    pub fn attached(&self) -> u32 {
        self.face.read().attached
    }

    pub fn panes(&self) -> Vec<(String, Arc<Pane>)> {
        self.face.read().panes.clone()
    }

    /// The pane called `WINDOW.PANE`.
    pub fn pane(&self, name: &str) -> Option<Arc<Pane>> {
        self.face.read().panes.iter().find(|(n, _)| n == name).map(|(_, p)| p.clone())
    }

    pub fn main(&self) -> Arc<Pane> {
        self.main.borrow().clone()
    }

    pub fn config(&self) -> Arc<SessionConfig> {
        self.settings.config()
    }

    /// The settings' text, and when it last changed.
    pub fn config_text(&self) -> (String, SystemTime) {
        self.record.get(|r| (r.config.clone(), record::from_millis(r.changed)))
    }

    /// The agent's own id of the conversation that runs here, as far as it is known.
    pub fn conversation(&self) -> Option<String> {
        self.record.get(|r| r.conversation.clone())
    }

    /// Where its maker stood.
    fn cwd(&self) -> Option<String> {
        self.record.get(|r| r.cwd.clone())
    }

    /// The id of the session in which this one was made.
    pub fn parent(&self) -> Option<String> {
        self.record.get(|r| r.parent.clone())
    }

    /// Bytes of the settings' text.
    pub fn config_len(&self) -> u64 {
        self.record.get(|r| r.config.len() as u64)
    }

    pub fn config_changed(&self) -> SystemTime {
        self.record.get(|r| record::from_millis(r.changed))
    }

    /// Why the last save was refused, and its text.
    pub fn rejected(&self) -> Option<settings::session::Rejected> {
        self.settings.rejected()
    }

    pub fn pending_restart(&self) -> bool {
        *self.restart.borrow()
    }

    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub fn set_last_error(&self, text: &str) {
        *self.last_error.lock() = Some(text.to_owned());
    }

    pub fn modes(&self, file: &str) -> ModeSet {
        self.record.get(|r| r.modes.get(file).copied()).unwrap_or_default()
    }

    /// Bits and groups that somebody set, by path below the session.
    pub fn all_modes(&self) -> Vec<(String, Option<u32>, Option<u32>)> {
        self.record.get(|r| r.modes.iter().map(|(path, set)| (path.clone(), set.mode, set.gid)).collect())
    }

    pub fn is_over(&self) -> bool {
        *self.ended.borrow()
    }
}

/// What a node is while it runs.
pub struct About {
    pub dirs: Dirs,
    pub started: SystemTime,
    /// Of this machine's node, for good: a name may change.
    pub id: String,
    /// Makes the ids of all that the node shows.
    pub ids: Ids,
}

/// Everything about one tmux server's sessions: the components, from the lowest to the highest.
pub struct Sessions {
    pub about: About,
    pub journal: Arc<Journal>,
    pub records: Arc<Records>,
    pub settings: Arc<Settings>,
    pub connection: Arc<Connection>,
    pub tables: Arc<Tables>,
    pub callers: Arc<Callers>,
    pub conversations: Arc<Conversations>,
    pub turns: Arc<Delivery>,
    pub life: Arc<Life>,
}

impl Sessions {
    /// The node ends: our hidden session goes, everybody else's stay.
    pub async fn close(&self) {
        self.connection.close(CLOSED).await;
        if tokio::time::timeout(CLOSED, self.records.settled().wait()).await.is_err() {
            self.journal.trouble("sessions", "the disk did not take the last changes of records in time");
        }
        self.journal.log(Level::Info, "", "muxfs ends");
        let journal = self.journal.clone();
        let _ = tokio::time::timeout(CLOSED, tokio::task::spawn_blocking(move || journal.end())).await;
    }
}

#[cfg(test)]
mod tests;
