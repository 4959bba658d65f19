//! One of many clients: it asks, does or suffers something, and checks how each of its requests ends.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::{MODELS, REPEATS, Storm};
use crate::support::Connection;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing: it is answered.
    Alone,
    /// It is cancelled from another connection.
    Cancelled,
    /// Its client goes away.
    HungUp,
    /// Its client does not read for a while.
    Unread,
    /// It has so many milliseconds.
    Bounded(u64),
}

/// What is asked.
#[derive(Debug)]
struct Asked {
    model: &'static str,
    prompt: String,
    max_tokens: usize,
    samples: usize,
    fate: Fate,
    name: String,
    at: Instant,
}

impl Asked {
    /// What the engine says to it alone.
    fn answer(&self) -> String {
        let mut text = self.prompt.repeat(REPEATS);
        text.truncate(self.max_tokens);
        text
    }

    /// Why the engine ends it then.
    fn reason(&self) -> &'static str {
        if self.prompt.len() * REPEATS >= self.max_tokens { "length" } else { "stop" }
    }

    /// Whether what was to become of it is the reason of an error.
    fn explains(&self, error: &Value) -> bool {
        matches!(self.fate, Fate::Bounded(_)) && error["kind"] == "timeout"
    }

    fn params(&self, rng: &mut Rng) -> Value {
        let priority = ["background", "normal", "interactive"][rng.usize(..3)];
        let options = json!({ "max_tokens": self.max_tokens, "n": self.samples });
        let mut params = json!({ "model": self.model, "prompt": self.prompt, "priority": priority, "options": options,
            "trace_id": self.name });
        if let Fate::Bounded(ms) = self.fate {
            params["deadline_ms"] = ms.into();
        }
        params
    }
}

/// How a request ended, as its client saw it.
#[derive(Debug)]
enum End {
    /// With texts and reasons of all samples.
    Finished(Vec<(String, String)>),
    /// With an error's kind and words.
    Failed(Value),
}

pub struct Client<'a> {
    storm: &'a Storm<'a>,
    rng: Rng,
    asked: u32,
}

impl<'a> Client<'a> {
    pub fn new(storm: &'a Storm<'a>, rng: Rng) -> Self {
        Self { storm, rng, asked: 0 }
    }

    /// Asks one thing after the other until the storm is over.
    pub fn run(&mut self) {
        let mut connection = None;
        while self.storm.goes_on() {
            let mut own = connection.take().unwrap_or_else(|| self.storm.daemon.connect());
            let asked = self.draw();
            let end = if self.rng.bool() { self.stream(&mut own, &asked) } else { self.whole(&mut own, &asked) };
            // Who hangs up comes back on another connection.
            if let Some(end) = end {
                check(self.storm, &asked, &end);
                connection = Some(own);
            }
        }
    }

    fn draw(&mut self) -> Asked {
        let rng = &mut self.rng;
        let prompt: String = (0..rng.usize(1..150)).map(|_| rng.lowercase()).collect();
        let fate = match rng.u8(..10) {
            0 | 1 => Fate::Cancelled,
            2 => Fate::HungUp,
            3 => Fate::Unread,
            4 => Fate::Bounded(rng.u64(1..400)),
            _ => Fate::Alone,
        };
        let model = MODELS[[0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4][rng.usize(..12)]];
        let samples = if rng.u8(..4) == 0 { rng.usize(2..5) } else { 1 };
        self.asked += 1;
        let name = format!("{:x}-{}", rng.u64(..), self.asked);
        Asked { model, prompt, max_tokens: rng.usize(1..400), samples, fate, name, at: Instant::now() }
    }

    /// As a stream; `None` where the client hung up.
    fn stream(&mut self, connection: &mut Connection, asked: &Asked) -> Option<End> {
        let params = asked.params(&mut self.rng);
        if let Err(error) = connection.call("generate.stream", params) {
            return Some(End::Failed(error["data"].clone()));
        }
        let mut ends = vec![(String::new(), String::new()); asked.samples];
        let mut left = self.rng.usize(..asked.max_tokens + 3);
        let mut id = Value::Null;
        loop {
            let event = connection.event();
            let sample = event["sample"].as_u64().unwrap_or(0) as usize;
            match event["type"].as_str().unwrap() {
                "queued" => id = event["request_id"].clone(),
                "text" => ends[sample].0 += event["text"].as_str().unwrap(),
                "sample_finished" => event["finish_reason"].as_str().unwrap().clone_into(&mut ends[sample].1),
                "finished" => {
                    let reason = event["finish_reason"].as_str().unwrap();
                    assert!(asked.samples == 1 || ends[0].1 == reason, "{event}: {ends:?}");
                    reason.clone_into(&mut ends[0].1);
                    return Some(End::Finished(ends));
                }
                "failed" => return Some(End::Failed(event["error"].clone())),
                _ => {}
            }
            if left == 0 && self.strike(asked, &id) {
                return None;
            }
            left = left.wrapping_sub(1);
        }
    }

    /// As one call.
    fn whole(&mut self, connection: &mut Connection, asked: &Asked) -> Option<End> {
        let id = connection.request("generate.text", asked.params(&mut self.rng));
        if matches!(asked.fate, Fate::Cancelled | Fate::HungUp | Fate::Unread) {
            thread::sleep(Duration::from_millis(self.rng.u64(..200)));
            let name = self.id_of(asked);
            if self.strike(asked, &name) {
                return None;
            }
        }
        let line = connection.line().expect("an answer before the end");
        assert_eq!(line["id"], id, "{line}");
        if let Some(error) = line.get("error") {
            return Some(End::Failed(error["data"].clone()));
        }
        let result = &line["result"];
        let others = result["others"].as_array().into_iter().flatten();
        let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
        let all = std::iter::once(result).chain(others);
        Some(End::Finished(all.map(|value| (text(value, "text"), text(value, "finish_reason"))).collect()))
    }

    /// The daemon's name for a request that is under way.
    fn id_of(&self, asked: &Asked) -> Value {
        let status = super::status(self.storm.daemon);
        let mut requests = status["requests"].as_array().unwrap().iter();
        requests
            .find(|request| request["trace_id"] == asked.name.as_str())
            .map_or(Value::Null, |it| it["request_id"].clone())
    }

    /// Does to a request what is to become of it; true where its client goes away.
    fn strike(&mut self, asked: &Asked, id: &Value) -> bool {
        match asked.fate {
            Fate::Cancelled if id.is_string() => {
                let cancelled = self.storm.daemon.call("generate.cancel", json!({ "request_id": id })).unwrap();
                if cancelled["cancelled"] == true {
                    self.storm.count("cancels");
                }
            }
            Fate::HungUp => {
                self.storm.count("hang-ups");
                return true;
            }
            Fate::Unread => {
                self.storm.count("pauses");
                thread::sleep(Duration::from_millis(self.rng.u64(50..1500)));
            }
            Fate::Alone | Fate::Bounded(_) | Fate::Cancelled => {}
        }
        false
    }
}

/// Whether a request ended as it should have.
fn check(storm: &Storm, asked: &Asked, end: &End) {
    let finished = match end {
        End::Finished(samples) => samples,
        End::Failed(error) if asked.explains(error) => return storm.count("deadlines"),
        End::Failed(error) => {
            assert!(storm.explains(asked.model, asked.at, error), "{asked:?}: {error}");
            return storm.count("losses");
        }
    };
    assert_eq!(finished.len(), asked.samples, "{asked:?}: {finished:?}");
    let answer = asked.answer();
    for (text, reason) in finished {
        match (asked.fate, reason.as_str()) {
            (Fate::Cancelled, "cancelled") => {}
            (Fate::Bounded(_), "deadline") => storm.count("deadlines"),
            _ => {
                assert_eq!((text, reason.as_str()), (&answer, asked.reason()), "{asked:?}");
                storm.count("answers");
                continue;
            }
        }
        assert!(answer.starts_with(text), "{asked:?}: {text}");
    }
}
