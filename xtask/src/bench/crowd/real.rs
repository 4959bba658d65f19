//! The real engine beside mlx-lm's server, with the same weights: tokens per second of all clients together, and how long
//! each waits for its first.

use super::stage::{Stage, short};
use super::{Client, Crowd, Plan, Questions, second, shared};
use crate::error::{Error, Result, chain};
use crate::interrupt::Interrupt;

/// What a client asks so that the model is loaded, or a kernel compiled; no other question has its number.
const REHEARSAL: u32 = 900_000;
const REHEARSAL_TOKENS: u32 = 8;

/// Measures one thing and prints it.
type Part = fn(&Stage, &Interrupt) -> Result<()>;

/// Prints a table for each question. Where one cannot be measured, the others are.
pub fn run(plan: &Plan, interrupt: &Interrupt) -> Result<()> {
    let stage = Stage::open(plan, interrupt)?;
    let parts: [(&str, Part); 3] =
        [("many clients", answers), ("a shared prompt", shared::run), ("a second model", second::run)];
    let mut failed = 0;
    for (name, part) in parts {
        let measured = part(&stage, interrupt);
        interrupt.check()?;
        if let Err(error) = measured {
            failed += 1;
            eprintln!("{name}: {}", chain(&error));
        }
    }
    if failed == 0 {
        return Ok(());
    }
    stage.show_logs();
    Err(Error::Unexpected(format!("{failed} of the measurements failed")))
}

fn answers(stage: &Stage, interrupt: &Interrupt) -> Result<()> {
    load(stage)?;
    println!(
        "{}; {} tokens after about 60, no guessing; questions of each client: {}",
        stage.weights.name, stage.weights.tokens, stage.questions
    );
    println!("{:>8}{:>34}{:>34}", "clients", "talkied", "mlx_lm.server");
    println!("{:>8}{:>34}{:>34}", "", "tokens/s, first p50, p99 ms", "tokens/s, first p50, p99 ms");
    let (mut first, mut knocks, mut failed) = (0, 0, 0);
    for &clients in &stage.levels {
        interrupt.check()?;
        if stage.rehearses {
            let questions = Questions { first: REHEARSAL + first, each: 1 };
            // What fails here fails again below, and is counted there.
            let _ = both(stage, clients, questions, REHEARSAL_TOKENS);
        }
        let (ours, theirs) = both(stage, clients, Questions { first, each: stage.questions }, stage.weights.tokens);
        first += clients * stage.questions;
        knocks += theirs.as_ref().and_then(|crowd| crowd.as_ref().ok()).map_or(0, Crowd::knocks);
        let cells = [Some(ours), theirs].map(|crowd| cell(crowd, &mut failed));
        println!("{clients:>8}{:>34}{:>34}", cells[0], cells[1]);
    }
    if knocks > 0 {
        println!(
            "mlx_lm.server's system holds five connections that wait: others were turned away {knocks} times, and came again \
             20 ms later, which is part of their time to the first token"
        );
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::Unexpected(format!("{failed} figures are missing"))),
    }
}

/// Has both load the model.
fn load(stage: &Stage) -> Result<()> {
    stage.ours(2, short)?.ask(REHEARSAL)?;
    if let Some(mut client) = stage.theirs(2, short) {
        client.ask(REHEARSAL)?;
    }
    Ok(())
}

/// The clients of the one, then those of the other, where it runs.
fn both(stage: &Stage, clients: u32, questions: Questions, tokens: u32) -> (Result<Crowd>, Option<Result<Crowd>>) {
    let ours = Crowd::run(clients, questions, |_| stage.ours(tokens, short));
    let theirs = stage.theirs(tokens, short).map(|client| Crowd::run(clients, questions, |_| Ok(client.clone())));
    (ours, theirs)
}

fn cell(crowd: Option<Result<Crowd>>, failed: &mut u32) -> String {
    match crowd {
        Some(Ok(crowd)) => {
            let waits = crowd.waits();
            let wait = |share| waits.quantile(share).unwrap_or(0.0);
            format!("{:.2}, {:.0}, {:.0}", crowd.rate(), wait(0.5), wait(0.99))
        }
        Some(Err(error)) => {
            *failed += 1;
            eprintln!("{}", chain(&error));
            "failed".into()
        }
        None => {
            *failed += 1;
            "does not run".into()
        }
    }
}
