//! Who asks, in two parts: what may cross a wire ([`Identity`]: user, origin, working directory), and what
//! holds on this machine alone ([`Here`]: the calling process, and that the kernel has compared the
//! permission bits). docs/tree.md, "Who".
//!
//! Pure: resolves no names. Must not know how a door learned who asks.

use serde::{Deserialize, Serialize};

use super::shape::Stat;

/// Who an operation is done for.
#[derive(Debug, Clone)]
pub struct Caller {
    pub identity: Identity,
    /// `None` for whoever comes from a wire.
    pub here: Option<Here>,
}

/// What a caller is everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user: User,
    #[serde(default)]
    pub origin: Origin,
    /// The caller's working directory, sent only to a node on the same machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// Whose rights a caller has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// A user of this machine, with the groups that are known.
    Local { uid: u32, gid: u32, groups: Vec<u32> },
    /// A user that a door knows by name, and what they may do at most.
    Named { name: String, scope: Scope },
}

/// What a named user may do at most, each with what those before it may. docs/tree.md, "Who".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Read,
    Prompt,
    Write,
    Admin,
}

/// Where an operation comes from, by name. What is `None` is this node, or not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session whose pane the calling process sits in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What is known of a caller on this machine. It has no place on a wire, where it would be a claim that
/// nobody checked: it cannot be serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// The calling thread, where the door knows it.
    pub pid: Option<u32>,
    /// The kernel compared the permission bits already (`default_permissions`): it alone knows a FUSE
    /// caller's supplementary groups.
    pub checked: bool,
}

/// A uid that no user has, and `-1` in chown(2): of callers who are no users of this machine.
const NOBODY: u32 = u32::MAX;

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

/// As it came from a wire.
impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        Caller { identity, here: None }
    }
}

impl Caller {
    /// A user of this machine.
    pub fn local(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        let user = User::Local { uid, gid, groups };
        Identity { user, origin: Origin::default(), cwd: None }.into()
    }

    /// The thread `pid` of a user, let through by the kernel.
    pub fn of_kernel(uid: u32, gid: u32, pid: Option<u32>) -> Self {
        Caller { here: Some(Here { pid, checked: true }), ..Caller::local(uid, gid, Vec::new()) }
    }

    /// A caller of this process's own user, for commands and tests.
    pub fn own() -> Self {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let here = Here { pid: Some(std::process::id()), checked: false };
        Caller { here: Some(here), ..Caller::local(uid, gid, vec![gid]) }
    }

    /// Whose gestures are one caller's: the user that was let in, whatever it says of itself.
    pub fn key(&self) -> String {
        match &self.identity.user {
            User::Local { uid, .. } => format!("uid:{uid}"),
            User::Named { name, .. } => format!("name:{name}"),
        }
    }

    /// A number that no local user has stands for a named one.
    pub fn uid(&self) -> u32 {
        self.local_uid().unwrap_or(NOBODY)
    }

    pub fn local_uid(&self) -> Option<u32> {
        match self.identity.user {
            User::Local { uid, .. } => Some(uid),
            User::Named { .. } => None,
        }
    }

    pub fn gid(&self) -> u32 {
        match self.identity.user {
            User::Local { gid, .. } => gid,
            User::Named { .. } => NOBODY,
        }
    }

    /// The calling thread on this machine.
    pub fn pid(&self) -> Option<u32> {
        self.here.and_then(|here| here.pid).filter(|pid| *pid != 0)
    }

    pub fn origin(&self) -> &Origin {
        &self.identity.origin
    }

    /// Whether the permission bits of `stat` let this caller do `access`. The owner is held to
    /// the owner's bits alone, as by the kernel; root gets no exception of its own here. A named user
    /// is the owner where their scope is `admin`, and one of the others elsewhere.
    pub fn may(&self, stat: &Stat, access: Access) -> bool {
        if self.here.is_some_and(|here| here.checked) {
            return true;
        }
        let shift = match &self.identity.user {
            User::Local { uid, .. } if *uid == stat.uid => 6,
            User::Local { gid, groups, .. } if *gid == stat.gid || groups.contains(&stat.gid) => 3,
            User::Named { scope: Scope::Admin, .. } => 6,
            _ => 0,
        };
        let need = access.bits();
        (stat.mode >> shift) & need == need
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accepts, Shape};
    use std::time::SystemTime;

    fn stat(mode: u32) -> Stat {
        let shape = Shape::Dir(Accepts::Nothing);
        Stat { shape, id: 1, mode, uid: 10, gid: 20, size: 0, mtime: SystemTime::UNIX_EPOCH }
    }

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller::local(uid, 99, groups.to_vec())
    }

    fn named(scope: Scope) -> Caller {
        let user = User::Named { name: "ann".into(), scope };
        Identity { user, origin: Origin::default(), cwd: None }.into()
    }

    #[test]
    fn bits_decide_by_owner_then_group_then_others() {
        assert!(caller(10, &[]).may(&stat(0o600), Access::Both));
        assert!(!caller(10, &[20]).may(&stat(0o060), Access::Read), "the owner has the owner's bits only");
        assert!(caller(11, &[20]).may(&stat(0o040), Access::Read));
        assert!(!caller(11, &[20]).may(&stat(0o040), Access::Write));
        assert!(caller(11, &[]).may(&stat(0o002), Access::Write));
        assert!(!caller(0, &[]).may(&stat(0o600), Access::Read));
        assert!(named(Scope::Admin).may(&stat(0o600), Access::Both));
        assert!(!named(Scope::Write).may(&stat(0o660), Access::Read));
        assert!(Scope::Read < Scope::Prompt && Scope::Write < Scope::Admin);
    }

    /// What the kernel has checked stays where it was checked.
    #[test]
    fn who_crosses_a_wire_is_judged_by_the_groups_that_are_known() {
        let mut here = Caller::of_kernel(11, 99, Some(7));
        here.identity.cwd = Some("/src".into());
        here.identity.origin.session = Some("api".into());
        assert!(here.may(&stat(0o000), Access::Both));
        let wire = serde_json::to_string(&here.identity).unwrap();
        assert!(!wire.contains('7') && !wire.contains("checked"), "{wire}");
        let there = Caller::from(serde_json::from_str::<Identity>(&wire).unwrap());
        assert_eq!(there.identity, here.identity);
        assert_eq!((there.here, there.pid()), (None, None));
        assert!(!there.may(&stat(0o066 & 0o660), Access::Read));
        // Who claims more is not heard.
        let claim = wire.replacen('{', r#"{"here":{"pid":1,"checked":true},"checked":true,"#, 1);
        let there = Caller::from(serde_json::from_str::<Identity>(&claim).unwrap());
        assert!(there.here.is_none() && !there.may(&stat(0o600), Access::Read));
    }

    /// Does not compile once one of them can be serialized: then two implementations fit.
    #[test]
    fn what_holds_here_has_no_form_on_a_wire() {
        trait OnAWire<Which> {
            fn is_not() {}
        }
        struct Serializable;
        struct Deserializable;
        impl<T> OnAWire<()> for T {}
        impl<T: Serialize> OnAWire<Serializable> for T {}
        impl<T: serde::de::DeserializeOwned> OnAWire<Deserializable> for T {}
        <Here as OnAWire<_>>::is_not();
        <Caller as OnAWire<_>>::is_not();
    }
}
