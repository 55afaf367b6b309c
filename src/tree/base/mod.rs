//! What all crates share: errors, names, clocks, files on disk, and calls that may never return.
//!
//! Knows nothing of the seam: a crate that uses this alone knows no tree.

pub mod clock;
pub mod disk;
pub mod error;
pub mod foreign;
pub mod keys;
pub mod later;
pub mod locks;
pub mod names;
pub mod offload;
pub mod schema;
pub mod sys;
pub mod users;
pub mod watcher;
