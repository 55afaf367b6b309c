//! What an open file does, by its shape: the one place of this door where I/O depends on it.
//!
//! Knows the tree only as the seam has it, and no kernel. Locks: a handle's own text, which is
//! held while the text is delivered, so that what is written meanwhile is the next message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime;
use tokio::sync::Mutex;

use super::ask::Exchange;
use super::budget::{Budget, Share};
use super::computed::Conflict;
use super::draft::Draft;
use super::gesture::{Asker, Close};
use super::inode::{Inode, What};
use super::park::Parking;
use super::pending::Pending;
use super::procs::Procs;
use super::scratch::{ScratchFile, slice};
use super::stream::{Ready, Stream, Wakeup};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::{Access, Caller, Follow, Gesture, Intent, Log, Place, Shape, Tree, TreePath, Unit, Until};

/// What every open file works with.
pub struct Door {
    pub tree: Arc<dyn Tree>,
    pub procs: Arc<dyn Procs>,
    pub parking: Arc<Parking>,
    pub rt: runtime::Handle,
    /// Memory of messages, questions and documents that are being written.
    pub unfinished: Arc<Budget>,
    /// Memory of scratch files.
    pub scratch: Arc<Budget>,
    /// Memory of the texts that open files show.
    pub texts: Arc<Budget>,
}

impl Door {
    pub fn new(tree: Arc<dyn Tree>, procs: Arc<dyn Procs>, rt: runtime::Handle) -> Self {
        let parking = Parking::new(procs.clone());
        let unfinished = Budget::new("unfinished messages", Kind::Full, 32 << 20, 64 << 20);
        let scratch = Budget::new("scratch files", Kind::NoSpace, 64 << 20, 128 << 20);
        let texts = Budget::new("open views", Kind::Full, 256 << 20, 512 << 20);
        Door { tree, procs, parking, rt, unfinished, scratch, texts }
    }
}

/// The flags of `open`, as far as they matter here.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    pub access: Access,
    pub truncate: bool,
    pub append: bool,
}

impl Mode {
    pub fn of(flags: i32) -> Self {
        let access = match flags & libc::O_ACCMODE {
            libc::O_WRONLY => Access::Write,
            libc::O_RDWR => Access::Both,
            _ => Access::Read,
        };
        Mode { access, truncate: flags & libc::O_TRUNC != 0, append: flags & libc::O_APPEND != 0 }
    }
}

/// Who an open file belongs to: every delivery is done for them.
pub struct Handle {
    pub inode: Arc<Inode>,
    pub who: Caller,
    mode: Mode,
    file: File,
}

enum File {
    /// Computed at open, and not shown by the inode: a document's sizes are those of its last save.
    Text(Bytes),
    /// Computed at open, and what the inode shows.
    View(View),
    Log(Arc<dyn Log>),
    Stream(Arc<Stream>),
    /// One line, and whether the inode shows it.
    Wait(Arc<Stream>, AtomicBool),
    /// One message a close; of an append file with what reading it gives.
    Message(Option<Arc<dyn Log>>, Mutex<Pending>),
    /// One command a line, and the verbs that reading lists.
    Lines(Bytes, Mutex<Pending>),
    Document(Mutex<Draft>),
    Ask(Arc<Exchange>),
    /// Being created.
    Item(Mutex<Pending>),
    Scratch(Arc<ScratchFile>),
}

/// A text, and the memory it occupies.
struct View {
    text: Bytes,
    /// All handles of the inode read this; else the kernel's page cache is not for it.
    shown: AtomicBool,
    _share: Share,
}

/// The moments at which what was written may be complete.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// A close, and the signal that its caller is dying of.
    Flush(Asker, Option<i32>),
    Fsync(Asker),
    /// Of ours: nobody closed it.
    Sync,
    Release,
}

impl End {
    /// Who waits for it.
    fn by(self) -> Option<Asker> {
        match self {
            End::Flush(by, _) | End::Fsync(by) => Some(by),
            End::Sync | End::Release => None,
        }
    }
}

impl Handle {
    /// Opens what the tree has. Answers of the tree are from memory wherever it has them there, so
    /// that this seldom waits.
    pub async fn open(door: &Door, inode: &Arc<Inode>, who: &Caller, mode: Mode) -> Result<Handle> {
        let state = inode.state();
        let file = match &state.what {
            What::Scratch(file) => {
                if mode.truncate {
                    file.resize(0)?;
                }
                File::Scratch(file.clone())
            }
            _ => {
                let (path, id) = inode.place()?;
                let place = Place::new(&path, id);
                let opened = match inode.computed.text_due(who.uid()) {
                    Some(text) => view(door, who, text),
                    None => open_file(door, who, place, state.stat.shape, mode).await,
                };
                opened.map_err(|e| renewed(door, place, e)).inspect_err(|e| {
                    // A name that leads elsewhere by now is asked for again.
                    let again = matches!(e.kind, Kind::Stale | Kind::Unknown);
                    if (mode.access.writes() || e.kind == Kind::Full) && !again {
                        door.tree.refused(who, place.path, e);
                    }
                })?
            }
        };
        let handle = Handle { inode: inode.clone(), who: who.clone(), mode, file };
        handle.opened();
        Ok(handle)
    }

    /// A new document in place of one that an editor moved away: its text is empty, its settings
    /// are in force until it is saved.
    pub fn create_document(door: &Door, inode: &Arc<Inode>, who: &Caller, mode: Mode) -> Handle {
        let draft = Draft::empty(door, who);
        Handle { inode: inode.clone(), who: who.clone(), mode, file: File::Document(Mutex::new(draft)) }
    }

    /// A scratch file that was just made.
    pub fn open_scratch(inode: &Arc<Inode>, who: &Caller, mode: Mode, file: Arc<ScratchFile>) -> Handle {
        file.opened();
        Handle { inode: inode.clone(), who: who.clone(), mode, file: File::Scratch(file) }
    }

    pub fn create_item(door: &Door, inode: &Arc<Inode>, who: &Caller, mode: Mode) -> Handle {
        let pending = Mutex::new(Pending::new(door, who));
        Handle { inode: inode.clone(), who: who.clone(), mode, file: File::Item(pending) }
    }

    /// Has the inode show what this handle reads, and nothing else. `Ok(true)`: the kernel keeps a
    /// name that must lead to another inode from now on.
    pub fn show(&self, now: Instant) -> Result<bool, Conflict> {
        let (shown, kept) = match &self.file {
            File::View(view) => {
                (&view.shown, self.inode.computed.open_text(tid(&self.who), &view.text, now)?)
            }
            File::Wait(stream, shown) => (shown, self.inode.computed.open_line(stream, now)?),
            _ => return Ok(false),
        };
        shown.store(true, Ordering::Release);
        Ok(kept)
    }

    /// The text it reads, where one was computed.
    pub fn text(&self) -> Option<Bytes> {
        match &self.file {
            File::View(view) => Some(view.text.clone()),
            _ => None,
        }
    }

    /// Whether what the kernel read ahead of it is its own: such an inode is opened once.
    pub fn waits(&self) -> bool {
        matches!(self.file, File::Wait(..))
    }

    /// Counts the handle where its inode or file counts them.
    fn opened(&self) {
        match &self.file {
            File::Log(log) | File::Message(Some(log), _) => self.inode.log_opened(log),
            File::Scratch(file) => file.opened(),
            _ => {}
        }
    }

    /// Whether a close has nothing to say here, so that the kernel need not report it.
    pub fn silent(&self) -> bool {
        !self.mode.access.writes() || matches!(self.file, File::Scratch(_))
    }

    /// Whether a read waits for something to happen, and ends on any signal.
    pub fn blocks(&self) -> bool {
        matches!(self.file, File::Stream(_) | File::Wait(..) | File::Ask(_))
    }

    /// Whether it is read in order only.
    pub fn streams(&self) -> bool {
        matches!(self.file, File::Stream(_) | File::Wait(..))
    }

    pub fn scratch(&self) -> Option<&Arc<ScratchFile>> {
        match &self.file {
            File::Scratch(file) => Some(file),
            _ => None,
        }
    }

    pub async fn read(&self, door: &Door, by: Asker, offset: u64, len: usize, block: bool) -> Result<Bytes> {
        // A read of the page cache (splice, sendfile, mmap) carries no owner. Refused, the reader
        // falls back to read(2).
        if by.owner == 0 && !self.is_cached() {
            return fail(Kind::Invalid, "it is read with read(2) alone");
        }
        match &self.file {
            File::Text(text) | File::Lines(text, _) => Ok(part(text, offset, len)),
            File::View(view) => Ok(part(&view.text, offset, len)),
            File::Log(log) | File::Message(Some(log), _) => log.read_at(offset, len).await.map_err(gone),
            File::Wait(stream, _) if by.owner == 0 => match stream.try_first() {
                Some(line) => Ok(part(&line?, offset, len)),
                None if block => Ok(part(&door.parking.park(by.tid, stream.first()).await??, offset, len)),
                None => fail(Kind::Full, "nothing to read yet"),
            },
            File::Stream(stream) | File::Wait(stream, _) => match stream.try_read(len) {
                Some(read) => read,
                None if block => door.parking.park(by.tid, stream.read(len)).await?,
                None => fail(Kind::Full, "nothing to read yet"),
            },
            File::Document(draft) => Ok(draft.lock().await.read(offset, len)),
            File::Ask(exchange) => exchange.read(door, self, by, len, block).await,
            File::Scratch(file) => Ok(file.read(offset, len).into()),
            File::Message(None, _) | File::Item(_) => fail(Kind::Denied, "it can only be written"),
        }
    }

    /// A page of the line that is waited for was given to the kernel: read(2) finds its end.
    pub fn was_read(&self) {
        if let File::Wait(stream, _) = &self.file {
            let _ = stream.try_read(usize::MAX); // an error is there for the next read, too
        }
    }

    /// Bytes taken: fewer than given where a command line in the middle is bad; the writer then
    /// comes again with it, and it is that write which fails.
    pub async fn write(&self, door: &Door, by: Asker, offset: u64, data: &[u8]) -> Result<usize> {
        match &self.file {
            File::Message(_, pending) => pending.lock().await.collect(door, self, by, data)?,
            File::Lines(_, pending) => return pending.lock().await.lines(door, self, by, data).await,
            File::Item(pending) => {
                if matches!(self.inode.state().what, What::Tree) {
                    return fail(Kind::Denied, "an item is written once");
                }
                pending.lock().await.push(door, self, by, data)?;
            }
            File::Document(draft) => {
                let offset = (!self.mode.append).then_some(offset);
                draft.lock().await.write(door, self, by, offset, data)?;
            }
            File::Ask(exchange) => exchange.write(door, self, by, data).await?,
            File::Scratch(file) => {
                let written = file.write((!self.mode.append).then_some(offset), data);
                written.inspect_err(|e| self.refused(door, e))?;
            }
            File::Text(_) | File::View(_) | File::Log(_) | File::Stream(_) | File::Wait(..) => {
                return fail(Kind::Denied, "it can only be read");
            }
        }
        Ok(data.len())
    }

    /// `ftruncate`; the new size. Where bytes are a message, they have no size to change.
    pub async fn truncate(&self, size: u64) -> Result<u64> {
        match &self.file {
            File::Document(draft) => draft.lock().await.resize(size)?,
            File::Scratch(file) => file.resize(size)?,
            _ => return Ok(self.inode.state().stat.size),
        }
        Ok(size)
    }

    /// A close, an fsync, or the end: delivers what is complete. A person typing may hold it for a
    /// minute: Ctrl-C takes back what has not begun.
    pub async fn end(&self, door: &Door, end: End) -> Result<()> {
        match &self.file {
            File::Message(_, pending) | File::Lines(_, pending) => {
                let mut pending = self.wait(door, end, pending.lock()).await?;
                let Some(message) = pending.end(door, self, end)?.filter(|m| !m.text.is_empty()) else {
                    return Ok(());
                };
                let text = message.text.clone();
                if let End::Fsync(_) = end {
                    drop(pending); // it may take a minute, which holds up no other's close
                    return self.wait(door, end, self.write_until(door, text, Until::Delivered)).await?;
                }
                self.wait(door, end, self.write_until(door, text, Until::Accepted)).await?
            }
            File::Item(pending) => {
                let mut pending = self.wait(door, end, pending.lock()).await?;
                let Some(message) = pending.end(door, self, end)? else { return Ok(()) };
                if let End::Fsync(_) = end {
                    drop(pending); // as above
                    return self.make(door, end, message.text.clone(), Until::Delivered).await;
                }
                self.make(door, end, message.text.clone(), Until::Accepted).await
            }
            File::Document(draft) => {
                let mut draft = self.wait(door, end, draft.lock()).await?;
                self.wait(door, end, draft.end(door, self, end)).await?
            }
            File::Ask(exchange) => exchange.end(door, self, end).await,
            File::Text(_)
            | File::View(_)
            | File::Log(_)
            | File::Stream(_)
            | File::Wait(..)
            | File::Scratch(_) => Ok(()),
        }
    }

    /// Waits for `work` as long as whoever waits for `end` does.
    async fn wait<T>(&self, door: &Door, end: End, work: impl Future<Output = T>) -> Result<T> {
        match end.by() {
            Some(by) => door.parking.park_call(by.tid, work).await,
            None => Ok(work.await),
        }
    }

    /// Whether the last close has something left to do that may wait.
    pub fn owes(&self) -> bool {
        match &self.file {
            File::Message(_, p) | File::Lines(_, p) | File::Item(p) => {
                p.try_lock().map_or(true, |p| p.wrote())
            }
            File::Document(draft) => draft.try_lock().map_or(true, |d| d.unsaved()),
            File::Ask(_) => true,
            File::Text(_)
            | File::View(_)
            | File::Log(_)
            | File::Stream(_)
            | File::Wait(..)
            | File::Scratch(_) => false,
        }
    }

    pub fn poll(&self, door: &Door, wakeup: Option<Wakeup>) -> Ready {
        match &self.file {
            File::Stream(stream) | File::Wait(stream, _) => stream.poll(wakeup),
            File::Ask(exchange) => exchange.poll(door, self, wakeup),
            // Like files on a disk: a read or write would not wait.
            _ => Ready { readable: true, end: false, failed: false },
        }
    }

    /// Whether the access mode given at open reads, and whether it writes.
    pub fn access(&self) -> Access {
        self.mode.access
    }

    /// Undoes what [`Handle::opened`] counted.
    pub fn closed(&self, now: Instant) {
        match &self.file {
            File::Log(_) | File::Message(Some(_), _) => self.inode.log_closed(),
            File::Scratch(file) => file.closed(now),
            File::View(view) if view.shown.load(Ordering::Acquire) => self.inode.computed.close_text(),
            File::Wait(_, shown) if shown.load(Ordering::Acquire) => self.inode.computed.close_line(),
            _ => {}
        }
    }

    /// Whether the kernel may keep pages of what is read.
    fn is_cached(&self) -> bool {
        match &self.file {
            File::View(view) => view.shown.load(Ordering::Acquire),
            File::Wait(_, shown) => shown.load(Ordering::Acquire),
            File::Stream(_) | File::Ask(_) => false,
            _ => true,
        }
    }

    /// One message, command or entry. What has not begun when nobody waits for it any more is taken
    /// back.
    pub async fn write_until(&self, door: &Door, text: Bytes, until: Until) -> Result<()> {
        let (path, id) = self.inode.place().inspect_err(|e| self.refused(door, e))?;
        let (gesture, _canceller) = Gesture::cancellable(&self.who);
        door.tree.write(&gesture, Place::new(&path, id), text, until).await.map(drop).map_err(gone)
    }

    async fn make(&self, door: &Door, end: End, text: Bytes, until: Until) -> Result<()> {
        let path = self.inode.path();
        let (gesture, _canceller) = Gesture::cancellable(&self.who);
        let made = self.wait(door, end, door.tree.make(&gesture, &path, Some(text), until)).await;
        let (stat, result) = match made {
            Ok(Ok((stat, _))) => (Some(stat), Ok(())),
            // It may be there all the same, and wait for its turn.
            Ok(Err(e)) if until == Until::Delivered && e.kind == Kind::TimedOut => {
                (door.tree.stat(&path).ok(), Err(e))
            }
            Err(e) => (door.tree.stat(&path).ok(), Err(e)),
            Ok(Err(e)) => (None, Err(e)),
        };
        match stat {
            Some(stat) => self.inode.becomes(TreePath::clone(&path), stat, What::Tree),
            None => self.inode.stale(),
        }
        result
    }

    /// Whether a write begun now would be refused; if so it says so where the user can read it.
    pub fn admit(&self, door: &Door) -> Result<()> {
        let (path, id) = self.inode.place()?;
        match door.tree.admit(&self.who, Intent::Open(Place::new(&path, id), Access::Write)) {
            Err(e) if e.kind == Kind::Unknown => Ok(()), // the write itself tells
            admitted => admitted.map_err(gone),
        }
    }

    pub fn refused(&self, door: &Door, why: &Error) {
        door.tree.refused(&self.who, &self.inode.path(), why);
    }

    /// A writer died halfway: half a message is not delivered.
    pub fn killed(&self, door: &Door, signal: i32) {
        let why = match signal {
            0 => "the writer was killed; nothing of what it wrote is used".to_owned(),
            n => format!("the writer was killed by signal {n}; nothing of what it wrote is used"),
        };
        self.refused(door, &Error::new(Kind::Interrupted, why));
    }
}

async fn open_file(door: &Door, who: &Caller, place: Place<'_>, shape: Shape, mode: Mode) -> Result<File> {
    let (reads, writes) = (mode.access.reads(), mode.access.writes());
    if (reads && !shape.readable()) || (writes && !shape.writable()) {
        // An item's name in use is what a script that tries again wants to know.
        let kind = if shape == Shape::Item { Kind::Exists } else { Kind::Denied };
        return fail(kind, format!("a {} cannot be opened like this", shape.word()));
    }
    if writes {
        door.tree.admit(who, Intent::Open(place, mode.access))?;
    }
    let pending = || Mutex::new(Pending::new(door, who));
    Ok(match shape {
        Shape::View | Shape::Item => return view(door, who, door.tree.read(who, place).await?),
        Shape::Link => File::Text(door.tree.read(who, place).await?),
        Shape::Log => File::Log(follow_log(door, who, place).await?),
        Shape::Append if !writes => File::Log(follow_log(door, who, place).await?),
        Shape::Append => {
            let log = if reads { Some(follow_log(door, who, place).await?) } else { None };
            File::Message(log, pending())
        }
        Shape::Events | Shape::Wait => {
            door.tree.admit(who, Intent::Open(place, Access::Read))?;
            match door.tree.follow(who, place).await? {
                Follow::Lines(lines) => {
                    let stream = Arc::new(Stream::new(lines, &door.rt));
                    if shape == Shape::Wait {
                        File::Wait(stream, AtomicBool::new(false))
                    } else {
                        File::Stream(stream)
                    }
                }
                Follow::Log(_) => {
                    return fail(Kind::Bug, format!("{}: a log where lines were due", place.path));
                }
            }
        }
        Shape::Sink(Unit::Message) => File::Message(None, pending()),
        Shape::Sink(Unit::Line) => File::Lines(Bytes::new(), pending()),
        Shape::Ctl => {
            let verbs = if reads { door.tree.read(who, place).await? } else { Bytes::new() };
            if writes { File::Lines(verbs, pending()) } else { File::Text(verbs) }
        }
        Shape::Document if !writes => File::Text(door.tree.read(who, place).await?),
        Shape::Document if mode.truncate => File::Document(Mutex::new(Draft::empty(door, who))),
        Shape::Document => {
            let text = door.tree.read(who, place).await?;
            File::Document(Mutex::new(Draft::of(door, who, text)?))
        }
        Shape::Ask => File::Ask(Exchange::new(door, who)),
        Shape::Dir(_) => return fail(Kind::IsDir, "it is a directory"),
        Shape::Scratch => return fail(Kind::Bug, "a tree has no scratch files"),
    })
}

fn view(door: &Door, who: &Caller, text: Bytes) -> Result<File> {
    let mut share = door.texts.share(who.uid());
    share.resize(text.len())?;
    Ok(File::View(View { text, shown: AtomicBool::new(false), _share: share }))
}

async fn follow_log(door: &Door, who: &Caller, place: Place<'_>) -> Result<Arc<dyn Log>> {
    match door.tree.follow(who, place).await? {
        Follow::Log(log) => Ok(log),
        Follow::Lines(_) => fail(Kind::Bug, format!("{}: lines where a log was due", place.path)),
    }
}

/// A name that leads to another object by now: ESTALE has the kernel look it up again, and open that
/// object or report ENOENT. An object that is gone under the same name and id stays gone.
fn renewed(door: &Door, place: Place<'_>, why: Error) -> Error {
    if moved(door, place, &why) { Error::new(Kind::Stale, why.text()) } else { why }
}

/// Whether the error means that the name is not, or no longer, that of this object.
fn moved(door: &Door, place: Place<'_>, why: &Error) -> bool {
    match why.kind {
        Kind::NotFound => true,
        Kind::Gone => door.tree.stat(place.path).map_or(true, |now| Some(now.id) != place.id),
        _ => false,
    }
}

/// On an open handle a name that is not there any more means that the object ended.
pub fn gone(why: Error) -> Error {
    if why.kind == Kind::NotFound { Error::new(Kind::Gone, why.text()) } else { why }
}

pub fn part(text: &Bytes, offset: u64, len: usize) -> Bytes {
    text.slice_ref(slice(text, offset, len))
}

/// The calling thread of the caller who opened; 0 where the kernel did not say.
pub fn tid(who: &Caller) -> u32 {
    who.pid().unwrap_or(0)
}

/// Decides whether this close delivers the text that was written.
pub fn verdict(writers: &mut super::gesture::Writers, door: &Door, end: End) -> Close {
    match end {
        End::Flush(by, killed) => writers.closes(by, killed, &*door.procs),
        End::Fsync(_) | End::Sync => Close::Done,
        End::Release => writers.ends(),
    }
}
