use crate::workflow::action::llm::Asker;
use crate::workflow::tools::{May, Tools};
use std::collections::BTreeSet;

use super::*;
use crate::backend::Programs;
use crate::config::kinds::DraftModels;
use crate::config::{Config, Given};
use crate::provider::Policy;
use crate::reload::Owners;
use crate::scheduler::Settings;

#[tokio::test]
async fn the_methods_served_are_the_methods_described() {
    let stop = CancellationToken::new();
    let limits = crate::reload::limits(&crate::config::Settings::default());
    let programs = Arc::new(Programs::new("none".into(), "none".into()));
    let home = tempfile::tempdir().unwrap();
    let settings = Settings {
        programs: Arc::clone(&programs),
        limits,
        drain: Duration::ZERO,
        events: Events::default(),
        reports: crate::crash::Reports::new(home.path()),
        pressure: crate::memory::Source::Kernel,
    };
    let (scheduler, scheduling) = Scheduler::start(settings, stop.clone());
    let library = Arc::new(Library::at("none".into()));
    let settings = crate::pull::Settings::new("none".into(), "http://127.0.0.1:1".into(), None);
    let (pulls, pulling) = Pulls::start_loop(settings, Arc::clone(&library), Events::default(), stop.clone());
    let requests = Arc::<Requests>::default();
    let (drafts, drafted) = tokio::sync::watch::channel(DraftModels::default());
    let generation = Generation::new(scheduler.clone(), Arc::clone(&library), Arc::clone(&requests), drafted);
    let generation = Arc::new(generation);
    let usage = Usage::start(home.path());
    let policy = Policy { local_only: false, keychain: false };
    let registry = Arc::new(Registry::new(
        Arc::clone(&generation),
        Arc::clone(&requests),
        usage.clone(),
        Vec::new(),
        programs,
        "none".into(),
        policy,
    ));
    let (preloads, _) = Preloads::start(Arc::clone(&registry), &[], stop.clone());
    let owners = Owners {
        drafts,
        scheduler: scheduler.clone(),
        pulls: pulls.clone(),
        registry: Arc::clone(&registry),
        preloads: preloads.clone(),
        drain: tokio::sync::watch::channel(Duration::ZERO).0,
        drains: tokio::sync::watch::channel(Duration::ZERO).0,
        may: tokio::sync::watch::channel(May::default()).0,
        idle_exit: tokio::sync::watch::channel(None).0,
    };
    let asker = Asker::new(Arc::clone(&registry), usage.clone());
    let (_, allowed) = tokio::sync::watch::channel(May::default());
    let tools = Tools::new(asker, registry.keys(), home.path().into(), allowed);
    let (_, drained) = tokio::sync::watch::channel(Duration::ZERO);
    let (workflows, tasks) = Workflows::start_loop(home.path(), tools, &Events::default(), drained, stop.clone());
    let (given, _) = Given::parse(["talkied", "--home", "/none"], |_| None).unwrap();
    let (_, signals) = tokio::sync::mpsc::channel(1);
    let (reload, _) = Reload::start(Config::load(given).unwrap(), owners, signals, stop.clone());
    let rpc = Rpc::new(Parts {
        registry,
        reload,
        preloads,
        generation,
        usage,
        requests,
        home: "none".into(),
        library,
        engine: "none".into(),
        scheduler,
        pulls,
        workflows,
        events: Events::default(),
        stop: stop.clone(),
        socket: "none".into(),
        started: Instant::now(),
        connections: Connections::default(),
        slow_client: Duration::ZERO,
    });
    let served: BTreeSet<String> = rpc.module().method_names().map(str::to_owned).collect();
    let described: BTreeSet<String> = protocol::openrpc::METHODS.iter().map(|method| method.name.to_owned()).collect();
    assert_eq!(served, described);
    stop.cancel();
    scheduling.await.unwrap();
    pulling.await.unwrap();
    tasks.runs.await.unwrap();
    tasks.watch.await.unwrap();
    tasks.triggers.await.unwrap();
}

#[test]
fn an_error_object_has_code_words_and_kind() {
    let object = error(ErrorData::new(protocol::Kind::Busy, "full"));
    assert_eq!((object.code(), object.message()), (3001, "full"));
    assert!(object.data().unwrap().get().contains(r#""kind":"busy""#));
}
