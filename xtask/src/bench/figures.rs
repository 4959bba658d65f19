//! Samples of one figure and what is said of them.

use serde::{Serialize, Serializer};
use serde_json::json;

/// Measurements of one thing, in the order in which they were taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The one in the middle, between the two there where their number is even; `None` without any.
    pub fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
        Some(f64::midpoint(sorted[low], sorted[high]))
    }

    /// The least that `share` of the samples do not exceed; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.sorted().get(rank.max(1) - 1).copied()
    }

    /// The least.
    pub fn least(&self) -> Option<f64> {
        self.sorted().first().copied()
    }

    /// The most.
    pub fn most(&self) -> Option<f64> {
        self.sorted().last().copied()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each by the one of `others` that was taken in the same turn.
    pub fn over(&self, others: &Self) -> Self {
        self.0.iter().zip(&others.0).map(|(one, other)| one / other).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A thousand samples say no more than a few of their quantiles.
const MOST_LISTED: usize = 100;

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut figures = json!({ "count": self.0.len(), "median": self.median(), "min": self.least(),
            "max": self.most() });
        if self.0.len() <= MOST_LISTED {
            figures["samples"] = json!(self.0);
        } else {
            figures["p90"] = json!(self.quantile(0.9));
            figures["p99"] = json!(self.quantile(0.99));
        }
        figures.serialize(serializer)
    }
}

/// The median with the least and the most, each with as many digits as they are worth.
impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Some(median), Some(least), Some(most)) = (self.median(), self.least(), self.most()) else {
            return f.pad("not measured");
        };
        let places = places(median);
        if least.to_bits() == most.to_bits() {
            return f.pad(&format!("{median:.places$}"));
        }
        f.pad(&format!("{median:.places$} ({least:.places$}–{most:.places$})"))
    }
}

/// Decimal places that leave about three digits.
pub fn places(value: f64) -> usize {
    match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    }
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
