//! The node's own files.

use super::dir::{Described, DirAt, DirRow, Found, Holds, Makes, Others, Subject};
use super::row::{Answer, Document, Fetched, File, MAX_VIEW, Row, Verb};
use super::subject::{NodeAt, SessionAt};
use super::{rows_session, text};
use crate::config::session;
use crate::session::life::make::Asked;
use muxfs_tree::base::error::{Error, Kind};
use muxfs_tree::id::Ids;
use muxfs_tree::{Caller, Gesture};

/// The most that the catalogue's tables take, in bytes: the disk knows what is installed where.
const CATALOGUE: u64 = 1 << 20;

pub static ROWS: &[Row<NodeAt>] = &[
    Row::new(
        "status",
        0o400,
        "The node: name, state, version, tmux server, sessions, uptime, last error.",
        File::View(|n| text::node_status(n).lines()),
    ),
    Row::new("status.json", 0o400, "The same as JSON.", File::View(|n| text::node_status(n).json())),
    Row::new(
        "index",
        0o400,
        "One line a session: name, agent, state, seconds in it, queued prompts, cwd.",
        File::View(text::index),
    ),
    Row::new(
        "logs",
        0o400,
        "What happened on this node, one line an event: time, level, session, text.",
        File::Log(|n| n.sessions.journal.logs.text.clone()),
    ),
    Row::new(
        "logs.json",
        0o400,
        "The same as JSON lines.",
        File::Log(|n| n.sessions.journal.logs.json.clone()),
    ),
    Row::new(
        "events",
        0o400,
        "Sessions made, ended, renamed; state changes; messages delivered; from open on.",
        File::Events(|n| Box::new(n.sessions.journal.follow(None))),
    ),
    Row::new(
        "agents",
        0o400,
        "The catalogue: key, name, installed or not, command, flags that make it ask for no approval.",
        File::Fetched(Fetched { read: |n| Box::pin(text::agents(n, false)), size: |_| CATALOGUE }),
    ),
    Row::new(
        "agents.json",
        0o400,
        "The same as JSON.",
        File::Fetched(Fetched { read: |n| Box::pin(text::agents(n, true)), size: |_| CATALOGUE }),
    ),
    Row::new(
        "conversations",
        0o400,
        "Past conversations of all agents, newest first: agent, cwd, id, last change, start, prompts, title.",
        File::Fetched(Fetched { read: |n| Box::pin(text::conversations(n)), size: |_| MAX_VIEW }),
    ),
    Row::new(
        "settings",
        0o400,
        "Every setting, its value and where it came from.",
        File::View(text::settings),
    ),
    Row::new("settings.json", 0o400, "The same as JSON.", File::View(text::settings_json)),
    Row::new(
        "config",
        0o600,
        "The node's settings, muxfs.toml(5). A hand edit of the file behind it takes effect as well.",
        File::Document(Document {
            text: |n| n.sessions.settings.node_text(),
            meta: |n| n.sessions.settings.node_meta(),
            save: |n, body| n.sessions.settings.save_node(body),
        }),
    ),
    Row::new(
        "config.error",
        0o400,
        "Why the last save of config was refused: line, column, what was expected. Empty when it was not.",
        File::View(|n| text::rejection(n.sessions.settings.node_rejected()).0),
    ),
    Row::new(
        "config.rejected",
        0o400,
        "The refused text.",
        File::View(|n| text::rejection(n.sessions.settings.node_rejected()).1),
    ),
    Row::new(
        "errors",
        0o400,
        "What was refused or failed: time, who (`USER@NODE/SESSION:PID`, as far as it is known), where, why.",
        File::Log(|n| n.sessions.journal.errors.log().clone()),
    ),
    Row::new("ctl", 0o600, "Commands to the node, one a line.", File::Ctl(VERBS)),
];

pub static DIR: DirRow<NodeAt> = DirRow {
    lacks: "session",
    makes: Makes::Dirs(make),
    ..DirRow::new("<node>", 0o700, "One directory a machine.", &[Holds::Files(ROWS), Holds::Others(&All)])
};

/// Every session.
struct All;

impl Others<NodeAt> for All {
    fn names(&self, n: &NodeAt) -> Vec<String> {
        n.sessions.tables.all().iter().map(|s| s.shown()).collect()
    }

    fn find(&self, n: &NodeAt, ids: &Ids, _: &str, name: &str) -> Option<Found> {
        Some(session(SessionAt { sessions: n.sessions.clone(), session: n.sessions.tables.get(name)? }, ids))
    }

    fn has_lost(&self, n: &NodeAt, ids: &Ids, id: u64) -> bool {
        let at = |session| SessionAt { sessions: n.sessions.clone(), session };
        !n.sessions.tables.all().into_iter().any(|session| at(session).id(ids) == id)
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.dir(dir, &rows_session::DIR);
    }
}

/// A session's directory. From here on paths are those of the session's own record.
pub(super) fn session(session: SessionAt, ids: &Ids) -> Found {
    let modes = session.modes("");
    DirAt::found(&rows_session::DIR, session, ids, String::new(), modes)
}

/// `mkdir NAME`.
fn make(n: NodeAt, gesture: Gesture, name: String) -> Answer<()> {
    Box::pin(async move {
        let asked = Asked { gesture: Some(&gesture), ..Asked::default() };
        n.sessions.life.make(&gesture.who, &name, asked).await.map(drop)
    })
}

pub static VERBS: &[Verb<NodeAt>] = &[
    Verb {
        name: "new",
        args: "NAME [AGENT] [CWD] [SETTINGS…]",
        about: "Makes a session, as mkdir does. `-` leaves AGENT or CWD out; SETTINGS is an inline table of TOML: { init = [\"read PLAN.md\"] }; skip-init = true in it: without init prompts, this once.",
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
        node.sessions.life.make(&who, &name, asked).await.map(drop)
    })
}

fn reload(node: NodeAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        node.sessions.life.reload().await;
        Ok(())
    })
}

fn sweep(node: NodeAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        node.sessions.life.logs.prune();
        Ok(())
    })
}
