//! `muxfs session` by hand: names mistyped, prompts read from a terminal, questions, Ctrl-C, and
//! what a terminal shows. In a pane of a tmux server of its own, which is the terminal.

use std::process::{Command, Output, Stdio};

use super::support::{Lab, until, until_true};
use super::turns::{Fakes, configured, logged};

fn command(f: &Fakes, args: &[&str]) -> Command {
    let mut command = f.mount.command(env!("CARGO_BIN_EXE_muxfs"));
    command.arg("session").args(args).current_dir(f.lab().path("work"));
    command
}

fn run(f: &Fakes, args: &[&str]) -> Output {
    command(f, args).output().unwrap()
}

/// Exit status, standard output, standard error.
fn three(out: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_text_after_a_name_is_the_prompt() {
    let f = logged("");
    f.session("fake");
    f.session("fake-2");
    assert_eq!(three(&run(&f, &["prompt", "fake", "Run the", "tests"])), (0, "0001\n".into(), "".into()));
    assert_eq!(three(&run(&f, &["prompt", "fake", "--", "fake-2"])).1, "0002\n");
    let both = three(&run(&f, &["prompt", "fake", "fake-2", "--", "both"]));
    assert_eq!(both.1, "fake: 0003\nfake-2: 0001\n");
    // Names alone were several sessions once, and could be meant so.
    let (code, _, said) = three(&run(&f, &["prompt", "fake", "fake-2"]));
    assert!(
        code == 2 && said.contains("fake-2 is a session too") && said.contains("prompt fake fake-2 -- "),
        "{said}"
    );
    f.mount.sh("cat fake/wait fake-2/wait");
    let mut taken = f.taken();
    taken.sort();
    // "Run" asks for an approval, so the others wait behind it.
    assert!(
        taken.contains(&"Run the tests".to_owned()) && !taken.contains(&"fake-2".to_owned()),
        "{taken:?}"
    );
}

#[test]
fn a_name_that_is_not_there_is_said_before_any_text_is_read() {
    let f = logged("");
    f.session("fake");
    for verb in ["prompt", "ask"] {
        // Its input never ends: whoever read it would wait for ever.
        let mut child = command(&f, &[verb, "faek"]);
        let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let held = child.stdin.take();
        let (code, _, said) = three(&child.wait_with_output().unwrap());
        drop(held);
        let want =
            "muxfs: faek: no such session, and none of an agent of that name; did you mean \"fake\"?\n";
        assert_eq!((code, said.as_str()), (3, want), "{verb}");
    }
    let (code, _, said) = three(&run(&f, &["prompt", "honye/fake", "x"]));
    assert!(code == 3 && said.contains("honye: no such node; did you mean \"honey\"?"), "{said}");
    let (code, _, said) = three(&run(&f, &["stop", "other"]));
    assert!(code == 3 && !said.contains("did you mean"), "{said}");
}

#[test]
fn wait_and_ask_say_by_one_number_what_a_session_is() {
    let f = configured("--limit 2 --limit-for 600000", |_| "[turns]\nhold = '2s'\n".into());
    f.session("fake");
    assert_eq!(three(&run(&f, &["wait", "fake"])), (0, "fake: ready\n".into(), "".into()));
    assert_eq!(three(&run(&f, &["ask", "fake", "SAY(yes)"])).0, 0);

    let (code, answer, said) = three(&run(&f, &["ask", "fake", "over the limit"]));
    assert_eq!((code, answer.as_str()), (11, ""), "{said}");
    assert!(said.contains("no answer, the agent is limited"), "{said}");
    assert_eq!(three(&run(&f, &["wait", "fake"])), (11, "fake: limited\n".into(), "".into()));
    // What only waits is taken back.
    let (code, _, said) = three(&run(&f, &["ask", "fake", "and another"]));
    assert!(code == 11 && said.contains("the prompt (0003) was taken back"), "{said}");
    assert_eq!(f.mount.sh("ls fake/queue"), "");

    f.session("fake-2");
    let (code, answer, said) = three(&run(&f, &["ask", "fake-2", "ASK first"]));
    assert_eq!((code, answer.as_str()), (10, ""), "{said}");
    assert!(
        said.contains("the agent is blocked; the turn 0001 goes on") && said.contains("1. Yes"),
        "{said}"
    );
    assert_eq!(three(&run(&f, &["wait", "fake-2"])).0, 10);
    f.mount.sh("echo stop > fake-2/ctl");
    assert_eq!(three(&run(&f, &["wait", "fake-2", "fake"])).0, 12, "the greatest of both");
    let (code, _, said) = three(&run(&f, &["ask", "fake-2", "x"]));
    assert_eq!(code, 12, "{said}");
}

#[test]
fn a_turn_without_an_end_is_a_time_limit() {
    let f = configured("", |_| "[turns]\nmax = '2s'\n".into());
    f.session("fake");
    let (code, _, said) = three(&run(&f, &["ask", "fake", "SLOW600000"]));
    assert_eq!(code, 124, "{said}");
}

/// A terminal: a shell in a pane of another tmux server, with the node's variables.
struct Terminal {
    lab: Lab,
}

impl Terminal {
    fn new(f: &Fakes, more: &[(&str, &str)]) -> Self {
        let lab = Lab::new();
        let mut words: Vec<String> =
            ["new-session", "-d", "-s", "t", "-x", "160", "-y", "60"].map(String::from).into();
        let env = super::support::Mount::environment(f.lab())
            .into_iter()
            .map(|(k, v)| (k, v.display().to_string()));
        let mux = ("MUX", f.mount.dir.display().to_string());
        let more = more.iter().map(|(k, v)| (*k, (*v).to_owned()));
        for (key, value) in env.chain([mux]).chain(more).filter(|(k, _)| *k != "TERM") {
            words.extend(["-e".into(), format!("{key}={value}")]);
        }
        words.push("env PS1='$ ' bash --norc --noprofile -i".into());
        lab.tmux_ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let t = Terminal { lab };
        t.until("$ ");
        t
    }

    fn send(&self, words: &[&str]) {
        self.lab.tmux_ok(&[&["send-keys", "-t", "t"], words].concat());
    }

    fn line(&self, text: &str) {
        self.send(&["-l", text]);
        self.send(&["Enter"]);
    }

    fn muxfs(&self, args: &str) {
        self.line(&format!("clear; {} {args}; echo \"ended $?\"", env!("CARGO_BIN_EXE_muxfs")));
    }

    fn screen(&self, colours: bool) -> String {
        let words: &[&str] = if colours { &["-e"] } else { &[] };
        self.lab.tmux_ok(&[&["capture-pane", "-p", "-J", "-t", "t"], words].concat())
    }

    fn until(&self, text: &str) -> String {
        until(text, || Some(self.screen(false)).filter(|s| s.contains(text)))
    }
}

#[test]
fn a_prompt_that_is_read_from_a_terminal_says_so() {
    let f = logged("");
    f.session("fake");
    let t = Terminal::new(&f, &[]);
    t.muxfs("session prompt fake");
    t.until("the prompt is read from this terminal; Ctrl-D");
    t.line("typed by hand");
    t.send(&["C-d"]);
    let screen = t.until("ended 0");
    assert!(screen.contains("0001"), "{screen}");
    until_true("it arrives", || f.taken() == ["typed by hand"]);
}

#[test]
fn ctrl_c_takes_a_prompt_back_and_leaves_one_at_work() {
    let f = logged("");
    f.session("fake");
    f.mount.sh("echo 'SLOW600000 first' > fake/input");
    f.until_state("fake", "busy");
    let t = Terminal::new(&f, &[]);
    t.muxfs("session ask fake never mind");
    until_true("it waits", || f.mount.path("fake/queue/0002").exists());
    t.send(&["C-c"]);
    let screen = t.until("ended 130");
    assert!(screen.contains("fake: the prompt (0002) was taken back"), "{screen}");
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "withdrawn\n");

    f.mount.sh("echo interrupt > fake/ctl");
    f.until_state("fake", "ready");
    t.muxfs("session ask fake SLOW600000 second");
    let running = || std::fs::read_to_string(f.mount.path("fake/turns/0003/status")).unwrap_or_default();
    until_true("it is at work", || running().contains("state: running"));
    t.send(&["C-c"]);
    let screen = t.until("ended 130");
    assert!(screen.contains("the turn 0003 goes on: turns/0003/reply"), "{screen}");
    assert!(running().contains("state: running"));
}

#[test]
fn a_terminal_shows_tables_with_colours_and_pipes_do_not() {
    let f = logged("");
    f.session("fake");
    f.mount.sh("mkdir 'my shell'");
    f.mount.sh("cat 'my shell/wait'");
    let dir = f.lab().path("a dir\x1b]2;x");
    std::fs::create_dir(&dir).unwrap();
    f.mount.sh("echo \"cd '$(dirname $MUX)'/a*\" > 'my shell/input'; cat 'my shell/wait'");
    until_true("it is there", || f.status("my shell", "cwd").contains("a dir"));
    let t = Terminal::new(&f, &[("TERM", "tmux-256color")]);
    t.muxfs("session list");
    let plain = t.until("ended 0");
    let head: Vec<&str> = plain.lines().find(|l| l.starts_with("NAME")).unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "AGENT", "STATE", "FOR", "QUEUED", "DIRECTORY"], "{plain}");
    let row = plain.lines().find(|l| l.starts_with("my shell ")).unwrap();
    assert!(row.contains("/a dir%1B]2;x") && row.contains("ready"), "{row}");
    assert!(t.screen(true).contains("\x1b[32mready"), "{}", t.screen(true));
    t.muxfs("session wait fake nosuch");
    assert!(t.until("ended 3").contains("fake: ready"));

    t.line("export NO_COLOR=1");
    t.muxfs("session list");
    t.until("ended 0");
    assert!(!t.screen(true).contains("\x1b[32m"), "{}", t.screen(true));
    assert!(t.screen(true).contains("NAME"));

    // A pipe has the file's own text.
    let (_, listed, _) = three(&run(&f, &["list"]));
    let name = listed.lines().find(|l| l.starts_with("my%20shell ")).unwrap();
    assert!(name.ends_with("/a dir%1B]2;x"), "{listed}");
}

#[test]
fn the_node_the_catalogue_and_the_machine_are_tables_on_a_terminal() {
    let f = logged("");
    let t = Terminal::new(&f, &[("TERM", "tmux-256color")]);
    let muxfs =
        |args: &[&str]| three(&f.mount.command(env!("CARGO_BIN_EXE_muxfs")).args(args).output().unwrap());

    // Each is told from the one before by its number.
    let mut shown = 0;
    let mut show = |verb: &str| {
        shown += 1;
        let mark = format!("shown {shown}:");
        t.line(&format!("clear; {} {verb}; echo {mark} $?", env!("CARGO_BIN_EXE_muxfs")));
        until(verb, || Some(t.screen(false)).filter(|s| s.lines().any(|l| l.starts_with(&mark))))
    };

    let plain = show("status");
    let line = |key: &str| {
        plain
            .lines()
            .map(str::trim_end)
            .find(|l| l.starts_with(key))
            .unwrap_or_else(|| panic!("{key}: {plain}"))
    };
    assert!(line("since:").ends_with("s ago") && line("uptime:").ends_with('s'), "{plain}");
    assert_eq!(line("mount:").find('/'), line("version:").find("0."), "one column: {plain}");
    assert!(t.screen(true).contains("\x1b[32monline"), "{}", t.screen(true));
    let (_, piped, _) = muxfs(&["status"]);
    assert!(piped.contains("\nstate: online\nsince: 20") && !piped.contains('\x1b'), "{piped}");

    let plain = show("agent list --all");
    assert!(plain.lines().any(|l| l.starts_with("AGENT  ") && l.contains("  PROGRAM  ")), "{plain}");
    assert!(plain.lines().any(|l| l.starts_with("claude  ") && l.contains("--dangerously-skip-permissions")));
    let (_, piped, _) = muxfs(&["agent", "list", "--all"]);
    assert!(piped.starts_with("agy ") && !piped.contains('\x1b'), "{piped}");

    let plain = show("doctor");
    assert!(plain.lines().any(|l| l.starts_with("LEVEL  CHECK  ")), "{plain}");
    assert!(t.screen(true).contains("\x1b[32mok"), "{}", t.screen(true));
    let (_, piped, _) = muxfs(&["doctor"]);
    assert!(piped.contains("\nok    fuse device: /dev/fuse opens\n"), "{piped}");

    t.line("export NO_COLOR=1");
    for (verb, word) in [("status", "state:"), ("agent list --all", "AGENT"), ("doctor", "LEVEL")] {
        show(verb);
        let screen = t.screen(true);
        assert!(screen.contains(word) && !screen.contains("\x1b[3"), "{verb}: {screen}");
    }
}
