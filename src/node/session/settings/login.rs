//! The environment of the user's login shell, kept for what is started here: asked once, and again
//! where a program is not found in its PATH.
//!
//! Must not know what a session is for.

use std::sync::Arc;
use std::time::Duration;

use super::super::Journal;
use super::super::env::{self, Env};
use super::super::program;
use super::Settings;
use crate::config::SessionConfig;
use muxfs_agent::installed;

/// The directories of PATH get this long to say whether a program is there.
const LOOKED: Duration = Duration::from_secs(2);

/// What the login shell said last.
pub(in super::super) struct Login {
    journal: Arc<Journal>,
    kept: tokio::sync::Mutex<Option<Arc<Env>>>,
}

impl Login {
    /// `known` was asked before.
    pub fn new(journal: Arc<Journal>, known: Option<Arc<Env>>) -> Self {
        Login { journal, kept: tokio::sync::Mutex::new(known) }
    }

    /// Asked once.
    async fn env(&self) -> Arc<Env> {
        let mut kept = self.kept.lock().await;
        if let Some(env) = &*kept {
            return env.clone();
        }
        let env = match env::ask(&env::login_shell()).await {
            Ok(env) => env,
            Err(e) => {
                self.journal.trouble("environment", &format!("{e}; the daemon's own is used"));
                env::own()
            }
        };
        let env = Arc::new(env);
        *kept = Some(env.clone());
        env
    }

    /// Asked once more, unless another did that since `known`.
    async fn env_after(&self, known: Arc<Env>) -> Arc<Env> {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &known))
            && let Ok(env) = env::ask(&env::login_shell()).await
        {
            *kept = Some(Arc::new(env));
        }
        kept.clone().unwrap_or(known)
    }
}

impl Settings {
    /// Asks the login shell before anyone waits for it: a `mkdir` is held up less.
    pub fn prepare(self: &Arc<Self>) {
        let settings = self.clone();
        tokio::spawn(async move {
            let login = settings.login_env().await;
            let (theirs, own) = (login.get("TMUX_TMPDIR").cloned(), std::env::var("TMUX_TMPDIR").ok());
            if theirs != own && settings.config().socket.is_empty() {
                let why = format!(
                    "the login shell has TMUX_TMPDIR={}, this node {}: sessions of a tmux there are not shown; \
                    tmux.socket in config says which server",
                    theirs.as_deref().unwrap_or("(unset)"),
                    own.as_deref().unwrap_or("none"),
                );
                settings.journal.trouble("tmux", &why);
            }
        });
    }

    /// The next question asks it anew.
    pub(in super::super) async fn forget_login(&self) {
        *self.login.kept.lock().await = None;
    }

    /// The login shell's environment, asked once.
    pub async fn login_env(&self) -> Arc<Env> {
        self.login.env().await
    }

    /// The login shell's environment, asked once more where its PATH lacks what `config` runs: an
    /// installer may have put a directory into it since.
    pub(in super::super) async fn login_env_for(&self, config: &SessionConfig) -> Arc<Env> {
        let known = self.login.env().await;
        let (node, catalogue) = (self.config(), self.catalogue());
        let Some(program) = program::word(config, &node, &catalogue) else { return known };
        let path = program::env(config, &node, &known, None).remove("PATH").unwrap_or_default();
        let look = tokio::task::spawn_blocking(move || installed::find(&program, &path).is_some());
        // A directory of PATH that does not answer says nothing of the program.
        let found = tokio::time::timeout(LOOKED, look).await.is_ok_and(|found| found.unwrap_or(true));
        if found { known } else { self.login.env_after(known).await }
    }
}
