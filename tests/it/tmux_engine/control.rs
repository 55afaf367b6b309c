//! The control client: its beginning and end, replies, notices.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn connect_never_starts_a_server_and_close_leaves_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = Socket::Path(dir.path().join("s"));
    assert!(Server::connect(&socket, &own()).await.expect("no error").is_none());
    assert!(!dir.path().join("s").exists());
    // A socket nobody listens on, as a killed server leaves it.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("binds"));
    assert!(Server::connect(&socket, &own()).await.expect("no error").is_none());
    std::fs::remove_file(dir.path().join("s")).expect("removes");

    let rig = Rig::new().await;
    let info = rig.s().info().clone();
    assert!(process::version_of(&info.version) >= Some((3, 2)), "{info:?}");
    assert_eq!(process::server_pid(&info.socket), Some(info.pid));
    let made = rig.session("work", &["cat"]).await;
    let list = text(&rig.s().run(cmd("list-sessions", &["-F", "#{session_name}"])).await.expect("lists"));
    assert_eq!(list.lines().collect::<Vec<_>>(), ["_muxfs", "work"]);
    let all = snapshot(rig.s()).await.expect("snapshot");
    assert_eq!((all.sessions.len(), all.panes.len(), all.clients.len()), (1, 1, 0), "ours are not shown");
    assert_eq!((all.sessions[0].attached, all.sessions[0].muxfs_id.as_deref()), (0, Some("id-1")));

    // A second connection shares the hidden session; the first to close must not take it away.
    let (second, _n) = Server::connect(&rig.socket(), &own()).await.expect("connects").expect("runs");
    assert_eq!(second.hidden_session(), rig.s().hidden_session());
    second.close().await;
    let list = text(&rig.s().run(cmd("list-sessions", &["-F", "#{session_name}"])).await.expect("lists"));
    assert!(list.contains("_muxfs"), "{list}");

    // The user's session outlives us, the hidden one does not.
    let Rig { dir, server, pid, .. } = &mut { rig };
    server.take().expect("there").close().await;
    let left = std::process::Command::new("tmux")
        .args(["-S"])
        .arg(dir.path().join("s"))
        .args(["list-sessions", "-F", "#{session_name} #{session_attached}"])
        .output()
        .expect("tmux runs");
    assert_eq!(text(&left.stdout), "work 0");
    assert!(!gone(*pid) && !gone(made.pid));
    end_process(*pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_stay_in_step_whatever_a_line_does() {
    let rig = Rig::new().await;
    let s = rig.s();
    let say = |t: &str| cmd("display-message", &["-p", t]);
    let lost = s.run(say("a").then(cmd("kill-session", &["-t", "$99"])).then(say("b"))).await;
    assert_eq!(lost.expect_err("the middle fails").kind, Kind::Gone);
    assert_eq!(text(&s.run(say("next")).await.expect("in step")), "next");
    let bad = s.run(Command::new("no-such-command")).await.expect_err("refused");
    assert_eq!((bad.kind, bad.text()), (Kind::Invalid, "parse error: unknown command: no-such-command"));
    let nested = Command::either("", "1", Some(say("x").then(say("y"))), None);
    assert_eq!(s.run(nested).await.expect("runs"), b"x\ny\n");
    // The user's hooks and aliases answer too, and must not be taken for ours.
    s.run(cmd("set-hook", &["-g", "after-list-sessions", "display-message -p hook ; list-buffers"]))
        .await
        .expect("set");
    s.run(cmd(
        "set-option",
        &["-s", "command-alias[90]", "list-clients=display-message -p one ; display-message -p two"],
    ))
    .await
    .expect("set");
    assert_eq!(text(&s.run(cmd("list-sessions", &["-F", "#S"])).await.expect("lists")), "_muxfs");
    assert_eq!(s.run(Command::new("list-clients")).await.expect("alias"), b"one\ntwo\n");
    s.run(cmd("set-option", &["-su", "command-alias[90]"])).await.expect("unset");
    assert_eq!(s.run(cmd("show-options", &["x\0y"])).await.expect_err("NUL").kind, Kind::Invalid);
    assert_eq!(text(&s.run(say("still")).await.expect("in step")), "still");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_at_once_keep_their_order() {
    let rig = Rig::new().await;
    let start = Instant::now();
    let sent: Vec<_> = (0..10_000)
        .map(|i| rig.s().send(cmd("display-message", &["-p", &format!("n{i}")])).expect("sent"))
        .collect();
    for (i, reply) in sent.into_iter().enumerate() {
        let bodies = reply.await.expect("answered").expect("fine");
        assert_eq!(bodies, [format!("n{i}\n").into_bytes()]);
    }
    println!("10,000 pipelined: {:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..1000 {
        rig.s().run(cmd("display-message", &["-p", "x"])).await.expect("fine");
    }
    println!("1,000 round trips: {:?}", start.elapsed());
    // Commands go from many threads at once.
    let tasks: Vec<_> = (0..50)
        .map(|t| {
            let s = rig.s().clone();
            tokio::spawn(async move {
                for i in 0..20 {
                    let want = format!("{t}-{i}");
                    assert_eq!(
                        text(&s.run(cmd("display-message", &["-p", &want])).await.expect("fine")),
                        want
                    );
                }
            })
        })
        .collect();
    for t in tasks {
        t.await.expect("no panic");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_looks_like_the_protocol() {
    let rig = Rig::new().await;
    let show = "printf '%%end 1 1 1\\n%%error 1 1 1\\n%%begin 1 1 1\\n%%exit\\nmuxfs-0-1\\n'; exec cat";
    let made = rig.session("evil", &["sh", "-c", show]).await;
    rig.shows(&made.pane, "muxfs-0-1").await;
    assert!(
        rig.screen(&made.pane)
            .await
            .starts_with("%end 1 1 1\n%error 1 1 1\n%begin 1 1 1\n%exit\nmuxfs-0-1\n")
    );
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_fails_everything_at_once() {
    let mut rig = Rig::new().await;
    let made = rig.session("w", &["cat"]).await;
    let pid = nix::unistd::Pid::from_raw(rig.pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP).expect("stops");
    let s = rig.s().clone();
    let waiting = tokio::spawn(async move { s.run(cmd("display-message", &["-p", "x"])).await });
    let sent: Vec<_> = (0..100).map(|_| rig.s().send(cmd("list-panes", &["-a"])).expect("sent")).collect();
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("kills");
    let limit = Duration::from_secs(2);
    let lost = within(limit, "the pending call", waiting).await.expect("no panic");
    assert_eq!(lost.expect_err("gone").kind, Kind::Gone);
    for reply in sent {
        assert!(within(limit, "a pending line", reply).await.is_err());
    }
    assert_eq!(rig.s().run(cmd("list-panes", &["-a"])).await.expect_err("gone").kind, Kind::Gone);
    let exit = within(limit, "the last notice", async {
        let mut last = None;
        while let Some(n) = rig.notices.recv().await {
            last = Some(n);
        }
        last
    })
    .await;
    assert!(matches!(exit, Some(Notice::Exit { .. })), "{exit:?}");
    assert!(rig.s().lost());
    assert!(Server::connect(&rig.socket(), &own()).await.expect("no error").is_none());
    until("the pane's process ends", async || gone(made.pid)).await;
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("signals");
}

/// The limit of a line, and what a busy machine adds to it.
const ANSWER: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn what_timed_out_is_never_done_and_limits_do_not_add_up() {
    let rig = Rig::new().await;
    let made = rig.session("w", &["cat"]).await;
    input::type_text(rig.s(), &made.pane, "before").await.expect("typed");
    rig.shows(&made.pane, "before").await;
    signal(rig.pid, nix::sys::signal::Signal::SIGSTOP);
    // Seven at once, and seven more one after the other: all of them together take one limit.
    let typed = (0..7).map(|i| {
        let (s, pane) = (rig.s().clone(), made.pane.clone());
        tokio::spawn(async move { input::type_text(&s, &pane, &format!("late{i}")).await })
    });
    let typed: Vec<_> = typed.collect();
    within(ANSWER, "seven lines to a server that is stopped", async {
        for one in typed {
            assert_eq!(one.await.expect("no panic").expect_err("stopped").kind, Kind::TimedOut);
        }
        for _ in 0..7 {
            let refused = input::paste(rig.s(), &made.pane, b"later", true).await.expect_err("stopped");
            assert_eq!(refused.kind, Kind::TimedOut, "{refused}");
            assert!(refused.text().contains("nothing was sent"), "{refused}");
            assert_eq!(snapshot(rig.s()).await.expect_err("stopped").kind, Kind::TimedOut);
            let renamed = session::rename(rig.s(), &made.session, "x").await;
            assert_eq!(renamed.expect_err("stopped").kind, Kind::TimedOut);
        }
    })
    .await;
    signal(rig.pid, nix::sys::signal::Signal::SIGCONT);
    until("tmux answers again", async || snapshot(rig.s()).await.is_ok()).await;
    input::type_text(rig.s(), &made.pane, "after").await.expect("typed");
    rig.shows(&made.pane, "beforeafter").await;
    assert!(!rig.screen(&made.pane).await.contains("late"));
    rig.end().await;
}

/// What a person may do to our client, and what may happen to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_lost_is_followed_by_another() {
    let mut rig = Rig::new().await;
    let made = rig.session("w", &["cat"]).await;
    let socket = rig.path().join("s");
    for how in ["detach-client -s _muxfs", "kill-session -t =_muxfs:", "kill -9"] {
        let person = |args: &[&str]| {
            std::process::Command::new("tmux").arg("-S").arg(&socket).args(args).status().expect("tmux runs")
        };
        if how == "kill -9" {
            let list = cmd("list-clients", &["-t", &rig.s().hidden_session(), "-F", "#{client_pid}"]);
            let pid = text(&rig.s().run(list).await.expect("lists"));
            signal(pid.parse().expect("one client"), nix::sys::signal::Signal::SIGKILL);
        } else {
            assert!(person(&how.split(' ').collect::<Vec<_>>()).success());
        }
        until(how, async || matches!(rig.notices.recv().await, Some(Notice::Exit { .. }))).await;
        assert!(!rig.s().lost(), "{how}: the server lives");
        // What is asked meanwhile waits for the next client.
        let (s, pane) = (rig.s().clone(), made.pane.clone());
        let meanwhile = tokio::spawn(async move { input::type_text(&s, &pane, "x").await });
        rig.notices = rig.s().again(&rig.socket(), &own()).await.expect(how).expect("the same server");
        within(ANSWER, how, meanwhile).await.expect("no panic").expect("typed");
        assert_eq!(snapshot(rig.s()).await.expect("lists").sessions.len(), 1, "{how}: ours is hidden");
    }
    rig.shows(&made.pane, "xxx").await;
    rig.end().await;
}

/// `show-environment -gh` prints them; nobody else would ever take them away.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_line_stays_in_the_server() {
    use muxfs_tmux::command::Hidden;
    let mut rig = Rig::new().await;
    let variables = async |server: &Server| {
        let list = text(&server.run(cmd("show-environment", &["-gh"])).await.expect("lists"));
        list.lines().filter(|l| l.starts_with("MUXFS_")).map(str::to_owned).collect::<Vec<_>>()
    };
    // In the middle of a line: tmux has its text, and waits.
    let hidden = Hidden::new("a secret");
    let line = cmd("wait-for", &["never"]).then(cmd("display-message", &[&hidden.format()]).hiding([hidden]));
    let (server, held) = (
        rig.s().clone(),
        tokio::spawn({
            let server = rig.s().clone();
            async move { server.run(line).await }
        }),
    );
    let socket = rig.path().join("s");
    let person = |args: &[&str]| {
        let out = std::process::Command::new("tmux").arg("-S").arg(&socket).args(args).output();
        String::from_utf8(out.expect("tmux runs").stdout).expect("UTF-8")
    };
    until("tmux has the text", async || person(&["show-environment", "-gh"]).contains("a secret")).await;
    let client: u32 = person(&["list-clients", "-F", "#{client_pid}"]).trim().parse().expect("one client");
    signal(client, nix::sys::signal::Signal::SIGKILL);
    let exit = async || matches!(rig.notices.recv().await, Some(Notice::Exit { .. }));
    until("the client is lost", exit).await;
    assert_eq!(
        within(ANSWER, "it fails", held).await.expect("no panic").expect_err("lost").kind,
        Kind::Unreachable
    );
    rig.notices = rig.s().again(&rig.socket(), &own()).await.expect("connects").expect("the same server");
    assert_eq!(variables(&server).await, [""; 0]);

    // What a process left that was killed goes with the next connection; others' stay.
    let name = |own: &str, started: &str| {
        let space = std::fs::read_link("/proc/self/ns/pid").expect("a namespace");
        let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        format!("MUXFS_{space}_{own}_{started}_5")
    };
    let me = std::process::id().to_string();
    let stat = std::fs::read_to_string("/proc/self/stat").expect("its own");
    let living = name(&me, stat.rsplit(") ").next().and_then(|f| f.split(' ').nth(19)).expect("its start"));
    for (name, value) in [(&living, "mine"), (&name(&me, "1"), "a\nsecret")] {
        person(&["set-environment", "-gh", name, value]);
    }
    let (second, _notices) = Server::connect(&rig.socket(), &own()).await.expect("connects").expect("runs");
    assert_eq!(variables(&second).await, [format!("{living}=mine")]);
    second.close().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_shows_something_to_our_client_does_not_stop_it() {
    let mut rig = Rig::new().await;
    let hook = |what: &'static str| cmd("set-hook", &["-g", "after-new-session", what]);
    for covers in ["display-popup -w 50% -h 50% true", "display-menu -x 0 -y 0 one a kill-server"] {
        rig.s().run(hook(covers)).await.expect("set");
        let made = within(ANSWER, covers, rig.session("w", &["cat"])).await;
        within(ANSWER, covers, input::type_text(rig.s(), &made.pane, "typed")).await.expect("typed");
        rig.shows(&made.pane, "typed").await;
        session::kill_session(rig.s(), &made.session).await.expect("killed");
    }
    // A prompt cannot be taken away: the client goes, and the next one works.
    rig.session("other", &["cat"]).await;
    rig.s().run(cmd("set-hook", &["-gu", "after-new-session"])).await.expect("unset");
    rig.s().run(cmd("set-hook", &["-g", "after-list-buffers", "wait-for never"])).await.expect("set");
    let held = within(ANSWER, "a line that is held up", rig.s().run(Command::new("list-buffers"))).await;
    assert_eq!(held.expect_err("held up").kind, Kind::TimedOut);
    let exit = async || matches!(rig.notices.recv().await, Some(Notice::Exit { .. }));
    until("the client is given up", exit).await;
    rig.notices = rig.s().again(&rig.socket(), &own()).await.expect("connects").expect("the same server");
    rig.s().run(cmd("set-hook", &["-gu", "after-list-buffers"])).await.expect("goes on");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_tell_of_sessions_and_clients_that_are_moved_out() {
    let mut rig = Rig::new().await;
    let made = rig.session("w", &["cat"]).await;
    session::rename(rig.s(), &made.session, "w 2").await.expect("renamed");
    let want = Notice::SessionRenamed { id: made.session.clone(), name: "w 2".into() };
    let mut seen = vec![];
    while seen.last() != Some(&want) {
        let next = within(Duration::from_secs(5), "the notice", rig.notices.recv()).await;
        seen.push(next.expect("still connected"));
    }
    assert!(seen.contains(&Notice::SessionsChanged), "{seen:?}");

    // A person's client in a terminal, made by script(1).
    let attach = format!("exec tmux -u -S '{}' attach -t '={}:'", rig.path().join("s").display(), "w 2");
    let mut person = tokio::process::Command::new("script")
        .args(["-qfc", &attach, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("TMUX")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("script runs");
    until("the client is there", async || snapshot(rig.s()).await.expect("snapshot").clients.len() == 1)
        .await;
    let client = snapshot(rig.s()).await.expect("snapshot").clients.remove(0);
    assert_eq!((client.control, &client.session), (false, &made.session));
    let typed = activity::typed_recently(rig.s(), &made.pane).await.expect("asked");
    assert!(typed.is_some_and(|t| t < Duration::from_secs(30)), "{typed:?}");

    let hidden = rig.s().hidden_session();
    rig.s().run(cmd("switch-client", &["-c", &client.name, "-t", &hidden])).await.expect("moved in");
    loop {
        let next = within(Duration::from_secs(5), "the notice", rig.notices.recv()).await;
        if let Some(Notice::ClientSession { session, .. }) = next
            && session == hidden
        {
            rig.s().move_out().await.expect("moved out");
            break;
        }
    }
    let now = snapshot(rig.s()).await.expect("snapshot").clients.remove(0);
    assert_eq!(now.session, made.session);
    // Nowhere to go: detached.
    rig.s().run(cmd("switch-client", &["-c", &client.name, "-t", &hidden])).await.expect("moved in");
    session::kill_session(rig.s(), &made.session).await.expect("killed");
    rig.s().move_out().await.expect("detached");
    within(Duration::from_secs(10), "the client ends", person.wait()).await.expect("ended");
    rig.end().await;
}
