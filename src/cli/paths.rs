//! Where state, configuration and runtime files live (XDG base directories), and making those directories
//! so that files or links of another user in them are never used.
//!
//! Knows no file's content. The environment is an argument, so tests need no variables.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::privileges::User;
use muxfs_fs::point::Dir;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `$XDG_STATE_HOME/muxfs`: records, logs, queues, the lock.
    pub state: PathBuf,
    /// `$MUXFS_CONFIG`, else `$XDG_CONFIG_HOME/muxfs/muxfs.toml`. It need not exist.
    pub config: PathBuf,
    /// `$XDG_RUNTIME_DIR/muxfs`: sockets. Without one, `/run/user/UID/muxfs`, else `/tmp/muxfs-UID`.
    pub runtime: PathBuf,
}

impl Paths {
    /// Manifests of the user's own: beside the config file.
    pub fn agents(&self) -> PathBuf {
        self.config.with_file_name("agents")
    }

    /// For the process's own user and environment.
    pub fn own() -> Paths {
        Paths::of(&User::own(), &|key| std::env::var_os(key))
    }

    pub fn of(user: &User, env: &dyn Fn(&str) -> Option<OsString>) -> Paths {
        // A relative path in an XDG variable is invalid and passed over, says their specification.
        let absolute = |key: &str| env(key).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = absolute("HOME").unwrap_or_else(|| user.home.clone());
        let base = |key: &str, default: &str| absolute(key).unwrap_or_else(|| home.join(default));
        let config = match env("MUXFS_CONFIG").filter(|c| !c.is_empty()) {
            Some(file) => std::path::absolute(&file).unwrap_or_else(|_| file.into()),
            None => base("XDG_CONFIG_HOME", ".config").join("muxfs/muxfs.toml"),
        };
        // `su` keeps the variable of the user before: a directory of someone else's is not ours.
        let given = absolute("XDG_RUNTIME_DIR").filter(|dir| super::privileges::owned_dir(dir, user.uid));
        let runtime = match given.or_else(|| user.runtime_dir()) {
            Some(dir) => dir.join("muxfs"),
            None => PathBuf::from(format!("/tmp/muxfs-{}", user.uid)),
        };
        Paths { state: base("XDG_STATE_HOME", ".local/state").join("muxfs"), config, runtime }
    }

    /// Makes the state and runtime directories, 0700, and refuses ones that are not this user's.
    pub fn prepare(&self, user: &User) -> Result<()> {
        if let Some(parent) = self.state.parent() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|e| Error::io(parent.display(), e))?;
        }
        private_dir(&self.state, user)?;
        private_dir(&self.runtime, user)
    }
}

impl Paths {
    /// Whether [`Paths::prepare`] would refuse; makes and mends nothing.
    pub fn check(&self, user: &User) -> Result<()> {
        for dir in [&self.state, &self.runtime] {
            if let Ok(meta) = std::fs::symlink_metadata(dir) {
                judge_dir(dir, &meta, user)?;
            }
        }
        Ok(())
    }
}

fn judge_dir(dir: &Path, meta: &std::fs::Metadata, user: &User) -> Result<()> {
    if meta.is_dir() && meta.uid() == user.uid {
        return Ok(());
    }
    let (dir, name, uid) = (dir.display(), &user.name, user.uid);
    fail(Kind::Denied, format!("{dir}: not a directory of {name} (uid {uid}); remove it"))
}

/// `dir` exists afterwards, is a directory and no link, belongs to `user`, and nobody else can
/// enter it. In /tmp anyone may have made it first: then this is an error, never a use.
fn private_dir(dir: &Path, user: &User) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io(dir.display(), e)),
    }
    let meta = std::fs::symlink_metadata(dir).map_err(|e| Error::io(dir.display(), e))?;
    judge_dir(dir, &meta, user)?;
    if meta.mode() & 0o077 != 0 {
        // It is ours, so it may be mended: an old umask, or a copy of a home.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(dir, mode).map_err(|e| Error::io(dir.display(), e))?;
    }
    Ok(())
}

/// `dir` as mountinfo names it: absolute, without links. The directory itself is not entered
/// where its mount is dead.
pub fn mount_point(dir: &Path) -> Result<PathBuf> {
    Dir::find(dir)?.name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn paths(env: &[(&str, &str)]) -> Paths {
        let mut user = User::own();
        user.home = "/home/ann".into();
        Paths::of(&user, &|key| env.iter().find(|(k, _)| *k == key).map(|(_, v)| v.into()))
    }

    #[test]
    fn defaults_come_from_the_home() {
        let p = paths(&[("XDG_STATE_HOME", "relative/is/invalid")]);
        assert_eq!(p.state, Path::new("/home/ann/.local/state/muxfs"));
        assert_eq!(p.config, Path::new("/home/ann/.config/muxfs/muxfs.toml"));
    }

    #[test]
    fn variables_win() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().to_str().unwrap();
        let p = paths(&[
            ("HOME", "/h"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_RUNTIME_DIR", runtime),
            ("MUXFS_CONFIG", "/c.toml"),
        ]);
        assert_eq!((p.state.to_str(), p.config.to_str()), (Some("/s/muxfs"), Some("/c.toml")));
        assert_eq!(p.runtime, dir.path().join("muxfs"));
        assert_eq!(paths(&[("XDG_CONFIG_HOME", "/c")]).config, Path::new("/c/muxfs/muxfs.toml"));
    }

    #[test]
    fn a_runtime_directory_of_nobody_is_passed_over() {
        let p = paths(&[("XDG_RUNTIME_DIR", "/no/such/directory")]);
        assert_ne!(p.runtime, Path::new("/no/such/directory/muxfs"));
    }

    #[test]
    fn directories_are_private_and_no_links() {
        let dir = tempfile::tempdir().unwrap();
        let user = User::own();
        let at = |name: &str| dir.path().join(name);
        let p = Paths { state: at("a/b/state"), config: at("c"), runtime: at("run") };
        std::fs::create_dir(&p.runtime).unwrap();
        std::fs::set_permissions(&p.runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
        p.check(&user).unwrap();
        p.prepare(&user).unwrap();
        p.prepare(&user).unwrap();
        for dir in [&p.state, &p.runtime] {
            assert_eq!(std::fs::metadata(dir).unwrap().mode() & 0o777, 0o700, "{}", dir.display());
        }

        std::fs::create_dir(at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
        assert_eq!(private_dir(&at("link"), &user).unwrap_err().kind, Kind::Denied);
        std::fs::write(at("file"), "").unwrap();
        assert_eq!(private_dir(&at("file"), &user).unwrap_err().kind, Kind::Denied);
        let mut other = user;
        other.uid += 1;
        assert_eq!(private_dir(&at("elsewhere"), &other).unwrap_err().kind, Kind::Denied);
    }

    #[test]
    fn a_mount_point_is_named_as_the_kernel_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        assert_eq!(mount_point(&dir.path().join("link")).unwrap(), real);
        assert_eq!(mount_point(&dir.path().join("none")).unwrap_err().kind, Kind::NotFound);
    }
}
