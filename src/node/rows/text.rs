//! The texts of views: `status`, `index`, `settings`. From memory alone.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::subject::{NodeAt, PaneAt, SessionAt, TurnAt};
use crate::log::{column, field, free_text};
use crate::session::record::from_millis;
use crate::session::settings::Rejected;
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
    let server = s.connected();
    let now = SystemTime::now();
    f.add("name", s.journal.node());
    f.add("id", s.node_id.as_str());
    f.add("state", "online");
    f.add("since", rfc3339(s.started));
    f.add("last_seen", rfc3339(now));
    f.add("version", env!("CARGO_PKG_VERSION"));
    f.add("os", std::env::consts::OS);
    f.add("tmux", server.as_ref().map(|t| t.info().version.to_string()));
    f.add("tmux_pid", server.as_ref().map(|t| t.info().pid));
    f.add("tmux_socket", s.socket_path().display().to_string());
    f.add("sessions", s.count());
    f.add("uptime", now.duration_since(s.started).map_or(0, |d| d.as_secs()));
    f.add("logs", s.journal.logs.text.trouble().map_or_else(|| "ok".to_owned(), |t| t.text));
    f.add("last_error", s.last_error());
    f
}

pub fn session_status(s: &SessionAt) -> Fields {
    let pane = s.session.main();
    let mut f = Fields::new();
    f.add("name", s.session.shown());
    f.add("agent", agent(&pane));
    state(&mut f, &pane);
    f.add("queue", queued(&s.session, &pane));
    f.add("turn", s.session.turns.current().map(|t| t.name));
    f.add("turns", if s.sessions.turns_on(&s.session) { "on" } else { "off" });
    held(&mut f, &pane);
    f.add("pending", s.session.pending_restart().then_some("restart"));
    process(&mut f, &pane);
    f.add("pane", pane.id.as_str());
    f.add("panes", s.session.panes().len());
    f.add("attached", s.session.attached());
    f.add("managed", s.session.ours);
    f.add("danger", danger(s));
    f.add("conversation", s.session.conversation());
    f.add("parent", parent(s));
    f.add("made", rfc3339(s.session.made));
    f.add("id", s.session.id.as_str());
    logs(&mut f, &pane);
    f.add("last_error", s.session.last_error());
    f
}

pub fn pane_status(p: &PaneAt) -> Fields {
    let mut f = Fields::new();
    f.add("pane", p.pane.id.as_str());
    f.add("agent", agent(&p.pane));
    state(&mut f, &p.pane);
    f.add("queue", p.pane.waiting.load(std::sync::atomic::Ordering::Relaxed));
    held(&mut f, &p.pane);
    process(&mut f, &p.pane);
    logs(&mut f, &p.pane);
    f
}

fn held(f: &mut Fields, pane: &Pane) {
    let held = pane.held();
    f.add("held", held.as_ref().map(|h| h.word));
    f.add("held_why", held.map(|h| h.why).filter(|why| !why.is_empty()));
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

fn state(f: &mut Fields, pane: &Pane) {
    let seen = pane.seen();
    f.add("state", seen.state.to_string());
    f.add("since", rfc3339(seen.since));
    f.add("evidence", seen.evidence.word());
    f.add("rule", pane.eyes(|e| e.why().map(str::to_owned)).flatten());
    let limit = pane.eyes(|e| e.limit(SystemTime::now())).flatten().filter(|_| seen.state == State::Limited);
    f.add("why", limit.map(|l| l.reason.word()));
    f.add("until", limit.and_then(|l| l.until).map(rfc3339));
    f.add("seen", rfc3339(seen.at));
}

fn process(f: &mut Fields, pane: &Pane) {
    pane.fact(|facts| {
        f.add("cwd", facts.cwd.as_str());
        f.add("command", facts.command.as_str());
        f.add("pid", facts.pid);
        f.add("tty", facts.tty.as_str());
        f.add("exit_status", facts.dead_status);
        f.add("exit_signal", facts.dead_signal);
        f.add("size", format!("{}x{}", facts.width, facts.height));
        f.add("title", facts.title.as_str());
        f.add("copy_mode", facts.in_mode);
    });
}

fn logs(f: &mut Fields, pane: &Pane) {
    f.add("logs", pane.tap().describe());
    let trouble = pane.raw.trouble().or_else(|| pane.logs.trouble());
    f.add(
        "logs_trouble",
        trouble.map(|t| format!("{}: {} bytes missing since {}", t.text, t.lost_bytes, rfc3339(t.since))),
    );
}

/// Fixed columns for eyes, single fields for `awk`.
pub fn index(n: &NodeAt) -> String {
    let sessions = n.sessions.all();
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

/// The flags that let an agent ask for no approval are on.
fn danger(s: &SessionAt) -> bool {
    let (config, node) = (s.session.config(), s.sessions.config());
    s.session.ours && s.session.main().agent().is_some_and(|key| program::danger(&config, &node, &key))
}

/// The session in which this one was made, by its name; by its id where it is gone.
fn parent(s: &SessionAt) -> Option<String> {
    let id = s.session.parent()?;
    let here = s.sessions.all().into_iter().find(|s| s.id == id);
    Some(here.map_or(id, |s| s.shown()))
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
    let path = n.sessions.login_env().await.get("PATH").cloned().unwrap_or_default();
    // A directory of PATH may be a slow one.
    later::on_disk(move || print(&installed::look(&n.sessions.catalogue(), &path, true))).await
}

/// Every agent's conversations in every directory, as the login shell's environment finds them.
pub async fn conversations(n: NodeAt) -> Result<Vec<u8>> {
    let all = n.sessions.all_conversations().await?;
    Ok(super::talks::conversations(&all).into_bytes())
}

pub fn settings(n: &NodeAt) -> String {
    let config = n.sessions.config();
    let line = |(key, (value, source)): (&&str, &(String, crate::config::node::Source))| {
        format!("{key:<18} {:<28} {source}\n", field(value))
    };
    config.sources.iter().map(line).collect()
}

pub fn settings_json(n: &NodeAt) -> String {
    let config = n.sessions.config();
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
