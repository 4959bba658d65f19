//! `GET /metrics`: what `daemon.metrics` tells, as text for Prometheus. Every other path goes on to jsonrpsee.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use jsonrpsee::core::EmptyServerParams;
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse, Methods};
use protocol::Metrics;
use tower::Service;

use crate::metrics;

/// Where metrics are.
const PATH: &str = "/metrics";

/// The method that has them.
const METHOD: &str = "daemon.metrics";

/// A service with that path before it.
#[derive(Debug, Clone)]
pub(super) struct Scraped<S> {
    service: S,
    methods: Methods,
}

impl<S> Scraped<S> {
    pub(super) fn new(service: S, methods: Methods) -> Self {
        Self { service, methods }
    }
}

impl<S, B> Service<HttpRequest<B>> for Scraped<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.service.call(request));
        }
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return Box::pin(std::future::ready(Ok(refusal())));
        }
        let methods = self.methods.clone();
        Box::pin(async move { Ok(answer(&methods).await) })
    }
}

/// The server takes the body of an answer to `HEAD` away itself, and leaves its length.
async fn answer(methods: &Methods) -> HttpResponse {
    let metrics = methods.call::<_, Metrics>(METHOD, EmptyServerParams::new()).await;
    let text = match metrics {
        Ok(metrics) => metrics::text(metrics).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match text {
        Ok(text) => response(200, text),
        // Most likely the daemon ends.
        Err(error) => response(503, format!("the metrics cannot be read: {error}\n")),
    }
}

fn refusal() -> HttpResponse {
    let mut refusal = response(405, "only GET and HEAD are possible here; JSON-RPC is POST /\n".into());
    refusal.headers_mut().insert("allow", "GET, HEAD".parse().expect("names are a header's value"));
    refusal
}

fn response(status: u16, text: String) -> HttpResponse {
    let kind = if status == 200 { metrics::CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let mut response = HttpResponse::new(HttpBody::from(text));
    *response.status_mut() = status.try_into().expect("a status has three digits");
    response.headers_mut().insert("content-type", kind.parse().expect("a media type is a header's value"));
    response
}
