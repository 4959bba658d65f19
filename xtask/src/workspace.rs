//! What cargo and rustc say of this checkout: where it is, where mlx-sys is, and for which target it is built.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::command;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// The checkout and its mlx-sys crate.
pub struct Workspace {
    /// The folder of the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    pub target: PathBuf,
    /// The platform that rustc builds for.
    pub platform: Platform,
    /// mlx-sys's version.
    pub mlx_sys_version: String,
    /// Candle's version.
    pub candle_version: String,
    /// mlx-sys's folder of mlx-c sources.
    pub mlx_c: PathBuf,
}

impl Workspace {
    /// Asks cargo and rustc.
    pub fn find() -> Result<Self> {
        let text = command::output(cargo().args(["metadata", "--format-version", "1"]))?;
        let metadata: Metadata = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("failed to read cargo's metadata: {error}")))?;
        let mut packages = metadata.packages;
        let mut take = |name: &str| -> Result<Package> {
            let place = packages.iter().position(|package| package.name == name);
            let place = place.ok_or_else(|| Error::Unexpected(format!("the workspace does not depend on {name}")))?;
            Ok(packages.swap_remove(place))
        };
        let (mlx_sys, candle) = (take("mlx-sys")?, take("candle-core")?);
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            platform: Platform::of_triple(&host_triple()?)?,
            mlx_sys_version: mlx_sys.version,
            candle_version: candle.version,
            mlx_c: mlx_sys.manifest_path.with_file_name("src").join("mlx-c"),
        })
    }
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

fn host_triple() -> Result<String> {
    let text = command::output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Error::Unexpected("`rustc -vV` names no host".into()))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}
