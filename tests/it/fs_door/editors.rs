//! Editors on the fake tree's document: no warning, no loss, a bad text changes nothing.

use super::*;

/// A shell line that runs a program on a terminal and types when it shows something.
fn screen(program: &str, steps: &[(&str, &str)]) -> String {
    let steps: Vec<String> = steps.iter().map(|(see, keys)| format!("(b\"{see}\", b\"{keys}\")")).collect();
    format!(
        r#"python3 -c '
import os, pty
pid, tty = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "stty rows 24 cols 80; exec {program}"])
for see, keys in [{}]:
    seen = b""
    while see not in seen: seen += os.read(tty, 4096)
    os.write(tty, keys)
try:
    while os.read(tty, 4096): pass
except OSError: pass
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
'"#,
        steps.join(", ")
    )
}

/// Every way an editor saves `config`: no warning, no loss, mode and owner as before.
#[test]
fn editors_save_the_document() {
    let mux = Mux::new();
    let mut before = "a = 1\n".to_owned();
    let mut saves = |name: &str, script: &str, after: &dyn Fn(&str) -> String, clean: &str| {
        let out = mux.run("bash", script);
        let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{name}: {text}{err}");
        for bad in ["WARNING", "W1", "E13", "E21", "E51", "E66", "rror", "changed since"] {
            assert!(!text.contains(bad) && !err.contains(bad), "{name}: {bad}: {text}{err}");
        }
        let want = after(&before);
        assert_eq!(mux.fake.text("n/s/config"), want, "{name}: {text}{err}");
        assert_eq!(mux.sh("cat config; stat -c %a%u config"), format!("{want}6000\n"), "{name}");
        let left = mux.sh(&format!("rm -f {clean}; ls -A | tr '\\n' ' '"));
        assert_eq!(left, "ask config ctl events input keys logs notes queue status turns wait ", "{name}");
        before = want;
    };
    for backup in ["auto", "yes", "no"] {
        for more in ["", "writebackup", "backup", "undofile"] {
            let set = format!("set bkc={backup} bsk= {more}");
            let vim =
                format!("vim -u NONE -N -i NONE -es -c '{set}' -c '%s/$/x/' -c w -c '%s/$/y/' -c wq config");
            saves(&set, &vim, &|t| t.replace('\n', "xy\n"), "config~ .config.un~");
            // On a screen, where warnings wait for a key.
            let keys = "ix\\033:w\\rAy\\033:wq\\r";
            let vim = format!(
                "printf '{keys}' | script -qec \"vim -u NONE -N -i NONE -c '{set}' config\" /dev/null"
            );
            saves(&set, &vim, &|t| format!("x{}", t.replacen('\n', "y\n", 1)), "config~ .config.un~");
        }
    }
    saves(
        "nano",
        &screen(
            "nano -I config",
            &[("Read 1 line", "n"), ("Modified", "\\x0f"), ("to Write", "\\r"), ("Wrote", "\\x18")],
        ),
        &|t| format!("n{t}"),
        "x.tmp",
    );
    saves("sed -i", "sed -i s/^/s/ config", &|t| format!("s{t}"), "x.tmp");
    saves("perl -i", "perl -i -pe s/^/p/ config", &|t| format!("p{t}"), "x.tmp");
    saves(
        "os.replace",
        "python3 -c 'import os; t=open(\"config\").read(); f=open(\".cfg.tmp\",\"w\"); f.write(\"r\"+t); f.flush(); os.fsync(f.fileno()); f.close(); os.replace(\".cfg.tmp\",\"config\")'",
        &|t| format!("r{t}"),
        "x.tmp",
    );
    saves(
        "in place",
        "python3 -c 'f=open(\"config\",\"r+\"); f.write(\"i\"); f.close()'",
        &|t| format!("i{}", &t[1..]),
        "x.tmp",
    );
    saves(
        "cp",
        "(echo c; cat config) > /tmp/cfg.$$; cp /tmp/cfg.$$ config; rm /tmp/cfg.$$",
        &|t| format!("c\n{t}"),
        "x.tmp",
    );
    saves("mv", "(echo m; cat config) > new.tmp; mv new.tmp config", &|t| format!("m\n{t}"), "x.tmp");
    saves("append", "echo z >> config", &|t| format!("{t}z\n"), "x.tmp");
    saves("truncate", "truncate -s 4 config", &|t| t[..4].to_owned(), "x.tmp");
    saves("echo", "echo a > config", &|_| "a\n".to_owned(), "x.tmp");
    for lisp in
        ["", "(setq backup-by-copying t)", "(setq file-precious-flag t)", "(setq make-backup-files nil)"]
    {
        let emacs = format!(
            "emacs --batch -Q config --eval '(progn {lisp} (insert \"e\") (save-buffer) (insert \"f\") (save-buffer))' 2>&1 | grep -i 'error\\|warn\\|changed' && exit 1 || true"
        );
        saves(lisp, &emacs, &|t| format!("ef{t}"), "config~");
    }
    assert_eq!(mux.fake.refusals(), [""; 0]);
    // The same text again is no save.
    mux.fake.sent();
    let mtime = mux.sh("stat -c %y config");
    mux.sh("cat config > x.tmp; cp x.tmp config; mv x.tmp config; touch config; vim -u NONE -N -i NONE -es -c wq config");
    assert_eq!(mux.fake.sent(), []);
    assert_eq!(mux.sh("stat -c %y config"), mtime);
}

#[test]
fn a_bad_text_changes_nothing_and_the_document_comes_back() {
    let mux = Mux::new();
    assert!(
        mux.fails("echo BAD > /tmp/bad.$$; cp /tmp/bad.$$ config; r=$?; rm /tmp/bad.$$; exit $r")
            .contains("Invalid")
    );
    mux.fails("echo BAD > x.tmp; mv x.tmp config"); // mv has words of its own for EINVAL
    assert_eq!(mux.sh("cat config x.tmp; rm x.tmp"), "a = 1\nBAD\n");
    assert!(
        mux.fails("python3 -c 'import os; f=os.open(\"config\",1); os.write(f,b\"BAD\"); os.fsync(f)'")
            .contains("Invalid")
    );
    assert!(mux.fails("cp -p /etc/hostname x.tmp; chmod 644 config").contains("not permitted"));
    // `cp -p` of a file that others may read: the text is saved, the mode stays.
    mux.run(
        "bash",
        "cp ../index /tmp/cfg.$$; chmod 644 /tmp/cfg.$$; cp -p /tmp/cfg.$$ config; rm /tmp/cfg.$$",
    );
    assert_eq!(mux.sh("cat config; stat -c %a config"), "s - ready\n600\n");
    assert_eq!(mux.sh("rm config; test ! -e config; echo new > config; cat config"), "new\n");
    mux.sh("mv config config~; test ! -e config; cat config~; mv config~ config; cat config; ! mv config status 2>/dev/null; ! mv status config 2>/dev/null");
    mux.sh("rm config");
    assert_eq!(mux.fake.text("n/s/config"), "new\n", "settings stay in force");
    until("the document's return", || mux.at("n/s/config").exists());
    assert_eq!(mux.sh("cat config"), "new\n");
}
