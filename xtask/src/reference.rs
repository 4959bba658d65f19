//! The reference environment: Python with mlx-lm, whose numbers the tests compare the engine's with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::command;
use crate::error::{Error, Result};
use crate::setup::tools;

/// What decides the reference's numbers. MLX 0.32.2 lacks an argument that this mlx-lm passes for quantized experts.
const PINS: [&str; 4] = ["mlx-lm==0.32.2", "mlx[cpu]==0.32.4", "transformers==5.23.0", "tokenizers==0.23.3"];

/// Raised when `PINS` change, so that an older environment is not taken.
const RECIPE: u32 = 1;

/// The environment's Python, made where it is missing.
pub fn python(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.get_or_make(&format!("reference-{RECIPE}"), |folder| {
        eprintln!("making the reference environment: {}", PINS.join(" "));
        make(folder)
    })?;
    Ok(python_in(&folder))
}

/// The environment is renamed when it is complete: its Python finds itself, its scripts are not used.
fn make(folder: &Path) -> Result<()> {
    environment(folder)?;
    command::output(install(folder).arg("--only-binary=:all:").args(PINS))?;
    command::output(Command::new(python_in(folder)).args(["-c", "import mlx_lm"])).map(|_| ())
}

/// Makes an environment with nothing in it.
pub fn environment(folder: &Path) -> Result<()> {
    tools::python()?;
    can_make_environments()?;
    command::output(Command::new("python3").args(["-m", "venv"]).arg(folder)).map(|_| ())
}

/// What puts packages into it.
pub fn install(folder: &Path) -> Command {
    let mut pip = Command::new(python_in(folder));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// The Python of an environment.
pub fn python_in(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

fn can_make_environments() -> Result<()> {
    let probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    command::output(Command::new("python3").args(["-c", probe])).map(|_| ()).map_err(|_| Error::MissingTool {
        tool: "Python 3.10 or newer with venv",
        install: if cfg!(target_os = "macos") { "brew install python" } else { "sudo apt-get install python3-venv" },
    })
}
