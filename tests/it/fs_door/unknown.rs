//! A tree that does not know all its names yet, behind a real mount: the door looks once, and nobody
//! waits for another directory's look.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Nothing of the session is known.
fn forget_all(mux: &Mux) {
    for dir in ["n", "n/s", "n/s/queue", "n/s/turns"] {
        mux.fake.forget(dir);
    }
    mux.fake.looks();
}

#[test]
fn what_is_unknown_is_looked_at_once() {
    let mux = Mux::new();
    forget_all(&mux);
    assert_eq!(std::fs::read_to_string(mux.at("n/s/status")).unwrap(), "state: ready\n");
    assert_eq!(mux.fake.looks(), ["n", "n/s"], "a directory on the way each");
    let names = std::fs::read_dir(mux.at("n/s/queue")).unwrap().count();
    assert_eq!((names, mux.fake.looks()), (0, vec!["n/s/queue".to_owned()]));
    std::fs::metadata(mux.at("n/s/config")).unwrap();
    assert!(std::fs::metadata(mux.at("n/s/nothing")).is_err());
    assert_eq!(mux.fake.looks(), [""; 0], "now it is known");
    // The kernel has the name still; the tree has forgotten what it leads to.
    mux.fake.forget("n/s");
    assert_eq!(std::fs::metadata(mux.at("n/s/config")).unwrap().len(), 6);
    assert_eq!(mux.fake.looks(), ["n/s"]);
}

#[test]
fn names_are_changed_where_they_were_unknown() {
    let mux = Mux::new();
    let known = |script: &str, looked: &[&str]| {
        forget_all(&mux);
        mux.sh(script);
        let looks = mux.fake.looks();
        for dir in looked {
            assert!(looks.iter().any(|l| l == dir), "{script}: {dir} is not among {looks:?}");
        }
    };
    known("echo one > queue/one", &["n/s/queue"]);
    known("mv queue/one queue/two", &["n/s/queue"]);
    known("rm queue/two", &["n/s/queue"]);
    known("chmod 640 status", &["n/s"]);
    assert_eq!(std::fs::metadata(mux.at("n/s/status")).unwrap().permissions().mode() & 0o777, 0o640);
    known("printf 'b = 2\\n' > config.tmp; mv config.tmp config; cat config", &["n/s"]);
    assert_eq!(mux.fake.text("n/s/config"), "b = 2\n");
    known("mkdir ../t; mv ../t ../u; rmdir ../u", &["n"]);
    let refused = std::fs::create_dir(mux.at("n/s")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn a_look_that_lasts_holds_up_its_own_directory_alone() {
    let mux = Mux::new();
    mux.fake.add_node("m");
    mux.fake.add_session("m/t");
    mux.fake.forget("m/t");
    mux.fake.stall("m/t", true);
    let at = mux.at("m/t/status");
    let reader = std::thread::spawn(move || std::fs::read_to_string(at));
    until("look that waits", || mux.fake.waiting() == 1);
    let mut ls = mux.spawn("exec ls ../../m/t");
    until("second look", || mux.fake.waiting() == 2);
    // Neither the loop nor any other directory waits.
    let start = Instant::now();
    assert_eq!(mux.sh("ls ../../m; cat status; mkdir ../v; mv ../v ../w; rmdir ../w"), "t\nstate: ready\n");
    assert!(std::fs::metadata(mux.at("m/nobody")).is_err());
    assert!(start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
    // A signal ends a wait for a look as it ends any other.
    kill(&ls, "INT");
    until("the end of ls", || ls.try_wait().unwrap().is_some());
    mux.fake.stall("m/t", false);
    assert_eq!(reader.join().unwrap().unwrap(), "state: ready\n");
}

#[test]
fn a_look_that_never_answers_is_given_up() {
    let mux = Mux::new();
    mux.fake.forget("n/s/turns");
    mux.fake.stall("n/s/turns", true);
    let refused = std::fs::read_dir(mux.at("n/s/turns")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ETIMEDOUT));
    mux.fake.stall("n/s/turns", false);
}
