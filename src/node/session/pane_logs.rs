//! The logs of panes: where they are, and that they keep within their time and room.
//!
//! Must not know what is in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::moves::Moves;
use super::settings::Settings;
use super::tables::Tables;
use super::{Journal, Level, Pane};
use crate::log::{self, LogLimits};
use muxfs_tmux::PaneInfo;

pub struct PaneLogs {
    dir: PathBuf,
    settings: Arc<Settings>,
    tables: Arc<Tables>,
    journal: Arc<Journal>,
    moves: Arc<Moves>,
}

impl PaneLogs {
    pub(super) fn new(
        dir: PathBuf,
        settings: Arc<Settings>,
        tables: Arc<Tables>,
        journal: Arc<Journal>,
        moves: Arc<Moves>,
    ) -> Self {
        PaneLogs { dir, settings, tables, journal, moves }
    }

    /// A pane that tmux shows for the first time, with its logs.
    pub(super) fn pane(&self, info: &PaneInfo, identity: String, serial: u64) -> Pane {
        let dir = self.dir.join(&identity);
        let limits = LogLimits { rotate_at: self.journal.rotate_at.clone(), ..LogLimits::default() };
        let pane = Pane::new(info.clone(), identity, serial, &dir, limits, Instant::now());
        self.moves.tell_rotations(&pane.raw, Some(serial), "raw");
        self.moves.tell_rotations(&pane.logs, Some(serial), "logs");
        if pane.logs.is_known() || pane.raw.is_known() {
            pane.judge(|j| j.known_before());
            // The daemon was away: what the pane printed meanwhile is not in the logs.
            pane.note("bytes were not kept while muxfs was not running", SystemTime::now());
            pane.raw.append(
                b"\r\n[muxfs: bytes were not kept while muxfs was not running]\r\n",
                SystemTime::now(),
            );
        }
        pane
    }

    /// `ctl sweep`, and once a minute: logs beyond their time and room go.
    pub fn prune(&self) {
        let config = self.settings.config();
        // What a pane writes into is never pruned.
        let panes = self.tables.now();
        let live = |dir: &Path| panes.panes.values().any(|pane| self.dir.join(&pane.identity) == dir);
        let removed = log::prune(&self.dir, config.keep, config.total, &live, SystemTime::now());
        for file in removed {
            self.journal.log(Level::Info, "", &format!("old logs removed: {}", file.path.display()));
        }
    }

    /// Writes what a full disk kept back, and closes what is silent.
    pub(super) fn tidy(&self) {
        for pane in self.tables.now().panes.values() {
            pane.raw.tidy(SystemTime::now());
            pane.logs.tidy(SystemTime::now());
        }
    }
}
