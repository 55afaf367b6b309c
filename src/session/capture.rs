//! What a pane shows: one question to tmux each, no cache.

use super::{Pane, Sessions};
use crate::error::{Kind, Result, fail};
use crate::tmux::{self, Capture};

impl Sessions {
    pub async fn capture(&self, pane: &Pane, what: Capture) -> Result<Vec<u8>> {
        if pane.is_gone() {
            return fail(Kind::Gone, format!("pane {} is gone", pane.id));
        }
        let server = self.server()?;
        tmux::capture(&server, &pane.id, what).await
    }
}
