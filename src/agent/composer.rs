//! Whether an agent's composer holds a draft. Pure.

use super::manifest::Manifest;
use super::screen::Screen;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Composer {
    Empty,
    Draft(String),
    Hidden,
    #[default]
    Unsure,
}

pub fn composer(_: &Manifest, _: &Screen) -> Composer {
    Composer::Unsure
}
