//! The program: hands its arguments to the command line. Knows nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The engine's own re-executions (`internal-…`) come before anything else looks at arguments.
    muxfs::cli::start_tracing();
    muxfs::cli::main(std::env::args_os().collect())
}
