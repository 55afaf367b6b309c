//! Runs hooks as Claude Code does: commands from a settings file, the event as JSON on their
//! standard input. Knows nothing of what they do.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

#[derive(Debug, Default)]
pub struct Hooks(BTreeMap<String, Vec<String>>);

impl Hooks {
    /// From `{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "…"}]}]}}`.
    pub fn load(file: Option<&Path>) -> std::io::Result<Self> {
        let Some(file) = file else { return Ok(Hooks::default()) };
        let settings: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let mut all = BTreeMap::new();
        for (event, groups) in settings["hooks"].as_object().into_iter().flatten() {
            let groups = groups.as_array().into_iter().flatten();
            let hooks = groups.flat_map(|g| g["hooks"].as_array().into_iter().flatten());
            let commands = hooks.filter_map(|h| h["command"].as_str().map(str::to_owned));
            all.insert(event.clone(), commands.collect());
        }
        Ok(Hooks(all))
    }

    /// One after the other, and waited for.
    pub fn run(&self, event: &str, payload: &Value) {
        for command in self.0.get(event).into_iter().flatten() {
            let made = Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = made else { continue };
            if let Some(mut input) = child.stdin.take() {
                let _ = writeln!(input, "{payload}"); // it may not want to read
            }
            let _ = child.wait();
        }
    }
}
