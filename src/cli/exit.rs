//! Exit codes: the one place that turns an error's kind into a number for a shell or for mount(8).

use muxfs_tree::base::error::Kind;

/// The exit status of `muxfs` itself. 1 is left to `doctor` and to what has no better number.
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid | Kind::NotUtf8 => 2,
        Kind::NotFound | Kind::Gone | Kind::Stale | Kind::Unreachable | Kind::Unknown => 3,
        Kind::Denied | Kind::Never | Kind::ReadOnly => 4,
        Kind::Busy | Kind::Exists | Kind::NotEmpty => 5,
        Kind::TooLarge | Kind::Full | Kind::NoSpace => 6,
        Kind::NotDir | Kind::IsDir => 1,
        Kind::Bug => 70,          // EX_SOFTWARE of sysexits(3)
        Kind::TimedOut => 124,    // as timeout(1)
        Kind::Interrupted => 130, // as a shell reports SIGINT
    }
}

/// The exit status of `mount.fuse.muxfs`: mount(8), "EXIT STATUS".
pub fn code_for_mount8(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid | Kind::NotUtf8 | Kind::Denied | Kind::Never => 1, // invocation or permissions
        Kind::NoSpace | Kind::Full => 2,                                 // system error
        Kind::Bug => 4,
        Kind::Interrupted => 8,
        Kind::NotFound
        | Kind::Gone
        | Kind::Stale
        | Kind::Unreachable
        | Kind::Unknown
        | Kind::TimedOut
        | Kind::Busy
        | Kind::TooLarge
        | Kind::Exists
        | Kind::NotDir
        | Kind::IsDir
        | Kind::NotEmpty
        | Kind::ReadOnly => 32, // mount failure
    }
}

/// Of `session wait` and `session ask`: the agent asks for an approval or an answer.
pub const BLOCKED: u8 = 10;
/// It cannot work now.
pub const LIMITED: u8 = 11;
/// Its program exited, was stopped, or its session is gone.
pub const OVER: u8 = 12;

/// What [`code`] gives and what the state of a session is, for the manual page.
pub const TABLE: &[(u8, &str)] = &[
    (0, "Done; of wait and ask: the session is ready, or nothing is known of its state."),
    (1, "Something is wrong; of doctor: at least one check is bad."),
    (2, "The command line, an option or a text could not be understood."),
    (3, "Not there: no such session or directory, no mount, no node runs."),
    (4, "Not allowed."),
    (5, "Not now: busy, or another node of this user runs."),
    (6, "A bound was met: a full disk, too many of something."),
    (BLOCKED, "Of wait and ask: the agent is blocked, it asks for an approval or an answer."),
    (LIMITED, "Of wait and ask: the agent is limited, it cannot work now."),
    (OVER, "Of wait and ask: the program exited or was stopped, or the session ended."),
    (70, "A fault of muxfs."),
    (124, "A time limit passed; of ask: the turn timed out."),
    (130, "Interrupted by Ctrl-C; other signals give 128 and their number."),
];
