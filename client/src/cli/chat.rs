//! What can be typed behind `chat`, `run`, `events`, `completions` and `man`.
//!
//! Called by [`super`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::generate::{Asked, Draws, Tools};

/// How to converse.
#[derive(Debug, Args)]
pub struct Chat {
    /// Begin with a conversation that `/save` has written
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Keep no history of what is typed
    #[arg(long)]
    pub no_history: bool,
    /// Show answers as they come, without bold, lists and the like
    #[arg(long)]
    pub plain: bool,
    /// Whom to ask and how.
    #[command(flatten)]
    pub asked: Asked,
}

/// Which prompt, with what in its places.
#[derive(Debug, Args)]
pub struct Run {
    /// A file with a prompt; `-` reads it from standard input
    pub file: PathBuf,
    /// What stands in the prompt as `{{key}}`; `{{input}}` is what is piped in
    #[arg(value_name = "KEY=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// Whom to ask and how.
    #[command(flatten)]
    pub asked: Asked,
    /// What the model may call.
    #[command(flatten)]
    pub tools: Tools,
    /// What only programs can take.
    #[command(flatten)]
    pub draws: Draws,
}

pub fn variable(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
    parts.filter(|(key, _)| !key.is_empty()).ok_or_else(|| "write it as key=value".into())
}

/// Until when.
#[derive(Debug, Args)]
pub struct Events {
    /// Tell what happens from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// For which shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that will read it
    pub shell: Shell,
}

/// A shell that can ask for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell, behind compinit
    Zsh,
    /// Fish
    Fish,
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this folder [default: print the first]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}
