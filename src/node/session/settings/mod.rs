//! The node's settings, the catalogue of agents and the environment of the login shell: what is in force,
//! and how it changes, through the mount or by a hand edit of the file behind them.
//!
//! Knows files and records. Must not know tmux or which sessions there are: what a change of a session's
//! settings brings about is done by who asked for it.

pub(super) mod login;
pub mod session;
pub(super) mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use super::moves::Moves;
use super::program::SHELL;
use super::records::Records;
use super::{Journal, Level, Moved};
use crate::config::{NodeConfig, SessionConfig, agents, node};
use login::Login;
use muxfs_agent::catalogue::Catalogue;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::Links;
use muxfs_tree::base::schema::Fault;
use session::{Rejected, not_utf8, text};

pub struct Settings {
    /// The node's settings file. The user's own manifests stand beside it.
    file: PathBuf,
    journal: Arc<Journal>,
    records: Arc<Records>,
    moves: Arc<Moves>,
    config: RwLock<Arc<NodeConfig>>,
    text: Mutex<NodeText>,
    /// Held from the look at the file to the end of a change, so that a save and the notice of an earlier
    /// one are never taken for a hand edit.
    saving: Mutex<()>,
    catalogue: RwLock<Arc<Catalogue>>,
    login: Login,
}

/// The node's settings file as it was last read.
struct NodeText {
    text: String,
    changed: SystemTime,
    rejected: Option<Rejected>,
}

/// What a node begins with.
pub(super) struct NodeFile {
    pub config: NodeConfig,
    text: String,
    /// What is wrong with the file, and its text: the defaults are in force.
    fault: Option<(Fault, String)>,
}

impl NodeFile {
    /// The settings in the file, or the defaults with what is wrong with the file: a bad file never
    /// keeps a node from starting.
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let env = |k: &str| std::env::var(k).ok();
        let text = disk::read(path, Links::Follow)?.unwrap_or_else(node::template);
        match NodeConfig::parse(&text, &env, &hostname()) {
            Ok(config) => Ok(NodeFile { config, text, fault: None }),
            Err(fault) => {
                let config = NodeConfig::parse("", &env, &hostname()).map_err(|f| {
                    // Only the environment can still be wrong.
                    Error::new(Kind::Invalid, format!("settings: {}", f.text))
                })?;
                Ok(NodeFile { config, text: String::new(), fault: Some((fault, text)) })
            }
        }
    }
}

impl Settings {
    /// Reports what is wrong with the file, and with the catalogue.
    pub(super) fn new(
        file: PathBuf,
        read: NodeFile,
        login: Login,
        journal: Arc<Journal>,
        records: Arc<Records>,
        moves: Arc<Moves>,
    ) -> Self {
        let NodeFile { config, text, fault } = read;
        let rejected = fault.map(|(fault, text)| {
            journal.trouble("config", &format!("config: {fault}; the defaults are in force"));
            Rejected::new(fault, text)
        });
        let settings = Settings {
            file,
            journal,
            records,
            moves,
            config: RwLock::new(Arc::new(config)),
            text: Mutex::new(NodeText { text, changed: SystemTime::now(), rejected }),
            saving: Mutex::new(()),
            catalogue: RwLock::default(),
            login,
        };
        settings.load_catalogue();
        // A manifest that is gone or broken is no reason to give up all settings.
        if let Err(fault) = settings.check_agents(&settings.node_text().0) {
            settings.journal.trouble("config", &format!("config: {fault}"));
        }
        settings
    }

    /// The node's settings in force.
    pub fn config(&self) -> Arc<NodeConfig> {
        self.config.read().clone()
    }

    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.read().clone()
    }

    /// Reads the catalogue again; what is wrong with it goes into `errors`.
    pub(super) fn load_catalogue(&self) {
        let catalogue = Catalogue::load(&self.file.with_file_name("agents"));
        for (path, why) in &catalogue.wrong {
            self.journal.trouble("agents", &format!("{}: {why}", path.display()));
        }
        *self.catalogue.write() = Arc::new(catalogue);
    }

    /// Whether the catalogue has the agents that a text of settings names.
    fn check_agents(&self, text: &str) -> Result<(), Fault> {
        let catalogue = self.catalogue();
        let known: Vec<&str> = catalogue.all().map(|(key, _)| key).collect();
        agents::check(text, &known)
    }

    /// A session's settings, whose agent has to be one of the catalogue.
    pub(super) fn parse(&self, text: &str, ours: bool) -> Result<SessionConfig, Fault> {
        let config = SessionConfig::parse(text, ours)?;
        self.check_agents(text).map(|()| config)
    }

    /// The agent of a session to be made as `name`: the one asked for, else the one its name says.
    pub(super) fn choose_agent(&self, name: &str, asked: Option<&str>) -> Result<Option<String>> {
        let catalogue = self.catalogue();
        match asked {
            Some(key) if key == SHELL || catalogue.get(key).is_some() => Ok(Some(key.to_owned())),
            Some(key) => {
                let known: Vec<&str> = catalogue.all().map(|(key, _)| key).chain([SHELL]).collect();
                fail(Kind::Invalid, format!("unknown agent {key:?}; known: {}", known.join(", ")))
            }
            None => Ok(catalogue.by_session(name).map(str::to_owned)),
        }
    }

    /// The text of the node's settings file; where there is none, every setting as a comment.
    fn read_file(&self) -> Result<String> {
        Ok(disk::read(&self.file, Links::Follow)?.unwrap_or_else(node::template))
    }

    /// Takes `body` as the node's settings.
    pub fn save_node(&self, body: &[u8]) -> Result<()> {
        let _saving = self.saving.lock();
        let text = match text(body) {
            Ok(text) => text,
            Err(rejected) => {
                let refused = not_utf8(&rejected);
                self.text.lock().rejected = Some(rejected);
                return refused;
            }
        };
        if self.read_file().is_ok_and(|old| old == text) {
            self.text.lock().rejected.take_if(|r| !r.just_now());
            return Ok(());
        }
        let new = self.parse_node(text)?;
        if let Some(dir) = self.file.parent() {
            disk::make_dir(dir)?;
        }
        disk::replace(&self.file, text.as_bytes(), Links::Follow)?;
        self.put_in_force(text, new);
        Ok(())
    }

    fn parse_node(&self, text: &str) -> Result<NodeConfig> {
        let parsed = NodeConfig::parse(text, &|k| std::env::var(k).ok(), &hostname());
        match parsed.and_then(|new| self.check_agents(text).map(|()| new)) {
            Ok(new) => Ok(new),
            Err(fault) => {
                let why = format!("config: {fault}");
                self.text.lock().rejected = Some(Rejected::new(fault, text.to_owned()));
                fail(Kind::Invalid, why)
            }
        }
    }

    fn put_in_force(&self, text: &str, new: NodeConfig) {
        *self.text.lock() = NodeText { text: text.to_owned(), changed: SystemTime::now(), rejected: None };
        // Name and socket hold until the next start: paths and connections stand on them.
        let old = self.config();
        let new = NodeConfig { name: old.name.clone(), socket: old.socket.clone(), ..new };
        self.journal.rotate_at.set(new.rotate);
        *self.config.write() = Arc::new(new);
        self.journal.log(Level::Info, "", "config changed");
        self.moves.tell(Moved::Attributes { session: None, path: "config".into() });
    }

    /// The node's settings file was written by somebody, or is to be read again.
    pub(super) fn read_again(&self) {
        let _saving = self.saving.lock();
        let text = match self.read_file() {
            Ok(text) => text,
            Err(e) => return self.journal.trouble("config", e.text()),
        };
        let seen = {
            let known = self.text.lock();
            known.text == text || known.rejected.as_ref().is_some_and(|r| r.text == text)
        };
        if seen {
            return;
        }
        match self.parse_node(&text) {
            Ok(new) => self.put_in_force(&text, new),
            Err(e) => self.journal.trouble("config", e.text()),
        }
    }

    /// Why the last save of the node's settings was refused, and its text.
    pub fn node_rejected(&self) -> Option<Rejected> {
        self.text.lock().rejected.clone()
    }

    /// Bytes of the node's text, and when it changed.
    pub fn node_meta(&self) -> (u64, SystemTime) {
        let node = self.text.lock();
        (node.text.len() as u64, node.changed)
    }

    /// The text in force, as the `config` document shows it, and when it changed.
    pub fn node_text(&self) -> (String, SystemTime) {
        let node = self.text.lock();
        (node.text.clone(), node.changed)
    }
}

pub fn hostname() -> String {
    nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
