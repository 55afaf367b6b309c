//! Settings: of the node (`muxfs.toml`) and of one session. Tables of keys, and the typed values
//! the rest of the program reads.
//!
//! Knows no tmux and no mount. Reading and writing the files is `config::file`.

pub mod agents;
pub mod file;
pub mod node;
pub mod schema;
pub mod session;

pub use node::NodeConfig;
pub use schema::{Fault, Key};
pub use session::SessionConfig;
