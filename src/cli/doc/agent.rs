//! muxfs-agent(5): the files that describe agents. Knows no table itself: the keys are arguments.

use super::mdoc::Page;
use super::{DATE, DocSetting};

/// What each table is introduced with.
const TABLES: &[(&str, &str)] = &[
    ("", "At the top of the file"),
    ("danger", "[danger] table"),
    ("submit", "[submit] table"),
    ("keys", "[keys] table"),
    ("resume", "[resume] table"),
    ("hooks", "[hooks] table"),
    ("[rule]", "[[rule]] tables"),
    ("[notice]", "[[notice]] tables"),
    ("[question]", "[[question]] tables"),
    ("composer", "[composer] table"),
    ("[composer.mode]", "[[composer.mode]] tables"),
];

const EXAMPLE: &str = "name = \"My agent\"
command = [\"my-agent\"]
new = \"/clear\"

[[rule]]
state = \"blocked\"
name = \"approval\"
screen = '^ *Allow this\\? \\[y/n\\]'
rows = 3

[[rule]]
state = \"busy\"
name = \"spinner\"
screen = 'esc to interrupt'
rows = 3

[[rule]]
state = \"ready\"
name = \"composer\"
screen = '^> [^\\n]*\\z'
rows = 1

[composer]
screen = '^> (?P<text>[^\\n]*)\\s*\\z'";

/// `file` of each key is the table it stands in.
/// `agents`: key, name and the versions whose screens were seen, of those built in.
pub fn muxfs_agent_5(keys: &[DocSetting<'_>], agents: &[(String, String, Vec<String>)]) -> String {
    let mut page = Page::new("muxfs-agent", 5, DATE, "files that describe agents to muxfs");
    page.section("DESCRIPTION");
    page.text(
        "A manifest is a TOML file that says how one agent CLI is started, how its state is seen, and \
        how prompts and answers are put in. Those of fifteen agents are built in; \
        `muxfs agent list --all` lists them.",
    );
    page.section("FILES");
    page.text(
        "Your own stand in the directory `agents` beside the node's settings file: by default \
        ~/.config/muxfs/agents/KEY.toml, or beside the file that MUXFS_CONFIG names. KEY is \
        lower-case letters, digits and underscores, with no minus: a session `mine-api` is of the \
        agent `mine`.\n\n\
        A KEY of its own adds an agent. A KEY that is built in takes the place of that manifest as a \
        whole, and nothing of it is inherited. To change no more than command, arguments, environment \
        or danger of an agent, write a table `[agent.KEY]` in muxfs.toml(5) instead.\n\n\
        A file that is wrong is named with line and column in `errors` and by `muxfs agent list`; what \
        it would have replaced stays, and so do all others. They are read when the node starts and at \
        `ctl reload`.",
    );
    page.section("KEYS");
    page.text("An unknown key is a fault. After each: what a value looks like, and its default.");
    for (table, title) in TABLES {
        page.subsection(title);
        page.raw(".Bl -tag -width Ds");
        for key in keys.iter().filter(|k| k.file == *table) {
            let default =
                if key.default.is_empty() { String::new() } else { format!(", default {}", key.default) };
            page.macro_line("It", &[key.key, &format!("({}{default})", key.kind)]);
            page.text(key.about);
        }
        page.raw(".El");
    }
    page.section("BUILT IN");
    page.text(
        "The versions after each were run, and their screens read. Another version may show something \
        else: `muxfs doctor` names those that are installed. Without a version an agent could not be \
        run, and is described by what others wrote of it.",
    );
    page.raw(".Bl -tag -width Ds");
    for (key, name, seen) in agents {
        page.macro_line("It", &[key]);
        page.text(&if seen.is_empty() { name.clone() } else { format!("{name}: {}", seen.join(", ")) });
    }
    page.raw(".El");
    page.section("STATE");
    page.text(
        "Rules are tried from the first to the last, and the first of which everything that is given \
        holds says the state. Where none holds it is unknown: nothing is typed then. So put `blocked` \
        first, then `limited`, `busy`, and `ready` last, and let `ready` need what is there only at \
        rest: most agents leave their prompt in sight while they work.\n\n\
        Only the last rows with text count, since an answer above may quote any of this. `(?P<until>...)` \
        in a rule of `limited` takes words such as `7:02am (UTC)`, `59m 58s`.\n\n\
        Hooks, status files and OSC 7501 are better evidence than rules, and are believed before them.",
    );
    page.section("REGULAR EXPRESSIONS");
    page.text(
        "They are those of the regex crate of Rust, without look-around and back-references; `^` and `$` \
        are a row's, `\\z` is the end, and a dot is no line feed. Write them between single quotes: TOML \
        leaves backslashes alone there.",
    );
    page.section("NAMES OF KEYS");
    page.text(
        "As tmux(1) has them: one character, `C-u`, `M-x`, `Enter`, `Escape`, `Tab`, `BTab`, `Space`, \
        `BSpace`, `Up`, `Down`, `Left`, `Right`, `Home`, `End`, `PPage`, `NPage`, `IC`, `DC`, `F1` to \
        `F12`. A name that tmux would type as text is a fault.",
    );
    page.section("TESTING");
    page.text(
        "`muxfs agent check FILE` says line and column of the first fault, or how many rules there are. \
        `muxfs agent state KEY` says what the rules see in a saved screen, and which rule:",
    );
    page.display(
        "tmux capture-pane -e -p -t %5 > screen\n\
        muxfs agent state --title \"$(tmux display -p -t %5 '#{pane_title}')\" \\\n\
        \x20   --cursor \"$(tmux display -p -t %5 '#{cursor_x},#{cursor_y}')\" mine < screen",
    );
    page.text(
        "Save screens of every state, with a draft and without, at several sizes, and of an answer \
        that quotes a dialog.",
    );
    page.section("EXAMPLES");
    page.display(EXAMPLE);
    page.see_also(&[("muxfs", 1), ("tmux", 1), ("muxfs-tree", 5), ("muxfs.toml", 5)]);
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_right_manifest() {
        let manifest = crate_manifest(EXAMPLE);
        assert_eq!((manifest.rules.len(), manifest.name.as_str()), (3, "My agent"));
    }

    fn crate_manifest(text: &str) -> muxfs_agent::manifest::Manifest {
        muxfs_agent::manifest::Manifest::parse(text).unwrap()
    }
}
