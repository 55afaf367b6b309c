//! A path inside a tree: names joined by `/`, nothing else. Pure; knows no file system.

use std::fmt;

/// `""` is the root. A name is never empty, `.` or `..`, and holds neither `/` nor NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreePath(String);

impl TreePath {
    pub const fn root() -> Self {
        TreePath(String::new())
    }

    /// Parses `a/b/c`; `None` where a name is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return Some(Self::root());
        }
        text.split('/').all(is_name).then(|| TreePath(text.to_owned()))
    }

    /// The child of this name. The caller checked the name with [`is_name`].
    pub fn join(&self, name: &str) -> Self {
        debug_assert!(is_name(name), "{name:?}");
        if self.0.is_empty() { TreePath(name.to_owned()) } else { TreePath(format!("{}/{name}", self.0)) }
    }

    /// `self` with `tail` below it.
    pub fn under(&self, tail: &TreePath) -> Self {
        match (self.0.is_empty(), tail.0.is_empty()) {
            (true, _) => tail.clone(),
            (_, true) => self.clone(),
            _ => TreePath(format!("{}/{}", self.0, tail.0)),
        }
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|n| !n.is_empty())
    }

    /// The last name; `""` of the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    pub fn parent(&self) -> Self {
        TreePath(self.0.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned())
    }

    /// The first name and what is below it; `None` of the root.
    pub fn split_first(&self) -> Option<(&str, TreePath)> {
        if self.is_root() {
            return None;
        }
        let (head, tail) = self.0.split_once('/').unwrap_or((&self.0, ""));
        Some((head, TreePath(tail.to_owned())))
    }

    /// What is left of `self` below `dir`; `None` where it is not below it (or the same).
    pub fn strip(&self, dir: &TreePath) -> Option<TreePath> {
        if dir.is_root() {
            return Some(self.clone());
        }
        let tail = self.0.strip_prefix(&dir.0)?;
        match tail.as_bytes().first() {
            None => Some(Self::root()),
            Some(b'/') => Some(TreePath(tail[1..].to_owned())),
            Some(_) => None,
        }
    }
}

/// Whether `name` can stand between two slashes.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_take_apart_what_they_put_together() {
        let p = TreePath::parse("/honey/claude/input").unwrap();
        assert_eq!(p.name(), "input");
        assert_eq!(p.parent().as_str(), "honey/claude");
        let (head, tail) = p.split_first().unwrap();
        assert_eq!((head, tail.as_str()), ("honey", "claude/input"));
        assert_eq!(TreePath::root().join("a").under(&tail).as_str(), "a/claude/input");
        assert_eq!(p.strip(&TreePath::parse("honey").unwrap()).unwrap(), tail);
        assert_eq!(p.strip(&p), Some(TreePath::root()));
        assert_eq!(p.strip(&TreePath::parse("hon").unwrap()), None);
        assert_eq!(p.names().count(), 3);
        assert_eq!(TreePath::root().names().count(), 0);
        for bad in ["a//b", "a/../b", "./a", "a\0b"] {
            assert_eq!(TreePath::parse(bad), None, "{bad:?}");
        }
    }
}
