//! Fetches what the board lacks: several connections, each with a claim of its own, and a thread that hashes behind them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Claim, Unhashed};
use super::error::PullError;
use super::hub::{Hub, Remote};
use super::rate::{Limit, wait};
use super::store::{SEGMENT, Store};
use crate::library::manifest::Hasher;

/// Bytes that are hashed at a time.
const PIECE: u64 = 4 << 20;

/// Between two times that what was written is made to last.
const SYNC: Duration = Duration::from_secs(5);

/// How a download is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Ways {
    /// Connections at a time.
    pub connections: usize,
    /// How long nothing may have come, with failures, before it is given up.
    pub give_up: Duration,
}

/// What those who fetch, those who hash and those who look on share.
#[derive(Debug)]
pub struct Shared {
    /// Held for one look or note alone.
    board: Mutex<Board>,
    /// For the thread that hashes.
    more: Condvar,
    /// For connections without a claim.
    free: Notify,
    trouble: Mutex<Trouble>,
    /// Ends everybody.
    stop: CancellationToken,
}

/// What went wrong last, and how long ago something went well.
#[derive(Debug)]
struct Trouble {
    last_byte: Instant,
    /// The failure of an attempt, and when it is repeated.
    attempt: Option<(PullError, Instant)>,
    /// What ended the download.
    fatal: Option<PullError>,
}

impl Shared {
    /// A download that may be ended by `stop`.
    pub fn new(board: Board, stop: CancellationToken) -> Self {
        let trouble = Trouble { last_byte: Instant::now(), attempt: None, fatal: None };
        let (board, trouble) = (Mutex::new(board), Mutex::new(trouble));
        Self { board, more: Condvar::new(), free: Notify::new(), trouble, stop }
    }

    /// The board, for one look.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure that is about to be repeated.
    pub fn attempt(&self) -> Option<(PullError, Instant)> {
        self.trouble().attempt.clone()
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: PullError) {
        self.trouble().fatal.get_or_insert(error);
        self.stop.cancel();
        self.wake();
    }

    fn wake(&self) {
        self.free.notify_waiters();
        self.more.notify_all();
    }

    fn went_well(&self) {
        let mut trouble = self.trouble();
        trouble.last_byte = Instant::now();
        trouble.attempt = None;
    }
}

/// Fetches and hashes the first `files` files of the board.
pub async fn transfer(
    shared: &Arc<Shared>,
    store: &Arc<Store>,
    hub: &Hub,
    remote: Remote<'_>,
    limit: &Limit,
    ways: Ways,
    files: usize,
) -> Result<(), PullError> {
    shared.board().open(files);
    shared.went_well();
    let checker = {
        let (shared, store) = (Arc::clone(shared), Arc::clone(store));
        thread::Builder::new().name("pull-hash".into()).spawn(move || check(&shared, &store))
    };
    let checker = checker.map_err(|error| PullError::storage("start a thread for", &store.model(), &error))?;
    let connections = (0..ways.connections).map(|_| connection(shared, hub, remote, limit, ways));
    let fetch = futures_util::future::join_all(connections);
    tokio::pin!(fetch);
    let mut ticks = tokio::time::interval(SYNC);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut fetch => break,
            _ = ticks.tick() => sync(shared).await,
        }
    }
    sync(shared).await;
    shared.wake();
    if checker.join().is_err() {
        shared.fail(PullError::Storage { action: "verify", path: store.model(), problem: "hashing panicked".into() });
    }
    match shared.trouble().fatal.clone() {
        Some(error) => Err(error),
        None if shared.stop.is_cancelled() => Err(PullError::Stopped),
        None => Ok(()),
    }
}

/// One connection: fetches claim after claim until all is there and right.
async fn connection(shared: &Shared, hub: &Hub, remote: Remote<'_>, limit: &Limit, ways: Ways) {
    let mut failures = 0;
    while !shared.stop.is_cancelled() {
        // Before the look, so that what is freed after it is not missed.
        let freed = shared.free.notified();
        let claim = {
            let mut board = shared.board();
            if board.is_done() {
                return;
            }
            board.claim()
        };
        let Some(claim) = claim else {
            tokio::select! {
                () = freed => {}
                () = shared.stop.cancelled() => {}
            }
            continue;
        };
        let fetched = tokio::select! {
            fetched = fetch(shared, hub, remote, limit, &claim) => fetched,
            () = shared.stop.cancelled() => Err(PullError::Stopped),
        };
        shared.board().release(&claim);
        shared.wake();
        match fetched {
            Ok(()) => failures = 0,
            Err(error) if error.is_transient() => {
                // Bytes that came before the failure make it the first one again.
                let since = shared.trouble().last_byte.elapsed();
                failures = if since < Duration::from_secs(1) { 1 } else { failures + 1 };
                if since > ways.give_up {
                    return shared.fail(error);
                }
                pause(shared, error, failures).await;
            }
            Err(PullError::Stopped) => return,
            Err(error) => return shared.fail(error),
        }
    }
}

/// Waits before the next attempt.
async fn pause(shared: &Shared, error: PullError, failures: u32) {
    let random = RandomState::new().hash_one(failures) % 1000;
    let wait = wait(failures, error.retry_after(), random as f64 / 1000.0);
    tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "an attempt to download failed");
    shared.trouble().attempt = Some((error, Instant::now() + wait));
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shared.stop.cancelled() => {}
    }
}

/// Fetches what was claimed, or as much as comes.
async fn fetch(shared: &Shared, hub: &Hub, remote: Remote<'_>, limit: &Limit, claim: &Claim) -> Result<(), PullError> {
    let file = Remote { path: &claim.path, size: claim.size, ..remote };
    let mut bytes = hub.bytes(file, claim.from, claim.to).await?;
    if bytes.is_whole && (claim.from, claim.to) != (0, claim.size) {
        // That is taken by one connection for the whole file.
        shared.board().comes_in_one_piece(claim.file);
        return Ok(());
    }
    let mut at = claim.from;
    while at < claim.to {
        let Some(piece) = bytes.next().await? else {
            let problem = format!("ended {} after {at} of {} bytes", claim.path, claim.size);
            return Err(PullError::Odd { host: "the hub".into(), problem });
        };
        let piece = &piece[..piece.len().min((claim.to - at) as usize)];
        store(shared, claim, at, piece)?;
        at += piece.len() as u64;
        shared.went_well();
        let changed = limit.changed();
        let wait = limit.take(piece.len(), Instant::now());
        if !wait.is_zero() {
            // Nothing is lost with the one that is dropped.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }
    Ok(())
}

/// Puts bytes in their place; those that are there already are left as they are.
fn store(shared: &Shared, claim: &Claim, mut at: u64, mut bytes: &[u8]) -> Result<(), PullError> {
    while !bytes.is_empty() {
        let (part, segment, written, length) = shared.board().place(claim.file, at);
        let inside = at - segment as u64 * SEGMENT;
        let here = bytes.len().min((length - inside) as usize);
        let (now, rest) = bytes.split_at(here);
        let there = written.saturating_sub(inside).min(here as u64);
        let new = &now[there as usize..];
        if there > 0 {
            shared.board().note_again(there);
        }
        if !new.is_empty() {
            let written = part.write(segment, written, new);
            let written = written.map_err(|error| PullError::storage("write", claim.path.as_ref(), &error))?;
            shared.board().note(claim.file, segment, written);
            shared.more.notify_all();
        }
        (at, bytes) = (at + here as u64, rest);
    }
    Ok(())
}

/// Makes what was written last through a failure of the machine. A failure here shows at the next write.
async fn sync(shared: &Shared) {
    let unsynced = shared.board().unsynced();
    let synced =
        tokio::task::spawn_blocking(move || unsynced.iter().try_for_each(|(part, written)| part.sync(written)));
    if let Ok(Err(error)) = synced.await {
        tracing::warn!(%error, "a download cannot be made to last");
    }
}

/// Hashes what comes until all is right, or nobody waits for it.
fn check(shared: &Shared, store: &Store) {
    let mut hashers: Vec<(usize, Hasher)> = Vec::new();
    loop {
        let next = {
            let mut board = shared.board();
            loop {
                if shared.stop.is_cancelled() || board.is_done() {
                    drop(board);
                    return shared.wake();
                }
                if let Some(next) = board.unhashed() {
                    break next;
                }
                // The time limit is for a stop, which wakes nobody here.
                let waited = shared.more.wait_timeout(board, Duration::from_millis(100));
                board = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        if let Err(error) = hash(shared, store, &next, &mut hashers) {
            return shared.fail(error);
        }
    }
}

fn hash(shared: &Shared, store: &Store, next: &Unhashed, hashers: &mut Vec<(usize, Hasher)>) -> Result<(), PullError> {
    let size = next.fact.size;
    let failed = |action| move |error: io::Error| PullError::storage(action, next.fact.path.as_ref(), &error);
    if next.from == 0 {
        hashers.retain(|(file, _)| *file != next.file);
        hashers.push((next.file, next.fact.hash.hasher(size)));
    }
    let place = hashers.iter().position(|(file, _)| *file == next.file).expect("pushed with its first byte");
    let to = next.to.min(next.from + PIECE);
    let mut bytes = vec![0; (to - next.from) as usize];
    next.part.read_at(&mut bytes, next.from).map_err(failed("read"))?;
    hashers[place].1.update(&bytes);
    if to < size {
        shared.board().hashed(next.file, to);
        return Ok(());
    }
    if hashers.remove(place).1.finish() == next.fact.hash {
        next.part.verified().map_err(failed("write"))?;
        shared.board().verified(next.file);
    } else {
        tracing::warn!(path = next.fact.path, "came with wrong bytes, and is fetched again");
        let part = store.drop_part(&next.fact)?;
        shared.board().damaged(next.file, part)?;
    }
    shared.wake();
    Ok(())
}
