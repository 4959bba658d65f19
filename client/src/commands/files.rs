//! `catalogue`, `import`, `verify`, `rm`, `du`: the files of models.

use protocol::rpc::ModelsClient;
use protocol::{DeleteModel, FileState, HashSource, ImportModel, Kind, ModelId, ModelRef, Verified};
use talkiectl::{Client, Error};

use super::Session;
use super::suggest::advised;
use crate::cli::{Catalogue, Import, Rm};
use crate::failure::Failure;
use crate::render;

pub async fn catalogue(session: &Session, asked: Catalogue) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let mut catalogue = client.catalogue().await?;
    catalogue.models.retain(|model| model.fits || !asked.fits);
    session.print(&catalogue, render::catalogue::list)
}

pub async fn import(session: &Session, import: Import) -> Result<(), Failure> {
    let Import { path, model, copy, bits, group_size } = import;
    // The daemon runs in another directory.
    let path = std::path::absolute(&path).unwrap_or(path);
    if let Err(error) = std::fs::metadata(&path) {
        let message = format!("failed to read {}: {error}", path.display());
        return Err(Failure::Usage { message, hint: "name a GGUF file or a model's folder on this machine" });
    }
    let client = session.connect_or_start().await?;
    let mut progress = session.progress();
    progress.show(&format!("importing {}", path.display()));
    let request = ImportModel { path, model: model.map(ModelId), copy, bits, group_size };
    let imported = client.import(request).await?;
    progress.clear();
    session.print(&imported, |model, _| render::models::imported(model))
}

pub async fn verify(session: &Session, model: String) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let mut progress = session.progress();
    progress.show(&format!("reading every byte of {model}"));
    let verified = client.verify(ModelRef { model: ModelId(model.clone()) }).await.map_err(Failure::from);
    progress.clear();
    let verified = advised(&client, &model, verified).await?;
    session.print(&verified, render::storage::verified)?;
    if verified.ok { Ok(()) } else { Err(damaged(&verified)) }
}

fn damaged(verified: &Verified) -> Failure {
    let Verified { model, against, files, .. } = verified;
    let wrong = files.iter().filter(|file| !matches!(file.state, FileState::Ok | FileState::Unknown)).count();
    let (message, way) = match (wrong, against) {
        (0, HashSource::Nothing) => (format!("nobody knows what the files of {model} should be"), "downloads it anew"),
        (0, _) => (format!("no file of {model} has a hash that is known"), "downloads it anew"),
        (1, _) => (format!("1 of {} files of {model} is not as it should be", files.len()), "mends it"),
        (n, _) => (format!("{n} of {} files of {model} are not as they should be", files.len()), "mends it"),
    };
    Failure::Damaged { message, hint: format!("`talkiectl pull {model}` {way}, where it is from the hub") }
}

/// Removes one after the other. One that cannot be removed does not keep the others.
pub async fn rm(session: &Session, rm: Rm) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let mut outcome = Ok(());
    for model in rm.models {
        let removed = remove(session, &client, model, rm.force.map(Into::into)).await;
        let Err(failure) = removed else { continue };
        if let Err(earlier) = std::mem::replace(&mut outcome, Err(failure)) {
            // The exit code is that of the last one.
            let _ = earlier.report(session.form);
        }
        if !client.is_connected() {
            break;
        }
    }
    outcome
}

async fn remove(
    session: &Session,
    client: &Client,
    model: String,
    force: Option<protocol::Force>,
) -> Result<(), Failure> {
    let mut progress = session.progress();
    if force == Some(protocol::Force::Wait) {
        progress.show(&format!("waiting for the requests that use {model}"));
    }
    let removed = client.delete(DeleteModel { model: ModelId(model.clone()), force }).await.map_err(Error::from);
    progress.clear();
    let removed = removed.map_err(|error| in_use(error, &model));
    let removed = advised(client, &model, removed).await?;
    session.print(&removed, |removed, _| render::storage::removed(removed))
}

fn in_use(error: Error, model: &str) -> Failure {
    if !matches!(error, Error::Rpc { kind: Some(Kind::ModelInUse), .. }) {
        return error.into();
    }
    let hint = format!("`talkiectl rm {model} --force wait` lets its requests end first, `--force cancel` ends them");
    Failure::Advised { error, hint }
}

pub async fn du(session: &Session) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    session.print(&client.storage().await?, render::storage::usage)
}
