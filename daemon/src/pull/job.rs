//! One download from its name to an installed model. It has a thread of its own, since disks can be slow.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::{ErrorData, ModelId, Pull, PullState};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::board::{Board, Told};
use super::error::{PullError, SPARE_BYTES};
use super::hub::{Hub, Remote, token};
use super::plan::plan;
use super::rate::{Limit, Meter, wait};
use super::store::{Job, Store};
use super::transfer::{Shared, transfer};
use crate::library::aside;
use crate::library::manifest::Manifest;

/// Attempts to learn what there is to download.
const PLAN_ATTEMPTS: u32 = 4;

/// What is known of a download from outside.
#[derive(Debug)]
pub struct Watched {
    model: ModelId,
    /// Held for one look or note alone.
    status: Mutex<Status>,
}

#[derive(Debug)]
struct Status {
    state: PullState,
    commit: Option<String>,
    shared: Option<Arc<Shared>>,
    meter: Meter,
    error: Option<PullError>,
}

impl Watched {
    /// A download in a state.
    pub fn new(model: ModelId, state: PullState) -> Self {
        let status = Status { state, commit: None, shared: None, meter: Meter::default(), error: None };
        Self { model, status: Mutex::new(status) }
    }

    /// One that was written down, and is not worked on.
    pub fn at_rest(job: &Job, state: PullState, pulls: &Path) -> Self {
        let watched = Self::new(job.model.clone(), state);
        // Looked at only; one that somebody else works on tells no bytes.
        if let (Some(commit), Ok(store)) = (&job.commit, Store::open(pulls, &job.model))
            && let Ok(board) = board(&store, job)
        {
            watched.status().commit = Some(commit.clone());
            watched.status().shared = Some(Arc::new(Shared::new(board, CancellationToken::new())));
        }
        watched
    }

    /// What it is doing.
    pub fn state(&self) -> PullState {
        self.status().state
    }

    /// It does something else now.
    pub fn set(&self, state: PullState, error: Option<PullError>) {
        let mut status = self.status();
        status.state = state;
        status.error = error;
    }

    /// All of it, as it is now.
    pub fn pull(&self, now: Instant) -> Pull {
        let mut status = self.status();
        let shared = status.shared.clone();
        let told = shared.as_ref().map(|shared| shared.board().told());
        let total_bytes = told.as_ref().map(|told| told.total_bytes);
        let Told { done_bytes, refetched_bytes, files, .. } = told.unwrap_or_default();
        let is_going = status.state == PullState::Downloading;
        let attempt = shared.as_ref().filter(|_| is_going).and_then(|shared| shared.attempt());
        let state = match &shared {
            Some(shared) if is_going && shared.board().is_there() => PullState::Verifying,
            _ => status.state,
        };
        let rate = status.meter.note(done_bytes + refetched_bytes, now).filter(|_| state == PullState::Downloading);
        let left = total_bytes.unwrap_or(done_bytes).saturating_sub(done_bytes);
        let error = status.error.as_ref().or(attempt.as_ref().map(|(error, _)| error)).map(ErrorData::from);
        Pull {
            model: self.model.clone(),
            state,
            revision: status.commit.clone(),
            done_bytes,
            total_bytes,
            refetched_bytes,
            bytes_per_second: rate,
            time_left_ms: rate.filter(|rate| *rate > 0).map(|rate| left.saturating_mul(1000) / rate),
            retry_after_ms: attempt.map(|(_, at)| at.saturating_duration_since(now).as_millis() as u64),
            files,
            error,
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Downloads a model, verifies and installs it. On its way out everything that came is kept.
pub async fn run(
    watched: &Watched,
    mut job: Job,
    settings: &Settings,
    limit: &Limit,
    stop: CancellationToken,
) -> Result<(), PullError> {
    watched.set(PullState::Planning, None);
    let store = Arc::new(Store::open(&settings.pulls(), &job.model)?);
    // What it has learnt before counts, for as long as the same is wanted.
    if let Some(known) = store.job().filter(|known| known.revision == job.revision && known.model == job.model) {
        job = known;
        job.paused = false;
    }
    store.save(&job)?;
    let hub = Hub::new(&settings.endpoint, token(), settings.patience)?;
    if job.commit.is_none() {
        let planned = tokio::select! {
            planned = planned(&hub, &job) => planned?,
            () = stop.cancelled() => return Err(PullError::Stopped),
        };
        job.commit = Some(planned.commit);
        job.files = planned.files;
        if settings.is_installed(&job) {
            return remove(store);
        }
        store.save(&job)?;
    }
    let installed = settings.root.join(job.model.folder());
    store.keep_only(&job.files)?;
    job.files.iter().for_each(|file| store.link(file, &installed));
    let shared = Arc::new(Shared::new(board(&store, &job)?, stop.child_token()));
    let commit = job.commit.clone().unwrap_or_default();
    {
        let mut status = watched.status();
        status.commit = Some(commit.clone());
        status.shared = Some(Arc::clone(&shared));
    }
    enough_room(settings, &shared)?;
    let remote = Remote { model: &job.model, commit: &commit, path: "", size: 0 };
    let done = async {
        // What the model is decides whether the rest is worth fetching.
        transfer(&shared, &store, &hub, remote, limit, settings.ways, 1).await?;
        supported(&job, &store.model().join("config.json"))?;
        watched.set(PullState::Downloading, None);
        transfer(&shared, &store, &hub, remote, limit, settings.ways, job.files.len()).await
    };
    done.await.map_err(|error| full(error, settings, &shared))?;
    watched.set(PullState::Installing, None);
    install(&store, &job, &hub, &settings.root)?;
    remove(store)
}

async fn planned(hub: &Hub, job: &Job) -> Result<super::plan::Plan, PullError> {
    let mut failures = 0;
    loop {
        match hub.info(&job.model, &job.revision).await {
            Ok(info) => return plan(&job.model, &info),
            Err(error) if error.is_transient() && failures + 1 < PLAN_ATTEMPTS => {
                failures += 1;
                tokio::time::sleep(wait(failures, error.retry_after(), 0.5)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn board(store: &Store, job: &Job) -> Result<Board, PullError> {
    let open = |fact: &crate::library::manifest::FileFact| {
        let (part, found) = store.part(fact)?;
        Ok((fact.clone(), part, found))
    };
    Ok(Board::new(job.files.iter().map(open).collect::<Result<Vec<_>, PullError>>()?))
}

fn enough_room(settings: &Settings, shared: &Shared) -> Result<(), PullError> {
    let needed_bytes = shared.board().missing();
    let free_bytes = (settings.free)(&settings.root).unwrap_or(u64::MAX);
    if needed_bytes == 0 || needed_bytes + SPARE_BYTES <= free_bytes {
        return Ok(());
    }
    Err(PullError::DiskFull { path: settings.root.clone(), needed_bytes, free_bytes })
}

/// Puts the numbers to a disk that is full.
fn full(error: PullError, settings: &Settings, shared: &Shared) -> PullError {
    match error {
        PullError::DiskFull { .. } => PullError::DiskFull {
            path: settings.root.clone(),
            needed_bytes: shared.board().missing(),
            free_bytes: (settings.free)(&settings.root).unwrap_or(0),
        },
        error => error,
    }
}

/// Looks whether an engine here runs such a model.
fn supported(job: &Job, config: &Path) -> Result<(), PullError> {
    #[derive(Deserialize)]
    struct Config {
        model_type: Option<String>,
    }
    let bytes = fs::read(config).map_err(|error| PullError::storage("read", config, &error))?;
    let lacks = |problem: String| PullError::NotSupported { id: job.model.0.clone(), problem };
    let read: Config = serde_json::from_slice(&bytes)
        .map_err(|error| lacks(format!("its config.json is not one of a model ({error})")))?;
    let architecture = read.model_type.unwrap_or_default();
    if engine::ARCHITECTURES.contains(&&*architecture) || engine::ENCODERS.contains(&&*architecture) {
        return Ok(());
    }
    let known = engine::ARCHITECTURES.join(", ");
    Err(lacks(format!("its model_type is {architecture:?}, which no engine here runs; choose one of {known}")))
}

/// Writes the manifest and gives the folder its name; what stood there before is put aside first.
fn install(store: &Store, job: &Job, hub: &Hub, root: &Path) -> Result<(), PullError> {
    let folder = store.model();
    let source = format!("{}/{}", hub.endpoint(), job.model);
    let manifest = Manifest::new(job.model.clone(), job.commit.clone(), source, job.files.clone());
    let (target, aside) = (root.join(job.model.folder()), aside(root, &job.model));
    let install = || {
        manifest.write(&folder)?;
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        if fs::symlink_metadata(&target).is_ok() {
            fs::rename(&target, &aside)?;
        }
        fs::rename(&folder, &target)?;
        File::open(root)?.sync_all()
    };
    install().map_err(|error| PullError::storage("install", &target, &error))?;
    if let Err(error) = remove_aside(&aside) {
        // Swept at the next start.
        tracing::warn!(path = %aside.display(), %error, "cannot remove what stood there before");
    }
    Ok(())
}

fn remove_aside(aside: &PathBuf) -> std::io::Result<()> {
    match fs::symlink_metadata(aside) {
        Ok(metadata) if metadata.is_symlink() => fs::remove_file(aside),
        Ok(_) => fs::remove_dir_all(aside),
        Err(_) => Ok(()),
    }
}

fn remove(store: Arc<Store>) -> Result<(), PullError> {
    match Arc::into_inner(store) {
        Some(store) => store.remove(),
        // A thread that hashes still ends; the next start removes what is left.
        None => Ok(()),
    }
}
