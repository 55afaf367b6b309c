//! The words of `-o`: ours, those that are mount(8)'s own, and the refusal of every other.
//!
//! The parser is pure and resolves no names; [`MountOptions::check`] gets what it must know of
//! the machine as arguments.

use muxfs_tree::base::error::{Kind, Result, fail};

/// What `-o` asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Other users may enter; permission bits then decide.
    pub allow_other: bool,
    pub read_only: bool,
    /// Whose sessions: a user's name or number. Only root can ask for it.
    pub setuid: Option<String>,
    /// The owner and group that files show: names or numbers.
    pub uid: Option<String>,
    pub gid: Option<String>,
    /// Bits (0o777) taken from the files' defaults.
    pub umask: Option<u32>,
    /// What mountinfo shows as the source instead of the one given.
    pub fsname: Option<String>,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub noatime: bool,
}

impl Default for MountOptions {
    /// No set-user-id bits and no devices, as fusermount3 has it: the tree has neither.
    fn default() -> Self {
        MountOptions {
            allow_other: false,
            read_only: false,
            setuid: None,
            uid: None,
            gid: None,
            umask: None,
            fsname: None,
            nosuid: true,
            nodev: true,
            noexec: false,
            noatime: false,
        }
    }
}

/// Our own words, with what they do: the manual page and the README print this.
pub const TABLE: &[(&str, &str)] = &[
    (
        "allow_other",
        "Other users may enter the mount; the permission bits of each file decide. Users other than root need user_allow_other in /etc/fuse.conf.",
    ),
    (
        "setuid=NAME",
        "For root, and for this user themselves (fstab): serve the sessions of this user. The daemon becomes that user right after the mount, and everything of tmux runs as them. Without it root's own sessions are served.",
    ),
    ("uid=NAME", "The owner that files show; a name or a number."),
    ("gid=NAME", "The group that files show; a name or a number."),
    ("umask=OCTAL", "Permission bits taken from the files' defaults. A later chmod is not masked."),
    ("ro, rw", "Read-only: every write, mkdir, rmdir and rename is refused by the kernel. Default: rw."),
    ("fsname=TEXT", "The source that mount(8) and findmnt(8) show."),
    (
        "nosuid, nodev, noexec, noatime",
        "As for any mount, and their opposites; nosuid and nodev are the default.",
    ),
];

/// mount(8)'s and fstab(5)'s words that mean nothing to a helper: for mount(8), systemd or init.
/// Times are never written by a read here, so the flavours of atime change nothing either.
const PASSED_OVER: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "fail",
    "nofail",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "sync",
    "async",
    "dirsync",
    "nodirsync",
    "mand",
    "nomand",
    "silent",
    "loud",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "default_permissions",
];

/// Parses every `-o` of a command line in order; of contradicting words the last one holds.
/// With `sloppy` (mount(8) -s) unknown words are passed over instead of refused.
pub fn parse<S: AsRef<str>>(texts: &[S], sloppy: bool) -> Result<MountOptions> {
    let mut out = MountOptions::default();
    for text in texts {
        for word in split(text.as_ref()) {
            if !take(&mut out, &word)? && !sloppy {
                return fail(Kind::Invalid, format!("unknown mount option {word:?}"));
            }
        }
    }
    Ok(out)
}

/// `text` without the words that [`parse`] passes over when it is sloppy.
pub fn keep_known(text: &str) -> String {
    let known = |word: &String| !matches!(take(&mut MountOptions::default(), word), Ok(false));
    let escaped = |word: String| word.replace('\\', r"\\").replace(',', r"\,");
    split(text).into_iter().filter(known).map(escaped).collect::<Vec<_>>().join(",")
}

/// Words between commas; `\,` and `\\` stand for the characters themselves, as in libfuse.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => words.push(String::new()),
            '\\' if matches!(chars.peek(), Some(',' | '\\')) => {
                // The peek saw one of the two.
                words.last_mut().into_iter().for_each(|w| w.extend(chars.next()));
            }
            c => words.last_mut().into_iter().for_each(|w| w.push(c)),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// `Ok(false)`: not a word anyone knows.
fn take(out: &mut MountOptions, word: &str) -> Result<bool> {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    if word.starts_with("x-") || word.starts_with("X-") {
        return Ok(true);
    }
    if let Some(value) = value {
        match key {
            "setuid" => out.setuid = Some(full(key, value)?),
            "uid" => out.uid = Some(full(key, value)?),
            "gid" => out.gid = Some(full(key, value)?),
            "fsname" => out.fsname = Some(full(key, value)?),
            "umask" => match u32::from_str_radix(value, 8) {
                Ok(bits) if bits <= 0o777 => out.umask = Some(bits),
                _ => {
                    return fail(
                        Kind::Invalid,
                        format!("umask={value}: an octal number up to 777 is expected"),
                    );
                }
            },
            "subtype" if value == "muxfs" => {}
            "comment" | "user" | "helper" | "uhelper" => {}
            _ => return Ok(false),
        }
        return Ok(true);
    }
    match key {
        "allow_other" => out.allow_other = true,
        "ro" => out.read_only = true,
        "rw" => out.read_only = false,
        "nosuid" => out.nosuid = true,
        "suid" => out.nosuid = false,
        "nodev" => out.nodev = true,
        "dev" => out.nodev = false,
        "noexec" => out.noexec = true,
        "exec" => out.noexec = false,
        "noatime" => out.noatime = true,
        "atime" => out.noatime = false,
        "setuid" | "uid" | "gid" | "umask" | "fsname" => {
            return fail(Kind::Invalid, format!("mount option {key:?} needs a value: {key}=…"));
        }
        "remount" | "bind" | "rbind" | "move" => {
            return fail(
                Kind::Invalid,
                format!("mount option {key:?} is not supported: unmount and mount again"),
            );
        }
        "auto_unmount" => {
            let why = "muxfs unmounts when it ends, and takes its own dead mount over at the next start";
            return fail(Kind::Invalid, format!("mount option {key:?} is not supported: {why}"));
        }
        word if PASSED_OVER.contains(&word) => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn full(key: &str, value: &str) -> Result<String> {
    if value.is_empty() {
        return fail(Kind::Invalid, format!("mount option {key:?} needs a value: {key}=…"));
    }
    Ok(value.to_owned())
}

impl MountOptions {
    /// Refuses what this caller cannot have. `own`: `setuid=` names the caller, or nobody;
    /// `user_allow_other`: whether /etc/fuse.conf has it.
    pub fn check(&self, root: bool, own: bool, user_allow_other: bool) -> Result<()> {
        if let (Some(name), false) = (&self.setuid, root || own) {
            return fail(
                Kind::Denied,
                format!(
                    "setuid={name}: only root can mount for another user; leave it out to mount your own"
                ),
            );
        }
        if self.allow_other && !root && !user_allow_other {
            return fail(
                Kind::Denied,
                "allow_other: /etc/fuse.conf has no line user_allow_other, so only root may use it",
            );
        }
        Ok(())
    }
}

/// Whether the text of /etc/fuse.conf lets users ask for `allow_other`: the word alone on a line.
pub fn user_allow_other(fuse_conf: &str) -> bool {
    fuse_conf.lines().any(|line| line.split('#').next().unwrap_or("").trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Result<MountOptions> {
        parse(&[text], false)
    }

    #[test]
    fn our_own_words() {
        let o = one(r"allow_other,setuid=ann,uid=1000,gid=staff,umask=027,ro,noexec,noatime,dev,fsname=a\,b")
            .unwrap();
        let want = MountOptions {
            allow_other: true,
            read_only: true,
            setuid: Some("ann".into()),
            uid: Some("1000".into()),
            gid: Some("staff".into()),
            umask: Some(0o027),
            fsname: Some("a,b".into()),
            nosuid: true,
            nodev: false,
            noexec: true,
            noatime: true,
        };
        assert_eq!(o, want);
        assert_eq!(one("ro,rw").unwrap(), MountOptions::default(), "the last word holds");
        assert!(!parse(&["ro", "rw"], false).unwrap().read_only);
    }

    #[test]
    fn the_words_of_mount8_are_no_errors() {
        let all = PASSED_OVER.join(",");
        let rest = "x-systemd.automount,x-systemd.requires=a b,X-mount.mkdir,comment=hello,user=ann,helper=fuse,,subtype=muxfs";
        assert_eq!(one(&format!("{all},{rest}")).unwrap(), MountOptions::default());
    }

    #[test]
    fn an_unknown_word_is_named() {
        for bad in ["allow-other", "nonsense", "umaks=022", "size=10", "subtype=ext4", "uid"] {
            let error = one(&format!("ro,{bad},nodev")).unwrap_err();
            assert_eq!(error.kind, Kind::Invalid);
            assert!(error.text().contains(bad), "{error}");
        }
        assert!(parse(&["nonsense,ro"], true).unwrap().read_only, "mount -s is sloppy");
    }

    #[test]
    fn a_bad_value_is_named() {
        for bad in ["umask=9", "umask=1777", "umask=", "setuid=", "remount", "auto_unmount"] {
            let error = one(bad).unwrap_err();
            assert!(error.text().contains(bad.split('=').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn rights_are_said_before_the_mount() {
        let error = one("setuid=ann").unwrap().check(false, false, true).unwrap_err();
        assert!(error.text().contains("only root"), "{error}");
        assert!(one("setuid=ann").unwrap().check(false, true, true).is_ok());
        let o = one("allow_other").unwrap();
        assert!(o.check(false, true, false).unwrap_err().text().contains("user_allow_other"));
        assert!(o.check(false, true, true).is_ok() && o.check(true, true, false).is_ok());
        assert!(user_allow_other("# x\n user_allow_other # yes\n"));
        assert!(!user_allow_other("#user_allow_other\nmount_max = 1000\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[a-z=,\\\\]{0,40}") {
            let _ = parse(&[text.as_str()], false);
        }

        #[test]
        fn escaping_is_undone(words in proptest::collection::vec("[a-z,\\\\]{1,8}", 1..5)) {
            let text: Vec<_> =
                words.iter().map(|w| w.replace('\\', r"\\").replace(',', r"\,")).collect();
            prop_assert_eq!(split(&text.join(",")), words);
        }
    }
}
