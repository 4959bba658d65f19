//! Runs of files that appear in folders. One loop looks at each folder after a sign of change, when a file of it may be
//! whole, when a run has ended that others wait for, and once a minute; folders are looked at side by side, so that a slow
//! disk holds up none but its own.
//!
//! In reading order: `signs` tells that something changed, `look` is one folder, `disk` reads it; `troubles` has what keeps
//! files from starting anything. What was seen stands in the file of runs.

mod disk;
mod look;
mod signs;
mod troubles;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use workflow::Trigger;
use workflow::file::Pattern;

use super::super::Workflows;
use super::super::directory::Snapshot;
use look::{FULL, Folder, LATER, QUIET, Spec};
use signs::{Noted, Place, Signs, Watches};
pub use troubles::Troubles;

/// Long enough to be never.
const FAR: Duration = Duration::from_hours(1);

/// The loop.
struct Folders {
    workflows: Workflows,
    /// What `~` stands for.
    home: PathBuf,
    wanted: BTreeMap<Spec, Pattern>,
    /// Those that are not looked at now.
    idle: Vec<Folder>,
    /// Those that are, and whether they are to be looked at once more.
    away: HashMap<Id, (Spec, bool)>,
    looks: JoinSet<Folder>,
    /// Where each is, or would appear.
    places: BTreeMap<Spec, Place>,
    signs: Arc<Signs>,
    watches: Watches,
    /// Files that were renamed and are in no look yet.
    renamed: BTreeSet<PathBuf>,
}

/// Follows all folders of all workflows, until `stop`.
pub async fn follow(workflows: Workflows, home: PathBuf, stop: CancellationToken) {
    let (files, busy) = (workflows.files(), workflows.busy.clone());
    let signs = Arc::new(Signs::default());
    let watches = Watches::new(&signs);
    let folders = Folders {
        workflows,
        home,
        wanted: BTreeMap::new(),
        idle: Vec::new(),
        away: HashMap::new(),
        looks: JoinSet::new(),
        places: BTreeMap::new(),
        signs,
        watches,
        renamed: BTreeSet::new(),
    };
    folders.run(files, busy, stop).await;
}

impl Folders {
    async fn run(
        mut self,
        mut files: watch::Receiver<Arc<Snapshot>>,
        mut busy: watch::Receiver<usize>,
        stop: CancellationToken,
    ) {
        let signs = Arc::clone(&self.signs);
        files.mark_changed();
        loop {
            self.begin();
            let due = self.idle.iter().map(Folder::turn).min();
            let has_full = self.idle.iter().any(|folder| folder.is_full);
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = files.changed() => {
                    let snapshot = Arc::clone(&files.borrow_and_update());
                    self.want(&snapshot);
                }
                () = signs.any.notified() => {
                    let noted = signs.take();
                    self.note(noted);
                }
                Ok(()) = busy.changed(), if has_full => self.room(),
                Some(looked) = self.looks.join_next_with_id() => self.looked(looked),
                () = sleep_until(due.unwrap_or_else(|| Instant::now() + FAR)) => {}
            }
        }
        // What they began they end; a folder that hangs is left.
        self.looks.abort_all();
    }

    /// Looks at what is due.
    fn begin(&mut self) {
        let now = Instant::now();
        for mut folder in self.idle.extract_if(.., |folder| folder.turn() <= now) {
            folder.is_blind = self.watches.is_blind;
            let its = self.places.get(&folder.spec);
            let is_its = |file: &PathBuf| its.is_some_and(|place| file.parent() == Some(&place.path));
            let its: BTreeSet<PathBuf> = self.renamed.extract_if(.., is_its).collect();
            let spec = folder.spec.clone();
            let id = self.looks.spawn(folder.look(self.workflows.clone(), its)).id();
            self.away.insert(id, (spec, false));
        }
    }

    fn want(&mut self, snapshot: &Snapshot) {
        let sound = snapshot.entries.values().filter(|entry| snapshot.problems_of(entry).is_empty());
        let workflows = sound.filter_map(|entry| entry.workflow.as_ref().ok());
        let mut wanted = BTreeMap::new();
        for workflow in workflows {
            for trigger in &workflow.triggers {
                let Trigger::Folder(folder) = &trigger.value else { continue };
                let spec = Spec {
                    workflow: workflow.name.clone(),
                    path: self.absolute(&folder.path),
                    pattern: folder.pattern.written().to_owned(),
                    settle: folder.settle.0,
                    most_bytes: folder.most_bytes.0,
                };
                wanted.insert(spec, folder.pattern.clone());
            }
        }
        self.idle.retain(|folder| wanted.contains_key(&folder.spec));
        for (spec, pattern) in &wanted {
            let is_here = self.idle.iter().any(|folder| folder.spec == *spec);
            // One that is looked at now comes back by itself.
            if !is_here && !self.away.values().any(|(away, _)| away == spec) {
                self.idle.push(Folder::new(spec.clone(), pattern.clone()));
            }
        }
        self.wanted = wanted;
        self.workflows.troubles.keep(|spec| self.wanted.contains_key(spec));
        self.watch();
    }

    fn absolute(&self, path: &str) -> PathBuf {
        path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| self.home.join(rest.trim_start_matches('/')))
    }

    fn watch(&mut self) {
        self.places.retain(|spec, _| self.wanted.contains_key(spec));
        if self.watches.set(self.places.values().cloned()) {
            // Between the last look and the watch something may have happened there.
            self.hasten(QUIET, |_, _| true);
        }
    }

    fn note(&mut self, noted: Noted) {
        let Noted { folders, renamed, everywhere } = noted;
        self.renamed.extend(
            renamed.into_iter().filter(|file| self.places.values().any(|place| file.parent() == Some(&place.path))),
        );
        let places = self.places.clone();
        let is_meant = |spec: &Spec, _| {
            let place = places.get(spec).map(|place| &place.path);
            let is_in = |path: &Path| folders.contains(path);
            everywhere || place.is_some_and(|place| is_in(place) || place.parent().is_some_and(is_in))
        };
        self.hasten(QUIET, is_meant);
    }

    /// A run has begun or ended: there may be room for another.
    fn room(&mut self) {
        self.hasten(FULL, |_, is_full| is_full);
    }

    /// Has those be looked at soon that are meant: by what they are, and by whether they wait for room.
    fn hasten(&mut self, within: Duration, is_meant: impl Fn(&Spec, bool) -> bool) {
        let due = Instant::now() + within;
        for folder in self.idle.iter_mut().filter(|folder| is_meant(&folder.spec, folder.is_full)) {
            folder.due = folder.due.min(due);
        }
        for (spec, again) in self.away.values_mut() {
            *again |= is_meant(spec, false);
        }
    }

    fn looked(&mut self, looked: Result<(Id, Folder), JoinError>) {
        let folder = match looked {
            Ok((id, mut folder)) => {
                if let Some((_, true)) = self.away.remove(&id) {
                    folder.due = folder.due.min(Instant::now() + QUIET);
                }
                folder
            }
            Err(error) => {
                tracing::error!("a look at a folder broke off: {error}");
                let away = self.away.remove(&error.id()).map(|(spec, _)| spec);
                let Some((spec, pattern)) = away.and_then(|spec| self.wanted.remove_entry(&spec)) else { return };
                self.wanted.insert(spec.clone(), pattern.clone());
                let mut folder = Folder::new(spec, pattern);
                folder.due += LATER;
                folder
            }
        };
        if self.wanted.contains_key(&folder.spec) {
            self.workflows.troubles.tell(&folder.spec, folder.troubles());
            self.places.extend(folder.place.clone().map(|place| (folder.spec.clone(), place)));
            self.idle.push(folder);
            self.watch();
        }
    }
}
