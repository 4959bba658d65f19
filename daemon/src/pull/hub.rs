//! Speaks with the Hugging Face hub: what a repository has, and bytes of its files.
//!
//! By `reqwest`, not by the crate `hf-hub`: that leaves half a file under its final name and takes it for whole the next
//! time, begins at the first byte after every break, verifies no hash, loses the SHA-256 in lists of files, and cannot
//! read the headers of a redirect (1.0.0, tried against a server with these faults); it also brings 130 crates.
//!
//! A token goes to the hub's own address alone. Files are answered by a redirect to another host, whose address is good
//! for a while: it is asked for once and used until it is refused.

mod token;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cloud::words;
use protocol::ModelId;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, LOCATION, RANGE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use super::error::PullError;
use super::plan::Info;
pub use token::token;

/// Longest description of a repository that is read.
const MAX_INFO_BYTES: usize = 32 << 20;

/// Redirects that are followed.
const MAX_HOPS: usize = 5;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);

/// Longest wait that a server may ask for; one that asks for more is not waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(30);

/// One hub.
#[derive(Debug)]
pub struct Hub {
    endpoint: Url,
    token: Option<SecretString>,
    client: reqwest::Client,
    /// How long a server may send nothing.
    patience: Duration,
    /// Where files are for now. Held for one look alone.
    places: Mutex<HashMap<String, Url>>,
}

/// A file of a repository at a commit.
#[derive(Debug, Clone, Copy)]
pub struct Remote<'a> {
    /// The repository.
    pub model: &'a ModelId,
    /// The commit.
    pub commit: &'a str,
    /// The file.
    pub path: &'a str,
    /// Its bytes.
    pub size: u64,
}

/// Bytes of a file on their way.
#[derive(Debug)]
pub struct Bytes {
    /// Whether it is the whole file, whatever was asked for: its server knows no ranges.
    pub is_whole: bool,
    response: Response,
    patience: Duration,
    host: String,
}

impl Hub {
    /// The hub at an address, such as `https://huggingface.co`.
    pub fn new(endpoint: &str, token: Option<SecretString>, patience: Duration) -> Result<Self, PullError> {
        let odd = |problem: String| PullError::Odd { host: "the hub".into(), problem };
        let endpoint =
            Url::parse(endpoint.trim_end_matches('/')).map_err(|error| odd(format!("is no address: {error}")))?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            let problem = "has a name or password in its address, which would be told: give a token".into();
            return Err(PullError::Odd { host: host_of(&endpoint), problem });
        }
        // Fails when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("talkied/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| odd(format!("cannot be asked: {error}")))?;
        Ok(Self { endpoint, token, client, patience, places: Mutex::default() })
    }

    /// The address without its last slash.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// What a repository has at a revision.
    pub async fn info(&self, model: &ModelId, revision: &str) -> Result<Info, PullError> {
        let mut url = self.url(&["api", "models"], model, &["revision", revision]);
        url.set_query(Some("blobs=true"));
        let host = host_of(&url);
        let response = self.follow(url, None, model, revision, "").await?;
        let mut bytes = Bytes { is_whole: true, response, patience: self.patience, host: host.clone() };
        let mut text = Vec::new();
        while let Some(piece) = bytes.next().await? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_INFO_BYTES {
                return Err(PullError::Odd { host, problem: "describes the repository without end".into() });
            }
        }
        serde_json::from_slice(&text)
            .map_err(|error| PullError::Odd { host, problem: format!("does not describe a repository ({error})") })
    }

    /// Bytes of a file, from one place up to another.
    pub async fn bytes(&self, file: Remote<'_>, from: u64, to: u64) -> Result<Bytes, PullError> {
        let place = self.places(|places| places.get(file.path).cloned());
        let range = Some((from, to));
        if let Some(url) = place {
            match self.get(&url, range, false).await {
                Ok(response) if response.status().is_success() => return self.opened(response, from, to, file.size),
                // Its time is over; the hub tells another place.
                Ok(response) if response.status().is_client_error() && response.status().as_u16() != 429 => {
                    self.places(|places| places.remove(file.path));
                }
                Ok(response) => return Err(unwell(&response)),
                Err(error) => return Err(error),
            }
        }
        let url = self.url(&[], file.model, &["resolve", file.commit, file.path]);
        let response = self.follow(url, range, file.model, file.commit, file.path).await?;
        let url = response.url().clone();
        if !self.is_own(&url) {
            self.places(|places| places.insert(file.path.to_owned(), url));
        }
        self.opened(response, from, to, file.size)
    }

    /// Asks until the answer is no redirect.
    async fn follow(
        &self,
        mut url: Url,
        range: Option<(u64, u64)>,
        model: &ModelId,
        revision: &str,
        path: &str,
    ) -> Result<Response, PullError> {
        for _ in 0..MAX_HOPS {
            let own = self.is_own(&url);
            let response = self.get(&url, range, own).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(if own { self.refusal(&response, model, revision, path) } else { unwell(&response) });
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok()).filter(|next| self.may_follow(next));
            let Some(next) = next else {
                return Err(PullError::Odd {
                    host: host_of(&url),
                    problem: "redirects to no address that can be followed".into(),
                });
            };
            url = next;
        }
        Err(PullError::Odd { host: host_of(&url), problem: "redirects in circles".into() })
    }

    async fn get(&self, url: &Url, range: Option<(u64, u64)>, own: bool) -> Result<Response, PullError> {
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some((from, to)) = range {
            request = request.header(RANGE, format!("bytes={from}-{}", to - 1));
        }
        if let Some(token) = self.token.as_ref().filter(|_| own) {
            request = request.bearer_auth(token.expose_secret());
        }
        let host = host_of(url);
        match tokio::time::timeout(self.patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(PullError::Unreachable { host, problem: words(error) }),
            Err(_) => Err(PullError::Unreachable { host, problem: "it does not answer".into() }),
        }
    }

    /// Checks that the answer begins where it was asked to.
    fn opened(&self, response: Response, from: u64, to: u64, size: u64) -> Result<Bytes, PullError> {
        let host = host_of(response.url());
        let is_whole = response.status() != StatusCode::PARTIAL_CONTENT;
        if !is_whole {
            let told = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("none");
            if told != format!("bytes {from}-{}/{size}", to - 1) {
                let problem = format!("sent the range {told:?} in place of {from}-{}/{size}", to - 1);
                return Err(PullError::Odd { host, problem });
            }
        }
        Ok(Bytes { is_whole, response, patience: self.patience, host })
    }

    /// Why the hub itself refuses, by its own code where it gives one.
    fn refusal(&self, response: &Response, model: &ModelId, revision: &str, path: &str) -> PullError {
        let (id, endpoint) = (model.0.clone(), self.endpoint().to_owned());
        let code = response.headers().get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or("");
        match (code, response.status().as_u16()) {
            ("GatedRepo" | "DisabledRepo", _) | (_, 403) => PullError::Denied { id, endpoint },
            ("RevisionNotFound", _) => PullError::NoRevision { id, revision: revision.to_owned(), endpoint },
            ("EntryNotFound", _) => PullError::NoFile { id, path: path.to_owned(), revision: revision.to_owned() },
            (_, 401 | 404) => PullError::NoRepository { id, endpoint },
            _ => unwell(response),
        }
    }

    fn url(&self, before: &[&str], model: &ModelId, after: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // A branch may have a slash in its name, which stays one part of the address.
            path.pop_if_empty().extend(before).extend(model.0.split('/')).extend(after);
        }
        url
    }

    /// Whether an address is the hub's own, to which a token may go.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// From an encrypted hub nobody is sent to where everybody can read.
    fn may_follow(&self, url: &Url) -> bool {
        url.scheme() == "https" || url.scheme() == "http" && self.endpoint.scheme() == "http"
    }

    fn places<T>(&self, look: impl FnOnce(&mut HashMap<String, Url>) -> T) -> T {
        look(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bytes {
    /// The next ones; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, PullError> {
        match tokio::time::timeout(self.patience, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(PullError::Unreachable { host: self.host.clone(), problem: words(error) }),
            Err(_) => {
                let problem = format!("it has sent nothing for {} s", self.patience.as_secs());
                Err(PullError::Unreachable { host: self.host.clone(), problem })
            }
        }
    }
}

fn unwell(response: &Response) -> PullError {
    let retry_after = retry_after(response.headers());
    PullError::Unwell { host: host_of(response.url()), status: response.status().as_u16(), retry_after }
}

/// Seconds, or a date of HTTP (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("the hub").to_owned()
}
