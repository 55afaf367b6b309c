//! One prompt that was typed: looks at the composer and presses the keys that the machine of its
//! submission asks for.
//!
//! Knows the composer; must not know the queue, nor decide anything (submission.rs does).

use std::sync::Arc;
use std::time::Instant;

use super::super::Pane;
use super::Delivery;
use super::submission::{Effect, Event, Keys, Look, Prompt, Submission, Wants};
use super::submit::{Put, Wanted, clear_keys, holds, known, left, pressed, stand, stands};
use muxfs_agent::manifest::Manifest;
use muxfs_tmux::input::{self, Typed};
use muxfs_tmux::{self as tmux, Server, Stand};
use muxfs_tree::base::error::Result;
use muxfs_tree::base::keys::Key;

/// One prompt that was typed, on its way to be taken.
pub(super) struct Entry<'a> {
    pub delivery: &'a Delivery,
    pub pane: &'a Arc<Pane>,
    pub server: &'a Server,
    pub manifest: &'a Manifest,
    pub text: &'a str,
    pub typed: bool,
    pub wanted: Wanted<'a>,
}

impl Entry<'_> {
    pub(super) async fn submit(&self) -> Result<Put> {
        let mut submission = Submission::new(self.prompt(), Instant::now());
        // What was seen last, and the screen right before the last Enter.
        let (mut seen, mut before): (Option<(tmux::Picture, Stand)>, Option<String>) = (None, None);
        loop {
            let event = match submission.wants() {
                Wants::End(put) => return Ok(put),
                Wants::Look(pause) => {
                    tokio::time::sleep(pause).await;
                    let (look, shot, stand) = self.look(&submission, before.as_deref()).await?;
                    seen = Some((shot, stand));
                    Event::Looked(look)
                }
                Wants::Press(keys) => {
                    let Some((shot, stand)) = &seen else { return Ok(Put::Moved) }; // a look comes first
                    let yes = self.press(keys, stand).await?;
                    if yes && matches!(keys, Keys::Enter | Keys::Queue) {
                        before = Some(shot.text.clone());
                    }
                    Event::Pressed(yes)
                }
            };
            for effect in submission.step(event, Instant::now()) {
                match effect {
                    Effect::Hold(held) => self.pane.set_held(held),
                    Effect::ExpectWork(work) => _ = self.pane.eyes(|e| e.expect_work(work)),
                }
            }
        }
    }

    fn prompt(&self) -> Prompt {
        let (submit, keys) = (&self.manifest.submit, &self.manifest.keys);
        Prompt {
            text: self.text.to_owned(),
            settle: submit.settle,
            enters: submit.enters,
            nudge: !submit.nudge.is_empty() && self.text.len() >= submit.large && !self.typed,
            can_close: !keys.close.is_empty(),
            can_queue: !keys.queue.is_empty(),
        }
    }

    async fn look(
        &self,
        submission: &Submission,
        before: Option<&str>,
    ) -> Result<(Look, tmux::Picture, Stand)> {
        let wanted = (self.wanted)();
        if submission.needs_program() {
            self.pane.check_alive()?;
        }
        let (shot, picture) = self.delivery.connection.picture(self.pane).await?;
        let stand = stand(&shot, &picture);
        let mut look = Look {
            holds: holds(self.manifest, &picture, self.text),
            state: picture.state,
            list: picture.popup.as_ref().map(|p| p.takes.clone()),
            quiet: self.pane.judge(|j| j.quiet(Instant::now())),
            wanted,
            says_work: false,
            changed: before.is_some_and(|text| text != shot.text),
            left: left(&picture, self.text),
            stands: stands(self.manifest, &picture, self.text),
        };
        self.pane.saw(shot.pid, picture);
        if submission.is_entered() {
            self.delivery.observation.observe_now(self.pane);
            look.says_work = self.pane.eyes(|e| e.told()).unwrap_or(false);
        }
        Ok((look, shot, stand))
    }

    /// Presses the keys while the pane stands as it was seen. What never rests (a spinner that moves the
    /// cursor) is pressed on the look alone.
    async fn press(&self, keys: Keys, stand: &Stand) -> Result<bool> {
        if matches!(keys, Keys::Enter | Keys::Queue) {
            self.pane.input(Instant::now());
        }
        let named = self.keys(keys)?;
        let typed = input::type_if(self.server, &self.pane.id, &pressed(&named), stand).await?;
        if typed == Typed::Yes && keys == Keys::Close {
            self.delivery.see_close(self.pane, self.server, self.manifest).await?;
        }
        Ok(typed == Typed::Yes)
    }

    fn keys(&self, keys: Keys) -> Result<Vec<Key>> {
        match keys {
            Keys::Nudge => known(&self.manifest.submit.nudge),
            Keys::Enter => known(&["Enter"]),
            Keys::Queue => known(&self.manifest.keys.queue),
            Keys::Close => known(&self.manifest.keys.close),
            Keys::Space => known(&self.manifest.keys.end_word),
            Keys::Clear => clear_keys(self.manifest),
            Keys::Delete => known(&["DC"]),
        }
    }
}
