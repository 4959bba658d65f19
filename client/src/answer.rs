//! The events of one `generate.stream`, up to `finished` or `failed`. Dropping an [`Answer`] cancels its request.
//!
//! Called by apps and by `talkiectl generate`.

use jsonrpsee::core::client::SubscriptionClientT;
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee::rpc_params;
use protocol::{GenerateEvent, GenerateRequest, MAX_MESSAGE_BYTES};
use serde_json::value::RawValue;

use crate::connection::Client;
use crate::error::Error;
use crate::events::{Events, StreamEvent, is_type_beyond};

/// Bytes that a call has around its params: version, id, method and braces.
const ENVELOPE_BYTES: usize = 128;

/// An answer on its way.
pub type Answer<'client> = Events<'client, GenerateEvent>;

impl Client {
    /// Asks for an answer; its events follow as they come.
    pub async fn generate(&self, request: &GenerateRequest) -> Result<Answer<'_>, Error> {
        let params = rpc_params![request].to_rpc_params().map_err(|error| Error::Protocol(error.to_string()))?;
        let bytes = params.as_ref().map_or(0, |params| params.get().len()) + ENVELOPE_BYTES;
        if bytes > MAX_MESSAGE_BYTES {
            return Err(Error::TooLong { bytes });
        }
        let subscription = self.subscribe("generate.stream", Prepared(params), "generate.unsubscribe").await?;
        let is_last = |event: &_| matches!(event, GenerateEvent::Finished { .. } | GenerateEvent::Failed { .. });
        Ok(Answer::new(self, subscription, is_last))
    }
}

/// Params that are encoded already.
struct Prepared(Option<Box<RawValue>>);

impl ToRpcParams for Prepared {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

/// Types of events this version knows.
pub(crate) const KNOWN: [&str; 11] = [
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

impl StreamEvent for GenerateEvent {
    fn is_newer(json: &RawValue) -> bool {
        is_type_beyond(&KNOWN, json)
    }
}
