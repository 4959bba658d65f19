//! One message of a newline-delimited connection, as JSON-RPC 2.0 understands it.
//!
//! Pure: `ndjson` calls [`read`] with each line and does what it says. jsonrpsee's own reading of HTTP bodies and
//! WebSocket frames follows the same rules, with fewer words in its errors.

use std::borrow::Cow;

use jsonrpsee::core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request};
use jsonrpsee::server::MethodResponse;
use jsonrpsee::types::{ErrorObjectOwned, Extensions, Id, TwoPointZero};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::{self, MAX_DEPTH};
use super::refusal::{self, excerpt};

/// Longest id: it is kept, and sent back.
const MAX_ID_BYTES: usize = 1024;

/// What a line asks for. It borrows nothing, so that the line's memory is free again.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Call this method and answer.
    Call(Request<'static>),
    /// Call this method and stay silent.
    Notification(Notification<'static>),
    /// Do all of these and answer once.
    Batch(Batch<'static>),
    /// Do nothing and send this.
    Refused(MethodResponse),
}

/// A request that is none, with the id it is answered to.
type Refused = BatchEntryErr<'static>;

/// Understands one line, of which the newline is already gone.
pub(super) fn read(line: &[u8], most_in_batch: usize) -> Incoming {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text.trim_ascii(),
        Err(error) => return refuse(refusal::parse_error(format!("no UTF-8 after byte {}", error.valid_up_to()))),
    };
    if json::is_too_deep(text) {
        return refuse(refusal::parse_error(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    if text.starts_with('[') {
        return batch(text, most_in_batch);
    }
    match entry(text) {
        Ok(BatchEntry::Call(request)) => Incoming::Call(request),
        Ok(BatchEntry::Notification(notification)) => Incoming::Notification(notification),
        Err(refused) => {
            let (error, id) = refused.into_parts();
            Incoming::Refused(MethodResponse::error(id, error))
        }
    }
}

fn refuse(error: ErrorObjectOwned) -> Incoming {
    Incoming::Refused(MethodResponse::error(Id::Null, error))
}

fn batch(text: &str, most: usize) -> Incoming {
    match json::elements(text, most) {
        Err(error) => refuse(refusal::parse_error(error.to_string())),
        Ok(elements) if elements.count == 0 => refuse(refusal::invalid_request("an empty batch asks for nothing")),
        Ok(elements) if elements.count > most => refuse(refusal::batch_too_long(elements.count, most)),
        Ok(elements) => Incoming::Batch(Batch::from(elements.first.iter().map(|raw| entry(raw.get())).collect())),
    }
}

/// The members of a request, not yet looked at. What JSON-RPC does not define is passed over, as it asks.
#[derive(Deserialize)]
#[serde(expecting = "a request object")]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    /// Absent in a notification; `null` is an id.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    /// `null` is taken for absent.
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn entry(text: &str) -> Result<BatchEntry<'static>, Refused> {
    // serde would also take an array for a struct.
    if text.starts_with('[') {
        return Err(Refused::new(Id::Null, refusal::invalid_request("an array is no request")));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        let error = if error.is_data() { refusal::invalid_request(why) } else { refusal::parse_error(why) };
        Refused::new(Id::Null, error)
    })?;
    let id = envelope.id.map(id).transpose().map_err(|error| Refused::new(Id::Null, error))?;
    let method =
        method(&envelope).map_err(|why| Refused::new(id.clone().unwrap_or(Id::Null), refusal::invalid_request(why)))?;
    let params = envelope.params.map(|params| Cow::Owned(params.to_owned()));
    let (jsonrpc, extensions) = (TwoPointZero, Extensions::new());
    Ok(match id {
        Some(id) => BatchEntry::Call(Request { jsonrpc, id, method, params, extensions }),
        None => BatchEntry::Notification(Notification { jsonrpc, method, params, extensions }),
    })
}

fn id(raw: &RawValue) -> Result<Id<'static>, ErrorObjectOwned> {
    let text = raw.get();
    if text.len() > MAX_ID_BYTES {
        return Err(refusal::invalid_request(format!("an id of {} bytes exceeds {MAX_ID_BYTES}", text.len())));
    }
    serde_json::from_str::<Id<'_>>(text).map(Id::into_owned).map_err(|_| {
        refusal::invalid_request(format!("an id is a string or a whole number from 0, not {}", excerpt(text)))
    })
}

/// The method's name, once the version is right.
fn method(envelope: &Envelope<'_>) -> Result<Cow<'static, str>, String> {
    match envelope.jsonrpc.map(RawValue::get) {
        Some(r#""2.0""#) => {}
        Some(other) => return Err(format!(r#"`jsonrpc` is "2.0", not {}"#, excerpt(other))),
        None => return Err(r#"`jsonrpc` is missing; it is "2.0""#.to_owned()),
    }
    let raw = envelope.method.ok_or("`method` is missing")?.get();
    let Text(name) = serde_json::from_str(raw).map_err(|_| format!("`method` is a string, not {}", excerpt(raw)))?;
    Ok(Cow::Owned(name.into_owned()))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
