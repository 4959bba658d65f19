//! The methods, as traits from which jsonrpsee makes the daemon's side and the client's.
//!
//! On the wire, `params` of a method with a parameter is that parameter's object itself (or an array with just that
//! object); a method without one takes no params. [`crate::openrpc::METHODS`] says which is which, and the daemon
//! applies it before the calls below are decoded.

#[cfg(feature = "server")]
use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;

use crate::catalogue::Catalogue;
use crate::config::{Configuration, Reloaded};
use crate::embeddings::{EmbeddingsRequest, EmbeddingsResult};
#[cfg(feature = "client")]
use crate::events::ModelEvent;
use crate::events::SubscribeModels;
#[cfg(feature = "client")]
use crate::generate::GenerateEvent;
use crate::generate::{CancelRequest, Cancelled, GenerateRequest, GenerateResult, TokenCount};
use crate::metrics::Metrics;
use crate::models::{LoadModel, Model, ModelList, ModelRef, Unloaded};
use crate::providers::{ConfigureProvider, Provider, ProviderList, ProviderRef, ProviderTest, RemovedProvider};
#[cfg(feature = "client")]
use crate::pulls::PullEvent;
use crate::pulls::{Pull, PullList, PullRef, StartPull, SubscribePulls};
#[cfg(feature = "client")]
use crate::runs::RunEvent;
use crate::runs::{ListRuns, ResumeRun, Run, RunDetails, RunList, RunRef, ShowRun, SubscribeRuns};
use crate::secrets::{RemovedSecret, Secret, SecretList, SecretRef, SetSecret};
use crate::status::{Hello, Pong, Status, Welcome};
use crate::storage::{DeleteModel, Deleted, ImportModel, Storage, Verified};
use crate::usage::{GetUsage, UsageReport};
use crate::workflows::{
    CheckWorkflow, RunStarted, RunWorkflow, WorkflowCheck, WorkflowFile, WorkflowList, WorkflowRef,
};

/// Answers from a model.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "generate", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "generate", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "generate", namespace_separator = ".")
)]
pub trait Generate {
    /// Answers when the whole text is there. Closing the connection cancels it.
    #[method(name = "text", with_extensions)]
    async fn text(&self, request: GenerateRequest) -> RpcResult<GenerateResult>;

    /// Streams events until `finished` or `failed`. Unsubscribing or closing the connection cancels it.
    #[subscription(name = "stream" => "event", unsubscribe = "unsubscribe", item = GenerateEvent, with_extensions)]
    async fn stream(&self, request: GenerateRequest) -> SubscriptionResult;

    /// Counts the tokens of the prompt that the request would have, and runs nothing.
    #[method(name = "count_tokens")]
    async fn count_tokens(&self, request: GenerateRequest) -> RpcResult<TokenCount>;

    /// Ends a request of any connection.
    #[method(name = "cancel")]
    async fn cancel(&self, request: CancelRequest) -> RpcResult<Cancelled>;
}

/// Vectors of texts.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "embeddings", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "embeddings", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "embeddings", namespace_separator = ".")
)]
pub trait Embeddings {
    /// Makes a vector of each text. Closing the connection cancels it.
    #[method(name = "create", with_extensions)]
    async fn create(&self, request: EmbeddingsRequest) -> RpcResult<EmbeddingsResult>;
}

/// Models on disk and in memory.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "models", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "models", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "models", namespace_separator = ".")
)]
pub trait Models {
    /// All models on disk, broken ones with their problem.
    #[method(name = "list")]
    async fn list(&self) -> RpcResult<ModelList>;

    /// One model.
    #[method(name = "get")]
    async fn get(&self, request: ModelRef) -> RpcResult<Model>;

    /// Loads a model and answers when it is warm.
    #[method(name = "load")]
    async fn load(&self, request: LoadModel) -> RpcResult<Model>;

    /// Gives a model's memory back; refused while requests use it.
    #[method(name = "unload")]
    async fn unload(&self, request: ModelRef) -> RpcResult<Unloaded>;

    /// Models known to work, whether or not they are on this disk.
    #[method(name = "catalogue")]
    async fn catalogue(&self) -> RpcResult<Catalogue>;

    /// Streams what happens to models, on disk and in memory, until it is unsubscribed.
    #[subscription(name = "subscribe" => "event", unsubscribe = "unsubscribe", item = ModelEvent)]
    async fn follow(&self, request: SubscribeModels) -> SubscriptionResult;

    /// Makes a file or folder into a model and answers when it is installed.
    #[method(name = "import")]
    async fn import(&self, request: ImportModel) -> RpcResult<Model>;

    /// Removes a model from the disk and from memory; refused while requests use it, unless forced.
    #[method(name = "delete")]
    async fn delete(&self, request: DeleteModel) -> RpcResult<Deleted>;

    /// Reads every byte of a model and compares it with what is known of it.
    #[method(name = "verify")]
    async fn verify(&self, request: ModelRef) -> RpcResult<Verified>;

    /// What models take of the disk.
    #[method(name = "storage")]
    async fn storage(&self) -> RpcResult<Storage>;
}

/// Downloads of models.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "pulls", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "pulls", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "pulls", namespace_separator = ".")
)]
pub trait Pulls {
    /// Begins to download a model, or joins the download under way, and answers at once.
    #[method(name = "start")]
    async fn start(&self, request: StartPull) -> RpcResult<Pull>;

    /// All downloads that are not over.
    #[method(name = "list")]
    async fn list(&self) -> RpcResult<PullList>;

    /// Stops a download and keeps what it has.
    #[method(name = "pause")]
    async fn pause(&self, request: PullRef) -> RpcResult<Pull>;

    /// Goes on with one that was paused or has failed.
    #[method(name = "resume")]
    async fn resume(&self, request: PullRef) -> RpcResult<Pull>;

    /// Gives a download up and removes what it has.
    #[method(name = "cancel")]
    async fn cancel(&self, request: PullRef) -> RpcResult<Pull>;

    /// Streams downloads as they go on.
    #[subscription(name = "subscribe" => "event", unsubscribe = "unsubscribe", item = PullEvent)]
    async fn follow(&self, request: SubscribePulls) -> SubscriptionResult;
}

/// Who answers.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "providers", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "providers", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "providers", namespace_separator = ".")
)]
pub trait Providers {
    /// Who can answer, in the order in which they are tried, without asking any of them.
    #[method(name = "list")]
    async fn list(&self) -> RpcResult<ProviderList>;

    /// One provider, with its models, for which it is asked.
    #[method(name = "get")]
    async fn get(&self, request: ProviderRef) -> RpcResult<Provider>;

    /// Changes a provider, or adds a server.
    #[method(name = "configure")]
    async fn configure(&self, request: ConfigureProvider) -> RpcResult<Provider>;

    /// Forgets a server that was added, and its key.
    #[method(name = "remove")]
    async fn remove(&self, request: ProviderRef) -> RpcResult<RemovedProvider>;

    /// Asks a provider for its models: whether it is there and takes the key.
    #[method(name = "test")]
    async fn test(&self, request: ProviderRef) -> RpcResult<ProviderTest>;
}

/// Secrets of workflows.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "secrets", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "secrets", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "secrets", namespace_separator = ".")
)]
pub trait Secrets {
    /// The names of all secrets, and where each is from; never a secret itself.
    #[method(name = "list")]
    async fn list(&self) -> RpcResult<SecretList>;

    /// Keeps a secret.
    #[method(name = "set")]
    async fn set(&self, request: SetSecret) -> RpcResult<Secret>;

    /// Forgets a secret.
    #[method(name = "remove")]
    async fn remove(&self, request: SecretRef) -> RpcResult<RemovedSecret>;
}

/// Tokens used.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "usage", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "usage", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "usage", namespace_separator = ".")
)]
pub trait Usage {
    /// Tokens used and what they cost, by day, provider, model and app.
    #[method(name = "get")]
    async fn get(&self, request: GetUsage) -> RpcResult<UsageReport>;
}

/// What is done step by step while nobody asks.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "workflows", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "workflows", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "workflows", namespace_separator = ".")
)]
pub trait Workflows {
    /// All workflows of the folder, broken ones with their problems.
    #[method(name = "list")]
    async fn list(&self) -> RpcResult<WorkflowList>;

    /// One workflow with its text and its steps.
    #[method(name = "get")]
    async fn get(&self, request: WorkflowRef) -> RpcResult<WorkflowFile>;

    /// Says everything that is wrong with the text of a workflow.
    #[method(name = "check")]
    async fn check(&self, request: CheckWorkflow) -> RpcResult<WorkflowCheck>;

    /// The JSON Schema of a workflow's file.
    #[method(name = "schema")]
    async fn schema(&self) -> RpcResult<serde_json::Value>;

    /// Begins a run and answers at once; with `dry_run` says what it would do, and does nothing.
    #[method(name = "run")]
    async fn run(&self, request: RunWorkflow) -> RpcResult<RunStarted>;

    /// Runs, the latest first.
    #[method(name = "runs")]
    async fn runs(&self, request: ListRuns) -> RpcResult<RunList>;

    /// One run with its log.
    #[method(name = "show")]
    async fn show(&self, request: ShowRun) -> RpcResult<RunDetails>;

    /// Stops a run; what it has done stays done.
    #[method(name = "cancel")]
    async fn cancel(&self, request: RunRef) -> RpcResult<Run>;

    /// Goes on with a run that failed, was cancelled or interrupted.
    #[method(name = "resume")]
    async fn resume(&self, request: ResumeRun) -> RpcResult<Run>;

    /// Streams what happens in runs.
    #[subscription(name = "subscribe" => "event", unsubscribe = "unsubscribe", item = RunEvent)]
    async fn follow(&self, request: SubscribeRuns) -> SubscriptionResult;
}

/// The daemon itself.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "daemon", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "server", not(feature = "client")),
    rpc(server, namespace = "daemon", namespace_separator = ".")
)]
#[cfg_attr(
    all(feature = "client", not(feature = "server")),
    rpc(client, namespace = "daemon", namespace_separator = ".")
)]
pub trait Daemon {
    /// Says which versions of the contract the daemon speaks, to a client that says which it does.
    #[method(name = "hello")]
    async fn hello(&self, request: Hello) -> RpcResult<Welcome>;

    /// A sign of life, without any work behind it.
    #[method(name = "ping")]
    async fn ping(&self) -> RpcResult<Pong>;

    /// What the daemon is doing.
    #[method(name = "status")]
    async fn status(&self) -> RpcResult<Status>;

    /// What was counted since its start, and what is so now.
    #[method(name = "metrics")]
    async fn metrics(&self) -> RpcResult<Metrics>;

    /// What the daemon is set to, and where each value is from.
    #[method(name = "config")]
    async fn config(&self) -> RpcResult<Configuration>;

    /// Reads the file with settings again; one that is wrong changes nothing.
    #[method(name = "reload")]
    async fn reload(&self) -> RpcResult<Reloaded>;

    /// Ends the daemon: running requests are finished within its drain time, new ones refused.
    #[method(name = "shutdown")]
    async fn shutdown(&self) -> RpcResult<()>;
}

/// The description of this interface.
#[cfg_attr(
    all(feature = "server", feature = "client"),
    rpc(server, client, namespace = "rpc", namespace_separator = ".")
)]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server, namespace = "rpc", namespace_separator = "."))]
#[cfg_attr(all(feature = "client", not(feature = "server")), rpc(client, namespace = "rpc", namespace_separator = "."))]
pub trait Discover {
    /// The OpenRPC document of all methods.
    #[method(name = "discover")]
    async fn discover(&self) -> RpcResult<serde_json::Value>;
}
