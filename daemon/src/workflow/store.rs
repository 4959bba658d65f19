//! The file of runs: `workflows.sqlite3`, with each run, the text that it runs by, and its log, to which entries are only added.
//!
//! What was appended is on the disk when the call returns, whatever happens to the machine then. Work with the file happens
//! on blocking threads, one at a time. A file of a newer talkied is left alone; a damaged one is set aside and a new one made.
//! Called by [`super`] and by the task of each run.

mod rows;
mod seen;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ErrorData, Kind, Run, RunEvent, RunState};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{broadcast, watch};

use crate::error::internal;
pub use rows::{Change, Kept, New, Page, Wanted};
pub use seen::{Began, Stamp};

/// What the file looks like; its number stands in the file.
const VERSION: i64 = 1;
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, workflow TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL, why TEXT,
        created TEXT NOT NULL, ended TEXT, texts TEXT NOT NULL, given TEXT NOT NULL, result TEXT,
        prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0, cost REAL DEFAULT 0
    ) STRICT;
    CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state, workflow);
    CREATE INDEX IF NOT EXISTS runs_by_workflow ON runs (workflow);
    CREATE TABLE IF NOT EXISTS log (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL, time TEXT NOT NULL, change TEXT NOT NULL, UNIQUE (run, seq)
    ) STRICT;";

/// Runs at rest that are kept, and for how many days.
const KEPT_RUNS: u32 = 1000;
const KEPT_DAYS: u32 = 30;

/// Ended runs that are kept for those who are slow to hear of them.
const ENDED: usize = 256;

/// A handle on the file. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The file, once it was opened. Held for one piece of work, on a blocking thread.
    connection: Mutex<Option<Connection>>,
    /// The number of the entry that was appended last, of whatever run.
    latest: watch::Sender<i64>,
    /// Runs that come to rest.
    ended: broadcast::Sender<Run>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Broken {
    /// The file is of a newer talkied.
    Newer(i64),
    /// What `SQLite` says.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Store {
    /// The file in a folder, which is opened when it is needed.
    pub fn new(home: &Path) -> Self {
        let path = home.join("workflows.sqlite3");
        Self(Arc::new(Shared {
            path,
            connection: Mutex::new(None),
            latest: watch::Sender::new(0),
            ended: broadcast::Sender::new(ENDED),
        }))
    }

    /// Writes a new run down, which waits, and returns it.
    pub async fn add(&self, new: New) -> Result<Run, ErrorData> {
        self.with(move |db| rows::add(db, &new)).await
    }

    /// The runs that are not at rest, in the order in which they came.
    pub async fn unfinished(&self) -> Result<Vec<Run>, ErrorData> {
        self.with(|db| rows::unfinished(db)).await
    }

    /// How many runs wait: of a workflow, or of all.
    pub async fn waiting(&self, workflow: Option<String>) -> Result<u32, ErrorData> {
        self.with(move |db| rows::waiting(db, workflow.as_deref())).await
    }

    /// A run with all of its log, to go on with it.
    pub async fn kept(&self, run: u64) -> Result<Option<Kept>, ErrorData> {
        self.with(move |db| rows::kept(db, run)).await
    }

    /// A run with a part of its log.
    pub async fn page(&self, run: u64, after: u64) -> Result<Option<Page>, ErrorData> {
        self.with(move |db| rows::page(db, run, after)).await
    }

    /// Runs, the latest first.
    pub async fn list(&self, wanted: Wanted) -> Result<Vec<Run>, ErrorData> {
        self.with(move |db| rows::list(db, &wanted)).await
    }

    /// The latest run of each workflow.
    pub async fn latest_of_each(&self) -> Result<Vec<Run>, ErrorData> {
        self.with(|db| rows::latest_of_each(db)).await
    }

    /// Appends to the log of a run, all of it or nothing. What is told of the run follows from it.
    pub async fn append(&self, run: u64, changes: Vec<Change>) -> Result<(), ErrorData> {
        if changes.is_empty() {
            return Ok(());
        }
        let ends = changes.iter().any(Change::is_end);
        let latest = self.with(move |db| rows::append(db, run, &changes)).await?;
        self.0.latest.send_replace(latest);
        if ends {
            let run = self.with(move |db| rows::ended(db, run, KEPT_RUNS, KEPT_DAYS)).await?;
            self.tell_end(run);
        }
        Ok(())
    }

    /// Changes the state of a run that is in one of `from`, and logs it; the run as it is afterwards, and whether it was
    /// changed.
    pub async fn turn(
        &self,
        run: u64,
        from: &'static [RunState],
        changes: Vec<Change>,
    ) -> Result<Option<(Run, bool)>, ErrorData> {
        let turned = self.with(move |db| rows::turn(db, run, from, &changes)).await?;
        if let Some((run, true)) = &turned {
            let latest = self.with(|db| rows::latest(db)).await?;
            self.0.latest.send_replace(latest);
            self.tell_end(Some(run.clone()).filter(|run| run.state.is_at_rest()));
        }
        Ok(turned)
    }

    /// What was appended after the entry of a number, of one run or of all, and up to which number that is.
    pub async fn news(&self, run: Option<u64>, after: i64) -> Result<(Vec<RunEvent>, i64), ErrorData> {
        self.with(move |db| rows::news(db, run, after)).await
    }

    /// How many entries the log of a run has.
    pub async fn last_of(&self, run: u64) -> Result<u64, ErrorData> {
        self.with(move |db| rows::last_of(db, run)).await
    }

    /// The number of the latest entry, of which `run`'s number `seq` and all before it are not news.
    pub async fn place(&self, run: Option<u64>, seq: Option<u64>) -> Result<i64, ErrorData> {
        self.with(move |db| rows::place(db, run, seq)).await
    }

    /// Wakes whoever waits for entries.
    pub fn signs(&self) -> watch::Receiver<i64> {
        self.0.latest.subscribe()
    }

    /// Runs that come to rest from now on.
    pub fn ends(&self) -> broadcast::Receiver<Run> {
        self.0.ended.subscribe()
    }

    fn tell_end(&self, run: Option<Run>) {
        if let Some(run) = run {
            // Nobody need listen.
            let _ = self.0.ended.send(run);
        }
    }

    /// Does one piece of work with the file.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ErrorData> {
        let shared = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || shared.with(work));
        done.await.map_err(|_| internal("work with the file of runs panicked"))?
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, ErrorData> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Opened again when it was removed, or its disk has come back.
        if held.is_none() || !self.path.exists() {
            *held = None;
            *held = Some(opened(&self.path).map_err(|broken| self.failed(&broken))?);
        }
        let Some(connection) = held.as_mut() else { return Err(internal("the file of runs is not open")) };
        let done = work(connection).map_err(|error| self.failed(&Broken::Sqlite(error)));
        if done.is_err() {
            *held = None;
        }
        done
    }

    fn failed(&self, broken: &Broken) -> ErrorData {
        let path = self.path.display();
        let words = match broken {
            Broken::Newer(version) => format!(
                "the file of runs {path} is of a newer talkied (version {version}, this one knows {VERSION}): run that one, or \
                 move the file away to begin anew"
            ),
            Broken::Sqlite(error) => format!("the file of runs {path} cannot be used: {error}"),
        };
        ErrorData::new(Kind::StorageFailed, words)
    }
}

/// Opens the file, or makes it, for its user alone. A damaged one is set aside first.
fn opened(path: &Path) -> Result<Connection, Broken> {
    match open(path) {
        Err(Broken::Sqlite(error)) if is_damaged(&error) => {
            let aside = set_aside(path);
            tracing::error!(%error, "the file of runs is damaged: it is now {}, and a new one is made", aside.display());
            open(path)
        }
        opened => opened,
    }
}

fn open(path: &Path) -> Result<Connection, Broken> {
    // SQLite would make it as the umask says. Whatever is wrong here SQLite says in its own words.
    let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let _ = fs::set_permissions(path, Permissions::from_mode(0o600));
    let connection = Connection::open(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Err(Broken::Newer(version));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let sound: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(Broken::Sqlite(rusqlite::Error::SqliteFailure(code, Some(sound))));
    }
    connection.execute_batch(TABLES)?;
    connection.execute_batch(seen::TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    rows::forget(&connection, KEPT_RUNS, KEPT_DAYS)?;
    Ok(connection)
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Gives a damaged file another name, with what belongs to it, and returns that.
fn set_aside(path: &Path) -> PathBuf {
    let stamp = jiff::Timestamp::now().as_second();
    let renamed = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = renamed(&format!(".damaged-{stamp}"));
    for end in ["", "-wal", "-shm"] {
        let mut to = aside.as_os_str().to_owned();
        to.push(end);
        // Not all of them need be there; what stays in the way is said when it is opened.
        let _ = fs::rename(renamed(end), to);
    }
    aside
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
