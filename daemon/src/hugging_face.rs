//! Where the Hugging Face libraries keep things of this user, as their `constants` say.

use std::env;
use std::path::PathBuf;

/// Their folder: `HF_HOME`, else `huggingface` in the user's cache.
pub fn home() -> Option<PathBuf> {
    let cache = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    folder("HF_HOME").or_else(|| cache().map(|cache| cache.join("huggingface")))
}

/// The folder or file that a variable names; an empty one names none.
pub fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
