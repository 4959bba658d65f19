//! The user's token for the hub: from `HF_TOKEN`, from the keychain, or from the file that `hf auth login` writes.

use std::env;
use std::fs;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::hugging_face;

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

/// Where `huggingface_hub` keeps it.
fn file() -> Option<PathBuf> {
    hugging_face::folder("HF_TOKEN_PATH").or_else(|| Some(hugging_face::home()?.join("token")))
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
