//! How an answer is generated and how long its model stays.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::generate::is_default;

/// Most likeliest tokens whose log-probabilities are told.
const MOST_LOGPROBS: u32 = 20;

/// Most samples of one prompt: each has keys and values of its own.
const MOST_SAMPLES: u32 = 16;

/// Options of one generation. They never belong to a model: two apps with different options share one copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationOptions {
    /// How much the draw is spread, 0 to 5; 0 always takes the likeliest token.
    #[schemars(range(min = 0.0, max = 5.0))]
    pub temperature: f32,
    /// Keeps the smallest set of tokens that has this probability together, above 0 up to 1; 1 keeps all.
    #[schemars(range(max = 1.0))]
    pub top_p: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps tokens with at least this share of the likeliest token's probability, 0 to 1; 0 keeps all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: f32,
    /// How often the likeliest tokens are left out of a draw (XTC), 0 to 1; 0 never.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub xtc_probability: f32,
    /// Of the tokens above this probability, 0 to 0.5, XTC leaves only the least likely.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub xtc_threshold: f32,
    /// Most tokens to generate, at least 1.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// How many answers are drawn to the prompt, which is computed once: 1 to 16. Answer `i` is the one that the seed plus
    /// `i` gives by itself.
    #[schemars(range(min = 1, max = 16))]
    pub n: u32,
    /// Strings that end the answer and are not part of it, none empty, at most 16.
    pub stop_sequences: Vec<String>,
    /// Said to the model before the conversation. Not together with a message of role `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Divides the logits of the last 20 tokens, above 0 up to 10; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted once from the logits of the last 20 tokens, -10 to 10; 0 changes nothing.
    pub presence_penalty: f32,
    /// Subtracted from a logit for each time its token stands among the last 20, -10 to 10; 0 changes nothing.
    pub frequency_penalty: f32,
    /// Added to the logits of single tokens: token number to bias, -1000 to 1000, at most 1024 of them.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Tells the log-probability of each token, and of so many likeliest ones, 0 to 20; absent tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 20))]
    pub logprobs: Option<u32>,
    /// Keeps keys and values in 4 or 8 bits, which takes about a quarter or half of the memory of 16 and changes the answer a
    /// little; in the model's own type when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bits: Option<u32>,
    /// Whether next tokens are guessed and several computed in one step, which changes the time of an answer and not what it
    /// says.
    #[serde(skip_serializing_if = "is_default")]
    pub speculation: Speculation,
    /// Makes the answer reproducible on the same model and machine; drawn anew when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_p: 0.9,
            top_k: 0,
            min_p: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            max_tokens: 512,
            n: 1,
            stop_sequences: Vec::new(),
            system_prompt: None,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            logprobs: None,
            kv_bits: None,
            speculation: Speculation::Auto,
            seed: None,
        }
    }
}

impl GenerationOptions {
    /// The first option out of its range, in words.
    pub fn problem(&self) -> Option<String> {
        let ranges = [
            ("temperature", self.temperature, 0.0..=5.0),
            ("min_p", self.min_p, 0.0..=1.0),
            ("xtc_probability", self.xtc_probability, 0.0..=1.0),
            ("xtc_threshold", self.xtc_threshold, 0.0..=0.5),
            ("presence_penalty", self.presence_penalty, -10.0..=10.0),
            ("frequency_penalty", self.frequency_penalty, -10.0..=10.0),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                return Some(format!(
                    "options.{name} is {value}, but must lie in {} to {}",
                    range.start(),
                    range.end()
                ));
            }
        }
        for (name, value, most) in [("top_p", self.top_p, 1.0), ("repetition_penalty", self.repetition_penalty, 10.0)] {
            if !(value > 0.0 && value <= most) {
                return Some(format!("options.{name} is {value}, but must be above 0 and at most {most}"));
            }
        }
        if self.max_tokens == 0 {
            return Some("options.max_tokens is 0, but must be at least 1".into());
        }
        if !(1..=MOST_SAMPLES).contains(&self.n) {
            return Some(format!("options.n is {}, but must lie in 1 to {MOST_SAMPLES}", self.n));
        }
        if self.n > 1 && self.temperature == 0.0 {
            return Some(format!(
                "options.n is {}, but at options.temperature 0 all answers are alike; raise it, or ask for one",
                self.n
            ));
        }
        if let Some(bits) = self.kv_bits.filter(|bits| !matches!(bits, 4 | 8)) {
            return Some(format!("options.kv_bits is {bits}, but must be 4 or 8"));
        }
        if let Some(count) = self.logprobs.filter(|count| *count > MOST_LOGPROBS) {
            return Some(format!("options.logprobs is {count}, but must be at most {MOST_LOGPROBS}"));
        }
        if self.stop_sequences.len() > 16 {
            return Some(format!(
                "options.stop_sequences has {} entries, but 16 are the most",
                self.stop_sequences.len()
            ));
        }
        if self.stop_sequences.iter().any(String::is_empty) {
            return Some("options.stop_sequences has an empty entry, which would end every answer at once".into());
        }
        if self.logit_bias.len() > 1024 {
            return Some(format!("options.logit_bias has {} entries, but 1024 are the most", self.logit_bias.len()));
        }
        let bias = self.logit_bias.iter().find(|(_, bias)| !(-1000.0..=1000.0).contains(*bias));
        bias.map(|(token, bias)| {
            format!("options.logit_bias of token {token} is {bias}, but must lie in -1000 to 1000")
        })
    }
}

/// Where next tokens are guessed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Speculation {
    /// Where an engine can, in the way that pays best and as far as it pays, which it measures.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// As they followed in prompt and answer when the last tokens came before, whether that pays or not.
    Lookup,
    /// By the model's draft, whether that pays or not.
    Draft,
}

/// How long a model stays warm after its last request: seconds (`300`), a text (`"90s"`, `"5m"`, `"2h"`), or
/// `"forever"`; 0 unloads at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// For this long.
    For(Duration),
    /// Until it is unloaded or the daemon ends.
    Forever,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::For(Duration::from_mins(5))
    }
}

impl std::str::FromStr for KeepAlive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "" | "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        };
        let seconds = unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
        // A year is as good as forever, and keeps every deadline within what a clock can hold.
        let seconds = seconds.filter(|seconds| *seconds <= 365 * 86_400);
        seconds.map(|seconds| Self::For(Duration::from_secs(seconds))).ok_or_else(|| {
            format!(
                "keep_alive {text:?} is none of: seconds (300), \"90s\", \"5m\", \"2h\", up to a year, or \"forever\""
            )
        })
    }
}

impl std::fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::For(time) => write!(f, "{}s", time.as_secs()),
            Self::Forever => f.write_str("forever"),
        }
    }
}

impl Serialize for KeepAlive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::For(time) => serializer.serialize_u64(time.as_secs()),
            Self::Forever => serializer.serialize_str("forever"),
        }
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "keep_alive must be seconds or a text such as \"5m\" or \"forever\"")]
        enum Form {
            Seconds(u64),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Seconds(seconds) => seconds.to_string(),
            Form::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for KeepAlive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeepAlive".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How long a model stays warm: seconds, a text such as \"5m\", or \"forever\"; 0 unloads at once.",
            "oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^(forever|[0-9]+[smh]?)$"}],
        })
    }
}
