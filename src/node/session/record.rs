//! What outlives the daemon about a session: its settings, modes and how it ended.
//!
//! `<state>/sessions/ID.json` is the record, `ID.toml` its settings as a file for hand edits,
//! `ID.rejected` the last text that was refused. Replaced whole, never edited in place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::limit::Kept;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result};
use muxfs_tree::base::foreign::{self, Links};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Our own name of the session: 16 hex digits, or `t<server start>-<number>` for a session
    /// others made (which ends with its server).
    pub id: String,
    /// The tmux name it had last.
    pub name: String,
    pub ours: bool,
    /// Last good settings, word for word.
    pub config: String,
    /// When `config` last changed, milliseconds since the epoch.
    pub changed: u64,
    /// By file name (`""`: the directory): permission bits and group that chmod and chgrp set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: Modes,
    /// `ctl stop` ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The agent's own id of the conversation that runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// What keeps the agent from working, as it was told, and the process that told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<(u32, Kept)>,
    /// Where its maker stood: every start begins there, unless the settings say another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The id of the session in which this one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The gesture that made it, by caller and id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<(String, String)>,
}

pub type Modes = BTreeMap<String, ModeSet>;

/// What was set; the rest is the table's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeSet {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl ModeSet {
    pub fn merge(&mut self, mode: Option<u32>, gid: Option<u32>) {
        self.mode = mode.or(self.mode);
        self.gid = gid.or(self.gid);
    }
}

/// Files in the directory of records that are looked at: four a session.
const MOST: usize = 100_000;

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    pub fn open(dir: PathBuf) -> Result<Self> {
        disk::make_dir(&dir)?;
        Ok(Store { dir })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every record that can be read; the others by what is wrong with them.
    pub fn load(&self) -> (Vec<Record>, Vec<Error>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let (found, more) = match foreign::list(&self.dir, MOST) {
            Ok(found) => found,
            Err(e) => return (good, vec![Error::io(self.dir.display(), e)]),
        };
        if more {
            let text = format!("{}: over {MOST} files; the others are not read", self.dir.display());
            bad.push(Error::new(Kind::TooLarge, text));
        }
        for path in found.into_iter().filter(|p| p.extension().is_some_and(|x| x == "json")) {
            match read(&path) {
                Ok(record) => good.push(record),
                Err(e) => bad.push(e),
            }
        }
        (good, bad)
    }

    pub fn save(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|e| Error::new(Kind::Bug, "a record that is no JSON").because(e))?;
        disk::replace(&self.path(&record.id, "json"), &text, Links::Refuse)
    }

    /// The settings as a file of their own, for editors outside the mount.
    pub fn save_config(&self, id: &str, text: &str) -> Result<()> {
        disk::replace(&self.path(id, "toml"), text.as_bytes(), Links::Refuse)
    }

    pub fn load_config(&self, id: &str) -> Result<Option<String>> {
        disk::read(&self.path(id, "toml"), Links::Refuse)
    }

    /// Keeps a refused text (`None` forgets it), so that a crash does not lose what was typed.
    pub fn save_rejected(&self, id: &str, text: Option<&str>) -> Result<()> {
        let path = self.path(id, "rejected");
        match text {
            Some(text) => disk::replace(&path, text.as_bytes(), Links::Refuse),
            None => remove(&path),
        }
    }

    pub fn load_rejected(&self, id: &str) -> Option<String> {
        disk::read(&self.path(id, "rejected"), Links::Refuse).ok().flatten()
    }

    pub fn remove(&self, id: &str) -> Result<()> {
        // The record last: while it is there, the session is remembered whole.
        for path in super::turns::beside::all(&self.turns(id)) {
            remove(&path)?;
        }
        for kind in ["turns", "rejected", "toml", "json"] {
            remove(&self.path(id, kind))?;
        }
        Ok(())
    }

    /// Where the book of a session's prompts lies.
    pub fn turns(&self, id: &str) -> PathBuf {
        self.path(id, "turns")
    }

    fn path(&self, id: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{id}.{kind}"))
    }
}

fn read(path: &Path) -> Result<Record> {
    let bad = |what: String| Error::new(Kind::Invalid, format!("{}: {what}", path.display()));
    let text = disk::read(path, Links::Refuse)?.ok_or_else(|| bad("gone".into()))?;
    let record: Record = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    let named = path.file_stem().is_some_and(|s| s.to_str() == Some(&record.id));
    if named { Ok(record) } else { Err(bad(format!("holds the record of {:?}", record.id))) }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path.display(), e)),
        _ => Ok(()),
    }
}

/// A new id: 64 random bits from the kernel.
pub fn new_id() -> Result<String> {
    Ok(hex(&random::<8>()?))
}

/// A random UUID (RFC 9562, version 4): what agents take as a conversation's id.
pub fn new_uuid() -> Result<String> {
    let mut bytes = random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    Ok(format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::io("getrandom", e.into()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn millis(t: SystemTime) -> u64 {
    t.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

pub fn from_millis(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            name: "demo".into(),
            ours: true,
            config: "# mine\n".into(),
            changed: 5,
            modes: [("input".to_owned(), ModeSet { mode: Some(0o220), gid: None })].into(),
            stopped: false,
            conversation: Some("c".into()),
            limit: None,
            cwd: None,
            parent: None,
            maker: None,
        }
    }

    #[test]
    fn records_come_back_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        store.save(&record("a1")).unwrap();
        fs::write(store.dir().join("bad.json"), "{").unwrap();
        fs::write(store.dir().join("b2.json"), serde_json::to_string(&record("other")).unwrap()).unwrap();
        let (good, bad) = store.load();
        assert_eq!(good, [record("a1")]);
        assert_eq!(bad.len(), 2, "{bad:?}");
        store.save_rejected("a1", Some("x = ")).unwrap();
        assert_eq!(store.load_rejected("a1").as_deref(), Some("x = "));
        store.remove("a1").unwrap();
        store.remove("a1").unwrap();
        assert!(store.load().0.is_empty());
        assert_eq!(store.load_rejected("a1"), None);
    }

    #[test]
    fn ids_are_new_each_time() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
        assert_eq!(new_id().unwrap().len(), 16);
        let uuid = new_uuid().unwrap();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(uuid.as_bytes()[14] == b'4' && b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
    }
}
