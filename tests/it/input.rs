//! Prompts, text and keys through a real mount into real panes: once, whole, in order, byte for
//! byte. Knows the tree's contract ("Delivery") and no code behind it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Mount, until, until_true};

/// A pane whose program takes bracketed pastes on a raw terminal and keeps every byte it gets.
struct Recorder {
    file: PathBuf,
    /// Bytes that earlier checks have seen.
    seen: usize,
}

impl Recorder {
    /// Makes session `name` and waits until tmux knows that its program wants pastes.
    fn start(mount: &Mount, name: &str) -> Self {
        let file = mount.lab.path(&format!("{name}.bytes"));
        // `on` is printed after the mode: once the screen shows it, tmux has both.
        let script = format!("stty raw -echo; printf '\\033[?2004hon'; exec cat > {}", file.display());
        run_in(mount, name, &format!("[\"sh\", \"-c\", {script:?}]"));
        until_true("the recorder runs", || mount.read(&format!("{name}/screen")).starts_with("on"));
        until_true("its file is there", || file.exists());
        Recorder { file, seen: 0 }
    }

    /// Waits for `bytes`, and for nothing else before or after them.
    fn expect(&mut self, what: &str, bytes: &[u8]) {
        let from = self.seen;
        let new = || std::fs::read(&self.file).unwrap().split_off(from);
        let begun = Instant::now();
        let all = until(what, || {
            let new = new();
            // What is wrong stays wrong: told at once, and with what came instead.
            (new.len() >= bytes.len()
                || !bytes.starts_with(&new)
                || begun.elapsed() > Duration::from_secs(20))
            .then_some(new)
        });
        if all != bytes {
            let at = all.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let show =
                |b: &[u8]| String::from_utf8_lossy(&b[at.min(b.len())..b.len().min(at + 60)]).into_owned();
            panic!(
                "{what}: {} bytes, {} due; from byte {at}: {:?}, due {:?}",
                all.len(),
                bytes.len(),
                show(&all),
                show(bytes)
            );
        }
        self.seen += bytes.len();
    }

    fn prompt(&mut self, what: &str, text: &[u8]) {
        self.expect(what, &pasted(text));
    }
}

/// How one prompt looks to a program that asked for bracketed paste.
fn pasted(text: &[u8]) -> Vec<u8> {
    [b"\x1b[200~", text, b"\x1b[201~\r"].concat()
}

/// A session that runs `command` (TOML).
fn run_in(mount: &Mount, name: &str, command: &str) {
    std::fs::create_dir(mount.path(name)).unwrap();
    std::fs::write(mount.path(&format!("{name}/config")), format!("command = {command}\n")).unwrap();
    until_true("the configured program runs", || {
        mount.read(&format!("{name}/status")).contains("pending: -\n")
    });
}

/// `name` runs this shell, and its prompt is there.
fn shell(mount: &Mount, name: &str, shell: &str) {
    run_in(mount, name, &format!("{shell:?}"));
    until_true("the shell runs", || {
        mount.read(&format!("{name}/status")).contains(&format!("command: {shell}\n"))
    });
    assert_eq!(mount.read(&format!("{name}/wait")), "ready\n");
}

/// 900 KiB of numbered lines, with text that every quoting mistake would change.
fn big() -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < 900 << 10 {
        writeln!(text, "{:06} $HOME `id` \"q\" 'q' ; #{{pid}} \\n é 漢 🦀\tx", text.len()).unwrap();
    }
    text.truncate(text.iter().take(900 << 10).rposition(|b| *b == b'\n').unwrap() + 1);
    text
}

const SHELLS: [&str; 3] = ["bash", "dash", "zsh"];

fn script(mount: &Mount, shell: &str, script: &str) {
    let out = mount.command(shell).args(["-c", script]).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{shell}: {script}: {} {err}", out.status);
}

fn files(mount: &Mount) -> (Vec<u8>, String) {
    let body = big();
    std::fs::write(mount.lab.path("big"), &body).unwrap();
    std::fs::write(mount.lab.path("small"), "small\n").unwrap();
    (body[..body.len() - 1].to_vec(), mount.lab.path("").display().to_string())
}

#[test]
fn shells_send_each_prompt_once_and_whole() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    let (body, lab) = files(&mount);
    let both = [b"small\n", &body[..]].concat();
    for shell in SHELLS {
        let cases: [(&str, &[u8]); 9] = [
            ("echo one > demo/input", b"one"),
            ("printf 'a\\nb' > demo/input", b"a\nb"),
            ("cat > demo/input <<'END'\none $x\n\n  two\nEND", b"one $x\n\n  two"),
            ("(echo 1; echo 2; echo 3) > demo/input", b"1\n2\n3"),
            ("echo more >> demo/input", b"more"),
            ("{ cat $L/small; cat $L/big; } > demo/input", &both),
            ("for i in 1 2 3; do echo $i; /bin/echo x$i; done > demo/input", b"1\nx1\n2\nx2\n3\nx3"),
            ("cat $L/big | cat > demo/input", &body),
            ("exec 3> demo/input; echo x >&3; (echo y >&3); exec 3>&-", b"x\ny"),
        ];
        for (line, text) in cases {
            script(&mount, shell, &line.replace("$L/", &lab));
            if line.starts_with("exec 3") {
                // Each `>&3` of the opener closes a copy, which ends a message: two prompts or one,
                // but every byte once and in order.
                let whole = pasted(text);
                let two = [pasted(b"x"), pasted(b"y")].concat();
                let got = until("both lines", || {
                    let new = std::fs::read(&pane.file).unwrap().split_off(pane.seen);
                    (new == whole || new == two).then_some(new)
                });
                pane.seen += got.len();
            } else {
                pane.prompt(&format!("{shell}: {line}"), text);
            }
        }
    }
    assert_eq!(mount.read("errors"), "");
}

#[test]
fn tools_and_programs_send_each_prompt_once_and_whole() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    let (body, lab) = files(&mount);
    let cases: [(&str, &[u8]); 11] = [
        ("tee demo/input < $L/big > /dev/null", &body),
        ("cat $L/big > demo/input", &body),
        ("cp $L/big demo/input", &body),
        ("dd if=$L/big of=demo/input conv=fsync status=none", &body),
        ("dd if=$L/big of=demo/input bs=1k conv=notrunc,fsync status=none", &body),
        ("dd if=$L/small of=demo/input conv=fdatasync status=none", b"small"),
        ("sed -n 1p $L/small > demo/input", b"small"),
        ("python3 -c 'open(\"demo/input\",\"w\").write(\"a\\nb\\n\")'", b"a\nb"),
        (
            "python3 -c 'import os;f=os.open(\"demo/input\",1);[os.write(f,b\"%d \"%i) for i in range(5)]'",
            b"0 1 2 3 4 ",
        ),
        (
            "python3 -c 'import subprocess as s\nf=open(\"demo/input\",\"w\")\np=s.Popen([\"cat\",\"$L/small\"],stdout=f)\nf.close()\np.wait()'",
            b"small",
        ),
        (
            "python3 -c 'import threading\nf=open(\"demo/input\",\"w\")\nf.write(\"thread\")\nt=threading.Thread(target=f.close)\nt.start();t.join()'",
            b"thread",
        ),
    ];
    for (line, text) in cases {
        script(&mount, "bash", &line.replace("$L/", &lab));
        pane.prompt(line, text);
    }
    assert_eq!(mount.read("errors"), "");
}

#[test]
fn a_writer_ended_by_a_signal_sends_nothing() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    files(&mount);
    let big = mount.lab.path("big").display().to_string();
    for (n, signal) in ["INT", "TERM", "KILL", "HUP", "QUIT"].iter().enumerate() {
        // The writer is a child of the shell that opened; then the opener itself.
        for line in [
            "(sh -c 'echo half; kill -SIG $$'; true) > demo/input",
            "sh -c 'exec > demo/input; echo half; kill -SIG $$'",
            "head -c 300000 $BIG | sh -c 'dd bs=1k count=200 status=none; kill -SIG $$' > demo/input",
            "python3 -c 'import os,signal;f=os.open(\"demo/input\",1);os.write(f,b\"half\");signal.signal(2,0);os.kill(os.getpid(),signal.SIGSIG);signal.pause()'",
        ] {
            let out = mount.run(
                &line
                    .replace("SIGSIG", &format!("SIG{signal}"))
                    .replace("-SIG", &format!("-{signal}"))
                    .replace("$BIG", &big),
            );
            assert!(!String::from_utf8_lossy(&out.stderr).contains("rror"), "{line}: {out:?}");
        }
        until_true("errors names the killed writers", || {
            mount.read("errors").matches("the writer was killed by signal").count() >= 4 * (n + 1)
        });
    }
    script(&mount, "bash", "echo after > demo/input");
    pane.prompt("nothing but the next prompt", b"after");
}

#[test]
fn text_arrives_byte_for_byte_and_nothing_leaves_the_paste() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    let cases: &[(&[u8], &[u8])] = &[
        (b"'single' \"double\" `back`", b"'single' \"double\" `back`"),
        (b"$HOME ${x} $(id) \\n \\033 ~ ! * ? [a] {a,b}", b"$HOME ${x} $(id) \\n \\033 ~ ! * ? [a] {a,b}"),
        (b"a; b;", b"a; b;"),
        (b";", b";"),
        (b"#{pane_id} #(touch /tmp/no) #S ##", b"#{pane_id} #(touch /tmp/no) #S ##"),
        (b"-leading", b"-leading"),
        (b"--", b"--"),
        (b"-l", b"-l"),
        (b"Enter", b"Enter"),
        (b"C-c", b"C-c"),
        ("é 漢字 🦀 \u{301} \u{200d}".as_bytes(), "é 漢字 🦀 \u{301} \u{200d}".as_bytes()),
        (b"\ttab\t", b"\ttab\t"),
        (b"  spaces  ", b"  spaces  "),
        (b"\n\nlines\n\n", b"\n\nlines\n"),
        (b"x\x1b[201~\rrm -rf\r\x1b[200~", b"x[201~rm -rf[200~"),
        ("c1 \u{9b}201~ \u{85} \u{80}".as_bytes(), b"c1 201~  "),
        (b"nul\0 bell\x07 bs\x08 del\x7f cc\x03 cd\x04 nl\x0b", b"nul bell bs del cc cd nl"),
    ];
    let long = "\u{1f980} 'x' ;".repeat(2000); // through the memory file
    for (text, due) in cases.iter().copied().chain([(long.as_bytes(), long.as_bytes())]) {
        std::fs::write(mount.path("demo/input"), text).unwrap();
        pane.prompt(&String::from_utf8_lossy(&text[..text.len().min(60)]), due);
    }
    // Every byte there is, alone: what may stay stays.
    for byte in 0..=0x7f_u8 {
        std::fs::write(mount.path("demo/input"), [b'<', byte, b'>']).unwrap();
        let stays = byte == b'\t' || byte == b'\n' || (0x20..0x7f).contains(&byte);
        let due = if stays { vec![b'<', byte, b'>'] } else { b"<>".to_vec() };
        pane.prompt(&format!("byte {byte:#x}"), &due);
    }
    for nothing in ["", "\n", "\u{1b}\n"] {
        std::fs::write(mount.path("demo/input"), nothing).unwrap();
    }
    std::fs::write(mount.path("demo/input"), "end").unwrap();
    pane.prompt("an empty message does nothing", b"end");
}

#[test]
fn copy_mode_swallows_nothing() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    for _ in 0..3 {
        mount.lab.tmux_ok(&["copy-mode", "-t", "demo"]);
        std::fs::write(mount.path("demo/input"), "prompt\n").unwrap();
        pane.prompt("input in copy mode", b"prompt");
        mount.lab.tmux_ok(&["copy-mode", "-t", "demo"]);
        std::fs::write(mount.path("demo/text"), "text").unwrap();
        pane.expect("text in copy mode", b"text");
        mount.lab.tmux_ok(&["copy-mode", "-t", "demo"]);
        std::fs::write(mount.path("demo/keys"), "C-c Up").unwrap();
        pane.expect("keys in copy mode", b"\x03\x1b[A");
    }
}

#[test]
fn text_is_typed_as_it_is_and_keys_are_keys() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    let text = "a 'b' ; #{x} -l é\ttab\nline; ".repeat(400); // more than one piece
    std::fs::write(mount.path("demo/text"), &text).unwrap();
    pane.expect("text, no Enter, no paste marks", text.as_bytes());
    std::fs::write(mount.path("demo/text"), "x\n").unwrap();
    pane.expect("its newline is asked for", b"x\n");
    std::fs::write(mount.path("demo/keys"), "a Enter  C-a\tEscape\nM-x Space F1 BSpace").unwrap();
    pane.expect("keys", b"a\r\x01\x1b\x1bx \x1bOP\x7f");
    script(&mount, "bash", "printf 'y Tab' > demo/keys; echo Left > demo/keys");
    pane.expect("keys of two closes", b"y\t\x1b[D");
}

#[test]
fn a_shell_gets_a_here_document_whole() {
    let mount = Mount::start();
    let body = "one 'two' \"three\" $HOME `x` #{pid}; \\\n\n  é 漢 -l\nlast\n";
    for name in SHELLS {
        shell(&mount, name, name);
        let out = mount.lab.path(&format!("{name}.out"));
        let text = format!("cat > {} <<'END_OF_IT'\n{body}END_OF_IT\n", out.display());
        for _ in 0..3 {
            std::fs::write(mount.path(&format!("{name}/input")), &text).unwrap();
            assert_eq!(mount.read(&format!("{name}/wait")), "ready\n", "{name}");
            assert_eq!(std::fs::read_to_string(&out).unwrap(), body, "{name}");
            std::fs::remove_file(&out).unwrap();
        }
    }
}

/// The terminal of a shell that is still starting would keep 4,095 bytes of a line.
#[test]
fn a_new_shell_gets_900_kib_at_once() {
    let mount = Mount::start();
    let body = big();
    let out = mount.lab.path("out");
    let text =
        [format!("cat > {} <<'END_OF_IT'\n", out.display()).as_bytes(), &body, b"END_OF_IT\n"].concat();
    std::fs::create_dir(mount.path("demo")).unwrap();
    std::fs::write(mount.path("demo/input"), &text).unwrap();
    until_true("all of it", || std::fs::metadata(&out).is_ok_and(|m| m.len() >= body.len() as u64));
    assert!(std::fs::read(&out).unwrap() == body, "the bytes are the same");
    assert_eq!(mount.read("demo/wait"), "ready\n");
}

#[test]
fn a_line_that_a_terminal_would_cut_is_refused() {
    let mount = Mount::start();
    let file = mount.lab.path("lines");
    run_in(&mount, "demo", &format!("[\"sh\", \"-c\", \"stty -echo; echo on; cat > {}\"]", file.display()));
    until_true("it reads", || mount.read("demo/screen").starts_with("on"));
    let line = "x".repeat(4095);
    std::fs::write(mount.path("demo/input"), format!("{line}\n{line}\nshort\n")).unwrap();
    let due = format!("{line}\n{line}\nshort\n");
    until_true("lines of 4,095 bytes", || std::fs::read_to_string(&file).unwrap() == due);
    let out = mount.run(&format!("printf %s {line}y | cat > demo/input"));
    assert!(String::from_utf8_lossy(&out.stderr).contains("File too large"), "{out:?}");
    assert!(mount.read("errors").contains("canonical mode"), "{}", mount.read("errors"));
    std::fs::write(mount.path("demo/input"), "end").unwrap();
    until_true("nothing of it was typed", || {
        std::fs::read_to_string(&file).unwrap() == format!("{due}end\n")
    });
}

/// Each refusal in every shell, by builtins too, and each with its line in `errors`.
#[test]
fn refusals_reach_every_shell_and_the_errors_file() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    shell(&mount, "dead", "bash");
    std::fs::write(mount.path("dead/input"), "exit\n").unwrap();
    assert_eq!(mount.read("dead/wait"), "exited 0\n");
    std::fs::write(mount.lab.path("huge"), vec![b'x'; (1 << 20) + 1]).unwrap();
    let huge = mount.lab.path("huge").display().to_string();
    let cases = [
        ("printf 'a\\377b' > demo/input", "Invalid or incomplete multibyte", "not UTF-8"),
        ("printf 'a\\377b' > demo/text", "Invalid or incomplete multibyte", "not UTF-8"),
        ("cat HUGE > demo/input", "File too large", "1048576"),
        ("printf 'a\\303' | cat > demo/input", "Invalid or incomplete multibyte", "not UTF-8 at byte 1"),
        (
            "(printf 'x\\303'; printf '\\303\\251') > demo/input",
            "Invalid or incomplete multibyte",
            "not UTF-8 at byte 1",
        ),
        ("echo x > dead/input", "No such device or address", "nothing runs"),
        ("echo x > dead/text", "No such device or address", "nothing runs"),
        ("echo Up > dead/keys", "No such device or address", "nothing runs"),
        ("echo foo > demo/keys", "Invalid argument", "unknown key \"foo\""),
        ("printf 'Up foo\\n' > demo/keys", "Invalid argument", "unknown key \"foo\""),
        ("echo bad > demo/ctl", "Invalid argument", "bad"),
    ];
    for (line, errno, log) in cases {
        for shell in SHELLS {
            let before = mount.read("errors").matches(log).count();
            let out = mount
                .command(shell)
                .env("LC_ALL", "C")
                .args(["-c", &line.replace("HUGE", &huge)])
                .output()
                .unwrap();
            let err = String::from_utf8_lossy(&out.stderr).to_lowercase();
            assert!(!out.status.success(), "{shell}: {line}: {err}");
            // dash says "I/O error" of its builtins, whatever it was; zsh says it in small letters.
            assert!(err.contains(&errno.to_lowercase()) || shell == "dash", "{shell}: {line}: {err}");
            let after = mount.read("errors");
            assert_eq!(after.matches(log).count(), before + 1, "{shell}: {line}: {after}");
        }
    }
    script(&mount, "bash", "(printf 'x\\303'; printf '\\251') > demo/input");
    pane.prompt("a character in two writes", "xé".as_bytes());
    std::fs::write(mount.path("demo/input"), "end").unwrap();
    pane.prompt("nothing of what was refused", b"end");
}

/// 8 × 25 prompts: none lost, doubled or mixed, and those that one writer saw accepted before
/// another began stand before it.
#[test]
fn prompts_of_many_writers_keep_their_order() {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let mount = Mount::start();
    let pane = Recorder::start(&mount, "demo");
    let input = mount.path("demo/input");
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let input = input.clone();
            std::thread::spawn(move || {
                let mut times = Vec::new();
                for n in 0..EACH {
                    let text = format!("writer {w} prompt {n}\n{}", "line\n".repeat(n * 20));
                    let begun = Instant::now();
                    let mut file = std::fs::OpenOptions::new().write(true).open(&input).unwrap();
                    for part in text.as_bytes().chunks(700) {
                        file.write_all(part).unwrap();
                    }
                    nix::unistd::close(std::os::fd::IntoRawFd::into_raw_fd(file)).unwrap();
                    times.push((text, begun, Instant::now()));
                }
                times
            })
        })
        .collect();
    let sent: Vec<_> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    let due: usize = sent.iter().map(|(text, ..)| pasted(text.trim_end_matches('\n').as_bytes()).len()).sum();
    until_true("all bytes", || std::fs::metadata(&pane.file).unwrap().len() >= due as u64);
    let all = std::fs::read_to_string(&pane.file).unwrap();
    let got: Vec<&str> =
        all.split_terminator("\x1b[201~\r").map(|p| p.strip_prefix("\x1b[200~").unwrap()).collect();
    assert_eq!(got.len(), WRITERS * EACH);
    let mut order = Vec::new();
    for (text, begun, ended) in &sent {
        let at: Vec<_> = (0..got.len()).filter(|i| got[*i] == text.trim_end_matches('\n')).collect();
        assert_eq!(at.len(), 1, "{text:?}");
        order.push((at[0], *begun, *ended));
    }
    order.sort();
    let mut latest = order[0].1;
    for (at, begun, ended) in order {
        // Accepted before something that arrived earlier had begun: overtaken.
        assert!(ended >= latest, "prompt {at} was overtaken");
        latest = latest.max(begun);
    }
}

/// A person's tmux client on a terminal of its own; keys go through the terminal.
pub struct Person(Child);

impl Person {
    pub fn attach(mount: &Mount, name: &str) -> Self {
        let line = format!("tmux -S {} attach -t ={name}", mount.lab.socket().display());
        let mut client = Command::new("script");
        client.args(["-qfc", &line, "/dev/null"]).env("TERM", "xterm").env_remove("TMUX");
        let client = client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        until_true("a client is attached", || {
            mount.read(&format!("{name}/status")).contains("attached: 1\n")
        });
        Person(client)
    }

    /// One key, and the time at which it was pressed.
    pub fn press(&mut self, key: u8) -> Instant {
        self.0.stdin.as_mut().unwrap().write_all(&[key]).unwrap();
        Instant::now()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_person_typing_holds_delivery() {
    let mount = Mount::start();
    shell(&mount, "demo", "bash");
    let (mine, yours) = (mount.lab.path("mine"), mount.lab.path("yours"));
    let mut person = Person::attach(&mount, "demo");
    let line = format!("echo typed >> {}\r", yours.display());
    let (start, rest) = line.split_at(10);
    for key in start.bytes() {
        person.press(key);
    }
    until_true("the typing is on the screen", || mount.read("demo/screen").contains(start));
    let mut command = mount.command("sh");
    let mut writers: Vec<_> = (0..3)
        .map(|n| {
            let text = format!("echo 'echo {n} >> {}' > demo/input", mine.display());
            let writer = command.args(["-c", &text]).spawn().unwrap();
            command = mount.command("sh");
            until_true("it waits", || mount.read("demo/status").contains("held: draft\n"));
            writer
        })
        .collect();
    // Typed over more than the 2 s that one key holds.
    let mut last = Instant::now();
    for key in rest.bytes() {
        last = person.press(key);
        until_true("a moment", || last.elapsed() > Duration::from_millis(3000 / rest.len() as u64));
        assert!(!mine.exists(), "delivered into what a person types");
    }
    until_true("delivered", || writers.iter_mut().all(|w| w.try_wait().unwrap().is_some()));
    let after = last.elapsed();
    assert!(after >= Duration::from_secs(2), "delivered {after:?} after the last key");
    assert_eq!(mount.read("demo/wait"), "ready\n");
    assert_eq!(std::fs::read_to_string(&yours).unwrap(), "typed\n");
    let mut got: Vec<_> = std::fs::read_to_string(&mine).unwrap().lines().map(str::to_owned).collect();
    got.sort();
    assert_eq!(got, ["0", "1", "2"]);
    assert!(mount.read("demo/status").contains("held: -\n"));
    // Who is ended while it waits sends nothing, and is not kept.
    for signal in [nix::sys::signal::SIGINT, nix::sys::signal::SIGKILL] {
        let mut cat = Command::new("cp");
        let text = mount.lab.path("late");
        std::fs::write(&text, format!("echo late >> {}", mine.display())).unwrap();
        let pressed = || mount.read("demo/screen").matches('#').count();
        let before = pressed();
        person.press(b'#');
        until_true("tmux has the key", || pressed() > before);
        let mut cat = cat.arg(text).arg(mount.path("demo/input")).spawn().unwrap();
        until_true("held", || mount.read("demo/status").contains("held: draft\n"));
        let begun = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(cat.id() as i32), signal).unwrap();
        cat.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{signal}: {:?}", begun.elapsed());
        until_true("held no more", || mount.read("demo/status").contains("held: -\n"));
    }
    assert_eq!(mount.read("errors").matches("ended while its message waited").count(), 2);
    // Keys are for just this: they wait for nobody.
    let pressed = person.press(b'#');
    std::fs::write(mount.path("demo/keys"), "C-u").unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(2), "{:?}", pressed.elapsed());
    assert!(!std::fs::read_to_string(&mine).unwrap().contains("late"));
    // A client that looks on and types nothing holds nothing.
    std::fs::write(mount.path("demo/input"), "true\n").unwrap();
    let begun = Instant::now();
    std::fs::write(mount.path("demo/input"), "true\n").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// The system's cron, with a crontab, a spool and a /run of its own (in a mount namespace); its
/// `@reboot` job runs at once, as no mark says that it ran since the start of the machine.
#[test]
fn a_cron_job_sends_a_prompt() {
    let mount = Mount::start();
    let mut pane = Recorder::start(&mount, "demo");
    let lab = mount.lab.path("cron");
    for dir in ["spool/crontabs", "run", "cron.d"] {
        std::fs::create_dir_all(lab.join(dir)).unwrap();
    }
    std::fs::write(lab.join("crontab"), "").unwrap();
    let input = mount.path("demo/input").display().to_string();
    let table = format!("@reboot printf 'from\\ncron' > {input}; echo '-l $HOME' | tee {input}\n");
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(lab.join("spool/crontabs/root"));
    file.unwrap().write_all(table.as_bytes()).unwrap();
    let script = "mount --bind $L/spool /var/spool/cron && mount --bind $L/run /run \
        && mount --bind $L/cron.d /etc/cron.d && mount --bind $L/crontab /etc/crontab && exec cron -f";
    let mut cron = Command::new("unshare");
    cron.args(["--mount", "sh", "-c", script]).env("L", &lab).stdout(Stdio::null()).stderr(Stdio::null());
    let mut cron = cron.spawn().unwrap();
    let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pane.expect("both prompts", &[pasted(b"from\ncron"), pasted(b"-l $HOME")].concat());
    }));
    cron.kill().unwrap();
    cron.wait().unwrap();
    got.unwrap();
    assert_eq!(mount.read("errors"), "");
}
