//! `cargo xtask demo`: the daemon started in a home of its own, a model imported, one question asked cold and one warm.
//!
//! Leaves nothing behind: the daemon is stopped and its home removed when the demo ends, fails or is interrupted.

mod answer;

use std::path::Path;
use std::process::Command;

use crate::command;
use crate::daemon::{self, Daemon};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::setup::{self, Setup};

use answer::Answer;

const QUESTIONS: [&str; 2] = ["Write one sentence about the sea.", "Write one sentence about the mountains."];

/// Runs the demo.
pub fn run() -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let Setup { workspace, cache } = setup::run(None)?;
    let programs = daemon::build(&workspace)?;
    let model = Model::Smollm2.get(&cache)?;
    interrupt.check()?;
    let mut daemon = Daemon::start_as_installed(&programs)?;
    let result = talk(&mut daemon, &model, &interrupt);
    if result.is_err() && interrupt.check().is_ok() {
        daemon.show_log();
    }
    result
}

fn talk(daemon: &mut Daemon, model: &Path, interrupt: &Interrupt) -> Result<()> {
    daemon.wait_until_ready(interrupt)?;
    eprintln!("importing {}", model.display());
    command::visible(daemon.client().arg("import").arg(model))?;
    let mut answers = Vec::new();
    for question in QUESTIONS {
        println!("\n> {question}");
        answers.push(answer::ask(ask_command(daemon, question), interrupt)?);
    }
    println!("\n{}", table(&answers));
    Ok(())
}

/// No model is named: the daemon takes the one that is installed.
fn ask_command(daemon: &Daemon, question: &str) -> Command {
    let mut client = daemon.client();
    client.args(["generate", "--json", "--max-tokens", "64", "--temperature", "0", question]);
    client
}

fn table(answers: &[Answer]) -> String {
    let mut lines =
        vec![format!("{:6}{:>14}{:>14}{:>12}{:>12}", "", "first token", "of it loading", "tokens/s", "tokens")];
    for (name, answer) in ["cold", "warm"].iter().zip(answers) {
        let Answer { first_token_ms, load_ms, tokens_per_s, tokens } = answer;
        lines.push(format!("{name:6}{first_token_ms:>11.0} ms{load_ms:>11.0} ms{tokens_per_s:>12.1}{tokens:>12}"));
    }
    lines.join("\n")
}

#[cfg(test)]
#[path = "demo_tests.rs"]
mod tests;
