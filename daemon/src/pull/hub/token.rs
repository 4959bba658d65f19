//! The user's token for the hub: from `HF_TOKEN`, from the keychain, or from the file that `hf auth login` writes.

use std::env;
use std::fs;
use std::path::PathBuf;

use secrecy::SecretString;

/// Longest token that is taken.
const MAX_BYTES: usize = 4096;

/// The token, if the user has one. Its place is looked at anew for every download.
pub fn token() -> Option<SecretString> {
    let given = env::var("HF_TOKEN").ok().and_then(|text| sound(&text));
    let kept = given.or_else(|| keychain().and_then(|text| sound(&text)));
    kept.or_else(|| sound(&fs::read_to_string(file()?).ok()?)).map(SecretString::from)
}

/// What can stand in a header.
fn sound(text: &str) -> Option<String> {
    let text = text.trim();
    let is_sound = !text.is_empty() && text.len() <= MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_sound.then(|| text.to_owned())
}

/// Where `huggingface_hub` keeps it: as its `constants`.
fn file() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = folder("HF_TOKEN_PATH") {
        return Some(path);
    }
    let cache = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let home = folder("HF_HOME").or_else(|| cache().map(|cache| cache.join("huggingface")))?;
    Some(home.join("token"))
}

/// The login keychain's item of the service `talkied` and the account `huggingface`, as written by
/// `security add-generic-password -s talkied -a huggingface -w`. The system's own program reads it, which asks the user.
#[cfg(target_os = "macos")]
fn keychain() -> Option<String> {
    let mut security = std::process::Command::new("/usr/bin/security");
    let found = security.args(["find-generic-password", "-s", "talkied", "-a", "huggingface", "-w"]).output().ok()?;
    found.status.success().then(|| String::from_utf8_lossy(&found.stdout).into_owned())
}

#[cfg(not(target_os = "macos"))]
fn keychain() -> Option<String> {
    None
}
