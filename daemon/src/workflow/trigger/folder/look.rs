//! One watched folder: which of its files are awaited, and what a look at it does.
//!
//! A file starts a run once it is whole: its size and time of change have stayed as they are for `settle`, or it was renamed
//! into place and is the same at the look after that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{ErrorData, Kind};
use serde_json::{Map, Value};
use tokio::time::Instant;
use workflow::file::Pattern;

use super::super::super::store::{Began, Stamp};
use super::super::super::{By, Cause, Message, Workflows, number};
use super::disk::{self, Listing, MOST_AWAITED, Unfit};
use super::signs::Place;
use crate::error::internal;

/// After a sign, and between two looks at what was renamed into place.
pub const QUIET: Duration = Duration::from_millis(100);

/// Between looks without a sign, and where signs cannot be had.
const ANYWAY: Duration = Duration::from_mins(1);
const BLIND: Duration = Duration::from_secs(2);

/// After what may pass, such as a disk that is full.
pub const LATER: Duration = Duration::from_secs(10);

/// Of a workflow that has no room for more runs, between two looks.
pub const FULL: Duration = Duration::from_millis(250);

/// Files of a folder of which is told why they start nothing.
const MOST_TOLD: usize = 16;

/// What is watched, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spec {
    /// The workflow that it starts.
    pub workflow: String,
    /// The folder.
    pub path: PathBuf,
    /// Names of files.
    pub pattern: String,
    /// How long a file must stay as it is.
    pub settle: Duration,
    /// The largest file.
    pub most_bytes: u64,
}

/// A watched folder.
#[derive(Debug)]
pub struct Folder {
    pub spec: Spec,
    pattern: Pattern,
    /// Files that need no look any more, by number; `None` until the file of runs was asked.
    seen: Option<HashSet<u64>>,
    awaited: HashMap<PathBuf, Awaited>,
    /// When it is to be looked at, and until when it rests: as long as reading it took, so that one with very many files does
    /// not keep the machine busy.
    pub due: Instant,
    rest: Instant,
    /// Whether signs cannot be had.
    pub is_blind: bool,
    /// Whether files wait for room.
    pub is_full: bool,
    /// The folder, or the nearest above it that there is; `None` before the first look.
    pub place: Option<Place>,
    /// Why it could not be read at the last look.
    found: Option<String>,
    /// What was said of it last.
    said: Option<String>,
    /// Files that start nothing as they are, and why; some of them.
    unfit: BTreeMap<PathBuf, String>,
}

/// A file that may not be whole.
#[derive(Debug)]
struct Awaited {
    stamp: Stamp,
    since: Instant,
    wait: Duration,
}

/// Why a look ends before its time.
enum Stopped {
    /// The workflow has runs enough that wait.
    Full,
    /// What may pass.
    Failed(ErrorData),
}

impl From<ErrorData> for Stopped {
    fn from(error: ErrorData) -> Self {
        if error.kind == Kind::Busy { Self::Full } else { Self::Failed(error) }
    }
}

impl Spec {
    /// Its name in the file of runs: another folder or pattern is another trigger.
    fn name(&self) -> String {
        format!("folder {} {}", self.pattern, self.path.display())
    }
}

impl Folder {
    pub fn new(spec: Spec, pattern: Pattern) -> Self {
        Self {
            spec,
            pattern,
            seen: None,
            awaited: HashMap::new(),
            due: Instant::now(),
            rest: Instant::now(),
            is_blind: false,
            is_full: false,
            place: None,
            found: None,
            said: None,
            unfit: BTreeMap::new(),
        }
    }

    /// What keeps files from starting anything, in words.
    pub fn troubles(&self) -> Vec<String> {
        let path = self.spec.path.display();
        let folder = self.said.iter().map(|words| format!("no file in {path} starts anything: {words}"));
        let room = self.is_full.then(|| format!("files in {path} wait there until runs have ended"));
        let unfit = self.unfit.iter().map(|(file, why)| format!("{} starts nothing: {why}", file.display()));
        folder.chain(room).chain(unfit).collect()
    }

    /// Looks at the folder and starts what is due.
    pub async fn look(mut self, workflows: Workflows, renamed: BTreeSet<PathBuf>) -> Self {
        if self.place.is_none() {
            // It is watched before anything is known of it, so that nothing is missed between.
            let path = self.spec.path.clone();
            self.place = tokio::task::spawn_blocking(move || Place::of(&path)).await.ok();
            return self;
        }
        let was_full = std::mem::take(&mut self.is_full);
        let looked = self.looked(&workflows, &renamed).await;
        let usual = if self.is_blind { BLIND } else { ANYWAY };
        let next = match looked {
            Ok(has_more) => {
                self.say(self.found.clone());
                if has_more { QUIET } else { self.until_whole().min(usual) }
            }
            Err(Stopped::Full) => {
                self.is_full = true;
                if !was_full {
                    let Spec { workflow, path, .. } = &self.spec;
                    tracing::info!(%workflow, folder = %path.display(), "files wait there until runs have ended");
                }
                usual
            }
            // There is no next look.
            Err(Stopped::Failed(error)) if error.kind == Kind::ShuttingDown => LATER,
            Err(Stopped::Failed(error)) => {
                self.say(Some(error.message));
                LATER
            }
        };
        self.due = Instant::now() + next;
        self
    }

    /// When it may be looked at.
    pub fn turn(&self) -> Instant {
        self.due.max(self.rest)
    }

    /// How long until the first of those that are awaited may be whole.
    fn until_whole(&self) -> Duration {
        let whole = self.awaited.values().map(|file| file.since + file.wait).min();
        whole.map_or(ANYWAY, |whole| whole.saturating_duration_since(Instant::now()).max(QUIET))
    }

    /// Returns whether there are more files than could be looked at.
    async fn looked(&mut self, workflows: &Workflows, renamed: &BTreeSet<PathBuf>) -> Result<bool, Stopped> {
        if self.seen.is_none() {
            self.begin(workflows).await?;
        }
        let Some(listing) = self.list(MOST_AWAITED).await? else { return Ok(false) };
        let has_more = listing.more;
        let whole = self.whole(listing, renamed);
        // Those that had no room have it once some are taken.
        let has_more = has_more && !whole.is_empty();
        for stamp in whole {
            self.take(workflows, stamp).await?;
        }
        Ok(has_more)
    }

    /// Asks the file of runs what was seen. What lies in the folder when the trigger is first there starts nothing.
    async fn begin(&mut self, workflows: &Workflows) -> Result<(), Stopped> {
        let (store, name) = (&workflows.store, self.spec.name());
        if !store.knows(&self.spec.workflow, &name).await? {
            self.seen = Some(HashSet::new());
            let there = self.list(usize::MAX).await;
            self.seen = None;
            // One that is not there is empty, but of one that cannot be read nothing is known.
            let there = match there? {
                None if self.found.as_deref() != Some(NOT_THERE) => return Ok(()),
                there => there.unwrap_or_default(),
            };
            let there = there.new;
            let count = there.len();
            store.begin(&self.spec.workflow, &name, there).await?;
            let Spec { workflow, path, pattern, .. } = &self.spec;
            tracing::info!(%workflow, folder = %path.display(), pattern, there = count, "files are waited for");
        }
        self.seen = Some(store.seen(&self.spec.workflow).await?);
        Ok(())
    }

    /// What is new there; `None` where nothing can be read.
    async fn list(&mut self, most: usize) -> Result<Option<Listing>, ErrorData> {
        let Some(mut seen) = self.seen.take() else { return Ok(None) };
        let (path, pattern, mut unfit) =
            (self.spec.path.clone(), self.pattern.clone(), std::mem::take(&mut self.unfit));
        let looked = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let listed = disk::list(&path, &pattern, &mut seen, most);
            unfit.retain(|file, _| file.symlink_metadata().is_ok());
            (listed, Place::of(&path), seen, unfit, Instant::now() + began.elapsed().min(ANYWAY))
        });
        let (listed, place, seen, unfit, rest) = looked.await.map_err(|_| internal("looking at a folder panicked"))?;
        (self.seen, self.place, self.unfit, self.rest) = (Some(seen), Some(place), unfit, rest);
        match listed {
            Ok(listing) => {
                self.found = None;
                Ok(Some(listing))
            }
            Err(error) => {
                self.awaited.clear();
                let is_absent = error.kind() == io::ErrorKind::NotFound;
                self.found = Some(if is_absent { NOT_THERE.into() } else { error.to_string() });
                Ok(None)
            }
        }
    }

    /// Those that are whole. The others are awaited.
    fn whole(&mut self, listing: Listing, renamed: &BTreeSet<PathBuf>) -> Vec<Stamp> {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.awaited);
        let mut whole = Vec::new();
        for stamp in listing.new {
            let known = before.remove(&stamp.path).filter(|known| known.stamp == stamp);
            let mut file =
                known.unwrap_or_else(|| Awaited { stamp: stamp.clone(), since: now, wait: self.spec.settle });
            // The sign may come after a look that has seen the file already.
            if renamed.contains(&stamp.path) {
                file.wait = QUIET;
            }
            if now >= file.since + file.wait {
                whole.push(stamp.clone());
            }
            // Until it is taken.
            self.awaited.insert(stamp.path, file);
        }
        whole
    }

    /// Starts a run of a file that is whole, unless it is not fit for one.
    async fn take(&mut self, workflows: &Workflows, stamp: Stamp) -> Result<(), Stopped> {
        let (read, most) = (stamp.clone(), self.spec.most_bytes);
        let read = tokio::task::spawn_blocking(move || disk::read(&read, most)).await;
        self.unfit.remove(&stamp.path);
        match read.map_err(|_| internal("reading a file panicked"))? {
            Err(Unfit::Gone) => {
                let (workflow, file) = (&self.spec.workflow, stamp.path.display());
                tracing::info!(%workflow, %file, "it has gone before it was read, so it starts nothing");
                self.awaited.remove(&stamp.path);
                return Ok(());
            }
            Err(Unfit::Later) => {
                self.awaited.remove(&stamp.path);
                return Ok(());
            }
            Err(Unfit::Never(why)) => self.pass_by(workflows, &stamp, why).await?,
            Ok((text, hash)) => self.start(workflows, &stamp, text, hash).await?,
        }
        self.is_done(&stamp);
        Ok(())
    }

    /// Starts a run of what a file says, unless it had one, or no run may be given that.
    async fn start(&mut self, workflows: &Workflows, stamp: &Stamp, text: String, hash: String) -> Result<(), Stopped> {
        let (workflow, file) = (&self.spec.workflow, stamp.path.display());
        let cause = Cause::Trigger { words: format!("the file {file}"), event: None };
        let new = match workflows.new_run(workflow, inputs(&stamp.path, text), cause).await {
            // As JSON it is longer than an input may be.
            Err(error) if error.kind == Kind::InvalidParams => {
                return self.pass_by(workflows, stamp, error.message).await;
            }
            new => new?,
        };
        match workflows.store.add_for(new, stamp.clone(), hash).await? {
            Began::Run(run) => workflows.tell(Message::Queue(number(&run.run)?, By::Trigger)).await?,
            Began::Same => tracing::debug!(%workflow, %file, "it says what it said, so it starts nothing"),
            Began::Own => tracing::info!(%workflow, %file, "it is of a run of this workflow, so it starts none"),
        }
        Ok(())
    }

    /// Leaves a file alone until it changes, and says so.
    async fn pass_by(&mut self, workflows: &Workflows, stamp: &Stamp, why: String) -> Result<(), Stopped> {
        let (workflow, file) = (&self.spec.workflow, stamp.path.display());
        workflows.store.pass_by(workflow, stamp.clone()).await?;
        tracing::warn!(%workflow, %file, "it starts nothing: {why}");
        if self.unfit.len() < MOST_TOLD {
            self.unfit.insert(stamp.path.clone(), why);
        }
        Ok(())
    }

    /// A file needs no look any more as it is now.
    fn is_done(&mut self, stamp: &Stamp) {
        self.awaited.remove(&stamp.path);
        if let Some(seen) = &mut self.seen {
            seen.insert(stamp.number());
        }
    }

    /// Says once what is wrong, and that nothing is any more.
    fn say(&mut self, trouble: Option<String>) {
        if trouble == self.said {
            return;
        }
        let Spec { workflow, path, .. } = &self.spec;
        let folder = path.display();
        if let Some(words) = &trouble {
            tracing::warn!(%workflow, %folder, "no file there starts anything: {words}");
        } else {
            tracing::info!(%workflow, %folder, "files there are taken again");
        }
        self.said = trouble;
    }
}

/// What is said of a folder that is not there.
const NOT_THERE: &str = "it is not there; it is waited for";

/// What a run of a file is given.
fn inputs(path: &Path, text: String) -> Map<String, Value> {
    let told = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let given = [
        ("TRANSCRIPT", text),
        ("TITLE", told(path.file_stem())),
        ("FILE", path.display().to_string()),
        ("DIRECTORY", told(path.parent().map(Path::as_os_str))),
    ];
    given.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}
