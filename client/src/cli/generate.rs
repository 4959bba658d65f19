//! What can be typed behind `talkiectl generate`, and of it what `chat` and `run` take too; and what it is on the wire.
//!
//! Called by [`super`]; defaults come from the contract, so that the help cannot lie about them.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;
use protocol::{GenerationOptions, KeepAlive, Reasoning, Speculation, Tier, ToolChoice};

use super::turn::Turn;
use crate::complete;

/// The prompt and how to answer it.
#[derive(Debug, Args)]
pub struct Generate {
    /// The prompt; `-` reads it from standard input. Piped input is put behind a prompt given here
    pub prompt: Option<String>,
    /// Whom to ask and how.
    #[command(flatten)]
    pub asked: Asked,
    /// What the model may call.
    #[command(flatten)]
    pub tools: Tools,
    /// What only programs can take.
    #[command(flatten)]
    pub draws: Draws,
}

/// Whom to ask, and how the answer is made and shown.
#[derive(Debug, Args)]
pub struct Asked {
    /// Which model [default: the one in memory, else the only one on disk]
    #[arg(short, long, value_name = "ID", add = ArgValueCandidates::new(complete::installed))]
    pub model: Option<String>,
    /// Who is to answer [default: who has the model, else the first that can]
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(complete::providers))]
    pub provider: Option<String>,
    /// Choose provider and model by cost: budget, balanced or capable
    #[arg(long, value_name = "TIER", value_parser = tier, conflicts_with_all = ["model", "provider"])]
    pub tier: Option<Tier>,
    /// Ask the next provider if one fails before its first word
    #[arg(long)]
    pub fallback: bool,
    /// Said to the model before the prompt
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// Keep the model warm this long afterwards: 90s, 5m, 2h, forever
    #[arg(long, value_name = "TIME")]
    pub keep_alive: Option<KeepAlive>,
    /// Your own name for the request, shown by `ps` and in logs
    #[arg(long, value_name = "TEXT")]
    pub trace_id: Option<String>,
    /// Print times and token counts on standard error afterwards
    #[arg(long)]
    pub stats: bool,
    /// What the answer must match.
    #[command(flatten)]
    pub format: Format,
    /// Whether the model thinks aloud.
    #[command(flatten)]
    pub thought: Thought,
    /// Whose turn it is.
    #[command(flatten)]
    pub turn: Turn,
    /// How to draw the tokens.
    #[command(flatten)]
    pub sampling: Sampling,
}

/// A tier by its name on the wire.
fn tier(name: &str) -> Result<Tier, String> {
    serde_json::from_value(name.into()).map_err(|_| "there are budget, balanced and capable".into())
}

/// How tokens are guessed, by its name on the wire.
fn speculation(name: &str) -> Result<Speculation, String> {
    serde_json::from_value(name.into()).map_err(|_| "there are auto, off, lookup and draft".into())
}

/// What the model may call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tools and reasoning")]
pub struct Tools {
    /// Let the model call the tools in this file, a JSON list; calls are printed as `name({…})`
    #[arg(id = "tools", long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whether it calls them: auto, none, required, or the name of one [default: auto]
    #[arg(long, value_name = "CHOICE", requires = "tools")]
    tool_choice: Option<String>,
}

impl Tools {
    /// The choice on the wire.
    pub fn choice(&self) -> ToolChoice {
        match self.tool_choice.as_deref() {
            None | Some("auto") => ToolChoice::Auto,
            Some("none") => ToolChoice::None,
            Some("required") => ToolChoice::Required,
            Some(name) => ToolChoice::Named(name.to_owned()),
        }
    }

    /// These, or those of `base` where none are named.
    pub fn over(self, base: Self) -> Self {
        let (file, tool_choice) =
            if self.file.is_some() { (self.file, self.tool_choice) } else { (base.file, base.tool_choice) };
        Self { file, tool_choice }
    }
}

/// Whether the model thinks aloud, and whether that is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tools and reasoning")]
pub struct Thought {
    /// Have the model answer at once, where it can
    #[arg(long)]
    no_reasoning: bool,
    /// Do not print what the model reasons, which goes to standard error
    #[arg(long)]
    pub hide_reasoning: bool,
}

impl Thought {
    /// Whether the model may reason, on the wire.
    pub fn reasoning(&self) -> Reasoning {
        if self.no_reasoning { Reasoning::Off } else { Reasoning::Auto }
    }
}

/// What the answer must match: one of these at most, and no `--stop`, which would cut it.
#[derive(Debug, Args)]
#[group(multiple = false, conflicts_with = "stop")]
#[command(next_help_heading = "Format")]
pub struct Format {
    /// Answer with JSON that the JSON schema in this file allows
    #[arg(long, value_name = "FILE")]
    pub json_schema: Option<PathBuf>,
    /// Answer with a JSON object
    #[arg(long)]
    pub json_object: bool,
    /// Answer with a text that this regular expression matches as a whole
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub regex: Option<String>,
    /// Answer with a text that the Lark grammar in this file derives
    #[arg(long, value_name = "FILE")]
    pub lark: Option<PathBuf>,
}

/// How to draw the tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    #[arg(short, long, value_name = "X", allow_negative_numbers = true, help = defaulted("Spread of the draw, 0 to 5; 0 takes the likeliest token", defaults().temperature))]
    temperature: Option<f32>,
    #[arg(long, value_name = "P", allow_negative_numbers = true, help = defaulted("Keep the smallest set of tokens with this probability together", defaults().top_p))]
    top_p: Option<f32>,
    #[arg(long, value_name = "N", help = defaulted("Keep this many of the likeliest tokens; 0 keeps all", defaults().top_k))]
    top_k: Option<u32>,
    #[arg(long, value_name = "P", allow_negative_numbers = true, help = defaulted("Keep tokens with this share of the likeliest one's probability", defaults().min_p))]
    min_p: Option<f32>,
    #[arg(short = 'n', long, value_name = "N", help = defaulted("Most tokens to generate", defaults().max_tokens))]
    max_tokens: Option<u32>,
    /// Make the answer reproducible [default: drawn anew]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End the answer where this text would come; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    #[arg(long, value_name = "X", allow_negative_numbers = true, help = defaulted("Divide the logits of recent tokens; 1 changes nothing", defaults().repetition_penalty))]
    repetition_penalty: Option<f32>,
    #[arg(long, value_name = "X", allow_negative_numbers = true, help = defaulted("Subtract this from recent tokens once; 0 changes nothing", defaults().presence_penalty))]
    presence_penalty: Option<f32>,
    #[arg(long, value_name = "X", allow_negative_numbers = true, help = defaulted("Subtract this from recent tokens for each time they came", defaults().frequency_penalty))]
    frequency_penalty: Option<f32>,
    #[arg(long, value_name = "P", allow_negative_numbers = true, help = defaulted("Leave the likeliest tokens out of this share of the draws (XTC)", defaults().xtc_probability))]
    xtc_probability: Option<f32>,
    #[arg(long, value_name = "P", allow_negative_numbers = true, help = defaulted("Let XTC leave only the least likely token above this probability", defaults().xtc_threshold))]
    xtc_threshold: Option<f32>,
    /// Keep keys and values in 4 or 8 bits, which saves memory and costs some accuracy
    #[arg(long, value_name = "BITS")]
    kv_bits: Option<u32>,
    #[arg(long, value_name = "HOW", value_parser = speculation, help = "Guess next tokens and compute several at once: where that pays (auto), never (off), from prompt and answer wherever they repeat (lookup), or by the model's draft (draft) [default: auto]")]
    speculation: Option<Speculation>,
}

/// What has no form in words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Draws {
    /// Draw N answers to the prompt, each with its own number in the events
    #[arg(long, value_name = "N", default_value_t = defaults().n, requires = "json")]
    samples: u32,
    /// Tell the log-probability of each token and of the N likeliest
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<u32>,
}

impl Default for Draws {
    fn default() -> Self {
        Self { samples: defaults().n, logprobs: None }
    }
}

fn defaults() -> GenerationOptions {
    GenerationOptions::default()
}

/// A help text with what holds where nothing is said.
fn defaulted(help: &str, value: impl std::fmt::Display) -> String {
    format!("{help} [default: {value}]")
}

impl Asked {
    /// The options on the wire.
    pub fn options(&self, draws: &Draws) -> GenerationOptions {
        let (sampling, defaults) = (&self.sampling, defaults());
        GenerationOptions {
            temperature: sampling.temperature.unwrap_or(defaults.temperature),
            top_p: sampling.top_p.unwrap_or(defaults.top_p),
            top_k: sampling.top_k.unwrap_or(defaults.top_k),
            min_p: sampling.min_p.unwrap_or(defaults.min_p),
            max_tokens: sampling.max_tokens.unwrap_or(defaults.max_tokens),
            stop_sequences: sampling.stop.clone(),
            system_prompt: self.system.clone(),
            repetition_penalty: sampling.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            presence_penalty: sampling.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: sampling.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            xtc_probability: sampling.xtc_probability.unwrap_or(defaults.xtc_probability),
            xtc_threshold: sampling.xtc_threshold.unwrap_or(defaults.xtc_threshold),
            logit_bias: defaults.logit_bias,
            logprobs: draws.logprobs,
            n: draws.samples,
            kv_bits: sampling.kv_bits,
            speculation: sampling.speculation.unwrap_or_default(),
            seed: sampling.seed,
        }
    }

    /// What is said here, and elsewhere what `base` says. A format, tools or a choice of who answers is taken whole.
    pub fn over(self, base: Self) -> Self {
        let chooses = self.model.is_some() || self.provider.is_some() || self.tier.is_some();
        let whom =
            if chooses { (self.model, self.provider, self.tier) } else { (base.model, base.provider, base.tier) };
        Self {
            model: whom.0,
            provider: whom.1,
            tier: whom.2,
            fallback: self.fallback || base.fallback,
            system: self.system.or(base.system),
            keep_alive: self.keep_alive.or(base.keep_alive),
            trace_id: self.trace_id.or(base.trace_id),
            stats: self.stats || base.stats,
            format: if self.format.is_free() { base.format } else { self.format },
            thought: Thought {
                no_reasoning: self.thought.no_reasoning || base.thought.no_reasoning,
                hide_reasoning: self.thought.hide_reasoning || base.thought.hide_reasoning,
            },
            turn: self.turn.over(base.turn),
            sampling: self.sampling.over(base.sampling),
        }
    }
}

impl Format {
    /// Whether anything may be answered.
    fn is_free(&self) -> bool {
        self.json_schema.is_none() && !self.json_object && self.regex.is_none() && self.lark.is_none()
    }
}

impl Sampling {
    fn over(self, base: Self) -> Self {
        Self {
            temperature: self.temperature.or(base.temperature),
            top_p: self.top_p.or(base.top_p),
            top_k: self.top_k.or(base.top_k),
            min_p: self.min_p.or(base.min_p),
            max_tokens: self.max_tokens.or(base.max_tokens),
            seed: self.seed.or(base.seed),
            stop: if self.stop.is_empty() { base.stop } else { self.stop },
            repetition_penalty: self.repetition_penalty.or(base.repetition_penalty),
            presence_penalty: self.presence_penalty.or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.or(base.frequency_penalty),
            xtc_probability: self.xtc_probability.or(base.xtc_probability),
            xtc_threshold: self.xtc_threshold.or(base.xtc_threshold),
            kv_bits: self.kv_bits.or(base.kv_bits),
            speculation: self.speculation.or(base.speculation),
        }
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
