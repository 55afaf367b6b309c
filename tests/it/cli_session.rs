//! `muxfs session` as a user calls it: on the fake agent, a real mount and real tmux.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::support::{Lab, until, until_true};
use super::turns::{Fakes, configured, logged};

/// `muxfs session ARGS` for this node's user, standing in the directory `work`.
fn command(f: &Fakes, args: &[&str]) -> Command {
    let mut command = f.mount.command(env!("CARGO_BIN_EXE_muxfs"));
    command.arg("session").args(args).current_dir(f.lab().path("work"));
    command
}

fn run(f: &Fakes, args: &[&str]) -> Output {
    command(f, args).output().unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// What it prints; it must succeed and complain of nothing.
fn ok(f: &Fakes, args: &[&str]) -> String {
    let out = run(f, args);
    assert!(out.status.success() && stderr(&out).is_empty(), "{args:?}: {} {}", out.status, stderr(&out));
    stdout(&out)
}

/// Its exit status and what it says.
fn refused(f: &Fakes, args: &[&str]) -> (i32, String) {
    let out = run(f, args);
    (out.status.code().unwrap(), stderr(&out))
}

fn with_stdin(f: &Fakes, args: &[&str], text: &[u8]) -> Output {
    let mut child =
        command(f, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(text); // one that is refused reads nothing
    child.wait_with_output().unwrap()
}

fn edit(f: &Fakes, editor: &str, args: &[&str]) -> Output {
    command(f, &[&["edit"], args].concat()).env("VISUAL", "").env("EDITOR", editor).output().unwrap()
}

#[test]
fn a_session_is_started_asked_listed_and_stopped() {
    let f = logged("");
    ok(&f, &["start", "fake"]);
    assert_eq!(ok(&f, &["wait", "fake"]), "fake: ready\n");
    assert_eq!(Path::new(&f.status("fake", "cwd")), f.lab().path("work").canonicalize().unwrap());
    assert_eq!(ok(&f, &["prompt", "fake", "--", "one", "two"]), "0001\n");
    assert!(ok(&f, &["ask", "fake", "SAY(forty two)"]).contains("forty two"));
    let out = with_stdin(&f, &["prompt", "fake"], "from\na pipe\n".as_bytes());
    assert_eq!((stdout(&out).as_str(), stderr(&out).as_str()), ("0003\n", ""));
    assert_eq!(stdout(&with_stdin(&f, &["prompt", "fake", "-"], b"dash\n")), "0004\n");
    assert_eq!(ok(&f, &["wait", "fake"]), "fake: ready\n");
    assert_eq!(f.taken(), ["one two", "SAY(forty two)", "from\na pipe", "dash"]);

    assert_eq!(ok(&f, &["list"]).split_whitespace().take(3).collect::<Vec<_>>(), ["fake", "fake", "ready"]);
    let json: Value = serde_json::from_str(&ok(&f, &["list", "--json", "honey"])).unwrap();
    assert_eq!((json[0]["name"].as_str(), json[0]["state"].as_str()), (Some("fake"), Some("ready")));
    assert_eq!(json.as_array().unwrap().len(), 1);

    ok(&f, &["stop", "fake"]);
    assert_eq!(f.status("fake", "state"), "stopped");
    ok(&f, &["start", "fake"]);
    f.until_state("fake", "ready");
    let before = f.status("fake", "pid");
    ok(&f, &["restart", "honey/fake"]);
    f.until_state("fake", "ready");
    assert_ne!(f.status("fake", "pid"), before);
    assert_eq!(f.mount.read("errors"), "");
}

#[test]
fn the_turn_that_is_named_is_the_writers_own() {
    let f = logged("--busy 50");
    f.session("fake");
    let one = |n: u32| {
        let child =
            command(&f, &["prompt", "fake", "--", &format!("prompt {n}")]).stdout(Stdio::piped()).spawn();
        (n, child.unwrap())
    };
    let all: Vec<_> = (1..=8).map(one).collect();
    for (n, child) in all {
        let turn = stdout(&child.wait_with_output().unwrap());
        let stored = f.mount.read(&format!("fake/turns/{}/prompt", turn.trim_end()));
        assert_eq!(stored, format!("prompt {n}\n"));
    }
}

#[test]
fn what_start_is_given_is_in_the_settings() {
    let f = logged("");
    let log = f.lab().path("taken");
    let args = ["start", "fake", "--name", "api", "--args", "--log", "--args", log.to_str().unwrap()];
    let more = ["--cwd", "..", "--env", "A=b \"c\"", "--env", "D=", "--init", "first\nof all", "--danger"];
    ok(&f, &[&args[..], &more].concat());
    assert_eq!(ok(&f, &["wait", "api"]), "api: ready\n");
    assert_eq!(f.taken(), ["first\nof all"]);
    assert_eq!(f.status("api", "danger"), "true");
    let cwd = f.lab().path("work").parent().unwrap().canonicalize().unwrap();
    assert_eq!(Path::new(&f.status("api", "cwd")).canonicalize().unwrap(), cwd);
    let pid = f.status("api", "pid");
    let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let vars: Vec<_> = env.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    assert!(vars.iter().any(|v| v == "A=b \"c\"") && vars.iter().any(|v| v == "D="), "{vars:?}");
    // A shell, by its key; and by a name that says nothing.
    ok(&f, &["start", "shell", "--name", "sh1"]);
    ok(&f, &["start", "--name", "other"]);
    for name in ["sh1", "other"] {
        until_true("a shell", || f.status(name, "agent") == "shell"); // once it runs
    }
    assert_eq!(ok(&f, &["prompt", "sh1", "--", "true"]), "", "a shell has no turns");
}

#[test]
fn first_prompts_are_left_out_where_that_is_said() {
    let f = configured("", |_| "[session]\ninit = ['node first']\n".into());
    ok(&f, &["start", "fake", "--skip-init"]);
    assert!(ok(&f, &["ask", "fake", "mine"]).contains("echo: mine"));
    assert_eq!(f.taken(), ["mine"]);
    ok(&f, &["restart", "--skip-init", "fake"]);
    f.until_state("fake", "ready");
    ok(&f, &["stop", "fake"]);
    ok(&f, &["start", "fake", "--skip-init"]);
    ok(&f, &["ask", "fake", "again"]);
    assert_eq!(f.taken(), ["mine", "again"]);
    ok(&f, &["restart", "fake"]);
    until_true("first prompts go", || f.taken().len() == 3);
    assert_eq!(f.taken()[2], "node first");
    assert!(!f.mount.run("echo 'restart now' > fake/ctl").status.success());
}

#[test]
fn of_several_names_each_is_done_and_each_failure_told() {
    let f = logged("");
    for name in ["fake-a", "fake-b"] {
        ok(&f, &["start", "--name", name]);
    }
    assert_eq!(ok(&f, &["wait", "fake-a", "fake-b"]), "fake-a: ready\nfake-b: ready\n");
    let said = ok(&f, &["prompt", "fake-a", "fake-b", "--", "both"]);
    assert_eq!(said, "fake-a: 0001\nfake-b: 0001\n");

    let out = run(&f, &["wait", "fake-a", "nosuch", "fake-b", "a/b/c"]);
    assert_eq!(stdout(&out), "fake-a: ready\nfake-b: ready\n");
    let said = stderr(&out);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("muxfs: nosuch: no such session"), "{said}");
    assert!(lines[1].starts_with("muxfs: a/b/c: "), "{said}");
    assert_eq!(out.status.code(), Some(3), "the greatest of 3 and 2");

    let said = ok(&f, &["broadcast", "fake", "to", "all"]);
    assert_eq!(said, "fake-a: 0002\nfake-b: 0002\n");
    ok(&f, &["start", "shell", "--name", "sh1"]);
    let out = with_stdin(&f, &["broadcast", "all"], b"exit\n");
    assert_eq!(stdout(&out), "fake-a: 0003\nfake-b: 0003\n", "no shell is of an agent: {}", stderr(&out));
    ok(&f, &["wait", "fake-a", "fake-b"]);
    assert_eq!(f.taken().iter().filter(|t| *t == "to all").count(), 2);
    assert_eq!(refused(&f, &["broadcast", "codex", "x"]).0, 3);
    ok(&f, &["stop", "fake-a", "fake-b"]);
    let mut out = run(&f, &["prompt", "fake-a", "sh1", "--", "true"]);
    assert_eq!(out.status.code(), Some(3), "ENXIO: {}", stderr(&out));
    assert_eq!(stdout(&out), "sh1: typed at once: prompts have no turns here\n");
    out = run(&f, &["stop", "fake-a", "sh1"]);
    assert!(out.status.success(), "what is stopped is stopped: {}", stderr(&out));
}

#[test]
fn an_agents_key_names_its_one_session() {
    let f = logged("");
    ok(&f, &["start", "fake", "--name", "api"]);
    assert_eq!(ok(&f, &["wait", "fake"]), "api: ready\n");
    assert_eq!(ok(&f, &["wait", ".self/fake"]), "api: ready\n");
    ok(&f, &["start", "fake", "--name", "web"]);
    let (status, said) = refused(&f, &["stop", "fake"]);
    assert_eq!((status, said.as_str()), (2, "muxfs: fake: several sessions are of this agent: api, web\n"));
    ok(&f, &["start", "fake"]);
    assert_eq!(ok(&f, &["wait", "fake"]), "fake: ready\n", "a name comes first");
}

#[test]
fn a_refusal_has_its_own_status_and_the_nodes_words() {
    let f = logged("");
    f.session("fake");
    for (args, status, words) in [
        (&["start", "fake"][..], 5, "it runs"),
        (&["start", "fake", "--danger"], 5, "there is such a session"),
        (&["start", "shell", "--name", "fake"], 5, "there is such a session"),
        (&["start", "nosuch"], 2, "unknown agent \"nosuch\"; known: agy, "),
        (&["start", "--name", "a b"], 2, "without white space"),
        (&["start", "--name", "a.b"], 2, "tmux would rewrite '.'"),
        (&["start", "fake", "--name", "x", "--cwd", "/no/such"], 3, "/no/such: no such directory"),
        (&["start", "fake", "--name", "x", "--env", "=secret"], 2, "expected NAME=VALUE"),
        (&["start", "--init", "a", "--skip-init", "fake"], 2, "cannot be used with"),
        (&["start"], 2, "an AGENT or --name NAME is needed"),
        (&["stop", "status"], 3, "no such session"),
        (&["stop", ".."], 2, "expected NAME or NODE/NAME"),
        (&["stop", "elsewhere/fake"], 3, "elsewhere: no such node"),
        (&["stop", "../fake"], 2, "not a node's name"),
        (&["stop"], 2, "required"),
        (&["prompt", "fake", "--", " "], 2, "an empty prompt"),
        (&["resume", "fake", "a b"], 2, "without white space"),
        (&["history", "nosuch"], 3, "no such session"),
        (&["wait", "--mount", "/no/such", "fake"], 3, "/no/such/.self/status.json"),
    ] {
        let (code, said) = refused(&f, args);
        assert!(code == status && said.contains(words), "{args:?}: {code} {said}");
        assert!(!said.contains("secret"));
    }
    let out = with_stdin(&f, &["prompt", "fake"], b"caf\xe9\n");
    assert!(out.status.code() == Some(2) && stderr(&out).contains("not UTF-8"), "{}", stderr(&out));
    let out = with_stdin(&f, &["prompt", "fake"], &vec![b'x'; (1 << 20) + 2]);
    assert!(out.status.code() == Some(6) && stderr(&out).contains("more than"), "{}", stderr(&out));
    f.lab().tmux_ok(&["new-session", "-d", "-s", "theirs"]);
    until_true("theirs shows", || f.mount.path("theirs").exists());
    let (code, said) = refused(&f, &["restart", "theirs"]);
    assert_eq!((code, said.as_str()), (4, "muxfs: theirs: restart: theirs was made by others\n"));
    let (code, said) = refused(&f, &["ask", "theirs", "hello"]);
    assert_eq!((code, said.as_str()), (4, "muxfs: theirs: its turns are off\n"));
    assert_eq!(f.taken(), Vec::<String>::new());
}

#[test]
fn the_node_is_found_by_itself_and_said_to_be_missing() {
    let mut f = logged("");
    f.session("fake");
    let plain = |f: &Fakes| command(f, &["wait", "fake"]).env("MUX", "").output().unwrap();
    assert_eq!(stdout(&plain(&f)), "fake: ready\n");
    f.mount.kill9();
    let out = plain(&f);
    assert!(out.status.code() == Some(3) && stderr(&out).contains("no node of this user runs"));
    let out = run(&f, &["wait", "fake"]);
    assert!(out.status.code() == Some(3) && stderr(&out).contains(".self/status.json"), "{}", stderr(&out));
}

#[test]
fn settings_are_edited_in_place_and_a_bad_edit_is_told() {
    let f = logged("--claude-history");
    f.session("fake");
    let pid = f.status("fake", "pid");
    let out = edit(&f, "sed -i 's/^# size = .*/size = \"90x20\"/'", &["fake"]);
    assert_eq!((out.status.code(), stdout(&out), stderr(&out)), (Some(0), String::new(), String::new()));
    until_true("in force", || f.status("fake", "size") == "90x20");
    assert_eq!(f.status("fake", "pid"), pid);

    // An editor that saves in place does not say itself what became of it.
    let out = edit(&f, "printf 'size = 7\\n' >", &["fake"]);
    assert_eq!(out.status.code(), Some(2));
    let said = stderr(&out);
    assert!(said.starts_with("muxfs: fake: the settings were not changed: line 1, column"), "{said}");
    assert!(f.mount.read("fake/config").contains("90x20"));
    let out = edit(&f, "false", &["fake"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("muxfs: fake: false: exit status: 1"));
}

#[test]
fn an_edit_that_needs_a_restart_waits_for_the_turn_or_is_applied() {
    let f = logged("--claude-history");
    f.session("fake");
    ok(&f, &["prompt", "fake", "--", "SLOW60000 long"]);
    f.until_state("fake", "busy");
    let pid = f.status("fake", "pid");
    let editor = |n: u32| format!("sed -i '1ienv = {{ N = \"{n}\" }}'");
    let out = edit(&f, &editor(1), &["fake"]);
    assert_eq!(stderr(&out), "");
    assert_eq!(stdout(&out), "fake: pending: restart, when no turn is under way (--apply: now)\n");
    assert_eq!(f.status("fake", "pid"), pid);
    let out = edit(&f, "true", &["--apply", "fake"]);
    assert_eq!((stdout(&out), stderr(&out)), (String::new(), String::new()));
    assert_ne!(f.status("fake", "pid"), pid);
    until_true("the agent has its new environment", || {
        let env = std::fs::read(format!("/proc/{}/environ", f.status("fake", "pid"))).unwrap_or_default();
        env.split(|b| *b == 0).any(|v| v == b"N=1")
    });
}

#[test]
fn a_conversation_goes_on_where_it_is_named() {
    let f = logged("--claude-history");
    f.session("fake");
    ok(&f, &["ask", "fake", "remember 17"]);
    let talk = f.status("fake", "conversation");
    ok(&f, &["restart", "fake"]);
    f.until_state("fake", "ready");
    assert_ne!(f.status("fake", "conversation"), talk);
    ok(&f, &["resume", "fake", &talk]);
    until_true("the talk is there", || f.mount.read("fake/screen").contains("remember 17"));
    ok(&f, &["start", "fake", "--name", "again", "--resume-from", &talk]);
    until_true("there too", || f.mount.read("again/screen").contains("remember 17"));
    let (code, said) = refused(&f, &["resume", "fake", "latest"]);
    assert!(code == 2 && said.contains("cannot resume"), "{code} {said}");
}

/// These commands are files read and written: a directory of such files is a mount to them.
#[test]
fn history_is_the_files_own() {
    let f = logged("--claude-history");
    f.session("fake");
    f.session("fake-2");
    ok(&f, &["ask", "fake", "SAY(the first)"]);
    ok(&f, &["ask", "fake-2", "SAY(of another)"]);
    let index = |name: &str| f.mount.read(&format!("{name}/history/index"));
    let id = |name: &str| index(name).split(' ').next().unwrap().to_owned();
    assert_eq!(ok(&f, &["history", "fake"]), index("fake"));
    assert_eq!(
        ok(&f, &["history", "fake", "fake-2"]),
        format!("fake: {}fake-2: {}", index("fake"), index("fake-2"))
    );
    let out = run(&f, &["history", "--json", "fake", "nosuch", "fake-2"]);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((json[0]["id"].as_str(), json[1]["id"].as_str()), (Some(&*id("fake")), Some(&*id("fake-2"))));
    assert_eq!((json[0]["session"].as_str(), out.status.code()), (Some("fake"), Some(3)));
}

#[test]
fn a_terminal_is_attached_from_inside_another_tmux_and_from_inside_the_same() {
    let f = logged("");
    f.session("fake");
    ok(&f, &["ask", "fake", "SAY(seen in the pane)"]);
    ok(&f, &["start", "shell", "--name", "sh1"]);
    let outer = Lab::new();
    let mux = format!("MUX={}", f.mount.dir.display());
    let attach = |name: &str| format!("{} session attach {name}", env!("CARGO_BIN_EXE_muxfs"));
    outer.tmux_ok(&["new-session", "-d", "-s", "out", "-x", "100", "-y", "30", "-e", &mux, &attach("sh1")]);
    let attached = |name: &str| until_true(name, || f.status(name, "attached") == "1");
    attached("sh1");
    // From a pane of the same server its client turns to the other session.
    let line = format!("export {mux}; {}", attach("fake"));
    ok(&f, &["prompt", "sh1", "--", &line]);
    attached("fake");
    until_true("its client left the shell", || f.status("sh1", "attached") == "0");
    let shown = until("the agent's screen", || {
        let screen = outer.tmux_ok(&["capture-pane", "-p", "-t", "out"]);
        screen.contains("seen in the pane").then_some(screen)
    });
    assert!(shown.contains("fake-agent"), "{shown}");
    let (code, said) = refused(&f, &["attach", "nosuch"]);
    assert!(code == 3 && said.contains("no such session"), "{said}");
}
