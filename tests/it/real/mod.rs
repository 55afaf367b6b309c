//! Real agents against the stub, in plain tmux: what the rules of state say while it is known what
//! goes on. `real_ci_…` run always, `real_agent_…` by `make test-agents`.
//!
//! Knows the situations, and which keys each agent wants. `SAVE=1` saves the screens seen.

mod disturbed;
mod limits;
mod modes;
mod mounted;
mod pane;
mod recipe;
mod save;
mod stopped;

use std::time::{Duration, Instant};

use muxfs_agent::manifest::State;

use super::support::{until, within};
use pane::{LIMIT, Look, Pane};
use save::save;

/// The screen may be this much behind what goes on.
const BEHIND: Duration = Duration::from_millis(600);

struct Keys {
    interrupt: &'static [&'static str],
    clear: &'static [&'static str],
    approve: &'static str,
}

fn keys(agent: &str) -> Keys {
    let keys = Keys { interrupt: &["Escape"], clear: &["C-u"], approve: "Enter" };
    match agent {
        "aider" => Keys { interrupt: &["C-c"], ..keys },
        "copilot" | "opencode" => Keys { interrupt: &["Escape", "Escape"], ..keys },
        _ => keys,
    }
}

/// No look says what must not be said.
fn never(state: State, what: &str, seen: &[Look]) {
    if let Some(wrong) = seen.iter().find(|l| l.state == state) {
        panic!("{what}: false {} by {:?}\n{wrong:?}\n{}", state.word(), wrong.rule, wrong.picture);
    }
}

impl Pane {
    fn started(agent: &'static str, size: (u16, u16)) -> Pane {
        let pane = Pane::start(agent, size, |_, _| {});
        let fresh = pane.seen(State::Ready, "after the start");
        save(&pane, "fresh", "ready", &fresh);
        pane
    }

    fn clear(&self) {
        self.keys(keys(self.agent).clear);
    }

    /// Empties the composer of `draft`, which was never sent. What is typed before that shows would be
    /// sent with it.
    fn clear_draft(&self, draft: &str) {
        self.clear();
        self.watch(&format!("the draft {draft:?} is gone"), |look| {
            !pane::plain(&look.picture).contains(draft)
        });
    }

    /// Looks from now on until the request was answered, and whether they hold: nothing of them
    /// says ready between the first moments and the last.
    fn while_it_works(&self, what: &str, mut also: impl FnMut(Duration, &Look)) -> Vec<Look> {
        let begun = self.stub.prompts().pop().unwrap().arrived;
        let seen = self.watch(what, |look| {
            also(look.at - begun, look);
            self.request_ended().is_some()
        });
        let ended = self.request_ended().unwrap();
        let mut inside = seen;
        inside.retain(|l| l.at > begun + BEHIND && l.at + BEHIND < ended);
        never(State::Ready, what, &inside);
        never(State::Blocked, what, &inside);
        inside
    }
}

fn a_draft_is_ready(pane: &Pane) {
    let draft = pane.draft("write the docs for the parser");
    let draft = if draft.state == State::Ready { draft } else { pane.seen(State::Ready, "with a draft") };
    save(pane, "draft", "ready", &draft);
    pane.clear_draft("write the docs for the parser");
    pane.seen(State::Ready, "with the draft cleared");
}

fn a_menu_of_commands_is_ready(pane: &Pane) {
    pane.keys(&["/"]);
    let slash = pane.seen(State::Ready, "with its commands");
    save(pane, "slash", "ready", &slash);
    pane.keys(&["BSpace"]);
    pane.seen(State::Ready, "without its commands");
}

fn a_short_answer(pane: &Pane) {
    let request = pane.prompt("say hello");
    assert_eq!(request.text, "say hello");
    assert_eq!(request.answer, format!("ANSWER say hello [{}]", request.n));
    until("it is answered", || pane.request_ended());
    let after = pane.seen(State::Ready, "after the answer");
    let shown = pane::plain(&after.picture);
    assert!(shown.contains("ANSWER say hello"), "{shown}");
    save(pane, "after-short", "ready", &after);
}

fn busy_is_busy_all_the_time(pane: &Pane) {
    pane.prompt("think about it THINK2 SLOW5 LINES40");
    let (mut think, mut stream, mut drafted) = (None, None, None);
    let seen = pane.while_it_works("thinks and streams", |age, look| {
        if age > Duration::from_millis(1200) && think.is_none() {
            think = Some(look.clone());
        }
        if age > Duration::from_millis(3500) && stream.is_none() {
            stream = Some(look.clone());
            // Nothing waits for it: the terminal may show it late or, as aider's, not at all.
            pane.lab.tmux_ok(&["send-keys", "-t", "a", "-l", "and then"]);
        }
        if age > Duration::from_millis(5200) {
            drafted.get_or_insert_with(|| look.clone());
        }
    });
    // A small terminal full of aider's answer has nothing to tell by.
    let least = if pane.agent == "aider" { 5 } else { 9 };
    let busy = seen.iter().filter(|l| l.state == State::Busy).count();
    assert!(busy * 10 >= seen.len() * least, "busy {busy} times of {}", seen.len());
    for (situation, look) in [("busy-think", think), ("busy-stream", stream), ("busy-stream-draft", drafted)]
    {
        save(pane, situation, "busy", &look.unwrap());
    }
    pane.seen(State::Ready, "after the long answer, with a draft");
    pane.clear();
    pane.seen(State::Ready, "after the long answer");
}

fn an_approval_is_blocked_until_it_is_answered(pane: &Pane) {
    pane.prompt("TOOLRUN please");
    let asked = pane.seen(State::Blocked, "when it asks");
    save(pane, "approval", "blocked", &asked);
    let begun = Instant::now();
    let seen = pane.watch("it goes on asking", |_| begun.elapsed() > Duration::from_secs(1));
    never(State::Ready, "it goes on asking", &seen);
    // One look may be in the middle of a repaint.
    let other = |l: &Look| l.state != State::Blocked;
    assert!(!seen.windows(2).any(|two| two.iter().all(other)), "{seen:?}");
    assert!(!pane.cwd.join("tool.txt").exists());
    pane.keys(&[keys(pane.agent).approve]);
    until("the tool runs", || std::fs::read(pane.cwd.join("tool.txt")).ok().filter(|t| !t.is_empty()));
    pane.seen(State::Ready, "after the tool");
}

fn it_can_be_interrupted(pane: &Pane) {
    pane.prompt("stop early SLOW80 LINES60");
    let begun = Instant::now();
    pane.while_it_works_until("works before it is interrupted", || begun.elapsed() > Duration::from_secs(3));
    let mut pressed: Option<Instant> = None;
    let request = within(LIMIT, "it hangs up", || {
        let ended = pane.stub.prompts().pop().filter(|r| r.ended.is_some());
        // A key may be lost on a busy machine.
        if ended.is_none() && pressed.is_none_or(|at| at.elapsed() > Duration::from_secs(4)) {
            pane.interrupt();
            pressed = Some(Instant::now());
        }
        ended
    });
    assert!(!request.whole);
    let after = pane.seen(State::Ready, "after the interrupt");
    save(pane, "interrupted", "ready", &after);
    pane.clear(); // some put the prompt back
}

impl Pane {
    fn interrupt(&self) {
        for key in keys(self.agent).interrupt {
            self.keys(&[key]);
            let at = Instant::now();
            self.watch("between keys", |_| at.elapsed() > Duration::from_millis(300));
        }
    }

    fn while_it_works_until(&self, what: &str, mut end: impl FnMut() -> bool) {
        let begun = Instant::now();
        let mut seen = self.watch(what, |_| end());
        seen.retain(|l| l.at > begun + BEHIND);
        never(State::Ready, what, &seen);
    }
}

fn a_long_answer(pane: &Pane) {
    pane.prompt("list them LINES120");
    until("it is answered", || pane.request_ended());
    let after = pane.seen(State::Ready, "after the long list");
    save(pane, "after-long", "ready", &after);
}

/// Last: an agent may go on trying for minutes.
fn a_limit_is_not_ready(pane: &Pane) {
    pane.prompt("fail now ERR429");
    let begun = Instant::now();
    let wanted: &[State] = match pane.agent {
        // They try again and do not say why; continue may give up without a word.
        "gemini" | "qwen" => &[State::Busy],
        "continue" => &[State::Busy, State::Ready],
        _ => &[State::Limited],
    };
    // A busy machine brings the notice late.
    let seen = pane.watch(&format!("{wanted:?} after the error"), |look| {
        begun.elapsed() > Duration::from_secs(4) && wanted.contains(&look.state)
    });
    let last = seen.last().unwrap();
    save(pane, "err429", last.state.word(), last);
}

/// What is asked before anything else is no invitation to type.
fn the_first_question_is_blocked(agent: &'static str, size: (u16, u16)) {
    if agent == "opencode" {
        return; // it asks nothing
    }
    let pane = Pane::start(agent, size, |recipe, lab| match agent {
        "claude" | "claude-old" => {
            std::fs::write(lab.home().join(".claude.json"), "{\"hasCompletedOnboarding\": true}").unwrap();
        }
        "continue" => recipe.command.truncate(1),
        "aider" => std::fs::remove_dir_all(lab.path("proj/.git")).unwrap(),
        "codex" => std::fs::remove_dir_all(lab.home().join(".codex")).unwrap(),
        "qwen" => {
            recipe.env.retain(|(name, _)| !name.starts_with("OPENAI_"));
            std::fs::write(lab.home().join(".qwen/settings.json"), "{\"tools\": {\"useRipgrep\": false}}")
                .unwrap();
        }
        "copilot" => std::fs::remove_dir_all(lab.home().join(".copilot")).unwrap(),
        _ => std::fs::remove_dir_all(lab.home().join(format!(".{agent}"))).unwrap(),
    });
    let mut row = 0;
    let seen = pane.watch("blocked at its first start", |look| {
        row = if look.state == State::Blocked { row + 1 } else { 0 };
        row == 3
    });
    never(State::Ready, "first start", &seen);
    save(&pane, "firstrun", "blocked", seen.last().unwrap());
}

fn situations(agent: &'static str, size: (u16, u16)) {
    the_first_question_is_blocked(agent, size);
    let pane = Pane::started(agent, size);
    a_draft_is_ready(&pane);
    a_short_answer(&pane);
    a_menu_of_commands_is_ready(&pane);
    busy_is_busy_all_the_time(&pane);
    an_approval_is_blocked_until_it_is_answered(&pane);
    it_can_be_interrupted(&pane);
    a_long_answer(&pane);
    a_limit_is_not_ready(&pane);
}

#[test]
fn the_scripts_that_install_are_clean() {
    let scripts = ["tests/agents/install", ".ci/need"].map(|s| super::doc::root().join(s));
    let out = std::process::Command::new("shellcheck").args(scripts).output();
    let out = out.unwrap_or_else(|e| panic!("shellcheck: {e}; .ci/need test installs it"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

macro_rules! tests {
    ($($(#[$ignored:meta])* $agent:literal: $small:ident $middle:ident $large:ident;)*) => {
        $(
            $(#[$ignored])*
            #[test]
            fn $small() {
                situations($agent, (80, 24));
            }

            $(#[$ignored])*
            #[test]
            fn $middle() {
                situations($agent, (120, 40));
            }

            $(#[$ignored])*
            #[test]
            fn $large() {
                situations($agent, (200, 50));
            }
        )*
    };
}

tests! {
    "gemini": real_ci_gemini_80x24 real_ci_gemini_120x40 real_ci_gemini_200x50;
    "qwen": real_ci_qwen_80x24 real_ci_qwen_120x40 real_ci_qwen_200x50;
    "continue": real_ci_continue_80x24 real_ci_continue_120x40 real_ci_continue_200x50;
    #[ignore = "make test-agents"]
    "claude": real_agent_claude_80x24 real_agent_claude_120x40 real_agent_claude_200x50;
    #[ignore = "make test-agents"]
    "claude-old": real_agent_claude_old_80x24 real_agent_claude_old_120x40 real_agent_claude_old_200x50;
    #[ignore = "make test-agents"]
    "codex": real_agent_codex_80x24 real_agent_codex_120x40 real_agent_codex_200x50;
    #[ignore = "make test-agents"]
    "opencode": real_agent_opencode_80x24 real_agent_opencode_120x40 real_agent_opencode_200x50;
    #[ignore = "make test-agents"]
    "copilot": real_agent_copilot_80x24 real_agent_copilot_120x40 real_agent_copilot_200x50;
    #[ignore = "make test-agents"]
    "aider": real_agent_aider_80x24 real_agent_aider_120x40 real_agent_aider_200x50;
}
