//! Keeps the logs of panes within their time and room.
//!
//! Knows where logs are. Must not know what is in them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Level, Pane, Sessions};
use crate::log;

impl Sessions {
    /// `ctl sweep`, and once a minute: logs beyond their time and room go.
    pub fn prune_logs(&self) {
        let config = self.config();
        let live = |dir: &Path| self.log_dir_is_live(dir);
        let removed = log::prune(&self.logs_dir(), config.keep, config.total, &live, SystemTime::now());
        for file in removed {
            self.journal.log(Level::Info, "", &format!("old logs removed: {}", file.path.display()));
        }
    }

    /// Writes what a full disk kept back, and closes what is silent.
    pub fn tidy_logs(&self) {
        let panes: Vec<Arc<Pane>> = self.tables.read().panes.values().cloned().collect();
        for pane in panes {
            pane.raw.tidy(SystemTime::now());
            pane.logs.tidy(SystemTime::now());
        }
    }
}
