//! A mount's life: its end from either side, takeover, privileges, options, rights.

use super::*;

use muxfs_fs::takeover;

fn open(options: &MountOptions, locks: &Path) -> muxfs_tree::base::error::Result<Device> {
    Device::open(options, None, guard(locks, &options.dir)?)
}

#[test]
fn an_unmount_ends_blocked_readers_and_leaves_nothing() {
    let mux = Mux::new();
    let mut reader = mux.spawn("exec cat events");
    let mut holder = mux.spawn("exec 3<status; exec sleep 60");
    until("a reader", || mux.fake.readers("n/s/events") == 1);
    let dir = mux.dir.path().to_owned();
    assert!(is_mounted(&dir));
    let start = Instant::now();
    mux.unmount();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!is_mounted(&dir));
    assert!(!reader.wait().unwrap().success(), "ENXIO");
    holder.kill().unwrap();
    holder.wait().unwrap();
    mux.rt.as_ref().unwrap().block_on(mux.mounted.wait());
}

#[test]
fn an_unmount_from_outside_ends_the_mount() {
    for args in [vec![], vec!["-l"]] {
        let mux = Mux::new();
        let lazy = !args.is_empty();
        let reader = lazy.then(|| mux.spawn("exec cat events"));
        until("a reader", || !lazy || mux.fake.readers("n/s/events") == 1);
        let status = Command::new("umount").args(&args).arg(mux.dir.path()).status().unwrap();
        assert!(status.success());
        mux.rt.as_ref().unwrap().block_on(async {
            tokio::time::timeout(LIMIT, mux.mounted.wait()).await.expect("wait() returns");
        });
        if let Some(mut reader) = reader {
            reader.wait().unwrap();
        }
    }
}

#[test]
fn a_directory_in_use_is_refused_and_a_dead_mount_taken_over() {
    let (dir, locks) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // Another process mounts and is killed. It is this test binary, told to by the environment.
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs_door::life::holds_a_mount_for_another_test", "--nocapture"])
        .env("MUXFS_TEST_HOLD", dir.path())
        .env("MUXFS_TEST_LOCKS", locks.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the other mount", || dir.path().join("n/s/status").exists());
    let options = MountOptions::new(dir.path());
    let refused = |locks: &Path| open(&options, locks).err().unwrap();
    assert_eq!(refused(locks.path()).kind, Kind::Busy, "by its lock");
    let elsewhere = TempDir::new().unwrap();
    let why = refused(elsewhere.path());
    assert!(why.kind == Kind::Busy && why.text().contains("muxfs (type fuse.muxfs)"), "{why}");
    let mut holder = Command::new("sleep");
    holder.arg("60").current_dir(dir.path().join("n")).stdout(Stdio::null()).stderr(Stdio::null());
    let holder = holder.spawn();
    child.kill().unwrap();
    child.wait().unwrap();
    until("the mount's death", || nix::sys::statvfs::statvfs(dir.path()).is_err());
    let device = open(&options, locks.path()).unwrap();
    drop(device);
    assert!(!is_mounted(dir.path()), "a device that is not served leaves nothing");
    let mut holder = holder.unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let proc = open(&MountOptions::new("/proc"), locks.path()).err().unwrap();
    assert!(proc.kind == Kind::Busy && proc.text().contains("type proc"), "{proc}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(refused(locks.path()).kind, Kind::NotEmpty);
    let missing = MountOptions::new(dir.path().join("missing"));
    assert_eq!(open(&missing, locks.path()).err().unwrap().kind, Kind::NotFound);
}

/// The other process of other tests: mounts where it is told to, and unmounts when its standard
/// input ends.
#[test]
fn holds_a_mount_for_another_test() {
    let Some(dir) = std::env::var_os("MUXFS_TEST_HOLD") else { return };
    let locks = std::env::var_os("MUXFS_TEST_LOCKS").unwrap();
    let owner: Option<u32> = std::env::var("MUXFS_TEST_OWNER").ok().map(|id| id.parse().unwrap());
    let rt = Runtime::new().unwrap();
    let owners = owner.map(|id| (id, id));
    let file = guard(Path::new(&locks), Path::new(&dir)).unwrap();
    let device = Device::open(&MountOptions::new(dir), owners, file).unwrap();
    if let Some(id) = owner {
        nix::unistd::setgid(id.into()).unwrap();
        nix::unistd::setuid(id.into()).unwrap();
    }
    let mounted = serve(device, Fake::new(), rt.handle().clone()).unwrap();
    rt.block_on(async {
        let input = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            () = mounted.wait() => {}
            _ = input => mounted.unmount().await.unwrap(),
        }
    });
    std::process::exit(0); // whether or not the other end of its input is closed
}

#[test]
fn root_mounts_and_the_user_serves_and_unmounts() {
    let (dir, locks) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs_door::life::holds_a_mount_for_another_test", "--nocapture"])
        .env("MUXFS_TEST_HOLD", dir.path())
        .env("MUXFS_TEST_LOCKS", locks.path())
        .env("MUXFS_TEST_OWNER", "65534")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let cat = |user: &str| {
        let user = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()];
        Command::new("setpriv").args(user).arg("cat").arg(dir.path().join("n/s/status")).output().unwrap()
    };
    until("the user's mount", || cat("65534").stdout == b"state: ready\n");
    assert!(!cat("0").status.success(), "not even root, without allow_other");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!is_mounted(dir.path()));
}

#[test]
fn mount_options_show_in_modes_owners_and_errors() {
    let mux = Mux::with(|o| {
        (o.ro, o.uid, o.gid, o.umask) = (true, Some(1234), Some(5678), 0o200);
        o.source = "fleet".into();
    });
    assert_eq!(mux.sh("stat -c '%u %g %a' config; df --output=source . | tail -1"), "1234 5678 400\nfleet\n");
    assert!(mux.fails("echo x > input").contains("Read-only file system"));
    assert!(mux.fails("mkdir ../x").contains("Read-only file system"));
}

#[test]
fn permission_bits_are_the_kernels_to_judge() {
    let mux = Mux::with(|o| o.allow_other = true);
    let nobody = |script: &str| {
        mux.command("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script])
            .output()
            .unwrap()
    };
    assert!(!nobody("cat status").status.success());
    mux.sh(
        "chmod 711 ../.. .. .; chmod 644 status; chgrp 65534 notes; chmod 660 notes; stat -c '%a %g' notes",
    );
    // The test's own directory lets nobody through but by the mount.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(mux.dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    assert!(nobody("cat status && echo hi >> notes").status.success());
    assert!(!nobody("cat config").status.success());
    assert!(!nobody("chmod 777 status").status.success());
    assert!(mux.fails("chown 65534 status").contains("not permitted"));
    mux.sh("chown root status; touch status");
    assert_eq!(mux.sent("notes", 1), ["hi\n"]);
}

/// A daemon that was killed and cannot end, and the mkdir that it and that waits for it.
struct Stuck {
    dir: TempDir,
    daemon: Child,
    maker: Child,
}

impl Stuck {
    fn new(uid: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let script = include_str!("stuck.py");
        let mut daemon = Command::new("python3");
        let daemon = daemon.args(["-c", script]).arg(dir.path()).arg(uid.to_string()).spawn().unwrap();
        until("the mount", || is_mounted(dir.path()));
        let mut maker = Command::new("mkdir");
        let maker = maker.arg(dir.path().join("d/x")).stderr(Stdio::null()).spawn().unwrap();
        let mut stuck = Stuck { dir, daemon, maker };
        let tasks =
            || std::fs::read_dir(format!("/proc/{}/task", stuck.daemon.id())).into_iter().flatten().flatten();
        let status =
            |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        until("notifier that waits", || tasks().map(status).any(|s| s.contains("State:\tD")));
        stuck.daemon.kill().unwrap();
        let first = format!("/proc/{}/status", stuck.daemon.id());
        until("death", || std::fs::read_to_string(&first).unwrap().contains("State:\tZ"));
        assert!(stuck.daemon.try_wait().unwrap().is_none(), "it cannot end");
        stuck
    }

    fn mount(&self) -> muxfs_fs::mounts::Mount {
        muxfs_fs::mounts::at(self.dir.path()).unwrap().unwrap()
    }

    fn has_ended(&mut self) {
        until("end of the daemon", || self.daemon.try_wait().unwrap().is_some());
        until("end of its caller", || self.maker.try_wait().unwrap().is_some());
        assert!(!self.maker.wait().unwrap().success());
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_FORCE);
        let _ = nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_DETACH);
        let _ = (self.daemon.wait(), self.maker.wait());
    }
}

#[test]
fn a_mount_whose_daemon_cannot_end_is_taken_over() {
    let mut stuck = Stuck::new(0);
    // Not that of somebody else, nor before it is asked for.
    takeover::take_over(stuck.daemon.id(), stuck.dir.path(), 1).unwrap();
    assert!(stuck.daemon.try_wait().unwrap().is_none());
    takeover::take_over(stuck.daemon.id(), stuck.dir.path(), 0).unwrap();
    stuck.has_ended();
    let locks = TempDir::new().unwrap();
    drop(open(&MountOptions::new(stuck.dir.path()), locks.path()).unwrap());
    assert!(!is_mounted(stuck.dir.path()), "the dead mount was taken off, and the new one with its device");
}

#[test]
fn a_connection_is_aborted_by_its_file_where_that_is_mounted() {
    let control = TempDir::new().unwrap();
    let none = None::<&str>;
    let flags = nix::mount::MsFlags::empty();
    if let Err(e) = nix::mount::mount(none, control.path(), Some("fusectl"), flags, none) {
        return eprintln!("not run: no fusectl: {e}");
    }
    let mut stuck = Stuck::new(0);
    let all = muxfs_fs::mounts::all().unwrap();
    let aborted = takeover::abort(&stuck.mount(), &all);
    nix::mount::umount2(control.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    aborted.unwrap();
    stuck.has_ended();
}

/// The other process of the next test.
#[test]
fn takes_over_for_another_test() {
    let Ok(what) = std::env::var("MUXFS_TEST_TAKE_OVER") else { return };
    let (pid, dir) = what.split_once(' ').unwrap();
    nix::unistd::setgid(65534.into()).unwrap();
    nix::unistd::setuid(65534.into()).unwrap();
    let refused = takeover::take_over(pid.parse().unwrap(), Path::new(dir), 65534);
    eprintln!("{}", refused.unwrap_err());
}

#[test]
fn who_may_not_abort_a_connection_is_told_the_command() {
    if muxfs_fs::mounts::all().unwrap().iter().any(|m| m.fstype == "fusectl") {
        return eprintln!("not run: its user may abort it by fusectl");
    }
    let mut stuck = Stuck::new(65534);
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs_door::life::takes_over_for_another_test", "--nocapture"])
        .env("MUXFS_TEST_TAKE_OVER", format!("{} {}", stuck.daemon.id(), stuck.dir.path().display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains(&format!("run as root: umount -f {}", stuck.dir.path().display())), "{said}");
    assert!(stuck.daemon.try_wait().unwrap().is_none(), "and it is as it was");
    takeover::force(&stuck.mount()).unwrap();
    stuck.has_ended();
}

/// As root, a mount point that another user swaps for a link at the last moment.
#[test]
fn a_link_in_the_place_of_the_mount_point_is_not_mounted_on() {
    let (at, locks) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let at = at.path().canonicalize().unwrap();
    let (dir, kept, secret) = (at.join("mux"), at.join("kept"), at.join("secret"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::create_dir(&secret).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (dir, kept, secret, stop) = (dir.clone(), kept.clone(), secret.clone(), stop.clone());
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Neither works while it is mounted on.
                if std::fs::rename(&dir, &kept).is_ok() {
                    std::os::unix::fs::symlink(&secret, &dir).unwrap();
                    std::fs::remove_file(&dir).unwrap();
                    while std::fs::rename(&kept, &dir).is_err() {
                        std::thread::yield_now();
                    }
                }
            }
        }
    });
    for _ in 0..300 {
        let device = open(&MountOptions::new(&dir), locks.path());
        assert!(!is_mounted(&secret));
        drop(device);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
}
