//! What can be typed about secrets of workflows.
//!
//! Called by [`super`].

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::complete;

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// List their names, and where each is from
    Ls,
    /// Keep one: read without echo, or from standard input
    #[command(after_help = "\
Example:
  talkiectl secret set my-hook
  pass show my-hook | talkiectl secret set my-hook")]
    Set(SecretArgument),
    /// Forget one
    Rm(SecretArgument),
}

/// Which secret.
#[derive(Debug, Args)]
pub struct SecretArgument {
    /// Its name: lower-case letters, digits, `-` and `_`, a letter first
    #[arg(add = ArgValueCandidates::new(complete::secrets))]
    pub name: String,
}
