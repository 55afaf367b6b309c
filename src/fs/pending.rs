//! Bytes that were written and are not delivered yet: of a message until it ends, of a command
//! line until its newline. Offsets mean nothing here. docs/tree.md, "Delivery".

use bytes::Bytes;

use super::budget::Share;
use super::gesture::{Asker, Close, Writers};
use super::handle::{Door, End, Handle, tid, verdict};
use muxfs_tree::base::error::{Error, Kind, Result};
use muxfs_tree::{Caller, MAX_MESSAGE, Until};

pub struct Pending {
    text: Vec<u8>,
    /// Of the memory for unfinished messages.
    share: Share,
    /// Bytes of `text` that are known to be UTF-8; what follows is less than one character.
    valid: usize,
    wrote: bool,
    /// Part of the message was refused, so the rest is not delivered either.
    spoilt: Option<Error>,
    writers: Writers,
}

/// A message that is complete. Its memory counts as the writer's until it is delivered.
pub struct Message {
    pub text: Bytes,
    _share: Share,
}

impl Pending {
    /// Of a file that `who` opened.
    pub fn new(door: &Door, who: &Caller) -> Self {
        let (share, writers) = (door.unfinished.share(who.uid()), Writers::new(tid(who)));
        Pending { text: Vec::new(), share, valid: 0, wrote: false, spoilt: None, writers }
    }

    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// Takes a part of a message that the tree would admit now.
    pub fn collect(&mut self, door: &Door, handle: &Handle, by: Asker, data: &[u8]) -> Result<()> {
        if self.spoilt.is_none()
            && let Err(why) = handle.admit(door)
        {
            return Err(self.spoil(door, handle, by, why));
        }
        self.push(door, handle, by, data)
    }

    /// Appends a chunk; the total is limited to the size of a message.
    pub fn push(&mut self, door: &Door, handle: &Handle, by: Asker, data: &[u8]) -> Result<()> {
        self.wrote = true;
        self.writers.wrote(by);
        if let Some(why) = &self.spoilt {
            return Err(why.clone());
        }
        if self.text.len() + data.len() > MAX_MESSAGE {
            let why = Error::new(Kind::TooLarge, format!("more than {MAX_MESSAGE} bytes; nothing is used"));
            return Err(self.spoil(door, handle, by, why));
        }
        if let Err(why) = self.share.resize(self.text.len() + data.len()) {
            return Err(self.spoil(door, handle, by, why));
        }
        self.text.extend_from_slice(data);
        self.check(door, handle, by)
    }

    /// What can become no text any more is refused here and not at the close, whose errors a
    /// shell's builtins do not report. A character may still be divided between two writes.
    fn check(&mut self, door: &Door, handle: &Handle, by: Asker) -> Result<()> {
        match std::str::from_utf8(&self.text[self.valid..]) {
            Ok(_) => self.valid = self.text.len(),
            Err(e) => {
                self.valid += e.valid_up_to();
                if e.error_len().is_some() {
                    let why = format!("not UTF-8 at byte {}; nothing is used", self.valid);
                    return Err(self.spoil(door, handle, by, Error::new(Kind::NotUtf8, why)));
                }
            }
        }
        Ok(())
    }

    fn spoil(&mut self, door: &Door, handle: &Handle, by: Asker, why: Error) -> Error {
        self.wrote = true;
        self.writers.wrote(by);
        self.text = Vec::new();
        drop(self.share.take());
        self.valid = 0;
        handle.refused(door, &why);
        self.spoilt = Some(why.clone());
        why
    }

    /// Each complete line is a command of its own; the rest waits for its newline or the close.
    pub async fn lines(&mut self, door: &Door, handle: &Handle, by: Asker, data: &[u8]) -> Result<usize> {
        if let Err(why) = handle.admit(door) {
            self.reset();
            handle.refused(door, &why);
            return Err(why);
        }
        let mut done = 0;
        while let Some(end) = data[done..].iter().position(|b| *b == b'\n') {
            let line = &data[done..done + end];
            // A line that is too long stays so until the close: its tail is no command.
            let judged = match self.push(door, handle, by, line) {
                Ok(()) => self.command(door, handle).await.inspect_err(|_| drop(self.reset())),
                Err(why) => Err(why),
            };
            if let Err(why) = judged {
                return if done > 0 { Ok(done) } else { Err(why) };
            }
            done += end + 1;
        }
        if done < data.len()
            && let Err(why) = self.push(door, handle, by, &data[done..])
        {
            return if done > 0 { Ok(done) } else { Err(why) };
        }
        Ok(data.len())
    }

    async fn command(&mut self, door: &Door, handle: &Handle) -> Result<()> {
        let line = self.reset();
        if line.text.trim_ascii().is_empty() {
            return Ok(());
        }
        handle.write_until(door, line.text.clone(), Until::Accepted).await
    }

    /// What to deliver at this end, if it is one. Taken out first, so nothing is delivered twice,
    /// whatever becomes of it.
    pub fn end(&mut self, door: &Door, handle: &Handle, end: End) -> Result<Option<Message>> {
        if !self.wrote {
            return Ok(None);
        }
        match verdict(&mut self.writers, door, end) {
            Close::Nothing => Ok(None),
            Close::Killed(signal) => {
                // Of a command line, what was complete is done.
                if !self.text.is_empty() || self.spoilt.is_some() {
                    handle.killed(door, signal);
                }
                self.reset();
                Ok(None)
            }
            Close::Done => {
                let spoilt = self.spoilt.clone();
                let message = self.reset();
                spoilt.map_or(Ok(Some(message)), Err)
            }
        }
    }

    fn reset(&mut self) -> Message {
        self.wrote = false;
        self.valid = 0;
        self.spoilt = None;
        self.writers.again();
        Message { text: std::mem::take(&mut self.text).into(), _share: self.share.take() }
    }
}
