//! The system's own place for secrets, where there is one: the login keychain on macOS, else the Secret Service.
//!
//! What fails here is no error of a request: the key is then looked for, or kept, in a file. It is logged without a key.
//! A keychain may ask the user first, who may be away: it is waited for a moment, and meanwhile not asked again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use keyring_core::{CredentialStore, Entry, Error};
use secrecy::{ExposeSecret, SecretString};

/// Under what name the keys are kept there.
const SERVICE: &str = "talkied";

/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a question is still unanswered, and whether one was given up since somebody asked for that.
static IS_BUSY: AtomicBool = AtomicBool::new(false);
static HAS_STALLED: AtomicBool = AtomicBool::new(false);

/// Whether the keychain did not answer since this was asked last.
pub(super) fn has_stalled() -> bool {
    HAS_STALLED.swap(false, Ordering::Relaxed)
}

/// A key.
pub(super) fn get(name: &str) -> Option<SecretString> {
    let asked = name.to_owned();
    match answered(move || entry(&asked).map(|entry| entry.get_password()))?? {
        Ok(key) => Some(SecretString::from(key)),
        Err(Error::NoEntry) => None,
        Err(error) => {
            tracing::warn!("the key of {name} cannot be read from the keychain: {error}");
            None
        }
    }
}

/// What the keychain answers, if it does so soon.
fn answered<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let stalled = || {
        HAS_STALLED.store(true, Ordering::Relaxed);
        None
    };
    if IS_BUSY.swap(true, Ordering::Relaxed) {
        return stalled();
    }
    let (sender, answer) = mpsc::channel();
    let asking = thread::Builder::new().name("keychain".into()).spawn(move || {
        let answered = ask();
        IS_BUSY.store(false, Ordering::Relaxed);
        // Nobody may wait any more.
        let _ = sender.send(answered);
    });
    if asking.is_err() {
        IS_BUSY.store(false, Ordering::Relaxed);
        return None;
    }
    answer.recv_timeout(PATIENCE).ok().or_else(|| {
        tracing::warn!("the keychain does not answer; unlock it, or allow talkied to read it");
        stalled()
    })
}

/// Keeps a key; false where that is not possible.
pub(super) fn set(name: &str, key: &SecretString) -> bool {
    let Some(entry) = entry(name) else { return false };
    let kept = entry.set_password(key.expose_secret());
    kept.inspect_err(|error| tracing::warn!("the key of {name} cannot be kept in the keychain: {error}")).is_ok()
}

/// Forgets a key; false where it was not there, or is still.
pub(super) fn remove(name: &str) -> bool {
    match entry(name).map(|entry| entry.delete_credential()) {
        Some(Ok(())) => true,
        Some(Err(error)) if !matches!(error, Error::NoEntry) => {
            tracing::warn!("the key of {name} cannot be removed from the keychain: {error}");
            false
        }
        _ => false,
    }
}

/// The names of all keys.
pub(super) fn names() -> Vec<String> {
    let found = answered(|| store()?.search(&HashMap::from([("service", SERVICE)])).ok()).flatten();
    let specifiers = found.into_iter().flatten().filter_map(|entry| entry.get_specifiers());
    specifiers.filter(|(service, _)| service == SERVICE).map(|(_, name)| name).collect()
}

fn entry(name: &str) -> Option<Entry> {
    store()?.build(SERVICE, name, None).ok()
}

fn store() -> Option<&'static Arc<CredentialStore>> {
    static STORE: OnceLock<Option<Arc<CredentialStore>>> = OnceLock::new();
    STORE.get_or_init(|| open().inspect_err(|error| tracing::info!("no keychain: {error}")).ok()).as_ref()
}

#[cfg(target_os = "macos")]
fn open() -> Result<Arc<CredentialStore>, Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

/// Where there is no session bus nothing can answer.
#[cfg(not(target_os = "macos"))]
fn open() -> Result<Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}
