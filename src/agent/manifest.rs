//! One agent CLI as its TOML file describes it, checked with line and column.
//!
//! Pure. Knows the file's keys; must not know where the file is or whether the program is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize};

use super::check;
use super::composer::Field;
use super::question::Form;
use muxfs_tree::base::schema::{Fault, fault};

/// One agent. What its file leaves out has the default named here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// For people: `Claude Code`.
    #[serde(deserialize_with = "check::text")]
    pub name: String,
    /// The program, and the arguments it always gets.
    #[serde(deserialize_with = "check::program")]
    pub command: Vec<String>,
    /// The versions whose screens the rules were tried on, the newest first.
    #[serde(default)]
    pub seen: Vec<String>,
    /// Added to the session's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What makes it ask for no approval; off unless asked for.
    #[serde(default)]
    pub danger: Danger,
    /// How a prompt is put in.
    #[serde(default)]
    pub submit: Submit,
    #[serde(default)]
    pub keys: Keys,
    /// The command that begins a new conversation: `/clear`.
    #[serde(default, deserialize_with = "check::some_text")]
    pub new: Option<String>,
    #[serde(default)]
    pub resume: Resume,
    /// Which of the readers of past conversations understands its files.
    #[serde(default, deserialize_with = "check::history")]
    pub history: Option<String>,
    /// Where a running one says its state, in the manner of Claude Code: the first path whose
    /// variable is set. `$NAME/` and `~/` begin it, `{pid}` is its process.
    #[serde(default)]
    pub status_file: Vec<String>,
    /// Whether it reports its state by OSC 7501 without being asked to.
    #[serde(default)]
    pub osc7501: bool,
    /// What makes it say its state by itself.
    pub hooks: Option<super::hooks::Hooks>,
    /// In order: the first that holds says the state. Where none holds it is unknown.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Is in the last rows while the newest message says that the user stopped the turn. For an agent whose
    /// own records do not say so.
    pub stopped: Option<Pattern>,
    /// The first row of each message on its screen: a prompt, an answer, a notice.
    pub message: Option<Pattern>,
    /// In the last rows while it is limited and says that it goes on with the turn by itself.
    pub continues: Option<Pattern>,
    /// What it says in the place of an answer when it could not work.
    #[serde(default, rename = "notice")]
    pub notices: Vec<Notice>,
    /// How its dialogs are drawn.
    #[serde(default, rename = "question")]
    pub questions: Vec<Form>,
    /// Its composer. Without this table it is never known whether a draft is there.
    pub composer: Option<Field>,
}

/// How a prompt is put in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Submit {
    /// Pasted, or typed (`keys`). What begins with `/` and is one line is always typed.
    pub by: By,
    /// Quiet between the text and Enter: some take an Enter that comes sooner for a line feed.
    #[serde(deserialize_with = "check::span")]
    pub settle: Duration,
    /// Pressed before Enter after a text of `large` bytes or more, where the agent takes a large
    /// paste in only after a key.
    #[serde(deserialize_with = "check::keys_or_none")]
    pub nudge: Vec<String>,
    /// Bytes from which a text needs the nudge.
    pub large: usize,
    /// How often Enter may be pressed in all while the text still stands in the composer.
    #[serde(deserialize_with = "check::enters")]
    pub enters: u32,
}

impl Default for Submit {
    fn default() -> Self {
        Submit { by: By::Paste, settle: Duration::from_millis(300), nudge: Vec::new(), large: 0, enters: 3 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Paste,
    Keys,
}

/// tmux's names of keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Ends what it is doing.
    #[serde(deserialize_with = "check::keys")]
    pub interrupt: Vec<String>,
    /// Between two keys of an interrupt.
    #[serde(deserialize_with = "check::span")]
    pub pause: Duration,
    /// Pressed again and again until the composer is empty.
    #[serde(deserialize_with = "check::keys")]
    pub clear: Vec<String>,
    /// Closes a list of completions and leaves the text as it is.
    #[serde(deserialize_with = "check::keys_or_none")]
    pub close: Vec<String>,
    /// Ends the word before the cursor, so that no list of completions is open for it.
    #[serde(deserialize_with = "check::keys_or_none")]
    pub end_word: Vec<String>,
    /// Hand a prompt in while it works, in the place of Enter. No dialog takes them for an approval.
    #[serde(deserialize_with = "check::keys_or_none")]
    pub queue: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            interrupt: vec!["Escape".into()],
            pause: Duration::from_millis(300),
            clear: vec!["C-u".into(), "BSpace".into()],
            close: Vec::new(),
            end_word: vec!["Space".into()],
            queue: Vec::new(),
        }
    }
}

/// Arguments right after the command; `{id}` is the conversation's. Empty: it cannot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Goes on with the conversation `{id}`.
    pub args: Vec<String>,
    /// Goes on with the newest one of the directory.
    pub latest: Vec<String>,
    /// Gives a new conversation the id `{id}`, a UUID.
    pub preset: Vec<String>,
    /// What goes on is a copy with an id of its own, which the agent does not report.
    pub forks: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Danger {
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// What a capture can say of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ready,
    Busy,
    Blocked,
    Limited,
    /// It is certain that the capture says nothing.
    Unknown,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Busy => "busy",
            State::Blocked => "blocked",
            State::Limited => "limited",
            State::Unknown => "unknown",
        }
    }
}

/// What keeps an agent from working, as its manifest and the state `limited` say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A quota is used up, or no more is granted for a while.
    Usage,
    /// Nobody is logged in, or the login has expired.
    Login,
    /// The model is not known, or not granted.
    Model,
    /// The service cannot be reached.
    Network,
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Reason::Usage => "usage",
            Reason::Login => "login",
            Reason::Model => "model",
            Reason::Network => "network",
        }
    }
}

/// Words of the agent's own that stand in the place of an answer when it could not work.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Without a reason it is a failure of which nothing is known that ends it.
    pub reason: Option<Reason>,
    /// The notice from its first word on, its lines run together. `(?P<until>…)` takes the words
    /// for when it ends.
    pub text: Pattern,
}

/// A state and what must be seen for it: all that is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub state: State,
    /// Shown as the evidence: `claude: approval`.
    #[serde(deserialize_with = "check::text")]
    pub name: String,
    /// In the pane's title.
    pub title: Option<Pattern>,
    /// In the last rows, as plain text; `^` and `$` are a row's. `(?P<until>…)` in it takes the
    /// agent's words for when the state ends.
    pub screen: Option<Pattern>,
    /// In the last rows with colours written out (`⟪dim,fg246⟫`). A capture without colours
    /// does not hold it.
    pub styled: Option<Pattern>,
    /// In the cursor's row with colours written out.
    pub cursor_row: Option<Pattern>,
    /// In the last rows run together: without the lines of boxes, and with one blank where there
    /// are more, so that what a narrow terminal wraps is whole again.
    pub words: Option<Pattern>,
    /// The same of the rows above the composer, which has to be seen; each message is a line.
    pub above: Option<Pattern>,
    /// Whether the composer is seen.
    pub composer: Option<bool>,
    /// Must not be in the last rows.
    pub unless: Option<Pattern>,
    /// Why it is limited; for that state alone.
    pub reason: Option<Reason>,
    /// How many rows with text count, from the bottom.
    #[serde(default = "default_rows", deserialize_with = "check::rows")]
    pub rows: usize,
}

impl Rule {
    /// It looks at nothing but the title.
    pub fn by_title(&self) -> bool {
        let others = [&self.screen, &self.styled, &self.cursor_row, &self.words, &self.above];
        self.title.is_some() && self.composer.is_none() && others.iter().all(|p| p.is_none())
    }
}

fn default_rows() -> usize {
    14
}

/// A regular expression; rows are matched one by one (`(?m)`). One that is built in is compiled
/// when it is first used: those of agents nobody runs would take memory and time of every start.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<LazyLock<Regex, Compile>>);

type Compile = Box<dyn FnOnce() -> Regex + Send>;

thread_local! {
    /// What is parsed on this thread is built in.
    static BUILT_IN: Cell<bool> = const { Cell::new(false) };
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).multi_line(true).size_limit(1 << 20).build()
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let lazy = |compile: Compile| Pattern(Arc::new(LazyLock::new(compile)));
        if BUILT_IN.get() {
            // A test compiles all that is built in.
            return Ok(lazy(Box::new(move || compile(&text).expect("a regular expression"))));
        }
        compile(&text).map(|regex| lazy(Box::new(move || regex))).map_err(|e| {
            // The crate draws the pattern over several lines; the last says what is wrong.
            let why = e.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            serde::de::Error::custom(format!("{text:?} is no regular expression: {why}"))
        })
    }
}

impl Manifest {
    /// The keys that lead out of the composer's mode of this name.
    pub fn leave(&self, mode: &str) -> &[String] {
        let modes = self.composer.as_ref().map_or(&[][..], |field| &field.modes);
        modes.iter().find(|m| m.name == mode).map_or(&[], |m| &m.leave)
    }

    /// One that is known to be right.
    pub(super) fn built_in(text: &str) -> Result<Self, toml_edit::de::Error> {
        BUILT_IN.set(true);
        let manifest = toml_edit::de::from_str(text);
        BUILT_IN.set(false);
        manifest
    }

    pub fn parse(text: &str) -> Result<Self, Fault> {
        let manifest: Manifest = toml_edit::de::from_str(text).map_err(|e| {
            let what = e.message().lines().next().unwrap_or("not TOML").to_owned();
            fault(text, e.span().map_or(0, |span| check::exact(text, span, &what)), what)
        })?;
        check::whole(text, &manifest)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Manifest::parse(text).expect_err("is wrong").to_string()
    }

    #[test]
    fn faults_have_line_and_column() {
        let rest = "name = 'X'\ncommand = ['x']\n";
        assert!(wrong("name = 'X'\n").contains("missing field `command`"));
        assert!(wrong("name = 'X'\ncommand = []\n").starts_with("line 2, column 11: a command is"));
        assert!(wrong(&format!("{rest}nmae = 1\n")).starts_with("line 3, column 1: unknown field `nmae`"));
        let rule = format!("{rest}[[rule]]\nstate = 'ready'\nname = 'a'\nscreen = '('\n");
        assert_eq!(wrong(&rule), "line 6, column 10: \"(\" is no regular expression: unclosed group");
        let rule = format!("{rest}[[rule]]\nstate = 'happy'\nname = 'a'\n");
        assert!(wrong(&rule).starts_with("line 4, column 9: unknown variant `happy`"), "{}", wrong(&rule));
        let rule = format!("{rest}[[rule]]\nstate = 'ready'\nname = \"a\"\nunless = 'x'\n");
        let said =
            "line 5, column 8: rule \"a\" looks at nothing: give it title, screen, styled or cursor_row";
        assert_eq!(wrong(&rule), said);
    }
}
