//! What a storm leaves behind: memory, threads, files and connections.

use std::process::Command;

use serde_json::{Value, json};

use super::{MODELS, status};
use crate::support::{Daemon, until};

/// What a daemon and the engine that lives through a storm hold.
#[derive(Debug)]
pub struct Left {
    pub daemon_kib: u64,
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
        let engine = pid(&status(daemon)["residents"][0]).expect("the first model has a process");
        Self {
            daemon_kib: resident_kib(daemon.pid()),
            engine_kib: resident_kib(engine),
            threads: entries(daemon.pid(), "task"),
            files: entries(daemon.pid(), "fd"),
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

/// How many there are in a folder of Linux's; 0 elsewhere.
fn entries(pid: u32, folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count)
}

/// The first half of the rounds shows what allocators keep; at the end memory is no more than `most_percent` above that.
pub fn compare(left: &[Left], most_percent: u64) {
    let (early, late) = (&left[..left.len() / 2], &left[left.len() - 2..]);
    let most = |of: fn(&Left) -> u64| early.iter().map(of).max().unwrap();
    let least = |of: fn(&Left) -> u64| late.iter().map(of).min().unwrap();
    for (who, of) in [("daemon", (|left| left.daemon_kib) as fn(&Left) -> u64), ("engine", |left| left.engine_kib)] {
        let (before, after) = (most(of), least(of));
        eprintln!("{who}: {before} KiB after the first half, {after} KiB at the end");
        assert!(after * 100 <= before * (100 + most_percent), "the {who} grew from {before} to {after} KiB: {left:?}");
    }
}

/// Threads and files are no more than before the storm.
pub fn returns(daemon: &Daemon, idle: &Left) {
    assert!(entries(daemon.pid(), "fd") <= idle.files, "files are as many as before: {idle:?}");
    // Threads that wait for what may block live on for some seconds, and a few are there whenever something is looked at.
    until("threads are as before", || entries(daemon.pid(), "task") <= idle.threads + 2);
}
