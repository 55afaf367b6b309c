//! The manifests: those built in, and over them those of the user.
//!
//! Knows where they lie and which of them is broken. Must not know what a rule means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::Manifest;
use muxfs_tree::base::disk;
use muxfs_tree::base::foreign::{self, Links};

macro_rules! built_in {
    ($($key:literal),* $(,)?) => {
        &[$(($key, include_str!(concat!("../../agents/", $key, ".toml")))),*]
    };
}

/// `(key, text)`, in the order of the keys.
const BUILT_IN: &[(&str, &str)] = built_in!(
    "agy", "aider", "amp", "claude", "codex", "continue", "copilot", "cursor", "gemini", "goose", "grok",
    "kiro", "opencode", "plandex", "qwen",
);
/// A catalogue of more is a mistake.
const MOST: usize = 1000;

#[derive(Debug, Default)]
pub struct Catalogue {
    agents: BTreeMap<String, Arc<Manifest>>,
    /// Files that could not be used, with what is wrong.
    pub wrong: Vec<(PathBuf, String)>,
}

impl Catalogue {
    /// What is built in, and the `*.toml` in `dir`, which may not be there. A broken file is
    /// named in `wrong`; what it would have replaced stays.
    pub fn load(dir: &Path) -> Self {
        let mut all = Catalogue::default();
        for (key, text) in BUILT_IN {
            match Manifest::built_in(text) {
                Ok(manifest) => _ = all.agents.insert((*key).to_owned(), Arc::new(manifest)),
                Err(e) => all.wrong.push((format!("{key}.toml (built in)").into(), e.to_string())),
            }
        }
        let (mut paths, more) = match foreign::list(dir, MOST) {
            Ok(found) => found,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (Vec::new(), false),
            Err(e) => {
                all.wrong.push((dir.to_owned(), e.to_string()));
                (Vec::new(), false)
            }
        };
        if more {
            all.wrong.push((dir.to_owned(), format!("over {MOST} files; the others are not read")));
        }
        paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
        paths.sort();
        for path in paths {
            let Some(key) = path.file_stem().and_then(|k| k.to_str()).filter(|k| is_key(k)) else {
                all.wrong.push((path, "an agent's key is lower-case letters, digits and _".into()));
                continue;
            };
            let key = key.to_owned();
            match read(&path) {
                Ok(manifest) => _ = all.agents.insert(key, Arc::new(manifest)),
                Err(why) => all.wrong.push((path, why)),
            }
        }
        all
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Manifest>> {
        self.agents.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &Manifest)> {
        self.agents.iter().map(|(k, m)| (k.as_str(), &**m))
    }

    /// The agent that a session of this name is of: the one whose key is the name, or the name up
    /// to its first `-`.
    pub fn by_session<'a>(&self, name: &'a str) -> Option<&'a str> {
        let first = name.split('-').next().unwrap_or(name);
        [name, first].into_iter().find(|key| self.agents.contains_key(*key))
    }
}

/// A manifest from a file; the error is one line.
pub fn read(path: &Path) -> Result<Manifest, String> {
    match disk::read(path, Links::Follow) {
        Ok(Some(text)) => Manifest::parse(&text).map_err(|fault| fault.to_string()),
        Ok(None) => Err("no such file".into()),
        Err(e) => Err(e.text().to_owned()),
    }
}

/// No `-`: a session `claude-api` is of the agent `claude`.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_built_in_is_right() {
        let all = Catalogue::load(Path::new("/nonexistent"));
        assert_eq!(all.wrong, []);
        for (key, text) in BUILT_IN {
            assert!(Manifest::parse(text).is_ok(), "{key}: {:?}", Manifest::parse(text).err());
        }
        let keys: Vec<_> = all.all().map(|(k, _)| k).collect();
        let wanted =
            "agy aider amp claude codex continue copilot cursor gemini goose grok kiro opencode plandex qwen";
        assert_eq!(keys.join(" "), wanted);
        assert!(keys.iter().all(|k| is_key(k)));
    }

    #[test]
    fn a_broken_file_is_named_and_the_others_work() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("mine.toml", "name = 'Mine'\ncommand = ['mine']\n");
        put("claude.toml", "name = 'Claude'\ncommand = 'claude'\n");
        put("Not A Key.toml", "");
        put("notes.txt", "");
        let all = Catalogue::load(dir.path());
        assert_eq!(all.get("mine").unwrap().name, "Mine");
        assert_eq!(all.get("claude").unwrap().name, "Claude Code", "the one built in");
        let wrong: Vec<_> = all
            .wrong
            .iter()
            .map(|(p, why)| (p.file_name().unwrap().to_str().unwrap(), why.as_str()))
            .collect();
        assert_eq!(wrong.len(), 2);
        assert_eq!(wrong[0].0, "Not A Key.toml");
        assert!(wrong[1].0 == "claude.toml" && wrong[1].1.starts_with("line 2, column 11: "), "{wrong:?}");
    }
}
