//! Keys of servers and other secrets: from the environment, the system's keychain, or a file of the user's own.
//!
//! All lie in the same places by their names, so that the key of a server can be used as a secret too. A key is a
//! [`SecretString`] from the moment it is read: it is wiped when dropped and shows in no debug form.

mod keychain;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use protocol::{ErrorData, KeyStatus, Kind, ProviderId, ProviderKind, Secret, SecretName};
use secrecy::{ExposeSecret, SecretString};

use crate::bounded;
use crate::error::invalid;
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
        self.look(&id.0, &variables(id, kind))
    }

    /// A secret. An error names what is wrong with one that is there.
    pub fn secret(&self, name: &SecretName) -> Result<Option<Found>, ErrorData> {
        check_name(name)?;
        self.look(&name.0, &[name.variable()])
    }

    /// The names of all secrets, with the place that each is taken from. `variables` are those of the environment.
    pub fn secrets(&self, variables: impl IntoIterator<Item = OsString>) -> Vec<Secret> {
        let variables = variables.into_iter().filter_map(|name| name.into_string().ok());
        let variables = variables.filter_map(|name| name.strip_prefix("TALKIE_KEY_").map(str::to_ascii_lowercase));
        let kept = self.keychain.then(keychain::names).unwrap_or_default().into_iter();
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = files.filter_map(|entry| entry.file_name().into_string().ok());
        let all = variables.map(|name| (name, KeyStatus::Environment));
        let all = all.chain(kept.map(|name| (name, KeyStatus::Keychain)));
        let mut secrets = BTreeMap::new();
        for (name, from) in all.chain(files.map(|name| (name, KeyStatus::File))) {
            let name = SecretName(name);
            // A variable is of all names that differ in `-` and `_`.
            let is_set = secrets.keys().any(|known: &SecretName| {
                secrets[known] == KeyStatus::Environment && known.variable() == name.variable()
            });
            if name.is_valid() && !is_set {
                secrets.entry(name).or_insert(from);
            }
        }
        secrets.into_iter().map(|(name, from)| Secret { name, from }).collect()
    }

    fn look(&self, name: &str, variables: &[String]) -> Result<Option<Found>, ErrorData> {
        for variable in variables {
            if let Some(text) = (self.environment)(variable).filter(|text| !text.trim().is_empty()) {
                return found(&text, &format!("the variable {variable}"), KeyStatus::Environment);
            }
        }
        if let Some(text) = self.keychain.then(|| keychain::get(name)).flatten() {
            return found(text.expose_secret(), "the keychain", KeyStatus::Keychain);
        }
        self.read(name)
    }

    /// Whether the keychain did not answer lately, so that a key may be there all the same.
    pub fn may_be_incomplete(&self) -> bool {
        self.keychain && keychain::has_stalled()
    }

    /// Keeps a key: in the keychain where there is one, else in a file.
    pub fn set(&self, name: &str, key: &SecretString) -> Result<(), ErrorData> {
        if self.keychain && keychain::set(name, key) {
            // One place only: what is set last is what holds.
            return self.remove_file(name).map(drop);
        }
        let kept = private::write(&self.path(name), key.expose_secret().as_bytes());
        kept.map_err(|error| self.failed("keep the key in", name, &error))
    }

    /// Forgets a key, wherever it is kept; false where it was nowhere.
    pub fn remove(&self, name: &str) -> Result<bool, ErrorData> {
        let was_in_keychain = self.keychain && keychain::remove(name);
        Ok(self.remove_file(name)? || was_in_keychain)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Result<Option<Found>, ErrorData> {
        let path = self.path(name);
        let shown = path.display();
        let (file, _) = match bounded::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.failed("read", name, &error))?,
        };
        let mode = file.metadata().map_err(|error| self.failed("read", name, &error))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let words =
                format!("others can read the key in {shown} (mode {mode:o}): chmod 600 it, and better get a new key");
            return Err(ErrorData::new(Kind::NotConfigured, words));
        }
        let text = bounded::read_text(&path, LONGEST as u64).map_err(|error| self.failed("read", name, &error))?;
        let text = SecretString::from(text);
        found(text.expose_secret(), &shown.to_string(), KeyStatus::File)
    }

    fn remove_file(&self, name: &str) -> Result<bool, ErrorData> {
        let path = self.path(name);
        let was_there = path.symlink_metadata().is_ok();
        private::remove(&path).map_err(|error| self.failed("remove", name, &error))?;
        Ok(was_there)
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> ErrorData {
        ErrorData::new(Kind::StorageFailed, format!("failed to {what} {}: {error}", self.path(name).display()))
    }
}

/// The variables that may have the key of a server, the first first: its own, then those that others use.
pub fn variables(id: &ProviderId, kind: ProviderKind) -> Vec<String> {
    let own = SecretName(id.0.clone()).variable();
    let others: &[&str] = match (kind, id.0.as_str()) {
        (ProviderKind::Gemini, "gemini") => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        (ProviderKind::Openai, "openai") => &["OPENAI_API_KEY"],
        _ => &[],
    };
    std::iter::once(own).chain(others.iter().map(|name| (*name).to_owned())).collect()
}

/// That a text can name a secret.
pub fn check_name(name: &SecretName) -> Result<(), ErrorData> {
    if name.is_valid() {
        return Ok(());
    }
    let shown: String = name.0.chars().take(100).collect();
    Err(invalid(format!("{shown:?} cannot name a secret: 1 to 64 lower-case letters, digits, - and _, a letter first")))
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
