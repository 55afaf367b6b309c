//! The tmux engine on a real tmux: one server a test, each on a socket of its own.

use muxfs::error::Kind;
use muxfs::tmux::*;
use std::future::Future;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// A throw-away server. `end` it: Drop only makes sure that nothing is left after a panic.
struct Rig {
    dir: tempfile::TempDir,
    server: Option<Server>,
    notices: UnboundedReceiver<Notice>,
    pid: u32,
}

fn own() -> OwnProgram {
    OwnProgram::new(env!("CARGO_BIN_EXE_muxfs"))
}

impl Rig {
    async fn new() -> Rig {
        let dir = tempfile::tempdir().expect("tempdir");
        let socket = Socket::Path(dir.path().join("s"));
        let (server, notices) = Server::start(&socket, &own()).await.expect("a server starts");
        let pid = server.info().pid;
        Rig { dir, server: Some(server), notices, pid }
    }

    fn s(&self) -> &Server {
        self.server.as_ref().expect("not ended")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> Socket {
        Socket::Path(self.path().join("s"))
    }

    fn hub(&self) -> PipeHub {
        PipeHub::listen(&self.path().join("pipe"), &own()).expect("listens")
    }

    /// A session that runs `argv`.
    async fn session(&self, name: &str, argv: &[&str]) -> Made {
        self.made(name, argv, None).await
    }

    async fn made(&self, name: &str, argv: &[&str], hub: Option<&PipeHub>) -> Made {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        let new = NewSession {
            name,
            cwd: b"/",
            command: Some(&argv),
            width: 80,
            height: 24,
            muxfs_id: "id-1",
            ..NewSession::default()
        };
        session::new_session(self.s(), new, hub).await.expect("a session is made")
    }

    async fn screen(&self, pane: &str) -> String {
        let text = capture(self.s(), pane, Capture::Screen).await.expect("captures");
        String::from_utf8_lossy(&text).into_owned()
    }

    async fn shows(&self, pane: &str, text: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.screen(pane).await.contains(text) {
            assert!(Instant::now() < end, "waited 20 s for {text:?}, see {:?}", self.screen(pane).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn pane(&self, id: &str) -> PaneInfo {
        let all = snapshot(self.s()).await.expect("snapshot");
        all.panes.into_iter().find(|p| p.id == id).expect("the pane is there")
    }

    /// Waits for the pane's end and its status, which tmux may know a moment later.
    async fn dead(&self, id: &str) -> PaneInfo {
        let known = |p: &PaneInfo| p.dead && (p.dead_status.is_some() || p.dead_signal.is_some());
        until("the pane is dead", async || known(&self.pane(id).await)).await;
        self.pane(id).await
    }

    /// Control clients first, then the server, then its process.
    async fn end(mut self) {
        let server = self.server.take().expect("not ended");
        let all = snapshot(&server).await.expect("snapshot");
        for s in &all.sessions {
            session::kill_session(&server, &s.id).await.expect("killed");
        }
        server.close().await;
        let pid = self.pid;
        until("the server ends with its last session", async || gone(pid)).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.server.take().is_some() {
            end_process(self.pid);
        }
    }
}

fn gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|s| s.is_empty() || s.starts_with('Z'))
}

/// A server of ours, found by its own process id.
fn end_process(pid: u32) {
    if !gone(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL);
    }
}

/// Waits for a condition, 20 s at most.
async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !met().await {
        assert!(Instant::now() < end, "waited 20 s for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn within<T>(limit: Duration, what: &str, f: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, f).await.unwrap_or_else(|_| panic!("{what} took more than {limit:?}"))
}

fn cmd(name: &'static str, args: &[&str]) -> Command {
    Command::new(name).args(args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

// --- control

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
    let typed = input::typed_recently(rig.s(), &made.pane).await.expect("asked");
    assert!(typed.is_some_and(|t| t < Duration::from_secs(30)), "{typed:?}");

    let hidden = rig.s().hidden_session().to_owned();
    rig.s().run(cmd("switch-client", &["-c", &client.name, "-t", &hidden])).await.expect("moved in");
    loop {
        let next = within(Duration::from_secs(5), "the notice", rig.notices.recv()).await;
        if let Some(Notice::ClientSession { client, session, .. }) = next
            && session == hidden
        {
            rig.s().move_out(&client, &session).await.expect("moved out");
            break;
        }
    }
    let now = snapshot(rig.s()).await.expect("snapshot").clients.remove(0);
    assert_eq!(now.session, made.session);
    // Nowhere to go: detached.
    rig.s().run(cmd("switch-client", &["-c", &client.name, "-t", &hidden])).await.expect("moved in");
    session::kill_session(rig.s(), &made.session).await.expect("killed");
    rig.s().move_out(&client.name, &hidden).await.expect("detached");
    within(Duration::from_secs(10), "the client ends", person.wait()).await.expect("ended");
    rig.end().await;
}

// --- names and environments

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
async fn environment_directory_and_scrollback_arrive() {
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
        history_limit: Some(12_345),
        muxfs_id: "x",
    };
    let limit =
        async || text(&rig.s().run(cmd("show-options", &["-gv", "history-limit"])).await.expect("shows"));
    let before = limit().await;
    let made = session::new_session(rig.s(), new.clone(), None).await.expect("made");
    rig.shows(&made.pane, "started").await;
    assert_eq!(std::fs::read_to_string(dir.join("out")).expect("read"), format!("<{odd}>"));
    assert_eq!(std::fs::read_to_string(dir.join("pwd")).expect("read"), format!("{}\n", dir.display()));
    let got = text(
        &rig.s().run(cmd("display-message", &["-p", "-t", &made.pane, "#{history_limit}"])).await.expect("x"),
    );
    assert_eq!((got.as_str(), limit().await), ("12345", before.clone()));
    assert_eq!(session::new_session(rig.s(), new, None).await.expect_err("taken").kind, Kind::Exists);
    assert_eq!(limit().await, before, "set back after a failure too");
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
    let pane = rig.dead(&made.pane).await;
    assert_eq!((pane.dead_status, pane.dead_signal), (None, Some(9)));
    let hub = rig.hub();
    let more =
        session::new_window(rig.s(), &made.session, b"/", &[], Some(&["cat".to_owned()]), Some(&hub)).await;
    let more = more.expect("a window");
    assert_eq!(more.session, made.session);
    assert!(matches!(more.pipe, Some(Ok(PipeStart::Ours(_)))), "{more:?}");
    rig.end().await;
}

// --- input

const HOSTILE: &str = "-x 'a' \"b\" $HOME `id` ; #{pid} #(id) ~ \\n \\\\ ü漢🙂\ttab %H !x";

/// What `text` becomes in a program that writes its input to a file.
async fn pasted(rig: &Rig, name: &str, argv: &[&str], file: &Path, text: &[u8], want: &[u8]) {
    let made = rig.session(name, argv).await;
    rig.shows(&made.pane, "go").await;
    input::paste(rig.s(), &made.pane, text, true).await.expect("pasted");
    until("the bytes arrive", async || std::fs::read(file).is_ok_and(|b| b.len() >= want.len())).await;
    let got = std::fs::read(file).expect("read");
    assert!(got == want, "{name}: {} bytes, wanted {}", got.len(), want.len());
    session::kill_session(rig.s(), &made.session).await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_arrives_byte_for_byte() {
    let rig = Rig::new().await;
    // A terminal in canonical mode: lines.
    let file = rig.path().join("cat");
    let script = format!("stty -echo; echo go; exec cat > '{}'", file.display());
    let lines = format!("{HOSTILE}\nsecond\n\nfourth");
    pasted(&rig, "cat", &["sh", "-c", &script], &file, lines.as_bytes(), format!("{lines}\n").as_bytes())
        .await;
    // 1 MiB in lines, through the memory file.
    let file = rig.path().join("big");
    let script = format!("stty -echo; echo go; exec cat > '{}'", file.display());
    let line = format!("{HOSTILE} {}\n", "y".repeat(900));
    let mut big = line.repeat((1 << 20) / line.len());
    big.truncate(big.len() - 1);
    pasted(&rig, "big", &["sh", "-c", &script], &file, big.as_bytes(), format!("{big}\n").as_bytes()).await;
    // A raw terminal that asked for bracketed paste: every byte, in brackets, and Enter as CR.
    let file = rig.path().join("raw");
    let script = format!("stty raw -echo; printf '\\033[?2004hgo'; exec cat > '{}'", file.display());
    let odd = [lines.as_bytes(), b"\x01\x03\x1b[A\x7f\xc2\x85"].concat();
    let want = [b"\x1b[200~", &odd[..], b"\x1b[201~\r"].concat();
    pasted(&rig, "raw", &["sh", "-c", &script], &file, &odd, &want).await;
    let odd = odd.repeat(100);
    let want = [b"\x1b[200~", &odd[..], b"\x1b[201~\r"].concat();
    std::fs::remove_file(&file).expect("removed");
    pasted(&rig, "raw2", &["sh", "-c", &script], &file, &odd, &want).await;
    // A raw terminal that did not: the bytes alone.
    std::fs::remove_file(&file).expect("removed");
    let script = format!("stty raw -echo; printf 'go'; exec cat > '{}'", file.display());
    pasted(&rig, "raw3", &["sh", "-c", &script], &file, b"a\nb", b"a\nb\r").await;
    let buffers = rig.s().run(Command::new("list-buffers")).await.expect("lists");
    assert_eq!(text(&buffers), "", "no buffer of ours stays");
    let large = vec![b'x'; input::MAX_TEXT + 1];
    assert_eq!(input::paste(rig.s(), "%0", &large, true).await.expect_err("large").kind, Kind::TooLarge);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_get_whole_lines() {
    let rig = Rig::new().await;
    let inputrc = rig.path().join("inputrc");
    std::fs::write(&inputrc, "set enable-bracketed-paste off\n").expect("writes");
    let inputrc = format!("INPUTRC={}", inputrc.display());
    let quoted = HOSTILE.replace('\'', "'\\''");
    for (name, argv) in [
        ("bash", &["bash", "--norc", "--noprofile", "-i"][..]),
        ("bash-plain", &["env", &inputrc, "bash", "--norc", "--noprofile", "-i"]),
        ("dash", &["dash", "-i"]),
        ("zsh", &["zsh", "-f", "-i"]),
    ] {
        if !Path::new("/usr/bin").join(argv[if argv[0] == "env" { 2 } else { 0 }]).exists() {
            eprintln!("{name} is not installed: not tested");
            continue;
        }
        let argv = [&["env", "PS1=READY>"], argv].concat();
        let made = rig.session(name, &argv).await;
        // A tab is completion in a line editor without bracketed paste, so it is left out there.
        let quoted = if name == "bash-plain" { quoted.replace('\t', " ") } else { quoted.clone() };
        let want = if name == "bash-plain" { HOSTILE.replace('\t', " ") } else { HOSTILE.into() };
        let out = rig.path().join(name);
        rig.shows(&made.pane, "READY>").await;
        let lines = format!(
            "printf '%s\\n' '{quoted}' > '{0}'\nfor i in 1 2; do\necho $i >> '{0}'\ndone\necho end >> '{0}'",
            out.display()
        );
        input::paste(rig.s(), &made.pane, lines.as_bytes(), true).await.expect("pasted");
        let want = format!("{want}\n1\n2\nend\n");
        until(name, async || std::fs::read_to_string(&out).is_ok_and(|t| t.ends_with("end\n"))).await;
        assert_eq!(std::fs::read_to_string(&out).expect("read"), want, "{name}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_keys_copy_mode_and_panes_that_take_nothing() {
    let rig = Rig::new().await;
    let file = rig.path().join("typed");
    let script = format!("stty raw -echo; printf go; exec cat > '{}'", file.display());
    let made = rig.session("t", &["sh", "-c", &script]).await;
    rig.shows(&made.pane, "go").await;
    let typed = async |want: Vec<u8>| {
        until("typed", async || std::fs::read(&file).is_ok_and(|b| b.len() >= want.len())).await;
        assert_eq!(std::fs::read(&file).expect("read"), want);
    };
    let long = HOSTILE.repeat(300);
    input::type_text(rig.s(), &made.pane, &long).await.expect("typed");
    let mut want = long.into_bytes();
    typed(want.clone()).await;
    let copy = async || {
        rig.s().run(cmd("copy-mode", &["-t", &made.pane])).await.expect("copy mode");
        assert!(rig.pane(&made.pane).await.in_mode);
    };
    copy().await;
    input::type_text(rig.s(), &made.pane, "-l x").await.expect("typed");
    copy().await;
    let keys: Vec<Key> = ["C-c", "Escape", "Up", "F1", "M-x", ";", "-", "ä", "Enter"]
        .map(|k| Key::parse(k).expect("known"))
        .into();
    input::keys(rig.s(), &made.pane, &keys).await.expect("pressed");
    copy().await;
    input::paste(rig.s(), &made.pane, b"p", true).await.expect("pasted");
    want.extend_from_slice("-l x\x03\x1b\x1b[A\x1bOP\x1bx;-ä\rp\r".as_bytes());
    typed(want.clone()).await;

    // Every name on the list is a key here and never its letters.
    for name in tmux_key_names() {
        let before = std::fs::read(&file).expect("read").len();
        input::keys(rig.s(), &made.pane, &[Key::parse(&name).expect("known")]).await.expect("pressed");
        input::type_text(rig.s(), &made.pane, "|").await.expect("typed");
        until(&name, async || std::fs::read(&file).is_ok_and(|b| b.len() > before && b.ends_with(b"|")))
            .await;
        let got = std::fs::read(&file).expect("read");
        let got = &got[before..got.len() - 1];
        assert!(!got.is_empty() && got.len() <= 8 && got != name.as_bytes(), "{name}: {got:?}");
    }

    rig.s().run(cmd("select-pane", &["-d", "-t", &made.pane])).await.expect("off");
    let off = input::paste(rig.s(), &made.pane, b"x", true).await.expect_err("input is off");
    assert_eq!(off.kind, Kind::Busy);
    let dead = rig.session("dead", &["true"]).await;
    rig.dead(&dead.pane).await;
    let large = vec![b'x'; 10_000];
    for text in [&b"x"[..], &large] {
        assert_eq!(input::paste(rig.s(), &dead.pane, text, true).await.expect_err("dead").kind, Kind::Gone);
        assert_eq!(input::paste(rig.s(), "%999", text, true).await.expect_err("none").kind, Kind::Gone);
    }
    assert_eq!(input::keys(rig.s(), &dead.pane, &keys).await.expect_err("dead").kind, Kind::Gone);
    assert_eq!(input::type_text(rig.s(), "%999", "x").await.expect_err("none").kind, Kind::Gone);
    assert_eq!(text(&rig.s().run(Command::new("list-buffers")).await.expect("lists")), "");
    rig.end().await;
}

fn tmux_key_names() -> Vec<String> {
    let mut all: Vec<String> = keys::names().map(Into::into).collect();
    for name in keys::names() {
        for m in ["C-", "M-", "S-", "C-M-", "C-S-", "M-S-", "C-M-S-"] {
            if let Some(k) = Key::parse(&format!("{m}{name}")) {
                all.push(k.as_str().to_owned());
            }
        }
    }
    for c in ('a'..='z').chain("@[\\]^_?".chars()) {
        all.push(format!("C-{c}"));
        all.push(format!("C-M-{c}"));
    }
    all
}

// --- output

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

fn ours(start: Option<muxfs::error::Result<PipeStart>>) -> OwnedFd {
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
        let text = capture(rig.s(), &made.pane, Capture::Output).await.expect("captures");
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
    let colours = capture(rig.s(), &made.pane, Capture::ScreenAnsi).await.expect("captures");
    assert!(colours.windows(5).any(|w| w == b"\x1b[31m"));
    // Without any scrollback.
    let made = rig.session("o2", &["sh", "-c", "printf '\\033[?1049hFULL'; exec cat"]).await;
    rig.shows(&made.pane, "FULL").await;
    let text = capture(rig.s(), &made.pane, Capture::Output).await.expect("captures");
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
