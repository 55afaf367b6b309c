//! A session's program is started, stopped, restarted and lost.

use super::*;
use crate::session::life::lifecycle::Event;
use crate::session::life::make::Asked;
use crate::session::state::Exit;
use muxfs_tree::base::error::Kind;
use muxfs_tree::base::schema::{Value, Values};

async fn one() -> Lab {
    Lab::new(|world| _ = world.add("a", "id1")).await
}

/// A session whose main pane is gone, beside another pane of it.
async fn without_its_main_pane() -> Lab {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.add_pane("$1");
    })
    .await;
    lab.world().panes.remove("%1");
    lab.changed().await;
    lab
}

/// Its program has ended, and that was seen.
async fn exited(lab: &Lab, code: i32) {
    lab.world().pane("%1").exit(code);
    lab.changed().await;
    lab.state("a", State::Exited(Exit::Code(code))).await;
}

fn record(lab: &Lab) -> Record {
    let (all, _) = lab.sessions.records.store().load();
    all.into_iter().find(|r| r.id == "id1").expect("its record")
}

#[tokio::test]
async fn what_runs_is_not_started() {
    let lab = one().await;
    let error = lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap_err();
    assert_eq!((error.kind, error.text()), (Kind::Busy, "a: it runs"));
    assert_eq!(lab.world().count("respawn-pane"), 0);
}

#[tokio::test]
async fn a_program_that_ended_is_started_again_in_its_pane() {
    let lab = one().await;
    exited(&lab, 1).await;
    let old = lab.get("a").main().fact(|f| f.pid);
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
    let main = lab.get("a").main();
    assert!(main.id == "%1" && main.fact(|f| !f.dead && f.pid != old));
    lab.ready("a").await;
}

#[tokio::test]
async fn a_stop_ends_the_program_and_leaves_the_session() {
    let lab = one().await;
    lab.world().ends = true;
    lab.sessions.life.stop(&lab.get("a")).await.unwrap();
    assert_eq!(lab.get("a").main().seen().state, State::Stopped);
    assert!(record(&lab).stopped && lab.world().count("kill-session") == 0);
    lab.sessions.life.stop(&lab.get("a")).await.unwrap(); // once more is no fault
}

#[tokio::test]
async fn a_stop_is_known_after_a_crash() {
    let mut lab = one().await;
    lab.world().ends = true;
    lab.sessions.life.stop(&lab.get("a")).await.unwrap();
    lab.crash().await;
    lab.state("a", State::Stopped).await;
    lab.world().ends = false;
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
    assert!(!record(&lab).stopped);
    lab.ready("a").await;
}

#[tokio::test]
async fn a_restart_runs_the_program_anew_in_the_same_pane() {
    let lab = one().await;
    let old = lab.get("a").main().fact(|f| f.pid);
    lab.sessions.life.restart(&lab.get("a"), true).await.unwrap();
    let main = lab.get("a").main();
    assert!(main.id == "%1" && main.fact(|f| f.pid) != old);
    lab.sessions.life.restart(&lab.get("a"), true).await.unwrap();
    assert_eq!(lab.world().count("respawn-pane"), 2);
}

#[tokio::test]
async fn what_tmux_thinks_alive_is_not_started() {
    let lab = one().await;
    exited(&lab, 0).await;
    lab.world().fails.push(("respawn-pane", "respawn pane failed: pane a:0.0 still active"));
    let error = lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap_err();
    assert_eq!(error.kind, Kind::Busy, "{error}");
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
}

#[tokio::test]
async fn a_session_of_others_is_not_ours_to_start() {
    let lab = Lab::new(|world| _ = world.add("b", "")).await;
    let (life, b) = (&lab.sessions.life, lab.get("b"));
    assert_eq!(life.start_session(&b, false).await.unwrap_err().kind, Kind::Never);
    assert_eq!(life.restart(&b, false).await.unwrap_err().kind, Kind::Never);
    assert_eq!(life.resume(&b, "latest").await.unwrap_err().kind, Kind::Never);
    assert_eq!(life.remove(&b).await.unwrap_err().kind, Kind::Busy);
    assert_eq!(lab.names(), ["b"]);
}

#[tokio::test]
async fn a_stop_of_others_session_ends_it_whole() {
    let lab = Lab::new(|world| _ = world.add("b", "")).await;
    let b = lab.get("b");
    lab.sessions.life.stop(&b).await.unwrap();
    assert!(b.is_over() && lab.names().is_empty());
}

#[tokio::test]
async fn a_session_that_is_removed_is_forgotten() {
    let lab = one().await;
    let a = lab.get("a");
    lab.sessions.life.remove(&a).await.unwrap();
    assert!(a.is_over() && lab.names().is_empty());
    assert!(lab.sessions.records.store().load().0.is_empty());
}

#[tokio::test]
async fn a_session_that_is_over_is_not_started() {
    let lab = one().await;
    let a = lab.get("a");
    lab.world().end("a");
    lab.changed().await;
    assert_eq!(lab.sessions.life.start_session(&a, false).await.unwrap_err().kind, Kind::Gone);
    assert_eq!(lab.sessions.life.restart(&a, false).await.unwrap_err().kind, Kind::Gone);
    lab.sessions.life.stop(&a).await.unwrap();
}

#[tokio::test]
async fn a_start_after_the_main_pane_was_lost_opens_a_window() {
    let lab = without_its_main_pane().await;
    assert!(lab.get("a").main().is_gone());
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
    let main = lab.get("a").main();
    assert!(!main.is_gone() && main.id != "%2", "{}", main.id);
    assert_eq!(lab.world().count("new-window"), 1);
}

#[tokio::test]
async fn a_window_that_tmux_refuses_leaves_the_pane_lost() {
    let lab = without_its_main_pane().await;
    lab.world().fails.push(("new-window", "no space for a new window"));
    assert!(lab.sessions.life.start_session(&lab.get("a"), false).await.is_err());
    assert!(lab.get("a").main().is_gone());
}

#[tokio::test]
async fn a_server_that_dies_while_a_program_is_started_takes_the_session_along() {
    let mut lab = one().await;
    exited(&lab, 1).await;
    let a = lab.get("a");
    lab.world().breaks = Some("respawn-pane");
    assert!(lab.sessions.life.start_session(&a, false).await.is_err());
    until("its end", || a.is_over()).await;
    lab.peer = connect(&lab.sessions, &lab.world);
    until("the session", || lab.names() == ["a"]).await;
    lab.ready("a").await; // tmux had done it
    assert_eq!(lab.world().count("respawn-pane"), 1, "and it is not done twice");
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_as_its_settings_say() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.session("a").config = "restart = 'on-failure'\n".into();
    })
    .await;
    lab.ready("a").await;
    exited(&lab, 0).await;
    assert_eq!(lab.world().count("respawn-pane"), 0, "this was no failure");
    lab.sessions.life.start_session(&lab.get("a"), false).await.unwrap();
    lab.ready("a").await;
    exited(&lab, 2).await;
    until("its start", || lab.world().count("respawn-pane") == 2).await;
    lab.ready("a").await;
}

#[tokio::test]
async fn a_stop_is_no_end_that_is_followed_by_a_start() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.session("a").config = "restart = 'always'\n".into();
    })
    .await;
    lab.world().ends = true;
    lab.sessions.life.stop(&lab.get("a")).await.unwrap();
    let log = lab.sessions.journal.logs.text.current();
    let log = String::from_utf8_lossy(&log.read_at(0, 1 << 20).unwrap()).into_owned();
    assert!(!log.contains("started again"), "{log}");
}

/// A start that the settings want waits for its time, in which a person may say that there is to be none.
#[tokio::test]
async fn a_stop_takes_back_the_start_that_waits_for_its_time() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.session("a").config = "restart = 'always'\n".into();
    })
    .await;
    lab.ready("a").await;
    exited(&lab, 1).await;
    let session = lab.get("a");
    lab.world().ends = true; // where a second passed before the stop, it runs again
    lab.sessions.life.stop(&session).await.unwrap();
    assert!(record(&lab).stopped);
    let starts = lab.world().count("respawn-pane");
    lab.sessions.life.act(&session, Event::Waited, None).await.unwrap();
    assert_eq!(lab.world().count("respawn-pane"), starts);
    lab.sessions.life.start_session(&session, false).await.unwrap();
    assert!(!record(&lab).stopped, "who starts it again wants it to run");
}

async fn save(lab: &Lab, text: &str) {
    let (life, session, text) = (lab.sessions.life.clone(), lab.get("a"), text.to_owned());
    tokio::task::spawn_blocking(move || life.save_config(&session, text.as_bytes())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_saved_config_restarts_a_program_that_is_ready() {
    let lab = one().await;
    lab.ready("a").await;
    save(&lab, &format!("{SETTINGS}args = ['-v']\n")).await;
    until("the restart", || lab.world().count("respawn-pane") == 1).await;
    until("it to be over", || !lab.get("a").pending_restart()).await;
}

#[tokio::test]
async fn a_saved_config_waits_for_a_program_that_works() {
    let lab = one().await;
    lab.world().pane("%1").status = "working".into();
    lab.sessions.turns.observation.observe(&lab.get("a").main());
    lab.state("a", State::Busy).await;
    save(&lab, &format!("{SETTINGS}args = ['-v']\n")).await;
    assert!(lab.get("a").pending_restart());
    assert_eq!(lab.world().count("respawn-pane"), 0);
    lab.sessions.life.apply_now(&lab.get("a")).await.unwrap();
    assert_eq!(lab.world().count("respawn-pane"), 1);
    lab.sessions.life.apply_now(&lab.get("a")).await.unwrap(); // nothing is pending
    assert_eq!(lab.world().count("respawn-pane"), 1);
}

#[tokio::test]
async fn settings_that_no_program_sees_need_no_restart() {
    let lab = one().await;
    lab.ready("a").await;
    save(&lab, &format!("{SETTINGS}restart = 'always'\n")).await;
    assert!(!lab.get("a").pending_restart() && lab.world().count("respawn-pane") == 0);
}

async fn make(lab: &Lab, name: &str) -> muxfs_tree::base::error::Result<Arc<Session>> {
    let mut set = Values::new();
    set.insert("logs", Value::Bool(false));
    set.insert("agent", Value::Text("puppet".into()));
    let asked = Asked { set: Some(&set), cwd: Some("/"), ..Asked::default() };
    lab.sessions.life.make(&Caller { here: None, ..Caller::own() }, name, asked).await
}

#[tokio::test]
async fn a_session_that_is_made_has_its_record_before_it_is_there() {
    let lab = one().await;
    let made = make(&lab, "new").await.unwrap();
    assert!(made.ours && lab.names() == ["a", "new"]);
    let muxfs_id = lab.world().session("new").muxfs_id.clone();
    assert_eq!(muxfs_id, made.id);
    assert_eq!(make(&lab, "new").await.err().unwrap().kind, Kind::Exists);
}

#[tokio::test]
async fn a_session_that_tmux_refuses_leaves_no_record() {
    let lab = one().await;
    lab.world().fails.push(("new-session", "create session failed: no space"));
    assert!(make(&lab, "new").await.is_err());
    let (all, _) = lab.sessions.records.store().load();
    assert_eq!(all.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_rename_goes_to_tmux_and_a_taken_name_is_refused() {
    let lab = Lab::new(|world| {
        world.add("a", "id1");
        world.add("b", "");
    })
    .await;
    let a = lab.get("a");
    assert_eq!(lab.sessions.life.rename(&a, "b").await.unwrap_err().kind, Kind::Exists);
    lab.sessions.life.rename(&a, "c").await.unwrap();
    assert!(lab.names() == ["b", "c"] && lab.world().session("c").muxfs_id == "id1");
}
