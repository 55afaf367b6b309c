//! Who wrote a prompt, by name: node, user, and the session whose pane the writer sits in; in a turn's
//! `status`, in `events` and in `errors`, on a real mount and real tmux.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Lab, Mount, until, until_true};
use crate::turns::Fakes;

/// A session with a name that has to be escaped everywhere.
const ODD: &str = r#"a b"%2541"#;

/// The node's events from now on.
struct Events {
    cat: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Events {
    fn of(mount: &Mount) -> Events {
        let mut cat = std::process::Command::new("cat")
            .arg(mount.path("events"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let out = BufReader::new(cat.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        until_true("it reads", || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", cat.id())).unwrap_or_default();
            call.starts_with("0 0x3 ") // read(2) on what it opened first
        });
        Events { cat, lines, seen: Vec::new() }
    }

    /// The origin of the first event of this kind that `is`.
    fn origin(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let event = until(&format!("an event {kind}: {:?}", self.seen), || {
            self.seen.extend(self.lines.recv_timeout(Duration::from_millis(100)));
            self.seen.iter().find(|e| e["event"] == kind && is(e)).cloned()
        });
        event["origin"].clone()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.cat.kill();
        let _ = self.cat.wait();
    }
}

/// The turn of this prompt, once it is there.
fn turn_of(f: &Fakes, prompt: &str) -> String {
    until(&format!("a turn of {prompt:?}"), || {
        let turns = f.mount.sh("ls fake/turns");
        let prompt_of = |turn: &&str| f.mount.read(&format!("fake/turns/{turn}/prompt")).trim_end() == prompt;
        turns.lines().find(prompt_of).map(str::to_owned)
    })
}

fn fakes() -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    let config = Fakes::config(&format!("--log {}", lab.path("taken").display()), "");
    let words: &[&str] = if nix::unistd::geteuid().is_root() { &["-o", "allow_other"] } else { &[] };
    let f = Fakes { mount: Mount::start_in_with(lab, &config, words) };
    f.session("fake");
    for shell in ["api", ODD] {
        f.mount.sh(&format!("mkdir '{shell}'; cat '{shell}/wait' > /dev/null"));
    }
    f
}

/// Types a line into the shell of a session. It is a script's, so that nothing is left of its quotes.
fn typed(f: &Fakes, session: &str, script: &str) {
    let name = format!("script-{}", script.len() + session.len());
    let path = f.lab().path(&name);
    std::fs::write(&path, script).unwrap();
    f.mount.sh(&format!("echo 'sh {}' > '{session}/input'", path.display()));
}

#[test]
fn a_writer_in_a_pane_is_known_by_its_session() {
    let f = fakes();
    let input = f.mount.path("fake/input").display().to_string();
    let mut events = Events::of(&f.mount);
    let user = muxfs_tree::base::users::own().unwrap().name.clone();
    for (session, in_errors) in [("api", "api"), (ODD, r#"a%20b"%252541"#)] {
        typed(&f, session, &format!("echo 'from {}' > {input}", session.len()));
        let turn = turn_of(&f, &format!("from {}", session.len()));
        assert_eq!((f.turn(&turn, "from_session"), f.turn(&turn, "user")), (session.into(), user.clone()));
        assert_eq!((f.turn(&turn, "node"), f.turn(&turn, "session")), ("honey".into(), "fake".into()));
        let origin = events.origin("accepted", |e| e["turn"] == *turn);
        assert_eq!(
            (&origin["node"], &origin["user"], &origin["session"], &origin["init"]),
            (&"honey".into(), &user.as_str().into(), &session.into(), &false.into()),
            "{origin}"
        );
        assert!(origin["uid"].is_u64() && origin["pid"].is_u64(), "{origin}");
        // The rest of its way is known by the same names.
        assert_eq!(events.origin("done", |e| e["turn"] == *turn)["session"], session);
        // What it is refused is.
        typed(
            &f,
            session,
            &format!("echo nonsense-{} > {}", session.len(), f.mount.path("fake/ctl").display()),
        );
        let line = until("errors tells", || {
            let errors = f.mount.read("errors");
            let mark = format!("nonsense-{}", session.len());
            errors.lines().find(|l| l.contains(&mark)).map(str::to_owned)
        });
        let who = line.split(' ').nth(1).unwrap();
        assert!(who.starts_with(&format!("{user}/{in_errors}:")), "{line}");
    }
    // A process session of its own within the pane, as agents start their tools.
    typed(&f, "api", &format!("setsid -w sh -c \"echo 'from a child' > {input}\""));
    let turn = turn_of(&f, "from a child");
    assert_eq!(f.turn(&turn, "from_session"), "api");
    // A message that waits for no turn.
    typed(&f, ODD, &format!("echo 'echo typed' > {}", f.mount.path("api/input").display()));
    let origin = events.origin("typed", |e| e["session"] == "api" && e["origin"]["session"].is_string());
    assert_eq!(origin["session"], ODD);
    // The names are the book's: they outlive the daemon, and the session's end.
    let mut f = f;
    drop(events);
    f.mount.sh("rmdir api");
    f.mount.kill9();
    f.mount.start_again();
    assert_eq!(f.turn(&turn, "from_session"), "api");
}

#[test]
fn a_writer_in_no_pane_has_no_session() {
    let f = fakes();
    let input = f.mount.path("fake/input").display().to_string();
    let mut events = Events::of(&f.mount);
    // As cron does it: no terminal, a process session of its own.
    f.mount.sh(&format!("setsid -w sh -c \"echo 'from cron' > {input}\" < /dev/null"));
    let turn = turn_of(&f, "from cron");
    assert_eq!(f.turn(&turn, "from_session"), "-");
    assert_eq!(events.origin("accepted", |e| e["turn"] == *turn)["session"], Value::Null);
    // Who left its pane behind is nobody's: its parent is gone.
    let left = f.lab().path("left");
    let script = format!(
        "setsid sh -c \"until [ -e {} ]; do sleep 0.1; done; echo 'from nowhere' > {input}\" &",
        left.display()
    );
    typed(&f, "api", &script);
    f.mount.sh("cat api/wait > /dev/null");
    std::fs::write(&left, "").unwrap();
    let turn = turn_of(&f, "from nowhere");
    assert_eq!(f.turn(&turn, "from_session"), "-");
}

#[test]
fn another_user_is_known_by_name() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let f = fakes();
    std::fs::set_permissions(f.lab().path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let input = f.mount.path("fake/input").display().to_string();
    let way = format!("{} {}", f.mount.dir.display(), f.mount.path("").display());
    f.mount.sh(&format!("chmod 0711 {way} fake; chmod 0622 {input}"));
    let mut events = Events::of(&f.mount);
    let as_nobody = |text: &str| {
        format!("setpriv --reuid nobody --regid nogroup --clear-groups sh -c \"echo '{text}' > {input}\"")
    };
    f.mount.sh(&as_nobody("from nobody"));
    let turn = turn_of(&f, "from nobody");
    assert_eq!((f.turn(&turn, "user"), f.turn(&turn, "from_session")), ("nobody".into(), "-".into()));
    assert_eq!(
        f.turn(&turn, "uid"),
        muxfs_tree::base::users::by_name("nobody").unwrap().unwrap().uid.to_string()
    );
    assert_eq!(events.origin("accepted", |e| e["turn"] == *turn)["user"], "nobody");
    typed(&f, "api", &as_nobody("from the pane"));
    let turn = turn_of(&f, "from the pane");
    assert_eq!((f.turn(&turn, "user"), f.turn(&turn, "from_session")), ("nobody".into(), "api".into()));
    // What others than the owner did is kept, without what it was.
    let audit = |by: &str, bytes: usize| {
        let logs = f.mount.read("logs");
        let line = logs.lines().find(|l| l.contains(&format!(" audit fake write by={by}:")))?.to_owned();
        assert!(line.ends_with(&format!(" at=fake/input bytes={bytes}")), "{line}");
        Some(())
    };
    until("the audit line", || audit("nobody", "from nobody\n".len()));
    until("the audit line of the pane", || audit("nobody/api", "from the pane\n".len()));
    let logs = f.mount.read("logs");
    assert!(!logs.contains("from nobody") && !logs.contains("by=root"), "{logs}");
    // Of a book of an earlier version the number alone is there.
    let mut f = f;
    drop(events);
    until_true("all is over", || f.turn(&turn, "state") == "done");
    f.mount.kill9();
    let dir = std::fs::read_dir(f.lab().path("state/muxfs/sessions")).unwrap();
    let books = dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "turns"));
    for book in books {
        let text = std::fs::read_to_string(&book).unwrap();
        // A row of before has no head.
        let rows = text.lines().map(|row| {
            let mut row: Value = serde_json::from_str(&row[row.find('{').unwrap()..]).unwrap();
            if let Some(origin) = row["accept"]["origin"].as_object_mut() {
                origin.retain(|key, _| key == "uid");
                origin.insert("later".into(), "kept".into());
            }
            format!("{row}\n")
        });
        std::fs::write(&book, rows.collect::<String>()).unwrap();
    }
    f.mount.start_again();
    until_true("the number has its name again", || {
        let user = f.turn(&turn, "user");
        assert!(user == "nobody" || user == f.turn(&turn, "uid"), "{user}");
        f.mount.sh(&as_nobody("again"));
        user == "nobody"
    });
    assert_eq!(f.turn(&turn, "from_session"), "-");
}
