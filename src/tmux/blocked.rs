//! Frees a control client whose commands are held up by a hook of the user's.
//!
//! Knows why a client waits while its server goes on; must not know what its lines mean.
//!
//! A hook runs in the queue of the client whose command set it off. Where it opens a popup, a menu
//! or a prompt, tmux shows that to our client, which has no terminal and nobody at it: every
//! further line would wait for ever. A popup or menu is taken away, by another client, and the
//! line goes on. What cannot be taken away (a prompt, `wait-for`) costs us the client: it is ended
//! when the line's time is over, and another one follows.

use super::client::{SLOW, Shared};
use super::process::Tmux;
use std::sync::Arc;
use std::time::Instant;

/// Looks into lines without an answer, for as long as the client lives.
pub(super) async fn watch(shared: Arc<Shared>, tmux: Tmux, client: String) {
    while shared.is_up() {
        shared.slow.notified().await;
        let Some((line, until)) = shared.oldest() else { continue };
        let waits = || shared.is_up() && shared.oldest().is_some_and(|(oldest, _)| oldest == line);
        while waits() {
            // The server serves its clients in turn. Where it answers one that came later, it is
            // not the server that our line waits for.
            tmux.uncover(&client).await;
            tokio::time::sleep(SLOW / 4).await;
            if !waits() {
                break;
            }
            // Once more after its time: a server that was stopped has come to our pipe by now.
            if Instant::now() > until + 2 * SLOW {
                tracing::warn!("a hook of tmux holds up our client, which is given up");
                return shared.unplug();
            }
            tokio::time::sleep(SLOW).await;
        }
    }
}
