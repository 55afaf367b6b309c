//! Getting a pane's bytes: our pipe where nobody else has one and tmux has room, else the screen.
//!
//! Knows the pipe's comings and goings and states every gap in both logs. Must not know what the
//! bytes mean.

pub mod output;
pub mod screen_log;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::connection::Connection;
use super::observation::observer::Observer;
use super::tables::Tables;
use super::{Pane, Session, Tap};
use muxfs_tmux::{self as tmux, Capture, PipeHub, PipeStart, Server, missing_room};
use muxfs_tree::base::error::{Kind, Result};
use output::Output;
use screen_log::Tail;

/// A pane that has had no pipe for this long is asked for one again.
const FREE_FOR: Duration = Duration::from_secs(10);
/// How often panes without a pipe of ours are read from the screen.
const POLL: Duration = Duration::from_secs(1);
/// Bytes at the end of a transcript in which the place to go on is looked for.
const KNOWN: u64 = 16 << 10;

pub struct Taps {
    connection: Arc<Connection>,
    tables: Arc<Tables>,
    observer: Observer,
    pipes: PipeHub,
    /// Pipes that came before their panes, by tmux pane id.
    expected: Mutex<HashMap<String, OwnedFd>>,
    output: Output,
}

impl Taps {
    pub(super) fn new(
        connection: Arc<Connection>,
        tables: Arc<Tables>,
        observer: Observer,
        pipes: PipeHub,
        output: Output,
    ) -> Self {
        Taps { connection, tables, observer, pipes, expected: Mutex::default(), output }
    }

    /// For a pane whose pipe is opened in the line that makes it.
    pub(super) fn pipes(&self) -> &PipeHub {
        &self.pipes
    }

    /// Sees the pane's process end at once, not at the next poll.
    pub(super) fn watch_process(&self, pane: &Arc<Pane>) {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let (pid, dead) = pane.fact(|f| (f.pid, f.dead));
        if let (Some(pid), false) = (Pid::from_raw(pid as i32), dead)
            && let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
        {
            self.output.process(pane.clone(), fd); // one that ended already is seen by the refresh
        }
    }

    /// tmux has no such pane any more.
    pub(super) fn forget(&self, pane: &Pane) {
        self.output.forget(pane.serial);
    }

    /// Pipes for the panes that have none, where the settings want logs.
    pub(super) fn tap_session(self: &Arc<Self>, session: &Session) {
        let wanted = session.config().logs;
        for (_, pane) in session.panes() {
            match pane.tap() {
                Tap::None if wanted => self.ask(&pane),
                Tap::None => _ = pane.set_tap(Tap::Off),
                _ => {}
            }
        }
    }

    /// Asks tmux for the pane's pipe, in a task of its own.
    pub(super) fn ask(self: &Arc<Self>, pane: &Arc<Pane>) {
        pane.set_tap(Tap::Asked);
        let (taps, pane, asked) = (self.clone(), pane.clone(), pane.tap_since());
        tokio::spawn(async move {
            let Some(start) = taps.try_pipe(&pane).await else { return };
            if pane.tap_since() != asked {
                return; // `logs = false` meanwhile; a pipe that came closes with its descriptor
            }
            match start {
                Ok(fd) => taps.tapped(&pane, fd),
                Err(tap) => {
                    pane.note(
                        &format!("the transcript comes from the {}", tap.describe()),
                        SystemTime::now(),
                    );
                    pane.set_tap(tap);
                    taps.from_screen(pane).await;
                }
            }
        });
    }

    /// The pipe, or what is in its place. None: the pane or its server is gone.
    async fn try_pipe(&self, pane: &Pane) -> Option<std::result::Result<OwnedFd, Tap>> {
        let server = self.connection.server().ok()?;
        Some(match self.pipes.pipe(&server, &pane.id).await {
            Ok(PipeStart::Ours(fd)) => Ok(fd),
            Ok(PipeStart::Theirs) => Err(Tap::Theirs),
            Ok(PipeStart::NoRoom { used, limit }) => Err(Tap::NoRoom(used, limit)),
            Err(e) if e.kind == Kind::Gone => return None,
            Err(e) => Err(Tap::Failed(e.to_string())),
        })
    }

    /// A pipe that was opened in the line that made its pane, before the pane is in the tables.
    pub(super) fn expect(&self, pane: &str, start: Option<Result<PipeStart>>) {
        let start = match start {
            Some(Ok(PipeStart::Ours(fd))) => fd,
            _ => return, // the pane is asked for its pipe like any other
        };
        self.expected.lock().insert(pane.to_owned(), start);
        // A pane that comes into the tables from here on looks for its pipe itself.
        if let Some(pane) = self.tables.pane(pane) {
            self.take_expected(&pane);
        }
    }

    pub(super) fn take_expected(&self, pane: &Arc<Pane>) {
        let expected = self.expected.lock().remove(&pane.id);
        if let Some(fd) = expected {
            self.tapped(pane, fd);
        }
    }

    fn tapped(&self, pane: &Arc<Pane>, fd: OwnedFd) {
        pane.set_tap(Tap::Ours);
        self.output.pipe(pane.clone(), fd);
    }

    /// Stops keeping a pane's bytes, as `logs = false` says.
    pub(super) fn untap(&self, pane: &Pane) {
        pane.set_tap(Tap::Off);
        self.output.forget(pane.serial);
    }

    /// A pipe of ours ended although its pane is there: somebody else's took its place.
    pub(super) fn pipe_taken(self: &Arc<Self>, pane: &Arc<Pane>) {
        self.without_pipe(pane, Tap::Taken, "our pipe was taken");
    }

    /// Gives pipes back where the tmux server runs short of descriptors: one without any answers
    /// nobody any more, and sessions count for more than transcripts. The newest panes' go first.
    pub(super) fn give_back(self: &Arc<Self>, server: &Server) {
        let mut panes: Vec<Arc<Pane>> = self.tables.now().panes.values().cloned().collect();
        panes.retain(|p| p.tap() == Tap::Ours);
        if panes.is_empty() {
            return;
        }
        let Some((missing, used, limit)) = missing_room(server) else { return };
        panes.sort_by_key(|p| std::cmp::Reverse(p.serial));
        for pane in panes.into_iter().take(missing as usize) {
            self.output.forget(pane.serial);
            let (server, id) = (server.clone(), pane.id.clone());
            tokio::spawn(async move {
                if let Err(e) = tmux::pipe::close(&server, &id).await {
                    tracing::debug!("pane {id}: its pipe stays: {e}"); // it is gone, most likely
                }
            });
            self.without_pipe(&pane, Tap::NoRoom(used, limit), "our pipe was given back");
        }
    }

    fn without_pipe(self: &Arc<Self>, pane: &Arc<Pane>, tap: Tap, why: &str) {
        let now = SystemTime::now();
        pane.note(&format!("{why}: from here on the transcript comes from the {}", tap.describe()), now);
        pane.raw.append(format!("\r\n[muxfs: {why}: bytes are missing here]\r\n").as_bytes(), now);
        pane.set_tap(tap);
        tokio::spawn(self.clone().from_screen(pane.clone()));
    }

    /// Feeds `logs` from what the screen shows, until the pane ends, a pipe is ours again or
    /// somebody else decides about the tap.
    async fn from_screen(self: Arc<Self>, pane: Arc<Pane>) {
        let mut screen = Screen { tail: known(&pane), place: None, settled: false };
        let mut free_since: Option<Instant> = None;
        let mut mine = pane.tap_since();
        loop {
            tokio::time::sleep(POLL).await;
            if pane.is_gone() || pane.tap_since() != mine {
                return;
            }
            self.look_at_screen(&pane, &mut screen).await;
            if pane.fact(|f| f.piped) {
                free_since = None;
                continue;
            }
            if free_since.get_or_insert_with(Instant::now).elapsed() < FREE_FOR {
                continue;
            }
            free_since = None;
            let Some(start) = self.try_pipe(&pane).await else { return };
            if pane.tap_since() != mine {
                return;
            }
            match start {
                Ok(fd) => {
                    let now = SystemTime::now();
                    pane.note("our pipe again: lines may be missing or repeated here", now);
                    let text = b"\r\n[muxfs: our pipe again: bytes are missing up to here]\r\n";
                    pane.raw.append(text, now);
                    return self.tapped(&pane, fd);
                }
                Err(tap) => _ = pane.set_tap(tap),
            }
            mine = pane.tap_since();
        }
    }

    /// What the screen has more than at the last look goes into `logs`.
    async fn look_at_screen(&self, pane: &Arc<Pane>, screen: &mut Screen) {
        let (now, alternate) = pane.fact(|f| ((f.history_size, f.cursor_x, f.cursor_y), f.alternate_on));
        // A whole capture only where something moved, and once more when it has come to rest.
        let rests = screen.place.replace(now) == Some(now);
        if alternate || rests && screen.settled {
            return;
        }
        let Ok(text) = self.connection.capture(pane, Capture::Output).await else { return };
        screen.settled = rests;
        // The last line is where the cursor stands: not finished, unless that rests at a
        // line's beginning (the blank line it stands on is cut).
        let end = if rests && now.1 == 0 {
            text.len()
        } else {
            let last = text.strip_suffix(b"\n").and_then(|t| t.iter().rposition(|b| *b == b'\n'));
            last.map_or(0, |i| i + 1)
        };
        let lines = screen.tail.advance(&text[..end]);
        if !lines.is_empty() {
            pane.judge(|j| j.output(Instant::now()));
            pane.logs.append(&lines, SystemTime::now());
            self.observer.poke(pane);
        }
    }
}

/// A pane read from its screen.
struct Screen {
    tail: Tail,
    /// History and cursor at the last look.
    place: Option<(u32, u32, u32)>,
    /// A look was had at what stands still.
    settled: bool,
}

/// What the transcript holds already: the screen still shows it and is not to repeat it.
fn known(pane: &Pane) -> Tail {
    let log = pane.logs.current();
    let end = log.read_at(log.size().saturating_sub(KNOWN), KNOWN as usize);
    Tail::after(&end.unwrap_or_default()) // a log that cannot be read has nothing to go on from
}
