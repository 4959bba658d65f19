//! Requests on their way out and bodies on their way in: what is repeated, and every bound.

mod refusal;

pub(crate) use refusal::said;

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::error::told;
use crate::sse::Decoder;
use crate::{Endpoint, Error, Patience};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest body that is read whole.
const LONGEST: usize = 64 << 20;

/// Tries of one request that a server turns away for the moment.
const TRIES: u32 = 4;

/// Longest time that all waits between tries may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    key: Option<SecretString>,
    patience: Patience,
}

/// A body that is read event by event.
#[derive(Debug)]
pub(crate) struct Body {
    response: Response,
    decoder: Decoder,
    events: VecDeque<Vec<u8>>,
    has_ended: bool,
    patience: Duration,
    /// Is never told.
    key: Option<SecretString>,
}

impl Http {
    /// A server that wants its key in the header that `key_header` makes.
    pub(crate) fn new(endpoint: Endpoint, key_header: fn(&str) -> (HeaderName, String)) -> Result<Self, Error> {
        let Endpoint { base_url, key, headers, is_local, patience } = endpoint;
        let odd = |why: String| Error::Invalid(format!("its address or headers: {why}"));
        // With a slash at its end, so that what is joined to it is added.
        let base =
            Url::parse(&format!("{}/", base_url.trim_end_matches('/'))).map_err(|error| odd(error.to_string()))?;
        let mut all = HeaderMap::new();
        for (name, value) in &headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| odd(error.to_string()))?;
            all.insert(name, secret(value)?);
        }
        if let Some(key) = &key {
            let (name, value) = key_header(key.expose_secret());
            all.insert(name, secret(&value)?);
        }
        // Fails when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("talkied/", env!("CARGO_PKG_VERSION")))
            .default_headers(all)
            .redirect(Policy::none())
            .connect_timeout(CONNECT);
        let client = if is_local { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| odd(words(error)))?;
        Ok(Self { client, base, key, patience })
    }

    /// Whether the server is the one of that name.
    pub(crate) fn is_host(&self, name: &str) -> bool {
        self.base.host_str() == Some(name)
    }

    /// Asks for a body of events.
    pub(crate) async fn events(&self, path: &str, body: &Value) -> Result<Body, Error> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing named");
        if !kind.starts_with("text/event-stream") {
            let words = format!("{kind} in place of text/event-stream; is base_url right?");
            return Err(Error::Malformed(told(&words, self.key.as_ref())));
        }
        let (decoder, events, key) = (Decoder::default(), VecDeque::new(), self.key.clone());
        Ok(Body { response, decoder, events, has_ended: false, patience: self.patience.next, key })
    }

    /// Asks for one JSON text.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let mut response = self.send(method, path, body).await?;
        let text = read(&mut response, LONGEST, self.patience.first).await.map_err(|error| match error {
            // Nothing of it was of use yet.
            Error::Interrupted(words) => Error::Failed(words),
            error => error,
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            let words = format!("{path}: {error}; is base_url right?");
            Error::Malformed(told(&words, self.key.as_ref()))
        })
    }

    /// Sends until the server takes it, or will not soon.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Error> {
        let url = self.base.join(path).map_err(|error| Error::Invalid(format!("the name of the model: {error}")))?;
        let began = Instant::now();
        let mut tried = 1;
        loop {
            let mut request =
                self.client.request(method.clone(), url.clone()).header(ACCEPT, "text/event-stream, application/json");
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
            }
            let response = match timeout(self.patience.first, request.send()).await {
                Err(_) => return Err(Error::Stalled(self.patience.first)),
                Ok(Err(error)) => return Err(Error::Unreachable(told(&words(error), self.key.as_ref()))),
                Ok(Ok(response)) if response.status().is_success() => return Ok(response),
                Ok(Ok(response)) => response,
            };
            let status = response.status();
            let may_pass = status.as_u16() == 429 || status.is_server_error();
            let (error, hint) = refusal::read(response, self.key.as_ref()).await;
            let wait = hint.unwrap_or_else(|| pause(tried));
            if !may_pass || is_final(&error) || tried == TRIES || began.elapsed() + wait > PATIENCE {
                return Err(error);
            }
            sleep(wait).await;
            tried += 1;
        }
    }
}

/// A quota of nothing is not waited for.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::QuotaExhausted { words, .. } if words.contains("insufficient_quota"))
}

/// How long to wait after a try: half a second, then one, then two.
fn pause(tried: u32) -> Duration {
    Duration::from_millis(250) * 2_u32.saturating_pow(tried)
}

impl Body {
    /// The data of the next event; `None` at the end of the body. Dropping the future loses nothing.
    pub(crate) async fn event(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            if let Some(bytes) = chunk(&mut self.response, self.patience).await? {
                let mut events = Vec::new();
                let taken = self.decoder.push(&bytes, &mut events);
                self.events.extend(events);
                taken.map_err(|_| Error::Malformed("an event without end".into()))?;
            } else {
                self.has_ended = true;
                self.events.extend(self.decoder.end());
            }
        }
    }

    /// An error whose words do not have the key in them.
    pub(crate) fn told(&self, error: Error) -> Error {
        let clean = |words: String| told(&words, self.key.as_ref());
        match error {
            Error::KeyRefused(words) => Error::KeyRefused(clean(words)),
            Error::QuotaExhausted { retry_after, words } => Error::QuotaExhausted { retry_after, words: clean(words) },
            Error::ModelNotFound(words) => Error::ModelNotFound(clean(words)),
            Error::Invalid(words) => Error::Invalid(clean(words)),
            Error::NotSupported(words) => Error::NotSupported(clean(words)),
            Error::Unreachable(words) => Error::Unreachable(clean(words)),
            Error::Failed(words) => Error::Failed(clean(words)),
            Error::Interrupted(words) => Error::Interrupted(clean(words)),
            Error::Malformed(words) => Error::Malformed(clean(words)),
            Error::Stalled(after) => Error::Stalled(after),
        }
    }
}

/// The next bytes of a body.
async fn chunk(response: &mut Response, patience: Duration) -> Result<Option<bytes::Bytes>, Error> {
    match timeout(patience, response.chunk()).await {
        Err(_) => Err(Error::Stalled(patience)),
        Ok(Err(error)) => Err(Error::Interrupted(words(error))),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

/// A whole body.
async fn read(response: &mut Response, longest: usize, patience: Duration) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    while let Some(bytes) = chunk(response, patience).await? {
        if text.len() + bytes.len() > longest {
            return Err(Error::Malformed(format!("more than {longest} bytes")));
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

/// A header that no debug form shows.
fn secret(value: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::from_str(value)
        .map_err(|_| Error::Invalid("a header or the key has what no header can hold".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// An error of the client and its causes in one line, without the address, which may be long or signed.
pub fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}
