//! What a session runs: its settings over the node's, over the agent's manifest, over the login
//! shell. And which agent it is of.
//!
//! Must not know tmux: what is made here is started elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::env::{self, Env};
use super::{Session, Sessions, record};
use crate::config::{NodeConfig, SessionConfig, agents};
use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::manifest::{Manifest, Resume};
use muxfs_tree::Caller;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::names;
use muxfs_tree::base::offload::Offload;
use muxfs_tree::base::schema::Fault;

pub use crate::config::agents::SHELL;

/// How long a disk may take to say whether a directory is there.
const DISK: Duration = Duration::from_secs(5);

/// An agent of the catalogue that a session is of.
#[derive(Debug, Clone)]
pub struct Agent {
    pub key: String,
    pub manifest: Arc<Manifest>,
}

impl Agent {
    /// The agent that the settings name, where the catalogue has it.
    pub fn of(config: &SessionConfig, catalogue: &Catalogue) -> Option<Self> {
        let key = config.agent.as_deref().filter(|k| *k != SHELL)?;
        let manifest = catalogue.get(key)?.clone();
        Some(Agent { key: key.to_owned(), manifest })
    }
}

/// How a program begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// A new conversation, with the node's and the session's first prompts.
    Fresh,
    /// The same without them.
    Skip,
    /// The conversation of this id.
    Resume(String),
    /// The newest one of the directory.
    Latest,
}

/// A program about to be started.
pub(super) struct Program {
    pub command: Vec<String>,
    pub cwd: String,
    pub env: Vec<(String, String)>,
    /// The conversation that it begins or goes on with, as far as that is known before.
    pub conversation: Option<String>,
}

/// tmux would start at home what has no directory: an agent at work in the wrong place.
async fn must_be_there(cwd: String) -> Result<()> {
    let dir = cwd.clone();
    let looked = tokio::task::spawn_blocking(move || std::fs::metadata(dir));
    match tokio::time::timeout(DISK, looked).await {
        Ok(Ok(Ok(meta))) if meta.is_dir() => Ok(()),
        Ok(Ok(Ok(_))) => fail(Kind::Invalid, format!("cwd: {cwd}: not a directory")),
        // Invalid: what is not there is no part of the tree.
        Ok(Ok(Err(e))) if e.kind() == std::io::ErrorKind::NotFound => {
            fail(Kind::Invalid, format!("cwd: {cwd}: no such directory"))
        }
        Ok(Ok(Err(e))) => Err(Error::io(format!("cwd: {cwd}"), e)),
        Ok(Err(e)) => Err(Error::new(Kind::Bug, "a look at cwd did not end").because(e)),
        Err(_) => {
            fail(Kind::TimedOut, format!("cwd: {cwd}: no answer from its disk in {} s", DISK.as_secs()))
        }
    }
}

impl Sessions {
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.read().clone()
    }

    /// The user's own manifests stand beside the node's settings file.
    pub(super) fn agents_dir(&self) -> PathBuf {
        self.dirs.config.with_file_name("agents")
    }

    /// Reads the catalogue again; what is wrong with it goes into `errors`.
    pub(super) fn load_catalogue(&self) {
        let catalogue = Catalogue::load(&self.agents_dir());
        for (path, why) in &catalogue.wrong {
            self.journal.trouble("agents", &format!("{}: {why}", path.display()));
        }
        *self.catalogue.write() = Arc::new(catalogue);
    }

    /// Whether the catalogue has the agents that a text of settings names.
    pub(super) fn check_agents(&self, text: &str) -> std::result::Result<(), Fault> {
        let catalogue = self.catalogue();
        let known: Vec<&str> = catalogue.all().map(|(key, _)| key).collect();
        agents::check(text, &known)
    }

    /// A session's settings, whose agent has to be one of the catalogue.
    pub(super) fn parse_config(&self, text: &str, ours: bool) -> std::result::Result<SessionConfig, Fault> {
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

    /// What a session that is here would be started with.
    pub(super) async fn program_of(&self, session: &Session, begin: &Begin) -> Result<Program> {
        let login = self.login_env_for(&session.config()).await;
        self.program(&session.config(), &login, &session.id, session.cwd(), begin).await
    }

    /// `id` is the session's own, for what it starts in its turn.
    pub(super) async fn program(
        &self,
        config: &SessionConfig,
        login: &Env,
        id: &str,
        here: Option<String>,
        begin: &Begin,
    ) -> Result<Program> {
        let node = self.config();
        let agent = Agent::of(config, &self.catalogue());
        let mut env = self.program_env(config, login, agent.as_ref());
        env.insert(names::SESSION_ID.into(), id.to_owned());
        let mut env = env::with_locale(env);
        let (bound, conversation) = match &agent {
            Some(agent) => conversation(&agent.manifest.resume, begin)?,
            None => (Vec::new(), None),
        };
        let hooks = match &agent {
            Some(agent) => self.inject_hooks(&agent.manifest, id)?,
            None => Default::default(),
        };
        env.extend(hooks.env);
        let command = command(config, &node, agent.as_ref(), bound, hooks.args);
        let cwd = self.start_dir(config, here, &env);
        must_be_there(cwd.clone()).await?;
        Ok(Program { command, cwd, env: env.into_iter().collect(), conversation })
    }

    /// The program that `config` runs, as it is named.
    pub(super) fn program_word(&self, config: &SessionConfig) -> Option<String> {
        let agent = Agent::of(config, &self.catalogue());
        command(config, &self.config(), agent.as_ref(), Vec::new(), Vec::new()).into_iter().next()
    }

    /// What stands in the settings over the login shell's: the node's, the agent's, the session's.
    pub(super) fn program_env(&self, config: &SessionConfig, login: &Env, agent: Option<&Agent>) -> Env {
        let node = self.config();
        let mut env = login.clone();
        env.extend(node.env.clone());
        if let Some(agent) = agent {
            env.extend(agent.manifest.env.clone());
            if danger(config, &node, &agent.key) {
                env.extend(agent.manifest.danger.env.clone());
            }
            env.extend(node.agents.get(&agent.key).map(|a| a.env.clone()).unwrap_or_default());
            env.insert("MUXFS_AGENT".into(), agent.key.clone());
        }
        env.extend(config.env.clone());
        env
    }

    /// Where a program starts: as its settings say, else where its maker stood, else as the node's.
    pub(super) fn start_dir(&self, config: &SessionConfig, here: Option<String>, env: &Env) -> String {
        let node = Some(self.config().cwd.clone()).filter(|s| !s.is_empty());
        let cwd = config.cwd.clone().or(here).or(node).unwrap_or_else(|| "~".into());
        env::expand_home(&cwd, env)
    }

    /// The directory a local caller stands in, unless it is inside one of our own mounts: a
    /// daemon that waits on its own mount waits for ever. None also where the process does not
    /// tell in time; `errors` says so, as its session then starts elsewhere.
    pub(super) async fn caller_dir(&self, who: &Caller, name: &str) -> Option<String> {
        let pid = match &who.identity.cwd {
            Some(dir) if who.origin().node.is_none() => return self.outside(dir.into()),
            _ => local_pid(who)?,
        };
        let link = move || std::fs::read_link(format!("/proc/{pid}/cwd"));
        let Some(dir) = CALLERS.ask(pid, ASKED, link).await else {
            let why = format!("the working directory of process {pid} is not known, so the default is used");
            self.journal.trouble(name, &why);
            return None;
        };
        self.outside(dir.ok()?)
    }

    /// A directory that is there, and in no mount of ours.
    fn outside(&self, dir: PathBuf) -> Option<String> {
        let inside = |mount: &PathBuf| dir.starts_with(mount);
        if self.mounts.read().iter().any(inside) {
            return None;
        }
        dir.to_str().filter(|d| !d.ends_with(" (deleted)")).map(str::to_owned)
    }

    /// The session that a local caller runs in, by its id.
    pub(super) async fn caller_session(&self, who: &Caller) -> Option<String> {
        let pid = local_pid(who)?;
        let env = CALLERS.ask(pid, ASKED, move || env::read_environ(pid)).await;
        let id = env??.remove(names::SESSION_ID)?;
        // What stands in an environment is anyone's to write: only a session that is here counts.
        self.all().iter().any(|s| s.id == id).then_some(id)
    }
}

/// Questions to callers' processes, which may be kept from answering (offload.rs).
static CALLERS: Offload = Offload::new("muxfs-callers", 16);
/// How long a caller's process may take to answer one.
const ASKED: Duration = Duration::from_secs(1);

fn local_pid(who: &Caller) -> Option<u32> {
    who.pid().filter(|_| who.origin().node.is_none())
}

/// Whether the agent asks for no approval: the session's word, else the node's of this agent, else
/// the node's.
pub fn danger(config: &SessionConfig, node: &NodeConfig, key: &str) -> bool {
    config.danger.or(node.agents.get(key).and_then(|a| a.danger)).unwrap_or(node.danger)
}

/// Program, what binds it to a conversation, then its arguments.
fn command(
    config: &SessionConfig,
    node: &NodeConfig,
    agent: Option<&Agent>,
    bound: Vec<String>,
    hooks: Vec<String>,
) -> Vec<String> {
    let own = Some(&config.command).filter(|c| !c.is_empty());
    let Some(agent) = agent else {
        let node = Some(&node.command).filter(|c| !c.is_empty() && config.agent.as_deref() != Some(SHELL));
        let mut command = own.or(node).cloned().unwrap_or_else(|| vec![env::login_shell()]);
        command.extend(config.args.iter().flatten().cloned());
        return command;
    };
    let over = node.agents.get(&agent.key).cloned().unwrap_or_default();
    let named = own.cloned().or(over.command);
    let (program, defaults) = agent.manifest.command.split_at(1);
    let defaults = if named.is_some() { Vec::new() } else { defaults.to_vec() };
    let mut words = named.unwrap_or_else(|| program.to_vec()).into_iter();
    let mut command: Vec<String> = words.next().into_iter().collect();
    command.extend(bound);
    command.extend(words);
    command.extend(config.args.clone().or(over.args).unwrap_or(defaults));
    command.extend(hooks);
    if danger(config, node, &agent.key) {
        command.extend(agent.manifest.danger.args.iter().cloned());
    }
    command
}

/// The arguments that bind to a conversation, and its id where that is known.
fn conversation(resume: &Resume, begin: &Begin) -> Result<(Vec<String>, Option<String>)> {
    let with = |args: &[String], id: &str| args.iter().map(|a| a.replace("{id}", id)).collect();
    let cannot = || Error::new(Kind::Invalid, "this agent cannot resume a conversation");
    match begin {
        Begin::Fresh | Begin::Skip if resume.preset.is_empty() => Ok((Vec::new(), None)),
        Begin::Fresh | Begin::Skip => {
            let id = record::new_uuid()?;
            Ok((with(&resume.preset, &id), Some(id)))
        }
        Begin::Resume(_) if resume.args.is_empty() => Err(cannot()),
        Begin::Resume(id) => Ok((with(&resume.args, id), (!resume.forks).then(|| id.clone()))),
        Begin::Latest if resume.latest.is_empty() => Err(cannot()),
        Begin::Latest => Ok((resume.latest.clone(), None)),
    }
}
