//! Real agents, disturbed at random moments around a paste and its Enter: by a person's draft, by keys
//! that empty the composer, by a view over the pane, by dialogs. Nothing is approved, merged or sent
//! twice, and each prompt is in the model's hands once and exact, or its turn says that it is not.
//!
//! Knows what a user and a person at the terminal do. `MUXFS_SEED` repeats a run; `MUXFS_PROMPTS`
//! says how many prompts each of the twelve combinations of width and looks gets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::mounted::Live;

const WIDTHS: [u16; 4] = [40, 80, 120, 200];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nothing,
    Draft,
    Emptied,
    Overlay,
    Dialog,
}

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
        std::thread::park_timeout(Duration::from_millis(self.below(ms)));
    }
}

#[derive(Debug, Default)]
struct Count {
    prompts: usize,
    delivered: usize,
    told: usize,
    soon: usize,
    answers: usize,
}

fn combination(
    agent: &'static str,
    width: u16,
    looks: &'static str,
    random: &mut Random,
    prompts: usize,
) -> BTreeMap<Kind, Count> {
    let live = Live::start_as(agent, width, looks);
    live.until("it is ready", || live.state() == "ready");
    let person = |keys: &[&str]| {
        let target = format!("={agent}:");
        let args: Vec<&str> = ["send-keys", "-t", &target].into_iter().chain(keys.iter().copied()).collect();
        live.mount.lab.tmux_ok(&args);
    };
    let tool = live.mount.lab.path("proj/tool.txt");
    let mut counts: BTreeMap<Kind, Count> = BTreeMap::new();
    for n in 0..prompts {
        let kind = [Kind::Nothing, Kind::Draft, Kind::Emptied, Kind::Overlay, Kind::Dialog]
            [random.below(5) as usize];
        let word = if kind == Kind::Dialog { "TOOLRUN " } else { "" };
        let text = format!("{word}SAY(reply {n}) to prompt number {n} of {width} {looks} end");
        let before = live.turns();
        let begun = Instant::now();
        live.write("input", &text);
        let name = live.turns().into_iter().find(|t| !before.contains(t)).unwrap();
        match kind {
            Kind::Nothing | Kind::Dialog => {}
            Kind::Draft => {
                random.pause(700);
                person(&["-l", "person"]);
                random.pause(1500);
                (0..6).for_each(|_| person(&["BSpace"]));
            }
            Kind::Emptied => {
                random.pause(700);
                person(&["C-u"]);
            }
            Kind::Overlay => {
                random.pause(700);
                live.mount.lab.tmux_ok(&["copy-mode", "-t", &format!("={agent}:")]);
                random.pause(500);
            }
        }
        let count = counts.entry(kind).or_default();
        count.prompts += 1;
        if kind == Kind::Dialog {
            let field = || live.read(&format!("turns/{name}/status"));
            live.until("it asks, or its turn is over", || {
                live.state() == "blocked" || !field().contains("ended: -\n")
            });
            if live.state() == "blocked" {
                random.pause(1000);
                assert!(!tool.exists(), "approved by accident: seed\n{}", live.all());
                let options = live.read("question");
                let yes = random.below(2) == 0;
                let last = options
                    .lines()
                    .filter(|l| l.trim_start_matches(['>', ' ']).starts_with(|c: char| c.is_ascii_digit()))
                    .count();
                let answer = if yes { 1 } else { last };
                let out = live.mount.run(&format!("echo 'answer {answer}' > {agent}/ctl"));
                count.answers += 1;
                live.until("the dialog is over", || live.state() != "blocked" || !out.status.success());
                if out.status.success() && !yes {
                    assert!(!tool.exists(), "{answer} is no approval\n{}", live.all());
                }
            }
        }
        let stage = live.ended(&name);
        let _ = std::fs::remove_file(&tool);
        let got: Vec<String> = live.stub.prompts().into_iter().map(|r| r.text).collect();
        let same = |a: &str| a.split_whitespace().eq(text.split_whitespace());
        let exact = got.iter().filter(|g| same(g)).count();
        let mine =
            got.iter().filter(|g| g.contains(&format!("prompt number {n} of {width} {looks}"))).count();
        let status = live.read(&format!("turns/{name}/status"));
        assert!(exact <= 1 && mine <= 1, "{kind:?}: sent twice or changed: {got:?}\n{status}");
        assert!(
            mine == exact || stage != "done" || !status.contains("why: -\n"),
            "{kind:?}: changed and not told: {got:?}\n{status}"
        );
        assert!(
            exact == 1 || stage != "done" || !status.contains("why: -\n"),
            "{kind:?}: not delivered, and {stage}\n{status}\n{}",
            live.all()
        );
        count.delivered += exact;
        count.told += 1 - exact;
        count.soon += usize::from(exact == 1 && begun.elapsed() < Duration::from_secs(10));
        assert!(
            got.iter().all(|g| !(g.contains("person") && g.contains("prompt number"))),
            "merged: {got:?}"
        );
        // A draft that was left, and what an interrupt put back, are the person's to remove.
        if live.status("held") != "-" || stage == "uncertain" {
            person(&["C-u"]);
        }
        live.until("it is ready for the next", || live.state() == "ready");
    }
    counts
}

fn disturbed(agent: &'static str) {
    let seed = std::env::var("MUXFS_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 16 ^ 0x5eed);
    let prompts = std::env::var("MUXFS_PROMPTS").ok().and_then(|s| s.parse().ok()).unwrap_or(25);
    eprintln!("{agent}: MUXFS_SEED={seed}");
    let mut random = Random(seed);
    for looks in ["dark", "light", "plain"] {
        for width in WIDTHS {
            let counts = combination(agent, width, looks, &mut random, prompts);
            eprintln!("{agent} {width} {looks}: {counts:?}");
        }
    }
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_claude_disturbed() {
    disturbed("claude");
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_codex_disturbed() {
    disturbed("codex");
}

#[test]
#[ignore = "make test-agents"]
fn real_agent_gemini_disturbed() {
    disturbed("gemini");
}
