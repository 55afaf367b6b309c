//! What a server holds: sessions, panes, clients, asked in one line and parsed.
//!
//! Parsing is pure. Knows tmux's format variables; must not know what a session means to muxfs.
//!
//! Values may hold anything (a directory may have a newline in its name), tmux before 3.4 prints
//! control bytes as they are and later ones as `\ooo`; so fields that hold text are parted by a
//! separator that is printable and random for each connection, not by any fixed byte. Numbers and ids
//! are parted by a space: with the long separator everywhere a list takes tmux half as long again.

use super::actor::{Bodies, Server};
use super::command::{Command, Line};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub sessions: Vec<SessionInfo>,
    /// One for each (session, pane): a window linked into two sessions is listed twice.
    pub panes: Vec<PaneInfo>,
    pub clients: Vec<ClientInfo>,
}

/// Times are seconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionInfo {
    /// `$3`.
    pub id: String,
    /// As tmux shows it: it writes `\` as `\\` and odd bytes as `\ooo` itself.
    pub name: String,
    pub created: u64,
    /// Its group, where it shares its windows with others.
    pub group: Option<String>,
    /// The session's user option `@muxfs`.
    pub muxfs_id: Option<String>,
    /// Clients other than control clients.
    pub attached: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaneInfo {
    /// `%5`.
    pub id: String,
    pub session: String,
    /// `@2`.
    pub window: String,
    pub window_index: u32,
    pub pane_index: u32,
    pub window_active: bool,
    pub pane_active: bool,
    /// Of the process tmux started; stays after its death.
    pub pid: u32,
    pub dead: bool,
    /// Known a moment after `dead`; neither this nor a signal may be known at all on 3.2.
    pub dead_status: Option<i32>,
    /// tmux 3.3 and later.
    pub dead_signal: Option<i32>,
    pub width: u32,
    pub height: u32,
    pub title: String,
    pub cwd: String,
    /// The terminal's foreground process, by its command line.
    pub command: String,
    pub start_command: String,
    /// `/dev/pts/7`.
    pub tty: String,
    pub alternate_on: bool,
    /// In copy mode or another mode.
    pub in_mode: bool,
    /// Somebody reads it through `pipe-pane`: we or the user.
    pub piped: bool,
    /// `select-pane -d`: tmux drops what is typed.
    pub input_off: bool,
    pub history_size: u32,
    pub cursor_x: u32,
    pub cursor_y: u32,
    /// The window is in more than one session.
    pub window_linked: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    pub name: String,
    pub session: String,
    /// The window it shows.
    pub window: String,
    pub control: bool,
    /// The last key it sent, in whole seconds.
    pub activity: u64,
    pub width: u32,
    pub height: u32,
}

/// What is asked of each thing of a kind.
struct Format {
    /// Ids and numbers: a space in none of them.
    plain: &'static [&'static str],
    /// These may hold anything.
    text: &'static [&'static str],
}

const SESSION: Format =
    Format { plain: &["session_id", "session_created"], text: &["session_name", "session_group", "@muxfs"] };
const PANE: Format = Format { plain: PANE_PLAIN, text: PANE_TEXT };
const PANE_PLAIN: &[&str] = &[
    "pane_id",
    "session_id",
    "window_id",
    "window_index",
    "pane_index",
    "window_active",
    "pane_active",
    "pane_pid",
    "pane_dead",
    "pane_dead_status",
    "pane_dead_signal",
    "pane_width",
    "pane_height",
    "pane_tty",
    "alternate_on",
    "pane_in_mode",
    "pane_pipe",
    "pane_input_off",
    "history_size",
    "cursor_x",
    "cursor_y",
    "window_linked",
];
const PANE_TEXT: &[&str] = &["pane_title", "pane_current_path", "pane_current_command", "pane_start_command"];
const CLIENT: Format = Format {
    plain: &[
        "session_id",
        "window_id",
        "client_control_mode",
        "client_activity",
        "client_width",
        "client_height",
    ],
    text: &["client_name"],
};

/// tmux's lists as it printed them: equal ones of one connection mean that nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists(Bodies);

impl Lists {
    /// Everything at one moment, as tmux prints it.
    pub async fn ask(server: &Server) -> Result<Lists> {
        let sep = server.separator();
        let line = Command::new("list-sessions")
            .arg("-F")
            .arg(SESSION.ask(sep))
            .then(Command::new("list-panes").arg("-a").arg("-F").arg(PANE.ask(sep)))
            .then(Command::new("list-clients").arg("-F").arg(CLIENT.ask(sep)));
        Ok(Lists(server.run_each(line).await?))
    }

    /// The same parsed, once tmux knows how each dead pane ended; and the lists it is from.
    ///
    /// tmux 3.3a now and then misses SIGCHLD: the pane is dead, its process a zombie, its status
    /// unknown until another child ends (at least 10 of 480 deaths on a busy machine, none of 480
    /// with the nudge). So where a status is missing the server is nudged, and asked again a few
    /// times. (tmux 3.2 never tells a signal: there a status may be missing for good.)
    pub async fn settled(mut self, server: &Server) -> Result<(Lists, Snapshot)> {
        let mut all = self.parse(server)?;
        let tells = super::process::version_of(&server.info().version) >= Some((3, 3));
        for _ in 0..if tells { 3 } else { 0 } {
            if !all.panes.iter().any(|p| p.dead && p.dead_status.is_none() && p.dead_signal.is_none()) {
                break;
            }
            server.nudge();
            self = Lists::ask(server).await?;
            all = self.parse(server)?;
        }
        Ok((self, all))
    }

    fn parse(&self, server: &Server) -> Result<Snapshot> {
        let [sessions, panes, clients] = &self.0[..] else {
            return fail(Kind::Bug, format!("three commands, {} answers from tmux", self.0.len()));
        };
        let sep = server.separator();
        parse(sessions, panes, clients, sep, &server.hidden_session(), &server.own_client())
    }
}

/// Everything at one moment, but for our hidden session and our own client.
pub async fn snapshot(server: &Server) -> Result<Snapshot> {
    Lists::ask(server).await?.settled(server).await.map(|(_, all)| all)
}

/// The clients alone, but for our own.
pub async fn clients(server: &Server) -> Result<Vec<ClientInfo>> {
    let sep = server.separator();
    let list = server.run(Command::new("list-clients").arg("-F").arg(CLIENT.ask(sep))).await?;
    parse_clients(&String::from_utf8_lossy(&list), sep, &server.own_client())
}

/// The panes of these sessions and windows alone. `Gone` where one of them has ended.
pub async fn panes_of<'a>(
    server: &Server,
    sessions: impl IntoIterator<Item = &'a String>,
    windows: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<PaneInfo>> {
    let sep = server.separator();
    let format = PANE.ask(sep);
    let list = || Command::new("list-panes").arg("-F").arg(&format);
    let sessions = sessions.into_iter().map(|id| list().args(["-s", "-t", id]));
    let mut all = sessions.chain(windows.into_iter().map(|id| list().args(["-t", id])));
    let Some(first) = all.next() else { return Ok(Vec::new()) };
    let panes = server.run(all.fold(Line::from(first), Line::then)).await?;
    parse_panes(&String::from_utf8_lossy(&panes), sep, &server.hidden_session())
}

impl Format {
    /// `#{a} #{b}SEP#{text}SEP`: the end of a record is a separator too, followed by tmux's newline.
    fn ask(&self, sep: &str) -> String {
        let plain: Vec<String> = self.plain.iter().map(|f| format!("#{{{f}}}")).collect();
        let text: String = self.text.iter().map(|f| format!("#{{{f}}}{sep}")).collect();
        format!("{}{sep}{text}", plain.join(" "))
    }

    /// The records of a list that was asked for so.
    fn records<'a>(&self, list: &'a str, sep: &str) -> Result<Vec<Fields<'a>>> {
        let count = 1 + self.text.len();
        let mut parts: Vec<&str> = list.split(sep).collect();
        let tail = parts.pop().unwrap_or_default();
        let record = |chunk: &[&'a str]| {
            let mut fields: Vec<&str> = chunk[0].trim_start_matches('\n').split(' ').collect();
            let whole = fields.len() == self.plain.len();
            fields.extend(&chunk[1..]);
            whole.then(|| Fields(fields.into_iter()))
        };
        let whole = tail.trim().is_empty() && parts.len().is_multiple_of(count);
        let records = if whole { parts.chunks(count).map(record).collect() } else { None };
        let say = || format!("tmux's list of {} is not whole: {} fields", self.plain[0], parts.len());
        records.ok_or_else(|| Error::new(Kind::Bug, say()))
    }
}

fn parse(
    sessions: &[u8],
    panes: &[u8],
    clients: &[u8],
    sep: &str,
    hidden: &str,
    own: &str,
) -> Result<Snapshot> {
    // UTF-8 but for a directory whose name is not: shown with replacement characters.
    let [sessions, panes, clients] = [sessions, panes, clients].map(String::from_utf8_lossy);
    let mut all = Snapshot {
        sessions: Vec::new(),
        panes: parse_panes(&panes, sep, hidden)?,
        clients: parse_clients(&clients, sep, own)?,
    };
    for f in &mut SESSION.records(&sessions, sep)? {
        let mut session = SessionInfo {
            id: f.text(),
            created: f.number().unwrap_or(0),
            name: f.text(),
            group: f.some(),
            muxfs_id: f.some(),
            attached: 0,
        };
        session.attached = all.clients.iter().filter(|c| !c.control && c.session == session.id).count();
        if session.id != hidden {
            all.sessions.push(session);
        }
    }
    Ok(all)
}

fn parse_clients(list: &str, sep: &str, own: &str) -> Result<Vec<ClientInfo>> {
    let mut all = Vec::new();
    for f in &mut CLIENT.records(list, sep)? {
        let client = ClientInfo {
            session: f.text(),
            window: f.text(),
            control: f.flag(),
            activity: f.number().unwrap_or(0),
            width: f.number().unwrap_or(0),
            height: f.number().unwrap_or(0),
            name: f.text(),
        };
        if client.name != own {
            all.push(client);
        }
    }
    Ok(all)
}

fn parse_panes(list: &str, sep: &str, hidden: &str) -> Result<Vec<PaneInfo>> {
    let mut all = Vec::new();
    for f in &mut PANE.records(list, sep)? {
        let pane = PaneInfo {
            id: f.text(),
            session: f.text(),
            window: f.text(),
            window_index: f.number().unwrap_or(0),
            pane_index: f.number().unwrap_or(0),
            window_active: f.flag(),
            pane_active: f.flag(),
            pid: f.number().unwrap_or(0),
            dead: f.flag(),
            dead_status: f.number(),
            dead_signal: f.signal(),
            width: f.number().unwrap_or(0),
            height: f.number().unwrap_or(0),
            tty: f.text(),
            alternate_on: f.flag(),
            in_mode: f.flag(),
            piped: f.flag(),
            input_off: f.flag(),
            history_size: f.number().unwrap_or(0),
            cursor_x: f.number().unwrap_or(0),
            cursor_y: f.number().unwrap_or(0),
            window_linked: f.flag(),
            title: f.text(),
            cwd: f.text(),
            command: f.text(),
            start_command: f.text(),
        };
        if pane.session != hidden {
            all.push(pane);
        }
    }
    Ok(all)
}

/// The fields of one record, taken in the order they were asked for.
struct Fields<'a>(std::vec::IntoIter<&'a str>);

impl Fields<'_> {
    fn next(&mut self) -> &str {
        self.0.next().unwrap_or_default() // records() made sure of the count
    }

    fn text(&mut self) -> String {
        self.next().to_owned()
    }

    fn some(&mut self) -> Option<String> {
        Some(self.text()).filter(|s| !s.is_empty())
    }

    fn flag(&mut self) -> bool {
        !matches!(self.next(), "" | "0")
    }

    /// None where tmux prints nothing (not known, not in this version) or no number: one odd
    /// field must not hide everything else.
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.next().parse().ok()
    }

    /// tmux prints `9`, or `KILL` where its C library has names.
    fn signal(&mut self) -> Option<i32> {
        let text = self.next();
        let name = || text.strip_prefix("SIG").unwrap_or(text);
        let named = || format!("SIG{}", name()).parse::<nix::sys::signal::Signal>().ok();
        text.parse().ok().or_else(|| named().map(|s| s as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(plain: &[&str], text: &[&str], sep: &str) -> String {
        let text: String = text.iter().map(|f| format!("{f}{sep}")).collect();
        format!("{}{sep}{text}\n", plain.join(" "))
    }

    #[test]
    fn values_may_hold_newlines_and_the_hidden_session_is_not_there() {
        let sep = "|k3y|";
        let sessions = record(&["$0", "1"], &["_muxfs", "", ""], sep)
            + &record(&["$1", "5"], &["a|b c", "grp", "ID"], sep);
        let mut pane = vec!["%1", "$1", "@1", "0", "2", "1", "1", "77", "1", "", "KILL", "80", "24"];
        pane.extend(["/dev/pts/3", "0", "1", "0", "0", "12", "3", "4", "1"]);
        let text = ["t", "/a\nb", "sh", "\"x y\""];
        let mut hidden = pane.clone();
        hidden[1] = "$0";
        let panes = record(&hidden, &text, sep) + &record(&pane, &text, sep);
        let clients = record(&["$0", "@0", "1", "9", "", ""], &["client-9"], sep)
            + &record(&["$1", "@1", "0", "8", "80", "24"], &["/dev/pts/1"], sep)
            + &record(&["$1", "@1", "1", "8", "", ""], &["client-7"], sep);
        let got = parse(sessions.as_bytes(), panes.as_bytes(), clients.as_bytes(), sep, "$0", "client-9")
            .expect("parses");
        assert_eq!((got.sessions.len(), got.panes.len(), got.clients.len()), (1, 1, 2));
        let s = &got.sessions[0];
        assert_eq!((s.name.as_str(), s.muxfs_id.as_deref(), s.attached), ("a|b c", Some("ID"), 1));
        let p = &got.panes[0];
        assert_eq!((p.cwd.as_str(), p.dead, p.dead_status, p.dead_signal), ("/a\nb", true, None, Some(9)));
        assert_eq!((p.history_size, p.cursor_x, p.cursor_y, p.window_linked), (12, 3, 4, true));
        assert!(parse(b"x|k3y|\n", b"", b"", sep, "", "").is_err(), "a short record is noticed");
        let short = record(&["$1"], &["name", "", ""], sep);
        assert!(parse(short.as_bytes(), b"", b"", sep, "", "").is_err(), "and one without a number");
    }
}
