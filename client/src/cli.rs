//! What can be typed: commands, options and their help. Nothing is done here.
//!
//! Called by `main`. What has many options has a file: [`generate`], and [`library`] for the models on disk.

mod chat;
mod config;
mod generate;
mod library;
mod providers;
mod secret;
mod service;
mod turn;
mod workflow;

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use protocol::KeepAlive;
use talkiectl::Exit;

use crate::{complete, render};
pub use chat::{Chat, Completions, Events, Man, Run, Shell};
pub use config::Config;
pub use generate::{Asked, Draws, Format, Generate, Tools};
pub use library::{Catalogue, Import, Pull, PullName, Pulls, Rm};
pub use providers::{ProviderName, Providers, SetProvider, Usage};
pub use secret::{SecretArgument, SecretCommand};
pub use service::{DryRun, Install, Service, ServiceCommand};
pub use workflow::{Retry, RunWorkflow, Runs, Workflow};

/// Talk to talkied, which keeps language models warm for all apps of a user.
#[derive(Debug, Parser)]
#[command(
    name = "talkiectl",
    version,
    max_term_width = 80,
    after_help = exit_codes(),
    arg_required_else_help = true
)]
pub struct Cli {
    /// Where talkied listens [default: `TALKIE_SOCKET`, else the user's own]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Everywhere")]
    pub socket: Option<PathBuf>,
    /// Print JSON: results on standard output, errors on standard error
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Do not start talkied where it does not run
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub no_start: bool,
    /// Print no progress and no notes
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Words,
    /// For programs.
    Json,
}

/// Narrower terminals show what an option does below it, since nothing beside it would be legible.
const NARROW_COLUMNS: usize = 60;

impl Cli {
    /// What was typed.
    pub fn from_arguments() -> Result<Self, clap::Error> {
        let columns = render::columns(&std::io::stdout()).or_else(|| render::columns(&std::io::stderr()));
        let is_narrow = columns.is_some_and(|columns| columns < NARROW_COLUMNS);
        Self::from_arg_matches(&Self::command().next_line_help(is_narrow).try_get_matches()?)
    }

    /// How things are shown.
    pub fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Words }
    }
}

fn exit_codes() -> String {
    let rows = Exit::TABLE.map(|(exit, meaning)| format!("  {:<4}{meaning}\n", exit.code()));
    format!(
        "Exit codes:\n{}\nps, top, status, ping, events, cancel, unload, config, stop, logs and doctor\nnever start talkied; service has the system do so; the others do.",
        rows.concat()
    )
}

/// How much of the log.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// How many lines, the last
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// How the live view is shown.
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Between two looks, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// Show one picture, of one interval, and end
    #[arg(long)]
    pub once: bool,
}

/// A time between two looks: short enough for people, long enough for the daemon.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number from 0.1 to 3600 is needed".into())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer a prompt; the text comes as it is made
    #[command(after_help = "\
Examples:
  talkiectl generate \"Name three rivers\"
  cat notes.md | talkiectl generate \"Summarise in one sentence\"
  talkiectl generate \"Name a river as JSON\" --json-schema river.json
  talkiectl generate -m org/name --temperature 0 --seed 1 - < prompt.txt")]
    Generate(Box<Generate>),
    /// Converse with a model; Ctrl-C stops an answer, Ctrl-D ends
    #[command(after_help = "\
/help lists what else can be typed there. Where standard input is no terminal,
each line is a turn, and the first failure ends it.

Examples:
  talkiectl chat -m org/name --system \"Be brief.\"
  talkiectl chat saved.json")]
    Chat(Box<Chat>),
    /// Answer a prompt from a file, with variables put in
    #[command(after_help = "\
The file may begin with TOML between two lines `+++`: options as above, with `_`
in place of `-`, and the defaults of its variables:

  +++
  model = \"org/name\"
  temperature = 0
  [variables]
  tone = \"friendly\"
  +++
  Answer this letter in a {{tone}} tone:
  {{input}}

Options and variables given here go before those of the file.

Example:
  talkiectl run reply.md tone=formal < letter.txt")]
    Run(Box<Run>),
    /// List the models on disk
    #[command(after_help = "Example:\n  talkiectl models --json | jq -r '.models[].id'")]
    Models,
    /// Show the models in memory and the requests that wait or run
    Ps,
    /// Watch models, requests and rates; q ends
    #[command(after_help = "\
Rates are of the last interval, and so are the times to the first token: half of
the requests had theirs within P50, nine of ten within P90. Where input or
output is no terminal there is one picture; with --json, a line for each
interval. When talkied ends, this waits until it is back.

Examples:
  talkiectl top --interval 5
  talkiectl top --json | jq .rates.tokens_per_s")]
    Top(Top),
    /// Load a model and wait until it is warm
    #[command(after_help = "Example:\n  talkiectl load org/name --keep-alive 1h")]
    Load {
        /// Its id, as `talkiectl models` shows it
        #[arg(add = ArgValueCandidates::new(complete::installed))]
        model: String,
        /// Keep it warm this long after its last request: 90s, 5m, 2h, forever
        #[arg(long, value_name = "TIME")]
        keep_alive: Option<KeepAlive>,
    },
    /// Give a model's memory back
    Unload {
        /// Its id, as `talkiectl ps` shows it
        #[arg(add = ArgValueCandidates::new(complete::in_memory))]
        model: String,
    },
    /// List models that are known to work, whether or not they are on disk
    #[command(after_help = "\
NEEDS is memory, with a conversation of 4096 tokens. Others may work too: any id
of the hub can be pulled.

Example:
  talkiectl catalogue --fits")]
    Catalogue(Catalogue),
    /// Download a model and wait until it is installed
    #[command(after_help = "\
The download is talkied's: it goes on when this command ends, and after a crash.

Examples:
  talkiectl pull mlx-community/SmolLM2-135M-Instruct
  talkiectl pull org/name --detach; talkiectl pulls")]
    Pull(Pull),
    /// List the downloads; pause, resume or cancel one
    #[command(after_help = "Example:\n  talkiectl pulls pause org/name")]
    Pulls {
        /// What to do with one.
        #[command(subcommand)]
        what: Option<Pulls>,
    },
    /// Make a GGUF file or a folder into a model
    #[command(after_help = "\
Examples:
  talkiectl import ~/Downloads/model.gguf --model org/name
  talkiectl import ~/checkpoint --bits 4")]
    Import(Import),
    /// Read every byte of a model and compare it with what is known of it
    Verify {
        /// Its id, as `talkiectl models` shows it
        #[arg(add = ArgValueCandidates::new(complete::installed))]
        model: String,
    },
    /// Remove models from the disk
    #[command(after_help = "Example:\n  talkiectl rm org/name --force wait")]
    Rm(Rm),
    /// Show what models take of the disk
    Du,
    /// List who can answer: this machine and servers; change or test one
    #[command(after_help = "\
The order is that in which they are asked where a request names none.

Examples:
  talkiectl providers set-key gemini
  talkiectl generate -p gemini \"Name three rivers\"
  talkiectl providers set cluster --url http://gpu1:8000/v1")]
    Providers {
        /// What to do with one.
        #[command(subcommand)]
        what: Option<Providers>,
    },
    /// Keep secrets that workflows use by their names
    #[command(after_help = "Example:\n  talkiectl secret set my-hook")]
    Secret {
        /// What to do.
        #[command(subcommand)]
        what: SecretCommand,
    },
    /// Show the tokens that were used, and what they cost
    #[command(after_help = "\
COST is of servers' tokens, by the prices that talkied knows; those of this
machine cost nothing.

Example:
  talkiectl usage --days 7 --by day,app")]
    Usage(Usage),
    /// List workflows, run one, and look after its runs
    #[command(after_help = "\
A workflow is a file in the folder `Workflows` of talkied's home: steps that ask
models, run programs, call servers and write files.

Examples:
  talkiectl workflow ls
  talkiectl workflow run memo < memo.txt
  talkiectl workflow log run_7 --follow")]
    Workflow {
        /// What to do.
        #[command(subcommand)]
        what: Workflow,
    },
    /// Show what talkied is set to; check, write or reload its file
    #[command(after_help = "\
An option of talkied goes before a variable, and that before the file.

Examples:
  talkiectl config init
  talkiectl config check && talkiectl config reload")]
    Config {
        /// What to do about it.
        #[command(subcommand)]
        what: Config,
    },
    /// Show what talkied is doing
    Status,
    /// Show the log of talkied
    #[command(after_help = "Example:\n  talkiectl logs -n 20 --follow")]
    Logs(Logs),
    /// Look for what is wrong, and say how it is mended
    #[command(after_help = "\
A finding is a warning or a problem; below it stands the command that mends it.
A word in capitals there is yours to choose. With --quiet only findings are
shown.

Examples:
  talkiectl doctor --quiet
  talkiectl doctor --json | jq -r '.findings[] | select(.fix) | .fix'")]
    Doctor {
        /// Remove the reports of what broke
        #[arg(long)]
        clear: bool,
    },
    /// Measure a round trip to talkied
    #[command(after_help = "Example:\n  talkiectl ping --count 1000")]
    Ping {
        /// How many round trips
        #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
    },
    /// Show models and downloads; with --follow, what happens to them
    #[command(after_help = "Example:\n  talkiectl events --follow --json | jq .type")]
    Events(Events),
    /// End a request of any app
    Cancel {
        /// Its id, as `talkiectl ps` shows it
        request_id: String,
    },
    /// End talkied after the requests that run
    Stop,
    /// Install talkied as a service of your login, and look after it
    Service(ServiceCommand),
    /// Print what a shell needs to complete commands and models
    #[command(after_help = "\
Examples:
  eval \"$(talkiectl completions bash)\"     # in ~/.bashrc
  eval \"$(talkiectl completions zsh)\"      # in ~/.zshrc, behind compinit
  talkiectl completions fish > ~/.config/fish/completions/talkiectl.fish")]
    Completions(Completions),
    /// Write manual pages
    #[command(hide = true)]
    Man(Man),
}
