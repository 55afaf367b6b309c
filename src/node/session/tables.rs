//! Which sessions and panes there are, and what moves among them.
//!
//! Readers take a snapshot that nobody changes. The one [`Writer`] makes a new one. Must not know tmux.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use super::moves::{Moved, Moves};
use super::{Pane, Session};
use muxfs_tree::Position;

/// All that there is at one moment.
#[derive(Clone, Default)]
pub struct Inventory {
    /// By the name a path shows.
    pub sessions: BTreeMap<String, Arc<Session>>,
    /// By tmux pane id.
    pub panes: HashMap<String, Arc<Pane>>,
}

pub struct Tables {
    now: RwLock<Arc<Inventory>>,
    moves: Arc<Moves>,
}

impl Tables {
    pub(super) fn new(moves: Arc<Moves>) -> (Arc<Self>, Writer) {
        let tables = Arc::new(Tables { now: RwLock::default(), moves });
        (tables.clone(), Writer { tables, one: Mutex::new(()) })
    }

    pub fn now(&self) -> Arc<Inventory> {
        self.now.read().clone()
    }

    pub fn get(&self, shown: &str) -> Option<Arc<Session>> {
        self.now.read().sessions.get(shown).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.now.read().sessions.values().cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.now.read().sessions.len()
    }

    /// The session whose record has this id.
    pub fn by_id(&self, id: &str) -> Option<Arc<Session>> {
        self.now.read().sessions.values().find(|session| session.id == id).cloned()
    }

    /// The session that a gesture made, whatever it is called by now.
    pub fn made_by(&self, maker: &(String, String)) -> Option<Arc<Session>> {
        let made = |session: &&Arc<Session>| session.record.get(|r| r.maker.as_ref() == Some(maker));
        self.now().sessions.values().find(made).cloned()
    }

    /// The sessions whose main pane this is.
    pub(super) fn with_main(&self, pane: &Arc<Pane>) -> Vec<Arc<Session>> {
        let is_main = |session: &&Arc<Session>| Arc::ptr_eq(&session.main(), pane);
        self.now().sessions.values().filter(is_main).cloned().collect()
    }

    /// The pane of this tmux id.
    pub(super) fn pane(&self, id: &str) -> Option<Arc<Pane>> {
        self.now.read().panes.get(id).cloned()
    }

    /// Names that a listing may hold from now on no longer, or newly, each with its number.
    pub fn moves(&self) -> broadcast::Receiver<(u64, Moved)> {
        self.moves.listen()
    }

    /// Of the last move.
    pub fn position(&self) -> Position {
        self.moves.position()
    }

    pub fn tell_moved(&self, moved: Moved) {
        self.moves.tell(moved);
    }
}

/// Changes the tables. There is one.
pub(super) struct Writer {
    tables: Arc<Tables>,
    one: Mutex<()>,
}

impl Writer {
    /// Readers see all that `change` does at once, or nothing of it. What it does not change it need not
    /// copy: [`Arc::make_mut`].
    pub fn edit<T>(&self, change: impl FnOnce(&mut Arc<Inventory>) -> T) -> T {
        let _one = self.one.lock();
        let old = self.tables.now();
        let mut new = old.clone();
        let done = change(&mut new);
        if !Arc::ptr_eq(&old, &new) {
            *self.tables.now.write() = new;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogLimits;
    use muxfs_tmux::PaneInfo;

    fn pane(id: &str, dir: &std::path::Path) -> Arc<Pane> {
        let facts = PaneInfo { id: id.into(), ..PaneInfo::default() };
        let now = std::time::Instant::now();
        Arc::new(Pane::new(facts, id.into(), 1, dir, LogLimits::default(), now))
    }

    #[test]
    fn a_snapshot_stays_as_it_is_and_the_next_one_has_all_of_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (tables, writer) = Tables::new(Arc::default());
        let before = tables.now();
        writer.edit(|now| {
            let now = Arc::make_mut(now);
            now.panes.insert("%1".into(), pane("%1", dir.path()));
            assert!(tables.pane("%1").is_none(), "half of a change is not to be seen");
            now.panes.insert("%2".into(), pane("%2", dir.path()));
        });
        assert!(before.panes.is_empty());
        assert!(tables.pane("%1").is_some() && tables.pane("%2").is_some());
    }

    #[test]
    fn what_changes_nothing_makes_no_new_snapshot() {
        let (tables, writer) = Tables::new(Arc::default());
        let before = tables.now();
        assert_eq!(writer.edit(|now| now.panes.len()), 0);
        assert!(Arc::ptr_eq(&before, &tables.now()));
    }
}
