//! Sees hand edits of settings files by inotify: the node's own and each session's.
//!
//! An editor that writes in place empties the file first, so a file is read when nothing has
//! happened to it for a moment, never in between.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::super::connection::Request;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Result};
use muxfs_tree::base::watcher::{EventOwned, WatchDescriptor, WatchMask, Watcher};

/// An editor writes in place or renames onto the name.
const TOUCHED: WatchMask = WatchMask::CLOSE_WRITE.union(WatchMask::MOVED_TO).union(WatchMask::MODIFY);
/// Nothing happened to any of them for this long: a writer is done.
const SETTLED: Duration = Duration::from_millis(100);

/// What was touched: the node's settings, or a session's by its id.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Node,
    Session(String),
}

struct Places {
    records: WatchDescriptor,
    node: Option<WatchDescriptor>,
    config: Option<OsString>,
}

/// Asks `engine` to read what was touched, until that loop ends.
pub(in super::super) fn watch(records: &Path, node: &Path, engine: UnboundedSender<Request>) -> Result<()> {
    let io = |e| Error::io("inotify", e);
    let mut watcher = Watcher::new()?;
    let records = watcher.add(records, TOUCHED).map_err(io)?;
    let config = node.file_name().map(OsStr::to_owned);
    let node = match node.parent() {
        Some(dir) => {
            disk::make_dir(dir)?;
            Some(watcher.add(dir, TOUCHED).map_err(io)?)
        }
        None => None,
    };
    let places = Places { records, node, config };
    let mut events = watcher.into_events()?;
    tokio::spawn(async move {
        let mut touched = BTreeSet::new();
        loop {
            tokio::select! {
                happened = events.next() => {
                    let Ok(happened) = happened else { return };
                    touched.extend(happened.iter().filter_map(|e| places.of(e)));
                }
                () = engine.closed() => return,
                () = tokio::time::sleep(SETTLED), if !touched.is_empty() => {
                    for what in std::mem::take(&mut touched) {
                        let _ = engine.send(match what { // fails only at the end of the program
                            Touched::Node => Request::NodeConfigFile,
                            Touched::Session(id) => Request::ConfigFile(id),
                        });
                    }
                }
            }
        }
    });
    Ok(())
}

impl Places {
    fn of(&self, event: &EventOwned) -> Option<Touched> {
        let name = event.name.as_deref()?;
        if Some(&event.wd) == self.node.as_ref() && Some(name) == self.config.as_deref() {
            return Some(Touched::Node);
        }
        let id = name.to_str()?.strip_suffix(".toml")?;
        (event.wd == self.records).then(|| Touched::Session(id.to_owned()))
    }
}
