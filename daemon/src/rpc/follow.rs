//! `models.subscribe`: sends what the log of events has, at the client's own speed.

use jsonrpsee::SubscriptionSink;
use protocol::{Model, ModelChange, ModelEvent};
use serde::Serialize;

use super::Rpc;
use crate::events::News;

impl Rpc {
    /// Sends events from `after` on until the client is gone or stops reading.
    pub(super) async fn send_models(&self, after: Option<u64>, sink: &SubscriptionSink) {
        let mut follower = self.0.events.follow(after);
        loop {
            let news = tokio::select! {
                news = follower.next() => news,
                () = sink.closed() => return,
            };
            let events = match news {
                News::Events(events) => events,
                News::Missed(seq) => match self.current().await {
                    Some(change) => vec![ModelEvent { seq, change }],
                    None => return,
                },
            };
            for event in self.with_residency(events).await {
                if !self.send_event(&event, sink).await {
                    return;
                }
            }
        }
    }

    /// Everything as it is now; `None` while the daemon ends.
    async fn current(&self) -> Option<ModelChange> {
        Some(ModelChange::Current { models: self.models().await.ok()?, pulls: self.0.pulls.list().await.ok()? })
    }

    /// The library does not know what is in memory, so what it tells of models lacks that.
    async fn with_residency(&self, events: Vec<ModelEvent>) -> Vec<ModelEvent> {
        let is_of_files =
            |event: &ModelEvent| matches!(event.change, ModelChange::Added { .. } | ModelChange::Changed { .. });
        if !events.iter().any(is_of_files) {
            return events;
        }
        let Ok(models) = self.models().await else { return events };
        let resident = |id: &Model| models.iter().find(|model| model.id.folder() == id.id.folder() && model.is_loaded);
        let complete = |mut event: ModelEvent| {
            if let ModelChange::Added { model } | ModelChange::Changed { model } = &mut event.change
                && let Some(resident) = resident(model)
            {
                model.is_loaded = true;
                model.residency.clone_from(&resident.residency);
            }
            event
        };
        events.into_iter().map(complete).collect()
    }

    /// Sends one event; false when the client is gone, or has made no room for too long.
    pub(super) async fn send_event<T: Serialize>(&self, event: &T, sink: &SubscriptionSink) -> bool {
        let Ok(message) = serde_json::value::to_raw_value(event) else { return false };
        sink.send_timeout(message, self.0.slow_client).await.is_ok()
    }
}
