//! llama.cpp beside talkied: Python with llama-cpp-python and its server, which is built here since it comes as source.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::command;
use crate::error::Result;
use crate::reference::{environment, install, python_in};

/// What the tests ask, and the benches compare with.
const PIN: &str = "llama-cpp-python[server]==0.3.36";

/// Raised when the environment is made in another way, so that an older one is not taken.
const RECIPE: u32 = 1;

/// Leaves out what is not asked: pictures, tools, examples, tests.
const CMAKE: &str = "-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF";

/// The environment's Python, made where it is missing: some minutes on two cores.
pub fn python(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.get_or_make(&format!("llama-{RECIPE}"), |folder| {
        eprintln!("building llama.cpp: {PIN}");
        make(folder)
    })?;
    Ok(python_in(&folder))
}

fn make(folder: &Path) -> Result<()> {
    environment(folder)?;
    command::output(install(folder).args(["--only-binary=:all:", "cmake", "ninja"]))?;
    let programs = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&programs));
    let mut build = install(folder);
    if let Ok(programs) = std::env::join_paths(programs) {
        build.env("PATH", programs);
    }
    command::output(build.env("CMAKE_ARGS", CMAKE).arg(PIN))?;
    command::output(Command::new(python_in(folder)).args(["-c", "import llama_cpp.server"])).map(|_| ())
}
