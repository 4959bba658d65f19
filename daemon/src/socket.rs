//! The one socket: who may connect, what they may send, and how both framings reach the same methods.
//!
//! In reading order: [`bind`] makes the socket, or takes the one that launchd or systemd [`passed`]; [`serve`] accepts
//! connections until shutdown; `connection` tells the framings apart by the first byte and hands over to `ndjson`
//! (`quiet`, `lines`, `message`, `dispatch`) or to `http`, where `paths` keeps from jsonrpsee what `scrape` (Prometheus)
//! and `posted` answer. `rules` and `params` stand between both framings and the methods.
//!
//! Nothing here knows what a method does. Whatever a client sends or leaves unsent costs it its own connection at
//! most: every size, depth, count and wait has a bound in [`Limits`]. The daemon's `run` calls all of this, once.

mod accept;
mod bind;
mod connection;
mod descriptors;
mod dispatch;
mod http;
mod json;
mod limits;
mod lines;
mod message;
mod ndjson;
mod outlet;
mod params;
mod passed;
mod paths;
mod peer;
mod posted;
mod quiet;
mod refusal;
mod rules;
mod scrape;
mod stall;

#[cfg(test)]
mod testing;

pub use accept::{Connections, serve};
pub use bind::{BindError, Bound, Claim, Place, bind};
pub use limits::Limits;
pub use outlet::{Events, Outlet};
pub use passed::passed;
pub use peer::Peer;
pub use posted::{Answer, Post, Posts};
