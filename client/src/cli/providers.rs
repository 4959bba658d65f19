//! What can be typed about who answers.
//!
//! Called by [`super`].

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use protocol::{GetUsage, UsageBy};

use crate::complete;

/// What to do with a provider.
#[derive(Debug, Subcommand)]
pub enum Providers {
    /// Show one, and the models that it has
    Show(ProviderName),
    /// Ask one whether it is there and takes its key
    Test(ProviderName),
    /// Keep a key for one: read without echo, or from standard input
    #[command(after_help = "\
Example:
  talkiectl providers set-key gemini
  pass show gemini | talkiectl providers set-key gemini")]
    SetKey(ProviderName),
    /// Forget the key of one
    RemoveKey(ProviderName),
    /// Change a provider, or add a server that answers `/chat/completions`
    #[command(after_help = "\
Example:
  talkiectl providers set cluster --url http://gpu1:8000/v1 --default-model qwen")]
    Set(SetProvider),
    /// Forget a server that was added, and its key
    Rm(ProviderName),
}

/// Which provider.
#[derive(Debug, Args)]
pub struct ProviderName {
    /// Its name, as `talkiectl providers` shows it
    #[arg(add = ArgValueCandidates::new(complete::providers))]
    pub name: String,
}

/// What to change.
#[derive(Debug, Args)]
pub struct SetProvider {
    /// Its name, or that of a new one
    #[arg(add = ArgValueCandidates::new(complete::providers))]
    pub name: String,
    /// Where it is: what stands before `/chat/completions`
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Answers requests that name no model; an empty text takes it away
    #[arg(long, value_name = "ID")]
    pub default_model: Option<String>,
    /// Its name for people
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Send this with each request, as `Name: value`; may be repeated, and replaces those before
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    pub headers: Vec<(String, String)>,
}

/// Of which days, and by what told apart.
#[derive(Debug, Args)]
pub struct Usage {
    /// The last so many days, today included
    #[arg(long, value_name = "N", default_value_t = GetUsage::default().days)]
    pub days: u32,
    /// What makes two rows of one: day, provider, model, app
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = by, default_value = "provider,model,app")]
    pub by: Vec<UsageBy>,
}

fn by(name: &str) -> Result<UsageBy, String> {
    serde_json::from_value(name.into()).map_err(|_| "there are day, provider, model and app".into())
}

fn header(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    parts.filter(|(name, _)| !name.is_empty()).ok_or_else(|| "write it as `Name: value`".into())
}
