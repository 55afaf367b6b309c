//! The environment of a session made here: that of the user's login shell, asked once.
//! docs/tree.md, "A new session": a node started by systemd or cron finds what the user finds.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use muxfs_tmux::process::OF_A_JOB;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// How long a login shell may take to start up (docs/tree.md, "A new session").
const LIMIT: Duration = Duration::from_secs(15);
/// Most that is read of what it prints; start-up files may be chatty.
const MAX_OUTPUT: u64 = 4 << 20;
/// Stands before the environment, so that what start-up files print is told from it.
const MARK: &str = "muxfs-environment-begins-here";
/// Belongs to the asking process, or is for tmux and the shell to set.
const NOT_OURS: &[&str] = &["_", "PWD", "OLDPWD", "SHLVL", "TERM", "TMUX", "TMUX_PANE", "COLUMNS", "LINES"];

pub type Env = BTreeMap<String, String>;

/// The user's login shell: `$SHELL`, else the one in the password database, else `/bin/sh`.
pub fn login_shell() -> String {
    let named = std::env::var("SHELL").ok().filter(|s| s.starts_with('/'));
    named
        .or_else(|| {
            let user = muxfs_tree::base::users::own()?;
            user.shell.to_str().filter(|s| !s.is_empty()).map(str::to_owned)
        })
        .unwrap_or_else(|| "/bin/sh".into())
}

/// Asks `shell` for its environment, as an interactive login shell has it. At most 15 s.
pub async fn ask(shell: &str) -> Result<Env> {
    let script = format!("printf '%s\\0' {MARK}; exec env -0");
    let mut child = tokio::process::Command::new("setsid") // an interactive shell takes its terminal otherwise
        .args(["--wait", shell, "-lic", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::io(format_args!("{shell} -lic env"), e))?;
    let Some(out) = child.stdout.take() else { return fail(Kind::Bug, "no pipe from the login shell") };
    let mut text = Vec::new();
    let read = tokio::time::timeout(LIMIT, out.take(MAX_OUTPUT).read_to_end(&mut text)).await;
    let _ = child.start_kill();
    match read {
        Ok(Ok(_)) => parse(&text),
        Ok(Err(e)) => Err(Error::io(format_args!("{shell} -lic env"), e)),
        Err(_) => fail(Kind::TimedOut, format!("{shell} -lic env took over {} s", LIMIT.as_secs())),
    }
}

fn parse(text: &[u8]) -> Result<Env> {
    let mut parts = text.split(|b| *b == 0).map(String::from_utf8_lossy);
    if !parts.by_ref().any(|p| p.ends_with(MARK)) {
        return fail(Kind::Invalid, "the login shell printed no environment");
    }
    let pairs = parts.filter_map(|p| p.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
    Ok(tidy(pairs.collect()))
}

/// This process's own environment, where the login shell did not answer.
pub fn own() -> Env {
    tidy(std::env::vars().collect())
}

fn tidy(mut env: Env) -> Env {
    let strange = |k: &str| NOT_OURS.contains(&k) || OF_A_JOB.contains(&k) || k.starts_with("MUXFS_");
    env.retain(|k, _| !strange(k));
    env
}

/// A UTF-8 locale where none is set: without one, agents draw `?` for every box and tick.
pub fn with_locale(mut env: Env) -> Env {
    let value = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|k| env.get(*k).filter(|v| !v.is_empty()));
    let utf8 = value.is_some_and(|v| v.to_ascii_lowercase().replace('-', "").ends_with("utf8"));
    if !utf8 {
        // LC_ALL would win over what is added.
        env.remove("LC_ALL");
        env.insert("LC_CTYPE".into(), "C.UTF-8".into());
    }
    env
}

/// The environment a process was started with; only our own user's can be read. None also where
/// the process does not let it be read in time.
pub fn of_process(pid: u32) -> Option<Env> {
    super::observation::shell_state::PROCESSES.ask_blocking(
        pid,
        super::observation::shell_state::ASKED,
        move || read_environ(pid),
    )?
}

/// The same without a limit: the process may keep its memory from being read for ever.
pub fn read_environ(pid: u32) -> Option<Env> {
    let text = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let vars = text.split(|b| *b == 0).map(String::from_utf8_lossy);
    Some(vars.filter_map(|v| v.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect())
}

/// A path that begins with `$NAME/` or `~/`; none where the variable is not set.
pub fn expand(path: &str, env: &Env) -> Option<String> {
    match path.strip_prefix('$') {
        Some(rest) => {
            let (name, rest) = rest.split_once('/')?;
            env.get(name).filter(|v| !v.is_empty()).map(|dir| format!("{dir}/{rest}"))
        }
        None => Some(expand_home(path, env)),
    }
}

/// `~` and `~/…` by the environment's HOME.
pub fn expand_home(path: &str, env: &Env) -> String {
    let home = env.get("HOME").map_or("/", String::as_str);
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => format!("{home}{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn what_start_up_files_print_is_not_environment() {
        let text = format!("Welcome! A=1\n{MARK}\0PATH=/a\0X=1\n2=3\0TMUX=no\0MUXFS_CONFIG=x\0");
        assert_eq!(parse(text.as_bytes()).unwrap(), env(&[("PATH", "/a"), ("X", "1\n2=3")]));
        assert!(parse(b"PATH=/a\0").is_err());
    }

    #[test]
    fn a_utf8_locale_is_added_only_where_none_is() {
        assert_eq!(with_locale(env(&[("LANG", "de_DE.UTF-8")])), env(&[("LANG", "de_DE.UTF-8")]));
        let added = with_locale(env(&[("LANG", "C"), ("LC_ALL", "POSIX")]));
        assert_eq!(added, env(&[("LANG", "C"), ("LC_CTYPE", "C.UTF-8")]));
    }

    #[test]
    fn the_manual_names_all_that_is_left_out() {
        let key = crate::config::node::KEYS.iter().find(|k| k.name == "session.env").unwrap();
        let words: Vec<&str> = key.about.split(|c: char| !c.is_ascii_uppercase() && c != '_').collect();
        assert!(OF_A_JOB.iter().all(|name| words.contains(name)), "{}", key.about);
    }

    #[test]
    fn home_is_the_environments() {
        let e = env(&[("HOME", "/home/x")]);
        for (path, full) in [("~", "/home/x"), ("~/a", "/home/x/a"), ("/b", "/b"), ("~other", "~other")] {
            assert_eq!(expand_home(path, &e), full);
        }
    }

    #[tokio::test]
    async fn a_real_shell_answers() {
        // Bash itself, but without the start-up files of whoever runs the test.
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("shell");
        let script = format!("#!/bin/sh\nHOME={} exec /bin/bash \"$@\"\n", dir.path().display());
        std::fs::write(&shell, script).unwrap();
        std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let env = ask(shell.to_str().unwrap()).await.unwrap();
        assert!(env.contains_key("PATH"));
        assert!(!env.contains_key("PWD"));
    }
}
