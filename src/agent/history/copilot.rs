//! GitHub Copilot CLI: `~/.copilot/session-state/<id>/{workspace.yaml,events.jsonl}`, as 1.0.102
//! writes them.
//!
//! Knows its events, and the few keys of the YAML file that are plain `key: value`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cwd::Cwd;
use super::files;
use super::jsonl::{self, Facts, Rows};
use super::text::{one_line, shortened, time, tool_call};
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who, plain};
use muxfs_tree::base::error::Result;

pub struct Copilot;

const EVENTS: &str = "events.jsonl";

fn root(home: &Home) -> PathBuf {
    home.dir("COPILOT_HOME", ".copilot").join("session-state")
}

impl Adapter for Copilot {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let cwd = cwd.map(Cwd::new);
        let mut listing = Listing::default();
        let root = root(home);
        let names = files::names(&root, &mut listing.trouble).into_iter().take(files::LOOKED);
        let seen = names.filter_map(|n| files::seen(root.join(n).join(EVENTS))).collect();
        jsonl::list(self, seen, &cwd, &mut listing, &mut |file, facts| workspace(&file.path, facts));
        jsonl::finish(listing)
    }

    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        let cwd = cwd.map(Cwd::new);
        let file = files::seen(root(home).join(Some(id).filter(|id| plain(id))?).join(EVENTS))?;
        let mut listing = Listing::default();
        jsonl::list(self, vec![file], &cwd, &mut listing, &mut |file, facts| workspace(&file.path, facts));
        listing.found.pop()
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        jsonl::since(self, &c.place, mark)
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        jsonl::end(&c.place)
    }
}

/// The name is there alone; the events say the directory, and the file's own directory the id.
fn workspace(events: &Path, facts: &mut Facts) {
    let Some(dir) = events.parent() else { return };
    facts.id = dir.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let Some(yaml) = files::small(&dir.join("workspace.yaml"), 64 << 10) else { return };
    facts.cwd = facts.cwd.take().or_else(|| value(&yaml, "cwd"));
    facts.title = value(&yaml, "name").map(|n| one_line(&n)).or(facts.title.take());
}

/// A top-level `key: value` of YAML. A value with more to it than quotes is not understood.
fn value(yaml: &str, key: &str) -> Option<String> {
    let line = yaml.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    let line = line.trim();
    match line.as_bytes().first()? {
        b'|' | b'>' | b'&' | b'*' | b'!' | b'{' | b'[' => None,
        b'"' => serde_json::from_str(line).ok(),
        b'\'' => Some(line.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'")),
        _ => Some(line.to_owned()).filter(|v| !matches!(v.as_str(), "null" | "~")),
    }
}

impl Rows for Copilot {
    fn agent(&self) -> &'static str {
        "copilot"
    }

    fn facts(&self, row: &Value, facts: &mut Facts) {
        facts.time(time(row.get("timestamp")));
        if row["type"] == "session.start" {
            facts.id(row["data"].get("sessionId"));
            facts.cwd(row["data"]["context"].get("cwd"));
        }
    }

    fn said(&self, row: &Value, out: &mut Vec<Entry>) {
        let (data, when) = (&row["data"], time(row.get("timestamp")));
        // A sub-agent's.
        if row["agentId"].is_string() || data["parentToolCallId"].is_string() {
            return;
        }
        let text = data["content"].as_str().unwrap_or_default();
        match row["type"].as_str() {
            Some("user.message") => {
                let who = if typed(data) { Who::User } else { Who::Note };
                out.extend(Entry::new(who, &whole(text), when));
            }
            Some("assistant.message") => {
                out.extend(Entry::new(Who::Agent, text, when));
                for call in data["toolRequests"].as_array().into_iter().flatten() {
                    let call = tool_call(call["name"].as_str().unwrap_or("tool"), call.get("arguments"));
                    out.extend(Entry::new(Who::Tool, &call, when));
                }
            }
            Some("tool.execution_complete") => {
                let text = data["result"]["content"].as_str().or(data["error"]["message"].as_str());
                out.extend(Entry::new(Who::Tool, &shortened(text.unwrap_or_default()), when));
            }
            Some("abort") => out.extend(Entry::new(Who::Interrupt, "the turn was stopped", when)),
            Some("session.error") => {
                out.extend(Entry::new(Who::Fault, data["message"].as_str().unwrap_or_default(), when));
            }
            _ => {}
        }
    }
}

/// Most bytes of a paste that is read.
const MOST_PASTED: u64 = 1 << 20;

/// A large paste is in a file beside the events; in the prompt stands `<pasted_content file="…" … />`.
/// Of a path elsewhere, which anybody may have written there, nothing is read.
fn whole(text: &str) -> String {
    let pasted = || {
        let (before, rest) = text.split_once("<pasted_content file=\"")?;
        let (path, rest) = rest.split_once('"')?;
        let (_, after) = rest.split_once("/>")?;
        let path = Path::new(path);
        let name = |up: usize| path.ancestors().nth(up)?.file_name()?.to_str();
        let own = name(0)?.starts_with("paste-") && name(1)? == "files" && name(3)? == "session-state";
        let content = own.then(|| files::small(path, MOST_PASTED))??;
        Some(format!("{before}{content}{after}"))
    };
    pasted().unwrap_or_else(|| text.to_owned())
}

/// Skills, other agents and its autopilot write prompts too.
fn typed(data: &Value) -> bool {
    let source = data["source"].as_str().unwrap_or_default();
    !source.starts_with("skill-") && !source.starts_with("agent-") && data["isAutopilotContinuation"] != true
}

#[cfg(test)]
mod tests {
    use super::{value, whole};

    #[test]
    fn a_large_paste_is_read_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("session-state/id/files");
        std::fs::create_dir_all(&files).unwrap();
        let of = |name: &str| {
            std::fs::write(files.join(name), "one\ntwo").unwrap();
            let path = files.join(name);
            format!("see <pasted_content file=\"{}\" size=\"1 KB\" lines=\"2\" /> there", path.display())
        };
        assert_eq!(whole(&of("paste-1.txt")), "see one\ntwo there");
        for other in [of("secret"), of("paste-1.txt").replace("/id/", "/"), "<pasted_content file=".into()] {
            assert_eq!(whole(&other), other);
        }
    }

    #[test]
    fn three_keys_of_yaml() {
        let yaml = "id: x\ncwd: /home/dev/my proj\nname: 'it''s'\nclient_name: no\nquoted: \"a\\nb\"\nnone: null\nlong: |\n  text\n";
        assert_eq!(value(yaml, "cwd").unwrap(), "/home/dev/my proj");
        assert_eq!(value(yaml, "name").unwrap(), "it's");
        assert_eq!(value(yaml, "quoted").unwrap(), "a\nb");
        assert!(["none", "long", "text", "missing"].iter().all(|k| value(yaml, k).is_none()));
        assert_eq!(value("name:", "name"), None);
        assert_eq!(value("name: '", "name"), None);
    }
}
