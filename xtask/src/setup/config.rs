//! `.cargo/mlx.toml`: what tells cargo to take the MLX of the cache instead of running mlx-sys's build script.
//!
//! `.cargo/config.toml` includes the file where it exists. The keys `lib_dir` and `include` are no settings of cargo's: they
//! reach the build scripts of mlx-sys's dependents as `DEP_MLX_LIB_DIR`, from which `mlx/build.rs` makes the run path, and
//! `DEP_MLX_INCLUDE`, which mlx-sys's own build script gives too. Build scripts do not reach doc tests: these get theirs from
//! `rustdocflags`, which rebuild no crate as `rustflags` would.

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
    let name = text.lines().find_map(|line| line.strip_prefix("backend = "))?;
    Backend::from_str(name.trim_matches('"'), false).ok()
}

fn text(platform: Platform, backend: Backend, layout: &Layout) -> String {
    let search: Vec<String> =
        [layout.libmlxc(), layout.libmlx()].iter().map(|folder| format!("native={}", folder.display())).collect();
    format!(
        "# Written by `cargo xtask setup`.\n\
         [target.{triple}.mlx]\n\
         rustc-link-search = {search}\n\
         rustc-link-lib = {libs}\n\
         rustc-env = {{ OUT_DIR = {bindings} }}\n\
         lib_dir = {lib_dir}\n\
         include = {include}\n\
         backend = {backend}\n\
         \n\
         [target.{triple}]\n\
         rustdocflags = {doc_flags}\n",
        triple = platform.triple(),
        search = quoted(&search),
        libs = quoted(platform.link_libs()),
        bindings = quoted(&layout.bindings().display().to_string()),
        include = quoted(&layout.headers().display().to_string()),
        lib_dir = quoted(&layout.libmlx().display().to_string()),
        backend = quoted(backend.name()),
        doc_flags = quoted(&["-C".to_owned(), format!("link-arg=-Wl,-rpath,{}", layout.libmlx().display())]),
    )
}

/// A string or a list of strings in TOML, which are written as in JSON.
fn quoted(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings can be written")
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
