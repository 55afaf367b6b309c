//! Texts on disk, replaced whole: written beside, synced, renamed. Knows no TOML.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::base::error::{Error, Kind, Result, fail};
use crate::base::foreign::{self, Links};

/// Longest text read from disk: what a message may be, so that a file and a save have one bound.
pub const MAX_TEXT: u64 = 1 << 20;

/// The text of `path`, or `None` where there is no such file.
pub fn read(path: &Path, links: Links) -> Result<Option<String>> {
    let what = path.display();
    match foreign::read_text(path, links, MAX_TEXT) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == ErrorKind::FileTooLarge => fail(Kind::TooLarge, format!("{what}: over 1 MiB")),
        Err(e) if e.kind() == ErrorKind::InvalidData => fail(Kind::NotUtf8, format!("{what}: not UTF-8")),
        Err(e) => Err(Error::io(what, e)),
    }
}

/// Replaces `path` by `text`, 0600, so that a crash leaves the old text or the new one. With
/// [`Links::Follow`] a symbolic link stays and what it leads to is replaced: dotfiles are often
/// links into a repository. Otherwise the link itself is replaced.
pub fn replace(path: &Path, text: &[u8], links: Links) -> Result<()> {
    let target = match links {
        Links::Follow => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        Links::Refuse => path.to_owned(),
    };
    let dir = target.parent().unwrap_or(Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temp = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let write = || {
        let _ = fs::remove_file(&temp); // left by a crash of the same pid
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text)?;
        sync(&file)?;
        fs::rename(&temp, &target)?;
        sync_dir(dir)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temp);
        Error::io(path.display(), e)
    })
}

/// Returns when the file is on disk. Waits for the disk: never on a thread that serves requests.
#[expect(clippy::disallowed_methods, reason = "the one place that waits for the disk")]
fn sync(file: &File) -> std::io::Result<()> {
    file.sync_all()
}

/// The same without the times of the file.
#[expect(clippy::disallowed_methods, reason = "the one place that waits for the disk")]
pub fn sync_data(file: &File) -> std::io::Result<()> {
    file.sync_data()
}

/// Returns when the names in `dir` are on disk.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    sync(&File::open(dir)?)
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
        assert_eq!(read(&path, Links::Refuse).unwrap(), None);
        replace(&path, b"one", Links::Refuse).unwrap();
        replace(&path, b"two", Links::Refuse).unwrap();
        assert_eq!(read(&path, Links::Refuse).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary is left");
    }

    #[test]
    fn a_link_stays_a_link_where_one_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"two", Links::Follow).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
        assert_eq!(read(&link, Links::Follow).unwrap().as_deref(), Some("two"));
        assert_eq!(read(&link, Links::Refuse).unwrap_err().kind, Kind::Invalid);
        replace(&link, b"three", Links::Refuse).unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_not_an_empty_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read(&path, Links::Refuse).unwrap_err().kind, Kind::NotUtf8);
    }
}
