//! Writes a model's folder anew: its weights in mlx-lm's layout, packed in few bits or in another type.
//!
//! What comes out is what `mlx_lm.convert` makes. A model is "loaded" with stand-ins first (`weights/recording.rs`), so
//! that renames, stacked experts and dropped tensors are what the engine itself knows of an architecture, and a folder
//! that it could not load is refused before anything is written. Then each tensor is read, packed, written and dropped,
//! one after the other: no more of the model is ever in memory. Called by the program's `convert`.

mod config;
mod documents;
mod plan;
mod program;
mod shards;
mod target;

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use engine::convert::{BITS, GROUP_SIZES, Progress};

use self::plan::Plan;
use self::shards::Shards;
use self::target::Target;
use crate::config::Config;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::weights::{Recorded, Weights};

pub use self::program::run;

/// Where MLX is to find no more than one tensor.
const BUFFERS_BYTES: usize = 64 << 20;

/// What to convert, and into what.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder of the model, with config.json and safetensors; it is not changed
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Folder to write, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Bits of each weight of a matrix: 2, 3, 4, 5, 6 or 8 [default: weights are not packed]
    #[arg(long, value_name = "N", value_parser = bits)]
    pub bits: Option<u32>,
    /// Weights that share a scale: 32, 64 or 128
    #[arg(long, value_name = "N", default_value_t = 64, requires = "bits", value_parser = group_size)]
    pub group_size: u32,
    /// Type of all other numbers [default: the one config.json names, else as they are]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Float>,
}

/// A type that weights may be kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Float {
    /// 16 bits, of which 5 are exponent.
    Float16,
    /// 16 bits, of which 8 are exponent.
    Bfloat16,
    /// 32 bits.
    Float32,
}

fn bits(text: &str) -> std::result::Result<u32, String> {
    one_of(text, &BITS)
}

fn group_size(text: &str) -> std::result::Result<u32, String> {
    one_of(text, &GROUP_SIZES)
}

fn one_of(text: &str, known: &[u32]) -> std::result::Result<u32, String> {
    let number = text.parse().ok().filter(|number| known.contains(number));
    number.ok_or_else(|| format!("only {known:?} are known"))
}

/// Writes the folder. `progress` is called before the first tensor and after each, and can end it; then and after an
/// error nothing is left at the target.
pub fn convert(options: &Options, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<()> {
    convert_in(shards::MOST_BYTES, options, progress)
}

/// The same with weight files of another size.
fn convert_in(
    shard_bytes: u64,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<()> {
    let device = Device::open()?;
    mlx_rs::memory::set_cache_limit(BUFFERS_BYTES)?;
    device.scope(|| {
        let config = Config::read(&options.from)?;
        let settings = config::Settings::read(&config, options)?;
        let tensors = recorded(options, &config, &device)?;
        let plan = Plan::new(tensors, &settings)?;
        let config = settings.config(&plan);
        let shards = Shards::new(plan, shard_bytes)?;
        let total_bytes = shards.bytes();
        let mut report = |done_bytes| match progress(Progress { done_bytes, total_bytes }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
        report(0)?;
        let target = Target::create(&options.to)?;
        documents::copy(&options.from, &target)?;
        target.write_json("model.safetensors.index.json", &shards.index())?;
        shards.write(&target, &mut report)?;
        // Last, for without it the folder is no model.
        target.write_json("config.json", &config)?;
        target.finish()
    })
}

/// All tensors of the model that the folder holds, none of them read.
fn recorded(options: &Options, config: &Config, device: &Device) -> Result<Vec<Recorded>> {
    let mut unheard = |_, _| {};
    let mut weights = Weights::open(&options.from, config.quantization(), device, &mut unheard)?.recording();
    // The model goes: its arrays are stand-ins.
    Network::load(config, &mut weights)?;
    weights.recorded()
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
