//! Real agents that a person stops: the turn is `interrupted`, by whatever way it was stopped, and the
//! next prompt goes.
//!
//! Knows what each agent calls its refusal.

use std::time::{Duration, Instant};

use super::keys;
use super::mounted::Live;

/// A key may be lost on a busy machine.
const AGAIN: Duration = Duration::from_secs(5);
/// Two keys at once may mean another thing.
const PAUSE: Duration = Duration::from_millis(300);

/// How the option that refuses begins.
fn no(agent: &str) -> &'static str {
    match agent {
        "opencode" => "Reject",
        _ => "No",
    }
}

/// The newest turn, after `prompt` was written.
fn begun(l: &Live, prompt: &str) -> String {
    l.write("input", prompt);
    l.turns().into_iter().max().unwrap()
}

fn goes_on(l: &Live) {
    let (stage, reply) = l.ask("SAY(goes on)");
    assert_eq!((stage.as_str(), reply.as_str()), ("done", "goes on\n"), "{}", l.all());
}

/// Keys at the terminal, not by the mount.
fn an_answer_is_stopped_by_hand(l: &Live, agent: &str) {
    let turn = begun(l, "SLOW60 LINES80");
    l.until("it answers", || l.read("screen").contains("2. the line with"));
    let mut pressed: Option<Instant> = None;
    l.until("it stops", || {
        let over = l.stub.prompts().pop().is_some_and(|r| r.ended.is_some());
        if !over && pressed.is_none_or(|at| at.elapsed() > AGAIN) {
            for key in keys(agent).interrupt {
                l.mount.lab.tmux_ok(&["send-keys", "-t", agent, key]);
                let at = Instant::now();
                l.until("between two keys", || at.elapsed() > PAUSE);
            }
            pressed = Some(Instant::now());
        }
        over
    });
    assert_eq!(l.ended(&turn), "interrupted", "{}", l.all());
    goes_on(l);
}

fn a_question_is_refused(l: &Live, prompt: &str, no: &str, ended: &str) {
    let turn = begun(l, prompt);
    l.until("it asks", || l.state() == "blocked");
    l.until("its options are told", || l.read("question").contains(no));
    l.write("ctl", &format!("answer {no}\n"));
    assert_eq!(l.ended(&turn), ended, "{prompt}\n{}", l.all());
    goes_on(l);
}

fn is_stopped(agent: &'static str) {
    let l = Live::start(agent);
    l.until("it is ready", || l.state() == "ready");
    an_answer_is_stopped_by_hand(&l, agent);
    a_question_is_refused(&l, "TOOLRUN SAY(ran it)", no(agent), "interrupted");
    assert!(!l.mount.lab.path("proj/tool.txt").exists(), "the tool did not run");
    match agent {
        "claude" | "claude-old" => {
            plans(&l, agent, "plan mode on");
            a_question_is_refused(&l, "PLANIT SAY(planned)", "No", "interrupted");
        }
        "codex" => {
            plans(&l, agent, "Plan mode");
            // The plan is its answer, which ends the turn; what is asked then begins another.
            let plan = "SAY(<proposed_plan>\\n# A plan\\n\\n1. Write a file.\\n</proposed_plan>)";
            a_question_is_refused(&l, plan, "No", "done");
        }
        _ => {}
    }
}

/// A person turns the plan mode on.
fn plans(l: &Live, agent: &str, shown: &str) {
    l.until("it plans", || {
        if !l.read("screen").contains(shown) {
            l.mount.lab.tmux_ok(&["send-keys", "-t", agent, "BTab"]);
            let at = Instant::now();
            l.until("its mode is shown", || at.elapsed() > PAUSE * 2);
        }
        l.read("screen").contains(shown)
    });
}

macro_rules! tests {
    ($($(#[$ignored:meta])* $agent:literal: $test:ident;)*) => {
        $(
            $(#[$ignored])*
            #[test]
            fn $test() {
                is_stopped($agent);
            }
        )*
    };
}

tests! {
    #[ignore = "make test-agents"]
    "gemini": real_agent_gemini_is_stopped;
    #[ignore = "make test-agents"]
    "qwen": real_agent_qwen_is_stopped;
    #[ignore = "make test-agents"]
    "claude": real_agent_claude_is_stopped;
    #[ignore = "make test-agents"]
    "claude-old": real_agent_claude_old_is_stopped;
    #[ignore = "make test-agents"]
    "codex": real_agent_codex_is_stopped;
    #[ignore = "make test-agents"]
    "opencode": real_agent_opencode_is_stopped;
    #[ignore = "make test-agents"]
    "copilot": real_agent_copilot_is_stopped;
}
