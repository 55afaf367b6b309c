//! The manual pages, the listing of docs/reference.md and `.help`, printed from the tables that the program
//! itself runs by.
//!
//! Knows no table itself: the command line's, the rows of files and the settings are arguments, and
//! so it knows neither node nor command line. What no table holds (how to read the tree) stands here.

mod agent;
mod mdoc;

pub use agent::muxfs_agent_5;
use std::borrow::Cow;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};
use mdoc::Page;

/// Of the pages, as mdoc writes it. To be moved on when their meaning changes.
const DATE: &str = "November 21, 2026";

/// One file of the tree, as its table has it.
#[derive(Debug, Clone)]
pub struct DocRow<'a> {
    /// The directory, as a person names it: `` (the root), `<node>`, `<node>/<session>`.
    pub dir: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// The word of its shape: `view`, `log`, `sink`.
    pub shape: &'a str,
    pub mode: u32,
    /// What it is, in sentences; `` `code` `` is set apart.
    pub about: &'a str,
}

/// One key of a config file.
#[derive(Debug, Clone)]
pub struct DocSetting<'a> {
    /// `node`: in muxfs.toml; `session`: in a session's `config`; of a manifest the table.
    pub file: &'a str,
    /// With its table: `tmux.socket`.
    pub key: &'a str,
    /// What a value looks like: `text`, `bytes`, `list of texts`, or the words it may be.
    pub kind: Cow<'a, str>,
    /// As TOML writes it; empty: none.
    pub default: &'a str,
    pub about: &'a str,
}

/// One verb of a `ctl` file.
#[derive(Debug, Clone, Copy)]
pub struct DocVerb<'a> {
    /// The file, as a person names it: `<node>/ctl`.
    pub file: &'a str,
    pub name: &'a str,
    pub args: &'a str,
    pub about: &'a str,
}

/// One kind of event.
#[derive(Debug, Clone, Copy)]
pub struct DocEvent<'a> {
    pub name: &'a str,
    /// Those that not every event has.
    pub fields: &'a [&'a str],
    pub about: &'a str,
}

/// Fields that all lines of a file have, and the kinds of lines.
pub type DocLines<'a> = (&'a [(&'a str, &'a str)], Vec<DocEvent<'a>>);

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What the command line's own tables say.
pub struct CommandLine<'a> {
    pub command: Command,
    /// Words of `-o`.
    pub options: &'a [(&'a str, &'a str)],
    pub environment: &'a [(&'a str, &'a str)],
    /// Exit statuses.
    pub exits: &'a [(u8, &'a str)],
    /// Names of errnos.
    pub errors: Vec<(String, &'a str)>,
}

/// What each shape does with an open, a read and a write; docs/tree.md, "Shapes", in short.
const SHAPES: &[(&str, &str)] = &[
    ("view", "Computed once when it is opened, and the same for as long as it is open."),
    (
        "log",
        "Text that only grows, with its true size, so that tail -f and less +F work. Past its bound it becomes NAME.1 and a new file takes its place: tail -F follows across.",
    ),
    (
        "events",
        "Blocks, and gives one JSON object a line from the moment it was opened. poll(2) and O_NONBLOCK work, and a signal ends the wait.",
    ),
    ("wait", "Blocks until its condition is met, then gives one line and ends."),
    ("sink", "Takes the bytes of one open, write and close as one message; cannot be read."),
    (
        "ctl",
        "Read: its verbs, one a line. Written: one command a line, each judged at its write, so that a bad one fails in every shell.",
    ),
    (
        "document",
        "Read: its text. Written: replaced as a whole when it is closed, or when an editor renames its copy onto it; a text that is not valid changes nothing.",
    ),
    ("ask", "Written: a question. Read from the same open file: its answer."),
    ("item", "A text that is written once, when it is made; rm withdraws it."),
    ("dir", "A directory; mkdir, rmdir and mv make, end and rename."),
    ("link", "A symbolic link."),
];

/// How a directory of the tree is introduced.
fn title(dir: &str) -> &str {
    if dir.is_empty() { "/" } else { dir }
}

/// Rows by directory, in the order in which directories first appear.
fn by_dir<'r, 'a>(rows: &'r [DocRow<'a>]) -> Vec<(&'r str, Vec<&'r DocRow<'a>>)> {
    let mut groups: Vec<(&str, Vec<_>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(dir, _)| *dir == row.dir) {
            Some((_, group)) => group.push(row),
            None => groups.push((&row.dir, vec![row])),
        }
    }
    groups
}

/// muxfs(1).
pub fn muxfs_1(line: &CommandLine<'_>) -> String {
    let cli = &line.command;
    let mut page = Page::new("muxfs", 1, DATE, "every tmux session as files");
    page.section("SYNOPSIS");
    for (name, verb) in visible(cli) {
        for form in synopsis(&name, verb) {
            // Alone on its line, or groff begins no new one for the next command.
            page.raw(&format!(".Nm muxfs\n.{form}"));
        }
    }
    page.raw(
        ".Nm mount.fuse.muxfs\n.Ar source dir\n.Op Fl sfnv\n.Op Fl o Ar options\n.Op Fl t Cm fuse.muxfs",
    );
    page.section("DESCRIPTION");
    page.text(
        "muxfs mounts a tree in which every tmux session is a directory. What is written to its \
        `input` is typed there, a read of `output` is what it printed, a read of `wait` blocks \
        until it is done. Sessions are ordinary ones: `tmux attach` goes on working, sessions that \
        others made are there too, and all of them live on when the mount goes.",
    );
    page.paragraph();
    page.text("The files are told in muxfs-tree(5), the settings in muxfs.toml(5).");
    page.section("COMMANDS");
    for (name, verb) in visible(cli) {
        page.subsection(&format!("muxfs {name}"));
        page.text(&styled(verb.get_long_about().or(verb.get_about())));
        let args: Vec<_> =
            verb.get_arguments().filter(|a| !a.is_hide_set() && a.get_id() != "help").collect();
        if !args.is_empty() {
            page.list(args.iter().map(|a| (term(a), styled(a.get_help()))));
        }
    }
    page.subsection("mount.fuse.muxfs");
    page.text(
        "The same program under the name that mount(8) looks for in /sbin, so that \
        `mount -t fuse.muxfs muxfs /mux` and lines of fstab(5) work. Its options are mount(8)'s: \
        `-f` mounts nothing, `-s` passes unknown options over, `-n` and `-v` change nothing.",
    );
    page.section("MOUNT OPTIONS");
    page.text(
        "An unknown option is an error that names it. The words of mount(8) and fstab(5) that are \
        not for the file system (`defaults`, `nofail`, `noauto`, `user`, `_netdev`, `x-…`) are \
        passed over. A comma in a value is written `\\,`.",
    );
    page.list(line.options.iter().map(|(term, about)| (*term, (*about).to_owned())));
    page.section("ENVIRONMENT");
    page.list(line.environment.iter().map(|(term, about)| (*term, (*about).to_owned())));
    page.section("EXIT STATUS");
    let codes: Vec<_> =
        line.exits.iter().map(|(code, about)| (code.to_string(), (*about).to_owned())).collect();
    page.list(codes);
    page.paragraph();
    page.text("mount.fuse.muxfs has those of mount(8).");
    page.section("EXAMPLES");
    page.display("export MUX=/mux\nmuxfs mount $MUX\nmkdir $MUX/.self/demo\necho date > $MUX/.self/demo/input\ncat $MUX/.self/demo/wait $MUX/.self/demo/output\nmuxfs umount $MUX");
    page.see_also(&[
        ("tmux", 1),
        ("fstab", 5),
        ("muxfs-agent", 5),
        ("muxfs-tree", 5),
        ("muxfs.toml", 5),
        ("mount", 8),
    ]);
    page.finish()
}

fn lines(page: &mut Page, each: &str, (fields, kinds): &DocLines<'_>) {
    page.list(fields.iter().map(|(name, about)| (*name, (*about).to_owned())));
    page.paragraph();
    page.text(each);
    page.list(kinds.iter().map(|e| {
        let own = if e.fields.is_empty() { String::new() } else { format!(" Fields: {}.", quoted(e.fields)) };
        (e.name, format!("{}{own}", e.about))
    }));
}

/// muxfs-tree(5): every file.
///
/// `stages`: what may become of a prompt, each a word and its meaning. Of `events` and `audit` the fields
/// of every line come first.
pub fn muxfs_tree_5(
    rows: &[DocRow<'_>],
    stages: &[(&str, &str)],
    errors: &[(String, &str)],
    events: &DocLines<'_>,
    audit: &DocLines<'_>,
    verbs: &[DocVerb<'_>],
) -> String {
    let mut page = Page::new("muxfs-tree", 5, DATE, "the files of a muxfs mount");
    page.section("DESCRIPTION");
    page.text(
        "The root has one directory for each node (a machine); the local one is also `.self`. A \
        node has one directory for each session of its tmux server. `mkdir` in a node makes a \
        session and starts the agent of that name in it, otherwise a shell; `rmdir` ends one that was made here, `mv` renames. \
        A directory exists exactly while its session does.",
    );
    page.section("SHAPES");
    page.text("Every file has one of these shapes, and behaves by it.");
    let shapes = SHAPES.iter().filter(|(word, _)| rows.iter().any(|r| r.shape == *word));
    page.list(shapes.map(|(word, about)| (*word, (*about).to_owned())));
    page.section("FILES");
    page.text("After each name: its shape and its permission bits, which chmod changes for good.");
    for (dir, group) in by_dir(rows) {
        page.subsection(title(dir));
        page.raw(".Bl -tag -width Ds");
        for row in group {
            page.macro_line("It", &[&row.name, &format!("({}, {:04o})", row.shape, row.mode)]);
            page.text(row.about);
        }
        page.raw(".El");
    }
    page.section("COMMANDS");
    page.text(
        "A line written to a `ctl` is one command. In brackets is what may be left out; what ends in \
        dots takes the rest of its line.",
    );
    for file in ["<node>/ctl", "<node>/<session>/ctl"] {
        page.subsection(file);
        let of = verbs.iter().filter(|v| v.file == file);
        page.list(of.map(|v| (format!("{} {}", v.name, v.args).trim().to_owned(), v.about.to_owned())));
    }
    page.section("DELIVERY");
    page.text(
        "The bytes of one open, write and close are one message of at most 1 MiB of UTF-8 text. \
        One trailing newline is cut, an empty message does nothing, and control characters other \
        than tab and newline are removed. A program that asked for bracketed paste gets one paste; \
        another gets lines, each of at most 4,095 bytes where its terminal is in canonical mode. A \
        writer that is killed by a signal delivers nothing. Where turns are on, as they are for \
        agents, the close returns when the prompt is on disk, and fsync(2) waits until the agent has \
        taken it; where they are off, the close returns when tmux has taken the text. What can be \
        refused earlier is refused at the open or the write, where every \
        shell sees it. Every refusal leaves a line in `errors`. Messages that are not finished may \
        take 32 MiB a user and 64 MiB in all.",
    );
    page.paragraph();
    page.text(
        "In `queue/` a name that begins with `.` or `tmp`, or ends in `~`, `.tmp` or `.part`, is that of \
        a prompt that is not finished: it goes when it is renamed, and is dropped 60 s after its last \
        close if it is not. A prompt that waits may be renamed to a name that was never used.",
    );
    page.paragraph();
    page.text(
        "A call that waits ends within 100 ms of a signal that is meant to end its process: HUP, \
        INT, QUIT, TERM, KILL. What has not begun then is taken back: a message, the making of a \
        session. What would be left half done goes on: a removal, a rename, a verb of `ctl`, a \
        session whose program is being started.",
    );
    page.section("TURNS");
    page.text(
        "A prompt in `queue/` and `turns/` is in one of these states; from `done` on it is over. \
        The `status` of a turn says in `why` what its state alone does not tell.",
    );
    page.list(stages.iter().map(|(word, about)| (*word, (*about).to_owned())));
    page.section("EVENTS");
    page.text("A line of `events` is a JSON object. Each has these fields:");
    lines(&mut page, "The events, each with the fields of its own:", events);
    page.section("AUDIT");
    page.text("What others than the node's owner did is a line of `logs` with the level `audit`. Each has these fields:");
    lines(&mut page, "What may have been done, each with the fields of its own:", audit);
    page.section("REFUSALS");
    page.list(errors.iter().map(|(name, about)| (name.as_str(), (*about).to_owned())));
    page.see_also(&[("muxfs", 1), ("tmux", 1), ("muxfs-agent", 5), ("muxfs.toml", 5)]);
    page.section("CAVEATS");
    page.text(
        "A recursive `grep` or `tar` waits at the files that block: exclude `events` and `wait`. \
        inotify(7) tells nothing of what the node does: read `events`.",
    );
    page.paragraph();
    page.text(
        "A view is what it was at its open, and so is its size from then on: `tail -f` of `output` \
        stands still, and that of `events` is refused; follow `logs`. Before an open the size of what \
        takes a wait to know is a bound: of `output` and the screens, of `agents`, `conversations` and \
        `history/`. `wait`, `events` and `ask` show one page; `events` and `ask` are read with read(2) \
        alone, which programs that splice fall back to.",
    );
    page.paragraph();
    page.text(
        "tmux keeps the commands that it runs in its message log (show-messages), for everyone who may \
        use its socket. What is typed and pasted, and the values of `env`, stand in none of them, unless \
        tmux runs where it cannot open the files of muxfs (another process namespace): then what is \
        pasted does. Names, `command`, `args` and `cwd` of sessions, and the keys of `keys`, always do. \
        `ps` shows `command` and `args` as well: put a secret into `env` or a file.",
    );
    page.paragraph();
    page.text(
        "tmux 3.3a may leave unread what a program printed just before it ended: of 420 exits \
        after 1 MB of output, 11 lacked up to 11 kB at the end, read by cat(1) through pipe-pane. \
        What tmux did not read is in no file of the tree.",
    );
    page.finish()
}

/// muxfs.toml(5): every setting.
pub fn muxfs_toml_5(settings: &[DocSetting<'_>]) -> String {
    let mut page = Page::new("muxfs.toml", 5, DATE, "settings of a muxfs node and of its sessions");
    page.section("DESCRIPTION");
    page.text(
        "Both are TOML, and both are files of the mount: the node's is `<node>/config`, a \
        session's `<node>/<session>/config`. A save takes effect at once. One that is not valid \
        changes nothing: `config.error` says which line and what was expected, `config.rejected` \
        keeps the text. Comments and order are kept.\n\n\
        Behind the node's stands the file that MUXFS_CONFIG names, by default \
        ~/.config/muxfs/muxfs.toml; editing that has the same effect.",
    );
    for (file, title) in [("node", "THE NODE"), ("session", "A SESSION")] {
        let keys: Vec<_> = settings.iter().filter(|s| s.file == file).collect();
        if keys.is_empty() {
            continue;
        }
        page.section(title);
        page.raw(".Bl -tag -width Ds");
        for s in keys {
            let default =
                if s.default.is_empty() { String::new() } else { format!(", default {}", s.default) };
            page.macro_line("It", &[s.key, &format!("({}{default})", s.kind)]);
            page.text(s.about);
        }
        page.raw(".El");
    }
    page.see_also(&[("muxfs", 1), ("muxfs-agent", 5), ("muxfs-tree", 5)]);
    page.finish()
}

/// The listing of docs/reference.md: one table a directory.
pub fn listing(rows: &[DocRow<'_>]) -> String {
    let mut out = String::new();
    for (dir, group) in by_dir(rows) {
        out += &format!("\n`{}`\n\n| file | shape | mode | what |\n|---|---|---|---|\n", title(dir));
        for row in group {
            let about = row.about.replace('|', "\\|");
            out += &format!("| `{}` | {} | {:04o} | {about} |\n", row.name, row.shape, row.mode);
        }
    }
    out
}

/// Its tables of options, variables, errors and exit codes.
pub fn reference(line: &CommandLine<'_>) -> String {
    let mut out = String::new();
    let mut table = |head: &str, rows: &mut dyn Iterator<Item = (String, &str)>| {
        out += &format!("\n| {head} | |\n|---|---|\n");
        for (term, about) in rows {
            out += &format!("| `{term}` | {} |\n", about.replace('|', "\\|"));
        }
    };
    table("mount option", &mut line.options.iter().map(|(t, a)| (t.to_string(), *a)));
    table("variable", &mut line.environment.iter().map(|(t, a)| (t.to_string(), *a)));
    table("error of a file", &mut line.errors.iter().map(|(t, a)| (t.clone(), *a)));
    table("exit status", &mut line.exits.iter().map(|(t, a)| (t.to_string(), *a)));
    out
}

/// `.help` in the mount's root: plain text for a terminal.
pub fn help(rows: &[DocRow<'_>]) -> String {
    let mut out = String::from(
        "muxfs: every tmux session as files.\n\n\
        \x20   mkdir .self/demo                  a new session, with your shell in it\n\
        \x20   echo 'make test' > .self/demo/input\n\
        \x20   cat .self/demo/wait               blocks until it is done\n\
        \x20   cat .self/demo/output             what it printed\n\
        \x20   rmdir .self/demo                  ends it\n\n\
        \x20   mkdir .self/claude                an agent, where you stand: cat .self/agents\n\
        \x20   echo 'Why?' > .self/claude/input  queued, one turn after the other\n\
        \x20   cat .self/claude/wait             ready, blocked, limited, ...\n\
        \x20   cat .self/claude/reply            the last answer; turns/ has each\n\
        \x20   cat .inbox/*/question             all that ask something\n\
        \x20   echo 'answer 1' > .self/claude/ctl\n\n\
        Attach as ever: tmux attach -t demo. All sessions: cat */index\n\
        Files that block are to be left out: grep -r --exclude=events --exclude=wait --exclude=ask (tar too)\n\
        A refusal says why: tail .self/errors\n",
    );
    let width = rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for (dir, group) in by_dir(rows) {
        out += &format!("\n{}\n", title(dir));
        for row in group {
            let about: String = row.about.split_inclusive(". ").next().unwrap_or("").trim().replace('`', "");
            out += &format!("    {:<width$}  {:<8}  {:04o}  {about}\n", row.name, row.shape, row.mode);
        }
    }
    out + "\nMore: man muxfs-tree\n"
}

/// `text` with what stands between the marks of `name` replaced; `None` where a mark is missing.
/// The marks are lines of their own: `<!-- NAME -->` and `<!-- end NAME -->`.
pub fn with_section(text: &str, name: &str, body: &str) -> Option<String> {
    let (head, rest) = text.split_once(&format!("<!-- {name} -->\n"))?;
    let end = format!("<!-- end {name} -->\n");
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}<!-- {name} -->\n{body}\n{end}{tail}"))
}

/// Each command with its whole name; `agent list` stands for itself, `agent` alone is none but
/// where it has options of its own.
fn visible(cli: &Command) -> Vec<(String, &Command)> {
    let name = |c: &Command| c.get_name().to_owned();
    let shown = cli.get_subcommands().filter(|c| !c.is_hide_set());
    shown
        .flat_map(|c| match visible(c) {
            none if none.is_empty() => vec![(name(c), c)],
            below => {
                let own = c.get_arguments().next().map(|_| (name(c), c));
                let below = below.into_iter().map(|(rest, c2)| (format!("{} {rest}", name(c)), c2));
                own.into_iter().chain(below).collect()
            }
        })
        .collect()
}

fn styled(text: Option<&StyledStr>) -> String {
    // clap wants an option's help and a command's first line without a full stop.
    let mut text = text.map(ToString::to_string).unwrap_or_default().replacen("\n\n", ".\n\n", 1);
    if !text.is_empty() && !text.ends_with(['.', ']']) {
        text.push('.');
    }
    text
}

/// `-o OPTIONS`, `-f, --foreground`, `[SOURCE] DIR`.
fn term(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(|v| v.to_string()).collect();
    if arg.is_positional() {
        // Of several values the last one is the one that must be there.
        return match values.as_slice() {
            [first, last] => format!("[{first}] {last}"),
            _ => values.join(" "),
        };
    }
    let mut names: Vec<String> = Vec::new();
    names.extend(arg.get_short().map(|c| format!("-{c}")));
    names.extend(arg.get_long().map(|l| format!("--{l}")));
    let value =
        if arg.get_action().takes_values() { format!(" {}", values.join(" ")) } else { String::new() };
    names.join(", ") + &value
}

/// The ways to call one command, for SYNOPSIS, in mdoc's macros.
fn synopsis(name: &str, verb: &Command) -> Vec<String> {
    let last = verb.get_arguments().find(|a| a.is_last_set());
    let Some(text) = last.and_then(|a| a.get_value_names()).map(|v| v.join(" ").to_lowercase()) else {
        return vec![form(name, verb)];
    };
    // What may stand behind `--` may follow one word without it.
    let many = form(name, verb);
    let one =
        many.replace(" ...", "").replace(&format!(".Cm \\-\\- Ar {text}"), &format!(".Op Ar {text} ..."));
    vec![one, many]
}

fn form(name: &str, verb: &Command) -> String {
    let mut out = format!("Cm {name}");
    for arg in verb.get_arguments().filter(|a| !a.is_hide_set() && a.get_id() != "help") {
        let values: Vec<_> =
            arg.get_value_names().unwrap_or_default().iter().map(|v| v.to_lowercase()).collect();
        if arg.is_positional() {
            out += &match values.as_slice() {
                [first, last] => format!("\n.Op Ar {first}\n.Ar {last}"),
                _ => positional(arg, &values.join(" ")),
            };
            continue;
        }
        let flag = match (arg.get_short(), arg.get_long()) {
            (Some(c), _) => c.to_string(),
            (None, long) => format!("-{}", long.unwrap_or_default()),
        };
        let value =
            if arg.get_action().takes_values() { format!(" Ar {}", values.join(" ")) } else { String::new() };
        out += &format!("\n.Op Fl {flag}{value}");
    }
    if verb.has_subcommands() {
        out += "\n.Ar command ...";
    }
    out
}

/// One argument that has no flag: what may be left out in brackets, what may be given again with
/// dots.
fn positional(arg: &Arg, value: &str) -> String {
    let again = if matches!(arg.get_action(), ArgAction::Append) { " ..." } else { "" };
    match (arg.is_required_set(), arg.is_last_set()) {
        (true, _) => format!("\n.Ar {value}{again}"),
        (false, false) => format!("\n.Op Ar {value}{again}"),
        (false, true) => format!("\n.Cm \\-\\- Ar {value}{again}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &[DocRow<'static>] = &[
        DocRow {
            dir: Cow::Borrowed(""),
            name: Cow::Borrowed(".self"),
            shape: "link",
            mode: 0o777,
            about: "The local node.",
        },
        DocRow {
            dir: Cow::Borrowed("<node>"),
            name: Cow::Borrowed("index"),
            shape: "view",
            mode: 0o400,
            about: "One line a session. Wide.",
        },
        DocRow {
            dir: Cow::Borrowed(""),
            name: Cow::Borrowed(".help"),
            shape: "view",
            mode: 0o444,
            about: "This | that.",
        },
    ];

    #[test]
    fn rows_stay_with_their_directory() {
        let text = listing(ROWS);
        assert!(text.find(".help").unwrap() < text.find("index").unwrap());
        assert!(text.contains("| `.help` | view | 0444 | This \\| that. |"));
        let help = help(ROWS);
        assert!(help.contains("index  view      0400  One line a session.\n"), "{help}");
    }

    #[test]
    fn every_command_and_option_is_in_the_manual() {
        let page = muxfs_1(&crate::tables::command_line());
        for word in [
            "Cm mount",
            "Cm umount",
            "Cm agent state",
            "Cm session ask",
            "Fl -mount",
            "Cm doctor",
            "Fl -log-file",
            "setuid=NAME",
            "MUXFS_CONFIG",
        ] {
            assert!(page.contains(word), "{word}");
        }
        assert!(!page.contains("ready-stdout") && !page.contains("own-env"), "what it says to itself only");
    }

    #[test]
    fn a_section_is_replaced_between_its_marks() {
        let text = "a\n<!-- x -->\nold\n<!-- end x -->\nb\n";
        let new = with_section(text, "x", "new").unwrap();
        assert_eq!(new, "a\n<!-- x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(with_section(&new, "x", "new").unwrap(), new);
        assert_eq!(with_section(text, "y", "new"), None);
    }
}
