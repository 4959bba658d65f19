//! The events of one `generate.stream`, up to `finished` or `failed`. Dropping an [`Answer`] cancels its request.
//!
//! Called by apps and by `talkiectl generate`.

use jsonrpsee::core::client::{Subscription, SubscriptionClientT, SubscriptionCloseReason};
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee::rpc_params;
use protocol::{GenerateEvent, GenerateRequest, MAX_MESSAGE_BYTES};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connection::Client;
use crate::error::Error;

/// Bytes that a call has around its params: version, id, method and braces.
const ENVELOPE_BYTES: usize = 128;

impl Client {
    /// Asks for an answer; its events follow as they come.
    pub async fn generate(&self, request: &GenerateRequest) -> Result<Answer<'_>, Error> {
        let params = rpc_params![request].to_rpc_params().map_err(|error| Error::Protocol(error.to_string()))?;
        let bytes = params.as_ref().map_or(0, |params| params.get().len()) + ENVELOPE_BYTES;
        if bytes > MAX_MESSAGE_BYTES {
            return Err(Error::TooLong { bytes });
        }
        let subscription = self.subscribe("generate.stream", Prepared(params), "generate.unsubscribe").await?;
        Ok(Answer { client: self, subscription, ended: false })
    }
}

/// Params that are encoded already.
struct Prepared(Option<Box<RawValue>>);

impl ToRpcParams for Prepared {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

/// An answer on its way.
#[derive(Debug)]
pub struct Answer<'client> {
    client: &'client Client,
    subscription: Subscription<Box<RawValue>>,
    /// Set by `finished` and `failed`, after which the daemon sends nothing more.
    ended: bool,
}

/// One event with its text on the wire.
#[derive(Debug)]
pub struct Event {
    /// As it came.
    pub json: Box<RawValue>,
    /// What it says; `None` for a type that only newer daemons know.
    pub event: Option<GenerateEvent>,
}

impl Answer<'_> {
    /// The next event; `None` after `finished` or `failed`. A stream that ends otherwise is an error.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        if self.ended {
            return Ok(None);
        }
        let Some(json) = self.subscription.next().await else { return Err(self.broken_off().await) };
        let json = json.map_err(|error| Error::Protocol(error.to_string()))?;
        let event = decode(&json)?;
        self.ended = matches!(event, Some(GenerateEvent::Finished { .. } | GenerateEvent::Failed { .. }));
        Ok(Some(Event { json, event }))
    }

    async fn broken_off(&self) -> Error {
        match self.subscription.close_reason() {
            Some(SubscriptionCloseReason::Lagged) => Error::Lagged,
            // The daemon closed this stream alone; waiting for the end of the connection would wait for ever.
            _ if self.client.is_connected() => Error::Protocol("the stream ended without finished or failed".into()),
            _ => self.client.closed().await,
        }
    }
}

/// Types of events this version knows.
const KNOWN: [&str; 11] = [
    "queued",
    "loading",
    "started",
    "text",
    "logprobs",
    "reasoning",
    "tool_call",
    "tool_arguments",
    "sample_finished",
    "finished",
    "failed",
];

fn decode(json: &RawValue) -> Result<Option<GenerateEvent>, Error> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let malformed = match serde_json::from_str(json.get()) {
        Ok(event) => return Ok(Some(event)),
        Err(error) => error,
    };
    match serde_json::from_str::<Tag<'_>>(json.get()) {
        Ok(tag) if !KNOWN.contains(&&*tag.kind) => Ok(None),
        _ => Err(Error::Protocol(format!("an event: {malformed}"))),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
