//! The one place where the command line hands over to the daemon's parts: mount, node and tmux.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::start::{MountJob, NodeJob};
use super::{paths::Paths, privileges, tables};
use muxfs_agent::catalogue::Catalogue;
use muxfs_fs::mount::{Device, MountOptions, guard, serve};
use muxfs_node::config::{NodeConfig, agents};
use muxfs_node::rows::{LocalNode, NODE_SERIAL, modes::NodeModes, root::Root, rows_node};
use muxfs_node::session::journal::Refusals;
use muxfs_node::session::{Dirs, Sessions, settings};
use muxfs_tmux::{OwnProgram, Socket, process};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::foreign::Links;
use muxfs_tree::base::later;
use muxfs_tree::nodes::Nodes;
use muxfs_tree::union::Union;

/// Threads that answer what takes longer than memory; the machine's other cores are the agents'.
const WORKERS: usize = 2;
/// What is left running when the daemon ends gets this long.
const GRACE: Duration = Duration::from_millis(500);

/// Mounts, serves, and returns when the mount is gone or a signal ended it.
pub fn mount(job: MountJob) -> Result<()> {
    let options = MountOptions {
        source: job.source,
        allow_other: job.options.allow_other,
        ro: job.options.read_only,
        uid: job.uid,
        gid: job.gid,
        umask: job.options.umask.unwrap_or(0),
        nosuid: job.options.nosuid,
        nodev: job.options.nodev,
        noexec: job.options.noexec,
        noatime: job.options.noatime,
        ..MountOptions::new(&job.dir)
    };
    // mount(2) while still root; nothing of tmux before the user is the right one.
    let guard = privileges::as_user(&job.user, || guard(&job.paths.runtime, &job.dir))?;
    let device = Device::open(&options, Some((job.user.uid, job.user.gid)), guard)?;
    if job.become_user {
        privileges::become_user(&job.user)?;
    }
    let (dir, paths, ready) = (job.dir, job.paths, job.ready);
    run(async move {
        let node = start_node(&paths).await?;
        node.sessions.callers.avoid(dir.clone());
        // Listened for before the mount answers: a signal from then on unmounts.
        let told_to_end = until_asked_to_end()?;
        let mounted = serve(device, node.root.clone(), tokio::runtime::Handle::current())?;
        tracing::info!("mounted on {}", dir.display());
        if let Err(e) = ready.ok() {
            mounted.unmount().await?;
            return Err(e);
        }
        tokio::select! {
            () = mounted.wait() => {}
            () = told_to_end => mounted.unmount().await?,
        }
        node.close().await;
        Ok(())
    })
}

/// Runs the node, says so, and returns when a signal ended it.
pub fn node(job: NodeJob) -> Result<()> {
    let (paths, ready) = (job.paths, job.ready);
    run(async move {
        let node = start_node(&paths).await?;
        let told_to_end = until_asked_to_end()?;
        ready.ok()?;
        told_to_end.await;
        node.close().await;
        Ok(())
    })
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    process::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("muxfs")
        .enable_all()
        .build()
        .map_err(|e| Error::io("starting threads", e))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(GRACE);
    done
}

struct Node {
    root: Arc<Union>,
    sessions: Arc<Sessions>,
    errors: Refusals,
}

impl Node {
    async fn close(&self) {
        self.sessions.close().await;
        let errors = self.errors.clone();
        let _ = later::on_disk(move || errors.end()).await; // the process ends anyway
    }
}

async fn start_node(paths: &Paths) -> Result<Node> {
    let own = std::env::current_exe().map_err(|e| Error::io("finding the program's own file", e))?;
    let dirs =
        Dirs { state: paths.state.clone(), runtime: paths.runtime.clone(), config: paths.config.clone() };
    let sessions = Sessions::start(dirs, OwnProgram::new(own), NODE_SERIAL + 1, rows_node::reserved).await?;
    sessions.settings.prepare();
    let (modes, wrong) = NodeModes::load(paths.state.join("modes.json"));
    if let Some(e) = wrong {
        sessions.journal.trouble("modes", e.text());
    }
    let modes = Arc::new(modes);
    let name = sessions.settings.config().name.clone();
    let nodes = Nodes::new();
    let errors = sessions.journal.refusals_in(&paths.state.join("root"), "errors");
    let front =
        Root::new(&name, tables::help(), modes.clone(), nodes.clone(), errors.clone(), sessions.clone());
    nodes.add(&name, LocalNode::new(sessions.clone(), modes))?;
    let root = Union::new(front, nodes);
    Ok(Node { root, sessions, errors })
}

/// SIGTERM, SIGINT or SIGHUP, from this call on.
fn until_asked_to_end() -> Result<impl Future<Output = ()>> {
    let on = |kind| signal(kind).map_err(|e| Error::io("waiting for signals", e));
    let mut signals = [on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?];
    Ok(async move {
        let [term, int, hup] = &mut signals;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
        }
    })
}

/// Runs tmux with `args` against the server muxfs would use, for `doctor`. Starts no server.
pub fn ask_tmux(args: &[&str]) -> std::io::Result<Output> {
    let socket = Socket::parse(&own_config().map(|c| c.socket).unwrap_or_default());
    super::facts::run_limited(&mut process::plain(&socket, args), Duration::from_secs(5))
}

fn own_config() -> Option<NodeConfig> {
    let text = disk::read(&Paths::own().config, Links::Follow).ok()?.unwrap_or_default();
    parse(&text).ok()
}

/// What is wrong with the text of the config file, for `doctor`.
pub fn check_config(text: &str) -> Result<()> {
    parse(text)?;
    let catalogue = Catalogue::load(&Paths::own().agents());
    let known: Vec<&str> = catalogue.all().map(|(key, _)| key).collect();
    match agents::check(text, &known) {
        Ok(()) => Ok(()),
        Err(fault) => fail(Kind::Invalid, fault.to_string()),
    }
}

fn parse(text: &str) -> Result<NodeConfig> {
    match NodeConfig::parse(text, &|k| std::env::var(k).ok(), &settings::hostname()) {
        Ok(config) => Ok(config),
        Err(fault) => fail(Kind::Invalid, fault.to_string()),
    }
}
