//! What holds for every call of both framings: the rule of `params`, executed notifications, errors in one shape, and
//! a fence against panics.
//!
//! [`Rules`] wraps the service that calls the methods: `dispatch` for newline-delimited connections, jsonrpsee's own
//! for HTTP and WebSocket. Neither sees a batch or a notification; this makes calls of them.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, Request, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::error::{INVALID_PARAMS_CODE, METHOD_NOT_FOUND_CODE};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id};
use protocol::openrpc::{self, Method};
use serde::Deserialize;

use super::{params, refusal};

/// Marks, in a request's extensions, a transport that can send one answer and nothing after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneAnswer;

/// A service that keeps the rules.
#[derive(Debug)]
pub(super) struct Rules<S> {
    service: Arc<S>,
    max_response: usize,
}

impl<S> Rules<S> {
    pub(super) fn new(service: S, max_response: usize) -> Self {
        Self { service: Arc::new(service), max_response }
    }
}

impl<S> RpcServiceT for Rules<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Send + Sync + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = Arc::clone(&self.service);
        async move { call(&*service, request).await }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (service, max_response) = (Arc::clone(&self.service), self.max_response);
        async move { batch_of(&*service, batch, max_response).await }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = Arc::clone(&self.service);
        async move { notify(&*service, notification).await }
    }
}

async fn call<S>(service: &S, mut request: Request<'_>) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    let id = request.id.clone();
    let Some(method) = openrpc::method(&request.method) else {
        let name = request.method.clone();
        let response = fenced(service, request, &name).await;
        return reworded(response, id, &name);
    };
    match admit(method, &mut request) {
        Ok(()) => reworded(fenced(service, request, method.name).await, id, method.name),
        Err(error) => MethodResponse::error(id, error),
    }
}

/// Gives the request the params that its method decodes.
fn admit(method: &Method, request: &mut Request<'_>) -> Result<(), ErrorObjectOwned> {
    if method.event.is_some() && request.extensions.get::<OneAnswer>().is_some() {
        let why = format!(
            "{} sends more than one answer; use a WebSocket, or write the request itself to the socket",
            method.name
        );
        return Err(refusal::invalid_request(why));
    }
    request.params = params::shape(method, request.params.take()).map_err(refusal::invalid_params)?;
    match &request.params {
        Some(array) => params::check(method, array).map_err(|error| refusal::invalid_params(words(&error.to_string()))),
        None => Ok(()),
    }
}

/// Runs the call. A panic in it ends this call alone, with an internal error.
///
/// Unwinding may leave what the call was changing half changed. Asserting that this is safe is right because a call
/// owns what it works on: what is shared lies behind channels, whose other end is a task of its own, or behind locks,
/// which either poison themselves and make the next call fail here too, or guard values replaced as a whole.
/// Subscriptions run in tasks that jsonrpsee spawns; tokio fences those.
async fn fenced<S>(service: &S, request: Request<'_>, name: &str) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    let id = request.id.clone();
    // The call is made inside the future: a method that is no `async fn` runs before it has returned one.
    let outcome = AssertUnwindSafe(async { service.call(request).await }).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        tracing::error!(method = %refusal::excerpt(name), "a method panicked");
        MethodResponse::error(id, refusal::internal(name))
    })
}

/// One after another: the answers' order is the requests', and a batch takes the daemon no more than a call does.
async fn batch_of<S>(service: &S, batch: Batch<'_>, max_response: usize) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    let mut answers = BatchResponseBuilder::new_with_limit(max_response);
    let mut silent = false;
    for entry in batch {
        let answer = match entry {
            Ok(BatchEntry::Call(request)) if is_subscription(&request.method) => MethodResponse::error(
                request.id,
                refusal::invalid_request("a subscription stands alone, outside batches"),
            ),
            Ok(BatchEntry::Call(request)) => call(service, request).await,
            Ok(BatchEntry::Notification(notification)) => {
                notify(service, notification).await;
                silent = true;
                continue;
            }
            Err(refused) => {
                let (error, id) = refused.into_parts();
                MethodResponse::error(id, error)
            }
        };
        if let Err(too_long) = answers.append(answer) {
            return too_long;
        }
    }
    if silent && answers.is_empty() {
        MethodResponse::notification()
    } else {
        MethodResponse::from_batch(answers.finish())
    }
}

/// Calls the method and drops its answer. A subscription is not begun: its id would reach nobody.
async fn notify<S>(service: &S, notification: Notification<'_>) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    let Notification { jsonrpc, method, params, extensions } = notification;
    if !is_subscription(&method) {
        call(service, Request { jsonrpc, id: Id::Null, method, params, extensions }).await;
    }
    MethodResponse::notification()
}

fn is_subscription(name: &str) -> bool {
    openrpc::method(name).is_some_and(|method| method.event.is_some())
}

/// Puts the errors that jsonrpsee makes into the shape of ours: it names no method and gives `data` as bare text.
fn reworded(response: MethodResponse, id: Id<'_>, name: &str) -> MethodResponse {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        error: ErrorObject<'a>,
    }
    match response.as_error_code() {
        // It was sent already; what is returned is a copy.
        _ if response.is_subscription() => response,
        Some(METHOD_NOT_FOUND_CODE) => MethodResponse::error(id, refusal::unknown_method(name)),
        Some(INVALID_PARAMS_CODE) => {
            let answer = serde_json::from_str::<Answer<'_>>(response.as_ref()).ok();
            let data = answer.as_ref().and_then(|answer| answer.error.data());
            match data.and_then(|data| serde_json::from_str::<Cow<'_, str>>(data.get()).ok()) {
                Some(why) => MethodResponse::error(id, refusal::invalid_params(words(&why))),
                None => response,
            }
        }
        _ => response,
    }
}

/// What serde says, without the position: it counts in an array that the client did not write.
fn words(error: &str) -> &str {
    error.rfind(" at line ").map_or(error, |end| &error[..end])
}
