//! What a session runs: its settings over the node's, over the agent's manifest, over the login
//! shell. And which agent it is of.
//!
//! Must not know tmux: what is made here is started elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::env::{Env, expand_home, login_shell, with_locale};
use super::life::hook_files::HookFiles;
use super::record;
use super::settings::Settings;
use crate::config::{NodeConfig, SessionConfig};
use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::manifest::{Manifest, Resume};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::names;

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

/// What a program of these settings is: `id` is the session's own, for what it starts in its turn.
pub(super) async fn program(
    settings: &Settings,
    hooks: &HookFiles,
    (config, login): (&SessionConfig, &Env),
    (id, here): (&str, Option<String>),
    begin: &Begin,
) -> Result<Program> {
    let node = settings.config();
    let agent = Agent::of(config, &settings.catalogue());
    let mut env = env(config, &node, login, agent.as_ref());
    env.insert(names::SESSION_ID.into(), id.to_owned());
    let mut env = with_locale(env);
    let (bound, conversation) = match &agent {
        Some(agent) => conversation(&agent.manifest.resume, begin)?,
        None => (Vec::new(), None),
    };
    let hooks = match &agent {
        Some(agent) => hooks.inject(&agent.manifest, id)?,
        None => Default::default(),
    };
    env.extend(hooks.env);
    let command = command(config, &node, agent.as_ref(), bound, hooks.args);
    let cwd = start_dir(config, &node, here, &env);
    must_be_there(cwd.clone()).await?;
    Ok(Program { command, cwd, env: env.into_iter().collect(), conversation })
}

/// The program that `config` runs, as it is named.
pub(super) fn word(config: &SessionConfig, node: &NodeConfig, catalogue: &Catalogue) -> Option<String> {
    let agent = Agent::of(config, catalogue);
    command(config, node, agent.as_ref(), Vec::new(), Vec::new()).into_iter().next()
}

/// What stands in the settings over the login shell's: the node's, the agent's, the session's.
pub(super) fn env(config: &SessionConfig, node: &NodeConfig, login: &Env, agent: Option<&Agent>) -> Env {
    let mut env = login.clone();
    env.extend(node.env.clone());
    if let Some(agent) = agent {
        env.extend(agent.manifest.env.clone());
        if danger(config, node, &agent.key) {
            env.extend(agent.manifest.danger.env.clone());
        }
        env.extend(node.agents.get(&agent.key).map(|a| a.env.clone()).unwrap_or_default());
        env.insert("MUXFS_AGENT".into(), agent.key.clone());
    }
    env.extend(config.env.clone());
    env
}

/// Where a program starts: as its settings say, else where its maker stood, else as the node's.
pub(super) fn start_dir(
    config: &SessionConfig,
    node: &NodeConfig,
    here: Option<String>,
    env: &Env,
) -> String {
    let node = Some(node.cwd.clone()).filter(|s| !s.is_empty());
    let cwd = config.cwd.clone().or(here).or(node).unwrap_or_else(|| "~".into());
    expand_home(&cwd, env)
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
        let mut command = own.or(node).cloned().unwrap_or_else(|| vec![login_shell()]);
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
