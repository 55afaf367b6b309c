//! A document that is open for writing: a copy of its text that becomes the document as a whole.
//! Editors write in place, so offsets and truncation mean what they say here.

use bytes::Bytes;

use super::budget::Share;
use super::gesture::{Asker, Close, Writers};
use super::handle::{Door, End, Handle, gone, tid, verdict};
use super::scratch::{fits, resize, slice, write_at};
use muxfs_tree::base::error::{Error, Result};
use muxfs_tree::{Caller, Gesture, Place, Until};

pub struct Draft {
    text: Vec<u8>,
    /// Of the memory for unfinished messages.
    share: Share,
    /// Written or cut since the last save.
    changed: bool,
    /// Opened empty and never written: a shell closes a copy of the file before it writes, and
    /// an empty document must not come into force in between.
    emptied: bool,
    /// A part was refused, so the rest is not saved either. Truncating to 0 starts anew.
    spoilt: Option<Error>,
    /// The last fsync was refused.
    unheard: Option<Error>,
    writers: Writers,
}

impl Draft {
    /// Opened by `who` with `text` in it.
    pub fn of(door: &Door, who: &Caller, text: Bytes) -> Result<Self> {
        let mut draft = Draft { emptied: false, ..Draft::empty(door, who) };
        draft.share.resize(text.len())?;
        draft.text = text.into();
        Ok(draft)
    }

    pub fn empty(door: &Door, who: &Caller) -> Self {
        let (share, writers) = (door.unfinished.share(who.uid()), Writers::new(tid(who)));
        let text = Vec::new();
        Draft { text, share, changed: false, emptied: true, spoilt: None, unheard: None, writers }
    }

    pub fn unsaved(&self) -> bool {
        self.changed || self.emptied
    }

    pub fn read(&self, offset: u64, len: usize) -> Bytes {
        Bytes::copy_from_slice(slice(&self.text, offset, len))
    }

    pub fn write(
        &mut self,
        door: &Door,
        handle: &Handle,
        by: Asker,
        at: Option<u64>,
        data: &[u8],
    ) -> Result<()> {
        handle.admit(door).inspect_err(|e| handle.refused(door, e))?;
        self.writers.wrote(by);
        self.changed = true;
        if let Some(why) = &self.spoilt {
            return Err(why.clone());
        }
        let end = at.unwrap_or(self.text.len() as u64).saturating_add(data.len() as u64);
        let room = fits(end).and_then(|end| self.share.resize(end.max(self.text.len())));
        room.and_then(|()| write_at(&mut self.text, at, data)).inspect_err(|e| {
            handle.refused(door, e);
            self.spoilt = Some(e.clone());
        })
    }

    pub fn resize(&mut self, size: u64) -> Result<()> {
        self.share.resize(fits(size)?)?;
        resize(&mut self.text, size)?;
        self.changed = true;
        if size == 0 {
            self.spoilt = None;
        }
        Ok(())
    }

    pub async fn end(&mut self, door: &Door, handle: &Handle, end: End) -> Result<()> {
        if !self.unsaved() {
            return self.say_again(door, end);
        }
        match verdict(&mut self.writers, door, end) {
            Close::Nothing => return Ok(()),
            Close::Killed(signal) => {
                // The first notice of the death tells it; the handle's last close finds nothing.
                handle.killed(door, signal);
                (self.changed, self.emptied) = (false, false);
                return Ok(());
            }
            Close::Done if matches!(end, End::Flush(..)) && !self.changed => return Ok(()),
            Close::Done => {}
        }
        (self.changed, self.emptied) = (false, false);
        self.writers.again();
        let saved = match self.spoilt.take() {
            Some(why) => Err(why),
            None => self.save(door, handle).await,
        };
        self.unheard = saved.as_ref().err().filter(|_| matches!(end, End::Fsync(_))).cloned();
        saved
    }

    /// Emacs takes EINVAL of an fsync for "cannot be synced" and goes on, so the close reports it again.
    fn say_again(&mut self, door: &Door, end: End) -> Result<()> {
        match (&self.unheard, end) {
            (Some(why), End::Flush(..)) if verdict(&mut self.writers, door, end) == Close::Done => {
                Err(why.clone())
            }
            _ => Ok(()),
        }
    }

    /// The text in force saved again is the tree's to see: it takes an earlier refusal back.
    async fn save(&self, door: &Door, handle: &Handle) -> Result<()> {
        let (path, id) = handle.inode.place().inspect_err(|e| handle.refused(door, e))?;
        let text = Bytes::copy_from_slice(&self.text);
        let (gesture, _canceller) = Gesture::cancellable(&handle.who);
        let saved = door.tree.write(&gesture, Place::new(&path, id), text, Until::Accepted).await;
        saved.map(drop).map_err(gone)
    }
}
