//! Runs that requests start: `POST /workflows/NAME` with a secret as token. Nothing of HTTP is known here but numbers of
//! statuses; `run` puts this behind the socket.

use hmac::{Hmac, KeyInit, Mac};
use protocol::{ErrorData, Kind, Run, SecretName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::Sha256;
use workflow::Trigger;

use super::super::action::Failure;
use super::super::action::secret::Secrets;
use super::super::{Cause, Workflows};

/// A request.
#[derive(Debug)]
pub struct Request {
    /// The workflow's name.
    pub name: String,
    /// The token that it bears.
    pub token: Option<SecretString>,
    /// The media type of its body, in small letters.
    pub media_type: Option<String>,
    /// Whether the body is packed.
    pub is_encoded: bool,
    /// The body; `None` where it is longer than it may be.
    pub body: Option<Vec<u8>>,
}

/// Why no run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// In words.
    pub words: String,
    /// When another try may go better.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    fn new(status: u16, words: impl Into<String>) -> Self {
        Self { status, words: words.into(), retry_after_ms: None }
    }
}

impl From<ErrorData> for Refusal {
    fn from(error: ErrorData) -> Self {
        let status = match error.kind {
            Kind::Busy => 429,
            Kind::WorkflowNotFound => 404,
            Kind::InvalidParams | Kind::WorkflowInvalid => 400,
            _ => 503,
        };
        Self { status, words: error.message, retry_after_ms: error.retry_after_ms }
    }
}

/// Begins the run that a request asks for.
pub async fn take(workflows: &Workflows, secrets: &Secrets, request: Request) -> Result<Run, Refusal> {
    let Request { name, token, media_type, is_encoded, body } = request;
    let names = tokens(workflows, &name).await?;
    admit(secrets, &names, token).await?;
    let body = body.ok_or_else(|| Refusal::new(413, "the body is longer than 1 MiB, the most that a run is given"))?;
    if is_encoded {
        return Err(Refusal::new(415, "the body is packed; send it as it is, without `Content-Encoding`"));
    }
    let inputs = inputs(media_type.as_deref(), body)?;
    let cause = Cause::Trigger { words: "a request".into(), event: None };
    Ok(workflows.start(&name, inputs, cause).await?)
}

/// The names of the secrets that requests to a workflow may bear.
async fn tokens(workflows: &Workflows, name: &str) -> Result<Vec<String>, Refusal> {
    let snapshot = workflows.directory.look().await?;
    let (workflow, _) = snapshot.runnable(name)?;
    let token = |trigger: &Trigger| match trigger {
        Trigger::Webhook(webhook) => Some(webhook.token.value.clone()),
        _ => None,
    };
    let names: Vec<String> = workflow.triggers.iter().filter_map(|trigger| token(trigger)).collect();
    if names.is_empty() {
        let words = format!("no request starts the workflow {name:?}: it has no trigger `webhook`");
        return Err(Refusal::new(404, words));
    }
    Ok(names)
}

/// Lets a request in that bears one of these secrets.
async fn admit(secrets: &Secrets, names: &[String], token: Option<SecretString>) -> Result<(), Refusal> {
    let Some(token) = token else {
        return Err(Refusal::new(401, "the request needs `Authorization: Bearer` and the token of the workflow"));
    };
    for name in names {
        let secret = match secrets.find(&SecretName(name.clone())).await {
            Ok(secret) => secret,
            Err(Failure::Final(words) | Failure::MayPass { words, .. }) => return Err(Refusal::new(503, words)),
            Err(Failure::Cancelled) => return Err(Refusal::new(503, "the daemon is ending")),
        };
        if is_same(&token, &secret) {
            return Ok(());
        }
    }
    Err(Refusal::new(401, "the token is not that of the workflow"))
}

/// Compares in a time that tells nothing of either: what is compared is what they sign.
fn is_same(token: &SecretString, secret: &SecretString) -> bool {
    let signed = |key: &SecretString| {
        Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes keys of any length")
    };
    signed(token).verify(&signed(secret).finalize().into_bytes()).is_ok()
}

/// An object of JSON is the inputs; any other text is the transcript.
fn inputs(media_type: Option<&str>, body: Vec<u8>) -> Result<Map<String, Value>, Refusal> {
    let is_json = media_type.is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"));
    let may_be_json = is_json || !media_type.is_some_and(|kind| kind.starts_with("text/"));
    if media_type.is_some_and(|kind| kind.starts_with("multipart/")) {
        return Err(Refusal::new(415, "a form of several parts is neither JSON nor a text; send the text itself"));
    }
    let text =
        String::from_utf8(body).map_err(|_| Refusal::new(415, "the body is no text in UTF-8; send JSON or a text"))?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(inputs)) if may_be_json => Ok(inputs),
        Ok(_) if is_json => Err(Refusal::new(400, "the body is no object of JSON, with an input under each name")),
        Err(error) if is_json => Err(Refusal::new(400, format!("the body is no JSON: {error}"))),
        _ => Ok(Map::from_iter([("TRANSCRIPT".to_owned(), Value::String(text))])),
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
