//! The methods: each decodes, calls one stage to its right, and encodes. Nothing is decided here.
//!
//! [`error`] is the only place where an error becomes a JSON-RPC error object.

mod counts;
mod daemon;
mod embeddings;
mod files;
mod follow;
mod generate;
mod metrics;
mod models;
mod providers;
mod pulls;
mod secrets;
mod workflows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::{Extensions, RpcModule};
use protocol::ErrorData;
use protocol::rpc::{
    DaemonServer, DiscoverServer, EmbeddingsServer, GenerateServer, ModelsServer, ProvidersServer, PullsServer,
    SecretsServer, UsageServer, WorkflowsServer,
};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Source};
use crate::events::Events;
use crate::generation::Generation;
use crate::library::Library;
use crate::preload::Preloads;
use crate::provider::Registry;
use crate::pull::Pulls;
use crate::reload::Reload;
use crate::requests::Requests;
use crate::scheduler::Scheduler;
use crate::socket::{Connections, Peer};
use crate::usage::{self, Usage};
use crate::workflow::Workflows;

/// What the methods work with.
#[derive(Debug, Clone)]
pub struct Rpc(Arc<Parts>);

/// The stages, and facts that `daemon.status` tells.
#[derive(Debug)]
pub struct Parts {
    /// Decides who answers a request.
    pub registry: Arc<Registry>,
    /// Runs requests on the engine.
    pub generation: Arc<Generation>,
    /// Counts tokens.
    pub usage: Usage,
    /// Names and counts requests.
    pub requests: Arc<Requests>,
    /// Folder of models and state.
    pub home: PathBuf,
    /// Knows models on disk.
    pub library: Arc<Library>,
    /// Program of the engine, which converts models too.
    pub engine: PathBuf,
    /// Knows models in memory.
    pub scheduler: Scheduler,
    /// Downloads.
    pub pulls: Pulls,
    /// What is done step by step while nobody asks.
    pub workflows: Workflows,
    /// What happens to models.
    pub events: Events,
    /// What the daemon is set to.
    pub reload: Reload,
    /// Models loaded at the start.
    pub preloads: Preloads,
    /// Ends the daemon.
    pub stop: CancellationToken,
    /// Where it listens.
    pub socket: PathBuf,
    /// When it started.
    pub started: Instant,
    /// Connections now open.
    pub connections: Connections,
    /// How long a client may take to make room for one event.
    pub slow_client: Duration,
}

impl Rpc {
    /// Methods over `parts`.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// All methods, ready to be served.
    pub fn module(self) -> RpcModule<()> {
        let mut module = RpcModule::new(());
        let parts = [
            GenerateServer::into_rpc(self.clone()).remove_context(),
            EmbeddingsServer::into_rpc(self.clone()).remove_context(),
            ModelsServer::into_rpc(self.clone()).remove_context(),
            PullsServer::into_rpc(self.clone()).remove_context(),
            ProvidersServer::into_rpc(self.clone()).remove_context(),
            SecretsServer::into_rpc(self.clone()).remove_context(),
            UsageServer::into_rpc(self.clone()).remove_context(),
            WorkflowsServer::into_rpc(self.clone()).remove_context(),
            DaemonServer::into_rpc(self.clone()).remove_context(),
            DiscoverServer::into_rpc(self).remove_context(),
        ];
        for part in parts {
            module.merge(part).expect("the traits' namespaces differ, so no two methods have one name");
        }
        module
    }
}

/// Who asks: the process at the other end, by the name that the request has for it, else that of its program.
async fn app(named: Option<&str>, from: &Extensions) -> App {
    let peer = from.get::<Peer>().cloned();
    let source = peer.as_ref().map_or_else(|| Source::of(None), Peer::source);
    let program = match (named, peer) {
        (Some(named), _) => Some(named.to_owned()),
        (None, Some(peer)) if peer.is_known() => peer.program(|_| None),
        (None, Some(peer)) => {
            let looked = tokio::task::spawn_blocking(move || peer.program(usage::program));
            looked.await.ok().flatten()
        }
        (None, None) => None,
    };
    App { name: program.unwrap_or_else(|| "unknown".into()), source }
}

/// The error object of an error.
fn error(error: ErrorData) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(error.kind.code(), error.message.clone(), Some(error))
}

#[cfg(test)]
#[path = "rpc_tests.rs"]
mod tests;
