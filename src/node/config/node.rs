//! The node's settings: one table, from which parser, `settings`, and muxfs.toml(5) come.

use std::collections::BTreeMap;
use std::time::Duration;

use muxfs_tree::base::schema::{self, Fault, Key, Kind, Value, Values};

pub static KEYS: &[Key] = &[
    Key {
        name: "node.name",
        kind: Kind::Text,
        default: "",
        about: "Name of this machine's directory. Default: the first label of the host name. Takes effect at the next start.",
        env: Some("MUXFS_NODE_NAME"),
    },
    Key {
        name: "tmux.socket",
        kind: Kind::Text,
        default: "",
        about: "The tmux server: a path (as tmux -S) or a name (as tmux -L). Default: your own server. Takes effect at the next start.",
        env: Some("MUXFS_TMUX_SOCKET"),
    },
    Key {
        name: "session.command",
        kind: Kind::Words,
        default: "",
        about: "What a new session runs. Default: your login shell.",
        env: None,
    },
    Key {
        name: "session.cwd",
        kind: Kind::Text,
        default: "",
        about: "Where a new session starts when neither its config nor the caller's directory says; ~ is HOME. Default: HOME.",
        env: None,
    },
    Key {
        name: "session.env",
        kind: Kind::Map,
        default: "",
        about: "Environment of every session made here, over that of your login shell. What a build or a make says to its programs (CI, CONTINUOUS_INTEGRATION, GITHUB_ACTIONS, MAKEFLAGS, MAKELEVEL, MAKEOVERRIDES, MFLAGS) is not taken from there.",
        env: None,
    },
    Key {
        name: "session.size",
        kind: Kind::Size,
        default: "120x40",
        about: "Columns and rows of a new session until a client attaches.",
        env: None,
    },
    Key {
        name: "session.danger",
        kind: Kind::Bool,
        default: "false",
        about: "Whether agents get the flags that make them ask for no approval.",
        env: None,
    },
    Key {
        name: "session.init",
        kind: Kind::Words,
        default: "",
        about: "Prompts for every agent that is started fresh, before the session's own.",
        env: None,
    },
    Key {
        name: "agent.*.command",
        kind: Kind::Words,
        default: "",
        about: "The agent's program, in the place of the catalogue's; an array has its arguments too.",
        env: None,
    },
    Key {
        name: "agent.*.args",
        kind: Kind::Words,
        default: "",
        about: "Arguments of the agent, in the place of the catalogue's.",
        env: None,
    },
    Key { name: "agent.*.env", kind: Kind::Map, default: "", about: "Environment of the agent.", env: None },
    Key {
        name: "agent.*.danger",
        kind: Kind::Bool,
        default: "",
        about: "As session.danger, for this agent.",
        env: None,
    },
    Key {
        name: "sessions",
        kind: Kind::Tables(SESSION_KEYS),
        default: "",
        about: "Sessions that are made when the node starts, in this order, where there are none of their names: name, and the keys of a session's config. autostart is on in them.",
        env: None,
    },
    Key {
        name: "turns.hold",
        kind: Kind::Span,
        default: "5m",
        about: "How long a turn may show no sign of work before it is ended as timed out.",
        env: None,
    },
    Key {
        name: "turns.max",
        kind: Kind::Span,
        default: "",
        about: "How long a turn may last at all. Default: no limit.",
        env: None,
    },
    Key {
        name: "turns.queue",
        kind: Kind::Count,
        default: "1000",
        about: "Prompts that may wait in one session; more are refused (EAGAIN).",
        env: None,
    },
    Key {
        name: "logs.rotate",
        kind: Kind::Bytes,
        default: "64MiB",
        about: "Size at which a log becomes NAME.1. At least 64KiB.",
        env: None,
    },
    Key {
        name: "logs.keep",
        kind: Kind::Span,
        default: "7d",
        about: "How long logs of ended sessions are kept.",
        env: None,
    },
    Key {
        name: "logs.total",
        kind: Kind::Bytes,
        default: "4GiB",
        about: "All logs of this node together; the oldest go first.",
        env: None,
    },
    Key {
        name: "input.hold",
        kind: Kind::Span,
        default: "60s",
        about: "How long a message waits for a person who is typing in the same pane before it is refused (ETIMEDOUT).",
        env: None,
    },
];

/// The keys of one of `[[sessions]]`: its name and those of a session's config.
static SESSION_KEYS: &[Key] = &{
    const NAME: Key =
        Key { name: "name", kind: Kind::Text, default: "", about: "The session's name.", env: None };
    let mut keys = [NAME; super::session::KEYS.len() + 1];
    let mut i = 0;
    while i < super::session::KEYS.len() {
        keys[i + 1] = super::session::KEYS[i];
        i += 1;
    }
    keys
};

/// The text of a node without a settings file: every setting, as a comment. Each line stands for
/// itself, so that any of them can be taken into use alone; tables of sessions come last, because
/// what follows a table's head belongs to it.
pub fn template() -> String {
    let mut text = String::from(
        "# Settings of this node; muxfs.toml(5). A bad text changes nothing: see config.error.\n",
    );
    let (last, keys): (Vec<&Key>, Vec<&Key>) = KEYS.iter().partition(|k| matches!(k.kind, Kind::Tables(_)));
    for key in keys {
        let name = key.name.replace('*', "claude");
        text.push_str(&format!("\n# {}\n# {name} = {}\n", key.about, schema::example(key)));
    }
    for key in last {
        text.push_str(&format!("\n# {}\n# [[{}]]\n# name = \"claude-api\"\n", key.about, key.name));
    }
    text
}

/// The settings in force. Everything has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    pub name: String,
    pub socket: String,
    pub command: Vec<String>,
    pub cwd: String,
    pub env: BTreeMap<String, String>,
    pub size: (u16, u16),
    pub rotate: u64,
    pub keep: Duration,
    pub total: u64,
    pub hold: Duration,
    pub danger: bool,
    pub init: Vec<String>,
    /// What the node says of an agent, by its key.
    pub agents: BTreeMap<String, AgentConfig>,
    /// Name and settings, in their order.
    pub sessions: Vec<(String, Values)>,
    pub turns_hold: Duration,
    pub turns_max: Option<Duration>,
    pub turns_queue: usize,
    /// Where each value came from, by key, for the `settings` view.
    pub sources: BTreeMap<&'static str, (String, Source)>,
}

/// Over the catalogue's manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentConfig {
    pub command: Option<Vec<String>>,
    pub args: Option<Vec<String>>,
    pub env: BTreeMap<String, String>,
    pub danger: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Default,
    File,
    Env(&'static str),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File => f.write_str("file"),
            Source::Env(name) => f.write_str(name),
        }
    }
}

/// Least size of a rotation: below it a busy pane would rotate at every chance.
const LEAST_ROTATE: u64 = 64 << 10;

impl NodeConfig {
    /// Environment over file over default. `env` looks a variable up; `hostname` is the machine's.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>, hostname: &str) -> Result<Self, Fault> {
        let file = schema::parse(text, KEYS)?;
        let mut values = Values::new();
        let mut sources = BTreeMap::new();
        for key in KEYS {
            let over = key.env.and_then(|name| Some((name, env(name).filter(|v| !v.is_empty())?)));
            let (value, source) = if let Some((name, text)) = over {
                (schema::from_text(key.kind, &text), Source::Env(name))
            } else if let Some(value) = file.get(key.name) {
                (Some(value.clone()), Source::File)
            } else {
                (
                    schema::from_text(key.kind, key.default).filter(|_| !key.default.is_empty()),
                    Source::Default,
                )
            };
            sources.insert(key.name, (value.as_ref().map_or_else(|| "-".into(), Value::to_string), source));
            if let Some(value) = value {
                values.insert(key.name, value);
            }
        }
        let mut config = NodeConfig::from_values(values, sources);
        if config.name.is_empty() {
            config.name = first_label(hostname);
            config.sources.insert("node.name", (format!("{:?}", config.name), Source::Default));
        }
        if !node_name(&config.name) {
            let what = format!("node.name: {:?} is not letters, digits, '-' and '_' (1 to 63)", config.name);
            return Err(schema::locate(text, "node.name", what));
        }
        let unnamed = match file.get("sessions") {
            Some(Value::Tables(tables)) => tables.iter().any(|t| !t.contains_key("name")),
            _ => false,
        };
        if unnamed {
            return Err(schema::locate(text, "sessions", "sessions: each needs a name".into()));
        }
        if config.rotate < LEAST_ROTATE {
            return Err(schema::locate(text, "logs.rotate", "logs.rotate: at least 64KiB".into()));
        }
        Ok(config)
    }

    fn from_values(mut v: Values, sources: BTreeMap<&'static str, (String, Source)>) -> Self {
        let mut text = |k| match v.remove(k) {
            Some(Value::Text(s)) => s,
            _ => String::new(),
        };
        let (name, socket, cwd) = (text("node.name"), text("tmux.socket"), text("session.cwd"));
        let bytes = |v: &Values, k| match v.get(k) {
            Some(Value::Bytes(n)) => *n,
            _ => 0,
        };
        let span = |v: &Values, k| match v.get(k) {
            Some(Value::Span(d)) => *d,
            _ => Duration::ZERO,
        };
        NodeConfig {
            name,
            socket,
            cwd,
            command: match v.get("session.command") {
                Some(Value::Words(w)) => w.clone(),
                _ => Vec::new(),
            },
            env: match v.get("session.env") {
                Some(Value::Map(m)) => m.clone(),
                _ => BTreeMap::new(),
            },
            size: match v.get("session.size") {
                Some(Value::Size(c, r)) => (*c, *r),
                _ => (120, 40),
            },
            rotate: bytes(&v, "logs.rotate"),
            keep: span(&v, "logs.keep"),
            total: bytes(&v, "logs.total"),
            hold: span(&v, "input.hold"),
            danger: v.get("session.danger") == Some(&Value::Bool(true)),
            init: match v.get("session.init") {
                Some(Value::Words(w)) => w.clone(),
                _ => Vec::new(),
            },
            agents: agents(&v),
            sessions: sessions(&v),
            turns_hold: span(&v, "turns.hold"),
            turns_max: Some(span(&v, "turns.max")).filter(|d| !d.is_zero()),
            turns_queue: match v.get("turns.queue") {
                Some(Value::Count(n)) => *n as usize,
                _ => 1000,
            },
            sources,
        }
    }
}

fn sessions(v: &Values) -> Vec<(String, Values)> {
    let Some(Value::Tables(tables)) = v.get("sessions") else { return Vec::new() };
    let each = tables.iter().cloned().filter_map(|mut table| {
        let Some(Value::Text(name)) = table.remove("name") else { return None };
        table.entry("autostart").or_insert(Value::Bool(true));
        Some((name, table))
    });
    each.collect()
}

fn agents(v: &Values) -> BTreeMap<String, AgentConfig> {
    let mut agents: BTreeMap<String, AgentConfig> = BTreeMap::new();
    let each = |key| match v.get(key) {
        Some(Value::Each(each)) => each.clone(),
        _ => BTreeMap::new(),
    };
    for key in ["agent.*.command", "agent.*.args", "agent.*.env", "agent.*.danger"] {
        for (name, value) in each(key) {
            let agent = agents.entry(name).or_default();
            match (key, value) {
                ("agent.*.command", Value::Words(w)) => agent.command = Some(w),
                ("agent.*.args", Value::Words(w)) => agent.args = Some(w),
                ("agent.*.env", Value::Map(m)) => agent.env = m,
                ("agent.*.danger", Value::Bool(b)) => agent.danger = Some(b),
                _ => unreachable!("schema::parse gives each key its own kind"),
            }
        }
    }
    agents
}

fn first_label(hostname: &str) -> String {
    let label: String =
        hostname.split('.').next().unwrap_or("").chars().filter(|c| node_char(*c)).take(63).collect();
    if label.is_empty() { "localhost".into() } else { label }
}

/// A node's name stands in paths, host names and log fields, so it is kept plain.
fn node_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(node_char)
}

fn node_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_empty_file_gives_the_defaults() {
        let c = NodeConfig::parse("", &none, "honey.example.org").unwrap();
        assert_eq!(c.name, "honey");
        assert_eq!((c.size, c.rotate, c.total), ((120, 40), 64 << 20, 4 << 30));
        assert_eq!((c.keep, c.hold), (Duration::from_secs(7 * 86400), Duration::from_secs(60)));
        assert_eq!(c.sources["logs.rotate"].1, Source::Default);
    }

    #[test]
    fn the_template_sets_nothing_and_each_line_of_it_sets_one_thing() {
        let text = template();
        let plain = NodeConfig::parse(&text, &none, "x").unwrap();
        assert_eq!(plain, NodeConfig::parse("", &none, "x").unwrap());
        let settings = text.lines().filter_map(|l| l.strip_prefix("# ")).filter(|l| l.contains(" = "));
        let settings: Vec<&str> =
            settings.filter(|l| !l.contains(' ') || l.split(' ').nth(1) == Some("=")).collect();
        assert_eq!(settings.len(), KEYS.len());
        for line in settings.iter().filter(|l| !l.starts_with("name")) {
            schema::parse(line, KEYS).unwrap_or_else(|f| panic!("{line}: {f}"));
        }
        let all: String = text
            .lines()
            .map(|l| {
                l.strip_prefix("# ").filter(|l| settings.contains(l) || l.starts_with("[[")).unwrap_or(l)
            })
            .map(|l| format!("{l}\n"))
            .collect();
        assert_eq!(schema::parse(&all, KEYS).unwrap().len(), KEYS.len());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let env = |k: &str| (k == "MUXFS_NODE_NAME").then(|| "yoga".to_owned());
        let c = NodeConfig::parse("[node]\nname = 'honey'\n[logs]\nrotate='1MiB'\n", &env, "x").unwrap();
        assert_eq!(c.name, "yoga");
        assert_eq!(c.sources["node.name"].1, Source::Env("MUXFS_NODE_NAME"));
        assert_eq!(c.sources["logs.rotate"], ("1048576".into(), Source::File));
    }

    #[test]
    fn values_without_sense_are_faults_at_their_place() {
        let f = NodeConfig::parse("\n[node]\nname = 'a/b'\n", &none, "x").unwrap_err();
        assert_eq!((f.line, f.column), (3, 1), "{f}");
        assert!(NodeConfig::parse("[logs]\nrotate = 10\n", &none, "x").is_err());
    }

    #[test]
    fn secrets_of_the_environment_are_not_shown() {
        let c = NodeConfig::parse("[session.env]\nKEY = 'hush'\n", &none, "x").unwrap();
        assert_eq!(c.sources["session.env"].0, "{KEY}");
        assert_eq!(c.env["KEY"], "hush");
    }
}
