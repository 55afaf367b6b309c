//! One integration binary: real mounts, real shells and editors.

// A test's helper that fails has failed the test.
#![allow(clippy::unwrap_used)]

// `src/fs/fake.rs` is compiled here as well, and names the crate's modules from its root.
use muxfs::{error, tree};

mod fs_door;
