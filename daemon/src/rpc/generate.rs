//! `generate.text`, `generate.stream`, `generate.count_tokens`, `generate.cancel`.

use std::time::Duration;

use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use jsonrpsee::{Extensions, PendingSubscriptionSink, SubscriptionSink};
use protocol::rpc::GenerateServer;
use protocol::{CancelRequest, Cancelled, ErrorData, GenerateEvent, GenerateRequest, GenerateResult, Kind, TokenCount};

use super::{Rpc, app, error};
use crate::express::express;
use crate::provider::Answer;
use crate::socket::{Events, Outlet};

#[async_trait]
impl GenerateServer for Rpc {
    async fn text(&self, from: &Extensions, request: GenerateRequest) -> RpcResult<GenerateResult> {
        let app = app(request.app.as_deref(), from).await;
        self.0.registry.whole(request, app).await.map_err(error)
    }

    async fn stream(
        &self,
        pending: PendingSubscriptionSink,
        from: &Extensions,
        request: GenerateRequest,
    ) -> SubscriptionResult {
        let app = app(request.app.as_deref(), from).await;
        match self.0.registry.start(request, app).await {
            Err(refused) => pending.reject(error(refused)).await,
            Ok(answer) => {
                let sink = pending.accept().await?;
                let events = from.get::<Outlet>().and_then(|outlet| outlet.events(&sink).ok());
                let watched = sink.clone();
                // What is sent past the runtime looks for no end of the client, which is waited for here.
                tokio::select! {
                    () = express(send(answer, sink, events, self.0.slow_client)) => {}
                    () = watched.closed() => {}
                }
            }
        }
        Ok(())
    }

    async fn count_tokens(&self, request: GenerateRequest) -> RpcResult<TokenCount> {
        self.0.registry.count(request).await.map_err(error)
    }

    async fn cancel(&self, request: CancelRequest) -> RpcResult<Cancelled> {
        let cancelled = self.0.registry.cancel(&request.request_id).await.map_err(error)?;
        Ok(Cancelled { cancelled })
    }
}

/// Sends an answer's events until its last, or until the client is too slow; dropping it cancels.
async fn send(mut answer: Answer, sink: SubscriptionSink, mut past: Option<Events>, slow_client: Duration) {
    while let Some(event) = answer.next().await {
        if past.as_mut().is_some_and(|past| past.pass(&event, &sink)) {
            continue;
        }
        let Ok(message) = serde_json::value::to_raw_value(&event) else { return };
        if sink.send_timeout(message, slow_client).await.is_err() {
            return give_up(sink, slow_client);
        }
    }
}

/// The client may have stopped reading for a while only: it is told as soon as there is room for one event.
fn give_up(mut sink: SubscriptionSink, slow_client: Duration) {
    let words = format!("the client did not read for {} s, so its request was ended", slow_client.as_secs());
    let failed = GenerateEvent::Failed { error: ErrorData::new(Kind::SlowConsumer, words) };
    if let Ok(message) = serde_json::value::to_raw_value(&failed) {
        // No room even now: the connection's own time limit closes it.
        let _ = sink.try_send(message);
    }
}
