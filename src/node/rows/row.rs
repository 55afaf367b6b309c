//! What a row of a table is, and how a row becomes a file: shape, content, writes.
//!
//! One row adds a file. The tables are in `rows_*`; nothing here knows any of their names. Rows of
//! directories are in [`super::dir`].

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::log::LogFile;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::later;
use muxfs_tree::id::Ids;
use muxfs_tree::{Access, Caller, Follow, Gesture, Lines, Shape, Unit, Until};

pub type Answer<T> = BoxFuture<'static, Result<T>>;

/// A file of every object of kind `S` (the node, a session, a pane).
pub struct Row<S: 'static> {
    pub name: &'static str,
    /// Permission bits where nobody changed them.
    pub mode: u32,
    /// One sentence: manual page, README and `.help`.
    pub about: &'static str,
    /// Whether a write that begins now can be taken; [`always`] where none is refused early.
    pub needs: fn(&S) -> Result<()>,
    /// Only the owner reads it, whatever its bits say.
    pub private: bool,
    pub file: File<S>,
}

impl<S> Row<S> {
    pub const fn new(name: &'static str, mode: u32, about: &'static str, file: File<S>) -> Self {
        Row { name, mode, about, needs: always, private: false, file }
    }

    /// The same, and a write needs what `needs` looks for.
    pub const fn needs(mut self, needs: fn(&S) -> Result<()>) -> Self {
        self.needs = needs;
        self
    }

    pub const fn private(mut self) -> Self {
        self.private = true;
        self
    }
}

/// A write needs nothing that could be missing.
pub fn always<S>(_: &S) -> Result<()> {
    Ok(())
}

/// How a row's file behaves and what it does: a shape with its functions.
pub enum File<S: 'static> {
    /// Text from memory.
    View(fn(&S) -> String),
    /// Content that tmux, a disk or another program is asked for.
    Fetched(Fetched<S>),
    Log(fn(&S) -> Arc<LogFile>),
    Events(fn(&S) -> Box<dyn Lines>),
    Wait(fn(&S) -> Box<dyn Lines>),
    Sink(Unit, fn(S, Gesture, Bytes) -> Answer<()>),
    /// Prompts, of which each waits for its turn; a writer may wait for that too.
    Prompts(Prompts<S>),
    Ctl(&'static [Verb<S>]),
    Document(Document<S>),
    /// A question, and its answer with the turn's name.
    Ask(Ask<S>),
    /// Text that was written at its creation.
    Item(Item<S>),
}

type Ask<S> = fn(S, Gesture, Bytes) -> Answer<(Bytes, Option<String>)>;

pub struct Prompts<S> {
    /// Whether they are stored and wait now; else they are typed at once.
    pub queues: fn(&S) -> bool,
    /// The turn that a gesture brought before.
    pub before: fn(&S, &Gesture) -> Option<String>,
    /// The turn's name.
    pub write: fn(S, Gesture, Bytes, Until) -> Answer<Option<String>>,
}

/// A text with a name of its own.
pub struct Item<S> {
    pub read: fn(S) -> Answer<Vec<u8>>,
    /// Length and time.
    pub meta: fn(&S) -> (u64, SystemTime),
    pub remove: fn(S) -> Answer<()>,
    pub rename: fn(S, String) -> Answer<()>,
}

/// Content that is waited for.
pub struct Fetched<S> {
    pub read: fn(S) -> Answer<Vec<u8>>,
    /// Its length, from memory: exact where that is known, else a bound.
    pub size: fn(&S) -> u64,
}

/// The most that a file shows whose length nobody knows before it is read, in bytes.
pub const MAX_VIEW: u64 = 16 << 20;

/// A text that can be replaced.
pub struct Document<S> {
    pub text: fn(&S) -> (String, SystemTime),
    /// Length and time of the last change, without the text.
    pub meta: fn(&S) -> (u64, SystemTime),
    /// Checks and takes the new text; waits for the disk.
    pub save: fn(&S, &[u8]) -> Result<()>,
}

/// A word that `ctl` understands.
pub struct Verb<S: 'static> {
    pub name: &'static str,
    /// As the listing shows them: `NAME [AGENT]`; their number is checked against it. The last
    /// one takes the rest of the line where it ends with `…`.
    pub args: &'static str,
    pub about: &'static str,
    pub run: fn(S, Caller, Vec<String>) -> Answer<()>,
}

impl<S> Verb<S> {
    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        let all = self.args.split_whitespace().count();
        all - self.args.matches('[').count()..=all
    }

    fn usage(&self) -> String {
        if self.args.is_empty() { self.name.into() } else { format!("{} {}", self.name, self.args) }
    }
}

impl<S> File<S> {
    pub fn shape(&self) -> Shape {
        match self {
            File::View(_) | File::Fetched(_) => Shape::View,
            File::Log(_) => Shape::Log,
            File::Events(_) => Shape::Events,
            File::Wait(_) => Shape::Wait,
            File::Sink(unit, _) => Shape::Sink(*unit),
            File::Prompts(_) => Shape::Sink(Unit::Message),
            File::Ctl(_) => Shape::Ctl,
            File::Document(_) => Shape::Document,
            File::Ask(_) => Shape::Ask,
            File::Item(_) => Shape::Item,
        }
    }
}

/// The verbs of a ctl, one a line, as reading it shows them.
pub fn listing<S>(verbs: &[Verb<S>]) -> String {
    verbs.iter().map(|v| v.usage() + "\n").collect()
}

/// A row of one object: what the tree's operations act on.
#[async_trait]
pub trait Bound: Send + Sync {
    fn name(&self) -> String;
    fn shape(&self) -> Shape;
    fn mode(&self) -> u32;
    fn is_private(&self) -> bool;
    /// Of what is not computed.
    fn size(&self) -> u64;
    /// What a read begun now gives, or more.
    fn read_size(&self) -> u64;
    /// Of documents and logs; others have no time of their own.
    fn mtime(&self) -> Option<SystemTime>;
    /// Of logs: what the inode is called for good.
    fn log_key(&self) -> Option<String>;
    /// Whether a gesture begun now would be refused.
    fn admit(&self, access: Access) -> Result<()>;
    async fn read(&self) -> Result<Bytes>;
    fn follow(&self, ids: &Ids) -> Result<Follow>;
    /// The turn that it became, if it did.
    async fn write(&self, gesture: &Gesture, body: Bytes, until: Until) -> Result<Option<String>>;
    async fn ask(&self, gesture: &Gesture, question: Bytes) -> Result<(Bytes, Option<String>)>;
    /// What is stored names the gesture that it came by.
    fn remembers(&self) -> bool;
    /// The turn that this gesture brought before.
    fn before(&self, gesture: &Gesture) -> Option<String>;
    /// Takes an item away; none for what is no item.
    fn remove(&self) -> Option<Answer<()>>;
    fn rename(&self, to: &str) -> Option<Answer<()>>;
}

pub struct At<S: 'static> {
    pub row: &'static Row<S>,
    pub subject: S,
    /// `NAME.1`: the log before its last rotation.
    pub rotated: bool,
}

impl<S> At<S> {
    fn log(&self, file: &LogFile) -> Option<Arc<crate::log::LogInode>> {
        if self.rotated { file.rotated() } else { Some(file.current()) }
    }
}

#[async_trait]
impl<S: Clone + Send + Sync + 'static> Bound for At<S> {
    fn name(&self) -> String {
        if self.rotated { format!("{}.1", self.row.name) } else { self.row.name.to_owned() }
    }

    fn shape(&self) -> Shape {
        self.row.file.shape()
    }

    fn mode(&self) -> u32 {
        self.row.mode
    }

    fn is_private(&self) -> bool {
        self.row.private
    }

    fn size(&self) -> u64 {
        match &self.row.file {
            File::Log(log) => self.log(&log(&self.subject)).map_or(0, |i| i.size()),
            File::Document(doc) => (doc.meta)(&self.subject).0,
            File::Item(item) => (item.meta)(&self.subject).0,
            _ => 0,
        }
    }

    fn read_size(&self) -> u64 {
        match &self.row.file {
            File::View(text) => text(&self.subject).len() as u64,
            File::Fetched(fetched) => (fetched.size)(&self.subject),
            File::Ctl(verbs) => listing(verbs).len() as u64,
            _ => self.size(),
        }
    }

    fn mtime(&self) -> Option<SystemTime> {
        match &self.row.file {
            File::Log(log) => self.log(&log(&self.subject)).and_then(|i| i.changed_at()),
            File::Document(doc) => Some((doc.meta)(&self.subject).1),
            File::Item(item) => Some((item.meta)(&self.subject).1),
            _ => None,
        }
    }

    fn log_key(&self) -> Option<String> {
        match &self.row.file {
            File::Log(log) => self.log(&log(&self.subject)).map(|i| i.key()),
            _ => None,
        }
    }

    fn admit(&self, access: Access) -> Result<()> {
        if access.writes() { (self.row.needs)(&self.subject) } else { Ok(()) }
    }

    async fn read(&self) -> Result<Bytes> {
        match &self.row.file {
            File::View(text) => Ok(text(&self.subject).into()),
            File::Fetched(Fetched { read, .. }) | File::Item(Item { read, .. }) => {
                Ok(read(self.subject.clone()).await?.into())
            }
            File::Ctl(verbs) => Ok(listing(verbs).into()),
            File::Document(doc) => Ok((doc.text)(&self.subject).0.into()),
            File::Log(_)
            | File::Events(_)
            | File::Wait(_)
            | File::Sink(..)
            | File::Prompts(_)
            | File::Ask(_) => fail(Kind::Denied, format!("{}: not read as a whole", self.row.name)),
        }
    }

    fn follow(&self, ids: &Ids) -> Result<Follow> {
        match &self.row.file {
            File::Log(log) => match self.log(&log(&self.subject)) {
                Some(inode) => Ok(Follow::Log(Arc::new(super::logs::Inode::new(inode, ids)))),
                None => fail(Kind::NotFound, format!("{}.1 is gone", self.row.name)),
            },
            File::Events(lines) | File::Wait(lines) => Ok(Follow::Lines(lines(&self.subject))),
            _ => fail(Kind::Denied, format!("{}: nothing to follow", self.row.name)),
        }
    }

    async fn write(&self, gesture: &Gesture, body: Bytes, until: Until) -> Result<Option<String>> {
        let subject = self.subject.clone();
        match &self.row.file {
            File::Prompts(prompts) => {
                return (prompts.write)(subject, gesture.clone(), body, until).await;
            }
            File::Sink(_, write) => write(subject, gesture.clone(), body).await?,
            File::Ctl(verbs) => {
                // A command that has begun is done whole.
                let (verbs, who) = (*verbs, gesture.who.clone());
                later::apart(async move { command(verbs, &subject, &who, &body).await }).await?;
            }
            File::Document(doc) => {
                let save = doc.save;
                later::on_disk(move || save(&subject, &body)).await??;
            }
            _ => return fail(Kind::Denied, format!("{}: cannot be written", self.row.name)),
        }
        Ok(None)
    }

    fn before(&self, gesture: &Gesture) -> Option<String> {
        match &self.row.file {
            File::Prompts(prompts) => (prompts.before)(&self.subject, gesture),
            _ => None,
        }
    }

    fn remembers(&self) -> bool {
        matches!(&self.row.file, File::Prompts(prompts) if (prompts.queues)(&self.subject))
    }

    async fn ask(&self, gesture: &Gesture, question: Bytes) -> Result<(Bytes, Option<String>)> {
        match &self.row.file {
            File::Ask(ask) => ask(self.subject.clone(), gesture.clone(), question).await,
            _ => fail(Kind::Denied, format!("{}: answers nothing", self.row.name)),
        }
    }

    fn remove(&self) -> Option<Answer<()>> {
        match &self.row.file {
            File::Item(item) => Some((item.remove)(self.subject.clone())),
            _ => None,
        }
    }

    fn rename(&self, to: &str) -> Option<Answer<()>> {
        match &self.row.file {
            File::Item(item) => Some((item.rename)(self.subject.clone(), to.to_owned())),
            _ => None,
        }
    }
}

/// Looks a command's verb up and checks its arity, in one place for every ctl.
async fn command<S: Clone>(verbs: &'static [Verb<S>], subject: &S, who: &Caller, line: &[u8]) -> Result<()> {
    let Ok(line) = std::str::from_utf8(line) else {
        return fail(Kind::NotUtf8, "a command that is not UTF-8");
    };
    let mut words = line.split_whitespace().map(str::to_owned);
    let Some(name) = words.next() else { return Ok(()) };
    let mut words: Vec<String> = words.collect();
    let shown: String = line.trim().chars().take(200).collect();
    let Some(verb) = verbs.iter().find(|v| v.name == name) else {
        let known: Vec<_> = verbs.iter().map(|v| v.name).collect();
        return fail(Kind::Invalid, format!("{shown:?}: unknown verb; one of {}", known.join(", ")));
    };
    if verb.args.contains('…') {
        words = with_rest(line, verb.args.split_whitespace().count());
    }
    if !verb.arity().contains(&words.len()) {
        return fail(Kind::Invalid, format!("{shown:?}: usage: {}", verb.usage()));
    }
    (verb.run)(subject.clone(), who.clone(), words).await
}

/// At most `most` arguments, the last of which is the rest of the line.
fn with_rest(line: &str, most: usize) -> Vec<String> {
    let next = |text: &str| text.split_once(char::is_whitespace).map(|(_, rest)| rest.trim().to_owned());
    let mut rest = next(line.trim());
    let mut words = Vec::new();
    while let Some(text) = rest.filter(|r| !r.is_empty()) {
        let last = words.len() + 1 == most;
        rest = if last { None } else { next(&text) };
        let word = if last { text.as_str() } else { text.split_whitespace().next().unwrap_or_default() };
        words.push(word.to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: (), _: Caller, _: Vec<String>) -> Answer<()> {
        Box::pin(async { Ok(()) })
    }

    static VERBS: &[Verb<()>] = &[
        Verb { name: "new", args: "NAME [AGENT] [CWD]", about: "", run: nothing },
        Verb { name: "stop", args: "", about: "", run: nothing },
    ];

    #[test]
    fn the_last_argument_may_be_the_rest_of_the_line() {
        assert_eq!(with_rest(" answer-text  yes, do  it \n", 1), ["yes, do  it"]);
        assert_eq!(with_rest("new a b c { x = ' y' }", 4), ["a", "b", "c", "{ x = ' y' }"]);
        assert_eq!(with_rest("new a", 4), ["a"]);
        assert_eq!(with_rest("new", 4), Vec::<String>::new());
    }

    #[tokio::test]
    async fn verbs_are_looked_up_and_counted() {
        assert_eq!(listing(VERBS), "new NAME [AGENT] [CWD]\nstop\n");
        let run = async |line: &str| command(VERBS, &(), &Caller::own(), line.as_bytes()).await;
        for good in ["stop", "  stop \n", "new a", "new a b c", ""] {
            run(good).await.unwrap();
        }
        for bad in ["new", "new a b c d", "stop now", "sotp"] {
            let e = run(bad).await.unwrap_err();
            assert_eq!(e.kind, Kind::Invalid);
            assert!(e.text().contains(bad), "the error quotes the input: {e}");
        }
    }
}
