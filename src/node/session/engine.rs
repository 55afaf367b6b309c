//! The node's own loop: connects to tmux when it is there, keeps the tables fresh, and handles
//! what the other threads tell. One task, one closed set of events.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::connection::Request;
use super::taps::output::Told;
use super::{Pane, Sessions, Tap};
use muxfs_tmux::process;
use muxfs_tmux::watch::SocketWatch;
use muxfs_tmux::{Notice, Server, Socket};
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::names::HIDDEN;

/// After a notice: several come together.
const SOON: Duration = Duration::from_millis(5);
/// After a failure to reach a server that seems to be there.
const RETRY: Duration = Duration::from_secs(1);
/// After a server was lost.
const AGAIN: Duration = Duration::from_millis(100);
/// Housekeeping: what a full disk kept back, idle descriptors; and old logs.
const TIDY: Duration = Duration::from_secs(10);
const PRUNE: Duration = Duration::from_secs(60);

/// What a writer was told is not so, and only here it can be said.
const OVERDUE: &str = "tmux came to a command in time and answered late: what its writer was told had timed out \
                       was done";

enum Next {
    Request(Request),
    Output(Told),
    Notice(Option<Notice>),
    Appeared,
    Poll,
    Tidy,
    Prune,
    End,
}

pub struct Engine {
    sessions: Weak<Sessions>,
    requests: UnboundedReceiver<Request>,
    told: UnboundedReceiver<Told>,
    notices: Option<UnboundedReceiver<Notice>>,
    presence: Presence,
}

/// When it is worth trying to connect: the socket's place changed, or a retry is due.
pub struct Presence {
    watch: SocketWatch,
    again: Option<Instant>,
}

impl Presence {
    pub fn watch(socket: &Socket) -> Result<Self> {
        Ok(Presence { watch: SocketWatch::new(&socket.path())?, again: None })
    }

    fn again_in(&mut self, time: Duration) {
        self.again = Some(Instant::now() + time);
    }

    async fn appeared(&mut self) {
        // Kept until it is due: the caller may drop this wait for another event and begin anew.
        let again = self.again;
        tokio::select! {
            changed = self.watch.changed() => if changed.is_err() {
                // The watch itself failed: look now and then instead.
                tokio::time::sleep(RETRY).await;
            },
            () = super::observation::observer::until(again) => self.again = None,
        }
    }
}

impl Engine {
    pub(super) fn new(
        sessions: &Arc<Sessions>,
        requests: UnboundedReceiver<Request>,
        told: UnboundedReceiver<Told>,
        presence: Presence,
    ) -> Self {
        Engine { sessions: Arc::downgrade(sessions), requests, told, notices: None, presence }
    }

    /// `looked` is told when the first look is over, whether or not there was a server to see.
    pub async fn run(mut self, looked: oneshot::Sender<()>) {
        let mut poll = tokio::time::interval(super::reconcile::pace::TICK);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY);
        let mut prune = tokio::time::interval(PRUNE);
        // Who mounts right after starting tmux is to find its sessions when the mount answers.
        let early = self.sessions.upgrade().and_then(|s| process::starting(&s.connection.socket_path()));
        if let Some(early) = early {
            tokio::time::sleep(early).await;
        }
        self.connect().await;
        let _ = looked.send(()); // who waited may have given up
        loop {
            let next = tokio::select! {
                request = self.requests.recv() => request.map_or(Next::End, Next::Request),
                told = self.told.recv() => told.map_or(Next::End, Next::Output),
                notice = notice(&mut self.notices) => Next::Notice(notice),
                () = self.presence.appeared(), if self.notices.is_none() => Next::Appeared,
                _ = poll.tick(), if self.notices.is_some() => Next::Poll,
                _ = tidy.tick() => Next::Tidy,
                _ = prune.tick() => Next::Prune,
            };
            let Some(sessions) = self.sessions.upgrade() else { return };
            match next {
                Next::End => return,
                Next::Request(request) => self.serve(&sessions, request).await,
                Next::Output(told) => self.output(&sessions, told).await,
                Next::Notice(Some(notice)) => self.notice(&sessions, notice).await,
                Next::Notice(None) => self.client_lost(&sessions).await,
                Next::Appeared => self.connect().await,
                Next::Poll => self.look(&sessions, sessions.life.reconciler.poll()).await,
                Next::Tidy => sessions.life.logs.tidy(),
                Next::Prune => sessions.life.logs.prune(),
            }
        }
    }

    /// Connects where a server runs, anew or with another client. Never starts one.
    async fn connect(&mut self) {
        let Some(sessions) = self.sessions.upgrade() else { return };
        if sessions.connection.is_closing() {
            return;
        }
        if let Some(server) = sessions.connection.live() {
            return self.again(&sessions, server).await;
        }
        if let Some(early) = process::starting(&sessions.connection.socket_path()) {
            return self.presence.again_in(early);
        }
        match Server::connect(sessions.connection.socket(), sessions.connection.own()).await {
            Ok(Some((server, notices))) => self.connected(&sessions, server, notices).await,
            Ok(None) => {}
            Err(e) => {
                sessions.connection.trouble(&e);
                self.presence.again_in(RETRY);
            }
        }
    }

    /// Our client was lost, and the server with its sessions lives: another client goes on.
    async fn again(&mut self, sessions: &Arc<Sessions>, server: Server) {
        match server.again(sessions.connection.socket(), sessions.connection.own()).await {
            Ok(Some(notices)) => {
                sessions.connection.log("tmux's control client was lost; another one goes on");
                self.notices = Some(notices);
                self.refresh(sessions).await;
            }
            Ok(None) => self.lost(sessions),
            Err(e) => {
                sessions.connection.trouble(&e);
                self.presence.again_in(RETRY);
            }
        }
    }

    /// The connection, to a server that is started where none runs.
    async fn start(&mut self, sessions: &Arc<Sessions>) -> Result<Server> {
        if let Some(server) = sessions.connection.connected() {
            if !server.lost() {
                return Ok(server);
            }
            self.lost(sessions); // its last notice is still on the way
        }
        if sessions.connection.is_closing() {
            return fail(Kind::Gone, "the node ends");
        }
        if let Some(early) = process::starting(&sessions.connection.socket_path()) {
            tokio::time::sleep(early).await;
        }
        let (server, notices) =
            Server::start(sessions.connection.socket(), sessions.connection.own()).await?;
        self.connected(sessions, server.clone(), notices).await;
        Ok(server)
    }

    async fn connected(
        &mut self,
        sessions: &Arc<Sessions>,
        server: Server,
        notices: UnboundedReceiver<Notice>,
    ) {
        let info = server.info();
        let text = format!("tmux {} at {}, pid {}", info.version, info.socket.display(), info.pid);
        sessions.connection.log(&text);
        sessions.connection.begin(server);
        self.notices = Some(notices);
        self.refresh(sessions).await;
    }

    /// The client is gone, maybe with its server.
    async fn client_lost(&mut self, sessions: &Arc<Sessions>) {
        self.notices = None;
        match sessions.connection.live() {
            Some(server) if !sessions.connection.is_closing() => self.again(sessions, server).await,
            _ => self.lost(sessions),
        }
    }

    fn lost(&mut self, sessions: &Arc<Sessions>) {
        self.notices = None;
        sessions.connection.lose();
        sessions.connection.log("tmux server gone");
        sessions.life.reconciler.lose_all();
        // A new one may be there already, before the watch looks again. The old one first gets the
        // time to end: a client that comes now would keep it.
        self.presence.again_in(AGAIN);
    }

    async fn serve(&mut self, sessions: &Arc<Sessions>, request: Request) {
        match request {
            Request::Start(asked, answer) => {
                let late = asked.elapsed() + RETRY > process::LIMIT;
                let server = if late && sessions.connection.connected().is_none() {
                    fail(Kind::TimedOut, "tmux did not answer within 10 s")
                } else {
                    self.start(sessions).await
                };
                let _ = answer.send(server); // who asked may have given up
            }
            Request::Rest(answer) => drop(answer.send(())), // who asked may have given up
            Request::Ended(session, exit) => sessions.life.keep_running(&session, exit),
            Request::MayRestart(session) => sessions.life.restart_if_pending(&session),
            // A save may hold them while it waits for the disk.
            Request::ConfigFile(id) => {
                let sessions = sessions.clone();
                drop(tokio::task::spawn_blocking(move || sessions.life.config_file_touched(&id)));
            }
            Request::NodeConfigFile => {
                let sessions = sessions.clone();
                drop(tokio::task::spawn_blocking(move || sessions.settings.read_again()));
            }
            #[cfg(test)]
            Request::Connected(server, notices) => self.connected(sessions, server, notices).await,
        }
    }

    async fn output(&mut self, sessions: &Arc<Sessions>, told: Told) {
        match told {
            Told::PipeEnded(pane) => {
                self.refresh(sessions).await; // the pane may simply be gone
                if pane.tap() == Tap::Ours && !pane.is_gone() {
                    sessions.life.taps.pipe_taken(&pane);
                }
            }
            Told::Exited(pane) => {
                tokio::spawn(how_it_ended(Arc::downgrade(sessions), pane));
            }
        }
    }

    async fn notice(&mut self, sessions: &Arc<Sessions>, notice: Notice) {
        match notice {
            Notice::Exit { .. } => self.client_lost(sessions).await,
            // Our session was killed and tmux moved us on (`detach-on-destroy off`): in a session of
            // others we stay for nothing. The end of this client follows.
            Notice::Attached { name, .. } if name != HIDDEN => sessions.connection.unplug(),
            Notice::Overdue => sessions.journal.trouble("tmux", OVERDUE),
            Notice::Other(_) => {}
            _ => self.refresh_soon(sessions).await,
        }
    }

    /// Lets the notices that belong together come together.
    async fn refresh_soon(&mut self, sessions: &Arc<Sessions>) {
        tokio::time::sleep(SOON).await;
        if let Some(notices) = &mut self.notices {
            while let Ok(notice) = notices.try_recv() {
                match notice {
                    Notice::Exit { .. } => return self.client_lost(sessions).await,
                    Notice::Attached { name, .. } if name != HIDDEN => sessions.connection.unplug(),
                    Notice::Overdue => sessions.journal.trouble("tmux", OVERDUE),
                    _ => {}
                }
            }
        }
        self.refresh(sessions).await;
    }

    async fn refresh(&mut self, sessions: &Arc<Sessions>) {
        self.look(sessions, sessions.life.reconciler.refresh()).await;
    }

    /// Looks at tmux, unless our client ends meanwhile: the answer would come through the next one,
    /// which nobody but this loop makes.
    async fn look(&self, sessions: &Arc<Sessions>, looking: impl Future<Output = Result<()>>) {
        let Some(server) = sessions.connection.connected() else { return };
        let look = async { settle(sessions, looking.await).await };
        tokio::select! {
            () = look => {}
            () = server.client_ended() => {}
        }
    }
}

async fn settle(sessions: &Arc<Sessions>, looked: Result<()>) {
    match looked {
        Ok(()) => sessions.connection.reached(),
        // The notice of its end follows, or came.
        Err(e) if e.kind == Kind::Gone => {}
        Err(e) => sessions.connection.trouble(&e),
    }
    sessions.life.reconciler.leave_if_last().await;
}

/// tmux learns of a process's end about when we do, and tells nobody: asked again until it has
/// (1 ms more each time, 210 ms in all; then the poll will see it).
///
/// Before 3.5 it may never learn of it: libutempter, which it calls when a pane's terminal closes,
/// takes SIGCHLD away for that moment (tmux#311). The zombie stays, and its exit status with it,
/// until the next child of the server ends, or until the server is told again.
async fn how_it_ended(sessions: Weak<Sessions>, pane: Arc<Pane>) {
    let pid = pane.fact(|f| f.pid);
    for pause in 0..=20 {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let Some(sessions) = sessions.upgrade() else { return };
        if pause > 1
            && super::observation::shell_state::is_zombie(pid as i32)
            && let Some(server) = sessions.connection.connected()
        {
            server.nudge();
        }
        let asked = sessions.life.reconciler.refresh().await;
        let known = pane.is_gone() || pane.fact(|f| f.dead || f.pid != pid);
        if asked.is_err() || known {
            return sessions.life.reconciler.leave_if_last().await;
        }
    }
}

/// The next notice; waits for ever where there is no connection.
async fn notice(notices: &mut Option<UnboundedReceiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}
