//! Signs of change of watched folders, as the system gives them: a sign means "look", and that a file was renamed into place.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use notify::event::{ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Renamed files that are remembered until the next look; others are waited for like those that are written.
const MOST_RENAMED: usize = 4096;

/// What was noted since somebody asked.
#[derive(Debug, Default)]
pub struct Signs {
    noted: Mutex<Noted>,
    pub any: Notify,
}

/// Where something happened.
#[derive(Debug, Default)]
pub struct Noted {
    /// Folders in which something changed; no more than are watched.
    pub folders: BTreeSet<PathBuf>,
    /// Files that got their name by being renamed.
    pub renamed: BTreeSet<PathBuf>,
    /// Whether signs were lost.
    pub everywhere: bool,
}

impl Signs {
    /// What was noted; it is forgotten.
    pub fn take(&self) -> Noted {
        std::mem::take(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, event: notify::Result<Event>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // Looks do so themselves.
            Ok(event) if event.kind.is_access() => return,
            Ok(event) if !event.need_rescan() => {
                noted.folders.extend(event.paths.iter().filter_map(|path| path.parent()).map(Path::to_path_buf));
                if noted.renamed.len() < MOST_RENAMED {
                    noted.renamed.extend(renamed(&event).iter().cloned());
                }
            }
            _ => noted.everywhere = true,
        }
        drop(noted);
        self.any.notify_one();
    }
}

/// The names that files got.
fn renamed(event: &Event) -> &[PathBuf] {
    match event.kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any)) => &event.paths,
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => event.paths.get(1..).unwrap_or_default(),
        _ => &[],
    }
}

/// The folders that are watched.
#[derive(Debug)]
pub struct Watches {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeMap<PathBuf, Watched>,
    /// Whether one of them cannot be.
    pub is_blind: bool,
}

impl Watches {
    /// None so far.
    pub fn new(signs: &Arc<Signs>) -> Self {
        let signs = Arc::clone(signs);
        let watcher = notify::recommended_watcher(move |event| signs.note(event));
        let blind = "the disk gives no signs of changes; folders of workflows are looked at every two seconds";
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "{blind}")).ok();
        Self { watcher, folders: BTreeMap::new(), is_blind: false }
    }

    /// Watches these from now on, of which those that are watched already are not touched: a disk that hangs would hold up
    /// whoever asks it. Returns whether one is new.
    pub fn set(&mut self, wanted: impl Iterator<Item = Place>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            self.is_blind = true;
            return false;
        };
        let wanted: BTreeMap<PathBuf, Option<Which>> = wanted.map(|place| (place.path, place.which)).collect();
        for folder in self.folders.keys().filter(|folder| !wanted.contains_key(*folder)) {
            // Ended with its folder, most often.
            let _ = watcher.unwatch(folder);
        }
        let before = std::mem::take(&mut self.folders);
        let mut is_new = false;
        for (path, which) in wanted {
            let known = before.get(&path);
            let is_same = known.is_some_and(|known| known.which == which);
            is_new |= !is_same;
            let is_on = is_same && which.is_some() && known.is_some_and(|known| known.is_on)
                || watcher.watch(&path, RecursiveMode::NonRecursive).is_ok();
            self.folders.insert(path, Watched { which, is_on });
        }
        self.is_blind = self.folders.values().any(|watched| !watched.is_on);
        is_new
    }
}

/// A folder that is watched.
#[derive(Debug)]
struct Watched {
    which: Option<Which>,
    /// Whether it gives signs.
    is_on: bool,
}

/// What tells a folder from another that was made under its name later: disk, number, and when it was made.
type Which = (u64, u64, SystemTime);

/// Where signs of a folder come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder, or the nearest above it that there is, in which it would appear. Not by way of links, as signs have it.
    pub path: PathBuf,
    /// `None` where the disk does not tell.
    which: Option<Which>,
}

impl Place {
    /// That of a folder. Blocks.
    pub fn of(folder: &Path) -> Self {
        let found = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let path = found.canonicalize().unwrap_or_else(|_| found.to_owned());
        let which = path.metadata().and_then(|meta| Ok((meta.dev(), meta.ino(), meta.created()?))).ok();
        Self { path, which }
    }
}
