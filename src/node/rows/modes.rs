//! Permission bits and groups that chmod and chgrp set on the root's and the node's own names.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::session::ModeSet;
use crate::session::record::Modes;
use crate::session::records::{Records, Saved};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind};
use muxfs_tree::base::foreign::Links;

/// Kept in `<state>/modes.json`, by path (`""`: the node's directory, `"/"`: the root).
pub struct NodeModes {
    path: PathBuf,
    modes: Arc<Mutex<Modes>>,
}

impl NodeModes {
    /// What cannot be read counts as not set; the default bits are the strictest.
    pub fn load(path: PathBuf) -> (Self, Option<Error>) {
        let read = disk::read(&path, Links::Refuse).and_then(|text| match text {
            Some(text) => serde_json::from_str(&text)
                .map_err(|e| Error::new(Kind::Invalid, format!("{}: {e}", path.display()))),
            None => Ok(Modes::new()),
        });
        let (modes, error) = match read {
            Ok(modes) => (modes, None),
            Err(e) => (Modes::new(), Some(e)),
        };
        (NodeModes { path, modes: Arc::new(Mutex::new(modes)) }, error)
    }

    pub fn get(&self, name: &str) -> ModeSet {
        self.modes.lock().get(name).copied().unwrap_or_default()
    }

    /// In force once it is on disk.
    pub fn set(&self, records: &Records, name: &str, mode: Option<u32>, gid: Option<u32>) -> Saved<()> {
        let (path, modes, name) = (self.path.clone(), self.modes.clone(), name.to_owned());
        // The writer alone changes them, one after the other.
        records.run(move |_| {
            let mut new = modes.lock().clone();
            new.entry(name).or_default().merge(mode, gid);
            let text = serde_json::to_vec(&new);
            let text = text.map_err(|e| Error::new(Kind::Bug, "modes as JSON").because(e))?;
            disk::replace(&path, &text, Links::Refuse)?;
            *modes.lock() = new;
            Ok(())
        })
    }
}
