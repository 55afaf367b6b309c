//! What /proc/self/mountinfo says: proc(5). The parser is pure; [`own`] reads the file.
//!
//! Knows the names muxfs mounts under. Never touches a mount point: a dead one answers nothing,
//! and one whose daemon hangs does not even refuse.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The type muxfs mounts have.
pub const FSTYPE: &str = "fuse.muxfs";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    pub fstype: String,
    pub source: String,
    /// The mount's own options (`rw,nosuid`), then the file system's (`user_id=0`).
    pub options: String,
}

impl Mount {
    pub fn is_muxfs(&self) -> bool {
        self.fstype == FSTYPE
    }

    /// The user who mounted it, as FUSE tells it.
    pub fn user_id(&self) -> Option<u32> {
        self.options.split(',').find_map(|word| word.strip_prefix("user_id=")?.parse().ok())
    }
}

/// One mount a line, lowest first; lines that are not understood are passed over.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // 36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut fields = line.split(|b| *b == b' ');
    let point = unescape(fields.by_ref().nth(4)?);
    let own = String::from_utf8_lossy(fields.next()?).into_owned();
    let mut tail = fields.skip_while(|f| *f != b"-").skip(1); // optional fields end at the dash
    let fstype = String::from_utf8_lossy(&unescape(tail.next()?)).into_owned();
    let source = String::from_utf8_lossy(&unescape(tail.next()?)).into_owned();
    let of_fs = String::from_utf8_lossy(tail.next().unwrap_or(b"")).into_owned();
    Some(Mount { point: OsString::from_vec(point).into(), fstype, source, options: format!("{own},{of_fs}") })
}

/// `\040` is a space: three octal digits for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut i = 0;
    while i < field.len() {
        let octal = field.get(i + 1..i + 4).and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if field[i] == b'\\' => {
                out.push(byte);
                i += 4;
            }
            _ => {
                out.push(field[i]);
                i += 1;
            }
        }
    }
    out
}

/// The mounts this process sees.
pub fn own() -> Result<Vec<Mount>> {
    let path = "/proc/self/mountinfo";
    std::fs::read(path).map(|text| parse(&text)).map_err(|e| Error::io(path, e))
}

/// The uppermost mount on exactly this path.
pub fn at<'a>(mounts: &'a [Mount], point: &Path) -> Option<&'a Mount> {
    mounts.iter().rfind(|m| m.point == point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        40 22 0:39 / /mnt/two\\040words rw,nosuid,nodev shared:7 master:1 - fuse.muxfs muxfs rw,user_id=1000,group_id=1000\n\
        41 40 0:40 / /mnt/two\\040words rw - tmpfs tmp\\134fs rw\nnonsense\n";

    #[test]
    fn lines_come_apart() {
        let mounts = parse(TEXT);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].point, Path::new("/mnt/two words"));
        assert!(mounts[1].is_muxfs() && !mounts[0].is_muxfs());
        assert_eq!((mounts[1].source.as_str(), mounts[1].user_id()), ("muxfs", Some(1000)));
        assert_eq!(mounts[2].source, "tmp\\fs");
        assert_eq!(at(&mounts, Path::new("/mnt/two words")).unwrap().fstype, "tmpfs", "the uppermost");
        assert_eq!(at(&mounts, Path::new("/mnt")), None);
    }

    #[test]
    fn this_process_has_a_root() {
        assert!(at(&own().unwrap(), Path::new("/")).is_some());
    }
}
