//! The closed set of shapes, and what a name's metadata says. docs/tree.md, "Shapes".

use std::time::SystemTime;

/// How a file behaves when it is opened, read, written and polled. How each does that stands in
/// one place of each door; a new shape is a new contract, a new file is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A directory.
    Dir(Accepts),
    /// Content computed once at open, stable for that handle.
    View,
    /// Append-only text with absolute offsets and a true size.
    Log,
    /// A log; each open/write/close is one entry.
    Append,
    /// Blocks; one JSON object a line, from open on.
    Events,
    /// Blocks until its condition is met, then one line, then EOF.
    Wait,
    /// What is written is one message, or one message a line.
    Sink(Unit),
    /// Lists its verbs; each line written is a command, judged at its write.
    Ctl,
    /// Replaced as a whole; validated first.
    Document,
    /// What this handle wrote is a question; reading gives its answer.
    Ask,
    /// Written once, at its creation.
    Item,
    /// An editor's temporary file: a door's own, no tree ever has one.
    Scratch,
    /// A symbolic link.
    Link,
}

/// Where one message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// At the close.
    Message,
    /// At each line's end, so that a bad one fails in every shell.
    Line,
}

/// What may be made in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accepts {
    Nothing,
    /// `mkdir`, `rmdir` and `mv` of directories.
    Dirs,
    /// Items: a file that is written once.
    Items,
    /// Editors' scratch files, which a door keeps.
    Scratch,
}

impl Shape {
    pub fn is_dir(self) -> bool {
        matches!(self, Shape::Dir(_))
    }

    /// Whether reading means anything here; `false` is EACCES.
    pub fn readable(self) -> bool {
        !matches!(self, Shape::Sink(_))
    }

    /// Whether writing means anything here; `false` is EACCES.
    pub fn writable(self) -> bool {
        matches!(
            self,
            Shape::Append | Shape::Sink(_) | Shape::Ctl | Shape::Document | Shape::Ask | Shape::Scratch
        )
    }

    /// The word that docs/tree.md, the manual page and `.help` use.
    pub fn word(self) -> &'static str {
        match self {
            Shape::Dir(_) => "dir",
            Shape::View => "view",
            Shape::Log => "log",
            Shape::Append => "append",
            Shape::Events => "events",
            Shape::Wait => "wait",
            Shape::Sink(_) => "sink",
            Shape::Ctl => "ctl",
            Shape::Document => "document",
            Shape::Ask => "ask",
            Shape::Item => "item",
            Shape::Scratch => "scratch",
            Shape::Link => "link",
        }
    }
}

/// What is known of a name without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub shape: Shape,
    /// Of this object among all that the tree ever shows while it runs: another session of the
    /// same name, and the log after a rotation, have another. Never 0.
    pub id: u64,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes; true for logs and documents, 0 for what is computed: [`Tree::size`](super::Tree::size).
    pub size: u64,
    /// Of a document: when its text last changed. Never "now" by itself, or editors warn.
    pub mtime: SystemTime,
}
