//! Users and groups of this machine, as its name service knows them.
//!
//! The name service may be a network away (LDAP, sssd), so a look-up may take as long as it likes. A
//! node serves requests with what it knows already, or asks on a thread of its own, with a limit.
//!
//! Knows the user database alone. Must not know who asks, nor what a user may.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use parking_lot::Mutex;

use crate::base::offload::Offload;

/// For a user's name in a line of a log.
const LIMIT: Duration = Duration::from_secs(2);

/// Names that are kept. More users than that share no node.
const KEPT: usize = 1000;

static NAMES: Offload = Offload::new("names", 4);

static KNOWN: Mutex<Option<HashMap<u32, String>>> = Mutex::new(None);

/// The user this process acts for. Asked once, by a node before it serves anything.
pub fn own() -> Option<&'static User> {
    static OWN: OnceLock<Option<User>> = OnceLock::new();
    OWN.get_or_init(|| {
        let user = by_uid(Uid::effective()).ok().flatten();
        user.inspect(|user| keep(user.uid.as_raw(), &user.name))
    })
    .as_ref()
}

/// The name of a user who is known already, from memory.
pub fn known(uid: u32) -> Option<String> {
    KNOWN.lock().as_ref()?.get(&uid).cloned()
}

/// The name of a user, or the number where there is none, or none within 2 s.
pub async fn name(uid: u32) -> String {
    if let Some(name) = known(uid) {
        return name;
    }
    let asked = NAMES.ask(uid, LIMIT, move || by_uid(Uid::from_raw(uid)).ok()).await.flatten();
    let Some(found) = asked else { return uid.to_string() };
    let name = found.map_or_else(|| uid.to_string(), |user| user.name);
    keep(uid, &name);
    name
}

fn keep(uid: u32, name: &str) {
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    if known.len() < KEPT {
        known.insert(uid, name.to_owned());
    }
}

/// Waits for the name service: not while requests are served.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the name service")]
pub fn by_uid(uid: Uid) -> nix::Result<Option<User>> {
    User::from_uid(uid)
}

/// Waits for the name service: not while requests are served.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the name service")]
pub fn by_name(name: &str) -> nix::Result<Option<User>> {
    User::from_name(name)
}

/// The number of a group. Waits for the name service: not while requests are served.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the name service")]
pub fn group(name: &str) -> nix::Result<Option<Gid>> {
    Group::from_name(name).map(|group| group.map(|g| g.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_asked_once_and_a_number_stands_for_none() {
        assert_eq!(name(0).await, "root");
        assert_eq!(known(0).as_deref(), Some("root"));
        assert_eq!(name(4_000_000_000).await, "4000000000");
        assert_eq!(own().map(|user| user.uid), Some(Uid::effective()));
    }
}
