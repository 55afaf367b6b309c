//! One session's queue as a machine: where it is, what happened, what time it is; where it is then, and
//! what is to be done about it.
//!
//! Pure: the time is an argument, and what is decided is a value that run.rs carries out. Must not know
//! panes, tmux, the book's file, nor how anything was found out.
//!
//! Each [`Phase`] waits for one thing, and the answer to it is an [`Event`]. [`Phase::step`] has a cell for
//! each phase and each event: the answer to another phase changes nothing, and a failure in any phase
//! leads to a pause, after which the queue is looked at anew.

use std::time::{Duration, Instant};

use super::super::events::Step;
use super::super::limit::Limit;
use super::super::pane::Held;
use super::super::state::State;
use super::outcome::{Ended, Outcome, reason_text};
use super::submit::Put;
use super::turn::Stage;
use muxfs_agent::manifest::Reason;
use muxfs_tree::base::error::{Error, Kind};

/// How often what is waited for is looked at, beside the changes that are reported.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// How often the agent's own record is read, while it looks idle.
const LOOK_UP: Duration = Duration::from_millis(500);
/// A notice of a limit must stand so long until the turn is over by it: some say only then that they
/// go on by themselves.
const LIMITED: Duration = Duration::from_secs(2);
/// How often the record is asked whether somebody's prompt was answered in spite of a limit.
const ANSWERS: Duration = Duration::from_secs(5);
/// How often Enter is pressed again on a prompt that stands in the composer still.
const ENTERS: u32 = 3;
/// Before a prompt that was taken out of the composer again is tried once more.
const BACK: Duration = Duration::from_secs(5);

/// Where the queue of one session is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Nothing is in hand: the queue is looked at, and waited for where it is empty.
    Idle,
    /// A prompt waits until it may go: the agent is looked at.
    Waiting(Waiting),
    /// It might go: whether a person typed a moment ago is asked.
    Asking { answers: Waiting, unsure: bool, limited: bool },
    /// The last prompt may stand in the composer still, which is emptied.
    Clearing(Waiting),
    /// The pane is looked at for the last time before the prompt is typed.
    Preparing,
    /// That it is typed from now on is written down.
    Marking,
    /// It is typed, and Enter pressed.
    Typing,
    /// A pause.
    Resting(Duration),
    /// The agent has it: its end is waited for.
    Running(Running),
    /// The agent looks idle: its own record and its composer are read.
    LookingUp(Running),
    /// The end was seen: what is known of the answer is read.
    Judging(Running, Ended),
    /// The session ended.
    Over,
}

/// When the record was asked for an answer during a limit, and of which process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    answers: Option<(Instant, u32)>,
}

/// A turn that the agent has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    /// When its Enter was taken; none where a daemon before this one sent it. What went in is not known
    /// then, and the composer is not compared with it.
    sent: Option<Instant>,
    clock: Clock,
    /// The process that took it.
    pid: Option<u32>,
    /// The state at the last look.
    last: Option<State>,
    look_up: Instant,
    /// Since when a limit that ends the turn is seen.
    limited: Option<Instant>,
    /// How often Enter was pressed again.
    enters: u32,
}

/// What is seen of the session, its pane and its queue at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// The session ended.
    pub over: bool,
    /// The main pane is another one than that which was looked at before.
    pub other_pane: bool,
    /// Prompts that wait.
    pub waiting: usize,
    /// One is under way, by the book.
    pub under_way: bool,
    pub turns_on: bool,
    /// The book is held until a person has seen its damage.
    pub damaged: bool,
    /// The last prompt may stand in the composer still.
    pub unsure: bool,
    /// The program is being started or ended, or is to be started anew.
    pub changing: bool,
    pub state: State,
    /// The state was seen after the last input.
    pub fresh: bool,
    /// The pane is gone.
    pub gone: bool,
    pub pid: u32,
    pub has_agent: bool,
    /// Its state is told by rules.
    pub has_rules: bool,
    /// The composer is in a mode that is left for a prompt.
    pub may_leave: bool,
    /// The network was gone, and the next prompt may be tried.
    pub may_try: bool,
    /// Why the composer takes no prompt.
    pub unfit: Option<String>,
    /// `ctl interrupt` was given to the turn.
    pub interrupted: bool,
    /// What keeps the agent from working, where it does not go on by itself.
    pub limit: Option<Reason>,
    /// Time without any sign of work.
    pub quiet: Duration,
    /// `turns.hold` and `turns.max`.
    pub hold: Duration,
    pub max: Option<Duration>,
}

/// What the last look before a prompt found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fitness {
    Fit,
    /// `held`: what stands in its composer. `restored`: the turn that was interrupted a moment ago.
    Unfit {
        held: Option<Held>,
        restored: Option<u64>,
    },
    /// All prompts were taken back meanwhile.
    Nothing,
}

/// What the agent's record and its composer say while it looks idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookedUp {
    /// The record has an answer, or the end of the turn.
    Answered,
    /// It has not. `holds`: the prompt stands in the composer still, and is wanted.
    Open { holds: bool },
}

/// What is known of a turn whose end was seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub outcome: Outcome,
    /// The record has neither an answer nor an end.
    pub open: bool,
    pub busy: bool,
    /// What keeps the agent from working.
    pub limit: Option<Limit>,
}

/// What happened: the answer to what a phase waits for.
#[derive(Debug)]
pub(super) enum Event {
    Looked(View),
    /// Whether a person typed a moment ago.
    Typed(bool),
    /// The composer was looked at, and emptied where it held the last prompt.
    Cleared,
    Fitted(Fitness),
    /// Whether it is written down; not where the prompt was withdrawn.
    Marked(bool),
    Put(Put),
    Rested,
    LookedUp(LookedUp),
    Judged(Judged),
    /// What was asked for, or what was to be done, failed.
    Failed(Error),
}

/// What is to be done, in this order, before the next event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Says why prompts wait, or that none does.
    Hold(Option<Held>),
    /// Publishes the state anew from what is known.
    Observe,
    /// The record is asked for an answer during a limit; `anew`: only where it ends now.
    SeekAnswer {
        anew: bool,
    },
    /// The prompt is about to be tried during a limit, or was not tried after all.
    BeginTry,
    CancelTry,
    /// The prompt of this turn, which was interrupted, is taken out of the composer.
    TakeBack(u64),
    /// `ctl interrupt` has had its effect.
    ForgetInterrupt,
    /// The stage is written down.
    Store(Stage),
    Report(Step),
    /// Who waits for a turn looks at it.
    Notify,
    /// The prompt, or the answer, is noted in the transcript of a full-screen program.
    NoteInput,
    NoteReply(String),
    /// The agent answered, though no picture shows it.
    Answered,
    PressAgain,
    Learn(News),
    /// Waits until what was learned is on disk.
    Settle,
    /// The conversation's history changed.
    Outdate,
    /// The turn was interrupted: its prompt may come back as a draft.
    Interrupted,
    /// What is to stand in `errors`, though the turn is done.
    Trouble(String),
    End {
        stage: Stage,
        why: Option<String>,
        reply: Option<String>,
    },
    /// A saved config may take effect now.
    RestartIfPending,
    /// A failure is told.
    Complain(String),
}

/// What a turn's end says of the agent's limits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// The agent's own words in the place of an answer.
    Notice(String),
    /// It stands also when its notice scrolls off.
    Limit(Limit),
    Answer,
    Nothing,
}

type Next = (Phase, Vec<Effect>);

impl Phase {
    /// The task of a queue begins.
    pub fn new() -> Self {
        Phase::Idle
    }

    /// Whether the pane may be typed into in this phase: nobody else types a prompt meanwhile.
    pub fn has_composer(&self) -> bool {
        match self {
            Phase::Preparing | Phase::Marking | Phase::Typing | Phase::Resting(_) => true,
            Phase::Idle | Phase::Waiting(_) | Phase::Asking { .. } | Phase::Clearing(_) => false,
            Phase::Running(_) | Phase::LookingUp(_) | Phase::Judging(..) | Phase::Over => false,
        }
    }

    /// What follows in this phase from `event`, at `now`. An event that answers another phase changes
    /// nothing.
    pub fn step(self, event: Event, now: Instant) -> Next {
        use Event as E;
        match (self, event) {
            (Phase::Over, _) => (Phase::Over, vec![]),
            (phase, E::Failed(error)) => phase.failed(&error),
            (Phase::Idle, E::Looked(view)) => idle(&view, now),
            (Phase::Waiting(waiting), E::Looked(view)) => waiting.looked(&view, now),
            (Phase::Asking { answers, unsure, limited }, E::Typed(by_hand)) => {
                asked(answers, unsure, limited, by_hand)
            }
            (Phase::Clearing(waiting), E::Cleared) => (Phase::Waiting(waiting), vec![]), // a fresh look after it
            (Phase::Preparing, E::Fitted(fitness)) => fitted(fitness),
            (Phase::Marking, E::Marked(stored)) => marked(stored),
            (Phase::Typing, E::Put(put)) => typed(put, now),
            (Phase::Resting(_), E::Rested) => (Phase::Idle, vec![]),
            (Phase::Running(running), E::Looked(view)) => running.looked(&view, now),
            (Phase::LookingUp(running), E::LookedUp(found)) => running.looked_up(found, now),
            (Phase::Judging(running, end), E::Judged(judged)) => running.judged(&end, judged, now),
            // The test beside names each of these cells.
            (phase, E::Looked(_) | E::Typed(_) | E::Cleared | E::Fitted(_) | E::Marked(_)) => (phase, vec![]),
            (phase, E::Put(_) | E::Rested | E::LookedUp(_) | E::Judged(_)) => (phase, vec![]),
        }
    }

    /// A pane or server that is gone comes back, or the session ends. What is under way stands in the
    /// book, and is taken up from there.
    fn failed(self, error: &Error) -> Next {
        let mut effects = match self {
            // Nothing was typed yet.
            Phase::Preparing | Phase::Marking => vec![Effect::CancelTry],
            Phase::Idle | Phase::Waiting(_) | Phase::Asking { .. } | Phase::Clearing(_) => vec![],
            Phase::Typing | Phase::Resting(_) | Phase::Running(_) | Phase::LookingUp(_) => vec![],
            Phase::Judging(..) | Phase::Over => vec![],
        };
        if error.kind != Kind::Gone {
            effects.push(Effect::Complain(error.text().to_owned()));
        }
        (Phase::Resting(LOOK), effects)
    }
}

fn idle(view: &View, now: Instant) -> Next {
    if view.over {
        return (Phase::Over, vec![]);
    }
    if view.under_way {
        return Running::new(None, now).looked(view, now); // the daemon before this one sent it
    }
    match view.waiting {
        0 => (Phase::Idle, vec![]),
        _ => Waiting::default().looked(view, now),
    }
}

impl Waiting {
    fn looked(mut self, view: &View, now: Instant) -> Next {
        if view.over || view.other_pane {
            return (Phase::Resting(LOOK), vec![]);
        }
        let mut effects = Vec::new();
        if view.state == State::Limited {
            effects.extend(self.seek_answer(view.pid, now));
        }
        if view.waiting == 0 {
            effects.push(Effect::Hold(None)); // all were taken back
            return (Phase::Idle, effects);
        }
        match view.may_go() {
            Ok(()) => {
                let limited = view.state == State::Limited;
                (Phase::Asking { answers: self, unsure: view.unsure, limited }, effects)
            }
            Err(held) => {
                effects.extend(held.map(Effect::Hold));
                (Phase::Waiting(self), effects)
            }
        }
    }

    /// While an agent is limited a person may prompt it at the terminal: an answer in its record ends
    /// the limit.
    fn seek_answer(&mut self, pid: u32, now: Instant) -> Option<Effect> {
        let anew = self.answers.is_none_or(|(_, of)| of != pid);
        let due = self.answers.is_none_or(|(at, _)| now.saturating_duration_since(at) >= ANSWERS);
        if !anew && !due {
            return None;
        }
        self.answers = Some((now, pid));
        Some(Effect::SeekAnswer { anew })
    }
}

impl View {
    /// Whether the next prompt might go, as far as it is known without asking tmux. Else what is to be
    /// shown as the reason, where that changes.
    fn may_go(&self) -> Result<(), Option<Option<Held>>> {
        if !self.turns_on {
            return Err(Some(Some(Held::new("turns-off", ""))));
        }
        if self.damaged {
            let why = "its book of prompts was damaged; ctl clear-queue or interrupt goes on";
            return Err(Some(Some(Held::new("damaged", why))));
        }
        let ready = match self.state {
            State::Ready => true,
            // The network may be back: one prompt is tried.
            State::Limited => self.may_try,
            // Nobody knows more of it than that it is quiet.
            State::Unknown => !self.has_rules,
            State::Starting | State::Busy | State::Blocked => false,
            State::Exited(_) | State::Stopped => false,
        };
        // A text of ours may be what hides the state, or a mode that is left for a prompt.
        let hidden = self.state == State::Unknown && (self.unsure || self.may_leave);
        if (ready || hidden) && self.fresh && !self.changing {
            return Ok(());
        }
        let unfit = || self.unfit.clone().map(|why| Held::new("composer", why));
        Err((self.state == State::Unknown).then(unfit))
    }
}

fn asked(answers: Waiting, unsure: bool, limited: bool, by_hand: bool) -> Next {
    if by_hand {
        return (Phase::Waiting(answers), vec![Effect::Hold(Some(Held::new("draft", "")))]);
    }
    if unsure {
        return (Phase::Clearing(answers), vec![]);
    }
    let mut effects = Vec::new();
    if limited {
        effects.extend([Effect::BeginTry, Effect::Observe]);
    }
    effects.push(Effect::Hold(None));
    (Phase::Preparing, effects)
}

fn fitted(fitness: Fitness) -> Next {
    match fitness {
        Fitness::Fit => (Phase::Marking, vec![Effect::Hold(None)]),
        Fitness::Unfit { held, restored } => {
            let draft = held.as_ref().is_some_and(|held| held.word == "draft");
            let mut effects: Vec<_> = restored.filter(|_| draft).map(Effect::TakeBack).into_iter().collect();
            effects.extend([Effect::Hold(held), Effect::Observe, Effect::CancelTry]);
            (Phase::Resting(LOOK), effects)
        }
        Fitness::Nothing => (Phase::Idle, vec![Effect::CancelTry]),
    }
}

fn marked(stored: bool) -> Next {
    match stored {
        true => (Phase::Typing, vec![Effect::ForgetInterrupt, Effect::Notify]),
        false => (Phase::Idle, vec![Effect::CancelTry]), // withdrawn meanwhile
    }
}

fn typed(put: Put, now: Instant) -> Next {
    let mut effects = vec![Effect::Hold(None)];
    let next = match put {
        Put::Taken => {
            let delivered = Effect::Report(Step::Delivered);
            effects.extend([Effect::Store(Stage::Running), delivered, Effect::NoteInput, Effect::Notify]);
            return (Phase::Running(Running::new(Some(now), now)), effects);
        }
        Put::Moved => {
            effects.extend([Effect::Store(Stage::Queued), Effect::Notify]);
            Phase::Idle
        }
        Put::Back(why) => {
            let held = Effect::Hold(Some(Held::new("composer", why)));
            effects.extend([Effect::Store(Stage::Queued), Effect::Notify, held]);
            Phase::Resting(BACK)
        }
        Put::Interrupted => {
            let why = Some("before it was submitted".to_owned());
            effects.push(Effect::ForgetInterrupt);
            effects.push(Effect::End { stage: Stage::Interrupted, why, reply: None });
            Phase::Idle
        }
        Put::Uncertain(why) => {
            effects.push(Effect::End { stage: Stage::Uncertain, why: Some(why), reply: None });
            Phase::Idle
        }
    };
    effects.push(Effect::CancelTry);
    (next, effects)
}

impl Running {
    fn new(sent: Option<Instant>, now: Instant) -> Self {
        Running {
            sent,
            clock: Clock::new(sent.unwrap_or(now), now),
            pid: None,
            last: None,
            look_up: now + LOOK_UP,
            limited: None,
            enters: 0,
        }
    }

    /// Waits for a fresh look at a ready agent.
    fn looked(mut self, view: &View, now: Instant) -> Next {
        let mut effects = Vec::new();
        if view.over {
            let why = Some("the session ended".to_owned());
            return (Phase::Idle, vec![Effect::End { stage: Stage::Failed, why, reply: None }]);
        }
        if self.last.replace(view.state) != Some(view.state)
            && matches!(view.state, State::Blocked | State::Limited)
        {
            effects.push(Effect::Report(Step::Suspended));
        }
        let pid = *self.pid.get_or_insert(view.pid);
        if view.gone || view.state.ended() || view.pid != pid {
            let how = if view.state.ended() { view.state.to_string() } else { "started anew".to_owned() };
            return self.ends(Stage::Failed, Some(how), effects);
        }
        let quiet_program = view.state == State::Unknown && !view.has_agent;
        if view.fresh && (view.state == State::Ready || quiet_program) {
            effects.push(Effect::ForgetInterrupt);
            let stage = if view.interrupted { Stage::Interrupted } else { Stage::Done };
            return self.ends(stage, None, effects);
        }
        match view.limit.filter(|_| view.state == State::Limited) {
            Some(reason) => {
                let since = *self.limited.get_or_insert(now);
                if now.saturating_duration_since(since) >= LIMITED {
                    return self.ends(Stage::Limited, Some(reason_text(reason).to_owned()), effects);
                }
            }
            None => self.limited = None,
        }
        if self.sent.is_some() && view.state == State::Ready && view.has_agent && now >= self.look_up {
            self.look_up = now + LOOK_UP;
            return (Phase::LookingUp(self), effects);
        }
        if let Some(why) = self.clock.strikes(view, now) {
            return self.ends(Stage::TimedOut, Some(why), effects);
        }
        (Phase::Running(self), effects)
    }

    fn ends(self, stage: Stage, why: Option<String>, effects: Vec<Effect>) -> Next {
        (Phase::Judging(self, Ended { stage, why }), effects)
    }

    /// What a picture of a ready agent does not tell: whether the prompt was answered already, or is
    /// not even taken.
    fn looked_up(mut self, found: LookedUp, now: Instant) -> Next {
        self.look_up = now + LOOK_UP;
        match found {
            // An answer can be shorter than the pause between two looks at the screen.
            LookedUp::Answered => (Phase::Running(self), vec![Effect::Answered]),
            LookedUp::Open { holds: false } => (Phase::Running(self), vec![]),
            LookedUp::Open { holds: true } if self.enters == ENTERS => {
                let why = "it stands in the composer; no Enter was taken".to_owned();
                self.ends(Stage::Uncertain, Some(why), vec![])
            }
            // One that is just starting may drop an Enter that looked taken.
            LookedUp::Open { holds: true } => {
                self.enters += 1;
                (Phase::Running(self), vec![Effect::PressAgain])
            }
        }
    }

    fn judged(self, end: &Ended, judged: Judged, now: Instant) -> Next {
        let Judged { outcome, open, busy, limit } = judged;
        // Between two attempts of its own an agent may look ready for a moment.
        if end.stage == Stage::Done && open && busy {
            return (Phase::Running(Running::new(self.sent, now)), vec![]);
        }
        let news = match (outcome.notice, limit.filter(|_| end.stage == Stage::Limited)) {
            (Some(words), _) => News::Notice(words),
            (None, Some(limit)) => News::Limit(limit),
            (None, None) if outcome.answered => News::Answer,
            (None, None) => News::Nothing,
        };
        let mut effects = vec![Effect::Learn(news), Effect::Observe];
        if outcome.stage == Stage::Limited {
            // The limit is on disk before the turn is over: after a crash nothing is sent into it.
            effects.push(Effect::Settle);
        }
        effects.push(Effect::Outdate);
        if outcome.stage == Stage::Interrupted {
            effects.push(Effect::Interrupted);
        }
        effects.extend(outcome.reply.clone().map(Effect::NoteReply));
        effects.extend(outcome.trouble.map(Effect::Trouble));
        effects.push(Effect::End { stage: outcome.stage, why: outcome.why, reply: outcome.reply });
        effects.push(Effect::RestartIfPending);
        (Phase::Idle, effects)
    }
}

/// The limits of a turn.
#[derive(Debug, Clone, PartialEq)]
struct Clock {
    begun: Instant,
    /// Time spent waiting for a person or a reset counts for nothing.
    away: Duration,
    last: Instant,
}

impl Clock {
    fn new(begun: Instant, now: Instant) -> Self {
        Clock { begun, away: Duration::ZERO, last: now }
    }

    fn strikes(&mut self, view: &View, now: Instant) -> Option<String> {
        let step = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        if matches!(view.state, State::Blocked | State::Limited) {
            self.away += step;
            return None;
        }
        let lasted = now.saturating_duration_since(self.begun).saturating_sub(self.away);
        if view.quiet >= view.hold && lasted >= view.hold {
            return Some(format!("no sign of work for {} s", view.hold.as_secs()));
        }
        view.max.filter(|max| lasted >= *max).map(|max| format!("it lasted {} s", max.as_secs()))
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
