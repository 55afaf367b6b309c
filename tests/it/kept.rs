//! What is kept on disk and goes wrong there: a damaged book of prompts, a state directory that is
//! removed, no descriptors left. Nothing is lost or typed twice without a word.

use std::path::PathBuf;

use super::support::{Mount, until, until_true};
use super::turns::{Fakes, logged};

fn book(f: &Fakes) -> PathBuf {
    let dir = std::fs::read_dir(f.lab().path("state/muxfs/sessions")).unwrap();
    let mut books = dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "turns"));
    books.next().unwrap()
}

#[test]
fn a_damaged_book_is_told_and_nothing_of_it_is_typed_twice() {
    let mut f = logged("");
    f.session("fake");
    f.mount.sh("echo 'rm -rf build' > fake/input");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "done\n");
    f.mount.kill9();
    // The blocks after the first row read as zeros.
    let path = book(&f);
    let text = std::fs::read(&path).unwrap();
    let mut rows = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    for row in &mut rows[1..] {
        let end = row.len() - 1;
        row[..end].fill(0);
    }
    std::fs::write(&path, rows.concat()).unwrap();
    f.mount.start_again();
    until_true("errors names the damage and the copy", || {
        let errors = f.mount.read("errors");
        errors.contains("damaged places") && errors.contains(".turns-damaged.1")
    });
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "uncertain\n");
    f.mount.sh("echo 'the next' > fake/input");
    until_true("the queue is held", || f.status("fake", "held").contains("damaged"));
    assert_eq!((f.taken().len(), f.status("fake", "queue").as_str()), (1, "1"));
    let number: u64 = f.mount.sh("ls fake/queue").trim().parse().unwrap();
    assert!(number > 1000, "{number}: a number that may have been given");
    // A person goes on.
    f.mount.sh("echo interrupt > fake/ctl");
    assert_eq!(f.mount.read(&format!("fake/turns/{number}/wait")), "done\n");
    assert_eq!(f.taken(), ["rm -rf build", "the next"]);
    // An emptied one is told as well, and gives no number again.
    f.mount.kill9();
    std::fs::write(&path, "").unwrap();
    f.mount.start_again();
    until_true("errors tells", || f.mount.read("errors").contains("the book of prompts is empty"));
    f.mount.sh("echo more > fake/input");
    assert!(f.mount.sh("ls fake/turns").trim().parse::<u64>().unwrap() > number);
}

#[test]
fn without_its_state_directory_a_node_accepts_nothing() {
    let f = logged("--busy 3000");
    f.session("fake");
    f.mount.sh("echo first > fake/input");
    f.until_state("fake", "busy");
    let state = f.lab().path("state/muxfs");
    std::fs::remove_dir_all(&state).unwrap();
    // The very next open fails, where every shell sees it.
    for file in ["fake/input", "fake/ask", "fake/config", "fake/queue/own"] {
        let out = f.mount.run(&format!("echo lost > {file}"));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains("No such device or address"), "{file}: {said}");
    }
    let out = f.mount.run("mkdir another");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("No such device"));
    until_true("errors says what to do", || f.mount.read("errors").contains("put it back, or restart muxfs"));
    // What needs no disk goes on.
    f.mount.sh("cat fake/screen fake/status");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(f.taken(), ["first"]);
}

#[test]
fn a_state_directory_that_is_back_takes_prompts_again() {
    let f = logged("");
    f.session("fake");
    f.mount.sh("echo first > fake/input; cat fake/turns/0001/wait");
    let (state, away) = (f.lab().path("state/muxfs"), f.lab().path("state/away"));
    std::fs::rename(&state, &away).unwrap();
    assert!(!f.mount.run("echo lost > fake/input").status.success());
    until("it is back", || {
        let _ = std::fs::remove_dir_all(&state); // logs begin anew there
        std::fs::rename(&away, &state).ok()
    });
    until("it takes prompts", || f.mount.run("echo second > fake/input").status.success().then_some(()));
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["first", "second"]);
}

#[test]
fn as_much_of_an_environment_as_is_taken_reaches_the_program() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let lines: String = (0..1000).map(|n| format!("V{n} = \"{}\"\n", "x".repeat(200))).collect();
    std::fs::write(mount.path("demo/config"), format!("[env]\n{lines}")).unwrap();
    until_true("it is applied", || mount.read("demo/status").contains("pending: -"));
    for begun in ["started again", "made"] {
        mount.sh("cat demo/wait; echo 'env | grep -c ^V[0-9]*=x' > demo/input; cat demo/wait");
        until_true(begun, || mount.read("demo/output").contains("\n1000\n"));
        mount.lab.tmux_ok(&["kill-session", "-t", "=demo:"]);
        until_true("it is lost", || !mount.path("demo").exists());
        mount.sh("mkdir demo");
    }
}

#[test]
fn too_much_of_an_environment_and_odd_names_are_refused_at_once() {
    let f = logged("");
    f.session("fake");
    let env = |count: usize, len: usize| {
        let lines: String = (0..count).map(|n| format!("K{n} = '{}'\n", "v".repeat(len))).collect();
        let file = f.lab().path("new.toml");
        std::fs::write(&file, format!("agent = 'fake'\n[env]\n{lines}")).unwrap();
        f.mount.run(&format!("cp {} fake/config", file.display())).status.success()
    };
    assert!(!env(5000, 1) && f.mount.read("fake/config.error").contains("1000 variables"));
    assert!(!env(10, 40_000) && f.mount.read("fake/config.error").contains("256 KiB"));
    assert!(!env(1, 140_000) && f.mount.read("fake/config.error").contains("128 KiB"));
    let out = f.mount.run("echo x > fake/queue/$'a\\x01b'");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("Invalid argument"));
    assert!(f.mount.read("errors").contains("control characters"));
}

#[test]
fn a_name_that_tmux_would_change_makes_nothing() {
    let f = logged("");
    f.session("fake");
    for name in ["a\u{2028}b", "a\u{378}b", "\u{10ffff}"] {
        let made = std::fs::create_dir(f.mount.path(name));
        assert_eq!(made.unwrap_err().raw_os_error(), Some(libc::EINVAL), "{name:?}");
        let moved = std::fs::rename(f.mount.path("fake"), f.mount.path(name));
        assert_eq!(moved.unwrap_err().raw_os_error(), Some(libc::EINVAL), "{name:?}");
    }
    f.mount.sh("mkdir 日本-äé; rmdir 日本-äé");
    let sessions = f.lab().tmux_ok(&["list-sessions", "-F", "#{session_name}"]);
    assert_eq!(sessions.lines().filter(|s| *s != "_muxfs").collect::<Vec<_>>(), ["fake"]);
}
