//! The tasks of this repository, run as `cargo xtask <task>`.
//!
//! Owns the command line. Results (paths, tables) go to standard output, progress to standard error. No task changes
//! anything outside the checkout's ignored files and the cache folder (`cache.rs`).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod bench;
mod cache;
mod command;
mod daemon;
mod demo;
mod error;
mod interrupt;
mod llama;
mod model;
mod nvrtc;
mod platform;
mod reference;
mod room;
mod setup;
mod test;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Extent;
use crate::bench::crowd::{Engines, Plan};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::platform::Backend;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the talkied repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch MLX for this machine and tell cargo where it is
    Setup {
        /// The build of MLX [default: the one chosen last here, else metal on macOS and cpu on Linux]
        #[arg(long)]
        backend: Option<Backend>,
    },
    /// Fetch a model that the tests and the demo use, and print its path
    Model {
        /// Which
        #[arg(default_value = "smollm2")]
        model: Model,
    },
    /// Make the Python environment that the tests compare with, and print its Python's path
    Reference,
    /// Build llama.cpp with its server for Python, and print that Python's path
    Llama,
    /// Fetch NVIDIA's compiler, with which tests compile kernels for GPUs, and print its library's path
    Nvrtc,
    /// Build and start the daemon, import a model, ask it twice, and show how long it took
    Demo,
    /// Measure the daemon against mlx-lm and print a table; `target/bench` keeps the figures
    Bench {
        /// Fewer rounds, for a look at the order of magnitude
        #[arg(long)]
        quick: bool,
        /// Measure downloads beside `huggingface_hub`, and listings of models
        #[arg(long, conflicts_with_all = ["shape", "packed", "pack"])]
        library: bool,
        /// Measure Candle's engine beside llama.cpp and MLX's engine, with one thread and with all processors
        #[arg(long, conflicts_with_all = ["library", "shape", "packed", "pack"])]
        candle: bool,
        /// Measure many clients at once: of an engine with known steps, of the real one beside mlx-lm's server, or of both
        #[arg(long, value_name = "ENGINES", num_args = 0..=1, default_missing_value = "both")]
        #[arg(conflicts_with_all = ["library", "candle", "pack"])]
        crowd: Option<Engines>,
        /// So many clients at once, one number after the other
        #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "crowd")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
        clients: Option<Vec<u32>>,
        /// Measure the engine alone, or with `--crowd real` the daemon, on random weights in this shape, such as llama-3.2-3b
        #[arg(long, value_name = "NAME")]
        shape: Option<String>,
        /// Take everything from a folder that `--pack` filled, with `--shape` or `--crowd fake`; for machines without a network
        #[arg(long, value_name = "FOLDER")]
        #[arg(conflicts_with_all = ["library", "candle"])]
        packed: Option<PathBuf>,
        /// Measure nothing; fill this folder for `--packed`
        #[arg(long, value_name = "FOLDER", conflicts_with_all = ["shape", "packed", "quick"])]
        pack: Option<PathBuf>,
    },
    /// Check formatting, lints, licences, and run every test
    Test,
    /// Write bindings.rs; run by set-up in a process of its own, because libclang is found through the environment
    #[command(hide = true)]
    Bindings {
        /// The folder that holds mlx/c/*.h
        #[arg(long)]
        root: PathBuf,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
        /// Arguments for clang
        #[arg(last = true)]
        clang_args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Shown { code }) => ExitCode::from(Error::Shown { code }.exit_code()),
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup { backend } => setup::run(backend).map(|_| ()),
        Task::Model { model } => model.get(&Cache::open()?).map(|path| println!("{}", path.display())),
        Task::Nvrtc => nvrtc::library(&Cache::open()?).map(|path| println!("{}", path.display())),
        Task::Llama => llama::python(&Cache::open()?).map(|path| println!("{}", path.display())),
        Task::Reference => reference::python(&Cache::open()?).map(|path| println!("{}", path.display())),
        Task::Demo => demo::run(),
        Task::Bench { pack: Some(folder), .. } => bench::shape::pack(&folder),
        Task::Bench { shape: None, packed: Some(_), crowd, .. } if crowd != Some(Engines::Fake) => {
            Err(Error::Unexpected("--packed goes with --shape, or with --crowd fake".into()))
        }
        Task::Bench { quick, crowd: Some(engines), clients, shape, packed, .. } => {
            bench::crowd::run(&Plan { extent: extent(quick), engines, clients, shape, packed })
        }
        Task::Bench { quick, shape: Some(shape), packed, .. } => match packed {
            Some(folder) => bench::shape::run_packed(&shape, quick, &folder),
            None => bench::shape::run(&shape, quick),
        },
        Task::Bench { quick, candle: true, .. } => bench::candle::run(extent(quick)),
        Task::Bench { quick, library: true, .. } => bench::library::run(extent(quick)),
        Task::Bench { quick, .. } => bench::run(extent(quick)),
        Task::Test => test::run(),
        Task::Bindings { root, out, clang_args } => setup::bindings::write(&root, &out, &clang_args),
    }
}

fn extent(quick: bool) -> Extent {
    if quick { Extent::Quick } else { Extent::Full }
}
