//! A session's settings: what is in force, the text that was refused last, and how they change, through
//! the mount or by a hand edit of the file behind them.
//!
//! Says what changed. Must not know what that brings about in the session.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::super::record::{self, Record, Store};
use super::super::{Level, Session};
use super::Settings;
use crate::config::SessionConfig;
use muxfs_tree::base::error::{Kind, Result, fail};
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
    pub(in super::super) fn just_now(&self) -> bool {
        self.when.elapsed() < PUT_BACK
    }
}

/// The text of a message as settings: UTF-8. What is not is refused with its place, and kept as
/// far as it can be shown.
pub(in super::super) fn text(body: &[u8]) -> Result<&str, Rejected> {
    std::str::from_utf8(body).map_err(|e| {
        let shown = String::from_utf8_lossy(body).into_owned();
        // Up to there both texts are the same.
        Rejected::new(schema::fault(&shown, e.valid_up_to(), "not UTF-8".to_owned()), shown)
    })
}

pub(in super::super) fn not_utf8<T>(rejected: &Rejected) -> Result<T> {
    fail(Kind::NotUtf8, format!("config: {}", rejected.fault))
}

/// The settings of one session. Their text is in its record.
pub(in super::super) struct SessionSettings {
    config: RwLock<Arc<SessionConfig>>,
    rejected: Mutex<Option<Rejected>>,
    /// Held from the look at the settings' file to the end of a change, so that a save and the
    /// notice of an earlier one are never taken for a hand edit.
    saving: Mutex<()>,
}

impl SessionSettings {
    pub fn new(config: SessionConfig) -> Self {
        SessionSettings {
            config: RwLock::new(Arc::new(config)),
            rejected: Mutex::new(None),
            saving: Mutex::new(()),
        }
    }

    pub fn config(&self) -> Arc<SessionConfig> {
        self.config.read().clone()
    }

    /// Why the last save was refused, and its text.
    pub fn rejected(&self) -> Option<Rejected> {
        self.rejected.lock().clone()
    }
}

/// Settings that were just put in force. Until this is dropped no other change of them begins, so what
/// they bring about is done in their order.
#[must_use = "what it brings about is not done yet"]
pub(in super::super) struct Changed<'a> {
    pub old: Arc<SessionConfig>,
    pub new: Arc<SessionConfig>,
    _saving: MutexGuard<'a, ()>,
}

impl Settings {
    /// Takes `body` as the session's settings, or keeps it as `config.rejected` and says why. `None`
    /// where they are in force already.
    pub(in super::super) fn save<'a>(
        &self,
        session: &'a Session,
        body: &[u8],
    ) -> Result<Option<Changed<'a>>> {
        self.records.check_home()?;
        let saving = session.settings.saving.lock();
        match text(body) {
            Ok(text) => self.save_text(session, saving, text, false),
            Err(rejected) => {
                let refused = not_utf8(&rejected);
                self.reject(session, Some(rejected));
                refused
            }
        }
    }

    /// `from_file`: it is what the file holds, which may have been edited again meanwhile and is
    /// left as it is.
    fn save_text<'a>(
        &self,
        session: &'a Session,
        saving: MutexGuard<'a, ()>,
        text: &str,
        from_file: bool,
    ) -> Result<Option<Changed<'a>>> {
        if session.record.get(|r| r.config == text) {
            if !session.settings.rejected.lock().as_ref().is_some_and(Rejected::just_now) {
                self.reject(session, None);
            }
            return Ok(None);
        }
        let new = match self.parse(text, session.ours) {
            Ok(new) => Arc::new(new),
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
        let old = std::mem::replace(&mut *session.settings.config.write(), new.clone());
        self.journal.log(Level::Info, &session.shown(), "config changed");
        Ok(Some(Changed { old, new, _saving: saving }))
    }

    fn reject(&self, session: &Session, rejected: Option<Rejected>) {
        let had = session.settings.rejected.lock().is_some();
        if rejected.is_some() || had {
            let (id, text) = (session.id.clone(), rejected.as_ref().map(|r| r.text.clone()));
            let save = move |store: &Store| store.save_rejected(&id, text.as_deref());
            if let Err(e) = self.records.run(save).block() {
                self.journal.trouble(&session.shown(), e.text());
            }
        }
        *session.settings.rejected.lock() = rejected;
    }

    /// What the files of a session that just came into view hold.
    pub(in super::super) fn take_over<'a>(&self, session: &'a Session) -> Option<Changed<'a>> {
        let saving = session.settings.saving.lock();
        if let Some(text) = self.records.store().load_rejected(&session.id)
            && let Err(fault) = self.parse(&text, session.ours)
        {
            *session.settings.rejected.lock() = Some(Rejected::new(fault, text));
        }
        if !session.ours {
            return None;
        }
        let record = session.record.get(Record::clone);
        match self.records.store().load_config(&record.id) {
            Ok(Some(text)) if text != record.config => return self.hand_edit(session, saving, &text),
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
        None
    }

    /// The file behind a session's settings was written by somebody.
    pub(in super::super) fn file_touched<'a>(&self, session: &'a Session) -> Option<Changed<'a>> {
        let saving = session.settings.saving.lock();
        match self.records.store().load_config(&session.id) {
            Ok(Some(text)) => return self.hand_edit(session, saving, &text),
            Ok(None) => {} // moved away by an editor, or removed: settings stay in force
            Err(e) => self.journal.trouble(&session.shown(), e.text()),
        }
        None
    }

    fn hand_edit<'a>(
        &self,
        session: &'a Session,
        saving: MutexGuard<'a, ()>,
        text: &str,
    ) -> Option<Changed<'a>> {
        let known = session.record.get(|r| r.config == text);
        let again = session.settings.rejected.lock().as_ref().is_some_and(|r| r.text == text);
        if known || again {
            return None; // our own write, or one we told about already
        }
        self.save_text(session, saving, text, true).unwrap_or_else(|e| {
            session.set_last_error(e.text());
            self.journal.trouble(&session.shown(), e.text());
            None
        })
    }
}
