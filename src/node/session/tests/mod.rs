//! Sessions without tmux: a node whose server is a puppet that the test plays.
//!
//! What only a real server shows (what it makes of a line, when it tells what) is for tests/it.

mod life;
mod observation;
mod puppet;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use super::connection::Request;
use super::record::Store;
use super::turns::turn::{Stage, Turn};
use super::{Dirs, Moved, Record, Session, Sessions, State};
use muxfs_tmux::{OwnProgram, Server, ServerInfo};
use muxfs_tree::{Caller, Gesture};
use puppet::{NOBODY, Peer, World};

/// How its screen is read.
const MANIFEST: &str = "
name = 'Puppet'
command = ['sh']
[submit]
settle = '10ms'
enters = 1
[keys]
close = ['Escape']
[[rule]]
state = 'blocked'
name = 'asks'
screen = '^approve\\?'
[[rule]]
state = 'limited'
reason = 'usage'
name = 'limit'
screen = '^limit'
[[rule]]
state = 'busy'
name = 'works'
screen = '^working'
[[rule]]
state = 'ready'
name = 'idle'
screen = '^idle'
[composer]
screen = '^>(?P<text>[^\\n]*)'
";

/// Settings of a session of ours: no pipe is asked for.
const SETTINGS: &str = "agent = 'puppet'\nlogs = false\n";

/// A node's directories, its sessions, and the server that they are in.
struct Lab {
    dir: TempDir,
    world: Arc<Mutex<World>>,
    peer: Peer,
    sessions: Arc<Sessions>,
    /// What the node runs in: it dies with it.
    node: Option<Runtime>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.shutdown_background();
        }
    }
}

impl Lab {
    /// A node that knows the sessions which `build` puts into the world.
    async fn new(build: impl FnOnce(&mut World)) -> Lab {
        Lab::with("", build).await
    }

    /// The same with more settings of the node.
    async fn with(config: &str, build: impl FnOnce(&mut World)) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let agents = dir.path().join("config/agents");
        std::fs::create_dir_all(&agents).unwrap();
        std::fs::write(agents.join("puppet.toml"), MANIFEST).unwrap();
        let socket = dir.path().join("no-socket");
        let text = format!("{config}\n[tmux]\nsocket = '{}'\n", socket.display());
        std::fs::write(dir.path().join("config/muxfs.toml"), text).unwrap();
        let mut world = World::default();
        build(&mut world);
        let store = Store::open(dir.path().join("state/sessions")).unwrap();
        for session in world.sessions.iter().filter(|s| !s.muxfs_id.is_empty()) {
            let config = format!("{SETTINGS}{}", session.config);
            let (id, name) = (session.muxfs_id.clone(), session.name.clone());
            store.save_config(&id, &config).unwrap();
            store.save(&Record { id, name, config, ours: true, ..Record::default() }).unwrap();
        }
        let world = Arc::new(Mutex::new(world));
        let (sessions, peer, node) = start(&dir, &world).await;
        Lab { dir, world, peer, sessions, node: Some(node) }
    }

    /// The node dies where it stands, and another one begins with what is on disk and in tmux.
    async fn crash(&mut self) {
        let node = self.node.take().unwrap();
        tokio::task::spawn_blocking(move || node.shutdown_timeout(Duration::from_millis(500))).await.unwrap();
        self.peer.hang_up();
        let (sessions, peer, node) = start(&self.dir, &self.world).await;
        (self.sessions, self.peer, self.node) = (sessions, peer, Some(node));
    }

    /// Does it in the node: what it begins ends with the node.
    async fn inside<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.node.as_ref().unwrap().spawn(work).await.unwrap()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    fn get(&self, name: &str) -> Arc<Session> {
        self.sessions.tables.get(name).unwrap_or_else(|| panic!("no session {name}: {:?}", self.names()))
    }

    fn names(&self) -> Vec<String> {
        self.sessions.tables.all().iter().map(|s| s.shown()).collect()
    }

    /// tmux says that something changed, and everything is looked at.
    async fn changed(&self) {
        let life = self.sessions.life.clone();
        self.inside(async move { life.reconciler.refresh().await }).await.unwrap();
    }

    fn moves(&self) -> broadcast::Receiver<(u64, Moved)> {
        self.sessions.tables.moves()
    }

    async fn state(&self, name: &str, state: State) {
        let session = self.get(name);
        until(&format!("{name} to be {state}"), || session.main().seen().state == state).await;
    }

    /// It is ready, and that was seen after the last input.
    async fn ready(&self, name: &str) {
        let session = self.get(name);
        let ready = || {
            let seen = session.main().seen();
            seen.state == State::Ready && seen.fresh
        };
        until(&format!("{name} to be ready"), ready).await;
    }

    /// A prompt is stored.
    async fn prompt(&self, name: &str, text: &str) -> Turn {
        self.gesture(name, Gesture::of(&Caller::own()), text).await
    }

    async fn gesture(&self, name: &str, gesture: Gesture, text: &str) -> Turn {
        let (turns, session, text) = (self.sessions.turns.clone(), self.get(name), text.to_owned());
        let accept = async move { turns.accept(&session, &gesture, None, text.as_bytes()).await };
        self.inside(accept).await.unwrap().unwrap()
    }

    /// Waits until the turn is there.
    async fn stage(&self, name: &str, turn: &Turn, stage: Stage) -> Turn {
        let session = self.get(name);
        staged(&session, turn, stage).await
    }

    /// What stands in `errors`.
    fn errors(&self) -> String {
        let log = self.sessions.journal.errors.log().current();
        String::from_utf8_lossy(&log.read_at(0, 1 << 20).unwrap()).into_owned()
    }
}

async fn start(dir: &TempDir, world: &Arc<Mutex<World>>) -> (Arc<Sessions>, Peer, Runtime) {
    let node = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let path = dir.path();
    let dirs = Dirs {
        state: path.join("state"),
        runtime: path.join("runtime"),
        config: path.join("config/muxfs.toml"),
    };
    let begin = Sessions::start(dirs, OwnProgram::new("/bin/true"), 1, |_| false);
    let sessions = node.spawn(begin).await.unwrap().unwrap();
    let peer = {
        let _inside = node.enter();
        connect(&sessions, world)
    };
    let all = world.lock().sessions.len();
    until("all sessions to come into view", || sessions.tables.count() == all).await;
    (sessions, peer, node)
}

/// A server that lives no longer than its connection.
fn connect(sessions: &Sessions, world: &Arc<Mutex<World>>) -> Peer {
    let (peer, stream) = Peer::serve(world);
    let info = ServerInfo { pid: NOBODY, version: "3.5".into(), socket: "none".into(), start_time: 1 };
    let (server, notices) = Server::over(stream, info, &OwnProgram::new("/bin/true")).unwrap();
    sessions.connection.ask(Request::Connected(server, notices));
    peer
}

async fn staged(session: &Session, turn: &Turn, stage: Stage) -> Turn {
    let now = || session.turns.book().and_then(|book| book.by_number(turn.number)).unwrap();
    let begun = Instant::now();
    until(&format!("prompt {} to be {}", turn.name, stage.word()), || {
        let late = begun.elapsed() > Duration::from_secs(9);
        assert!(!late, "it is {:?}, held: {:?}", now(), session.main().held());
        now().stage == stage
    })
    .await;
    now()
}

/// Waits for a condition. Ten seconds are far more than any takes, and no test counts on them.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
