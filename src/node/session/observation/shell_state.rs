//! Exact states of interactive shells, from the process table and the terminal's modes.
//!
//! docs/tree.md, "States": a shell is ready while it is the foreground of its terminal and its line
//! editor is on (ICANON off: loops, `read`, `wait` and sourced files have it on). [`look`] reads,
//! [`Judge`] decides; the judge is pure, its clock an argument.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::super::state::{Evidence, State};
use muxfs_tree::base::offload::Offload;

/// A shell must look ready this long before it is: between a command's end and the next line
/// that was typed ahead, the prompt is there for a moment.
const SETTLE: Duration = Duration::from_millis(25);
/// Quiet that stands for "the message did its work" where nothing busy was seen, and for ready
/// in shells without a line editor.
const QUIET: Duration = Duration::from_millis(500);
/// A line editor shows what is typed; until it does, the text may not have arrived. Longer than this
/// it is waited for only where some keys show nothing.
const ECHO: Duration = Duration::from_secs(3);
/// Quiet after which `wait` returns for programs that are no shells.
pub const QUIET_PROGRAM: Duration = Duration::from_secs(2);

/// What one look at a pane's process found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The process is gone, or not to be read.
    Gone,
    /// No interactive shell that we know.
    Other,
    Shell(ShellLook),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellLook {
    /// Its process group is the terminal's foreground.
    pub foreground: bool,
    /// The terminal is out of canonical mode.
    pub raw: bool,
    /// This shell has a line editor at all.
    pub editor: bool,
    /// Bytes typed that nobody has read yet.
    pub unread: bool,
    /// It waits for something, and does not merely wait for a processor.
    pub asleep: bool,
    /// Asleep, with no child in its own process group.
    pub idle: bool,
}

/// Shells with a line editor, and those without. `sh` is whatever its file is a link to.
const EDITING: &[&str] = &["bash", "zsh", "fish", "ksh", "ksh93", "mksh", "tcsh", "yash", "busybox"];
const PLAIN: &[&str] = &["dash", "ash", "posh", "csh"];

/// Questions to panes' processes, which may be kept from answering (offload.rs): one that runs
/// execve(2) while it closes a file of ours waits for us, and whoever looks at it waits for it.
pub static PROCESSES: Offload = Offload::new("muxfs-panes", 16);
/// How long such a question may take: it is asked on threads that have other work.
pub const ASKED: Duration = Duration::from_millis(250);

/// Looks at process `pid` on terminal `tty`. A few system calls, no program run. None where the
/// process does not answer in time.
pub fn look(pid: i32, tty: &str) -> Option<Look> {
    let tty = tty.to_owned();
    PROCESSES.ask_blocking(pid.cast_unsigned(), ASKED, move || look_now(pid, &tty))
}

fn look_now(pid: i32, tty: &str) -> Look {
    let Some(stat) = Stat::read(pid) else { return Look::Gone };
    let Some(editor) = interactive_shell(pid) else { return Look::Other };
    let (raw, unread) = terminal(tty).unwrap_or((false, false));
    let foreground = stat.group == stat.foreground;
    let asleep = stat.asleep;
    let idle = asleep && foreground && !child_in_group(pid, stat.group);
    Look::Shell(ShellLook { foreground, raw, editor, unread, asleep, idle })
}

/// Whether process `pid` has ended, and its parent has not asked how.
pub fn is_zombie(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:\tZ"))
}

/// Whether the terminal keeps whole lines for its reader (ICANON), where it can be read.
pub fn canonical(tty: &str) -> Option<bool> {
    terminal(tty).map(|(raw, _)| !raw)
}

/// Opening a terminal's slave side for a moment: its modes, and whether input waits unread.
fn terminal(tty: &str) -> Option<(bool, bool)> {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use std::os::unix::fs::OpenOptionsExt;
    if !tty.starts_with("/dev/") {
        return None;
    }
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(tty).ok()?;
    let modes = tcgetattr(file.as_fd()).ok()?;
    let unread = rustix::io::ioctl_fionread(&file).unwrap_or(0) > 0;
    Some((!modes.local_flags.contains(LocalFlags::ICANON), unread))
}

/// `Some(has a line editor)` where the process is a known shell started without `-c` or a script.
fn interactive_shell(pid: i32) -> Option<bool> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy);
    let zero = words.next()?;
    let mut name = zero.trim_start_matches('-').rsplit('/').next().unwrap_or("").to_owned();
    if name == "sh" {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        name = exe.file_name()?.to_string_lossy().into_owned();
    }
    let editor = EDITING.contains(&name.as_str());
    if !editor && !PLAIN.contains(&name.as_str()) {
        return None;
    }
    let mut editing = editor;
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match &*word {
            "--noediting" => editing = false,
            "--rcfile" | "--init-file" | "-o" | "+o" | "-O" | "+O" => _ = words.next(),
            "-s" | "-" | "--" => {}
            w if w.starts_with("--") || w.starts_with('+') => {}
            w if w.starts_with('-') && !w.contains('c') => {}
            _ => return None, // -c, or a script
        }
    }
    Some(editing)
}

/// The fields of `/proc/PID/stat` that are needed; proc(5).
struct Stat {
    asleep: bool,
    group: i32,
    foreground: i32,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name stands in parentheses and may hold anything.
        let rest = &text[text.rfind(')')? + 1..];
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let foreground = fields.nth(2)?.parse().ok()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        Some(Stat { asleep: state == "S", group, foreground })
    }
}

fn child_in_group(pid: i32, group: i32) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut children = children.split_ascii_whitespace().filter_map(|c| c.parse().ok());
    children.any(|c| Stat::read(c).is_some_and(|s| s.group == group))
}

/// What a pane's stream and its messages told since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The line editor gave its line away (bracketed paste off), or OSC 133 C.
    CommandStarts,
    /// OSC 133 B: the prompt is printed, the shell reads.
    PromptEnds,
}

/// Decides a pane's state from looks, marks, output and messages.
#[derive(Debug, Clone)]
pub struct Judge {
    last_output: Instant,
    last_input: Option<Instant>,
    /// Whether output was ever heard of, and whether any came since the last message.
    hears: bool,
    echoed: bool,
    /// Busy was seen since the last message (true when there was none).
    worked: bool,
    /// Since when every look was a ready one.
    ready_since: Option<Instant>,
    /// The shell sends OSC 133, and said this last.
    marked: Option<Mark>,
    state: State,
    /// It is known to be past its start.
    started: bool,
}

/// What to publish, and when to look again (`None`: when something happens).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    pub evidence: Evidence,
    pub fresh: bool,
    pub again: Option<Duration>,
}

impl Judge {
    pub fn new(now: Instant) -> Self {
        Judge {
            last_output: now,
            last_input: None,
            hears: false,
            echoed: true,
            worked: true,
            ready_since: None,
            marked: None,
            state: State::Starting,
            started: false,
        }
    }

    /// Its shell is past its start: this pane was served by an earlier daemon.
    pub fn known_before(&mut self) {
        self.started = true;
    }

    pub fn output(&mut self, now: Instant) {
        self.last_output = now;
        self.hears = true;
        self.echoed = true;
    }

    /// A message or key went in.
    pub fn input(&mut self, now: Instant) {
        self.last_input = Some(now);
        self.echoed = false;
        self.worked = false;
        self.ready_since = None;
    }

    /// What went in took until now.
    pub fn input_lasted(&mut self, now: Instant) {
        self.last_input = Some(now);
        self.worked = false;
        self.ready_since = None;
    }

    pub fn mark(&mut self, mark: Mark, osc133: bool) {
        if mark == Mark::CommandStarts {
            self.worked = true;
            self.ready_since = None;
        }
        if osc133 {
            self.marked = Some(mark);
        }
    }

    /// Time without output or input.
    pub fn quiet(&self, now: Instant) -> Duration {
        let last = self.last_input.map_or(self.last_output, |i| i.max(self.last_output));
        now.saturating_duration_since(last)
    }

    pub fn decide(&mut self, look: Look, now: Instant) -> Verdict {
        let quiet = self.quiet(now);
        let (state, evidence, again) = match look {
            Look::Gone => (self.state, Evidence::Process, None), // tmux will say how it ended
            Look::Other => {
                let left = QUIET_PROGRAM.checked_sub(quiet).filter(|d| !d.is_zero());
                self.worked = left.is_none();
                (State::Unknown, Evidence::Process, left)
            }
            Look::Shell(shell) => self.shell(shell, quiet, now),
        };
        self.state = state;
        Verdict { state, evidence, fresh: self.worked && (look != Look::Gone), again }
    }

    fn shell(
        &mut self,
        look: ShellLook,
        quiet: Duration,
        now: Instant,
    ) -> (State, Evidence, Option<Duration>) {
        // It looked like no shell before its execve(2), or another program ran in its place: while it
        // settles, that is not what it is.
        if self.state == State::Unknown {
            self.state = State::Busy;
        }
        let marked_busy = self.marked == Some(Mark::CommandStarts);
        let ready = if look.editor {
            look.foreground && look.raw && !look.unread && !marked_busy
        } else {
            look.foreground && look.idle && !look.unread
        };
        // On a busy machine it may have read a line long ago, and not have begun with it.
        if ready && look.editor && !self.worked && !look.asleep {
            self.ready_since = None;
            return (self.state, Evidence::Process, Some(SETTLE));
        }
        let evidence = match (look.editor, self.marked) {
            (false, _) => Evidence::Quiet,
            (true, Some(_)) => Evidence::Marks,
            (true, None) => Evidence::Process,
        };
        if !ready {
            self.ready_since = None;
            // A shell that still starts has typed nothing away and run no message.
            let starting = self.state == State::Starting
                && !self.started
                && self.last_input.is_none()
                && look.foreground;
            self.worked |= !look.foreground || (look.editor && !look.raw) || marked_busy;
            return if starting {
                (State::Starting, Evidence::Process, Some(Duration::from_millis(50)))
            } else {
                (State::Busy, Evidence::Process, Some(Duration::from_secs(1)))
            };
        }
        let since = *self.ready_since.get_or_insert(now);
        let settled = now.saturating_duration_since(since);
        let need = if look.editor && self.worked {
            SETTLE.saturating_sub(settled)
        } else if look.editor && self.hears && !self.echoed {
            ECHO.saturating_sub(quiet)
        } else {
            QUIET.saturating_sub(quiet)
        };
        if self.state == State::Ready && self.worked || need.is_zero() {
            self.worked = true;
            return (State::Ready, evidence, None);
        }
        (self.state, Evidence::Process, Some(need))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(foreground: bool, raw: bool) -> Look {
        Look::Shell(ShellLook { foreground, raw, editor: true, unread: false, asleep: true, idle: false })
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_shell_that_settles_is_not_what_ran_before_it() {
        let t = Instant::now();
        let mut j = Judge::new(t);
        assert_eq!(j.decide(Look::Other, t).state, State::Unknown);
        j.mark(Mark::CommandStarts, false);
        let settling = j.decide(shell(true, true), t + ms(10));
        assert_eq!(settling.state, State::Busy, "wait would tell a fresh one");
        assert_eq!(j.decide(shell(true, true), t + ms(40)).state, State::Ready);
    }

    #[test]
    fn a_shell_that_was_served_before_is_busy_and_not_starting() {
        let t = Instant::now();
        let mut j = Judge::new(t);
        j.known_before();
        assert_eq!(j.decide(shell(true, false), t).state, State::Busy);
        assert_ne!(j.decide(shell(true, true), t).state, State::Unknown, "a shell's state is always known");
    }

    #[test]
    fn a_shell_starts_then_is_ready_when_its_editor_stays_on() {
        let t = Instant::now();
        let mut j = Judge::new(t);
        assert_eq!(j.decide(shell(true, false), t).state, State::Starting);
        let v = j.decide(shell(true, true), t + ms(10));
        assert_eq!((v.state, v.again), (State::Starting, Some(SETTLE)));
        assert_eq!(j.decide(shell(true, true), t + ms(40)).state, State::Ready);
    }

    fn ready(t: Instant) -> Judge {
        let mut j = Judge::new(t);
        j.decide(shell(true, true), t);
        assert_eq!(j.decide(shell(true, true), t + ms(30)).state, State::Ready);
        j
    }

    #[test]
    fn after_a_message_the_state_from_before_is_not_fresh() {
        let t = Instant::now();
        let mut j = ready(t);
        j.input(t + ms(100));
        let v = j.decide(shell(true, true), t + ms(101));
        assert!(!v.fresh, "the shell has not read the message yet");
        let v = j.decide(shell(false, false), t + ms(120));
        assert_eq!((v.state, v.fresh), (State::Busy, true));
        j.decide(shell(true, true), t + ms(900));
        let v = j.decide(shell(true, true), t + ms(930));
        assert_eq!((v.state, v.fresh), (State::Ready, true));
    }

    #[test]
    fn a_command_too_quick_to_see_counts_by_its_mark_or_by_quiet() {
        let t = Instant::now();
        let mut j = ready(t);
        j.input(t + ms(100));
        j.mark(Mark::CommandStarts, false);
        j.decide(shell(true, true), t + ms(105));
        assert!(j.decide(shell(true, true), t + ms(135)).fresh);

        let mut j = ready(t);
        j.input(t + ms(100));
        j.output(t + ms(110));
        assert!(!j.decide(shell(true, true), t + ms(400)).fresh);
        assert!(j.decide(shell(true, true), t + ms(611)).fresh);
    }

    #[test]
    fn a_text_that_is_not_shown_yet_may_not_have_arrived() {
        let t = Instant::now();
        let mut j = ready(t);
        j.output(t + ms(40));
        j.input(t + ms(100));
        assert!(!j.decide(shell(true, true), t + ms(2900)).fresh, "tmux may be slow");
        j.output(t + ms(2950));
        assert!(!j.decide(shell(true, true), t + ms(3000)).fresh);
        j.input_lasted(t + ms(3000));
        assert!(!j.decide(shell(true, true), t + ms(3400)).fresh);
        assert!(j.decide(shell(true, true), t + ms(3500)).fresh, "shown, and quiet since");
        j.input(t + ms(4000));
        assert!(j.decide(shell(true, true), t + ms(7000)).fresh, "some keys show nothing");
    }

    #[test]
    fn a_shell_that_waits_for_a_processor_is_not_quiet() {
        let t = Instant::now();
        let mut j = ready(t);
        j.input(t + ms(100));
        let Look::Shell(asleep) = shell(true, true) else { unreachable!() };
        let runs = Look::Shell(ShellLook { asleep: false, ..asleep });
        let v = j.decide(runs, t + ms(900));
        assert_eq!((v.fresh, v.again), (false, Some(SETTLE)), "it may be about to begin what it read");
        assert!(j.decide(shell(true, true), t + ms(925)).fresh);
        // One that was seen at work is ready whether or not it paints its prompt again.
        j.input(t + ms(1000));
        j.decide(shell(false, false), t + ms(1010));
        j.decide(runs, t + ms(1100));
        assert_eq!(j.decide(runs, t + ms(1130)).state, State::Ready);
    }

    #[test]
    fn a_prompt_between_two_typed_ahead_commands_is_not_ready() {
        let t = Instant::now();
        let mut j = ready(t);
        j.input(t + ms(100));
        j.decide(shell(false, false), t + ms(110));
        let Look::Shell(read) = shell(true, true) else { unreachable!() };
        let unread = Look::Shell(ShellLook { unread: true, ..read });
        assert_eq!(j.decide(unread, t + ms(200)).state, State::Busy);
        assert_eq!(j.decide(shell(true, true), t + ms(201)).state, State::Busy, "not settled");
        assert_eq!(j.decide(shell(false, false), t + ms(210)).state, State::Busy);
    }

    #[test]
    fn loops_and_read_in_the_foreground_are_busy() {
        let t = Instant::now();
        let mut j = ready(t);
        assert_eq!(j.decide(shell(true, false), t + ms(50)).state, State::Busy);
    }

    #[test]
    fn a_shell_without_an_editor_is_ready_after_quiet() {
        let t = Instant::now();
        let Look::Shell(editing) = shell(true, false) else { unreachable!() };
        let dash = Look::Shell(ShellLook { editor: false, idle: true, ..editing });
        let mut j = Judge::new(t);
        assert_ne!(j.decide(dash, t + ms(100)).state, State::Ready);
        let v = j.decide(dash, t + ms(500));
        assert_eq!((v.state, v.evidence), (State::Ready, Evidence::Quiet));
        j.input(t + ms(600));
        assert!(!j.decide(dash, t + ms(700)).fresh);
        assert!(j.decide(dash, t + ms(1100)).fresh);
    }

    #[test]
    fn other_programs_are_unknown_and_fresh_after_two_quiet_seconds() {
        let t = Instant::now();
        let mut j = Judge::new(t);
        j.input(t);
        let v = j.decide(Look::Other, t + ms(500));
        assert_eq!((v.state, v.fresh, v.again), (State::Unknown, false, Some(ms(1500))));
        assert!(j.decide(Look::Other, t + ms(2000)).fresh);
    }

    #[test]
    fn osc_133_tells_what_runs_in_the_shell_itself() {
        let t = Instant::now();
        let mut j = ready(t);
        j.mark(Mark::CommandStarts, true);
        assert_eq!(j.decide(shell(true, true), t + ms(50)).state, State::Busy);
        j.mark(Mark::PromptEnds, true);
        j.decide(shell(true, true), t + ms(60));
        let v = j.decide(shell(true, true), t + ms(90));
        assert_eq!((v.state, v.evidence), (State::Ready, Evidence::Marks));
    }

    #[test]
    fn this_test_program_is_no_shell() {
        assert_eq!(look(std::process::id() as i32, "/dev/null"), Some(Look::Other));
        assert_eq!(look(i32::MAX, "/dev/null"), Some(Look::Gone));
    }
}
