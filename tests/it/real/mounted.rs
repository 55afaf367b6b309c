//! Real agents through the mount, against the stub: turns, questions, interrupts, resumes, ends.
//!
//! Knows what a user does with files; must not know any agent's keys: the manifests do.

use std::time::{Duration, Instant};

use super::super::doc::root;
use super::super::stub_llm::Stub;
use super::super::support::{Lab, Mount};
use super::recipe;

/// Real agents take seconds; on a busy machine many.
const LIMIT: Duration = Duration::from_secs(90);

/// Prompts written at once.
const TURNS: usize = 20;

pub(super) struct Live {
    pub mount: Mount,
    pub stub: Stub,
    agent: &'static str,
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

impl Live {
    /// `mkdir AGENT`, as the README has it. Nothing waits until it is ready: the first prompts come before.
    pub(super) fn start(agent: &'static str) -> Live {
        Live::with_model(agent, |stub| stub.port())
    }

    /// The same in a pane of `width` columns, in a light theme, in `vim` mode, or `plain`: without
    /// colours. Between a paste and its Enter there is `settle`.
    pub(super) fn start_as(agent: &'static str, width: u16, looks: &str, settle: Option<Duration>) -> Live {
        Live::start_with(agent, width, looks, settle, |stub| stub.port())
    }

    /// The same with a model behind another port than the stub's.
    pub(super) fn with_model(agent: &'static str, port: impl FnOnce(&Stub) -> u16) -> Live {
        Live::start_with(agent, 120, "dark", None, port)
    }

    fn start_with(
        agent: &'static str,
        width: u16,
        looks: &str,
        settle: Option<Duration>,
        port: impl FnOnce(&Stub) -> u16,
    ) -> Live {
        let lab = Lab::new();
        let stub = Stub::start().unwrap();
        let port = port(&stub);
        let cwd = lab.path("proj");
        std::fs::create_dir(&cwd).unwrap();
        let git = std::process::Command::new("git").args(["init", "-q"]).arg(&cwd).status().unwrap();
        assert!(git.success());
        let recipe = recipe::home(agent, &lab.home(), &cwd, port);
        set(agent, &lab.home(), looks);
        if let Some(settle) = settle {
            settles(agent, &lab.path("config/agents"), settle);
        }
        let env: String = recipe.env.iter().map(|(k, v)| format!("{k} = {}\n", quoted(v))).collect();
        let args: Vec<&String> = recipe.command[1..].iter().collect();
        let args = if args.is_empty() { String::new() } else { format!("args = {args:?}\n") };
        let more = if looks == "plain" { "NO_COLOR = \"1\"\n" } else { "" };
        let key = agent.trim_end_matches("-old");
        let size = format!("[session]\nsize = \"{width}x40\"\n");
        let config = format!("{size}\n[session.env]\n{env}{more}\n[agent.{key}]\n{args}\n");
        let mount = Mount::configured(lab, &config);
        let live = Live { mount, stub, agent };
        live.sh(&format!("cd {} && mkdir {}", cwd.display(), live.mount.path(agent).display()));
        live
    }

    fn sh(&self, script: &str) -> String {
        let out = self.mount.run(script);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{script}: {said}\n{}", self.all());
        String::from_utf8(out.stdout).unwrap()
    }

    pub(super) fn read(&self, file: &str) -> String {
        self.mount.read(&format!("{}/{file}", self.agent))
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        let path = self.mount.path(&format!("{}/{file}", self.agent));
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{file}: {e}\n{}", self.all()));
    }

    pub(super) fn status(&self, key: &str) -> String {
        let text = self.read("status");
        text.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).unwrap_or("-").to_owned()
    }

    pub(super) fn state(&self) -> String {
        self.status("state")
    }

    /// All that helps to see why a test failed.
    pub(super) fn all(&self) -> String {
        format!("{}\n{}\n{}", self.read("status"), self.read("screen"), self.mount.read("errors"))
    }

    pub(super) fn until(&self, what: &str, met: impl FnMut() -> bool) {
        self.within(LIMIT, what, met);
    }

    pub(super) fn within(&self, limit: Duration, what: &str, mut met: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !met() {
            assert!(begun.elapsed() < limit, "{}: not within {limit:?}: {what}\n{}", self.agent, self.all());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Waits until turn `name` is over; how it ended.
    pub(super) fn ended(&self, name: &str) -> String {
        self.ended_within(LIMIT, name)
    }

    pub(super) fn ended_within(&self, limit: Duration, name: &str) -> String {
        let field = |key: &str| {
            let text = self.read(&format!("turns/{name}/status"));
            text.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).unwrap_or("").to_owned()
        };
        self.within(limit, &format!("turn {name} is over"), || field("ended") != "-");
        field("state")
    }

    /// One prompt to its answer.
    pub(super) fn ask(&self, prompt: &str) -> (String, String) {
        let before: Vec<String> = self.turns();
        self.write("input", prompt);
        let after = self.turns();
        let name = after.iter().find(|t| !before.contains(t)).unwrap_or_else(|| panic!("{}", self.all()));
        (self.ended(name), self.read(&format!("turns/{name}/reply")))
    }

    pub(super) fn turns(&self) -> Vec<String> {
        let dir = std::fs::read_dir(self.mount.path(&format!("{}/turns", self.agent))).unwrap();
        dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Processes that have this laboratory's home.
    fn processes(&self) -> Vec<u32> {
        let home = format!("HOME={}", self.mount.lab.home().display());
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let ours = pids.filter(|pid| {
            let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let inside = env.split(|b| *b == 0).any(|v| v.starts_with(b"MUXFS_AGENT="));
            inside && env.split(|b| *b == 0).any(|v| v == home.as_bytes())
        });
        ours.collect()
    }
}

/// Its settings ask for a light theme, or for vim's keys.
fn set(agent: &str, home: &std::path::Path, looks: &str) {
    let (file, from, to) = match (agent, looks) {
        ("claude", "light") => (".claude.json", "{", "{ \"theme\": \"light\","),
        ("claude", "vim") => (".claude.json", "{", "{ \"editorMode\": \"vim\","),
        ("gemini", "light") => {
            (".gemini/settings.json", "\"ui\": {", "\"ui\": { \"theme\": \"Default Light\",")
        }
        ("gemini", "vim") => (".gemini/settings.json", "\"general\": {", "\"general\": { \"vimMode\": true,"),
        ("codex", "vim") => {
            (".codex/config.toml", "[analytics]", "[tui]\nvim_mode_default = true\n\n[analytics]")
        }
        _ => return, // it asks the terminal
    };
    let path = home.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Its manifest, with this time between a paste and its Enter.
fn settles(agent: &str, dir: &std::path::Path, settle: Duration) {
    let text = std::fs::read_to_string(root().join(format!("agents/{agent}.toml"))).unwrap();
    let without: Vec<&str> = text.lines().filter(|l| !l.starts_with("settle = ")).collect();
    let line = format!("settle = \"{}ms\"", settle.as_millis());
    let text = match without.iter().position(|l| *l == "[submit]") {
        Some(at) => [&without[..=at], &[line.as_str()], &without[at + 1..]].concat().join("\n"),
        None => {
            let at = without.iter().position(|l| l.starts_with('[')).unwrap();
            [&without[..at], &["[submit]", &line, ""], &without[at..]].concat().join("\n")
        }
    };
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(format!("{agent}.toml")), text).unwrap();
}

fn answers_in_order(l: &Live) {
    for n in 1..=TURNS {
        l.write("input", &format!("SAY(reply {n}) please"));
    }
    for n in 1..=TURNS {
        let name = format!("{n:04}");
        assert_eq!(l.ended(&name), "done", "{n}\n{}", l.all());
        assert_eq!(l.read(&format!("turns/{name}/reply")), format!("reply {n}\n"), "{}", l.all());
    }
    let asked: Vec<String> = l.stub.prompts().into_iter().map(|r| r.text).collect();
    let wanted: Vec<String> = (1..=TURNS).map(|n| format!("SAY(reply {n}) please")).collect();
    assert_eq!(asked, wanted, "{}", l.all());
}

fn long_prompts_arrive_whole(l: &Live) {
    let lines: Vec<String> = (1..=41).map(|n| format!("line {n} of a long prompt")).collect();
    let (stage, _) = l.ask(&format!("SAY(forty-one)\n{}", lines[1..].join("\n")));
    assert_eq!(stage, "done", "{}", l.all());
    assert_eq!(l.read("reply"), "forty-one\n", "{}", l.all());
    let got = l.stub.prompts().pop().unwrap().text;
    assert!(lines[1..].iter().all(|line| got.contains(line)), "{got}");
    assert_eq!(l.stub.prompts().len(), TURNS + 1, "one prompt: {:?}", l.stub.prompts());
    a_large_prompt_is_asked(l, 3500);
}

/// Agents lay out, cut and trim what is pasted; the words and their order stay.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// A prompt of `size` bytes is asked as one, whole.
fn a_large_prompt_is_asked(l: &Live, size: usize) {
    let before = l.stub.prompts().len();
    let mut text = format!("SAY({size} bytes)\n");
    for n in 1.. {
        let row = format!("row {n} of a prompt that is {size} bytes long, it says\n");
        if text.len() + row.len() > size {
            break;
        }
        text.push_str(&row);
    }
    let begun = Instant::now();
    let (stage, reply) = l.ask(&text);
    eprintln!("{}: {size} bytes: {:?}", l.agent, begun.elapsed());
    let asked = l.stub.prompts().split_off(before);
    assert_eq!(asked.len(), 1, "one prompt, {stage}: {asked:?}\n{}", l.all());
    let answer = words(&asked[0].answer);
    assert_eq!((stage.as_str(), words(&reply)), ("done", answer), "{}", l.all());
    let sent = &asked[0].text;
    // One keeps what is large in a file, and sends the file's name.
    let file = sent.split_once("<pasted_content file=\"").and_then(|(_, rest)| rest.split_once('"'));
    let sent = file.map_or(sent.clone(), |(path, _)| std::fs::read_to_string(path).unwrap());
    let got = words(&sent);
    let first = got.iter().position(|w| w.starts_with("SAY(")).unwrap();
    let wanted = words(&text);
    let differs = wanted.iter().zip(&got[first..]).position(|(a, b)| a != b);
    // Some put a word or two behind it (claude 2.1.329 two).
    let more = got.get(first + wanted.len()..).map_or(usize::MAX, <[&str]>::len);
    assert!(differs.is_none() && more <= 4, "{}: {differs:?}, {:?}", l.agent, got.last());
}

/// The turn of the `n`th prompt after the first ones.
fn turn(n: usize) -> String {
    format!("{:04}", TURNS + n)
}

fn what_comes_while_it_works_waits(l: &Live) {
    l.write("input", "SLOW3 SAY(slow one)");
    l.until("it works", || l.state() == "busy");
    l.write("input", "SAY(after it)");
    let (slow, after) = (turn(3), turn(4));
    assert_eq!((l.ended(&slow), l.ended(&after)), ("done".into(), "done".into()));
    assert_eq!(l.read(&format!("turns/{slow}/reply")), "slow one\n");
    assert_eq!(l.read(&format!("turns/{after}/reply")), "after it\n");
}

fn an_approval_is_asked_for_and_given(l: &Live) {
    l.write("input", "TOOLRUN SAY(ran it)");
    l.write("input", "SAY(later)");
    l.until("it asks", || l.state() == "blocked");
    l.until("the question is told", || l.read("question").contains("1."));
    let question = l.read("question");
    assert!(question.contains("tool-was-run"), "{question}\n{}", l.all());
    assert_eq!(l.read("wait"), "blocked\n");
    let id = question.lines().next().unwrap().trim_start_matches("id: ").to_owned();
    assert!(!l.mount.run(&format!("echo 'answer 1 00000000-9' > {}/ctl", l.agent)).status.success());
    l.write("ctl", &format!("answer 1 {id}\n"));
    assert_eq!(l.ended(&turn(5)), "done", "{}", l.all());
    assert_eq!(l.ended(&turn(6)), "done", "{}", l.all());
    assert!(l.mount.lab.path("proj/tool.txt").exists(), "the tool ran\n{}", l.all());
    assert_eq!(l.read("reply"), "later\n");
}

/// A question of the model's own, with a field beside its options.
fn a_question_takes_words_of_ones_own(l: &Live) {
    if l.agent == "codex" {
        l.write("keys", "BTab\n"); // it asks in plan mode only
        l.until("it plans", || l.read("screen").contains("Plan mode"));
    }
    let asks = |prompt: &str, answer: &str| {
        let before = l.turns();
        l.write("input", prompt);
        let after = l.turns();
        let name = after.iter().find(|t| !before.contains(t)).unwrap_or_else(|| panic!("{}", l.all()));
        l.until("it asks", || l.state() == "blocked");
        l.until("the question is told", || l.read("question").contains("1. SQLite"));
        let question = l.read("question");
        assert!(
            question.contains("Which store should it use?") && question.contains("2. Redis"),
            "{question}"
        );
        l.write("ctl", answer);
        assert_eq!(l.ended(name), "done", "{}", l.all());
        words(&l.read(&format!("turns/{name}/reply"))).join(" ")
    };
    let told = asks("ASKME", "answer-text 1 file for each\n");
    assert!(told.contains("1 file for each"), "{told}\n{}", l.all());
    let told = asks("ASKME again", "answer 2\n");
    assert!(told.contains("Redis") && !told.contains("1 file for each"), "{told}\n{}", l.all());
}

fn an_interrupt_ends_a_turn(l: &Live) {
    l.write("input", "SLOW30 SAY(never whole)");
    l.until("it works", || l.state() == "busy");
    l.write("ctl", "interrupt\n");
    assert_eq!(l.ended(&turn(7)), "interrupted", "{}", l.all());
    let (stage, reply) = l.ask("SAY(goes on)");
    assert_eq!((stage.as_str(), reply.as_str()), ("done", "goes on\n"), "{}", l.all());
}

/// `ctl new`: the next prompt begins another conversation.
fn a_new_talk_is_begun(l: &Live) {
    let (talk, old) = (l.status("conversation"), l.stub.prompts().pop().unwrap().messages);
    l.until("it is ready", || l.state() == "ready");
    l.write("ctl", "new\n");
    let (stage, reply) = l.ask("SAY(something new)");
    assert_eq!((stage.as_str(), reply.as_str()), ("done", "something new\n"), "{}", l.all());
    let new = l.stub.prompts().pop().unwrap().messages;
    assert!(new < old, "{old} messages were sent, then {new}\n{}", l.all());
    if l.agent != "aider" {
        l.until("another conversation", || !["-", &talk].contains(&&*l.status("conversation")));
    }
}

/// Restart begins anew, resume brings the conversation back.
fn a_talk_is_resumed(l: &Live) {
    l.until("its conversation is known", || l.status("conversation") != "-");
    let talk = l.status("conversation");
    l.write("ctl", "restart\n");
    l.until("it is ready again", || l.state() == "ready");
    let (stage, _) = l.ask("SAY(another talk)");
    assert_eq!(stage, "done", "{}", l.all());
    l.until("another conversation", || !["-", &talk].contains(&&*l.status("conversation")));
    let index = l.read("history/index");
    assert!(index.contains(&talk), "{index}");
    assert!(l.read(&format!("history/{talk}")).contains("goes on"));
    l.write("ctl", &format!("resume {talk}\n"));
    l.until("it is ready with the old talk", || l.state() == "ready");
    let (stage, reply) = l.ask("SAY(resumed)");
    assert_eq!((stage.as_str(), reply.as_str()), ("done", "resumed\n"), "{}", l.all());
    let last = l.stub.prompts().pop().unwrap();
    assert!(last.messages > 20, "the talk is sent again: {last:?}");
}

fn nothing_is_left(l: &Live) {
    assert!(!l.processes().is_empty());
    l.sh(&format!("rmdir {}", l.agent));
    l.until("no process is left", || l.processes().is_empty());
}

fn all_of_it(agent: &'static str, can_resume: bool, large: usize) {
    let l = Live::start(agent);
    answers_in_order(&l);
    long_prompts_arrive_whole(&l);
    what_comes_while_it_works_waits(&l);
    an_approval_is_asked_for_and_given(&l);
    an_interrupt_ends_a_turn(&l);
    if can_resume {
        a_talk_is_resumed(&l);
    }
    a_new_talk_is_begun(&l);
    if agent != "aider" {
        a_question_takes_words_of_ones_own(&l); // it has no tool that asks
    }
    a_large_prompt_is_asked(&l, large);
    nothing_is_left(&l);
}

#[test]
fn real_ci_gemini_through_the_mount() {
    all_of_it("gemini", true, 200_000);
}

#[test]
fn real_ci_qwen_through_the_mount() {
    all_of_it("qwen", true, 200_000);
}

#[test]
fn real_ci_continue_through_the_mount() {
    // Of 200 kB it draws itself anew for more than a minute.
    all_of_it("continue", true, 20_000);
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_claude_through_the_mount() {
    all_of_it("claude", true, 200_000);
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_codex_through_the_mount() {
    all_of_it("codex", true, 200_000);
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_opencode_through_the_mount() {
    all_of_it("opencode", true, 200_000);
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_copilot_through_the_mount() {
    all_of_it("copilot", true, 200_000);
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_aider_through_the_mount() {
    // It has one rolling file and no ids.
    all_of_it("aider", false, 200_000);
}
