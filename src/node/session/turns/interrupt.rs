//! `ctl interrupt` and `ctl new`, and the prompt that an interrupt may leave in the composer.
//!
//! Must not know the queue, nor when a turn ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::{Pane, Session, State};
use super::Delivery;
use super::book::Book;
use super::submit::{Put, Unfit, known};
use super::turn::{Stage, Turn};
use muxfs_agent::composer::Composer;
use muxfs_tmux as tmux;
use muxfs_tree::base::error::{Error, Kind, Result};

/// How long `ctl new` may take until its Enter.
const NEW: Duration = Duration::from_secs(15);

impl Delivery {
    /// Some agents put an interrupted prompt back as a draft: it is ours, and is taken away.
    pub(super) async fn take_back_restored(
        self: &Arc<Self>,
        session: &Session,
        pane: &Arc<Pane>,
        book: &Book,
        turn: &Turn,
    ) {
        let Ok((_, mut picture)) = self.connection.picture(pane).await else { return };
        if pane.eyes(|e| e.is_brought(&picture.composer)).unwrap_or(false)
            && let (Ok(server), Some(manifest)) =
                (self.connection.server(), pane.eyes(|e| e.agent.manifest.clone()))
        {
            let Ok(None) = self.leave_mode(pane, &server, &manifest).await else { return };
            let Ok((_, later)) = self.connection.picture(pane).await else { return };
            picture = later;
        }
        let (Some(draft), Ok(prompt)) = (super::submit::draft(&picture), book.prompt(turn)) else { return };
        let start = |text: &str| text.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        if start(draft) == start(&prompt)
            && let Err(e) = self.clear_composer(pane, &prompt).await
        {
            session.set_last_error(e.text());
        }
    }

    /// `ctl new`: a new conversation, where the agent can begin one.
    pub async fn new_conversation(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let pane = session.main();
        let Some(new) = pane.eyes(|e| e.agent.manifest.new.clone()).flatten() else {
            return Err(Error::new(
                Kind::Invalid,
                "new: this agent has no command for it; ctl restart begins anew",
            ));
        };
        let busy = |why: String| Error::new(Kind::Busy, format!("new: {why}"));
        let Ok(_prompts) = pane.prompts.clone().try_lock_owned() else {
            return Err(busy("a prompt is being typed".into()));
        };
        let fit = self.fit(&pane, false).await?.map_err(|unfit| match unfit {
            Unfit::State => busy(format!("it is {}", pane.seen().state)),
            Unfit::Composer(held) => busy(held.to_string()),
        })?;
        if session.turns.current().is_some() {
            return Err(busy("a turn is under way".into()));
        }
        let begun = Instant::now();
        match self.put_in(&pane, &fit, &new, &|| begun.elapsed() < NEW).await? {
            Put::Taken => self.conversations.bind(session, None),
            Put::Moved => return Err(busy("the screen changed while it was looked at".into())),
            Put::Back(why) | Put::Uncertain(why) => return Err(busy(why)),
            Put::Interrupted => return Err(busy("a dialog came up before its Enter".into())),
        }
        Ok(())
    }

    /// `ctl interrupt`: what runs is told to stop; nothing where nothing runs.
    pub async fn interrupt(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        self.release_turns(session).await?;
        let pane = session.main();
        pane.check_alive()?;
        if pane.seen().state == State::Ready && session.turns.current().is_none() {
            return Ok(());
        }
        let keys = pane.eyes(|e| e.agent.manifest.keys.clone());
        let (keys, pause) = keys.map_or((vec!["C-c".to_owned()], Duration::ZERO), |k| (k.interrupt, k.pause));
        let turn = session.turns.current();
        session.turns.interrupted.store(turn.is_some(), Ordering::Release);
        if turn.is_some_and(|turn| turn.stage == Stage::Typing) && pane.seen().state == State::Ready {
            return Ok(()); // nothing works on it: its text is taken out of the composer again
        }
        let (server, keys) = (self.connection.server()?, known(&keys)?);
        let ordinary = pane.eyes(|e| matches!(e.picture.composer, Composer::Empty | Composer::Draft(_)));
        for (n, key) in keys.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(pause).await; // two at once may mean another thing
            }
            tmux::input::keys(&server, &pane.id, std::slice::from_ref(key)).await?;
        }
        if let ([_], Some(true)) = (&keys[..], ordinary) {
            self.see_interrupt(&pane, &server, &keys).await?;
        }
        self.observation.observe(&pane);
        Ok(())
    }
}
