//! Gestures that happen once, however often they are sent, and of which nothing else is left that would
//! say so: what was typed, a command, a saved document.
//!
//! That one begins, and how it ended, is written to a file by plain write(2): that outlives a kill -9 of the
//! daemon, and costs no wait for the disk. One that had begun when the daemon was killed may have been
//! done or not; its second sending is told so. A prompt that waits for its turn stands in the book, a
//! session in its record: those need no line here.
//!
//! Knows files. Must not know what a gesture does.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::file;
use crate::error::{Error, Kind, Result, fail};
use crate::foreign::{self, Links};

/// How long a gesture is remembered: longer than anybody sends it again.
const KEPT: Duration = Duration::from_secs(600);
/// Gestures that are remembered of one caller; of more the oldest are forgotten first.
const MOST: usize = 4096;
/// Callers that are remembered; more are refused until the oldest have been silent for [`KEPT`].
const MOST_CALLERS: usize = 256;
/// The file is begun anew at this size; the one before stays beside it.
const ROTATE: u64 = 1 << 20;
/// Longer files are none of ours.
const MAX_FILE: u64 = 4 * ROTATE;

pub struct Once {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<(File, u64)>,
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
    /// directory that cannot be written is told to the first gesture. Waits for the disk.
    pub fn open(path: PathBuf, now: SystemTime) -> Self {
        let mut state = State::default();
        for path in [rotated(&path), path.clone()] {
            let text = foreign::read(&path, Links::Refuse, MAX_FILE).unwrap_or_default();
            // A line that is not whole was cut by a crash: nothing was begun under it.
            for line in text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Line>(l).ok()) {
                state.read(line, now);
            }
        }
        Once { path, state: Mutex::new(state) }
    }

    /// Does `work` for the gesture `id` of caller `by`, unless it was done before, is being done, or may
    /// have been done. `done_already` says of one that may have been whether it was: by what is there.
    pub async fn run(
        &self,
        (by, id): (&str, &str),
        done_already: impl AsyncFnOnce() -> bool,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let begun = self.begin(by, id, SystemTime::now())?;
        let ending = match begun {
            Begun::Now(ending) => ending,
            Begun::Before(mut running) => {
                // Its sender goes only after it has said how it ended.
                let end = running.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
                return end.map_or_else(unknown, End::again);
            }
            Begun::Over(end) => return end.again(),
            Begun::Unknown if done_already().await => return Ok(()),
            Begun::Unknown => return unknown(),
        };
        let mut ending = Ending { once: self, by, id, ending, said: false };
        let done = work.await;
        ending.say(End::of(&done));
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
        if !state.callers.contains_key(by) && state.callers.len() >= MOST_CALLERS {
            return fail(Kind::Full, format!("{MOST_CALLERS} callers sent gestures in the last minutes"));
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
struct Ending<'a> {
    once: &'a Once,
    by: &'a str,
    id: &'a str,
    ending: watch::Sender<Option<End>>,
    said: bool,
}

impl Ending<'_> {
    fn say(&mut self, end: End) {
        self.said = true;
        self.once.end(self.by, self.id, &end);
        self.ending.send_replace(Some(end));
    }
}

impl Drop for Ending<'_> {
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
        let caller = self.callers.entry(by.to_owned()).or_default();
        caller.fates.insert(id.to_owned(), fate);
        caller.order.push_back((id.to_owned(), at));
        while caller.order.len() > MOST {
            caller.forget_first();
        }
    }

    fn forget_old(&mut self, now: SystemTime) {
        self.callers.retain(|_, caller| {
            let old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age >= KEPT);
            while caller.order.front().is_some_and(|(_, at)| old(at)) {
                caller.forget_first();
            }
            !caller.fates.is_empty()
        });
    }

    fn write(&mut self, path: &Path, line: &Line) -> Result<()> {
        let io = |e| Error::io(path.display(), e);
        let mut text = serde_json::to_vec(line).map_err(|e| Error::new(Kind::Bug, "a line").because(e))?;
        text.push(b'\n');
        if self.file.as_ref().is_some_and(|(_, len)| len + text.len() as u64 > ROTATE) {
            self.file = None;
            std::fs::rename(path, rotated(path)).map_err(io)?;
        }
        if self.file.is_none() {
            if let Some(dir) = path.parent() {
                file::make_dir(dir)?;
            }
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600);
            let file = foreign::open_with(&mut options, path).map_err(io)?;
            let len = file.metadata().map_err(io)?.len();
            self.file = Some((file, len));
        }
        let Some((file, len)) = &mut self.file else { return fail(Kind::Bug, "no file") };
        // Half a line of a full disk is ended by the next one's, so that it spoils no other.
        let written = file.write(&text).map_err(io)?;
        *len += written as u64;
        if written < text.len() {
            let _ = file.write(b"\n"); // the disk may be full
            return fail(Kind::NoSpace, format!("{}: the disk is full", path.display()));
        }
        Ok(())
    }
}

impl Caller {
    fn forget_first(&mut self) {
        if let Some((id, _)) = self.order.pop_front() {
            self.fates.remove(&id);
        }
    }
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("1")
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64 // enough for ever
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    struct Lab {
        dir: tempfile::TempDir,
        done: AtomicUsize,
    }

    impl Lab {
        fn new() -> Arc<Self> {
            Arc::new(Lab { dir: tempfile::tempdir().unwrap(), done: AtomicUsize::new(0) })
        }

        /// As a daemon that starts finds it.
        fn open(&self, now: SystemTime) -> Once {
            Once::open(self.dir.path().join("state/gestures"), now)
        }

        async fn work(&self, result: Result<()>) -> Result<()> {
            self.done.fetch_add(1, Ordering::SeqCst);
            result
        }

        fn done(&self) -> usize {
            self.done.load(Ordering::SeqCst)
        }
    }

    const A: (&str, &str) = ("uid:0", "a");

    /// Begins `work`, and says whether it is not over.
    async fn waits<T>(work: &mut (impl Future<Output = T> + Unpin)) -> bool {
        tokio::time::timeout(Duration::ZERO, work).await.is_err()
    }

    #[tokio::test]
    async fn a_second_sending_gets_the_first_result_in_this_life_and_the_next() {
        let (lab, now) = (Lab::new(), SystemTime::now());
        let bad = ("uid:0", "bad");
        for _life in 0..2 {
            let once = lab.open(now);
            for _ in 0..2 {
                once.run(A, async || false, lab.work(Ok(()))).await.unwrap();
                let refused = once.run(bad, async || false, lab.work(fail(Kind::Busy, "a dialog"))).await;
                let refused = refused.unwrap_err();
                assert_eq!((refused.kind, refused.text()), (Kind::Busy, "a dialog"));
            }
            assert_eq!(lab.done(), 2, "each once");
        }
        lab.open(now).run(("uid:1", "a"), async || false, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), 3, "another caller's");
    }

    #[tokio::test]
    async fn what_was_under_way_when_the_daemon_died_is_not_done_again() {
        let (lab, now) = (Lab::new(), SystemTime::now());
        let once = lab.open(now);
        let mut hangs = Box::pin(once.run(A, async || false, std::future::pending()));
        assert!(waits(&mut hangs).await);
        let after = lab.open(now);
        for _ in 0..2 {
            let told = after.run(A, async || false, lab.work(Ok(()))).await.unwrap_err();
            assert!(told.kind == Kind::TimedOut && told.text().contains("not known"), "{told}");
        }
        after.run(A, async || true, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), 0);
        // Given up, it is over: the first word about it stands.
        drop(hangs);
        let told = once.run(A, async || false, lab.work(Ok(()))).await.unwrap_err();
        assert_eq!((told.kind, lab.done()), (Kind::Interrupted, 0));
    }

    #[tokio::test]
    async fn one_that_is_under_way_is_waited_for() {
        let lab = Lab::new();
        let once = Arc::new(lab.open(SystemTime::now()));
        let (go, gone) = oneshot::channel::<()>();
        let first = once.run(A, async || false, async {
            let _ = gone.await;
            lab.work(Ok(())).await
        });
        let second = once.run(A, async || false, lab.work(Ok(())));
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        assert!(waits(&mut first).await);
        assert!(waits(&mut second).await);
        go.send(()).unwrap();
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(lab.done(), 1);
    }

    #[tokio::test]
    async fn memory_and_files_have_bounds() {
        let (lab, now) = (Lab::new(), SystemTime::now());
        let once = lab.open(now);
        for n in 0..MOST + 10 {
            once.run(("uid:0", &n.to_string()), async || false, lab.work(Ok(()))).await.unwrap();
        }
        once.run(("uid:0", "12"), async || false, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), MOST + 10, "of the last ones each is known");
        once.run(("uid:0", "3"), async || false, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), MOST + 11, "the oldest are forgotten");
        let long = "x".repeat(1000);
        for n in 0..2000 {
            once.run((&long, &n.to_string()), async || false, lab.work(Ok(()))).await.unwrap();
        }
        let files: Vec<u64> = std::fs::read_dir(lab.dir.path().join("state"))
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .collect();
        assert!(files.len() == 2 && files.iter().all(|len| *len <= ROTATE), "{files:?}");
        let later = lab.open(now + 2 * KEPT);
        let before = lab.done();
        later.run((&long, "1999"), async || false, lab.work(Ok(()))).await.unwrap();
        assert_eq!(lab.done(), before + 1, "after its time it is forgotten");
        for n in 0..MOST_CALLERS {
            let _ = once.run((&n.to_string(), "a"), async || false, lab.work(Ok(()))).await;
        }
        let refused = once.run(("one more", "a"), async || false, lab.work(Ok(()))).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Full);
    }
}
