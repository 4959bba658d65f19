//! `GET /metrics`: what `daemon.metrics` tells, as text for Prometheus.

use jsonrpsee::core::EmptyServerParams;
use jsonrpsee::server::{HttpBody, HttpResponse, Methods};
use protocol::Metrics;

use crate::metrics;

/// Where metrics are.
pub(super) const PATH: &str = "/metrics";

/// The method that has them.
const METHOD: &str = "daemon.metrics";

/// The answer to whatever is asked there. The server takes the body of one to `HEAD` away itself, and leaves its length.
pub(super) async fn answer(asked: &str, methods: &Methods) -> HttpResponse {
    if !matches!(asked, "GET" | "HEAD") {
        return refusal();
    }
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
