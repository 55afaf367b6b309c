//! `muxfs doctor`: facts in, findings out. Every check is pure; one function each, one list.
//!
//! Knows what muxfs needs and how to mend what is missing. Gathers no facts itself.

use serde::Serialize;

use super::facts::{AgentFact, Facts, MountState};
use super::terminal::{Cell, Look, table};

/// The oldest tmux whose control mode has what the node needs.
const OLDEST_TMUX: (u32, u32) = (3, 2);

/// Each session may cost descriptors here and in tmux; below this a busy node runs short.
const FEW_FILES: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Works, with less than there could be.
    Warn,
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do; of an `ok` finding, what to do for more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

type Verdict = (Level, String, Option<String>);

fn ok(found: impl Into<String>) -> Verdict {
    (Level::Ok, found.into(), None)
}

fn warn(found: impl Into<String>, mend: impl Into<String>) -> Verdict {
    (Level::Warn, found.into(), Some(mend.into()))
}

fn bad(found: impl Into<String>, mend: impl Into<String>) -> Verdict {
    (Level::Bad, found.into(), Some(mend.into()))
}

type Check = fn(&Facts) -> Verdict;

/// In the order in which things have to work.
const CHECKS: &[(&str, Check)] = &[
    ("tmux", tmux),
    ("tmux server", server),
    ("fuse device", device),
    ("mount rights", rights),
    ("allow_other", allow_other),
    ("mount(8) helper", helper),
    ("mounts", mounts),
    ("updatedb", updatedb),
    ("config", config),
    ("directories", directories),
    ("open files", nofile),
    ("system", system),
    ("after logout", linger),
    ("agents", agents),
];

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let one = |(check, look): &(&'static str, Check)| {
        let (level, found, mend) = look(facts);
        Finding { check, level, found, mend }
    };
    CHECKS.iter().map(one).collect()
}

pub fn is_bad(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.level == Level::Bad)
}

pub fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for f in findings {
        let level = match f.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Bad => "BAD ",
        };
        out += &format!("{level}  {}: {}\n", f.check, f.found.replace('\n', "\n      "));
        if let Some(mend) = &f.mend {
            out += &format!("      -> {mend}\n");
        }
    }
    out
}

/// The same as a table, for a terminal.
pub fn for_people(findings: &[Finding], colours: bool) -> String {
    let mut rows = Vec::new();
    for f in findings {
        let (level, look) = match f.level {
            Level::Ok => ("ok", Look::Green),
            Level::Warn => ("warn", Look::Yellow),
            Level::Bad => ("BAD", Look::Red),
        };
        let mut begin = vec![Cell::of(level, look), Cell::of(f.check, Look::Bold)];
        let found = f.found.lines().map(str::to_owned).chain(f.mend.iter().map(|mend| format!("-> {mend}")));
        for line in found {
            begin.push(Cell::plain(line));
            rows.push(begin);
            begin = vec![Cell::plain(""), Cell::plain("")];
        }
    }
    table(&["LEVEL", "CHECK", "FOUND"], &rows, colours)
}

pub fn json(findings: &[Finding]) -> String {
    // Strings and one enum: nothing in it can fail to be JSON.
    serde_json::to_string_pretty(findings).unwrap_or_default() + "\n"
}

/// `tmux 3.3a`, `tmux next-3.5`, `3.4`: major and minor; `None` for builds without a number
/// (`tmux master`).
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.trim().rsplit([' ', '-']).next()?;
    let (major, rest) = number.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Rules were tried on certain versions; another may show something else.
fn agents(f: &Facts) -> Verdict {
    if f.agents.is_empty() {
        return ok("none of those whose screens are known is in PATH");
    }
    let line = |a: &AgentFact| match &a.installed {
        Ok(version) if a.seen.contains(version) => (true, format!("{} {version}", a.key)),
        Ok(version) => {
            (false, format!("{} {version}: its screens were seen in {}", a.key, a.seen.join(", ")))
        }
        Err(why) => (false, format!("{}: --version: {why}", a.key)),
    };
    let lines: Vec<_> = f.agents.iter().map(line).collect();
    let text = lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    if lines.iter().all(|(known, _)| *known) {
        return ok(text);
    }
    warn(
        text,
        "they mostly work; where a state is wrong or unknown, see muxfs-agent(5), or install a version that was seen",
    )
}

fn tmux(f: &Facts) -> Verdict {
    let install = "install tmux 3.2 or later (apt-get install tmux)";
    let Some(path) = &f.tmux_path else { return bad("not found in PATH", install) };
    match &f.tmux_version {
        Some(Ok(text)) => match version(text) {
            Some(v) if v < OLDEST_TMUX => bad(format!("{text} is too old"), install),
            _ => ok(format!("{text} ({})", path.display())),
        },
        Some(Err(why)) => bad(format!("{} does not run: {why}", path.display()), install),
        None => bad(format!("{} was not asked", path.display()), install),
    }
}

fn server(f: &Facts) -> Verdict {
    let client = f
        .tmux_version
        .as_ref()
        .and_then(|v| v.as_ref().ok())
        .map(|v| v.trim_start_matches("tmux ").to_owned());
    match (&f.server_version, client) {
        (None, _) => ok("none runs; the first mkdir starts one"),
        (Some(Ok(server)), Some(client)) if *server == client => ok(format!("{server} runs")),
        (Some(Ok(server)), client) => warn(
            format!(
                "the running server is {server}, the installed tmux is {}",
                client.unwrap_or("unknown".into())
            ),
            "after an upgrade of tmux: end its sessions and the server when it suits (tmux kill-server)",
        ),
        (Some(Err(why)), _) => bad(
            format!("the running server does not answer: {why}"),
            "end it with the tmux it was started by, or by its pid",
        ),
    }
}

fn device(f: &Facts) -> Verdict {
    match &f.dev_fuse {
        Some(Ok(())) => ok("/dev/fuse opens"),
        Some(Err(why)) if why.contains("No such file") => {
            bad("/dev/fuse is missing", "modprobe fuse; in a container: --device /dev/fuse")
        }
        Some(Err(why)) => {
            bad(format!("/dev/fuse: {why}"), "chmod 666 /dev/fuse (as root), or a udev rule that does it")
        }
        None => bad("/dev/fuse was not looked at", "run muxfs doctor again"),
    }
}

fn rights(f: &Facts) -> Verdict {
    if f.root {
        let mend = "in a container: --cap-add SYS_ADMIN";
        return if f.may_mount {
            ok("root may mount")
        } else {
            bad("root may not mount here (no CAP_SYS_ADMIN)", mend)
        };
    }
    match &f.fusermount {
        None => bad("fusermount3 not found", "install fuse3 (apt-get install fuse3)"),
        Some((path, false)) => {
            let path = path.display();
            bad(
                format!("{path} is not set-user-id root"),
                format!("chown root {path} && chmod 4755 {path} (as root)"),
            )
        }
        Some((path, true)) => ok(format!("{} is set-user-id root", path.display())),
    }
}

fn allow_other(f: &Facts) -> Verdict {
    let (level, found) = match (f.user_allow_other, f.root) {
        (true, _) => return ok("/etc/fuse.conf has user_allow_other"),
        (false, true) => return ok("root may always use it"),
        (false, false) => (Level::Ok, "only root may use it"),
    };
    (level, found.into(), Some("for -o allow_other: a line user_allow_other in /etc/fuse.conf".into()))
}

fn helper(f: &Facts) -> Verdict {
    let mend =
        "for fstab and mount -t fuse.muxfs: make install, or ln -s PATH_OF_MUXFS /sbin/mount.fuse.muxfs";
    match &f.helper {
        Some(Ok(path)) => ok(format!("/sbin/mount.fuse.muxfs is {}", path.display())),
        Some(Err(why)) => bad(format!("/sbin/mount.fuse.muxfs leads nowhere: {why}"), mend),
        None => warn("/sbin/mount.fuse.muxfs is missing", mend),
    }
}

fn mounts(f: &Facts) -> Verdict {
    let named = |state: Option<MountState>| {
        let hit = f.mounts.iter().filter(move |(_, s)| *s == state);
        hit.map(|(m, _)| m.dir.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let (dead, stuck) = (named(Some(MountState::Dead)), named(Some(MountState::Stuck)));
    if !dead.is_empty() {
        return bad(
            format!("dead, its daemon is gone: {dead}"),
            "mount it again (muxfs takes a dead mount of its own over), or muxfs umount --lazy DIR",
        );
    }
    if !stuck.is_empty() {
        return bad(
            format!("no answer within 2 s: {stuck}"),
            "end its daemon (muxfs status names it), then muxfs umount --lazy DIR",
        );
    }
    match f.mounts.len() {
        0 => ok("none"),
        _ => ok(f.mounts.iter().map(|(m, _)| m.dir.display().to_string()).collect::<Vec<_>>().join(", ")),
    }
}

fn updatedb(f: &Facts) -> Verdict {
    let Some(text) = &f.updatedb else { return ok("not installed") };
    let mut prunes = text.lines().filter_map(|line| {
        let (key, value) = line.split('#').next()?.split_once('=')?;
        (key.trim() == "PRUNEFS").then(|| value.trim().trim_matches('"').to_owned())
    });
    // updatedb takes the last line of a key, and names without regard to case.
    let names = prunes.next_back().unwrap_or_default();
    if names.split_whitespace().any(|name| name.eq_ignore_ascii_case("fuse.muxfs")) {
        return ok("passes muxfs mounts over");
    }
    warn("walks muxfs mounts every day", "add fuse.muxfs to PRUNEFS in /etc/updatedb.conf")
}

fn config(f: &Facts) -> Verdict {
    let path = f.config.display();
    match &f.config_read {
        None => ok(format!("{path}: none, so the defaults hold")),
        Some(Ok(())) => ok(format!("{path} is understood")),
        Some(Err(why)) => {
            bad(format!("{path}: {}", why.trim_end()), "mend that line; muxfs.toml(5) has the keys")
        }
    }
}

fn directories(f: &Facts) -> Verdict {
    match &f.directories {
        Some(Err(why)) => bad(why, "remove what is in the way, after a look at who put it there"),
        _ if f.systemd && f.runtime.starts_with("/tmp") => warn(
            format!("no runtime directory of this login; {} serves instead", f.runtime.display()),
            "loginctl enable-linger gives /run/user/UID where systemd runs",
        ),
        _ => ok(format!("{} and the state directory are this user's", f.runtime.display())),
    }
}

fn nofile(f: &Facts) -> Verdict {
    let (soft, hard) = f.nofile;
    let found = format!("{soft} now, {hard} at most");
    if hard < FEW_FILES {
        return warn(
            found,
            format!("raise the hard limit to {FEW_FILES} or more (limits.conf(5), LimitNOFILE=)"),
        );
    }
    ok(found)
}

fn system(f: &Facts) -> Verdict {
    let wsl = f.osrelease.to_ascii_lowercase();
    if wsl.contains("microsoft") && !wsl.contains("wsl2") {
        return bad(format!("{}: WSL1 has no FUSE", f.osrelease), "wsl --set-version DISTRIBUTION 2");
    }
    if wsl.contains("microsoft") && !f.systemd {
        return warn(
            format!("{}: WSL2 without systemd ends everything with the last terminal", f.osrelease),
            "[boot] systemd=true in /etc/wsl.conf, then wsl --shutdown",
        );
    }
    ok(format!("Linux {}", f.osrelease))
}

fn linger(f: &Facts) -> Verdict {
    if !f.systemd || f.root || f.linger {
        return ok(if f.systemd { "sessions and node live on" } else { "no systemd, so nothing ends them" });
    }
    let mend = format!("to start at boot and outlive every logout: loginctl enable-linger {}", f.user);
    warn("a user service ends with the last logout", mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muxfs_fs::mounts::Mount;

    fn healthy() -> Facts {
        Facts {
            tmux_path: Some("/usr/bin/tmux".into()),
            tmux_version: Some(Ok("tmux 3.3a".into())),
            dev_fuse: Some(Ok(())),
            fusermount: Some(("/usr/bin/fusermount3".into(), true)),
            helper: Some(Ok("/usr/local/bin/muxfs".into())),
            config: "/home/ann/.config/muxfs/muxfs.toml".into(),
            runtime: "/run/user/1000/muxfs".into(),
            directories: Some(Ok(())),
            nofile: (1024, 524_288),
            osrelease: "6.1.0".into(),
            systemd: true,
            linger: true,
            user: "ann".into(),
            ..Facts::default()
        }
    }

    fn level(check: &str, change: impl FnOnce(&mut Facts)) -> Level {
        let mut facts = healthy();
        change(&mut facts);
        let found = judge(&facts).into_iter().find(|f| f.check == check).unwrap();
        assert!(found.level == Level::Ok || found.mend.is_some(), "what is wrong can be mended: {found:?}");
        found.level
    }

    #[test]
    fn a_healthy_machine_is_all_ok() {
        let findings = judge(&healthy());
        assert!(findings.iter().all(|f| f.level == Level::Ok), "{findings:#?}");
        assert!(!is_bad(&findings));
    }

    #[test]
    fn each_fault_is_found() {
        use Level::{Bad, Warn};
        const FINE: Level = Level::Ok; // `Ok` is the Result's here
        assert_eq!(level("tmux", |f| f.tmux_path = None), Bad);
        assert_eq!(level("tmux", |f| f.tmux_version = Some(Ok("tmux 3.1c".into()))), Bad);
        assert_eq!(level("tmux", |f| f.tmux_version = Some(Ok("tmux master".into()))), FINE);
        assert_eq!(level("tmux", |f| f.tmux_version = Some(Err("killed".into()))), Bad);
        assert_eq!(level("tmux server", |f| f.server_version = Some(Ok("3.3a".into()))), FINE);
        assert_eq!(level("tmux server", |f| f.server_version = Some(Ok("3.2".into()))), Warn);
        assert_eq!(
            level("tmux server", |f| f.server_version = Some(Err("protocol version mismatch".into()))),
            Bad
        );
        assert_eq!(level("fuse device", |f| f.dev_fuse = Some(Err("Permission denied".into()))), Bad);
        assert_eq!(level("mount rights", |f| f.fusermount = None), Bad);
        assert_eq!(level("mount rights", |f| f.fusermount.as_mut().unwrap().1 = false), Bad);
        assert_eq!(level("mount rights", |f| f.root = true), Bad);
        assert_eq!(level("mount(8) helper", |f| f.helper = None), Warn);
        assert_eq!(level("mount(8) helper", |f| f.helper = Some(Err("gone".into()))), Bad);
        assert_eq!(level("config", |f| f.config_read = Some(Err("line 1: what".into()))), Bad);
        assert_eq!(level("directories", |f| f.directories = Some(Err("a link".into()))), Bad);
        assert_eq!(level("directories", |f| f.runtime = "/tmp/muxfs-1000".into()), Warn);
        assert_eq!(level("open files", |f| f.nofile = (256, 1024)), Warn);
        assert_eq!(level("system", |f| f.osrelease = "4.4.0-19041-Microsoft".into()), Bad);
        assert_eq!(level("after logout", |f| f.linger = false), Warn);
        let agent = |installed| AgentFact {
            key: "claude".into(),
            seen: vec!["2.1.332".into(), "2.1.197".into()],
            installed,
        };
        assert_eq!(level("agents", |f| f.agents = vec![agent(Ok("2.1.197".into()))]), FINE);
        assert_eq!(level("agents", |f| f.agents = vec![agent(Ok("2.2.0".into()))]), Warn);
        assert_eq!(level("agents", |f| f.agents = vec![agent(Err("timed out".into()))]), Warn);
        for (state, want) in [(MountState::Alive, FINE), (MountState::Dead, Bad), (MountState::Stuck, Bad)] {
            let mount = Mount::test("/mux", "fuse.muxfs");
            assert_eq!(level("mounts", |f| f.mounts = vec![(mount, Some(state))]), want);
        }
    }

    #[test]
    fn wsl2_wants_systemd() {
        let wsl2 = |systemd| {
            level("system", |f| {
                f.osrelease = "5.15.90.1-microsoft-standard-WSL2".into();
                f.systemd = systemd;
            })
        };
        assert_eq!((wsl2(true), wsl2(false)), (Level::Ok, Level::Warn));
    }

    #[test]
    fn updatedb_is_read_as_updatedb_reads_it() {
        let with = |text: &str| level("updatedb", |f| f.updatedb = Some(text.to_owned()));
        assert_eq!(with("PRUNEFS=\"NFS nfs FUSE.MUXFS\"\n"), Level::Ok);
        assert_eq!(with("# PRUNEFS = \"fuse.muxfs\"\nPRUNEFS=\"NFS fuse.sshfs\"\n"), Level::Warn);
        assert_eq!(with(""), Level::Warn);
    }

    #[test]
    fn versions_of_tmux() {
        for (text, want) in [
            ("tmux 3.3a", Some((3, 3))),
            ("tmux next-3.5", Some((3, 5))),
            ("3.10", Some((3, 10))),
            ("tmux master", None),
        ] {
            assert_eq!(version(text), want, "{text}");
        }
    }

    #[test]
    fn all_forms_say_the_same() {
        let mut facts = healthy();
        facts.tmux_path = None;
        let findings = judge(&facts);
        assert!(is_bad(&findings));
        assert!(text(&findings).starts_with("BAD   tmux: not found in PATH\n      -> install tmux"));
        let shown = for_people(&findings, true);
        let bad = "\x1b[31mBAD\x1b[0m    \x1b[1mtmux\x1b[0m             not found in PATH\n";
        assert!(
            shown.contains(bad) && shown.contains("\n                        -> install tmux"),
            "{shown}"
        );
        let back: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(back[0]["level"], "bad");
        assert_eq!(back.as_array().unwrap().len(), CHECKS.len());
    }
}
