//! The file of counts: one row for each day, provider, model and app.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use protocol::usage::MOST_DAYS;
use protocol::{ModelId, ProviderId};
use rusqlite::{Connection, Result, params};

use super::Used;

/// What the file looks like; its number stands in the file.
const VERSION: i64 = 1;
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS usage (
        day TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, app TEXT NOT NULL,
        requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (day, provider, model, app)
    ) STRICT, WITHOUT ROWID;";

/// Most rows of a day: an app that calls itself something else each time fills no disk.
const MOST_ROWS: i64 = 1000;

/// The file, open.
#[derive(Debug)]
pub(super) struct Store(Connection);

/// A row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub day: String,
    pub provider: ProviderId,
    pub model: ModelId,
    pub app: String,
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Store {
    /// Opens the file, or makes it, for its user alone.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SQLite would make it as the umask says. Whatever is wrong here SQLite says in its own words.
        let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let _ = std::fs::set_permissions(path, Permissions::from_mode(0o600));
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION {
            let words = format!("it is of a newer talkied (version {version})");
            return Err(rusqlite::Error::ToSqlConversionFailure(words.into()));
        }
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        let oldest = format!("-{MOST_DAYS} days");
        connection.execute("DELETE FROM usage WHERE day < date('now', ?1)", [oldest])?;
        Ok(Self(connection))
    }

    /// Adds a request.
    pub(super) fn count(&self, day: &str, used: &Used) -> Result<()> {
        let rows: i64 = self.0.query_row("SELECT count(*) FROM usage WHERE day = ?1", [day], |row| row.get(0))?;
        let app = if rows < MOST_ROWS { used.app.as_str() } else { "others" };
        self.0.execute(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)
             ON CONFLICT DO UPDATE SET requests = requests + 1,
                 prompt_tokens = prompt_tokens + excluded.prompt_tokens,
                 completion_tokens = completion_tokens + excluded.completion_tokens",
            params![day, used.provider.0, used.model.0, app, used.prompt_tokens, used.completion_tokens],
        )?;
        Ok(())
    }

    /// All rows from a day on.
    pub(super) fn since(&self, day: &str) -> Result<Vec<Count>> {
        let mut query = self.0.prepare("SELECT * FROM usage WHERE day >= ?1")?;
        let rows = query.query_map([day], |row| {
            Ok(Count {
                day: row.get(0)?,
                provider: ProviderId(row.get(1)?),
                model: ModelId(row.get(2)?),
                app: row.get(3)?,
                requests: number(row, 4)?,
                prompt_tokens: number(row, 5)?,
                completion_tokens: number(row, 6)?,
            })
        })?;
        rows.collect()
    }
}

fn number(row: &rusqlite::Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}
