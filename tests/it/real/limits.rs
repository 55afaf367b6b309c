//! Real agents whose model fails: each says it in its own way, at once or after a while, and what waits
//! is not sent into it.
//!
//! Knows which agents try again by themselves, for how long nobody can wait.

use std::time::{Duration, Instant};

use super::mounted::Live;

/// How an agent takes an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The turn is over by it, for this reason.
    Limit(&'static str),
    /// It tries again and again, or asks what to do: the turn is not over, and the queue waits.
    Holds,
}

/// What was measured of claude 2.1.332, codex 0.171.0, gemini 0.61.0, qwen 0.24.4, opencode 1.18.33 and
/// copilot 1.0.102.
fn takes(agent: &str, error: &str) -> Takes {
    match (agent, error) {
        ("claude" | "codex", "ERR429") => Takes::Limit("usage"),
        ("claude" | "codex" | "gemini" | "qwen", "ERR401") => Takes::Limit("login"),
        ("claude" | "codex" | "qwen", "ERR404") => Takes::Limit("model"),
        _ => Takes::Holds,
    }
}

/// A prompt that fails with `error` after `think` seconds of work, and one that waits behind it.
fn fails(l: &Live, agent: &str, error: &str, think: u64) {
    let what = format!("{agent}: {error} after {think} s");
    let turns = || {
        let names = std::fs::read_dir(l.mount.path(&format!("{agent}/turns"))).unwrap();
        let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    l.write("input", &format!("{error} THINK{think} please"));
    let failing = turns().pop().unwrap();
    l.write("input", &format!("SAY(next) after {error} {think}"));
    let waiting = turns().pop().unwrap();
    match takes(agent, error) {
        Takes::Limit(reason) => {
            assert_eq!(l.ended(&failing), "limited", "{what}\n{}", l.all());
            assert_eq!(l.read(&format!("turns/{failing}/reply")), "", "{what}");
            l.until(&what, || l.state() == "limited");
            assert_eq!(l.status("why"), reason, "{what}\n{}", l.all());
        }
        Takes::Holds => {
            let begun = Instant::now();
            let enough = Duration::from_secs(think + 8);
            l.until(&what, || begun.elapsed() > enough && l.state() != "ready");
        }
    }
    let seen = l.status("seen");
    l.until(&what, || l.status("seen") > seen);
    let waits = l.read(&format!("turns/{waiting}/status"));
    assert!(waits.contains("state: queued"), "{what}: {waits}\n{}", l.all());
    let asked = l.stub.prompts();
    assert!(!asked.iter().any(|r| r.text.contains("SAY(next)")), "{what}: it was sent into the limit");
    l.write("ctl", "clear-queue\n");
    l.write("ctl", "restart\n");
    l.until(&format!("{what}: ready after a restart"), || l.state() == "ready");
}

fn every_error(agent: &'static str, errors: &[(&str, u64)]) {
    let l = Live::with_model(agent, |stub| stub.port());
    l.until("it is ready", || l.state() == "ready");
    for (error, think) in errors {
        fails(&l, agent, error, *think);
    }
    l.write("input", "SAY(all is well)");
    l.until("it works again", || l.read("reply") == "all is well\n");
}

/// Nobody listens where the model should be.
fn no_network(agent: &'static str, tells: bool) {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let l = Live::with_model(agent, |_| port);
    l.until("it is ready", || l.state() == "ready");
    l.write("input", "say hello");
    l.write("input", "SAY(next)");
    if tells {
        assert_eq!(l.ended("0001"), "limited", "{}", l.all());
        assert_eq!(l.status("why"), "network", "{}", l.all());
    } else {
        let begun = Instant::now();
        l.until("it tries on", || begun.elapsed() > Duration::from_secs(10) && l.state() != "ready");
    }
    let status = l.read("turns/0002/status");
    assert!(status.contains("state: queued"), "{status}\n{}", l.all());
}

const ALL: &[(&str, u64)] = &[
    ("ERR429", 0),
    ("ERR401", 0),
    ("ERR404", 0),
    ("ERR429", 3),
    ("ERR401", 3),
    ("ERR429", 40),
    ("ERR401", 40),
];

macro_rules! tests {
    ($($agent:literal: $errors:ident $network:ident $tells:literal;)*) => {
        $(
            #[test]
            #[ignore = "make test-agents"]
            fn $errors() {
                every_error($agent, ALL);
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $network() {
                no_network($agent, $tells);
            }
        )*
    };
}

tests! {
    "claude": real_agent_claude_errors real_agent_claude_network false;
    "codex": real_agent_codex_errors real_agent_codex_network true;
    "gemini": real_agent_gemini_errors real_agent_gemini_network false;
    "qwen": real_agent_qwen_errors real_agent_qwen_network false;
    "opencode": real_agent_opencode_errors real_agent_opencode_network false;
    "copilot": real_agent_copilot_errors real_agent_copilot_network false;
}
