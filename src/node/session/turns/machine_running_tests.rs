//! A turn that the agent has: its end, its limits, and what is learned from it.

use super::*;

#[test]
fn a_turn_ends_when_a_fresh_look_finds_the_agent_ready() {
    let mut play = Play::running();
    play.look_at(100, View { fresh: false, ..view() });
    assert_eq!(word(&play.phase), "running", "ready from before it");
    play.look_at(200, view());
    assert_eq!(play.seen_end(), Some((Stage::Done, None)));
}

#[test]
fn an_interrupted_turn_ends_interrupted() {
    let mut play = Play::running();
    let effects = play.look_at(100, View { interrupted: true, ..view() });
    assert_eq!(play.seen_end(), Some((Stage::Interrupted, None)));
    assert_eq!(effects, [Effect::ForgetInterrupt]);
    let effects = play.give(Event::Judged(judged(Stage::Interrupted)));
    assert!(effects.contains(&Effect::Interrupted));
}

#[test]
fn a_quiet_program_without_an_agent_is_done() {
    let quiet = View { state: State::Unknown, ..view() };
    let mut play = Play::running();
    play.look_at(100, quiet.clone());
    assert_eq!(word(&play.phase), "running", "an agent that is not made out");
    play.look_at(200, View { has_agent: false, ..quiet });
    assert_eq!(play.seen_end(), Some((Stage::Done, None)));
}

#[test]
fn a_program_that_ends_fails_its_turn() {
    let mut play = Play::running();
    play.look_at(100, View { state: State::Exited(Exit::Code(3)), ..view() });
    assert_eq!(play.seen_end(), Some((Stage::Failed, Some("exited 3"))));
    let mut play = Play::running();
    play.look_at(100, busy());
    play.look_at(200, View { pid: 8, ..view() });
    assert_eq!(play.seen_end(), Some((Stage::Failed, Some("started anew"))));
    let mut play = Play::running();
    play.look_at(100, View { gone: true, ..busy() });
    assert_eq!(play.seen_end(), Some((Stage::Failed, Some("started anew"))));
}

#[test]
fn a_session_that_ends_fails_its_turn() {
    let mut play = Play::running();
    let effects = play.look_at(100, View { over: true, ..busy() });
    assert_eq!(ended(&effects), Some((Stage::Failed, Some("the session ended"))));
    play.look(View { over: true, ..busy() });
    assert_eq!(play.phase, Phase::Over);
}

#[test]
fn a_question_suspends_a_turn_and_is_reported_once() {
    let blocked = View { state: State::Blocked, ..view() };
    let mut play = Play::running();
    assert_eq!(play.look_at(100, blocked.clone()), [Effect::Report(Step::Suspended)]);
    assert_eq!(play.look_at(200, blocked.clone()), []);
    play.look_at(300, busy());
    assert_eq!(play.look_at(400, blocked), [Effect::Report(Step::Suspended)]);
    assert_eq!(word(&play.phase), "running");
}

#[test]
fn a_limit_ends_a_turn_when_it_stands_for_two_seconds() {
    let limited = View { state: State::Limited, limit: Some(Reason::Usage), ..view() };
    let mut play = Play::running();
    play.look_at(0, limited.clone());
    play.look_at(1999, limited.clone());
    assert_eq!(word(&play.phase), "running");
    play.look_at(2000, limited.clone());
    assert_eq!(play.seen_end(), Some((Stage::Limited, Some("a usage limit was reached"))));
    // One that goes away in between begins anew.
    let mut play = Play::running();
    play.look_at(0, limited.clone());
    play.look_at(1000, busy());
    play.look_at(1500, limited.clone());
    play.look_at(3000, limited);
    assert_eq!(word(&play.phase), "running");
}

#[test]
fn an_agent_that_goes_on_by_itself_has_not_ended_the_turn() {
    let goes_on = View { state: State::Limited, ..view() };
    let mut play = Play::running();
    for second in 0..20 {
        play.look_at(second * 1000, goes_on.clone());
    }
    assert_eq!(word(&play.phase), "running");
}

#[test]
fn a_turn_without_a_sign_of_work_is_given_up_after_its_hold() {
    let silent = |quiet| View { quiet: s(quiet), hold: s(5), ..busy() };
    let mut play = Play::running();
    play.look_at(4999, silent(4));
    play.look_at(5000, silent(4));
    assert_eq!(word(&play.phase), "running", "it worked a moment ago");
    play.look_at(5250, silent(5));
    assert_eq!(play.seen_end(), Some((Stage::TimedOut, Some("no sign of work for 5 s"))));
    let mut play = Play::running();
    play.look_at(4999, silent(60));
    assert_eq!(word(&play.phase), "running", "what was quiet before it is not counted");
}

#[test]
fn a_turn_lasts_no_longer_than_its_most() {
    let view = View { max: Some(s(60)), ..busy() };
    let mut play = Play::running();
    play.look_at(59_999, view.clone());
    assert_eq!(word(&play.phase), "running");
    play.look_at(60_000, view);
    assert_eq!(play.seen_end(), Some((Stage::TimedOut, Some("it lasted 60 s"))));
}

#[test]
fn time_that_waits_for_a_person_or_a_reset_counts_for_nothing() {
    for state in [State::Blocked, State::Limited] {
        let away = View { state, max: Some(s(60)), ..view() };
        let works = View { max: Some(s(60)), ..busy() };
        let mut play = Play::running();
        play.look_at(10_000, works.clone());
        for second in 11..=1000 {
            play.look_at(second * 1000, away.clone());
        }
        assert_eq!(word(&play.phase), "running", "{state}");
        play.look_at(1_049_000, works.clone());
        assert_eq!(word(&play.phase), "running", "{state}: 59 s");
        play.look_at(1_050_000, works);
        assert_eq!(play.seen_end(), Some((Stage::TimedOut, Some("it lasted 60 s"))), "{state}");
    }
}

#[test]
fn an_agent_that_looks_idle_is_looked_up_twice_a_second() {
    let idle = View { fresh: false, ..view() };
    let mut play = Play::running();
    play.look_at(499, idle.clone());
    assert_eq!(word(&play.phase), "running");
    play.look_at(500, idle.clone());
    assert_eq!(word(&play.phase), "looking up");
    assert_eq!(play.give(Event::LookedUp(LookedUp::Open { holds: false })), []);
    play.look_at(999, idle.clone());
    assert_eq!(word(&play.phase), "running");
    play.look_at(1000, idle);
    assert_eq!(word(&play.phase), "looking up");
}

#[test]
fn an_answer_in_the_record_is_told() {
    let mut play = Play::running();
    play.look_at(500, View { fresh: false, ..view() });
    assert_eq!(play.give(Event::LookedUp(LookedUp::Answered)), [Effect::Answered]);
    assert_eq!(word(&play.phase), "running");
}

#[test]
fn enter_is_pressed_three_times_again_and_then_it_is_uncertain() {
    let idle = View { fresh: false, ..view() };
    let mut play = Play::running();
    for n in 1..=ENTERS {
        play.look_at(u64::from(n) * 500, idle.clone());
        assert_eq!(play.give(Event::LookedUp(LookedUp::Open { holds: true })), [Effect::PressAgain]);
    }
    play.look_at(5000, idle);
    assert_eq!(play.give(Event::LookedUp(LookedUp::Open { holds: true })), []);
    let why = "it stands in the composer; no Enter was taken";
    assert_eq!(play.seen_end(), Some((Stage::Uncertain, Some(why))));
}

#[test]
fn between_two_attempts_of_its_own_an_agent_goes_on() {
    let open = Judged { open: true, busy: true, ..judged(Stage::Done) };
    let mut play = Play::running();
    play.look_at(100, view());
    assert_eq!(play.give(Event::Judged(open.clone())), []);
    assert_eq!(word(&play.phase), "running");
    // Its limits count from when it was sent.
    play.look_at(60_000, View { max: Some(s(60)), ..busy() });
    assert_eq!(play.seen_end().map(|(stage, _)| stage), Some(Stage::TimedOut));
    assert!(ended(&play.give(Event::Judged(open))).is_some(), "a turn that was given up does not go on");
}

#[test]
fn what_a_turns_end_says_of_limits_is_learned() {
    let limit = Limit { reason: Reason::Network, by: Evidence::Screen, since: Instant::now(), until: None };
    let learned = |end: Stage, judged: Judged| {
        let phase = Phase::Judging(Running::new(None, Instant::now()), Ended { stage: end, why: None });
        Play::from(phase).give(Event::Judged(judged))
    };
    let notice = Outcome { notice: Some("no network".into()), ..outcome(Stage::Limited) };
    let with = |outcome| Judged { limit: Some(limit), ..Judged { outcome, ..judged(Stage::Limited) } };
    let effects = learned(Stage::Done, with(notice));
    assert_eq!(effects[0], Effect::Learn(News::Notice("no network".into())));
    assert!(effects.contains(&Effect::Settle), "on disk before the turn is over");
    let effects = learned(Stage::Limited, with(outcome(Stage::Limited)));
    assert_eq!(effects[0], Effect::Learn(News::Limit(limit)));
    let effects = learned(Stage::Failed, with(outcome(Stage::Failed)));
    assert_eq!(effects[0], Effect::Learn(News::Nothing));
    assert!(!effects.contains(&Effect::Settle));
    let effects = learned(Stage::Done, judged(Stage::Done));
    assert_eq!(effects[0], Effect::Learn(News::Answer));
}

#[test]
fn what_is_odd_about_a_turn_that_is_done_is_told() {
    let odd = Outcome { trouble: Some("another text".into()), ..outcome(Stage::Done) };
    let mut play = Play::running();
    play.look_at(100, view());
    let effects = play.give(Event::Judged(Judged { outcome: odd, ..judged(Stage::Done) }));
    let told = effects.iter().position(|e| *e == Effect::Trouble("another text".into()));
    let end = effects.iter().position(|e| matches!(e, Effect::End { .. }));
    assert!(told < end && told.is_some(), "{effects:?}");
}
