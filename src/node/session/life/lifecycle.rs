//! A session's life as a table: where its program is, what happened, and what is done about it.
//!
//! Pure: what is seen and the time are arguments, and what is to be done is a value that act.rs
//! carries out. Must not know tmux, panes, records, nor how a program is started or ended.

use std::time::{Duration, Instant};

use super::super::state::{Exit, State};
use crate::config::session::Restart;
use muxfs_tree::base::error::{Error, Kind};

/// Before the first start again; twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A program that ran this long begins with [`FIRST`] again.
const STEADY: Duration = Duration::from_secs(60);

/// What is seen of a session and the program in its main pane at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Facts {
    /// It was made here.
    pub ours: bool,
    /// tmux has the session no more.
    pub over: bool,
    /// The main pane is gone.
    pub pane_gone: bool,
    /// Nothing runs in the main pane.
    pub dead: bool,
    /// A person ended the program.
    pub stopped: bool,
    /// A saved config waits for a start anew.
    pub pending: bool,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Life {
    /// Others made it, and what becomes of its program is theirs to say.
    Foreign,
    Running,
    /// A person ended its program.
    Stopped,
    /// Its program ended by itself.
    Exited,
    /// Its main pane is gone, and the session lives.
    Lost,
    /// tmux has it no more.
    Over,
}

impl Facts {
    pub fn life(&self) -> Life {
        match self {
            Facts { over: true, .. } => Life::Over,
            Facts { ours: false, .. } => Life::Foreign,
            Facts { pane_gone: false, dead: false, .. } => Life::Running,
            Facts { stopped: true, .. } => Life::Stopped,
            Facts { pane_gone: true, .. } => Life::Lost,
            Facts { dead: true, .. } => Life::Exited,
        }
    }
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Event {
    /// `ctl start`, `ctl stop`, `ctl restart`, `ctl resume`, `rmdir`.
    Start,
    Stop,
    Restart,
    Resume,
    Remove,
    /// `ctl apply`, or the program is ready for a saved config.
    Apply,
    /// The program's state was seen, or a turn ended. `turn`: one is under way.
    Seen {
        state: State,
        turn: bool,
    },
    /// The program ended by itself, and the settings say whether it is started again.
    Ended {
        exit: Exit,
        restart: Restart,
    },
    /// The wait before that start is over.
    Waited,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Action {
    Nothing,
    Refuse(Refusal),
    /// The program is started where none runs.
    Start(Begins),
    /// What runs is ended, and the program started.
    Restart(Begins),
    /// The program is ended, and its pane stays.
    EndProgram,
    /// The program has ended, and is not started again by itself.
    KeepEnded,
    /// The session is ended with everything below it.
    EndSession,
    /// The same, and its record is forgotten.
    Forget,
    /// A saved config takes effect.
    Apply,
    /// The program is started again after this time.
    StartAgain(Duration),
}

/// With which conversation a program begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Begins {
    /// As the settings say, or the caller.
    AsAsked,
    /// With the conversation it had: nobody asked for this start.
    GoesOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// The session was made by others.
    Foreign(&'static str),
    /// `rmdir` of a session that others made.
    NotOurs,
    Runs,
    Over,
}

impl Refusal {
    /// What `session` is called.
    pub fn error(self, session: &str) -> Error {
        match self {
            Refusal::Foreign(verb) => {
                Error::new(Kind::Never, format!("{verb}: {session} was made by others"))
            }
            Refusal::NotOurs => Error::new(
                Kind::Busy,
                format!("{session}: made by others; `echo stop > ctl` ends it on purpose"),
            ),
            Refusal::Runs => Error::new(Kind::Busy, format!("{session}: it runs")),
            Refusal::Over => Error::new(Kind::Gone, format!("{session}: ended")),
        }
    }
}

/// What is done about `event`, at `now`. Each event has a cell for each place in a session's life.
pub(in super::super) fn step(facts: Facts, event: Event, backoff: &mut Backoff, now: Instant) -> Action {
    use Action::{Apply, EndProgram, EndSession, Forget, KeepEnded, Nothing, Refuse, StartAgain};
    use Begins::{AsAsked, GoesOn};
    use Life::{Exited, Foreign, Lost, Over, Running, Stopped};
    match (event, facts.life()) {
        (Event::Start, Foreign) => Refuse(Refusal::Foreign("start")),
        (Event::Start, Running) => Refuse(Refusal::Runs),
        (Event::Start, Stopped | Exited | Lost) => Action::Start(AsAsked),
        (Event::Start, Over) => Refuse(Refusal::Over),

        // Another's session ends whole.
        (Event::Stop, Foreign) => EndSession,
        (Event::Stop, Running) => EndProgram,
        // The wait before its next start may be under way.
        (Event::Stop, Exited | Lost) => KeepEnded,
        (Event::Stop, Stopped | Over) => Nothing,

        (Event::Restart, Foreign) => Refuse(Refusal::Foreign("restart")),
        (Event::Restart, Running | Stopped | Exited | Lost) => Action::Restart(AsAsked),
        (Event::Restart, Over) => Refuse(Refusal::Over),

        (Event::Resume, Foreign) => Refuse(Refusal::Foreign("resume")),
        (Event::Resume, Running | Stopped | Exited | Lost) => Action::Restart(AsAsked),
        (Event::Resume, Over) => Refuse(Refusal::Over),

        (Event::Remove, Foreign) => Refuse(Refusal::NotOurs),
        (Event::Remove, Running | Stopped | Exited | Lost | Over) => Forget,

        // Another did it meanwhile.
        (Event::Apply, Running | Stopped | Exited | Lost) if !facts.pending => Nothing,
        (Event::Apply, Running | Stopped | Exited | Lost) => Action::Restart(GoesOn),
        (Event::Apply, Foreign | Over) => Nothing,

        // A turn's end comes first, and is reported as well.
        (Event::Seen { turn: true, .. }, Running | Stopped | Exited | Lost) => Nothing,
        (Event::Seen { state, .. }, Running | Stopped | Exited | Lost) => {
            match facts.pending && (state == State::Ready || state.ended()) {
                true => Apply,
                false => Nothing,
            }
        }
        (Event::Seen { .. }, Foreign | Over) => Nothing,

        (Event::Ended { exit, restart }, Running | Stopped | Exited | Lost) => match wanted(restart, exit) {
            true => StartAgain(backoff.next(now)),
            false => Nothing,
        },
        (Event::Ended { .. }, Foreign | Over) => Nothing,

        // Somebody was faster, or a person stopped it meanwhile.
        (Event::Waited, Foreign | Running | Stopped | Over) => Nothing,
        (Event::Waited, Exited | Lost) => Action::Start(GoesOn),
    }
}

fn wanted(restart: Restart, exit: Exit) -> bool {
    match restart {
        Restart::No => false,
        Restart::OnFailure => exit != Exit::Code(0),
        Restart::Always => true,
    }
}

/// How often a program was started again.
#[derive(Debug, Default)]
pub(in super::super) struct Backoff {
    count: u32,
    started: Option<Instant>,
}

impl Backoff {
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// How long to wait with the next start.
    fn next(&mut self, now: Instant) -> Duration {
        if self.started.is_some_and(|at| now.saturating_duration_since(at) >= STEADY) {
            self.count = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.count.min(6)).min(LONGEST);
        self.count += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Facts =
        Facts { ours: true, over: false, pane_gone: false, dead: false, stopped: false, pending: false };

    /// One of each place in a session's life, in the order of the table's columns.
    fn lives() -> [Facts; 6] {
        [
            Facts { ours: false, ..RUNS },
            RUNS,
            Facts { dead: true, stopped: true, ..RUNS },
            Facts { dead: true, ..RUNS },
            Facts { pane_gone: true, ..RUNS },
            Facts { over: true, ..RUNS },
        ]
    }

    fn does(facts: Facts, event: Event) -> Action {
        step(facts, event, &mut Backoff::default(), Instant::now())
    }

    fn word(action: Action) -> &'static str {
        match action {
            Action::Nothing => ".",
            Action::Refuse(Refusal::Foreign(_) | Refusal::NotOurs) => "theirs",
            Action::Refuse(Refusal::Runs) => "runs",
            Action::Refuse(Refusal::Over) => "over",
            Action::Start(Begins::AsAsked) => "start",
            Action::Start(Begins::GoesOn) => "goes-on",
            Action::Restart(Begins::AsAsked) => "restart",
            Action::Restart(Begins::GoesOn) => "anew",
            Action::EndProgram => "end",
            Action::KeepEnded => "keep",
            Action::EndSession => "end-all",
            Action::Forget => "forget",
            Action::Apply => "apply",
            Action::StartAgain(_) => "again",
        }
    }

    const TABLE: &str = "
                 foreign running stopped exited  lost    over
start            theirs  runs    start   start   start   over
stop             end-all end     .       keep    keep    .
restart          theirs  restart restart restart restart over
resume           theirs  restart restart restart restart over
remove           theirs  forget  forget  forget  forget  forget
apply            .       .       .       .       .       .
ready            .       .       .       .       .       .
ended            .       again   again   again   again   .
waited           .       .       .       goes-on goes-on .
";

    const READY: Event = Event::Seen { state: State::Ready, turn: false };

    #[test]
    fn every_cell_of_the_table_is_as_it_says() {
        let ended = Event::Ended { exit: Exit::Code(1), restart: Restart::Always };
        let events = [
            Event::Start,
            Event::Stop,
            Event::Restart,
            Event::Resume,
            Event::Remove,
            Event::Apply,
            READY,
            ended,
            Event::Waited,
        ];
        let rows: Vec<Vec<&str>> = TABLE.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), events.len());
        for (event, row) in events.into_iter().zip(rows) {
            let does: Vec<_> = lives().map(|facts| word(does(facts, event))).to_vec();
            assert_eq!(does, row[1..], "{}", row[0]);
        }
    }

    #[test]
    fn the_places_of_a_life_are_told_apart() {
        let lives = lives().map(|facts| facts.life());
        let all = [Life::Foreign, Life::Running, Life::Stopped, Life::Exited, Life::Lost, Life::Over];
        assert_eq!(lives, all);
        let gone = Facts { pane_gone: true, dead: true, ..RUNS };
        assert_eq!(Facts { stopped: true, ..gone }.life(), Life::Stopped);
        assert_eq!((gone.life(), Facts { stopped: true, ..RUNS }.life()), (Life::Lost, Life::Running));
        assert_eq!(Facts { ours: false, over: true, ..RUNS }.life(), Life::Over);
    }

    #[test]
    fn a_saved_config_takes_effect_when_the_program_is_ready_or_has_ended() {
        let pending = Facts { pending: true, ..RUNS };
        let seen = |facts, state, turn| does(facts, Event::Seen { state, turn });
        for state in [State::Ready, State::Stopped, State::Exited(Exit::Code(0))] {
            assert_eq!(seen(pending, state, false), Action::Apply, "{state}");
            assert_eq!(seen(pending, state, true), Action::Nothing, "{state}: a turn is under way");
            assert_eq!(seen(RUNS, state, false), Action::Nothing, "{state}: nothing is pending");
        }
        for state in [State::Starting, State::Busy, State::Blocked, State::Limited, State::Unknown] {
            assert_eq!(seen(pending, state, false), Action::Nothing, "{state}");
        }
    }

    #[test]
    fn of_two_that_apply_a_config_one_does() {
        let pending = Facts { pending: true, ..RUNS };
        assert_eq!(does(pending, Event::Apply), Action::Restart(Begins::GoesOn));
        assert_eq!(does(RUNS, Event::Apply), Action::Nothing);
        let foreign = Facts { ours: false, ..pending };
        assert_eq!(does(foreign, Event::Apply), Action::Nothing);
    }

    #[test]
    fn an_exit_is_no_crash() {
        assert!(!wanted(Restart::OnFailure, Exit::Code(0)) && wanted(Restart::Always, Exit::Code(0)));
        assert!(wanted(Restart::OnFailure, Exit::Code(1)) && wanted(Restart::OnFailure, Exit::Signal(9)));
        assert!(wanted(Restart::OnFailure, Exit::Untold));
        assert!(!wanted(Restart::No, Exit::Signal(9)));
    }

    #[test]
    fn each_start_again_waits_twice_as_long_until_one_lasts() {
        let t = Instant::now();
        let mut b = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| b.next(t).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        b.started(t);
        assert_eq!(b.next(t + STEADY).as_secs(), 1);
    }

    #[test]
    fn a_program_that_crashes_again_within_a_minute_waits_longer() {
        let ended = Event::Ended { exit: Exit::Code(1), restart: Restart::OnFailure };
        let (mut b, mut now) = (Backoff::default(), Instant::now());
        let exited = Facts { dead: true, ..RUNS };
        let mut waits = Vec::new();
        for ran in [0, 59, 0, 60, 3600, 1] {
            b.started(now);
            now += Duration::from_secs(ran);
            match step(exited, ended, &mut b, now) {
                Action::StartAgain(wait) => waits.push(wait.as_secs()),
                other => panic!("{other:?}"),
            }
            assert_eq!(step(exited, Event::Waited, &mut b, now), Action::Start(Begins::GoesOn));
        }
        assert_eq!(waits, [1, 2, 4, 1, 1, 2]);
    }

    #[test]
    fn a_program_that_is_not_to_be_started_again_counts_for_nothing() {
        let ended = |restart| Event::Ended { exit: Exit::Code(1), restart };
        let (mut b, t) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            assert_eq!(step(RUNS, ended(Restart::No), &mut b, t), Action::Nothing);
        }
        let again = step(RUNS, ended(Restart::Always), &mut b, t);
        assert_eq!(again, Action::StartAgain(FIRST));
    }

    #[test]
    fn a_program_that_a_person_stopped_or_started_meanwhile_is_not_started_again() {
        let stopped = Facts { dead: true, stopped: true, ..RUNS };
        assert_eq!(does(stopped, Event::Waited), Action::Nothing);
        assert_eq!(does(RUNS, Event::Waited), Action::Nothing, "somebody started it");
    }

    #[test]
    fn a_refusal_says_what_to_do_next() {
        let said = |r: Refusal| r.error("a").text().to_owned();
        assert_eq!(said(Refusal::Foreign("start")), "start: a was made by others");
        assert_eq!(said(Refusal::NotOurs), "a: made by others; `echo stop > ctl` ends it on purpose");
        assert_eq!((said(Refusal::Runs), said(Refusal::Over)), ("a: it runs".into(), "a: ended".into()));
        let kinds = [Refusal::Foreign("x"), Refusal::NotOurs, Refusal::Runs, Refusal::Over];
        let kinds = kinds.map(|r| r.error("a").kind);
        assert_eq!(kinds, [Kind::Never, Kind::Busy, Kind::Busy, Kind::Gone]);
    }
}
