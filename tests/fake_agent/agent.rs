//! What the fake agent does: its phases, its draft, its dialogs, its turns.
//!
//! Knows no terminal: keys and moments come in, rows go out. The clock is passed in.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ambush::Ambush;
use crate::dialog::{Answer, Dialog};
use crate::draft::Draft;
use crate::hooks::Hooks;
use crate::keys::Key;
use crate::llm::Asked;
use crate::options::Options;
use crate::paint::{Talk, View, cut};
use crate::prompt::{Plan, plan};
use crate::record::{Record, uuid};

/// Two Ctrl-C within this leave.
const TWICE: Duration = Duration::from_secs(2);
/// Prompts that wait for the one that runs.
const MOST_QUEUED: usize = 1000;
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Code(u8),
    Crash,
}

#[derive(Debug)]
struct Job {
    prompt: String,
    plan: Plan,
    number: usize,
    asks_left: usize,
    allowed: bool,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is shown yet; keys wait.
    Starting(Instant, Vec<Key>),
    Idle,
    Dialog(Dialog, Option<Job>),
    Busy {
        job: Job,
        since: Instant,
        until: Instant,
        asked: Option<Asked>,
    },
    Limited {
        job: Job,
        until: Instant,
    },
}

/// How often it looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

pub struct Agent {
    pub options: Options,
    pub talk: Talk,
    pub end: Option<End>,
    /// There is something new to paint.
    pub changed: bool,
    phase: Phase,
    draft: Draft,
    queue: VecDeque<String>,
    record: Record,
    hooks: Hooks,
    session: String,
    prompts: usize,
    pub ambush: Ambush,
    swallow: usize,
    interrupt: Option<Instant>,
    /// When which prompt comes back as a draft.
    restore: Option<(Instant, String)>,
    said: String,
}

impl Agent {
    pub fn new(options: Options, now: Instant) -> io::Result<Self> {
        let record = Record::new(options.log.as_deref(), options.claude_history, options.claude_status)?;
        let mut talk = Talk::default();
        if let Some(id) = &options.resume {
            let old = record.old(id);
            let old =
                old.map_err(|_| io::Error::other(format!("no conversation found with session ID: {id}")))?;
            old.iter().for_each(|(user, text)| say(&mut talk, *user, text));
        }
        let session = options.resume.clone().or(options.session_id.clone()).unwrap_or_else(uuid);
        let start = now + Duration::from_millis(options.start);
        let mut agent = Agent {
            hooks: Hooks::load(options.settings.as_deref())?,
            swallow: options.swallow,
            phase: Phase::Starting(start, Vec::new()),
            end: None,
            changed: false,
            draft: Draft::default(),
            queue: VecDeque::new(),
            prompts: 0,
            ambush: Ambush::default(),
            interrupt: None,
            restore: None,
            said: String::new(),
            options,
            talk,
            record,
            session,
        };
        agent.record.log("start", json!({"session": agent.session, "pid": std::process::id()}));
        Ok(agent)
    }

    pub fn received(&mut self, bytes: &[u8]) {
        self.record.bytes(bytes);
    }

    pub fn answered(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Busy { asked: Some(asked), .. } => Some(asked.fd()),
            _ => None,
        }
    }

    /// Whether whoever directs it has not let it go on yet.
    fn held(&self) -> bool {
        self.options.go.as_ref().is_some_and(|go| std::fs::remove_file(go).is_err())
    }

    /// How long nothing happens by itself.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let least = self.options.go.as_ref().map_or(Duration::ZERO, |_| LOOK);
        let left = |at: Instant| at.saturating_duration_since(now).max(least);
        let phase = match &self.phase {
            Phase::Starting(at, _) => Some(left(*at)),
            Phase::Busy { until, asked, .. } => {
                let turn = match self.options.repaint {
                    0 => Duration::from_secs(3600), // not a sign of work
                    hz => Duration::from_secs(1) / hz,
                };
                Some(if asked.is_some() { turn } else { turn.min(left(*until)) })
            }
            Phase::Limited { until, .. } => Some(left(*until).min(Duration::from_secs(1))),
            Phase::Idle | Phase::Dialog(..) => None,
        };
        let restore = self.restore.as_ref().map(|(at, _)| left(*at));
        let ambush = self.ambush.next().map(left);
        phase.into_iter().chain(self.interrupt.map(|at| left(at + TWICE))).chain(restore).chain(ambush).min()
    }

    pub fn tick(&mut self, now: Instant) {
        if self.interrupt.is_some_and(|at| now - at >= TWICE) {
            self.interrupt = None;
            self.changed = true;
        }
        if let Some((_, prompt)) = self.restore.take_if(|(at, _)| now >= *at) {
            self.draft.put(&prompt);
            self.changed = true;
        }
        self.ambush(now);
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Starting(at, keys) if now >= at => self.begin(keys, now),
            Phase::Busy { job, asked: None, until, .. } if now >= until && !self.held() => {
                self.step(job, None)
            }
            Phase::Busy { job, asked: Some(asked), since, until } => match asked.answer() {
                Some(answer) => self.step(job, Some(answer)),
                None => {
                    self.phase = Phase::Busy { job, asked: Some(asked), since, until };
                    self.changed = true;
                }
            },
            Phase::Limited { job, until } if now >= until && !self.held() => self.work(job, now),
            other => {
                self.changed |= matches!(other, Phase::Busy { .. } | Phase::Limited { .. });
                self.phase = other;
            }
        }
        if matches!(self.phase, Phase::Idle)
            && self.end.is_none()
            && let Some(prompt) = self.queue.pop_front()
        {
            self.prompts += 1;
            self.turn(prompt, now);
        }
    }

    /// A dialog that nobody called for comes up, or goes.
    fn ambush(&mut self, now: Instant) {
        let waits = matches!(self.phase, Phase::Idle) && !self.draft.is_empty();
        if self.ambush.comes(now, waits) {
            self.enter(Phase::Dialog(Dialog::approval(), None));
        }
        if self.ambush.is_over(now) {
            self.ambush_is_gone(now, false);
        }
    }

    fn ambush_is_gone(&mut self, now: Instant, approved: bool) {
        if let Some(row) = self.ambush.gone(now, approved) {
            self.record.log("ambush", row);
            self.enter(Phase::Idle);
        }
    }

    fn begin(&mut self, keys: Vec<Key>, now: Instant) {
        let source = if self.options.resume.is_some() { "resume" } else { "startup" };
        let dialog = match (self.options.login, self.options.trust) {
            (true, _) => Some(Dialog::login()),
            (_, true) => Some(Dialog::trust(self.record.cwd())),
            _ => None,
        };
        match dialog {
            Some(dialog) => self.enter(Phase::Dialog(dialog, None)),
            None => {
                self.hook("SessionStart", json!({"source": source}));
                self.enter(Phase::Idle);
            }
        }
        keys.into_iter().for_each(|key| self.key(key, now));
    }

    /// Says the new phase to all who listen.
    fn enter(&mut self, phase: Phase) {
        let (word, waiting, osc) = match &phase {
            Phase::Busy { .. } => ("busy", None, "working"),
            Phase::Dialog(dialog, _) => ("waiting", Some(dialog.waiting_for()), dialog.osc()),
            // Told as waiting for its user, as Claude Code does.
            Phase::Idle | Phase::Limited { .. } if self.prompts > 0 => ("idle", None, "done"),
            _ => ("idle", None, "idle"),
        };
        self.record.state(&self.session, word, waiting);
        if self.options.osc7501 {
            self.said.push_str(&format!("\x1b]7501;state={osc}\x1b\\"));
        }
        self.phase = phase;
        self.changed = true;
    }

    /// Escape sequences that stand outside the picture, once.
    pub fn said_of_state(&mut self) -> String {
        std::mem::take(&mut self.said)
    }

    fn hook(&self, event: &str, mut payload: serde_json::Value) {
        payload["session_id"] = self.session.clone().into();
        payload["transcript_path"] = json!(self.record.transcript(&self.session));
        payload["cwd"] = json!(self.record.cwd());
        payload["hook_event_name"] = event.into();
        payload["prompt_id"] = format!("turn-{}", self.prompts).into();
        self.hooks.run(event, &payload);
    }

    // --- keys

    /// Whether it reads what was typed.
    pub fn reads(&self) -> bool {
        self.options.hold.as_ref().is_none_or(|file| !file.exists())
    }

    pub fn key(&mut self, key: Key, now: Instant) {
        if key == Key::Answer {
            return self.ambush.answered(now);
        }
        if let Phase::Starting(_, keys) = &mut self.phase {
            keys.push(key); // a terminal keeps them as well
            return;
        }
        self.changed = true;
        let again = self.interrupt.take().is_some();
        match key {
            Key::Control('c') => self.control_c(again, now),
            key if matches!(self.phase, Phase::Dialog(..)) => self.dialog(&key, now),
            Key::Escape => self.escape(now),
            Key::Enter => self.submit(now),
            // Queues, and does nothing in a dialog or where there is no work.
            Key::Control('q') if matches!(self.phase, Phase::Busy { .. }) => self.submit(now),
            Key::Control('u') => self.draft.clear(),
            Key::Control('d') if self.draft.is_empty() => self.end = Some(End::Code(0)),
            key => {
                if self.options.ambush && matches!((&key, &self.phase), (Key::Paste(_), Phase::Idle)) {
                    self.ambush.pasted(now);
                }
                self.draft.edit(key, now);
            }
        }
    }

    fn control_c(&mut self, again: bool, now: Instant) {
        match (&self.phase, again) {
            (_, true) => self.end = Some(End::Code(0)),
            (Phase::Busy { .. } | Phase::Limited { .. }, _) => self.escape(now),
            _ => {
                self.draft.clear();
                self.interrupt = Some(now);
            }
        }
    }

    fn escape(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Busy { job, .. } | Phase::Limited { job, .. } => {
                self.record.log("interrupt", json!({"number": job.number}));
                self.tell("  ⎿ Interrupted");
                self.record.said(&self.session, "user", "[Request interrupted by user]");
                let later = self.options.restore.map(Duration::from_millis);
                self.restore = later.map(|later| (now + later, job.prompt));
                self.enter(Phase::Idle);
            }
            other => self.phase = other,
        }
    }

    fn submit(&mut self, now: Instant) {
        if self.swallow > 0 {
            self.swallow -= 1;
            return;
        }
        if self.draft.just_changed(now, Duration::from_millis(self.options.settle)) {
            self.draft.edit(Key::Newline, now);
            return;
        }
        let Some((text, typed)) = self.draft.take() else { return };
        if let Some(later) = self.options.flicker.take() {
            self.restore = Some((now + Duration::from_millis(later), text));
            return;
        }
        // What was pasted is text, whatever it begins with; so is a path.
        let name = first(&text).split(' ').next().and_then(|word| word.strip_prefix('/'));
        if typed && name.is_some_and(|name| !name.contains('/')) {
            self.command(&text);
            return;
        }
        self.record.log("prompt", json!({"text": text, "session": self.session}));
        if matches!(self.phase, Phase::Idle) {
            self.ambush.entered(now);
            self.prompts += 1;
            self.hook("UserPromptSubmit", json!({"prompt": text}));
            self.turn(text, now);
        } else if self.queue.len() < MOST_QUEUED {
            // Told now, under the turn that runs, and not again: so does Claude Code.
            self.hook("UserPromptSubmit", json!({"prompt": text}));
            self.queue.push_back(text);
        }
    }

    fn command(&mut self, text: &str) {
        self.record.log("command", json!({"text": text}));
        match text.trim_end() {
            "/exit" | "/quit" => self.end = Some(End::Code(0)),
            "/clear" | "/new" => {
                self.hook("SessionEnd", json!({"reason": "clear"}));
                self.session = uuid();
                self.talk = Talk { lines: Vec::new(), cleared: self.talk.cleared + 1 };
                self.queue.clear();
                self.record.log("clear", json!({"session": self.session}));
                self.hook("SessionStart", json!({"source": "clear"}));
                self.enter(Phase::Idle);
            }
            "/help" => self.tell("  Ask anything. /clear begins anew, /exit leaves."),
            other => self.tell(&format!("  Unknown command: {other}")),
        }
    }

    fn dialog(&mut self, key: &Key, now: Instant) {
        if self.ambush.is_up() {
            if *key == Key::Enter {
                self.ambush_is_gone(now, true);
            }
            return;
        }
        let Phase::Dialog(dialog, _) = &mut self.phase else { return };
        let Some(answer) = dialog.key(key) else { return };
        self.record.log("answer", json!({"answer": format!("{answer:?}")}));
        let Phase::Dialog(dialog, job) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        match answer {
            Answer::Row => self.finish(&format!("it is to be {}", dialog.chosen())),
            Answer::Stay => self.phase = Phase::Dialog(Dialog::login(), None),
            Answer::Leave => self.end = Some(End::Code(1)),
            Answer::Yes | Answer::No => match job {
                Some(job) => self.decided(job, answer == Answer::Yes, now),
                None => {
                    self.hook("SessionStart", json!({"source": "startup"}));
                    self.enter(Phase::Idle);
                }
            },
        }
    }

    // --- turns

    fn turn(&mut self, prompt: String, now: Instant) {
        self.record.said(&self.session, "user", &prompt);
        say(&mut self.talk, true, &prompt);
        let plan = plan(&prompt);
        let asks_left = if self.options.danger { 0 } else { plan.asks };
        let job = Job { prompt, plan, number: self.prompts, asks_left, allowed: true };
        if self.options.limit == Some(self.prompts) {
            let until = now + Duration::from_millis(self.options.limit_for);
            self.enter(Phase::Limited { job, until });
        } else {
            self.work(job, now);
        }
    }

    fn work(&mut self, job: Job, now: Instant) {
        let server = self.options.llm.as_deref().filter(|_| job.asks_left == 0);
        let asked = server.map(|server| Asked::start(server, &job.prompt));
        let asked = match asked.transpose() {
            Ok(asked) => asked,
            Err(e) => return self.tell(&format!("● API Error: {e}")),
        };
        let until = now + Duration::from_millis(job.plan.slow.unwrap_or(self.options.busy));
        self.enter(Phase::Busy { job, since: now, until, asked });
    }

    /// The time of its work is over: it asks, ends, or answers.
    fn step(&mut self, mut job: Job, answer: Option<String>) {
        if job.plan.crash || self.options.crash_after == Some(job.number) {
            self.end = Some(End::Crash);
        } else if let Some(code) = job.plan.exit {
            self.end = Some(End::Code(code));
        } else if job.asks_left > 0 {
            job.asks_left -= 1;
            let dialog = if job.plan.question { Dialog::question() } else { Dialog::approval() };
            self.hook("PermissionRequest", json!({"tool_name": "Bash", "tool_input": {"command": "true"}}));
            self.enter(Phase::Dialog(dialog, Some(job)));
        } else if let Some(words) = &job.plan.fault {
            self.fail(words);
        } else {
            let answer = answer.unwrap_or_else(|| job.plan.answer.clone());
            self.finish(&answer);
        }
    }

    fn decided(&mut self, mut job: Job, yes: bool, now: Instant) {
        self.tell(if yes { "  ⎿ ran it" } else { "  ⎿ not run" });
        job.allowed &= yes;
        if job.allowed {
            self.work(job, now);
        } else if self.options.claude_history {
            // As Claude Code does, which calls no hook for it.
            self.record.said(&self.session, "user", "[Request interrupted by user for tool use]");
            self.enter(Phase::Idle);
        } else {
            self.finish("declined");
        }
    }

    /// It says why there is no answer, as Claude Code does.
    fn fail(&mut self, words: &str) {
        self.record.fault(&self.session, words);
        self.tell(&format!("  ⎿ {words}"));
        self.record.log("failed", json!({"text": words}));
        self.hook("StopFailure", json!({"last_assistant_message": words}));
        self.enter(Phase::Idle);
    }

    fn finish(&mut self, answer: &str) {
        self.record.said(&self.session, "assistant", answer);
        say(&mut self.talk, false, answer);
        self.record.log("answered", json!({"text": answer}));
        self.hook("Stop", json!({"last_assistant_message": answer, "stop_hook_active": false}));
        self.enter(Phase::Idle);
    }

    fn tell(&mut self, line: &str) {
        self.talk.lines.extend([line.to_owned(), String::new()]);
        self.changed = true;
    }

    pub fn leave(&mut self, end: &End) {
        self.record.log("end", json!({"end": format!("{end:?}")}));
        if *end != End::Crash {
            self.hook("SessionEnd", json!({"reason": "other"}));
            self.record.leave();
        }
    }

    // --- rows

    pub fn view(&self, width: usize, height: usize, now: Instant) -> View {
        if let Phase::Dialog(dialog, _) = &self.phase {
            let (rows, at) = dialog.rows(width);
            let mut cursor = (at, 0);
            if self.ambush.is_up() {
                // Where it stands in the composer, as many agents that hide it leave it.
                let (_, (_, column)) = self.draft.rows(width, 1);
                cursor = (rows.len().saturating_sub(3), column);
            }
            return View { rows, cursor, title: self.title('?') };
        }
        let mut rows: Vec<String> =
            self.queue.iter().take(3).map(|p| cut(&format!("  Queued: {}", first(p)), width)).collect();
        let mut title = '✳';
        match &self.phase {
            Phase::Busy { since, .. } => {
                let elapsed = now - *since;
                let turns = elapsed.as_millis() as usize * self.options.repaint as usize / 1000;
                title = SPINNER[turns % SPINNER.len()];
                rows.push(format!("{title} Working… ({}s · esc to interrupt)", elapsed.as_secs()));
            }
            Phase::Limited { until, .. } => {
                let left = until.saturating_duration_since(now).as_secs_f64().ceil();
                rows.push(format!("You have hit your limit · resets in {left}s"));
            }
            _ => {}
        }
        let rule = "─".repeat(width);
        rows.push(rule.clone());
        let (draft, (row, column)) = self.draft.rows(width, (height / 2).max(1));
        let cursor = (rows.len() + row, column);
        rows.extend(draft);
        rows.push(rule);
        rows.push(cut(&self.footer(), width));
        View { rows, cursor, title: self.title(title) }
    }

    fn footer(&self) -> String {
        if self.interrupt.is_some() {
            return "  Press Ctrl-C again to exit".into();
        }
        let dir = self.record.cwd().file_name().map_or("/".into(), |d| d.to_string_lossy().into_owned());
        format!("  fake-agent · {dir}")
    }

    fn title(&self, mark: char) -> Option<String> {
        self.options.title.then(|| format!("{mark} fake"))
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// The user's words after `> `, as much of them as helps; the agent's after a bullet.
fn say(talk: &mut Talk, user: bool, text: &str) {
    let (mark, most) = if user { ('>', 10) } else { ('●', usize::MAX) };
    for (i, line) in text.lines().take(most).enumerate() {
        let mark = if i == 0 { mark } else { ' ' };
        talk.lines.push(format!("{mark} {line}"));
    }
    let more = text.lines().count().saturating_sub(most);
    if more > 0 {
        talk.lines.push(format!("  … {more} more lines"));
    }
    talk.lines.push(String::new());
}
