//! The command line by which mount(8) calls its helpers (mount(8), "EXTERNAL HELPERS"):
//! `mount.fuse.muxfs SOURCE DIR [-sfnv] [-N ns] [-o OPTIONS] [-t TYPE]`. Pure; turns it into the arguments
//! of `muxfs mount`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::MountArgs;
use muxfs_tree::base::error::{Kind, Result, fail};

/// Whether the program was called by one of the names mount(8) looks for.
pub fn is_helper(argv0: Option<&OsString>) -> bool {
    let name = argv0.and_then(|a| Path::new(a).file_name());
    matches!(name.and_then(OsStr::to_str), Some("mount.fuse.muxfs" | "mount.muxfs"))
}

/// Options stand anywhere, and flags may be joined (`-sf`, `-oro`), as with getopt(3).
pub fn parse(args: &[OsString]) -> Result<MountArgs> {
    let mut words = Vec::new();
    let mut out = MountArgs {
        words: Vec::new(),
        options: Vec::new(),
        foreground: false,
        log_file: None,
        ready_stdout: false,
        own_env: false,
        sloppy: false,
        fake: false,
    };
    let mut args = args.iter();
    let mut only_words = false;
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else {
            words.push(arg.clone()); // a directory may have any bytes for a name
            continue;
        };
        if only_words || !text.starts_with('-') || text == "-" {
            words.push(arg.clone());
            continue;
        }
        if text == "--" {
            only_words = true;
            continue;
        }
        let mut flags = text[1..].chars();
        while let Some(flag) = flags.next() {
            match flag {
                's' => out.sloppy = true,
                'f' => out.fake = true,
                'n' | 'v' | 'r' | 'w' => match flag {
                    'r' => out.options.push("ro".into()),
                    'w' => out.options.push("rw".into()),
                    _ => {} // there is no mtab to write, and nothing to say on the way
                },
                'o' | 't' | 'N' => {
                    let rest: String = flags.by_ref().collect();
                    let value = if rest.is_empty() {
                        args.next().and_then(|a| a.to_str().map(str::to_owned))
                    } else {
                        Some(rest)
                    };
                    let Some(value) = value else {
                        return fail(Kind::Invalid, format!("-{flag} needs a value"));
                    };
                    match flag {
                        'o' => out.options.push(value),
                        't' if !matches!(value.as_str(), "fuse.muxfs" | "muxfs") => {
                            return fail(Kind::Invalid, format!("-t {value}: this mounts fuse.muxfs only"));
                        }
                        'N' => {
                            // mount(8) enters the namespace itself before it runs a helper.
                        }
                        _ => {}
                    }
                }
                other => return fail(Kind::Invalid, format!("unknown option -{other}")),
            }
        }
    }
    if words.len() != 2 {
        return fail(
            Kind::Invalid,
            "usage: mount.fuse.muxfs SOURCE DIR [-sfnv] [-o OPTIONS] [-t fuse.muxfs]",
        );
    }
    out.words = words.into_iter().map(Into::into).collect();
    out.words[0] = source(&out.words[0]);
    Ok(out)
}

/// mount(8) makes a path of a source where the working directory has something of its name.
fn source(given: &Path) -> PathBuf {
    match given.file_name() {
        Some(name) if given.is_absolute() && (name == "muxfs" || name == "local") => name.into(),
        _ => given.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(args: &[&str]) -> Result<MountArgs> {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn both_names_are_known_wherever_they_lie() {
        for name in ["mount.fuse.muxfs", "/sbin/mount.fuse.muxfs", "./mount.muxfs"] {
            assert!(is_helper(Some(&name.into())), "{name}");
        }
        for name in ["muxfs", "/sbin/mount.fuse", "mount.fuse.muxfs.bak"] {
            assert!(!is_helper(Some(&name.into())), "{name}");
        }
        assert!(!is_helper(None));
    }

    #[test]
    fn what_mount8_says_is_understood() {
        let a = helper(&["muxfs", "/mux", "-o", "rw,setuid=ann,_netdev"]).unwrap();
        assert_eq!((&*a.source(), a.dir().to_str()), ("muxfs", Some("/mux")));
        assert_eq!(a.options, ["rw,setuid=ann,_netdev"]);
        assert!(!a.foreground, "-f of a helper is --fake");

        let a = helper(&["/home/ann/src/muxfs", "/mux"]).unwrap();
        assert_eq!(a.source(), "muxfs", "a directory of that name in the working directory");
        assert_eq!(helper(&["/dev/sda1", "/mux"]).unwrap().source(), "/dev/sda1");

        let a = helper(&["-sfnv", "-oro", "muxfs", "--", "-dir", "-t", "fuse.muxfs"]);
        assert!(a.is_err(), "after -- all are words");
        let a = helper(&["-sfnv", "-oro", "-N", "7", "-t", "fuse.muxfs", "muxfs", "--", "-dir"]).unwrap();
        assert!(a.sloppy && a.fake);
        assert_eq!((a.dir().to_str(), &a.options[..]), (Some("-dir"), &["ro".to_owned()][..]));
    }

    #[test]
    fn what_it_cannot_mean_is_named() {
        for (args, text) in [
            (vec!["muxfs"], "usage"),
            (vec!["muxfs", "/mux", "-x"], "-x"),
            (vec!["muxfs", "/mux", "-o"], "-o needs"),
            (vec!["muxfs", "/mux", "-t", "ext4"], "ext4"),
        ] {
            let error = helper(&args).unwrap_err();
            assert!(error.text().contains(text), "{args:?}: {error}");
        }
    }
}
