//! A mount's life: its end from either side, takeover, privileges, options, rights.

use super::*;

fn open(options: &MountOptions, locks: &Path) -> muxfs::error::Result<Device> {
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
