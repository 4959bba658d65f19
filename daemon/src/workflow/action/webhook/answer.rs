//! What comes back: a text of bounded length, or why there is none and whether another try may go well.

use std::time::{Duration, SystemTime};

use cloud::words;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::super::secret::Hidden;
use super::super::{Failure, LONGEST_OUTPUT};
use super::Output;

/// Longest words of a server that are told, in characters.
const LONGEST_WORDS: usize = 300;

/// How much of a refusal is read, in bytes.
const REFUSAL: usize = 64 << 10;

/// Longest wait that a server may ask for; who asks for more is taken to mean this.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The whole answer, whose sender is told as `place`.
pub(super) async fn read(
    mut response: Response,
    place: &str,
    hidden: &Hidden,
    now: SystemTime,
) -> Result<Output, Failure> {
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(response, place, hidden, now).await);
    }
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await.map_err(|error| broken(place, hidden, error))? {
        if bytes.len() + more.len() > LONGEST_OUTPUT {
            let words = format!("{place} took it ({status}), but answered with more than {LONGEST_OUTPUT} bytes");
            return Err(Failure::Final(words));
        }
        bytes.extend_from_slice(&more);
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::last(format!("{place} took it ({status}), but answered with what is no text in UTF-8"))
    })?;
    Ok(Output { status: status.as_u16(), text: hidden.hide(&text) })
}

fn broken(place: &str, hidden: &Hidden, error: reqwest::Error) -> Failure {
    Failure::may_pass(format!("the answer of {place} broke off: {}", hidden.hide(&words(error))))
}

async fn refusal(mut response: Response, place: &str, hidden: &Hidden, now: SystemTime) -> Failure {
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_redirection() {
        return Failure::Final(redirected(status, &headers, place, hidden));
    }
    let mut bytes = Vec::new();
    // What breaks off is told as far as it came.
    while let Ok(Some(more)) = response.chunk().await {
        bytes.extend_from_slice(&more);
        if bytes.len() > REFUSAL {
            break;
        }
    }
    let said = told(&String::from_utf8_lossy(&bytes), hidden);
    let words = format!("{place} answered {status}");
    let words = if said.is_empty() { words } else { format!("{words}: {said}") };
    if status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Failure::MayPass { words, after: wait(&headers, now) };
    }
    Failure::Final(words)
}

fn redirected(status: StatusCode, headers: &HeaderMap, place: &str, hidden: &Hidden) -> String {
    let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| Url::parse(to).ok());
    let to = to.and_then(|to| to.host_str().map(|host| format!("the host {}", hidden.hide(host))));
    let to = to.unwrap_or_else(|| "another path".into());
    format!("{place} answered {status}, a redirect to {to}, which is not followed; put the right address into `url`")
}

/// A server's words: one line, cut short, without secrets.
fn told(text: &str, hidden: &Hidden) -> String {
    let clean: String = hidden.hide(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= LONGEST_WORDS {
        return words;
    }
    words.chars().take(LONGEST_WORDS).chain(['…']).collect()
}

/// How long the server wants to be left alone: in seconds, or until a date.
fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let until = || {
        let date = DateTimeParser::new().parse_timestamp(text).ok()?;
        let now = Timestamp::try_from(now).ok()?;
        Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
    };
    seconds.or_else(until).map(|wait| wait.min(LONGEST_WAIT))
}
