//! Candidates that do the same work in turns: load, decode, prefill, for some rounds.
//!
//! The order of a round is turned around in the next, so that no candidate always follows the same one.

use serde::Deserialize;

use super::Extent;
use super::figures::Samples;
use super::prompt;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Something that runs a model.
pub trait Candidate {
    /// For people.
    fn name(&self) -> String;

    /// Loads the model anew and returns the milliseconds that it took.
    fn load(&mut self) -> Result<f64>;

    /// Answers `prompt`, a user's message, with the `tokens` likeliest tokens.
    fn generate(&mut self, prompt: &str, tokens: u32) -> Result<Generation>;

    /// Whether a token takes seconds, so that only a few can be asked for.
    fn is_slow(&self) -> bool;
}

/// One answer's figures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Generation {
    /// Template included.
    pub prompt_tokens: u32,
    /// Generated.
    pub tokens: u32,
    /// From the text of the prompt to the first token.
    pub first_token_ms: f64,
    /// Prompt tokens by the time to the first token.
    pub prefill_tokens_per_s: f64,
    /// Tokens after the first, by the time since the first.
    pub decode_tokens_per_s: f64,
    /// The tokens, where the candidate tells them.
    #[serde(default)]
    pub answer: Vec<u32>,
}

impl Generation {
    /// Itself; an error in which `name` stands when it is shorter than was asked for.
    pub fn of_length(self, tokens: u32, name: &str) -> Result<Self> {
        if self.tokens == tokens {
            return Ok(self);
        }
        Err(Error::Unexpected(format!("{name} ended its answer after {} of {tokens} tokens", self.tokens)))
    }
}

/// How much is asked of the candidates.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// Turns of each candidate.
    pub rounds: u32,
    /// Tokens decoded in a turn.
    pub tokens: u32,
    /// Turns of a slow candidate.
    pub slow_rounds: u32,
    /// Tokens that a slow candidate decodes in a turn.
    pub slow_tokens: u32,
}

impl Plan {
    /// A slow candidate takes minutes for a turn.
    pub fn of(extent: Extent) -> Self {
        match extent {
            Extent::Quick => Self { rounds: 2, tokens: 32, slow_rounds: 1, slow_tokens: 3 },
            Extent::Full => Self { rounds: 5, tokens: 64, slow_rounds: 2, slow_tokens: 8 },
        }
    }
}

/// A candidate and its samples.
pub struct Standing<C> {
    /// Who.
    pub candidate: C,
    /// What was measured.
    pub figures: Figures,
}

/// Samples of one candidate.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Figures {
    /// Tokens after the first, per second, after the short prompt.
    pub decode_tokens_per_s: Samples,
    /// Prompt tokens per second, of the long prompt.
    pub prefill_tokens_per_s: Samples,
    /// Milliseconds to the first token of the short prompt.
    pub first_token_ms: Samples,
    /// Milliseconds to load the model.
    pub load_ms: Samples,
    /// Tokens of the short and the long prompt.
    pub prompt_tokens: [Option<u32>; 2],
}

impl<C: Candidate> Standing<C> {
    /// With no sample yet.
    pub fn new(candidate: C) -> Self {
        Self { candidate, figures: Figures::default() }
    }
}

/// Does once what is not counted: files come into memory, code is paged in.
pub fn prepare(standing: &mut Standing<impl Candidate>) -> Result<()> {
    standing.candidate.load()?;
    eprintln!("{} is ready", standing.candidate.name());
    if !standing.candidate.is_slow() {
        standing.candidate.generate(&prompt::short(0), 4)?;
    }
    Ok(())
}

/// Takes all turns.
pub fn run<A: Candidate, B: Candidate>(
    plan: &Plan,
    first: &mut Standing<A>,
    others: &mut [Standing<B>],
    interrupt: &Interrupt,
) -> Result<()> {
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        for work in [load, decode, prefill] {
            let mut all: Vec<Turn> = vec![Turn::of(first)];
            all.extend(others.iter_mut().map(Turn::of));
            if round.is_multiple_of(2) {
                all.reverse();
            }
            for mut turn in all {
                interrupt.check()?;
                if turn.is_due(plan, round) {
                    work(&mut turn, plan, round)?;
                }
            }
        }
    }
    Ok(())
}

/// A standing of any candidate.
struct Turn<'a> {
    candidate: &'a mut dyn Candidate,
    figures: &'a mut Figures,
}

impl<'a> Turn<'a> {
    fn of<C: Candidate>(standing: &'a mut Standing<C>) -> Self {
        Self { candidate: &mut standing.candidate, figures: &mut standing.figures }
    }

    fn is_due(&self, plan: &Plan, round: u32) -> bool {
        !self.candidate.is_slow() || round <= plan.slow_rounds
    }

    /// Generates, and fails when the answer is shorter than was asked for.
    fn generate(&mut self, prompt: &str, tokens: u32) -> Result<Generation> {
        self.candidate.generate(prompt, tokens)?.of_length(tokens, &self.candidate.name())
    }
}

fn load(turn: &mut Turn, _: &Plan, _: u32) -> Result<()> {
    let load_ms = turn.candidate.load()?;
    turn.figures.load_ms.push(load_ms);
    Ok(())
}

fn decode(turn: &mut Turn, plan: &Plan, round: u32) -> Result<()> {
    let tokens = if turn.candidate.is_slow() { plan.slow_tokens } else { plan.tokens };
    let generation = turn.generate(&prompt::short(round), tokens)?;
    turn.figures.first_token_ms.push(generation.first_token_ms);
    turn.figures.decode_tokens_per_s.push(generation.decode_tokens_per_s);
    turn.figures.prompt_tokens[0] = Some(generation.prompt_tokens);
    Ok(())
}

fn prefill(turn: &mut Turn, _: &Plan, round: u32) -> Result<()> {
    if turn.candidate.is_slow() {
        return Ok(()); // it would take half an hour
    }
    let generation = turn.generate(&prompt::long(round), 1)?;
    turn.figures.prefill_tokens_per_s.push(generation.prefill_tokens_per_s);
    turn.figures.prompt_tokens[1] = Some(generation.prompt_tokens);
    Ok(())
}

#[cfg(test)]
#[path = "contest_tests.rs"]
mod tests;
