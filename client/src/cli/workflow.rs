//! What can be typed about workflows and their runs.
//!
//! Called by [`super`].

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use protocol::RunState;

use super::chat::variable;
use crate::complete;

/// What to do with workflows.
#[derive(Debug, Subcommand)]
pub enum Workflow {
    /// List the workflows, and the last run of each
    Ls,
    /// Show one workflow and its steps
    Show(WorkflowName),
    /// Say everything that is wrong with workflows, by line and column
    #[command(
        after_help = "Example:\n  talkiectl workflow check memo.toml && cp memo.toml ~/.local/share/talkie/Workflows/"
    )]
    Check {
        /// A file, or the name of a workflow
        #[arg(required = true, add = ArgValueCandidates::new(complete::workflows))]
        files: Vec<String>,
    },
    /// Run one, show its steps, and print its last output
    #[command(after_help = "\
Standard input is the input TRANSCRIPT where it is a pipe or a file. The run is
talkied's: it goes on when this command ends, and after a crash.

Examples:
  talkiectl workflow run memo TITLE=Monday < memo.txt
  talkiectl workflow run memo --dry-run
  talkiectl workflow run memo --output tasks < memo.txt | jq .")]
    Run(RunWorkflow),
    /// List runs, the latest first
    Runs(Runs),
    /// Show what happened in a run
    #[command(visible_alias = "logs")]
    Log {
        /// The run
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
        /// Go on until it is at rest
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop a run; what it has done stays done
    Cancel {
        /// The run
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
    },
    /// Go on with a run that failed, or was cancelled or interrupted
    #[command(after_help = "\
What is done stays done. A run is interrupted where a crash left open whether a
step was done that may not be done twice; you say what is to be done with it.

Example:
  talkiectl workflow retry run_7 --skip")]
    Retry(Retry),
    /// Print the JSON Schema of a workflow's file, for editors
    Schema,
}

/// Which workflow.
#[derive(Debug, Args)]
pub struct WorkflowName {
    /// Its name, as `talkiectl workflow ls` shows it
    #[arg(add = ArgValueCandidates::new(complete::workflows))]
    pub name: String,
}

/// What to run.
#[derive(Debug, Args)]
pub struct RunWorkflow {
    /// Its name, as `talkiectl workflow ls` shows it
    #[arg(add = ArgValueCandidates::new(complete::workflows))]
    pub name: String,
    /// Inputs, as key=value
    #[arg(value_name = "KEY=VALUE", value_parser = variable)]
    pub inputs: Vec<(String, String)>,
    /// Take TRANSCRIPT from a file
    #[arg(short, long, value_name = "FILE")]
    pub transcript: Option<PathBuf>,
    /// Do nothing, and show what would be done
    #[arg(long, conflicts_with_all = ["detach", "output"])]
    pub dry_run: bool,
    /// Do not wait for its end, and print its id
    #[arg(short, long, conflicts_with = "output")]
    pub detach: bool,
    /// Print the output of this key instead of the last one
    #[arg(short, long, value_name = "KEY")]
    pub output: Option<String>,
}

/// Which runs.
#[derive(Debug, Args)]
pub struct Runs {
    /// Those of one workflow
    #[arg(add = ArgValueCandidates::new(complete::workflows))]
    pub name: Option<String>,
    /// Those in one state: waiting, running, finished, failed, cancelled, interrupted
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<RunState>,
    /// So many at most
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
}

/// How a run goes on.
#[derive(Debug, Args)]
pub struct Retry {
    /// The run
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// Do the step again that a crash left open
    #[arg(long)]
    pub again: bool,
    /// Pass by the step that failed, or that a crash left open
    #[arg(long, conflicts_with = "again")]
    pub skip: bool,
}

fn state(name: &str) -> Result<RunState, String> {
    let known = RunState::ALL.into_iter().find(|state| state.name() == name);
    known.ok_or_else(|| format!("there are {}", RunState::ALL.map(RunState::name).join(", ")))
}
