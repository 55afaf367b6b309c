//! Settings that change while things run: a session's and the node's, through the mount or by a
//! hand edit of the file behind them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::record::{self, Record, Store};
use super::{Level, Moved, Session, Sessions, Tap};
use crate::config::{NodeConfig, SessionConfig, node};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::foreign::Links;
use muxfs_tree::base::schema::{self, Fault};

/// vim puts the old text back at once where its save was refused: that is no save, and the
/// refusal stays to be read.
const PUT_BACK: Duration = Duration::from_secs(1);

/// A text that was refused, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    pub fault: Fault,
    pub text: String,
    when: Instant,
}

impl Rejected {
    pub fn new(fault: Fault, text: String) -> Self {
        Rejected { fault, text, when: Instant::now() }
    }

    /// Whether the text in force, written now, is only put back.
    fn just_now(&self) -> bool {
        self.when.elapsed() < PUT_BACK
    }
}

/// The text of a message as settings: UTF-8. What is not is refused with its place, and kept as
/// far as it can be shown.
fn text(body: &[u8]) -> Result<&str, Rejected> {
    std::str::from_utf8(body).map_err(|e| {
        let shown = String::from_utf8_lossy(body).into_owned();
        // Up to there both texts are the same.
        Rejected::new(schema::fault(&shown, e.valid_up_to(), "not UTF-8".to_owned()), shown)
    })
}

fn not_utf8<T>(rejected: &Rejected) -> Result<T> {
    fail(Kind::NotUtf8, format!("config: {}", rejected.fault))
}

impl Sessions {
    /// Takes `body` as the session's settings, or keeps it as `config.rejected` and says why.
    pub fn save_config(self: &Arc<Self>, session: &Arc<Session>, body: &[u8]) -> Result<()> {
        self.home.look()?;
        let _saving = session.saving.lock();
        match text(body) {
            Ok(text) => self.save_text(session, text, false),
            Err(rejected) => {
                let refused = not_utf8(&rejected);
                self.reject(session, Some(rejected));
                refused
            }
        }
    }

    /// `from_file`: it is what the file holds, which may have been edited again meanwhile and is
    /// left as it is.
    fn save_text(self: &Arc<Self>, session: &Arc<Session>, text: &str, from_file: bool) -> Result<()> {
        if session.record.get(|r| r.config == text) {
            if !session.rejected.lock().as_ref().is_some_and(Rejected::just_now) {
                self.reject(session, None);
            }
            return Ok(());
        }
        let new = match self.parse_config(text, session.ours) {
            Ok(new) => new,
            Err(fault) => {
                let why = format!("config: {fault}");
                self.reject(session, Some(Rejected::new(fault, text.to_owned())));
                return fail(Kind::Invalid, why);
            }
        };
        let (kept, changed) = (text.to_owned(), record::millis(SystemTime::now()));
        let (id, file) = (session.id.clone(), (!from_file).then(|| text.to_owned()));
        let save = move |store: &Store| file.map_or(Ok(()), |text| store.save_config(&id, &text));
        let change = move |record: &mut Record| {
            record.config.clone_from(&kept);
            record.changed = changed;
        };
        self.records.change(&session.record, save, change).block()?;
        self.reject(session, None);
        self.put_in_force(session, new);
        Ok(())
    }

    fn put_in_force(self: &Arc<Self>, session: &Arc<Session>, new: SessionConfig) {
        let new = Arc::new(new);
        let old = std::mem::replace(&mut *session.config.write(), new.clone());
        let name = session.shown();
        self.journal.log(Level::Info, &name, "config changed");
        self.keep_main(session, &session.panes());
        self.bind_agent(session);
        if old.logs != new.logs {
            for (_, pane) in session.panes() {
                match (new.logs, pane.tap()) {
                    (true, Tap::Off) => self.ask_tap(&pane),
                    (false, _) => self.untap(&pane),
                    _ => {}
                }
            }
        }
        if session.ours && old.needs_restart(&new) {
            session.restart.send_replace(true);
            self.observer.poke(&session.main());
            self.restart_if_pending(session);
        }
        if let (true, Some(size)) = (old.size != new.size, new.size) {
            let (sessions, session) = (self.clone(), session.clone());
            tokio::spawn(async move { sessions.resize(&session, size).await });
        }
        self.tell_moved(Moved::Attributes { session: Some(name), path: "config".into() });
    }

    fn reject(&self, session: &Session, rejected: Option<Rejected>) {
        let had = session.rejected.lock().is_some();
        if rejected.is_some() || had {
            let (id, text) = (session.id.clone(), rejected.as_ref().map(|r| r.text.clone()));
            let save = move |store: &Store| store.save_rejected(&id, text.as_deref());
            if let Err(e) = self.records.run(save).block() {
                self.journal.trouble(&session.shown(), e.text());
            }
        }
        *session.rejected.lock() = rejected;
    }

    /// What the file of a session that just came into view holds.
    pub(super) fn load_config_file(self: &Arc<Self>, session: &Arc<Session>) {
        if let Some(text) = self.records.store().load_rejected(&session.id)
            && let Err(fault) = self.parse_config(&text, session.ours)
        {
            *session.rejected.lock() = Some(Rejected::new(fault, text));
        }
        if session.ours {
            let record = session.record.get(Record::clone);
            match self.records.store().load_config(&record.id) {
                Ok(Some(text)) if text != record.config => self.hand_edit(session, &text),
                Ok(Some(_)) => {}
                Ok(None) => {
                    let (journal, name) = (self.journal.clone(), session.shown());
                    let save = move |store: &Store| {
                        let saved = store.save(&record);
                        let saved = saved.and_then(|()| store.save_config(&record.id, &record.config));
                        saved.inspect_err(|e| journal.trouble(&name, e.text()))
                    };
                    self.records.run(save).detach();
                }
                Err(e) => self.journal.trouble(&session.shown(), e.text()),
            }
        }
    }

    /// The file behind a session's settings was written by somebody.
    pub(super) fn config_file_touched(self: &Arc<Self>, id: &str) {
        let Some(session) = self.all().into_iter().find(|s| s.id == id) else { return };
        let _saving = session.saving.lock();
        match self.records.store().load_config(id) {
            Ok(Some(text)) => self.hand_edit(&session, &text),
            Ok(None) => {} // moved away by an editor, or removed: settings stay in force
            Err(e) => self.journal.trouble(&session.shown(), e.text()),
        }
    }

    fn hand_edit(self: &Arc<Self>, session: &Arc<Session>, text: &str) {
        let known = session.record.get(|r| r.config == text);
        let again = session.rejected.lock().as_ref().is_some_and(|r| r.text == text);
        if known || again {
            return; // our own write, or one we told about already
        }
        if let Err(e) = self.save_text(session, text, true) {
            session.set_last_error(e.text());
            self.journal.trouble(&session.shown(), e.text());
        }
    }

    /// The text of the node's settings file; where there is none, every setting as a comment.
    pub fn node_config_text(&self) -> Result<String> {
        Ok(disk::read(&self.dirs.config, Links::Follow)?.unwrap_or_else(node::template))
    }

    /// Takes `body` as the node's settings.
    pub fn save_node_config(&self, body: &[u8]) -> Result<()> {
        let _saving = self.saving.lock();
        let text = match text(body) {
            Ok(text) => text,
            Err(rejected) => {
                let refused = not_utf8(&rejected);
                self.node.lock().rejected = Some(rejected);
                return refused;
            }
        };
        if self.node_config_text().is_ok_and(|old| old == text) {
            self.node.lock().rejected.take_if(|r| !r.just_now());
            return Ok(());
        }
        let new = self.parse_node_config(text)?;
        if let Some(dir) = self.dirs.config.parent() {
            disk::make_dir(dir)?;
        }
        disk::replace(&self.dirs.config, text.as_bytes(), Links::Follow)?;
        self.node_in_force(text, new);
        Ok(())
    }

    fn parse_node_config(&self, text: &str) -> Result<NodeConfig> {
        let parsed = NodeConfig::parse(text, &|k| std::env::var(k).ok(), &hostname());
        match parsed.and_then(|new| self.check_agents(text).map(|()| new)) {
            Ok(new) => Ok(new),
            Err(fault) => {
                let why = format!("config: {fault}");
                self.node.lock().rejected = Some(Rejected::new(fault, text.to_owned()));
                fail(Kind::Invalid, why)
            }
        }
    }

    fn node_in_force(&self, text: &str, new: NodeConfig) {
        let mut node = self.node.lock();
        node.rejected = None;
        node.text = text.to_owned();
        node.changed = SystemTime::now();
        drop(node);
        // Name and socket hold until the next start: paths and connections stand on them.
        let old = self.config();
        let new = NodeConfig { name: old.name.clone(), socket: old.socket.clone(), ..new };
        self.journal.rotate_at.set(new.rotate);
        *self.config.write() = Arc::new(new);
        self.journal.log(Level::Info, "", "config changed");
        self.tell_moved(Moved::Attributes { session: None, path: "config".into() });
    }

    pub(super) fn node_config_file_touched(&self) {
        let _saving = self.saving.lock();
        let text = match self.node_config_text() {
            Ok(text) => text,
            Err(e) => return self.journal.trouble("config", e.text()),
        };
        let seen = {
            let node = self.node.lock();
            node.text == text || node.rejected.as_ref().is_some_and(|r| r.text == text)
        };
        if seen {
            return;
        }
        match self.parse_node_config(&text) {
            Ok(new) => self.node_in_force(&text, new),
            Err(e) => self.journal.trouble("config", e.text()),
        }
    }

    pub fn node_rejected(&self) -> Option<Rejected> {
        self.node.lock().rejected.clone()
    }

    pub fn node_config_meta(&self) -> (u64, SystemTime) {
        let node = self.node.lock();
        (node.text.len() as u64, node.changed)
    }

    /// The text in force, as the `config` document shows it, and when it changed.
    pub fn node_config(&self) -> (String, SystemTime) {
        let node = self.node.lock();
        (node.text.clone(), node.changed)
    }
}

pub fn hostname() -> String {
    nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
