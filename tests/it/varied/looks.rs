//! Choices of an agent's look: above an example of each, the one in force with a tick.

use muxfs_agent::question::question;
use muxfs_agent::screen::Screen;

use super::{catalogue, varied};

/// The label of each option, the selected one, the header and the question's id.
fn asked(text: &str) -> (Vec<String>, Option<usize>, String, String) {
    let catalogue = catalogue();
    let q = question(catalogue.get("claude").unwrap(), &Screen::parse(text)).expect("a question");
    (q.options.into_iter().map(|o| o.label).collect(), q.selected, q.header, q.id)
}

fn plain(path: &str) -> String {
    let all = varied();
    let s = all.iter().find(|s| s.path().starts_with(path)).unwrap_or_else(|| panic!("{path}"));
    s.screen.rows().iter().map(|row| format!("{}\n", row.text())).collect()
}

#[test]
fn the_options_of_a_theme_are_read() {
    let themes = [
        "Auto (match terminal)",
        "Dark mode",
        "Light mode",
        "Dark mode (colorblind-friendly)",
        "Light mode (colorblind-friendly)",
        "Dark mode (ANSI colors only)",
        "Light mode (ANSI colors only)",
    ];
    let (options, selected, header, id) = asked(&plain("claude/80x24-page-firstrun-theme"));
    assert_eq!(
        (&options[..], selected, header.as_str()),
        (&themes.map(str::to_owned)[..], Some(1), "Let's get started.")
    );
    // The tick says what is in force, wherever the mark stands.
    let moved = plain("claude/80x24-page-firstrun-theme").replace(" ❯ ✔ Auto", "   ✔ Auto");
    let moved = moved.replace("     Light mode\n", " ❯   Light mode\n");
    assert_eq!(asked(&moved), (options, Some(3), header, id));

    let (options, selected, header, _) = asked(&plain("claude/120x40-page-theme"));
    assert_eq!((selected, header.as_str()), (Some(2), "Theme"));
    assert_eq!((&options[..7], options[7].as_str()), (&themes.map(str::to_owned)[..], "New custom theme…"));
}
