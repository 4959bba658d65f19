//! One look at all places: what is found, and how it differs from what was found before.
//!
//! A folder is opened only if its files are others than at the last look, told by names, sizes, times and numbers. Called
//! by the library, which keeps the last look.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::{Model, ModelChange};

use super::places::{Candidate, Place};
use super::signs::Signs;
use super::{Entry, entry};

/// What was found at one moment; it never changes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All models, whole and broken, by id.
    pub models: Vec<Model>,
    /// The folders that were looked at, those of models and what is none.
    seen: BTreeMap<PathBuf, Seen>,
    /// Folders in which something changes when the next look finds something else.
    pub(super) watched: Vec<PathBuf>,
    /// Which folders the places were, as the system numbers them.
    roots: Vec<Option<(u64, u64)>>,
}

impl Snapshot {
    /// Whether the places are other folders by now: a disk that was mounted or taken away gives no sign of change.
    pub(super) fn is_of_other_disks(&self, places: &[Place]) -> bool {
        self.roots != roots(places)
    }
}

fn roots(places: &[Place]) -> Vec<Option<(u64, u64)>> {
    let numbers = |place: &Place| fs::metadata(&place.root).ok().map(|root| (root.dev(), root.ino()));
    places.iter().map(numbers).collect()
}

#[derive(Debug, Clone)]
struct Seen {
    candidate: Candidate,
    fingerprint: u64,
    entry: Entry,
}

/// Looks at all places; folders without a sign, and those that look as they did, are taken from `before`.
pub(super) fn scan(places: &[Place], before: Option<&Snapshot>, signs: &Signs) -> Snapshot {
    let mut found = Snapshot { roots: roots(places), ..Snapshot::default() };
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for place in places {
        found.watched.extend(place.watched());
        for candidate in place.candidates() {
            let seen = look(candidate, before, signs);
            if seen.entry.is_ours() {
                found.watched.push(seen.candidate.path.clone());
                models.entry(seen.entry.model.id.folder()).or_insert_with(|| seen.entry.model.clone());
            }
            found.seen.insert(seen.candidate.path.clone(), seen);
        }
    }
    found.models = models.into_values().collect();
    found.models.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

/// What came, changed and went between two looks.
pub(super) fn differences(before: &Snapshot, after: &Snapshot) -> Vec<ModelChange> {
    let old: BTreeMap<_, _> = before.models.iter().map(|model| (&model.id, model)).collect();
    let new: BTreeMap<_, _> = after.models.iter().map(|model| (&model.id, model)).collect();
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    let mut changes: Vec<ModelChange> = gone.map(|id| ModelChange::Removed { model: (*id).clone() }).collect();
    for (id, model) in new {
        let model = || Box::new(model.clone());
        match old.get(id) {
            None => changes.push(ModelChange::Added { model: model() }),
            Some(old) if **old != *model() => changes.push(ModelChange::Changed { model: model() }),
            Some(_) => {}
        }
    }
    changes
}

fn look(candidate: Candidate, before: Option<&Snapshot>, signs: &Signs) -> Seen {
    let before = before.and_then(|before| before.seen.get(&candidate.path)).filter(|seen| seen.candidate == candidate);
    if let Some(seen) = before.filter(|_| !signs.touch(&candidate.path)) {
        return seen.clone();
    }
    let fingerprint = fingerprint(&candidate.path);
    match before.filter(|seen| seen.fingerprint == fingerprint) {
        Some(seen) => seen.clone(),
        None => Seen { entry: entry(candidate.clone()), candidate, fingerprint },
    }
}

/// A number that is another when a file of the folder came, went, or was written.
fn fingerprint(folder: &Path) -> u64 {
    let mut files = Vec::new();
    for file in fs::read_dir(folder).into_iter().flatten().take(super::inspect::MAX_FILES).flatten() {
        // Followed: what a link leads to may change, come and go.
        let file_is = fs::metadata(file.path()).ok();
        files.push((
            file.file_name(),
            file_is.map(|file| (file.len(), file.mtime(), file.mtime_nsec(), file.ino(), file.mode())),
        ));
    }
    files.sort_unstable();
    let mut hasher = DefaultHasher::new();
    fs::metadata(folder).ok().map(|folder| (folder.ino(), folder.mode())).hash(&mut hasher);
    files.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
