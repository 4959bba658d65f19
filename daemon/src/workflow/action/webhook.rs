//! Steps that call a server: one request, and what comes of it. Redirects are not followed.
//!
//! In reading order: `request` checks what is asked and makes headers of it, `sign` signs, `answer` reads what comes
//! back. Secrets stand in headers that no debug form shows, and go to `https` or this machine alone. Of an address only
//! scheme, host and port are ever told: paths and queries may have secrets of their own.

mod answer;
mod request;
mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use cloud::words;
use reqwest::redirect::Policy;
use secrecy::SecretString;
use tokio::time::timeout;

use super::Failure;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// `http` or `https`, without a password.
    pub url: String,
    /// GET, HEAD, POST, PUT, PATCH or DELETE.
    pub method: String,
    /// More headers. None of those that are made of the fields below, and none that is the connection's own.
    pub headers: BTreeMap<String, String>,
    /// What is sent. JSON is sent as `application/json` and other text as `text/plain`, unless `headers` say otherwise.
    pub body: Option<String>,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<SecretString>,
    /// A key in a header of its own.
    pub api_key: Option<ApiKey>,
    /// Proves who sends, and that the body is whole.
    pub hmac: Option<Hmac>,
    /// Sent as `Idempotency-Key`: the same for each try of the same step.
    pub idempotency_key: Option<String>,
    /// Which servers may be asked.
    pub reach: Reach,
    /// When the whole answer must be there.
    pub timeout: Duration,
}

/// A key in a header.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The header's name.
    pub header: String,
    /// The key.
    pub key: SecretString,
}

/// A signature: `t=SECONDS,v1=HEX`, the HMAC-SHA256 of the seconds since 1970, a dot, and the body.
#[derive(Debug, Clone)]
pub struct Hmac {
    /// The header's name; usually `X-Signature`.
    pub header: String,
    /// What both sides know.
    pub key: SecretString,
}

/// Which servers may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All.
    Anywhere,
    /// Those of this machine: the policy `local_only` holds.
    ThisMachine,
}

/// What a server answered: a status of 200 to 299.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The status.
    pub status: u16,
    /// The body, at most [`super::LONGEST_OUTPUT`] bytes.
    pub text: String,
}

/// Sends requests. A clone shares the connections of the first.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    clients: Arc<Clients>,
}

/// Made when they are needed first: reading the system's certificates takes its time.
#[derive(Debug, Default)]
struct Clients {
    /// By the proxies that the system or the environment names.
    anywhere: OnceLock<reqwest::Client>,
    /// By none.
    this_machine: OnceLock<reqwest::Client>,
}

impl Sender {
    /// Sends one request and waits for its answer; tries once. `now` is what the signature tells. Dropping the future
    /// closes the connection.
    pub async fn send(&self, asked: Request, now: SystemTime) -> Result<Output, Failure> {
        let made = request::make(&asked, now)?;
        let client = self.client(made.is_local)?;
        let (place, limit) = (made.place, asked.timeout);
        let mut sending = client.request(made.method, made.url).headers(made.headers);
        if let Some(body) = asked.body {
            sending = sending.body(body);
        }
        let exchange = async {
            let response = sending.send().await;
            let response = response.map_err(|error| {
                Failure::may_pass(format!("{place} cannot be reached: {}", made.hidden.hide(&words(error))))
            })?;
            answer::read(response, &place, &made.hidden, now).await
        };
        match timeout(limit, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::may_pass(format!("{place} has not answered within {limit:?}"))),
        }
    }

    fn client(&self, is_local: bool) -> Result<reqwest::Client, Failure> {
        let Clients { anywhere, this_machine } = &*self.clients;
        let place = if is_local { this_machine } else { anywhere };
        if let Some(client) = place.get() {
            return Ok(client.clone());
        }
        // Fails when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("talkied/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT);
        let client = if is_local { client.no_proxy() } else { client };
        let client =
            client.build().map_err(|error| Failure::last(format!("no request can be sent: {}", words(error))))?;
        Ok(place.get_or_init(|| client).clone())
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
