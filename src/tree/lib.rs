//! The seam: one tree behind one trait, served by every door and implemented by every node.
//!
//! An operation is a user's whole gesture, not a kernel call: `cat remote/claude/output` is one
//! [`Tree::read`], `echo > remote/claude/input` is one [`Tree::write`]. Metadata ([`Tree::stat`],
//! [`Tree::list`], [`Tree::admit`]) is answered from memory and never waits on another party, so a
//! door may call it on any thread. A tree that does not know the answer yet says
//! [`Kind::Unknown`](crate::base::error::Kind::Unknown): [`Tree::look`] fetches it.
//!
//! What changes something is a [`Gesture`]: once begun it runs to its end, whether or not its caller
//! still waits for it.
//!
//! Does not know: FUSE, HTTP, tmux, what any file means.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

pub mod base;
pub mod caller;
pub mod change;
pub mod gesture;
pub mod id;
pub mod node;
pub mod nodes;
pub mod path;
pub mod shape;
pub mod union;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

pub use caller::{Access, Caller};
pub use change::Change;
pub use gesture::{Gesture, GestureId, Intent, Position, Receipt, Until};
pub use path::TreePath;
pub use shape::{Accepts, Shape, Stat, Unit};

use crate::base::error::{Error, Result};

/// The bound on one message, document or creation, in bytes (1 MiB; docs/tree.md, "Delivery").
pub const MAX_MESSAGE: usize = base::disk::MAX_TEXT as usize;

/// A path, and which object a caller means by it.
///
/// Names are reused: a session ends and another takes its name. A door that opened a file keeps
/// the [`Stat::id`] it saw, and an operation on a path that now names another object is refused
/// as [`Kind::Gone`](crate::base::error::Kind::Gone), so no text reaches a session it was not meant for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub path: &'a TreePath,
    /// `None`: whatever the path names now.
    pub id: Option<u64>,
}

impl<'a> Place<'a> {
    pub fn new(path: &'a TreePath, id: u64) -> Self {
        Place { path, id: Some(id) }
    }
}

impl<'a> From<&'a TreePath> for Place<'a> {
    fn from(path: &'a TreePath) -> Self {
        Place { path, id: None }
    }
}

/// One name of a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub stat: Stat,
}

/// What [`Tree::follow`] gives: text with offsets, or lines as they come.
pub enum Follow {
    Log(Arc<dyn Log>),
    Lines(Box<dyn Lines>),
}

/// An open log of one inode: its bytes never change, it only grows, and a rotation does not
/// touch it (the name then leads to another inode).
#[async_trait]
pub trait Log: Send + Sync {
    /// The [`Stat::id`] of this inode.
    fn id(&self) -> u64;
    /// Bytes so far; from memory.
    fn size(&self) -> u64;
    /// Up to `len` bytes from `offset`; empty at or past the end.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;
    /// Returns once the log is longer than `past` (true), or will never be (false). An error: it
    /// may be, and nobody here will know.
    async fn grown(&self, past: u64) -> Result<bool>;
}

/// A blocking source of whole lines, each ended by a newline. Dropping it ends the wait.
#[async_trait]
pub trait Lines: Send {
    /// The next line; `None` when there will be no more. An error: more may come, and nobody here
    /// will know. It is the last answer.
    async fn next(&mut self) -> Result<Option<Bytes>>;
}

/// Every door serves this, every node implements it.
///
/// Paths are relative to the tree's own root. Errors of gestures are recorded in the node's `errors`
/// by the tree; a door reports what it refused without asking through [`Tree::refused`].
#[async_trait]
pub trait Tree: Send + Sync + 'static {
    /// From memory. `Unknown` where [`Tree::look`] at the parent directory would find it out.
    fn stat(&self, at: &TreePath) -> Result<Stat>;

    /// Bytes that a read begun now gives, or more where only a wait would show how many. From
    /// memory: [`Stat::size`] is true for what is never computed.
    fn size(&self, at: &TreePath) -> Result<u64>;

    /// From memory, in the order of the tables, then by name. `Unknown` where [`Tree::look`] at `at`
    /// would tell.
    fn list(&self, at: &TreePath) -> Result<Vec<Entry>>;

    /// Fetches what is in a directory, and keeps it fresh while anybody asks for it. May wait, for
    /// seconds at most; afterwards [`Tree::stat`] and [`Tree::list`] know the directory's names.
    async fn look(&self, dir: &TreePath) -> Result<()>;

    /// Whether what is intended would be refused now: the session is gone, the node unreachable, a
    /// dialog open. From memory; a door asks at `open` and at each `write`, where every shell sees
    /// the answer.
    fn admit(&self, who: &Caller, intent: Intent<'_>) -> Result<()>;

    /// The whole content: a view, a document, a ctl's verbs, an item, a link's target.
    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes>;

    /// A log from its first byte, or the lines of an events or wait file from now on.
    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow>;

    /// One whole message, command line, document or entry, by the file's shape. A document's own
    /// text again leaves it as it is, its mtime too, and takes an earlier refusal back.
    async fn write(&self, gesture: &Gesture, at: Place<'_>, body: Bytes, until: Until) -> Result<Receipt>;

    /// A prompt and its answer. Taken back, it leaves the prompt in the queue.
    async fn ask(&self, gesture: &Gesture, at: Place<'_>, question: Bytes) -> Result<(Bytes, Receipt)>;

    /// A directory (`body` is `None`), or an item with its text. An item that is not delivered in
    /// time (`TimedOut`) is made all the same.
    async fn make(
        &self,
        gesture: &Gesture,
        at: &TreePath,
        body: Option<Bytes>,
        until: Until,
    ) -> Result<(Stat, Receipt)>;

    /// Ends a session, withdraws an item.
    async fn remove(&self, gesture: &Gesture, at: Place<'_>) -> Result<Receipt>;

    /// Within one directory; the target must not exist.
    async fn rename(&self, gesture: &Gesture, from: Place<'_>, to: &TreePath) -> Result<Receipt>;

    /// Permission bits (0o777) and group, each as far as given; kept with the record.
    async fn set_mode(
        &self,
        gesture: &Gesture,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Receipt>;

    /// What changed, from this call on. Subscribe before taking a snapshot: changes are
    /// idempotent. A receiver that lags takes everything it knows as out of date.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// A door refused this itself (a shape's rule, a bound): one line in `errors`.
    fn refused(&self, who: &Caller, at: &TreePath, why: &Error);
}
