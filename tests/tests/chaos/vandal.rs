//! Who kills engines, and who has models come and go.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::count::pid;
use super::{MODELS, Storm, status};

/// Kills the engine of a model other than the first, now and then.
pub fn kill(storm: &Storm, mut rng: Rng) {
    while rest(storm, &mut rng, 300..1500) {
        let now = status(storm.daemon);
        let model = MODELS[rng.usize(1..MODELS.len())];
        let Some(resident) = now["residents"].as_array().unwrap().iter().find(|it| it["id"] == model) else {
            continue;
        };
        let Some(pid) = pid(resident).and_then(|pid| Pid::from_raw(pid as i32)) else { continue };
        storm.kills.lock().unwrap().push((model, Instant::now()));
        // It may have been unloaded meanwhile.
        if kill_process(pid, Signal::KILL).is_ok() {
            storm.count("kills");
        }
    }
}

/// Loads and unloads models other than the first.
pub fn shift(storm: &Storm, mut rng: Rng) {
    while rest(storm, &mut rng, 20..200) {
        let model = MODELS[rng.usize(1..MODELS.len())];
        let asked = Instant::now();
        let (what, method) = if rng.bool() { ("loads", "models.load") } else { ("unloads", "models.unload") };
        match storm.daemon.call(method, json!({ "model": model })) {
            Ok(_) => storm.count(what),
            Err(error) if error["data"]["kind"] == "model_in_use" && what == "unloads" => {}
            Err(error) => assert!(storm.explains(model, asked, &error["data"]), "{method} {model}: {error}"),
        }
    }
}

/// Waits for a while; false when the storm is over.
fn rest(storm: &Storm, rng: &mut Rng, ms: std::ops::Range<u64>) -> bool {
    thread::sleep(Duration::from_millis(rng.u64(ms)));
    storm.goes_on()
}
