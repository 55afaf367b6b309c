//! Log files: append-only, absolute offsets, rotation, bounds.
//!
//! `file.rs` is the log that grows and rotates, `inode.rs` one generation of it as readers hold it,
//! `generation.rs` says how generations are called on the disk and which may grow, `prune.rs` keeps all logs
//! of a node within their bounds, `field.rs` and `line.rs` say how a line is written. Knows no sessions, no
//! FUSE and no clock: times are arguments.

mod field;
mod file;
mod generation;
mod inode;
mod line;
mod prune;

pub use field::{column, field, free_text, printable};
pub use file::{Gap, GapFormat, LogFile, LogLimits, RotateAt, Trouble, text_gap};
pub use inode::{LogInode, Progress};
pub use line::{ErrorLog, Level, NodeLog};
pub use prune::{Removed, prune};
