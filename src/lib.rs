//! muxfs: every tmux session as files.
//!
//! `main → cli → doors {fs} → tree (seam) ← node (rows) → session → tmux → {names, error, clock}`

pub mod clock;
pub mod error;
pub mod log;
pub mod transcript;
