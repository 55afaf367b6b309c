//! Leads a composer back to the mode in which text is a prompt: out of vim's NORMAL, out of a shell
//! mode. Only where nothing of a person's stands in it, or where a key of ours brought it there.
//!
//! Knows the manifest's keys that leave a mode; must not know what is typed afterwards.

use std::time::{Duration, Instant};

use super::super::Pane;
use super::super::pane::Held;
use super::Delivery;
use super::submit::{LOOK, known, pressed, stand};
use muxfs_agent::composer::Composer;
use muxfs_agent::manifest::{Manifest, State as Shows};
use muxfs_tmux::input::{self, Typed};
use muxfs_tmux::{Server, Stand};
use muxfs_tree::base::error::Result;
use muxfs_tree::base::keys::Key;

/// A mode must stand so long before it is left: a notice in the place of the ordinary mode's sign goes
/// within a second.
const STANDS: Duration = Duration::from_millis(1200);
/// How long a key may take to show, the last one of a mode and another.
const SHOWS: Duration = Duration::from_secs(2);
const NEXT: Duration = Duration::from_millis(300);
/// Modes may be nested; each takes no longer than this in all.
const ALL: Duration = Duration::from_secs(10);
/// How long what an interrupt's key did may take to show.
const STOPS: Duration = Duration::from_secs(5);

/// A mode on its way out.
struct Leaving {
    mode: String,
    since: Instant,
    /// How many of its keys were pressed, and when the last.
    pressed: usize,
    at: Instant,
}

impl Delivery {
    /// Presses the keys that leave the mode in which the composer is, one at a time, each while the
    /// pane stands as it was seen, until the ordinary mode is seen. Else why not.
    pub(super) async fn leave_mode(
        &self,
        pane: &Pane,
        server: &Server,
        manifest: &Manifest,
    ) -> Result<Option<Held>> {
        let begun = Instant::now();
        let mut leaving: Option<Leaving> = None;
        // What a key that left no mode would have written.
        let mut wrote = String::new();
        while begun.elapsed() < ALL {
            let (shot, picture) = self.connection.picture(pane).await?;
            let stand = stand(&shot, &picture);
            let (composer, list) = (picture.composer.clone(), picture.popup.is_some());
            let asks = picture.state == Some(Shows::Blocked);
            pane.saw(shot.pid, picture);
            let (mode, text) = match &composer {
                Composer::Other { mode, text } => (mode, text),
                // A key that was written shows a moment later.
                Composer::Empty if leaving.as_ref().is_some_and(|l| l.at.elapsed() < NEXT) => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Composer::Empty => return Ok(None),
                Composer::Draft(draft) if !wrote.is_empty() && *draft == wrote => {
                    return self.unwrite(pane, server, &stand).await.map(Some);
                }
                Composer::Draft(_) => return Ok(None),
                Composer::Hidden(why) | Composer::Unsure(why) => {
                    if leaving.as_ref().is_none_or(|l| l.at.elapsed() >= SHOWS) {
                        return Ok(Some(Held::new("composer", *why)));
                    }
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            };
            if !wrote.is_empty() && text.as_deref() == Some(wrote.as_str()) {
                pane.eyes(|e| e.cannot_leave());
                return self.unwrite(pane, server, &stand).await.map(Some);
            }
            if asks || list || !pane.eyes(|e| e.may_leave(&composer)).unwrap_or(false) {
                return Ok(composer.unfit().map(|why| Held::new("composer", why)));
            }
            let keys = known(manifest.leave(mode))?;
            let now = Instant::now();
            let l = match leaving.as_mut() {
                Some(l) if l.mode == *mode => l,
                _ => leaving.insert(Leaving { mode: mode.clone(), since: now, pressed: 0, at: now }),
            };
            let due = match l.pressed {
                0 => l.since.elapsed() >= STANDS,
                n if n < keys.len() => l.at.elapsed() >= NEXT,
                _ if l.at.elapsed() >= SHOWS => {
                    pane.eyes(|e| e.cannot_leave());
                    let why = format!("the composer stays in {mode} mode though its keys were pressed");
                    return Ok(Some(Held::new("composer", why)));
                }
                _ => false,
            };
            if due
                && let Some(key) = keys.get(l.pressed)
                && input::type_if(server, &pane.id, &pressed(std::slice::from_ref(key)), &stand).await?
                    == Typed::Yes
            {
                (l.pressed, l.at) = (l.pressed + 1, Instant::now());
                wrote.push_str(written(key));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Some(Held::new("composer", "its mode never rests")))
    }

    /// After the key that closes a list of completions: where it brought the composer into another mode
    /// as well, as Escape does in vim's INSERT, that is left.
    pub(super) async fn see_close(&self, pane: &Pane, server: &Server, manifest: &Manifest) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < NEXT {
            tokio::time::sleep(LOOK).await;
            let (shot, picture) = self.connection.picture(pane).await?;
            let composer = picture.composer.clone();
            pane.saw(shot.pid, picture);
            if let Composer::Other { mode, .. } = &composer {
                pane.eyes(|e| e.we_brought(mode));
                if pane.eyes(|e| e.may_leave(&composer)).unwrap_or(false) {
                    self.leave_mode(pane, server, manifest).await?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The mode was none, and the key that leaves it is in the composer now: out with it.
    async fn unwrite(&self, pane: &Pane, server: &Server, stand: &Stand) -> Result<Held> {
        input::type_if(server, &pane.id, &pressed(&known(&["BSpace"])?), stand).await?;
        Ok(Held::new("composer", "its mode cannot be told"))
    }

    /// After the keys of an interrupt were pressed on a composer that was in the ordinary mode. Where
    /// they only brought it into another, as Escape does in vim's INSERT, and the agent works still,
    /// they are pressed once more; and that mode is ours to leave.
    pub(super) async fn see_interrupt(&self, pane: &Pane, server: &Server, keys: &[Key]) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < STOPS {
            tokio::time::sleep(LOOK).await;
            let (shot, picture) = self.connection.picture(pane).await?;
            let (stand, state) = (stand(&shot, &picture), picture.state);
            let composer = picture.composer.clone();
            pane.saw(shot.pid, picture);
            match composer {
                Composer::Other { mode, .. } => {
                    pane.eyes(|e| e.we_brought(&mode));
                    let again = state == Some(Shows::Busy);
                    if !again || input::type_if(server, &pane.id, &pressed(keys), &stand).await? == Typed::Yes
                    {
                        return Ok(());
                    }
                }
                _ if matches!(state, Some(Shows::Ready | Shows::Blocked | Shows::Limited)) => return Ok(()),
                // It works, or is in the middle of a repaint.
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a key writes into a composer that is in the ordinary mode.
fn written(key: &Key) -> &str {
    let name = key.as_str();
    if name.chars().count() == 1 { name } else { "" }
}
