//! What keeps an agent from working: told by its record, its hooks or its screen, it ends the turn and
//! holds the queue, until its time or until the agent is seen to work.

use super::support::{Lab, Mount, until, until_true};
use super::turns::{Fakes, logged};

const LOGIN: &str = "FAULT(Not logged in · Please run /login)";

/// The prompt that waits is not typed, though the agent is looked at again and again.
fn holds(f: &Fakes, taken: usize) {
    for _ in 0..3 {
        let seen = f.status("fake", "seen");
        until_true("it was looked at again", || f.status("fake", "seen") > seen);
    }
    assert_eq!((f.taken().len(), f.status("fake", "queue").as_str()), (taken, "1"));
}

#[test]
fn a_notice_in_the_place_of_an_answer_holds_the_queue() {
    for (words, reason) in [
        (LOGIN, "login"),
        ("FAULT(There is an issue with the selected model)", "model"),
        ("FAULT(Unable to connect: connection refused)", "network"),
        ("FAULT(You have hit your limit)", "usage"),
    ] {
        let f = logged("--claude-history");
        f.session("fake");
        let m = &f.mount;
        m.sh(&format!("echo '{words}' > fake/input; echo 'SAY(next)' > fake/input"));
        assert_eq!(m.read("fake/turns/0001/wait"), "limited\n");
        assert_eq!(m.read("fake/turns/0001/reply"), "", "a notice is no answer");
        f.until_state("fake", "limited");
        assert_eq!((f.status("fake", "why").as_str(), m.read("fake/wait").as_str()), (reason, "limited\n"));
        holds(&f, 1);
        // Another process is another matter; what waited goes to it.
        m.sh("echo restart > fake/ctl");
        assert_eq!(m.read("fake/turns/0002/wait"), "done\n", "{reason}");
        assert_eq!((f.status("fake", "state").as_str(), f.status("fake", "why").as_str()), ("ready", "-"));
    }
}

#[test]
fn a_limit_with_a_time_ends_at_it() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo 'FAULT(You have hit your limit · resets in 6s)' > fake/input; echo 'SAY(next)' > fake/input");
    assert_eq!(m.read("fake/turns/0001/wait"), "limited\n");
    let time = |text: String| text.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}"));
    let end = until("its time is told", || Some(f.status("fake", "until")).filter(|u| u != "-"));
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    assert!(time(f.turn("0002", "sent")) >= time(end));
}

#[test]
fn an_answer_to_somebody_at_the_terminal_ends_a_limit() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    m.sh(&format!("echo '{LOGIN}' > fake/input; echo 'SAY(next)' > fake/input"));
    assert_eq!(m.read("fake/turns/0001/wait"), "limited\n");
    let by_hand = |text: &str| {
        f.lab().tmux_ok(&["send-keys", "-t", "fake", "-l", text]);
        until_true("it shows", || m.read("fake/screen").contains(&format!("> {text}")));
        f.lab().tmux_ok(&["send-keys", "-t", "fake", "Enter"]);
    };
    // One that fails as well ends nothing.
    by_hand("FAULT(Not logged in)");
    until_true("it is taken", || f.taken().len() == 2);
    holds(&f, 2);
    by_hand("SAY(logged in)");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken().len(), 4);
}

/// An agent that keeps no records and has hooks.
fn hooked() -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    Fakes::hook_up(&lab);
    let args = format!("--log {}", lab.path("taken").display());
    Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) }
}

#[test]
fn a_limit_outlives_the_daemon() {
    for (mut f, evidence) in [(logged("--claude-history"), "agent file"), (hooked(), "hook")] {
        f.session("fake");
        f.mount.sh(&format!("echo '{LOGIN}' > fake/input; echo 'SAY(next)' > fake/input"));
        assert_eq!(f.mount.read("fake/turns/0001/wait"), "limited\n");
        f.mount.kill9();
        f.mount.start_again();
        f.until_state("fake", "limited");
        assert_eq!(
            (f.status("fake", "why").as_str(), f.status("fake", "evidence").as_str()),
            ("login", evidence)
        );
        holds(&f, 1);
        // Rules that are read again know it still.
        f.mount.sh("echo reload > ctl");
        holds(&f, 1);
        // It was told of one process alone.
        f.mount.sh("echo restart > fake/ctl");
        assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
        f.mount.kill9();
        f.mount.start_again();
        f.until_state("fake", "ready");
    }
}

#[test]
fn a_limit_ends_at_its_time_also_after_a_crash() {
    let mut f = logged("--claude-history");
    f.session("fake");
    f.mount.sh(
        "echo 'FAULT(You have hit your limit · resets in 8s)' > fake/input; echo 'SAY(next)' > fake/input",
    );
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "limited\n");
    let end = until("its time is told", || Some(f.status("fake", "until")).filter(|u| u != "-"));
    f.mount.kill9();
    f.mount.start_again();
    until_true("it is told still", || {
        f.status("fake", "until") == end || f.status("fake", "state") == "ready"
    });
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    let time = |text: String| text.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}"));
    assert!(time(f.turn("0002", "sent")) >= time(end));
}

#[test]
fn a_hook_tells_of_a_limit_where_no_record_does() {
    let f = hooked();
    f.session("fake");
    let m = &f.mount;
    m.sh(&format!("echo '{LOGIN}' > fake/input; echo 'SAY(next)' > fake/input"));
    assert_eq!(m.read("fake/turns/0001/wait"), "limited\n");
    assert_eq!((f.status("fake", "why").as_str(), f.status("fake", "evidence").as_str()), ("login", "hook"));
    holds(&f, 1);
}

#[test]
fn an_error_that_is_no_limit_holds_nothing() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo 'FAULT(Prompt is too long)' > fake/input; echo 'SAY(You have hit your limit, I say)' > fake/input");
    assert_eq!(m.read("fake/turns/0001/wait"), "failed\n");
    assert_eq!(m.read("fake/turns/0002/wait"), "limited\n", "an answer that is itself a notice");
    m.sh("echo restart > fake/ctl; echo 'SAY(it says: You have hit your limit)' > fake/input");
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n", "one that quotes a notice");
}
