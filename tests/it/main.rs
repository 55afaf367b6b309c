//! One binary for every test that needs more than one module: files of the project, the real
//! program, real tmux and a real mount.

#![allow(clippy::unwrap_used, reason = "all of it is tests; clippy sees that of functions marked so only")]

// `src/fs/fake.rs` is compiled here as well, and names the crate's modules from its root.
use muxfs::{error, tree};

mod adopt;
mod cli;
mod doc;
mod examples;
mod fs_door;
mod logs;
mod node;
mod support;
mod tidy;
mod tmux_engine;
mod tour;
