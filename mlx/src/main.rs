//! `talkied-mlx`: serves one model to the daemon that started it, whose socket is standard input; or, told to
//! `convert`, writes a model's folder anew.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use talkied_mlx::convert;

/// MLX takes some ten pieces of memory for every operation that it is told of. On Linux these calls come here too: the
/// loader takes a program's own `malloc` before the library's, with which a step's graph takes a quarter longer. macOS
/// binds symbols to libraries, so that this would serve Rust alone.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The MLX engine of talkied: serves a model on the socket that is its standard input
#[derive(Parser)]
#[command(name = "talkied-mlx", version)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Write a model's folder anew, as mlx-lm does, with its weights packed or in another type
    Convert(convert::Options),
    /// Say where models would be computed: cpu, or the name of a GPU
    Device,
}

fn main() -> std::io::Result<ExitCode> {
    #[cfg(target_os = "linux")]
    talkied_mlx::kernels::keep();
    match Arguments::parse().task {
        None => engine::serve::run(talkied_mlx::Mlx::new()).map(|()| ExitCode::SUCCESS),
        Some(Task::Convert(options)) => Ok(convert::run(&options)),
        Some(Task::Device) => {
            writeln!(std::io::stdout(), "{}", talkied_mlx::device()?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
