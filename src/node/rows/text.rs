//! The texts of views: `status`, `index`, `settings`. From memory alone.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::subject::{NodeAt, PaneAt, SessionAt, TurnAt};
use crate::log::{Trouble, column, field, free_text};
use crate::session::record::from_millis;
use crate::session::settings::session::Rejected;
use crate::session::view::PaneView;
use crate::session::{Pane, Session, State, program};
use muxfs_agent::installed::{self, Found};
use muxfs_tree::base::clock::rfc3339;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::later;

/// `key: value` lines, or the same as one JSON object.
pub struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn new() -> Self {
        Fields(Vec::with_capacity(24))
    }

    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push((key, value.into()));
    }

    /// A value is plain text up to the end of its line: only control characters are
    /// percent-encoded. An empty one is `-`.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            out.push_str(key);
            out.push_str(": ");
            match value {
                Value::Null => out.push('-'),
                Value::String(s) if s.is_empty() => out.push('-'),
                Value::String(s) => out.push_str(&free_text(s)),
                other => out.push_str(&other.to_string()),
            }
            out.push('\n');
        }
        out
    }

    pub fn json(self) -> String {
        let object: Map<String, Value> = self.0.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        format!("{}\n", Value::Object(object))
    }
}

pub fn node_status(n: &NodeAt) -> Fields {
    let s = &n.sessions;
    let mut f = Fields::new();
    let server = s.connection.connected();
    let now = SystemTime::now();
    f.add("name", s.journal.node());
    f.add("id", s.about.id.as_str());
    f.add("state", "online");
    f.add("since", rfc3339(s.about.started));
    f.add("last_seen", rfc3339(now));
    f.add("version", env!("CARGO_PKG_VERSION"));
    f.add("os", std::env::consts::OS);
    f.add("tmux", server.as_ref().map(|t| t.info().version.to_string()));
    f.add("tmux_pid", server.as_ref().map(|t| t.info().pid));
    f.add("tmux_socket", s.connection.socket_path().display().to_string());
    f.add("sessions", s.tables.count());
    f.add("uptime", now.duration_since(s.about.started).map_or(0, |d| d.as_secs()));
    f.add("logs", s.journal.logs.text.trouble().map_or_else(|| "ok".to_owned(), |t| t.text));
    f.add("last_error", s.connection.last_error());
    f
}

pub fn session_status(s: &SessionAt) -> Fields {
    let session = s.session.view();
    let node = s.sessions.settings.config();
    let parent = session.parent.clone().map(|id| parent(s, id));
    session.main.view(|pane| {
        let danger = |key: &str| program::danger(&session.config, &node, key);
        let mut f = Fields::new();
        f.add("name", session.name.as_str());
        f.add("agent", pane.agent.as_deref());
        state(&mut f, pane);
        f.add("queue", session.queued + pane.waiting);
        f.add("turn", session.turn.as_deref());
        f.add("turns", if session.turns_on(pane) { "on" } else { "off" });
        held(&mut f, pane);
        f.add("pending", session.pending_restart.then_some("restart"));
        process(&mut f, pane);
        f.add("pane", pane.id);
        f.add("panes", session.panes);
        f.add("attached", session.attached);
        f.add("managed", s.session.ours);
        f.add("danger", s.session.ours && pane.agent_key().is_some_and(danger));
        f.add("conversation", session.conversation.as_deref());
        f.add("parent", parent);
        f.add("made", rfc3339(s.session.made));
        f.add("id", s.session.id.as_str());
        logs(&mut f, pane);
        f.add("last_error", session.last_error.as_deref());
        f
    })
}

pub fn pane_status(p: &PaneAt) -> Fields {
    p.pane.view(|pane| {
        let mut f = Fields::new();
        f.add("pane", pane.id);
        f.add("agent", pane.agent.as_deref());
        state(&mut f, pane);
        f.add("queue", pane.waiting);
        held(&mut f, pane);
        process(&mut f, pane);
        logs(&mut f, pane);
        f
    })
}

fn held(f: &mut Fields, pane: &PaneView<'_>) {
    f.add("held", pane.held.as_ref().map(|h| h.word));
    f.add("held_why", pane.held.as_ref().map(|h| h.why.as_str()).filter(|why| !why.is_empty()));
}

pub fn turn_status(t: &TurnAt) -> Fields {
    // What it is now: the handle's turn is of the moment it was looked up.
    let turn = t.session.turns.book().and_then(|b| b.by_number(t.turn.number)).unwrap_or(t.turn.clone());
    let time = |ms: Option<u64>| ms.map(|ms| rfc3339(from_millis(ms)));
    let mut f = Fields::new();
    f.add("name", turn.name.as_str());
    f.add("number", turn.number);
    f.add("state", turn.stage.word());
    f.add("why", turn.why.clone());
    f.add("session", t.session.shown());
    f.add("accepted", time(Some(turn.accepted)));
    f.add("sent", time(turn.sent));
    f.add("ended", time(turn.ended));
    f.add("bytes", turn.size);
    let by = t.sessions.journal.by(&turn.origin, None);
    f.add("node", by.node);
    f.add("user", by.user.map(Cow::into_owned));
    f.add("from_session", by.session);
    f.add("uid", by.uid);
    f.add("init", by.init);
    f
}

pub(super) fn agent(pane: &Pane) -> Option<String> {
    pane.agent().or_else(|| pane.is_shell().then(|| program::SHELL.to_owned()))
}

fn state(f: &mut Fields, pane: &PaneView<'_>) {
    let seen = &pane.seen;
    f.add("state", seen.state.to_string());
    f.add("since", rfc3339(seen.since));
    f.add("evidence", seen.evidence.word());
    f.add("rule", pane.rule.as_deref());
    let limit = pane.limit.filter(|_| seen.state == State::Limited);
    f.add("why", limit.map(|l| l.reason.word()));
    f.add("until", limit.and_then(|l| l.until).map(rfc3339));
    f.add("seen", rfc3339(seen.at));
}

fn process(f: &mut Fields, pane: &PaneView<'_>) {
    let facts = pane.facts;
    f.add("cwd", facts.cwd.as_str());
    f.add("command", facts.command.as_str());
    f.add("pid", facts.pid);
    f.add("tty", facts.tty.as_str());
    f.add("exit_status", facts.dead_status);
    f.add("exit_signal", facts.dead_signal);
    f.add("size", format!("{}x{}", facts.width, facts.height));
    f.add("title", facts.title.as_str());
    f.add("copy_mode", facts.in_mode);
}

fn logs(f: &mut Fields, pane: &PaneView<'_>) {
    f.add("logs", pane.tap.as_str());
    let missing =
        |t: &Trouble| format!("{}: {} bytes missing since {}", t.text, t.lost_bytes, rfc3339(t.since));
    f.add("logs_trouble", pane.trouble.as_ref().map(missing));
}

/// Fixed columns for people, single fields for `awk`.
pub fn index(n: &NodeAt) -> String {
    let sessions = n.sessions.tables.all();
    let mut out = String::with_capacity(sessions.len() * 80);
    for session in sessions {
        let pane = session.main();
        let seen = pane.seen();
        let seconds = seen.held.elapsed().as_secs();
        let queued = queued(&session, &pane);
        let (name, agent) = (session.shown(), agent(&pane).unwrap_or_else(|| "-".into()));
        let state = short(seen.state);
        pane.fact(|facts| {
            use std::fmt::Write;
            let _ = writeln!(
                out,
                "{:<24} {agent:<10} {state:<10} {seconds:>7} {queued:>4} {}",
                column(&name),
                if facts.cwd.is_empty() { "-".into() } else { free_text(&facts.cwd) }
            ); // writing to a String does not fail
        });
    }
    out
}

/// Prompts that wait: on disk, and those about to be typed.
pub(super) fn queued(session: &Session, pane: &Pane) -> usize {
    session.turns.load().0 + pane.waiting.load(std::sync::atomic::Ordering::Relaxed)
}

/// The session in which this one was made, by its name; by its id where it is gone.
fn parent(s: &SessionAt, id: String) -> String {
    s.sessions.tables.by_id(&id).map_or(id, |s| s.shown())
}

/// One word, so that columns stay columns.
fn short(state: State) -> String {
    state.to_string().replace(' ', ":")
}

/// The catalogue as a session would find it: by the login shell's PATH.
pub async fn agents(n: NodeAt, json: bool) -> Result<Vec<u8>> {
    let print = if json { installed::as_json } else { installed::table };
    catalogue(n, print).await.map(String::into_bytes)
}

/// Prints every agent of the catalogue with its program, where that is found.
pub(super) async fn catalogue<T: Send + 'static>(n: NodeAt, print: fn(&[Found<'_>]) -> T) -> Result<T> {
    let path = n.sessions.settings.login_env().await.get("PATH").cloned().unwrap_or_default();
    // A directory of PATH may be a slow one.
    later::on_disk(move || print(&installed::list(&n.sessions.settings.catalogue(), &path, true))).await
}

/// Every agent's conversations in every directory, as the login shell's environment finds them.
pub async fn conversations(n: NodeAt) -> Result<Vec<u8>> {
    let all = n.sessions.conversations.all().await?;
    Ok(super::conversations::conversations(&all).into_bytes())
}

pub fn settings(n: &NodeAt) -> String {
    let config = n.sessions.settings.config();
    let line = |(key, (value, source)): (&&str, &(String, crate::config::node::Source))| {
        format!("{key:<18} {:<28} {source}\n", field(value))
    };
    config.sources.iter().map(line).collect()
}

pub fn settings_json(n: &NodeAt) -> String {
    let config = n.sessions.settings.config();
    let object: Map<String, Value> = config
        .sources
        .iter()
        .map(|(key, (value, source))| {
            ((*key).to_owned(), json!({"value": value, "source": source.to_string()}))
        })
        .collect();
    format!("{}\n", Value::Object(object))
}

/// `config.error` and `config.rejected`.
pub fn rejection(rejected: Option<Rejected>) -> (String, String) {
    rejected.map_or_else(Default::default, |r| (format!("{}\n", r.fault), r.text))
}
