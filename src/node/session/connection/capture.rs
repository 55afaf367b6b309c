//! What a pane shows: one question to tmux each, no cache. How long the answer may be is told from
//! memory.

use parking_lot::Mutex;

use super::super::{Pane, Tap};
use super::Connection;
use muxfs_tmux::{self as tmux, Capture, MAX_OUTPUT};
use muxfs_tree::base::error::{Kind, Result, fail};

/// Bytes of a cell, and of a cell with its colours.
const CELL: u64 = 4;
const COLOURED: u64 = 48;
/// Columns that one printed byte may fill: a tab.
const TAB: u64 = 8;

/// The last capture of each kind.
#[derive(Default)]
pub struct Captures(Mutex<[Option<Captured>; 3]>);

#[derive(Clone, Copy)]
struct Captured {
    len: u64,
    /// When it was asked for.
    stand: Stand,
}

/// What a pane has printed, how large it is, and whether it is dead: the same stand shows the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    raw: u64,
    printed: u64,
    size: (u32, u32),
    dead: bool,
}

impl Connection {
    pub async fn capture(&self, pane: &Pane, what: Capture) -> Result<Vec<u8>> {
        if pane.is_gone() {
            return fail(Kind::Gone, format!("pane {} is gone", pane.id));
        }
        let (server, stand) = (self.server()?, pane.stand());
        let text = tmux::capture_text(&server, &pane.id, what).await?;
        pane.captures.0.lock()[what as usize] = Some(Captured { len: text.len() as u64, stand });
        Ok(text)
    }
}

impl Pane {
    fn stand(&self) -> Stand {
        let raw = self.raw.current();
        let (size, dead) = self.fact(|f| ((f.width, f.height), f.dead));
        Stand { raw: raw.number(), printed: raw.size(), size, dead }
    }

    /// Bytes that a capture begun now gives: as many as the last one while the pane stands as it
    /// did; else a bound, from what it printed since. What tmux alone knows (a reflow, cleared
    /// scrollback) may make it wrong, so an open that gets more must say so.
    pub fn capture_size(&self, what: Capture) -> u64 {
        let now = self.stand();
        let last = self.captures.0.lock()[what as usize];
        let known = last.filter(|last| {
            let then = last.stand;
            self.tap() == Tap::Ours && (then.raw, then.size, then.dead) == (now.raw, now.size, now.dead)
        });
        if let Some(last) = known.filter(|last| last.stand.printed == now.printed) {
            return last.len;
        }
        let (columns, rows) = (u64::from(now.size.0), u64::from(now.size.1));
        let screen = rows * (columns * CELL + 1);
        match what {
            Capture::Screen => screen,
            Capture::ScreenAnsi => rows * (columns * COLOURED + 1),
            Capture::Output => {
                let (before, printed) = match known {
                    Some(last) => (last.len, now.printed.saturating_sub(last.stand.printed)),
                    None => {
                        let history = self.fact(|f| u64::from(f.history_size));
                        (history * (columns * CELL + 1), now.printed)
                    }
                };
                // The normal screen, and that of a full-screen program.
                (before + printed * TAB + 2 * screen).min(MAX_OUTPUT as u64)
            }
        }
    }
}
