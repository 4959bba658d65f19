//! Notices when the disk changes. A sign means "look again", whatever it says: what is true is what the look finds.
//!
//! Each folder that a look depends on is watched by itself, never a whole tree: a Hugging Face cache has data sets beside
//! models. A look waits until the disk has been quiet for a moment, but not for long: a download never is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Library;

/// How long nothing may have happened before a look.
const QUIET: Duration = Duration::from_millis(100);

/// Longest that a look is put off.
const PATIENCE: Duration = Duration::from_millis(400);

/// Between looks without a sign: a disk that came back, or a sign that was lost.
const ANYWAY: Duration = Duration::from_mins(1);

/// The same where signs cannot be had, as on a network disk or with no watches left.
const BLIND: Duration = Duration::from_secs(1);

/// The folders that are watched.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    /// Whether one of them cannot be.
    is_blind: bool,
}

/// Looks again whenever the disk changes, until `stop`.
pub async fn watch(library: Arc<Library>, stop: CancellationToken) {
    let signs = Arc::new(Notify::new());
    let mut watches = Watches::new(&library, &signs);
    let (mut anyway, mut fresh) = (Instant::now(), Vec::new());
    while !stop.is_cancelled() {
        let everywhere = Instant::now() >= anyway;
        if everywhere {
            anyway = Instant::now() + if watches.is_blind { BLIND } else { ANYWAY };
        }
        let seen = Arc::clone(&library);
        let look = move || if everywhere { seen.look() } else { seen.look_in(&fresh) };
        let Ok(snapshot) = tokio::task::spawn_blocking(look).await else {
            tracing::error!("looking at the library panicked");
            return;
        };
        fresh = watches.set(snapshot.watched.iter().map(|folder| existing(folder)).collect());
        if !fresh.is_empty() {
            // Between the look and the watch something may have happened there.
            continue;
        }
        if watches.is_blind {
            anyway = anyway.min(Instant::now() + BLIND);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(anyway) => {}
            () = signs.notified() => quiet(&signs).await,
        }
    }
}

/// Waits until no sign has come for a while, or for long enough.
async fn quiet(signs: &Notify) {
    let latest = Instant::now() + PATIENCE;
    while Instant::now() < latest {
        let until = (Instant::now() + QUIET).min(latest);
        if timeout_at(until, signs.notified()).await.is_err() {
            return;
        }
    }
}

/// The folder, or the nearest above it that there is, in which it would appear.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

impl Watches {
    fn new(library: &Arc<Library>, signs: &Arc<Notify>) -> Self {
        let (library, signs) = (Arc::clone(library), Arc::clone(signs));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is none; looks do so themselves.
            match event {
                Ok(event) if event.kind.is_access() => return,
                Ok(event) if !event.need_rescan() => library.has_changed(&event.paths),
                _ => library.has_changed(&[]),
            }
            signs.notify_one();
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, "the disk gives no signs of changes; it is looked at every second");
        });
        Self { watcher: watcher.ok(), folders: BTreeSet::new(), is_blind: false }
    }

    /// Watches these folders from now on. One that was deleted and made again under its name is watched anew: its watch
    /// ended with it. Returns the new ones.
    fn set(&mut self, wanted: BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let Some(watcher) = &mut self.watcher else {
            self.is_blind = true;
            return Vec::new();
        };
        for folder in self.folders.difference(&wanted) {
            // Ended with its folder, most often.
            let _ = watcher.unwatch(folder);
        }
        let mut failed = None;
        for folder in &wanted {
            // Watching twice is watching once.
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                failed = Some((folder, error));
            }
        }
        if let Some((folder, error)) = failed.as_ref().filter(|_| !self.is_blind) {
            tracing::warn!(folder = %folder.display(), %error, "cannot be watched; the disk is looked at every second");
        }
        self.is_blind = failed.is_some();
        let before = std::mem::replace(&mut self.folders, wanted);
        self.folders.difference(&before).cloned().collect()
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
