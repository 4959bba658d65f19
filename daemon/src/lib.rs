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

pub mod idle;
pub mod preload;
pub mod reload;

pub mod workflow;

pub mod provider;

pub mod generation;
pub mod stream;

pub mod text;

pub mod scheduler;

pub mod process;

pub mod pull;

pub mod app;
pub mod backend;
pub mod boot;
pub mod bounded;
pub mod crash;
pub mod error;
pub mod events;
pub mod express;
pub mod hugging_face;
pub mod library;
pub mod local;
pub mod memory;
pub mod metrics;
pub mod private;
pub mod requests;
pub mod secrets;
#[cfg(target_os = "macos")]
mod sysctl;
pub mod telemetry;
pub mod usage;

mod notify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::workflow::MOST_OUTPUT_BYTES;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Programs};
use crate::config::Config;
use crate::crash::Reports;
use crate::events::Events;
use crate::generation::Generation;
use crate::idle::Activation;
use crate::library::Library;
use crate::memory::Source;
use crate::metrics::Counters;
use crate::preload::Preloads;
use crate::provider::{Local, Policy, Provider, Registry};
use crate::pull::Pulls;
use crate::reload::{LAST_WORDS, Owners, Reload, limits};
use crate::requests::Requests;
use crate::rpc::{Parts, Rpc};
use crate::scheduler::{Scheduler, Settings};
use crate::socket::{Answer, BindError, Connections, Post, Posts};
use crate::usage::Usage;
use crate::workflow::Workflows;
use crate::workflow::action::llm::Asker;
use crate::workflow::action::secret::Secrets;
use crate::workflow::tools::Tools;
use crate::workflow::webhook;

/// How long a client may leave an event of its stream unread once its buffers are full.
const SLOW_CLIENT: Duration = Duration::from_secs(30);

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

/// Serves until `stop`, and reads the configuration again whenever something comes through `reloads`. The order of the end
/// is written here once: no new connections and requests; running requests end or run out of time; engines end;
/// connections are closed; the socket is removed.
pub async fn run(
    config: Config,
    reports: Reports,
    reloads: mpsc::Receiver<()>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let set = config.settings.clone();
    let passed = socket::passed().map_err(RunError::Passed)?;
    let activation = if passed.is_some() { Activation::ByNextClient } else { Activation::ByHand };
    let bound = socket::bind(&config.socket, passed)?;
    let socket = config.socket.path().to_path_buf();
    let counters = Counters::default();
    let events = Events::counted(counters.clone());
    let root = config.home.join("Models").join("MLX");
    let library = swept(Library::new(root.clone(), set.places(), events.clone()));
    let settings = pull::Settings::new(root, set.hub.0, set.pull_limit.0);
    let (pulls, pulling) = Pulls::start_loop(settings, Arc::clone(&library), events.clone(), stop.clone());
    let watching = tokio::spawn(library::watch(Arc::clone(&library), stop.clone()));
    let programs = asked(Programs::new(set.engine.0.clone(), set.candle.0));
    let (limits, drain) = (limits(&config.settings), set.drain);
    let pressure = set.pressure.0.map_or(Source::Kernel, Source::File);
    let settings =
        Settings { programs: Arc::clone(&programs), limits, drain, events: events.clone(), reports, pressure };
    let (scheduler, scheduling) = Scheduler::start(settings, stop.clone());
    let freeing = tokio::spawn(local::give_back(events.clone(), stop.clone()));
    let connections = Connections::default();
    let requests = Arc::new(Requests::new(counters));
    let (drafts, drafted) = watch::channel(set.draft_models.clone());
    let generation = Generation::new(scheduler.clone(), Arc::clone(&library), Arc::clone(&requests), drafted);
    let generation = Arc::new(generation);
    let usage = Usage::start(&config.home);
    let registry = registry(&config, &generation, &library, &requests, &usage, &programs);
    let (preloads, preloading) = Preloads::start(Arc::clone(&registry), &set.preload, stop.clone());
    let (drains, to_drain) = watch::channel(drain);
    let (may, allowed) = watch::channel(reload::may(&config.settings));
    let asker = Asker::new(Arc::clone(&registry), usage.clone());
    let tools = Tools::new(asker, registry.keys(), config.home.clone(), allowed);
    let (workflows, tasks) = Workflows::start_loop(&config.home, tools, &events, to_drain, stop.clone());
    let posts = posts(workflows.clone(), Secrets::new(registry.keys()));
    // A little longer than requests may take, so that their last events still leave.
    let (drain, drained) = watch::channel(drain + LAST_WORDS);
    let draining = drained.clone();
    let (idle_exit, after) = watch::channel(set.idle_exit.0);
    let users = idle::Users {
        connections: connections.clone(),
        scheduler: scheduler.clone(),
        requests: Arc::clone(&requests),
        pulls: pulls.clone(),
        workflows: workflows.clone(),
    };
    let idling = idle::start(users, after, activation, stop.clone());
    let home = config.home.clone();
    let owners = Owners {
        scheduler: scheduler.clone(),
        pulls: pulls.clone(),
        registry: Arc::clone(&registry),
        preloads: preloads.clone(),
        drafts,
        drain,
        drains,
        may,
        idle_exit,
    };
    let (reload, reloading) = Reload::start(config, owners, reloads, stop.clone());
    let rpc = Rpc::new(Parts {
        registry,
        usage,
        generation,
        requests,
        home,
        library,
        engine: set.engine.0,
        scheduler: scheduler.clone(),
        pulls,
        workflows,
        events,
        reload,
        preloads,
        stop: stop.clone(),
        socket: socket.clone(),
        started: Instant::now(),
        connections: connections.clone(),
        slow_client: SLOW_CLIENT,
    });
    let limits = socket::Limits { drain: drained, ..socket::Limits::default() };
    tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "listening");
    telemetry::leave_file();
    let announcing = tokio::spawn(notify::announce(scheduler, draining, stop.clone()));
    let served = socket::serve(bound.listener, rpc.module(), posts, limits, connections, stop).await;
    // Its requests have ended with their connections; what is left is to take the engines down.
    let tasks = [
        ("scheduler", scheduling),
        ("runs of workflows", tasks.runs),
        ("watch of workflows", tasks.watch),
        ("triggers and hooks", tasks.triggers),
        ("downloads", pulling),
        ("watch of the library", watching),
        ("configuration", reloading),
        ("loads at the start", preloading),
        ("return of free memory", freeing),
        ("wait for the next client", idling),
        ("signs of life", announcing),
    ];
    join(tasks).await;
    drop(bound.claim);
    served.map_err(RunError::Serve)
}

/// Requests that start workflows.
fn posts(workflows: Workflows, secrets: Secrets) -> Posts {
    Posts::new("/workflows/", MOST_OUTPUT_BYTES, move |post| {
        let (workflows, secrets) = (workflows.clone(), secrets.clone());
        let Post { name, bearer, media_type, encoding, body } = post;
        let (token, body) = (bearer.map(Into::into), body.map(Into::into));
        let request = webhook::Request { name, token, media_type, is_encoded: encoding.is_some(), body };
        Box::pin(async move {
            match webhook::take(&workflows, &secrets, request).await {
                Ok(run) => Answer { status: 202, body: json!({ "run": run.run }), retry_after: None },
                Err(refusal) => Answer {
                    status: refusal.status,
                    body: json!({ "error": refusal.words }),
                    retry_after: refusal.retry_after_ms.map(|time| time.div_ceil(1000)),
                },
            }
        })
    })
}

/// Who may answer: each engine, and the servers of the configuration.
fn registry(
    config: &Config,
    generation: &Arc<Generation>,
    library: &Arc<Library>,
    requests: &Arc<Requests>,
    usage: &Usage,
    programs: &Arc<Programs>,
) -> Arc<Registry> {
    let engine = |backend| -> Arc<dyn Provider> {
        Arc::new(Local::new(backend, Arc::clone(generation), Arc::clone(library), Arc::clone(programs)))
    };
    let engines = Backend::ALL.map(engine).to_vec();
    let policy = Policy { local_only: config.settings.local_only, keychain: config.settings.keychain.0 };
    let (generation, requests) = (Arc::clone(generation), Arc::clone(requests));
    let (programs, home) = (Arc::clone(programs), config.home.clone());
    Arc::new(Registry::new(generation, requests, usage.clone(), engines, programs, home, policy))
}

/// The library, whose leftovers are removed; nobody waits for that, and what cannot be removed is logged.
fn swept(library: Library) -> Arc<Library> {
    let library = Arc::new(library);
    let sweeping = Arc::clone(&library);
    drop(tokio::task::spawn_blocking(move || sweeping.sweep()));
    library
}

/// The engines' programs, of which the preferred is found out beforehand, so that no request waits for that.
fn asked(programs: Programs) -> Arc<Programs> {
    let programs = Arc::new(programs);
    let asking = Arc::clone(&programs);
    drop(tokio::spawn(async move { asking.preferred().await }));
    programs
}

/// Waits for the daemon's tasks, and says which of them did not end as they should.
async fn join(tasks: impl IntoIterator<Item = (&str, JoinHandle<()>)>) {
    for (name, task) in tasks {
        if task.await.is_err() {
            tracing::error!("a task broke off: {name}");
        }
    }
}
