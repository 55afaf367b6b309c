//! Watches directories by inotify(7): what happens there is told, and nobody asks again and again.
//!
//! The one place that reads from inotify. Must not know what the names mean, nor who waits.

use std::io;
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::ReadyChunks;
pub use inotify::{EventMask, EventOwned, WatchDescriptor, WatchMask};
use inotify::{EventStream, Inotify, Watches};

use super::error::{Error, Result};

/// Bytes read at once: 15 events with the longest names, more with others. The kernel keeps the rest.
const AT_ONCE: usize = 4096;
/// WatchEvents told at once.
const TOGETHER: usize = 128;

/// Watches directories; what happened is asked for, and nobody waits.
pub struct Watcher(Inotify);

impl Watcher {
    pub fn new() -> Result<Watcher> {
        Inotify::init().map(Watcher).map_err(|e| Error::io("inotify", e))
    }

    /// From now on; look once yourself *after* this, for what was there before.
    pub fn add(&mut self, dir: &Path, what: WatchMask) -> io::Result<WatchDescriptor> {
        self.0.watches().add(dir, what)
    }

    /// What happened since it was last asked for, as far as the buffer holds it. Never waits.
    pub fn pending(&mut self) -> Vec<EventOwned> {
        let mut buffer = [0; AT_ONCE];
        let events = self.0.read_events(&mut buffer);
        events.map(|events| events.map(|e| e.to_owned()).collect()).unwrap_or_default()
    }

    /// The same for a task that waits.
    pub fn into_events(self) -> Result<WatchEvents> {
        let watches = self.0.watches();
        let events = self.0.into_event_stream(vec![0; AT_ONCE]).map_err(|e| Error::io("inotify", e))?;
        Ok(WatchEvents { watches, events: events.ready_chunks(TOGETHER) })
    }
}

/// What happens in the directories of a [`Watcher`].
pub struct WatchEvents {
    watches: Watches,
    events: ReadyChunks<EventStream<Vec<u8>>>,
}

impl WatchEvents {
    /// Watches one more directory, or the same anew.
    pub fn add(&mut self, dir: &Path, what: WatchMask) -> io::Result<WatchDescriptor> {
        self.watches.add(dir, what)
    }

    /// Waits until something happens: at least one event, and all that is there with it. No event is
    /// lost where the caller stops waiting.
    pub async fn next(&mut self) -> Result<Vec<EventOwned>> {
        let events = self.events.next().await.unwrap_or_default();
        let ended = || Error::io("inotify", io::ErrorKind::UnexpectedEof.into());
        if events.is_empty() {
            return Err(ended());
        }
        events.into_iter().collect::<io::Result<_>>().map_err(|e| Error::io("inotify", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn names(events: &[EventOwned]) -> Vec<&str> {
        events.iter().map(|e| e.name.as_ref().unwrap().to_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_happened_comes_together_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new().unwrap();
        let top = watcher.add(dir.path(), WatchMask::CREATE).unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        assert_eq!(names(&watcher.pending()), ["below"]);
        assert!(watcher.pending().is_empty(), "told once, and nothing to wait for");

        let mut events = watcher.into_events().unwrap();
        let below = events.add(&dir.path().join("below"), WatchMask::CREATE).unwrap();
        for name in ["a", "below/b", "c"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let limit = Duration::from_secs(60);
        let told = tokio::time::timeout(limit, events.next()).await.unwrap().unwrap();
        assert_eq!(names(&told), ["a", "b", "c"]);
        let watches: Vec<_> = told.iter().map(|e| e.wd.clone()).collect();
        assert_eq!(watches, [top.clone(), below, top]);
    }

    #[tokio::test]
    async fn many_events_are_all_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.add(dir.path(), WatchMask::CREATE).unwrap();
        let mut events = watcher.into_events().unwrap();
        let made: Vec<String> = (0..1000).map(|n| format!("a-name-that-is-not-short-{n}")).collect();
        made.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        let mut told = Vec::new();
        while told.len() < made.len() {
            let more = tokio::time::timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap();
            told.extend(names(&more).into_iter().map(str::to_owned));
        }
        assert_eq!(told, made);
    }
}
