//! Keeps, for each inode, the sizes that the kernel was told and the one content that its open handles show.
//!
//! The kernel keeps one size and one page cache for an inode, and splice, sendfile and mmap read from them.
//! So all open handles of an inode show the same bytes, and no size that the kernel may still use is smaller
//! than those bytes, or larger by a page or more. An open that would break this is answered ESTALE once: the
//! kernel looks the name up again for the same thread, and finds a new inode that holds the content of the
//! refused open ([`Retries`]). A look-up of a name whose inode is open leads to a new inode as well.
//!
//! Must not know the kernel or the tree (of it, only `Shape`). The time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::inode::Inode;
use super::stream::Stream;
use muxfs_tree::Shape;
use muxfs_tree::base::error::{Kind, Result, fail};

/// Bytes of a page, as the kernel reads ahead.
pub static PAGE: LazyLock<u64> = LazyLock::new(|| rustix::param::page_size() as u64);

/// An answer that carries a size may take this long until its caller has used it.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// Callers remembered for that; beyond it the oldest are taken for done.
const MOST_TOLD: usize = 32;
/// The kernel does not keep the name of a file that was open so lately.
const LATELY: Duration = Duration::from_secs(10);
/// A retried open follows its refusal at once.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes and callers that wait for their retry; beyond it an open is served without one.
const RETRY_BYTES: usize = 64 << 20;
const MOST_RETRIES: usize = 256;

/// Whether a file of this shape has one content from its open on.
pub fn is_computed(shape: Shape) -> bool {
    matches!(shape, Shape::View | Shape::Item | Shape::Wait)
}

/// Of an inode.
#[derive(Default)]
pub struct Computed(Mutex<State>);

#[derive(Default)]
struct State {
    shows: Shows,
    told: Vec<Reported>,
    /// The size that was reported last.
    last: u64,
    /// Threads that were given a size other than that of the line.
    guessed: Guessed,
    opened: Option<Instant>,
    /// The kernel keeps the name, so that it asks for no look-up.
    kept: bool,
}

#[derive(Default)]
enum Shows {
    #[default]
    Nothing,
    /// What its open handles read, and how many they are.
    Text(Bytes, usize),
    /// A line that is waited for: such an inode is opened once.
    Line(Arc<Stream>),
    /// The length of a line whose handle is closed, if it came.
    Spent(Option<u64>),
    /// What the retried open of a user gives.
    Due(Bytes, u32),
    /// The same of a line.
    LineDue,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Guessed {
    #[default]
    Nobody,
    Thread(u32),
    Several,
}

struct Reported {
    tid: u32,
    size: u64,
    at: Instant,
}

/// A handle that does not fit its inode.
pub struct Conflict;

impl Computed {
    /// Of an inode for one retried open of user `uid`.
    pub fn due(text: Option<Bytes>, uid: u32) -> Self {
        let shows = text.map_or(Shows::LineDue, |text| Shows::Due(text, uid));
        Computed(Mutex::new(State { shows, ..State::default() }))
    }

    /// Of the inode that a busy one's name leads to from now on.
    pub fn beside(&self) -> Self {
        let state = self.0.lock();
        Computed(Mutex::new(State { last: state.last, opened: state.opened, ..State::default() }))
    }

    /// The exact size, from an open on. `None`: nothing is open.
    pub fn exact(&self) -> Option<u64> {
        self.0.lock().exact()
    }

    /// Whether a look-up must lead elsewhere.
    pub fn is_busy(&self) -> bool {
        !matches!(self.0.lock().shows, Shows::Nothing)
    }

    pub fn last_reported(&self) -> u64 {
        self.0.lock().last
    }

    /// The size to report to thread `tid`: the exact one, else `size`. A thread that asks again has used
    /// the earlier answers.
    pub fn report_size(&self, tid: u32, size: u64, now: Instant) -> u64 {
        let mut state = self.0.lock();
        let exact = state.exact();
        let size = exact.unwrap_or(size);
        state.last = size;
        if exact.is_none() {
            state.guessed = match state.guessed {
                Guessed::Nobody => Guessed::Thread(tid),
                Guessed::Thread(one) if one == tid && tid != 0 => Guessed::Thread(tid),
                _ => Guessed::Several,
            };
        }
        state.told.retain(|t| t.tid != tid && now.saturating_duration_since(t.at) < UNDER_WAY);
        if state.told.len() >= MOST_TOLD {
            state.told.remove(0);
        }
        state.told.push(Reported { tid, size, at: now });
        size
    }

    /// Thread `tid` is to be given a page of the line, which is there. The kernel takes the end of that
    /// page for the end of the file, unless it took in another size since it asked for the page. Where
    /// it may have, `pass_over` has it take in none of before, and the answer is an error: the kernel
    /// asks once more, and by then it is given no size but the line's.
    pub async fn ends_at_its_line(
        &self,
        tid: u32,
        pass_over: impl FnOnce() -> oneshot::Receiver<()>,
    ) -> Result<()> {
        let sure = match self.0.lock().guessed {
            Guessed::Nobody => true,
            Guessed::Thread(one) => one == tid && tid != 0, // it took that in before it asked
            Guessed::Several => false,
        };
        if sure {
            return Ok(());
        }
        let _ = pass_over().await; // its sender is dropped, which is an error
        self.0.lock().guessed = Guessed::Nobody;
        fail(Kind::Invalid, "another size may be taken in; ask again")
    }

    /// Whether a look-up that is answered now may let the kernel keep the name.
    pub fn may_keep(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let lately = state.opened.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        state.kept = !lately && matches!(state.shows, Shows::Nothing);
        state.kept
    }

    /// What the retried open of this user is to give.
    pub fn text_due(&self, uid: u32) -> Option<Bytes> {
        match &self.0.lock().shows {
            Shows::Due(text, of) if *of == uid => Some(text.clone()),
            _ => None,
        }
    }

    /// Another handle reads `text`. `Ok(true)`: the kernel keeps a name that must lead elsewhere now.
    pub fn open_text(&self, tid: u32, text: &Bytes, now: Instant) -> Result<bool, Conflict> {
        let mut state = self.0.lock();
        let fits = state.fits(tid, text.len() as u64, now);
        match &mut state.shows {
            Shows::Text(shown, count) if shown == text => *count += 1,
            Shows::Due(due, _) if due == text => state.shows = Shows::Text(text.clone(), 1),
            Shows::Nothing if fits => state.shows = Shows::Text(text.clone(), 1),
            _ => return Err(Conflict),
        }
        Ok(state.open_now(now))
    }

    /// A handle waits for a line.
    pub fn open_line(&self, stream: &Arc<Stream>, now: Instant) -> Result<bool, Conflict> {
        let mut state = self.0.lock();
        if !matches!(state.shows, Shows::Nothing | Shows::LineDue) {
            return Err(Conflict);
        }
        state.shows = Shows::Line(stream.clone());
        Ok(state.open_now(now))
    }

    /// The handle that waits for a line is closed, and nothing waits any more.
    pub fn close_line(&self) {
        let mut state = self.0.lock();
        if let Shows::Line(stream) = &state.shows {
            state.shows = Shows::Spent(stream.length());
        }
    }

    /// A handle that reads the text is closed.
    pub fn close_text(&self) {
        let mut state = self.0.lock();
        match &mut state.shows {
            Shows::Text(_, count) if *count > 1 => *count -= 1,
            Shows::Text(..) => state.shows = Shows::Nothing,
            _ => {}
        }
    }
}

impl State {
    fn exact(&self) -> Option<u64> {
        match &self.shows {
            Shows::Nothing | Shows::LineDue => None,
            Shows::Text(text, _) | Shows::Due(text, _) => Some(text.len() as u64),
            Shows::Line(stream) => stream.length(),
            Shows::Spent(length) => *length,
        }
    }

    /// Whether every size that the kernel may believe suits `len` bytes: none is less, and none has a
    /// page that begins behind the end. Such pages are read ahead at the same time as the one with
    /// the end; where the answer to them comes first, the kernel takes their beginning for the end
    /// and shows zeros up to it.
    fn fits(&self, tid: u32, len: u64, now: Instant) -> bool {
        let under_way = |t: &&Reported| t.tid == tid || now.saturating_duration_since(t.at) < UNDER_WAY;
        let suits = |size: u64| (len..=(len / *PAGE + 1) * *PAGE).contains(&size);
        suits(self.last) && self.told.iter().filter(under_way).all(|t| suits(t.size))
    }

    fn open_now(&mut self, now: Instant) -> bool {
        self.opened = Some(now);
        std::mem::take(&mut self.kept)
    }
}

/// Opens that were answered ESTALE and come again, by their thread.
#[derive(Default)]
pub struct Retries(Mutex<HashMap<u32, Retry>>);

struct Retry {
    /// The object it means.
    id: u64,
    uid: u32,
    /// What it gives; `None` of a line.
    text: Option<Bytes>,
    inode: Option<Arc<Inode>>,
    since: Instant,
}

impl Retries {
    /// Whether thread `tid` is to come again. Not twice for one open, and not beyond the bounds.
    pub fn begin(&self, tid: u32, id: u64, uid: u32, text: Option<Bytes>, now: Instant) -> bool {
        let mut retries = self.0.lock();
        retries.retain(|_, r| now.saturating_duration_since(r.since) < RETRY);
        if retries.remove(&tid).is_some_and(|r| r.id == id) || tid == 0 {
            return false;
        }
        let len = |text: &Option<Bytes>| text.as_ref().map_or(0, Bytes::len);
        let bytes: usize = retries.values().map(|r| len(&r.text)).sum();
        if retries.len() >= MOST_RETRIES || bytes + len(&text) > RETRY_BYTES {
            return false;
        }
        retries.insert(tid, Retry { id, uid, text, inode: None, since: now });
        true
    }

    /// The inode for the open that thread `tid` tries again, made by `make` at its first look-up.
    pub fn inode(
        &self,
        tid: u32,
        id: u64,
        now: Instant,
        make: impl FnOnce(Computed) -> Arc<Inode>,
    ) -> Option<Arc<Inode>> {
        let mut retries = self.0.lock();
        let retry = retries.get_mut(&tid)?;
        if retry.id != id || now.saturating_duration_since(retry.since) >= RETRY {
            return None;
        }
        let (text, uid) = (retry.text.clone(), retry.uid);
        Some(retry.inode.get_or_insert_with(|| make(Computed::due(text, uid))).clone())
    }

    /// The open of thread `tid` succeeded.
    pub fn end(&self, tid: u32) {
        self.0.lock().remove(&tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Bytes = Bytes::from_static(b"text");

    #[test]
    fn one_inode_shows_one_text_while_it_is_open() {
        let (computed, now) = (Computed::default(), Instant::now());
        computed.report_size(1, 10, now);
        assert_eq!(computed.exact(), None);
        assert!(computed.open_text(1, &TEXT, now).is_ok());
        assert_eq!((computed.exact(), computed.is_busy()), (Some(4), true));
        assert!(computed.open_text(2, &TEXT, now).is_ok(), "the same bytes");
        assert!(computed.open_text(2, &Bytes::from_static(b"tex"), now).is_err());
        computed.close_text();
        assert!(computed.is_busy());
        computed.close_text();
        assert!(!computed.is_busy());
    }

    #[test]
    fn the_kernel_believes_no_size_that_is_less_or_has_a_page_behind_the_end() {
        let (computed, now) = (Computed::default(), Instant::now());
        computed.report_size(1, 3, now);
        assert!(computed.open_text(1, &TEXT, now).is_err(), "it grew since");
        computed.report_size(1, 4, now);
        computed.report_size(2, 3, now);
        computed.report_size(1, 4, now);
        assert!(computed.open_text(1, &TEXT, now).is_err(), "another's answer may come later");
        computed.report_size(1, 4, now);
        assert!(computed.open_text(1, &TEXT, now + UNDER_WAY).is_ok());
        assert!(Computed::default().open_text(1, &TEXT, now).is_err(), "nothing was told");
        let (computed, later) = (Computed::default(), now + UNDER_WAY);
        computed.report_size(1, *PAGE + 1, now);
        assert!(computed.open_text(1, &TEXT, later).is_err(), "a page behind the end");
        computed.report_size(1, *PAGE, later);
        assert!(computed.open_text(1, &TEXT, later).is_ok());
    }

    #[test]
    fn a_name_is_kept_until_the_first_open() {
        let (computed, now) = (Computed::default(), Instant::now());
        computed.report_size(1, 4, now);
        assert!(computed.may_keep(now));
        assert!(computed.open_text(1, &TEXT, now).is_ok_and(|kept| kept));
        assert!(!computed.may_keep(now));
        assert!(computed.open_text(1, &TEXT, now).is_ok_and(|kept| !kept));
        computed.close_text();
        computed.close_text();
        assert!(!computed.may_keep(now + LATELY / 2));
        assert!(computed.may_keep(now + LATELY));
    }

    #[test]
    fn an_open_is_tried_again_once() {
        let (retries, now) = (Retries::default(), Instant::now());
        assert!(!retries.begin(0, 7, 1, None, now), "nobody knows whose it is");
        assert!(retries.begin(5, 7, 1, Some(TEXT), now));
        assert!(!retries.begin(5, 7, 1, Some(TEXT), now));
        assert!(retries.begin(5, 7, 1, Some(TEXT), now), "another open of the thread");
        assert!(retries.begin(5, 8, 1, Some(TEXT), now), "of another file");
        assert!(retries.begin(6, 7, 1, Some(Bytes::from(vec![0; RETRY_BYTES - 4])), now));
        assert!(!retries.begin(7, 7, 1, Some(TEXT), now), "the bound");
        assert!(retries.begin(7, 7, 1, Some(TEXT), now + RETRY));
        let due = Computed::due(Some(TEXT), 1);
        assert_eq!((due.text_due(2), due.text_due(1)), (None, Some(TEXT)));
        assert_eq!(due.exact(), Some(4));
        assert!(due.open_text(5, &TEXT, now).is_ok());
    }
}
