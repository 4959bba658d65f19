//! What a system prompt of some 2000 tokens costs the first of five apps, and the others, each with a question of its own.

use super::stage::Stage;
use super::{Client, Seen};
use crate::bench::figures::Samples;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Said again and again, this is the system prompt.
pub const RULE: &str = "The assistant answers in one short sentence, names no brands, and never repeats the question. ";

const APPS: u32 = 5;

/// Prints the first one's time to the first token, and the others'.
pub fn run(stage: &Stage, interrupt: &Interrupt) -> Result<()> {
    let system = RULE.repeat(110);
    if stage.rehearses {
        // As long, and other from its beginning on.
        let other = format!("Rules: {system}");
        stage.ours(2, question)?.with_system(&other).ask(0)?;
        stage.theirs(2, question).map(|client| client.with_system(&other).ask(0)).transpose()?;
    }
    println!("\na system prompt of some 2000 tokens that five apps share: first token, ms");
    print("talkied", interrupt, |app| Ok(Some(stage.ours(2, question)?.with_system(&system).ask(app)?.wait_s())))?;
    print("mlx_lm.server", interrupt, |app| {
        let seen = stage.theirs(2, question).map(|client| client.with_system(&system).ask(app)).transpose()?;
        Ok(seen.map(Seen::wait_s))
    })
}

/// `ask` tells the seconds that an app waits, or that there is nobody to ask.
fn print(name: &str, interrupt: &Interrupt, mut ask: impl FnMut(u32) -> Result<Option<f64>>) -> Result<()> {
    let mut waits = Vec::new();
    for app in 0..APPS {
        interrupt.check()?;
        let Some(seconds) = ask(app)? else { return Ok(()) };
        waits.push(seconds * 1000.0);
    }
    let cold = waits.remove(0);
    let warm: Samples = waits.into_iter().collect();
    let share = warm.median().unwrap_or(0.0) / cold;
    println!("{name:>14}: cold {cold:.0}, then {warm} ({share:.3} of it)");
    Ok(())
}

fn question(app: u32) -> String {
    format!("Question {app}: which river is near?")
}
