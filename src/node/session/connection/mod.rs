//! The connection to the tmux server: whether there is one, which people are attached to it, what failed
//! last, and how long a server without sessions is stayed with.
//!
//! Connections are made and lost by the engine's loop. Must not know sessions.

pub(super) mod agent_screen;
pub mod capture;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use super::state::Exit;
use super::{Journal, Level, Pane, Session};
use muxfs_tmux::{self as tmux, ClientInfo, OwnProgram, Server, Socket};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// A server is there before its first session: `tmux new-session` starts it, then asks it.
const NEWCOMER: Duration = Duration::from_secs(2);
/// A client that typed this recently holds delivery (docs/tree.md, "Delivery": 2 s). tmux tells whole seconds,
/// so one more is waited for.
const TYPED: Duration = Duration::from_secs(3);

/// What the engine's loop is asked for.
pub(super) enum Request {
    /// A session is to be made: connect, and start a server where none runs.
    /// Asked then: who waited behind others for most of the limit does not wait for it once more.
    Start(Instant, oneshot::Sender<Result<Server>>),
    /// The node ends: answered when no connection is being made any more.
    Rest(oneshot::Sender<()>),
    /// The program of a session's main pane ended by itself.
    Ended(Arc<Session>, Exit),
    /// What a restart of a session waits for may be over.
    MayRestart(Arc<Session>),
    /// A settings file of a session was touched; by id.
    ConfigFile(String),
    /// The node's own settings file was touched.
    NodeConfigFile,
    /// A server is there that a test speaks for.
    #[cfg(test)]
    Connected(Server, mpsc::UnboundedReceiver<tmux::Notice>),
}

pub struct Connection {
    socket: Socket,
    own: OwnProgram,
    journal: Arc<Journal>,
    engine: mpsc::UnboundedSender<Request>,
    server: RwLock<Option<Server>>,
    /// Clients of people.
    clients: RwLock<Vec<ClientInfo>>,
    /// What the last failure to reach tmux was.
    last_error: Mutex<Option<String>>,
    /// Until when a server without sessions is not left: who started it may be about to make one.
    stay_until: Mutex<Instant>,
    /// Sessions being made.
    making: AtomicUsize,
    /// The node ends: what leaves tmux now does not come back.
    closing: AtomicBool,
}

impl Connection {
    /// `engine` is where the loop is asked.
    pub(super) fn new(
        socket: Socket,
        own: OwnProgram,
        journal: Arc<Journal>,
        engine: mpsc::UnboundedSender<Request>,
    ) -> Self {
        Connection {
            socket,
            own,
            journal,
            engine,
            server: RwLock::new(None),
            clients: RwLock::default(),
            last_error: Mutex::new(None),
            stay_until: Mutex::new(Instant::now()),
            making: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn own(&self) -> &OwnProgram {
        &self.own
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Where the tmux server's socket is, or would be.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.path()
    }

    /// The tmux server, or ENXIO where none runs.
    pub fn server(&self) -> Result<Server> {
        self.connected().ok_or_else(|| Error::new(Kind::Gone, "no tmux server runs"))
    }

    pub fn connected(&self) -> Option<Server> {
        self.server.read().clone()
    }

    /// The server, where it is not known to be lost.
    pub(super) fn live(&self) -> Option<Server> {
        self.connected().filter(|server| !server.lost())
    }

    /// Asks the engine's loop, which does it when its turn comes.
    pub(super) fn ask(&self, request: Request) {
        let _ = self.engine.send(request); // fails only at the end of the program
    }

    /// The server, started where none runs.
    pub(super) async fn server_or_start(&self) -> Result<Server> {
        if let Some(server) = self.live() {
            return Ok(server);
        }
        let (answer, server) = oneshot::channel();
        let _ = self.engine.send(Request::Start(Instant::now(), answer)); // then the channel below closes
        server.await.unwrap_or_else(|_| fail(Kind::Gone, "the node ends"))
    }

    /// The engine's loop has connected.
    pub(super) fn begin(&self, server: Server) {
        *self.stay_until.lock() = Instant::now() + NEWCOMER;
        *self.server.write() = Some(server);
        self.reached();
    }

    /// The server is gone.
    pub(super) fn lose(&self) {
        *self.server.write() = None;
        self.clients.write().clear();
    }

    pub(super) fn set_clients(&self, all: Vec<ClientInfo>) {
        *self.clients.write() = all.into_iter().filter(|c| !c.control).collect();
    }

    /// Whether a client of a person is attached anywhere.
    pub(super) fn has_people(&self) -> bool {
        !self.clients.read().is_empty()
    }

    /// Whether a client that shows this pane typed a moment ago.
    pub(super) async fn typed_by_hand(&self, pane: &Pane) -> Result<bool> {
        // No client of a person anywhere: nothing to ask, and no round trip.
        if !self.has_people() {
            return Ok(false);
        }
        let typed = tmux::activity::typed_recently(&self.server()?, &pane.id).await?;
        Ok(typed.is_some_and(|ago| ago < TYPED))
    }

    /// The last failure to reach tmux.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(super) fn reached(&self) {
        *self.last_error.lock() = None;
    }

    /// Reported once, however often it is met: tmux is asked again and again.
    pub(super) fn trouble(&self, error: &Error) {
        let kind = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let news = kind(error.text());
        if self.last_error.lock().replace(error.text().to_owned()).is_none_or(|last| kind(&last) != news) {
            self.journal.trouble("tmux", error.text());
        }
    }

    /// A session is being made, until the result is dropped.
    pub(super) fn making(&self) -> Making<'_> {
        self.making.fetch_add(1, Ordering::AcqRel);
        Making(&self.making)
    }

    /// It has sessions: the end of the last one is its own from now on.
    pub(super) fn has_sessions(&self) {
        *self.stay_until.lock() = Instant::now();
    }

    /// Whether a server without sessions may be left.
    pub(super) fn may_leave(&self) -> bool {
        let early = Instant::now() < *self.stay_until.lock();
        !early && self.making.load(Ordering::Acquire) == 0
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Our client of a session that is none of ours stays for nothing.
    pub(super) fn unplug(&self) {
        if let Some(server) = self.connected() {
            server.unplug();
        }
    }

    /// The node ends: our hidden session goes, and `limit` is how long tmux gets for that.
    pub(super) async fn close(&self, limit: Duration) {
        self.closing.store(true, Ordering::Release);
        let left = async {
            // A client that is being attached is ended as one: cut off in the middle it would stay,
            // and a server that is told to end would wait for it for ever.
            let (rest, rested) = oneshot::channel();
            let _ = self.engine.send(Request::Rest(rest)); // then nothing is being made
            let _ = rested.await;
            let server = self.server.write().take();
            if let Some(server) = server {
                server.close().await;
            }
        };
        let _ = tokio::time::timeout(limit, left).await; // a hung tmux keeps the session
    }

    /// Something happened to the server, for the log.
    pub(super) fn log(&self, text: &str) {
        self.journal.log(Level::Info, "", text);
    }
}

/// Counts the sessions that are being made.
pub(super) struct Making<'a>(&'a AtomicUsize);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
