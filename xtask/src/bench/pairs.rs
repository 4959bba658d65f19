//! Ways of doing the same in turns: first, second, first, second, so that what disturbs the machine disturbs all alike.

use super::figures::Samples;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Whose turn it is, of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is of interest.
    First,
    /// What it is compared with.
    Second,
}

/// The figures of `count` pairs, each side's in the order of the pairs. `once` takes a turn of a round; round 0 is not
/// counted.
pub fn measure(count: u32, interrupt: &Interrupt, once: impl FnMut(Side, u32) -> Result<f64>) -> Result<[Samples; 2]> {
    let samples = turns(&[Side::First, Side::Second], count, interrupt, once)?;
    Ok(samples.try_into().expect("as many as there are sides"))
}

/// The same for any number of `sides`, in the order of these.
pub fn turns<S: Copy>(
    sides: &[S],
    count: u32,
    interrupt: &Interrupt,
    mut once: impl FnMut(S, u32) -> Result<f64>,
) -> Result<Vec<Samples>> {
    let mut samples = vec![Samples::default(); sides.len()];
    for round in 0..=count {
        for (side, samples) in sides.iter().zip(&mut samples) {
            interrupt.check()?;
            // Ctrl-C ends the programs that are measured too: what they fail with is not what happened.
            let figure = once(*side, round).or_else(|error| interrupt.check().and(Err(error)))?;
            if round > 0 {
                samples.push(figure);
            }
        }
    }
    Ok(samples)
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
