//! What others may see of secrets, on a real mount and real tmux: tmux's message log.

use super::support::{Lab, Mount, until, until_true};
use super::turns::Fakes;

/// All that tmux has in its log; it needs a client, and ours is one.
fn messages(lab: &Lab) -> String {
    let client = until("a client of ours", || {
        let list = lab.tmux_ok(&["list-clients", "-F", "#{client_name}"]);
        list.lines().next().map(str::to_owned)
    });
    lab.tmux_ok(&["show-messages", "-t", &client])
}

fn toml(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn no_environment_and_no_text_stands_in_the_message_log_of_tmux() {
    let lab = Fakes::prepared(Lab::new());
    std::fs::write(lab.home().join(".profile"), "export LOGIN_KEY=hush-login\n").unwrap();
    let log = lab.path("taken");
    let more = "[session.env]\nNODE_KEY = \"hush-node\"\n";
    let config = Fakes::config(&format!("--log {}", log.display()), more);
    let f = Fakes { mount: Mount::configured(lab, &config) };
    let m = &f.mount;
    f.session("fake");
    m.sh("echo 'hush-prompt one' > fake/input; cat fake/turns/0001/wait; echo '/hush-slash' > fake/input");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["hush-prompt one"], "a slash command is no prompt");
    m.sh("printf hush-text > fake/text");
    until_true("it is typed", || m.read("fake/screen").contains("hush-text"));

    // A shell with settings of its own: started again with them, and made with them.
    let own = "hush-own; #{pid} #(id) 100% $HOME 'ü\"";
    let show = r#"echo "[$OWN_KEY|$NODE_KEY|$LOGIN_KEY]""#;
    let want = format!("[{own}|hush-node|hush-login]");
    let shows = |target: &str| {
        m.lab.tmux_ok(&["send-keys", "-t", target, "-l", show]);
        m.lab.tmux_ok(&["send-keys", "-t", target, "Enter"]);
        until_true(target, || m.lab.tmux_ok(&["capture-pane", "-p", "-J", "-t", target]).contains(&want));
    };
    m.sh("mkdir shell; cat shell/wait");
    std::fs::write(m.path("shell/config"), format!("[env]\nOWN_KEY = {}\n", toml(own))).unwrap();
    until_true("it is applied", || m.read("shell/status").contains("pending: -"));
    m.sh("cat shell/wait");
    shows("=shell:0.0");
    m.lab.tmux_ok(&["kill-session", "-t", "=shell:"]);
    until_true("it is lost", || !m.path("shell").exists());
    m.sh("mkdir shell; cat shell/wait");
    shows("=shell:0.0");
    // So does what a person opens beside it, and what they start there by hand.
    m.lab.tmux_ok(&["split-window", "-t", "=shell:0.0"]);
    shows("=shell:0.1");
    m.lab.tmux_ok(&["respawn-pane", "-k", "-t", "=shell:0.0"]);
    shows("=shell:0.0");

    let log = messages(&m.lab);
    assert!(log.contains("new-session") && log.contains("paste-buffer"), "tmux logs commands: {log}");
    let told: Vec<&str> = log.lines().filter(|l| l.contains("hush")).collect();
    assert!(told.is_empty(), "{told:#?}");
    let left = m.lab.tmux_ok(&["show-environment", "-gh"]);
    assert!(!left.contains("MUXFS_"), "{left}");
}
