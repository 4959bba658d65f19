//! What a storm leaves behind: memory, threads, files and connections.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MODELS, status};
use crate::support::{Daemon, until};

/// For so long nothing more is given back: longer than a thread waits for what may block, and than the daemon waits after a
/// model has left.
const RESTS_AFTER: Duration = Duration::from_secs(3);

/// Memory of which it is no matter whether it is given back: the system counts loosely.
const SMALL_KIB: u64 = 64;

/// What a daemon and the engine that lives through a storm hold.
#[derive(Debug)]
pub struct Left {
    pub daemon_kib: u64,
    /// Of it, what is in no file, where the system tells.
    pub own_kib: u64,
    /// Of the first model.
    pub engine_kib: u64,
    /// Where the system tells.
    pub threads: usize,
    pub files: usize,
}

impl Left {
    /// Of a daemon in which nothing but the first model stays.
    pub fn of(daemon: &Daemon) -> Self {
        daemon.call("models.load", json!({ "model": MODELS[0] })).unwrap();
        for model in &MODELS[1..] {
            until("it can be unloaded", || daemon.call("models.unload", json!({ "model": model })).is_ok());
        }
        until("they are gone", || status(daemon)["residents"].as_array().unwrap().len() == 1);
        // The one that asks.
        until("connections are closed", || status(daemon)["connections"] == 1);
        rests(daemon);
        let engine = pid(&status(daemon)["residents"][0]).expect("the first model has a process");
        Self {
            daemon_kib: resident_kib(daemon.pid()),
            own_kib: own_kib(daemon.pid()),
            engine_kib: resident_kib(engine),
            threads: entries(daemon.pid(), "task"),
            files: entries(daemon.pid(), "fd"),
        }
    }
}

/// Waits until it gives nothing more back: threads that waited for what may block, with their stacks and what an allocator
/// keeps for each, and memory that is free.
fn rests(daemon: &Daemon) {
    let look = || (resident_kib(daemon.pid()), entries(daemon.pid(), "task"));
    let (mut least, mut since) = (look(), Instant::now());
    while since.elapsed() < RESTS_AFTER {
        thread::sleep(Duration::from_millis(100));
        let now = look();
        if now.0 + SMALL_KIB < least.0 || now.1 < least.1 {
            (least, since) = (now, Instant::now());
        }
    }
}

/// The process of a resident.
pub fn pid(resident: &Value) -> Option<u32> {
    resident["residency"]["pid"].as_u64().map(|pid| pid as u32)
}

/// Memory of a process, as Linux and macOS tell it.
fn resident_kib(pid: u32) -> u64 {
    let output = Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("ps tells a number")
}

/// Memory of a process that is in no file, as Linux tells it; 0 elsewhere.
fn own_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

/// How many there are in a folder of Linux's; 0 elsewhere.
fn entries(pid: u32, folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count)
}

/// At the end memory is no more than `most_percent` above what it was after the first round. That is a storm too: only then
/// has every path been taken once, each page of the program that it needs been read, and an allocator what it needs for so
/// many at a time. A daemon that has just started has nothing of all that.
///
/// Most of the daemon's is its own program, as a file; what is in none may grow by three times that, for it is little.
pub fn compare(left: &[Left], most_percent: u64) {
    let holds = |who: &str, of: fn(&Left) -> u64, most_percent: u64| {
        let (before, after) = (of(&left[0]), left[left.len() - 2..].iter().map(of).min().unwrap());
        eprintln!("{who}: {before} KiB after the first round, {after} KiB at the end");
        assert!(after * 100 <= before * (100 + most_percent), "{who} grew from {before} to {after} KiB: {left:?}");
    };
    holds("the daemon", |left| left.daemon_kib, most_percent);
    holds("the daemon without files", |left| left.own_kib, 3 * most_percent);
    holds("the engine", |left| left.engine_kib, most_percent);
}

/// Threads and files are no more than before the storm.
pub fn returns(daemon: &Daemon, idle: &Left) {
    assert!(entries(daemon.pid(), "fd") <= idle.files, "files are as many as before: {idle:?}");
    // Threads that wait for what may block live on for some seconds, and a few are there whenever something is looked at.
    until("threads are as before", || entries(daemon.pid(), "task") <= idle.threads + 2);
}
