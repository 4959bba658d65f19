//! One HTTP connection: JSON-RPC by `POST`, or a WebSocket, both served by jsonrpsee under the same rules; `/metrics`, and
//! what is posted to paths of its own.
//!
//! For `curl --unix-socket` and for programs that have a WebSocket library at hand.

use std::io::Cursor;
use std::net::Shutdown;

use bytes::Bytes;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpRequest, Server, ServerConfig, serve_with_graceful_shutdown, ws::is_upgrade_request,
};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tower::util::MapRequest;

use super::Limits;
use super::accept::Shared;
use super::paths::Paths;
use super::peer::Peer;
use super::rules::{OneAnswer, Rules};
use super::stall::Impatient;

/// Serves the connection, of which `received` was read already, until its end.
pub(super) async fn serve(stream: UnixStream, received: Bytes, id: u32, shared: &Shared) {
    let _cut = match CutOnDrop::new(&stream) {
        Ok(cut) => cut,
        Err(error) => return tracing::warn!(%error, "no descriptor for an HTTP connection"),
    };
    let peer = Peer::of(&stream);
    let (read, write) = stream.into_split();
    let write = Impatient::new(write, shared.limits.write_timeout);
    let io = tokio::io::join(Cursor::new(received).chain(read), write);
    let max_response = shared.limits.message_bytes;
    let mut service = Server::builder()
        .set_config(config(&shared.limits))
        .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(move |service| Rules::new(service, max_response)))
        .to_service_builder()
        .connection_id(id)
        .build(shared.methods.clone(), shared.stop.clone());
    let closed = service.on_session_closed();
    let service = MapRequest::new(service, move |request| prepare(request, &peer));
    let service = Paths::new(service, shared.methods.clone(), shared.posts.clone());
    if let Err(error) = serve_with_graceful_shutdown(io, service, shared.shutdown.clone().cancelled_owned()).await {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
    // A WebSocket lives on in a task of jsonrpsee; without one this is over at once.
    closed.await;
}

fn config(limits: &Limits) -> ServerConfig {
    let bytes = u32::try_from(limits.message_bytes).unwrap_or(u32::MAX);
    let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    ServerConfig::builder()
        .max_request_body_size(bytes)
        .max_response_body_size(bytes)
        .max_connections(count(limits.connections))
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(count(limits.batch)))
        .set_message_buffer_capacity(count(limits.outbox))
        .build()
}

/// Marks what has no way back but one answer, and takes any body for JSON: `curl -d` calls it a form. No browser can
/// be made to send one here, which is what jsonrpsee's strictness is for.
fn prepare<B>(mut request: HttpRequest<B>, peer: &Peer) -> HttpRequest<B> {
    request.extensions_mut().insert(peer.clone());
    if !is_upgrade_request(&request) {
        request.extensions_mut().insert(OneAnswer);
        let json = "application/json".parse().expect("a media type is a header's value");
        request.headers_mut().insert("content-type", json);
    }
    request
}

/// Ends a WebSocket whose task is not ours to abort: its reads and writes end.
struct CutOnDrop(std::os::fd::OwnedFd);

impl CutOnDrop {
    fn new(stream: &UnixStream) -> std::io::Result<Self> {
        use std::os::fd::AsFd;
        stream.as_fd().try_clone_to_owned().map(Self)
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        // It fails where the client is gone already.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}
