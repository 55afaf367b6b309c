//! A real agent in a tmux pane of its own: start it, type, look at it, end all of it.
//!
//! Knows tmux and the rules of state. Must not know what any agent should show.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::manifest::{Manifest, State};
use muxfs_agent::rules::judge;
use muxfs_agent::screen::Screen;

use super::super::doc::root;
use super::super::stub_llm::{Request, Stub};
use super::super::support::{Lab, within};
use super::recipe::{self, Recipe};

pub struct Pane {
    pub agent: &'static str,
    pub size: (u16, u16),
    pub lab: Lab,
    pub stub: Stub,
    pub cwd: PathBuf,
    manifest: std::sync::Arc<Manifest>,
}

/// One moment of the pane.
#[derive(Debug, Clone)]
pub struct Look {
    pub at: Instant,
    pub state: State,
    pub rule: Option<String>,
    /// `alt=1; cursor=2,37`
    pub about: String,
    pub title: String,
    /// With its escapes.
    pub picture: String,
}

/// An agent that starts on a busy machine takes its time.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl Pane {
    /// Started, with nothing waited for. `change` may take from the recipe before the start.
    pub fn start(agent: &'static str, size: (u16, u16), change: impl FnOnce(&mut Recipe, &Lab)) -> Pane {
        let lab = Lab::new();
        let cwd = lab.path("proj");
        std::fs::create_dir(&cwd).unwrap();
        let git = Command::new("git").args(["init", "-q"]).arg(&cwd).status().unwrap();
        assert!(git.success());
        let stub = Stub::start().unwrap();
        let mut recipe = recipe::home(agent, &lab.home(), &cwd, stub.port());
        change(&mut recipe, &lab);
        let catalogue = Catalogue::load(&root().join("agents"));
        let manifest = catalogue.get(agent.trim_end_matches("-old")).unwrap().clone();
        let pane = Pane { agent, size, lab, stub, cwd, manifest };
        pane.spawn(&recipe);
        pane
    }

    fn spawn(&self, recipe: &Recipe) {
        let config = self.lab.path("tmux.conf");
        let settings = "set -g status off\nset -g remain-on-exit on\nset -g focus-events on\n";
        std::fs::write(&config, settings).unwrap();
        // tmux gives a session the environment of the client that makes it.
        let mut tmux = Command::new("tmux");
        tmux.env_clear()
            .envs(recipe.env.iter().cloned())
            .arg("-f")
            .arg(config)
            .arg("-S")
            .arg(self.lab.socket());
        let (width, height) = self.size;
        tmux.args([
            "new-session",
            "-d",
            "-s",
            "a",
            "-x",
            &width.to_string(),
            "-y",
            &height.to_string(),
            "-c",
        ]);
        let made = tmux.arg(&self.cwd).arg("--").args(&recipe.command).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    pub fn look(&self) -> Look {
        let about = "alt=#{alternate_on}; cursor=#{cursor_x},#{cursor_y}\n#{pane_dead}\n#{pane_title}";
        let words = ["display-message", "-p", "-t", "a", about, ";", "capture-pane", "-pe", "-t", "a"];
        let said = self.lab.tmux_ok(&words);
        let mut parts = said.splitn(4, '\n').map(str::to_owned);
        let mut part = || parts.next().unwrap();
        let (about, dead, title, picture) = (part(), part(), part(), part());
        assert_eq!(dead, "0", "{} has ended:\n{picture}", self.agent);
        let mut screen = Screen::parse(&picture);
        screen.title = title.trim_end().to_owned();
        let (x, y) = about.split_once("cursor=").unwrap().1.split_once(',').unwrap();
        screen.cursor = Some((x.parse().unwrap(), y.parse().unwrap()));
        let verdict = judge(&self.manifest, &screen);
        let rule = verdict.rule.map(str::to_owned);
        Look { at: Instant::now(), state: verdict.state, rule, about, title: screen.title, picture }
    }

    /// Looks ten times a second until `end` says so; all that was seen.
    pub fn watch(&self, what: &str, mut end: impl FnMut(&Look) -> bool) -> Vec<Look> {
        let begun = Instant::now();
        let mut seen = Vec::new();
        loop {
            let look = self.look();
            let ended = end(&look);
            seen.push(look);
            if ended {
                return seen;
            }
            if begun.elapsed() > LIMIT {
                let Look { state, rule, title, about, picture, .. } = self.look();
                let said = format!("{} by {rule:?}; {title}; {about}", state.word());
                panic!("{} not within {LIMIT:?}: {what}: {said}\n{}", self.agent, plain(&picture));
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// The first look of three in a row with this state: one may be the tail of a repaint.
    pub fn seen(&self, state: State, what: &str) -> Look {
        let mut row = 0;
        let all = self.watch(&format!("{} {what}", state.word()), |look| {
            row = if look.state == state { row + 1 } else { 0 };
            row == 3
        });
        all.into_iter().next_back().unwrap()
    }

    pub fn keys(&self, keys: &[&str]) {
        self.lab.tmux_ok(&[&["send-keys", "-t", "a"], keys].concat());
    }

    /// Types `text` and waits until it is seen.
    pub fn draft(&self, text: &str) -> Look {
        self.lab.tmux_ok(&["send-keys", "-t", "a", "-l", text]);
        let seen =
            self.watch(&format!("the draft {text:?} shows"), |look| plain(&look.picture).contains(text));
        seen.into_iter().next_back().unwrap()
    }

    /// Sends one line as a prompt; the request that came of it. What is pasted must be seen before
    /// it is sent, and some take a key too near to it for a part of it: then Enter goes again.
    pub fn prompt(&self, text: &str) -> Request {
        let before = self.stub.prompts().len();
        self.lab.tmux_ok(&[
            "set-buffer",
            "-b",
            "p",
            text,
            ";",
            "paste-buffer",
            "-p",
            "-d",
            "-r",
            "-b",
            "p",
            "-t",
            "a",
        ]);
        let shown: String = text.chars().take(20).collect();
        self.watch(&format!("the prompt {text:?} shows"), |look| plain(&look.picture).contains(&shown));
        let arrived = || self.stub.prompts().get(before).cloned();
        let mut entered: Option<Instant> = None;
        // At the first one some load the half of themselves.
        let what = format!("{}: the prompt {text:?} arrives:\n{}", self.agent, self.look().picture);
        within(LIMIT, &what, || {
            if entered.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
                std::thread::park_timeout(PAUSE);
                self.keys(&["Enter"]);
                entered = Some(Instant::now());
            }
            arrived()
        })
    }

    /// The newest prompt's requests are all answered.
    pub fn request_ended(&self) -> Option<Instant> {
        let all = self.stub.requests();
        all.iter().rev().find(|r| r.is_prompt()).and_then(|r| r.ended)
    }
}

pub fn plain(picture: &str) -> String {
    Screen::parse(picture).tail(usize::MAX).plain
}

impl Drop for Pane {
    /// Some outlive their terminal, some leave daemons: whatever has this home in its environment
    /// was started here.
    fn drop(&mut self) {
        let _ = self.lab.tmux(&["kill-server"]);
        let home = format!("HOME={}", self.lab.home().display());
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|p| p.parse::<i32>().ok()) else {
                continue;
            };
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let own = pid != std::process::id() as i32;
            if own && environment.split(|b| *b == 0).any(|v| v == home.as_bytes()) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}
