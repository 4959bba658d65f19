//! Models on disk: which are there, in what condition, and how files become models.
//!
//! The disk is the truth. A look at it makes a [`Snapshot`] that never changes; a sign from the disk means "look again"
//! (`watch`), and a folder that looks as before is not opened again; one without a sign is not even looked at. A broken folder is listed with its problem, not
//! hidden. Nothing here runs a model. All of it blocks, so the daemon calls it on threads made for that.
//!
//! A model of the daemon's own is a folder of the root, named by its id with `/` as `_`. The way back is ambiguous: a
//! listing turns the first `_` into `/`, so `my_org/name` is listed as `my/org_name`. Lookups go from id to folder and
//! find it by either name.

mod catalogue;
mod disk;
#[cfg(test)]
mod fixture;
mod gguf;
mod import;
mod inspect;
pub mod manifest;
mod places;
mod scan;
mod signs;
mod storage;
mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Capability, Model, ModelId, ModelSource, ModelState, ModelType, ProviderId};

use crate::events::Events;
pub use catalogue::catalogue;
pub use disk::Disk;
pub use import::{ImportError, Progress, Quantize, Source, import};
use inspect::{Condition, Inspection};
use manifest::Manifest;
use places::Candidate;
pub use places::Place;
pub use scan::Snapshot;
use signs::{Heard, Signs};
pub use storage::{PULLS, aside};
pub use watch::watch;

/// The models of some places.
#[derive(Debug)]
pub struct Library {
    /// The daemon's own folder, where imports and pulls go; need not exist.
    pub root: PathBuf,
    /// All that are looked at. Of models of one id the first place's counts.
    places: Vec<Place>,
    events: Events,
    /// What was found last. Held to read or replace it alone.
    latest: Mutex<Option<Arc<Snapshot>>>,
    /// Where the disk has changed since, as far as is known. Held to read or add alone.
    heard: Mutex<Heard>,
    /// Held while the disk is looked at, so that looks and what is told of them keep their order.
    looking: Mutex<()>,
}

/// One model that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the library says of it, under the id it was asked for by.
    pub model: Model,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    condition: Condition,
}

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The id can name no folder.
    #[error(
        "find {0:?}: an id is made of letters, digits, '.', '_', '-' and at most one '/', and no part begins with a dot"
    )]
    InvalidId(String),
    /// No folder of that name.
    #[error("find {id}: there is no folder {}", path.display())]
    NotFound {
        /// The id asked for.
        id: ModelId,
        /// Where its folder would be.
        path: PathBuf,
    },
    /// Files are missing, cut short or contradict each other.
    #[error("use {id}: {problem}")]
    Broken {
        /// The id asked for.
        id: ModelId,
        /// What is wrong and the way out.
        problem: String,
    },
    /// The files are sound, but no engine here runs such a model.
    #[error("use {id}: {problem}")]
    NotSupported {
        /// The id asked for.
        id: ModelId,
        /// What is not supported and what is.
        problem: String,
    },
    /// It is another program's to remove.
    #[error("delete {id}: it is in the Hugging Face cache, which other programs use too; remove it there, with `hf cache rm` or by deleting {}", path.display())]
    NotOurs {
        /// The id asked for.
        id: ModelId,
        /// Where it is.
        path: PathBuf,
    },
    /// Its files cannot be removed.
    #[error("delete {id}: {} cannot be removed; check the permissions of its folder", path.display())]
    Storage {
        /// The id asked for.
        id: ModelId,
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk does not tell how full it is.
    #[error("ask the disk of {} how full it is", path.display())]
    Disk {
        /// A folder on it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Library {
    /// The models in the daemon's own folder and in other places; what changes is told to `events`.
    pub fn new(root: PathBuf, others: Vec<Place>, events: Events) -> Self {
        let own = Place { root: root.clone(), source: ModelSource::Library };
        let places = std::iter::once(own).chain(others).collect();
        Self { root, places, events, latest: Mutex::default(), heard: Mutex::default(), looking: Mutex::default() }
    }

    /// The models in the daemon's own folder alone, and nobody is told.
    pub fn at(root: PathBuf) -> Self {
        Self::new(root, Vec::new(), Events::default())
    }

    /// All models, whole and broken, by id, as they were when the disk last gave a sign of change. A look that no sign
    /// asked for is not waited for.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        if let Some(snapshot) = self.known() {
            return snapshot;
        }
        let looking = lock(&self.looking);
        let heard = lock(&self.heard).clone();
        // Somebody else may have looked meanwhile.
        self.known().unwrap_or_else(|| self.look_at(&heard, &looking))
    }

    /// The same, looked for everywhere now.
    pub fn look(&self) -> Arc<Snapshot> {
        let looking = lock(&self.looking);
        let heard = Heard { signs: Signs::Everywhere, ..lock(&self.heard).clone() };
        self.look_at(&heard, &looking)
    }

    /// The same, looked for where there were signs and in these folders. Nobody waits for the folders.
    pub(super) fn look_in(&self, folders: &[PathBuf]) -> Arc<Snapshot> {
        let looking = lock(&self.looking);
        let mut heard = lock(&self.heard).clone();
        if !folders.is_empty() {
            heard.signs.add(folders);
        }
        self.look_at(&heard, &looking)
    }

    /// What was found last, if there was no sign since.
    fn known(&self) -> Option<Arc<Snapshot>> {
        let latest = lock(&self.latest).clone();
        if latest.as_ref().is_some_and(|latest| latest.is_of_other_disks(&self.places)) {
            self.has_changed(&[]);
        }
        latest.filter(|_| lock(&self.heard).signs.is_empty())
    }

    /// Looks where signs were heard. What is different is told to those who follow.
    fn look_at(&self, heard: &Heard, _looking: &MutexGuard<'_, ()>) -> Arc<Snapshot> {
        let before = lock(&self.latest).clone();
        let signs = before.as_ref().map_or(Signs::Everywhere, |before| heard.signs.clone().within(&before.watched));
        let found = Arc::new(scan::scan(&self.places, before.as_deref(), &signs));
        *lock(&self.latest) = Some(Arc::clone(&found));
        // Those that came while the disk was looked at are for the next look.
        lock(&self.heard).settle(heard.count);
        for change in before.iter().flat_map(|before| scan::differences(before, &found)) {
            self.events.tell(change);
        }
        found
    }

    /// Says that the disk has changed at these paths; anywhere, if there are none.
    pub(super) fn has_changed(&self, paths: &[PathBuf]) {
        lock(&self.heard).add(paths);
    }

    /// The model of that id, in whatever condition, looked at now; [`Entry::ready`] tells whether it can be loaded.
    pub fn find(&self, id: &ModelId) -> Result<Entry, LibraryError> {
        if !id.is_valid() {
            return Err(LibraryError::InvalidId(id.0.clone()));
        }
        let candidates = self.places.iter().filter_map(|place| place.find(id));
        let mut found = candidates.map(entry).find(Entry::is_ours);
        if let Some(entry) = &mut found {
            entry.model.id = id.clone();
        }
        found.ok_or_else(|| LibraryError::NotFound { id: id.clone(), path: self.folder(id) })
    }

    /// Where the model of a valid id is or would be.
    fn folder(&self, id: &ModelId) -> PathBuf {
        self.root.join(id.folder())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    /// Whether it is meant for an engine here. The Hugging Face cache holds files of every program on the machine: of
    /// those the ones count that an engine runs and that have weights, or are about to.
    fn is_ours(&self) -> bool {
        self.model.source != ModelSource::HuggingFaceCache
            || !self.model.capabilities.is_empty()
                && (self.weight_bytes > 0 || self.model.path.join(inspect::INDEX).exists())
    }

    /// The model's folder, if an engine can load it.
    pub fn ready(&self) -> Result<&Path, LibraryError> {
        let id = self.model.id.clone();
        match &self.condition {
            Condition::Complete => Ok(&self.model.path),
            Condition::Partial(problem) | Condition::Broken(problem) => {
                Err(LibraryError::Broken { id, problem: problem.clone() })
            }
            Condition::NotSupported(problem) => Err(LibraryError::NotSupported { id, problem: problem.clone() }),
        }
    }
}

/// Looks at a folder.
fn entry(mut candidate: Candidate) -> Entry {
    let name = candidate.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found = match std::fs::metadata(&candidate.path) {
        // A link that leads nowhere, or to itself.
        Err(error) => Inspection::broken(format!("the link {name} cannot be followed ({error}): remove it")),
        Ok(_) if !candidate.id.is_valid() => Inspection::broken(format!(
            "the folder {name:?} has a name that no id can have: rename it, with letters, digits, '.', '_' and '-' alone"
        )),
        Ok(_) => judged(&mut candidate),
    };
    let (weight_bytes, condition) = (found.weight_bytes, found.condition.clone());
    Entry { model: model(candidate, found), weight_bytes, condition }
}

fn model(candidate: Candidate, found: Inspection) -> Model {
    let Candidate { id, path, source, revision } = candidate;
    let name = id.0.rsplit('/').next().unwrap_or_default().to_owned();
    let backends: Vec<_> = found.backends().into_iter().map(ProviderId::from).collect();
    let (state, problem) = match found.condition {
        Condition::Complete => (ModelState::Complete, None),
        Condition::Partial(problem) => (ModelState::Partial, Some(problem)),
        Condition::Broken(problem) | Condition::NotSupported(problem) => (ModelState::Broken, Some(problem)),
    };
    let capabilities = found.architecture.as_deref().map_or_else(Vec::new, capabilities);
    Model {
        capabilities,
        display_name: name.replace(['-', '_'], " "),
        name,
        id,
        size: found.size,
        kind: ModelType::Local,
        provider: backends.first().cloned().unwrap_or_default(),
        backends,
        is_installed: state == ModelState::Complete,
        is_loaded: false,
        path,
        source,
        revision,
        state,
        problem,
        architecture: found.architecture,
        context_length: found.context_length,
        quantization: found.quantization,
        residency: None,
    }
}

/// What the folder holds, and whether that is what its manifest says; which also knows the id that was meant.
fn judged(candidate: &mut Candidate) -> Inspection {
    let mut found = inspect::inspect(&candidate.path);
    if let Some(manifest) = Manifest::read(&candidate.path).filter(|it| it.id.folder() == candidate.id.folder()) {
        candidate.id = manifest.id.clone();
        candidate.revision.clone_from(&manifest.revision);
        if let Some(problem) = manifest.lacks(&candidate.path)
            && found.condition == Condition::Complete
        {
            found.condition = Condition::Partial(problem);
        }
    }
    found
}

/// A model that is in memory, but no longer on the disk.
pub fn gone(id: ModelId, path: PathBuf, capabilities: Vec<Capability>, problem: String) -> Model {
    let candidate = Candidate { id, path, source: ModelSource::Library, revision: None };
    let lost = model(candidate, Inspection::broken(problem));
    Model { state: ModelState::Gone, capabilities, ..lost }
}

/// What models of this `model_type` can be asked for.
fn capabilities(architecture: &str) -> Vec<Capability> {
    if engine::ARCHITECTURES.contains(&architecture) {
        vec![Capability::Generate, Capability::Embed]
    } else if engine::ENCODERS.contains(&architecture) {
        vec![Capability::Embed]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
