//! What is mounted where, as the kernel lists it. Parses; changes nothing.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The type muxfs mounts have.
pub const FSTYPE: &str = "fuse.muxfs";

/// The list for this process, which can also be polled for changes.
pub const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Not used again while the mount exists.
    pub id: u64,
    /// The device's minor number; of a FUSE mount, its number in fusectl.
    pub minor: u32,
    /// The part of the file system that is seen there.
    pub root: PathBuf,
    pub dir: PathBuf,
    pub fstype: String,
    pub source: String,
    /// The file system's own, comma-separated.
    pub options: String,
}

impl Mount {
    /// A mount of the whole file system, for tests, those of other crates too.
    pub fn test(dir: &str, fstype: &str) -> Self {
        let (root, source) = ("/".into(), "src".into());
        Mount { id: 1, minor: 1, root, dir: dir.into(), fstype: fstype.into(), source, options: "rw".into() }
    }

    pub fn is_muxfs(&self) -> bool {
        self.fstype == FSTYPE
    }

    /// Of a FUSE mount: the user and group it is for.
    pub fn owner(&self) -> Option<(u32, u32)> {
        let number = |key| self.options.split(',').find_map(|o| o.strip_prefix(key))?.parse().ok();
        Some((number("user_id=")?, number("group_id=")?))
    }
}

pub fn all() -> std::io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read(MOUNTINFO)?))
}

/// What a path to exactly this directory leads to: the last mount on it.
pub fn at(dir: &Path) -> std::io::Result<Option<Mount>> {
    Ok(upmost(&all()?, dir).cloned())
}

/// The same in a list that was read already.
pub fn upmost<'a>(mounts: &'a [Mount], dir: &Path) -> Option<&'a Mount> {
    mounts.iter().rfind(|m| m.dir == dir)
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

fn line(text: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = text.split(|b| *b == b' ').collect();
    // Optional fields come before a single hyphen.
    let dash = 6 + fields.get(6..)?.iter().position(|f| *f == b"-")?;
    let word = |i: usize| fields.get(i).map(|f| unescape(f));
    Some(Mount {
        id: std::str::from_utf8(fields[0]).ok()?.parse().ok()?,
        minor: std::str::from_utf8(fields[2]).ok()?.split_once(':')?.1.parse().ok()?,
        root: word(3)?.into(),
        dir: word(4)?.into(),
        fstype: word(dash + 1)?.into_string().ok()?,
        source: word(dash + 2)?.to_string_lossy().into_owned(),
        options: word(dash + 3).unwrap_or_default().to_string_lossy().into_owned(),
    })
}

/// Blanks, newlines and backslashes are written in octal.
fn unescape(text: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|o| first == b'\\' && o.iter().all(|b| (b'0'..=b'7').contains(b)));
        match octal {
            Some(o) => {
                out.push(o.iter().fold(0u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// A short name for a directory that can stand in a file name; the same for the same directory.
pub fn short(dir: &Path) -> String {
    // FNV-1a: stable between runs and builds, as the lock's name must be.
    let hash = dir
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_escapes_and_optional_fields() {
        let text =
            b"36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 shared:2 - fuse.muxfs mux\\040x rw,user_id=7,group_id=8\n\
            37 35 0:3 / /proc rw - proc proc rw\nbad line\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].dir, Path::new("/a b\\c"));
        assert_eq!(
            (mounts[0].source.as_str(), mounts[0].options.as_str()),
            ("mux x", "rw,user_id=7,group_id=8")
        );
        assert_eq!((mounts[0].root.as_path(), mounts[0].owner()), (Path::new("/mnt1"), Some((7, 8))));
        assert_eq!(mounts[0].fstype, "fuse.muxfs");
        assert_eq!((mounts[1].id, mounts[1].minor, mounts[1].fstype.as_str()), (37, 3, "proc"));
        assert!(at(Path::new("/proc")).unwrap().is_some());
    }
}
