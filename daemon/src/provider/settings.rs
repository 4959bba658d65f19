//! `providers.toml`: the one that comes with the daemon, and the user's, which is read whenever it has changed.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::{ErrorData, Kind, ModelId, Provider, ProviderId, ProviderKind, Tier};
use serde::Deserialize;

use super::resolve::{Candidate, split};
use crate::backend::Backend;
use crate::bounded;

/// What comes with the daemon.
const BUILT_IN: &str = include_str!("../../data/providers.toml");

/// Largest file that is read.
pub(super) const LONGEST: u64 = 1 << 20;

/// Most servers.
const MOST_SERVERS: usize = 64;

/// Most headers of a server.
const MOST_HEADERS: usize = 16;

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether nothing leaves this machine.
    pub local_only: bool,
    /// Whom to prefer.
    pub order: Vec<ProviderId>,
    /// Whether the user says so, and not what comes with the daemon.
    pub is_ordered: bool,
    /// What each tier means: a provider, or `provider/model`.
    pub tiers: BTreeMap<Tier, Vec<String>>,
    /// Who is not of this machine's engines.
    pub servers: BTreeMap<ProviderId, Server>,
}

/// A server as it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it speaks: never an engine.
    pub kind: ProviderKind,
    /// For people.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Its own choice of a model.
    pub default_model: Option<ModelId>,
    /// More headers of each request.
    pub headers: BTreeMap<String, String>,
}

/// A file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    local_only: bool,
    order: Option<Vec<ProviderId>>,
    tiers: BTreeMap<Tier, Vec<String>>,
    provider: BTreeMap<ProviderId, Entry>,
}

/// A server as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    kind: Option<ProviderKind>,
    name: Option<String>,
    base_url: Option<String>,
    default_model: Option<ModelId>,
    headers: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// What comes with the daemon, changed by the user's file, if there is one.
    pub fn read(path: &Path) -> Result<Self, ErrorData> {
        let refuse = |why: String| ErrorData::new(Kind::ConfigurationError, format!("{}: {why}", path.display()));
        let text = bounded::read_text(path, LONGEST).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).map_err(refuse)
    }

    /// What comes with the daemon, changed by a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for text in [BUILT_IN, text] {
            let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
            settings.is_ordered = file.order.is_some();
            settings.take(file)?;
        }
        Ok(settings)
    }

    /// The engines in the user's order, if that names one.
    pub fn engines(&self) -> Option<[Backend; 2]> {
        match self.order.iter().find_map(Backend::of).filter(|_| self.is_ordered)? {
            Backend::Mlx => Some([Backend::Mlx, Backend::Candle]),
            Backend::Candle => Some([Backend::Candle, Backend::Mlx]),
        }
    }

    fn take(&mut self, file: File) -> Result<(), String> {
        self.local_only |= file.local_only;
        if let Some(order) = file.order {
            self.order = order;
        }
        self.tiers.extend(file.tiers);
        for (id, entry) in file.provider {
            let server = match self.servers.remove(&id) {
                Some(server) => changed(server, entry),
                None => new(&id, entry)?,
            };
            check(&id, &server)?;
            self.servers.insert(id, server);
        }
        if self.servers.len() > MOST_SERVERS {
            return Err(format!("{} providers are set, but {MOST_SERVERS} are the most", self.servers.len()));
        }
        Ok(())
    }

    /// Whom a tier means, and for which model.
    pub fn tier(&self, tier: Tier, providers: &[Provider]) -> Result<Vec<Candidate>, ErrorData> {
        let entries = self.tiers.get(&tier).map(Vec::as_slice).unwrap_or_default();
        let candidate = |entry: &String| {
            let bare = providers.iter().find(|provider| provider.id.0 == *entry);
            let bare = bare.map(|provider| Candidate { provider: provider.id.clone(), model: None });
            let named = || split(&ModelId(entry.clone()), providers);
            bare.or_else(|| named().map(|(provider, model)| Candidate { provider, model: Some(model) })).ok_or_else(
                || {
                    let words =
                        format!("providers.toml: tier {tier:?} names {entry:?}, which begins with no provider's id");
                    ErrorData::new(Kind::ConfigurationError, words)
                },
            )
        };
        entries.iter().map(candidate).collect()
    }
}

fn changed(server: Server, entry: Entry) -> Server {
    Server {
        kind: entry.kind.unwrap_or(server.kind),
        name: entry.name.unwrap_or(server.name),
        base_url: entry.base_url.unwrap_or(server.base_url),
        default_model: entry.default_model.or(server.default_model).filter(|model| !model.0.is_empty()),
        headers: entry.headers.unwrap_or(server.headers),
    }
}

fn new(id: &ProviderId, entry: Entry) -> Result<Server, String> {
    if !id.is_valid() || id.is_engine() {
        return Err(format!(
            "{:?} cannot name a server: 1 to 32 lower-case letters, digits, - and _, a letter first, and neither mlx nor candle",
            id.0
        ));
    }
    let base_url = entry.base_url.ok_or_else(|| format!("provider.{id} has no base_url"))?;
    Ok(Server {
        kind: entry.kind.unwrap_or(ProviderKind::Openai),
        name: entry.name.unwrap_or_else(|| id.0.clone()),
        base_url,
        default_model: entry.default_model,
        headers: entry.headers.unwrap_or_default(),
    })
}

/// That a server can be asked as it is set. No value of a header is told: it may be a secret.
fn check(id: &ProviderId, server: &Server) -> Result<(), String> {
    let refuse = |why: String| Err(format!("provider.{id}: {why}"));
    if matches!(server.kind, ProviderKind::Mlx | ProviderKind::Candle) {
        return refuse("kind is an engine's, but a server speaks openai or gemini".into());
    }
    let address = match reqwest::Url::parse(&server.base_url) {
        Ok(address) => address,
        Err(error) => return refuse(format!("base_url {:?} is no address: {error}", server.base_url)),
    };
    if !address.username().is_empty() || address.password().is_some() || address.query().is_some() {
        return refuse("base_url has a password or a query; a key belongs to `talkiectl providers set-key`".into());
    }
    if !matches!(address.scheme(), "http" | "https") || address.host_str().is_none() {
        return refuse(format!("base_url {address} is neither http:// nor https:// and a host"));
    }
    if server.name.is_empty() || server.name.len() > 64 {
        return refuse("name has no letter, or more than 64 bytes".into());
    }
    if server.headers.len() > MOST_HEADERS {
        return refuse(format!("{} headers are set, but {MOST_HEADERS} are the most", server.headers.len()));
    }
    for (name, value) in &server.headers {
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return refuse(format!("{name:?} is no name of a header"));
        }
        if reqwest::header::HeaderValue::from_str(value).is_err() {
            return refuse(format!("the value of header {name} has what no header can hold"));
        }
    }
    Ok(())
}

/// Whether what is said to an address stays on this machine.
pub fn is_loopback(base_url: &str) -> bool {
    let Ok(address) = reqwest::Url::parse(base_url) else { return false };
    match address.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
