//! What is answered to which prompt: words in the prompt choose, all else is echoed.
//!
//! Pure and deterministic. Must not know a wire.
//!
//! | word | answer |
//! |---|---|
//! | `SLOW5` | the text spread over 5 s |
//! | `THINK5` | 5 s nothing, then the text |
//! | `TOOLRUN` | one shell command first, so that approval is asked |
//! | `ASKME` | a question to the user first, with two options, where the agent has a tool for it; then what was answered |
//! | `PLANIT` | a plan to be approved first, where the agent has a tool for it; then the text |
//! | `LINES120` | a list of 120 lines below the text |
//! | `ERR429` | that HTTP error, after `THINK5` where that is said too; at once where it is asked again |
//! | `SAY(text)` | `text`, to the last `)` of its line; `\n` is a line end |

use std::time::Duration;

use super::ask::Ask;

/// What `TOOLRUN` runs, and what it leaves.
pub const COMMAND: &str = "echo tool-was-run > tool.txt";

#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub text: String,
    /// Before the first word.
    pub think: Duration,
    /// From the first word to the last.
    pub over: Duration,
    /// The tool that is called instead of a text.
    pub call: Option<String>,
    /// An HTTP status instead of an answer.
    pub error: Option<u16>,
}

/// The text that a prompt without directives gets as the `n`th, from 1.
pub fn answer(prompt: &str, n: usize) -> String {
    let first: String = prompt.lines().next().unwrap_or_default().trim_end().chars().take(200).collect();
    format!("ANSWER {first} [{n}]")
}

impl Plan {
    pub fn of(ask: &Ask, n: usize) -> Plan {
        if ask.side {
            return Plan { text: "stub title".into(), ..Plan::default() };
        }
        let number = |word: &str| number_after(&ask.text, word);
        let seconds = |word: &str| Duration::from_secs(number(word).unwrap_or(0).min(600));
        let mut plan =
            Plan { text: answer(&ask.text, n), over: Duration::from_millis(200), ..Plan::default() };
        if let Some(said) = say(&ask.text) {
            plan.text = said;
        }
        for line in 1..=number("LINES").unwrap_or(0).min(10_000) {
            plan.text.push_str(if line == 1 { "\n\n" } else { "\n" });
            plan.text.push_str(&format!("{line}. the line with the number {line}"));
        }
        if ask.after_tool {
            if ask.text.contains("ASKME") {
                plan.text = format!("TOLD {}", ask.result.replace(['`', '*', '_'], " "));
            }
            return plan;
        }
        plan.think = seconds("THINK");
        plan.over = plan.over.max(seconds("SLOW"));
        plan.error = number("ERR").and_then(|n| u16::try_from(n).ok()).filter(|n| (400..600).contains(n));
        if ask.text.contains("ASKME") {
            plan.call = ask.question.clone();
        }
        if ask.text.contains("PLANIT") {
            plan.call = ask.plan.clone();
        }
        if ask.text.contains("TOOLRUN") {
            match &ask.shell {
                Some(shell) => plan.call = Some(shell.clone()),
                // An agent without tools asks about a command that it finds in the text.
                None => plan.text = format!("{}\n\n```bash\n{COMMAND}\n```\n", plan.text),
            }
        }
        plan
    }
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    text.match_indices(word).find_map(|(at, _)| {
        let rest = &text[at + word.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

fn say(text: &str) -> Option<String> {
    let rest = &text[text.find("SAY(")? + 4..];
    let line = rest.lines().next()?;
    Some(line[..line.rfind(')')?].replace("\\n", "\n"))
}
