//! Secrets of workflows, which are kept where the keys of servers are, and the policy that keeps everything here.

use protocol::{ErrorData, RemovedSecret, Secret, SecretList, SecretName, SetSecret};

use super::super::keys::{check_name, parse};
use super::{Registry, blocking};
use crate::error::{internal, invalid};
use crate::secrets;

impl Registry {
    /// The names of all secrets.
    pub async fn secrets(&self) -> Result<SecretList, ErrorData> {
        let keys = self.keys();
        blocking(move || Ok(SecretList { secrets: keys.secrets(secrets::variables()) })).await
    }

    /// Keeps a secret, and says from where it is taken now.
    pub async fn set_secret(&self, request: SetSecret) -> Result<Secret, ErrorData> {
        let (keys, name) = (self.keys(), request.name);
        check_name(&name)?;
        let value = parse(&request.value.0).map_err(|why| invalid(format!("`value` {why}")))?;
        let kept = blocking(move || {
            keys.set(&name.0, &value)?;
            let found = keys.secret(&name)?.ok_or_else(|| internal("a secret that was kept is not there"))?;
            Ok(Secret { name, from: found.from })
        })
        .await?;
        self.renewed().await?;
        Ok(kept)
    }

    /// Forgets a secret.
    pub async fn remove_secret(&self, name: SecretName) -> Result<RemovedSecret, ErrorData> {
        check_name(&name)?;
        let keys = self.keys();
        let removed = blocking(move || keys.remove(&name.0)).await?;
        // It may have been the key of a server.
        self.renewed().await?;
        Ok(RemovedSecret { removed })
    }

    /// Whether nothing may be sent to other machines, as the setting and `providers.toml` say now. A file that cannot be
    /// read counts as that.
    pub async fn keeps_all_here(&self) -> bool {
        self.loaded().await.map_or(true, |loaded| loaded.settings.local_only)
    }
}
