//! The writer of session records: one thread that saves them in the order of their changes.
//!
//! An fsync waits for the disk, on a slow one for seconds. So nothing is saved on the thread that
//! changes a record, and no lock that a reader takes is held while the disk is waited for. What must
//! be on disk before it is answered awaits its [`Saved`].
//!
//! Knows records and the journal. Must not know sessions, settings or tmux.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Journal;
use super::home::Home;
use super::record::{Record, Store};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// Changes that may wait for the disk at a time, over all callers.
const WAITING: usize = 1000;

/// A session's record as it is in force.
pub struct Kept {
    now: Mutex<Record>,
    /// A save of it waits in the queue.
    queued: AtomicBool,
    /// Its files were removed, and are not written again.
    forgotten: AtomicBool,
}

impl Kept {
    pub fn new(record: Record) -> Arc<Self> {
        let (queued, forgotten) = Default::default();
        Arc::new(Kept { now: Mutex::new(record), queued, forgotten })
    }

    /// Reads of it what `of` wants.
    pub fn get<T>(&self, of: impl FnOnce(&Record) -> T) -> T {
        of(&self.now.lock())
    }
}

type Job = Box<dyn FnOnce(&Store) + Send>;

pub struct Records {
    store: Store,
    home: Arc<Home>,
    /// For a look at the disk that a thread asks for which is none of the runtime's.
    runtime: Handle,
    journal: Arc<Journal>,
    /// Bounded by `waiting` and by one save a record.
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl Records {
    /// Starts the writer. Its thread ends when this is dropped.
    /// `home` has what the store is in. Needs a tokio runtime.
    pub(super) fn start(store: Store, home: Home, journal: Arc<Journal>) -> Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        let of_thread = store.clone();
        let write = move || queue.into_iter().for_each(|job| job(&of_thread));
        std::thread::Builder::new()
            .name("records".into())
            .spawn(write)
            .map_err(|e| Error::io("a thread for records", e))?;
        let (home, runtime) = (Arc::new(home), Handle::current());
        Ok(Records { store, home, runtime, journal, jobs, waiting: Arc::default() })
    }

    /// Whether what is written to this node can be stored: `Gone` where its state directory is no
    /// longer in its place. Waits for nothing.
    pub fn can_store(&self) -> Result<()> {
        self.home.is_here().inspect_err(|_| {
            let home = self.home.clone();
            // It may be back in its place by the next time.
            drop(self.runtime.spawn_blocking(move || home.look()));
        })
    }

    /// The same by a look at the disk, which may find it back in its place.
    pub(super) fn check_home(&self) -> Result<()> {
        self.home.look()
    }

    /// What is on disk, to be read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Changes a record at once and saves it soon. A failure is told in `errors`; what was changed
    /// stays in force. `name` is the session's, for that line.
    pub fn edit(&self, kept: &Arc<Kept>, name: &str, change: impl FnOnce(&mut Record)) {
        change(&mut kept.now.lock());
        if kept.queued.swap(true, Ordering::AcqRel) {
            return; // the save that waits takes this change along
        }
        let (kept, journal, name) = (kept.clone(), self.journal.clone(), name.to_owned());
        self.send(Box::new(move |store| {
            kept.queued.store(false, Ordering::Release);
            let record = kept.get(Record::clone);
            if !kept.forgotten.load(Ordering::Acquire)
                && let Err(e) = store.save(&record)
            {
                journal.trouble(&name, &format!("its record was not saved: {e}"));
            }
        }));
    }

    /// Changes a record on disk, and in force once it is there. `first` stores what goes with it.
    pub fn change(
        &self,
        kept: &Arc<Kept>,
        first: impl FnOnce(&Store) -> Result<()> + Send + 'static,
        change: impl Fn(&mut Record) + Send + 'static,
    ) -> Saved<()> {
        let kept = kept.clone();
        self.run(move |store| {
            if kept.forgotten.load(Ordering::Acquire) {
                return fail(Kind::Gone, "the session is gone");
            }
            first(store)?;
            let mut new = kept.get(Record::clone);
            change(&mut new);
            store.save(&new)?;
            // It may have been edited meanwhile: those edits stay, and have their own save.
            change(&mut kept.now.lock());
            Ok(())
        })
    }

    /// Sets bits and group of a file (`""`: of the directory).
    pub fn set_mode(&self, kept: &Arc<Kept>, file: &str, mode: Option<u32>, gid: Option<u32>) -> Saved<()> {
        let file = file.to_owned();
        let set = move |record: &mut Record| record.modes.entry(file.clone()).or_default().merge(mode, gid);
        self.change(kept, |_| Ok(()), set)
    }

    /// Removes a record and the files beside it, for good.
    pub fn forget(&self, kept: &Arc<Kept>) -> Saved<()> {
        let kept = kept.clone();
        self.run(move |store| {
            kept.forgotten.store(true, Ordering::Release);
            store.remove(&kept.get(|r| r.id.clone()))
        })
    }

    /// Runs `job` on the writer's thread, after all that was asked for before.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce(&Store) -> Result<T> + Send + 'static) -> Saved<T> {
        let (answer, answered) = oneshot::channel();
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            let why = format!("{WAITING} changes wait for the disk already; try again");
            let _ = answer.send(fail(Kind::Full, why)); // it is received below
        } else {
            let waiting = self.waiting.clone();
            self.send(Box::new(move |store| {
                let done = job(store);
                waiting.fetch_sub(1, Ordering::AcqRel);
                let _ = answer.send(done); // who asked need not wait
            }));
        }
        Saved(answered)
    }

    /// Returns when all that was asked for before is on disk, or its failure told.
    pub fn settled(&self) -> Saved<()> {
        self.run(|_| Ok(()))
    }

    fn send(&self, job: Job) {
        let _ = self.jobs.send(job); // fails only where the thread panicked, which its hook told
    }
}

/// The end of something that the writer does.
#[must_use = "what nobody waits for may not be on disk"]
pub struct Saved<T>(oneshot::Receiver<Result<T>>);

impl<T> Saved<T> {
    pub async fn wait(self) -> Result<T> {
        self.0.await.unwrap_or_else(|_| Self::ended())
    }

    /// The same on a thread that may wait.
    pub fn block(self) -> Result<T> {
        self.0.blocking_recv().unwrap_or_else(|_| Self::ended())
    }

    /// Nobody waits for it, and a failure changes nothing.
    pub fn detach(self) {}

    fn ended() -> Result<T> {
        fail(Kind::Bug, "the writer of records ended")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogLimits;

    fn records(dir: &std::path::Path) -> Records {
        let store = Store::open(dir.join("s")).unwrap();
        let home = Home::watch(&[store.dir()]).unwrap();
        Records::start(store, home, Arc::new(Journal::open(dir, "n", LogLimits::default()))).unwrap()
    }

    fn kept() -> Arc<Kept> {
        Kept::new(Record { id: "a1".into(), name: "one".into(), ..Record::default() })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn changes_are_saved_in_their_order_and_the_last_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (records, kept) = (records(dir.path()), kept());
        let (hold, held) = crossbeam_channel::bounded::<()>(0);
        records.run(move |_| Ok(held.recv().is_ok())).detach(); // a slow disk
        for n in 0..100 {
            records.edit(&kept, "one", |r| r.name = n.to_string());
        }
        let set = records.set_mode(&kept, "input", Some(0o220), None);
        records.edit(&kept, "one", |r| r.stopped = true);
        assert_eq!(kept.get(|r| r.modes.len()), 0, "not in force before it is on disk");
        hold.send(()).unwrap();
        set.wait().await.unwrap();
        records.settled().wait().await.unwrap();
        let on_disk = records.store().load().0.remove(0);
        assert_eq!((on_disk.name.as_str(), on_disk.stopped), ("99", true));
        assert_eq!(on_disk.modes["input"].mode, Some(0o220));
        assert_eq!(kept.get(Record::clone), on_disk);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_could_not_be_saved_is_not_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let (records, kept) = (records(dir.path()), kept());
        std::fs::remove_dir_all(dir.path().join("s")).unwrap();
        assert!(records.set_mode(&kept, "input", Some(0o220), None).wait().await.is_err());
        assert!(kept.get(|r| r.modes.is_empty()));
        records.edit(&kept, "one", |r| r.stopped = true);
        records.settled().wait().await.unwrap();
        let log = records.journal.errors.log().current().read_at(0, 9999).unwrap();
        assert!(String::from_utf8(log).unwrap().contains("its record was not saved"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_forgotten_record_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (records, kept) = (records(dir.path()), kept());
        records.set_mode(&kept, "", Some(0o750), None).wait().await.unwrap();
        records.forget(&kept).wait().await.unwrap();
        records.edit(&kept, "one", |r| r.stopped = true);
        assert_eq!(records.set_mode(&kept, "", Some(0o700), None).wait().await.unwrap_err().kind, Kind::Gone);
        records.settled().wait().await.unwrap();
        assert!(records.store().load().0.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_disk_that_hangs_is_told_to_whoever_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let (records, kept) = (records(dir.path()), kept());
        let (hold, held) = crossbeam_channel::bounded::<()>(0);
        records.run(move |_| Ok(held.recv().is_ok())).detach();
        let mut last = Vec::new();
        for _ in 0..WAITING {
            last.push(records.set_mode(&kept, "", Some(0o750), None));
        }
        let refused = last.pop().unwrap().wait().await.unwrap_err();
        assert_eq!(refused.kind, Kind::Full, "{refused}");
        hold.send(()).unwrap();
        last.pop().unwrap().wait().await.unwrap();
    }
}
