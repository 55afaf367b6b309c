//! Real agents whose composer is in another mode than the one in which text is a prompt: vim's NORMAL,
//! a shell mode. It is left where nothing of a person's stands in it.
//!
//! Knows the keys that bring such a mode; must not know those that leave it: the manifests do.

use super::mounted::Live;

struct Modes {
    live: Live,
    agent: &'static str,
}

impl Modes {
    fn start(agent: &'static str, looks: &str) -> Modes {
        let live = Live::start_as(agent, 100, looks, None);
        live.until("it is ready", || live.state() == "ready");
        Modes { live, agent }
    }

    /// Whether vim's mode is this one, as the agent shows it.
    fn is(&self, normal: bool) -> bool {
        let screen = self.live.read("screen");
        match self.agent {
            "claude" => screen.contains("-- INSERT --") != normal,
            "codex" => screen.contains(if normal { "Vim: Normal" } else { "Vim: Insert" }),
            _ => screen.contains(if normal { "[NORMAL]" } else { "[INSERT]" }),
        }
    }

    fn until_normal(&self) {
        self.live.until("NORMAL", || self.is(true));
    }

    fn asks(&self, prompt: &str, reply: &str) {
        let (stage, said) = self.live.ask(prompt);
        assert_eq!((stage.as_str(), said.trim()), ("done", reply), "{prompt}: {}", self.live.all());
        let got = self.live.stub.prompts().pop().unwrap().text;
        assert_eq!(got, prompt, "{}", self.live.all());
    }

    fn person(&self, keys: &[&str]) {
        let target = format!("={}:", self.agent);
        self.live.mount.lab.tmux_ok(&[&["send-keys", "-t", &target], keys].concat());
    }
}

fn vim(agent: &'static str) {
    let m = Modes::start(agent, "vim");
    m.asks("SAY(one) in INSERT", "one");
    assert!(m.is(false), "{}", m.live.all());
    m.person(&["Escape"]);
    m.until_normal();
    m.asks("SAY(two) from a person's NORMAL", "two");
    // The first Escape of an interrupt does no more than bring NORMAL.
    let before = m.live.turns();
    m.live.write("input", "SLOW60 SAY(never whole)");
    let turn = m.live.turns().into_iter().find(|t| !before.contains(t)).unwrap();
    m.live.until("it works", || m.live.state() == "busy");
    m.live.write("ctl", "interrupt\n");
    assert_eq!(m.live.ended(&turn), "interrupted", "{}", m.live.all());
    m.live.until("INSERT, as it was", || m.is(false));
    m.asks("SAY(three) after our own Escape", "three");
    m.person(&["Escape"]);
    m.until_normal();
    let talk = m.live.stub.prompts().pop().unwrap().messages;
    m.live.until("it is ready", || m.live.state() == "ready");
    m.live.write("ctl", "new\n");
    m.asks("SAY(four) in a new talk", "four");
    assert!(m.live.stub.prompts().pop().unwrap().messages < talk, "{}", m.live.all());
    // A list of completions is closed by an Escape too.
    m.asks("SAY(five) of @REA", "five");
    // A person's text is theirs.
    m.person(&["-l", "mine"]);
    m.live.until("it shows", || m.live.read("screen").contains("mine"));
    m.person(&["Escape"]);
    m.until_normal();
    m.live.write("input", "SAY(six)");
    m.live.until("it is held", || ["composer", "draft"].contains(&m.live.status("held").as_str()));
    m.person(&["a"]);
    m.live.until("INSERT", || m.is(false));
    m.person(&["C-u"]);
    m.live.until("it is sent", || m.live.read("reply") == "six\n");
}

fn shell(agent: &'static str) {
    let m = Modes::start(agent, "dark");
    m.asks("SAY(one)", "one");
    let ran = m.live.mount.lab.path("proj/ran");
    let begin = || {
        m.person(&["-l", "!"]);
        m.live
            .until("it is in its shell mode", || m.live.read("screen").to_lowercase().contains("shell mode"));
    };
    begin();
    m.asks("touch ran; SAY(two)", "two");
    begin();
    m.person(&["-l", "true"]);
    m.live.until("it shows", || m.live.read("screen").contains("true"));
    m.live.write("input", "touch ran; SAY(three)");
    m.live.until("it is held", || m.live.status("held") == "composer");
    assert!(m.live.status("held_why").contains("holds a text"), "{}", m.live.all());
    (0..4).for_each(|_| m.person(&["BSpace"]));
    m.live.until("it is sent", || m.live.read("reply") == "three\n");
    assert!(!ran.exists(), "a prompt ran in the shell");
}

macro_rules! tests {
    ($($agent:literal: $vim:ident $shell:ident;)*) => {
        $(
            #[test]
            #[ignore = "make test-agents"]
            fn $vim() {
                vim($agent);
            }

            #[test]
            #[ignore = "make test-agents"]
            fn $shell() {
                shell($agent);
            }
        )*
    };
}

tests! {
    "claude": real_agent_claude_vim real_agent_claude_shell;
    "codex": real_agent_codex_vim real_agent_codex_shell;
    "gemini": real_agent_gemini_vim real_agent_gemini_shell;
}
