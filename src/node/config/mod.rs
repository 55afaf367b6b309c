//! Settings: of the node (`muxfs.toml`) and of one session. Tables of keys, and the typed values
//! the rest of the program reads.
//!
//! Knows no tmux and no mount. Reading and writing the files is `muxfs_tree::base::disk`.

pub mod agents;
pub mod node;
pub mod session;

pub use node::NodeConfig;
pub use session::SessionConfig;
