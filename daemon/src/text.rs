//! Text ↔ token numbers of one model.
//!
//! Never touches an engine, the network or a runtime: every function computes and returns. Called by the local
//! provider.

mod stop;

pub use self::stop::{StopMatcher, StopPiece};
