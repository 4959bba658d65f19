//! `pulls.*`: downloads of models.

use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use protocol::rpc::PullsServer;
use protocol::{ErrorData, Kind, ModelChange, ModelId, Pull, PullEvent, PullList, PullRef, StartPull, SubscribePulls};

use super::{Rpc, error};
use crate::events::{Follower, News};

#[async_trait]
impl PullsServer for Rpc {
    async fn start(&self, request: StartPull) -> RpcResult<Pull> {
        self.0.pulls.start(request.model, request.revision).await.map_err(error)
    }

    async fn list(&self) -> RpcResult<PullList> {
        Ok(PullList { pulls: self.0.pulls.list().await.map_err(error)? })
    }

    async fn pause(&self, request: PullRef) -> RpcResult<Pull> {
        self.0.pulls.pause(request.model).await.map_err(error)
    }

    async fn resume(&self, request: PullRef) -> RpcResult<Pull> {
        self.0.pulls.resume(request.model).await.map_err(error)
    }

    async fn cancel(&self, request: PullRef) -> RpcResult<Pull> {
        self.0.pulls.cancel(request.model).await.map_err(error)
    }

    async fn follow(&self, pending: PendingSubscriptionSink, request: SubscribePulls) -> SubscriptionResult {
        // Before the look, so that nothing falls between.
        let mut follower = self.0.events.follow(None);
        follower.next().await;
        match self.first(request.model.as_ref()).await {
            Err(refused) => pending.reject(error(refused)).await,
            Ok(pulls) => {
                let sink = pending.accept().await?;
                self.send_pulls(request.model.as_ref(), pulls, follower, &sink).await;
            }
        }
        Ok(())
    }
}

impl Rpc {
    /// The pulls as they are now: all, or the one that was asked for.
    async fn first(&self, model: Option<&ModelId>) -> Result<Vec<Pull>, ErrorData> {
        let Some(model) = model else { return self.0.pulls.list().await };
        let pull = self.0.pulls.get(model.clone()).await?;
        pull.map(|pull| vec![pull]).ok_or_else(|| {
            let words = format!("{model} is not being downloaded; pulls.start begins that");
            ErrorData::new(Kind::PullNotFound, words)
        })
    }

    /// Sends pulls as they go on, one of a model until it is at rest.
    async fn send_pulls(
        &self,
        model: Option<&ModelId>,
        mut pulls: Vec<Pull>,
        mut follower: Follower,
        sink: &SubscriptionSink,
    ) {
        loop {
            for pull in pulls {
                let is_last = model.is_some() && pull.state.is_at_rest();
                if !self.send_event(&PullEvent { pull }, sink).await || is_last {
                    return;
                }
            }
            let news = tokio::select! {
                news = follower.next() => news,
                () = sink.closed() => return,
            };
            let is_wanted = |pull: &Pull| model.is_none_or(|model| model.folder() == pull.model.folder());
            pulls = match news {
                News::Events(events) => {
                    let pull = |change| if let ModelChange::Pull { pull } = change { Some(*pull) } else { None };
                    events.into_iter().filter_map(|event| pull(event.change)).filter(is_wanted).collect()
                }
                // It was too slow for some of them; what is now is what counts.
                News::Missed(_) => self.first(model).await.unwrap_or_default(),
            };
        }
    }
}
