//! A fake agent CLI: it behaves on a terminal as the real ones do, so that tests need none of them.
//!
//! Knows the terminal, signals and the loop over them; `agent` decides, `paint` draws. Must not
//! know muxfs: it is a program like any other to it.

mod agent;
mod ambush;
mod dialog;
mod draft;
mod hooks;
mod keys;
mod llm;
mod options;
mod paint;
mod prompt;
mod record;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use agent::{Agent, End};
use keys::Decoder;
use options::Options;
use paint::Painter;

/// Whoever is left over although nobody sees it any more ends by itself.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// While input comes in, a picture is painted this often at most.
const FRAME: Duration = Duration::from_millis(30);

fn main() -> ExitCode {
    let options = Options::parse();
    if options.child {
        return child();
    }
    if let Some(code) = options.exit_at_start {
        eprintln!("fake-agent: cannot start");
        return ExitCode::from(code);
    }
    match run(options) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("fake-agent: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What `--stubborn` leaves behind unless it is looked for: a process of its own session that no
/// hang-up reaches.
fn child() -> ExitCode {
    let _ = nix::unistd::setsid();
    if SigSet::from(Signal::SIGHUP).thread_block().is_err() {
        return ExitCode::FAILURE;
    }
    std::thread::park_timeout(FORGOTTEN);
    ExitCode::SUCCESS
}

/// The terminal in raw mode, and back.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).map_err(|_| io::Error::other("standard input is no terminal"))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

fn signals(options: &Options) -> io::Result<SignalFd> {
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGWINCH] {
        wanted.add(signal);
    }
    if options.stubborn {
        let child = Command::new(std::env::current_exe()?)
            .arg("--child")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        drop(child); // it ends on its own terms
    }
    wanted.thread_block()?; // after the child, which would inherit it
    Ok(SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn run(options: Options) -> io::Result<u8> {
    let raw = Raw::enter()?;
    let signals = signals(&options)?;
    let mut painter = Painter::new(options.alt);
    let mut agent = Agent::new(options, Instant::now())?;
    let end = watch(&mut agent, &mut painter, &signals)?;
    agent.leave(&end);
    painter.leave(&end);
    drop(raw);
    match end {
        End::Code(code) => Ok(code),
        End::Crash => {
            let _ = nix::sys::signal::raise(Signal::SIGKILL);
            Ok(1)
        }
    }
}

/// Until the agent ends: what comes in goes to it, and what it shows is painted.
fn watch(agent: &mut Agent, painter: &mut Painter, signals: &SignalFd) -> io::Result<End> {
    let stdin = io::stdin();
    let mut decoder = Decoder::default();
    let mut terminal = true;
    let mut painted = None::<Instant>;
    let mut more = false;
    loop {
        let now = Instant::now();
        agent.tick(now);
        if let Some(end) = agent.end.take() {
            return Ok(end);
        }
        let soon = painted.is_some_and(|at| now - at < FRAME);
        if terminal && agent.changed && !(more && soon) {
            terminal = painter.paint(agent, now).is_ok();
            painted = Some(now);
            agent.changed = false;
        }
        let reads = agent.reads();
        let limit = if agent.changed || !reads { Some(FRAME) } else { None };
        let limits = [limit, agent.next(now), decoder.next(now), (!terminal).then_some(FORGOTTEN)];
        let limit = limits.into_iter().flatten().min();
        let answered = agent.answered();
        let ready = wait((terminal && reads).then(|| stdin.as_fd()), signals.as_fd(), answered, limit)?;
        let now = Instant::now();
        more = ready.input;
        if ready.signal {
            while let Ok(Some(signal)) = signals.read_signal() {
                if let Some(end) = signalled(agent, painter, signal.ssi_signo) {
                    return Ok(end);
                }
            }
        }
        if ready.input && agent.reads() {
            let mut bytes = [0; 1 << 16];
            match nix::unistd::read(&stdin, &mut bytes) {
                Ok(n) if n > 0 => {
                    agent.received(&bytes[..n]);
                    decoder.feed(&bytes[..n], now);
                }
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
                _ => terminal = false, // it is gone; the signal says what to do
            }
        }
        while let Some(key) = decoder.key(now) {
            agent.key(key, now);
        }
        if !terminal && ready.nothing && limit == Some(FORGOTTEN) {
            return Ok(End::Code(1));
        }
    }
}

fn signalled(agent: &mut Agent, painter: &mut Painter, number: u32) -> Option<End> {
    let is = |signal: Signal| number == signal as u32;
    if is(Signal::SIGWINCH) {
        painter.resized();
        agent.changed = true;
    }
    let ends =
        (is(Signal::SIGHUP) && !agent.options.stubborn) || (is(Signal::SIGTERM) && !agent.options.deaf);
    ends.then(|| End::Code(if is(Signal::SIGHUP) { 129 } else { 143 }))
}

struct Ready {
    input: bool,
    signal: bool,
    nothing: bool,
}

fn wait(
    input: Option<BorrowedFd>,
    signals: BorrowedFd,
    answered: Option<BorrowedFd>,
    limit: Option<Duration>,
) -> io::Result<Ready> {
    let all = [Some(signals), input, answered];
    let mut fds: Vec<PollFd> = all.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let limit = match limit {
        // Rounded up, so that the moment has come when it returns.
        Some(limit) => PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    let n = match poll(&mut fds, limit) {
        Err(nix::errno::Errno::EINTR) => 0,
        n => n?,
    };
    let any = |i: usize| fds.get(i).and_then(PollFd::any) == Some(true);
    Ok(Ready { signal: any(0), input: input.is_some() && any(1), nothing: n == 0 })
}
