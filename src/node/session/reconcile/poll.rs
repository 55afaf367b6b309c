//! Asks tmux for changes that no notice reports.
//!
//! It asks for everything at intervals that `pace` chooses to limit the cost. In between it asks only for the
//! windows whose panes printed and for the sessions that people typed into. It asks for everything at once if
//! a pane came, went, moved or died, or if more than half of the windows are due.
//!
//! Knows what to ask. Must not know when (`pace`), or how tables are changed (`reconcile`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::super::Tap;
use super::Reconciler;
use super::pace::{Heard, Pace};
use muxfs_tmux::{self as tmux, Lists, PaneInfo, Server};
use muxfs_tree::base::error::{Kind, Result};

/// What was seen last, and what is due next.
#[derive(Debug, Default)]
pub(in super::super) struct Looks {
    /// What the tables were made from. None where a part was looked at since.
    pub lists: Option<Lists>,
    pub pace: Pace,
}

impl Reconciler {
    /// Looks at what is due; asks nothing where nothing is.
    pub async fn poll(self: &Arc<Self>) -> Result<()> {
        let looks = &mut *self.lock().await;
        let server = self.connection.server()?;
        // A pane of which tmux does not tell how it ended is decided by time.
        let ending = self.tables.now().panes.values().any(|p| p.is_ending());
        let everything = looks.pace.everything_is_due(Instant::now());
        if !ending && !everything && self.look_at_due(looks, &server).await? {
            return Ok(());
        }
        let lists = self.ask_everything(looks, &server).await?;
        // That tmux says the very same as last time is the rule while nothing happens.
        if looks.lists.as_ref() == Some(&lists) && !ending {
            return Ok(());
        }
        self.take(looks, &server, lists).await
    }

    /// Looks at the parts that are due. False where only a look at everything will do.
    async fn look_at_due(&self, looks: &mut Looks, server: &Server) -> Result<bool> {
        let clients =
            if self.connection.has_people() { tmux::state::clients(server).await? } else { Vec::new() };
        let (sessions, windows, all) = {
            let tables = self.tables.now();
            let sessions = looks.pace.typed(&clients, Instant::now());
            let panes = tables.panes.values().map(|pane| {
                let heard = match (pane.take_printed(), pane.tap()) {
                    (true, _) => Heard::Printed,
                    (false, Tap::Ours) => Heard::Silent,
                    (false, _) => Heard::Nothing,
                };
                (pane.fact(|f| f.window.clone()), heard)
            });
            let panes: Vec<(String, Heard)> = panes.collect();
            let all = panes.iter().map(|(window, _)| window).collect::<BTreeSet<_>>().len();
            (sessions, looks.pace.windows(panes), all)
        };
        // Most of the windows one by one take longer than all at once.
        if windows.len() * 2 > all {
            return Ok(false);
        }
        self.look_at(looks, server, &sessions, &windows).await
    }

    async fn look_at(
        &self,
        looks: &mut Looks,
        server: &Server,
        sessions: &BTreeSet<String>,
        windows: &BTreeSet<String>,
    ) -> Result<bool> {
        if sessions.is_empty() && windows.is_empty() {
            return Ok(true);
        }
        let told = match tmux::state::panes_of(server, sessions, windows).await {
            Err(e) if e.kind == Kind::Gone => return Ok(false), // one of them ended
            told => told?,
        };
        let known = self.known_in(sessions, windows);
        if !all_in_place(&known, &told) {
            return Ok(false);
        }
        if told.iter().any(|info| !known.contains(info)) {
            self.apply_panes(server, &told);
            looks.lists = None;
        }
        Ok(true)
    }

    /// What is known of the panes of these sessions and windows.
    fn known_in(&self, sessions: &BTreeSet<String>, windows: &BTreeSet<String>) -> Vec<PaneInfo> {
        let tables = self.tables.now();
        let shown = tables.sessions.values().filter(|s| sessions.contains(&s.tmux_id()));
        let mut serials: BTreeSet<u64> = shown.flat_map(|s| s.panes()).map(|(_, pane)| pane.serial).collect();
        let inside = tables.panes.values().filter(|p| p.fact(|f| windows.contains(&f.window)));
        serials.extend(inside.map(|p| p.serial));
        tables.panes.values().filter(|p| serials.contains(&p.serial)).map(|p| p.facts()).collect()
    }
}

/// Whether tmux told of the very panes that are known, each in its place, and none that ended: how
/// it ended is asked for with everything.
fn all_in_place(known: &[PaneInfo], told: &[PaneInfo]) -> bool {
    fn places(all: &[PaneInfo]) -> BTreeSet<(&str, u32, u32, &str)> {
        all.iter().map(|p| (&*p.window, p.window_index, p.pane_index, &*p.id)).collect()
    }
    let dead = |info: &PaneInfo| info.dead && !known.iter().any(|k| k.id == info.id && k.dead);
    places(known) == places(told) && !told.iter().any(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(id: &str, window: &str, index: u32) -> PaneInfo {
        PaneInfo { id: id.into(), window: window.into(), pane_index: index, ..PaneInfo::default() }
    }

    #[test]
    fn a_pane_that_came_went_or_moved_is_a_matter_of_everything() {
        let known = [pane("%1", "@1", 0), pane("%2", "@1", 1)];
        assert!(all_in_place(&known, &known));
        assert!(all_in_place(&[], &[]));
        assert!(!all_in_place(&known, &known[..1]), "one went");
        assert!(!all_in_place(&known[..1], &known), "one came");
        assert!(!all_in_place(&known, &[pane("%1", "@1", 1), pane("%2", "@1", 0)]), "they were swapped");
        let mut moved = known.clone();
        moved[1].window_index = 3;
        assert!(!all_in_place(&known, &moved));
    }

    #[test]
    fn what_a_pane_shows_is_no_matter_of_everything() {
        let known = [pane("%1", "@1", 0)];
        let told = PaneInfo { title: "new".into(), cwd: "/".into(), history_size: 7, ..known[0].clone() };
        assert!(all_in_place(&known, &[told.clone(), told]), "a window in two sessions is told of twice");
    }

    #[test]
    fn a_death_is_a_matter_of_everything_once() {
        let known = [pane("%1", "@1", 0)];
        let dead = [PaneInfo { dead: true, ..known[0].clone() }];
        assert!(!all_in_place(&known, &dead));
        assert!(all_in_place(&dead, &dead));
    }
}
