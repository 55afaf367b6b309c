//! `muxfs session edit`: a session's config in an editor, in the mount itself, and what became of
//! it.

use std::process::Command;

use super::tree::Session;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

pub fn edit(session: &Session, apply: bool) -> Result<String> {
    run_editor(session)?;
    let refused = session.read("config.error")?;
    if !refused.is_empty() {
        return fail(
            Kind::Invalid,
            format!("the settings were not changed: {}; config.rejected has the text", refused.trim_end()),
        );
    }
    if session.status()?["pending"] != "restart" {
        return Ok(String::new());
    }
    if apply {
        return session.command("apply");
    }
    Ok(format!("{}: pending: restart, when no turn is under way (--apply: now)\n", session.shown))
}

/// As git and crontab do: the variable is a command line, and the file its last word.
fn run_editor(session: &Session) -> Result<()> {
    let set = |key: &str| std::env::var(key).ok().filter(|v| !v.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(session.path("config"));
    let ended = command.status().map_err(|e| Error::io("/bin/sh", e))?;
    if ended.success() { Ok(()) } else { fail(Kind::NotDir, format!("{editor}: {ended}")) }
}
