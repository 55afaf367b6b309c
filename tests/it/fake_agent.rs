//! The fake agent in real tmux, judged by its manifest's rules: what other tests build on.

use std::path::{Path, PathBuf};

use muxfs_agent::catalogue;
use muxfs_agent::manifest::{Manifest, State};
use muxfs_agent::rules::judge;
use muxfs_agent::screen::Screen;

use super::doc::root;
use super::support::{Lab, until, until_true};

const SIZES: [(&str, &str); 2] = [("80", "24"), ("120", "40")];

/// Cargo builds examples beside the program.
pub fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_muxfs")).with_file_name("examples").join("fake-agent");
    assert!(program.exists(), "{program:?}: cargo build --example fake-agent");
    program
}

/// A fake agent in a pane of its own.
struct Pane {
    lab: Lab,
    manifest: Manifest,
}

impl Pane {
    fn start(size: (&str, &str), args: &str) -> Self {
        Pane::start_in(Lab::new(), size, args)
    }

    /// One whose turns and limits last until [`Self::go`]: what is to be seen meanwhile is there
    /// however slow the machine is.
    fn led(size: (&str, &str), args: &str) -> Self {
        let lab = Lab::new();
        let go = lab.path("go");
        Pane::start_in(lab, size, &format!("--go {} {args}", go.display()))
    }

    /// Lets the turn or limit that lasts go on.
    fn go(&self) {
        let go = self.lab.path("go");
        std::fs::write(&go, "").unwrap();
        until_true("it goes on", || !go.exists());
    }

    fn start_in(lab: Lab, (width, height): (&str, &str), args: &str) -> Self {
        let work = lab.path("work");
        std::fs::create_dir(&work).unwrap();
        let command = format!("exec {} --log {} {args}", program().display(), lab.path("log").display());
        let new = ["new-session", "-d", "-s", "fake", "-x", width, "-y", height, "-c"];
        lab.tmux_ok(
            &[&new[..], &[work.to_str().unwrap(), &command, ";", "set", "-g", "remain-on-exit", "on"]]
                .concat(),
        );
        let manifest = catalogue::read(&root().join("tests/fixtures/agents/fake.toml")).unwrap();
        Pane { lab, manifest }
    }

    fn ask(&self, format: &str) -> String {
        self.lab.tmux_ok(&["display-message", "-p", "-t", "fake", format]).trim_end_matches('\n').to_owned()
    }

    fn screen(&self) -> Screen {
        let mut screen = Screen::parse(&self.lab.tmux_ok(&["capture-pane", "-p", "-e", "-t", "fake"]));
        screen.title = self.ask("#{pane_title}");
        let cursor = self.ask("#{cursor_x},#{cursor_y}");
        screen.cursor = cursor.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
        screen
    }

    fn state(&self) -> State {
        judge(&self.manifest, &self.screen()).state
    }

    fn shows(&self, text: &str) -> bool {
        self.lab.tmux_ok(&["capture-pane", "-p", "-t", "fake"]).contains(text)
    }

    fn until(&self, state: State) {
        until_true(&format!("{state:?}, last {:?}", self.screen().tail(8).plain), || self.state() == state);
    }

    fn until_shows(&self, text: &str) {
        until_true(&format!("shows {text:?}"), || self.shows(text));
    }

    fn keys(&self, keys: &[&str]) {
        self.lab.tmux_ok(&[&["send-keys", "-t", "fake"], keys].concat());
    }

    /// As a prompt is sent: one paste, then Enter.
    fn prompt(&self, text: &str) {
        let file = self.lab.path("prompt");
        std::fs::write(&file, text).unwrap();
        self.lab.tmux_ok(&["load-buffer", "-b", "p", file.to_str().unwrap()]);
        self.lab.tmux_ok(&["paste-buffer", "-p", "-r", "-d", "-b", "p", "-t", "fake"]);
        self.keys(&["Enter"]);
    }

    /// The rows of the log of one kind.
    fn log(&self, kind: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.lab.path("log")).unwrap_or_default();
        let rows = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        rows.filter(|row| row["type"] == kind).collect()
    }

    fn prompts(&self) -> Vec<String> {
        self.log("prompt").iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
    }

    fn until_dead(&self) -> (String, String) {
        // tmux knows that it is dead before it knows of what, and 3.3a may miss that for good unless
        // another child ends; the end of that one as well, so nobody waits for it.
        until("the pane's death", || {
            self.lab.tmux_ok(&["run-shell", "-b", "true"]);
            let told = self.ask("#{pane_dead} #{pane_dead_status} #{pane_dead_signal}");
            let (status, signal) = told.strip_prefix("1 ")?.split_once(' ')?;
            (!(status.is_empty() && signal.is_empty())).then(|| (status.to_owned(), signal.to_owned()))
        })
    }
}

#[test]
fn every_state_is_told_at_each_size() {
    for size in SIZES {
        for screen in ["", "--alt", "--title --osc7501"] {
            let pane = Pane::led(size, &format!("--limit 3 --limit-for 1 {screen}"));
            pane.until(State::Ready);
            pane.prompt("SLOW1 first");
            pane.until(State::Busy);
            pane.keys(&["-l", "a draft"]);
            pane.until_shows("> a draft");
            assert_eq!(pane.state(), State::Busy, "a draft hides nothing");
            pane.go();
            pane.until_shows("● echo: SLOW1 first");
            pane.until(State::Ready);
            pane.keys(&["C-u"]);
            pane.until_shows("> Type a message");
            pane.prompt("ASK SAY(done it)");
            pane.go();
            pane.until(State::Blocked);
            assert!(pane.shows("Run this command?\n› 1. Yes\n  2. No\n"));
            pane.keys(&["1"]);
            pane.go();
            pane.until_shows("● done it");
            pane.until(State::Ready);
            pane.prompt("the third");
            pane.until(State::Limited);
            pane.go();
            pane.go();
            pane.until_shows("● echo: the third");
            pane.until(State::Ready);
            assert_eq!(pane.prompts(), ["SLOW1 first", "ASK SAY(done it)", "the third"]);
        }
    }
}

#[test]
fn dialogs_at_the_start_wait_and_no_is_what_enter_says() {
    for size in SIZES {
        let login = Pane::start(size, "--login");
        login.until(State::Blocked);
        login.keys(&["Enter"]);
        until_true("it is read", || login.log("bytes").len() == 1 && login.log("answer").len() == 1);
        assert_eq!(login.state(), State::Blocked);

        let trust = Pane::start(size, "--trust");
        trust.until(State::Blocked);
        trust.keys(&["Up", "Enter"]);
        trust.until(State::Ready);
        let trust = Pane::start(size, "--trust");
        trust.until(State::Blocked);
        trust.keys(&["Enter"]);
        assert_eq!(trust.until_dead().0, "1");
    }
}

#[test]
fn what_an_answer_prints_is_no_state() {
    for size in SIZES {
        for screen in ["", "--alt"] {
            let pane = Pane::led(size, screen);
            pane.until(State::Ready);
            pane.prompt("SPOOF");
            pane.go();
            pane.until_shows("reply: spoofed");
            assert_eq!(pane.state(), State::Ready);
            pane.prompt("SPOOF SLOW1 ASK");
            pane.until(State::Busy);
            pane.go();
            pane.until(State::Blocked);
            pane.keys(&["2"]);
            pane.until_shows("● declined");
            assert_eq!(pane.state(), State::Ready);
        }
    }
}

#[test]
fn prompts_are_taken_as_terminals_send_them() {
    let pane = Pane::start(SIZES[0], "--swallow 1");
    pane.until(State::Ready);
    let long: String = (1..=41).map(|i| format!("row {i}\n")).collect();
    pane.prompt(&long);
    pane.until_shows("> [Pasted 41 lines]");
    pane.keys(&["Enter"]);
    pane.until_shows("● echo: row 1");
    let large: String =
        (0..4000).map(|i| format!("word {i:05} of a large prompt, which has many rows of text\n")).collect();
    assert!(large.len() > 200_000);
    pane.prompt(&large);
    pane.until_shows("● echo: word 00000");
    // Typed it is a command, pasted it is text.
    pane.prompt("/clear");
    pane.until_shows("● echo: /clear");
    assert_eq!(pane.prompts(), [long, large, "/clear".into()]);
    pane.keys(&["-l", "/clear"]);
    pane.keys(&["Enter"]);
    until_true("the talk is new", || !pane.shows("echo"));
    assert_eq!((pane.log("command").len(), pane.log("clear").len()), (1, 1));
    // Escape ends a turn; what waited for it comes next.
    pane.prompt("SLOW60000 long");
    pane.until(State::Busy);
    pane.prompt("next");
    pane.until_shows("Queued: next");
    pane.keys(&["Escape"]);
    pane.until_shows("● echo: next");
    assert!(pane.shows("Interrupted"));
    pane.keys(&["C-c"]);
    pane.until_shows("Press Ctrl-C again to exit");
    pane.keys(&["C-c"]);
    assert_eq!(pane.until_dead().0, "0");
    // Not a byte is lost to the log.
    let hex: String = pane.log("bytes").iter().map(|r| r["hex"].as_str().unwrap().to_owned()).collect();
    assert!(hex.ends_with("1b0303") && hex.contains("1b5b3230307e") && hex.len() > 400_000, "{}", hex.len());
}

#[test]
fn it_is_repainted_at_another_size() {
    for screen in ["", "--alt"] {
        let pane = Pane::start(SIZES[1], screen);
        pane.until(State::Ready);
        pane.prompt("LINES100");
        pane.until_shows("line 100");
        for size in ["60x12", "200x50", "80x24"] {
            let (width, height) = size.split_once('x').unwrap();
            pane.lab.tmux_ok(&["resize-window", "-t", "fake", "-x", width, "-y", height]);
            let rule = "─".repeat(width.parse().unwrap());
            until_true(size, || {
                let text = pane.lab.tmux_ok(&["capture-pane", "-p", "-t", "fake"]);
                text.lines().filter(|l| **l == rule).count() == 2 && text.contains("line 100\n")
            });
            pane.until(State::Ready); // the capture may be caught half painted
        }
    }
}

#[test]
fn it_ends_in_every_way() {
    let pane = Pane::start(SIZES[0], "--exit-at-start 7");
    assert_eq!(pane.until_dead().0, "7");
    let end = |args: &str, prompt: &str| {
        let pane = Pane::start(SIZES[0], args);
        pane.until(State::Ready);
        pane.prompt(prompt);
        pane.until_dead()
    };
    assert_eq!(end("", "EXIT3"), ("3".into(), String::new()));
    assert_eq!(end("", "CRASH").1, "9");
    assert_eq!(end("--crash-after 1", "hello").1, "9");
    let pane = Pane::start(SIZES[0], "--alt");
    pane.until(State::Ready);
    pane.keys(&["-l", "/exit"]);
    pane.keys(&["Enter"]);
    assert_eq!(pane.until_dead(), ("0".into(), String::new()));

    let pane = Pane::start(SIZES[0], "--stubborn");
    pane.until(State::Ready);
    let pid: i32 = pane.ask("#{pane_pid}").parse().unwrap();
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let child: i32 = until("its child", || children().trim().parse().ok());
    pane.lab.tmux_ok(&["kill-session", "-t", "fake"]);
    let alive = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let pending = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|l| l.starts_with("ShdPnd:") && l.ends_with('1'))
    };
    until_true("the hang-up has been taken", || !pending());
    assert!(alive(pid) && alive(child));
    for process in [pid, child] {
        let process = nix::unistd::Pid::from_raw(process);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    }
    until_true("both are gone", || !alive(pid) && !alive(child));
}

#[test]
fn a_conversation_is_written_and_taken_up_again() {
    let pane = Pane::start(
        SIZES[0],
        "--claude-history --claude-status --session-id 11111111-2222-4333-8444-555555555555",
    );
    pane.until(State::Ready);
    pane.prompt("remember this");
    pane.until_shows("● echo: remember this");
    let claude = pane.lab.home().join(".claude");
    let find = |dir: &str| -> Vec<PathBuf> {
        std::fs::read_dir(claude.join(dir)).unwrap().map(|e| e.unwrap().path()).collect()
    };
    let status = std::fs::read_to_string(&find("sessions")[0]).unwrap();
    assert!(status.contains("\"status\":\"idle\""), "{status}");
    assert!(find("projects")[0].join("11111111-2222-4333-8444-555555555555.jsonl").exists());
    let again = format!(
        "exec {} --claude-history --resume 11111111-2222-4333-8444-555555555555",
        program().display()
    );
    pane.lab.tmux_ok(&["respawn-pane", "-k", "-t", "fake", &again]);
    pane.until_shows("● echo: remember this");
    pane.until(State::Ready);
    pane.lab.tmux_ok(&[
        "respawn-pane",
        "-k",
        "-t",
        "fake",
        &format!("exec {} --resume none", program().display()),
    ]);
    assert_eq!(pane.until_dead().0, "1");
}

#[test]
fn a_server_answers_its_prompts() {
    use std::io::{Read, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let pane = Pane::start(SIZES[0], &format!("--llm {address}"));
    pane.until(State::Ready);
    pane.prompt("what \"is\" it?\nsay");
    let (mut stream, _) = server.accept().unwrap();
    pane.until(State::Busy);
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).unwrap();
        request.extend_from_slice(&part[..n]);
    }
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["messages"][0]["content"], "what \"is\" it?\nsay");
    let said = r#"{"choices":[{"message":{"role":"assistant","content":"It is.\nYes."}}]}"#;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()).unwrap();
    drop(stream);
    pane.until_shows("● It is.\n  Yes.\n");
    pane.until(State::Ready);
    // An interrupt does not wait for it.
    pane.prompt("again");
    let (stream, _) = server.accept().unwrap();
    pane.keys(&["Escape"]);
    pane.until_shows("Interrupted");
    drop((stream, server));
    pane.prompt("nobody listens");
    pane.until_shows("● API Error: ");
    pane.until(State::Ready);
}
