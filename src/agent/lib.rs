//! Agent CLIs: the catalogue of them, and what their screens say.
//!
//! Pure, but for three modules that read files: `catalogue` reads manifests, `installed` looks programs up
//! in PATH, and `history` reads the agents' own conversations. Knows no tmux, no sessions and no files of
//! the tree.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

pub mod catalogue;
mod check;
pub mod composer;
mod dialog;
pub mod history;
pub mod hooks;
pub mod installed;
pub mod manifest;
pub mod manual;
pub mod osc7501;
pub mod question;
pub mod rules;
pub mod screen;
pub mod status_file;
pub mod until;
