//! The node's own files.

use super::row::{Answer, Document, Fetched, File, MAX_VIEW, Row, Verb};
use super::subject::NodeAt;
use super::text;
use crate::config::session;
use crate::error::{Error, Kind};
use crate::session::life::Asked;
use crate::tree::Caller;

/// The most that the catalogue's tables take, in bytes: the disk knows what is installed where.
const CATALOGUE: u64 = 1 << 20;

pub static ROWS: &[Row<NodeAt>] = &[
    Row {
        name: "status",
        mode: 0o400,
        about: "The node: name, state, version, tmux server, sessions, uptime, last error.",
        file: File::View(|n| text::node_status(n).lines()),
    },
    Row {
        name: "status.json",
        mode: 0o400,
        about: "The same as JSON.",
        file: File::View(|n| text::node_status(n).json()),
    },
    Row {
        name: "index",
        mode: 0o400,
        about: "One line a session: name, agent, state, seconds in it, queued prompts, cwd.",
        file: File::View(text::index),
    },
    Row {
        name: "logs",
        mode: 0o400,
        about: "What happened on this node, one line an event: time, level, session, text.",
        file: File::Log(|n| n.sessions.journal.logs.text.clone()),
    },
    Row {
        name: "logs.json",
        mode: 0o400,
        about: "The same as JSON lines.",
        file: File::Log(|n| n.sessions.journal.logs.json.clone()),
    },
    Row {
        name: "events",
        mode: 0o400,
        about: "Sessions made, ended, renamed; state changes; messages delivered; from open on.",
        file: File::Events(|n| Box::new(n.sessions.journal.follow(None))),
    },
    Row {
        name: "agents",
        mode: 0o400,
        about: "The catalogue: key, name, installed or not, command, flags that make it ask for no approval.",
        file: File::Fetched(Fetched { read: |n| Box::pin(text::agents(n, false)), size: |_| CATALOGUE }),
    },
    Row {
        name: "agents.json",
        mode: 0o400,
        about: "The same as JSON.",
        file: File::Fetched(Fetched { read: |n| Box::pin(text::agents(n, true)), size: |_| CATALOGUE }),
    },
    Row {
        name: "conversations",
        mode: 0o400,
        about: "Past conversations of all agents, newest first: agent, cwd, id, last change, start, prompts, title.",
        file: File::Fetched(Fetched { read: |n| Box::pin(text::conversations(n)), size: |_| MAX_VIEW }),
    },
    Row {
        name: "settings",
        mode: 0o400,
        about: "Every setting, its value and where it came from.",
        file: File::View(text::settings),
    },
    Row {
        name: "settings.json",
        mode: 0o400,
        about: "The same as JSON.",
        file: File::View(text::settings_json),
    },
    Row {
        name: "config",
        mode: 0o600,
        about: "The node's settings, muxfs.toml(5). A hand edit of the file behind it takes effect as well.",
        file: File::Document(Document {
            text: |n| n.sessions.node_config(),
            meta: |n| n.sessions.node_config_meta(),
            save: |n, body| n.sessions.save_node_config(body),
        }),
    },
    Row {
        name: "config.error",
        mode: 0o400,
        about: "Why the last save of config was refused: line, column, what was expected. Empty when it was not.",
        file: File::View(|n| text::rejection(n.sessions.node_rejected()).0),
    },
    Row {
        name: "config.rejected",
        mode: 0o400,
        about: "The refused text.",
        file: File::View(|n| text::rejection(n.sessions.node_rejected()).1),
    },
    Row {
        name: "errors",
        mode: 0o400,
        about: "What was refused or failed: time, who, where, why.",
        file: File::Log(|n| n.sessions.journal.errors.0.clone()),
    },
    Row { name: "ctl", mode: 0o600, about: "Commands to the node, one a line.", file: File::Ctl(VERBS) },
];

pub static VERBS: &[Verb<NodeAt>] = &[
    Verb {
        name: "new",
        args: "NAME [AGENT] [CWD] [SETTINGS…]",
        about: "Makes a session, as mkdir does. `-` leaves AGENT or CWD out; SETTINGS is an inline table of TOML: { init = [\"read PLAN.md\"] }; skip-init = true in it: without first prompts, this once.",
        run: new,
    },
    Verb {
        name: "reload",
        args: "",
        about: "Reads the settings file and asks the login shell for its environment again.",
        run: reload,
    },
    Verb { name: "sweep", args: "", about: "Removes logs that are beyond their time or room.", run: sweep },
];

/// Names no session can be shown under as they are.
pub fn reserved(name: &str) -> bool {
    // The catalogue's own are kept free for it.
    ROWS.iter().any(|r| r.name == name)
}

fn new(node: NodeAt, who: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        let mut args = args.into_iter();
        let name = args.next().unwrap_or_default();
        let mut given = || args.next().filter(|a| a != "-");
        let (agent, cwd, settings) = (given(), given(), given());
        let (set, skip_init) = match settings {
            Some(table) => session::inline(&table).map_err(|why| Error::new(Kind::Invalid, why))?,
            None => Default::default(),
        };
        let (agent, cwd) = (agent.as_deref(), cwd.as_deref());
        let asked = Asked { agent, cwd, set: Some(&set), skip_init, ..Asked::default() };
        node.sessions.make(&who, &name, asked).await.map(drop)
    })
}

fn reload(node: NodeAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        node.sessions.reload().await;
        Ok(())
    })
}

fn sweep(node: NodeAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        node.sessions.prune_logs();
        Ok(())
    })
}
