//! Turns on a fake agent, a real mount and real tmux: order, approvals, drafts, crashes.

use std::io::Write;
use std::path::PathBuf;

use super::doc::root;
use super::fake_agent::program;
use super::input::Person;
use super::support::{Lab, Mount, until, until_true};

/// A node whose agent `fake` is the fake one, with these arguments.
pub struct Fakes {
    pub mount: Mount,
}

impl Fakes {
    /// The fake agent's manifest among the user's own.
    pub fn prepared(lab: Lab) -> Lab {
        let agents = lab.path("config/agents");
        std::fs::create_dir_all(&agents).unwrap();
        std::fs::create_dir(lab.path("work")).unwrap();
        let manifest = std::fs::read_to_string(root().join("tests/fixtures/agents/fake.toml")).unwrap();
        let program = format!("command = [{:?}]", program().to_str().unwrap());
        // Without records of its own: those are a flag of its start, and `records` says so.
        let manifest = manifest.replace("history = \"claude\"\n", "");
        std::fs::write(agents.join("fake.toml"), manifest.replace("command = [\"fake-agent\"]", &program))
            .unwrap();
        lab
    }

    /// The fake agent is one whose records can be read: for `--claude-history`.
    pub fn records(lab: &Lab) {
        let path = lab.path("config/agents/fake.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("history = \"claude\"\n{manifest}")).unwrap();
    }

    /// The fake agent says its turns by hooks, as Claude Code does.
    pub fn hook_up(lab: &Lab) {
        let claude = std::fs::read_to_string(root().join("agents/claude.toml")).unwrap();
        let (_, table) = claude.split_once("[hooks]\n").unwrap();
        let (table, _) = table.split_once("\n# Dialogs").unwrap();
        let path = lab.path("config/agents/fake.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{manifest}\n[hooks]\n{table}")).unwrap();
    }

    pub fn config(args: &str, more: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().collect();
        format!("[agent.fake]\nargs = {args:?}\n{more}")
    }

    /// Lets the turn that lasts go on, of agents that were started with `--go`.
    pub fn go(&self) {
        let go = self.mount.lab.path("go");
        std::fs::write(&go, "").unwrap();
        until_true("it goes on", || !go.exists());
    }

    /// Starts `name`, whose agent writes what it takes into a log of its own; ready.
    pub fn session(&self, name: &str) {
        self.begin(name);
        self.until_state(name, "ready");
    }

    pub fn begin(&self, name: &str) {
        self.mount.sh(&format!(
            "cd {} && mkdir {}",
            self.lab().path("work").display(),
            self.mount.path(name).display()
        ));
    }

    pub fn lab(&self) -> &Lab {
        &self.mount.lab
    }

    pub fn status(&self, name: &str, key: &str) -> String {
        let text = self.mount.read(&format!("{name}/status"));
        let found = text.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {key} in {text}"))
    }

    /// A line of the status of a turn of session `fake`.
    pub fn turn(&self, turn: &str, key: &str) -> String {
        let text = self.mount.read(&format!("fake/turns/{turn}/status"));
        let found = text.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {key} in {text}"))
    }

    pub fn until_state(&self, name: &str, state: &str) {
        until(&format!("{name} is {state}: {}", self.status(name, "state")), || {
            (self.status(name, "state") == state).then_some(())
        });
    }

    pub fn log(&self) -> PathBuf {
        self.lab().path("taken")
    }

    pub fn rows(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// The prompts that agents took, in their order.
    pub fn taken(&self) -> Vec<String> {
        let rows = self.rows();
        let prompts = rows.iter().filter(|r| r["type"] == "prompt");
        prompts.filter_map(|r| r["text"].as_str().map(str::to_owned)).collect()
    }

    /// Every byte that agents received.
    pub fn received(&self) -> String {
        self.rows().iter().filter_map(|r| r["hex"].as_str().map(str::to_owned)).collect()
    }
}

/// With a log that [`Fakes::taken`] reads.
pub fn logged(args: &str) -> Fakes {
    configured(args, |_| String::new())
}

/// The same, with `more` in the node's settings file.
pub fn configured(args: &str, more: impl Fn(&Lab) -> String) -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    if args.contains("--claude-history") {
        Fakes::records(&lab);
    }
    let args = format!("--log {} {args}", lab.path("taken").display());
    let config = Fakes::config(&args, &more(&lab));
    Fakes { mount: Mount::configured(lab, &config) }
}

#[test]
fn a_prompt_waits_for_its_turn_and_has_its_answer() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    for n in 1..=5 {
        m.sh(&format!("echo 'prompt {n}' > fake/input"));
    }
    assert_eq!(m.read("fake/wait"), "ready\n");
    let wanted: Vec<String> = (1..=5).map(|n| format!("prompt {n}")).collect();
    assert_eq!(f.taken(), wanted);
    assert!(m.read("fake/reply").contains("echo: prompt 5"), "{}", m.read("fake/reply"));
    assert_eq!(m.read("fake/turns/0003/prompt"), "prompt 3\n");
    assert!(m.read("fake/turns/0003/reply").contains("echo: prompt 3"));
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    assert_eq!(m.sh("ls fake/turns"), "0001\n0002\n0003\n0004\n0005\n");
    assert_eq!(m.sh("ls fake/queue"), "");
    assert_eq!(m.read("errors"), "");
}

#[test]
fn ask_gives_the_answer_to_its_own_prompt() {
    let f = logged("--busy 300");
    f.session("fake");
    let ask = |n: u32| {
        format!(
            "(exec 3<>fake/ask; echo 'SAY(answer-{n})' >&3; cat <&3 > {}/a{n}) &",
            f.lab().path("work").display()
        )
    };
    let all: String = (1..=4).map(|n| ask(n) + "\n").collect();
    f.mount.sh(&format!("{all} wait"));
    for n in 1..=4 {
        let answer = std::fs::read_to_string(f.lab().path(&format!("work/a{n}"))).unwrap();
        assert!(answer.contains(&format!("answer-{n}")), "{n}: {answer}");
        assert!(
            (1..=4).filter(|m| *m != n).all(|m| !answer.contains(&format!("● answer-{m}\n"))),
            "{n}: {answer}"
        );
    }
}

#[test]
fn prompts_of_ones_own_names_are_queued_once_and_can_be_taken_back() {
    let f = super::life::led("--busy 1");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo first > fake/input");
    std::fs::write(f.lab().path("p.md"), "build it\n").unwrap();
    let copy = format!("cp {} fake/queue/build-1", f.lab().path("p.md").display());
    m.sh(&copy);
    assert!(!m.run(&copy).status.success(), "the name is used");
    m.sh("echo third > fake/input");
    assert_eq!(m.read("fake/queue/build-1"), "build it\n");
    assert_eq!(m.sh("cat fake/turns/build-1/status | head -3"), "name: build-1\nnumber: 2\nstate: queued\n");
    m.sh("rm fake/queue/0003");
    assert_eq!(m.read("fake/turns/0003/wait"), "withdrawn\n");
    f.go();
    f.go();
    assert_eq!(m.read("fake/turns/build-1/wait"), "done\n");
    assert!(!m.run(&copy).status.success(), "and stays so");
    assert_eq!(f.taken(), ["first", "build it"]);
    m.sh("echo a > fake/input; echo b > fake/input; echo c > fake/input");
    until_true("one is under way", || f.status("fake", "queue") == "2");
    m.sh("echo clear-queue > fake/ctl");
    f.go();
    assert_eq!(m.read("fake/wait"), "ready\n");
    assert_eq!(f.taken().len(), 3, "{:?}", f.taken());
}

#[test]
fn nothing_is_typed_while_the_agent_asks() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo ASK first > fake/input; echo second > fake/input; echo third > fake/input");
    f.until_state("fake", "blocked");
    assert_eq!(m.read("fake/wait"), "blocked\n");
    let before = f.received();
    let steered = m.run("echo now > fake/steer");
    assert!(String::from_utf8_lossy(&steered.stderr).contains("busy"), "{steered:?}");
    // A person looks at it for a while: other turns could have come and gone.
    until_true("the queue waits", || f.status("fake", "queue") == "2");
    std::thread::park_timeout(std::time::Duration::from_secs(1));
    assert_eq!(f.received(), before, "not a byte");
    m.sh("echo Enter > fake/keys");
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    assert_eq!(f.taken(), ["ASK first", "second", "third"]);
}

#[test]
fn an_enter_that_is_not_heeded_is_pressed_again() {
    let f = logged("--swallow 1");
    f.session("fake");
    f.mount.sh("echo hello > fake/input");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(f.taken(), ["hello"]);
}

/// As one that is still loading does.
#[test]
fn a_prompt_that_comes_back_untaken_is_entered_once_more() {
    let f = logged("--flicker 300");
    f.session("fake");
    f.mount.sh("echo one > fake/input; echo two > fake/input");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["one", "two"]);
}

#[test]
fn an_interrupted_turn_says_so_and_the_next_one_goes() {
    // Also where the agent puts the prompt back as a draft, at once or when the next one is over.
    for restore in [0, 4000] {
        let f = logged(&format!("--restore {restore}"));
        f.session("fake");
        let m = &f.mount;
        m.sh("echo SLOW20000 long > fake/input; echo next > fake/input");
        f.until_state("fake", "busy");
        m.sh("echo interrupt > fake/ctl");
        assert_eq!(m.read("fake/turns/0001/wait"), "interrupted\n");
        assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
        if restore > 0 {
            until_true("it is put back", || m.read("fake/screen").contains("\n> SLOW20000 long"));
        }
        m.sh("echo last > fake/input");
        assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
        assert_eq!(f.taken()[1..], ["next", "last"]);
    }
}

#[test]
fn a_turn_without_a_sign_of_work_is_timed_out() {
    let lab = Fakes::prepared(Lab::new());
    let config = Fakes::config("--repaint 0", "[turns]\nhold = '2s'\n");
    let f = Fakes { mount: Mount::configured(lab, &config) };
    f.session("fake");
    f.mount.sh("echo SLOW60000 > fake/input");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "timed out\n");
    assert!(f.mount.read("errors").contains("no sign of work for 2 s"));
}

#[test]
fn what_was_typed_when_the_daemon_died_is_uncertain_and_never_sent_again() {
    let mut f = logged("--busy 600");
    f.session("fake");
    f.mount.sh("for n in 1 2 3 4 5 6; do echo prompt $n > fake/input; done");
    f.until_state("fake", "busy");
    f.mount.kill9();
    f.mount.start_again();
    assert_eq!(f.mount.read("fake/wait"), "ready\n");
    let taken = f.taken();
    let wanted: Vec<String> = (1..=6).map(|n| format!("prompt {n}")).collect();
    let uncertain =
        (1..=6).filter(|n| f.mount.read(&format!("fake/turns/000{n}/status")).contains("uncertain"));
    let missing: Vec<&String> = wanted.iter().filter(|p| !taken.contains(p)).collect();
    assert!(missing.len() <= uncertain.count(), "{taken:?}");
    let mut sorted = taken.clone();
    sorted.dedup();
    assert_eq!(sorted, taken, "none twice");
}

#[test]
fn an_agent_that_hangs_at_login_is_told_of_and_gets_nothing() {
    let f = configured("--login", |_| "[session]\ninit = ['first']\n".into());
    f.begin("fake");
    f.mount.sh("echo mine > fake/input");
    until_true("a word of it", || f.mount.read("errors").contains("not ready 10 s after its start: blocked"));
    assert_eq!((f.received().as_str(), f.status("fake", "queue").as_str()), ("", "2"));
}

#[test]
fn what_cannot_be_started_is_a_clear_line() {
    let f = logged("--exit-at-start 3");
    f.begin("fake");
    f.until_state("fake", "exited 3");
    let m = &f.mount;
    for (line, why) in [
        ("new x nosuch", "unknown agent \"nosuch\"; known: agy, "),
        ("new x fake - { colour = 1 }", "unknown key colour"),
        ("new x fake - nonsense", "settings: "),
    ] {
        assert!(!m.run(&format!("echo '{line}' > ctl")).status.success());
        assert!(m.read("errors").contains(why), "{}", m.read("errors"));
    }
    assert!(!m.path("x").exists());
}

#[test]
fn what_has_no_directory_or_no_program_any_more_is_a_clear_line() {
    let f = logged("");
    let (m, work) = (&f.mount, f.lab().path("work"));
    assert!(!m.run("echo 'new gone fake /nonexistent/dir' > ctl").status.success());
    assert!(m.read("errors").contains("cwd: /nonexistent/dir: no such directory"), "{}", m.read("errors"));
    assert!(!m.path("gone").exists());
    let passing = work.join("passing");
    std::fs::create_dir(&passing).unwrap();
    m.sh(&format!("cd {} && mkdir {}", passing.display(), m.path("fake").display()));
    f.until_state("fake", "ready");
    std::fs::remove_dir(&passing).unwrap();
    let pid = f.status("fake", "pid");
    assert!(!m.run("echo restart > fake/ctl").status.success());
    assert_eq!((f.status("fake", "pid"), f.status("fake", "state")), (pid, "ready".into()), "it goes on");
    m.sh("echo stop > fake/ctl");
    assert!(!m.run("echo start > fake/ctl").status.success());
    std::fs::create_dir(&passing).unwrap();
    m.sh("echo start > fake/ctl; echo hello > fake/input; cat fake/wait");
    assert_eq!(f.taken(), ["hello"]);
    // docs/tree.md, "A new session": the directory is made all the same, and says what happened.
    let ctl = "new none fake - { command = \"/nonexistent/agent\" }";
    m.sh(&format!("echo '{ctl}' > ctl"));
    f.until_state("none", "exited 127");
    assert!(m.read("errors").contains("none exited 127: its program was not found"), "{}", m.read("errors"));
}

#[test]
fn a_program_that_crashes_is_started_again_and_one_that_ends_is_not() {
    let f = logged("--crash-after 1 --claude-history");
    f.mount.sh("echo 'new fake fake - { restart = \"on-failure\" }' > ctl");
    f.until_state("fake", "ready");
    f.mount.sh("echo one > fake/input");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "failed\n");
    f.until_state("fake", "ready");
    f.mount.sh("echo EXIT0 > fake/input");
    until_true("it ended, and stays so", || f.status("fake", "state").starts_with("exited"));
}

#[test]
fn a_session_made_inside_another_knows_it() {
    let f = logged("");
    f.mount.sh("mkdir shell-1");
    let inner = f.mount.path("fake");
    f.mount
        .sh(&format!("echo 'cd; mkdir {}' > shell-1/input; cat shell-1/wait > /dev/null", inner.display()));
    until_true("it is there", || inner.exists());
    assert_eq!(f.status("fake", "parent"), "shell-1");
}

#[test]
fn a_question_is_told_and_only_it_is_answered() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo ASK one > fake/input; echo ASK two > fake/input; echo three > fake/input");
    f.until_state("fake", "blocked");
    let asked = m.read("fake/question");
    assert!(asked.contains("header: Run this command?") && asked.contains("> 1. Yes\n  2. No\n"), "{asked}");
    let id = asked.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    let json: serde_json::Value = serde_json::from_str(&m.read("fake/question.json")).unwrap();
    assert_eq!((json["id"].as_str(), json["options"][1]["label"].as_str()), (Some(&*id), Some("No")));
    assert_eq!(m.sh("ls ../.inbox; cat ../.inbox/*/status | head -1"), "honey.fake\nname: fake\n");
    for bad in ["answer 3", "answer x", "answer 1 00000000-1", "answer", "answer 1 2", "answer yes sir"] {
        assert!(!m.run(&format!("echo '{bad}' > fake/ctl")).status.success(), "{bad}");
    }
    assert!(m.read("errors").contains("no option begins so; the options are 1. Yes | 2. No"));
    assert_eq!(f.received().matches("0d").count(), 1, "one Enter: the prompt's");
    m.sh(&format!("echo 'answer n {id}' > fake/ctl"));
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    f.until_state("fake", "blocked");
    assert!(
        !m.run(&format!("echo 'answer 1 {id}' > fake/ctl")).status.success(),
        "asked again, it is another"
    );
    m.sh("echo 'answer yes' > fake/ctl");
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    assert_eq!(m.read("fake/question"), "");
    assert_eq!(m.sh("ls ../.inbox"), "");
    let answers: Vec<String> =
        f.rows().iter().filter_map(|r| r["answer"].as_str().map(str::to_owned)).collect();
    assert_eq!(answers, ["No", "Yes"]);
}

#[test]
fn words_of_ones_own_answer_a_question_and_approve_nothing() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo ASK one > fake/input; echo WHICH two > fake/input");
    f.until_state("fake", "blocked");
    let before = f.received();
    let out = m.run("echo 'answer-text 1, if you must' > fake/ctl");
    assert!(!out.status.success(), "a digit would choose, and Enter would approve");
    until_true("it is told", || m.read("errors").contains("answer-text: it takes no words of one's own"));
    assert_eq!(f.received(), before, "not a byte of it was typed");
    m.sh("echo 'answer 2' > fake/ctl");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    until_true("it asks which", || m.read("fake/question").contains("Which store"));
    let asked = m.read("fake/question");
    assert!(asked.contains("> 1. SQLite\n  2. Redis\n  3. Type something\n"), "{asked}");
    m.sh("echo 'answer-text 1 file, \"$HOME\"; #{pid} for each' > fake/ctl");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    let reply = m.read("fake/turns/0002/reply");
    assert!(reply.contains("it is to be 1 file, \"$HOME\"; #{pid} for each"), "{reply}");
    assert!(m.read("logs").contains("answered in words") && !m.read("logs").contains("1 file"));
}

#[test]
fn a_draft_is_neither_sent_nor_spoilt_and_the_queue_goes_on_after_it() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    let mut person = Person::attach(m, "fake");
    let mut types = |text: &str| {
        for key in text.bytes() {
            person.press(key);
        }
    };
    types("half a thou");
    until_true("it shows", || m.read("fake/screen").contains("half a thou"));
    m.sh("echo mine > fake/input");
    until_true("held", || f.status("fake", "held") == "draft");
    types("ght");
    // Held for good, not for a moment: a look is due every second.
    let seen = f.status("fake", "seen");
    until_true("it was looked at again", || f.status("fake", "seen") > seen);
    assert_eq!((f.taken(), f.status("fake", "queue").as_str()), (Vec::<String>::new(), "1"));
    types("\r");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(f.taken(), ["half a thought", "mine"]);
}

#[test]
fn a_limit_holds_the_queue_until_it_is_over() {
    let f = logged("--limit 1 --limit-for 4000");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo one > fake/input; echo two > fake/input");
    f.until_state("fake", "limited");
    assert_eq!(m.read("fake/wait"), "limited\n");
    assert_ne!(f.status("fake", "until"), "-");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["one", "two"]);
}

#[test]
fn what_an_answer_prints_ends_nothing() {
    let f = logged("--busy 1500 --osc7501");
    f.session("fake");
    f.mount.sh("echo SPOOF > fake/input; echo next > fake/input");
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["SPOOF", "next"]);
    let status = f.mount.read("fake/turns/0001/status");
    let at = |key: &str| status.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).unwrap().to_owned();
    assert!(at("state") == "done" && at("ended") > at("sent"), "{status}");
}

/// What any program can print into a pane without a trace: OSC 7501, shells' marks, notifications.
const CLAIMS: &[&str] = &[
    "\x1b]7501;state=working\x07",
    "\x1b]7501;state=done\x07",
    "\x1b]7501;state=idle\x07",
    "\x1b]133;D;0\x07\x1b]133;A\x07",
    "\x1b]9;4;0\x07\x1b]777;notify;fake;done\x07",
];

/// Claims come from another session's pane, and from the own one before the prompt is even taken.
#[test]
fn what_is_printed_ends_no_turn_of_another_and_none_before_it_began() {
    let f = logged("--busy 1500 --swallow 1 --osc7501");
    f.session("fake");
    f.session("fake-2");
    let pane = |name: &str| {
        let tty = f.lab().tmux_ok(&["display-message", "-p", "-t", name, "#{pane_tty}"]);
        std::fs::File::options().write(true).open(tty.trim()).unwrap()
    };
    let (mut own, mut other) = (pane("fake"), pane("fake-2"));
    f.mount.sh("echo one > fake/input; echo two > fake/input");
    let ended = || f.mount.read("fake/turns/0002/status").contains("state: done\n");
    until_true("both had their turns", || {
        for claim in CLAIMS {
            other.write_all(claim.as_bytes()).unwrap();
            other.write_all(b"{\"hook_event_name\":\"Stop\"}\r\n").unwrap();
            if f.taken().is_empty() {
                own.write_all(claim.as_bytes()).unwrap();
            }
        }
        ended()
    });
    assert_eq!(f.taken(), ["one", "two"]);
    for n in 1..=2 {
        let status = f.mount.read(&format!("fake/turns/000{n}/status"));
        let at = |key: &str| {
            let found = status.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).unwrap();
            found.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("{key}: {e}: {status}"))
        };
        let took = at("ended").duration_since(at("sent"));
        assert!(took >= jiff::SignedDuration::from_millis(1500), "it had not ended: {took:?}: {status}");
    }
}

#[test]
fn a_config_saved_while_it_works_restarts_it_after_the_turn() {
    let f = logged("--claude-history --busy 1500");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo 'remember 17' > fake/input");
    f.until_state("fake", "busy");
    let talk = f.status("fake", "conversation");
    m.sh("echo '[env]' >> fake/config; echo 'X = \"1\"' >> fake/config");
    assert_eq!(f.status("fake", "pending"), "restart");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    until_true("it restarts", || f.status("fake", "pending") == "-");
    f.until_state("fake", "ready");
    assert_eq!(f.status("fake", "conversation"), talk);
    assert!(m.read("fake/screen").contains("remember 17"), "{}", m.read("fake/screen"));
    assert!(m.read("fake/turns/0001/reply").contains("echo: remember 17"));
}

/// The turn that a restart ends must not bind what it was part of again.
#[test]
fn a_restart_in_a_turn_begins_a_conversation_of_its_own() {
    let f = logged("--claude-history");
    f.session("fake");
    let m = &f.mount;
    let talk = f.status("fake", "conversation");
    m.sh("echo SLOW60000 > fake/input");
    f.until_state("fake", "busy");
    m.sh("echo restart > fake/ctl");
    assert_eq!(m.read("fake/turns/0001/wait"), "failed\n");
    f.until_state("fake", "ready");
    let next = f.status("fake", "conversation");
    let pid = f.status("fake", "pid");
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(next != talk && words.contains(&next), "{next} after {talk}: {words}");
    m.sh("echo 'SAY(anew)' > fake/input; cat fake/wait");
    assert_eq!(m.read("fake/reply"), "anew\n");
}

#[test]
fn the_agents_own_history_gives_replies_and_talks_to_go_on_with() {
    let f = logged("--claude-history");
    f.session("fake");
    f.session("fake-2");
    let m = &f.mount;
    m.sh("echo 'SAY(the first)' > fake/input; cat fake/wait; echo 'SAY(of another)' > fake-2/input; cat fake-2/wait");
    assert_eq!(
        (m.read("fake/reply").as_str(), m.read("fake-2/reply").as_str()),
        ("the first\n", "of another\n")
    );
    let talk = f.status("fake", "conversation");
    let index = m.read("fake/history/index");
    assert!(index.starts_with(&talk) && index.lines().count() == 1, "only its own: {index}");
    assert!(m.read(&format!("fake/history/{talk}")).contains("the first"));
    assert!(m.read("conversations").contains("SAY(of%20another)"), "{}", m.read("conversations"));
    m.sh("echo restart > fake/ctl");
    f.until_state("fake", "ready");
    assert_ne!(f.status("fake", "conversation"), talk, "a restart begins anew");
    m.sh("echo 'SAY(the second)' > fake/input; cat fake/wait");
    for bad in [
        "resume nosuch",
        "resume ../x",
        &format!("resume {}", f.status("fake-2", "conversation").replace('-', "")),
    ] {
        assert!(!m.run(&format!("echo '{bad}' > fake/ctl")).status.success(), "{bad}");
    }
    m.sh(&format!("echo 'resume {talk}' > fake/ctl"));
    f.until_state("fake", "ready");
    assert_eq!(f.status("fake", "conversation"), talk);
    until_true("the old talk shows", || m.read("fake/screen").contains("the first"));
    m.sh("echo 'SAY(goes on)' > fake/input; cat fake/wait");
    assert_eq!(m.read("fake/reply"), "goes on\n");
    until_true("index, index.json and two talks", || m.sh("ls fake/history | wc -l") == "4\n");
    m.sh("echo 'resume latest' > fake/ctl");
    f.until_state("fake", "ready");
    assert_eq!(f.status("fake", "conversation"), talk, "the one that changed last");
}
