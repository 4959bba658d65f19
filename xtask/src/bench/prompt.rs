//! The prompts. They begin with the number of their round, so that no round finds the work of an earlier one done.

/// About 40 tokens with the template; the answer of a small model is long.
pub fn short(round: u32) -> String {
    format!("{round}. Write a long story about a lighthouse keeper and the sea.")
}

/// About 512 tokens with the template.
pub fn long(round: u32) -> String {
    let lines = (1..=LINES).map(|line| {
        format!("On day {line} the keeper climbed the stairs, lit the lamp and counted the ships that passed. ")
    });
    format!("{round}. {}Write down how many days there were.", lines.collect::<String>())
}

const LINES: u32 = 23;
