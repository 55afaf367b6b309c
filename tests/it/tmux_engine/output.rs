//! Pipes and captures.

use super::*;

/// Reads a pane's pipe to the end, or until `enough`.
async fn drain(fd: OwnedFd, mut enough: impl FnMut(&[u8]) -> bool + Send + 'static) -> Vec<u8> {
    let work = tokio::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while !enough(&all) {
            match stream.read(&mut piece).expect("the pipe gives no more") {
                0 => break,
                n => all.extend_from_slice(&piece[..n]),
            }
        }
        all
    });
    work.await.expect("no panic")
}

fn ours(start: Option<muxfs_tree::base::error::Result<PipeStart>>) -> OwnedFd {
    match start {
        Some(Ok(PipeStart::Ours(fd))) => fd,
        other => panic!("no pipe: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_and_the_first_bytes_arrive() {
    let rig = Rig::new().await;
    let hub = rig.hub();
    let script = "echo first; stty raw -echo; yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c 52428800; printf LAST; exec cat";
    let made = rig.made("big", &["sh", "-c", script], Some(&hub)).await;
    let got = drain(ours(made.pipe), |all| all.ends_with(b"LAST")).await;
    let body = got.strip_prefix(b"first\r\n").expect("the first bytes");
    let body = body.strip_suffix(b"LAST").expect("the last bytes");
    assert_eq!(body.len(), 52_428_800);
    assert!(body.chunks(37).all(|l| b"0123456789abcdefghijklmnopqrstuvwxyz\n".starts_with(l)));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_of_the_users_is_left_alone() {
    let rig = Rig::new().await;
    let hub = rig.hub();
    let made = rig.session("p", &["cat"]).await;
    let file = rig.path().join("theirs");
    let theirs = format!("exec cat > '{}'", file.display());
    rig.s().run(cmd("pipe-pane", &["-O", "-t", &made.pane, &theirs])).await.expect("piped");
    assert!(rig.pane(&made.pane).await.piped);
    assert!(matches!(hub.pipe(rig.s(), &made.pane).await, Ok(PipeStart::Theirs)));
    input::paste(rig.s(), &made.pane, b"to them", true).await.expect("pasted");
    until("their pipe works on", async || {
        std::fs::read_to_string(&file).is_ok_and(|t| t.contains("to them"))
    })
    .await;
    rig.s().run(cmd("pipe-pane", &["-t", &made.pane])).await.expect("closed");
    let fd = ours(Some(hub.pipe(rig.s(), &made.pane).await));
    assert!(matches!(hub.pipe(rig.s(), &made.pane).await, Ok(PipeStart::Theirs)), "our own counts too");
    input::paste(rig.s(), &made.pane, b"to us", true).await.expect("pasted");
    // They take it: we see the end.
    let reader = tokio::spawn(drain(fd, |_| false));
    rig.shows(&made.pane, "to us").await;
    rig.s().run(cmd("pipe-pane", &["-O", "-t", &made.pane, &theirs])).await.expect("piped");
    let got = within(Duration::from_secs(10), "the end", reader).await.expect("no panic");
    assert!(text(&got).contains("to us"), "{}", text(&got));
    assert_eq!(hub.pipe(rig.s(), "%999").await.expect_err("no such pane").kind, Kind::Gone);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_stop_early_enough_for_a_server_with_few_descriptors() {
    let rig = Rig::new().await;
    let hub = rig.hub();
    let status = std::process::Command::new("prlimit")
        .args([&format!("--pid={}", rig.pid), "--nofile=256:256"])
        .status()
        .expect("prlimit runs");
    assert!(status.success());
    let cat = ["cat".to_owned()];
    let (mut pipes, mut refused, mut last) = (vec![], 0, String::new());
    let full = loop {
        let name = format!("s{}", pipes.len() + refused);
        let new = NewSession {
            name: &name,
            cwd: b"/",
            width: 80,
            height: 24,
            command: Some(&cat),
            ..Default::default()
        };
        match session::new_session(rig.s(), new, Some(&hub)).await {
            Ok(made) => {
                last = made.pane;
                match made.pipe {
                    Some(Ok(PipeStart::Ours(fd))) => pipes.push(fd),
                    Some(Ok(PipeStart::NoRoom { limit: 256, .. })) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            Err(e) => break e,
        }
    };
    assert_eq!(full.kind, Kind::Full, "{full}");
    let used = std::fs::read_dir(format!("/proc/{}/fd", rig.pid)).expect("reads").count();
    println!("{} pipes, {refused} refused, {used} descriptors", pipes.len());
    assert!(
        pipes.len() > 50 && refused > 30 && used < 250,
        "{} pipes, {refused} refused, {used}",
        pipes.len()
    );
    assert!(matches!(hub.pipe(rig.s(), &last).await, Ok(PipeStart::NoRoom { .. })));
    let panes = snapshot(rig.s()).await.expect("usable").panes;
    assert_eq!(panes.len(), pipes.len() + refused);
    let (other, _n) = Server::connect(&rig.socket(), &own()).await.expect("connects").expect("runs");
    other.close().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_scrollback_hidden_screen_and_screen() {
    let rig = Rig::new().await;
    let long = "x".repeat(100);
    let script = format!(
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; done; echo {long}; echo; stty -echo; exec cat"
    );
    let made = rig.session("o", &["sh", "-c", &script]).await;
    let output = async || {
        let text = capture_text(rig.s(), &made.pane, Capture::Output).await.expect("captures");
        String::from_utf8(text).expect("UTF-8")
    };
    rig.shows(&made.pane, "xxx").await;
    let want: String = (1..=60).map(|i| format!("line {i}\n")).collect();
    assert_eq!(output().await, format!("{want}{long}\n"));
    // cat prints the sequence back, and tmux does as it says.
    input::paste(rig.s(), &made.pane, b"\x1b[?1049h\x1b[31mFULL", true).await.expect("pasted");
    until("alternate", async || rig.pane(&made.pane).await.alternate_on).await;
    rig.shows(&made.pane, "FULL").await;
    let got = output().await;
    assert!(got.starts_with(&want), "{got}");
    let full = got.rfind("FULL").expect("the screen");
    assert!(got.find(&long).is_some_and(|at| at < full), "{got}");
    let colours = capture_text(rig.s(), &made.pane, Capture::ScreenAnsi).await.expect("captures");
    assert!(colours.windows(5).any(|w| w == b"\x1b[31m"));
    // Without any scrollback.
    let made = rig.session("o2", &["sh", "-c", "printf '\\033[?1049hFULL'; exec cat"]).await;
    rig.shows(&made.pane, "FULL").await;
    let text = capture_text(rig.s(), &made.pane, Capture::Output).await.expect("captures");
    assert_eq!(String::from_utf8_lossy(&text).matches("FULL").count(), 1);
    rig.end().await;
}

/// How often tmux loses a program's last bytes at its exit. Not a pass or a fail of ours:
/// `cargo nextest run --run-ignored all tail_at_exit --no-capture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn tail_at_exit() {
    let rig = Rig::new().await;
    let hub = rig.hub();
    for (what, script) in [
        ("one line", "printf LAST"),
        ("100 KB", "yes 0123456789 | head -c 100000; printf LAST"),
        ("1 MB", "yes 0123456789 | head -c 1000000; printf LAST"),
        ("10 MB", "yes 0123456789 | head -c 10000000; printf LAST"),
        ("1 MB by one process", "exec perl -e 'print \"0123456789\\n\" x 90000, \"LAST\"'"),
    ] {
        let (mut lost, mut bytes) = (0, 0);
        for i in 0..50 {
            let name = format!("t{i}");
            let made = rig.made(&name, &["sh", "-c", &format!("stty -opost; {script}")], Some(&hub)).await;
            let stream = std::os::unix::net::UnixStream::from(ours(made.pipe));
            let reader = tokio::task::spawn_blocking(move || {
                let mut stream = stream;
                stream.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
                let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    all.extend_from_slice(&piece[..n]);
                }
                all
            });
            rig.dead(&made.pane).await;
            let got = reader.await.expect("no panic");
            if !got.ends_with(b"LAST") {
                lost += 1;
            }
            bytes = bytes.max(got.len());
            session::kill_session(rig.s(), &made.session).await.expect("killed");
        }
        println!("{what}: {lost} of 50 incomplete (longest {bytes})");
    }
    rig.end().await;
}
