//! A daemon of a few methods on a socket of its own, for the tests of this module.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::core::{RpcResult, to_json_raw_value};
use jsonrpsee::types::ErrorObjectOwned;
use protocol::{GenerateRequest, ModelRef};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Answer, Claim, Connections, Limits, Outlet, Place, Posts, bind, serve};

/// Longer than anything takes here, shorter than patience.
const LONG: Duration = Duration::from_secs(10);

/// Events of a stream with the prompt `many`: more than a socket and an outbox hold.
pub(super) const MANY: u32 = 100_000;

/// What the methods did, for tests to wait for and to count.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Calls of `daemon.ping`.
    pub(super) pings: AtomicU32,
    /// Events that `generate.stream` has handed over.
    pub(super) events: AtomicU32,
    /// Those of them that went past the connection's task.
    pub(super) passed: AtomicU32,
    /// A call of `generate.text` with the prompt `wait` began.
    pub(super) began: Notify,
    /// It was dropped or answered.
    pub(super) ended: Notify,
    /// Lets one such call answer.
    pub(super) go_on: Notify,
    /// A stream found its client gone.
    pub(super) stream_ended: Notify,
}

struct Ends(Arc<Seen>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.notify_one();
    }
}

/// Methods named as in the contract, so that its rule of params holds.
pub(super) fn module(seen: Arc<Seen>) -> RpcModule<Seen> {
    let mut module = RpcModule::from_arc(seen);
    module
        .register_method("daemon.ping", |_, seen, _| {
            seen.pings.fetch_add(1, Ordering::SeqCst);
            "pong"
        })
        .unwrap();
    module.register_method::<RpcResult<()>, _>("daemon.status", |_, _, _| panic!("a test's panic")).unwrap();
    module
        .register_async_method("models.get", |params, _, _| async move {
            params.one::<ModelRef>().map(|model| json!({ "got": model.model }))
        })
        .unwrap();
    module
        .register_async_method("generate.text", |params, seen, _| async move { text(&params.one()?, seen).await })
        .unwrap();
    module
        .register_subscription(
            "generate.stream",
            "generate.event",
            "generate.unsubscribe",
            |params, pending, seen, from| async move {
                let request: GenerateRequest = params.one().unwrap();
                let count = match request.prompt.as_deref() {
                    Some("flood") => u32::MAX,
                    Some("many") => MANY,
                    _ => 3,
                };
                let Ok(sink) = pending.accept().await else { return };
                let mut past = from.get::<Outlet>().map(|outlet| outlet.events(&sink).unwrap());
                for event in 0..count {
                    let event = format!("event {event}");
                    if past.as_mut().is_some_and(|past| past.pass(&event, &sink)) {
                        seen.passed.fetch_add(1, Ordering::SeqCst);
                    } else if sink.send(to_json_raw_value(&event).unwrap()).await.is_err() {
                        break;
                    }
                    seen.events.fetch_add(1, Ordering::SeqCst);
                    // The task that writes has its turn.
                    tokio::task::yield_now().await;
                }
                seen.stream_ended.notify_one();
            },
        )
        .unwrap();
    module
}

async fn text(request: &GenerateRequest, seen: Arc<Seen>) -> RpcResult<Value> {
    match request.prompt.as_deref() {
        Some("panic") => panic!("a test's panic"),
        Some("fail") => Err(ErrorObjectOwned::owned(1001, "no such model", Some(json!({"kind": "model_not_found"})))),
        Some("wait") => {
            let _ends = Ends(Arc::clone(&seen));
            seen.began.notify_one();
            seen.go_on.notified().await;
            Ok(json!("waited"))
        }
        prompt => Ok(json!(prompt)),
    }
}

/// Tells what was posted below `/echo/`, in 100 bytes at most.
fn posts() -> Posts {
    Posts::new("/echo/", 100, |post| {
        Box::pin(async move {
            let status = if post.bearer.is_some() { 202 } else { 401 };
            let body = post.body.map(|body| String::from_utf8_lossy(&body).into_owned());
            let body = json!({ "name": post.name, "bearer": post.bearer, "type": post.media_type, "body": body });
            Answer { status, body, retry_after: (status == 401).then_some(7) }
        })
    })
}

/// A socket that is served until the end of the test.
pub(super) struct Server {
    directory: TempDir,
    _claim: Claim,
    pub(super) seen: Arc<Seen>,
    pub(super) connections: Connections,
    pub(super) shutdown: CancellationToken,
    pub(super) served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(super) fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bound = bind(&Place::Default(directory.path().join("run").join("s")), None).unwrap();
        let (seen, connections, shutdown) =
            (Arc::new(Seen::default()), Connections::default(), CancellationToken::new());
        let methods = module(Arc::clone(&seen));
        let served =
            tokio::spawn(serve(bound.listener, methods, posts(), limits, connections.clone(), shutdown.clone()));
        Self { directory, _claim: bound.claim, seen, connections, shutdown, served }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("run").join("s")
    }

    pub(super) async fn connect(&self) -> Client {
        Client(BufReader::new(UnixStream::connect(self.path()).await.unwrap()))
    }

    /// All answers to `bytes`, after which the client has nothing more to say.
    pub(super) async fn answers(&self, bytes: &[u8]) -> Vec<Value> {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.finish().await;
        client.rest().await
    }

    /// Sees that others are still served.
    pub(super) async fn check_alive(&self) {
        let mut client = self.connect().await;
        client.send(PING).await;
        assert_eq!(client.answer().await["result"], "pong");
    }

    /// Waits until so many connections are open.
    pub(super) async fn until_open(&self, count: u32) {
        within(async {
            while self.connections.open() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(super) const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"daemon.ping\"}\n";

/// One request with its newline.
pub(super) fn request(id: u32, method: &str, params: &Value) -> Vec<u8> {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).into_bytes()
}

/// A client of bytes.
pub(super) struct Client(pub(super) BufReader<UnixStream>);

impl Client {
    /// Writes; a server that has closed already is no reason to fail.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = within(self.0.write_all(bytes)).await;
    }

    pub(super) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// The next line.
    pub(super) async fn answer(&mut self) -> Value {
        self.next().await.expect("a line and not the end")
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        within(self.0.read_line(&mut line)).await.unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// All lines until the server closes.
    pub(super) async fn rest(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }

    /// All bytes until the server closes.
    pub(super) async fn bytes(&mut self) -> String {
        let mut text = String::new();
        within(self.0.read_to_string(&mut text)).await.unwrap();
        text
    }
}

/// Fails the test instead of letting it hang.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    timeout(LONG, future).await.expect("it takes far too long")
}

/// Whether all that `expected` says holds: members and elements are compared one by one, other members may be there;
/// a string that starts with `~` must be contained.
pub(super) fn matches(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| actual.get(name).is_some_and(|actual| matches(actual, expected)))
        }
        (Value::Array(actual), Value::Array(expected)) => {
            actual.len() == expected.len()
                && actual.iter().zip(expected).all(|(actual, expected)| matches(actual, expected))
        }
        (Value::String(actual), Value::String(expected)) if expected.starts_with('~') => {
            actual.contains(&expected[1..])
        }
        _ => actual == expected,
    }
}
