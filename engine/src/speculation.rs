//! What a backend needs to guess the next tokens of a sequence, and to decide whether that pays.
//!
//! A guess costs a step of several positions in place of one; where it is right, the step gives several tokens. The
//! backend computes and compares: here are only numbers, and so every decision is tested without a model.

mod lookup;
mod vocabulary;
mod worth;

pub use lookup::Lookup;
pub use vocabulary::same_tokens;
pub use worth::Worth;

/// Tokens that are guessed at once at most.
pub const MOST_GUESSES: usize = 8;
