//! Sessions of one tmux server: their life, panes, messages, output and records.
//!
//! Knows tmux (through `crate::tmux`), settings and logs. Does not know paths of the tree, doors
//! or kernels: `node` gives what is here its file names.

pub mod env;
pub mod message;
pub mod reap;
pub mod shell;
pub mod state;
