//! What is said, as readable text.
//!
//! Pure. Knows entries; must not know which agent wrote them, nor where.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Conversation, Entry, Who};
use muxfs_tree::base::clock::rfc3339;

/// Characters of a title.
const TITLE: usize = 200;
/// Characters of a tool's call or outcome.
const TOOL: usize = 2000;

/// The conversation for a person to read.
pub fn transcript(c: &Conversation, entries: &[Entry]) -> String {
    let mut out = String::new();
    let mut head = |key: &str, value: &str| out.push_str(&format!("{key}: {value}\n"));
    head("agent", c.agent);
    head("id", &c.id);
    head("cwd", &c.cwd);
    head("title", &c.title);
    if let Some(started) = c.started {
        head("started", &rfc3339(started));
    }
    head("updated", &rfc3339(c.updated));
    head("prompts", &format!("{}{}", c.prompts, if c.at_least { "+" } else { "" }));
    let mut before = None;
    for entry in entries {
        if entry.who == Who::User || before != Some(entry.who) {
            out.push_str("\n## ");
            out.push_str(entry.who.word());
            if let Some(time) = entry.time {
                out.push_str(&format!(" {}", rfc3339(time)));
            }
            out.push('\n');
        }
        before = Some(entry.who);
        out.push('\n');
        out.push_str(entry.text.trim_end());
        out.push('\n');
    }
    out
}

/// What the agent said after the last prompt, without its tools and thoughts; with no prompt
/// among them, all it said. None if it said nothing yet.
pub fn last_reply(entries: &[Entry]) -> Option<String> {
    let from = entries.iter().rposition(|e| e.who == Who::User).map_or(0, |i| i + 1);
    let said = entries[from..].iter().filter(|e| e.who == Who::Agent);
    let said: Vec<&str> = said.map(|e| e.text.trim_matches('\n').trim_end()).collect();
    (!said.is_empty()).then(|| said.join("\n\n"))
}

impl Who {
    pub fn word(self) -> &'static str {
        match self {
            Who::User => "user",
            Who::Agent => "agent",
            Who::Tool => "tool",
            Who::Note | Who::Interrupt | Who::Fault => "note",
        }
    }
}

/// Without control characters, which a terminal would obey; newlines and tabs stay.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// One line of at most 200 characters.
pub fn one_line(text: &str) -> String {
    // The words of the beginning are enough: a prompt may be megabytes.
    let begin: String =
        text.chars().filter(|c| !c.is_control() || c.is_whitespace()).take(20 * TITLE).collect();
    let line = begin.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(TITLE).collect()
}

pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(TOOL) {
        Some((cut, _)) => format!("{}… ({} bytes)", &text[..cut], text.len()),
        None => text.to_owned(),
    }
}

/// `Bash {"command":"ls"}`
pub fn tool_call(name: &str, input: Option<&Value>) -> String {
    match input {
        Some(Value::String(text)) => shortened(&format!("{name} {text}")),
        Some(input) => shortened(&format!("{name} {input}")),
        None => name.to_owned(),
    }
}

/// RFC 3339, or milliseconds since 1970.
pub fn time(value: Option<&Value>) -> Option<SystemTime> {
    match value? {
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(SystemTime::from),
        Value::Number(n) => from_millis(n.as_u64().or_else(|| n.as_f64().map(|f| f as u64))?),
        _ => None,
    }
}

/// None beyond the year 9999: a number that means something else.
pub fn from_millis(ms: u64) -> Option<SystemTime> {
    (ms > 0 && ms < 253_402_300_800_000).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

/// The text in a message's content: a string, or parts of which those with text count.
pub fn parts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(parts) => {
            parts.iter().filter_map(|p| p.as_str().or_else(|| p.get("text")?.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: Who, text: &str) -> Entry {
        Entry::new(who, text, None).unwrap()
    }

    #[test]
    fn a_reply_is_what_was_said_after_the_last_prompt() {
        let mut all = vec![entry(Who::User, "one"), entry(Who::Agent, "old"), entry(Who::User, "two")];
        assert_eq!(last_reply(&all), None);
        all.extend([
            entry(Who::Agent, "I look. \n"),
            entry(Who::Tool, "ls"),
            entry(Who::Note, "API Error"),
            entry(Who::Agent, "\n  done "),
        ]);
        assert_eq!(last_reply(&all).unwrap(), "I look.\n\n  done");
        assert_eq!(last_reply(&all[3..]).unwrap(), "I look.\n\n  done", "a mark may stand after the prompt");
        assert_eq!(last_reply(&[]), None);
    }

    #[test]
    fn no_text_moves_a_cursor() {
        assert_eq!(entry(Who::Agent, "a\x1b[2Jb\r\n\tc\u{9b}x").text, "a[2Jb\n\tcx");
        assert!(Entry::new(Who::Agent, " \x1b\n", None).is_none());
        assert_eq!(one_line("  a\nb\x07\t c  "), "a b c");
        assert_eq!(one_line(&"ä".repeat(5_000_000)).chars().count(), 200);
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn times_of_both_kinds() {
        let t = time(Some(&"2026-11-21T02:22:13.111Z".into())).unwrap();
        assert_eq!(time(Some(&1_795_227_733_111u64.into())), Some(t));
        assert_eq!(time(Some(&u64::MAX.into())), None);
        assert_eq!(time(Some(&(-5).into())), None);
        assert_eq!(time(Some(&"yesterday".into())), None);
    }

    #[test]
    fn long_tool_output_is_cut_at_a_character() {
        let cut = shortened(&"ä".repeat(3000));
        assert!(cut.starts_with("ää") && cut.ends_with("… (6000 bytes)"), "{}", &cut[cut.len() - 20..]);
        assert_eq!(shortened("short"), "short");
    }
}
