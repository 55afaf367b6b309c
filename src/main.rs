//! The program: first the roles in which others run it, then the command line. Knows nothing else.

use std::process::ExitCode;

use muxfs_agent::hooks;
use muxfs_tmux::{OwnProgram, helper};

fn main() -> ExitCode {
    if let Some(code) = run_by_others() {
        return code;
    }
    muxfs_cli::start_tracing();
    muxfs_cli::main(std::env::args_os().collect())
}

/// What tmux (helper.rs) and agents (hook.rs) run of us. Matched by hand and before all else,
/// because it runs once a pane or several times a turn and must cost next to nothing.
fn run_by_others() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        OwnProgram::SLEEP => helper::internal_sleep(),
        OwnProgram::PIPE => {
            let (sock, token) = (args.next()?, args.next()?);
            let sent = helper::internal_pipe(sock.as_ref(), token.to_str()?);
            Some(if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        OwnProgram::ENV => {
            let (path, token) = (args.next()?, args.next()?);
            let why = helper::internal_env(path.as_ref(), token.to_str()?, args);
            eprintln!("muxfs: the program cannot be started with its environment: {why}");
            Some(ExitCode::from(126))
        }
        hooks::VERB => {
            muxfs_cli::hook::run(args);
            Some(ExitCode::SUCCESS)
        }
        _ => None,
    }
}
