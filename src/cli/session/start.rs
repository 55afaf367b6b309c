//! `muxfs session start`: the node's `ctl new`, or `start` of a session that is there.

use std::path::{Path, PathBuf};

use clap::Args;

use super::tree::Tree;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

#[derive(Debug, Args)]
pub struct StartArgs {
    /// A key of the catalogue (muxfs agent list), or shell; by default what the name says
    pub agent: Option<String>,
    /// The session's name; by default the agent's key
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where it starts; by default here
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// An argument of the program, in the place of the agent's own; may be given again
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// A variable of its environment; may be given again
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// An init prompt, after the node's; may be given again
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub init: Vec<String>,
    /// Without init prompts, this once
    #[arg(long, conflicts_with = "init")]
    pub skip_init: bool,
    /// Where every start goes on: a conversation's id, or "latest"
    #[arg(long, value_name = "ID")]
    pub resume_from: Option<String>,
    /// With the flags that make the agent ask for no approval
    #[arg(long)]
    pub danger: bool,
}

pub fn start(tree: &Tree, args: &StartArgs) -> Result<()> {
    let Some(word) = args.name.as_deref().or(args.agent.as_deref()) else {
        return fail(Kind::Invalid, "start: an AGENT or --name NAME is needed");
    };
    let (node, name) = tree.split(word)?;
    one_word("a session's name", name)?;
    let agent = args.agent.as_deref().unwrap_or("-");
    one_word("an agent", agent)?;
    let settings = settings(args, node.is_local())?;
    let Some(session) = node.session(name)? else {
        return node.command(&new_line(name, agent, settings, args.skip_init));
    };
    let other = args.agent.is_some() && session.status()?["agent"] != agent;
    if other || !settings.is_empty() {
        return fail(Kind::Exists, format!("{word}: there is such a session; --name gives another"));
    }
    let line = if args.skip_init { "start skip-init" } else { "start" };
    session.command(line).map(drop)
}

/// What a line of `ctl` divides at white space.
pub fn one_word(what: &str, word: &str) -> Result<()> {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return fail(Kind::Invalid, format!("{word:?}: {what} without white space is needed"));
    }
    Ok(())
}

fn new_line(name: &str, agent: &str, mut settings: Vec<String>, skip_init: bool) -> String {
    settings.extend(skip_init.then(|| "skip-init = true".to_owned()));
    if settings.is_empty() {
        return format!("new {name} {agent}");
    }
    format!("new {name} {agent} - {{ {} }}", settings.join(", "))
}

/// `key = value` of each setting that is given.
fn settings(args: &StartArgs, local: bool) -> Result<Vec<String>> {
    let list =
        |words: &[String]| format!("[{}]", words.iter().map(|w| text(w)).collect::<Vec<_>>().join(", "));
    let mut all = Vec::new();
    if let Some(dir) = &args.cwd {
        all.push(format!("cwd = {}", text(&directory(dir, local)?)));
    }
    if !args.args.is_empty() {
        all.push(format!("args = {}", list(&args.args)));
    }
    if !args.env.is_empty() {
        all.push(format!("env = {}", environment(&args.env)?));
    }
    if !args.init.is_empty() {
        all.push(format!("init = {}", list(&args.init)));
    }
    if let Some(id) = &args.resume_from {
        all.push(format!("resume = {}", text(id)));
    }
    all.extend(args.danger.then(|| "danger = true".to_owned()));
    Ok(all)
}

fn environment(words: &[String]) -> Result<String> {
    let mut all = std::collections::BTreeMap::new();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => all.insert(name, value),
            // Its value may be a secret: it is not shown.
            _ => return fail(Kind::Invalid, "--env: expected NAME=VALUE"),
        };
    }
    let pairs: Vec<String> = all.iter().map(|(k, v)| format!("{} = {}", text(k), text(v))).collect();
    Ok(format!("{{ {} }}", pairs.join(", ")))
}

/// As it is seen from here: what the node's own directory is means nothing to a person.
fn directory(dir: &Path, local: bool) -> Result<String> {
    let path = std::path::absolute(dir).map_err(|e| Error::io(dir.display(), e))?;
    if local && !path.is_dir() {
        return fail(Kind::NotFound, format!("{}: no such directory", path.display()));
    }
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => fail(Kind::NotUtf8, format!("{}: not UTF-8", path.display())),
    }
}

/// A string of TOML on one line. JSON's escapes are TOML's too, but that JSON leaves DEL as it is.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\x7f', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::*;
    use muxfs_node::config::{SessionConfig, session};

    fn given() -> StartArgs {
        let words = |w: &[&str]| w.iter().map(|w| w.to_string()).collect();
        StartArgs {
            agent: None,
            name: None,
            cwd: Some("/".into()),
            args: words(&["-v", "a b", "\"}\n\x7f\u{2028}"]),
            env: words(&["A=b=c", "X Y=", "A=d"]),
            init: words(&["two\nlines"]),
            skip_init: false,
            resume_from: Some("latest".into()),
            danger: true,
        }
    }

    #[test]
    fn whatever_is_given_is_one_line_that_means_it() {
        let args = given();
        let line = new_line("n", "-", settings(&args, true).unwrap(), true);
        assert!(!line.contains('\n'));
        let table = line.strip_prefix("new n - - ").unwrap();
        let (set, skip) = session::inline(table).unwrap();
        assert!(skip);
        let config = SessionConfig::parse(&session::template(&set), true).unwrap();
        assert_eq!((config.args.as_ref(), &config.init), (Some(&args.args), &args.init));
        let env: Vec<_> = config.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(env, ["A=d", "X Y="]);
        assert_eq!((config.cwd.as_deref(), config.danger), (Some("/"), Some(true)));
        assert_eq!(config.resume.as_deref(), Some("latest"));
    }

    #[test]
    fn what_cannot_be_is_refused_here() {
        for bad in ["", "a b", "a\nstop"] {
            assert!(one_word("x", bad).is_err());
        }
        let secret = environment(&["=secret".into()]).unwrap_err();
        assert!(!secret.text().contains("secret"));
        assert_eq!(directory("/no/such".as_ref(), true).unwrap_err().kind, Kind::NotFound);
    }
}
