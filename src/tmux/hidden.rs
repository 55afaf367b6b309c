//! Our hidden session: made, attached to, kept free of others, removed.
//!
//! Knows what `_muxfs` is and how a connection begins and ends; must not know the sessions of
//! users, or how replies are distinguished (client.rs does).

use super::actor::{Server, ServerInfo};
use super::client::{Shared, drive};
use super::clock;
use super::command::{Command, Line};
use super::control::Notice;
use super::process::{LIMIT, OwnProgram, Socket, Tmux, check_version, os, own_command};
use super::variable;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// The hidden session's name.
pub const NAME: &str = "_muxfs";
/// As a target: exactly this session, whatever others are called.
const TARGET: &str = "=_muxfs:";

/// Variables that one line forgets.
const AT_ONCE: usize = 100;

/// What a connection knows of its hidden session.
#[derive(Debug, Clone, Default)]
pub(super) struct Hidden {
    /// `$0`.
    pub session: String,
    /// Our control client's name.
    pub client: String,
}

impl Server {
    /// Connects to the server at `socket`, within 10 s. None where none runs: never starts one.
    pub async fn connect(
        socket: &Socket,
        own: &OwnProgram,
    ) -> Result<Option<(Server, UnboundedReceiver<Notice>)>> {
        let path = socket.path();
        if !path.exists() {
            return Ok(None);
        }
        let until = tokio::time::Instant::now() + LIMIT;
        let tmux = Tmux::for_socket(&path);
        tmux.still(until).await?;
        // `-A`: attach where it exists (our own from before a crash), make it otherwise.
        let mut args = session_args(own, &["-A", "-f", "ignore-size,no-output"]);
        args.extend(options());
        let control = tmux.control(&args)?;
        let client = control.child.as_ref().and_then(tokio::process::Child::id);
        let (shared, mut notices) = drive(control)?;
        // tmux reads our lines from the moment the client is known, which is before it is
        // attached; a line sent now might run without a session.
        let attached = match tokio::time::timeout_at(until, attached(&mut notices)).await {
            Ok(Attach::Done(session, name)) if name == NAME => session,
            Ok(Attach::Done(_, name)) => {
                shared.hang_up();
                return fail(Kind::Bug, format!("tmux put our client into session {name:?}"));
            }
            Ok(Attach::NoServer) => return Ok(None),
            Ok(Attach::Failed(why)) => return fail(Kind::Unreachable, format!("tmux: {why}")),
            Err(_) => {
                // Not killed: a client lost while attaching crashes servers. It ends by itself.
                shared.hang_up();
                return fail(Kind::TimedOut, "tmux did not answer within 10 s");
            }
        };
        let greeted = tokio::time::timeout_at(until, greet(&shared, &path, client)).await;
        let greeted = greeted.unwrap_or_else(|_| fail(Kind::TimedOut, "tmux did not answer within 10 s"));
        let (info, client) = greeted.inspect_err(|_| shared.hang_up())?;
        check_version(&info.version).inspect_err(|_| shared.hang_up())?;
        shared.is_of(info.pid);
        let forgotten = tokio::time::timeout_at(until, forget_left(&shared)).await;
        if let Err(e) = forgotten.unwrap_or_else(|_| fail(Kind::TimedOut, "no answer")) {
            tracing::debug!("variables that another muxfs left: {e}");
        }
        tokio::spawn(super::blocked::watch(shared.clone(), tmux, client.clone()));
        let hidden = Hidden { session: attached, client };
        Ok(Some((Server::new(shared, info, own, hidden)?, notices)))
    }

    /// A client of the same server again, where the one before was lost: then this connection goes
    /// on, and these are its notices. None where that server is gone: so is the connection then.
    pub async fn again(
        &self,
        socket: &Socket,
        own: &OwnProgram,
    ) -> Result<Option<UnboundedReceiver<Notice>>> {
        let Some((next, notices)) = Server::connect(socket, own).await? else {
            self.give_up();
            return Ok(None);
        };
        if next.info() != self.info() {
            self.give_up();
            next.close().await;
            return Ok(None);
        }
        self.adopt(&next);
        Ok(Some(notices))
    }

    /// Connects, and starts the server first where none runs.
    pub async fn start(socket: &Socket, own: &OwnProgram) -> Result<(Server, UnboundedReceiver<Notice>)> {
        // Twice: between our start and our connect a server without sessions may have ended.
        for _ in 0..2 {
            if let Some(connected) = Server::connect(socket, own).await? {
                return Ok(connected);
            }
            let path = socket.path();
            make_socket_dir(socket, &path)?;
            let mut args = session_args(own, &["-d"]);
            args.extend(options());
            Tmux::for_socket(&path).start(&args).await?;
        }
        match Server::connect(socket, own).await? {
            Some(connected) => Ok(connected),
            None => fail(Kind::Unreachable, "the tmux server ended as soon as it was started"),
        }
    }

    /// Our hidden session's id, `$0`.
    pub fn hidden_session(&self) -> String {
        self.hidden().session
    }

    /// Our own client, as tmux names it.
    pub fn own_client(&self) -> String {
        self.hidden().client
    }

    /// Leaves nothing of ours: people's clients are moved out, the hidden session is removed
    /// (unless another muxfs is attached to it too), and our client detaches and is waited for.
    pub async fn close(self) {
        let alone = match self.inside().await {
            Ok(inside) => {
                self.send_out(&inside.people).await;
                !inside.another
            }
            Err(e) => {
                tracing::debug!("who is in the hidden session: {e}");
                false
            }
        };
        if alone { self.remove().await } else { self.detach().await }
    }

    /// The hidden session is the last one and goes, whoever is in it: tmux ends then, and its
    /// clients with it, unless somebody is just connecting. Another muxfs would leave as well; if
    /// each waited for the other, the session would stay for ever.
    pub async fn leave(self) {
        self.remove().await;
    }

    async fn remove(self) {
        // With `detach-on-destroy off` the kill may move us instead of ending us, so hanging up
        // follows in any case. The reply may never come: the client ends with its session.
        drop(self.send(Command::new("kill-session").arg("-t").arg(self.hidden_session())));
        self.detach().await;
    }

    async fn detach(self) {
        if !self.hang_up().await {
            tracing::warn!("tmux's control client did not end within {LIMIT:?}");
        }
    }

    /// Whether the server lives on without any session (`exit-empty off`).
    pub async fn stays_when_empty(&self) -> Result<bool> {
        let value = self.run(Command::new("show-options").arg("-sv").arg("exit-empty")).await?;
        Ok(value.starts_with(b"off"))
    }

    /// Clients of people that tmux put into the hidden session (`detach-on-destroy off`,
    /// `switch-client -n`) go to the session used last, or are detached where there is none.
    pub async fn move_out(&self) -> Result<()> {
        let people = self.inside().await?.people;
        self.send_out(&people).await;
        Ok(())
    }

    async fn inside(&self) -> Result<Inside> {
        let Hidden { session, client } = self.hidden();
        let list =
            Command::new("list-clients").args(["-t", &session, "-F", "#{client_flags} #{client_name}"]);
        let clients = self.run(list).await?;
        Ok(Inside::of(&String::from_utf8_lossy(&clients), &client))
    }

    /// One that cannot be moved (it just left, most likely) does not keep the others in.
    async fn send_out(&self, people: &[String]) {
        for client in people {
            if let Err(e) = self.send_one_out(client).await {
                tracing::debug!("moving {client} out: {e}");
            }
        }
    }

    async fn send_one_out(&self, client: &str) -> Result<()> {
        let hidden = self.hidden_session();
        let list = Command::new("list-sessions")
            .arg("-F")
            .arg("#{session_last_attached} #{session_activity} #{session_id}");
        let sessions = self.run(list).await?;
        let best = String::from_utf8_lossy(&sessions)
            .lines()
            .filter_map(|l| {
                // `session_last_attached` is empty for a session that never was.
                let mut f = l.split(' ');
                let (attached, active) =
                    (f.next()?.parse::<u64>().unwrap_or(0), f.next()?.parse::<u64>().unwrap_or(0));
                Some((attached, active, f.next()?.to_owned()))
            })
            .filter(|(_, _, id)| *id != hidden)
            .max();
        self.run(match best {
            Some((_, _, id)) => Command::new("switch-client").arg("-c").arg(client).arg("-t").arg(id),
            None => Command::new("detach-client").arg("-t").arg(client),
        })
        .await
        .map(drop)
    }
}

/// Who is attached to the hidden session, apart from us.
#[derive(Debug, PartialEq, Eq)]
struct Inside {
    /// Names of clients that do not belong there.
    people: Vec<String>,
    /// Another muxfs.
    another: bool,
}

impl Inside {
    /// From lines of flags and name. A muxfs is known by its flags: a person's control client (a
    /// terminal that shows tmux's windows as its own) wants output.
    fn of(list: &str, own: &str) -> Inside {
        let mut inside = Inside { people: Vec::new(), another: false };
        for (flags, name) in list.lines().filter_map(|l| l.split_once(' ')).filter(|(_, name)| *name != own) {
            let has = |flag: &str| flags.split(',').any(|f| f == flag);
            if has("control-mode") && has("ignore-size") && has("no-output") {
                inside.another = true;
            } else {
                inside.people.push(name.to_owned());
            }
        }
        inside
    }
}

/// `new-session` for the hidden session. Name, size and command are the same each time.
fn session_args(own: &OwnProgram, how: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["new-session", "-s", NAME, "-c", "/", "-x", "80", "-y", "24"].map(Into::into).into();
    args.extend(how.iter().map(Into::into));
    args.push(os(own_command(own, own.sleep, &[])));
    args
}

/// In the line that makes the session, because a user's `destroy-unattached on` would end it
/// before a second line came, and `remain-on-exit on` would keep it for ever.
fn options() -> Vec<OsString> {
    let all = [
        &[";", "set-option", "-t", TARGET, "destroy-unattached", "off"][..],
        &[";", "set-option", "-w", "-t", TARGET, "remain-on-exit", "off"][..],
        &[";", "set-option", "-t", TARGET, clock::OPTION, clock::VALUE][..],
    ];
    all.concat().iter().map(Into::into).collect()
}

/// How an attach ended.
enum Attach {
    /// The session's id and name.
    Done(String, String),
    NoServer,
    Failed(String),
}

async fn attached(notices: &mut UnboundedReceiver<Notice>) -> Attach {
    let mut why = None;
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Attached { session, name } => return Attach::Done(session, name),
            Notice::Other(text) if text.starts_with("%error ") => why = Some(text),
            Notice::Exit { reason } => why = why.or(reason),
            _ => {}
        }
    }
    let why = why.unwrap_or_else(|| "ended without a word".into());
    // The socket of a server that died is still there.
    let none = why.starts_with("no server running")
        || why.contains("(No such file or directory)")
        || why.contains("(Connection refused)");
    if none { Attach::NoServer } else { Attach::Failed(why) }
}

/// The first line: who the server is, and what it calls our client.
async fn greet(shared: &Arc<Shared>, path: &Path, client: Option<u32>) -> Result<(ServerInfo, String)> {
    let ask = Command::new("display-message").args(["-p", "#{version} #{pid} #{start_time}"]);
    let clients = Command::new("list-clients").args(["-t", TARGET, "-F", "#{client_pid} #{client_name}"]);
    let bodies = shared.run(ask.then(clients)).await?;
    let text = bodies.iter().map(|b| String::from_utf8_lossy(b)).collect::<String>();
    let odd = || Error::new(Kind::Bug, format!("tmux described itself as {text:?}"));
    let mut lines = text.lines();
    let mut fields = lines.next().unwrap_or_default().split(' ');
    let mut field = || fields.next().ok_or_else(odd);
    let info = ServerInfo {
        version: field()?.to_owned(),
        pid: field()?.parse().map_err(|_| odd())?,
        start_time: field()?.parse().map_err(|_| odd())?,
        socket: path.to_owned(),
    };
    let own = format!("{} ", client.ok_or_else(odd)?);
    let name = lines.find_map(|l| l.strip_prefix(&own)).ok_or_else(odd)?;
    Ok((info, name.to_owned()))
}

/// Texts of a muxfs that was killed in the middle of a line are in the server still.
async fn forget_left(shared: &Shared) -> Result<()> {
    let list = shared.run(Command::new("show-environment").arg("-gh")).await?.concat();
    for names in variable::left(&String::from_utf8_lossy(&list)).chunks(AT_ONCE) {
        let forget = names.iter().map(|name| Command::forget(name)).fold(Line::NOTHING, Line::then);
        shared.run(forget).await?;
    }
    Ok(())
}

/// `-L` and the default live in `tmux-<uid>/`, which tmux makes itself, but not for `-S`.
fn make_socket_dir(socket: &Socket, path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if matches!(socket, Socket::Path(_)) {
        return Ok(());
    }
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("cannot make {}", dir.display()), e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_another_muxfs_are_told_apart() {
        let ours = "attached,control-mode,ignore-size,no-output client-1\n";
        let inside = |more: &str| Inside::of(&format!("{ours}{more}"), "client-1");
        let people = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(inside(""), Inside { people: vec![], another: false });
        let list = "attached,focused,UTF-8 /dev/pts/1\nattached,control-mode,UTF-8 /dev/pts/2\n";
        assert_eq!(inside(list), Inside { people: people(&["/dev/pts/1", "/dev/pts/2"]), another: false });
        let list = "attached,control-mode,ignore-size,no-output,UTF-8 client-2\n";
        assert_eq!(inside(list), Inside { people: vec![], another: true });
    }
}
