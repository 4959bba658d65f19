//! What an engine must be able to do; [`crate::serve`] does the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::{Failure, Load, Loaded, Logprobs, Memory, Needs, Pooling, Submission, TokenId};

/// A model on a device. Used by one thread from its making to its end, and so need not be `Send`.
pub trait Backend {
    /// A sequence that runs: its cache, its random state, its next token.
    type Sequence;

    /// A text on its way to a vector.
    type Text;

    /// Estimates what a model will take, from the headers of its files.
    fn needs(&mut self, load: &Load) -> Result<Needs, Failure>;

    /// Loads the model and runs it once, so that the first request is not the slow one. `progress` takes bytes
    /// done and bytes in all, never decreasing.
    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, Failure>;

    /// Prepares a sequence without computing anything. What is kept of a prompt that begins alike is taken.
    fn begin(&mut self, submission: &Submission) -> Result<Self::Sequence, Failure>;

    /// Tokens of a sequence's prompt that need no computing any more: right after its beginning, those that were kept.
    fn computed(&self, _: &Self::Sequence) -> u32 {
        0
    }

    /// Prompt tokens that one turn computes of several prompts at most, between two tokens of others: as many as a piece
    /// has that others wait for.
    fn turn_tokens(&self) -> u32 {
        512
    }

    /// The next piece of one sequence: a chunk of the prompt, or one token. Short, since all others wait for it.
    fn step(&mut self, sequence: &mut Self::Sequence, pace: Pace) -> Result<Step, Failure>;

    /// The next token of each of several different sequences whose prompts are computed but for the last token, in their
    /// order. One that fails leaves the others as if it had not been there. Of a sequence that runs alone, several may be
    /// computed at once and given one by one, each by a call of its own.
    fn decode(&mut self, rows: &mut [&mut Self::Sequence]) -> Vec<Result<Step, Failure>> {
        rows.iter_mut().map(|row| self.step(row, Pace::Shared)).collect()
    }

    /// A sequence is paused, perhaps for long: it lets go of what it shares with others beside its own part.
    fn rest(&mut self, _: &mut Self::Sequence) {}

    /// A copy of a sequence whose prompt is computed and of which nothing was drawn, with the options of `submission`.
    fn fork(&mut self, sequence: &Self::Sequence, submission: &Submission) -> Result<Self::Sequence, Failure>;

    /// Log-probabilities at the token that the last step gave, where the submission asks for them.
    fn logprobs(&mut self, sequence: &mut Self::Sequence) -> Result<Option<Logprobs>, Failure>;

    /// Prepares a text of at least one token without computing anything.
    fn begin_text(&mut self, tokens: &[TokenId], pooling: Pooling) -> Result<Self::Text, Failure>;

    /// Computes the next piece of a text; its vector after the last. Short, since a cancel waits for it.
    fn embed(&mut self, text: &mut Self::Text) -> Result<Option<Vec<f32>>, Failure>;

    /// Time this sequence's steps took to be described to the device; zero where that is not told apart.
    fn built(&self, _: &Self::Sequence) -> Duration {
        Duration::ZERO
    }

    /// Tokens given so far that had been guessed.
    fn speculated(&self, _: &Self::Sequence) -> u32 {
        0
    }

    /// Gives back what is held for later work alone.
    fn trim(&mut self) {}

    /// Memory in use.
    fn memory(&self) -> Memory;
}

/// How long a piece may take, or how much of the machine a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// Nobody waits for the next: as much as serves the device best.
    Alone,
    /// Tokens of others wait for it.
    Shared,
}

/// What one step computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Part of the prompt, of which the last token may be left to the step that gives the first.
    Prefill {
        /// Prompt tokens computed so far.
        done: u32,
    },
    /// The next token, stop tokens included.
    Token(TokenId),
    /// The next token, after which the sequence's grammar allows none.
    Last(TokenId),
}
