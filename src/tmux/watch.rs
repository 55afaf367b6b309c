//! Notifies when a tmux server may have appeared, without polling.
//!
//! Knows directories. Must not know whether a server really answers: who is notified
//! tries to connect.

use muxfs_tree::base::error::Result;
use muxfs_tree::base::watcher::{WatchEvents, WatchMask, Watcher};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Watches the place where a socket will be. Its directory may not exist yet: then the nearest
/// one above it that does is watched.
pub struct SocketWatch {
    socket: PathBuf,
    events: WatchEvents,
}

impl SocketWatch {
    /// From now on; look once yourself *after* this, for what was there before.
    pub fn new(socket: &Path) -> Result<SocketWatch> {
        let mut watch = SocketWatch { socket: socket.to_owned(), events: Watcher::new()?.into_events()? };
        watch.arm()?;
        Ok(watch)
    }

    /// Returns when something happened to the socket's name or to a directory on the way to it.
    /// A server listens a moment after its socket appears, and changes the socket's mode when a
    /// client attaches, which tells once more.
    pub async fn changed(&mut self) -> Result<()> {
        loop {
            let events = self.events.next().await?;
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
    fn arm(&mut self) -> Result<()> {
        let flags = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut nearest: Option<PathBuf> = None;
        loop {
            // The directory right above the nearest existing one matters too: it tells when that
            // one is taken away and made again.
            let found = self.socket.ancestors().skip(1).find_map(|dir| {
                let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
                self.events.add(dir, flags).ok().map(|_| dir.to_owned())
            });
            if found == nearest {
                return Ok(());
            }
            if let Some(above) = found.as_deref().and_then(Path::parent) {
                let _ = self.events.add(above, flags); // may not be readable
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
