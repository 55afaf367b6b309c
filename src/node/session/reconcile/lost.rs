//! Records of sessions that tmux does not show: those it has lost, and those it may be making still.
//!
//! Must not know tmux.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::super::Record;

#[derive(Default)]
pub(in super::super) struct Lost(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// By the tmux name of a session made here, and by the id of one of others: its name is no claim to one
    /// of ours.
    lost: BTreeMap<String, Record>,
    /// Of sessions that tmux was told to make, but whose making it has not told: the next look at tmux says
    /// whether they are there.
    unfinished: Vec<Record>,
}

impl Lost {
    /// What the disk has at the start.
    pub fn new(known: Vec<Record>) -> Self {
        let key = |r: &Record| if r.ours { r.name.clone() } else { r.id.clone() };
        let lost = known.into_iter().map(|r| (key(&r), r)).collect();
        Lost(Mutex::new(Lists { lost, unfinished: Vec::new() }))
    }

    /// All of sessions made here, by tmux name.
    pub fn ours(&self) -> Vec<Record> {
        self.0.lock().lost.values().filter(|r| r.ours).cloned().collect()
    }

    /// That of the session made here that was called so in tmux.
    pub fn named(&self, name: &str) -> Option<Record> {
        self.0.lock().lost.get(name).filter(|r| r.ours).cloned()
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.lock().lost.values().any(|r| r.id == id)
    }

    /// A session made here is gone from tmux, or is about to be shown.
    pub fn put(&self, record: Record) {
        self.0.lock().lost.insert(record.name.clone(), record);
    }

    /// tmux shows the session of this id.
    pub fn take(&self, id: &str) -> Option<Record> {
        let lost = &mut self.0.lock().lost;
        let key = lost.iter().find(|(_, r)| r.id == id).map(|(key, _)| key.clone());
        key.and_then(|key| lost.remove(&key))
    }

    pub fn forget(&self, name: &str) {
        self.0.lock().lost.remove(name);
    }

    /// tmux was told to make it, and did not answer.
    pub fn may_come(&self, record: Record) {
        self.0.lock().unfinished.push(record);
    }

    /// Whether the session of this tmux name may be there by now.
    pub fn may_have_come(&self, name: &str) -> bool {
        self.0.lock().unfinished.iter().any(|r| r.name == name)
    }

    /// What a session that tmux shows without our mark may be.
    pub fn open(&self) -> Vec<Record> {
        let lists = self.0.lock();
        lists.unfinished.iter().chain(lists.lost.values().filter(|r| r.ours)).cloned().collect()
    }

    /// It is there after all, and is about to be shown.
    pub fn came(&self, record: Record) {
        let mut lists = self.0.lock();
        lists.unfinished.retain(|r| r.id != record.id);
        lists.lost.insert(record.name.clone(), record);
    }

    /// What tmux has not made: it makes them no more.
    pub fn take_not_made(&self) -> Vec<Record> {
        std::mem::take(&mut self.0.lock().unfinished)
    }
}
