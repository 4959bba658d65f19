//! Models that the configuration has loaded at the start: one after another, kept like any other.
//!
//! One that cannot be loaded is told in the log and in `daemon.status`, and stops nothing. The loop owns what came of each.

use std::sync::Arc;

use protocol::{Preload as Told, PreloadState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::kinds::Preload;
use crate::provider::Registry;

/// A handle on the models to be loaded.
#[derive(Debug, Clone)]
pub struct Preloads {
    wanted: watch::Sender<Vec<Preload>>,
    told: watch::Receiver<Vec<Told>>,
}

impl Preloads {
    /// Starts the loop, which begins with `preload`.
    pub fn start(registry: Arc<Registry>, preload: &[Preload], stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (wanted, to_load) = watch::channel(preload.to_vec());
        let (telling, told) = watch::channel(Vec::new());
        let looped = Loop { registry, entries: Vec::new(), told: telling };
        let task = tokio::spawn(async move {
            stop.run_until_cancelled(looped.run(to_load)).await;
        });
        (Self { wanted, told }, task)
    }

    /// Has others loaded: those that are new, and once more those that failed. What is in memory stays as long as it may.
    pub fn set(&self, preload: &[Preload]) {
        self.wanted.send_replace(preload.to_vec());
    }

    /// What came of each.
    pub fn list(&self) -> Vec<Told> {
        self.told.borrow().clone()
    }
}

struct Loop {
    registry: Arc<Registry>,
    entries: Vec<(Preload, Told)>,
    told: watch::Sender<Vec<Told>>,
}

impl Loop {
    /// Dropped at the end of the daemon: a load that nobody waits for any more ends with its engine.
    async fn run(mut self, mut wanted: watch::Receiver<Vec<Preload>>) {
        wanted.mark_changed();
        loop {
            if wanted.has_changed().unwrap_or(false) {
                let new = wanted.borrow_and_update().clone();
                self.renew(new);
            }
            if let Some(next) = self.entries.iter().position(|(_, told)| told.state == PreloadState::Waiting) {
                self.load(next).await;
            } else if wanted.changed().await.is_ok() {
                // Not yet taken, only heard of.
                wanted.mark_changed();
            } else {
                return;
            }
        }
    }

    fn renew(&mut self, new: Vec<Preload>) {
        let before = std::mem::take(&mut self.entries);
        let entry = |preload: Preload| {
            let loaded = before.iter().find(|(old, told)| *old == preload && told.state == PreloadState::Loaded);
            let told = loaded.map(|(_, told)| told.clone());
            let waiting = || Told { model: preload.model.clone(), state: PreloadState::Waiting, error: None };
            let told = told.unwrap_or_else(waiting);
            (preload, told)
        };
        self.entries = new.into_iter().map(entry).collect();
        self.tell();
    }

    async fn load(&mut self, place: usize) {
        self.entries[place].1.state = PreloadState::Loading;
        self.tell();
        let Preload { model, keep_alive } = &self.entries[place].0;
        let loaded = self.registry.warm(model, *keep_alive).await;
        if let Err(error) = &loaded {
            tracing::warn!(%model, "it was to be loaded at the start, but was not: {}", error.message);
        }
        let told = &mut self.entries[place].1;
        told.state = if loaded.is_ok() { PreloadState::Loaded } else { PreloadState::Failed };
        told.error = loaded.err();
        self.tell();
    }

    fn tell(&self) {
        self.told.send_replace(self.entries.iter().map(|(_, told)| told.clone()).collect());
    }
}
