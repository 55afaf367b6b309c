//! The files by which agents report through their hooks.
//!
//! `<state>/hooks/ID` is the file a session's hooks append to, `ID.settings` what the agent reads.
//! Must not know what is reported.

use std::path::{Path, PathBuf};

use muxfs_agent::hooks;
use muxfs_agent::manifest::Manifest;
use muxfs_tree::base::disk;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::foreign::Links;

pub(in super::super) struct HookFiles {
    dir: PathBuf,
    /// The program that an agent is given to run.
    own: PathBuf,
}

impl HookFiles {
    pub fn new(dir: PathBuf, own: PathBuf) -> Self {
        HookFiles { dir, own }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that hooks of session `id` append to.
    pub fn of(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Lays out what the agent of session `id` is started with; its arguments and environment.
    pub fn inject(&self, manifest: &Manifest, id: &str) -> Result<hooks::Injection> {
        let (said, settings) = (self.of(id), self.dir.join(format!("{id}.settings")));
        let injection = hooks::injection(manifest, &self.own, &said, &settings);
        if injection == hooks::Injection::default() {
            return Ok(injection);
        }
        disk::make_dir(&self.dir)?;
        disk::replace(&said, b"", Links::Refuse)?;
        for (path, text) in &injection.files {
            disk::replace(path, text.as_bytes(), Links::Refuse)?;
        }
        Ok(injection)
    }

    /// A session is forgotten.
    pub fn forget(&self, id: &str) {
        for name in [id.to_owned(), format!("{id}.settings")] {
            let _ = std::fs::remove_file(self.dir.join(name)); // most have none
        }
    }
}
