//! Answers that are no success: what they mean, and when to ask again.

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use secrecy::SecretString;
use serde_json::Value;

use super::read as read_body;
use crate::Error;
use crate::error::told;

/// Longest refusal that is read.
const LONGEST: usize = 1 << 20;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a refusal means, and how long the server wants to be left alone.
pub(super) async fn read(mut response: Response, key: Option<&SecretString>) -> (Error, Option<Duration>) {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read_body(&mut response, LONGEST, PATIENCE).await.unwrap_or_default();
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    let hint = hint(&headers, body.as_ref());
    (meaning(status, &headers, body.as_ref(), hint, key), hint)
}

fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&Value>,
    hint: Option<Duration>,
    key: Option<&SecretString>,
) -> Error {
    let said = body.and_then(said).unwrap_or_default();
    let words = told(if said.is_empty() { status.canonical_reason().unwrap_or("no reason") } else { &said }, key);
    let words = format!("{}: {words}", status.as_u16());
    if status.is_redirection() {
        let place = headers.get(LOCATION).and_then(|place| place.to_str().ok());
        let host =
            place.and_then(|place| reqwest::Url::parse(place).ok()).and_then(|url| url.host_str().map(str::to_owned));
        let place = host.map_or_else(|| "another path".to_owned(), |host| format!("the host {host}"));
        let words = format!("{} redirects to {place}, where the key is not sent; is base_url right?", status.as_u16());
        return Error::Malformed(told(&words, key));
    }
    match status.as_u16() {
        // Gemini says so of a wrong key.
        400 if said.contains("API key") || is_named(body, "API_KEY_INVALID") => Error::KeyRefused(words),
        401 | 403 | 407 => Error::KeyRefused(words),
        402 | 429 => {
            let words =
                if is_named(body, "insufficient_quota") { format!("{words} (insufficient_quota)") } else { words };
            Error::QuotaExhausted { retry_after: hint, words }
        }
        404 if body.is_none() => Error::Malformed(format!("{words}; is base_url right?")),
        404 => Error::ModelNotFound(words),
        400..=499 => Error::Invalid(words),
        _ => Error::Failed(words),
    }
}

/// Whether a name stands in one of the places where the APIs name their errors.
fn is_named(body: Option<&Value>, name: &str) -> bool {
    let Some(error) = body.map(error_of) else { return false };
    let details = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    [&error["code"], &error["type"], &error["status"]].into_iter().chain(details).any(|field| field == name)
}

/// The error in a body; Gemini's streams have it in a list of one.
fn error_of(body: &Value) -> &Value {
    let body = if body.is_array() { &body[0] } else { body };
    if body["error"].is_null() { body } else { &body["error"] }
}

/// What the server says is wrong.
pub(crate) fn said(body: &Value) -> Option<String> {
    let error = error_of(body);
    let places = [error, &error["message"], &error["detail"], &error["detail"][0]["msg"]];
    places.into_iter().find_map(Value::as_str).map(str::to_owned)
}

/// When to ask again: the header, in seconds, else what Gemini says in its details.
fn hint(headers: &HeaderMap, body: Option<&Value>) -> Option<Duration> {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let header = header.and_then(|value| value.trim().parse::<f64>().ok());
    let details = body.map(error_of).and_then(|error| error["details"].as_array());
    let delay = details.into_iter().flatten().find_map(|detail| detail["retryDelay"].as_str());
    let delay = delay.and_then(|delay| delay.strip_suffix('s')).and_then(|seconds| seconds.parse::<f64>().ok());
    header.or(delay).and_then(|seconds| Duration::try_from_secs_f64(seconds.min(86_400.0)).ok())
}
