//! An open events or wait file: lines pulled from the tree into a bounded buffer, for reads that
//! wait, reads that must not, and poll. Knows no kernel; does not park (park.rs does).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use muxfs_tree::Lines;
use muxfs_tree::base::error::Result;

/// How much is buffered for a reader that does not read; then nothing more is pulled, and the tree decides
/// what becomes of a slow reader.
const BOUND: usize = 256 << 10;

/// Called once when a poll that found nothing should be asked again.
pub type Wakeup = Box<dyn FnOnce() + Send>;

pub struct Stream {
    shared: Arc<Shared>,
    pump: AbortHandle,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Notify,
    room: Notify,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Bytes>,
    len: usize,
    /// The line that came first, for whoever asks for a part of it again.
    first: Option<Bytes>,
    /// Bytes that ever came.
    total: u64,
    /// Nothing more comes: there is no more, or nobody here will know.
    end: Option<Result<()>>,
    wakeup: Option<Wakeup>,
}

/// What poll sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    pub readable: bool,
    pub end: bool,
    /// The end is an error, which the next read gives.
    pub failed: bool,
}

impl Stream {
    pub fn new(lines: Box<dyn Lines>, rt: &Handle) -> Self {
        let shared = Arc::new(Shared::default());
        let pump = rt.spawn(pump(lines, shared.clone())).abort_handle();
        Stream { shared, pump }
    }

    /// Bytes of the one line that is waited for, once it is there.
    pub fn length(&self) -> Option<u64> {
        let state = self.shared.state.lock();
        (state.total > 0 || state.end.is_some()).then_some(state.total)
    }

    /// Up to `len` bytes; empty at the end; `None` while there is nothing.
    pub fn try_read(&self, len: usize) -> Option<Result<Bytes>> {
        let mut state = self.shared.state.lock();
        if state.lines.is_empty() {
            return state.end.clone().map(|end| end.map(|()| Bytes::new()));
        }
        let bytes = take(&mut state.lines, len);
        state.len -= bytes.len();
        self.shared.room.notify_one();
        Some(Ok(bytes))
    }

    /// The first line, whether it was read or not; empty where none came; `None` while one may.
    pub fn try_first(&self) -> Option<Result<Bytes>> {
        let state = self.shared.state.lock();
        state.first.clone().map(Ok).or_else(|| state.end.clone().map(|end| end.map(|()| Bytes::new())))
    }

    pub async fn read(&self, len: usize) -> Result<Bytes> {
        self.wait(|| self.try_read(len)).await
    }

    pub async fn first(&self) -> Result<Bytes> {
        self.wait(|| self.try_first()).await
    }

    async fn wait(&self, look: impl Fn() -> Option<Result<Bytes>>) -> Result<Bytes> {
        loop {
            let more = self.shared.more.notified();
            tokio::pin!(more);
            more.as_mut().enable(); // before looking, so that nothing is missed in between
            if let Some(read) = look() {
                return read;
            }
            more.await;
        }
    }

    /// Keeps `wakeup` (the last one alone: it is the same file's) if there is nothing yet.
    pub fn poll(&self, wakeup: Option<Wakeup>) -> Ready {
        let mut state = self.shared.state.lock();
        let failed = matches!(state.end, Some(Err(_)));
        let ready = Ready { readable: !state.lines.is_empty(), end: state.end.is_some(), failed };
        if !ready.readable && !ready.end && wakeup.is_some() {
            state.wakeup = wakeup;
        }
        ready
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.pump.abort(); // drops the lines, which ends the wait
    }
}

fn take(lines: &mut VecDeque<Bytes>, len: usize) -> Bytes {
    // One line is the usual case, and it needs no copy.
    if let [line] = lines.make_contiguous()
        && line.len() <= len
    {
        return lines.pop_front().unwrap_or_default();
    }
    let mut out = BytesMut::new();
    while let Some(line) = lines.front_mut() {
        let part = line.split_to(line.len().min(len - out.len()));
        out.extend_from_slice(&part);
        if !line.is_empty() {
            break;
        }
        lines.pop_front();
    }
    out.freeze()
}

async fn pump(mut lines: Box<dyn Lines>, shared: Arc<Shared>) {
    loop {
        while shared.state.lock().len >= BOUND {
            shared.room.notified().await;
        }
        let line = lines.next().await;
        let done = !matches!(line, Ok(Some(_)));
        let wakeup = {
            let mut state = shared.state.lock();
            match line {
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => {
                    state.len += line.len();
                    state.total += line.len() as u64;
                    state.first.get_or_insert_with(|| line.clone());
                    state.lines.push_back(line);
                }
                Ok(None) => state.end = Some(Ok(())),
                Err(why) => state.end = Some(Err(why)),
            }
            state.wakeup.take()
        };
        shared.more.notify_waiters();
        if let Some(wakeup) = wakeup {
            wakeup();
        }
        if done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use muxfs_tree::base::error::{Kind, fail};
    use tokio::sync::mpsc;

    struct Channel(mpsc::Receiver<Bytes>);

    #[async_trait]
    impl Lines for Channel {
        async fn next(&mut self) -> Result<Option<Bytes>> {
            match self.0.recv().await {
                Some(line) if line == "cut" => fail(Kind::Unreachable, "the link is down"),
                line => Ok(line),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_in_order_and_end() {
        let (tx, rx) = mpsc::channel(8);
        let stream = Stream::new(Box::new(Channel(rx)), &Handle::current());
        assert!(stream.try_read(10).is_none());
        let (woken, wake) = tokio::sync::oneshot::channel();
        let ready = stream.poll(Some(Box::new(move || {
            let _ = woken.send(());
        })));
        assert!(!ready.readable && !ready.end);
        tx.send(Bytes::from_static(b"one\n")).await.unwrap();
        wake.await.unwrap();
        assert_eq!(stream.read(2).await.unwrap(), "on");
        tx.send(Bytes::from_static(b"two\n")).await.unwrap();
        drop(tx);
        let mut rest = BytesMut::new();
        loop {
            let part = stream.read(3).await.unwrap();
            if part.is_empty() {
                break;
            }
            rest.extend_from_slice(&part);
        }
        assert_eq!(rest, "e\ntwo\n");
        assert_eq!(stream.poll(None), Ready { readable: false, end: true, failed: false });
    }

    #[tokio::test]
    async fn a_source_that_fails_is_no_end() {
        let (tx, rx) = mpsc::channel(8);
        let stream = Stream::new(Box::new(Channel(rx)), &Handle::current());
        tx.send(Bytes::from_static(b"one\n")).await.unwrap();
        tx.send(Bytes::from_static(b"cut")).await.unwrap();
        assert_eq!(stream.read(10).await.unwrap(), "one\n", "what came before is read");
        for _ in 0..2 {
            assert_eq!(stream.read(10).await.unwrap_err().kind, Kind::Unreachable);
        }
        assert_eq!(stream.poll(None), Ready { readable: false, end: true, failed: true });
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_stops_the_source() {
        let (tx, rx) = mpsc::channel(1);
        let stream = Stream::new(Box::new(Channel(rx)), &Handle::current());
        let line = Bytes::from(vec![b'x'; 64 << 10]);
        let mut sent = 0;
        while tokio::time::timeout(std::time::Duration::from_millis(200), tx.send(line.clone())).await.is_ok()
        {
            sent += 1;
        }
        // Four fill the buffer; one or two more wait in the channel and the pump's hand.
        assert!((4..=6).contains(&sent), "{sent}");
        assert_eq!(stream.read(1 << 20).await.unwrap().len(), 256 << 10);
        tx.send(line).await.unwrap();
    }
}
