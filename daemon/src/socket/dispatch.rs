//! Calls the methods for one newline-delimited connection.
//!
//! The counterpart of jsonrpsee's own innermost service, which only its own server can make. `rules` wraps it and
//! calls [`RpcServiceT::call`] alone.

use std::sync::Arc;

use futures_util::future::{Either, ready};
use jsonrpsee::core::middleware::{Batch, Notification, Request, RpcServiceT};
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods, RandomIntegerIdProvider,
    SubscriptionState,
};
use jsonrpsee::types::{ErrorCode, ErrorObject, Id, Params};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::Limits;
use super::outlet::Outlet;
use super::peer::Peer;
use super::refusal;

/// Whatever the connection's methods need to know of it.
#[derive(Debug)]
pub(super) struct Dispatch {
    methods: Methods,
    connection: ConnectionId,
    /// Where subscriptions send; every clone keeps the outbox open.
    sink: MethodSink,
    subscriptions: BoundedSubscriptions,
    ids: Arc<dyn IdProvider>,
    max_response: usize,
    peer: Peer,
    outlet: Outlet,
}

impl Dispatch {
    pub(super) fn new(
        methods: Methods,
        connection: u32,
        outbox: mpsc::Sender<Box<RawValue>>,
        limits: &Limits,
        peer: Peer,
        outlet: Outlet,
    ) -> Self {
        let max_response = u32::try_from(limits.message_bytes).unwrap_or(u32::MAX);
        Self {
            methods,
            connection: ConnectionId::from(connection),
            sink: MethodSink::new_with_limit(outbox, max_response),
            subscriptions: BoundedSubscriptions::new(limits.subscriptions),
            ids: Arc::new(RandomIntegerIdProvider),
            max_response: limits.message_bytes,
            peer,
            outlet,
        }
    }
}

impl RpcServiceT for Dispatch {
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Request { id, method, params, mut extensions, .. } = request;
        extensions.insert(self.peer.clone());
        extensions.insert(self.outlet.clone());
        let params = Params::new(params.as_deref().map(RawValue::get));
        let at_once = |response| Either::Right(ready(response));
        match self.methods.method(&method) {
            None => at_once(MethodResponse::error(id, ErrorObject::from(ErrorCode::MethodNotFound))),
            Some(MethodCallback::Sync(callback)) => at_once(callback(id, params, self.max_response, extensions)),
            Some(MethodCallback::Async(callback)) => Either::Left(callback(
                id.into_owned(),
                params.into_owned(),
                self.connection,
                self.max_response,
                extensions,
            )),
            Some(MethodCallback::Unsubscription(callback)) => {
                at_once(callback(id, params, self.connection, self.max_response, extensions))
            }
            Some(MethodCallback::Subscription(callback)) => match self.subscriptions.acquire() {
                None => {
                    let refused = refusal::too_many_subscriptions(self.subscriptions.max());
                    at_once(MethodResponse::error(id, refused))
                }
                Some(permit) => {
                    let state = SubscriptionState {
                        conn_id: self.connection,
                        id_provider: &*self.ids,
                        subscription_permit: permit,
                    };
                    Either::Left(callback(id, params, self.sink.clone(), state, extensions))
                }
            },
        }
    }

    fn batch<'a>(&self, _: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        ready(MethodResponse::error(Id::Null, refusal::internal("a batch")))
    }

    fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        ready(MethodResponse::notification())
    }
}
