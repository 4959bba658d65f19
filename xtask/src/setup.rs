//! `cargo xtask setup`: MLX from its published wheel, mlx-c compiled against it, and cargo told where both are.
//!
//! Replaces mlx-sys's own build script (its own build tools, Xcode, a download of MLX's sources) by cargo's build-script override.
//! What is made stands in the cache, keyed by everything it depends on; `.cargo/mlx.toml` in the checkout points there.

pub mod bindings;
mod config;
mod files;
mod mlxc;
pub mod pip;
pub mod tools;
mod version;
mod wheel;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cache::Cache;
use crate::error::Result;
use crate::platform::Backend;
use crate::workspace::Workspace;

/// Raised when the recipe below changes, so that what an older one made is not taken.
const RECIPE: u32 = 1;

/// What a set-up left behind.
pub struct Setup {
    /// The checkout that was set up.
    pub workspace: Workspace,
    /// Where everything is kept.
    pub cache: Cache,
}

/// Sets MLX up, if it is not, and writes the configuration for cargo.
pub fn run(backend: Option<Backend>) -> Result<Setup> {
    let workspace = Workspace::find()?;
    let config = workspace.root.join(".cargo/mlx.toml");
    let backend = backend.or_else(|| config::chosen(&config)).unwrap_or_else(|| workspace.platform.default_backend());
    workspace.platform.check(backend)?;
    let mlx_version = mlx_version(&workspace)?;
    let cache = Cache::open()?;
    let entry = key(&mlx_version, &workspace, backend);
    let started = Instant::now();
    let found = cache.find(&entry).is_some();
    let folder = cache.get_or_make(&entry, |folder| {
        eprintln!("setting up MLX {mlx_version}, {} build, for {}", backend.name(), workspace.platform.triple());
        make(folder, &workspace, backend, &mlx_version)
    })?;
    config::write(&config, workspace.platform, backend, &Layout::of(folder.clone()))?;
    let time = if found { String::new() } else { format!(" ({:.0} s)", started.elapsed().as_secs_f32()) };
    eprintln!("MLX {mlx_version} ({}) is set up in {}{time}", backend.name(), folder.display());
    Ok(Setup { workspace, cache })
}

/// The version of MLX that a checkout is set up with.
pub fn mlx_version(workspace: &Workspace) -> Result<String> {
    version::of_mlx(&workspace.mlx_c)
}

/// Where the parts of a set-up stand in its folder.
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    fn of(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The wheels, unpacked side by side: MLX finds its libraries relative to itself.
    fn wheels(&self) -> PathBuf {
        self.folder.join("wheels")
    }

    /// The folder of `libmlx`.
    fn libmlx(&self) -> PathBuf {
        self.wheels().join("mlx/lib")
    }

    /// The folder of MLX's headers.
    fn headers(&self) -> PathBuf {
        self.wheels().join("mlx/include")
    }

    /// The folder of `libmlxc.a`.
    fn libmlxc(&self) -> PathBuf {
        self.folder.join("mlxc")
    }

    /// The folder of `bindings.rs`.
    fn bindings(&self) -> PathBuf {
        self.folder.join("bindings")
    }
}

fn key(mlx_version: &str, workspace: &Workspace, backend: Backend) -> String {
    let (sys, triple) = (&workspace.mlx_sys_version, workspace.platform.triple());
    format!("mlx-{mlx_version}-sys-{sys}-{triple}-{}-{RECIPE}", backend.name())
}

fn make(folder: &Path, workspace: &Workspace, backend: Backend, mlx_version: &str) -> Result<()> {
    let tools = tools::find()?;
    let layout = Layout::of(folder.to_owned());
    wheel::unpack(backend, mlx_version, workspace.platform, &layout.wheels())?;
    mlxc::build(&tools, workspace, &layout.headers(), &layout.libmlxc())?;
    bindings::make(&tools, workspace, folder, &layout.bindings())
}
