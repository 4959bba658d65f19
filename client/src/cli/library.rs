//! What can be typed about the models on disk: the catalogue, downloads, imports, removals.
//!
//! Called by [`super`].

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;

use crate::complete;

/// What of the catalogue.
#[derive(Debug, Args)]
pub struct Catalogue {
    /// Only models that this machine has the memory for
    #[arg(long)]
    pub fits: bool,
}

/// What to download.
#[derive(Debug, Args)]
pub struct Pull {
    /// Its id on the hub: `org/name`
    #[arg(add = ArgValueCandidates::new(complete::catalogue))]
    pub model: String,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "NAME")]
    pub revision: Option<String>,
    /// Show nothing until the end
    #[arg(long)]
    pub wait: bool,
    /// Begin and do not wait
    #[arg(long, conflicts_with = "wait")]
    pub detach: bool,
}

/// What to do with a download.
#[derive(Debug, Subcommand)]
pub enum Pulls {
    /// Stop a download and keep what it has
    Pause(PullName),
    /// Go on with a download that was paused or has failed
    Resume(PullName),
    /// Give a download up and remove what it has
    Cancel(PullName),
}

/// Which download.
#[derive(Debug, Args)]
pub struct PullName {
    /// Id of its model, as `talkiectl pulls` shows it
    #[arg(add = ArgValueCandidates::new(complete::pulls))]
    pub model: String,
}

/// What to make into a model.
#[derive(Debug, Args)]
pub struct Import {
    /// A GGUF file, a folder with an MLX model, or one with safetensors
    pub path: PathBuf,
    /// Id of the new model [default: local/ and the name of the file or folder]
    #[arg(short, long, value_name = "ID")]
    pub model: Option<String>,
    /// Copy the files of a folder even where links would do
    #[arg(long)]
    pub copy: bool,
    /// Pack the weights of a folder into 2, 3, 4, 5, 6 or 8 bits [default: as they are]
    #[arg(long, value_name = "N")]
    pub bits: Option<u32>,
    /// Let 32, 64 or 128 packed weights share a scale [default: 64]
    #[arg(long, value_name = "N", requires = "bits")]
    pub group_size: Option<u32>,
}

/// What to remove.
#[derive(Debug, Args)]
pub struct Rm {
    /// Their ids, as `talkiectl models` shows them
    #[arg(required = true, value_name = "MODEL", add = ArgValueCandidates::new(complete::installed))]
    pub models: Vec<String>,
    /// Also where requests use it: `wait` for their end, or `cancel` them [default: refuse]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub force: Option<Force>,
}

/// What becomes of the requests that use a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Force {
    /// They end first
    Wait,
    /// They are cancelled
    Cancel,
}

impl From<Force> for protocol::Force {
    fn from(force: Force) -> Self {
        match force {
            Force::Wait => Self::Wait,
            Force::Cancel => Self::Cancel,
        }
    }
}
