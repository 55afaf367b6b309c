//! What a blocked agent asks, and how one of its options is chosen.
//!
//! Pure. Knows what a question is and the manifest's table of it; must not know how a dialog is
//! drawn (that is [`super::dialog`]) nor how keys are sent.

use std::ops::Range;

use serde::Deserialize;

use super::check;
use super::dialog;
use super::manifest::{Manifest, Pattern, State};
use super::rules::judge;
use super::screen::Screen;

/// One way in which an agent draws its dialogs. They are tried in order; the first whose options
/// are found, or that has none, is taken. Rows are matched without the lines of boxes (`│` at
/// both ends are blanks), so that columns stay. Without a form the last rows are the question,
/// and it has no options.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// For people: `approval`.
    #[serde(deserialize_with = "check::text")]
    pub name: String,
    /// Must be in the last 14 rows with text, else the form is not tried.
    pub screen: Option<Pattern>,
    /// The dialog's first row, as it stands on the screen: the nearest above the options. Where
    /// it is not seen the dialog begins below two blank rows or, where it is indented, below a row
    /// that is not.
    pub top: Option<Pattern>,
    /// The dialog's title, where it shows none.
    pub title: Option<String>,
    /// Rows that are no part of the question: key hints, search fields.
    pub skip: Option<Pattern>,
    /// From where it matches on a row shows something else, a pane beside the dialog.
    pub cut: Option<Pattern>,
    /// The dialog is painted over other rows, and its first row matches this: `(?P<title>…)` is
    /// its title, and nothing counts that is left of the dialog's edge or right of the match.
    /// Such a list has its options in the title's column, and the selected one has another
    /// background.
    pub clip: Option<Pattern>,
    /// A row that is an option, each alike: `(?P<label>…)`, and where they are there
    /// `(?P<mark>…)` (only before the selected one), `(?P<number>…)`, `(?P<about>…)`,
    /// `(?P<box>…)` (a tick box), `(?P<field>…)` (what stands before a label that can be written
    /// to) and `(?P<more>…)` (the list goes on beyond this row).
    pub option: Option<Pattern>,
    /// The row of the selected option, where only that can be told from text: `(?P<mark>…)` and
    /// `(?P<label>…)`. The others start in the label's column.
    pub mark: Option<Pattern>,
    /// How the rows in the label's column are options; for `mark` and `clip`.
    #[serde(default)]
    pub layout: Layout,
    /// A row with all options side by side: `(?P<options>…)`, with two blanks or more between
    /// them. The selected one has another background.
    pub side: Option<Pattern>,
    /// The last row, where it takes a letter: `(?P<options>…)` such as `(Y)es/(N)o`,
    /// `(?P<title>…)` for the question, and `(?P<default>…)`, the one that Enter alone takes.
    /// Without `top`, what it is about stands right above.
    pub letters: Option<Pattern>,
    /// A number typed is taken at once and nothing shows a selection; for `option`.
    #[serde(default)]
    pub digits: bool,
    /// In the last 14 rows of a dialog that takes a number typed at once although a selection
    /// shows; for `option`.
    pub at_once: Option<Pattern>,
    /// The key that ticks a box, as tmux names it. Without it, boxes are not ticked.
    #[serde(default, deserialize_with = "check::key")]
    pub tick: Option<String>,
    /// The label of the option that takes words of one's own; else a row of the dialog as it
    /// stands on the screen: below the options one that says to type, in a form without options
    /// any, since that is nothing but a field. Where nothing matches, the dialog takes no words.
    pub own: Option<Pattern>,
    /// The key that opens that option's field once it is selected. Without it the option is one.
    #[serde(default, deserialize_with = "check::key")]
    pub own_key: Option<String>,
    /// The label of the option that Escape chooses: Enter wants words for it.
    pub by_escape: Option<Pattern>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Each is one; a blank row ends the list.
    #[default]
    Rows,
    /// Blank rows part the options; a block of one row is a heading, else the first row is the
    /// label and the others say more.
    Blocks,
    /// Blank rows part groups; the first row of each is its heading.
    Headed,
}

impl Form {
    /// What is wrong with it, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        let lacks = |pattern: &Option<Pattern>, groups: &[&str]| {
            pattern
                .as_ref()
                .is_some_and(|p| groups.iter().any(|g| !p.0.capture_names().flatten().any(|n| n == *g)))
        };
        let shapes = [&self.option, &self.mark, &self.side, &self.letters, &self.clip];
        if shapes.iter().filter(|s| s.is_some()).count() > 1 {
            return Some("has more than one of option, mark, side, letters, clip");
        }
        let groups: [(&Option<Pattern>, &[&str], _); 5] = [
            (&self.option, &["label"], "option has no (?P<label>…)"),
            (&self.mark, &["mark", "label"], "mark has no (?P<mark>…) and (?P<label>…)"),
            (&self.side, &["options"], "side has no (?P<options>…)"),
            (&self.letters, &["options"], "letters has no (?P<options>…)"),
            (&self.clip, &["title"], "clip has no (?P<title>…)"),
        ];
        groups.into_iter().find(|(pattern, names, _)| lacks(pattern, names)).map(|(_, _, why)| why)
    }
}

/// What a dialog asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Eight hex digits that stand for header, text and options, not for the selection. The same
    /// question asked again has the same.
    pub id: String,
    /// The dialog's title, or the sentence where that is all.
    pub header: String,
    /// The command or file and the sentences, a row each.
    pub text: String,
    /// Empty where they could not be made out.
    pub options: Vec<Choice>,
    /// The number of the selected one, where it is seen.
    pub selected: Option<usize>,
    how: How,
    /// The list goes on beyond the rows that are seen.
    more: bool,
    /// The option that is selected shows, and a number typed is taken at once.
    pub(super) at_once: bool,
    pub(super) own: Option<Own>,
    /// The option that Escape chooses, and Enter does not.
    pub(super) by_escape: Option<usize>,
    pub place: Place,
}

/// Where a question stands on the screen, in rows from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// From its title to its last option.
    pub rows: Range<usize>,
    /// The rows of each option, in the order of [`Question::options`].
    pub options: Vec<Range<usize>>,
}

/// Where words of one's own go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// The dialog is a field.
    Field,
    /// What is typed opens a field, wherever the selection stands.
    Typed,
    /// The option of this number, and the key that opens its field.
    Option(usize, Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As the agent numbers it, else from 1 from the top.
    pub number: usize,
    pub label: String,
    /// What stands beside or below it.
    pub about: String,
    /// Whether its box is ticked, where it has one.
    pub ticked: Option<bool>,
}

/// How an option is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// Arrow keys: back, forth.
    Arrows(&'static str, &'static str, Option<String>),
    /// These letters, in the order of the options, and Enter.
    Letters(Vec<String>),
    Digits,
    None,
}

/// What to do next so that an option is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this key once, on the way to option `to`, wait until another option is seen selected,
    /// and ask again. A dialog that shows none may have the key on its way still: nothing more may
    /// be sent.
    Move { key: Key, to: usize },
    /// Send these keys; they are the answer. This holds only for the capture that was examined.
    Confirm(Vec<Key>),
    /// Nothing may be sent, and why.
    Impossible(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// As tmux names it.
    Name(String),
    /// Typed as it is.
    Text(String),
}

/// Options beyond this have numbers of two digits, of which an agent may take the first.
const MOST_DIGITS: usize = 9;

/// A dialog whose options are not seen is for a person to answer.
const UNREAD: &str =
    "its options cannot be told from its text: write its keys to `keys` (Enter, Down), or tmux attach";

/// What the agent asks; none while the capture does not say that it is blocked.
pub fn question(manifest: &Manifest, screen: &Screen) -> Option<Question> {
    (judge(manifest, screen).state == State::Blocked).then(|| asked(manifest, screen))
}

/// What the agent asks, if something other than the capture says that it is blocked.
pub fn asked(manifest: &Manifest, screen: &Screen) -> Question {
    dialog::read(&manifest.questions, screen)
}

impl Question {
    pub(super) fn new(header: String, text: String, found: Found) -> Self {
        let mut found = found;
        // The option that was chosen gets a tick for a moment, and is no other one by it.
        for option in &mut found.options {
            option.label.truncate(option.label.trim_end_matches([' ', '✔', '✓']).len());
        }
        let mut hash = Fnv::default();
        hash.add(&header);
        hash.add(&text);
        // What is seen of a list that scrolls is another part of it at each step.
        let labels = found.options.iter().filter(|_| !found.more);
        labels.for_each(|o| hash.add(&o.label));
        let id = format!("{:08x}", hash.0);
        let Found { options, selected, how, more } = found;
        Question {
            id,
            header,
            text,
            options,
            selected,
            how,
            more,
            at_once: false,
            own: None,
            by_escape: None,
            place: Place::default(),
        }
    }

    /// The rows of the option of this number, where it is seen.
    pub fn rows_of(&self, number: usize) -> Option<Range<usize>> {
        let at = self.options.iter().position(|o| o.number == number)?;
        self.place.options.get(at).cloned()
    }

    /// The number of the option that somebody means: by its number, by its label, or by the
    /// beginning of one label alone, in upper and lower case alike. Else why not, with the options.
    pub fn choice(&self, words: &str) -> Result<usize, String> {
        let (words, all) = (words.trim().to_lowercase(), &self.options);
        let numbered = words.parse().ok().filter(|n| all.is_empty() || all.iter().any(|o| o.number == *n));
        if let Some(number) = numbered {
            return Ok(number);
        }
        // A list that goes on beyond the screen may have the number below.
        if let (true, Ok(number)) = (self.more, words.parse()) {
            return Ok(number);
        }
        if all.is_empty() {
            return Err(UNREAD.into());
        }
        let labelled = |fits: &dyn Fn(&str) -> bool| {
            all.iter().filter(|o| fits(&o.label.to_lowercase())).map(|o| o.number).collect::<Vec<_>>()
        };
        let (same, begun) = (labelled(&|l| l == words), labelled(&|l| l.starts_with(&words)));
        let why = match (same.as_slice(), begun.as_slice()) {
            ([one], _) | ([], [one]) if !words.is_empty() => return Ok(*one),
            ([], []) => "no option begins so",
            _ => "several options begin so",
        };
        let shown: Vec<String> = all.iter().map(|o| format!("{}. {}", o.number, o.label)).collect();
        Err(format!("{why}; the options are {}", shown.join(" | ")))
    }

    /// Whether it takes words of one's own where nothing else stands, and may hide them.
    pub fn is_field(&self) -> bool {
        self.own == Some(Own::Field)
    }

    /// What to do next so that words of one's own can be typed. After `Confirm`, and a new capture
    /// where it has keys, they can.
    pub fn next_own(&self, now: &Question) -> Step {
        match &self.own {
            None => Step::Impossible("it takes no words of one's own"),
            Some(Own::Field | Own::Typed) if now.id == self.id => Step::Confirm(Vec::new()),
            Some(Own::Field | Own::Typed) => Step::Impossible("it is another question now"),
            Some(Own::Option(number, opens)) => match self.by_mark(now, *number) {
                Step::Confirm(_) if now.options.iter().any(|o| o.number == *number && o.ticked.is_some()) => {
                    Step::Impossible("it is a list of boxes to tick: send its keys")
                }
                // A digit is taken at once, and opens the field.
                Step::Confirm(keys) if self.how == How::Digits => Step::Confirm(keys),
                Step::Confirm(_) => Step::Confirm(opens.iter().map(|key| Key::Name(key.clone())).collect()),
                step => step,
            },
        }
    }

    /// What to do next so that option `wanted` of this question is chosen, with what is seen now.
    /// Enter comes only once the wanted option is seen selected, and nothing at all if another
    /// question is there.
    pub fn next(&self, now: &Question, wanted: usize) -> Step {
        // Whatever is selected. In a narrow terminal copilot writes its label otherwise once it is.
        if now.id == self.id && now.by_escape == Some(wanted) {
            return Step::Confirm(vec![Key::Name("Escape".into())]);
        }
        self.by_mark(now, wanted)
    }

    fn by_mark(&self, now: &Question, wanted: usize) -> Step {
        if now.id != self.id {
            return Step::Impossible("it is another question now");
        }
        let place = |number: usize| now.options.iter().position(|o| o.number == number);
        let name = |key: &str| Key::Name(key.to_owned());
        match (&now.how, place(wanted)) {
            (How::None, _) => Step::Impossible(UNREAD),
            (How::Arrows(back, forth, tick), to) => {
                let Some(at) = now.selected else {
                    return Step::Impossible("which option is selected cannot be seen");
                };
                if at == wanted {
                    let ticked = to.and_then(|to| now.options[to].ticked);
                    return match (ticked, tick) {
                        (None, _) => Step::Confirm(vec![name("Enter")]),
                        (Some(_), Some(key)) => Step::Confirm(vec![name(key)]),
                        (Some(_), None) => Step::Impossible("it is a box to tick: send its keys"),
                    };
                }
                if now.takes_digit(at, wanted) {
                    return Step::Confirm(vec![Key::Text(wanted.to_string())]);
                }
                let (from, to) = match (place(at), to) {
                    (Some(from), Some(to)) => (from, to),
                    // Not seen yet; the numbers of such a list are the agent's own.
                    _ if now.more => (at, wanted),
                    _ => return Step::Impossible("there is no such option"),
                };
                let key = if to > from { forth } else { back };
                Step::Move { key: name(key), to: wanted }
            }
            (_, None) => Step::Impossible("there is no such option"),
            (How::Letters(letters), Some(at)) => {
                Step::Confirm(vec![Key::Text(letters[at].clone()), name("Enter")])
            }
            (How::Digits, Some(_)) => Step::Confirm(vec![Key::Text(wanted.to_string())]),
        }
    }
}

impl Question {
    /// Whether option `wanted` is chosen by its digit while option `at` is selected: what is typed on
    /// the option with a field goes into that.
    fn takes_digit(&self, at: usize, wanted: usize) -> bool {
        let is_field = |number: usize| matches!(self.own, Some(Own::Option(own, _)) if own == number);
        self.at_once
            && !self.more
            && self.options.iter().all(|o| o.number <= MOST_DIGITS && o.ticked.is_none())
            && self.options.iter().any(|o| o.number == wanted)
            && ![at, wanted].into_iter().any(is_field)
    }
}

/// The options as they were found in a dialog.
#[derive(Debug)]
pub(super) struct Found {
    pub options: Vec<Choice>,
    pub selected: Option<usize>,
    pub how: How,
    pub more: bool,
}

/// FNV-1a of 32 bits: the same in every build, unlike the standard library's.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x811c_9dc5)
    }
}

impl Fnv {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(labels: &[&str], more: bool) -> Question {
        let option = |(n, label): (usize, &&str)| Choice {
            number: n + 1,
            label: (*label).to_owned(),
            about: String::new(),
            ticked: None,
        };
        let options = labels.iter().enumerate().map(option).collect();
        Question::new(String::new(), String::new(), Found { options, selected: None, how: How::None, more })
    }

    #[test]
    fn an_option_is_meant_by_number_label_or_beginning() {
        let q = with(&["Yes, I trust this folder", "No, exit", "Yes", "2 minutes"], false);
        for (words, number) in
            [("1", 1), ("yes, i", 1), ("No", 2), ("no, EXIT", 2), ("yes", 3), ("2 m", 4), (" 4 ", 4)]
        {
            assert_eq!(q.choice(words), Ok(number), "{words}");
        }
        for (words, why) in [
            ("y", "several options begin so; the options are 1. Yes, I trust this folder | 2."),
            ("maybe", "no option begins so"),
            ("9", "no option"),
            ("", "several options"),
        ] {
            assert!(q.choice(words).unwrap_err().starts_with(why), "{words}: {:?}", q.choice(words));
        }
        assert!(with(&["Yes", "yes"], false).choice("yes").is_err());
        assert_eq!(with(&["a", "b"], true).choice("40"), Ok(40));
        assert_eq!(with(&[], false).choice("1"), Ok(1), "the dialog says why it cannot");
        assert_eq!(with(&[], false).choice("dark").unwrap_err(), UNREAD);
    }
}
