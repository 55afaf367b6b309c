//! Every key of a manifest, for muxfs-agent(5): a test compares this table with what the parser
//! takes, and its defaults with what a file without the key means.

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The table it stands in, as a file writes it; empty: at the top.
    pub table: &'static str,
    pub name: &'static str,
    /// What a value looks like, with its bounds.
    pub kind: &'static str,
    /// As TOML writes it; empty: none.
    pub default: &'static str,
    pub about: &'static str,
}

const fn row(
    table: &'static str,
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    about: &'static str,
) -> Entry {
    Entry { table, name, kind, default, about }
}

const TEXT: &str = "text";
const LIST: &str = "list of texts";
const MAP: &str = "table of texts";
const BOOL: &str = "true or false";
const REGEX: &str = "regular expression";
const KEYS: &str = "list of keys, at least one";
const SPAN: &str = "text with ms or s, at most 60s";
const TABLE: &str = "table";
const TABLES: &str = "tables";

#[rustfmt::skip]
pub const ENTRIES: &[Entry] = &[
    row("", "name", TEXT, "", "The agent's name for people. Must be given."),
    row("", "command", LIST, "", "The program, looked up in the login shell's PATH, and the arguments it always gets. Must be given."),
    row("", "seen", LIST, "[]", "The versions whose screens the rules were tried on, the newest first. `muxfs doctor` compares them with what is installed."),
    row("", "env", MAP, "", "Environment of its sessions, over that of the node and below that of `[agent.KEY]` and of the session."),
    row("", "new", TEXT, "", "What begins a new conversation when it is typed by itself, such as `/clear`. Without it `ctl new` is refused, and `ctl restart` begins anew."),
    row("", "history", "one of agy, aider, claude, codex, continue, copilot, gemini, opencode, qwen", "", "Whose manner of keeping conversations it follows: by that its answers and past conversations are read."),
    row("", "status_file", LIST, "[]", "Where a running one writes its state in the manner of Claude Code: the first path whose variable is set counts. `$NAME/` and `~/` may begin it, `{pid}` is its process."),
    row("", "stopped", REGEX, "", "Found in the last 14 rows with text while the newest thing said is that the turn was stopped by its user. For an agent whose own records do not say so."),
    row("", "continues", REGEX, "", "Found in the last 14 rows with text while it is limited and says that it goes on with the turn by itself: then the turn is not over."),
    row("", "osc7501", BOOL, "false", "Whether it says its state by OSC 7501 by itself."),
    row("", "message", REGEX, "", "The first row of each message on its screen, a prompt, an answer or a notice, so that `above` of a rule has a line for each."),
    row("", "danger", TABLE, "", "What makes it ask for no approval; used where `danger` is on in the settings."),
    row("", "submit", TABLE, "", "How a prompt is put in."),
    row("", "keys", TABLE, "", "The keys that are pressed for it."),
    row("", "resume", TABLE, "", "How a conversation is taken up again. What is left out it cannot."),
    row("", "hooks", TABLE, "", "What makes it say its state by itself, without an edit of the user's files."),
    row("", "rule", TABLES, "", "How its state is seen; in order."),
    row("", "notice", TABLES, "", "What it says in the place of an answer when it could not work: such an answer ends a turn as limited or failed."),
    row("", "question", TABLES, "", "How its dialogs are drawn; in order."),
    row("", "composer", TABLE, "", "Where one writes to it. Without it whether a draft stands there is never known."),

    row("danger", "args", LIST, "[]", "Arguments."),
    row("danger", "env", MAP, "", "Environment."),

    row("submit", "by", "paste or keys", "\"paste\"", "Pasted in brackets, or typed. One line that begins with `/` is always typed."),
    row("submit", "settle", SPAN, "\"300ms\"", "Quiet between the text and Enter: some take an Enter that comes sooner for a line feed."),
    row("submit", "nudge", "list of keys", "[]", "Pressed before Enter after a text of `large` bytes or more, where a large paste is taken in only after a key. Needs `large`."),
    row("submit", "large", "bytes", "0", "From where on a text is nudged."),
    row("submit", "enters", "1 to 10", "3", "How often Enter may be pressed in all while the text still stands in the composer. 1 where a second one could answer a dialog."),

    row("keys", "interrupt", KEYS, "[\"Escape\"]", "What ends its work; pressed only while it is busy."),
    row("keys", "pause", SPAN, "\"300ms\"", "Between two keys of an interrupt."),
    row("keys", "clear", KEYS, "[\"C-u\", \"BSpace\"]", "What empties the composer, pressed again and again until it is empty."),
    row("keys", "close", "list of keys", "[]", "What closes a list of completions and leaves the text as it is."),
    row("keys", "end_word", "list of keys", "[\"Space\"]", "What ends the word before the cursor, so that no list of completions is open for it."),
    row("keys", "queue", "list of keys", "[]", "Pressed in the place of Enter to hand a prompt in while it works, where Enter would approve a dialog that comes up in the same moment and these approve none."),

    row("resume", "args", LIST, "[]", "Right after the command; `{id}` is the conversation's id."),
    row("resume", "latest", LIST, "[]", "Goes on with the newest conversation of the directory."),
    row("resume", "preset", LIST, "[]", "Gives a new conversation the id `{id}`, a UUID, so that it is known from the start."),
    row("resume", "forks", BOOL, "false", "What goes on is a copy with an id of its own, which the agent does not tell."),

    row("hooks", "args", LIST, "", "Arguments that make it tell; one of them, or of `env`, has to run muxfs: `{program}` is muxfs, `{file}` the file it is to write to with `muxfs hook`, `{command}` both as one command line, `{settings}` the path of the file below."),
    row("hooks", "env", MAP, "", "Environment that does, with the same words in braces."),
    row("hooks", "settings", TEXT, "", "The text of a file of settings for it, with the same words in braces. Goes together with `{settings}`."),

    row("[rule]", "state", "one of ready, busy, blocked, limited, unknown", "", "What is seen. Must be given. `ready` says that a prompt may be typed, `blocked` that a person is asked, `limited` that a quota is used up. A wrong `ready` is the worst mistake: where it is not certain, say nothing, or `unknown`."),
    row("[rule]", "name", TEXT, "", "Shown as the evidence. Must be given."),
    row("[rule]", "title", REGEX, "", "In the pane's title."),
    row("[rule]", "screen", REGEX, "", "In the last rows, as plain text. `(?P<until>...)` takes the agent's words for when a limit ends."),
    row("[rule]", "styled", REGEX, "", "In the last rows with colours written out where they change, such as `⟪dim,fg246⟫` and `⟪⟫` for none. A picture without colours does not hold it."),
    row("[rule]", "cursor_row", REGEX, "", "In the row of the cursor, colours written out."),
    row("[rule]", "words", REGEX, "", "In the last rows run together as one line, without the lines of boxes: what a narrow terminal wraps is whole again. May take `until` too."),
    row("[rule]", "above", REGEX, "", "The same of the rows above the composer, which has to be seen; each message is a line, where `message` tells them."),
    row("[rule]", "composer", BOOL, "", "Whether the composer is seen."),
    row("[rule]", "reason", "one of usage, login, model, network; usage where it is not given", "", "Why it is limited: a quota is used up, nobody is logged in, the model is not granted, the service is not reached. For `limited` alone."),
    row("[rule]", "unless", REGEX, "", "Must not be in the last rows."),
    row("[rule]", "rows", "1 to 1000", "14", "How many rows with text count, from the bottom. Rows without text never do."),

    row("[notice]", "reason", "one of usage, login, model, network", "", "Why it could not work. Without it, it failed for another reason."),
    row("[notice]", "text", REGEX, "", "The notice from its first word on, its lines run together. `(?P<until>...)` (and `until2`, for another form of it) takes the words for when it ends. Must be given."),

    row("[question]", "name", TEXT, "", "For people. Must be given."),
    row("[question]", "screen", REGEX, "", "Must be in the last 14 rows with text, else the form is not tried."),
    row("[question]", "top", REGEX, "", "The dialog's first row: the nearest above the options. Where it is not seen the dialog begins below two blank rows, or below a row that is not indented."),
    row("[question]", "title", TEXT, "", "The dialog's title, where it shows none."),
    row("[question]", "skip", REGEX, "", "Rows that are no part of the question: hints of keys, search fields."),
    row("[question]", "cut", REGEX, "", "From where it matches on, a row shows something else."),
    row("[question]", "clip", REGEX, "", "The first row of a dialog that is painted over other rows, with `(?P<title>...)`; the selected option has another background."),
    row("[question]", "option", REGEX, "", "A row that is an option, each alike: `(?P<label>...)`, and where they are there `mark` (before the selected one), `number`, `about`, `box` (a tick box), `field` (what stands before a label that can be written to), `more` (the list goes on)."),
    row("[question]", "mark", REGEX, "", "The row of the selected option alone, with `(?P<mark>...)` and `(?P<label>...)`; the others start in the label's column."),
    row("[question]", "layout", "rows, blocks or headed", "\"rows\"", "How the rows in the label's column are options: each is one; or blank rows part them; or they part groups with a heading each."),
    row("[question]", "side", REGEX, "", "A row with all options side by side, `(?P<options>...)`, two blanks or more between them; the selected one has another background."),
    row("[question]", "letters", REGEX, "", "A last row that takes a letter: `(?P<options>...)` such as `(Y)es/(N)o`, `(?P<title>...)`, and `(?P<default>...)` for what Enter alone takes."),
    row("[question]", "digits", BOOL, "false", "A number typed is taken at once and nothing shows a selection; for `option`."),
    row("[question]", "at_once", REGEX, "", "In the last 14 rows of a dialog that takes a number typed at once although a selection shows; for `option`. Options beyond 9, boxes and lists that go on are reached by arrow keys all the same."),
    row("[question]", "tick", "a key", "", "The key that ticks a box. Without it boxes are not ticked."),
    row("[question]", "own", REGEX, "", "The label of the option that takes words of one's own, or a row below the options that says to type; in a form without options, some row of a dialog that is nothing but a field. Without it `ctl answer-text` is refused."),
    row("[question]", "own_key", "a key", "", "The key that opens that option's field once it is selected. Without it the option is one."),
    row("[question]", "by_escape", REGEX, "", "The label of the option that Escape chooses, because Enter wants words for it."),

    row("composer", "screen", REGEX, "", "The composer with what is around it, in all rows of the screen; `(?P<text>...)` (or `text2`, where it may be drawn in another way) is what it holds. Of several matches the last counts. Must be given."),
    row("composer", "margin", REGEX, "", "What of each row is no text: a margin, a box's sides, a prompt sign."),
    row("composer", "hint", "list of looks", "[]", "How placeholders and suggestions look, a word each: bold, dim, italic, underline, reverse, fg0 to fg255, fg#rrggbb."),
    row("composer", "placeholder", REGEX, "", "Texts that are no draft however they look."),
    row("composer", "cursor", "nothing, tells or needed", "\"nothing\"", "What the terminal's cursor says: nothing, because the agent draws its own; that behind its start there is a draft; or that without it in the text there is no composer."),
    row("composer", "popup", REGEX, "", "An open list of completions, in all rows of the screen, with blank rows at most between it and the composer; `(?P<takes>...)` is the entry that Enter would take."),
    row("composer", "folded", REGEX, "", "What stands for a paste that is not shown: `(?P<lines>...)` counts its lines, `(?P<more>...)` its line feeds, `(?P<chars>...)` its characters."),
    row("composer", "argument", REGEX, "", "What stands behind a command that was typed, for arguments that may follow, where it looks like text."),
    row("composer", "mode", TABLES, "", "Modes in which what is typed is no prompt."),

    row("[composer.mode]", "name", TEXT, "", "For people: `shell`. Must be given."),
    row("[composer.mode]", "screen", REGEX, "", "What shows it, from the composer's first row to the end of the screen. One of this and `without` must be given."),
    row("[composer.mode]", "without", REGEX, "", "What is there in the ordinary mode, and gone in this one: counts once it was seen since the program's start."),
    row("[composer.mode]", "leave", "list of keys", "[]", "The keys that lead back to the ordinary mode, pressed one at a time where the composer is empty."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    const HEAD: &str = "name = 'X'\ncommand = ['x']\n";

    /// A table with what must be in it.
    fn open(table: &str) -> &str {
        match table {
            "" => "",
            "[rule]" => "[[rule]]\nstate = 'busy'\nname = 'a'\ntitle = 'x'\n",
            "[notice]" => "[[notice]]\nreason = 'usage'\ntext = 'x'\n",
            "[question]" => "[[question]]\nname = 'a'\n",
            "composer" => "[composer]\nscreen = '(?P<text>x)'\n",
            "[composer.mode]" => {
                "[composer]\nscreen = '(?P<text>x)'\n[[composer.mode]]\nname = 'a'\nscreen = 'x'\n"
            }
            "danger" => "[danger]\n",
            "submit" => "[submit]\n",
            "keys" => "[keys]\n",
            "resume" => "[resume]\n",
            "hooks" => "[hooks]\n",
            other => panic!("{other}"),
        }
    }

    /// The keys that the parser says it takes in a table.
    fn taken(table: &str) -> Vec<String> {
        let said = Manifest::parse(&format!("{HEAD}{}no_such_key = 1\n", open(table))).unwrap_err().text;
        assert!(said.starts_with("unknown field `no_such_key`, expected "), "{table}: {said}");
        let mut keys: Vec<String> = said.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_that_the_parser_takes_has_its_line_and_no_other() {
        let mut tables: Vec<&str> = ENTRIES.iter().map(|e| e.table).collect();
        tables.dedup();
        assert_eq!(tables.len(), 11, "each table stands together: {tables:?}");
        for table in tables {
            let mut told: Vec<&str> = ENTRIES.iter().filter(|e| e.table == table).map(|e| e.name).collect();
            told.sort_unstable();
            assert_eq!(taken(table), told, "{table}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_a_file_without_the_key() {
        for e in ENTRIES.iter().filter(|e| !e.default.is_empty()) {
            let text = format!("{HEAD}{}", open(e.table));
            let with = Manifest::parse(&format!("{text}{} = {}\n", e.name, e.default))
                .unwrap_or_else(|fault| panic!("{} {}: {fault}", e.table, e.name));
            let without = Manifest::parse(&text).unwrap();
            assert_eq!(format!("{with:?}"), format!("{without:?}"), "{} {}", e.table, e.name);
        }
    }

    #[test]
    fn every_word_of_a_choice_is_told() {
        for (table, key) in [
            ("[rule]", "state"),
            ("[rule]", "reason"),
            ("submit", "by"),
            ("[question]", "layout"),
            ("composer", "cursor"),
        ] {
            let open = open(table).replace("state = 'busy'\n", "");
            let said = Manifest::parse(&format!("{HEAD}{open}{key} = 'nonsense'\n")).unwrap_err().text;
            let kind = ENTRIES.iter().find(|e| e.table == table && e.name == key).unwrap().kind;
            let words: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
            assert!(words.len() > 1 && words.iter().all(|w| kind.contains(w)), "{key}: {said}");
        }
        let history = ENTRIES.iter().find(|e| e.name == "history").unwrap().kind;
        assert_eq!(history, format!("one of {}", crate::history::ADAPTERS.join(", ")));
    }
}
