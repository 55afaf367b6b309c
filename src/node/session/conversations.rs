//! A session's conversations: those of its agent in its directory, the one it is bound to, and the
//! answers that stand in it.
//!
//! The agents' files are read on threads that may wait; what listings show is kept in memory. Must
//! not know how an agent keeps its files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::env::{self, Env};
use super::moves::Moves;
use super::program::{self, Agent};
use super::records::Records;
use super::settings::Settings;
use super::tables::Tables;
use super::{Journal, Moved, Record, Session};
use crate::config::SessionConfig;
use muxfs_agent::history::{self, Adapter, Conversation, Entry, Home, Listing, Mark};
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::later::on_disk;

/// A list this old is made anew when somebody looks at it.
const FRESH: Duration = Duration::from_secs(2);

/// What is known of the conversations of one session's agent in its directory.
#[derive(Default)]
pub struct History {
    listed: Mutex<Listed>,
    under_way: AtomicBool,
}

#[derive(Default)]
struct Listed {
    /// Newest first.
    found: Arc<Vec<Conversation>>,
    at: Option<Instant>,
    trouble: Vec<String>,
}

impl History {
    /// Something was said: the list is to be made anew at the next look.
    pub fn outdate(&self) {
        self.listed.lock().at = None;
    }

    pub fn list(&self) -> Arc<Vec<Conversation>> {
        self.listed.lock().found.clone()
    }
}

/// Whose files, and whose directory: what an adapter is asked with.
#[derive(Clone)]
pub(super) struct Place {
    adapter: &'static dyn Adapter,
    env: Arc<Env>,
    cwd: String,
}

impl Place {
    fn with<T>(&self, act: impl FnOnce(&Home) -> T) -> T {
        let home = self.env.get("HOME").map_or("/", String::as_str);
        act(&Home { home: Path::new(home), env: &|name| self.env.get(name).cloned() })
    }

    pub fn list(&self) -> Listing {
        self.with(|home| self.adapter.list(home, Some(&self.cwd)))
    }

    pub fn find(&self, id: &str) -> Option<Conversation> {
        self.with(|home| self.adapter.find(home, Some(&self.cwd), id))
    }

    /// Whether the conversation is there. Where nobody can read the agent's files, the agent will
    /// say.
    pub async fn has(place: Option<Place>, id: &str) -> Result<bool> {
        let Some(place) = place else { return Ok(true) };
        let id = id.to_owned();
        on_disk(move || place.find(&id).is_some()).await
    }

    pub fn end(&self, c: &Conversation) -> Result<Mark> {
        self.with(|home| self.adapter.end(home, c))
    }

    pub fn since(&self, c: &Conversation, mark: &Mark) -> Result<Vec<Entry>> {
        self.with(|home| self.adapter.since(home, c, mark)).map(|(entries, _)| entries)
    }
}

pub struct Conversations {
    settings: Arc<Settings>,
    records: Arc<Records>,
    tables: Arc<Tables>,
    journal: Arc<Journal>,
    moves: Arc<Moves>,
    /// For what a listing sets off: it may run on a thread that is none of the runtime's.
    runtime: Handle,
}

impl Conversations {
    /// Needs a tokio runtime.
    pub(super) fn new(
        settings: Arc<Settings>,
        records: Arc<Records>,
        tables: Arc<Tables>,
        journal: Arc<Journal>,
        moves: Arc<Moves>,
    ) -> Self {
        let runtime = Handle::current();
        Conversations { settings, records, tables, journal, moves, runtime }
    }

    /// The conversation that runs in the session from now on.
    pub(super) fn bind(&self, session: &Session, id: Option<String>) {
        if session.record.get(|r| r.conversation != id) {
            self.records.edit(&session.record, &session.shown(), |r| r.conversation = id);
        }
    }

    /// Where the session's agent keeps its conversations; none where nobody knows how to read them.
    pub(super) async fn place(&self, session: &Session) -> Option<Place> {
        let pane = session.main();
        let adapter = pane.eyes(|e| e.agent.manifest.history.clone()).flatten()?;
        let adapter = history::adapter(&adapter)?;
        let (pid, dead, seen) = pane.fact(|f| (f.pid, f.dead, f.cwd.clone()));
        let own = if dead { None } else { env::of_process(pid) };
        let env = match own {
            Some(env) => env,
            None => self.env_of(session).await,
        };
        let config = session.config().cwd.clone().map(|cwd| env::expand_home(&cwd, &env));
        // Where it was started; where it stands now, of a session of others.
        let cwd = config.or_else(|| session.cwd()).filter(|_| session.ours).unwrap_or(seen);
        Some(Place { adapter, env: Arc::new(env), cwd })
    }

    /// The same of a session that tmux has lost.
    pub(super) async fn place_of_lost(
        &self,
        record: &Record,
        config: &SessionConfig,
        agent: &Agent,
    ) -> Option<Place> {
        let adapter = history::adapter(agent.manifest.history.as_deref()?)?;
        let node = self.settings.config();
        let env = program::env(config, &node, &*self.settings.login_env().await, Some(agent));
        let cwd = program::start_dir(config, &node, record.cwd.clone(), &env);
        Some(Place { adapter, env: Arc::new(env), cwd })
    }

    /// The environment that the session's program would get now.
    async fn env_of(&self, session: &Session) -> Env {
        let config = session.config();
        let agent = Agent::of(&config, &self.settings.catalogue());
        program::env(&config, &self.settings.config(), &*self.settings.login_env().await, agent.as_ref())
    }

    /// Makes the list anew, and tells which names came and went.
    pub async fn refresh(&self, session: &Session) -> Result<()> {
        let listing = match self.place(session).await {
            Some(place) => on_disk(move || place.list()).await?,
            None => Listing::default(),
        };
        let others = self.bound_elsewhere(session);
        let mut listed = session.history.listed.lock();
        let before: Vec<String> = listed.found.iter().map(|c| c.id.clone()).collect();
        let mut found = listing.found;
        found.retain(|c| !others.contains(&c.id));
        let after: Vec<&String> = found.iter().map(|c| &c.id).collect();
        let gone = before.iter().filter(|id| !after.contains(id));
        let came = after.iter().filter(|id| !before.contains(id)).copied();
        let names: Vec<String> = gone.chain(came).cloned().collect();
        let news: Vec<String> =
            listing.trouble.iter().filter(|t| !listed.trouble.contains(t)).cloned().collect();
        listed.found = Arc::new(found);
        listed.trouble = listing.trouble;
        listed.at = Some(Instant::now());
        drop(listed);
        for name in names {
            self.moves.tell(Moved::Conversation { session: session.shown(), name });
        }
        for trouble in news {
            self.journal.trouble(&session.shown(), &format!("history: {trouble}"));
        }
        Ok(())
    }

    /// Has the list made anew, in a while, where it is old.
    pub fn poke(self: &Arc<Self>, session: &Arc<Session>) {
        let fresh = session.history.listed.lock().at.is_some_and(|at| at.elapsed() < FRESH);
        if fresh || session.history.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (conversations, session) = (self.clone(), session.clone());
        self.runtime.spawn(async move {
            if let Err(e) = conversations.refresh(&session).await {
                session.set_last_error(e.text());
            }
            session.history.under_way.store(false, Ordering::Release);
        });
    }

    /// Conversations that run in other sessions now: two sessions in one directory never show each
    /// other's.
    fn bound_elsewhere(&self, session: &Session) -> Vec<String> {
        let others = self.tables.all();
        let live = others.iter().filter(|s| s.serial != session.serial && !s.main().seen().state.ended());
        live.filter_map(|s| s.conversation()).collect()
    }

    /// What was said in a conversation.
    pub async fn transcript(&self, session: &Session, c: &Conversation) -> Result<String> {
        let Some(place) = self.place(session).await else { return fail(Kind::Gone, "no history") };
        let c = c.clone();
        on_disk(move || {
            let entries = place.since(&c, &Mark::default())?;
            Ok(history::transcript(&c, &entries))
        })
        .await?
    }

    /// Every agent's conversations in every directory, newest first, by the agent's key.
    pub async fn all(&self) -> Result<Vec<(String, Conversation)>> {
        let mut env = (*self.settings.login_env().await).clone();
        env.extend(self.settings.config().env.clone());
        let (env, catalogue) = (Arc::new(env), self.settings.catalogue());
        let found = on_disk(move || {
            let mut all = Vec::new();
            let mut trouble = Vec::new();
            let mut read = Vec::new();
            for (key, manifest) in catalogue.all() {
                let Some(name) = manifest.history.as_deref().filter(|n| !read.contains(n)) else { continue };
                let Some(adapter) = history::adapter(name) else { continue };
                read.push(name);
                let place = Place { adapter, env: env.clone(), cwd: String::new() };
                let listing = place.with(|home| adapter.list(home, None));
                trouble.extend(listing.trouble.into_iter().map(|t| format!("{key}: {t}")));
                all.extend(listing.found.into_iter().map(|c| (key.to_owned(), c)));
            }
            all.sort_by_key(|(_, c)| std::cmp::Reverse(c.updated));
            (all, trouble)
        });
        let (all, trouble) = found.await?;
        for line in trouble {
            self.journal.refused(&muxfs_tree::Caller::own(), "conversations", &line);
        }
        Ok(all)
    }

    /// Whether there is such a conversation to go on with.
    pub(super) async fn can_resume(&self, session: &Session, id: &str) -> Result<bool> {
        Place::has(self.place(session).await, id).await
    }

    /// The newest conversation that runs nowhere else.
    pub(super) async fn newest(&self, session: &Session) -> Result<Option<String>> {
        self.refresh(session).await?;
        Ok(session.history.list().first().map(|c| c.id.clone()))
    }

    /// The conversation that the prompt `text`, sent at `sent`, went into: the newest one since
    /// then that holds it last and runs nowhere else. The one it was bound to goes before others.
    pub(super) async fn bind_by_prompt(&self, session: &Session, text: &str, sent: SystemTime) {
        let Some(place) = self.place(session).await else { return };
        let others = self.bound_elsewhere(session);
        let bound = session.conversation();
        let text = squeezed(text);
        let found = on_disk(move || {
            let since = sent.checked_sub(Duration::from_secs(2)).unwrap_or(sent);
            let mut new = place.list().found;
            new.retain(|c| c.updated >= since && !others.contains(&c.id));
            new.sort_by_key(|c| bound.as_ref() != Some(&c.id));
            new.into_iter().take(8).find(|c| {
                let entries = place.since(c, &Mark::default()).unwrap_or_default();
                let last = entries.iter().rev().find(|e| e.who == history::Who::User);
                last.is_some_and(|e| squeezed(&e.text).contains(&text))
            })
        })
        .await;
        if let Ok(Some(c)) = found {
            self.bind(session, Some(c.id));
        }
    }
}

/// The first words, without what agents do to white space.
fn squeezed(text: &str) -> String {
    text.split_whitespace().take(40).collect::<Vec<_>>().join(" ")
}
