//! One session's settings: a TOML text whose comments are the user's, and the values it sets.

use std::collections::BTreeMap;

use muxfs_tree::base::schema::{self, Fault, Key, Kind, Value, Values};

pub static KEYS: &[Key] = &[
    Key {
        name: "agent",
        kind: Kind::Text,
        default: "",
        about: "A key of the catalogue (muxfs agent list), or \"shell\". It says what runs, how prompts are put in and how states are told.",
        env: None,
    },
    Key {
        name: "command",
        kind: Kind::Words,
        default: "",
        about: "What runs: a program, or an array of it and its arguments. Default: the agent's, else the node's session.command, else your login shell.",
        env: None,
    },
    Key {
        name: "args",
        kind: Kind::Words,
        default: "",
        about: "Arguments after the command, in the place of the agent's own.",
        env: None,
    },
    Key {
        name: "danger",
        kind: Kind::Bool,
        default: "",
        about: "Whether the agent gets the flags that make it ask for no approval. Default: the node's.",
        env: None,
    },
    Key {
        name: "init",
        kind: Kind::Words,
        default: "",
        about: "Prompts for a fresh start, after the node's: first in the queue, and not after a resume.",
        env: None,
    },
    Key {
        name: "turns",
        kind: Kind::OneOf(&["auto", "on", "off"]),
        default: "auto",
        about: "Whether prompts wait for their turn. `auto`: where the agent has rules of state, so never in a shell. `on`: always. `off`: input types at once, and what was queued before stays in queue/.",
        env: None,
    },
    Key {
        name: "restart",
        kind: Kind::OneOf(&["no", "on-failure", "always"]),
        default: "no",
        about: "Whether a program that ended is started again: after 1 s, then twice as long each time up to 60 s. `no`: never. `on-failure`: after an exit status other than 0, or a signal. `always`: after any end. `ctl stop` is no end of its own: the program stays stopped.",
        env: None,
    },
    Key {
        name: "resume",
        kind: Kind::Text,
        default: "",
        about: "A conversation's id, or \"latest\": where every start goes on.",
        env: None,
    },
    Key {
        name: "autostart",
        kind: Kind::Bool,
        default: "false",
        about: "Whether the session is made again when the node starts and tmux has lost it (a reboot): with its conversation, without init prompts.",
        env: None,
    },
    Key { name: "cwd", kind: Kind::Text, default: "", about: "Where it starts; ~ is HOME.", env: None },
    Key { name: "env", kind: Kind::Map, default: "", about: "Environment over the node's.", env: None },
    Key {
        name: "size",
        kind: Kind::Size,
        default: "",
        about: "Columns and rows while no client is attached.",
        env: None,
    },
    Key {
        name: "logs",
        kind: Kind::Bool,
        default: "true",
        about: "Whether logs and raw are kept.",
        env: None,
    },
    Key {
        name: "pane",
        kind: Kind::Text,
        default: "",
        about: "The main pane, WINDOW.PANE as in panes/ or a tmux pane id (%5).",
        env: None,
    },
];

/// Keys that a session somebody else made cannot have: it is theirs to start.
const OURS_ONLY: &[&str] =
    &["command", "args", "danger", "init", "restart", "resume", "autostart", "cwd", "env", "size"];

/// `turns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turns {
    #[default]
    Auto,
    On,
    Off,
}

/// `restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    #[default]
    No,
    OnFailure,
    Always,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    pub agent: Option<String>,
    pub command: Vec<String>,
    pub args: Option<Vec<String>>,
    pub danger: Option<bool>,
    pub init: Vec<String>,
    pub turns: Turns,
    pub restart: Restart,
    pub resume: Option<String>,
    pub autostart: bool,
    pub cwd: Option<String>,
    pub env: BTreeMap<String, String>,
    pub size: Option<(u16, u16)>,
    pub logs: bool,
    pub pane: Option<String>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            agent: None,
            command: Vec::new(),
            args: None,
            danger: None,
            init: Vec::new(),
            turns: Turns::Auto,
            restart: Restart::No,
            resume: None,
            autostart: false,
            cwd: None,
            env: BTreeMap::new(),
            size: None,
            logs: true,
            pane: None,
        }
    }
}

/// Variables in `env`, and bytes of them all: a line to tmux and execve(2) take them with the login
/// shell's own.
const MAX_ENV: usize = 1000;
const MAX_ENV_BYTES: usize = 256 << 10;
/// One argument or variable, with what ends it: MAX_ARG_STRLEN of execve(2).
const MAX_WORD: usize = 128 << 10;

impl SessionConfig {
    /// `ours`: made here. In another's session only `agent`, `turns`, `logs` and `pane` can be set.
    pub fn parse(text: &str, ours: bool) -> Result<Self, Fault> {
        let values = schema::parse(text, KEYS)?;
        if !ours && let Some(key) = OURS_ONLY.iter().find(|k| values.contains_key(*k)) {
            let what =
                format!("{key}: this session was made by others; agent, turns, logs and pane can be set");
            return Err(schema::locate(text, key, what));
        }
        let mut config = SessionConfig::default();
        for (key, value) in values {
            match (key, value) {
                ("command", Value::Words(w)) => config.command = w,
                ("args", Value::Words(w)) => config.args = Some(w),
                ("agent", Value::Text(s)) => config.agent = Some(s),
                ("autostart", Value::Bool(b)) => config.autostart = b,
                ("danger", Value::Bool(b)) => config.danger = Some(b),
                ("init", Value::Words(w)) => config.init = w,
                ("turns", Value::Text(s)) => config.turns = turns(&s),
                ("restart", Value::Text(s)) => config.restart = restart(&s),
                ("resume", Value::Text(s)) => config.resume = Some(s).filter(|s| !s.is_empty()),
                ("cwd", Value::Text(s)) => config.cwd = Some(s),
                ("env", Value::Map(m)) => config.env = m,
                ("size", Value::Size(c, r)) => config.size = Some((c, r)),
                ("logs", Value::Bool(b)) => config.logs = b,
                ("pane", Value::Text(s)) => config.pane = Some(s),
                _ => unreachable!("schema::parse gives each key its own kind"),
            }
        }
        config.check(text)?;
        Ok(config)
    }

    fn check(&self, text: &str) -> Result<(), Fault> {
        let wrong = |key, what: &str| Err(schema::locate(text, key, format!("{key}: {what}")));
        if self.command.first().is_some_and(|c| c.is_empty()) {
            return wrong("command", "expected a program's name");
        }
        let words =
            self.command.iter().chain(self.args.iter().flatten()).chain(&self.agent).chain(&self.resume);
        if words.chain(&self.cwd).chain(self.env.values()).any(|s| s.contains('\0')) {
            return wrong("command", "no value may hold a NUL");
        }
        if self.env.keys().any(|k| k.is_empty() || k.contains(['=', '\0'])) {
            return wrong("env", "a name is not empty and holds no '='");
        }
        let bytes = |k: &String, v: &String| k.len() + v.len() + 2;
        if self.env.len() > MAX_ENV
            || self.env.iter().map(|(k, v)| bytes(k, v)).sum::<usize>() > MAX_ENV_BYTES
        {
            let (most, kib) = (MAX_ENV, MAX_ENV_BYTES >> 10);
            return wrong(
                "env",
                &format!("{most} variables of {kib} KiB together are the most; put more into a file"),
            );
        }
        let long = |s: &String| s.len() >= MAX_WORD;
        let words = self.command.iter().chain(self.args.iter().flatten());
        if words.clone().any(long) || self.env.iter().any(|(k, v)| bytes(k, v) > MAX_WORD) {
            return wrong("env", "an argument or a variable has less than 128 KiB (execve(2))");
        }
        if self.cwd.as_ref().is_some_and(|c| !(c.starts_with('/') || *c == "~" || c.starts_with("~/"))) {
            return wrong("cwd", "expected an absolute path, or one below ~");
        }
        if self.pane.as_ref().is_some_and(|p| !pane_name(p)) {
            return wrong("pane", "expected WINDOW.PANE or a tmux pane id such as %5");
        }
        Ok(())
    }

    /// Whether going from `self` to `new` means starting the program again.
    pub fn needs_restart(&self, new: &Self) -> bool {
        let seen = |c: &Self| {
            (c.agent.clone(), c.command.clone(), c.args.clone(), c.danger, c.cwd.clone(), c.env.clone())
        };
        seen(self) != seen(new)
    }
}

fn turns(word: &str) -> Turns {
    match word {
        "on" => Turns::On,
        "off" => Turns::Off,
        _ => Turns::Auto,
    }
}

fn restart(word: &str) -> Restart {
    match word {
        "on-failure" => Restart::OnFailure,
        "always" => Restart::Always,
        _ => Restart::No,
    }
}

fn pane_name(name: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    match name.strip_prefix('%') {
        Some(id) => digits(id),
        None => name.split_once('.').is_some_and(|(w, p)| digits(w) && digits(p)),
    }
}

/// Beside a session's keys in an inline table: it starts without init prompts, this once.
const SKIP_INIT: &str = "skip-init";

/// Settings as one inline table of TOML: `{ args = ["-v"] }`, and whether `skip-init = true` stands
/// among them. The error is one line.
pub fn inline(table: &str) -> Result<(Values, bool), String> {
    let wrong = |fault: Fault| format!("settings: {}", fault.text);
    let text = format!("settings = {table}\n");
    let doc = toml_edit::Document::parse(text).map_err(|e| format!("settings: {}", e.message()))?;
    let Some(inner) = doc.get("settings").and_then(|s| s.as_inline_table()) else {
        return Err("settings: expected an inline table of TOML: { key = value }".into());
    };
    let skip = match inner.get(SKIP_INIT).map(|v| v.as_bool()) {
        None => false,
        Some(Some(skip)) => skip,
        Some(None) => return Err(format!("settings: {SKIP_INIT}: expected true or false")),
    };
    let keys = inner.iter().filter(|(k, _)| *k != SKIP_INIT);
    let lines: String = keys.map(|(k, v)| format!("{k} = {}\n", v.to_string().trim())).collect();
    let values = schema::parse(&lines, KEYS).map_err(wrong)?;
    SessionConfig::parse(&lines, true).map_err(wrong)?;
    Ok((values, skip))
}

/// The first text of a session made here: what is set, and every other key commented out.
pub fn template(set: &Values) -> String {
    let mut text = String::from(
        "# Settings of this session; muxfs.toml(5). A bad text changes nothing: see config.error.\n",
    );
    for key in KEYS {
        let set = set.get(key.name).map(|v| format!("{} = {}\n", key.name, schema::to_toml(v)));
        let set = set.unwrap_or_else(|| format!("# {} = {}\n", key.name, schema::example(key)));
        text.push_str(&format!("\n# {}\n{set}", key.about));
    }
    text
}

/// The first text of a session others made: what is seen, as comments.
pub fn template_of_others(seen: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# This session was made by others: agent, turns, logs and pane can be set, the rest is what is seen.\n#\n",
    );
    for (key, value) in seen {
        text.push_str(&format!("# {key} = {value:?}\n"));
    }
    text.push_str("\n# agent = \"claude\"\n# turns = \"auto\"\n# logs = true\n# pane = \"0.0\"\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_every_key_is_understood() {
        let text = "command = ['sh', '-x']\nargs = 'y'\ncwd = '~/src'\nsize = '80x24'\nlogs = false\npane = '%3'\n[env]\nA = 'b'";
        let c = SessionConfig::parse(text, true).unwrap();
        assert_eq!(c.command, ["sh", "-x"]);
        assert_eq!((c.args.unwrap()[0].as_str(), c.cwd.as_deref(), c.logs), ("y", Some("~/src"), false));
        assert_eq!(c.pane.as_deref(), Some("%3"));
    }

    #[test]
    fn the_templates_set_nothing() {
        assert_eq!(SessionConfig::parse(&template(&Values::new()), true).unwrap(), SessionConfig::default());
        let text = "agent = 'claude'\nargs = ['a b', \"c'd\\ne\\\"\"]\nsize = '80x24'\nenv = { 'X Y' = '#' }\ndanger = true\n";
        let again = template(&schema::parse(text, KEYS).unwrap());
        assert_eq!(SessionConfig::parse(&again, true).unwrap(), SessionConfig::parse(text, true).unwrap());
        let seen = template_of_others(&[("command", "vim \"x\n[env]".into())]);
        assert_eq!(SessionConfig::parse(&seen, false).unwrap(), SessionConfig::default());
    }

    #[test]
    fn anothers_session_keeps_its_command() {
        let f = SessionConfig::parse("logs = false\ncwd = '/x'\n", false).unwrap_err();
        assert_eq!((f.line, f.column), (2, 1), "{f}");
        assert!(SessionConfig::parse("pane = '0.1'\nlogs = true\n", false).is_ok());
    }

    #[test]
    fn one_line_of_settings_may_silence_the_first_prompts() {
        let (set, skip) = inline("{ init = [\"a\"], skip-init = true }").unwrap();
        assert_eq!((set.len(), skip), (1, true));
        assert_eq!(inline("{ }").unwrap(), (Values::new(), false));
        for bad in ["{ skip-init = 1 }", "{ skip = true }", "x"] {
            assert!(inline(bad).unwrap_err().starts_with("settings: "), "{bad}");
        }
    }

    #[test]
    fn values_without_sense_are_faults() {
        for text in
            ["cwd = 'x'", "pane = 'a'", "command = ''", "env = { '' = 'x' }", "command = \"a\\u0000\""]
        {
            assert!(SessionConfig::parse(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_the_program_sees_needs_a_restart() {
        let old = SessionConfig::default();
        let live = SessionConfig { logs: false, size: Some((9, 9)), pane: Some("%1".into()), ..old.clone() };
        assert!(!old.needs_restart(&live));
        assert!(old.needs_restart(&SessionConfig { args: Some(vec!["-v".into()]), ..old.clone() }));
    }
}
