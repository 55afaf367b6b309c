//! Editors and programs that replace a file, on `config` of a real mount: each saves without a
//! warning and without a loss, and a bad text changes nothing but is kept. What an editor says
//! is read from its screen. Knows no tree from inside.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Lab, Mount, until, until_true};

/// A program in a terminal of its own, on a tmux server that is not the lab's.
struct Terminal<'a> {
    lab: &'a Lab,
}

impl<'a> Terminal<'a> {
    fn start(mount: &'a Mount, dir: &str, command: &str) -> Self {
        let terminal = Terminal { lab: &mount.lab };
        let line = format!("cd {} && {command}", mount.path(dir).display());
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "24", "-s", "editor", &line]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new("tmux");
        command.envs(Mount::environment(self.lab)).env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        command.arg("-f").arg("/dev/null").arg("-S").arg(self.lab.path("editor"));
        command.args(args).output().unwrap()
    }

    fn types(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-t", "editor", "-l", "--", text]).status.success());
    }

    fn keys(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys", "-t", "editor"], keys].concat()).status.success());
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-t", "editor"]).stdout).into_owned()
    }

    /// The screen, once it shows `text`.
    fn shows(&self, text: &str) -> String {
        let mut last = String::new();
        let found = soon(|| {
            last = self.screen();
            last.contains(text)
        });
        assert!(found, "{text:?} is not on the screen:\n{last}");
        last
    }

    fn ended(&self) {
        until_true("the editor ended", || !self.tmux(&["has-session", "-t", "editor"]).status.success());
    }
}

/// Whether it was met within a few seconds: then the screen tells more than a time limit.
fn soon(mut met: impl FnMut() -> bool) -> bool {
    let begun = std::time::Instant::now();
    until("a time", || if met() { Some(true) } else { (begun.elapsed().as_secs() > 8).then_some(false) })
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// vim's and nano's words for what went wrong or may have.
fn calm(screen: &str) {
    let bad =
        ["W10", "W11", "W12", "W13", "W16", "WARNING", "Error", "error:", "changed since", "not permitted"];
    for word in bad {
        assert!(!screen.contains(word), "{word}:\n{screen}");
    }
    let numbered = screen
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|w| w.len() > 1 && w.starts_with('E') && w[1..].bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(numbered, None, "\n{screen}");
}

fn first_line(mount: &Mount, file: &str) -> String {
    mount.read(file).lines().next().unwrap_or_default().to_owned()
}

/// It may be away for the moment in which an editor puts the new one in its place.
fn saved(mount: &Mount, file: &str, line: &str) {
    until_true(&format!("{file} begins with {line}"), || {
        std::fs::read_to_string(mount.path(file)).is_ok_and(|text| text.lines().next() == Some(line))
    });
}

fn holds(mount: &Mount, text: &str) {
    until_true(&format!("config holds {text}"), || {
        std::fs::read_to_string(mount.path("demo/config")).is_ok_and(|config| config.contains(text))
    });
}

const REFUSED: &str = "line 1, column 1: unknown key sise; expected one of";

/// The text in force is `line`'s, and the refused one with its reason stands beside it.
fn refused(mount: &Mount, line: &str) {
    until_true("the refusal is told", || mount.read("demo/config.error").starts_with(REFUSED));
    assert_eq!(first_line(mount, "demo/config"), line);
    assert_eq!(first_line(mount, "demo/config.rejected"), "sise = 3");
}

/// Nothing but the tree's own names, `config` private.
fn tidy(mount: &Mount) {
    let mode = std::fs::metadata(mount.path("demo/config")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let names = mount.sh("ls -A demo");
    let left: Vec<_> =
        names.lines().filter(|n| n.contains('~') || n.contains("save") || n.contains("sed")).collect();
    assert!(left.is_empty() && !names.contains(".config") && !names.contains("4913"), "{names}");
}

/// Without a backupskip, which takes /tmp out, and with its swap file beside the file.
fn vim(backupcopy: &str) -> String {
    let set = format!("set backupskip= backupcopy={backupcopy} writebackup swapfile directory=.");
    format!("exec vim -u NONE -i NONE -N --cmd '{set}' config")
}

#[test]
fn vim_saves_config_with_every_backupcopy() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    for backupcopy in ["auto", "yes", "no"] {
        let line = |n: u32| format!("# {backupcopy} {n}");
        let editor = Terminal::start(&mount, "demo", &vim(backupcopy));
        editor.shows("\"config\"");
        for n in 1..=2 {
            editor.types(&format!("ggO{}\u{1b}:w\r", line(n)));
            saved(&mount, "demo/config", &line(n));
            calm(&editor.shows("written"));
            editor.types(":echo 'next'\r"); // so that the next "written" is a new one
            editor.shows("next");
        }
        editor.types("ggOsise = 3\u{1b}:w\r");
        let said = editor.shows("E512: Close failed");
        assert!(!said.contains("W1"), "{said}");
        refused(&mount, &line(2));
        editor.keys(&["Enter"]);
        editor.types("ggdd:w\r");
        calm(&editor.shows("written"));
        // Put back at once it is no save (vim itself does that); later it takes the refusal back.
        let text = mount.read("demo/config");
        until_true("a good save takes the refusal back", || {
            std::fs::write(mount.path("demo/config"), &text).unwrap();
            mount.read("demo/config.error").is_empty()
        });
        editor.types(&format!("ggO{}\u{1b}:wq\r", line(3)));
        editor.ended();
        assert_eq!(first_line(&mount, "demo/config"), line(3), "{backupcopy}");
        assert!(mount.read("demo/config").contains(&format!("\n{}\n{}\n", line(2), line(1))));
        // vim keeps the backup of a save that failed, here as on any file system.
        mount.sh("rm -f demo/config~");
        tidy(&mount);
    }
}

#[test]
fn an_agent_that_nobody_knows_is_refused_in_vim_and_by_echo() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let before = mount.read("demo/config");
    let told = |file: &str, line: &str| {
        until_true("the refusal is told", || mount.read(&format!("{file}.error")).starts_with(line));
        until_true("in errors too", || mount.read("errors").contains(line));
    };
    let editor = Terminal::start(&mount, "demo", &vim("auto"));
    editor.shows("\"config\"");
    editor.types("ggO# a typo\ragent = 'clade'\u{1b}:w\r");
    editor.shows("E512: Close failed");
    told("demo/config", "line 2, column 1: unknown agent \"clade\"; known: agy, aider, amp");
    assert_eq!(mount.read("demo/config"), before);
    assert!(mount.read("demo/config.rejected").starts_with("# a typo\nagent = 'clade'\n"));
    editor.keys(&["Enter"]);
    editor.types(":s/clade/claude/ | w\r");
    saved(&mount, "demo/config", "# a typo");
    assert!(mount.read("demo/config").contains("\nagent = 'claude'\n"));

    // A shell's redirection says it at the close, which bash does not look at: the files tell.
    mount.run("echo '[agent.clade]' > config");
    told("config", "line 1, column 8: unknown agent \"clade\"; known: agy,");
    assert!(!mount.read("config").contains("clade"));
    mount.sh("echo '[agent.claude]' > config; cat config");
    until_true("a good save takes it back", || mount.read("config.error").is_empty());
}

#[test]
fn nano_saves_config_and_says_when_it_is_refused() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let editor = Terminal::start(&mount, "demo", "exec nano --ignorercfiles --backup --locking config");
    editor.shows("GNU nano");
    for n in 1..=2 {
        editor.types(&format!("# nano {n}\r"));
        editor.keys(&["C-o"]);
        editor.shows("File Name to Write");
        editor.keys(&["Enter"]);
        holds(&mount, &format!("# nano {n}\n"));
        calm(&editor.shows("Wrote"));
    }
    editor.keys(&["M-\\"]);
    editor.types("sise = 3\r");
    editor.keys(&["C-o", "Enter"]);
    editor.shows("Error writing config: Invalid argument");
    refused(&mount, "# nano 1");
    editor.keys(&["Up", "C-k", "C-o"]);
    editor.shows("File Name to Write");
    editor.keys(&["Enter"]);
    calm(&editor.shows("Wrote"));
    editor.keys(&["C-x"]);
    editor.ended();
    assert!(mount.read("demo/config").starts_with("# nano 1\n# nano 2\n"));
}

#[test]
fn emacs_saves_config() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let editor = Terminal::start(&mount, "demo", "exec emacs -nw -Q config");
    editor.shows("# Settings of this session");
    for n in 1..=2 {
        editor.types(&format!("# emacs {n}\r"));
        editor.keys(&["C-x", "C-s"]);
        holds(&mount, &format!("# emacs {n}\n"));
        calm(&editor.shows("Wrote"));
    }
    editor.keys(&["M-<"]);
    editor.types("sise = 3\r");
    editor.keys(&["C-x", "C-s"]);
    editor.shows("nvalid argument");
    refused(&mount, "# emacs 1");
}

/// Programs that save without asking: each line saves `# N` as the first, in its own way.
const SAVERS: &[&str] = &[
    "sed -i '1i LINE' config",
    "python3 -c 'import os; t = open(\"config\").read(); open(\"config.tmp\", \"w\").write(\"LINE\\n\" + t); os.replace(\"config.tmp\", \"config\")'",
    // A program that stores safely: fsync of the new file before it takes the old one's place.
    "python3 -c 'import os, tempfile; t = open(\"config\").read(); f = tempfile.NamedTemporaryFile(\"w\", dir=\".\", delete=False); f.write(\"LINE\\n\" + t); f.flush(); os.fsync(f.fileno()); f.close(); os.replace(f.name, \"config\")'",
    "{ echo 'LINE'; cat config; } > \"$HOME/new\"; cp \"$HOME/new\" config",
    "{ echo 'LINE'; cat config; } > \"$HOME/new\"; chmod 644 \"$HOME/new\"; cp -p \"$HOME/new\" config",
    "{ echo 'LINE'; cat config; } > \"$HOME/new\"; mv \"$HOME/new\" config",
    "{ echo 'LINE'; cat config; } > config.new; mv config.new config",
    "{ echo 'LINE'; cat config; } > \"$HOME/new\"; install -m 600 \"$HOME/new\" config",
    "{ echo 'LINE'; cat config; } > \"$HOME/new\"; dd if=\"$HOME/new\" of=config conv=fsync status=none",
    "text=$(cat config); printf '%s\\n' 'LINE' \"$text\" > config",
];

#[test]
fn what_replaces_a_file_saves_config() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    for (n, saver) in SAVERS.iter().enumerate() {
        let before = mount.read("demo/config");
        mount.sh(&format!("cd demo; {}", saver.replace("LINE", &format!("# {n}"))));
        assert_eq!(mount.read("demo/config").trim_end(), format!("# {n}\n{before}").trim_end(), "{saver}");
        tidy(&mount);
    }
    assert_eq!(mount.read("errors"), "");
}

#[test]
fn a_bad_text_is_refused_however_it_is_saved() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo '# good' > demo/config");
    for (n, saver) in SAVERS.iter().enumerate() {
        let before = mount.read("errors").lines().count();
        let out = mount.run(&format!("cd demo; {}", saver.replace("LINE", "sise = 3")));
        // bash's own echo does not look at its close; everything else says what happened.
        let silent = saver.ends_with("> config");
        assert_eq!(out.status.success(), silent, "{saver}");
        refused(&mount, "# good");
        until_true("`errors` has it", || mount.read("errors").lines().count() > before);
        assert!(
            mount.read("errors").lines().last().unwrap().contains("demo/config config: line 1, column 1")
        );
        mount.sh(&format!("rm -f demo/config.tmp demo/config.new demo/tmp*; echo '# {n}' > demo/config"));
        until_true("a good save takes it back", || mount.read("demo/config.error").is_empty());
        mount.sh("echo '# good' > demo/config");
    }
}

#[test]
fn what_is_not_utf8_is_refused_with_its_place() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo '# good' > demo/config");
    for file in ["demo/config", "config"] {
        let before = mount.read(file);
        let out = mount.run(&format!("printf '# a\\n# \\377' | dd of={file} status=none"));
        assert!(String::from_utf8_lossy(&out.stderr).contains("multibyte"), "{out:?}");
        let error = mount.read(&format!("{file}.error"));
        assert!(error.starts_with("line 2, column 3: not UTF-8"), "{file}: {error}");
        assert_eq!(mount.read(&format!("{file}.rejected")), "# a\n# \u{fffd}", "{file}");
        assert_eq!(mount.read(file), before);
    }
}

/// Half a text is none: what fits of one that is too large must not come into force.
#[test]
fn a_text_that_is_too_large_is_refused_whole() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo '# good' > demo/config");
    let out = mount.run("yes '# long' | head -c 1500000 | dd bs=4096 of=demo/config status=none");
    assert!(String::from_utf8_lossy(&out.stderr).contains("too large"), "{out:?}");
    until_true("it is told", || mount.read("errors").contains("1048576 are the most"));
    assert_eq!(mount.read("demo/config"), "# good\n");
    // The same open file may start over, as an editor's second try does.
    mount.sh("python3 -c '
import os
f = os.open(\"demo/config\", os.O_WRONLY | os.O_TRUNC)
try: os.pwrite(f, b\"x\", 1 << 20)
except OSError: pass
os.ftruncate(f, 0); os.pwrite(f, b\"# small\\n\", 0); os.close(f)'");
    assert_eq!(mount.read("demo/config"), "# small\n");
}

#[test]
fn config_may_be_away_for_a_moment() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo '# good' > demo/config");
    mount.sh("cd demo; mv config config~; [ ! -e config ]; grep -q '# good' config~; mv config~ config; grep -q '# good' config");
    mount.sh("cd demo; rm config; [ ! -e config ]; echo '# next' > config; grep -q '# next' config");
    mount.sh("rm demo/config");
    until_true("it is back by itself", || mount.path("demo/config").exists());
    assert_eq!(mount.read("demo/config"), "# next\n");
}

/// Settings in force are the document's, and a refused text leaves them.
#[test]
fn a_save_comes_into_force_and_a_refused_one_does_not() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo \"size = '90x30'\" > demo/config");
    until_true("the size is taken", || mount.read("demo/status").contains("90x30"));
    assert!(!mount.run("cd demo; sed -i \"s/90x30/91x31/; \\$a sise = 3\" config").status.success());
    assert!(mount.read("demo/config.error").starts_with("line 2, column 1: unknown key sise"));
    assert!(mount.read("demo/status").contains("90x30"));
}

#[test]
fn the_nodes_config_is_edited_in_place() {
    let mount = Mount::start();
    let before = mount.read("config");
    let editor = Terminal::start(&mount, "", &vim("auto").replace("directory=.", "noswapfile"));
    editor.shows("\"config\"");
    for n in 1..=2 {
        editor.types(&format!("ggO# vim {n}\u{1b}:w\r"));
        saved(&mount, "config", &format!("# vim {n}"));
        calm(&editor.shows("written"));
        editor.types(":echo 'next'\r");
        editor.shows("next");
    }
    editor.types(":q\r");
    editor.ended();
    drop(editor);
    let editor = Terminal::start(&mount, "", "exec nano --ignorercfiles config");
    editor.shows("GNU nano");
    editor.types("# nano\r");
    editor.keys(&["C-o"]);
    editor.shows("File Name to Write");
    editor.keys(&["Enter"]);
    saved(&mount, "config", "# nano");
    calm(&editor.shows("Wrote"));
    drop(editor);
    let out = mount.run("sed -i 's/# nano/# sed/' config");
    assert!(String::from_utf8_lossy(&out.stderr).contains("Operation not permitted"), "{out:?}");
    let text = mount.read("config");
    assert_eq!(text, format!("# nano\n# vim 2\n# vim 1\n{before}"));
    assert_eq!(text, std::fs::read_to_string(mount.lab.dirs().config).unwrap());
    let out = mount.run("{ echo 'sise = 3'; cat config; } > ~/new; cp ~/new config");
    assert!(String::from_utf8_lossy(&out.stderr).contains("Invalid argument"), "{out:?}");
    assert!(mount.read("config.error").starts_with("line 1, column 1: unknown key sise"));
    assert!(mount.read("config.rejected").starts_with("sise = 3\n# nano\n"));
    assert_eq!(mount.read("config"), text);
}

#[test]
fn a_slip_of_the_finger_makes_no_file() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    for slip in ["inptu", "inpu", "configg", "stats"] {
        let out = mount.run(&format!("echo 'rm -rf build' > demo/{slip}"));
        assert!(String::from_utf8_lossy(&out.stderr).contains("Operation not permitted"), "{out:?}");
        assert!(mount.read("errors").lines().last().unwrap().contains(&format!("demo/{slip}")));
    }
    mount.sh("cd demo; touch .config.swp config~ '#config#' 4913 notes.tmp; rm .config.swp config~ '#config#' 4913 notes.tmp");
}
