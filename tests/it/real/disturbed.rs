//! Real agents, disturbed before the paste of a prompt, between it and its Enter, and after that: by a
//! person's draft, by keys that empty the composer, by a view over the pane, by dialogs, by limits.
//! Nothing is approved, merged, sent twice or sent into a limit, and each prompt is in the model's
//! hands once and exact, or its turn says that it is not.
//!
//! Knows what a user and a person at the terminal do. `MUXFS_SEED` repeats a run. Each kind meets each
//! moment `MUXFS_PROMPTS` times (7) in each of the three looks, in four widths.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use super::super::stub_llm::Request;
use super::mounted::Live;

const WIDTHS: [u16; 4] = [40, 80, 120, 200];
/// Quiet between a paste and its Enter in these tests, so that a person can come between them, and a
/// dialog: claude shows none within 1.5 s of what was typed.
const SETTLE: Duration = Duration::from_millis(2500);
/// A key that was under way when its dialog was painted has approved it within this.
const SHOWS: Duration = Duration::from_secs(1);
/// An undisturbed prompt is delivered within this.
const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nothing,
    Draft,
    Emptied,
    Overlay,
    Dialog,
    Limit,
}

const DISTURBED: [Kind; 5] = [Kind::Draft, Kind::Emptied, Kind::Overlay, Kind::Dialog, Kind::Limit];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Before,
    Between,
    After,
}

const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Between, Moment::After];

/// splitmix64: the same everywhere for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pause(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(self.below(ms));
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
            std::thread::park_timeout(left);
        }
    }
}

/// What became of the prompts of one kind and moment.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    met: usize,
    exact: usize,
    /// Not delivered, and said so.
    told: usize,
}

struct Run<'a> {
    live: Live,
    agent: &'static str,
    /// Tells the prompts of this combination from all others.
    place: String,
    random: &'a mut Random,
    counts: &'a mut BTreeMap<(Kind, Moment), Count>,
    soon: &'a mut Vec<Duration>,
    answers: &'a mut usize,
    /// How long after its dialog was painted a tool ran that only a steered Enter can have approved:
    /// the key was under way before anybody could see the dialog.
    blind: &'a mut Vec<Duration>,
    prompts: usize,
}

/// A prompt that was written: its turn, its text, and the word it begins with.
struct Sent {
    turn: String,
    text: String,
    mark: String,
}

impl Run<'_> {
    fn person(&self, keys: &[&str]) {
        let target = format!("={}:", self.agent);
        let args: Vec<&str> = ["send-keys", "-t", &target].into_iter().chain(keys.iter().copied()).collect();
        self.live.mount.lab.tmux_ok(&args);
    }

    fn shows(&self, text: &str) -> bool {
        let target = format!("={}:", self.agent);
        self.live.mount.lab.tmux_ok(&["capture-pane", "-p", "-t", &target]).contains(text)
    }

    fn words(&mut self, what: &str) -> (String, String) {
        self.prompts += 1;
        let mark = format!("Q{}{}Z", self.place, self.prompts);
        (format!("{mark} {what} SAY(reply {mark}) end"), mark)
    }

    fn write(&mut self, what: &str) -> Sent {
        let (text, mark) = self.words(what);
        let before = self.live.turns();
        self.live.write("input", &text);
        let turn = self.live.turns().into_iter().find(|t| !before.contains(t)).unwrap();
        Sent { turn, text, mark }
    }

    /// What the model got of a prompt.
    fn got(&self, mark: &str) -> Vec<Request> {
        self.live.stub.requests().into_iter().filter(|r| r.is_prompt() && r.text.contains(mark)).collect()
    }

    fn field(&self, sent: &Sent, key: &str) -> String {
        let text = self.live.read(&format!("turns/{}/status", sent.turn));
        text.lines().find_map(|l| l.strip_prefix(&format!("{key}: "))).unwrap_or("").to_owned()
    }

    /// Waits until the prompt stands in the composer and its Enter is to come, or is over.
    fn until_between(&self, sent: &Sent) {
        self.live.until("it is typed", || {
            self.field(sent, "ended") != "-"
                || self.field(sent, "state") == "running"
                || self.shows(&sent.mark)
        });
    }

    fn until_after(&self, sent: &Sent) {
        self.live
            .until("it is taken", || self.field(sent, "ended") != "-" || !self.got(&sent.mark).is_empty());
    }

    fn count(&mut self, kind: Kind, moment: Moment) -> &mut Count {
        self.counts.entry((kind, moment)).or_default()
    }

    /// A prompt's turn is over: it was delivered once and exact, or it says that it was not.
    fn is_told(&mut self, kind: Kind, moment: Moment, sent: &Sent) -> bool {
        let stage = self.live.ended(&sent.turn);
        let got = self.got(&sent.mark);
        let same = |r: &&Request| r.text.split_whitespace().eq(sent.text.split_whitespace());
        let exact = got.iter().filter(same).count();
        let why = self.field(sent, "why");
        let what = format!("{kind:?} {moment:?} {}: {stage}, {why}, got {got:?}", sent.mark);
        assert!(got.len() <= 1, "sent twice: {what}\n{}", self.live.all());
        let told = stage != "done" || why != "-";
        assert!(told || exact == 1, "changed or not delivered, and not told: {what}\n{}", self.live.all());
        let merged = got.iter().any(|r| r.text.contains("person"));
        assert!(!merged, "a person's words were sent with it: {what}\n{}", self.live.all());
        let count = self.count(kind, moment);
        count.exact += exact;
        count.told += 1 - exact;
        // What was left of it, and a person's words among that, are a person's to remove.
        for _ in 0..3 * (1 - exact) {
            self.person(&["C-u"]);
        }
        exact == 1
    }

    fn undisturbed(&mut self) {
        let begun = Instant::now();
        let sent = self.write("");
        let exact = self.is_told(Kind::Nothing, Moment::Before, &sent);
        let took = match exact {
            true => self.got(&sent.mark)[0].arrived.saturating_duration_since(begun),
            false => Duration::MAX,
        };
        if took >= SOON {
            let load = std::fs::read_to_string("/proc/loadavg").unwrap();
            let status = self.live.read(&format!("turns/{}/status", sent.turn));
            eprintln!("{} late, after {took:?}, load {load}{status}", sent.mark);
        }
        self.soon.push(took);
        self.count(Kind::Nothing, Moment::Before).met += 1;
    }

    fn begin(&mut self, kind: Kind) -> Option<&'static str> {
        match kind {
            Kind::Draft => self.person(&["-l", "person"]),
            Kind::Emptied => self.person(&["C-u"]),
            _ => {
                let own = match self.agent {
                    "claude" => Some("C-o"),
                    "codex" => Some("C-t"),
                    _ => None,
                };
                if let Some(key) = own.filter(|_| self.random.below(2) == 0) {
                    self.person(&[key]);
                    return Some(key);
                }
                self.live.mount.lab.tmux_ok(&["copy-mode", "-t", &format!("={}:", self.agent)]);
            }
        }
        None
    }

    fn end(&mut self, kind: Kind, own: Option<&str>) {
        self.random.pause(1500);
        match (kind, own) {
            (Kind::Draft, _) => (0.."person".len()).for_each(|_| self.person(&["BSpace"])),
            (_, Some(key)) => self.person(&[key]),
            (Kind::Overlay, None) => {
                let target = format!("={}:", self.agent);
                let _ = self.live.mount.lab.tmux(&["send-keys", "-X", "-t", &target, "cancel"]);
            }
            _ => {}
        }
    }

    /// Draft, keys or a view at this moment. The moment in which it was.
    fn by_hand(&mut self, kind: Kind, wanted: Moment) -> Moment {
        let (sent, own, moment) = match wanted {
            Moment::Before => {
                let own = self.begin(kind);
                self.random.pause(500);
                (self.write("SLOW1"), own, Moment::Before)
            }
            Moment::Between | Moment::After => {
                let sent = self.write("SLOW1");
                if wanted == Moment::Between {
                    self.until_between(&sent);
                    self.random.pause(SETTLE.as_millis() as u64);
                } else {
                    self.until_after(&sent);
                    self.random.pause(700);
                }
                let own = self.begin(kind);
                let between = self.got(&sent.mark).is_empty();
                (sent, own, if between { Moment::Between } else { Moment::After })
            }
        };
        self.end(kind, own);
        self.is_told(kind, moment, &sent);
        moment
    }

    /// Answers what `sent` asks for: nothing ran before, and nothing does after a no.
    fn answer(&mut self, sent: &Sent) {
        let tool = self.live.mount.lab.path("proj/tool.txt");
        let live = &self.live;
        live.until("it asks, or its turn is over", || {
            live.state() == "blocked" || self.field(sent, "ended") != "-"
        });
        if live.state() != "blocked" {
            return;
        }
        self.random.pause(1000);
        let live = &self.live;
        assert!(!tool.exists(), "approved by accident: {}\n{}", sent.mark, live.all());
        let yes = self.random.below(2) == 0;
        let numbered = |l: &&str| l.trim_start_matches(['>', ' ']).starts_with(|c: char| c.is_ascii_digit());
        let live = &self.live;
        // It may be half painted when it is read, and claude may drop the key while a prompt stands in
        // its composer: that is told, and it is answered again.
        let mut tries = 0;
        let id = loop {
            let question = live.read("question");
            let answer = if yes { 1 } else { question.lines().filter(numbered).count() };
            let id = question.lines().next().unwrap_or_default().trim_start_matches("id: ").to_owned();
            let out = live.mount.run(&format!("echo 'answer {answer} {id}' > {}/ctl", self.agent));
            if out.status.success() {
                break id;
            }
            assert!(!tool.exists(), "{answer} was not taken, and it ran\n{}", live.all());
            tries += 1;
            assert!(
                tries < 3 && live.state() == "blocked",
                "answer {answer}: {out:?}\n{question}\n{}",
                live.all()
            );
            eprintln!("{}: answer {answer} was not taken: {}", self.agent, live.status("last_error"));
        };
        live.until("the dialog is over", || {
            live.state() != "blocked" || !live.read("question").contains(&id)
        });
        if yes {
            live.until("it runs", || tool.exists());
            std::fs::remove_file(&tool).unwrap();
        } else {
            assert!(!tool.exists(), "a no is no approval\n{}", live.all());
        }
        *self.answers += 1;
    }

    fn dialog(&mut self, wanted: Moment) -> Moment {
        match wanted {
            Moment::Before | Moment::After => {
                let first = self.write("TOOLRUN");
                self.random.pause(2000);
                let second = self.write("TOOLRUN");
                self.answer(&first);
                assert!(self.got(&second.mark).is_empty() || self.field(&first, "ended") != "-");
                self.is_told(Kind::Dialog, Moment::After, &first);
                self.answer(&second);
                self.is_told(Kind::Dialog, Moment::Before, &second);
                wanted
            }
            Moment::Between => {
                let asks = self.write("THINK1 TOOLRUN");
                self.until_after(&asks);
                self.random.pause(900);
                let (text, mark) = self.words("");
                let moment = self.steered(&asks, &text, &mark);
                self.is_told(Kind::Dialog, moment, &asks);
                moment
            }
        }
    }

    /// A prompt into an agent that is about to ask. The moment in which the dialog came up for it.
    fn steered(&mut self, asks: &Sent, text: &str, mark: &str) -> Moment {
        let path = self.live.mount.path(&format!("{}/steer", self.agent));
        let line = format!("{text}\n");
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::File::options().write(true).open(path)?;
            file.write_all(line.as_bytes())
        });
        let tool = self.live.mount.lab.path("proj/tool.txt");
        let (mut between, mut painted) = (false, None);
        self.live.until("it asks", || {
            if painted.is_none() && ["1. Yes", "Allow once"].iter().any(|option| self.shows(option)) {
                painted = Some(SystemTime::now());
            }
            between |= self.live.status("held") == "dialog";
            let over = self.field(asks, "ended") != "-";
            over || tool.exists() || self.live.state() == "blocked" && (between || writer.is_finished())
        });
        let ran = || std::fs::metadata(&tool).and_then(|m| m.modified()).ok();
        // A key that was under way approves it only now.
        let seen = Instant::now();
        self.live.until("it rests", || {
            ran().is_some() || self.live.state() != "blocked" || seen.elapsed() > SHOWS
        });
        if let Some(ran) = ran() {
            let after = painted.map_or(Duration::ZERO, |at| ran.duration_since(at).unwrap_or_default());
            eprintln!("{}: approved by a key under way, it ran {after:?} after it was painted", self.agent);
            self.blind.push(after);
            std::fs::remove_file(&tool).unwrap();
        } else {
            self.answer(asks);
        }
        let taken = writer.join().unwrap();
        let got = || self.live.stub.requests().iter().filter(|r| !r.side && r.text.contains(mark)).count();
        match &taken {
            Ok(()) => self.live.until("what was steered arrives", || got() > 0 || self.lost_by_no()),
            Err(e) => eprintln!("{}: {mark} was refused: {e}", self.agent),
        }
        // gemini puts what it queued back into the composer when its turn is cancelled.
        if got() == 0 {
            self.person(&["End", "C-u"]); // the key that hands a prompt in may have moved the cursor
        }
        match (between, taken) {
            (true, _) => Moment::Between,
            (false, Ok(())) => Moment::After,
            (false, Err(_)) => Moment::Before,
        }
    }

    /// Its screen or composer still has what it queued itself: a no ends its turn, and what it queued
    /// for it stays where it can be seen.
    fn lost_by_no(&self) -> bool {
        self.live.state() == "ready" && self.live.status("held") == "-"
    }

    /// The model refuses a prompt, and one waits behind it.
    fn limit(&mut self, wanted: Moment) -> Moment {
        let what = if wanted == Moment::Before { "ERR429" } else { "THINK1 ERR429" };
        let refused = self.write(what);
        let stands = |run: &Self| match run.agent {
            // They try again by themselves, and are busy with it.
            "gemini" | "qwen" => !run.got(&refused.mark).is_empty(),
            _ => run.live.state() == "limited",
        };
        match wanted {
            Moment::Before => self.live.until("it is limited", || stands(self)),
            Moment::Between => self.until_between(&refused),
            Moment::After => self.until_after(&refused),
        }
        self.random.pause(900);
        let waits = self.write("");
        self.live.until("it is limited", || stands(self));
        self.random.pause(2500);
        assert!(self.got(&waits.mark).is_empty(), "sent into the limit\n{}", self.live.all());
        assert_eq!(self.field(&waits, "state"), "queued", "{}", self.live.all());
        self.live.write("ctl", "restart\n");
        let stage = self.live.ended(&refused.turn);
        assert!(stage != "done", "a limit is no answer\n{}", self.live.all());
        self.is_told(Kind::Limit, wanted, &waits);
        wanted
    }

    fn disturb(&mut self, kind: Kind, moment: Moment) {
        let moment = match kind {
            Kind::Dialog => self.dialog(moment),
            Kind::Limit => self.limit(moment),
            _ => self.by_hand(kind, moment),
        };
        self.count(kind, moment).met += 1;
    }

    /// What a person left is theirs to remove.
    fn recover(&self) {
        let mut wiped = Instant::now();
        self.live.until("it is ready for the next", || {
            let rests = self.live.state() == "ready" && self.live.status("queue") == "0";
            let clean = self.live.status("held") == "-";
            if wiped.elapsed() > Duration::from_secs(3) && !(rests && clean) {
                self.person(&["C-u"]);
                wiped = Instant::now();
            }
            rests && clean
        });
    }
}

/// All widths in one of the looks.
fn disturbed(agent: &'static str, looks: &'static str) {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("MUXFS_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 16 ^ 0x5eed);
    let each = number("MUXFS_PROMPTS").unwrap_or(7) as usize;
    eprintln!("{agent} {looks}: MUXFS_SEED={seed}");
    let mut blind = Vec::new();
    let (mut random, mut counts, mut soon, mut answers) = (Random(seed), BTreeMap::new(), Vec::new(), 0);
    let cells: Vec<_> = DISTURBED.iter().flat_map(|k| MOMENTS.map(|m| (*k, m))).collect();
    for (n, width) in WIDTHS.into_iter().enumerate() {
        let live = Live::start_as(agent, width, looks, Some(SETTLE));
        live.until("it is ready", || live.state() == "ready");
        let mut run = Run {
            live,
            agent,
            place: format!("{}{n}x", &looks[..1]),
            random: &mut random,
            counts: &mut counts,
            soon: &mut soon,
            answers: &mut answers,
            blind: &mut blind,
            prompts: 0,
        };
        // With this width's part of all.
        let share = |cell: usize| (each * (n + 1) + cell % WIDTHS.len()) / WIDTHS.len();
        let mut plain = each.div_ceil(WIDTHS.len()) + each;
        let mut tries = cells.len() * each.div_ceil(WIDTHS.len()) * 2;
        loop {
            let met = |cell: &(Kind, Moment)| run.counts.get(cell).map_or(0, |count| count.met);
            let lacking = cells.iter().enumerate().filter(|(at, cell)| met(cell) < share(*at));
            let lacking: Vec<_> = lacking.map(|(_, cell)| *cell).collect();
            if plain == 0 && (lacking.is_empty() || tries == 0) {
                break;
            }
            let most = if tries == 0 { 0 } else { lacking.len() };
            let at = run.random.below((most + plain) as u64) as usize;
            match lacking.get(at).filter(|_| at < most) {
                Some((kind, moment)) => {
                    run.disturb(*kind, *moment);
                    tries -= 1;
                }
                None => {
                    run.undisturbed();
                    plain -= 1;
                }
            }
            run.recover();
        }
        eprintln!("{agent} {width} {looks}: {:?}", run.counts);
    }
    soon.sort();
    let late = soon.iter().filter(|d| **d >= SOON).count();
    let prompts: usize = counts.values().map(|c| c.exact + c.told).sum();
    eprintln!(
        "{agent} {looks}: {prompts} prompts, {answers} answers; undisturbed {}, {late} later than {SOON:?}, median {:?}, longest {:?}; by keys under way {blind:?}; {counts:?}",
        soon.len(),
        soon[soon.len() / 2],
        soon[soon.len() - 1],
    );
    let missed: Vec<_> = cells.iter().filter(|c| counts.get(*c).is_none_or(|n| n.met < each)).collect();
    assert!(missed.is_empty(), "not met {each} times: {missed:?}");
    assert!(late * 100 <= soon.len(), "{late} of {} undisturbed ones came late: {soon:?}", soon.len());
}

/// Enters of `steer` that come as near as they can to the dialog of a tool.
fn steered(agent: &'static str) {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("MUXFS_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 16 ^ 0x5eed);
    let each = number("MUXFS_STEERS").unwrap_or(20);
    eprintln!("{agent}: MUXFS_SEED={seed}");
    let live = Live::start_as(agent, 120, "dark", Some(Duration::from_millis(300)));
    live.until("it is ready", || live.state() == "ready");
    let mut run = Run {
        live,
        agent,
        place: "s".into(),
        random: &mut Random(seed),
        counts: &mut BTreeMap::new(),
        soon: &mut Vec::new(),
        answers: &mut 0,
        blind: &mut Vec::new(),
        prompts: 0,
    };
    let mut moments = BTreeMap::new();
    for _ in 0..each {
        *moments.entry(run.dialog(Moment::Between)).or_insert(0) += 1;
        run.recover();
    }
    eprintln!("{agent}: {each} steered, {moments:?}, approved by keys under way {:?}", run.blind);
    // Its dialog takes keys before it paints itself, and it has no key that only hands a prompt in.
    let may = agent == "opencode";
    assert!(may || run.blind.is_empty(), "approved by accident");
}

macro_rules! tests {
    ($($agent:literal: $dark:ident $light:ident $plain:ident;)*) => {
        $(
            #[test]
            #[ignore = "make test-agents"]
            fn $dark() {
                disturbed($agent, "dark");
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $light() {
                disturbed($agent, "light");
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $plain() {
                disturbed($agent, "plain");
            }
        )*
    };
}

tests! {
    "claude": real_agent_claude_disturbed real_agent_claude_disturbed_light real_agent_claude_disturbed_plain;
    "codex": real_agent_codex_disturbed real_agent_codex_disturbed_light real_agent_codex_disturbed_plain;
    "gemini": real_agent_gemini_disturbed real_agent_gemini_disturbed_light real_agent_gemini_disturbed_plain;
    "qwen": real_agent_qwen_disturbed real_agent_qwen_disturbed_light real_agent_qwen_disturbed_plain;
    "opencode": real_agent_opencode_disturbed real_agent_opencode_disturbed_light real_agent_opencode_disturbed_plain;
    "copilot": real_agent_copilot_disturbed real_agent_copilot_disturbed_light real_agent_copilot_disturbed_plain;
}

macro_rules! steers {
    ($($agent:literal: $test:ident;)*) => {
        $(
            #[test]
            #[ignore = "make test-agents"]
            fn $test() {
                steered($agent);
            }
        )*
    };
}

steers! {
    "claude": real_agent_claude_steered;
    "codex": real_agent_codex_steered;
    "gemini": real_agent_gemini_steered;
    "qwen": real_agent_qwen_steered;
    "opencode": real_agent_opencode_steered;
    "copilot": real_agent_copilot_steered;
}
