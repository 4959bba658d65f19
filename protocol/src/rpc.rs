//! The methods, as traits from which jsonrpsee makes the daemon's side and the client's.
//!
//! On the wire, `params` of a method with a parameter is that parameter's object itself (or an array with just that
//! object); a method without one takes no params. [`crate::openrpc::METHODS`] says which is which, and the daemon
//! applies it before the calls below are decoded.

#[cfg(feature = "server")]
use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;

use crate::embeddings::{EmbeddingsRequest, EmbeddingsResult};
#[cfg(feature = "client")]
use crate::generate::GenerateEvent;
use crate::generate::{CancelRequest, Cancelled, GenerateRequest, GenerateResult, TokenCount};
use crate::models::{ImportModel, LoadModel, Model, ModelList, ModelRef, Unloaded};
use crate::status::{Pong, Status};

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
    #[method(name = "text")]
    async fn text(&self, request: GenerateRequest) -> RpcResult<GenerateResult>;

    /// Streams events until `finished` or `failed`. Unsubscribing or closing the connection cancels it.
    #[subscription(name = "stream" => "event", unsubscribe = "unsubscribe", item = GenerateEvent)]
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
    #[method(name = "create")]
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

    /// Makes a GGUF file into a model and answers when it is installed.
    #[method(name = "import")]
    async fn import(&self, request: ImportModel) -> RpcResult<Model>;
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
    /// A sign of life, without any work behind it.
    #[method(name = "ping")]
    async fn ping(&self) -> RpcResult<Pong>;

    /// What the daemon is doing.
    #[method(name = "status")]
    async fn status(&self) -> RpcResult<Status>;

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
