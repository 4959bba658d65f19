//! `talkiectl`: the command line of talkied.
//!
//! Reading order: [`cli`] is what can be typed and [`complete`] what the shell may add, [`commands`] does it, [`render`],
//! [`progress`] and [`bars`] show it, [`failure`] says why not; [`doctor`] looks for what is wrong. Only this program prints; the library never does.

mod bars;
mod cli;
mod commands;
mod complete;
mod doctor;
mod failure;
mod progress;
mod render;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    complete::answer_the_shell();
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(error) => return failure::of_usage(&error),
    };
    let form = cli.form();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(form),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // One thread: nothing here computes, and the process must come and go within milliseconds.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let ends_on_interrupt = !commands::minds_interrupts(&cli.command);
    let outcome = runtime.block_on(async {
        tokio::select! {
            // A command may know better what is to be said of its end.
            biased;
            outcome = commands::run(cli) => outcome,
            // Whatever the command held is dropped here. That closes its connection, which cancels its request.
            _ = tokio::signal::ctrl_c(), if ends_on_interrupt => Err(Failure::Interrupted { note: None }),
        }
    });
    // A read of standard input or a write to a stuck pipe may still be blocked; it must not hold up the end.
    runtime.shutdown_background();
    outcome
}
