//! Where secrets of this process must not go: into its children's environment, and into core files.

use std::env;
use std::ffi::OsString;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Variables that may be secrets: a child that does not need them is started without.
pub fn variables() -> Vec<OsString> {
    let is_secret = |name: &str| name.starts_with("TALKIE_KEY_") || name.ends_with("_API_KEY") || name == "HF_TOKEN";
    env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_secret)).collect()
}

/// Has the system write no core file when this process crashes: memory may hold keys and prompts.
pub fn forbid_core_files() {
    let limit = getrlimit(Resource::Core);
    if let Err(error) = setrlimit(Resource::Core, rustix::process::Rlimit { current: Some(0), ..limit }) {
        tracing::warn!("core files cannot be forbidden: {error}");
    }
}
