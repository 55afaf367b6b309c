//! Prompts on their way into an agent's pane, and what a crash leaves of each.

use super::*;
use crate::session::state::Exit;
use muxfs_tree::GestureId;
use muxfs_tree::base::error::Kind;

async fn one() -> Lab {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    lab.ready("a").await;
    lab
}

/// The agent is ready again.
fn answers(lab: &Lab) {
    lab.world().pane("%1").status = "idle".into();
}

fn taken(lab: &Lab) -> Vec<String> {
    lab.world().pane("%1").prompts.clone()
}

/// It works on something of its own, and that was seen.
async fn busy(lab: &Lab) {
    lab.world().pane("%1").status = "working".into();
    lab.sessions.turns.observation.observe(&lab.get("a").main());
    lab.state("a", State::Busy).await;
}

#[tokio::test]
async fn a_prompt_is_typed_entered_and_answered() {
    let lab = one().await;
    let turn = lab.prompt("a", "fix it").await;
    assert_eq!(turn.stage, Stage::Queued);
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["fix it"]);
    answers(&lab);
    let turn = lab.stage("a", &turn, Stage::Done).await;
    assert!(turn.sent.is_some() && turn.ended >= turn.sent && turn.why.is_none(), "{:?}", turn.why);
}

#[tokio::test]
async fn prompts_go_one_at_a_time_in_their_order() {
    let lab = one().await;
    let first = lab.prompt("a", "one").await;
    let second = lab.prompt("a", "two").await;
    lab.stage("a", &first, Stage::Running).await;
    assert_eq!(taken(&lab), ["one"]);
    answers(&lab);
    lab.stage("a", &first, Stage::Done).await;
    lab.stage("a", &second, Stage::Running).await;
    assert_eq!(taken(&lab), ["one", "two"]);
}

#[tokio::test]
async fn two_sessions_have_their_turns_at_once() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.add("b", "id2");
    })
    .await;
    let (a, b) = (lab.prompt("a", "for a").await, lab.prompt("b", "for b").await);
    lab.stage("a", &a, Stage::Running).await;
    lab.stage("b", &b, Stage::Running).await;
    assert_eq!(lab.world().pane("%2").prompts, ["for b"]);
}

#[tokio::test]
async fn a_prompt_waits_while_the_agent_works_or_asks() {
    for status in ["working", "approve?"] {
        let lab = one().await;
        lab.world().pane("%1").status = status.into();
        let main = lab.get("a").main();
        lab.sessions.turns.observation.observe(&main);
        until("it to be seen", || main.seen().state != State::Ready).await;
        let turn = lab.prompt("a", "later").await;
        assert_eq!(lab.world().count("paste-buffer"), 0);
        answers(&lab);
        lab.stage("a", &turn, Stage::Running).await;
    }
}

#[tokio::test]
async fn a_draft_is_waited_for_and_said() {
    let lab = one().await;
    lab.world().pane("%1").composer = "my own words".into();
    let turn = lab.prompt("a", "later").await;
    let main = lab.get("a").main();
    until("the reason", || main.held().is_some_and(|held| held.word == "draft")).await;
    assert_eq!(lab.world().pane("%1").composer, "my own words");
    lab.world().pane("%1").composer.clear();
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["later"]);
}

#[tokio::test]
async fn a_pane_that_moved_before_the_first_byte_is_typed_into_once() {
    let lab = one().await;
    lab.world().moves = 1;
    let turn = lab.prompt("a", "once").await;
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["once"]);
}

#[tokio::test]
async fn an_enter_waits_until_the_pane_stands_as_it_was_seen() {
    let lab = one().await;
    lab.world().pane("%1").shows = false;
    let turn = lab.prompt("a", "once").await;
    lab.stage("a", &turn, Stage::Typing).await;
    until("the paste", || lab.world().count("paste-buffer") == 1).await;
    {
        let mut world = lab.world();
        world.moves = 3;
        world.pane("%1").composer = "once".into();
    }
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!((taken(&lab), lab.world().moves), (vec!["once".to_owned()], 0));
}

#[tokio::test]
async fn a_question_holds_the_enter_and_the_prompt_stays_there() {
    let lab = one().await;
    lab.world().pane("%1").shows = false;
    let turn = lab.prompt("a", "after it").await;
    until("the paste", || lab.world().count("paste-buffer") == 1).await;
    {
        let mut world = lab.world();
        world.pane("%1").status = "approve?".into();
        world.pane("%1").composer = "after it".into();
    }
    let main = lab.get("a").main();
    until("the reason", || main.held().is_some_and(|held| held.word == "dialog")).await;
    assert!(taken(&lab).is_empty());
    answers(&lab);
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["after it"]);
}

#[tokio::test]
async fn an_interrupt_while_it_is_typed_takes_it_out() {
    let lab = one().await;
    lab.world().pane("%1").takes = false;
    lab.world().pane("%1").shows = false;
    let turn = lab.prompt("a", "not this").await;
    lab.stage("a", &turn, Stage::Typing).await;
    until("the paste", || lab.world().count("paste-buffer") == 1).await;
    lab.sessions.turns.interrupt(&lab.get("a")).await.unwrap();
    let turn = lab.stage("a", &turn, Stage::Uncertain).await;
    assert_eq!(turn.why.as_deref(), Some("it was interrupted while it was typed"));
    assert!(!lab.world().pane("%1").keys.iter().any(|key| key == "Enter"));
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_under_way() {
    let lab = one().await;
    let turn = lab.prompt("a", "stop it").await;
    lab.stage("a", &turn, Stage::Running).await;
    lab.state("a", State::Busy).await;
    lab.sessions.turns.interrupt(&lab.get("a")).await.unwrap();
    lab.stage("a", &turn, Stage::Interrupted).await;
    assert!(lab.world().pane("%1").keys.iter().any(|key| key == "Escape"));
}

#[tokio::test]
async fn a_program_that_ends_fails_its_turn_and_the_next_one_waits() {
    let lab = one().await;
    let first = lab.prompt("a", "one").await;
    let second = lab.prompt("a", "two").await;
    lab.stage("a", &first, Stage::Running).await;
    lab.world().pane("%1").exit(3);
    lab.changed().await;
    let first = lab.stage("a", &first, Stage::Failed).await;
    assert_eq!(first.why.as_deref(), Some("exited 3"));
    lab.state("a", State::Exited(Exit::Code(3))).await;
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
    lab.stage("a", &second, Stage::Running).await;
    assert_eq!(taken(&lab), ["two"]);
}

#[tokio::test]
async fn a_program_that_is_started_anew_fails_the_turn_of_the_old_one() {
    let lab = one().await;
    let turn = lab.prompt("a", "one").await;
    lab.stage("a", &turn, Stage::Running).await;
    lab.state("a", State::Busy).await;
    lab.sessions.life.restart(&lab.get("a"), true).await.unwrap();
    let turn = lab.stage("a", &turn, Stage::Failed).await;
    assert_eq!(turn.why.as_deref(), Some("started anew"));
}

#[tokio::test]
async fn a_session_that_ends_fails_its_turn() {
    let lab = one().await;
    let turn = lab.prompt("a", "one").await;
    let turn = lab.stage("a", &turn, Stage::Running).await;
    let a = lab.get("a");
    lab.world().end("a");
    lab.changed().await;
    let turn = staged(&a, &turn, Stage::Failed).await;
    assert!(turn.why.is_some());
}

#[tokio::test]
async fn a_question_suspends_a_turn_and_does_not_end_it() {
    let lab = one().await;
    let turn = lab.prompt("a", "one").await;
    lab.stage("a", &turn, Stage::Running).await;
    lab.world().pane("%1").status = "approve?".into();
    lab.state("a", State::Blocked).await;
    assert_eq!(lab.stage("a", &turn, Stage::Running).await.ended, None);
    answers(&lab);
    lab.stage("a", &turn, Stage::Done).await;
}

#[tokio::test]
async fn a_turn_that_lasts_too_long_is_given_up() {
    let lab = Lab::with("[turns]\nmax = '300ms'\n", |world| _ = world.add("a", "id1")).await;
    lab.ready("a").await;
    let turn = lab.prompt("a", "for ever").await;
    let turn = lab.stage("a", &turn, Stage::TimedOut).await;
    assert!(turn.why.is_some_and(|why| why.starts_with("it lasted")));
}

#[tokio::test]
async fn a_prompt_that_waits_can_be_taken_back_and_one_under_way_cannot() {
    let lab = one().await;
    let first = lab.prompt("a", "one").await;
    let second = lab.prompt("a", "two").await;
    lab.stage("a", &first, Stage::Running).await;
    let (turns, a) = (&lab.sessions.turns, lab.get("a"));
    turns.withdraw(&a, &second).await.unwrap();
    assert_eq!(turns.withdraw(&a, &first).await.unwrap_err().kind, Kind::Busy);
    assert_eq!(turns.withdraw(&a, &second).await.unwrap_err().kind, Kind::Busy);
    answers(&lab);
    lab.stage("a", &first, Stage::Done).await;
    assert_eq!(taken(&lab), ["one"]);
}

#[tokio::test]
async fn a_queue_is_cleared_but_for_what_is_under_way() {
    let lab = one().await;
    let first = lab.prompt("a", "one").await;
    lab.stage("a", &first, Stage::Running).await;
    for text in ["two", "three"] {
        lab.prompt("a", text).await;
    }
    lab.sessions.turns.clear_queue(&lab.get("a")).await.unwrap();
    assert_eq!(lab.get("a").turns.load(), (0, true));
}

#[tokio::test]
async fn a_prompt_that_waits_can_have_another_name() {
    let lab = one().await;
    busy(&lab).await;
    let turn = lab.prompt("a", "one").await;
    let (turns, a) = (&lab.sessions.turns, lab.get("a"));
    turns.rename_turn(&a, &turn, "mine".into()).await.unwrap();
    assert_eq!(a.turns.book().unwrap().get("mine").map(|t| t.number), Some(turn.number));
    answers(&lab);
    let turn = lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(turn.name, "mine");
}

#[tokio::test]
async fn a_gesture_that_is_sent_twice_is_one_prompt() {
    let mut lab = one().await;
    busy(&lab).await;
    let gesture = Gesture::of(&Caller::own()).with_id(GestureId(7));
    let a = lab.get("a");
    let first = lab.gesture("a", gesture.clone(), "one").await;
    let second = lab.gesture("a", gesture.clone(), "one").await;
    assert_eq!((first.number, a.turns.load()), (second.number, (1, false)));
    lab.crash().await;
    let a = lab.get("a");
    until("the book", || a.turns.load().0 == 1).await;
    let third = lab.gesture("a", gesture, "one").await;
    assert_eq!((first.number, a.turns.load().0), (third.number, 1));
}

#[tokio::test]
async fn who_waits_for_its_delivery_hears_of_it() {
    let lab = one().await;
    let (turns, a) = (&lab.sessions.turns, lab.get("a"));
    let turn = lab.prompt("a", "one").await;
    turns.until_delivered(&a, &turn).await.unwrap();
    assert_eq!(taken(&lab), ["one"]);
}

#[tokio::test]
async fn after_a_crash_an_accepted_prompt_goes_once() {
    let mut lab = one().await;
    busy(&lab).await;
    let turn = lab.prompt("a", "kept").await;
    lab.crash().await;
    let a = lab.get("a");
    until("the book", || a.turns.load() == (1, false)).await;
    answers(&lab);
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["kept"]);
    answers(&lab);
    lab.stage("a", &turn, Stage::Done).await;
}

#[tokio::test]
async fn after_a_crash_while_it_was_typed_a_prompt_is_uncertain_and_not_sent_again() {
    let mut lab = one().await;
    lab.world().pane("%1").shows = false;
    let turn = lab.prompt("a", "half").await;
    lab.stage("a", &turn, Stage::Typing).await;
    until("the paste", || lab.world().count("paste-buffer") == 1).await;
    lab.crash().await;
    let a = lab.get("a");
    until("the book", || a.turns.book().is_some()).await;
    let turn = lab.stage("a", &turn, Stage::Uncertain).await;
    assert_eq!(turn.why.as_deref(), Some("muxfs ended while it was typed"));
    assert_eq!((lab.world().count("paste-buffer"), a.turns.load()), (1, (0, false)));
}

#[tokio::test]
async fn after_a_crash_what_the_prompt_left_in_the_composer_is_cleared_before_the_next() {
    let mut lab = one().await;
    lab.world().pane("%1").shows = false;
    let first = lab.prompt("a", "left behind").await;
    until("the paste", || lab.world().count("paste-buffer") == 1).await;
    {
        let mut world = lab.world();
        world.pane("%1").status = "approve?".into(); // it holds the Enter
        world.pane("%1").composer = "left behind".into();
    }
    lab.crash().await;
    lab.world().pane("%1").shows = true;
    answers(&lab);
    let a = lab.get("a");
    until("the book", || a.turns.book().is_some()).await;
    lab.stage("a", &first, Stage::Uncertain).await;
    let second = lab.prompt("a", "next").await;
    lab.stage("a", &second, Stage::Running).await;
    assert_eq!(taken(&lab), ["next"]);
}

#[tokio::test]
async fn after_a_crash_a_turn_under_way_is_followed_to_its_end() {
    let mut lab = one().await;
    let turn = lab.prompt("a", "long work").await;
    lab.stage("a", &turn, Stage::Running).await;
    lab.crash().await;
    let a = lab.get("a");
    until("the book", || a.turns.load() == (0, true)).await;
    answers(&lab);
    lab.stage("a", &turn, Stage::Done).await;
    assert_eq!(taken(&lab), ["long work"]);
}

#[tokio::test]
async fn a_turn_that_ended_while_nobody_looked_is_done_after_a_crash() {
    let mut lab = one().await;
    let turn = lab.prompt("a", "quick").await;
    lab.stage("a", &turn, Stage::Running).await;
    answers(&lab);
    lab.crash().await;
    let a = lab.get("a");
    until("the book", || a.turns.book().is_some()).await;
    until("its end", || a.turns.load() == (0, false)).await;
    assert_eq!(taken(&lab), ["quick"]);
}

#[tokio::test]
async fn a_server_that_dies_with_the_text_on_its_way_leaves_the_prompt_uncertain() {
    let mut lab = one().await;
    let a = lab.get("a");
    lab.world().breaks = Some("paste-buffer");
    let turn = lab.prompt("a", "cut off").await;
    staged(&a, &turn, Stage::Uncertain).await;
    until("its end", || a.is_over()).await;
    lab.peer = connect(&lab.sessions, &lab.world);
    until("the session", || lab.names() == ["a"]).await;
    assert_eq!(lab.world().count("paste-buffer"), 1, "it is never sent again");
}

#[tokio::test]
async fn a_server_that_dies_at_the_enter_leaves_the_prompt_uncertain() {
    let lab = one().await;
    let a = lab.get("a");
    lab.world().breaks = Some("send-keys");
    let turn = lab.prompt("a", "at the Enter").await;
    staged(&a, &turn, Stage::Uncertain).await;
    assert_eq!(taken(&lab), ["at the Enter"], "it was taken, which nobody could see");
}

#[tokio::test]
async fn after_a_server_that_died_before_it_was_typed_a_prompt_goes_to_the_next_one() {
    let mut lab = one().await;
    busy(&lab).await;
    let (a, turn) = (lab.get("a"), lab.prompt("a", "kept").await);
    lab.peer.hang_up();
    until("its end", || a.is_over()).await;
    answers(&lab);
    lab.peer = connect(&lab.sessions, &lab.world);
    until("the session", || lab.names() == ["a"]).await;
    let a = lab.get("a");
    until("the book", || a.turns.book().is_some()).await;
    lab.stage("a", &turn, Stage::Running).await;
    assert_eq!(taken(&lab), ["kept"]);
}
