//! Puts one prompt into an agent's composer and sees to it that it is taken.
//!
//! Every step begins with a look, and what is typed is typed only while the pane stands as it was
//! seen: nothing goes into a dialog that came up meanwhile, nor onto somebody's draft.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::eyes::Picture;
use super::super::{Pane, Sessions};
use crate::agent::composer::Composer;
use crate::agent::manifest::{By, Manifest, State as Shows};
use crate::error::{Error, Kind, Result, fail};
use crate::tmux::input::{self, Send, Typed};
use crate::tmux::{self, Key, Server, Stand};

/// How long a text may take to stand in the composer: 200 kB took an agent up to 2 s.
const SHOWN: Duration = Duration::from_secs(10);
/// Within this an Enter shows, or it is pressed again where the manifest says so.
const TAKEN: Duration = Duration::from_secs(2);
/// How much longer a prompt may take to show as work than a command: a busy machine.
const UNSEEN: Duration = Duration::from_secs(6);
/// How long a screen that never rests is tried.
const REST: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(30);

/// A pane that was seen fit for a prompt.
pub(super) struct Fit {
    server: Server,
    /// None of a pane that nobody can see into.
    stand: Option<Stand>,
    manifest: Option<Arc<Manifest>>,
}

/// Why a pane is not fit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The agent works, asks, or is not to be made out.
    State,
    /// The composer holds a text that is not ours.
    Draft,
}

/// What became of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Taken,
    /// The pane changed before the first byte: nothing was typed.
    Moved,
    /// It stands in the composer and was not taken.
    Ignored,
}

impl Sessions {
    /// Looks whether a prompt may go now. `working_too`: also while the agent works.
    pub(super) async fn fit(
        &self,
        pane: &Pane,
        working_too: bool,
    ) -> Result<std::result::Result<Fit, Unfit>> {
        let server = self.server()?;
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else {
            return Ok(Ok(Fit { server, stand: None, manifest: None }));
        };
        if manifest.rules.is_empty() {
            return Ok(Ok(Fit { server, stand: None, manifest: Some(manifest) }));
        }
        let (shot, picture) = self.picture(pane).await?;
        if shot.dead {
            return fail(Kind::Gone, format!("pane {} is dead", pane.id));
        }
        let state = matches!(picture.state, Some(Shows::Ready))
            || working_too && matches!(picture.state, Some(Shows::Busy | Shows::Limited))
            || matches!(picture.state, Some(Shows::Limited))
                && pane.eyes(|e| e.limit_is_over(SystemTime::now())).unwrap_or(false);
        let draft = matches!(picture.composer, Composer::Draft(_));
        pane.saw(shot.pid, picture);
        Ok(if !state {
            Err(Unfit::State)
        } else if draft {
            Err(Unfit::Draft)
        } else {
            Ok(Fit { server, stand: Some(stand(&shot)), manifest: Some(manifest) })
        })
    }

    /// Types `text` and presses Enter. The caller holds the pane's queue.
    pub(super) async fn put_in(self: &Arc<Self>, pane: &Arc<Pane>, fit: &Fit, text: &str) -> Result<Put> {
        let (Some(manifest), Some(stand)) = (fit.manifest.as_deref(), &fit.stand) else {
            // A shell, or an agent nobody can see: one paste and one Enter.
            pane.input(Instant::now());
            input::paste(&fit.server, &pane.id, text.as_bytes(), true).await?;
            return Ok(Put::Taken);
        };
        let typed = manifest.submit.by == By::Keys || text.starts_with('/') && !text.contains('\n');
        pane.input(Instant::now());
        let put = if typed {
            input::type_if(&fit.server, &pane.id, &[Send::Text(text)], stand).await?
        } else {
            input::paste_if(&fit.server, &pane.id, text.as_bytes(), stand).await?
        };
        if put == Typed::Moved {
            return Ok(Put::Moved);
        }
        // What is larger takes longer: up to 15 s were seen for 200 kB.
        let more = Duration::from_micros(text.len() as u64);
        let submit = &manifest.submit;
        self.until_shown(pane, stand, submit.settle + more * 10, SHOWN + more * 50).await?;
        if !submit.nudge.is_empty() && text.len() >= submit.large && !typed {
            self.nudge(pane, &fit.server, &submit.nudge, submit.settle).await?;
        }
        for _ in 0..manifest.submit.enters.max(1) {
            let (before, busy) = self.enter(pane, &fit.server).await?;
            let command = text.starts_with('/'); // not worked on
            pane.eyes(|e| e.expect_work(if command { Duration::ZERO } else { UNSEEN } + more * 75));
            if self.until_taken(pane, &before, busy, TAKEN + more * 75).await? {
                return Ok(Put::Taken);
            }
        }
        Ok(Put::Ignored)
    }

    /// The text stands in the composer, and nothing moves.
    async fn until_shown(
        &self,
        pane: &Pane,
        before: &Stand,
        settle: Duration,
        limit: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(LOOK.min(settle)).await;
            let quiet = pane.judge(|j| j.quiet(Instant::now()));
            if quiet >= settle || begun.elapsed() >= limit {
                let (shot, picture) = self.picture(pane).await?;
                // One that is slow to show it would take an Enter for a part of it. Where nobody
                // can see what is pasted the Enter goes all the same.
                let (shows, patience) = match picture.composer {
                    Composer::Draft(_) => (true, limit),
                    Composer::Empty => (false, limit),
                    _ => (stand(&shot) != *before, TAKEN.max(settle)),
                };
                if shows || begun.elapsed() >= patience {
                    return Ok(());
                }
            }
        }
    }

    /// A key that makes an agent take in a large paste, pressed when it stands there.
    async fn nudge(&self, pane: &Pane, server: &Server, keys: &[String], settle: Duration) -> Result<()> {
        let (shot, picture) = self.picture(pane).await?;
        if matches!(picture.composer, Composer::Draft(_)) {
            input::type_if(server, &pane.id, &pressed(&known(keys)?), &stand(&shot)).await?;
            tokio::time::sleep(settle).await;
        }
        Ok(())
    }

    /// Presses Enter while no dialog stands there. Waits as long as one does. Returns what was seen
    /// just before, and whether the agent worked.
    async fn enter(&self, pane: &Pane, server: &Server) -> Result<(tmux::Picture, bool)> {
        let begun = Instant::now();
        loop {
            pane.check_alive()?;
            let (shot, picture) = self.picture(pane).await?;
            let asks = matches!(picture.state, Some(Shows::Blocked | Shows::Unknown) | None);
            let busy = picture.state == Some(Shows::Busy);
            pane.saw(shot.pid, picture);
            if asks {
                tokio::time::sleep(LOOK * 5).await;
                continue;
            }
            pane.input(Instant::now());
            // What never rests (a spinner that moves the cursor) is pressed on the look alone.
            let enter = known(&["Enter".into()])?;
            if input::type_if(server, &pane.id, &pressed(&enter), &stand(&shot)).await? == Typed::Yes {
                return Ok((shot, busy));
            }
            if begun.elapsed() >= REST {
                return fail(Kind::TimedOut, format!("pane {}: its screen never rests", pane.id));
            }
        }
    }

    /// Enter once more, where the composer holds the prompt still.
    pub(super) async fn press_again(self: &Arc<Self>, pane: &Arc<Pane>, prompt: &str) -> Result<()> {
        let server = self.server()?;
        let (shot, picture) = self.picture(pane).await?;
        pane.saw(shot.pid, picture);
        if self.typed_by_hand(pane).await? {
            return Ok(()); // a person stopped it, and has it back
        }
        if pane.eyes(|e| e.holds(prompt)).unwrap_or(false) {
            pane.input(Instant::now());
            let enter = known(&["Enter".into()])?;
            input::type_if(&server, &pane.id, &pressed(&enter), &stand(&shot)).await?; // Moved: at the next look
        }
        self.observe_now(pane);
        Ok(())
    }

    /// `busy`: it worked before, so that work is no sign.
    async fn until_taken(
        self: &Arc<Self>,
        pane: &Arc<Pane>,
        before: &tmux::Picture,
        busy: bool,
        limit: Duration,
    ) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            tokio::time::sleep(LOOK).await;
            pane.check_alive()?;
            let (shot, picture) = self.picture(pane).await?;
            let worked = matches!(picture.state, Some(Shows::Busy | Shows::Blocked | Shows::Limited));
            let taken = worked && !busy
                || match &picture.composer {
                    Composer::Empty => true,
                    Composer::Draft(_) => false,
                    Composer::Other { .. } | Composer::Hidden(_) | Composer::Unsure(_) => {
                        shot.text != before.text
                    }
                };
            pane.saw(shot.pid, picture);
            self.observe_now(pane);
            if taken || !busy && pane.eyes(|e| e.told()).unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A prompt that does not wait for its turn: `Busy` where a dialog stands there, or nobody knows
    /// what does. Waits up to `hold` while the composer holds a draft.
    pub(in super::super) async fn steer(
        self: &Arc<Self>,
        pane: &Arc<Pane>,
        text: &str,
        hold: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.fit(pane, true).await? {
                Ok(fit) => match self.put_in(pane, &fit, text).await? {
                    Put::Taken => return Ok(()),
                    Put::Ignored => {
                        return fail(Kind::TimedOut, "it stands in the composer; no Enter was taken");
                    }
                    Put::Moved => {}
                },
                Err(Unfit::State) => {
                    return fail(
                        Kind::Busy,
                        format!("it is {}; a prompt could be taken for an answer", pane.seen().state),
                    );
                }
                Err(Unfit::Draft) => pane.set_held(Some("draft")),
            }
            if begun.elapsed() >= hold {
                return fail(
                    Kind::TimedOut,
                    format!("a draft stood in the composer for {} s", hold.as_secs()),
                );
            }
            tokio::time::sleep(LOOK * 5).await;
        }
    }

    /// Empties the composer of a text of ours. Gives up where it stays. False: the agent is not
    /// ready, and it is to be tried again.
    pub(super) async fn clear_composer(&self, pane: &Pane) -> Result<bool> {
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else { return Ok(true) };
        if manifest.rules.is_empty() {
            return Ok(true); // nobody sees it
        }
        let server = self.server()?;
        let keys = known(&manifest.keys.clear)?;
        // Some take one line at a time.
        for _ in 0..100 {
            let (shot, picture) = self.picture(pane).await?;
            let (ready, limited) =
                (picture.state == Some(Shows::Ready), picture.state == Some(Shows::Limited));
            let draft = matches!(picture.composer, Composer::Draft(_));
            let unsure = matches!(picture.composer, Composer::Unsure(_));
            pane.saw(shot.pid, picture);
            let ready =
                ready || limited && pane.eyes(|e| e.limit_is_over(SystemTime::now())).unwrap_or(false);
            if !ready || !draft && !unsure {
                return Ok(ready);
            }
            let _ = input::type_if(&server, &pane.id, &pressed(&keys), &stand(&shot)).await?; // Moved: looked at again
            if unsure {
                return Ok(true);
            }
            tokio::time::sleep(LOOK * 3).await;
        }
        Ok(true)
    }

    /// The picture's text without what stood there before: the answer of an agent whose history
    /// nobody can read.
    pub(super) async fn screen_text(&self, pane: &Pane) -> Option<String> {
        let text = self.capture(pane, tmux::Capture::Screen).await.ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A composer stands at the bottom: what covers it changes one of these rows.
fn stand(shot: &tmux::Picture) -> Stand {
    let rows = shot.plain.lines().enumerate().filter(|(_, row)| !row.trim().is_empty());
    let mut rows: Vec<usize> = rows.map(|(n, _)| n).collect();
    rows.reverse();
    shot.stand(rows)
}

fn known(names: &[String]) -> Result<Vec<Key>> {
    let key = |name: &String| {
        Key::parse(name)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("the manifest's key {name:?} is none")))
    };
    names.iter().map(key).collect()
}

fn pressed(keys: &[Key]) -> Vec<Send<'_>> {
    keys.iter().map(Send::Key).collect()
}

/// What a look holds of the composer.
pub(super) fn draft(picture: &Picture) -> Option<&str> {
    match &picture.composer {
        Composer::Draft(text) => Some(text),
        _ => None,
    }
}
