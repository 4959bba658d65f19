//! What a prompt of some 2000 tokens costs the first of five apps, and the others.

use super::stage::Stage;
use super::{Client, Seen};
use crate::bench::figures::Samples;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Said again and again, this is the prompt.
pub const RULE: &str = "The assistant answers in one short sentence, names no brands, and never repeats the question. ";

const APPS: u32 = 5;

/// Prints the first one's time to the first token, and the others'.
pub fn run(stage: &Stage, interrupt: &Interrupt) -> Result<()> {
    if stage.rehearses {
        let mut theirs = stage.theirs(2, other);
        stage.ours(2, other)?.ask(0)?;
        theirs.as_mut().map(|client| client.ask(0)).transpose()?;
    }
    println!("\na system prompt of some 2000 tokens that five apps share: first token, ms");
    print("talkied", interrupt, |app| Ok(Some(stage.ours(2, long)?.ask(app)?.wait_s())))?;
    print("mlx_lm.server", interrupt, |app| {
        let seen = stage.theirs(2, long).map(|mut client| client.ask(app)).transpose()?;
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

/// The same beginning for all.
fn long(app: u32) -> String {
    format!("{}Question {app}: which river is near?", RULE.repeat(110))
}

/// As long, and other from its beginning on.
fn other(app: u32) -> String {
    format!("Rules: {}", long(app))
}
