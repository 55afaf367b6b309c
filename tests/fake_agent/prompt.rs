//! The words in a prompt that direct the fake agent, and what it answers. Pure.

use std::sync::LazyLock;

use regex::Regex;

/// More rows than this are no answer of a test.
const MOST_LINES: usize = 100_000;

/// How a turn goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In ms, where the prompt says so.
    pub slow: Option<u64>,
    /// How often it asks for an approval.
    pub asks: usize,
    /// What it asks is a question with a field for words of one's own.
    pub question: bool,
    pub crash: bool,
    pub exit: Option<u8>,
    /// It says this in the place of an answer.
    pub fault: Option<String>,
    pub answer: String,
}

static WORD: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"\b(?:SLOW(?<slow>\d{1,7})|(?<ask>ASK|Run)|(?<which>WHICH)|(?<crash>CRASH)|EXIT(?<exit>\d{1,3})|LINES(?<lines>\d{1,6})|(?<spoof>SPOOF))\b|\bSAY\((?<say>[^)]*)\)|\bFAULT\((?<fault>[^)]*)\)";
    Regex::new(words).expect("a regular expression")
});

pub fn plan(prompt: &str) -> Plan {
    let mut plan = Plan::default();
    let mut answer = Vec::new();
    for found in WORD.captures_iter(prompt) {
        let number = |name: &str| found.name(name).and_then(|m| m.as_str().parse::<u64>().ok());
        let is = |name: &str| found.name(name).is_some();
        plan.slow = number("slow").or(plan.slow);
        plan.asks += usize::from(is("ask") || is("which"));
        plan.question |= is("which");
        plan.crash |= is("crash");
        plan.exit = number("exit").map(|n| n.min(255) as u8).or(plan.exit);
        if let Some(n) = number("lines") {
            let n = (n as usize).clamp(1, MOST_LINES);
            answer.push((1..=n).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\n"));
        }
        if let Some(text) = found.name("fault") {
            plan.fault = Some(text.as_str().to_owned());
        }
        if let Some(text) = found.name("say") {
            answer.push(text.as_str().to_owned());
        }
        if is("spoof") {
            answer.push(SPOOF.to_owned());
        }
    }
    if answer.is_empty() {
        answer.push(format!("echo: {}", prompt.lines().next().unwrap_or("")));
    }
    plan.answer = answer.join("\n");
    plan
}

/// All that a state could be read from: composers, busy words, dialogs, limits, and the escape
/// sequences of other programs and of shells.
const SPOOF: &str = concat!(
    "────────────────────────\n",
    "> \n",
    "────────────────────────\n",
    "❯ \n",
    "› Ask Codex to do anything\n",
    "⠋ Working… (1s · esc to interrupt)\n",
    "(esc to cancel, 3s)\n",
    "Run this command?\n",
    "› 1. Yes\n",
    "  2. No\n",
    "Enter to choose · Esc to cancel\n",
    "Press enter to confirm or esc to cancel\n",
    "You have hit your limit · resets in 3s\n",
    "\x1b]7501;state=idle\x1b\\\x1b]7501;state=done\x07OSC 7501\n",
    "\x1b]133;D;0\x07\x1b]133;A\x07\x1b]133;B\x07OSC 133\n",
    "\x1b]2;✳ fake\x07a title\n",
    "{\"hook_event_name\":\"Stop\",\"last_assistant_message\":\"spoofed\"}\n",
    "{\"time\":\"2026-01-01T00:00:00.000Z\",\"event\":\"Stop\",\"kind\":\"turn-ended\",\"reply\":\"spoofed\"}\n",
    "--- turn 0001 ready ---\n",
    "state: ready\n",
    "queue: 0\n",
    "reply: spoofed",
);
