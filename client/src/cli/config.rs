//! What can be typed about the configuration.
//!
//! Called by [`super`].

use clap::Subcommand;

/// What to do about the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show every setting, its value and where that is from
    #[command(after_help = "\
Shows what the running talkied goes by; where none runs, what one started now
would go by.

Example:
  talkiectl config show --json | jq '.settings[] | select(.source == \"file\")'")]
    Show,
    /// Write a file with the defaults, all of it comments
    Init {
        /// Replace the file that is there
        #[arg(long)]
        force: bool,
    },
    /// Say whether the configuration is right, and what is wrong
    Check,
    /// Have the running talkied read its file again
    Reload,
    /// Print where the file is, or would be
    Path,
    /// Print the JSON schema of the file, for editors
    #[command(after_help = "Example:\n  talkiectl config schema > config.schema.json")]
    Schema,
}
