//! `secret`: what workflows use by name.

use protocol::rpc::SecretsClient;
use protocol::{SecretName, SecretRef, SetSecret};

use super::Session;
use super::providers::read_hidden;
use crate::cli::{SecretArgument, SecretCommand};
use crate::failure::Failure;
use crate::render;

pub async fn secret(session: &Session, what: SecretCommand) -> Result<(), Failure> {
    match what {
        SecretCommand::Ls => list(session).await,
        SecretCommand::Set(named) => set(session, named).await,
        SecretCommand::Rm(named) => remove(session, named).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    session.print(&SecretsClient::list(&*client).await?, render::secrets::list)
}

async fn set(session: &Session, named: SecretArgument) -> Result<(), Failure> {
    let value = read_hidden(&format!("secret {}", named.name))?;
    let client = session.connect_or_start().await?;
    let kept = SecretsClient::set(&*client, SetSecret { name: SecretName(named.name), value }).await?;
    session.print(&kept, |kept, _| render::secrets::kept(kept))
}

async fn remove(session: &Session, named: SecretArgument) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let name = named.name.clone();
    let removed = SecretsClient::remove(&*client, SecretRef { name: SecretName(named.name) }).await?;
    if !removed.removed {
        let message = format!("no secret {name} is kept");
        return Err(Failure::NotFound { message, hint: "`talkiectl secret ls` lists those that are" });
    }
    session.print(&removed, |_, _| format!("{} is forgotten\n", render::printable(&name)))
}
