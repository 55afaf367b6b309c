//! Sees hand edits of settings files by inotify: the node's own and each session's.

use std::ffi::OsStr;
use std::sync::Arc;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc::UnboundedSender;

use super::{Sessions, engine};
use crate::config::file;
use crate::error::{Error, Result};

/// An editor writes in place or renames onto the name.
const WRITTEN: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE.union(AddWatchFlags::IN_MOVED_TO);

pub(super) fn watch(sessions: &Arc<Sessions>) -> Result<()> {
    let io = |e: nix::Error| Error::io("inotify", e.into());
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io)?;
    let records = inotify.add_watch(sessions.store.dir(), WRITTEN).map_err(io)?;
    let node = match sessions.dirs.config.parent() {
        Some(dir) => {
            file::make_dir(dir)?;
            Some(inotify.add_watch(dir, WRITTEN).map_err(io)?)
        }
        None => None,
    };
    let config = sessions.dirs.config.file_name().map(OsStr::to_owned);
    let inotify = crate::sys::async_inotify(inotify).map_err(|e| Error::io("inotify", e))?;
    let pokes = sessions.pokes.clone();
    let weak = Arc::downgrade(sessions);
    tokio::spawn(async move {
        while let Ok(mut ready) = inotify.readable().await {
            let events = match inotify.get_ref().0.read_events() {
                Ok(events) => events,
                Err(nix::Error::EAGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(_) => return,
            };
            if weak.strong_count() == 0 {
                return;
            }
            for event in events {
                tell(&pokes, event.wd, event.name.as_deref(), (records, node), config.as_deref());
            }
        }
    });
    Ok(())
}

fn tell(
    pokes: &UnboundedSender<engine::Event>,
    wd: WatchDescriptor,
    name: Option<&OsStr>,
    (records, node): (WatchDescriptor, Option<WatchDescriptor>),
    config: Option<&OsStr>,
) {
    let Some(name) = name else { return };
    if Some(wd) == node && Some(name) == config {
        let _ = pokes.send(engine::Event::NodeConfigFile); // fails only at the end of the program
    }
    if wd == records
        && let Some(id) = name.to_str().and_then(|n| n.strip_suffix(".toml"))
    {
        let _ = pokes.send(engine::Event::ConfigFile(id.to_owned()));
    }
}
