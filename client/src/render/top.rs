//! The picture of `top`: the daemon, its models, its requests, made of a [`view`].
//!
//! Called by the command.

pub mod view;

use protocol::ResidencyState;

use self::view::{Request, Resident, View};
use super::table::{Cell, Table};
use super::{GREEN, NONE, YELLOW, bytes, daemon, duration_ms, percent};

/// What is so now.
pub fn picture(view: &View, width: Option<usize>) -> String {
    let mut text = head(view).render(width);
    if !view.residents.is_empty() {
        text += "\n";
        text += &residents(&view.residents).render(width);
    }
    if !view.requests.is_empty() {
        text += "\n";
        text += &requests(&view.requests).render(width);
    }
    text
}

/// A picture of a daemon that has ended since.
pub fn gone(text: &str) -> String {
    format!("{YELLOW}talkied has ended; waiting for it to come back{YELLOW:#}\n{text}")
}

/// The lines that a terminal has room for, each cut where it ends.
pub fn fitted(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let cut = |line: &&str| console::truncate_str(line, columns, "…").into_owned();
    if lines.len() <= rows {
        return lines.iter().map(cut).collect();
    }
    let shown = rows.saturating_sub(1);
    let more = format!("… {} more lines", lines.len() - shown);
    lines.iter().take(shown).map(cut).chain([cut(&more.as_str())]).take(rows).collect()
}

fn head(view: &View) -> Table {
    let mut table = Table::new(&["TALKIED", "UP", "MEMORY", "REQUESTS/S", "TOKENS/S", "CACHED", "FIRST P50", "P90"]);
    let rates = view.rates.as_ref();
    let time = |ms: Option<f64>| ms.map_or(NONE.into(), duration_ms);
    table.row(vec![
        (&*view.version).into(),
        duration_ms(view.uptime_ms as f64).into(),
        view.memory_bytes.map_or(NONE.into(), bytes).into(),
        rate(rates.map(|rates| rates.requests_per_s)).into(),
        rate(rates.map(|rates| rates.tokens_per_s)).into(),
        rates.and_then(|rates| rates.cached_share).map_or(NONE.into(), percent).into(),
        time(rates.and_then(|rates| rates.first_token_p50_ms)).into(),
        time(rates.and_then(|rates| rates.first_token_p90_ms)).into(),
    ]);
    table
}

fn residents(residents: &[Resident]) -> Table {
    let mut table = Table::new(&["MODEL", "ENGINE", "STATE", "MEMORY", "PREFIXES", "RUNNING", "WAITING", "TOKENS/S"]);
    for resident in residents {
        let state = match resident.state {
            ResidencyState::Loading => Cell::new("loading", YELLOW),
            ResidencyState::Idle => Cell::new("warm", GREEN),
            ResidencyState::Busy => Cell::new("busy", GREEN),
            ResidencyState::Unloading => Cell::new("unloading", YELLOW),
        };
        table.row(vec![
            (&*resident.model.0).into(),
            (&*resident.engine.0).into(),
            state,
            bytes(resident.memory_bytes).into(),
            bytes(resident.prefix_bytes).into(),
            resident.running.to_string().into(),
            resident.waiting.to_string().into(),
            rate(resident.tokens_per_s).into(),
        ]);
    }
    table
}

fn requests(requests: &[Request]) -> Table {
    let mut table = Table::new(&["REQUEST", "MODEL", "APP", "PRIORITY", "STATE", "TOKENS", "TOKENS/S", "AGE", "TRACE"]);
    for Request { status, tokens_per_s } in requests {
        table.row(vec![
            (&*status.request_id.0).into(),
            (&*status.model.0).into(),
            (&*status.app).into(),
            status.priority.name().into(),
            daemon::state(status),
            status.completion_tokens.to_string().into(),
            rate(*tokens_per_s).into(),
            duration_ms(status.age_ms as f64).into(),
            status.trace_id.as_deref().unwrap_or(NONE).into(),
        ]);
    }
    table
}

/// A number for each second.
fn rate(rate: Option<f64>) -> String {
    rate.map_or(NONE.into(), |rate| if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
}

#[cfg(test)]
#[path = "top_tests.rs"]
mod tests;
