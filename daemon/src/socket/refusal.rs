//! The error objects of the socket itself: all that is answered before or instead of a method.
//!
//! Each has JSON-RPC's title of its code and the reason in `message`, and an object in `data` with the reason alone:
//! a [`protocol::ErrorData`] where the contract has a kind for the code. What a client sent is quoted in part only.

use jsonrpsee::types::error::{
    INTERNAL_ERROR_CODE, INTERNAL_ERROR_MSG, INVALID_PARAMS_CODE, INVALID_PARAMS_MSG, INVALID_REQUEST_CODE,
    INVALID_REQUEST_MSG, METHOD_NOT_FOUND_CODE, METHOD_NOT_FOUND_MSG, OVERSIZED_REQUEST_CODE, OVERSIZED_REQUEST_MSG,
    PARSE_ERROR_CODE, PARSE_ERROR_MSG, TOO_BIG_BATCH_REQUEST_CODE, TOO_BIG_BATCH_REQUEST_MSG,
    TOO_MANY_SUBSCRIPTIONS_CODE, TOO_MANY_SUBSCRIPTIONS_MSG,
};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use protocol::openrpc::METHODS;
use protocol::{ErrorData, Kind};
use serde::Serialize;

/// Longest quotation of what a client sent, in bytes.
const EXCERPT_BYTES: usize = 80;

/// When to come back after `busy`.
const RETRY_AFTER_MS: u64 = 1000;

/// `data` of a code for which the contract has no kind.
#[derive(Serialize)]
struct Reason {
    message: String,
}

fn refusal(code: i32, title: &str, why: String) -> ErrorObjectOwned {
    let message = format!("{title}: {why}");
    match Kind::of_code(code) {
        Some(kind) => ErrorObject::owned(code, message, Some(ErrorData::new(kind, why))),
        None => ErrorObject::owned(code, message, Some(Reason { message: why })),
    }
}

/// What was sent is not JSON.
pub(super) fn parse_error(why: impl Into<String>) -> ErrorObjectOwned {
    refusal(PARSE_ERROR_CODE, PARSE_ERROR_MSG, why.into())
}

/// What was sent is JSON, but no request that can be answered here.
pub(super) fn invalid_request(why: impl Into<String>) -> ErrorObjectOwned {
    refusal(INVALID_REQUEST_CODE, INVALID_REQUEST_MSG, why.into())
}

/// The parameters are not the method's.
pub(super) fn invalid_params(why: impl Into<String>) -> ErrorObjectOwned {
    refusal(INVALID_PARAMS_CODE, INVALID_PARAMS_MSG, why.into())
}

/// No such method; names the one that was probably meant.
pub(super) fn unknown_method(name: &str) -> ErrorObjectOwned {
    let meant = match closest_method(name) {
        Some(closest) => format!("did you mean {closest}?"),
        None => "rpc.discover lists them all".to_owned(),
    };
    refusal(METHOD_NOT_FOUND_CODE, METHOD_NOT_FOUND_MSG, format!("no method is called `{}`; {meant}", excerpt(name)))
}

/// One message is over the limit.
pub(super) fn too_long(limit: usize) -> ErrorObjectOwned {
    refusal(OVERSIZED_REQUEST_CODE, OVERSIZED_REQUEST_MSG, format!("a message may have {limit} bytes"))
}

/// One batch is over the limit.
pub(super) fn batch_too_long(length: usize, limit: usize) -> ErrorObjectOwned {
    let why = format!("a batch of {length} requests exceeds {limit}; send several");
    refusal(TOO_BIG_BATCH_REQUEST_CODE, TOO_BIG_BATCH_REQUEST_MSG, why)
}

/// One connection has all the subscriptions it may have.
pub(super) fn too_many_subscriptions(limit: u32) -> ErrorObjectOwned {
    let why = format!("this connection has {limit} already; end one or open another connection");
    refusal(TOO_MANY_SUBSCRIPTIONS_CODE, TOO_MANY_SUBSCRIPTIONS_MSG, why)
}

/// The daemon has no room now.
pub(super) fn busy(why: impl Into<String>) -> ErrorObjectOwned {
    let why = why.into();
    let data = ErrorData { retry_after_ms: Some(RETRY_AFTER_MS), ..ErrorData::new(Kind::Busy, why.clone()) };
    ErrorObject::owned(Kind::Busy.code(), format!("Busy: {why}"), Some(data))
}

/// A method failed in a way that it should not.
pub(super) fn internal(method: &str) -> ErrorObjectOwned {
    let why = format!("{} failed inside the daemon; its log says where", excerpt(method));
    refusal(INTERNAL_ERROR_CODE, INTERNAL_ERROR_MSG, why)
}

/// The beginning of a text, whole when it is short.
pub(super) fn excerpt(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= EXCERPT_BYTES {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(EXCERPT_BYTES)]).into()
}

/// The known method that differs from `name` least, when it differs little.
fn closest_method(name: &str) -> Option<&'static str> {
    if name.len() > EXCERPT_BYTES {
        return None;
    }
    let names = METHODS.iter().map(|method| method.name);
    let by_last_part = names.clone().find(|known| known.rsplit('.').next() == Some(name));
    by_last_part.or_else(|| {
        let (distance, closest) = names.map(|known| (strsim::levenshtein(name, known), known)).min()?;
        (distance <= 1 + closest.len() / 5).then_some(closest)
    })
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
