//! `.cargo/mlx.toml`: what tells cargo to take the MLX of the cache instead of running mlx-sys's build script.
//!
//! `.cargo/config.toml` includes the file where it exists. The key `lib_dir` is no setting of cargo's: it reaches
//! the build scripts of mlx-sys's dependents as `DEP_MLX_LIB_DIR`, from which `mlx/build.rs` makes the run path.

use std::fs;
use std::path::Path;

use clap::ValueEnum;

use super::Layout;
use crate::error::{Error, Result};
use crate::platform::{Backend, Platform};

/// Writes the file; one that says the same already is left alone, so that cargo rebuilds nothing.
pub fn write(path: &Path, platform: Platform, backend: Backend, layout: &Layout) -> Result<()> {
    let text = text(platform, backend, layout);
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let unfinished = path.with_extension("toml.unfinished");
    fs::write(&unfinished, text).map_err(Error::io("write", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Error::io("rename", &unfinished))
}

/// The backend that the file names, if there is one.
pub fn chosen(path: &Path) -> Option<Backend> {
    let text = fs::read_to_string(path).ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("backend = "))?;
    Backend::from_str(name.trim_matches('"'), false).ok()
}

fn text(platform: Platform, backend: Backend, layout: &Layout) -> String {
    let search: Vec<String> = [layout.libmlxc(), layout.libmlx()]
        .iter()
        .map(|folder| format!("native={}", folder.display()))
        .collect();
    format!(
        "# Written by `cargo xtask setup`.\n\
         [target.{triple}.mlx]\n\
         rustc-link-search = {search}\n\
         rustc-link-lib = {libs}\n\
         rustc-env = {{ OUT_DIR = {bindings} }}\n\
         lib_dir = {lib_dir}\n\
         backend = {backend}\n",
        triple = platform.triple(),
        search = quoted(&search),
        libs = quoted(platform.link_libs()),
        bindings = quoted(&layout.bindings().display().to_string()),
        lib_dir = quoted(&layout.libmlx().display().to_string()),
        backend = quoted(backend.name()),
    )
}

/// A string or a list of strings in TOML, which are written as in JSON.
fn quoted(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux() {
        let layout = Layout::of("/cache/mlx".into());
        assert_eq!(
            text(Platform::LinuxX86, Backend::Cpu, &layout),
            r#"# Written by `cargo xtask setup`.
[target.x86_64-unknown-linux-gnu.mlx]
rustc-link-search = ["native=/cache/mlx/mlxc","native=/cache/mlx/wheels/mlx/lib"]
rustc-link-lib = ["static=mlxc","dylib=mlx","stdc++"]
rustc-env = { OUT_DIR = "/cache/mlx/bindings" }
lib_dir = "/cache/mlx/wheels/mlx/lib"
backend = "cpu"
"#
        );
    }

    #[test]
    fn macos_links_the_frameworks() {
        let text = text(
            Platform::Mac,
            Backend::Metal,
            &Layout::of("/cache/mlx".into()),
        );
        assert!(text.contains("[target.aarch64-apple-darwin.mlx]\n"));
        assert!(
            text.contains(r#""framework=Foundation","framework=Metal","framework=Accelerate"]"#)
        );
    }

    #[test]
    fn the_backend_chosen_last_is_read_back() {
        let path = std::env::temp_dir().join(format!("xtask-config-{}.toml", std::process::id()));
        write(
            &path,
            Platform::LinuxX86,
            Backend::Cuda,
            &Layout::of("/cache/mlx".into()),
        )
        .unwrap();
        assert_eq!(chosen(&path), Some(Backend::Cuda));
        fs::remove_file(&path).unwrap();
        assert_eq!(chosen(&path), None);
    }
}
