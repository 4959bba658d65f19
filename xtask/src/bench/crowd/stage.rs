//! What is compared: the daemon and mlx-lm's server, which have the same weights and are asked the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Asker;
use super::server::{Completion, Demand, Server};
use super::{Plan, shared};
use crate::bench::Extent;
use crate::bench::connection::Connection;
use crate::bench::shape::{self, Tools};
use crate::cache::Cache;
use crate::command;
use crate::daemon::Daemon;
use crate::error::{Result, chain};
use crate::interrupt::Interrupt;
use crate::model::Model;

/// The model's id.
const MODEL: &str = "bench/first";

/// What the daemon and mlx-lm's server are told to compute at once, at least.
const BATCH: u32 = 16;

/// Makes all numbers float32, which a processor computes forty times faster than what is imported.
const CAST: &str = "
import sys
from mlx_lm.utils import load, save
import mlx.core as mx
model, tokenizer, config = load(sys.argv[1], return_config=True)
model.set_dtype(mx.float32)
save(sys.argv[2], sys.argv[1], model, tokenizer, config)
";

/// Both of them, running. Fields are dropped in order: the server's log lies in the daemon's home.
pub struct Stage {
    /// Not there where it did not start.
    server: Option<Server>,
    /// The one that is measured.
    pub daemon: Daemon,
    /// What both have loaded.
    pub weights: Weights,
    /// Clients at once.
    pub levels: Vec<u32>,
    /// Questions of each client.
    pub questions: u32,
    /// Whether each number of clients is tried before it is measured: a GPU's kernels are compiled when they are first used.
    pub rehearses: bool,
}

/// A model.
pub struct Weights {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is.
    pub name: String,
    /// Tokens of an answer: as many as take some seconds.
    pub tokens: u32,
    /// Tokens that end an answer and could be drawn, each with a bias that forbids it.
    ends: Value,
}

impl Stage {
    /// Starts both; that mlx-lm's server does not start is said, and no more.
    pub fn open(plan: &Plan, interrupt: &Interrupt) -> Result<Self> {
        let tools = plan.packed.as_deref().map_or_else(Tools::here, Tools::packed)?;
        let usual: &[u32] = if plan.shape.is_some() { &[1, 4, 16, 64] } else { &[1, 4, 16] };
        let levels = plan.levels(usual);
        let most = levels.iter().copied().max().unwrap_or_default();
        let daemon = start(&tools, most, interrupt)?;
        let weights = match &plan.shape {
            Some(shape) => Weights::random(&tools, shape)?,
            None => Weights::of_smollm2(&daemon, &tools.python, plan.extent)?,
        };
        let import = json!({ "path": weights.folder, "model": MODEL });
        Connection::open(&daemon)?.call::<Value>("models.import", &import)?;
        // A processor computes the long prompt for minutes, a GPU for less than a second.
        let patience = Duration::from_mins(if plan.packed.is_some() { 2 } else { 15 });
        let demand = Demand { clients: most, patience, log: daemon.folder().join("mlx_lm.log") };
        let server = Server::start(&tools.python, &weights.folder, demand, interrupt);
        let server = server.inspect_err(|error| eprintln!("without mlx_lm.server: {}", chain(error))).ok();
        let questions = if plan.extent == Extent::Quick { 1 } else { 3 };
        Ok(Self { server, daemon, weights, levels, questions, rehearses: plan.shape.is_some() })
    }

    /// A client of the daemon.
    pub fn ours(&self, tokens: u32, prompt: fn(u32) -> String) -> Result<Asker> {
        self.asker(prompt, json!({ "max_tokens": tokens }))
    }

    /// One whose answer goes on to so many tokens, whatever the model would.
    pub fn endless(&self, tokens: u32, prompt: fn(u32) -> String) -> Result<Asker> {
        self.asker(prompt, json!({ "max_tokens": tokens, "logit_bias": self.weights.ends }))
    }

    fn asker(&self, prompt: fn(u32) -> String, mut options: Value) -> Result<Asker> {
        options["temperature"] = 0.into();
        options["speculation"] = "off".into();
        Ok(Asker::new(Connection::open(&self.daemon)?, MODEL, prompt, &options))
    }

    /// A client of mlx-lm's server, where that runs.
    pub fn theirs(&self, tokens: u32, prompt: fn(u32) -> String) -> Option<Completion> {
        Some(self.server.as_ref()?.client(tokens, prompt))
    }

    /// Prints what both wrote.
    pub fn show_logs(&self) {
        self.daemon.show_log();
        if let Some(server) = &self.server {
            server.show_log();
        }
    }
}

fn start(tools: &Tools, clients: u32, interrupt: &Interrupt) -> Result<Daemon> {
    let batch = clients.max(BATCH).to_string();
    let mut daemon = Daemon::start_of(&tools.programs, &tools.programs.join(shape::ENGINE), &["--batch", &batch])?;
    let listening = daemon.wait_until_listening(interrupt);
    if listening.is_err() {
        daemon.show_log();
    }
    listening.map(|_| daemon)
}

impl Weights {
    fn random(tools: &Tools, shape: &str) -> Result<Self> {
        let text = format!("{} {}", (0..7).map(short).collect::<String>(), shared::RULE);
        let folder = shape::weights_with_words(tools, shape, &text)?;
        let name = format!("{shape} with random weights, 4 bits in groups of 64");
        Ok(Self { folder, name, tokens: 128, ends: json!({}) })
    }

    /// Imported, and with its numbers in float32.
    fn of_smollm2(daemon: &Daemon, python: &Path, extent: Extent) -> Result<Self> {
        let imported = Connection::open(daemon)?.import(&Model::Smollm2.get(&Cache::open()?)?)?;
        let folder = daemon.folder().join("float32");
        command::output(Command::new(python).args(["-c", CAST]).arg(&imported.path).arg(&folder))?;
        let tokens = if extent == Extent::Quick { 8 } else { 32 };
        Ok(Self { folder, name: "SmolLM2-135M in float32".into(), tokens, ends: json!({ "0": -1000, "2": -1000 }) })
    }
}

/// Another prompt for each question, of some 60 tokens.
pub fn short(question: u32) -> String {
    let town = ["Basel", "Vienna", "Prague", "Lyon", "Turin", "Bergen", "Porto"][question as usize % 7];
    format!(
        "Visitor number {question} comes to {town} by train, has one afternoon, likes rivers, old bridges and coffee, and \
         would rather walk than ride. Say in a few sentences where to go first, and what to leave for another day."
    )
}
