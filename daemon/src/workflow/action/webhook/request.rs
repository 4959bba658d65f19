//! What is asked, checked before anything is sent, and its headers.

use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::super::Failure;
use super::super::secret::Hidden;
use super::{Reach, Request, sign};
use crate::provider::is_loopback;

/// What is asked may be this.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Headers of the connection, which are made as it is.
const OF_CONNECTION: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];

/// Headers that are secrets, whoever writes them.
const SECRET: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// A request that can be sent.
pub(super) struct Made {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Whether the server is on this machine.
    pub is_local: bool,
    /// What may be told of the address.
    pub place: String,
    /// What may be told of nothing.
    pub hidden: Hidden,
}

/// Checks a request and makes its headers.
pub(super) fn make(asked: &Request, now: SystemTime) -> Result<Made, Failure> {
    let method = METHODS.into_iter().find(|method| asked.method.eq_ignore_ascii_case(method.as_str()));
    let method = method.ok_or_else(|| {
        Failure::last(format!("`method` {:?} is none of GET, HEAD, POST, PUT, PATCH and DELETE", asked.method))
    })?;
    let (url, place) = address(&asked.url)?;
    let is_local = is_loopback(&asked.url);
    if asked.reach == Reach::ThisMachine && !is_local {
        let words =
            format!("local_only is set, so nothing is sent to {place}: what workflows do stays on this machine");
        return Err(Failure::Final(words));
    }
    let headers = headers(asked, now)?;
    if url.scheme() == "http" && !is_local && headers.values().any(HeaderValue::is_sensitive) {
        let words =
            format!("secrets are not sent to {place} without encryption; use https, or a server on this machine");
        return Err(Failure::Final(words));
    }
    let hidden = hidden(asked, &url);
    Ok(Made { method, url, headers, is_local, place, hidden })
}

/// An address, and what may be told of it.
fn address(text: &str) -> Result<(Url, String), Failure> {
    let url = Url::parse(text).map_err(|error| Failure::last(format!("`url` is no address: {error}")))?;
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
    if !matches!(scheme, "http" | "https") || host.is_empty() {
        return Err(Failure::last(format!(
            "`url` begins with {scheme}:, but must with http:// or https:// and a host"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::last(
            "`url` has a name or a password; keep it as a secret and name that as `bearer` or `api_key`",
        ));
    }
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let place = format!("{scheme}://{host}{port}");
    Ok((url, place))
}

/// Everything that errors and answers must not have: secrets, and values of the query.
fn hidden(asked: &Request, url: &Url) -> Hidden {
    let pairs = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let written = pairs.map(|(_, value)| value.to_owned());
    let query = url.query_pairs().map(|(_, value)| value.into_owned()).chain(written);
    // What is that short is no secret, and taking it out would leave little of any text.
    let query = query.filter(|value| value.len() > 3);
    let of_user = asked.headers.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.clone());
    let own: Vec<SecretString> = query.chain(of_user).map(SecretString::from).collect();
    let keys = [asked.bearer.as_ref(), asked.api_key.as_ref().map(|it| &it.key), asked.hmac.as_ref().map(|it| &it.key)];
    Hidden::new(own.iter().chain(keys.into_iter().flatten()))
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_str()))
}

fn headers(asked: &Request, now: SystemTime) -> Result<HeaderMap, Failure> {
    let mut all = Headers::default();
    for (name, value) in &asked.headers {
        if OF_CONNECTION.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(Failure::last(format!("the header {name} is made by itself; take it out of `headers`")));
        }
        if is_secret(name) { all.secret(name, value)? } else { all.add(name, value)? }
    }
    if let Some(bearer) = &asked.bearer {
        all.secret(AUTHORIZATION.as_str(), &format!("Bearer {}", bearer.expose_secret()))?;
    }
    if let Some(api_key) = &asked.api_key {
        all.secret(&api_key.header, api_key.key.expose_secret())?;
    }
    let body = asked.body.as_deref();
    if let Some(hmac) = &asked.hmac {
        all.secret(&hmac.header, &sign::signature(&hmac.key, now, body.unwrap_or_default()))?;
    }
    if let Some(key) = &asked.idempotency_key {
        all.add("idempotency-key", key)?;
    }
    if let Some(body) = body.filter(|_| !all.0.contains_key(CONTENT_TYPE)) {
        let is_json = serde_json::from_str::<Value>(body).is_ok();
        all.add(CONTENT_TYPE.as_str(), if is_json { "application/json" } else { "text/plain; charset=utf-8" })?;
    }
    Ok(all.0)
}

/// Headers, each of which is there once.
#[derive(Default)]
struct Headers(HeaderMap);

impl Headers {
    fn add(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.put(name, value, false)
    }

    /// One that no debug form shows.
    fn secret(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.put(name, value, true)
    }

    /// What is wrong with a value is told without it.
    fn put(&mut self, name: &str, value: &str, is_secret: bool) -> Result<(), Failure> {
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::last(format!("{name:?} is no name of a header")))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Failure::last(format!("the value of the header {name} has what no header can hold")))?;
        value.set_sensitive(is_secret);
        match self.0.insert(known, value) {
            Some(_) => Err(Failure::last(format!("the header {name} is set twice"))),
            None => Ok(()),
        }
    }
}
