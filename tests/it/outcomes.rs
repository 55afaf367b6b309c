//! How turns end, on a fake agent that keeps records as Claude Code does: what a person stopped, what
//! the record has, what is no answer.

use super::support::{Lab, Mount};
use super::turns::{Fakes, logged};

#[test]
fn an_agent_that_writes_no_history_is_waited_for_once() {
    let lab = Fakes::prepared(Lab::new());
    Fakes::records(&lab);
    let args = format!("--log {} --busy 500", lab.path("taken").display());
    let f = Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) };
    f.session("fake");
    let m = &f.mount;
    m.sh("for n in 1 2 3 4 5; do echo prompt $n > fake/input; done");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    // Each would wait 2 s for a file that nobody writes; a busy machine may take as long now and then.
    let took = [2, 3, 4, 5].map(|n| {
        let begun = std::time::Instant::now();
        m.read(&format!("fake/turns/000{n}/wait"));
        begun.elapsed()
    });
    assert!(took.iter().min().unwrap().as_secs() < 2, "{took:?}");
    // Its records can be read, were they there: what the screen shows is no answer.
    assert_eq!((m.read("fake/reply").as_str(), f.taken().len()), ("", 5));
    let status = m.read("fake/turns/0005/status");
    assert!(
        status.contains("no%20record%20of%20the%20agent's") || status.contains("no record of the agent's"),
        "{status}"
    );
}

/// A person at the terminal stops it or says no: no verb of ours, and no hook tells.
#[test]
fn what_a_person_stops_or_refuses_is_interrupted() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo SLOW20000 long > fake/input");
    f.until_state("fake", "busy");
    f.lab().tmux_ok(&["send-keys", "-t", "fake", "Escape"]);
    assert_eq!(m.read("fake/turns/0001/wait"), "interrupted\n");
    m.sh("echo ASK > fake/input; echo 'SAY(goes on)' > fake/input");
    f.until_state("fake", "blocked");
    m.sh("echo 'answer 2' > fake/ctl");
    assert_eq!(m.read("fake/turns/0002/wait"), "interrupted\n");
    assert_eq!(m.read("fake/turns/0002/reply"), "", "the screen's rows are no answer");
    assert!(f.turn("0002", "why").contains("stopped"), "{}", f.turn("0002", "why"));
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    assert_eq!(m.read("fake/turns/0003/reply"), "goes on\n");
    assert_eq!(m.read("errors"), "");
}

#[test]
fn the_record_says_what_the_agent_got() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    // What begins like a path is a prompt, and has its answer.
    m.sh("echo '/tmp/x is a directory, SAY(one) please' > fake/input; cat fake/wait");
    assert_eq!((m.read("fake/reply").as_str(), f.turn("0001", "state").as_str()), ("one\n", "done"));
    m.sh("echo 'FAULT(the model broke)' > fake/input; echo 'SAY(two)' > fake/input; cat fake/wait");
    assert_eq!(f.turn("0002", "state"), "failed");
    assert!(f.turn("0002", "why").contains("broke"), "{}", f.turn("0002", "why"));
    assert_eq!((f.turn("0003", "state").as_str(), m.read("fake/reply").as_str()), ("done", "two\n"));
}
