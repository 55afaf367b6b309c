//! A model on a loopback port for real agents: it answers what the prompt tells it to (`plan`),
//! on the wires of Anthropic, OpenAI and Gemini, and keeps a log of what was asked when.
//!
//! Knows HTTP. Must not know any agent or the program under test.

mod ask;
mod log;
mod plan;
mod server;
mod wire;

pub use log::{Log, Request};
pub use server::{Stub, serve};
