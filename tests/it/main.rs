//! One binary for every test that needs more than one module: files of the project, the real
//! program, real tmux and a real mount.

#![allow(clippy::unwrap_used, reason = "all of it is tests; clippy sees that of functions marked so only")]

mod cli;
mod doc;
mod examples;
mod tidy;
mod tmux_engine;
mod tour;
