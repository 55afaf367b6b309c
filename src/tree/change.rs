//! What a door must forget: names that no longer mean what the tree said earlier.

use super::TreePath;

/// Idempotent, so that a door may subscribe before it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `name` in `dir` was made, went away, or leads to another object now.
    Name { dir: TreePath, name: String },
    /// The object `from` is called `to` now, in the same directory.
    Renamed { dir: TreePath, from: String, to: String },
    /// The mode, group, size or time of what is called so is another.
    Attributes { at: TreePath },
    /// Changes were missed: whatever is at this path or below it may be another.
    Everything { below: TreePath },
}

impl Change {
    /// The same change, seen from a tree that has this one at `above`.
    pub fn below(self, above: &TreePath) -> Change {
        match self {
            Change::Name { dir, name } => Change::Name { dir: above.under(&dir), name },
            Change::Renamed { dir, from, to } => Change::Renamed { dir: above.under(&dir), from, to },
            Change::Attributes { at } => Change::Attributes { at: above.under(&at) },
            Change::Everything { below } => Change::Everything { below: above.under(&below) },
        }
    }
}
