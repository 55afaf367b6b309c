//! Making a session: its record, then the session of tmux with its program.
//!
//! Knows the ways in which a server that is about to end refuses another session. Must not know when sessions
//! are made by themselves (`restart_policy`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::env::Env;
use super::super::program::{self, Begin};
use super::super::record::{self, Store};
use super::super::{Record, Session};
use super::{Life, begin_again};
use crate::config::{SessionConfig, session};
use muxfs_tmux::{self as tmux, NewSession, Server};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::apart;
use muxfs_tree::base::names;
use muxfs_tree::base::schema::{Value, Values};
use muxfs_tree::{Caller, Gesture};

/// How often, and how long apart, a session is tried again under a server that is leaving.
const LEAVING_TRIES: u32 = 10;
const LEAVING: Duration = Duration::from_millis(50);
/// Servers that are tried in turn, where one after the other ends while a session is made.
const STARTS: usize = 5;
/// How long an ending server may take to be gone.
const ENDING: Duration = Duration::from_millis(30);

/// What `mkdir` or `ctl new` says of a session to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub agent: Option<&'a str>,
    pub cwd: Option<&'a str>,
    /// Settings of a session that has none yet.
    pub set: Option<&'a Values>,
    /// How its program begins where its settings do not say.
    pub begin: Option<&'a Begin>,
    /// No first prompts.
    pub skip_init: bool,
    /// What makes it; it can be taken back until the making begins.
    pub gesture: Option<&'a Gesture>,
}

/// A session about to be made.
struct New {
    shown: String,
    name: String,
    here: Option<String>,
    parent: Option<String>,
    set: Values,
    begin: Option<Begin>,
    skip_init: bool,
    maker: Option<(String, String)>,
}

impl Life {
    /// `mkdir NAME`: makes a session and starts its program.
    pub async fn make(self: &Arc<Self>, who: &Caller, shown: &str, asked: Asked<'_>) -> Result<Arc<Session>> {
        self.records.can_store()?;
        let mut tries = LEAVING_TRIES;
        loop {
            match self.make_once(who, shown, asked).await {
                // A server that was just leaving, with its last session: the next one is ours.
                Err(e) if e.kind == Kind::Gone && tries > 0 && self.connection.live().is_none() => {
                    tries -= 1;
                    tokio::time::sleep(LEAVING).await;
                }
                done => return done,
            }
        }
    }

    async fn make_once(
        self: &Arc<Self>,
        who: &Caller,
        shown: &str,
        asked: Asked<'_>,
    ) -> Result<Arc<Session>> {
        let name = names::new_session(shown, &self.reserved)?;
        // Before a record of it is on disk.
        tmux::session::check_name(&name)?;
        let mut set = asked.set.cloned().unwrap_or_default();
        let named =
            set.get("agent").and_then(|v| if let Value::Text(s) = v { Some(s.clone()) } else { None });
        if let Some(agent) = self.settings.choose_agent(&name, asked.agent.or(named.as_deref()))? {
            set.insert("agent", Value::Text(agent));
        }
        let here = match asked.cwd {
            Some(cwd) => Some(cwd.to_owned()),
            None => self.callers.dir_of(who, shown).await,
        };
        let parent = self.callers.session_id_of(who).await;
        let (shown, begin) = (shown.to_owned(), asked.begin.cloned());
        let (skip_init, maker) = (asked.skip_init, asked.gesture.and_then(Gesture::key));
        let new = New { shown, name, here, parent, set, begin, skip_init, maker };
        let config = SessionConfig::parse(&session::template(&new.set), true).unwrap_or_default();
        let login = async { Ok(self.settings.login_env_for(&config).await) };
        let login = match asked.gesture {
            // Until here nothing is made.
            Some(gesture) => gesture.until_cancelled(login).await?,
            None => login.await?,
        };
        let life = self.clone();
        apart(async move { life.make_now(&new, &login).await }).await
    }

    async fn make_now(self: &Arc<Self>, new: &New, login: &Env) -> Result<Arc<Session>> {
        // A server without sessions is left at once, but for one that is about to get its first.
        let _making = self.connection.making();
        let mut left = STARTS;
        loop {
            left -= 1;
            // A server ends with its last session: one that is about to takes no
            // other ("server exited unexpectedly", or the connection is lost), the next one does.
            let why = match self.connection.server_or_start().await {
                Ok(server) => match self.make_on(&server, new, login).await {
                    Err(e) if e.kind == Kind::Gone && server.lost() => e,
                    made => return made,
                },
                Err(e) if matches!(e.kind, Kind::Gone | Kind::Unreachable) => e,
                Err(e) => return Err(e),
            };
            if left == 0 {
                return Err(why);
            }
            tokio::time::sleep(ENDING).await;
        }
    }

    async fn make_on(self: &Arc<Self>, server: &Server, new: &New, login: &Env) -> Result<Arc<Session>> {
        let New { shown, name, .. } = new;
        let looks = &mut *self.reconciler.lock().await;
        if self.lost.may_have_come(name) {
            self.reconciler.refresh_locked(looks).await?;
        }
        if let Some(there) = self.tables.get(shown) {
            if new.maker.is_some() && there.record.get(|r| r.maker == new.maker) {
                return Ok(there); // by the same gesture, sent before
            }
            return fail(Kind::Exists, format!("{shown}: there is such a session"));
        }
        tmux::session::try_name(server, name).await?;
        let mut record = self.record_for(new)?;
        self.turns.report_left(&record.id, shown).await;
        let config = SessionConfig::parse(&record.config, true).unwrap_or_default();
        let size = config.size.unwrap_or(self.settings.config().size);
        let begin = match &new.begin {
            Some(begin) => begin.clone(),
            None => begin_again(&config, new.skip_init),
        };
        let here = (record.id.as_str(), record.cwd.clone());
        let program =
            program::program(&self.settings, &self.hook_files, (&config, login), here, &begin).await?;
        record.conversation = program.conversation.clone();
        // Before there is a session, so that a crash leaves none without a record.
        let stored = record.clone();
        let save = move |store: &Store| {
            store.save_config(&stored.id, &stored.config)?;
            store.save(&stored)
        };
        self.records.run(save).wait().await?;
        let made = tmux::session::new_session(
            server,
            NewSession {
                name,
                cwd: program.cwd.as_bytes(),
                env: &program.env,
                command: Some(&program.command),
                width: size.0.into(),
                height: size.1.into(),
                muxfs_id: &record.id,
            },
            config.logs.then_some(self.taps.pipes()),
        )
        .await;
        let made = match made {
            // A hook of the user's may hold up the rest of the line, when the session is there.
            Err(e) if matches!(e.kind, Kind::TimedOut | Kind::Unreachable) => {
                self.lost.may_come(record);
                return Err(e);
            }
            Err(e) => {
                self.reconciler.forget_new(record).await?;
                return Err(e);
            }
            Ok(made) => made,
        };
        self.lost.put(record);
        // Before the refresh shows the pane: it is not to be asked for a second pipe.
        self.taps.expect(&made.pane, made.pipe);
        self.reconciler.refresh_locked(looks).await?;
        let session = self
            .tables
            .get(shown)
            .ok_or_else(|| Error::new(Kind::Gone, format!("{shown}: ended at once")))?;
        self.after_start(&session, &begin).await;
        Ok(session)
    }

    /// The record of a session of this name that tmux lost, else a new one.
    fn record_for(&self, new: &New) -> Result<Record> {
        let kept = self.lost.named(&new.name);
        let mut record = match kept {
            Some(record) => record,
            None => Record {
                id: record::new_id()?,
                name: new.name.clone(),
                ours: true,
                config: crate::config::session::template(&new.set),
                changed: record::millis(SystemTime::now()),
                ..Record::default()
            },
        };
        record.maker.clone_from(&new.maker);
        record.stopped = false;
        record.parent = new.parent.clone().or(record.parent);
        record.cwd = new.here.clone().or(record.cwd);
        Ok(record)
    }
}
