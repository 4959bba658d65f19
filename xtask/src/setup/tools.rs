//! The programs that set-up runs, and how to install the ones that are missing.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::command;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// The programs that compile mlx-c.
pub struct Tools {
    /// The C++ compiler: `$CXX`, else the first of `c++`, `g++`, `clang++`.
    pub cxx: PathBuf,
    /// The archiver: `$AR`, else `ar`.
    pub ar: PathBuf,
}

/// Finds the programs, or names the first that is missing.
pub fn find(platform: Platform) -> Result<Tools> {
    python(platform)?;
    let cxx = chosen("CXX", &["c++", "g++", "clang++"]);
    let ar = chosen("AR", &["ar"]);
    let missing = |tool, package| Error::MissingTool {
        tool,
        install: install(platform, package),
    };
    Ok(Tools {
        cxx: cxx.ok_or_else(|| missing("a C++ compiler", "sudo apt-get install g++"))?,
        ar: ar.ok_or_else(|| missing("ar", "sudo apt-get install binutils"))?,
    })
}

/// Checks that Python and its pip are there.
pub fn python(platform: Platform) -> Result<()> {
    if command::find("python3").is_none() {
        return Err(Error::MissingTool {
            tool: "python3",
            install: install(platform, "sudo apt-get install python3 python3-pip"),
        });
    }
    let pip = command::output(Command::new("python3").args(["-m", "pip", "--version"]));
    pip.map(|_| ()).map_err(|_| Error::MissingTool {
        tool: "Python's pip",
        install: install(platform, "sudo apt-get install python3-pip"),
    })
}

fn chosen(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let set = env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    set.or_else(|| names.iter().find_map(|name| command::find(name)))
}

/// On macOS the command line tools hold all of them.
fn install(platform: Platform, on_linux: &'static str) -> &'static str {
    if platform == Platform::Mac {
        "xcode-select --install"
    } else {
        on_linux
    }
}
