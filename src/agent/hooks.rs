//! Hooks: what an agent is started with so that it says by itself when a turn begins, ends or
//! asks, and what it says.
//!
//! Pure: texts and values in and out. Must not know how an agent is started, nor write the files
//! it names; the helper that an agent runs is `cli/hook.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::Manifest;

/// The word that makes our own program the helper: `muxfs hook FILE`.
pub const VERB: &str = "hook";
/// A line in the hook file has at most so many bytes, so that it is appended in one piece.
pub const MAX_LINE: usize = 4000;
/// Names, ids and messages are short; what is longer is cut.
const MAX_FIELD: usize = 200;

/// `[hooks]` of a manifest. Texts may hold `{command}` (what a shell runs as the hook),
/// `{program}` and `{file}` (its two words apart), each written as inside a JSON string, which
/// TOML reads as well, and `{settings}`: where the text of `settings` will be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Table")]
pub struct Hooks {
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// The text of a file that the agent reads as settings.
    pub settings: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    settings: Option<String>,
}

impl TryFrom<Table> for Hooks {
    type Error = &'static str;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { args, env, settings } = table;
        let given = || args.iter().chain(env.values());
        if settings.is_some() != given().any(|text| text.contains("{settings}")) {
            return Err("{settings} in args or env, and the text of settings, go together");
        }
        let runs = |text: &String| text.contains("{command}") || text.contains("{program}");
        if !given().chain(&settings).any(runs) {
            return Err("hooks that run neither {command} nor {program}");
        }
        Ok(Hooks { args, env, settings })
    }
}

/// What is added to an agent's start, and the files that must be there before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Injection {
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Path and text. The hook file is not among them: it must be there, empty, or nothing is said.
    pub files: Vec<(PathBuf, String)>,
}

/// Nothing where the manifest has no hooks, or where a path is no UTF-8 and so fits no text.
pub fn injection(manifest: &Manifest, program: &Path, hook_file: &Path, settings: &Path) -> Injection {
    let Some(hooks) = &manifest.hooks else { return Injection::default() };
    let (Some(program), Some(file), Some(at)) = (program.to_str(), hook_file.to_str(), settings.to_str())
    else {
        return Injection::default();
    };
    let command = format!("{} {VERB} {}", quoted(program), quoted(file));
    let places = [
        ("{command}", escaped(&command)),
        ("{program}", escaped(program)),
        ("{file}", escaped(file)),
        ("{settings}", at.to_owned()),
    ];
    let fill = |text: &String| fill(text, &places);
    Injection {
        args: hooks.args.iter().map(fill).collect(),
        env: hooks.env.iter().map(|(name, text)| (name.clone(), fill(text))).collect(),
        files: hooks.settings.iter().map(|text| (settings.to_owned(), fill(text))).collect(),
    }
}

/// One pass from left to right: what was put in is not looked at again, whatever it holds.
fn fill(text: &str, places: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match places.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// One word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// As inside a JSON string.
fn escaped(text: &str) -> String {
    let json = Value::from(text).to_string();
    json.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

/// What an agent said, as it stands in the hook file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HookEvent {
    /// RFC 3339, when the helper ran.
    pub time: String,
    /// The agent's own name for it.
    pub event: String,
    /// The agent's id of the conversation. codex says the ends of turns of threads of its own as
    /// well, by which it finds titles: their ids are of no conversation that it keeps.
    pub conversation: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub turn: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transcript: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    /// What a dialog is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The agent's own word for the sort of start, end or notice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The whole answer of a turn that ended, where it fits into the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What it means. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A conversation begins, is taken up again, or takes another's place.
    Started,
    /// The agent took a prompt: it is busy from here on. One that it took while busy may run as a
    /// turn of its own, or become part of the one that runs: then one end stands for both.
    PromptTaken,
    /// An interrupt ends a turn without it.
    TurnEnded,
    /// It ended by an error of the model's side, which is then the reply.
    TurnFailed,
    /// A dialog is about to show, or shows: nothing but its answer may be typed.
    Blocked,
    /// It says that it waits for its user: a reason to observe it, not the end of a turn. It may come late,
    /// when the next prompt has been taken already.
    Idle,
    /// The conversation ends; the agent may go on with another.
    Ended,
    Other,
}

impl HookEvent {
    pub fn kind(&self) -> Kind {
        match (self.event.as_str(), self.kind.as_str()) {
            ("SessionStart", _) => Kind::Started,
            ("UserPromptSubmit" | "BeforeAgent", _) => Kind::PromptTaken,
            ("Stop" | "AfterAgent" | "agent-turn-complete", _) => Kind::TurnEnded,
            ("StopFailure", _) => Kind::TurnFailed,
            ("PermissionRequest", _) => Kind::Blocked,
            ("Notification", "permission_prompt" | "elicitation_dialog" | "ToolPermission") => Kind::Blocked,
            ("Notification", "idle_prompt") => Kind::Idle,
            ("SessionEnd", _) => Kind::Ended,
            _ => Kind::Other,
        }
    }

    /// From what an agent passes to its hook: Claude Code's, Gemini's, Qwen's and Codex's payloads.
    /// The prompt, a tool's input and everything else that is not named here is left behind.
    pub fn from_payload(payload: &Value, time: String) -> Option<Self> {
        let first = |names: &[&str]| names.iter().find_map(|name| payload[*name].as_str());
        let field = |names: &[&str]| cut(first(names).unwrap_or_default());
        Some(HookEvent {
            time,
            event: cut(first(&["hook_event_name", "type"])?),
            conversation: field(&["session_id", "thread-id"]),
            turn: field(&["prompt_id", "turn_id", "turn-id"]),
            // A path that is cut is none.
            transcript: first(&["transcript_path"]).unwrap_or_default().to_owned(),
            cwd: first(&["cwd"]).unwrap_or_default().to_owned(),
            message: field(&["message", "tool_name"]),
            kind: field(&["notification_type", "source", "reason"]),
            reply: first(&["last_assistant_message", "last-assistant-message", "prompt_response"])
                .map(str::to_owned),
        })
    }

    /// One line with its end, of at most [`MAX_LINE`] bytes: what is too long is left out.
    pub fn line(mut self) -> String {
        let long = |event: &Self| event.write().len() > MAX_LINE;
        if long(&self) {
            self.reply = None;
        }
        if long(&self) {
            (self.transcript, self.cwd) = (String::new(), String::new());
        }
        self.write()
    }

    fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// Fields are ids and words; with six bytes for each that JSON must escape, they fit in a line.
fn cut(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > MAX_FIELD / if c.is_control() { 6 } else { 1 } {
            break;
        }
        out.push(c);
    }
    out
}

/// Parses a line of the hook file. None for a text that is no such line, such as one half written.
pub fn parse(line: &str) -> Option<HookEvent> {
    let line = line.trim_end_matches('\n');
    if line.len() > MAX_LINE {
        return None;
    }
    let event: HookEvent = serde_json::from_str(line).ok()?;
    (!event.event.is_empty()).then_some(event)
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
