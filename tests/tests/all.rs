//! The whole of talkied: real programs, real sockets, real kills, on an engine that answers every prompt with itself.
//! What needs MLX is tested beside the engine.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and fails")]
#![expect(clippy::needless_pass_by_value, reason = "json!() makes values, and they are sent once")]

#[expect(dead_code, reason = "the tests with the real engine use more of it")]
mod support;

mod bad_places;
mod chaos;
mod chat;
mod cli;
mod config;
mod crashes;
mod daemon;
mod doctor;
mod drafts;
mod embeddings;
mod engines;
mod follow;
mod generate;
mod logs;
mod loss;
mod memory;
mod metrics;
mod models;
mod outputs;
mod providers;
mod pulls;
mod queue;
#[cfg(target_os = "linux")]
mod recipes;
mod reference;
mod samples;
mod screens;
mod secrets;
#[cfg(target_os = "linux")]
mod service;
mod sleep;
mod source;
mod steps;
mod terminal;
mod tools;
mod top;
mod triggers;
mod volumes;
#[cfg(target_os = "linux")]
mod wakes;
mod wire;
mod workflows;
