//! Secrets of steps: found by name where keys of servers are kept, and taken out of whatever a step says.

use protocol::{ErrorData, SecretName};
use secrecy::{ExposeSecret, SecretString};

use super::Failure;
use crate::provider::Keys;

/// What stands in place of a secret.
const INSTEAD: &str = "…";

/// Where secrets are kept.
#[derive(Debug, Clone)]
pub struct Secrets {
    keys: Keys,
}

impl Secrets {
    /// The secrets among the keys of servers.
    pub fn new(keys: Keys) -> Self {
        Self { keys }
    }

    /// A secret, from the environment (`TALKIE_KEY_NAME`), the keychain or the file `keys/NAME`.
    pub async fn find(&self, name: &SecretName) -> Result<SecretString, Failure> {
        let (keys, wanted) = (self.keys.clone(), name.clone());
        // Keychains take their time.
        let looked = tokio::task::spawn_blocking(move || {
            let found = keys.secret(&wanted);
            (found, keys.may_be_incomplete())
        });
        match looked.await.map_err(|_| Failure::may_pass("looking for a secret broke off"))? {
            (Ok(Some(found)), _) => Ok(found.key),
            (Err(ErrorData { message, .. }), _) => Err(Failure::last(message)),
            (Ok(None), true) => Err(Failure::may_pass(format!(
                "the secret {name} may be in the keychain, which does not answer: unlock it, or let talkied read it"
            ))),
            (Ok(None), false) => Err(Failure::last(format!(
                "there is no secret {name}: `talkiectl secret set {name}` keeps one, or start the daemon with {}",
                name.variable()
            ))),
        }
    }
}

/// What must not be told.
#[derive(Debug, Clone, Default)]
pub struct Hidden {
    /// The longest first, for one may be a part of another.
    secrets: Vec<SecretString>,
}

impl Hidden {
    /// All of these.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut secrets: Vec<SecretString> =
            secrets.into_iter().filter(|secret| !secret.expose_secret().is_empty()).cloned().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets }
    }

    /// The text with each secret replaced, wherever it stands as it is. One that is written otherwise, as in base64,
    /// is not known for one.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().map(ExposeSecret::expose_secret) {
            if text.contains(secret) {
                text = text.replace(secret, INSTEAD);
            }
        }
        text
    }

    /// The same of a text that has lost its beginning, so that its first bytes may be the end of a secret.
    pub(super) fn hide_after_cut(&self, text: &str) -> String {
        let end_of_one = |secret: &SecretString| {
            let secret = secret.expose_secret();
            let ends = (1..secret.len()).filter_map(|from| secret.get(from..));
            ends.filter(|end| text.starts_with(end)).map(str::len).max()
        };
        let cut = self.secrets.iter().filter_map(end_of_one).max().unwrap_or(0);
        self.hide(&text[cut..])
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
