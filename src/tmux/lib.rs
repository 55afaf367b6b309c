//! The tmux engine: one control client a server, and what muxfs does to panes through it.
//!
//! Knows tmux: its control mode, its formats and their traps, pipes, pastes, captures.
//! Must not know: files of the tree, agents and their states, FUSE, configuration.
//!
//! Rules that hold everywhere below, each because a tmux between 3.2 and 3.7 breaks otherwise:
//! targets are ids (`$3`, `%5`), never names; user text that tmux would expand goes through
//! [`Command::literal`]; never `link-window`, `refresh-client -B`, `send-keys -H`, a control
//! client a session, or a kill of a control client that is about to attach.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

pub mod activity;
pub mod actor;
mod blocked;
pub mod capture;
mod client;
mod clock;
pub mod command;
pub mod control;
pub mod helper;
mod hidden;
pub mod input;
mod leftover;
pub mod pipe;
pub mod process;
mod secret;
pub mod session;
mod stand;
pub mod state;
mod stream;
mod variable;
pub mod watch;

pub use actor::{Server, ServerInfo};
pub use capture::{Capture, MAX_OUTPUT, Picture, capture, capture_text};
pub use command::{Command, Line};
pub use control::Notice;
pub use muxfs_tree::base::keys::{self, Key};
pub use pipe::{PipeHub, PipeStart, missing_room};
pub use process::{OwnProgram, Socket};
pub use session::{Made, NewSession};
pub use stand::Stand;
pub use state::{ClientInfo, Lists, PaneInfo, SessionInfo, Snapshot, snapshot};
