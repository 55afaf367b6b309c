//! A session's `events` from now on, as JSON objects, read without waiting.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use serde_json::Value;

use super::tree::Session;

pub struct Events {
    file: File,
    /// The beginning of a line whose end has not come.
    part: Vec<u8>,
    over: bool,
}

impl Events {
    /// From this call on. Without them a command does what it does, and knows less of it.
    pub fn open(session: &Session) -> Option<Self> {
        let mut options = File::options();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(session.path("events")).ok()?;
        Some(Events { file, part: Vec::new(), over: false })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether the session ended: nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What came since the last call.
    pub fn take(&mut self) -> Vec<Value> {
        let (mut all, mut chunk) = (Vec::new(), [0; 64 << 10]);
        while let Ok(read) = self.file.read(&mut chunk) {
            if read == 0 {
                self.over = true;
                break;
            }
            self.part.extend_from_slice(&chunk[..read]);
            while let Some(end) = self.part.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.part.drain(..=end).collect();
                all.extend(serde_json::from_slice::<Value>(&line));
            }
        }
        all
    }
}
