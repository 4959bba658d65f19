//! The table of `bench --candle`, as a README has it.

use std::fmt::{self, Display, Formatter};

use super::super::figures::{Samples, places};

/// One thing that the three did in turns, in tokens per second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// How the weights are packed.
    pub packing: String,
    /// Threads of Candle and llama.cpp.
    pub threads: usize,
    /// What was done.
    pub task: &'static str,
    /// Of Candle's engine.
    pub candle: Samples,
    /// Of llama.cpp.
    pub llama_cpp: Samples,
    /// Of MLX's engine, where it takes part.
    pub mlx: Option<Samples>,
}

/// The lines above the rows.
pub const HEADING: &str = "\
| tokens/s, median (least–most) | talkied-candle | llama.cpp | talkied-mlx | Candle over llama.cpp | Candle over MLX |
|---|---|---|---|---|---|";

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { packing, threads, task, candle, llama_cpp, mlx } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        let absent = || "—".to_owned();
        let speed = mlx.as_ref().map_or_else(absent, Samples::to_string);
        let over_mlx = mlx.as_ref().map_or_else(absent, |mlx| ratio(candle, mlx));
        write!(f, "| {packing}, {threads} thread{plural}: {task} | {candle} | {llama_cpp} | {speed} ")?;
        write!(f, "| {} | {over_mlx} |", ratio(candle, llama_cpp))
    }
}

/// Of the turns of each round. A round in which one was disturbed says so by its ratio's distance to the others.
fn ratio(one: &Samples, other: &Samples) -> String {
    let ratio = one.over(other);
    // Two digits behind the point, whatever the size: no more can be trusted.
    let digits = |value: Option<f64>| value.map(|value| format!("{value:.*}", places(value).min(2)));
    match (digits(ratio.median()), digits(ratio.least()), digits(ratio.most())) {
        (Some(median), Some(least), Some(most)) => format!("**{median}** ({least}–{most})"),
        _ => "—".to_owned(),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
