//! muxfs: every tmux session as files.
//!
//! `main → cli → doors {fs} → tree (seam) ← node (rows) → session → {tmux, agent, config, log, transcript} → {names, keys, error, clock, later, locks, foreign, offload, users, sys}`
//!
//! docs/architecture.md has a picture, and what each module must not know.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doc;
pub mod error;
pub mod foreign;
pub mod fs;
pub mod keys;
pub mod later;
pub mod locks;
pub mod log;
pub mod names;
pub mod node;
pub mod offload;
pub mod session;
pub mod sys;
pub mod tmux;
pub mod transcript;
pub mod tree;
pub mod users;
