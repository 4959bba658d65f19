//! The real engine beside mlx-lm's server, with the same weights: tokens per second of all clients together, and how long
//! each waits for its first.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::client::Asker;
use super::server::Server;
use super::{Client, Crowd};
use crate::bench::connection::Connection;
use crate::bench::{Extent, figures::Samples};
use crate::command;
use crate::daemon::{self, Daemon};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::reference;
use crate::setup::{self, Setup};

/// Clients at once.
const LEVELS: [u32; 3] = [1, 4, 16];
const MODEL: &str = "bench/smollm2";

/// Makes all numbers float32, which a processor computes forty times faster than what is imported.
const CAST: &str = "
import sys
from mlx_lm.utils import load, save
import mlx.core as mx
model, tokenizer, config = load(sys.argv[1], return_config=True)
model.set_dtype(mx.float32)
save(sys.argv[2], sys.argv[1], model, tokenizer, config)
";

/// Prints a table for each question.
pub fn run(extent: Extent, interrupt: &Interrupt) -> Result<()> {
    let Setup { workspace, cache } = setup::run(None)?;
    let programs = daemon::build(&workspace)?;
    let python = reference::python(&cache)?;
    let mut daemon = Daemon::start(&programs)?;
    daemon.wait_until_listening(interrupt)?;
    let model = prepare(&daemon, &python, &Model::Smollm2.get(&cache)?)?;
    let server = Server::start(&python, &model, interrupt)?;
    let (tokens, questions) = if extent == Extent::Quick { (8, 1) } else { (32, 3) };
    let ask = |prompt: fn(u32) -> String, tokens: u32| {
        let daemon = &daemon;
        move |_| Ok(Asker::new(Connection::open(daemon)?, MODEL, tokens, prompt, &json!({})))
    };
    // Both have loaded the model then.
    ask(short, 2)(0)?.ask(99_999)?;
    server.client(2, short).ask(99_999)?;
    println!(
        "SmolLM2-135M on this machine, float32; {tokens} tokens after about 60, {questions} questions of each client"
    );
    println!("{:>8}{:>34}{:>34}", "clients", "talkied", "mlx_lm.server");
    println!("{:>8}{:>34}{:>34}", "", "tokens/s, first p50, p99 ms", "tokens/s, first p50, p99 ms");
    for clients in LEVELS {
        interrupt.check()?;
        let ours = Crowd::run(clients, questions, ask(short, tokens))?;
        let theirs = Crowd::run(clients, questions, |_| Ok(server.client(tokens, short)))?;
        println!("{clients:>8}{:>34}{:>34}", row(&ours), row(&theirs));
    }
    shared(&ask(long, 2), &server)
}

/// What a prompt of some 2000 tokens costs the first of five apps, and the others.
fn shared<C: Client>(open: &impl Fn(u32) -> Result<C>, server: &Server) -> Result<()> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for app in 0..5 {
        ours.push(open(app)?.ask(app)?.wait_s() * 1000.0);
        theirs.push(server.client(2, long).ask(app)?.wait_s() * 1000.0);
    }
    println!("\na system prompt of some 2000 tokens that five apps share: first token, ms");
    for (name, waits) in [("talkied", ours), ("mlx_lm.server", theirs)] {
        let cold = waits[0];
        let warm: Samples = waits[1..].iter().copied().collect();
        let share = warm.median().unwrap_or(0.0) / cold;
        println!("{name:>14}: cold {cold:.0}, then {warm} ({share:.3} of it)");
    }
    Ok(())
}

fn row(crowd: &Crowd) -> String {
    let waits = crowd.waits();
    let wait = |share| waits.quantile(share).unwrap_or(0.0);
    format!("{:.2}, {:.0}, {:.0}", crowd.rate(), wait(0.5), wait(0.99))
}

/// Another for each question, of some 60 tokens.
fn short(question: u32) -> String {
    let town = ["Basel", "Vienna", "Prague", "Lyon", "Turin", "Bergen", "Porto"][question as usize % 7];
    format!(
        "Visitor number {question} comes to {town} by train, has one afternoon, likes rivers, old bridges and coffee, and \
         would rather walk than ride. Say in a few sentences where to go first, and what to leave for another day."
    )
}

/// The same beginning for all.
fn long(question: u32) -> String {
    let rule = "The assistant answers in one short sentence, names no brands, and never repeats the question. ";
    format!("{}Question {question}: which river is near?", rule.repeat(110))
}

/// Imports the model and gives the daemon its numbers in float32; the folder.
fn prepare(daemon: &Daemon, python: &Path, gguf: &Path) -> Result<PathBuf> {
    let mut connection = Connection::open(daemon)?;
    let imported = connection.import(gguf)?;
    let folder = daemon.folder().join("float32");
    command::output(Command::new(python).args(["-c", CAST]).arg(&imported.path).arg(&folder))?;
    connection.call::<Value>("models.import", &json!({ "path": folder, "model": MODEL }))?;
    Ok(folder)
}
