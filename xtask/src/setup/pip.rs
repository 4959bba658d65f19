//! Fetching packages with pip, without installing any of them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::error::{Error, Result};

/// Whether a package comes alone or with what it requires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Requirements {
    /// The package alone.
    Leave,
    /// The package and all that it requires.
    Fetch,
}

/// Fetches the wheels of a requirement such as `name==1.2` into `folder` and returns their paths.
///
/// Wheels that hold Python code for one version only are not considered, so any `python3` with pip serves.
/// `platform` is pip's name of the platform, where it is not to be found out by pip itself.
pub fn download(
    requirement: &str,
    requirements: Requirements,
    platform: Option<&str>,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]);
    pip.args([
        "--implementation",
        "py",
        "--abi",
        "none",
        "--python-version",
        "3.12",
    ]);
    if requirements == Requirements::Leave {
        pip.arg("--no-deps");
    }
    if let Some(platform) = platform {
        pip.args(["--platform", platform]);
    }
    command::output(pip.arg("--dest").arg(folder).arg(requirement))?;
    wheels_in(folder)
}

/// Unpacks wheels side by side, as an installation would.
pub fn unpack(wheels: &[PathBuf], folder: &Path) -> Result<()> {
    for wheel in wheels {
        command::output(
            Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(wheel)
                .arg(folder),
        )?;
    }
    Ok(())
}

fn wheels_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(Error::io("read", folder))?;
    paths.retain(|path| path.extension() == Some(OsStr::new("whl")));
    paths.sort();
    Ok(paths)
}
