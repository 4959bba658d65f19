//! The system's own place for secrets, where there is one: the login keychain on macOS, else the Secret Service.
//!
//! What fails here is no error of a request: the key is then looked for, or kept, in a file. It is logged without a key.

use std::sync::OnceLock;

use keyring_core::{CredentialStore, Entry, Error};
use protocol::ProviderId;
use secrecy::{ExposeSecret, SecretString};

/// Under what name the keys are kept there.
const SERVICE: &str = "talkied";

/// The key of a server.
pub(super) fn get(id: &ProviderId) -> Option<SecretString> {
    match entry(id)?.get_password() {
        Ok(key) => Some(SecretString::from(key)),
        Err(Error::NoEntry) => None,
        Err(error) => {
            tracing::warn!("the key of {id} cannot be read from the keychain: {error}");
            None
        }
    }
}

/// Keeps a key; false where that is not possible.
pub(super) fn set(id: &ProviderId, key: &SecretString) -> bool {
    let Some(entry) = entry(id) else { return false };
    let kept = entry.set_password(key.expose_secret());
    kept.inspect_err(|error| tracing::warn!("the key of {id} cannot be kept in the keychain: {error}")).is_ok()
}

/// Forgets a key.
pub(super) fn remove(id: &ProviderId) {
    match entry(id).map(|entry| entry.delete_credential()) {
        Some(Err(error)) if !matches!(error, Error::NoEntry) => {
            tracing::warn!("the key of {id} cannot be removed from the keychain: {error}");
        }
        _ => {}
    }
}

fn entry(id: &ProviderId) -> Option<Entry> {
    static STORE: OnceLock<Option<std::sync::Arc<CredentialStore>>> = OnceLock::new();
    let store = STORE.get_or_init(|| open().inspect_err(|error| tracing::info!("no keychain: {error}")).ok());
    store.as_ref()?.build(SERVICE, &id.0, None).ok()
}

#[cfg(target_os = "macos")]
fn open() -> Result<std::sync::Arc<CredentialStore>, Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

/// Where there is no session bus nothing can answer.
#[cfg(not(target_os = "macos"))]
fn open() -> Result<std::sync::Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}
