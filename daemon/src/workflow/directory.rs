//! The folder `Workflows` of the home: which workflows there are, and what is wrong with those that are none.
//!
//! Only what belongs to the user and what nobody else may write is read, for a workflow may run programs. Whoever asks
//! gets a look at the disk as it is; [`watch`] looks again whenever it changes, for triggers. Files that are as they were
//! are not read again. Nothing is written here.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use protocol::{ErrorData, Kind, WorkflowProblem};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use workflow::course::Texts;
use workflow::{MOST_FILE_BYTES, Problem, Workflow, call_problems};

use crate::bounded;
use crate::error::internal;

/// What it is called.
const NAME: &str = "Workflows";

/// Most files that are read.
const MOST_FILES: usize = 1000;

/// Longest name of a workflow.
const LONGEST_NAME: usize = 64;

/// How long after a sign of change it is looked: what writes a file does so in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// Between looks without a sign, and where signs cannot be had.
const ANYWAY: Duration = Duration::from_mins(1);
const BLIND: Duration = Duration::from_millis(500);

/// The folder.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    /// What was read, and what the files looked like then. Held for one look.
    read: Mutex<BTreeMap<String, (Stamp, Arc<Entry>)>>,
    latest: watch::Sender<Arc<Snapshot>>,
}

/// All workflows at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Why nothing is read; `None` where it is.
    pub problem: Option<String>,
    /// By name.
    pub entries: BTreeMap<String, Arc<Entry>>,
    /// Those in which nothing is wrong, their calls aside.
    sound: Vec<Workflow>,
}

/// One file.
#[derive(Debug)]
pub struct Entry {
    /// Its name, without `.toml`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What stands in it; empty where it cannot be read.
    pub text: String,
    /// What that says.
    pub workflow: Result<Workflow, Vec<WorkflowProblem>>,
}

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    written: (i64, i64),
}

impl Directory {
    /// That of a home.
    pub fn new(home: &Path) -> Self {
        let folder = home.join(NAME);
        Self { folder, read: Mutex::default(), latest: watch::Sender::default() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is there now.
    pub async fn look(self: &Arc<Self>) -> Result<Arc<Snapshot>, ErrorData> {
        let seen = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || seen.snapshot()).await;
        let snapshot = looked.map_err(|_| internal("looking at the workflows panicked"))?;
        self.latest.send_if_modified(|latest| {
            let is_new = !latest.is_like(&snapshot);
            if is_new {
                *latest = Arc::clone(&snapshot);
            }
            is_new
        });
        Ok(snapshot)
    }

    /// What was there at the last look, and its changes.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.subscribe()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match self.names() {
            Err(problem) => {
                read.clear();
                Arc::new(Snapshot { problem, ..Snapshot::default() })
            }
            Ok((names, problem)) => {
                let before = std::mem::take(&mut *read);
                for name in names {
                    let path = self.folder.join(format!("{name}.toml"));
                    let stamp = fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
                    let known = before.get(&name).filter(|(known, _)| Some(*known) == stamp);
                    let entry =
                        known.map_or_else(|| Arc::new(Entry::read(&name, path)), |(_, entry)| Arc::clone(entry));
                    read.insert(name, (stamp.unwrap_or(Stamp::NONE), entry));
                }
                let entries = read.iter().map(|(name, (_, entry))| (name.clone(), Arc::clone(entry))).collect();
                let new = Snapshot { problem, entries, sound: Vec::new() };
                let latest = Arc::clone(&self.latest.borrow());
                if new.is_like(&latest) {
                    return latest;
                }
                let sound = new.entries.values().filter_map(|entry| entry.workflow.as_ref().ok().cloned()).collect();
                Arc::new(Snapshot { sound, ..new })
            }
        }
    }

    /// The names of the workflows, and why there may be more; or why they are not read, if there is a reason.
    fn names(&self) -> Result<(Vec<String>, Option<String>), Option<String>> {
        let shown = self.folder.display();
        let metadata = match fs::metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(None),
            read => read.map_err(|error| Some(format!("{shown} cannot be read: {error}")))?,
        };
        if let Some(problem) = unsafe_of(&metadata) {
            return Err(Some(format!("nothing in {shown} is run, because {problem}")));
        }
        let entries = fs::read_dir(&self.folder).map_err(|error| Some(format!("{shown} cannot be read: {error}")))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter_map(|name| name_of(&name)).collect();
        names.sort();
        let problem = (names.len() > MOST_FILES)
            .then(|| format!("{shown} has {} workflows, but only the first {MOST_FILES} are read", names.len()));
        names.truncate(MOST_FILES);
        Ok((names, problem))
    }
}

impl Snapshot {
    /// Whether the same files say the same.
    fn is_like(&self, other: &Self) -> bool {
        let same = |(name, entry): (&String, &Arc<Entry>)| {
            other.entries.get(name).is_some_and(|other| Arc::ptr_eq(other, entry))
        };
        self.problem == other.problem && self.entries.len() == other.entries.len() && self.entries.iter().all(same)
    }

    /// One that can run, and the text of each file that it goes by.
    pub fn runnable(&self, name: &str) -> Result<(&Workflow, Texts), ErrorData> {
        let entry = self.entry(name)?;
        let problems = self.problems_of(entry);
        let workflow = entry.workflow.as_ref().map_err(|_| invalid(name, &problems))?;
        if !problems.is_empty() {
            return Err(invalid(name, &problems));
        }
        let mut texts = Texts::from([(name.to_owned(), entry.text.clone())]);
        let mut wanted = workflow.calls();
        while let Some(call) = wanted.pop() {
            let entry = self.entry(&call.name)?;
            if texts.insert(call.name.value.clone(), entry.text.clone()).is_none() {
                wanted.extend(entry.workflow.iter().flat_map(Workflow::calls));
            }
        }
        Ok((workflow, texts))
    }

    /// What is wrong with a workflow, and with what it calls.
    pub fn problems_of(&self, entry: &Entry) -> Vec<WorkflowProblem> {
        match &entry.workflow {
            Err(problems) => problems.clone(),
            Ok(workflow) => told_all(call_problems(workflow, &entry.text, &self.sound)),
        }
    }

    /// The same of a text under a name, which takes the place of the file of that name.
    pub fn problems_of_text(&self, name: &str, text: &str) -> Vec<WorkflowProblem> {
        match Workflow::read(name, text) {
            Err(problems) => told_all(problems),
            Ok(workflow) => {
                let others = self.sound.iter().filter(|other| other.name != name);
                let all: Vec<Workflow> = others.cloned().chain([workflow.clone()]).collect();
                told_all(call_problems(&workflow, text, &all))
            }
        }
    }

    /// One by its name.
    pub fn entry(&self, name: &str) -> Result<&Arc<Entry>, ErrorData> {
        self.entries.get(name).ok_or_else(|| {
            let words = match &self.problem {
                Some(problem) => format!("there is no workflow {name:?}: {problem}"),
                None => format!("there is no workflow {name:?}{}", way_out(name, self.entries.keys())),
            };
            ErrorData::new(Kind::WorkflowNotFound, words)
        })
    }
}

fn way_out<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> String {
    let likeness = |known: &&String| strsim::normalized_damerau_levenshtein(name, known);
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|known| likeness(known) >= 0.6);
    nearest.map_or("; `workflows.list` lists them".into(), |nearest| format!("; did you mean {nearest:?}?"))
}

/// Why a workflow with problems does not run.
pub fn invalid(name: &str, problems: &[WorkflowProblem]) -> ErrorData {
    let more = match problems.len() {
        0 | 1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    let first = problems.first().map_or(String::new(), told);
    ErrorData::new(Kind::WorkflowInvalid, format!("the workflow {name:?} cannot run: {first}{more}"))
}

fn told(problem: &WorkflowProblem) -> String {
    match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: {}", problem.message),
        _ => problem.message.clone(),
    }
}

/// Problems as the wire has them.
pub fn told_all(problems: Vec<Problem>) -> Vec<WorkflowProblem> {
    let told = |problem: Problem| WorkflowProblem {
        line: Some(problem.line),
        column: Some(problem.column),
        message: problem.message,
    };
    problems.into_iter().map(told).collect()
}

/// A problem of a whole file.
pub fn of_file(message: String) -> WorkflowProblem {
    WorkflowProblem { line: None, column: None, message }
}

impl Entry {
    fn read(name: &str, path: PathBuf) -> Self {
        let (text, workflow) = match text(&path) {
            Ok(text) => {
                let workflow = Workflow::read(name, &text);
                (text, workflow.map_err(told_all))
            }
            Err(problem) => (String::new(), Err(vec![of_file(problem)])),
        };
        Self { name: name.to_owned(), path, text, workflow }
    }
}

impl Stamp {
    /// Of a file that is not there.
    const NONE: Self = Self { inode: 0, bytes: 0, changed: (0, 0), written: (0, 0) };

    /// As it looks now.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The name of a workflow's file; `None` of anything else that lies there.
fn name_of(file: &str) -> Option<String> {
    let name = file.strip_suffix(".toml")?;
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    ((1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_fit)).then(|| name.to_owned())
}

/// The text of a file that only its user may change.
pub fn text(path: &Path) -> Result<String, String> {
    let (file, _) = bounded::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let metadata = file.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
    if let Some(problem) = unsafe_of(&metadata) {
        return Err(format!("it is not run, because {problem}"));
    }
    let mut bytes = Vec::new();
    let most = MOST_FILE_BYTES as u64;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > most {
        return Err(format!("it has {} bytes, but {most} are the most", metadata.len()));
    }
    String::from_utf8(bytes).map_err(|error| format!("it is no text: {error}"))
}

/// Why others could change a file or folder.
pub fn unsafe_of(metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o777;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Some("it belongs to somebody else: workflows must be your own".into());
    }
    (mode & 0o022 != 0).then(|| format!("others may write to it (mode {mode:o}): `chmod go-w` it"))
}

/// Looks again whenever the folder changes, until `stop`.
pub async fn watch(directory: Arc<Directory>, stop: CancellationToken) {
    let signs = Arc::new(Notify::new());
    let mut watcher = watcher(&signs);
    loop {
        let signs_of = watcher.as_mut().map_or(Watched::Nothing, |watcher| watches(watcher, &directory.folder));
        if let Err(error) = directory.look().await {
            tracing::error!("{}", error.message);
        }
        let gives_signs = match signs_of {
            Watched::Folder => true,
            // It may have been made between.
            Watched::Home => !directory.folder.is_dir(),
            Watched::Nothing => false,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if gives_signs { ANYWAY } else { BLIND }) => {}
            () = signs.notified() => tokio::time::sleep(QUIET).await,
        }
    }
}

fn watcher(signs: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let signs = Arc::clone(signs);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // The home, in which the folder would appear, has files that change all the time.
        let is_meant = |path: &PathBuf| path.components().rev().take(2).any(|part| part.as_os_str() == NAME);
        let is_sign = event
            .as_ref()
            .map_or(true, |event| !event.kind.is_access() && (event.need_rescan() || event.paths.iter().any(is_meant)));
        if is_sign {
            signs.notify_one();
        }
    });
    let blind = "changes of workflows give no signs; they are looked at twice a second";
    watcher.inspect_err(|error| tracing::warn!(%error, "{blind}")).ok()
}

/// What gives signs.
enum Watched {
    Folder,
    /// That in which the folder would appear.
    Home,
    Nothing,
}

/// Watches the folder, or that in which it would appear. Watching twice is watching once.
fn watches(watcher: &mut RecommendedWatcher, folder: &Path) -> Watched {
    let mut is_watched = |folder: &Path| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok();
    if is_watched(folder) {
        return Watched::Folder;
    }
    let home = folder.parent().unwrap_or(Path::new("/"));
    if is_watched(home) { Watched::Home } else { Watched::Nothing }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
