//! A node: the sessions of one tmux server, and the files that show them.
//!
//! `rows → session → {config, log, transcript}`: `rows` implements the seam, `session` is what happens,
//! the others know neither. Does not know doors, kernels or the command line.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

pub mod config;
pub mod log;
pub mod rows;
pub mod session;
pub mod transcript;
