//! `POST` to paths below one prefix, which somebody else than JSON-RPC answers; `run` passes in who.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use serde_json::{Value, json};

/// What was posted.
#[derive(Debug)]
pub struct Post {
    /// What follows the prefix in the path.
    pub name: String,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The media type of the body, in small letters and without its parameters.
    pub media_type: Option<String>,
    /// The coding of the body, where it has one.
    pub encoding: Option<String>,
    /// All of it; `None` where it is longer than it may be.
    pub body: Option<Bytes>,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// The status, of three digits.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// When another try may go better, in seconds.
    pub retry_after: Option<u64>,
}

/// Who answers.
type Take = Arc<dyn Fn(Post) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Who answers what is posted where.
#[derive(Clone)]
pub struct Posts {
    prefix: &'static str,
    most_bytes: usize,
    take: Take,
}

impl Posts {
    /// Of paths below `prefix`, with bodies of so many bytes at most.
    pub fn new(
        prefix: &'static str,
        most_bytes: usize,
        take: impl Fn(Post) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        Self { prefix, most_bytes, take: Arc::new(take) }
    }

    /// What follows the prefix in a path that has it.
    pub(super) fn name<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.prefix)
    }
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posts")
            .field("prefix", &self.prefix)
            .field("most_bytes", &self.most_bytes)
            .finish_non_exhaustive()
    }
}

/// The answer to a request for what bears `name` there.
pub(super) async fn answer<B>(request: HttpRequest<B>, name: String, posts: &Posts) -> HttpResponse
where
    B: BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if request.method().as_str() != "POST" {
        return refusal();
    }
    match received(request, name, posts.most_bytes).await {
        Ok(post) => response(&(posts.take)(post).await),
        Err(words) => response(&Answer { status: 400, body: json!({ "error": words }), retry_after: None }),
    }
}

async fn received<B>(request: HttpRequest<B>, name: String, most_bytes: usize) -> Result<Post, String>
where
    B: BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.split_once(' '));
    let bearer =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim().into());
    let media_type = header("content-type").and_then(|value| value.split(';').next());
    let media_type = media_type.map(|value| value.trim().to_ascii_lowercase());
    let encoding = header("content-encoding").map(str::to_owned);
    let body = match Limited::new(body, most_bytes).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => return Err(format!("the body broke off: {error}")),
    };
    Ok(Post { name, bearer, media_type, encoding, body })
}

fn refusal() -> HttpResponse {
    let body = json!({ "error": "only POST is possible here" });
    let mut refusal = response(&Answer { status: 405, body, retry_after: None });
    refusal.headers_mut().insert("allow", "POST".parse().expect("a name is a header's value"));
    refusal
}

fn response(answer: &Answer) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(format!("{}\n", answer.body)));
    *response.status_mut() = answer.status.try_into().expect("a status has three digits");
    let headers = response.headers_mut();
    headers.insert("content-type", "application/json".parse().expect("a media type is a header's value"));
    if let Some(seconds) = answer.retry_after {
        headers.insert("retry-after", seconds.into());
    }
    if answer.status == 401 {
        headers.insert("www-authenticate", "Bearer".parse().expect("a scheme is a header's value"));
    }
    response
}
