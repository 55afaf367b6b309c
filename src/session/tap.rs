//! Getting a pane's bytes: our pipe where nobody else has one and tmux has room, else the screen.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Pane, Sessions, Tap};
use crate::error::{Kind, Result};
use crate::tmux::{Capture, PipeStart};

/// A pipe that was taken is tried again when the pane has had none for this long.
const FREE_FOR: Duration = Duration::from_secs(10);
/// How often panes without a pipe of ours are read from the screen.
const POLL: Duration = Duration::from_secs(1);

impl Sessions {
    /// Asks tmux for the pane's pipe, in a task of its own.
    pub(super) fn ask_tap(self: &Arc<Self>, pane: &Arc<Pane>) {
        pane.set_tap(Tap::Failed("starting".into()));
        let (sessions, pane) = (self.clone(), pane.clone());
        tokio::spawn(async move {
            let Ok(server) = sessions.server() else { return };
            let tap = match sessions.pipes.pipe(&server, &pane.id).await {
                Ok(PipeStart::Ours(fd)) => {
                    return sessions.tapped(&pane, fd);
                }
                Ok(PipeStart::Theirs) => Tap::Theirs,
                Ok(PipeStart::NoRoom { used, limit }) => Tap::NoRoom(used, limit),
                Err(e) if e.kind == Kind::Gone => return,
                Err(e) => Tap::Failed(e.to_string()),
            };
            if pane.set_tap(tap.clone()) {
                pane.note(&format!("the transcript comes from the {}", tap.describe()), SystemTime::now());
            }
            sessions.from_screen(pane).await;
        });
    }

    /// A pipe that was opened in the line that made its pane, before the pane is in the tables.
    pub(super) fn expect_tap(&self, pane: &str, start: Option<Result<PipeStart>>) {
        let start = match start {
            Some(Ok(PipeStart::Ours(fd))) => fd,
            _ => return, // the pane is asked for its pipe like any other
        };
        let known = self.tables.read().panes.get(pane).cloned();
        match known {
            Some(pane) => self.tapped(&pane, start),
            None => _ = self.expected.lock().insert(pane.to_owned(), start),
        }
    }

    pub(super) fn take_expected_tap(&self, pane: &Arc<Pane>) {
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

    /// Feeds `logs` from what the screen shows, until the pane ends or a pipe is ours again.
    async fn from_screen(self: Arc<Self>, pane: Arc<Pane>) {
        let mut tail = super::screen_log::Tail::default();
        let (mut free_since, mut place) = (None::<std::time::Instant>, None);
        loop {
            tokio::time::sleep(POLL).await;
            if pane.is_gone() || !pane.tap().from_screen() {
                return;
            }
            // Looked at first: a pane that stays quiet gets its pipe again too, say after a restart
            // of ours that was quicker than tmux saw the old pipe end.
            if pane.fact(|f| f.piped) {
                free_since = None;
            } else if free_since.get_or_insert_with(std::time::Instant::now).elapsed() >= FREE_FOR {
                pane.set_tap(Tap::None);
                self.ask_tap(&pane);
                return;
            }
            // A whole capture only where something moved.
            let now = pane.fact(|f| (f.history_size, f.cursor_x, f.cursor_y));
            if place.replace(now) == Some(now) {
                continue;
            }
            if let Ok(text) = self.capture(&pane, Capture::Output).await {
                // The last line is where the cursor stands: not finished.
                let finished = text.strip_suffix(b"\n").and_then(|t| t.iter().rposition(|b| *b == b'\n'));
                let lines = tail.advance(&text[..finished.map_or(0, |i| i + 1)]);
                if !lines.is_empty() {
                    pane.judge(|j| j.output(std::time::Instant::now()));
                    pane.logs.append(&lines, SystemTime::now());
                    self.observer.poke(&pane);
                }
            }
        }
    }
}
