//! The program: two roles inside tmux first, then the command line. Knows nothing else.

use std::process::ExitCode;

use muxfs::tmux::{OwnProgram, helper};

fn main() -> ExitCode {
    if let Some(code) = inside_tmux() {
        return code;
    }
    muxfs::cli::start_tracing();
    muxfs::cli::main(std::env::args_os().collect())
}

/// What tmux runs of us (helper.rs). Matched by hand and before all else, because it runs once a
/// pane and must cost next to nothing.
fn inside_tmux() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        OwnProgram::SLEEP => helper::internal_sleep(),
        OwnProgram::PIPE => {
            let (sock, token) = (args.next()?, args.next()?);
            let sent = helper::internal_pipe(sock.as_ref(), token.to_str()?);
            Some(if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => None,
    }
}
