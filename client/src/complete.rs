//! What the shell may put behind a command: ids of models, asked of the daemon that runs.
//!
//! It never starts a daemon, says nothing when there is none, and gives up soon on one that does not answer.
//! Called by `main`, and by clap for the arguments in [`crate::cli`].

use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::{CompleteEnv, CompletionCandidate};
use protocol::paths::Paths;
use protocol::rpc::{ModelsClient, ProvidersClient, PullsClient, SecretsClient, WorkflowsClient};
use protocol::{Model, ModelId};
use talkiectl::{Client, Error};

use crate::cli::Cli;
use crate::render;

/// Set by the script that the shell has sourced. Not clap's own `COMPLETE`, which may be there for another reason.
pub const VARIABLE: &str = "TALKIECTL_COMPLETE";

/// How long the shell may stand still for a daemon that does not answer; one that does takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers the shell and ends the process, where the shell asks.
pub fn answer_the_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// The models on disk.
pub fn installed() -> Vec<CompletionCandidate> {
    ask(async |client| Ok(ModelsClient::list(&*client).await?.models.iter().map(of_model).collect()))
}

/// The models in memory.
pub fn in_memory() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let models = ModelsClient::list(&*client).await?.models;
        Ok(models.iter().filter(|model| model.is_loaded).map(of_model).collect())
    })
}

/// The models of the catalogue that are not yet installed.
pub fn catalogue() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let models = client.catalogue().await?.models;
        let missing = models.into_iter().filter(|model| !model.is_installed);
        Ok(missing.map(|model| (model.id, format!("{}, {}", render::bytes(model.size), model.good_at))).collect())
    })
}

/// Who can answer.
pub fn providers() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let providers = ProvidersClient::list(&*client).await?.providers;
        Ok(providers.into_iter().map(|provider| (ModelId(provider.id.0), provider.name)).collect())
    })
}

/// Secrets that are kept.
pub fn secrets() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let secrets = SecretsClient::list(&*client).await?.secrets;
        Ok(secrets.into_iter().map(|secret| (ModelId(secret.name.0), "a secret".into())).collect())
    })
}

/// The downloads.
pub fn pulls() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let pulls = PullsClient::list(&*client).await?.pulls;
        Ok(pulls.into_iter().map(|pull| (pull.model.clone(), render::pulls::state(&pull))).collect())
    })
}

/// The workflows.
pub fn workflows() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let workflows = WorkflowsClient::list(&*client).await?.workflows;
        let told = |workflow: protocol::Workflow| (ModelId(workflow.name), workflow.description.unwrap_or_default());
        Ok(workflows.into_iter().map(told).collect())
    })
}

/// The latest runs.
pub fn runs() -> Vec<CompletionCandidate> {
    ask(async |client| {
        let runs = WorkflowsClient::runs(&*client, protocol::ListRuns::default()).await?.runs;
        Ok(runs.into_iter().map(|run| (ModelId(run.run.0), format!("{}, {}", run.workflow, run.state))).collect())
    })
}

fn of_model(model: &Model) -> (ModelId, String) {
    (model.id.clone(), render::bytes(model.size))
}

/// The models on disk, of the daemon at that socket.
pub fn names(socket: &Path) -> Vec<String> {
    let listed = answer(socket, async |client| Ok(ModelsClient::list(&*client).await?.models));
    let names = listed.unwrap_or_default().into_iter().map(|model| model.id);
    names.filter(ModelId::is_valid).map(|id| id.0).collect()
}

/// What the daemon says, each with a word about it; nothing when it does not.
fn ask(question: impl AsyncFnOnce(Client) -> Result<Vec<(ModelId, String)>, Error>) -> Vec<CompletionCandidate> {
    let said = Paths::from_environment().and_then(|paths| answer(&paths.socket, question));
    // One that is no id could contain what the shell reads as the end of a candidate.
    let valid = said.unwrap_or_default().into_iter().filter(|(id, _)| id.is_valid());
    valid.map(|(id, help)| CompletionCandidate::new(id.0).help(Some(render::printable(&help).into()))).collect()
}

fn answer<T>(socket: &Path, question: impl AsyncFnOnce(Client) -> Result<T, Error>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = async { question(Client::connect(socket).await?).await };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await }).ok()?.ok()
}
