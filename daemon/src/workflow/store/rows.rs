//! The rows of the file: how runs and their logs are written and read. Blocks; called by [`super`] alone.

use jiff::Timestamp;
use protocol::{Run, RunChange, RunEntry, RunEvent, RunId, RunState};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use workflow::course::{Given, Texts};

/// Most bytes of a log that are read at once, so that they fit into a message; one entry always is.
const PAGE_BYTES: usize = 6 << 20;

/// Most entries that are told at once.
const NEWS: usize = 256;

/// A run to be written down.
#[derive(Debug, Clone)]
pub struct New {
    /// Of which workflow.
    pub workflow: String,
    /// What started it, in words.
    pub cause: String,
    /// The files that it runs by, its own and those that it calls.
    pub texts: Texts,
    /// What it was given.
    pub given: Given,
}

/// What is appended to a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An entry.
    Entry(RunChange),
    /// The output of the last step and those by their keys, of a run that is finished.
    Result(Value, Map<String, Value>),
}

/// A run, and everything that is needed to go on with it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The run.
    pub run: Run,
    /// The files that it runs by.
    pub texts: Texts,
    /// What it was given.
    pub given: Given,
    /// What happened so far.
    pub log: Vec<RunChange>,
}

/// A run with a part of its log.
#[derive(Debug, Clone)]
pub struct Page {
    /// The run.
    pub run: Run,
    /// What it was given.
    pub given: Given,
    /// The output of its last step and those by their keys, once it is finished.
    pub result: Option<(Value, Map<String, Value>)>,
    /// A part of the log.
    pub log: Vec<RunEntry>,
    /// Whether there is more of it.
    pub more: bool,
}

/// Which runs are listed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this workflow.
    pub workflow: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
    /// So many.
    pub limit: u32,
}

impl Change {
    /// Whether the run is at rest with it.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Entry(RunChange::State { state, .. }) if state.is_at_rest())
    }

    /// The run is in another state.
    pub fn state(state: RunState, why: Option<String>) -> Self {
        Self::Entry(RunChange::State { state, why })
    }
}

const RUN: &str = "id, workflow, state, cause, why, created, ended, prompt_tokens, completion_tokens, cost FROM runs";

pub fn add(db: &mut Connection, new: &New) -> Result<Run> {
    let made = db.transaction()?;
    let run = insert(&made, new)?;
    made.commit()?;
    Ok(run)
}

/// Writes a run down, in a transaction of the caller's.
pub fn insert(db: &Connection, new: &New) -> Result<Run> {
    db.execute(
        "INSERT INTO runs (workflow, state, cause, created, texts, given) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![new.workflow, RunState::Waiting.name(), new.cause, now(), json(&new.texts)?, json(&new.given)?],
    )?;
    one(db, db.last_insert_rowid())?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

pub fn unfinished(db: &Connection) -> Result<Vec<Run>> {
    let mut query = db.prepare(&format!("SELECT {RUN} WHERE state IN ('waiting', 'running') ORDER BY id"))?;
    query.query_map([], run)?.collect()
}

pub fn waiting(db: &Connection, workflow: Option<&str>) -> Result<u32> {
    let count = "SELECT count(*) FROM runs WHERE state = 'waiting' AND (?1 IS NULL OR workflow = ?1)";
    db.query_row(count, [workflow], |row| row.get(0))
}

pub fn kept(db: &Connection, id: u64) -> Result<Option<Kept>> {
    let Some(run) = one(db, signed(id))? else { return Ok(None) };
    let (texts, given) = db.query_row("SELECT texts, given FROM runs WHERE id = ?1", [signed(id)], |row| {
        Ok((parsed(row, 0)?, parsed(row, 1)?))
    })?;
    let mut query = db.prepare("SELECT change FROM log WHERE run = ?1 ORDER BY seq")?;
    let log = query.query_map([signed(id)], |row| parsed(row, 0))?.collect::<Result<_>>()?;
    Ok(Some(Kept { run, texts, given, log }))
}

pub fn page(db: &Connection, id: u64, after: u64) -> Result<Option<Page>> {
    let Some(run) = one(db, signed(id))? else { return Ok(None) };
    let (given, result) = db.query_row("SELECT given, result FROM runs WHERE id = ?1", [signed(id)], |row| {
        let result: Option<String> = row.get(1)?;
        let result =
            result.map(|text| serde_json::from_str(&text).map_err(|error| unreadable(1, error))).transpose()?;
        Ok((parsed(row, 0)?, result))
    })?;
    let mut query = db.prepare("SELECT seq, time, change FROM log WHERE run = ?1 AND seq > ?2 ORDER BY seq")?;
    let mut rows = query.query(params![signed(id), signed(after)])?;
    let (mut log, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(2)?.as_str()?.len();
        if bytes > PAGE_BYTES && !log.is_empty() {
            more = true;
            break;
        }
        log.push(entry(row, 0)?);
    }
    Ok(Some(Page { run, given, result, log, more }))
}

pub fn list(db: &Connection, wanted: &Wanted) -> Result<Vec<Run>> {
    let text = format!(
        "SELECT {RUN} WHERE (?1 IS NULL OR workflow = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY id DESC LIMIT ?3"
    );
    let mut query = db.prepare(&text)?;
    query.query_map(params![wanted.workflow, wanted.state.map(RunState::name), wanted.limit], run)?.collect()
}

pub fn latest_of_each(db: &Connection) -> Result<Vec<Run>> {
    let mut query = db.prepare(&format!("SELECT {RUN} WHERE id IN (SELECT max(id) FROM runs GROUP BY workflow)"))?;
    query.query_map([], run)?.collect()
}

/// Appends, and returns the number of the last entry.
pub fn append(db: &mut Connection, id: u64, changes: &[Change]) -> Result<i64> {
    let made = db.transaction()?;
    put(&made, id, changes)?;
    let latest = latest(&made)?;
    made.commit()?;
    Ok(latest)
}

pub fn turn(db: &mut Connection, id: u64, from: &[RunState], changes: &[Change]) -> Result<Option<(Run, bool)>> {
    let made = db.transaction()?;
    let Some(run) = one(&made, signed(id))? else { return Ok(None) };
    if !from.contains(&run.state) {
        return Ok(Some((run, false)));
    }
    put(&made, id, changes)?;
    let run = one(&made, signed(id))?;
    made.commit()?;
    Ok(run.map(|run| (run, true)))
}

pub fn latest(db: &Connection) -> Result<i64> {
    db.query_row("SELECT coalesce(max(id), 0) FROM log", [], |row| row.get(0))
}

pub fn last_of(db: &Connection, run: u64) -> Result<u64> {
    let last = "SELECT coalesce(max(seq), 0) FROM log WHERE run = ?1";
    db.query_row(last, [signed(run)], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

pub fn place(db: &Connection, run: Option<u64>, seq: Option<u64>) -> Result<i64> {
    let (Some(run), Some(seq)) = (run, seq) else { return latest(db) };
    let known = "SELECT coalesce(max(id), 0) FROM log WHERE run = ?1 AND seq <= ?2";
    db.query_row(known, params![signed(run), signed(seq)], |row| row.get(0))
}

pub fn news(db: &Connection, run: Option<u64>, after: i64) -> Result<(Vec<RunEvent>, i64)> {
    let mut query = db.prepare(
        "SELECT log.id, run, workflow, seq, time, change FROM log JOIN runs ON runs.id = run
         WHERE log.id > ?1 AND (?2 IS NULL OR run = ?2) ORDER BY log.id",
    )?;
    let mut rows = query.query(params![after, run.map(signed)])?;
    let (mut events, mut bytes, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(5)?.as_str()?.len();
        if !events.is_empty() && (bytes > PAGE_BYTES || events.len() == NEWS) {
            break;
        }
        last = row.get(0)?;
        let run = RunId::of(row.get::<_, i64>(1)?.unsigned_abs());
        events.push(RunEvent { run, workflow: row.get(2)?, entry: entry(row, 3)? });
    }
    Ok((events, last))
}

/// A run that has come to rest; those that are no more kept are removed.
pub fn ended(db: &Connection, run: u64, runs: u32, days: u32) -> Result<Option<Run>> {
    let run = one(db, signed(run))?;
    forget(db, runs, days)?;
    Ok(run)
}

/// Removes runs at rest: all but so many, and those that came to it before so many days.
pub fn forget(db: &Connection, runs: u32, days: u32) -> Result<()> {
    db.execute(
        "DELETE FROM runs WHERE ended IS NOT NULL AND (datetime(ended) < datetime('now', ?1) OR id NOT IN
             (SELECT id FROM runs WHERE ended IS NOT NULL ORDER BY id DESC LIMIT ?2))",
        params![format!("-{days} days"), runs],
    )?;
    Ok(())
}

fn put(db: &Connection, id: u64, changes: &[Change]) -> Result<()> {
    for change in changes {
        match change {
            Change::Result(last, outputs) => {
                let result = json(&(last, outputs))?;
                db.execute("UPDATE runs SET result = ?2 WHERE id = ?1", params![signed(id), result])?;
            }
            Change::Entry(change) => {
                db.execute(
                    "INSERT INTO log (run, seq, time, change)
                     VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM log WHERE run = ?1), ?2, ?3)",
                    params![signed(id), now(), json(change)?],
                )?;
                told(db, id, change)?;
            }
        }
    }
    Ok(())
}

/// Keeps what is told of a run up to date with its log.
fn told(db: &Connection, id: u64, change: &RunChange) -> Result<()> {
    match change {
        RunChange::State { state, why } => {
            let ended = state.is_at_rest().then(now);
            db.execute(
                "UPDATE runs SET state = ?2, why = ?3, ended = ?4 WHERE id = ?1",
                params![signed(id), state.name(), why, ended],
            )?;
        }
        RunChange::Done { prompt_tokens, completion_tokens, cost_usd, .. } if prompt_tokens + completion_tokens > 0 => {
            // One unknown cost makes the sum unknown.
            db.execute(
                "UPDATE runs SET prompt_tokens = prompt_tokens + ?2, completion_tokens = completion_tokens + ?3,
                     cost = cost + ?4 WHERE id = ?1",
                params![signed(id), signed(*prompt_tokens), signed(*completion_tokens), cost_usd],
            )?;
        }
        _ => {}
    }
    Ok(())
}

fn one(db: &Connection, id: i64) -> Result<Option<Run>> {
    db.query_row(&format!("SELECT {RUN} WHERE id = ?1"), [id], run).optional()
}

fn run(row: &Row<'_>) -> Result<Run> {
    let number = |column| Ok::<u64, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
    let state: String = row.get(2)?;
    let state = RunState::ALL.into_iter().find(|known| known.name() == state);
    Ok(Run {
        run: RunId::of(number(0)?),
        workflow: row.get(1)?,
        state: state.ok_or_else(|| rusqlite::Error::InvalidColumnType(2, "state".into(), Type::Text))?,
        cause: row.get(3)?,
        why: row.get(4)?,
        created: row.get(5)?,
        ended: row.get(6)?,
        prompt_tokens: number(7)?,
        completion_tokens: number(8)?,
        cost_usd: row.get(9)?,
    })
}

fn entry(row: &Row<'_>, first: usize) -> Result<RunEntry> {
    let seq = row.get::<_, i64>(first)?.unsigned_abs();
    Ok(RunEntry { seq, time: row.get(first + 1)?, change: parsed(row, first + 2)? })
}

pub fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A number as `SQLite` has it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Now, to the millisecond.
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}
