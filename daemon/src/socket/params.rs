//! The one rule of `params`: the method's object itself, or an array with just that object, or nothing where the
//! method takes nothing.
//!
//! Pure; `rules` applies it to every call of both framings before jsonrpsee decodes, which knows arrays of arguments
//! and objects of named arguments only.

use std::borrow::Cow;

use protocol::openrpc::Method;
use protocol::{GenerateRequest, SubscribeModels, SubscribePulls, SubscribeRuns};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::json;
use super::refusal::excerpt;

/// Methods that take the id of a subscription in an array, as jsonrpsee sends and reads it.
const UNSUBSCRIBE: &str = ".unsubscribe";

/// The array that jsonrpsee decodes, or why there is none.
pub(super) fn shape<'a>(
    method: &Method,
    given: Option<Cow<'a, RawValue>>,
) -> Result<Option<Cow<'a, RawValue>>, String> {
    let text = given.as_ref().map_or("", |given| given.get());
    match method.params {
        _ if method.name.ends_with(UNSUBSCRIBE) => Ok(given),
        None if is_empty(text) => Ok(None),
        None => Err(format!("{} takes no params, and got {}", method.name, excerpt(text))),
        Some(_) if text.starts_with('[') => one_element(method, given),
        Some(_) if text.starts_with('{') => Ok(Some(array_of(text))),
        Some(_) if text.is_empty() => Ok(Some(array_of("{}"))),
        Some(_) => Err(format!("params of {} is an object, not {}", method.name, excerpt(text))),
    }
}

/// Decodes what a subscription will decode again. jsonrpsee answers a subscription's wrong params past all layers, in
/// words of its own, so they are found here first.
pub(super) fn check(method: &Method, array: &RawValue) -> Result<(), serde_json::Error> {
    match method.name {
        "generate.stream" => decode::<GenerateRequest>(array),
        "models.subscribe" => decode::<SubscribeModels>(array),
        "pulls.subscribe" => decode::<SubscribePulls>(array),
        "workflows.subscribe" => decode::<SubscribeRuns>(array),
        _ => Ok(()),
    }
}

fn decode<T: DeserializeOwned>(array: &RawValue) -> Result<(), serde_json::Error> {
    serde_json::from_str::<[T; 1]>(array.get()).map(drop)
}

fn is_empty(text: &str) -> bool {
    let inside = |open, close| text.strip_prefix(open).and_then(|text: &str| text.strip_suffix(close));
    text.is_empty() || inside('{', '}').or(inside('[', ']')).is_some_and(|inside: &str| inside.trim_ascii().is_empty())
}

fn one_element<'a>(method: &Method, given: Option<Cow<'a, RawValue>>) -> Result<Option<Cow<'a, RawValue>>, String> {
    let text = given.as_ref().map_or("", |given| given.get());
    let elements = json::elements(text, 1).map_err(|error| error.to_string())?;
    match (elements.count, elements.first.first().map(|first| first.get())) {
        (0, _) => Ok(Some(array_of("{}"))),
        (1, Some(first)) if first.starts_with('{') => Ok(given),
        (1, first) => {
            let first = excerpt(first.unwrap_or_default());
            Err(format!("params of {} is an object, or an array with one, not an array with {first}", method.name))
        }
        (count, _) => Err(format!("extra params: {} takes one object, and got {count} values", method.name)),
    }
}

fn array_of(object: &str) -> Cow<'static, RawValue> {
    Cow::Owned(RawValue::from_string(format!("[{object}]")).expect("JSON in brackets is JSON"))
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
