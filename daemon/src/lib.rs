//! talkied keeps language models warm and lends them to every app of its user over one Unix socket.
//!
//! A request reads left to right, in the order of the modules: [`socket`] → [`rpc`] → [`provider`] → [`generation`] → [`text`] →
//! [`scheduler`] → [`process`]; its tokens return on [`stream`]. A module imports only those to its right and the
//! nouns at the end. [`run`] puts them together; `README.md` beside this crate is the map.
//!
//! No model is ever in this process: each lives in an engine process of its own, behind the `engine` crate.

pub mod config;
pub mod socket;

pub mod rpc;

pub mod provider;

pub mod generation;
pub mod stream;

pub mod text;

pub mod scheduler;

pub mod process;

pub mod pull;

pub mod backend;
pub mod bounded;
pub mod error;
pub mod events;
pub mod hugging_face;
pub mod library;
pub mod local;
pub mod private;
pub mod requests;
pub mod secrets;
pub mod telemetry;
pub mod usage;

mod notify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Programs};
use crate::config::Config;
use crate::events::Events;
use crate::generation::Generation;
use crate::library::Library;
use crate::provider::{Local, Policy, Provider, Registry};
use crate::pull::Pulls;
use crate::requests::Requests;
use crate::rpc::{Parts, Rpc};
use crate::scheduler::{Limits, Scheduler, Settings};
use crate::socket::{BindError, Connections};
use crate::usage::Usage;

/// How long a client may leave an event of its stream unread once its buffers are full.
const SLOW_CLIENT: Duration = Duration::from_secs(30);

/// How long connections stay open after the last request has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket was passed by launchd or systemd, but cannot be used.
    #[error("failed to take the socket that the service manager passed: {0}")]
    Passed(std::io::Error),
    /// The socket stopped working.
    #[error("failed to serve the socket: {0}")]
    Serve(std::io::Error),
}

/// Serves until `stop`. The order of the end is written here once: no new connections and requests; running requests
/// end or run out of time; engines end; connections are closed; the socket is removed.
pub async fn run(config: &Config, stop: CancellationToken) -> Result<(), RunError> {
    let passed = socket::passed().map_err(RunError::Passed)?;
    let bound = socket::bind(&config.socket, passed)?;
    let socket = config.socket.path().to_path_buf();
    let events = Events::default();
    let root = config.home.join("Models").join("MLX");
    let library = Arc::new(Library::new(root.clone(), config.places.clone(), events.clone()));
    let sweeping = Arc::clone(&library);
    // Nobody waits for it; what it cannot remove it logs.
    drop(tokio::task::spawn_blocking(move || sweeping.sweep()));
    let settings = pull::Settings::new(root, config.hub.clone(), config.pull_limit);
    let (pulls, pulling) = Pulls::start_loop(settings, Arc::clone(&library), events.clone(), stop.clone());
    let watching = tokio::spawn(library::watch(Arc::clone(&library), stop.clone()));
    let limits = Limits { waiting: config.queue, keep_alive: config.keep_alive };
    let programs = Arc::new(Programs::new(config.engine.clone(), config.candle.clone()));
    let asking = Arc::clone(&programs);
    // So that no request waits for the answer.
    drop(tokio::spawn(async move { asking.preferred().await }));
    let settings = Settings { programs: Arc::clone(&programs), limits, drain: config.drain, events: events.clone() };
    let (scheduler, scheduling) = Scheduler::start(settings, stop.clone());
    let watchdog = tokio::spawn(notify::keep_watch(scheduler.clone()));
    let connections = Connections::default();
    let requests = Arc::<Requests>::default();
    let generation = Arc::new(Generation::new(scheduler.clone(), Arc::clone(&library), Arc::clone(&requests)));
    let engine = |backend| -> Arc<dyn Provider> {
        Arc::new(Local::new(backend, Arc::clone(&generation), Arc::clone(&library), Arc::clone(&programs)))
    };
    let engines = Backend::ALL.map(engine).to_vec();
    let policy = Policy { local_only: config.local_only, keychain: config.keychain };
    let usage = Usage::start(&config.home);
    let registry = Registry::new(
        Arc::clone(&generation),
        Arc::clone(&requests),
        usage.clone(),
        engines,
        Arc::clone(&programs),
        config.home.clone(),
        policy,
    );
    let rpc = Rpc::new(Parts {
        registry,
        usage,
        generation,
        requests,
        home: config.home.clone(),
        library,
        engine: config.engine.clone(),
        scheduler,
        pulls,
        events,
        stop: stop.clone(),
        socket: socket.clone(),
        started: Instant::now(),
        connections: connections.clone(),
        slow_client: SLOW_CLIENT,
    });
    // A little longer than requests may take, so that their last events still leave.
    let limits = socket::Limits { drain: config.drain + LAST_WORDS, ..socket::Limits::default() };
    tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "listening");
    notify::ready();
    let announce = async {
        stop.cancelled().await;
        notify::stopping(config.drain);
    };
    let serve = socket::serve(bound.listener, rpc.module(), limits, connections, stop.clone());
    let (served, ()) = tokio::join!(serve, announce);
    // Its requests have ended with their connections; what is left is to take the engines down.
    if scheduling.await.is_err() {
        tracing::error!("the scheduler broke off");
    }
    watchdog.abort();
    if pulling.await.is_err() || watching.await.is_err() {
        tracing::error!("a task of the library broke off");
    }
    drop(bound.claim);
    served.map_err(RunError::Serve)
}
