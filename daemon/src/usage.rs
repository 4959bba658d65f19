//! Tokens that were used, by day, provider, model and app, and what they cost.
//!
//! One thread owns the file, a database of `SQLite`; a request leaves its count in a queue and goes on. A file that cannot be
//! used costs no request anything: `usage.get` says what is wrong.

mod prices;
mod store;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use protocol::usage::MOST_DAYS;
use protocol::{ErrorData, GetUsage, Kind, ModelId, ProviderId, UsageReport};
use tokio::sync::oneshot;

use crate::error::{internal, invalid};
use prices::Prices;
use store::Store;

/// Counts that may wait for the disk.
const WAITING: usize = 1024;

/// Longest name of an app that is kept, in bytes.
pub const LONGEST_APP: usize = 64;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Who answered.
    pub provider: ProviderId,
    /// With which model.
    pub model: ModelId,
    /// Who asked.
    pub app: String,
    /// Of the prompt.
    pub prompt_tokens: u32,
    /// Of the answer.
    pub completion_tokens: u32,
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    Used(Used),
    Get(GetUsage, oneshot::Sender<Result<UsageReport, ErrorData>>),
    Cost(Used, oneshot::Sender<Option<f64>>),
}

/// Counts tokens. Clones count into the same file; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Usage(SyncSender<Message>);

impl Usage {
    /// Counts into `usage.sqlite3` of a folder, with the prices there.
    pub fn start(home: &Path) -> Self {
        let (sender, messages) = sync_channel(WAITING);
        let home = home.to_path_buf();
        let started = thread::Builder::new().name("usage".into()).spawn(move || serve(&home, &messages));
        if let Err(error) = started {
            tracing::warn!("usage is not counted: {error}");
        }
        Self(sender)
    }

    /// Counts a request, if that can be done without waiting.
    pub fn count(&self, used: Used) {
        match self.0.try_send(Message::Used(used)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::warn!("the usage of a request was not counted: the disk is too slow");
            }
        }
    }

    /// What a request cost, in US dollars, by the prices of now; `None` where they are not known.
    pub async fn cost(&self, used: Used) -> Option<f64> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(Message::Cost(used, sender)).ok()?;
        answer.await.ok()?
    }

    /// What was used.
    pub async fn get(&self, request: GetUsage) -> Result<UsageReport, ErrorData> {
        if !(1..=MOST_DAYS).contains(&request.days) {
            return Err(invalid(format!("`days` is {}, but must lie in 1 to {MOST_DAYS}", request.days)));
        }
        let (sender, answer) = oneshot::channel();
        self.0.try_send(Message::Get(request, sender)).map_err(|_| internal("usage is not counted"))?;
        answer.await.map_err(|_| internal("usage is not counted"))?
    }
}

fn serve(home: &Path, messages: &Receiver<Message>) {
    let path = home.join("usage.sqlite3");
    let mut store: Option<Store> = None;
    for message in messages {
        let message = match message {
            Message::Cost(used, sender) => {
                // Who asked may have gone.
                let _ = sender.send(Prices::read(&home.join("prices.toml")).ok().and_then(|prices| prices.of(&used)));
                continue;
            }
            message => message,
        };
        // Opened when it is needed, and again when the disk has come back.
        let opened = match store.take() {
            Some(store) if path.exists() => Ok(store),
            _ => Store::open(&path),
        };
        let failed = |error: &rusqlite::Error| failed(&path, error);
        match (message, opened) {
            (Message::Used(used), Ok(open)) => {
                let counted = open.count(&today(), &used);
                store = kept(open, counted.map_err(|error| failed(&error)));
            }
            (Message::Used(_), Err(error)) => tracing::warn!("{}", failed(&error).message),
            (Message::Get(request, sender), Ok(open)) => {
                let report = report(&open, home, &request).map_err(|error| match error {
                    Wrong::Store(error) => failed(&error),
                    Wrong::Prices(error) => error,
                });
                store = Some(open);
                // Who asked may have gone.
                let _ = sender.send(report);
            }
            (Message::Get(_, sender), Err(error)) => drop(sender.send(Err(failed(&error)))),
            (Message::Cost(..), _) => {}
        }
    }
}

/// A store that failed is opened anew.
fn kept(store: Store, counted: Result<(), ErrorData>) -> Option<Store> {
    match counted {
        Ok(()) => Some(store),
        Err(error) => {
            tracing::warn!("{}", error.message);
            None
        }
    }
}

/// What a report may fail at.
enum Wrong {
    Store(rusqlite::Error),
    Prices(ErrorData),
}

fn report(store: &Store, home: &Path, request: &GetUsage) -> Result<UsageReport, Wrong> {
    let prices = Prices::read(&home.join("prices.toml")).map_err(Wrong::Prices)?;
    let since = jiff::Zoned::now().date().saturating_sub(jiff::Span::new().days(i64::from(request.days) - 1));
    let since = since.to_string();
    let counts = store.since(&since).map_err(Wrong::Store)?;
    Ok(prices.report(since, counts, &request.by))
}

fn failed(path: &Path, error: &rusqlite::Error) -> ErrorData {
    let words =
        format!("the counts of usage in {} cannot be used: {error}; remove the file to begin anew", path.display());
    ErrorData::new(Kind::StorageFailed, words)
}

/// Today in the daemon's time zone.
fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// What a program calls itself: the file that it was started from. Blocks for a moment.
pub fn program(pid: i32) -> Option<String> {
    let path = executable(pid)?;
    let name = path.file_name()?.to_string_lossy();
    let clean: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_APP).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(target_os = "linux")]
fn executable(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

#[cfg(not(target_os = "linux"))]
fn executable(pid: i32) -> Option<PathBuf> {
    let asked = std::process::Command::new("/bin/ps").args(["-o", "comm=", "-p", &pid.to_string()]).output().ok()?;
    let path = String::from_utf8(asked.stdout).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
