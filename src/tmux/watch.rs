//! Tells when a tmux server may have appeared, without asking again and again.
//!
//! Knows directories and inotify. Must not know whether a server really answers: who is told
//! tries to connect.

use muxfs_tree::base::error::{Error, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;

/// Watches the place where a socket will be. Its directory may not exist yet: then the nearest
/// one above it that does is watched.
pub struct SocketWatch {
    socket: PathBuf,
    notify: AsyncFd<muxfs_tree::base::sys::Notify>,
}

impl SocketWatch {
    /// From now on; look once yourself *after* this, for what was there before.
    pub fn new(socket: &Path) -> Result<SocketWatch> {
        let notify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|e| Error::io("inotify", e.into()))?;
        let notify = muxfs_tree::base::sys::async_inotify(notify).map_err(|e| Error::io("inotify", e))?;
        let watch = SocketWatch { socket: socket.to_owned(), notify };
        watch.arm()?;
        Ok(watch)
    }

    /// Returns when something happened to the socket's name or to a directory on the way to it.
    /// A server listens a moment after its socket appears, and changes the socket's mode when a
    /// client attaches, which tells once more.
    pub async fn changed(&mut self) -> Result<()> {
        loop {
            let mut guard = self.notify.readable().await.map_err(|e| Error::io("inotify", e))?;
            let events = match self.notify.get_ref().0.read_events() {
                Ok(events) => events,
                Err(nix::Error::EAGAIN) => {
                    guard.clear_ready();
                    continue;
                }
                Err(e) => return Err(Error::io("inotify", e.into())),
            };
            let names = self.names();
            // A name that is on the way, a directory that went, or a queue that overflowed.
            if events.iter().any(|e| e.name.as_ref().is_none_or(|n| names.contains(n))) {
                self.arm()?;
                return Ok(());
            }
        }
    }

    /// Every name on the way to the socket.
    fn names(&self) -> Vec<OsString> {
        self.socket.iter().map(Into::into).collect()
    }

    /// Watches the nearest directory that exists, and those between it and the socket as they
    /// come: again until nothing new was found, so that nothing made meanwhile is missed.
    fn arm(&self) -> Result<()> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let mut nearest: Option<PathBuf> = None;
        loop {
            // The directory right above the nearest existing one matters too: it tells when that
            // one is taken away and made again.
            let found = self.socket.ancestors().skip(1).find_map(|dir| {
                let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
                self.notify.get_ref().0.add_watch(dir, flags).ok().map(|_| dir.to_owned())
            });
            if found == nearest {
                return Ok(());
            }
            if let Some(above) = found.as_deref().and_then(Path::parent) {
                let _ = self.notify.get_ref().0.add_watch(above, flags); // may not be readable
            }
            nearest = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn told(watch: &mut SocketWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok_and(|r| r.is_ok())
    }

    #[tokio::test]
    async fn a_socket_in_a_directory_that_does_not_exist_yet() {
        let dir = tempfile::tempdir().expect("tempdir");
        let socket = dir.path().join("a/b/default");
        let mut watch = SocketWatch::new(&socket).expect("watches");
        std::fs::write(dir.path().join("other"), "").expect("writes");
        std::fs::create_dir_all(dir.path().join("a/b")).expect("makes");
        assert!(told(&mut watch).await);
        while tokio::time::timeout(Duration::from_millis(50), watch.changed()).await.is_ok() {}
        std::fs::write(dir.path().join("a/b/unrelated"), "").expect("writes");
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err(), "another name says nothing");
        std::fs::write(&socket, "").expect("writes");
        assert!(told(&mut watch).await);
    }
}
