//! talkied keeps language models warm and lends them to every app of its user over one Unix socket.
//!
//! A request reads left to right, in the order of the modules; tokens return on `stream`.

pub mod library;
pub mod socket;
pub mod text;
