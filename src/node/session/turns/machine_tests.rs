//! The machine of a queue, played with: its table, its limits, a crash in each phase.

use super::*;
use crate::session::state::{Evidence, Exit};
use muxfs_tree::base::error::Error;

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A ready agent with one prompt in its queue.
fn view() -> View {
    View {
        over: false,
        other_pane: false,
        waiting: 1,
        under_way: false,
        turns_on: true,
        damaged: false,
        unsure: false,
        changing: false,
        state: State::Ready,
        fresh: true,
        gone: false,
        pid: 7,
        has_agent: true,
        has_rules: true,
        may_leave: false,
        may_try: false,
        unfit: None,
        interrupted: false,
        limit: None,
        quiet: Duration::ZERO,
        hold: s(300),
        max: None,
    }
}

fn busy() -> View {
    View { state: State::Busy, ..view() }
}

/// A machine that is played with, and its clock.
struct Play {
    phase: Phase,
    begun: Instant,
    now: Instant,
}

impl Play {
    fn from(phase: Phase) -> Self {
        let now = Instant::now();
        Play { phase, begun: now, now }
    }

    fn new() -> Self {
        Play::from(Phase::new())
    }

    /// An agent that took the prompt at this moment.
    fn running() -> Self {
        let mut play = Play::from(Phase::Typing);
        play.give(Event::Put(Put::Taken));
        play
    }

    fn give(&mut self, event: Event) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (next, effects) = phase.step(event, self.now);
        self.phase = next;
        effects
    }

    fn look(&mut self, view: View) -> Vec<Effect> {
        self.give(Event::Looked(view))
    }

    /// The same at so many milliseconds after the beginning.
    fn look_at(&mut self, ms: u64, view: View) -> Vec<Effect> {
        self.now = self.begun + Duration::from_millis(ms);
        self.look(view)
    }

    fn fail(&mut self, kind: Kind) -> Vec<Effect> {
        self.give(Event::Failed(Error::new(kind, "it failed")))
    }

    /// How the turn ended, as far as it was seen.
    fn seen_end(&self) -> Option<(Stage, Option<&str>)> {
        match &self.phase {
            Phase::Judging(_, end) => Some((end.stage, end.why.as_deref())),
            _ => None,
        }
    }
}

fn held(effects: &[Effect]) -> Option<Option<&'static str>> {
    let held = |e: &Effect| if let Effect::Hold(h) = e { Some(h.as_ref().map(|h| h.word)) } else { None };
    effects.iter().rev().find_map(held)
}

fn ended(effects: &[Effect]) -> Option<(Stage, Option<&str>)> {
    effects.iter().find_map(|e| match e {
        Effect::End { stage, why, .. } => Some((*stage, why.as_deref())),
        _ => None,
    })
}

fn outcome(stage: Stage) -> Outcome {
    Outcome { stage, why: None, reply: None, trouble: None, notice: None, answered: stage == Stage::Done }
}

fn judged(stage: Stage) -> Judged {
    Judged { outcome: outcome(stage), open: false, busy: false, limit: None }
}

/// The word for a phase in the table below.
fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Waiting(_) => "waiting",
        Phase::Asking { .. } => "asking",
        Phase::Clearing(_) => "clearing",
        Phase::Preparing => "preparing",
        Phase::Marking => "marking",
        Phase::Typing => "typing",
        Phase::Resting(_) => "resting",
        Phase::Running(_) => "running",
        Phase::LookingUp(_) => "looking up",
        Phase::Judging(..) => "judging",
        Phase::Over => "over",
    }
}

/// One of each event, in the order of the table's columns.
fn events() -> Vec<Event> {
    let all = vec![
        Event::Looked(view()),
        Event::Typed(false),
        Event::Cleared,
        Event::Fitted(Fitness::Fit),
        Event::Marked(true),
        Event::Put(Put::Taken),
        Event::Rested,
        Event::LookedUp(LookedUp::Answered),
        Event::Judged(judged(Stage::Done)),
        Event::Failed(Error::new(Kind::Busy, "it failed")),
    ];
    // An event more makes this match incomplete: then it is a column more, too.
    let place = |event: &Event| match event {
        Event::Looked(_) => 0,
        Event::Typed(_) => 1,
        Event::Cleared => 2,
        Event::Fitted(_) => 3,
        Event::Marked(_) => 4,
        Event::Put(_) => 5,
        Event::Rested => 6,
        Event::LookedUp(_) => 7,
        Event::Judged(_) => 8,
        Event::Failed(_) => 9,
    };
    assert_eq!(all.iter().map(place).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    all
}

fn phases() -> Vec<Phase> {
    let now = Instant::now();
    let running = || Running::new(Some(now), now);
    let answers = Waiting::default();
    vec![
        Phase::Idle,
        Phase::Waiting(answers),
        Phase::Asking { answers, unsure: false, limited: false },
        Phase::Clearing(answers),
        Phase::Preparing,
        Phase::Marking,
        Phase::Typing,
        Phase::Resting(LOOK),
        Phase::Running(running()),
        Phase::LookingUp(running()),
        Phase::Judging(running(), Ended { stage: Stage::Done, why: None }),
        Phase::Over,
    ]
}

/// Each phase and what follows in it from each event; `.`: it stays as it is.
const TABLE: &str = "
            looked    typed     cleared fitted  marked put     rested looked-up judged failed
idle        asking    .         .       .       .      .       .      .         .      resting
waiting     asking    .         .       .       .      .       .      .         .      resting
asking      .         preparing .       .       .      .       .      .         .      resting
clearing    .         .         waiting .       .      .       .      .         .      resting
preparing   .         .         .       marking .      .       .      .         .      resting
marking     .         .         .       .       typing .       .      .         .      resting
typing      .         .         .       .       .      running .      .         .      resting
resting     .         .         .       .       .      .       idle   .         .      resting
running     judging   .         .       .       .      .       .      .         .      resting
looking-up  .         .         .       .       .      .       .      running   .      resting
judging     .         .         .       .       .      .       .      .         idle   resting
over        .         .         .       .       .      .       .      .         .      .
";

#[test]
fn every_cell_of_the_table_is_as_it_says() {
    let rows: Vec<Vec<&str>> = TABLE.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), phases().len());
    for (phase, row) in phases().into_iter().zip(rows) {
        assert_eq!(word(&phase).replace(' ', "-"), row[0]);
        for (event, cell) in events().into_iter().zip(&row[1..]) {
            let said = format!("{} and {event:?}", row[0]);
            let (next, effects) = phase.clone().step(event, Instant::now());
            if *cell == "." {
                assert_eq!((&next, effects), (&phase, vec![]), "{said}");
            }
            let expected = if *cell == "." { row[0] } else { cell };
            assert_eq!(word(&next).replace(' ', "-"), expected, "{said}");
        }
    }
}

#[test]
fn a_prompt_goes_its_way_from_the_queue_to_its_end() {
    let mut play = Play::new();
    assert_eq!(play.look(view()), []);
    assert_eq!(play.give(Event::Typed(false)), [Effect::Hold(None)]);
    assert_eq!(play.give(Event::Fitted(Fitness::Fit)), [Effect::Hold(None)]);
    assert_eq!(play.give(Event::Marked(true)), [Effect::ForgetInterrupt, Effect::Notify]);
    let taken = play.give(Event::Put(Put::Taken));
    let delivered = Effect::Report(Step::Delivered);
    let rest = [Effect::Store(Stage::Running), delivered, Effect::NoteInput, Effect::Notify];
    assert_eq!(taken[1..], rest);
    assert_eq!(play.look_at(250, View { under_way: true, ..busy() }), []);
    assert_eq!(play.look_at(900, View { under_way: true, ..view() }), [Effect::ForgetInterrupt]);
    assert_eq!(play.seen_end(), Some((Stage::Done, None)));
    let reply = Some("yes".to_owned());
    let outcome = Outcome { reply: reply.clone(), ..outcome(Stage::Done) };
    let effects = play.give(Event::Judged(Judged { outcome, ..judged(Stage::Done) }));
    let expected = [
        Effect::Learn(News::Answer),
        Effect::Observe,
        Effect::Outdate,
        Effect::NoteReply("yes".into()),
        Effect::End { stage: Stage::Done, why: None, reply },
        Effect::RestartIfPending,
    ];
    assert_eq!(effects, expected);
    assert_eq!(play.phase, Phase::Idle);
    assert_eq!(play.look(View { waiting: 0, ..view() }), []);
    assert_eq!(play.phase, Phase::Idle);
}

#[test]
fn an_empty_queue_waits_and_a_session_that_ended_ends_its_task() {
    let mut play = Play::new();
    play.look(View { waiting: 0, ..view() });
    assert_eq!(play.phase, Phase::Idle);
    play.look(View { over: true, ..view() });
    assert_eq!(play.phase, Phase::Over);
    assert!(play.fail(Kind::Busy).is_empty());
}

#[test]
fn a_prompt_waits_in_every_state_but_ready() {
    let ended = [State::Exited(Exit::Code(0)), State::Stopped];
    for state in [State::Starting, State::Busy, State::Blocked, State::Limited].into_iter().chain(ended) {
        let mut play = Play::new();
        play.look(View { state, ..view() });
        assert_eq!(word(&play.phase), "waiting", "{state}");
        play.look_at(250, view());
        assert_eq!(word(&play.phase), "asking", "{state}");
    }
}

#[test]
fn a_state_from_before_the_last_input_does_not_count() {
    let mut play = Play::new();
    play.look(View { fresh: false, ..view() });
    assert_eq!(word(&play.phase), "waiting");
}

#[test]
fn nothing_goes_while_the_program_is_started_or_ended() {
    let mut play = Play::new();
    play.look(View { changing: true, ..view() });
    assert_eq!(word(&play.phase), "waiting");
}

#[test]
fn what_nobody_sees_into_is_ready_when_it_is_quiet() {
    let unknown = View { state: State::Unknown, ..view() };
    let mut play = Play::new();
    play.look(View { has_rules: false, ..unknown.clone() });
    assert_eq!(word(&play.phase), "asking");
    let mut play = Play::new();
    let effects = play.look(View { unfit: Some("no composer is seen".into()), ..unknown });
    assert_eq!((word(&play.phase), held(&effects)), ("waiting", Some(Some("composer"))));
}

#[test]
fn a_mode_that_is_left_for_a_prompt_may_hide_the_state() {
    let mut play = Play::new();
    play.look(View { state: State::Unknown, may_leave: true, ..view() });
    assert_eq!(word(&play.phase), "asking");
}

#[test]
fn with_turns_off_the_queue_says_so() {
    let mut play = Play::new();
    let effects = play.look(View { turns_on: false, ..view() });
    assert_eq!((word(&play.phase), held(&effects)), ("waiting", Some(Some("turns-off"))));
}

#[test]
fn a_damaged_book_waits_for_a_person() {
    let mut play = Play::new();
    let effects = play.look(View { damaged: true, ..view() });
    assert_eq!((word(&play.phase), held(&effects)), ("waiting", Some(Some("damaged"))));
    play.look_at(250, view());
    assert_eq!(word(&play.phase), "asking");
}

#[test]
fn a_person_who_types_is_waited_for() {
    let mut play = Play::new();
    play.look(view());
    let effects = play.give(Event::Typed(true));
    assert_eq!((word(&play.phase), held(&effects)), ("waiting", Some(Some("draft"))));
}

#[test]
fn prompts_that_were_all_taken_back_hold_nothing_any_more() {
    let mut play = Play::from(Phase::Waiting(Waiting::default()));
    let effects = play.look(View { waiting: 0, ..view() });
    assert_eq!((play.phase, held(&effects)), (Phase::Idle, Some(None)));
}

#[test]
fn another_main_pane_is_looked_at_anew() {
    let mut play = Play::from(Phase::Waiting(Waiting::default()));
    assert_eq!(play.look(View { other_pane: true, ..view() }), []);
    assert_eq!(play.phase, Phase::Resting(LOOK));
    play.give(Event::Rested);
    assert_eq!(play.phase, Phase::Idle);
}

#[test]
fn a_composer_that_may_hold_the_last_prompt_is_emptied_first() {
    let unsure = View { unsure: true, ..view() };
    let mut play = Play::new();
    play.look(unsure.clone());
    assert_eq!(play.give(Event::Typed(false)), []);
    assert_eq!(word(&play.phase), "clearing");
    play.give(Event::Cleared);
    assert_eq!(word(&play.phase), "waiting", "and a fresh look after it");
    // It may be what hides the state.
    play.look(View { state: State::Unknown, ..unsure });
    assert_eq!(word(&play.phase), "asking");
}

#[test]
fn without_a_network_one_prompt_is_tried_when_its_time_has_come() {
    let limited = View { state: State::Limited, ..view() };
    let mut play = Play::new();
    play.look(limited.clone());
    assert_eq!(word(&play.phase), "waiting");
    play.look_at(250, View { may_try: true, ..limited });
    let effects = play.give(Event::Typed(false));
    assert_eq!(effects, [Effect::BeginTry, Effect::Observe, Effect::Hold(None)]);
    assert_eq!(play.phase, Phase::Preparing);
}

#[test]
fn a_try_that_did_not_come_to_typing_is_none() {
    let draft = Fitness::Unfit { held: Some(Held::new("draft", "")), restored: None };
    for fitness in [draft, Fitness::Unfit { held: None, restored: None }, Fitness::Nothing] {
        assert!(Play::from(Phase::Preparing).give(Event::Fitted(fitness)).contains(&Effect::CancelTry));
    }
    assert!(Play::from(Phase::Marking).give(Event::Marked(false)).contains(&Effect::CancelTry));
    for put in [Put::Moved, Put::Back("x".into()), Put::Interrupted, Put::Uncertain("x".into())] {
        assert!(Play::from(Phase::Typing).give(Event::Put(put)).contains(&Effect::CancelTry));
    }
    for phase in [Phase::Preparing, Phase::Marking] {
        assert!(Play::from(phase).fail(Kind::Gone).contains(&Effect::CancelTry));
    }
    assert!(!Play::from(Phase::Typing).give(Event::Put(Put::Taken)).contains(&Effect::CancelTry));
}

#[test]
fn during_a_limit_the_record_is_read_every_five_seconds() {
    let limited = View { state: State::Limited, ..view() };
    let seeks = |effects: Vec<Effect>| {
        effects.iter().find_map(|e| if let Effect::SeekAnswer { anew } = e { Some(*anew) } else { None })
    };
    let mut play = Play::new();
    assert_eq!(seeks(play.look(limited.clone())), Some(true), "where it ends now");
    assert_eq!(seeks(play.look_at(4999, limited.clone())), None);
    assert_eq!(seeks(play.look_at(5000, limited.clone())), Some(false));
    assert_eq!(seeks(play.look_at(9999, limited.clone())), None);
    let other = View { pid: 8, ..limited.clone() };
    assert_eq!(seeks(play.look_at(9999, other)), Some(true), "another process");
    assert_eq!(seeks(play.look_at(20_000, busy())), None, "it is limited no longer");
}

#[test]
fn a_draft_that_an_interrupt_left_is_taken_back() {
    let unfit = |word| Fitness::Unfit { held: Some(Held::new(word, "")), restored: Some(3) };
    let mut play = Play::from(Phase::Preparing);
    let effects = play.give(Event::Fitted(unfit("draft")));
    assert_eq!((&effects[0], held(&effects)), (&Effect::TakeBack(3), Some(Some("draft"))));
    assert_eq!(play.phase, Phase::Resting(LOOK));
    let effects = Play::from(Phase::Preparing).give(Event::Fitted(unfit("composer")));
    assert!(!effects.contains(&Effect::TakeBack(3)));
}

#[test]
fn a_prompt_that_was_withdrawn_is_not_typed() {
    let mut play = Play::from(Phase::Marking);
    play.give(Event::Marked(false));
    assert_eq!(play.phase, Phase::Idle);
}

#[test]
fn a_pane_that_moved_leaves_the_prompt_in_its_queue() {
    let mut play = Play::from(Phase::Typing);
    let effects = play.give(Event::Put(Put::Moved));
    assert!(effects.contains(&Effect::Store(Stage::Queued)) && ended(&effects).is_none());
    assert_eq!(play.phase, Phase::Idle);
}

#[test]
fn a_prompt_that_was_taken_out_again_is_tried_after_five_seconds() {
    let mut play = Play::from(Phase::Typing);
    let effects = play.give(Event::Put(Put::Back("a list stays open".into())));
    assert!(effects.contains(&Effect::Store(Stage::Queued)));
    assert_eq!((held(&effects), &play.phase), (Some(Some("composer")), &Phase::Resting(BACK)));
}

#[test]
fn what_is_not_known_of_a_prompt_ends_it_uncertain() {
    let mut play = Play::from(Phase::Typing);
    let effects = play.give(Event::Put(Put::Uncertain("its text vanished".into())));
    assert_eq!(ended(&effects), Some((Stage::Uncertain, Some("its text vanished"))));
    assert_eq!(play.phase, Phase::Idle);
}

#[test]
fn an_interrupt_before_the_enter_ends_it_interrupted() {
    let mut play = Play::from(Phase::Typing);
    let effects = play.give(Event::Put(Put::Interrupted));
    assert_eq!(ended(&effects), Some((Stage::Interrupted, Some("before it was submitted"))));
    assert!(effects.contains(&Effect::ForgetInterrupt));
}

#[test]
fn a_crash_before_typing_leaves_the_prompt_in_the_queue() {
    for phase in [Phase::Preparing, Phase::Marking] {
        let mut play = Play::from(phase);
        let effects = play.fail(Kind::TimedOut);
        assert_eq!((ended(&effects), &play.phase), (None, &Phase::Resting(LOOK)));
        play.give(Event::Rested);
        play.look(view());
        assert_eq!(word(&play.phase), "asking", "it is tried again");
    }
}

#[test]
fn a_crash_after_typing_takes_the_turn_up_from_the_book() {
    let mut play = Play::from(Phase::Typing);
    play.fail(Kind::TimedOut);
    play.give(Event::Rested);
    assert_eq!(play.look(View { under_way: true, ..busy() }), []);
    assert_eq!(word(&play.phase), "running", "it is not typed again");
    play.look_at(250, View { under_way: true, ..view() });
    assert_eq!(play.seen_end(), Some((Stage::Done, None)));
}

#[test]
fn what_a_daemon_before_this_one_sent_is_followed_and_not_compared() {
    let mut play = Play::new();
    let stale = View { under_way: true, fresh: false, ..view() };
    play.look(stale.clone());
    for ms in [250, 500, 750, 5000] {
        play.look_at(ms, stale.clone());
        assert_eq!(word(&play.phase), "running", "its text is not looked up");
    }
}

#[test]
fn a_failure_is_told_unless_the_server_is_gone() {
    assert_eq!(Play::new().fail(Kind::Gone), []);
    assert_eq!(Play::new().fail(Kind::Full), [Effect::Complain("it failed".into())]);
}

#[test]
fn the_composer_is_ours_from_the_last_look_to_the_pause_after_it() {
    let ours: Vec<_> = phases().iter().filter(|p| p.has_composer()).map(word).collect();
    assert_eq!(ours, ["preparing", "marking", "typing", "resting"]);
}

#[path = "machine_running_tests.rs"]
mod running;
