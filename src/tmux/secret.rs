//! Text that nobody can guess: tokens of pipes, marks between replies, separators of fields.
//!
//! Knows the kernel's random source and nothing of the uses.

use crate::error::{Error, Result};
use std::io::Read;

/// Length of a secret: 128 bits in hex.
pub(super) const SECRET: usize = 32;

pub(super) fn secret() -> Result<String> {
    let mut bytes = [0; SECRET / 2];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Error::io("/dev/urandom", e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
