//! The picture of the README: a terminal in which the README's first lines run, drawn as SVG.
//! `make screenshot` draws it anew; the test fails where the run no longer looks like it.
//!
//! Everything in it is real but the agent, which is the fake one, so that the same is shown each time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::doc::{root, same};
use super::support::{Lab, Mount, until, until_true};
use super::turns::Fakes;

/// Columns of the shell at the left, of the agent at the right, and the rows of both.
const LEFT: usize = 60;
const RIGHT: usize = 48;
const ROWS: usize = 21;

const ANSWER: &str = "tests/soak.rs takes 41 s, more than\nall others together.";

/// What is typed, and what the shell shows at last when it has done its work.
const TYPED: &[(&str, &str)] = &[
    ("mkdir $MUX/.self/demo; cd $MUX/.self/demo", "$ "),
    ("echo 'Run the tests. Which is the slowest?' > input", "$ "),
    ("cat wait", "blocked\n$ "),
    ("cat question", "No\n$ "),
    ("echo 'answer yes' > ctl", "$ "),
    ("cat wait reply", "together.\n$ "),
];

#[test]
fn the_readmes_picture_is_of_a_real_run() {
    let (shell, agent) = run();
    same(root().join("docs/screenshot.svg"), &svg(&shell, &agent));
}

/// The rows of the shell and those of the agent, in the end.
fn run() -> (Vec<String>, Vec<String>) {
    let lab = Fakes::prepared(Lab::new());
    let agents = lab.path("config/agents");
    std::fs::rename(agents.join("fake.toml"), agents.join("demo.toml")).unwrap();
    std::fs::rename(lab.path("work"), lab.path("project")).unwrap();
    let model = format!("--llm={}", serve());
    let mount = Mount::configured(lab, &format!("[agent.demo]\nargs = [{model:?}]\n"));
    let lab = &mount.lab;

    let terminal = Terminal { lab };
    let project = lab.path("project");
    terminal.start("shell", LEFT, &["bash", "--norc"], &mount, &project);
    until_true("a prompt", || terminal.ends_with("shell", "$ "));
    for (i, (command, shown)) in TYPED.iter().enumerate() {
        let before = terminal.rows("shell").len();
        terminal.tmux(&["send-keys", "-t", "shell", "-l", command]);
        terminal.tmux(&["send-keys", "-t", "shell", "Enter"]);
        until(command, || {
            let done = terminal.rows("shell").len() > before && terminal.ends_with("shell", shown);
            done.then_some(())
        });
        if i == 0 {
            let attach =
                format!("tmux -S '{}' set -t demo status off \\; attach -t demo", lab.socket().display());
            terminal.start("agent", RIGHT, &["sh", "-c", &attach], &mount, &project);
        }
    }
    until_true("the agent shows its answer", || terminal.rows("agent").join("\n").contains("together."));
    (terminal.coloured("shell"), terminal.coloured("agent"))
}

/// A tmux server of its own: what is drawn are its panes.
struct Terminal<'a> {
    lab: &'a Lab,
}

impl Terminal<'_> {
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = std::process::Command::new("timeout");
        command.args(["-k", "1", "20", "tmux", "-u", "-f"]).arg(self.lab.path("terminal.conf"));
        let command = command.arg("-S").arg(self.lab.path("terminal")).args(args).env_remove("TMUX");
        let out = command.output().unwrap();
        assert!(out.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// A session of one pane.
    fn start(&self, name: &str, columns: usize, program: &[&str], mount: &Mount, cwd: &std::path::Path) {
        std::fs::write(self.lab.path("terminal.conf"), "set -g status off\n").unwrap();
        let (columns, rows) = (columns.to_string(), ROWS.to_string());
        let mut args = vec!["new-session", "-d", "-s", name, "-x", &columns, "-y", &rows, "-c"];
        args.push(cwd.to_str().unwrap());
        let mut variables: Vec<String> = Mount::environment(self.lab)
            .into_iter()
            .map(|(name, value)| format!("{name}={}", value.display()))
            .collect();
        variables.push(format!("MUX={}", mount.dir.display()));
        variables.push(r"PS1=\[\e[32m\]$\[\e[0m\] ".into());
        args.extend(["env", "-u", "TMUX"]);
        args.extend(variables.iter().map(String::as_str));
        args.extend(program);
        self.tmux(&args);
    }

    /// What a pane shows, with colours, without blank rows at the end.
    fn coloured(&self, name: &str) -> Vec<String> {
        self.tmux(&["capture-pane", "-p", "-e", "-t", name]).trim_end().lines().map(str::to_owned).collect()
    }

    fn rows(&self, name: &str) -> Vec<String> {
        let plain = |row: &String| spans(row).into_iter().map(|span| span.text).collect::<String>();
        self.coloured(name).iter().map(plain).collect()
    }

    fn ends_with(&self, name: &str, text: &str) -> bool {
        self.rows(name).join("\n").trim_end().ends_with(text.trim_end())
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("tmux");
        let _ = command.arg("-S").arg(self.lab.path("terminal")).arg("kill-server").output();
    }
}

/// A model that gives one answer; the port it listens at. It ends with the test's process.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reply = |mut stream: TcpStream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let long = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
        std::io::copy(&mut (&stream).take(long.unwrap_or(0)), &mut std::io::sink())?;
        let body = serde_json::json!({"choices": [{"message": {"content": ANSWER}}]}).to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    std::thread::spawn(move || listener.incoming().flatten().try_for_each(reply));
    address
}

/// A piece of a row in one style.
struct Span {
    text: String,
    colour: &'static str,
    bold: bool,
}

const PLAIN: &str = "#d8dee9";
const COLOURS: [&str; 8] =
    ["#4c566a", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#eceff4"];

/// Takes a row apart at its SGR sequences, the only ones that `capture-pane -e` prints.
fn spans(row: &str) -> Vec<Span> {
    let mut spans = vec![Span { text: String::new(), colour: PLAIN, bold: false }];
    for (i, piece) in row.split("\x1b[").enumerate() {
        let (style, text) = if i == 0 { ("", piece) } else { piece.split_once('m').unwrap_or(("", piece)) };
        let before = spans.last().expect("it has one");
        let (mut colour, mut bold) = (before.colour, before.bold);
        for code in style.split(';') {
            match code.parse() {
                Ok(0usize) | Err(_) if i > 0 => (colour, bold) = (PLAIN, false),
                Ok(1) => bold = true,
                Ok(code @ 30..=37) => colour = COLOURS[code - 30],
                Ok(code @ 90..=97) => colour = COLOURS[code - 90],
                Ok(39) => colour = PLAIN,
                _ => {}
            }
        }
        spans.push(Span { text: text.to_owned(), colour, bold });
    }
    spans
}

/// Size of a cell, and the margin around the panes.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 16.0;
const HEAD: f64 = 34.0;

fn svg(shell: &[String], agent: &[String]) -> String {
    let middle = MARGIN * 2.0 + LEFT as f64 * CELL.0;
    let width = middle + MARGIN * 2.0 + RIGHT as f64 * CELL.0;
    let height = HEAD + MARGIN * 1.5 + ROWS as f64 * CELL.1;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\">\n\
         <title>A shell and, beside it, the agent that it prompts</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1e222a\"/>\n\
         <path d=\"M0 {HEAD}H{width:.0}M{middle:.1} 0V{height:.0}\" stroke=\"#3b4252\"/>\n"
    );
    for (x, rows, head) in [(MARGIN, shell, "your shell"), (middle + MARGIN, agent, "tmux attach -t demo")] {
        text(&mut out, x, HEAD - 12.0, head, COLOURS[0], false);
        for (y, row) in rows.iter().enumerate() {
            let mut column = 0;
            for span in spans(row) {
                let at = (x + column as f64 * CELL.0, HEAD + MARGIN + (y as f64 + 0.5) * CELL.1);
                text(&mut out, at.0, at.1, &span.text, span.colour, span.bold);
                column += span.text.chars().count();
            }
        }
    }
    out + "</svg>\n"
}

/// One piece of text, as wide as its cells whatever font there is.
fn text(out: &mut String, x: f64, y: f64, text: &str, colour: &str, bold: bool) {
    let begins = text.chars().take_while(|c| *c == ' ').count();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let (x, long) = (x + begins as f64 * CELL.0, text.chars().count() as f64 * CELL.0);
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    out.push_str(&format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\"{weight} textLength=\"{long:.1}\" \
         lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\">{text}</text>\n"
    ));
}
