//! What can be typed about talkied as a service.
//!
//! Called by [`super`].

use std::path::PathBuf;

use clap::{Args, Subcommand};
use talkiectl::service::Manager;

use super::Logs;

/// The service.
#[derive(Debug, Args)]
pub struct ServiceCommand {
    /// Another manager than this system's, for tests
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub manager: Option<Manager>,
    /// What to do with it.
    #[command(subcommand)]
    pub what: Service,
}

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Have talkied started at login, and its socket listened on
    #[command(after_help = "\
What is set of talkied's variables (TALKIE_...) is written into the service,
which sees nothing else of this shell; keys (TALKIE_KEY_...) are not: keep them
with `talkiectl providers set-key`.

Example:
  talkiectl service install --dry-run")]
    Install(Install),
    /// Undo that; models and settings stay
    Uninstall(DryRun),
    /// Start what is installed, and listen
    Start(DryRun),
    /// Stop it after the requests that run, until the next start or login
    Stop(DryRun),
    /// Start it anew after the requests that run; those that come meanwhile wait
    Restart(DryRun),
    /// Show what is installed, whether it runs, and what is wrong with it
    Status,
    /// Show the log of talkied, as `talkiectl logs` does
    Logs(Logs),
}

/// How to install.
#[derive(Debug, Args)]
pub struct Install {
    /// Program of the daemon [default: talkied beside talkiectl]
    #[arg(long, value_name = "PATH")]
    pub program: Option<PathBuf>,
    /// Install anew also what is installed already
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// Whether to do it.
#[derive(Debug, Clone, Copy, Args)]
pub struct DryRun {
    /// Only show what would be written and run
    #[arg(long)]
    pub dry_run: bool,
}
