//! An open `ask`: what a handle wrote is a question, what it reads is the answer. A new question
//! starts a new exchange; file offsets mean nothing.
//!
//! Lock order: the exchange's state alone; it is not held while an answer is waited for.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::gesture::Asker;
use super::handle::{Door, End, Handle, gone, part};
use super::pending::{Message, Pending};
use super::stream::{Ready, Wakeup};
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::{Caller, Gesture, Place};

type Answer = watch::Receiver<Option<Result<Bytes>>>;

pub struct Exchange {
    state: Mutex<State>,
}

struct State {
    question: Pending,
    answer: Option<Answer>,
    /// Where the next read of the answer begins.
    cursor: usize,
    wakeup: Arc<Mutex<Option<Wakeup>>>,
}

impl Exchange {
    pub fn new(door: &Door, who: &Caller) -> Arc<Self> {
        let question = Pending::new(door, who);
        Arc::new(Exchange {
            state: Mutex::new(State { question, answer: None, cursor: 0, wakeup: Arc::default() }),
        })
    }

    pub async fn write(&self, door: &Door, handle: &Handle, by: Asker, data: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        if !data.is_empty() {
            state.answer = None;
            state.cursor = 0;
        }
        state.question.collect(door, handle, by, data)
    }

    pub async fn end(&self, door: &Door, handle: &Handle, end: End) -> Result<()> {
        let mut state = self.state.lock();
        match state.question.end(door, handle, end)? {
            Some(question) if !question.text.is_empty() => state.begin(door, handle, question),
            _ => Ok(()),
        }
    }

    pub async fn read(
        &self,
        door: &Door,
        handle: &Handle,
        by: Asker,
        len: usize,
        block: bool,
    ) -> Result<Bytes> {
        let mut answer = {
            let mut state = self.state.lock();
            state.ended_by_read(door, handle)?;
            match &state.answer {
                Some(answer) => answer.clone(),
                None => return fail(Kind::Invalid, "nothing was asked"),
            }
        };
        if answer.borrow().is_none() {
            if !block {
                return fail(Kind::Full, "no answer yet");
            }
            // An error means that the asking task ended without an answer: the runtime stops.
            let waited = door.parking.park(by.tid, answer.wait_for(Option::is_some)).await?;
            if waited.is_err() {
                return fail(Kind::Gone, "the question was dropped");
            }
        }
        let text = answer.borrow().clone().unwrap_or_else(|| fail(Kind::Gone, "the question was dropped"))?;
        let mut state = self.state.lock();
        let bytes = part(&text, state.cursor as u64, len);
        state.cursor += bytes.len();
        Ok(bytes)
    }

    /// Asks as a read would, and says whether a read would wait.
    pub fn poll(&self, door: &Door, handle: &Handle, wakeup: Option<Wakeup>) -> Ready {
        let mut state = self.state.lock();
        let begun = state.ended_by_read(door, handle).is_ok();
        let waits = begun && state.answer.as_ref().is_some_and(|a| a.borrow().is_none());
        if waits && wakeup.is_some() {
            *state.wakeup.lock() = wakeup;
            // It may have been answered between the two looks.
            if state.answer.as_ref().is_some_and(|a| a.borrow().is_some()) {
                return Ready { readable: true, end: false, failed: false };
            }
        }
        Ready { readable: !waits, end: false, failed: false }
    }
}

impl State {
    /// The first read ends a question that nobody closed.
    fn ended_by_read(&mut self, door: &Door, handle: &Handle) -> Result<()> {
        match self.question.end(door, handle, End::Sync)? {
            Some(question) if !question.text.is_empty() => self.begin(door, handle, question),
            _ => Ok(()),
        }
    }

    /// The asking goes on by itself: a handle closed early leaves its prompt with the tree.
    fn begin(&mut self, door: &Door, handle: &Handle, question: Message) -> Result<()> {
        let (path, id) = handle.inode.place().inspect_err(|e| handle.refused(door, e))?;
        let (tx, rx) = watch::channel(None);
        self.answer = Some(rx);
        self.cursor = 0;
        let (tree, who, wakeup) = (door.tree.clone(), handle.who.clone(), self.wakeup.clone());
        door.rt.spawn(async move {
            let asked = tree.ask(&Gesture::of(&who), Place::new(&path, id), question.text.clone()).await;
            let answer = asked.map(|(answer, _)| answer).map_err(gone);
            let _ = tx.send_replace(Some(answer));
            let wakeup = wakeup.lock().take();
            if let Some(wakeup) = wakeup {
                wakeup();
            }
        });
        Ok(())
    }
}
