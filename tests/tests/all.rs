//! The whole of talkied: real programs, real sockets, real kills, on an engine that answers every prompt with itself.
//! What needs MLX is tested beside the engine.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and fails")]
#![expect(clippy::needless_pass_by_value, reason = "json!() makes values, and they are sent once")]

#[expect(dead_code, reason = "the tests with the real engine use more of it")]
mod support;

mod cli;
mod daemon;
mod embeddings;
mod engines;
mod generate;
mod loss;
mod models;
mod providers;
mod pulls;
mod reference;
mod samples;
mod source;
mod tools;
mod wire;
