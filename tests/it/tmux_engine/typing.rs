//! Pastes, typed text and keys, byte for byte.

use super::*;

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
        // To a line editor a tab outside bracketed paste is completion; zsh asks for bracketed
        // paste only after it has printed its prompt, so there it depends on the moment.
        let tab = if matches!(name, "bash-plain" | "zsh") { " " } else { "\t" };
        let quoted = quoted.replace('\t', tab);
        let want = HOSTILE.replace('\t', tab);
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

/// A program in the pane that writes what it reads to `file`, with `screen` above.
async fn reader(rig: &Rig, name: &str, file: &Path, screen: &str) -> Made {
    let script = format!("stty raw -echo; printf '\\033[?2004h{screen}'; exec cat > '{}'", file.display());
    let made = rig.session(name, &["sh", "-c", &script]).await;
    rig.shows(&made.pane, "go").await;
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_typed_where_the_rows_are_not_as_they_were_seen() {
    let rig = Rig::new().await;
    let file = rig.path().join("typed");
    // Rows with all that means something in a format or a regular expression, and one twice.
    let odd = "│ #{x} 50%% {a,b}: ^$.*[c](d)?+\\\\\\\\ é漢 │";
    let made =
        reader(&rig, "t", &file, &format!("same\\r\\n{odd}\\r\\nsame\\r\\n\\033[?25lgo\\033[9;1H")).await;
    let enter = [Key::parse("Enter").expect("known")];
    let send = [input::Send::Text("x"), input::Send::Key(&enter[0])];
    let shot = capture(rig.s(), &made.pane).await.expect("seen");
    let stand = shot.stand([2, 1, 3]);
    assert!(stand.rows() == 2 && stand.compares(1) && stand.compares(3), "{stand:?}\n{}", shot.plain);
    let yes = input::type_if(rig.s(), &made.pane, &send, &stand).await.expect("typed");
    assert_eq!(yes, input::Typed::Yes);
    let large = vec![b'p'; 1000];
    let yes = input::paste_if(rig.s(), &made.pane, &large, &stand).await.expect("pasted");
    assert_eq!(yes, input::Typed::Yes);
    let want = [b"x\r\x1b[200~", &large[..], b"\x1b[201~"].concat();
    until("typed", async || std::fs::read(&file).is_ok_and(|b| b.len() >= want.len())).await;
    // Another text in one row, the cursor hidden and where it was.
    let tty = rig.pane(&made.pane).await.tty;
    std::fs::write(&tty, "\x1b7\x1b[4;1Hno\x1b[K\x1b8").expect("paints");
    rig.shows(&made.pane, "no").await;
    let moved = input::type_if(rig.s(), &made.pane, &send, &stand).await.expect("looked");
    assert_eq!(moved, input::Typed::Moved);
    for text in [&large[..], b"short"] {
        let moved = input::paste_if(rig.s(), &made.pane, text, &stand).await.expect("looked");
        assert_eq!(moved, input::Typed::Moved);
    }
    // A row of the same text above it.
    std::fs::write(&tty, "\x1b7\x1b[4;1Hgo\x1b[K\x1b[1;1Hgo\x1b[K\x1b8").expect("paints");
    rig.shows(&made.pane, "go\n│").await;
    let moved = input::type_if(rig.s(), &made.pane, &send, &stand).await.expect("looked");
    assert_eq!(moved, input::Typed::Moved);
    std::fs::write(&tty, "\x1b7\x1b[1;1Hsame\x1b8").expect("paints");
    rig.shows(&made.pane, "same\n│").await;
    let yes = input::type_if(rig.s(), &made.pane, &send, &stand).await.expect("typed");
    assert_eq!(yes, input::Typed::Yes, "all is as it was");
    let want = [&want[..], b"x\r"].concat();
    until("typed", async || std::fs::read(&file).is_ok_and(|b| b.len() >= want.len())).await;
    assert_eq!(std::fs::read(&file).expect("read"), want);
    assert_eq!(text(&rig.s().run(Command::new("list-buffers")).await.expect("lists")), "");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_reaches_one_pane_of_those_that_are_synchronized() {
    let rig = Rig::new().await;
    let file = rig.path().join("one");
    let made = reader(&rig, "t", &file, "go").await;
    let other = rig.path().join("other");
    let script = format!("stty raw -echo; printf go; exec cat > '{}'", other.display());
    let split = ["-d", "-P", "-F", "#{pane_id}", "-t", &made.pane, &script];
    let second = text(&rig.s().run(cmd("split-window", &split)).await.expect("split"));
    rig.shows(&second, "go").await;
    let option = async |pane: &str, own: bool| {
        let flags = if own { "-pqv" } else { "-pqvA" };
        text(
            &rig.s()
                .run(cmd("show-options", &[flags, "-t", pane, "synchronize-panes"]))
                .await
                .expect("shown"),
        )
    };
    let enter = [Key::parse("Enter").expect("known")];
    let mut want = Vec::new();
    for own in [false, true] {
        // The window's option, then each pane's own.
        if own {
            rig.s()
                .run(cmd("set-option", &["-wu", "-t", &made.pane, "synchronize-panes"]))
                .await
                .expect("set");
            for pane in [&made.pane, &second] {
                let set = ["-p", "-t", pane, "synchronize-panes", "on"];
                rig.s().run(cmd("set-option", &set)).await.expect("set");
            }
        } else {
            rig.s()
                .run(cmd("set-option", &["-w", "-t", &made.pane, "synchronize-panes", "on"]))
                .await
                .expect("set");
        }
        let before = (option(&made.pane, own).await, option(&second, own).await);
        let stand = capture(rig.s(), &made.pane).await.expect("seen").stand([0]);
        input::paste(rig.s(), &made.pane, b"a", true).await.expect("pasted");
        input::type_text(rig.s(), &made.pane, "b").await.expect("typed");
        input::keys(rig.s(), &made.pane, &enter).await.expect("pressed");
        input::type_if(rig.s(), &made.pane, &[input::Send::Text("c")], &stand).await.expect("typed");
        input::paste_if(rig.s(), &made.pane, b"d", &stand).await.expect("pasted");
        want.extend_from_slice(b"\x1b[200~a\x1b[201~\rb\rc\x1b[200~d\x1b[201~");
        until("typed", async || std::fs::read(&file).is_ok_and(|b| b.len() >= want.len())).await;
        assert_eq!((option(&made.pane, own).await, option(&second, own).await), before);
    }
    assert_eq!(std::fs::read(&file).expect("read"), want);
    // A person's key still goes to both: the other got nothing before it.
    rig.s().run(cmd("send-keys", &["-t", &made.pane, "z"])).await.expect("sent");
    until("the other pane reads", async || std::fs::read(&other).is_ok_and(|b| !b.is_empty())).await;
    assert_eq!(std::fs::read(&other).expect("read"), b"z");
    let left = text(&rig.s().run(cmd("show-options", &["-p", "-t", &made.pane])).await.expect("shown"));
    assert!(!left.contains("muxfs-alone"), "{left}");
    rig.end().await;
}

/// tmux may take its time with the text, here by a hook of the user's: what was answered `TimedOut`
/// does not go in afterwards, and does not stay in tmux.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_comes_too_late_is_not_pasted() {
    let rig = Rig::new().await;
    let made = rig.session("w", &["cat"]).await;
    let go = rig.path().join("go");
    let slow = format!("run-shell \"until [ -e {} ]; do sleep 0.1; done\"", go.display());
    rig.s().run(cmd("set-hook", &["-g", "after-load-buffer", &slow])).await.expect("set");
    let begun = Instant::now();
    let late = input::paste(rig.s(), &made.pane, b"late", true).await.expect_err("held up");
    assert_eq!(late.kind, Kind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    std::fs::write(go, "").expect("writes");
    // It is the next one in tmux's queue, or comes to another client of ours.
    until("tmux goes on", async || input::type_text(rig.s(), &made.pane, "next").await.is_ok()).await;
    rig.shows(&made.pane, "next").await;
    assert!(!rig.screen(&made.pane).await.contains("late"));
    let buffers = async || rig.s().run(Command::new("list-buffers")).await.expect("lists").is_empty();
    until("no buffer stays", buffers).await;
    rig.end().await;
}
