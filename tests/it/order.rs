//! Many writers at once on one session, through the real mount: what was accepted is what the
//! agent took and what its model was asked, in one order, each once and whole; also when the
//! daemon is killed in between, but for a prompt that is marked `uncertain`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::stub_llm::Stub;
use super::support::{LIMIT, Lab, Mount, within};
use super::turns::Fakes;

/// A round of 200 prompts takes a minute, and more on a busy machine.
const ROUND: Duration = Duration::from_secs(400);

/// Agents that ask a model and tell by hooks when they take a prompt and when they are done.
struct Fleet {
    fakes: Fakes,
    stub: Stub,
}

/// A turn as its files show it.
#[derive(Debug)]
struct Shown {
    number: u64,
    state: String,
    prompt: String,
}

/// A program that writes one or more prompts, each kept with its exit status.
struct Writer {
    child: Child,
    texts: Vec<String>,
    log: PathBuf,
}

impl Fleet {
    fn start(sessions: &[&str]) -> Self {
        let stub = Stub::start().unwrap();
        let lab = Fakes::prepared(Lab::new());
        Fakes::hook_up(&lab);
        let args = format!("--log {} --llm 127.0.0.1:{}", lab.path("taken").display(), stub.port());
        let mount = Mount::configured(lab, &Fakes::config(&args, ""));
        let fleet = Fleet { fakes: Fakes { mount }, stub };
        sessions.iter().for_each(|name| fleet.fakes.session(name));
        fleet
    }

    fn mount(&self) -> &Mount {
        &self.fakes.mount
    }

    /// What the agent of `session` took, by the mark that each of its prompts bears.
    fn taken(&self, session: &str) -> Vec<String> {
        of(session, self.fakes.taken())
    }

    fn asked(&self, session: &str) -> Vec<String> {
        of(session, self.stub.prompts().into_iter().map(|r| r.text).collect())
    }

    /// In the order of acceptance.
    fn turns(&self, session: &str) -> Vec<Shown> {
        let dir = self.mount().path(&format!("{session}/turns"));
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let shown = names.map(|name| {
            let read = |file: &str| self.mount().read(&format!("{session}/turns/{name}/{file}"));
            let status = read("status");
            let field = |key: &str| {
                let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
                line.unwrap_or_else(|| panic!("{key} in {status}")).to_owned()
            };
            let prompt = read("prompt");
            let prompt = prompt.strip_suffix('\n').unwrap_or(&prompt).to_owned();
            Shown { number: field("number").parse().unwrap(), state: field("state"), prompt }
        });
        let mut shown: Vec<Shown> = shown.collect();
        shown.sort_by_key(|t| t.number);
        shown
    }

    /// A process that waits for `gate` to close, then writes `each` prompts one after the other.
    fn writer(&self, session: &str, mark: &str, n: usize, each: usize, gate: &std::io::PipeReader) -> Writer {
        let lab = self.fakes.lab();
        let dir = lab.path(&format!("w/{session}-{mark}-{n}"));
        std::fs::create_dir_all(&dir).unwrap();
        let texts: Vec<String> = (0..each).map(|i| text(session, mark, n, i)).collect();
        let mut script = String::from("read -r _\n");
        for (i, text) in texts.iter().enumerate() {
            std::fs::write(dir.join(format!("p{i}")), format!("{text}\n")).unwrap();
            let name = format!("{mark}-{n}-{i}");
            script.push_str(&format!("P=$(cat p{i}); {} && echo {i} >> ok\n", way(n + i, i, &name)));
        }
        script.push_str(":\n");
        let mut command = Command::new("timeout");
        command.args([&ROUND.as_secs().to_string(), "sh", "-c", &script]).current_dir(&dir);
        command.env("S", self.mount().path(session)).stdin(Stdio::from(gate.try_clone().unwrap()));
        let said = || std::fs::File::options().append(true).create(true).open(dir.join("said")).unwrap();
        let child = command.stdout(said()).stderr(said()).spawn().unwrap();
        Writer { child, texts, log: dir }
    }

    /// `count` writers for each session, all at once.
    fn writers(&self, sessions: &[&str], mark: &str, count: usize, each: usize) -> Vec<Writer> {
        let (gate, open) = std::io::pipe().unwrap();
        let all: Vec<Writer> = sessions
            .iter()
            .flat_map(|s| (0..count).map(move |n| (s, n)))
            .map(|(s, n)| self.writer(s, mark, n, each, &gate))
            .collect();
        drop(open);
        all
    }

    /// Until every prompt has had its turn. A queue that stands still is told with all there is.
    fn until_idle(&self, session: &str) {
        let status = |key| self.fakes.status(session, key);
        let (mut before, mut since) = (String::new(), Instant::now());
        within(ROUND, &format!("{session} is done"), || {
            let now = [status("queue"), status("turn"), status("state")];
            if now == ["0", "-", "ready"] {
                return Some(());
            }
            let now = now.join(" ");
            if now != before {
                (before, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < LIMIT, "it stands still: {}", self.told(session));
            None
        });
    }

    fn told(&self, session: &str) -> String {
        let files = ["status", "screen", "../errors"];
        files.map(|f| self.mount().read(&format!("{session}/{f}"))).join("\n")
    }

    /// One round without a crash: everything is there, everywhere in one order.
    fn round(&self, sessions: &[&str], mark: &str, count: usize, each: usize) {
        let writers = self.writers(sessions, mark, count, each);
        let wrote: Vec<(Vec<String>, PathBuf)> = writers
            .into_iter()
            .map(|mut w| {
                let status = within(ROUND, "a writer ends", || w.child.try_wait().unwrap());
                assert!(status.success(), "{}", w.said());
                w.check_answers(each);
                (w.texts, w.log)
            })
            .collect();
        for session in sessions {
            self.until_idle(session);
            let turns: Vec<Shown> =
                self.turns(session).into_iter().filter(|t| t.prompt.contains(&bears(mark))).collect();
            let accepted: Vec<&str> = turns.iter().map(|t| t.prompt.as_str()).collect();
            let now = |all: Vec<String>| -> Vec<String> {
                all.into_iter().filter(|p| p.contains(&bears(mark))).collect()
            };
            assert!(turns.iter().all(|t| t.state == "done"), "{turns:?}");
            assert_eq!(now(self.taken(session)), accepted, "{session}: taken as accepted");
            assert_eq!(now(self.asked(session)), accepted, "{session}: asked as accepted");
            let mut wanted: Vec<&str> = Vec::new();
            for (texts, _) in wrote.iter().filter(|(t, _)| t[0].contains(&format!("<{session} "))) {
                wanted.extend(texts.iter().map(String::as_str));
                let at = |text: &String| accepted.iter().position(|p| p == text);
                assert!(texts.iter().map(at).is_sorted(), "one writer's own order: {texts:?}");
            }
            let mut accepted = accepted;
            accepted.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(accepted, wanted, "{session}: none lost, none doubled, none mixed");
        }
        assert_eq!(self.mount().read("errors"), "");
    }
}

/// A seeded walk of numbers (xorshift), so that a failure can be had again.
struct Seeded(u64);

impl Seeded {
    fn new() -> Self {
        let given = std::env::var("MUXFS_SEED").ok().and_then(|s| s.parse().ok());
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(clock.as_nanos() as u64 | 1);
        eprintln!("MUXFS_SEED={seed}");
        Seeded(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

impl Fleet {
    /// A round in which the daemon is killed `kills` times at random moments.
    fn crash_round(&mut self, mark: &str, count: usize, kills: usize, seed: &mut Seeded) {
        let session = "fake";
        let mut writers = self.writers(&[session], mark, count, 2);
        for _ in 0..kills {
            // From among the writers' first closes to well into the turns.
            std::thread::park_timeout(Duration::from_millis(seed.below(2000)));
            self.fakes.mount.kill9();
            if seed.below(3) == 0 {
                // One that comes up and goes again before it has looked at everything.
                self.fakes.mount.start_again();
                self.fakes.mount.kill9();
            }
            self.fakes.mount.start_again();
        }
        for w in &mut writers {
            within(ROUND, "a writer ends", || w.child.try_wait().unwrap());
        }
        self.until_idle(session);
        self.check_after_crashes(session, mark, &writers, kills);
    }

    fn check_after_crashes(&self, session: &str, mark: &str, writers: &[Writer], kills: usize) {
        let of_round = |all: Vec<String>| -> Vec<String> {
            all.into_iter().filter(|p| p.contains(&bears(mark))).collect()
        };
        let (taken, asked) = (of_round(self.taken(session)), of_round(self.asked(session)));
        let turns: Vec<Shown> =
            self.turns(session).into_iter().filter(|t| t.prompt.contains(&bears(mark))).collect();
        let said = || self.mount().read("errors");
        assert_eq!(taken, asked, "the model was asked what was taken: {}", said());
        let once: HashSet<&String> = taken.iter().collect();
        assert_eq!(once.len(), taken.len(), "none twice: {taken:?} {}", said());
        let uncertain = turns.iter().filter(|t| t.state == "uncertain").count();
        assert!(uncertain <= 2 * kills, "{uncertain} uncertain");
        let wrong: Vec<&Shown> =
            turns.iter().filter(|t| !matches!(&*t.state, "done" | "uncertain")).collect();
        assert!(wrong.is_empty(), "{wrong:?} {}", said());
        let sent: Vec<&String> = turns
            .iter()
            .filter(|t| t.state == "done" || once.contains(&t.prompt))
            .map(|t| &t.prompt)
            .collect();
        assert_eq!(taken.iter().collect::<Vec<_>>(), sent, "taken as accepted: {turns:?} {}", said());
        let wrote: HashSet<&str> = writers.iter().flat_map(|w| &w.texts).map(String::as_str).collect();
        assert!(turns.iter().all(|t| wrote.contains(&*t.prompt)), "none mixed");
        let accepted: HashSet<&str> = turns.iter().map(|t| t.prompt.as_str()).collect();
        assert_eq!(accepted.len(), turns.len(), "none accepted twice");
        for prompt in writers.iter().flat_map(Writer::accepted) {
            assert!(accepted.contains(prompt), "acknowledged and lost: {prompt}");
        }
        eprintln!("{mark}: {} accepted, {} taken, {uncertain} uncertain", turns.len(), taken.len());
    }
}

impl Writer {
    /// Which of its prompts were acknowledged.
    fn accepted(&self) -> Vec<&str> {
        let ok = std::fs::read_to_string(self.log.join("ok")).unwrap_or_default();
        ok.lines().map(|i| self.texts[i.parse::<usize>().unwrap()].as_str()).collect()
    }

    fn said(&self) -> String {
        format!("{}: {}", self.log.display(), std::fs::read_to_string(self.log.join("said")).unwrap())
    }

    /// An `ask` gave the answer to its own prompt.
    fn check_answers(&self, each: usize) {
        for i in 0..each {
            if let Ok(answer) = std::fs::read_to_string(self.log.join(format!("a{i}"))) {
                let first = self.texts[i].lines().next().unwrap();
                assert!(answer.starts_with(&format!("ANSWER {first} [")), "{first}: {answer}");
            }
        }
    }
}

fn bears(mark: &str) -> String {
    format!(" {mark} ")
}

/// Every line tells whose it is, so that a mixture shows. Some have one line, some 41.
fn text(session: &str, mark: &str, n: usize, i: usize) -> String {
    let lines = [1, 3, 41][n % 3];
    let line = |l| format!("<{session} {mark} {n}.{i}> line {l} of {lines}");
    (1..=lines).map(line).collect::<Vec<_>>().join("\n")
}

/// The ways in which a shell writes a prompt. A name of one's own is tried until it is there.
///
/// Where the shell itself opens the file (dash for every `>`, bash for its builtins), it closes it
/// by dup2(2), which tells no error: a daemon that dies just then is not seen. A program that was
/// put in the shell's place by `exec` closes it and tells.
fn way(kind: usize, i: usize, name: &str) -> String {
    match kind % 5 {
        0 => "(exec /bin/echo \"$P\" > \"$S/input\")".into(),
        1 => format!("until cp p{i} \"$S/queue/{name}\" || [ -e \"$S/turns/{name}\" ]; do sleep 0.1; done"),
        2 => format!("(exec cat p{i} > \"$S/input\")"),
        // Closed by the shell, so this is never counted as acknowledged.
        3 => format!("{{ head -n 1 p{i}; tail -n +2 p{i}; }} > \"$S/input\"; ! :"),
        _ => format!("{{ echo \"$P\" >&3 && cat <&3 > a{i}; }} 3<> \"$S/ask\""),
    }
}

fn of(session: &str, all: Vec<String>) -> Vec<String> {
    all.into_iter().filter(|p| p.starts_with(&format!("<{session} "))).collect()
}

#[test]
fn twelve_writers_at_once_three_times() {
    let fleet = Fleet::start(&["fake"]);
    for round in 1..=3 {
        fleet.round(&["fake"], &format!("r{round}"), 12, 2);
    }
}

/// Three rounds side by side: what goes to one session must not turn up in another either.
#[test]
fn two_hundred_writers_at_once_on_each_of_three_sessions() {
    let sessions = ["fake", "fake-2", "fake-3"];
    Fleet::start(&sessions).round(&sessions, "r1", 200, 1);
}

#[test]
fn a_daemon_that_is_killed_loses_and_doubles_nothing() {
    let mut seed = Seeded::new();
    let mut fleet = Fleet::start(&["fake"]);
    for round in 1..=3 {
        fleet.crash_round(&format!("r{round}"), 12, 3, &mut seed);
    }
}

/// Ignored tests of this name are run by `make soak`.
mod soak {
    use super::*;

    #[test]
    #[ignore = "soak: twenty rounds take half an hour"]
    fn soak_order_of_many_writers() {
        let fleet = Fleet::start(&["fake"]);
        for round in 1..=20 {
            fleet.round(&["fake"], &format!("few{round}"), 12, 2);
            fleet.round(&["fake"], &format!("many{round}"), 200, 1);
            eprintln!("round {round}: in order");
        }
    }

    #[test]
    #[ignore = "soak: twenty rounds with crashes take half an hour"]
    fn soak_order_with_crashes() {
        let mut seed = Seeded::new();
        let mut fleet = Fleet::start(&["fake"]);
        for round in 1..=20 {
            fleet.crash_round(&format!("few{round}"), 12, 3, &mut seed);
            fleet.crash_round(&format!("many{round}"), 200, 6, &mut seed);
        }
    }
}
