//! Names, directories, environments: nothing that tmux would expand or lose.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn names_and_directories_are_taken_literally() {
    let rig = Rig::new().await;
    let flag = rig.path().join("F");
    let evil = format!("#(touch {})", flag.display()).replace('.', "_");
    let names = [
        evil.as_str(),
        "#S",
        "#{pid}",
        "##",
        "#[fg=red]",
        "##[x",
        "a'b\"c",
        "x; kill-server",
        "-n",
        "ü 漢字",
        "100%H",
        "$1",
        "100$",
        "@1",
        "%1",
        "=x",
        "{last}",
        "~",
        "!",
        "+1",
        "`id`",
    ];
    for name in names {
        let made = rig.session(name, &["cat"]).await;
        let all = snapshot(rig.s()).await.expect("snapshot");
        let got = all.sessions.iter().find(|s| s.id == made.session).expect("is there");
        assert_eq!(got.name, name);
        assert_eq!(got.muxfs_id.as_deref(), Some("id-1"), "{name}");
        session::rename(rig.s(), &made.session, "plain").await.expect("renamed");
        session::rename(rig.s(), &made.session, name).await.expect("renamed back");
        let all = snapshot(rig.s()).await.expect("snapshot");
        assert!(all.sessions.iter().any(|s| s.name == name), "{name}");
    }
    assert!(!flag.exists() && !Path::new(&flag.to_string_lossy().replace('.', "_")).exists());
    let again = NewSession { name: "#S", cwd: b"/", width: 80, height: 24, ..NewSession::default() };
    assert_eq!(session::new_session(rig.s(), again, None).await.expect_err("taken").kind, Kind::Exists);
    let again = NewSession { name: "$1", cwd: b"/", width: 80, height: 24, ..NewSession::default() };
    let before = snapshot(rig.s()).await.expect("snapshot").sessions.len();
    assert_eq!(session::new_session(rig.s(), again, None).await.expect_err("taken").kind, Kind::Exists);
    assert_eq!(snapshot(rig.s()).await.expect("snapshot").sessions.len(), before, "nothing half-made stays");
    for bad in ["$HOME", "a${x}", "a:b", "a.b", "a\\b", "a\nb", ""] {
        let new = NewSession { name: bad, cwd: b"/", width: 80, height: 24, ..NewSession::default() };
        assert_eq!(session::new_session(rig.s(), new, None).await.expect_err("refused").kind, Kind::Invalid);
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_directory_arrive() {
    let rig = Rig::new().await;
    let dir = rig.path().join("d #{pid} #S 'q' \n%H");
    std::fs::create_dir(&dir).expect("makes");
    let bin = rig.path().join("bin");
    std::fs::create_dir(&bin).expect("makes");
    let program = "#!/bin/sh\nprintf '<%s>' \"$ODD\" > out; pwd > pwd; echo started; exec /bin/cat\n";
    std::fs::write(bin.join("agent x"), program).expect("writes");
    use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt};
    std::fs::set_permissions(bin.join("agent x"), PermissionsExt::from_mode(0o755)).expect("mode");
    let odd = "a=b\n#{pid} #(x) $HOME \"'\\ ; ü\t\u{1b}[0m%";
    let env = [("PATH".into(), format!("{}:/usr/bin", bin.display())), ("ODD".into(), odd.to_owned())];
    let new = NewSession {
        name: "e",
        cwd: dir.as_os_str().as_bytes(),
        env: &env,
        command: Some(&["agent x".to_owned()]),
        width: 100,
        height: 30,
        muxfs_id: "x",
    };
    let made = session::new_session(rig.s(), new.clone(), None).await.expect("made");
    rig.shows(&made.pane, "started").await;
    assert_eq!(std::fs::read_to_string(dir.join("out")).expect("read"), format!("<{odd}>"));
    assert_eq!(std::fs::read_to_string(dir.join("pwd")).expect("read"), format!("{}\n", dir.display()));
    assert_eq!(session::new_session(rig.s(), new, None).await.expect_err("taken").kind, Kind::Exists);
    let pane = rig.pane(&made.pane).await;
    assert_eq!(
        (pane.width, pane.height, pane.pid, pane.cwd.as_str()),
        (100, 30, made.pid, dir.to_str().expect("UTF-8"))
    );

    // Respawned in another directory with another environment.
    let busy = session::respawn(rig.s(), &made.pane, b"/", &env, None, false).await.expect_err("runs");
    assert_eq!(busy.kind, Kind::Busy);
    let argv = ["sh".to_owned(), "-c".into(), "pwd; echo \"<$ODD>\"; exec cat".into()];
    let env = [("ODD".into(), "zwei".to_owned())];
    let pid = session::respawn(rig.s(), &made.pane, b"/tmp", &env, Some(&argv), true).await.expect("again");
    rig.shows(&made.pane, "/tmp\n<zwei>").await;
    assert_ne!(pid, made.pid);

    // A program that is not there: 127, as a shell has it, and the pane stays.
    let made = rig.session("none", &["no-such-program"]).await;
    let pane = rig.dead(&made.pane).await;
    assert_eq!((pane.dead_status, pane.dead_signal), (Some(127), None));
    let made = rig.session("sig", &["sh", "-c", "kill -9 $$"]).await;
    // 3.2 never tells by which signal a program ended.
    if !rig.s().info().version.starts_with("3.2") {
        let pane = rig.dead(&made.pane).await;
        assert_eq!((pane.dead_status, pane.dead_signal), (None, Some(9)));
    }
    let hub = rig.hub();
    let more =
        session::new_window(rig.s(), &made.session, "mark", b"/", &[], Some(&["cat".to_owned()]), Some(&hub))
            .await;
    let more = more.expect("a window");
    assert_eq!(more.session, made.session);
    assert!(matches!(more.pipe, Some(Ok(PipeStart::Ours(_)))), "{more:?}");
    rig.end().await;
}
