//! A storm: many clients ask, cancel, hang up, stop reading and set deadlines, while engines are killed and models come and
//! go. Whoever was let alone gets what the engine says to it alone, and nothing is left behind.
//!
//! `TALKIE_CHAOS_SEED` repeats a storm, as far as the machine lets it; `TALKIE_CHAOS_MINUTES` has it last. The usual run
//! takes half a minute:
//!
//!     TALKIE_CHAOS_MINUTES=10 cargo test -p talkied-tests --test all -- chaos --nocapture

mod client;
mod count;
mod vandal;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use self::client::Client;
use self::count::Left;
use crate::support::model::Files;
use crate::support::{Daemon, Stalls, Start, until};

const CLIENTS: u64 = 20;

/// Most requests are for the first two. The first is never killed or unloaded, so that its engine's memory can be compared.
/// Of the last three only one fits beside the others, and makes another leave.
const MODELS: [&str; 5] = ["storm/steady", "storm/busy", "storm/rare", "storm/seldom", "storm/odd"];

/// How often each model's prompt is said back.
const REPEATS: usize = 20;

/// How soon the daemon notices that an engine was killed, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// What all threads of a storm share.
struct Storm<'a> {
    daemon: &'a Daemon,
    /// When nobody begins anything more.
    until: Instant,
    /// Engines that were killed: of which model, and when.
    kills: Mutex<Vec<(&'static str, Instant)>>,
    /// How often each thing happened.
    counts: Mutex<BTreeMap<&'static str, u32>>,
}

impl Storm<'_> {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Whether a kill is the reason of an error of a request that was begun then: its engine was killed since, or so often
    /// that it is left alone.
    fn explains(&self, model: &str, begun: Instant, error: &Value) -> bool {
        let kills = self.kills.lock().unwrap();
        let times: Vec<Instant> = kills.iter().filter(|(killed, _)| *killed == model).map(|(_, at)| *at).collect();
        let words = error["message"].as_str().unwrap_or_default();
        let is_left_alone = words.contains("several times in a row") && times.len() > 1;
        error["kind"] == "engine_lost" && (is_left_alone || times.iter().any(|at| *at + NOTICED_WITHIN >= begun))
    }
}

/// One model: how long its steps take, and how long its prompts.
fn model(token_ms: u64) -> impl FnOnce(&mut Files) {
    move |files| {
        files.config["fake"] = json!({ "token_ms": token_ms, "prefill_ms": 1, "prefill_chunk": 32, "repeat": REPEATS,
            "weight_bytes": 200, "token_bytes": 0, "load_step_ms": 5 });
    }
}

fn start() -> Daemon {
    // Three models fit.
    let start = Start::fake().args(&["--batch", "8", "--memory", "700"]);
    // What else this machine does may make it run short of memory, and then requests are refused.
    let calm = Stalls::none_in(&start.home());
    let start = start.args(&calm.option());
    MODELS.iter().zip([1, 2, 1, 0, 3]).fold(start, |start, (id, token_ms)| start.model(id, model(token_ms))).run()
}

/// Has it storm for so long; what happened how often.
fn storm(daemon: &Daemon, seed: u64, length: Duration) -> BTreeMap<&'static str, u32> {
    let storm = Storm { daemon, until: Instant::now() + length, kills: Mutex::default(), counts: Mutex::default() };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = Client::new(&storm, Rng::with_seed(seed ^ (number << 32)));
            scope.spawn(move || client.run());
        }
        scope.spawn(|| vandal::kill(&storm, Rng::with_seed(seed ^ (1 << 60))));
        scope.spawn(|| vandal::shift(&storm, Rng::with_seed(seed ^ (2 << 60))));
    });
    storm.counts.into_inner().unwrap()
}

fn status(daemon: &Daemon) -> Value {
    daemon.call("daemon.status", json!({})).unwrap()
}

/// Nothing waits or runs, and every model answers at once.
fn settles(daemon: &Daemon) {
    until("nothing runs", || status(daemon)["requests"].as_array().unwrap().is_empty());
    for resident in status(daemon)["residents"].as_array().unwrap() {
        let residency = &resident["residency"];
        let rest = [&residency["running"], &residency["waiting"], &residency["paused"]];
        assert!(rest.iter().all(|count| count.as_u64().unwrap_or(0) == 0), "{resident}");
    }
    for model in MODELS {
        let asked = Instant::now();
        let options = json!({ "max_tokens": 5 });
        // One that was killed twice in a row is left alone for some seconds.
        let mut answer = Err(Value::Null);
        until("it is started again", || {
            answer = daemon.call("generate.text", json!({ "model": model, "prompt": "fresh", "options": options }));
            !answer.as_ref().is_err_and(|error| error["data"]["kind"] == "engine_lost")
        });
        assert_eq!(answer.unwrap()["text"], "fresh", "{model}");
        assert!(asked.elapsed() < Duration::from_mins(1), "{model} answered after {:?}", asked.elapsed());
    }
}

fn seed() -> u64 {
    std::env::var("TALKIE_CHAOS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

/// How long a storm is.
struct Extent {
    round: Duration,
    rounds: u32,
    /// By how much memory may grow after the first round.
    most_percent: u64,
}

fn extent() -> Extent {
    match std::env::var("TALKIE_CHAOS_MINUTES") {
        Ok(minutes) => {
            let seconds = minutes.parse::<f64>().expect("a number") * 60.0;
            Extent { round: Duration::from_secs_f64(seconds / 10.0), rounds: 10, most_percent: 5 }
        }
        // A first round of seconds does not fill what is bounded, such as the log of events.
        Err(_) => Extent { round: Duration::from_millis(2500), rounds: 3, most_percent: 10 },
    }
}

#[test]
fn a_storm_changes_no_answer_and_leaves_nothing_behind() {
    let (seed, Extent { round: length, rounds, most_percent }) = (seed(), extent());
    eprintln!("TALKIE_CHAOS_SEED={seed}: {rounds} rounds of {length:?}, {CLIENTS} clients");
    let daemon = start();
    // What is opened for the first request stays open.
    settles(&daemon);
    let idle = Left::of(&daemon);
    let mut all: BTreeMap<&str, u32> = BTreeMap::new();
    let mut left = Vec::new();
    for round in 0..rounds {
        for (what, count) in storm(&daemon, seed.wrapping_add(u64::from(round)), length) {
            *all.entry(what).or_default() += count;
        }
        settles(&daemon);
        left.push(Left::of(&daemon));
        eprintln!("round {round}: {:?}", left[left.len() - 1]);
    }
    eprintln!("{all:?}");
    for what in ["cancels", "hang-ups", "pauses", "deadlines", "kills", "unloads", "answers"] {
        assert!(all.get(what).is_some_and(|count| *count > 0), "no {what} among {all:?}");
    }
    count::compare(&left, most_percent);
    count::returns(&daemon, &idle);
}
