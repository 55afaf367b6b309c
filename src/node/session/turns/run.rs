//! The task that sees to one session's queue: finds out what the machine asks for, and does what it says.
//!
//! Decides nothing: which prompt goes when, and how a turn ends, is in machine.rs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use tokio::sync::{OwnedMutexGuard, RwLockReadGuard, watch};

use super::super::connection::Request;
use super::super::state::{Evidence, Seen};
use super::super::{Pane, Session, State, record};
use super::Delivery;
use super::book::Book;
use super::machine::{Effect, Event, Fitness, Judged, LOOK, LookedUp, News, Phase, View};
use super::outcome::{Ended, outcome};
use super::reply::Before;
use super::submit::{Fit, Put, Unfit};
use super::turn::{Stage, Turn};
use muxfs_agent::rules::notice;
use muxfs_tree::base::error::{Error, Kind, Result};
use muxfs_tree::base::later::on_disk;

impl Delivery {
    /// Starts the task where none sees to this session yet.
    pub(super) fn drive(self: &Arc<Self>, session: &Arc<Session>) {
        if session.turns.driven.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(run(Arc::downgrade(self), session.clone()));
    }
}

async fn run(delivery: Weak<Delivery>, session: Arc<Session>) {
    let mut driver = Driver::new(&session);
    let mut phase = Phase::new();
    // Whether the last event was a look: then a change is waited for before the next one.
    let mut looked = false;
    // A stop or restart waits until nothing is about to be typed.
    let mut life: Option<RwLockReadGuard<'_, ()>> = None;
    while phase != Phase::Over {
        if looked || matches!(phase, Phase::Waiting(_)) {
            driver.wait(&delivery, &phase).await;
        }
        let Some(delivery) = delivery.upgrade() else { return };
        looked = matches!(phase, Phase::Idle | Phase::Waiting(_) | Phase::Running(_));
        // It may wait for a person's answer: a stop or a restart does not wait for that.
        life = life.filter(|_| phase == Phase::Marking);
        if !phase.has_composer() {
            driver.prompts = None;
        }
        let event = match phase {
            Phase::Preparing => driver.prepare(&delivery, &session, &mut life).await,
            _ => driver.find_out(&delivery, &phase).await,
        };
        let event = event.unwrap_or_else(Event::Failed);
        let (next, effects) = phase.step(event, Instant::now());
        phase = next;
        for effect in effects {
            if let Err(e) = driver.carry_out(&delivery, effect).await {
                let (next, effects) = phase.step(Event::Failed(e), Instant::now());
                phase = next;
                looked = false;
                for effect in effects {
                    let _ = driver.carry_out(&delivery, effect).await; // what follows a failure does not fail
                }
                break;
            }
        }
    }
}

/// What the task has in hand.
struct Driver {
    session: Arc<Session>,
    pane: Arc<Pane>,
    seen: watch::Receiver<Seen>,
    main: watch::Receiver<Arc<Pane>>,
    over: watch::Receiver<bool>,
    changed: watch::Receiver<u64>,
    /// The prompt in hand, and its text where this task typed it.
    turn: Option<Turn>,
    text: Option<String>,
    /// What was there before it.
    before: Before,
    /// The same for what a person may ask during a limit.
    answers: Before,
    fit: Option<Fit>,
    /// Of the process whose answer was judged.
    pid: u32,
    /// Held while the composer is ours.
    prompts: Option<OwnedMutexGuard<()>>,
}

impl Driver {
    fn new(session: &Arc<Session>) -> Self {
        let pane = session.main();
        Driver {
            session: session.clone(),
            seen: pane.watch(),
            pane,
            main: session.main.subscribe(),
            over: session.ended.subscribe(),
            changed: session.turns.watch(),
            turn: None,
            text: None,
            before: Before::default(),
            answers: Before::default(),
            fit: None,
            pid: 0,
            prompts: None,
        }
    }

    /// Waits until the next look is worth it.
    async fn wait(&mut self, delivery: &Weak<Delivery>, phase: &Phase) {
        if *phase == Phase::Idle {
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.over.changed() => {}
            }
            return;
        }
        tokio::select! {
            _ = self.seen.changed() => {}
            _ = self.over.changed() => {}
            _ = self.main.changed(), if matches!(phase, Phase::Waiting(_)) => {}
            () = tokio::time::sleep(LOOK) => {
                if let Some(delivery) = delivery.upgrade() {
                    delivery.observation.observe(&self.pane);
                }
            }
        }
    }

    /// The answer to what `phase` waits for.
    async fn find_out(&mut self, delivery: &Arc<Delivery>, phase: &Phase) -> Result<Event> {
        Ok(match phase {
            Phase::Idle => {
                self.take_up();
                Event::Looked(self.view(delivery))
            }
            Phase::Waiting(_) | Phase::Running(_) => Event::Looked(self.view(delivery)),
            Phase::Asking { .. } => Event::Typed(delivery.connection.typed_by_hand(&self.pane).await?),
            Phase::Clearing(_) => {
                self.clear(delivery).await?;
                Event::Cleared
            }
            Phase::Preparing => Event::Fitted(Fitness::Nothing), // its answer needs the session's life
            Phase::Marking => Event::Marked(self.store(delivery, Stage::Typing).await?.is_some()),
            Phase::Typing => Event::Put(self.put(delivery).await),
            Phase::Resting(time) => {
                tokio::time::sleep(*time).await;
                Event::Rested
            }
            Phase::LookingUp(_) => Event::LookedUp(self.look_up(delivery).await),
            Phase::Judging(_, end) => Event::Judged(self.judge(delivery, end).await?),
            Phase::Over => Event::Rested,
        })
    }

    /// The main pane is what is looked at from now on, and the turn under way is the one in hand.
    fn take_up(&mut self) {
        let main = self.session.main();
        if !Arc::ptr_eq(&main, &self.pane) {
            self.seen = main.watch();
            self.pane = main;
        }
        (self.turn, self.text) = (self.session.turns.current(), None);
        (self.before, self.answers, self.fit) = (Before::default(), Before::default(), None);
    }

    fn view(&mut self, delivery: &Delivery) -> View {
        self.changed.borrow_and_update();
        let over = *self.over.borrow_and_update();
        let other_pane = !Arc::ptr_eq(&self.pane, &self.main.borrow_and_update());
        let seen = *self.seen.borrow_and_update();
        let (session, pane) = (&self.session, &self.pane);
        let book = session.turns.book();
        let (waiting, under_way) = session.turns.load();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let agent = pane.eyes(|e| {
            let limit = e.limit(wall).filter(|_| !e.picture.continues);
            let (may_leave, may_try) = (e.may_leave(&e.picture.composer), e.limits().may_try(now, wall));
            (limit.map(|l| l.reason), may_leave, may_try, e.picture.composer.unfit())
        });
        let (limit, may_leave, may_try, unfit) = agent.unwrap_or_default();
        let config = delivery.settings.config();
        View {
            over,
            other_pane,
            waiting,
            under_way,
            turns_on: delivery.turns_on(session),
            damaged: book.as_ref().is_some_and(|book| book.held().is_some()),
            unsure: book.is_some_and(|book| book.is_unsure()),
            changing: session.life.try_read().is_err() || session.pending_restart(),
            state: seen.state,
            fresh: seen.fresh,
            gone: pane.is_gone(),
            pid: pane.fact(|f| f.pid),
            has_agent: pane.has_agent(),
            has_rules: pane.has_rules(),
            may_leave,
            may_try,
            unfit,
            interrupted: session.turns.interrupted.load(Ordering::Acquire),
            limit,
            quiet: pane.judge(|j| j.quiet(now)),
            hold: config.turns_hold,
            max: config.turns_max,
        }
    }

    fn book(&self) -> Result<Arc<Book>> {
        self.session.turns.book().ok_or_else(|| Error::new(Kind::Bug, "a turn without a book"))
    }

    fn turn(&self) -> Result<&Turn> {
        self.turn.as_ref().ok_or_else(|| Error::new(Kind::Bug, "no turn is in hand"))
    }

    /// Empties the composer of the last prompt, or a part of it, that may stand there still.
    async fn clear(&self, delivery: &Delivery) -> Result<()> {
        let book = self.book()?;
        let last = book.all().into_iter().rev().find(|turn| turn.stage == Stage::Uncertain);
        let text = last.and_then(|turn| book.prompt(&turn).ok()).unwrap_or_default();
        if delivery.clear_composer(&self.pane, &text).await? {
            on_disk(move || book.composer_is_clean()).await??;
        }
        Ok(())
    }

    /// Takes the next prompt in hand, and looks whether it may go. `life` is held from then on.
    async fn prepare<'a>(
        &mut self,
        delivery: &Arc<Delivery>,
        session: &'a Session,
        life: &mut Option<RwLockReadGuard<'a, ()>>,
    ) -> Result<Event> {
        let book = self.book()?;
        let Some(turn) = book.queue().into_iter().next() else { return Ok(Event::Fitted(Fitness::Nothing)) };
        self.text = Some(book.prompt(&turn)?);
        self.turn = Some(turn);
        self.before = delivery.before_turn(session, &self.pane).await;
        self.prompts = Some(self.pane.prompts.clone().lock_owned().await);
        *life = Some(session.life.read().await);
        self.pane.check_alive()?;
        let held = match delivery.fit(&self.pane, false).await? {
            Ok(fit) => {
                self.fit = Some(fit);
                return Ok(Event::Fitted(Fitness::Fit));
            }
            Err(Unfit::Composer(held)) => Some(held),
            Err(Unfit::State) => None,
        };
        let restored = session.turns.just_interrupted(Instant::now());
        Ok(Event::Fitted(Fitness::Unfit { held, restored }))
    }

    /// Types the prompt; once it is marked as typed, each failure leaves it uncertain.
    async fn put(&self, delivery: &Arc<Delivery>) -> Put {
        let (Some(fit), Some(text)) = (&self.fit, &self.text) else {
            return Put::Uncertain("no prompt is in hand".into());
        };
        let wanted = || !self.session.turns.interrupted.load(Ordering::Acquire);
        let put = delivery.put_in(&self.pane, fit, text, &wanted).await;
        put.unwrap_or_else(|e| Put::Uncertain(e.text().to_owned()))
    }

    async fn look_up(&self, delivery: &Arc<Delivery>) -> LookedUp {
        let (Some(turn), Some(text)) = (&self.turn, &self.text) else {
            return LookedUp::Open { holds: false };
        };
        let record = delivery.record_says(&self.session, turn, text, &self.before).await;
        if record.is_some_and(|r| r.reply.is_some() || r.end.is_some()) {
            return LookedUp::Answered;
        }
        let interrupted = self.session.turns.interrupted.load(Ordering::Acquire);
        LookedUp::Open { holds: !interrupted && self.pane.eyes(|e| e.holds(text)).unwrap_or(false) }
    }

    async fn judge(&mut self, delivery: &Arc<Delivery>, end: &Ended) -> Result<Judged> {
        let (session, book) = (&self.session, self.book()?);
        let pane = session.main();
        let pid = pane.fact(|f| f.pid);
        let turn = self.turn()?;
        let turn = book.by_number(turn.number).unwrap_or_else(|| turn.clone());
        let prompt = book.prompt(&turn).unwrap_or_default();
        let gone = end.stage == Stage::Failed;
        let found = delivery.find_reply(session, &pane, &turn, &prompt, &self.before, gone).await;
        let manifest = pane.eyes(|e| e.agent.manifest.clone());
        let notice = |text: &str| notice(manifest.as_deref()?, text);
        let (open, busy) = (found.is_open(), pane.seen().state == State::Busy);
        let judged = Judged {
            open,
            busy,
            limit: pane.eyes(|e| e.limit(SystemTime::now())).flatten(),
            outcome: outcome(end.clone(), found, &prompt, &notice),
        };
        (self.pid, self.turn) = (pid, Some(turn));
        if !(open && busy) {
            self.seen = pane.watch();
            self.pane = pane;
        }
        Ok(judged)
    }

    async fn store(&self, delivery: &Delivery, stage: Stage) -> Result<Option<Turn>> {
        let (book, turn) = (self.book()?, self.turn()?);
        let (number, at) = (turn.number, record::millis(SystemTime::now()));
        let staged = on_disk(move || book.stage(number, stage, at, None, None)).await?;
        // It may have come to its queue, or left it.
        let session = self.session.shown();
        delivery.moves.tell(super::Moved::Turn { session, name: turn.name.clone() });
        staged
    }

    async fn carry_out(&mut self, delivery: &Arc<Delivery>, effect: Effect) -> Result<()> {
        let (session, pane) = (&self.session, &self.pane);
        match effect {
            Effect::Hold(held) => pane.set_held(held),
            Effect::Observe => _ = delivery.observation.observe_now(pane),
            Effect::SeekAnswer { anew } => self.seek_answer(delivery, anew).await,
            Effect::BeginTry => _ = pane.eyes(|e| e.limits().begin_try()),
            Effect::CancelTry => _ = pane.eyes(|e| e.limits().cancel_try()),
            Effect::TakeBack(number) => {
                let book = self.book()?;
                if let Some(turn) = book.by_number(number) {
                    delivery.take_back_restored(session, pane, &book, &turn).await;
                }
            }
            Effect::ForgetInterrupt => session.turns.interrupted.store(false, Ordering::Release),
            Effect::Store(stage) => drop(self.store(delivery, stage).await?),
            Effect::Report(step) => delivery.report_turn(session, self.turn()?, step),
            Effect::Notify => session.turns.tell(),
            Effect::NoteInput => self.note("input", self.text.as_deref().unwrap_or_default()),
            Effect::NoteReply(reply) => self.note("reply", &reply),
            Effect::Answered => {
                pane.eyes(|e| e.answered());
                delivery.observation.observe(pane);
            }
            Effect::PressAgain => {
                let text = self.text.as_deref().unwrap_or_default();
                if let Err(e) = delivery.press_again(pane, text).await {
                    session.set_last_error(e.text());
                }
            }
            Effect::Learn(news) => self.learn(news),
            Effect::Settle => drop(delivery.records.settled().wait().await), // told where it failed
            Effect::Outdate => {
                session.history.outdate();
                delivery.conversations.poke(session);
            }
            Effect::Interrupted => {
                let (book, turn) = (self.book()?, self.turn()?);
                *session.turns.restores.lock() = Some((turn.number, Instant::now()));
                delivery.take_back_restored(session, pane, &book, turn).await;
            }
            Effect::Trouble(trouble) => {
                let text = format!("prompt {}: {trouble}", self.turn()?.name);
                session.set_last_error(&text);
                delivery.journal.trouble(&session.shown(), &text);
            }
            Effect::End { stage, why, reply } => {
                delivery.end_turn(session, &self.book()?, self.turn()?, stage, why.as_deref(), reply).await?;
            }
            Effect::RestartIfPending => delivery.connection.ask(Request::MayRestart(session.clone())),
            Effect::Complain(text) => {
                session.set_last_error(&text);
                delivery.journal.trouble(&session.shown(), &format!("turns: {text}"));
            }
        }
        Ok(())
    }

    /// In the transcript of a full-screen program, which has nothing of it.
    fn note(&self, what: &str, text: &str) {
        if self.pane.full_screen() {
            self.pane.note(&format!("{what}: {}", text.replace('\n', "\n  ")), SystemTime::now());
        }
    }

    /// What one process said limits no other: a restart may have come while its record was read.
    fn learn(&self, news: News) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        self.pane.eyes_of(self.pid, |e| match news {
            News::Notice(words) => e.said(&words, true, Evidence::AgentFile, now, wall),
            News::Limit(limit) => e.limits().report(limit.reason, limit.by, limit.until, now),
            News::Answer => e.limits().saw_answer(),
            News::Nothing => e.limits().end_try(now),
        });
    }

    /// Whether the record has an answer to what a person asked at the terminal during a limit.
    async fn seek_answer(&mut self, delivery: &Arc<Delivery>, anew: bool) {
        let pid = self.pane.fact(|f| f.pid);
        if !anew {
            let Some(text) = delivery.said_since(&self.session, &self.answers).await else { return };
            let (now, wall) = (Instant::now(), SystemTime::now());
            self.pane.eyes_of(pid, |e| e.said(&text, false, Evidence::AgentFile, now, wall));
        }
        self.answers = delivery.before_turn(&self.session, &self.pane).await;
    }
}
