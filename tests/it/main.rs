//! One binary for every test that needs more than one module: files of the project, the real
//! program, real tmux and a real mount.

#![allow(clippy::unwrap_used, reason = "all of it is tests; clippy sees that of functions marked so only")]
#![allow(clippy::disallowed_methods, reason = "tests may wait for a disk")]

mod adopt;
mod agents;
mod ambush;
mod asked;
mod asking;
mod blocking;
mod by_source;
mod cli;
mod cli_people;
mod cli_session;
mod contract;
mod crawlers;
mod doc;
mod drafts;
mod editors;
mod errors;
mod examples;
mod fake_agent;
mod faults;
mod few_files;
mod foreign;
mod fs_door;
mod guard;
mod history;
mod hook;
mod idle;
mod input;
mod kept;
mod life;
mod limits;
mod logs;
mod model;
mod mounting;
mod newcomer;
mod node;
mod order;
mod origins;
mod outcomes;
mod real;
mod rights;
mod screenshot;
mod scripts;
mod seam;
mod secrets;
mod slow_disk;
mod stalled;
#[path = "../stub_llm/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it is a program of its own as well")]
mod stub_llm;
mod support;
mod tidy;
mod tmux_engine;
mod tour;
mod turns;
mod typing;
mod varied;
mod views;
