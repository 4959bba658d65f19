//! Keys of servers: from the environment, the system's keychain, or a file of the user's own.
//!
//! A key is a [`SecretString`] from the moment it is read: it is wiped when dropped and shows in no debug form.

mod keychain;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use protocol::{ErrorData, KeyStatus, Kind, ProviderId, ProviderKind};
use secrecy::{ExposeSecret, SecretString};

use crate::bounded;
use crate::private;

/// Longest key, in bytes.
const LONGEST: usize = 4096;

/// Where keys are kept.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Of files with one key each.
    folder: PathBuf,
    /// Whether the system's keychain is used.
    keychain: bool,
    /// What reads variables; the process's own environment but in tests.
    environment: fn(&str) -> Option<String>,
}

/// A key and where it is from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The key.
    pub key: SecretString,
    /// From where.
    pub from: KeyStatus,
}

impl Keys {
    /// Keys beside the rest of the daemon's state.
    pub fn new(home: &Path, keychain: bool) -> Self {
        Self { folder: home.join("keys"), keychain, environment: |name| std::env::var(name).ok() }
    }

    /// The key of a server. An error names what is wrong with one that is there.
    pub fn find(&self, id: &ProviderId, kind: ProviderKind) -> Result<Option<Found>, ErrorData> {
        for name in variables(id, kind) {
            if let Some(text) = (self.environment)(&name).filter(|text| !text.trim().is_empty()) {
                return found(&text, &format!("the variable {name}"), KeyStatus::Environment);
            }
        }
        if let Some(text) = self.keychain.then(|| keychain::get(id)).flatten() {
            return found(text.expose_secret(), "the keychain", KeyStatus::Keychain);
        }
        self.read(id)
    }

    /// Whether the keychain did not answer lately, so that a key may be there all the same.
    pub fn may_be_incomplete(&self) -> bool {
        self.keychain && keychain::has_stalled()
    }

    /// Keeps a key: in the keychain where there is one, else in a file.
    pub fn set(&self, id: &ProviderId, key: &SecretString) -> Result<(), ErrorData> {
        if self.keychain && keychain::set(id, key) {
            // One place only: what is set last is what holds.
            return self.remove_file(id);
        }
        let kept = private::write(&self.path(id), key.expose_secret().as_bytes());
        kept.map_err(|error| self.failed("keep the key in", id, &error))
    }

    /// Forgets a key, wherever it is kept.
    pub fn remove(&self, id: &ProviderId) -> Result<(), ErrorData> {
        if self.keychain {
            keychain::remove(id);
        }
        self.remove_file(id)
    }

    fn path(&self, id: &ProviderId) -> PathBuf {
        self.folder.join(&id.0)
    }

    fn read(&self, id: &ProviderId) -> Result<Option<Found>, ErrorData> {
        let path = self.path(id);
        let shown = path.display();
        let (file, _) = match bounded::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.failed("read", id, &error))?,
        };
        let mode = file.metadata().map_err(|error| self.failed("read", id, &error))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let words =
                format!("others can read the key in {shown} (mode {mode:o}): chmod 600 it, and better get a new key");
            return Err(ErrorData::new(Kind::NotConfigured, words));
        }
        let text = bounded::read_text(&path, LONGEST as u64).map_err(|error| self.failed("read", id, &error))?;
        let text = SecretString::from(text);
        found(text.expose_secret(), &shown.to_string(), KeyStatus::File)
    }

    fn remove_file(&self, id: &ProviderId) -> Result<(), ErrorData> {
        private::remove(&self.path(id)).map_err(|error| self.failed("remove", id, &error))
    }

    fn failed(&self, what: &str, id: &ProviderId, error: &io::Error) -> ErrorData {
        ErrorData::new(Kind::StorageFailed, format!("failed to {what} {}: {error}", self.path(id).display()))
    }
}

/// The variables that may have the key of a server, the first first: its own, then those that others use.
pub fn variables(id: &ProviderId, kind: ProviderKind) -> Vec<String> {
    let own = format!("TALKIE_KEY_{}", id.0.to_ascii_uppercase().replace('-', "_"));
    let others: &[&str] = match (kind, id.0.as_str()) {
        (ProviderKind::Gemini, "gemini") => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        (ProviderKind::Openai, "openai") => &["OPENAI_API_KEY"],
        _ => &[],
    };
    std::iter::once(own).chain(others.iter().map(|name| (*name).to_owned())).collect()
}

/// A key without the spaces around it. What is wrong is told without the key.
pub fn parse(text: &str) -> Result<SecretString, String> {
    let key = text.trim();
    if key.is_empty() || key.len() > LONGEST || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("is no key: 1 to {LONGEST} letters, digits and signs without spaces"));
    }
    Ok(SecretString::from(key))
}

/// A key that was found.
fn found(text: &str, place: &str, from: KeyStatus) -> Result<Option<Found>, ErrorData> {
    let key = parse(text).map_err(|why| ErrorData::new(Kind::NotConfigured, format!("{place} {why}")))?;
    Ok(Some(Found { key, from }))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
