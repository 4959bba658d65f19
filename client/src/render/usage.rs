//! What was used.
//!
//! Called by the commands.

use std::fmt::Write;

use protocol::{UsageReport, UsageRow};

use super::NONE;
use super::table::Table;

/// `usage`.
pub fn report(report: &UsageReport, width: Option<usize>) -> String {
    let since = &report.since;
    if report.rows.is_empty() {
        return format!("nothing was used since {since}\n");
    }
    let mut table = Table::new(&["DAY", "PROVIDER", "MODEL", "APP", "REQUESTS", "PROMPT", "ANSWER", "COST"]);
    for row in &report.rows {
        let UsageRow { day, provider, model, app, .. } = row;
        table.row(vec![
            day.as_deref().unwrap_or(NONE).into(),
            provider.as_ref().map_or(NONE, |id| &id.0).into(),
            model.as_ref().map_or(NONE, |id| &id.0).into(),
            app.as_deref().unwrap_or(NONE).into(),
            row.requests.to_string().into(),
            row.prompt_tokens.to_string().into(),
            row.completion_tokens.to_string().into(),
            row.cost_usd.map_or("unknown".into(), dollars).into(),
        ]);
    }
    let mut text = table.render(width);
    let _ = writeln!(text, "since {since}: {}", dollars(report.cost_usd));
    if report.unpriced_tokens > 0 {
        let tokens = report.unpriced_tokens;
        let _ = writeln!(text, "not in it: {tokens} tokens without a price; prices.toml in talkied's home sets one");
    }
    text
}

/// To a hundredth of a cent.
fn dollars(cost: f64) -> String {
    format!("${cost:.4}")
}
