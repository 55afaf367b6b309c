//! Who asks: user, groups, origin. TREE.md, "Who". Pure; resolves no names.

use super::shape::Stat;

/// Who an operation is done for.
#[derive(Debug, Clone)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    pub groups: Groups,
    /// The calling process on this machine, where the door knows it: its working directory is
    /// that of a session it makes.
    pub pid: Option<u32>,
    /// The node the caller sits on; `None`: this one.
    pub node: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// The kernel compared the permission bits already (`default_permissions`): it alone knows a
    /// FUSE caller's supplementary groups.
    CheckedByKernel,
    Known(Vec<u32>),
}

/// What a caller wants of a file, as permission bits have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Both,
}

impl Access {
    pub fn writes(self) -> bool {
        self != Access::Read
    }

    pub fn reads(self) -> bool {
        self != Access::Write
    }

    fn bits(self) -> u32 {
        match self {
            Access::Read => 4,
            Access::Write => 2,
            Access::Both => 6,
        }
    }
}

impl Caller {
    /// A caller of this process's own user, for commands and tests.
    pub fn own() -> Self {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        Caller { uid, gid, groups: Groups::Known(vec![gid]), pid: Some(std::process::id()), node: None }
    }

    /// Whether the permission bits of `stat` let this caller do `access`. The owner is held to
    /// the owner's bits alone, as by the kernel; root gets no exception of its own here.
    pub fn may(&self, stat: &Stat, access: Access) -> bool {
        let Groups::Known(groups) = &self.groups else { return true };
        let shift = if self.uid == stat.uid {
            6
        } else if self.gid == stat.gid || groups.contains(&stat.gid) {
            3
        } else {
            0
        };
        let need = access.bits();
        (stat.mode >> shift) & need == need
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Accepts, Shape};
    use std::time::SystemTime;

    fn stat(mode: u32) -> Stat {
        let shape = Shape::Dir(Accepts::Nothing);
        Stat { shape, id: 1, mode, uid: 10, gid: 20, size: 0, mtime: SystemTime::UNIX_EPOCH }
    }

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller { uid, gid: 99, groups: Groups::Known(groups.to_vec()), pid: None, node: None }
    }

    #[test]
    fn bits_decide_by_owner_then_group_then_others() {
        assert!(caller(10, &[]).may(&stat(0o600), Access::Both));
        assert!(!caller(10, &[20]).may(&stat(0o060), Access::Read), "the owner has the owner's bits only");
        assert!(caller(11, &[20]).may(&stat(0o040), Access::Read));
        assert!(!caller(11, &[20]).may(&stat(0o040), Access::Write));
        assert!(caller(11, &[]).may(&stat(0o002), Access::Write));
        assert!(!caller(0, &[]).may(&stat(0o600), Access::Read));
    }
}
