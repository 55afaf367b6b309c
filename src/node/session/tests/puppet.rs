//! A tmux that a test plays: it speaks control mode over a pair of sockets, and holds sessions, panes and
//! an agent in each pane.
//!
//! Knows the lines that `muxfs_tmux` writes and what a real server answers to them. Formats are expanded
//! by name alone: whether a pane stands as it was seen is the test's to say.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use parking_lot::Mutex;

/// No process has it: the largest that Linux gives is 4,194,303.
pub(super) const NOBODY: u32 = 5_000_000;

/// One pane and the agent in it.
#[derive(Debug, Clone)]
pub(super) struct PuppetPane {
    pub session: String,
    pub window: u32,
    pub active: bool,
    pub pid: u32,
    pub dead: bool,
    pub code: Option<i32>,
    pub start_command: String,
    /// What its status row shows: `idle`, `working`, `approve?`, `limit`.
    pub status: String,
    /// What stands in its composer.
    pub composer: String,
    /// Whether it takes an Enter, and whether it works on a prompt then.
    pub takes: bool,
    pub works: bool,
    /// Whether a text shows in its composer at all.
    pub shows: bool,
    /// Prompts that it took.
    pub prompts: Vec<String>,
    /// Keys that were pressed.
    pub keys: Vec<String>,
}

impl PuppetPane {
    fn new(session: &str, window: u32, pid: u32) -> Self {
        PuppetPane {
            session: session.into(),
            window,
            active: true,
            pid,
            dead: false,
            code: None,
            start_command: String::new(),
            status: "idle".into(),
            composer: String::new(),
            takes: true,
            works: true,
            shows: true,
            prompts: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn screen(&self) -> String {
        format!("a puppet\n{}\n> {}\n-----------\n", self.status, self.composer)
    }

    fn text(&mut self, text: &str) {
        if self.shows {
            self.composer.push_str(text);
        }
    }

    fn key(&mut self, key: &str) {
        self.keys.push(key.into());
        match key {
            "Enter" if self.takes && !self.composer.is_empty() => {
                self.prompts.push(std::mem::take(&mut self.composer));
                if self.works {
                    self.status = "working".into();
                }
            }
            "C-u" | "BSpace" | "DC" => self.composer.clear(),
            "Escape" => self.status = "idle".into(),
            _ => {}
        }
    }

    /// Its program ends by itself.
    pub fn exit(&mut self, code: i32) {
        (self.dead, self.code) = (true, Some(code));
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct PuppetSession {
    pub id: String,
    pub name: String,
    pub muxfs_id: String,
    /// The id in its environment.
    pub made_for: Option<String>,
    /// More settings of it.
    pub config: String,
}

/// What the server holds, and what it is to do next.
#[derive(Default)]
pub(super) struct World {
    pub sessions: Vec<PuppetSession>,
    /// By pane id.
    pub panes: BTreeMap<String, PuppetPane>,
    /// Clients of people: name and the id of the session.
    pub people: Vec<(String, String)>,
    /// Names of the commands that came, in their order.
    pub commands: Vec<String>,
    /// The next command of this name fails with this text.
    pub fails: Vec<(&'static str, &'static str)>,
    /// The connection breaks when a command of this name has been done.
    pub breaks: Option<&'static str>,
    /// The pane does not stand as it was seen, so many times.
    pub moves: u32,
    /// Programs that are asked to end are seen dead at the next look.
    pub ends: bool,
    buffers: BTreeMap<String, String>,
    made: u32,
    made_panes: u32,
}

type Reply = Result<String, String>;

impl World {
    /// A session with one pane, whose id it returns. Without an id of ours others made it.
    pub fn add(&mut self, name: &str, muxfs_id: &str) -> String {
        self.made += 1;
        let id = format!("${}", self.made);
        self.sessions.push(PuppetSession {
            id: id.clone(),
            name: name.into(),
            muxfs_id: muxfs_id.into(),
            ..PuppetSession::default()
        });
        self.add_pane(&id)
    }

    /// Another pane, in a window of its own.
    pub fn add_pane(&mut self, session: &str) -> String {
        self.made_panes += 1;
        let number = self.made_panes;
        let windows = self.panes.values().filter(|p| p.session == session).map(|p| p.window + 1);
        let window = windows.max().unwrap_or(0);
        let pane = PuppetPane::new(session, window, NOBODY + number);
        self.panes.insert(format!("%{number}"), pane);
        format!("%{number}")
    }

    pub fn session(&mut self, name: &str) -> &mut PuppetSession {
        self.sessions.iter_mut().find(|s| s.name == name).expect("a session of this name")
    }

    pub fn pane(&mut self, id: &str) -> &mut PuppetPane {
        self.panes.get_mut(id).expect("a pane of this id")
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        self.session(from).name = to.into();
    }

    pub fn end(&mut self, name: &str) {
        let id = self.session(name).id.clone();
        self.sessions.retain(|s| s.id != id);
        self.panes.retain(|_, p| p.session != id);
    }

    pub fn count(&self, command: &str) -> usize {
        self.commands.iter().filter(|c| *c == command).count()
    }

    /// The answers to one line, as control mode prints them.
    fn line(&mut self, line: &str, number: &mut u64) -> String {
        let mut out = String::new();
        for words in commands(line) {
            for reply in self.run(&words) {
                *number += 1;
                let (end, body) = match &reply {
                    Ok(body) => ("end", body.clone()),
                    Err(text) => ("error", format!("{text}\n")),
                };
                out.push_str(&format!("%begin 1 {number} 1\n{body}%{end} 1 {number} 1\n"));
                if reply.is_err() {
                    return out; // the rest of the line is dropped
                }
            }
        }
        out
    }

    fn run(&mut self, words: &[String]) -> Vec<Reply> {
        let name = words[0].as_str();
        self.commands.push(name.to_owned());
        if let Some(at) = self.fails.iter().position(|(of, _)| *of == name) {
            return vec![Err(self.fails.remove(at).1.to_owned())];
        }
        if name != "if-shell" {
            return vec![self.answer(name, words)];
        }
        let Some(target) = after(words, "-t") else { return vec![Ok(String::new())] }; // a deadline that holds
        if !self.panes.contains_key(&target) {
            return vec![Err(format!("can't find pane: {target}"))];
        }
        let condition = &words[words.len() - 3];
        let chosen = match self.holds(&target, condition) {
            true => &words[words.len() - 2],
            false => &words[words.len() - 1],
        };
        let inner = commands(chosen);
        [Ok(String::new())].into_iter().chain(inner.iter().flat_map(|words| self.run(words))).collect()
    }

    fn holds(&mut self, pane: &str, condition: &str) -> bool {
        if condition.starts_with("#{==:#{pane_id} ") {
            return !self.panes[pane].dead;
        }
        if condition.starts_with("#{==:#{cursor_x}.") {
            let stands = self.moves == 0;
            self.moves = self.moves.saturating_sub(1);
            return stands;
        }
        false
    }

    fn answer(&mut self, name: &str, words: &[String]) -> Reply {
        let last = words.last().cloned().unwrap_or_default();
        let target = after(words, "-t");
        let pane = target.as_deref().filter(|t| t.starts_with('%')).map(str::to_owned);
        if let Some(pane) = pane.as_ref().filter(|p| !self.panes.contains_key(*p)) {
            return Err(format!("can't find pane: {pane}"));
        }
        let nothing = Ok(String::new());
        match name {
            "display-message" => Ok(match &pane {
                Some(pane) => format!("{}\n", self.expand_pane(pane, &last).replace("%s", "1000")),
                None => format!("{}\n", last.replace("%s", "1000")),
            }),
            "list-sessions" => {
                let format = after(words, "-F").unwrap_or_default();
                Ok(self.sessions.iter().map(|s| expand_session(s, &format) + "\n").collect())
            }
            "list-panes" => {
                let format = after(words, "-F").unwrap_or_default();
                if self.ends {
                    self.panes.values_mut().for_each(|p| p.exit(143));
                }
                let of = |p: &PuppetPane| match &target {
                    Some(t) if t.starts_with('@') => *t == format!("@{}", window_id(p)),
                    Some(t) => *t == p.session,
                    None => true,
                };
                let ids: Vec<String> =
                    self.panes.iter().filter(|(_, p)| of(p)).map(|(id, _)| id.clone()).collect();
                Ok(ids.iter().map(|id| self.expand_pane(id, &format) + "\n").collect())
            }
            "list-clients" => {
                let format = after(words, "-F").unwrap_or_default();
                let client = |(name, session): &(String, String)| expand_client(name, session, &format);
                let of = |(_, session): &&(String, String)| target.as_ref().is_none_or(|t| t == session);
                Ok(self.people.iter().filter(of).map(|c| client(c) + "\n").collect())
            }
            "switch-client" => {
                let (client, to) = (after(words, "-c").unwrap_or_default(), target.unwrap_or_default());
                self.people.iter_mut().filter(|(name, _)| *name == client).for_each(|c| c.1.clone_from(&to));
                nothing
            }
            "capture-pane" => Ok(pane.map(|p| self.panes[&p].screen()).unwrap_or_default()),
            "load-buffer" => {
                let text = std::fs::read_to_string(&last).map_err(|e| e.to_string())?;
                self.buffers.insert(after(words, "-b").unwrap_or_default(), text);
                nothing
            }
            "paste-buffer" => {
                let text = self.buffers.remove(&after(words, "-b").unwrap_or_default());
                let text = text.ok_or("no such buffer")?;
                self.pane(&pane.unwrap_or_default()).text(&text);
                nothing
            }
            "send-keys" => {
                let keys = words.iter().skip_while(|w| *w != "--").skip(1);
                let pane = self.pane(&pane.unwrap_or_default());
                keys.for_each(|key| pane.key(key));
                nothing
            }
            "respawn-pane" => {
                let kill = words.iter().any(|w| w == "-k");
                let pane = self.pane(&pane.unwrap_or_default());
                if !pane.dead && !kill {
                    return Err("respawn pane failed: pane a:0.0 still active".into());
                }
                *pane = PuppetPane {
                    pid: pane.pid + 1000,
                    active: pane.active,
                    ..PuppetPane::new(&pane.session, pane.window, 0)
                };
                nothing
            }
            "new-window" => {
                let session = target.unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
                let id = self.add_pane(&session);
                let at = words.iter().position(|w| w == "--").unwrap_or(words.len());
                self.pane(&id).start_command = words[at..].join(" ");
                Ok(self.expand_pane(&id, "#{session_id} #{window_id} #{pane_id} #{pane_pid}") + "\n")
            }
            "new-session" => {
                let name = after(words, "-s").unwrap_or_default();
                if self.sessions.iter().any(|s| s.name == name) {
                    return Err(format!("duplicate session: {name}"));
                }
                let id = self.add(&name, "");
                let made_for =
                    after(words, "-e").and_then(|e| e.split_once('=').map(|(_, id)| id.to_owned()));
                self.session(&name).made_for = made_for;
                Ok(self.expand_pane(&id, "#{session_id} #{window_id} #{pane_id} #{pane_pid}") + "\n")
            }
            "kill-session" => {
                let session = self.sessions.iter().find(|s| Some(&s.id) == target.as_ref());
                let session = session.ok_or("can't find session")?.name.clone();
                self.end(&session);
                nothing
            }
            "rename-session" => {
                if self.sessions.iter().any(|s| s.name == last && Some(&s.id) != target.as_ref()) {
                    return Err(format!("duplicate session: {last}"));
                }
                let session = self.sessions.iter_mut().find(|s| Some(&s.id) == target.as_ref());
                session.ok_or("can't find session")?.name = last;
                nothing
            }
            "set-option" if words.iter().any(|w| w == "@muxfs") => {
                let of = target.unwrap_or_default();
                let named = |s: &PuppetSession| s.id == of || format!("={}:", s.name) == of;
                if let Some(session) = self.sessions.iter_mut().find(|s| named(s)) {
                    session.muxfs_id = last;
                }
                nothing
            }
            "show-environment" if target.is_some() => {
                let session = self.sessions.iter().find(|s| Some(&s.id) == target.as_ref());
                let id =
                    session.and_then(|s| s.made_for.clone()).ok_or(format!("unknown variable: {last}"))?;
                Ok(format!("{last}={id}\n"))
            }
            "show-options" => Ok("off\n".into()),
            "pipe-pane" => Err("a puppet has no pipes".into()),
            _ => nothing,
        }
    }

    fn expand_pane(&self, id: &str, format: &str) -> String {
        let pane = &self.panes[id];
        expand(format, |name| match name {
            "pane_id" => id.into(),
            "session_id" => pane.session.clone(),
            "window_id" => format!("@{}", window_id(pane)),
            "window_index" => pane.window.to_string(),
            "window_active" | "pane_active" => u8::from(pane.active).to_string(),
            "pane_pid" => pane.pid.to_string(),
            "pane_dead" => u8::from(pane.dead).to_string(),
            "pane_dead_status" => pane.code.map(|c| c.to_string()).unwrap_or_default(),
            "pane_width" => "80".into(),
            "pane_height" => "24".into(),
            "pane_tty" => "/dev/pts/none".into(),
            "cursor_x" => (2 + pane.composer.len()).to_string(),
            "cursor_y" => "2".into(),
            "pane_current_path" => "/".into(),
            "pane_current_command" => "sh".into(),
            "pane_start_command" => pane.start_command.clone(),
            "pane_title" | "pane_dead_signal" => String::new(),
            _ => "0".into(),
        })
    }
}

/// Distinct for each pane of one session: each has a window of its own.
fn window_id(pane: &PuppetPane) -> u32 {
    pane.session.trim_start_matches('$').parse::<u32>().unwrap_or(0) * 100 + pane.window
}

fn expand_session(session: &PuppetSession, format: &str) -> String {
    expand(format, |name| match name {
        "session_id" => session.id.clone(),
        "session_created" => "1000".into(),
        "session_name" => session.name.clone(),
        "@muxfs" => session.muxfs_id.clone(),
        _ => String::new(),
    })
}

fn expand_client(client: &str, session: &str, format: &str) -> String {
    expand(format, |name| match name {
        "client_name" => client.into(),
        "session_id" => session.into(),
        "window_id" => format!("@{}00", session.trim_start_matches('$')),
        "client_flags" => "attached,focused".into(),
        _ => "0".into(),
    })
}

fn expand(format: &str, value: impl Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::new(), format);
    while let Some((before, more)) = rest.split_once("#{") {
        let (name, after) = more.split_once('}').unwrap_or((more, ""));
        out.push_str(before);
        out.push_str(&value(name));
        rest = after;
    }
    out + rest
}

/// The word behind `option`.
fn after(words: &[String], option: &str) -> Option<String> {
    words.iter().skip_while(|w| *w != option).nth(1).cloned()
}

/// The commands of a line, each by its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words) = (Vec::new(), Vec::new());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            ';' => all.push(std::mem::take(&mut words)),
            '"' => {
                let mut bytes = Vec::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    let octal = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
                        let digits: String = chars.by_ref().take(3).collect();
                        u8::from_str_radix(&digits, 8).expect("three octal digits")
                    };
                    if c == '\\' { bytes.push(octal(&mut chars)) } else { bytes.push(c as u8) }
                }
                words.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| *c != ' ') {
                    word.push(c);
                }
                words.push(word);
            }
        }
    }
    all.push(words);
    all.into_iter().filter(|words| !words.is_empty()).collect()
}

/// The server's end of one connection.
pub(super) struct Peer {
    out: Arc<Mutex<UnixStream>>,
}

impl Peer {
    /// Serves `world` in a thread of its own until either end closes; the other end.
    pub fn serve(world: &Arc<Mutex<World>>) -> (Peer, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let out = Arc::new(Mutex::new(ours.try_clone().expect("a descriptor")));
        let (world, to) = (world.clone(), out.clone());
        std::thread::spawn(move || {
            let mut number = 0;
            for line in BufReader::new(ours).lines() {
                let Ok(line) = line else { return };
                if line.starts_with('%') || line.is_empty() {
                    continue; // an assignment, which has no reply
                }
                let mut world = world.lock();
                let before = world.breaks.map_or(0, |name| world.count(name));
                let reply = world.line(&line, &mut number);
                let breaks = world.breaks.is_some_and(|name| world.count(name) > before);
                if breaks {
                    world.breaks = None;
                }
                drop(world);
                if breaks {
                    let _ = to.lock().shutdown(std::net::Shutdown::Both); // the other end sees it
                    return;
                }
                if to.lock().write_all(reply.as_bytes()).is_err() {
                    return; // the other end is gone
                }
            }
        });
        (Peer { out }, theirs)
    }

    /// Says something that nobody asked for.
    pub fn notify(&self, line: &str) {
        let _ = self.out.lock().write_all(format!("{line}\n").as_bytes()); // it may have been closed
    }

    /// The connection is lost.
    pub fn hang_up(&self) {
        let _ = self.out.lock().shutdown(std::net::Shutdown::Both); // it may have been closed
    }
}
