//! Paths of HTTP that are not jsonrpsee's: `/metrics`, and those that are posted to. Every other goes on to it.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use jsonrpsee::server::{HttpRequest, HttpResponse, Methods};
use tower::Service;

use super::posted::{self, Posts};
use super::scrape;

/// A service with these paths before it.
#[derive(Debug, Clone)]
pub(super) struct Paths<S> {
    service: S,
    methods: Methods,
    posts: Posts,
}

impl<S> Paths<S> {
    pub(super) fn new(service: S, methods: Methods, posts: Posts) -> Self {
        Self { service, methods, posts }
    }
}

impl<S, B> Service<HttpRequest<B>> for Paths<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let path = request.uri().path();
        if path == scrape::PATH {
            let (asked, methods) = (request.method().clone(), self.methods.clone());
            return Box::pin(async move { Ok(scrape::answer(asked.as_str(), &methods).await) });
        }
        if let Some(name) = self.posts.name(path).map(str::to_owned) {
            let posts = self.posts.clone();
            return Box::pin(async move { Ok(posted::answer(request, name, &posts).await) });
        }
        Box::pin(self.service.call(request))
    }
}
