//! A cold start: from nothing in memory to the first token, as the first request of a day has it.

use std::fmt::{self, Display, Formatter};
use std::time::Instant;

use serde::Serialize;

use super::Extent;
use super::contest::{Candidate, Generation};
use super::figures::Samples;
use super::mlx_lm::MlxLm;
use super::pairs::{self, Side};
use super::prompt;
use super::talkied::Talkied;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Figures of both, pair by pair.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cold {
    /// With the type of its activations.
    pub reference: String,
    /// Tokens of the prompt, the same for both.
    pub prompt_tokens: u32,
    /// Milliseconds from a request for a model that is not loaded: the engine's process starts, loads, warms up.
    pub talkied_ms: Samples,
    /// Milliseconds from the start of a Python process: imports, load and cast, the first token.
    pub mlx_lm_ms: Samples,
    /// The second by the first, within each pair.
    pub mlx_lm_over_talkied: Samples,
}

/// Takes turns; `start` starts an mlx-lm that has loaded nothing.
pub fn measure(
    talkied: &mut Talkied,
    start: impl Fn() -> Result<MlxLm>,
    extent: Extent,
    interrupt: &Interrupt,
) -> Result<Cold> {
    let count = if extent == Extent::Quick { 3 } else { 5 };
    let (mut prompts, mut reference) = ([0; 2], String::new());
    let [ours, theirs] = pairs::measure(count, interrupt, |side, round| match side {
        Side::First => {
            talkied.unload()?;
            let first = talkied.generate(&prompt::short(round), 1)?;
            Ok(noted(&first, &mut prompts[0]))
        }
        Side::Second => {
            let started = Instant::now();
            let mut mlx_lm = start()?;
            mlx_lm.load_ms()?;
            let loaded_ms = started.elapsed().as_secs_f64() * 1e3;
            reference = mlx_lm.name();
            // Its own figure: the answer comes when one token more than was asked for is done.
            Ok(loaded_ms + noted(&mlx_lm.generate(&prompt::short(round), 1)?, &mut prompts[1]))
        }
    })?;
    Ok(Cold {
        prompt_tokens: same(prompts)?,
        reference,
        mlx_lm_over_talkied: theirs.over(&ours),
        talkied_ms: ours,
        mlx_lm_ms: theirs,
    })
}

fn noted(generation: &Generation, prompt_tokens: &mut u32) -> f64 {
    *prompt_tokens = generation.prompt_tokens;
    generation.first_token_ms
}

fn same([ours, theirs]: [u32; 2]) -> Result<u32> {
    if ours == theirs {
        return Ok(ours);
    }
    Err(Error::Unexpected(format!("talkied had a prompt of {ours} tokens, mlx-lm of {theirs}")))
}

/// One line: both times, and how many times as long mlx-lm takes.
impl Display for Cold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { reference, prompt_tokens, talkied_ms, mlx_lm_ms, mlx_lm_over_talkied } = self;
        write!(f, "{talkied_ms} ms, {reference} {mlx_lm_ms}; better by × {mlx_lm_over_talkied}; ")?;
        write!(f, "{} pairs after {prompt_tokens} tokens", mlx_lm_over_talkied.count())
    }
}

#[cfg(test)]
#[path = "cold_tests.rs"]
mod tests;
