//! What triggers have seen: the files that started runs, so that each does so once; the files that runs saved, so that none
//! starts what made it; and the times that were served. It stands in the file of runs, so that a run and what started it
//! are written down together or not at all. Called by `trigger`, and by steps that save files.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use protocol::{ErrorData, Run};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde_json::json;

use super::Store;
use super::rows::{self, New, signed};

/// Files are kept by the bytes of their paths. `hash` is absent where the content was not looked at. `led` has the workflows
/// that led to the file of a run, as they were when it began: the file may be another since.
pub const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS triggers (
        workflow TEXT NOT NULL, trigger TEXT NOT NULL, served INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (workflow, trigger)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS seen (
        id INTEGER PRIMARY KEY, workflow TEXT NOT NULL, path BLOB NOT NULL, inode INTEGER NOT NULL, bytes INTEGER NOT NULL,
        written INTEGER NOT NULL, hash TEXT, UNIQUE (workflow, path)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS led (
        run INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE, workflows TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS saved (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, workflows TEXT NOT NULL) STRICT;";

/// Files that are kept although they are gone: of each workflow that saw them, and of all that were saved.
const KEPT: u32 = 20_000;

/// Of either, those that are looked at once to find what is gone.
const TIDIED: u32 = 5000;

/// A file as it looks from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Where it is.
    pub path: PathBuf,
    /// Which file it is on its disk.
    pub inode: u64,
    /// How long it is.
    pub bytes: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub written: i64,
}

impl Stamp {
    /// A number for it that no other has.
    pub fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What came of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Began {
    /// A run of it.
    Run(Box<Run>),
    /// None: it had one already.
    Same,
    /// None: a run of the same workflow made it, or one that led to such a run.
    Own,
}

impl Store {
    /// Whether a trigger was there before.
    pub async fn knows(&self, workflow: &str, trigger: &str) -> Result<bool, ErrorData> {
        Ok(self.served(workflow, trigger).await?.is_some())
    }

    /// When a trigger was served last; `None` where it was not there before.
    pub async fn served(&self, workflow: &str, trigger: &str) -> Result<Option<i64>, ErrorData> {
        let (workflow, trigger) = (workflow.to_owned(), trigger.to_owned());
        self.with(move |db| {
            let served = "SELECT served FROM triggers WHERE workflow = ?1 AND trigger = ?2";
            db.query_row(served, [workflow, trigger], |row| row.get(0)).optional()
        })
        .await
    }

    /// A trigger is there: what lies there now starts nothing.
    pub async fn begin(&self, workflow: &str, trigger: &str, there: Vec<Stamp>) -> Result<(), ErrorData> {
        let (workflow, trigger) = (workflow.to_owned(), trigger.to_owned());
        self.with(move |db| {
            let made = db.transaction()?;
            serve(&made, &workflow, &trigger, 0)?;
            for stamp in &there {
                let path = stamp.path.as_os_str().as_bytes();
                let known = "SELECT 1 FROM seen WHERE workflow = ?1 AND path = ?2";
                if made.prepare(known)?.query_row(params![workflow, path], |_| Ok(())).optional()?.is_none() {
                    put(&made, &workflow, stamp, None)?;
                }
            }
            made.commit()
        })
        .await
    }

    /// A time of a schedule was served, without a run.
    pub async fn serve(&self, workflow: &str, trigger: &str, time: i64) -> Result<(), ErrorData> {
        let (workflow, trigger) = (workflow.to_owned(), trigger.to_owned());
        self.with(move |db| serve(db, &workflow, &trigger, time)).await
    }

    /// Writes down a new run and that it serves a time, both or neither.
    pub async fn add_at(&self, new: New, trigger: &str, time: i64) -> Result<Run, ErrorData> {
        let trigger = trigger.to_owned();
        self.with(move |db| {
            let made = db.transaction()?;
            let run = rows::insert(&made, &new)?;
            serve(&made, &new.workflow, &trigger, time)?;
            made.commit()?;
            Ok(run)
        })
        .await
    }

    /// The numbers of all files that a workflow has seen.
    pub async fn seen(&self, workflow: &str) -> Result<HashSet<u64>, ErrorData> {
        let workflow = workflow.to_owned();
        self.with(move |db| {
            let mut query = db.prepare("SELECT path, inode, bytes, written FROM seen WHERE workflow = ?1")?;
            query.query_map([workflow], |row| stamp(row).map(|stamp| stamp.number()))?.collect()
        })
        .await
    }

    /// Writes down a new run of a file and that it has one, both or neither; unless it has one.
    pub async fn add_for(&self, new: New, stamp: Stamp, hash: String) -> Result<Began, ErrorData> {
        self.with(move |db| {
            let made = db.transaction()?;
            let began = add_for(&made, &new, &stamp, &hash)?;
            made.commit()?;
            Ok(began)
        })
        .await
    }

    /// A file is left alone as it is now.
    pub async fn pass_by(&self, workflow: &str, stamp: Stamp) -> Result<(), ErrorData> {
        let workflow = workflow.to_owned();
        self.with(move |db| put(db, &workflow, &stamp, None)).await
    }

    /// Says that a run is about to save a file. Blocks.
    pub fn claim(&self, run: u64, path: &Path) -> Result<(), ErrorData> {
        self.0.with(|db| {
            let made = db.transaction()?;
            claim(&made, signed(run), path)?;
            made.commit()
        })
    }

    /// Forgets the triggers of all workflows but these, and what is of no use any more.
    pub async fn tidy(&self, workflows: Vec<String>) -> Result<(), ErrorData> {
        let old = self
            .with(move |db| {
                let kept = json!(workflows).to_string();
                for table in ["triggers", "seen"] {
                    let others = "workflow NOT IN (SELECT value FROM json_each(?1))";
                    db.execute(&format!("DELETE FROM {table} WHERE {others}"), [&kept])?;
                }
                Ok([
                    ("seen", old(db, OLD_SEEN)?, is_gone_from_its_folder as IsGone),
                    ("saved", old(db, OLD_SAVED)?, is_gone),
                ])
            })
            .await?;
        for (table, old, is_gone) in old {
            if old.is_empty() {
                continue;
            }
            let gone =
                move || old.into_iter().filter(|(_, path)| is_gone(path)).map(|(id, _)| id).collect::<Vec<i64>>();
            let gone = json!(tokio::task::spawn_blocking(gone).await.unwrap_or_default()).to_string();
            let forgotten = format!("DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?1))");
            self.with(move |db| db.execute(&forgotten, [gone])).await?;
        }
        Ok(())
    }
}

/// Some files of workflows that have seen many, and some of those that were saved long ago.
const OLD_SEEN: &str = "
    SELECT id, path FROM seen WHERE workflow IN (SELECT workflow FROM seen GROUP BY workflow HAVING count(*) > ?1)
    ORDER BY random() LIMIT ?2";
const OLD_SAVED: &str = "
    SELECT id, path FROM saved WHERE id <= (SELECT max(id) FROM saved) - ?1 ORDER BY random() LIMIT ?2";

fn old(db: &Connection, files: &str) -> Result<Vec<(i64, PathBuf)>> {
    db.prepare(files)?.query_map([KEPT, TIDIED], |row| Ok((row.get(0)?, path(row, 1)?)))?.collect()
}

/// Tells whether a file is there no more. Blocks.
type IsGone = fn(&Path) -> bool;

fn is_gone(file: &Path) -> bool {
    file.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The same where its folder is there: what lies on a disk that is away comes back, and has had its runs.
fn is_gone_from_its_folder(file: &Path) -> bool {
    is_gone(file) && file.parent().is_some_and(Path::is_dir)
}

fn add_for(db: &Connection, new: &New, stamp: &Stamp, hash: &str) -> Result<Began> {
    let known = "SELECT hash, bytes, written FROM seen WHERE workflow = ?1 AND path = ?2";
    let path = stamp.path.as_os_str().as_bytes();
    let known: Option<(Option<String>, u64, i64)> = db
        .query_row(known, params![new.workflow, path], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?))
        })
        .optional()?;
    if let Some((known, bytes, written)) = known {
        // Where the content is not known, the number of the file decides nothing: some disks number files anew.
        let is_same = known.as_ref().map_or((bytes, written) == (stamp.bytes, stamp.written), |known| known == hash);
        if is_same {
            put(db, &new.workflow, stamp, known.is_some().then_some(hash))?;
            return Ok(Began::Same);
        }
    }
    put(db, &new.workflow, stamp, Some(hash))?;
    let led = chain(db, path)?;
    if led.contains(&new.workflow) {
        return Ok(Began::Own);
    }
    let run = rows::insert(db, new)?;
    if !led.is_empty() {
        let (id, led) = (run.run.number().map(signed), json!(led).to_string());
        db.execute("INSERT INTO led (run, workflows) VALUES (?1, ?2)", params![id, led])?;
    }
    Ok(Began::Run(Box::new(run)))
}

/// Which workflows led to the file: the one that saved it, the one that saved the file that started that, and so on.
fn chain(db: &Connection, path: &[u8]) -> Result<Vec<String>> {
    let found = "SELECT workflows FROM saved WHERE path = ?1";
    Ok(db.query_row(found, [path], |row| rows::parsed(row, 0)).optional()?.unwrap_or_default())
}

fn claim(db: &Connection, run: i64, path: &Path) -> Result<()> {
    let path = path.as_os_str().as_bytes();
    let workflow: String = db.query_row("SELECT workflow FROM runs WHERE id = ?1", [run], |row| row.get(0))?;
    let led = "SELECT workflows FROM led WHERE run = ?1";
    let led: Vec<String> = db.query_row(led, [run], |row| rows::parsed(row, 0)).optional()?.unwrap_or_default();
    let mut workflows = chain(db, path)?;
    for name in led.into_iter().chain([workflow]) {
        if !workflows.contains(&name) {
            workflows.push(name);
        }
    }
    let saved = "INSERT OR REPLACE INTO saved (path, workflows) VALUES (?1, ?2)";
    db.execute(saved, params![path, json!(workflows).to_string()]).map(drop)
}

fn serve(db: &Connection, workflow: &str, trigger: &str, time: i64) -> Result<()> {
    let served = "INSERT OR REPLACE INTO triggers (workflow, trigger, served) VALUES (?1, ?2, ?3)";
    db.execute(served, params![workflow, trigger, time]).map(drop)
}

fn put(db: &Connection, workflow: &str, stamp: &Stamp, hash: Option<&str>) -> Result<()> {
    let Stamp { path, inode, bytes, written } = stamp;
    db.prepare(
        "INSERT OR REPLACE INTO seen (workflow, path, inode, bytes, written, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![workflow, path.as_os_str().as_bytes(), inode.cast_signed(), bytes.cast_signed(), written, hash])
    .map(drop)
}

fn stamp(row: &Row<'_>) -> Result<Stamp> {
    let number = |column| Ok::<u64, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
    Ok(Stamp { path: path(row, 0)?, inode: number(1)?, bytes: number(2)?, written: row.get(3)? })
}

fn path(row: &Row<'_>, column: usize) -> Result<PathBuf> {
    Ok(PathBuf::from(std::ffi::OsString::from_vec(row.get(column)?)))
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
