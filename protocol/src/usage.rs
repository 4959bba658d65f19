//! `usage.get`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::ModelId;
use crate::providers::ProviderId;

/// Most days that are told of; older ones are forgotten.
pub const MOST_DAYS: u32 = 400;

/// Most rows of a report.
pub const MOST_ROWS: usize = 1000;

/// Of which days, and by what the counts are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GetUsage {
    /// The last so many days, today included: 1 to 400.
    #[schemars(range(min = 1, max = 400))]
    pub days: u32,
    /// What makes two rows of one; all of it together when empty.
    pub by: Vec<UsageBy>,
}

impl Default for GetUsage {
    fn default() -> Self {
        Self { days: 30, by: vec![UsageBy::Provider, UsageBy::Model, UsageBy::App] }
    }
}

/// By what counts are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageBy {
    /// The day, in the daemon's time zone.
    Day,
    /// Who answered.
    Provider,
    /// With which model.
    Model,
    /// Who asked.
    App,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageReport {
    /// The first of the days, `2026-01-31`.
    pub since: String,
    /// The latest day and the most tokens first, 1000 at most.
    pub rows: Vec<UsageRow>,
    /// What it cost in all, in US dollars, as far as prices are known.
    pub cost_usd: f64,
    /// Tokens whose price is not known; those of this machine cost nothing.
    pub unpriced_tokens: u64,
}

/// What was used by one of those that are told apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageRow {
    /// Of which day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Of whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// With which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// By whom: what requests say in `app`, else the name of the program that sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their answers.
    pub completion_tokens: u64,
    /// What they cost, in US dollars; absent where a price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}
