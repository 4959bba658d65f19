//! Two ways of doing the same in turns: first, second, first, second, so that what disturbs the machine disturbs both.

use super::figures::Samples;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is of interest.
    First,
    /// What it is compared with.
    Second,
}

/// The figures of `count` pairs, each side's in the order of the pairs. `once` takes a turn of a round; round 0 is not
/// counted.
pub fn measure(
    count: u32,
    interrupt: &Interrupt,
    mut once: impl FnMut(Side, u32) -> Result<f64>,
) -> Result<[Samples; 2]> {
    let mut sides = [Samples::default(), Samples::default()];
    for round in 0..=count {
        for (side, samples) in [Side::First, Side::Second].into_iter().zip(&mut sides) {
            interrupt.check()?;
            let figure = once(side, round)?;
            if round > 0 {
                samples.push(figure);
            }
        }
    }
    Ok(sides)
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
