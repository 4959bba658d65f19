//! talkied with its MLX engine and a real small model: the model against its reference, requests over the socket.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and fails")]
#![expect(clippy::needless_pass_by_value, reason = "json!() makes values, and they are sent once")]

#[expect(dead_code, reason = "the tests with the fake engine use more of it")]
#[path = "../../../tests/tests/support.rs"]
mod support;

mod batch;
mod formats;
mod given;
mod llama;
mod model;
mod parity;
mod prefix;
mod reference;
mod requests;
mod sentences;
mod servers;
mod speculation;
mod tools;
mod workflows;
