//! What tokens cost, and counts put together with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use protocol::usage::MOST_ROWS;
use protocol::{ErrorData, Kind, ModelId, ProviderId, UsageBy, UsageReport, UsageRow};
use serde::Deserialize;

use super::Used;
use super::store::Count;
use crate::bounded;

/// What comes with the daemon.
const BUILT_IN: &str = include_str!("../../data/prices.toml");

/// Largest file that is read.
const LONGEST: u64 = 1 << 20;

/// Tokens of a price.
const MILLION: f64 = 1e6;

/// Prices, those that go before first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prices(Vec<Price>);

/// What a model's tokens cost, in US dollars for a million.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    provider: ProviderId,
    /// Its name; a `*` at the end stands for anything.
    model: String,
    prompt: f64,
    completion: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Price>,
}

impl Prices {
    /// Those of the user's file, if there is one, then those that come with the daemon.
    pub(super) fn read(path: &Path) -> Result<Self, ErrorData> {
        let refuse = |why: String| ErrorData::new(Kind::ConfigurationError, format!("{}: {why}", path.display()));
        let text = bounded::read_text(path, LONGEST).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).map_err(refuse)
    }

    /// Those of a text, then those that come with the daemon.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut prices = Vec::new();
        for text in [text, BUILT_IN] {
            prices.extend(toml::from_str::<File>(text).map_err(|error| error.to_string())?.price);
        }
        let is_wrong = |price: &&Price| ![price.prompt, price.completion].iter().all(|cost| (0.0..1e6).contains(cost));
        match prices.iter().find(is_wrong) {
            Some(price) => Err(format!("the price of {} is none", price.model)),
            None => Ok(Self(prices)),
        }
    }

    /// What one request costs; `None` where the price is not known.
    pub(super) fn of(&self, used: &Used) -> Option<f64> {
        self.cost(&Count {
            day: String::new(),
            provider: used.provider.clone(),
            model: used.model.clone(),
            app: String::new(),
            requests: 1,
            prompt_tokens: used.prompt_tokens.into(),
            completion_tokens: used.completion_tokens.into(),
        })
    }

    /// What a count costs; `None` where the price is not known.
    fn cost(&self, count: &Count) -> Option<f64> {
        if count.provider.is_engine() {
            return Some(0.0);
        }
        let price = self.0.iter().find(|price| price.provider == count.provider && price.fits(&count.model))?;
        let (prompt, completion) = (count.prompt_tokens as f64, count.completion_tokens as f64);
        Some((prompt * price.prompt + completion * price.completion) / MILLION)
    }

    /// Counts put together by what they are told apart by.
    pub(super) fn report(&self, since: String, counts: Vec<Count>, by: &[UsageBy]) -> UsageReport {
        let mut rows: BTreeMap<_, UsageRow> = BTreeMap::new();
        let mut report = UsageReport { since, rows: Vec::new(), cost_usd: 0.0, unpriced_tokens: 0 };
        for count in counts {
            let cost = self.cost(&count);
            match cost {
                Some(cost) => report.cost_usd += cost,
                None => report.unpriced_tokens += count.prompt_tokens + count.completion_tokens,
            }
            let named = |kind: UsageBy| by.contains(&kind);
            let row = UsageRow {
                day: named(UsageBy::Day).then_some(count.day),
                provider: named(UsageBy::Provider).then_some(count.provider),
                model: named(UsageBy::Model).then_some(count.model),
                app: named(UsageBy::App).then_some(count.app),
                requests: count.requests,
                prompt_tokens: count.prompt_tokens,
                completion_tokens: count.completion_tokens,
                cost_usd: cost,
            };
            let key = (row.day.clone(), row.provider.clone(), row.model.clone(), row.app.clone());
            match rows.entry(key) {
                Entry::Vacant(place) => drop(place.insert(row)),
                Entry::Occupied(mut like) => add(like.get_mut(), &row),
            }
        }
        report.rows = rows.into_values().collect();
        let tokens = |row: &UsageRow| row.prompt_tokens + row.completion_tokens;
        report.rows.sort_by(|a, b| b.day.cmp(&a.day).then(tokens(b).cmp(&tokens(a))));
        report.rows.truncate(MOST_ROWS);
        report
    }
}

impl Price {
    fn fits(&self, model: &ModelId) -> bool {
        match self.model.strip_suffix('*') {
            Some(begin) => model.0.starts_with(begin),
            None => self.model == model.0,
        }
    }
}

fn add(row: &mut UsageRow, like: &UsageRow) {
    row.requests += like.requests;
    row.prompt_tokens += like.prompt_tokens;
    row.completion_tokens += like.completion_tokens;
    row.cost_usd = row.cost_usd.zip(like.cost_usd).map(|(a, b)| a + b);
}

#[cfg(test)]
#[path = "prices_tests.rs"]
mod tests;
