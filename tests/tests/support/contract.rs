//! What every provider does alike: the same calls, whoever answers.

use serde_json::{Value, json};

use super::{Daemon, text, until};

/// Who is asked, and what is known of it.
pub struct Contract<'a> {
    pub provider: &'a str,
    /// What answers; the provider's own choice when `None`.
    pub model: Option<&'a str>,
    /// Asked for a long answer it goes on for longer than a cancel takes.
    pub long: Value,
    /// Whether it refuses a model that it does not have. A server with one model may take every name for it.
    pub knows_its_models: bool,
    /// Whether it counts the tokens of a prompt.
    pub counts_prompts: bool,
}

const PROMPT: &str = "Count: one, two, three, four, five, six, seven, eight.";

impl Contract<'_> {
    /// Fails where the provider does not hold to it.
    pub fn holds(&self, daemon: &Daemon) {
        let whole = self.answers(daemon);
        self.streams_the_same(daemon, &whole);
        self.stops_before_a_stop_sequence(daemon, &whole);
        self.ends_at_the_limit(daemon, &whole);
        self.takes_a_conversation(daemon);
        self.refuses(daemon);
        self.is_cancelled(daemon);
        self.is_counted(daemon);
    }

    fn request(&self, more: &Value) -> Value {
        let mut request = json!({ "provider": self.provider, "app": "contract" });
        if let Some(model) = self.model {
            request["model"] = model.into();
        }
        for (field, value) in more.as_object().expect("an object") {
            request[field] = value.clone();
        }
        request
    }

    fn asked(&self, options: &Value) -> Value {
        let mut options = options.clone();
        options["temperature"] = 0.into();
        self.request(&json!({ "prompt": PROMPT, "options": options }))
    }

    fn answers(&self, daemon: &Daemon) -> String {
        let result = daemon.call("generate.text", self.asked(&json!({ "max_tokens": 16 }))).expect("an answer");
        assert_eq!(result["provider"], self.provider);
        assert!(matches!(result["finish_reason"].as_str(), Some("stop" | "length")), "{result}");
        let usage = &result["usage"];
        assert_eq!(usage["prompt_tokens"].as_u64() > Some(0), self.counts_prompts, "{result}");
        assert!(usage["completion_tokens"].as_u64() > Some(4), "{result}");
        assert!(result["timings"]["total_ms"].as_f64() > Some(0.0), "{result}");
        let whole = result["text"].as_str().expect("a text").to_owned();
        assert!(whole.trim().len() > 8, "{result}");
        whole
    }

    fn streams_the_same(&self, daemon: &Daemon, whole: &str) {
        let mut connection = daemon.connect();
        let queued = connection.stream(self.asked(&json!({ "max_tokens": 16 })));
        assert_eq!((&queued["type"], &queued["provider"]), (&json!("queued"), &json!(self.provider)));
        let events = connection.events_until("finished");
        assert_eq!(text(&events), whole);
        let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        let started = kinds.iter().position(|kind| *kind == "started").expect("it starts");
        assert!(kinds[..started].iter().all(|kind| *kind == "loading"), "{kinds:?}");
        assert!(kinds[started + 1..kinds.len() - 1].iter().all(|kind| *kind == "text"), "{kinds:?}");
        assert!(kinds.len() > started + 3, "it comes in pieces: {kinds:?}");
    }

    fn stops_before_a_stop_sequence(&self, daemon: &Daemon, whole: &str) {
        // A whole word: mlx-lm's server looks for the tokens of a stop sequence, not for its text.
        let words: Vec<&str> = whole.split(' ').collect();
        let stop = format!(" {}", words[words.len() / 2]);
        let options = json!({ "max_tokens": 16, "stop_sequences": [stop] });
        let result = daemon.call("generate.text", self.asked(&options)).expect("an answer");
        assert_eq!(result["finish_reason"], "stop", "{result}");
        let expected = whole.split(&stop).next().unwrap_or_default();
        let stopped = result["text"].as_str().expect("a text");
        // Some leave out spaces at the end.
        assert_eq!(stopped.trim_end(), expected.trim_end(), "stop {stop:?} of {whole:?}");
    }

    fn ends_at_the_limit(&self, daemon: &Daemon, whole: &str) {
        let result = daemon.call("generate.text", self.asked(&json!({ "max_tokens": 3 }))).expect("an answer");
        assert_eq!(result["finish_reason"], "length", "{result}");
        let cut = result["text"].as_str().expect("a text").trim_end();
        assert!(cut.len() < whole.len() && whole.starts_with(cut), "{cut:?} is no part of {whole:?}");
    }

    fn takes_a_conversation(&self, daemon: &Daemon) {
        let messages = json!([
            { "role": "system", "content": "You answer in one short sentence." },
            { "role": "user", "content": "What is the capital of France?" },
            { "role": "assistant", "content": "Paris is the capital of France." },
            { "role": "user", "content": "And of Italy?" },
        ]);
        let options = json!({ "temperature": 0, "max_tokens": 8 });
        let result = daemon.call("generate.text", self.request(&json!({ "messages": messages, "options": options })));
        assert!(!result.expect("an answer")["text"].as_str().expect("a text").is_empty());
    }

    fn refuses(&self, daemon: &Daemon) {
        let refused = |request: Value| daemon.call("generate.text", request).expect_err("it is refused");
        let both = self.request(&json!({ "prompt": "x", "options": { "top_p": 0 } }));
        assert_eq!(refused(both)["data"]["kind"], "invalid_params");
        if self.knows_its_models {
            let error = refused(self.request(&json!({ "prompt": "x", "model": "org/no-such-model" })));
            assert_eq!(error["data"]["kind"], "model_not_found", "{error}");
        }
    }

    fn is_cancelled(&self, daemon: &Daemon) {
        let mut connection = daemon.connect();
        let id = connection.stream(self.request(&self.long))["request_id"].clone();
        connection.events_until("text");
        let cancelled = daemon.call("generate.cancel", json!({ "request_id": id })).expect("a result");
        assert_eq!(cancelled["cancelled"], true);
        let finished = connection.event_of("finished");
        assert_eq!(finished["finish_reason"], "cancelled");
        until("it no longer runs", || {
            daemon.call("daemon.status", json!({})).expect("a status")["requests"] == json!([])
        });
    }

    fn is_counted(&self, daemon: &Daemon) {
        let report = daemon.call("usage.get", json!({})).expect("a report");
        let mut rows = report["rows"].as_array().expect("a list").iter();
        let row = rows.find(|row| row["provider"] == self.provider && row["app"] == "contract");
        assert!(row.is_some_and(|row| row["requests"].as_u64() >= Some(5)), "{report}");
    }
}
