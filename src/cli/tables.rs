//! The tables of files and settings as the documents want them: the one place where the node's
//! rows meet the printer of manual pages.

use std::borrow::Cow;

use crate::doc::{self, CommandLine, DocEvent, DocLines, DocRow, DocSetting, DocVerb};
use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::manual;
use muxfs_fs::errno::errno;
use muxfs_node::config;
use muxfs_node::rows::dir::Line;
use muxfs_node::rows::row::Verb;
use muxfs_node::rows::{self, root, rows_node, rows_session};
use muxfs_node::session::turns::turn::Stage;
use muxfs_node::session::{audit, events};
use muxfs_tree::base::error;
use muxfs_tree::base::schema::{Key, Kind};

/// The command line's own tables.
pub fn command_line() -> CommandLine<'static> {
    use clap::CommandFactory;
    CommandLine {
        command: super::Cli::command(),
        options: super::options::TABLE,
        environment: super::ENVIRONMENT,
        exits: super::exit::TABLE,
        errors: errors(),
    }
}

/// Every file of the tree.
pub fn rows() -> Vec<DocRow<'static>> {
    let of_root = |r: &root::RootRow| DocRow {
        dir: "".into(),
        name: r.name.into(),
        shape: r.shape().word(),
        mode: r.mode,
        about: r.about,
    };
    let mut all: Vec<DocRow<'static>> = root::ROWS.iter().map(of_root).collect();
    let of_node = |l: Line| DocRow {
        dir: l.dir.into(),
        name: l.name.into(),
        shape: l.shape.word(),
        mode: l.mode,
        about: l.about,
    };
    all.extend(rows::described().into_iter().map(of_node));
    all
}

/// The errnos of a mount's files, in the order of the kinds.
pub fn errors() -> Vec<(String, &'static str)> {
    let name = |kind| format!("{:?}", nix::errno::Errno::from_raw(errno(kind)));
    error::Kind::TABLE.iter().map(|(kind, about)| (name(*kind), *about)).collect()
}

/// What may become of a prompt.
pub fn turn_states() -> Vec<(&'static str, &'static str)> {
    Stage::TABLE.iter().map(|(_, word, about)| (*word, *about)).collect()
}

/// What may be read in `events`.
pub fn events() -> DocLines<'static> {
    (events::COMMON, kinds(events::TABLE))
}

/// What may be read in `logs` of what others did.
pub fn audit() -> DocLines<'static> {
    (audit::COMMON, kinds(audit::TABLE))
}

fn kinds(table: &'static [events::Row]) -> Vec<DocEvent<'static>> {
    table.iter().map(|(name, fields, about)| DocEvent { name, fields, about }).collect()
}

/// Every key of `muxfs.toml` and of a session's `config`.
pub fn settings() -> Vec<DocSetting<'static>> {
    let of = |file: &'static str, keys: &'static [Key]| {
        keys.iter().map(move |k| DocSetting {
            file,
            key: k.name,
            kind: kind(k.kind),
            default: k.default,
            about: k.about,
        })
    };
    of("node", config::node::KEYS).chain(of("session", config::session::KEYS)).collect()
}

/// Every verb of a `ctl` file.
pub fn verbs() -> Vec<DocVerb<'static>> {
    fn of<S>(file: &'static str, verbs: &'static [Verb<S>]) -> impl Iterator<Item = DocVerb<'static>> {
        verbs.iter().map(move |v| DocVerb { file, name: v.name, args: v.args, about: v.about })
    }
    of("<node>/ctl", rows_node::VERBS).chain(of("<node>/<session>/ctl", rows_session::VERBS)).collect()
}

fn kind(kind: Kind) -> Cow<'static, str> {
    let fixed = match kind {
        Kind::Text => "text",
        Kind::Words => "text or list of texts",
        Kind::Map => "table of texts",
        Kind::Bool => "true or false",
        Kind::Size => "COLSxROWS",
        Kind::Bytes => "bytes, or text with KiB, MiB, GiB",
        Kind::Span => "text with ms, s, m, h, d",
        Kind::Count => "whole number",
        Kind::OneOf(words) => return words.join(", ").into(),
        Kind::Tables(_) => "tables",
    };
    fixed.into()
}

/// Every key of an agent's manifest.
pub fn manifest_keys() -> Vec<DocSetting<'static>> {
    let of = |e: &'static manual::Entry| DocSetting {
        file: e.table,
        key: e.name,
        kind: e.kind.into(),
        default: e.default,
        about: e.about,
    };
    manual::ENTRIES.iter().map(of).collect()
}

/// The agents that are built in: key, name, versions seen.
pub fn agents() -> Vec<(String, String, Vec<String>)> {
    let all = Catalogue::load(std::path::Path::new("/nonexistent"));
    all.all().map(|(key, agent)| (key.to_owned(), agent.name.clone(), agent.seen.clone())).collect()
}

/// `.help` of a mount.
pub fn help() -> String {
    doc::help(&rows())
}
