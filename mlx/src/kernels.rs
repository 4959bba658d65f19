//! Where MLX keeps the kernels that it compiles for CUDA when they are first used: on an H200's host, 34 s for each height of
//! a packed product, 6 s for a write to some rows. By default that is the system's folder for temporary files, so that they
//! would be compiled again after every restart of the machine. Kernels of our own lie there too.

pub(crate) mod nvrtc;
pub(crate) mod own;

use std::env;
use std::ffi::CStr;
use std::path::PathBuf;

/// MLX's own variable.
const VARIABLE: &str = "MLX_PTX_CACHE_DIR";

/// Has MLX keep them among the user's caches, where nothing else is asked for. To be called before any thread is
/// started.
pub fn keep() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    if let Some(folder) = folder(&version(), |name| env::var_os(name).map(PathBuf::from)) {
        // SAFETY: the process has one thread.
        unsafe { env::set_var(VARIABLE, folder) };
    }
}

/// `$XDG_CACHE_HOME` or `~/.cache`, and in it one for this version of MLX.
fn folder(version: &str, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let caches = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let caches = caches.or_else(|| Some(variable("HOME").filter(|path| path.is_absolute())?.join(".cache")))?;
    Some(caches.join("talkie").join("mlx-kernels").join(version))
}

/// Of the library that is loaded, whose kernels others must not read.
fn version() -> String {
    // SAFETY: the handle is ours from its making to its end; its text is copied while it lives.
    unsafe {
        let mut handle = mlx_sys::mlx_string_new();
        let status = mlx_sys::mlx_version(&raw mut handle);
        let text = mlx_sys::mlx_string_data(handle);
        let version = if status == 0 && !text.is_null() { CStr::from_ptr(text).to_string_lossy() } else { "".into() };
        let version = version.into_owned();
        mlx_sys::mlx_string_free(handle);
        version
    }
}

#[cfg(test)]
#[path = "kernels_tests.rs"]
mod tests;
