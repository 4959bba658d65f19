//! The events of one subscription, typed, up to its last. Dropping [`Events`] unsubscribes, which also cancels an answer.
//!
//! It knows how a stream can end, and of each kind of event what only newer daemons send. Called by apps, by
//! [`crate::answer`] and by `talkiectl pull`.

use std::fmt;

use jsonrpsee::core::client::{Subscription, SubscriptionClientT, SubscriptionCloseReason};
use jsonrpsee::core::traits::ToRpcParams;
use protocol::{ModelEvent, PullEvent, PullState, RunChange, RunEvent, SubscribeModels, SubscribePulls, SubscribeRuns};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::connection::Client;
use crate::error::Error;

impl Client {
    /// Follows one download until it is done, failed, paused or cancelled, or all of them without end. First comes what
    /// each is now.
    pub async fn follow_pulls(&self, request: &SubscribePulls) -> Result<Events<'_, PullEvent>, Error> {
        let is_last: fn(&PullEvent) -> bool = match request.model {
            Some(_) => |event| event.pull.state.is_at_rest(),
            None => |_| false,
        };
        self.events("pulls", jsonrpsee::rpc_params![request], is_last).await
    }

    /// Follows what happens to models, on disk and in memory, without end. A client that was cut off gives the last
    /// `seq` it saw as `after` and misses nothing.
    pub async fn follow_models(&self, request: &SubscribeModels) -> Result<Events<'_, ModelEvent>, Error> {
        self.events("models", jsonrpsee::rpc_params![request], |_| false).await
    }

    /// Follows one run until it is at rest, or all of them without end. Nothing is lost, however slowly it is read.
    pub async fn follow_runs(&self, request: &SubscribeRuns) -> Result<Events<'_, RunEvent>, Error> {
        let is_last: fn(&RunEvent) -> bool = match request.run {
            Some(_) => ends_a_run,
            None => |_| false,
        };
        self.events("workflows", jsonrpsee::rpc_params![request], is_last).await
    }

    async fn events<T>(
        &self,
        namespace: &str,
        params: impl ToRpcParams + Send,
        is_last: fn(&T) -> bool,
    ) -> Result<Events<'_, T>, Error> {
        let [subscribe, unsubscribe] = ["subscribe", "unsubscribe"].map(|method| format!("{namespace}.{method}"));
        Ok(Events::new(self, self.subscribe(&subscribe, params, &unsubscribe).await?, is_last))
    }
}

/// What a stream sends.
pub trait StreamEvent: DeserializeOwned {
    /// Whether an event that cannot be read is of a sort that only newer daemons know; such are passed by.
    fn is_newer(json: &RawValue) -> bool;
}

/// A stream of events.
pub struct Events<'client, T> {
    client: &'client Client,
    subscription: Subscription<Box<RawValue>>,
    is_last: fn(&T) -> bool,
    /// Set by the last event, after which the daemon sends nothing more.
    ended: bool,
}

/// One event with its text on the wire.
#[derive(Debug)]
pub struct Event<T> {
    /// As it came.
    pub json: Box<RawValue>,
    /// What it says; `None` for one that only newer daemons know.
    pub event: Option<T>,
}

impl<'client, T> Events<'client, T> {
    pub(crate) fn new(
        client: &'client Client,
        subscription: Subscription<Box<RawValue>>,
        is_last: fn(&T) -> bool,
    ) -> Self {
        Self { client, subscription, is_last, ended: false }
    }

    async fn broken_off(&self) -> Error {
        match self.subscription.close_reason() {
            Some(SubscriptionCloseReason::Lagged) => Error::Lagged,
            // The daemon closed this stream alone; waiting for the end of the connection would wait for ever.
            _ if self.client.is_connected() => Error::Protocol("the stream ended before its last event".into()),
            _ => self.client.closed().await,
        }
    }
}

impl<T: StreamEvent> Events<'_, T> {
    /// The next event; `None` after the last. A stream that ends otherwise is an error.
    pub async fn next(&mut self) -> Result<Option<Event<T>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let Some(json) = self.subscription.next().await else { return Err(self.broken_off().await) };
        let json = json.map_err(|error| Error::Protocol(error.to_string()))?;
        let event = decode(&json)?;
        self.ended = event.as_ref().is_some_and(self.is_last);
        Ok(Some(Event { json, event }))
    }
}

impl<T> fmt::Debug for Events<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("subscription", &self.subscription).field("ended", &self.ended).finish()
    }
}

fn decode<T: StreamEvent>(json: &RawValue) -> Result<Option<T>, Error> {
    match serde_json::from_str(json.get()) {
        Ok(event) => Ok(Some(event)),
        Err(_) if T::is_newer(json) => Ok(None),
        Err(malformed) => Err(Error::Protocol(format!("an event: {malformed}"))),
    }
}

/// Whether the `type` of an event is none of these.
pub(crate) fn is_type_beyond(known: &[&str], json: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Tag<'_>>(json.get()).is_ok_and(|tag| !known.contains(&&*tag.kind))
}

/// Types of events of models that this version knows.
const KNOWN_CHANGES: [&str; 8] = ["current", "added", "changed", "removed", "loading", "loaded", "unloaded", "pull"];

impl StreamEvent for ModelEvent {
    fn is_newer(json: &RawValue) -> bool {
        is_type_beyond(&KNOWN_CHANGES, json)
    }
}

/// What happens in a run that this version knows.
const KNOWN_RUN_CHANGES: [&str; 5] = ["began", "done", "failed", "skipped", "state"];

impl StreamEvent for RunEvent {
    fn is_newer(json: &RawValue) -> bool {
        #[derive(Deserialize)]
        struct Event {
            entry: Box<RawValue>,
        }
        serde_json::from_str::<Event>(json.get()).is_ok_and(|event| is_type_beyond(&KNOWN_RUN_CHANGES, &event.entry))
    }
}

fn ends_a_run(event: &RunEvent) -> bool {
    matches!(event.entry.change, RunChange::State { state, .. } if state.is_at_rest())
}

impl StreamEvent for PullEvent {
    fn is_newer(json: &RawValue) -> bool {
        #[derive(Deserialize)]
        struct Event {
            pull: Pull,
        }
        #[derive(Deserialize)]
        struct Pull {
            state: String,
        }
        let known = |state: String| PullState::deserialize(serde_json::Value::String(state)).is_ok();
        serde_json::from_str::<Event>(json.get()).is_ok_and(|event| !known(event.pull.state))
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
