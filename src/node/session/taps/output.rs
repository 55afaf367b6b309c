//! The panes' bytes: one thread that drains every pipe into `raw` and the transcript, and sees
//! processes end.
//!
//! tmux has no flow control towards a pipe: what is not drained grows in the server. So nothing
//! here waits on anything but epoll, and a disk that refuses is a state of the log.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc::UnboundedSender;

use super::super::observation::observer::Observer;
use super::super::observation::shell_state::Mark;
use super::super::pane::Pane;
use crate::transcript::{self, Transcript};
use muxfs_tree::base::error::{Error, Result};

/// Read at once from one pipe; a socket pair holds about 200 KiB.
const CHUNK: usize = 256 << 10;
/// Reads from one pipe before the others get their turn.
const TURNS: usize = 4;
/// A read of so much is one of a flood: bytes gather for a moment before the next one. tmux writes
/// a few KiB at a time, and a wake-up for each takes a fifth of its own speed away where processors
/// are few.
const FLOOD: usize = 1 << 10;
/// How long they gather at most; below the least it is not worth a sleep.
const GATHER: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(3)];
/// More than this at once: the next pause is half as long. What does not fit into the pipe (some
/// 64 KiB in small pieces) would grow in the server.
const ENOUGH: usize = 24 << 10;
/// How often unfinished lines are looked at.
const TICK: Duration = Duration::from_millis(250);
/// The key of our own wake-up.
const WAKE: u64 = u64::MAX;

/// What the thread tells: of a pane, by its object.
pub enum Told {
    /// The pipe ended: the pane is gone, or somebody took it.
    PipeEnded(Arc<Pane>),
    /// The pane's process ended.
    Exited(Arc<Pane>),
}

enum Order {
    Pipe(Arc<Pane>, OwnedFd),
    Process(Arc<Pane>, OwnedFd),
    Forget(u64),
    End,
}

/// Handle to the thread; it ends when this is dropped.
pub struct Output {
    orders: Sender<Order>,
    wake: Arc<EventFd>,
}

impl Output {
    pub fn start(told: UnboundedSender<Told>, observer: Observer) -> Result<Self> {
        let io = |e: nix::Error| Error::io("epoll", e.into());
        let wake = Arc::new(EventFd::new().map_err(io)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE)).map_err(io)?;
        let (orders, queue) = crossbeam_channel::unbounded();
        let drain = Drain {
            epoll,
            orders: queue,
            wake: wake.clone(),
            told,
            observer,
            taps: HashMap::new(),
            unfinished: HashSet::new(),
            buffer: vec![0; CHUNK],
            next: 0,
        };
        std::thread::Builder::new()
            .name("muxfs-output".into())
            .spawn(move || drain.run())
            .map_err(|e| Error::io("thread", e))?;
        Ok(Output { orders, wake })
    }

    /// Drains `fd`, the pane's pipe.
    pub fn pipe(&self, pane: Arc<Pane>, fd: OwnedFd) {
        self.order(Order::Pipe(pane, fd));
    }

    /// Watches `fd`, a pidfd of the pane's process.
    pub fn process(&self, pane: Arc<Pane>, fd: OwnedFd) {
        self.order(Order::Process(pane, fd));
    }

    /// Closes our pipe of a pane (by its serial); tmux sees it go.
    pub fn forget(&self, serial: u64) {
        self.order(Order::Forget(serial));
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order); // fails only where the thread has ended
        let _ = self.wake.write(1); // fails only where the counter is at its end: awake anyway
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.order(Order::End);
    }
}

enum Source {
    Pipe { file: std::fs::File, transcript: Box<Transcript>, size: (u16, u16) },
    Process(OwnedFd),
}

struct Drain {
    epoll: Epoll,
    orders: Receiver<Order>,
    wake: Arc<EventFd>,
    told: UnboundedSender<Told>,
    observer: Observer,
    taps: HashMap<u64, (Arc<Pane>, Source)>,
    /// Pipes whose transcript has a line that is not finished.
    unfinished: HashSet<u64>,
    buffer: Vec<u8>,
    next: u64,
}

impl Drain {
    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut ticked = Instant::now();
        let mut gather = GATHER[1];
        loop {
            let timeout = if self.unfinished.is_empty() {
                EpollTimeout::NONE
            } else {
                EpollTimeout::from(TICK.as_millis() as u16)
            };
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(n) => n,
                Err(nix::Error::EINTR) => 0,
                Err(e) => {
                    tracing::error!("epoll: {e}");
                    return;
                }
            };
            let mut most = 0;
            for event in &events[..ready] {
                match event.data() {
                    WAKE => _ = self.wake.read(),
                    key => most = self.ready(key).max(most),
                }
            }
            if !self.take_orders() {
                return;
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            if most > ENOUGH {
                gather = (gather / 2).max(GATHER[0] / 2);
            } else if most < ENOUGH / 3 {
                gather = (gather * 2).min(GATHER[1]);
            }
            if most >= FLOOD && gather >= GATHER[0] {
                std::thread::sleep(gather);
            }
        }
    }

    /// False where it is to end.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Pipe(pane, fd) => {
                    let size = size_of(&pane);
                    let transcript = Box::new(Transcript::new(size.0, size.1));
                    let _ =
                        nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK));
                    self.add(pane, Source::Pipe { file: fd.into(), transcript, size });
                }
                Order::Process(pane, fd) => self.add(pane, Source::Process(fd)),
                Order::Forget(serial) => {
                    let is = |(pane, source): &(Arc<Pane>, Source)| {
                        pane.serial == serial && matches!(source, Source::Pipe { .. })
                    };
                    let keys: Vec<u64> = self.taps.iter().filter(|(_, t)| is(t)).map(|(k, _)| *k).collect();
                    for key in keys {
                        self.finish(key);
                    }
                }
                Order::End => return false,
            }
        }
        true
    }

    fn add(&mut self, pane: Arc<Pane>, source: Source) {
        let key = self.next;
        self.next += 1;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, key);
        let added = match &source {
            Source::Pipe { file, .. } => self.epoll.add(file.as_fd(), event),
            Source::Process(fd) => self.epoll.add(fd.as_fd(), event),
        };
        match added {
            Ok(()) => _ = self.taps.insert(key, (pane, source)),
            Err(e) => {
                tracing::error!("pane {}: epoll: {e}", pane.id);
                let _ = self.told.send(Told::PipeEnded(pane));
            }
        }
    }

    /// The bytes read.
    fn ready(&mut self, key: u64) -> usize {
        let Some((pane, source)) = self.taps.get_mut(&key) else { return 0 };
        match source {
            Source::Process(_) => {
                let _ = self.told.send(Told::Exited(pane.clone()));
                self.taps.remove(&key);
                0
            }
            Source::Pipe { file, transcript, size } => {
                let now = size_of(pane);
                if now != *size {
                    *size = now;
                    transcript.resize(now.0, now.1);
                }
                let (bytes, ended) = drain(pane, file, transcript, &mut self.buffer);
                if transcript.next_deadline().is_some() {
                    self.unfinished.insert(key);
                }
                if ended {
                    let pane = pane.clone();
                    self.finish(key); // first: its last line stands before what is said of the end
                    let _ = self.told.send(Told::PipeEnded(pane));
                } else {
                    // Not by way of the engine: that would be a wake-up for each read of a flood.
                    self.observer.poke(pane);
                }
                bytes
            }
        }
    }

    fn tick(&mut self) {
        let taps = &mut self.taps;
        self.unfinished.retain(|key| {
            let Some((pane, Source::Pipe { transcript, .. })) = taps.get_mut(key) else { return false };
            transcript.tick(Instant::now());
            write(pane, transcript);
            transcript.next_deadline().is_some()
        });
    }

    /// Closes a pipe; what its last line holds is written.
    fn finish(&mut self, key: u64) {
        self.unfinished.remove(&key);
        if let Some((pane, Source::Pipe { mut transcript, .. })) = self.taps.remove(&key) {
            transcript.finish();
            write(&pane, &mut transcript);
        }
    }
}

fn size_of(pane: &Pane) -> (u16, u16) {
    let side = |n: u32| n.clamp(1, u16::MAX.into()) as u16;
    pane.fact(|f| (side(f.width), side(f.height)))
}

/// Reads what is there, a few times: how much it was, and whether that was the end of the pipe.
fn drain(
    pane: &Pane,
    file: &mut std::fs::File,
    transcript: &mut Transcript,
    buffer: &mut [u8],
) -> (usize, bool) {
    let mut bytes = 0;
    for _ in 0..TURNS {
        match file.read(buffer) {
            Ok(0) => return (bytes, true),
            Ok(n) => {
                bytes += n;
                pane.set_printed();
                pane.raw.append(&buffer[..n], SystemTime::now());
                let now = Instant::now();
                transcript.feed(&buffer[..n], now);
                pane.judge(|j| j.output(now));
                write(pane, transcript);
                if n < buffer.len() / 2 {
                    return (bytes, false); // most likely all there was
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return (bytes, false),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                tracing::warn!("pane {}: pipe: {e}", pane.id);
                return (bytes, true);
            }
        }
    }
    (bytes, false)
}

fn write(pane: &Pane, transcript: &mut Transcript) {
    let lines = transcript.take();
    if !lines.is_empty() {
        pane.logs.append(lines.as_ref(), SystemTime::now());
    }
    for mark in transcript.marks() {
        let (mark, osc133) = match mark {
            transcript::Mark::BracketedPaste(false) => (Mark::CommandStarts, false),
            transcript::Mark::Output => (Mark::CommandStarts, true),
            transcript::Mark::Command => (Mark::PromptEnds, true),
            transcript::Mark::FullScreen(on) => {
                pane.set_full_screen(on);
                continue;
            }
            transcript::Mark::State(text) => {
                pane.program_status(&text);
                continue;
            }
            _ => continue,
        };
        pane.judge(|j| j.mark(mark, osc133));
    }
}
