//! `providers` and `usage`: who answers, and who has asked for how much.

use std::io::{IsTerminal, Read};

use protocol::rpc::{ProvidersClient, UsageClient};
use protocol::{ConfigureProvider, GetUsage, Key, ModelId, ProviderId, ProviderRef};

use super::Session;
use super::suggest::hinted;
use crate::cli::{ProviderName, Providers, SetProvider, Usage};
use crate::failure::Failure;
use crate::render;

/// Longest key that is read, in bytes.
const LONGEST_KEY: u64 = 8192;

pub async fn providers(session: &Session, what: Option<Providers>) -> Result<(), Failure> {
    match what {
        None => list(session).await,
        Some(Providers::Show(name)) => show(session, name).await,
        Some(Providers::Test(name)) => test(session, name).await,
        Some(Providers::SetKey(name)) => {
            let key = read_hidden(&format!("key of {}", name.name))?;
            keep_key(session, name, key).await
        }
        Some(Providers::RemoveKey(name)) => keep_key(session, name, Key(String::new())).await,
        Some(Providers::Set(set)) => change(session, set).await,
        Some(Providers::Rm(name)) => remove(session, name).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    session.print(&ProvidersClient::list(&*client).await?, render::providers::list)
}

async fn show(session: &Session, name: ProviderName) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let provider = ProvidersClient::get(&*client, reference(name)).await?;
    session.print(&provider, |provider, _| render::providers::one(provider))
}

/// A provider that does not answer is what is shown, and a failure.
async fn test(session: &Session, name: ProviderName) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let tested = client.test(reference(name)).await?;
    match &tested.error {
        Some(error) => Err(talkiectl::Error::rpc(error.kind.code(), "", Some(error.clone())).into()),
        None => session.print(&tested, |tested, _| render::providers::tested(tested)),
    }
}

async fn keep_key(session: &Session, name: ProviderName, key: Key) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let request = ConfigureProvider { key: Some(key), ..unchanged(name.name) };
    let provider = client.configure(request).await?;
    session.print(&provider, |provider, _| render::providers::key(provider))
}

async fn change(session: &Session, set: SetProvider) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let SetProvider { name, url, default_model, label, headers } = set;
    let headers = (!headers.is_empty()).then(|| headers.into_iter().collect());
    let default_model = default_model.map(ModelId);
    let request = ConfigureProvider { base_url: url, default_model, name: label, headers, ..unchanged(name) };
    let configured = client.configure(request).await.map_err(Failure::from);
    let provider = hinted(configured, "a new one needs --url; `talkiectl help providers set` has all options")?;
    session.print(&provider, |provider, _| render::providers::one(provider))
}

async fn remove(session: &Session, name: ProviderName) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let id = name.name.clone();
    let removed = client.remove(reference(name)).await.map_err(Failure::from);
    let removed = hinted(removed, &format!("`talkiectl providers remove-key {id}` forgets its key"))?;
    if !removed.removed {
        let message = format!("no server {id} is set");
        return Err(Failure::NotFound { message, hint: "`talkiectl providers` lists those that are" });
    }
    session.print(&removed, |_, _| format!("{} is forgotten\n", render::printable(&id)))
}

pub async fn usage(session: &Session, usage: Usage) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let report = UsageClient::get(&*client, GetUsage { days: usage.days, by: usage.by }).await?;
    session.print(&report, render::usage::report)
}

fn reference(name: ProviderName) -> ProviderRef {
    ProviderRef { provider: ProviderId(name.name) }
}

fn unchanged(name: String) -> ConfigureProvider {
    let provider = ProviderId(name);
    ConfigureProvider { provider, name: None, base_url: None, default_model: None, headers: None, key: None }
}

/// From the terminal without echo, else from standard input. A key is no argument: those are seen by everybody.
pub fn read_hidden(what: &str) -> Result<Key, Failure> {
    let mut key = String::new();
    let read = if std::io::stdin().is_terminal() {
        render::to_stderr(&format!("{}: ", render::printable(what)));
        let term = console::Term::stderr();
        // One of the two may go elsewhere.
        let term = if term.is_term() { term } else { console::Term::stdout() };
        term.read_secure_line().map(|line| key = line)
    } else {
        std::io::stdin().take(LONGEST_KEY).read_to_string(&mut key).map(drop)
    };
    let refuse = |message: String| Failure::Usage { message, hint: "give it on one line of standard input" };
    read.map_err(|error| refuse(format!("no {what} was read: {error}")))?;
    if key.trim().is_empty() {
        return Err(refuse(format!("no {what} was given")));
    }
    Ok(Key(key.trim().to_owned()))
}
