//! `muxfs mount` and `muxfs node` up to the moment the daemon itself begins: options judged, the
//! user found, the background taken, directories made, the lock held.
//!
//! Knows neither FUSE nor tmux; `run` goes on from here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::background::{self, Ready};
use super::lock::{self, Holder, InstanceLock};
use super::options::{self, MountOptions};
use super::paths::{self, Paths};
use super::privileges::{self, User, as_user};
use super::{MountArgs, run};
use muxfs_fs::{mounts, takeover};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// A mount about to be made: everything checked that can be checked before.
#[derive(Debug)]
pub struct MountJob {
    /// Absolute, without links.
    pub dir: PathBuf,
    /// What mountinfo is to show as the source.
    pub source: String,
    pub options: MountOptions,
    /// `uid=` and `gid=`, resolved.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Whose sessions. Paths and environment are theirs already.
    pub user: User,
    /// Whether the ids are still root's: after mount(2), and before anything of tmux,
    /// [`privileges::become_user`] has to be called with `user`.
    pub become_user: bool,
    pub paths: Paths,
    /// To be kept as long as the daemon lives.
    pub lock: InstanceLock,
    /// Is notified when the mount answers.
    pub ready: Ready,
}

/// A node without a mount.
#[derive(Debug)]
pub struct NodeJob {
    pub user: User,
    pub paths: Paths,
    pub lock: InstanceLock,
    pub ready: Ready,
}

/// Mounts; returns when the mount answers in the background, or in the foreground when it ended.
pub fn mount(args: MountArgs) -> Result<ExitCode> {
    check_source(&args.source())?;
    let options = options::parse(&args.options, args.sloppy)?;
    let root = nix::unistd::geteuid().is_root();
    let fuse_conf = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let user = options.setuid.as_deref().map_or_else(|| Ok(User::own()), User::find)?;
    // mount(8) has dropped root's rights already where fstab lets a user mount.
    let own = user.uid == nix::unistd::geteuid().as_raw();
    options.check(root, own, options::user_allow_other(&fuse_conf))?;
    let uid = options.uid.as_deref().map(privileges::find_uid).transpose()?;
    let gid = options.gid.as_deref().map(privileges::find_gid).transpose()?;
    let dir = paths::mount_point(args.dir())?;
    if args.fake {
        return Ok(ExitCode::SUCCESS);
    }

    // The environment is that of the user, from the start of the process that stays.
    let foreign = options.setuid.is_some() && !args.own_env;
    let env = foreign.then(|| {
        let mut env = privileges::environment(&user, std::env::vars_os());
        env.extend(background::absolute_variables(std::env::vars_os()));
        env
    });
    if !args.foreground {
        let code = background::start(&again(&args, &dir, true)?, env)?;
        return Ok(ExitCode::from(code));
    }
    if let Some(env) = env {
        return Err(background::replace(&again(&args, &dir, args.ready_stdout)?, env));
    }

    let ready = Ready::new(args.ready_stdout, args.log_file)?;
    let paths = Paths::of(&user, &|key| std::env::var_os(key));
    let holder = Holder { pid: std::process::id(), verb: "mount".into(), dir: Some(dir.clone()) };
    as_user(&user, || paths.prepare(&user))?;
    free_lock(&user, &paths)?;
    let lock = as_user(&user, || InstanceLock::take(&paths.state, &holder, lost_its_mount))?;
    let become_user = user.uid != nix::unistd::geteuid().as_raw();
    let source = options.fsname.clone().unwrap_or_else(|| "muxfs".to_owned());
    run::mount(MountJob { dir, source, options, uid, gid, user, become_user, paths, lock, ready })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the node without a mount until a signal ends it.
pub fn node() -> Result<()> {
    let user = User::own();
    let paths = Paths::own();
    paths.prepare(&user)?;
    free_lock(&user, &paths)?;
    let holder = Holder { pid: std::process::id(), verb: "node".into(), dir: None };
    let lock = InstanceLock::take(&paths.state, &holder, lost_its_mount)?;
    run::node(NodeJob { user, paths, lock, ready: Ready::new(false, None)? })
}

/// Whether a daemon is about to end: its mount is gone, by umount(8) or fusermount3.
fn lost_its_mount(holder: &Holder) -> bool {
    let Some(dir) = &holder.dir else { return false };
    mounts::at(dir).is_ok_and(|mount| mount.is_none_or(|mount| !mount.is_muxfs()))
}

/// A daemon of this user that was killed and cannot end keeps the lock until its mount is aborted.
fn free_lock(user: &User, paths: &Paths) -> Result<()> {
    match as_user(user, || lock::holder(&paths.state))? {
        Some(Holder { pid, dir: Some(dir), .. }) => takeover::take_over(pid, &dir, user.uid),
        _ => Ok(()),
    }
}

fn check_source(source: &str) -> Result<()> {
    match source {
        "local" | "muxfs" => Ok(()),
        other => fail(
            Kind::Invalid,
            format!("source {other:?}: only \"local\", this machine's node, can be mounted"),
        ),
    }
}

/// The arguments of the process that stays.
fn again(args: &MountArgs, dir: &std::path::Path, ready_stdout: bool) -> Result<Vec<OsString>> {
    let mut out: Vec<OsString> = vec!["mount".into(), "--foreground".into()];
    let options = options::parse(&args.options, args.sloppy)?;
    if options.setuid.is_some() {
        out.push("--own-env".into());
    }
    if ready_stdout {
        out.push("--ready-stdout".into());
    }
    if let Some(file) = &args.log_file {
        let file = std::path::absolute(file).map_err(|e| Error::io(file.display(), e))?;
        out.extend(["--log-file".into(), file.into()]);
    }
    // With mount -s the words nobody knows stay behind here.
    let known = |text: &String| options::keep_known(text);
    for text in args.options.iter().map(known).filter(|text| !text.is_empty()) {
        out.extend(["-o".into(), text.into()]);
    }
    out.extend(["--".into(), args.source().into_owned().into(), dir.into()]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(options: &[&str]) -> MountArgs {
        MountArgs {
            words: vec!["muxfs".into(), "/".into()],
            options: options.iter().map(|o| o.to_string()).collect(),
            foreground: false,
            log_file: None,
            ready_stdout: false,
            own_env: false,
            sloppy: true,
            fake: true,
        }
    }

    #[test]
    fn other_sources_are_refused_by_name() {
        for source in ["ssh://honey", "tcp://honey:1", "/dev/sda1"] {
            let mut args = args(&[]);
            args.words[0] = source.into();
            let error = mount(args).unwrap_err();
            assert!(error.kind == Kind::Invalid && error.text().contains(source), "{error}");
        }
        assert!(mount(args(&["ro"])).is_ok(), "mount(8)'s --fake checks all and mounts nothing");
        assert!(mount(args(&["setuid=no-such-user"])).is_err());
    }

    #[test]
    fn the_process_that_stays_is_told_the_same() {
        let args = args(&["ro,nonsense", "setuid=root", r"fsname=a\,b,nonsense"]);
        let again = again(&args, "/mnt/x".as_ref(), true).unwrap();
        let words: Vec<_> = again.iter().map(|w| w.to_str().unwrap()).collect();
        assert_eq!(
            words,
            [
                "mount",
                "--foreground",
                "--own-env",
                "--ready-stdout",
                "-o",
                "ro",
                "-o",
                "setuid=root",
                "-o",
                r"fsname=a\,b",
                "--",
                "muxfs",
                "/mnt/x"
            ]
        );
        use clap::Parser;
        super::super::Cli::try_parse_from(["muxfs"].into_iter().chain(words)).unwrap();
    }
}
