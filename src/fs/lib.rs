//! The FUSE door: the tree as a mounted file system.
//!
//! `vfs` holds file semantics without a kernel: inodes, open files by shape (`handle`), editors'
//! scratch files. `fuse` carries it to the kernel, `notify` notifies the kernel of what went out
//! of date, `mount` is a mount's life; those three alone import `fuser`. `point` opens mount points,
//! `takeover` frees one whose daemon cannot end.
//!
//! Knows the tree by its seam. Does not know: tmux, sessions, what any file means, or is called.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

mod ask;
mod budget;
mod computed;
mod dirs;
mod draft;
pub mod errno;
mod freezer;
mod fuse;
mod gesture;
mod handle;
mod inode;
mod listing;
pub mod mount;
pub mod mounts;
mod notify;
mod park;
mod pending;
pub mod point;
mod procs;
mod scratch;
mod stream;
pub mod takeover;
mod vfs;
mod watch;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bounds;
#[cfg(test)]
mod tests_computed;

pub use mount::{Device, MountOptions, Mounted, guard, serve};
