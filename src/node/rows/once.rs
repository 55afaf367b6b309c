//! Runs a gesture once, although its sender sends it twice with one id, where it leaves no other trace: typed
//! text, a command, a saved document. Queued prompts and sessions have records of their own.
//!
//! The beginning and the result of each go to a file by write(2) without a sync, which outlives a kill -9 of
//! the daemon and costs no wait for the disk. Where the file has the beginning alone, the gesture may have been
//! done: the caller says whether it was, whether it is done again, or that nobody knows.
//!
//! Knows files. Must not know what a gesture does.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use muxfs_tree::Gesture;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::{self, Links};
use muxfs_tree::base::later::on_disk;

/// How long a gesture is remembered: longer than anybody sends it again.
const KEPT: Duration = Duration::from_secs(600);
/// How many gestures of one caller are remembered; beyond that the oldest finished ones are forgotten first.
const MOST: usize = 4096;
/// How many callers are remembered; beyond that the one that has been silent longest is forgotten.
const MOST_CALLERS: usize = 64;
/// The file is written anew when it is this much longer than when it was written last, in bytes.
const REWRITE: u64 = 1 << 20;
/// A longer file was not written by muxfs: [`MOST`] of [`MOST_CALLERS`].
const MAX_FILE: u64 = 256 << 20;

pub struct Once {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    /// Bytes of the file, and what they were when it was written last.
    len: u64,
    written: u64,
    /// The file ends in the middle of a line.
    torn: bool,
    callers: HashMap<String, Caller>,
}

/// What is remembered of a caller's gestures; in the order they began.
#[derive(Default)]
struct Caller {
    fates: HashMap<String, Fate>,
    order: VecDeque<(String, SystemTime)>,
}

enum Fate {
    /// It is under way here.
    Running(watch::Receiver<Option<End>>),
    Over(End),
    /// It had begun when the daemon ended.
    Unknown,
}

/// How a gesture ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<(Kind, String)>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    by: String,
    /// Milliseconds since the epoch.
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

impl End {
    fn of(result: &Result<()>) -> Self {
        End { error: result.as_ref().err().map(|e| (e.kind, e.text().to_owned())) }
    }

    fn again(self) -> Result<()> {
        match self.error {
            None => Ok(()),
            Some((kind, text)) => Err(Error::new(kind, text)),
        }
    }
}

impl Once {
    /// Remembers what the files at `path` say. Never fails: what cannot be read is not remembered, and a
    /// directory that cannot be written is reported to the first gesture. Waits for the disk.
    pub fn open(path: PathBuf, now: SystemTime) -> Self {
        let mut state = State::default();
        let text = foreign::read(&path, Links::Refuse, MAX_FILE).unwrap_or_default();
        // A line that is not whole was cut by a crash: nothing was begun under it.
        for line in text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Line>(l).ok()) {
            state.read(line, now);
        }
        state.torn = text.last().is_some_and(|b| *b != b'\n');
        (state.len, state.written) = (text.len() as u64, text.len() as u64);
        Once { path, state: Mutex::new(state) }
    }

    /// Whether this gesture is known to have begun.
    pub fn knows(&self, by: &str, id: &str) -> bool {
        self.state.lock().callers.get(by).is_some_and(|caller| caller.fates.contains_key(id))
    }

    /// Does `work` for a gesture, unless it was done before, is being done, or may have been done;
    /// `interrupted` decides about the last case. A gesture without an id is always done.
    pub async fn run(
        self: &Arc<Self>,
        gesture: &Gesture,
        interrupted: impl AsyncFnOnce() -> Interrupted,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let Some((by, id)) = gesture.key() else { return work.await };
        let (me, key) = (self.clone(), (by.clone(), id.clone()));
        let begun = on_disk(move || me.begin(&key.0, &key.1, SystemTime::now())).await??;
        let ending = match begun {
            Begun::Now(ending) => Some(ending),
            Begun::Before(mut running) => {
                // Its sender goes only after it has said how it ended.
                let ended =
                    async { Ok(running.wait_for(Option::is_some).await.ok().and_then(|end| end.clone())) };
                let end: Option<End> = gesture.until_cancelled(ended).await?;
                return end.map_or_else(unknown, End::again);
            }
            Begun::Over(end) => return end.again(),
            Begun::Unknown => match interrupted().await {
                Interrupted::Done => return Ok(()),
                Interrupted::Unknown => return unknown(),
                Interrupted::DoAgain => None,
            },
        };
        let mut ending = Ending { once: self.clone(), by, id, ending, said: false };
        let done = work.await;
        let end = End::of(&done);
        on_disk(move || ending.say(end)).await?;
        done
    }

    fn begin(&self, by: &str, id: &str, now: SystemTime) -> Result<Begun> {
        let mut state = self.state.lock();
        state.forget_old(now);
        if let Some(fate) = state.callers.get(by).and_then(|caller| caller.fates.get(id)) {
            return Ok(match fate {
                Fate::Running(running) => Begun::Before(running.clone()),
                Fate::Over(end) => Begun::Over(end.clone()),
                Fate::Unknown => Begun::Unknown,
            });
        }
        // Before it is done; what cannot be written down cannot be promised.
        state.write(&self.path, &Line { id: id.into(), by: by.into(), at: millis(now), end: None })?;
        let (ending, running) = watch::channel(None);
        state.remember(by, id, now, Fate::Running(running));
        Ok(Begun::Now(ending))
    }

    fn end(&self, by: &str, id: &str, end: &End) {
        let mut state = self.state.lock();
        let at = millis(SystemTime::now());
        let line = Line { id: id.into(), by: by.into(), at, end: Some(end.clone()) };
        // Not written, it is unknown after a crash.
        if let Err(e) = state.write(&self.path, &line) {
            tracing::warn!("the end of a gesture is not written down: {e}");
        }
        if let Some(fate) = state.callers.get_mut(by).and_then(|caller| caller.fates.get_mut(id)) {
            *fate = Fate::Over(end.clone());
        }
    }
}

/// What is known of a gesture that had begun when the daemon ended.
pub enum Interrupted {
    /// It can be seen that it was done.
    Done,
    /// Done once more it does no harm.
    DoAgain,
    /// Nobody knows whether it was done.
    Unknown,
}

enum Begun {
    Now(watch::Sender<Option<End>>),
    Before(watch::Receiver<Option<End>>),
    Over(End),
    Unknown,
}

fn unknown() -> Result<()> {
    fail(Kind::TimedOut, "it had begun when muxfs ended; whether it was done is not known")
}

/// Says how a gesture ended, also where its work is dropped.
struct Ending {
    once: Arc<Once>,
    by: String,
    id: String,
    ending: Option<watch::Sender<Option<End>>>,
    said: bool,
}

impl Ending {
    fn say(&mut self, end: End) {
        self.said = true;
        self.once.end(&self.by, &self.id, &end);
        if let Some(ending) = &self.ending {
            ending.send_replace(Some(end));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.said {
            self.say(End { error: Some((Kind::Interrupted, "its caller gave it up".into())) });
        }
    }
}

impl State {
    fn read(&mut self, line: Line, now: SystemTime) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(line.at);
        match line.end {
            Some(end) => {
                if let Some(fate) = self.callers.get_mut(&line.by).and_then(|c| c.fates.get_mut(&line.id)) {
                    *fate = Fate::Over(end);
                }
            }
            None if now.duration_since(at).is_ok_and(|age| age >= KEPT) => {}
            None => self.remember(&line.by, &line.id, at, Fate::Unknown),
        }
    }

    fn remember(&mut self, by: &str, id: &str, at: SystemTime, fate: Fate) {
        if !self.callers.contains_key(by) && self.callers.len() >= MOST_CALLERS {
            let silent = |caller: &Caller| caller.order.back().map(|(_, at)| *at);
            let idle = self.callers.iter().filter(|(_, caller)| !caller.is_busy());
            let oldest = idle.min_by_key(|(_, caller)| silent(caller)).map(|(by, _)| by.clone());
            if let Some(oldest) = oldest {
                self.callers.remove(&oldest);
            }
        }
        let caller = self.callers.entry(by.to_owned()).or_default();
        caller.fates.insert(id.to_owned(), fate);
        caller.order.push_back((id.to_owned(), at));
        if caller.order.len() > MOST {
            caller.forget_first();
        }
    }

    fn forget_old(&mut self, now: SystemTime) {
        self.callers.retain(|_, caller| {
            let old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age >= KEPT);
            while caller.order.front().is_some_and(|(_, at)| old(at)) && caller.forget_first() {}
            !caller.fates.is_empty()
        });
    }

    fn write(&mut self, path: &Path, line: &Line) -> Result<()> {
        if self.len > self.written + REWRITE {
            self.rewrite(path)?;
        }
        let text = text_of(line)?;
        let io = |e| Error::io(path.display(), e);
        if self.file.is_none() {
            if let Some(dir) = path.parent() {
                disk::make_dir(dir)?;
            }
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600);
            self.file = Some(foreign::open_with(&mut options, path).map_err(io)?);
        }
        let Some(file) = &mut self.file else { return fail(Kind::Bug, "no file") };
        // Half a line is ended first, so that it spoils no other.
        let text = if self.torn { [b"\n", &text[..]].concat() } else { text };
        let written = file.write(&text).map_err(io)?;
        self.len += written as u64;
        self.torn = written > 0 && written < text.len();
        if written < text.len() {
            return fail(Kind::NoSpace, format!("{}: the disk is full", path.display()));
        }
        Ok(())
    }

    /// Writes the file anew, with what is remembered.
    fn rewrite(&mut self, path: &Path) -> Result<()> {
        let mut text = Vec::new();
        for (by, caller) in &self.callers {
            for (id, at) in &caller.order {
                let (at, id, by) = (millis(*at), id.clone(), by.clone());
                let end = match caller.fates.get(&id) {
                    Some(Fate::Over(end)) => Some(end.clone()),
                    Some(Fate::Running(_) | Fate::Unknown) => None,
                    None => continue,
                };
                text.extend(text_of(&Line { id: id.clone(), by: by.clone(), at, end: None })?);
                if end.is_some() {
                    text.extend(text_of(&Line { id, by, at, end })?);
                }
            }
        }
        let io = |e| Error::io(path.display(), e);
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new); // left by a crash
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        let mut file = foreign::open_with(&mut options, &new).map_err(io)?;
        file.write_all(&text).map_err(io)?;
        std::fs::rename(&new, path).map_err(io)?;
        (self.len, self.written, self.torn) = (text.len() as u64, text.len() as u64, false);
        self.file = Some(file);
        Ok(())
    }
}

impl Caller {
    /// One of its gestures is under way.
    fn is_busy(&self) -> bool {
        self.fates.values().any(|fate| matches!(fate, Fate::Running(_)))
    }

    /// Forgets the oldest that is over; false where none is.
    fn forget_first(&mut self) -> bool {
        let over = |id: &String| !matches!(self.fates.get(id), Some(Fate::Running(_)));
        let Some(first) = self.order.iter().position(|(id, _)| over(id)) else { return false };
        if let Some((id, _)) = self.order.remove(first) {
            self.fates.remove(&id);
        }
        true
    }
}

fn text_of(line: &Line) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line).map_err(|e| Error::new(Kind::Bug, "a line").because(e))?;
    text.push(b'\n');
    Ok(text)
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64 // enough for ever
}

#[cfg(test)]
mod tests {
    use super::*;
    use muxfs_tree::{Caller as Who, GestureId};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    struct Lab {
        dir: tempfile::TempDir,
        done: AtomicUsize,
    }

    fn gesture(uid: u32, id: u128) -> Gesture {
        Gesture::of(&Who::local(uid, 0, Vec::new())).with_id(GestureId(id))
    }

    /// Begins `work`, and says whether it is not over.
    async fn waits<T>(work: &mut (impl Future<Output = T> + Unpin)) -> bool {
        tokio::time::timeout(Duration::from_millis(100), work).await.is_err()
    }

    impl Lab {
        fn new() -> Self {
            Lab { dir: tempfile::tempdir().unwrap(), done: AtomicUsize::new(0) }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("state/gestures")
        }

        /// As a daemon that starts finds it.
        fn open(&self, now: SystemTime) -> Arc<Once> {
            Arc::new(Once::open(self.path(), now))
        }

        async fn work(&self, result: Result<()>) -> Result<()> {
            self.done.fetch_add(1, Ordering::SeqCst);
            result
        }

        async fn run(&self, once: &Arc<Once>, gesture: &Gesture) -> Result<()> {
            once.run(gesture, async || Interrupted::Unknown, self.work(Ok(()))).await
        }

        fn done(&self) -> usize {
            self.done.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_second_sending_gets_the_first_result_in_this_life_and_the_next() {
        let (lab, now, bad) = (Lab::new(), SystemTime::now(), gesture(0, 2));
        for _life in 0..2 {
            let once = lab.open(now);
            for _ in 0..2 {
                lab.run(&once, &gesture(0, 1)).await.unwrap();
                let work = lab.work(fail(Kind::Busy, "a dialog"));
                let refused = once.run(&bad, async || Interrupted::Unknown, work).await.unwrap_err();
                assert_eq!((refused.kind, refused.text()), (Kind::Busy, "a dialog"));
            }
            assert_eq!(lab.done(), 2, "each once");
        }
        lab.run(&lab.open(now), &gesture(1, 1)).await.unwrap();
        assert_eq!(lab.done(), 3, "another caller's");
        lab.run(&lab.open(now), &Gesture::of(&Who::own())).await.unwrap();
        assert_eq!(lab.done(), 4, "without an id");
    }

    #[tokio::test]
    async fn what_was_under_way_when_the_daemon_died_is_not_done_again() {
        let (lab, now, a) = (Lab::new(), SystemTime::now(), gesture(0, 1));
        let once = lab.open(now);
        let mut hangs = Box::pin(once.run(&a, async || Interrupted::Unknown, std::future::pending()));
        assert!(waits(&mut hangs).await);
        let after = lab.open(now);
        for _ in 0..2 {
            let told = lab.run(&after, &a).await.unwrap_err();
            assert!(told.kind == Kind::TimedOut && told.text().contains("not known"), "{told}");
        }
        after.run(&a, async || Interrupted::Done, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), 0);
        after.run(&a, async || Interrupted::DoAgain, lab.work(Ok(()))).await.unwrap();
        lab.run(&after, &a).await.unwrap();
        assert_eq!(lab.done(), 1, "and it is known from then on");
        // Given up, it is over: the first word about it stands.
        drop(hangs);
        assert_eq!(lab.run(&once, &a).await.unwrap_err().kind, Kind::Interrupted);
    }

    #[tokio::test]
    async fn one_that_is_under_way_is_waited_for_as_long_as_its_sender_wants() {
        let (lab, a) = (Lab::new(), gesture(0, 1));
        let once = lab.open(SystemTime::now());
        let (go, gone) = oneshot::channel::<()>();
        let work = async {
            let _ = gone.await;
            lab.work(Ok(())).await
        };
        let mut first = Box::pin(once.run(&a, async || Interrupted::Unknown, work));
        assert!(waits(&mut first).await);
        let late = a.clone().with_deadline(std::time::Instant::now() + Duration::from_millis(20));
        assert_eq!(lab.run(&once, &late).await.unwrap_err().kind, Kind::TimedOut, "its own deadline");
        let mut second = Box::pin(lab.run(&once, &a));
        assert!(waits(&mut second).await);
        go.send(()).unwrap();
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(lab.done(), 1);
    }

    #[tokio::test]
    async fn memory_and_the_file_have_bounds() {
        let (lab, now) = (Lab::new(), SystemTime::now());
        let once = lab.open(now);
        let running = gesture(0, 1);
        let mut hangs = Box::pin(once.run(&running, async || Interrupted::Unknown, std::future::pending()));
        assert!(waits(&mut hangs).await);
        for n in 2..MOST as u128 + 12 {
            lab.run(&once, &gesture(0, n)).await.unwrap();
        }
        let all = lab.done();
        lab.run(&once, &gesture(0, 20)).await.unwrap();
        assert_eq!(lab.done(), all, "of the last ones each is known");
        lab.run(&once, &gesture(0, 3)).await.unwrap();
        assert_eq!(lab.done(), all + 1, "the oldest that is over is forgotten");
        assert!(once.knows("uid:0", &GestureId(1).to_string()), "one that is under way is not");
        for _ in 0..3 {
            for n in 100_000..104_000 {
                lab.run(&once, &gesture(0, n)).await.unwrap();
            }
        }
        let len = std::fs::metadata(lab.path()).unwrap().len();
        assert!(len < 3 * REWRITE, "{len}");
        let before = lab.done();
        lab.run(&lab.open(now), &gesture(0, 103_999)).await.unwrap();
        assert_eq!(lab.done(), before, "what was written anew is read");
        for uid in 1..MOST_CALLERS as u32 + 9 {
            lab.run(&once, &gesture(uid, 1)).await.unwrap();
        }
        assert_eq!(once.state.lock().callers.len(), MOST_CALLERS);
        assert!(once.knows("uid:0", &GestureId(1).to_string()));
        let before = lab.done();
        lab.run(&lab.open(now + 2 * KEPT), &gesture(0, 103_999)).await.unwrap();
        assert_eq!(lab.done(), before + 1, "after its time it is forgotten");
    }

    #[tokio::test]
    async fn half_a_line_spoils_no_other() {
        let (lab, now) = (Lab::new(), SystemTime::now());
        lab.run(&lab.open(now), &gesture(0, 1)).await.unwrap();
        let mut file = OpenOptions::new().append(true).open(lab.path()).unwrap();
        file.write_all(b"{\"id\":\"cut").unwrap();
        lab.run(&lab.open(now), &gesture(0, 2)).await.unwrap();
        let once = lab.open(now);
        for n in [1, 2] {
            lab.run(&once, &gesture(0, n)).await.unwrap();
        }
        assert_eq!(lab.done(), 2);
    }
}
