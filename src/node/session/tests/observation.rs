//! What is seen of a server: sessions and panes that come, change and go.

use super::*;
use crate::session::state::{Evidence, Exit};

/// Everything that moved so far.
fn told(moves: &mut broadcast::Receiver<(u64, Moved)>) -> Vec<Moved> {
    std::iter::from_fn(|| moves.try_recv().ok()).map(|(_, moved)| moved).collect()
}

fn session(name: &str) -> Moved {
    Moved::Session(name.into())
}

#[tokio::test]
async fn what_tmux_holds_comes_into_view() {
    let lab = Lab::new(|world| {
        world.add("ours", "id1");
        world.add("theirs", "");
    })
    .await;
    assert_eq!(lab.names(), ["ours", "theirs"]);
    let (ours, theirs) = (lab.get("ours"), lab.get("theirs"));
    assert!(ours.ours && !theirs.ours);
    assert_eq!((ours.id.as_str(), ours.tmux_id().as_str()), ("id1", "$1"));
    assert_eq!(ours.main().agent().as_deref(), Some("puppet"), "by its settings");
    assert_eq!(theirs.panes()[0].0, "0.0");
}

#[tokio::test]
async fn a_notification_has_everything_looked_at() {
    let lab = Lab::new(|world| _ = world.add("a", "")).await;
    lab.world().add("b", "");
    lab.peer.notify("%sessions-changed");
    until("the new session", || lab.names() == ["a", "b"]).await;
    lab.world().end("a");
    lab.peer.notify("%sessions-changed");
    until("the end of the old one", || lab.names() == ["b"]).await;
}

#[tokio::test]
async fn a_rename_is_told_with_both_names() {
    let lab = Lab::new(|world| _ = world.add("old", "id1")).await;
    let (before, mut moves) = (lab.get("old"), lab.moves());
    lab.world().rename("old", "new");
    lab.changed().await;
    assert!(Arc::ptr_eq(&before, &lab.get("new")) && lab.names() == ["new"]);
    let renamed = Moved::Renamed { from: "old".into(), to: "new".into() };
    assert!(told(&mut moves).contains(&renamed));
    assert_eq!(before.record.get(|r| r.name.clone()), "new");
}

#[tokio::test]
async fn of_two_renames_at_once_each_session_follows_its_own() {
    let lab = Lab::new(|world| {
        world.add("a", "");
        world.add("b", "");
    })
    .await;
    let (a, b) = (lab.get("a"), lab.get("b"));
    // b takes the name that a leaves, between two looks.
    lab.world().rename("a", "c");
    lab.world().rename("b", "a");
    lab.changed().await;
    assert_eq!(lab.names(), ["a", "c"]);
    assert!(Arc::ptr_eq(&a, &lab.get("c")) && Arc::ptr_eq(&b, &lab.get("a")));
    assert!(!a.is_over() && !b.is_over());
}

#[tokio::test]
async fn two_that_swap_their_names_are_told_as_names_and_not_as_renames() {
    let lab = Lab::new(|world| {
        world.add("a", "");
        world.add("b", "");
    })
    .await;
    let (a, b, mut moves) = (lab.get("a"), lab.get("b"), lab.moves());
    lab.world().rename("a", "x");
    lab.world().rename("b", "a");
    lab.world().rename("x", "b");
    lab.changed().await;
    assert!(Arc::ptr_eq(&a, &lab.get("b")) && Arc::ptr_eq(&b, &lab.get("a")));
    let told = told(&mut moves);
    assert!(told.contains(&session("a")) && told.contains(&session("b")), "{told:?}");
    let renames = told.iter().filter(|m| matches!(m, Moved::Renamed { .. })).count();
    assert_eq!(renames, 0, "half of a swap would move the other's directory along");
}

#[tokio::test]
async fn three_that_change_names_in_a_ring_are_all_there() {
    let lab = Lab::new(|world| ["a", "b", "c"].iter().for_each(|name| _ = world.add(name, ""))).await;
    let before: Vec<_> = ["a", "b", "c"].map(|name| lab.get(name)).into();
    for (from, to) in [("a", "x"), ("b", "y"), ("c", "z"), ("x", "b"), ("y", "c"), ("z", "a")] {
        lab.world().rename(from, to);
    }
    lab.changed().await;
    for (old, new) in before.iter().zip(["b", "c", "a"]) {
        assert!(Arc::ptr_eq(old, &lab.get(new)), "{new}");
    }
}

#[tokio::test]
async fn a_name_may_go_to_another_session_between_two_looks() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    let first = lab.get("a");
    lab.world().end("a");
    lab.world().add("a", "");
    lab.changed().await;
    let second = lab.get("a");
    assert!(!Arc::ptr_eq(&first, &second) && first.is_over() && !second.ours);
    assert_ne!(first.serial, second.serial);
}

#[tokio::test]
async fn a_session_that_ends_and_comes_again_has_its_record() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    lab.sessions.records.edit(&lab.get("a").record, "a", |r| r.conversation = Some("talk".into()));
    lab.world().end("a");
    lab.changed().await;
    assert!(lab.names().is_empty());
    lab.world().add("a", "id1");
    lab.changed().await;
    assert_eq!(lab.get("a").conversation().as_deref(), Some("talk"));
}

#[tokio::test]
async fn a_main_pane_that_is_gone_stays_the_main_pane() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.add_pane("$1");
    })
    .await;
    let a = lab.get("a");
    assert_eq!((a.main().id.as_str(), a.panes().len()), ("%1", 2));
    lab.world().panes.remove("%1");
    lab.changed().await;
    assert_eq!(a.main().id, "%1");
    let seen = a.main().seen();
    assert!(a.main().is_gone() && seen.evidence == Evidence::PaneGone && seen.state.ended());
}

#[tokio::test]
async fn a_session_without_panes_is_not_shown() {
    let lab = Lab::new(|world| _ = world.add("a", "")).await;
    lab.world().panes.clear();
    lab.changed().await;
    assert!(lab.names().is_empty());
}

#[tokio::test]
async fn a_pane_that_comes_is_told_by_its_name() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    let mut moves = lab.moves();
    lab.world().add_pane("$1");
    lab.changed().await;
    let pane = Moved::Panes { session: "a".into(), name: Some("1.0".into()) };
    assert!(told(&mut moves).contains(&pane));
    assert_eq!(lab.get("a").pane("1.0").unwrap().id, "%2");
}

#[tokio::test]
async fn an_error_of_tmux_changes_nothing_and_is_told() {
    let lab = Lab::new(|world| _ = world.add("a", "")).await;
    lab.world().fails.push(("list-sessions", "server is out of memory"));
    lab.peer.notify("%sessions-changed");
    until("the error", || lab.errors().contains("out of memory")).await;
    assert_eq!(lab.names(), ["a"]);
}

#[tokio::test]
async fn a_list_that_is_not_whole_changes_nothing() {
    let lab = Lab::new(|world| _ = world.add("a", "")).await;
    lab.world().session("a").name = "two\nrows".into();
    lab.changed().await; // a name may hold anything
    assert_eq!(lab.names().len(), 1);
    lab.world().fails.push(("list-panes", "lost"));
    // The engine's own look may be the one that fails.
    if lab.sessions.life.reconciler.refresh().await.is_ok() {
        until("the error", || lab.errors().contains("lost")).await;
    }
    assert_eq!(lab.names().len(), 1);
}

#[tokio::test]
async fn with_the_server_all_of_its_sessions_end() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.add("b", "");
    })
    .await;
    let (a, b) = (lab.get("a"), lab.get("b"));
    lab.peer.hang_up();
    until("their ends", || a.is_over() && b.is_over()).await;
    assert!(lab.names().is_empty() && lab.sessions.connection.server().is_err());
    until("the end of its pane", || a.main().is_gone()).await;
}

#[tokio::test]
async fn a_server_that_comes_back_has_the_same_sessions_anew() {
    let mut lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    let first = lab.get("a");
    lab.peer.hang_up();
    until("its end", || first.is_over()).await;
    lab.peer = connect(&lab.sessions, &lab.world);
    until("the session", || lab.names() == ["a"]).await;
    let second = lab.get("a");
    assert!(second.id == first.id && second.serial != first.serial);
}

#[tokio::test]
async fn a_person_in_our_hidden_session_is_moved_out() {
    let lab = Lab::new(|world| {
        world.add("a", "");
        world.people.push(("/dev/pts/9".into(), "$0".into()));
    })
    .await;
    lab.changed().await;
    until("the move", || lab.world().people[0].1 == "$1").await;
    lab.changed().await;
    assert_eq!(lab.get("a").attached(), 1);
}

#[tokio::test]
async fn an_agent_is_seen_in_each_of_its_states() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    lab.ready("a").await;
    for (status, state) in [("working", State::Busy), ("approve?", State::Blocked), ("limit", State::Limited)]
    {
        lab.world().pane("%1").status = status.into();
        let pane = lab.get("a").main(); // nobody tells of it: it is looked at
        lab.sessions.turns.observation.observe(&pane);
        lab.state("a", state).await;
        assert_eq!(pane.seen().evidence, Evidence::Screen);
    }
}

#[tokio::test]
async fn another_process_in_a_pane_begins_anew() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    lab.ready("a").await;
    lab.world().pane("%1").pid += 1;
    lab.world().pane("%1").status = "nothing known".into();
    lab.changed().await;
    let seen = lab.get("a").main().seen();
    assert_eq!(seen.state, State::Starting, "what was seen of the old one does not count");
}

#[tokio::test]
async fn how_a_program_ended_is_its_state() {
    let lab = Lab::new(|world| _ = world.add("a", "id1")).await;
    lab.world().pane("%1").exit(3);
    lab.changed().await;
    lab.state("a", State::Exited(Exit::Code(3))).await;
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_finished() {
    let mut lab = Lab::new(|world| {
        world.add("a", "id1");
    })
    .await;
    // It has the id in its environment, and not yet our mark.
    {
        let mut world = lab.world();
        world.session("a").muxfs_id.clear();
        world.session("a").made_for = Some("id1".into());
    }
    lab.crash().await;
    until("its mark", || lab.world().session("a").muxfs_id == "id1").await;
    assert!(lab.get("a").ours);
    assert!(lab.errors().contains("tmux said so too late"));
}
