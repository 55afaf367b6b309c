//! Agent CLIs: the catalogue of them, and what their screens say.
//!
//! Pure but for reading manifests, PATH and the files in which agents keep their conversations. Knows no tmux, no sessions and no files of the tree.

pub mod catalogue;
pub mod history;
pub mod manifest;
pub mod rules;
pub mod screen;
