//! The client of talkied: one connection over its Unix socket, typed by the crate `protocol`.
//!
//! It owns the client's side of the socket and the start of the daemon on demand. It prints nothing and never ends
//! the process. Called by the program `talkiectl` and by Rust apps. In reading order: [`connection`] speaks,
//! [`events`] reads a stream, [`answer`] that of a prompt, [`retry`] sends one again, [`start`] starts the daemon, [`error`] says what failed and
//! which exit code that is. [`service`] installs the daemon as a service of the user's login.
//!
//! ```no_run
//! # async fn example() -> Result<(), talkiectl::Error> {
//! use protocol::rpc::DaemonClient;
//! let paths = protocol::paths::Paths::from_environment().expect("a home directory");
//! let client = talkiectl::Client::connect_or_start(&paths, &talkiectl::start::program()).await?;
//! println!("talkied {}", client.ping().await?.version);
//! # Ok(())
//! # }
//! ```

pub mod answer;
pub mod connection;
pub mod error;
pub mod events;
pub mod retry;
pub mod service;
pub mod start;

pub use answer::Answer;
pub use connection::Client;
pub use error::{Error, Exit};
pub use events::Events;
pub use retry::Retry;
