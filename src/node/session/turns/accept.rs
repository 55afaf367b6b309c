//! Prompts come into the book, and their queue is seen to from then on.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::events::Step;
use super::super::{Session, message, record};
use super::turn::{Author, Stage, Turn};
use super::{Delivery, beside, remembered};
use muxfs_tree::Gesture;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::later::on_disk;
use muxfs_tree::base::users;
use muxfs_tree::caller::Origin;

impl Delivery {
    /// Stores a prompt; returns when it is on disk, and sent later in its turn. None: it was empty.
    pub async fn accept(
        self: &Arc<Self>,
        session: &Arc<Session>,
        gesture: &Gesture,
        name: Option<String>,
        body: &[u8],
    ) -> Result<Option<Turn>> {
        let who = &gesture.who;
        let text = message::clean(body)?;
        if text.is_empty() {
            return Ok(None);
        }
        message::has_words(&text)?;
        let origin = self.callers.author(who).await;
        let (delivery, session, pid) = (self.clone(), session.clone(), who.pid());
        let gesture = remembered(gesture);
        let accept = move || {
            let by = (name.as_deref(), gesture.as_deref(), pid);
            delivery.accept_as(&session, by, &text, origin).map(Some)
        };
        on_disk(accept).await?
    }

    /// The first prompts of a fresh start.
    pub(in super::super) async fn accept_init(
        self: &Arc<Self>,
        session: &Arc<Session>,
        prompts: Vec<String>,
    ) {
        let (delivery, session) = (self.clone(), session.clone());
        let accepted = on_disk(move || {
            delivery.accept_init_now(&session, &prompts);
        });
        if let Err(e) = accepted.await {
            tracing::error!("init: {e}");
        }
    }

    fn accept_init_now(self: &Arc<Self>, session: &Arc<Session>, prompts: &[String]) {
        let uid = nix::unistd::getuid().as_raw();
        let from = Origin { user: users::known(uid), ..Origin::default() };
        for text in prompts {
            let origin = Author { from: from.clone(), uid: Some(uid), init: true };
            let clean = message::clean(text.as_bytes());
            let accepted =
                clean.and_then(|text| self.accept_as(session, (None, None, None), &text, origin).map(drop));
            if let Err(e) = accepted {
                session.set_last_error(e.text());
                self.journal.trouble(&session.shown(), &format!("init: {e}"));
            }
        }
    }

    fn accept_as(
        self: &Arc<Self>,
        session: &Arc<Session>,
        (name, gesture, pid): (Option<&str>, Option<&str>, Option<u32>),
        text: &str,
        origin: Author,
    ) -> Result<Turn> {
        if session.is_over() {
            return fail(Kind::Gone, format!("{}: ended", session.shown()));
        }
        self.records.check_home()?;
        let most = self.settings.config().turns_queue;
        let at = record::millis(SystemTime::now());
        let (turn, new) = self.book_of(session)?.accept(name, text, origin, gesture, most, at)?;
        if !new {
            return Ok(turn);
        }
        self.report_turn_of(session, &turn, pid, Step::Accepted);
        session.turns.tell();
        self.drive(session);
        Ok(turn)
    }

    /// A session came into view: what the daemon before us left of its turns goes on. Waits for the
    /// disk.
    pub(in super::super) fn take_over(self: &Arc<Self>, session: &Arc<Session>) {
        if !beside::is_there(&self.records.store().turns(&session.id)) {
            return;
        }
        let taken = self.book_of(session).and_then(|book| {
            let Some(turn) = book.current() else { return Ok(()) };
            if turn.stage == Stage::Typing {
                let why = "muxfs ended while it was typed";
                self.end_turn_now(session, &book, &turn, Stage::Uncertain, Some(why), None)?;
            }
            Ok(())
        });
        if let Err(e) = taken {
            self.journal.trouble(&session.shown(), &format!("turns: {e}"));
        }
        if session.turns.load() != (0, false) {
            self.drive(session);
        }
    }
}
