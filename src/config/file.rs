//! Texts on disk, replaced whole: written beside, synced, renamed. Knows no TOML.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// Longest text read from disk: what a message may be, so that a file and a save have one bound.
pub const MAX_TEXT: u64 = crate::tree::MAX_MESSAGE as u64;

/// The text of `path`, or `None` where there is no such file.
pub fn read(path: &Path) -> Result<Option<String>> {
    let what = || path.display().to_string();
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(what(), e)),
        Ok(m) if m.len() > MAX_TEXT => {
            return Err(Error::new(crate::error::Kind::TooLarge, format!("{}: over 1 MiB", what())));
        }
        Ok(_) => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None), // an editor between its two renames
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            Err(Error::new(crate::error::Kind::NotUtf8, format!("{}: not UTF-8", what())))
        }
        Err(e) => Err(Error::io(what(), e)),
    }
}

/// Replaces `path` by `text`, 0600, so that a crash leaves the old text or the new one.
/// A symbolic link is followed: dotfiles are often links into a repository.
pub fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = target.parent().unwrap_or(Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temp = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let write = || {
        let _ = fs::remove_file(&temp); // left by a crash of the same pid
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temp, &target)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temp);
        Error::io(path.display(), e)
    })
}

/// Makes `dir` and its parents, 0700.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir.display(), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_text_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary is left");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_not_an_empty_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind, crate::error::Kind::NotUtf8);
    }
}
