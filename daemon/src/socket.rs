//! The one socket: where it is, and whose.
//!
//! [`bind`] makes the socket, or takes the one that launchd or systemd [`passed`]. The daemon's `run` calls it once.

mod bind;
mod passed;

pub use bind::{BindError, Bound, Claim, Place, bind};
pub use passed::passed;
