//! Starting, stopping and restarting a session's program: what the table of its life says is done here.
//!
//! Decides nothing: what is done when is in lifecycle.rs. Must not know how a program is chosen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Session;
use super::super::program::Begin;
use super::lifecycle::{self, Action, Begins, Event, Facts};
use super::{Life, begin_again, first_begin};
use muxfs_tree::base::error::{Kind, Result, fail};

/// tmux sees the end of a pane's program within this, and tells how it ended; how often it is asked.
const SEEN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

impl Session {
    fn facts(&self) -> Facts {
        let main = self.main();
        Facts {
            ours: self.ours,
            over: self.is_over(),
            pane_gone: main.is_gone(),
            dead: main.fact(|f| f.dead),
            stopped: self.record.get(|r| r.stopped),
            pending: self.pending_restart(),
        }
    }

    /// What the table says of `event` now; an error where it is refused.
    pub(in super::super) fn step(&self, event: Event) -> Result<Action> {
        let facts = self.facts();
        match lifecycle::step(facts, event, &mut self.backoff.lock(), Instant::now()) {
            Action::Refuse(refusal) => Err(refusal.error(&self.shown())),
            action => Ok(action),
        }
    }
}

impl Life {
    /// Does what the table says of `event` in this session's life; `asked`: how its program begins then,
    /// where somebody said so.
    pub(in super::super) async fn act(
        self: &Arc<Self>,
        session: &Arc<Session>,
        event: Event,
        asked: Option<&Begin>,
    ) -> Result<()> {
        let _life = session.life.write().await;
        match session.step(event)? {
            Action::Nothing => Ok(()),
            Action::Start(begins) => {
                let begin = self.begin(session, begins, asked).await;
                let program = self.program_of(session, &begin).await?;
                self.spawn(session, false, &begin, program).await
            }
            Action::Restart(begins) => {
                let begin = self.begin(session, begins, asked).await;
                self.restart_now(session, &begin).await
            }
            Action::EndProgram => self.end_program(session).await,
            Action::KeepEnded => self.mark_stopped(session).await,
            Action::EndSession => self.end_session(session).await,
            Action::Forget => {
                self.end_session(session).await?;
                self.lost.forget(&session.name());
                self.hook_files.forget(&session.id);
                self.records.forget(&session.record).wait().await
            }
            later @ (Action::Apply | Action::StartAgain(_)) => {
                self.act_later(session, later);
                Ok(())
            }
            Action::Refuse(refusal) => Err(refusal.error(&session.shown())),
        }
    }

    /// What needs the session's life for itself, when it can have it.
    pub(in super::super) fn act_later(self: &Arc<Self>, session: &Arc<Session>, action: Action) {
        let (event, wait) = match action {
            Action::Apply => (Event::Apply, Duration::ZERO),
            Action::StartAgain(wait) => (Event::Waited, wait),
            Action::Nothing | Action::Refuse(_) | Action::Start(_) | Action::Restart(_) => return,
            Action::EndProgram | Action::KeepEnded | Action::EndSession | Action::Forget => return,
        };
        let (life, session) = (Arc::downgrade(self), session.clone());
        tokio::spawn(async move {
            let mut over = session.ended.subscribe();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = over.wait_for(|over| *over) => return,
            }
            let Some(life) = life.upgrade() else { return };
            if let Err(e) = life.act(&session, event, None).await {
                session.set_last_error(e.text());
                life.journal.trouble(&session.shown(), &format!("restart: {e}"));
            }
        });
    }

    async fn begin(&self, session: &Session, begins: Begins, asked: Option<&Begin>) -> Begin {
        match (begins, asked) {
            (Begins::GoesOn, _) => self.go_on(session).await,
            (Begins::AsAsked, Some(begin)) => begin.clone(),
            (Begins::AsAsked, None) => first_begin(&session.config()),
        }
    }

    /// `rmdir`: ends a session made here, with everything below it, and forgets its record.
    pub async fn remove(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        self.act(session, Event::Remove, None).await
    }

    /// `ctl start`: runs the program where nothing runs; without first prompts where `skip` says so.
    pub async fn start_session(self: &Arc<Self>, session: &Arc<Session>, skip: bool) -> Result<()> {
        self.act(session, Event::Start, Some(&begin_again(&session.config(), skip))).await
    }

    /// `ctl stop`: ends what runs and leaves the pane dead; another's session ends whole.
    pub async fn stop(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        self.act(session, Event::Stop, None).await
    }

    async fn end_program(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let main = session.main();
        main.set_stopping(true);
        self.mark_stopped(session).await?;
        self.end_processes(&session.shown(), std::slice::from_ref(&main)).await;
        // The next look at its state is for `stopped`, but tmux may see the end a moment later.
        let until = Instant::now() + SEEN;
        self.reconciler.refresh().await?;
        while !main.fact(|f| f.dead) && Instant::now() < until {
            tokio::time::sleep(AGAIN).await;
            self.reconciler.refresh().await?;
        }
        self.observation.observe_now(&main);
        Ok(())
    }

    /// `ctl restart` and a saved config that needs one.
    pub async fn restart(self: &Arc<Self>, session: &Arc<Session>, skip: bool) -> Result<()> {
        self.act(session, Event::Restart, Some(&begin_again(&session.config(), skip))).await
    }

    async fn restart_now(self: &Arc<Self>, session: &Arc<Session>, begin: &Begin) -> Result<()> {
        // Before anything ends: one that cannot be started again keeps running.
        let program = self.program_of(session, begin).await?;
        let main = session.main();
        if !main.is_gone() && !main.fact(|f| f.dead) {
            self.end_processes(&session.shown(), std::slice::from_ref(&main)).await;
        }
        // tmux may not have seen the end yet, and would refuse to respawn what it thinks active.
        self.spawn(session, true, begin, program).await
    }

    /// `ctl apply`: a pending restart happens now.
    pub async fn apply_now(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        self.act(session, Event::Apply, None).await
    }

    /// `ctl resume`: the program begins anew with an earlier conversation.
    pub async fn resume(self: &Arc<Self>, session: &Arc<Session>, id: &str) -> Result<()> {
        session.step(Event::Resume)?; // before its conversations are looked at
        let begin = match id {
            "latest" => self.conversations.newest(session).await?.map_or(Begin::Latest, Begin::Resume),
            id if self.conversations.can_resume(session, id).await? => Begin::Resume(id.to_owned()),
            id => {
                return fail(
                    Kind::Invalid,
                    format!("resume: no conversation {id} of this agent in its directory"),
                );
            }
        };
        self.act(session, Event::Resume, Some(&begin)).await
    }

    /// A saved config waits for the program to be ready, then restarts it.
    pub(in super::super) fn restart_if_pending(self: &Arc<Self>, session: &Arc<Session>) {
        let (state, turn) = (session.main().seen().state, session.turns.current().is_some());
        if let Ok(action) = session.step(Event::Seen { state, turn }) {
            self.act_later(session, action);
        }
    }
}
