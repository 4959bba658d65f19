//! What MLX is told of kernels for CUDA, by its environment.
//!
//! Where it keeps those that it compiles when they are first used: on an H200's host, 34 s for each height of a packed
//! product, 6 s for a write to some rows. By default that is the system's folder for temporary files, so that they would be
//! compiled again after every restart of the machine. Kernels of our own lie there too.
//!
//! And that it may forget: it keeps the last 400 graphs of kernels and the last 256 plans of attention, counts what it had to
//! make, and from twice as many on, each new one is an error ("Cache thrashing") for as long as the process lives. That may
//! help somebody who tunes a benchmark; an engine lives for weeks, and meets prompts of every length.
//!
//! And how many operations it gathers before the device gets them: 100 by default on an H200, which waits for them.

pub(crate) mod compiled;
pub(crate) mod custom;
pub(crate) mod nvrtc;
pub(crate) mod own;

use std::env;
use std::ffi::{CStr, OsString};
use std::path::PathBuf;

/// The folder of compiled kernels.
const FOLDER: &str = "MLX_PTX_CACHE_DIR";
/// Whether too many of what is kept for use again, and is not, is an error.
const COUNTS: &str = "MLX_ENABLE_CACHE_THRASHING_CHECK";

/// How many operations make a graph at most. Metal heeds it too, for which MLX has a number for each chip.
const OPERATIONS: &str = "MLX_MAX_OPS_PER_BUFFER";

/// Tells MLX so, where nothing else is asked for. To be called before any thread is started.
pub fn keep() {
    for (name, value) in settings(&version(), |name| env::var_os(name)) {
        // SAFETY: the process has one thread.
        unsafe { env::set_var(name, value) };
    }
}

/// What is to be set beside what `variable` has.
fn settings(version: &str, variable: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let folder = folder(version, |name| variable(name).map(PathBuf::from)).map(PathBuf::into_os_string);
    let operations = (!cfg!(target_os = "macos")).then(|| "40".into());
    let wanted = [(FOLDER, folder), (COUNTS, Some("0".into())), (OPERATIONS, operations)];
    let missing = wanted.into_iter().filter(|(name, _)| variable(name).is_none());
    missing.filter_map(|(name, value)| Some((name, value?))).collect()
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
