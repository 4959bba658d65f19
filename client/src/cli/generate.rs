//! What can be typed behind `talkiectl generate`, and what it is on the wire.
//!
//! Called by [`super`]; defaults come from the contract, so that the help cannot lie about them.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;
use protocol::{GenerationOptions, KeepAlive, Reasoning, Tier, ToolChoice};

use crate::complete;

/// The prompt and how to answer it.
#[derive(Debug, Args)]
pub struct Generate {
    /// The prompt; `-` reads it from standard input. Piped input is put behind a prompt given here
    pub prompt: Option<String>,
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
    /// What the model may do beside answering.
    #[command(flatten)]
    pub tools: Tools,
    /// How to draw the tokens.
    #[command(flatten)]
    pub sampling: Sampling,
}

/// A tier by its name on the wire.
fn tier(name: &str) -> Result<Tier, String> {
    serde_json::from_value(name.into()).map_err(|_| "there are budget, balanced and capable".into())
}

/// What the model may do beside answering.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tools and reasoning")]
pub struct Tools {
    /// Let the model call the tools in this file, a JSON list; calls are printed as `name({…})`
    #[arg(long = "tools", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whether it calls them: auto, none, required, or the name of one [default: auto]
    #[arg(long, value_name = "CHOICE", requires = "file")]
    tool_choice: Option<String>,
    /// Have the model answer at once, where it can
    #[arg(long)]
    no_reasoning: bool,
    /// Do not print what the model reasons, which goes to standard error
    #[arg(long)]
    pub hide_reasoning: bool,
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
    /// Spread of the draw, 0 to 5; 0 takes the likeliest token
    #[arg(short, long, value_name = "X", default_value_t = defaults().temperature, allow_negative_numbers = true)]
    temperature: f32,
    /// Keep the smallest set of tokens with this probability together
    #[arg(long, value_name = "P", default_value_t = defaults().top_p, allow_negative_numbers = true)]
    top_p: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = defaults().top_k)]
    top_k: u32,
    /// Keep tokens with this share of the likeliest one's probability
    #[arg(long, value_name = "P", default_value_t = defaults().min_p, allow_negative_numbers = true)]
    min_p: f32,
    /// Most tokens to generate
    #[arg(short = 'n', long, value_name = "N", default_value_t = defaults().max_tokens)]
    max_tokens: u32,
    /// Make the answer reproducible [default: drawn anew]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End the answer where this text would come; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Divide the logits of recent tokens; 1 changes nothing
    #[arg(long, value_name = "X", default_value_t = defaults().repetition_penalty, allow_negative_numbers = true)]
    repetition_penalty: f32,
    /// Subtract this from recent tokens once; 0 changes nothing
    #[arg(long, value_name = "X", default_value_t = defaults().presence_penalty, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Subtract this from recent tokens for each time they came
    #[arg(long, value_name = "X", default_value_t = defaults().frequency_penalty, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Leave the likeliest tokens out of this share of the draws (XTC)
    #[arg(long, value_name = "P", default_value_t = defaults().xtc_probability, allow_negative_numbers = true)]
    xtc_probability: f32,
    /// Let XTC leave only the least likely token above this probability
    #[arg(long, value_name = "P", default_value_t = defaults().xtc_threshold, allow_negative_numbers = true)]
    xtc_threshold: f32,
    /// Draw N answers to the prompt, each with its own number in the events
    #[arg(long, value_name = "N", default_value_t = defaults().n, requires = "json")]
    samples: u32,
    /// Keep keys and values in 4 or 8 bits, which saves memory and costs some accuracy
    #[arg(long, value_name = "BITS")]
    kv_bits: Option<u32>,
    /// Tell the log-probability of each token and of the N likeliest
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<u32>,
}

fn defaults() -> GenerationOptions {
    GenerationOptions::default()
}

impl Generate {
    /// The options on the wire.
    pub fn options(&self) -> GenerationOptions {
        let sampling = &self.sampling;
        GenerationOptions {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            max_tokens: sampling.max_tokens,
            stop_sequences: sampling.stop.clone(),
            system_prompt: self.system.clone(),
            repetition_penalty: sampling.repetition_penalty,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            xtc_probability: sampling.xtc_probability,
            xtc_threshold: sampling.xtc_threshold,
            logit_bias: defaults().logit_bias,
            logprobs: sampling.logprobs,
            n: sampling.samples,
            kv_bits: sampling.kv_bits,
            seed: sampling.seed,
        }
    }
}
