//! Sees hand edits of settings files by inotify: the node's own and each session's.
//!
//! An editor that writes in place empties the file first, so a file is read when nothing has
//! happened to it for a moment, never in between.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc::UnboundedSender;

use super::connection::Request;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Result};

/// An editor writes in place or renames onto the name.
const TOUCHED: AddWatchFlags =
    AddWatchFlags::IN_CLOSE_WRITE.union(AddWatchFlags::IN_MOVED_TO).union(AddWatchFlags::IN_MODIFY);
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

/// Asks `engine` to read what was touched.
/// Ends with that loop.
pub(super) fn watch(records: &Path, node: &Path, engine: UnboundedSender<Request>) -> Result<()> {
    let io = |e: nix::Error| Error::io("inotify", e.into());
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io)?;
    let records = inotify.add_watch(records, TOUCHED).map_err(io)?;
    let config = node.file_name().map(OsStr::to_owned);
    let node = match node.parent() {
        Some(dir) => {
            disk::make_dir(dir)?;
            Some(inotify.add_watch(dir, TOUCHED).map_err(io)?)
        }
        None => None,
    };
    let places = Places { records, node, config };
    let inotify = muxfs_tree::base::sys::async_inotify(inotify).map_err(|e| Error::io("inotify", e))?;
    tokio::spawn(async move {
        let mut touched = BTreeSet::new();
        loop {
            let mut ready = tokio::select! {
                ready = inotify.readable() => match ready {
                    Ok(ready) => ready,
                    Err(_) => return,
                },
                () = engine.closed() => return,
                () = tokio::time::sleep(SETTLED), if !touched.is_empty() => {
                    for what in std::mem::take(&mut touched) {
                        let _ = engine.send(match what { // fails only at the end of the program
                            Touched::Node => Request::NodeConfigFile,
                            Touched::Session(id) => Request::ConfigFile(id),
                        });
                    }
                    continue;
                }
            };
            match inotify.get_ref().0.read_events() {
                Ok(events) => {
                    touched.extend(events.into_iter().filter_map(|e| places.of(e.wd, e.name.as_deref()?)));
                }
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    });
    Ok(())
}

impl Places {
    fn of(&self, wd: WatchDescriptor, name: &OsStr) -> Option<Touched> {
        if Some(wd) == self.node && Some(name) == self.config.as_deref() {
            return Some(Touched::Node);
        }
        let id = name.to_str()?.strip_suffix(".toml")?;
        (wd == self.records).then(|| Touched::Session(id.to_owned()))
    }
}
