//! The task that sees to one session's queue: when the next prompt may go, and when its turn ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::super::events::Step;
use super::super::pane::Held;
use super::super::state::Evidence;
use super::super::{Pane, Session, Sessions, State, record};
use super::book::Book;
use super::outcome::{Ended, outcome, reason_text};
use super::reply::Before;
use super::submit::{Put, Unfit, known};
use super::turn::{Stage, Turn};
use crate::agent::composer::Composer;
use crate::agent::rules::notice;
use crate::error::{Error, Kind, Result};
use crate::later::on_disk;
use crate::tmux;

/// How often what is waited for is looked at, beside the changes that are told.
const LOOK: Duration = Duration::from_millis(250);
/// How often the agent's own record is, while it looks idle.
const LOOK_UP: Duration = Duration::from_millis(500);
/// A notice of a limit must stand so long until the turn is over by it: some say only then that they
/// go on by themselves.
const LIMITED: Duration = Duration::from_secs(2);
/// How often the record is asked whether somebody's prompt was answered in spite of a limit.
const ANSWERS: Duration = Duration::from_secs(5);
/// How often Enter is pressed again on a prompt that stands in the composer still.
const ENTERS: u32 = 3;

/// How long `ctl new` may take until its Enter.
const NEW: Duration = Duration::from_secs(15);
/// Before a prompt that was taken out of the composer again is tried once more.
const BACK: Duration = Duration::from_secs(5);

impl Sessions {
    /// Starts the task where none sees to this session yet.
    pub(super) fn drive(self: &Arc<Self>, session: &Arc<Session>) {
        if session.turns.driven.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(run(Arc::downgrade(self), session.clone()));
    }

    /// One prompt from its place in the queue to its end, or nothing where the queue is empty.
    async fn next_turn(self: &Arc<Self>, session: &Arc<Session>, book: &Arc<Book>) -> Result<()> {
        if let Some(turn) = book.current() {
            // The daemon before us sent it.
            let before = Before::default();
            loop {
                let end = self.follow_turn(session, &session.main(), &turn, None, None).await;
                if self.finish(session, book, &turn, end, &before).await? {
                    return Ok(());
                }
            }
        }
        let pane = session.main();
        self.until_welcome(session, &pane).await?;
        let Some(turn) = book.queue().into_iter().next() else { return Ok(()) };
        let text = book.prompt(&turn)?;
        let before = self.before_turn(session, &pane).await;
        let Some(started) = self.send_turn(session, &pane, book, &turn, &text).await? else {
            pane.eyes(|e| e.limits().cancel_try());
            return Ok(());
        };
        loop {
            let end = self.follow_turn(session, &pane, &turn, Some((&text, &before)), Some(started)).await;
            if self.finish(session, book, &turn, end, &before).await? {
                return Ok(());
            }
        }
    }

    /// Types the prompt. None where it did not come to that: it waits on. The time is when it went.
    async fn send_turn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        pane: &Arc<Pane>,
        book: &Arc<Book>,
        turn: &Turn,
        text: &str,
    ) -> Result<Option<Instant>> {
        let _prompts = pane.prompts.clone().lock_owned().await;
        let life = session.life.read().await;
        pane.check_alive()?;
        let fit = match self.fit(pane, false).await? {
            Ok(fit) => fit,
            Err(unfit) => {
                let held = if let Unfit::Composer(held) = unfit { Some(held) } else { None };
                let restored = session.turns.just_interrupted(Instant::now());
                let draft = held.as_ref().is_some_and(|held| held.word == "draft");
                if let Some(old) = restored.filter(|_| draft).and_then(|n| book.by_number(n)) {
                    self.take_back_restored(session, pane, book, &old).await;
                }
                pane.set_held(held);
                self.observe_now(pane);
                tokio::time::sleep(LOOK).await;
                return Ok(None);
            }
        };
        pane.set_held(None);
        if self.stage(session, book, turn, Stage::Typing).await?.is_none() {
            return Ok(None); // withdrawn meanwhile
        }
        session.turns.interrupted.store(false, Ordering::Release);
        session.turns.tell();
        // It may wait for a person's answer: a stop or a restart does not wait for that.
        drop(life);
        let wanted = || !session.turns.interrupted.load(Ordering::Acquire);
        let put = self.put_in(pane, &fit, text, &wanted).await;
        pane.set_held(None);
        match put {
            Ok(Put::Taken) => {
                self.stage(session, book, turn, Stage::Running).await?;
                self.report_turn(session, turn, Step::Delivered);
                if pane.full_screen() {
                    pane.note(&format!("input: {}", text.replace('\n', "\n  ")), SystemTime::now());
                }
                session.turns.tell();
                Ok(Some(Instant::now()))
            }
            Ok(Put::Moved) => {
                self.stage(session, book, turn, Stage::Queued).await?;
                session.turns.tell();
                Ok(None)
            }
            Ok(Put::Back(why)) => {
                self.stage(session, book, turn, Stage::Queued).await?;
                session.turns.tell();
                pane.set_held(Some(Held::new("composer", why)));
                tokio::time::sleep(BACK).await;
                Ok(None)
            }
            Ok(Put::Interrupted) => {
                session.turns.interrupted.store(false, Ordering::Release);
                let why = "before it was submitted";
                self.end_turn(session, book, turn, Stage::Interrupted, Some(why), None).await?;
                Ok(None)
            }
            Ok(Put::Uncertain(why)) => {
                self.end_turn(session, book, turn, Stage::Uncertain, Some(&why), None).await?;
                Ok(None)
            }
            Err(e) => {
                self.end_turn(session, book, turn, Stage::Uncertain, Some(e.text()), None).await?;
                Ok(None)
            }
        }
    }

    async fn stage(
        &self,
        session: &Session,
        book: &Arc<Book>,
        turn: &Turn,
        stage: Stage,
    ) -> Result<Option<Turn>> {
        let (book, number) = (book.clone(), turn.number);
        let at = record::millis(SystemTime::now());
        let staged = on_disk(move || book.stage(number, stage, at, None, None)).await?;
        // It may have come to its queue, or left it.
        self.tell_moved(super::Moved::Turn { session: session.shown(), name: turn.name.clone() });
        staged
    }

    /// Waits until the agent is ready, nobody types, and nothing is to be done before.
    async fn until_welcome(self: &Arc<Self>, session: &Arc<Session>, pane: &Arc<Pane>) -> Result<()> {
        let mut seen = pane.watch();
        let mut over = session.ended.subscribe();
        let mut main = session.main.subscribe();
        let mut since = None;
        loop {
            if *over.borrow_and_update() || !Arc::ptr_eq(pane, &main.borrow_and_update()) {
                return Err(Error::new(Kind::Gone, "another pane, or none"));
            }
            if seen.borrow_and_update().state == State::Limited {
                self.look_for_answers(session, pane, &mut since).await;
            }
            if session.turns.load().0 == 0 {
                pane.set_held(None); // all were taken back
                return Ok(());
            }
            if self.is_welcome(session, pane).await? {
                pane.set_held(None);
                return Ok(());
            }
            tokio::select! {
                _ = seen.changed() => {}
                _ = over.changed() => {}
                _ = main.changed() => {}
                () = tokio::time::sleep(LOOK) => self.observe(pane),
            }
        }
    }

    async fn is_welcome(self: &Arc<Self>, session: &Arc<Session>, pane: &Arc<Pane>) -> Result<bool> {
        let seen = pane.seen();
        let ready = match seen.state {
            State::Ready => true,
            // The network may be back: one prompt is tried.
            State::Limited => {
                let (now, wall) = (Instant::now(), SystemTime::now());
                pane.eyes(|e| e.limits().may_try(now, wall)).unwrap_or(false)
            }
            // Nobody knows more of it than that it is quiet.
            State::Unknown => !pane.has_rules(),
            _ => false,
        };
        if !self.turns_on(session) {
            pane.set_held(Some(Held::new("turns-off", "")));
            return Ok(false);
        }
        if session.turns.book().is_some_and(|book| book.held().is_some()) {
            let why = "its book of prompts was damaged; ctl clear-queue or interrupt goes on";
            pane.set_held(Some(Held::new("damaged", why)));
            return Ok(false);
        }
        let changing = session.life.try_read().is_err() || session.pending_restart();
        let unsure = session.turns.book().filter(|b| b.is_unsure());
        // A text of ours may be what hides the state, or a mode that is left for a prompt.
        let hidden = seen.state == State::Unknown
            && (unsure.is_some() || pane.eyes(|e| e.may_leave(&e.picture.composer)).unwrap_or(false));
        if !(ready || hidden) || !seen.fresh || changing {
            if seen.state == State::Unknown {
                let unfit = pane.eyes(|e| e.picture.composer.unfit()).flatten();
                pane.set_held(unfit.map(|why| Held::new("composer", why)));
            }
            return Ok(false);
        }
        if self.typed_by_hand(pane).await? {
            pane.set_held(Some(Held::new("draft", "")));
            return Ok(false);
        }
        if let Some(book) = unsure {
            // The last prompt, or a part of it, may stand there still.
            let last = book.all().into_iter().rev().find(|turn| turn.stage == Stage::Uncertain);
            let text = last.and_then(|turn| book.prompt(&turn).ok()).unwrap_or_default();
            if self.clear_composer(pane, &text).await? {
                on_disk(move || book.composer_is_clean()).await??;
            }
            return Ok(false); // and a fresh look after it
        }
        if seen.state == State::Limited {
            pane.eyes(|e| e.limits().begin_try());
            self.observe_now(pane);
        }
        Ok(true)
    }

    /// Waits for the end of a turn: a fresh look at a ready agent. None: the session ended.
    async fn follow_turn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        pane: &Arc<Pane>,
        turn: &Turn,
        asked: Option<(&str, &Before)>,
        started: Option<Instant>,
    ) -> Option<Ended> {
        let mut seen = pane.watch();
        let mut over = session.ended.subscribe();
        let mut clock = Clock::new(started.unwrap_or_else(Instant::now));
        let pid = pane.fact(|f| f.pid);
        let mut told = None;
        let mut look_up = Instant::now() + LOOK_UP;
        let mut limited: Option<Instant> = None;
        let mut again = 0;
        loop {
            if *over.borrow_and_update() {
                return None;
            }
            let now = *seen.borrow_and_update();
            if told.replace(now.state) != Some(now.state)
                && matches!(now.state, State::Blocked | State::Limited)
            {
                self.report_turn(session, turn, Step::Suspended);
            }
            if pane.is_gone() || now.state.ended() || pane.fact(|f| f.pid != pid) {
                let how = if now.state.ended() { now.state.to_string() } else { "started anew".to_owned() };
                return Some(Ended { stage: Stage::Failed, why: Some(how) });
            }
            let quiet_program = now.state == State::Unknown && !pane.has_agent();
            if now.fresh && (now.state == State::Ready || quiet_program) {
                let interrupted = session.turns.interrupted.swap(false, Ordering::AcqRel);
                let stage = if interrupted { Stage::Interrupted } else { Stage::Done };
                return Some(Ended { stage, why: None });
            }
            let limit = pane.eyes(|e| (e.limit(SystemTime::now()), e.picture.continues)).filter(|_| {
                // One that goes on by itself has not ended the turn.
                now.state == State::Limited
            });
            match limit {
                Some((Some(limit), false)) => {
                    if limited.get_or_insert_with(Instant::now).elapsed() >= LIMITED {
                        let why = Some(reason_text(limit.reason).to_owned());
                        return Some(Ended { stage: Stage::Limited, why });
                    }
                }
                _ => limited = None,
            }
            if let Some((prompt, before)) = asked.filter(|_| now.state == State::Ready)
                && pane.has_agent()
                && Instant::now() >= look_up
            {
                if let Some(end) = self.look_up(session, pane, turn, prompt, before, &mut again).await {
                    return Some(end);
                }
                look_up = Instant::now() + LOOK_UP;
            }
            let quiet = pane.judge(|j| j.quiet(Instant::now()));
            let config = self.config();
            if let Some(why) = clock.strikes(now.state, quiet, config.turns_hold, config.turns_max) {
                return Some(Ended { stage: Stage::TimedOut, why: Some(why) });
            }
            tokio::select! {
                _ = seen.changed() => {}
                _ = over.changed() => {}
                () = tokio::time::sleep(LOOK) => self.observe(pane),
            }
        }
    }

    /// What a picture of a ready agent does not tell: whether the prompt was answered already, or is
    /// not even taken. `again` counts the Enters.
    async fn look_up(
        self: &Arc<Self>,
        session: &Arc<Session>,
        pane: &Arc<Pane>,
        turn: &Turn,
        prompt: &str,
        before: &Before,
        again: &mut u32,
    ) -> Option<Ended> {
        // An answer can be shorter than the pause between two looks at the screen.
        let record = self.record_says(session, turn, prompt, before).await;
        if record.is_some_and(|r| r.reply.is_some() || r.end.is_some()) {
            pane.eyes(|e| e.answered());
            self.observe(pane);
            return None;
        }
        let interrupted = session.turns.interrupted.load(Ordering::Acquire);
        if interrupted || !pane.eyes(|e| e.holds(prompt)).unwrap_or(false) {
            return None;
        }
        // One that is just starting may drop an Enter that looked taken.
        if *again == ENTERS {
            let why = "it stands in the composer; no Enter was taken".to_owned();
            return Some(Ended { stage: Stage::Uncertain, why: Some(why) });
        }
        *again += 1;
        if let Err(e) = self.press_again(pane, prompt).await {
            session.set_last_error(e.text());
        }
        None
    }

    /// The last word about a turn. False: the agent is at work on it still, and it goes on.
    async fn finish(
        self: &Arc<Self>,
        session: &Arc<Session>,
        book: &Arc<Book>,
        turn: &Turn,
        end: Option<Ended>,
        before: &Before,
    ) -> Result<bool> {
        let pane = session.main();
        let Some(end) = end else {
            self.end_turn(session, book, turn, Stage::Failed, Some("the session ended"), None).await?;
            return Ok(true);
        };
        let pid = pane.fact(|f| f.pid);
        let turn = &book.by_number(turn.number).unwrap_or_else(|| turn.clone());
        let prompt = book.prompt(turn).unwrap_or_default();
        let gone = end.stage == Stage::Failed;
        let found = self.find_reply(session, &pane, turn, &prompt, before, gone).await;
        // Between two attempts of its own an agent may look ready for a moment.
        if end.stage == Stage::Done && found.is_open() && pane.seen().state == State::Busy {
            return Ok(false);
        }
        let limited =
            (end.stage == Stage::Limited).then(|| pane.eyes(|e| e.limit(SystemTime::now()))).flatten();
        let manifest = pane.eyes(|e| e.agent.manifest.clone());
        let notice = |text: &str| notice(manifest.as_deref()?, text);
        let end = outcome(end, found, &prompt, &notice);
        let (now, wall) = (Instant::now(), SystemTime::now());
        // What one process said limits no other: a restart may have come while its record was read.
        pane.eyes_of(pid, |e| match (&end.notice, limited.flatten()) {
            (Some(words), _) => e.said(words, true, Evidence::AgentFile, now, wall),
            // It stands also when its notice scrolls off.
            (None, Some(limit)) => e.limits().report(limit.reason, limit.by, limit.until, now),
            (None, None) if end.answered => e.limits().saw_answer(),
            (None, None) => e.limits().end_try(now),
        });
        self.observe_now(&pane);
        if end.stage == Stage::Limited {
            // The limit is on disk before the turn is over: after a crash nothing is sent into it.
            let _ = self.records.settled().wait().await; // told where it failed
        }
        session.history.outdate();
        self.poke_history(session);
        if end.stage == Stage::Interrupted {
            *session.turns.restores.lock() = Some((turn.number, Instant::now()));
            self.take_back_restored(session, &pane, book, turn).await;
        }
        if let (Some(reply), true) = (&end.reply, pane.full_screen()) {
            pane.note(&format!("reply: {}", reply.replace('\n', "\n  ")), SystemTime::now());
        }
        if let Some(trouble) = &end.trouble {
            let text = format!("prompt {}: {trouble}", turn.name);
            session.set_last_error(&text);
            self.journal.trouble(&session.shown(), &text);
        }
        self.end_turn(session, book, turn, end.stage, end.why.as_deref(), end.reply).await?;
        self.restart_if_pending(session);
        Ok(true)
    }

    /// While an agent is limited a person may prompt it at the terminal: an answer in its record ends
    /// the limit. `since`: where the record of which process ended, and when it was looked at.
    async fn look_for_answers(
        self: &Arc<Self>,
        session: &Arc<Session>,
        pane: &Arc<Pane>,
        since: &mut Option<(Instant, u32, Before)>,
    ) {
        let pid = pane.fact(|f| f.pid);
        match since {
            Some((at, of, _)) if *of == pid && at.elapsed() < ANSWERS => return,
            Some((at, of, before)) if *of == pid => {
                *at = Instant::now();
                let Some(text) = self.said_since(session, before).await else { return };
                let (now, wall) = (Instant::now(), SystemTime::now());
                pane.eyes_of(pid, |e| e.said(&text, false, Evidence::AgentFile, now, wall));
            }
            _ => {}
        }
        *since = Some((Instant::now(), pid, self.before_turn(session, pane).await));
    }

    /// Some agents put an interrupted prompt back as a draft: it is ours, and is taken away.
    async fn take_back_restored(
        self: &Arc<Self>,
        session: &Session,
        pane: &Arc<Pane>,
        book: &Book,
        turn: &Turn,
    ) {
        let Ok((_, mut picture)) = self.picture(pane).await else { return };
        if pane.eyes(|e| e.is_brought(&picture.composer)).unwrap_or(false)
            && let (Ok(server), Some(manifest)) = (self.server(), pane.eyes(|e| e.agent.manifest.clone()))
        {
            let Ok(None) = self.leave_mode(pane, &server, &manifest).await else { return };
            let Ok((_, later)) = self.picture(pane).await else { return };
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
            Put::Taken => self.bind_conversation(session, None),
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
        let (server, keys) = (self.server()?, known(&keys)?);
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
        self.observe(&pane);
        Ok(())
    }
}

async fn run(sessions: Weak<Sessions>, session: Arc<Session>) {
    let mut changed = session.turns.watch();
    let mut over = session.ended.subscribe();
    loop {
        changed.borrow_and_update();
        if *over.borrow_and_update() {
            return;
        }
        let Some(sessions) = sessions.upgrade() else { return };
        let waiting = session.turns.load() != (0, false);
        if let (true, Some(book)) = (waiting, session.turns.book()) {
            if let Err(e) = sessions.next_turn(&session, &book).await {
                if e.kind != Kind::Gone {
                    session.set_last_error(e.text());
                    sessions.journal.trouble(&session.shown(), &format!("turns: {e}"));
                }
                // A pane or server that is gone comes back, or the session ends.
                tokio::time::sleep(LOOK).await;
            }
            continue;
        }
        drop(sessions);
        tokio::select! {
            _ = changed.changed() => {}
            _ = over.changed() => {}
        }
    }
}

/// The limits of a turn.
struct Clock {
    begun: Instant,
    /// Time spent waiting for a person or a reset counts for nothing.
    away: Duration,
    last: Instant,
}

impl Clock {
    fn new(begun: Instant) -> Self {
        Clock { begun, away: Duration::ZERO, last: Instant::now() }
    }

    /// `quiet`: time without any sign of work.
    fn strikes(
        &mut self,
        state: State,
        quiet: Duration,
        hold: Duration,
        max: Option<Duration>,
    ) -> Option<String> {
        let now = Instant::now();
        let step = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        if matches!(state, State::Blocked | State::Limited) {
            self.away += step;
            return None;
        }
        let lasted = now.saturating_duration_since(self.begun).saturating_sub(self.away);
        if quiet >= hold && lasted >= hold {
            return Some(format!("no sign of work for {} s", hold.as_secs()));
        }
        max.filter(|max| lasted >= *max).map(|max| format!("it lasted {} s", max.as_secs()))
    }
}
