//! Which agents a text of settings names, and where: `agent` of a session or of one of
//! `[[sessions]]`, and the `[agent.KEY]` tables of a node.
//!
//! Pure. Must not know which agents there are.

use toml_edit::{Document, Item};

use muxfs_tree::base::schema::{Fault, fault};

/// Stands for the login shell where a session's agent is named.
pub const SHELL: &str = "shell";

struct Named<'a> {
    key: &'a str,
    at: usize,
    /// A table for the agent's own settings: a shell has none.
    table: bool,
}

/// The first agent by position that is not among `known`, as a fault. None for a text that is not TOML:
/// the parser reports that.
pub fn check(text: &str, known: &[&str]) -> Result<(), Fault> {
    let Ok(doc) = Document::parse(text.to_owned()) else { return Ok(()) };
    let mut named = Vec::new();
    let place = |table: &dyn toml_edit::TableLike, key: &str| {
        table.key(key).and_then(|k| k.span()).map_or(0, |span| span.start)
    };
    match doc.get("agent") {
        Some(Item::Value(toml_edit::Value::String(key))) => {
            named.push(Named { key: key.value(), at: place(doc.as_table(), "agent"), table: false });
        }
        Some(item) => {
            let table = item.as_table_like();
            for (key, _) in table.into_iter().flat_map(|t| t.iter()) {
                let at = table.map_or(0, |t| place(t, key));
                named.push(Named { key, at, table: true });
            }
        }
        None => {}
    }
    for table in doc.get("sessions").and_then(Item::as_array_of_tables).into_iter().flatten() {
        if let Some(key) = table.get("agent").and_then(Item::as_str) {
            named.push(Named { key, at: place(table, "agent"), table: false });
        }
    }
    named.sort_by_key(|n| n.at);
    let is_known = |n: &Named| known.contains(&n.key) || !n.table && n.key == SHELL;
    let Some(n) = named.iter().find(|n| !is_known(n)) else { return Ok(()) };
    let shell: &[&str] = if n.table { &[] } else { &[SHELL] };
    let known = [known, shell].concat().join(", ");
    Err(fault(text, n.at, format!("unknown agent {:?}; known: {known}", n.key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["claude", "codex"];

    #[test]
    fn the_first_unknown_one_is_named_with_its_place() {
        for (text, line, column, said) in [
            ("cwd = '/é'\n  agent = 'clade'\n", 2, 3, "unknown agent \"clade\"; known: claude, codex, shell"),
            ("agent = ''\n", 1, 1, "unknown agent \"\""),
            (
                "[agent.claude]\n[agent.shell]\ndanger = true\n",
                2,
                8,
                "unknown agent \"shell\"; known: claude, codex",
            ),
            ("agent = { codex = {}, nobody = {} }\n", 1, 23, "unknown agent \"nobody\""),
            ("agent.me.danger = true\n", 1, 7, "unknown agent \"me\""),
            (
                "[[sessions]]\nname = 'a'\nagent = 'codex'\n[[sessions]]\nagent = 'x'\n[agent.y]\n",
                5,
                1,
                "unknown agent \"x\"",
            ),
        ] {
            let f = check(text, KNOWN).unwrap_err();
            assert_eq!((f.line, f.column), (line, column), "{text:?}: {f}");
            assert!(f.text.starts_with(said), "{text:?}: {f}");
        }
    }

    #[test]
    fn known_ones_and_what_is_no_agent_pass() {
        for text in [
            "",
            "agent = 'shell'\n",
            "agent = 'claude'\n",
            "agent = 3\n",
            "[agent.codex]\nargs = 'x'\n[[sessions]]\nagent = 'shell'\n",
            "sessions = 'agent'\n",
            "agent = [\n",
        ] {
            assert_eq!(check(text, KNOWN), Ok(()), "{text:?}");
        }
    }
}
