//! Real agents whose model fails, at once or after a while: each says it in its own way, some after
//! many attempts of their own, and what waits is not sent into it.
//!
//! Knows what was measured of each version that `tests/agents/install` names.

use std::time::{Duration, Instant};

use super::mounted::Live;

/// How an agent takes an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The turn is over by it, for this reason.
    Limit(&'static str),
    /// It asks; the option that begins so ends the turn, for this reason.
    Asks(&'static str, &'static str),
    /// It says so, and tries on for hours: the state tells it, and the turn goes on.
    Waits(&'static str),
    /// It tries on without a word, for longer than anybody waits: it is busy.
    TriesOn,
}

/// Some try for long before they end their turn: without a network gemini for 290 s, claude 185 s,
/// opencode 160 s, qwen 105 s, copilot 40 s; opencode also for 90 to 170 s after an error.
const ATTEMPTS: Duration = Duration::from_secs(400);
/// Work that came before the error.
const WORK: [u64; 3] = [0, 3, 40];

fn takes(agent: &str, error: &str) -> Takes {
    match (agent, error) {
        // It tried for more than 20 minutes.
        ("gemini", "ERR429") => Takes::TriesOn,
        // The first word comes after 70 s; after 20 minutes it was at attempt 5 of 10.
        ("qwen", "ERR429") => Takes::Waits("usage"),
        // It counts no attempts.
        ("codex", "network") => Takes::Waits("network"),
        ("gemini", "ERR404") => Takes::Asks("Stop", "model"),
        (_, "ERR429") => Takes::Limit("usage"),
        (_, "ERR401") => Takes::Limit("login"),
        (_, "ERR404") => Takes::Limit("model"),
        _ => Takes::Limit("network"),
    }
}

/// A prompt that fails, and one that waits behind it.
fn fails(l: &Live, takes: Takes, prompt: &str) {
    l.write("input", prompt);
    l.write("input", "SAY(next)");
    let begun = Instant::now();
    let reason = match takes {
        Takes::Limit(reason) => reason,
        Takes::Asks(option, reason) => {
            l.within(ATTEMPTS, "it asks", || l.state() == "blocked" && l.read("question").contains(option));
            l.write("ctl", &format!("answer {option}\n"));
            reason
        }
        Takes::Waits(reason) => {
            l.within(ATTEMPTS, "the state tells it", || l.state() == "limited");
            eprintln!("{prompt}: {reason} after {:.0?}", begun.elapsed());
            assert_eq!(l.status("why"), reason, "{prompt}\n{}", l.all());
            waits(l, prompt);
            assert!(l.read("turns/0001/status").contains("state: running"), "{prompt}\n{}", l.all());
            return;
        }
        Takes::TriesOn => {
            let tries = Duration::from_secs(60);
            l.until("it works", || l.state() == "busy");
            l.until("it tries on", || {
                assert_ne!(l.state(), "ready", "{prompt}\n{}", l.all());
                begun.elapsed() > tries
            });
            return waits(l, prompt);
        }
    };
    assert_eq!(l.ended_within(ATTEMPTS, "0001"), "limited", "{prompt}\n{}", l.all());
    eprintln!("{prompt}: {reason} after {:.0?}", begun.elapsed());
    assert_eq!(l.read("turns/0001/reply"), "", "{prompt}");
    l.until("the state tells it", || l.state() == "limited");
    assert_eq!(l.status("why"), reason, "{prompt}\n{}", l.all());
    waits(l, prompt);
}

/// The other prompt is not typed, though the agent is looked at again; then a new start ends the limit.
fn waits(l: &Live, prompt: &str) {
    for _ in 0..3 {
        let seen = l.status("seen");
        l.until("it was looked at again", || l.status("seen") > seen);
    }
    let status = l.read("turns/0002/status");
    assert!(status.contains("state: queued"), "{prompt}: {status}\n{}", l.all());
    let asked = l.stub.prompts();
    assert!(!asked.iter().any(|r| r.text.contains("SAY(next)")), "{prompt}: it was sent into the limit");
}

fn error(agent: &'static str, error: &str) {
    let run = |work: u64| {
        let l = Live::start(agent);
        fails(&l, takes(agent, error), &format!("{error} THINK{work} please"));
        l.write("ctl", "restart\n");
        // Three agents start at once, and each loads more at its first prompt.
        assert_eq!(l.ended_within(ATTEMPTS, "0002"), "done", "{}", l.all());
        assert_eq!(l.read("reply"), "next\n", "{}", l.all());
    };
    std::thread::scope(|all| {
        let runs = WORK.map(|work| all.spawn(move || run(work)));
        for run in runs {
            run.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        }
    });
}

/// Nobody listens where the model should be.
fn no_network(agent: &'static str) {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let l = Live::with_model(agent, |_| port);
    fails(&l, takes(agent, "network"), "say hello");
}

macro_rules! tests {
    ($($agent:literal: $usage:ident $login:ident $model:ident $network:ident;)*) => {
        $(
            #[test]
            #[ignore = "make test-agents"]
            fn $usage() {
                error($agent, "ERR429");
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $login() {
                error($agent, "ERR401");
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $model() {
                error($agent, "ERR404");
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $network() {
                no_network($agent);
            }
        )*
    };
}

tests! {
    "claude-old": real_agent_claude_old_429 real_agent_claude_old_401 real_agent_claude_old_404 real_agent_claude_old_network;
    "claude": real_agent_claude_429 real_agent_claude_401 real_agent_claude_404 real_agent_claude_network;
    "codex": real_agent_codex_429 real_agent_codex_401 real_agent_codex_404 real_agent_codex_network;
    "gemini": real_agent_gemini_429 real_agent_gemini_401 real_agent_gemini_404 real_agent_gemini_network;
    "qwen": real_agent_qwen_429 real_agent_qwen_401 real_agent_qwen_404 real_agent_qwen_network;
    "opencode": real_agent_opencode_429 real_agent_opencode_401 real_agent_opencode_404 real_agent_opencode_network;
    "copilot": real_agent_copilot_429 real_agent_copilot_401 real_agent_copilot_404 real_agent_copilot_network;
}
