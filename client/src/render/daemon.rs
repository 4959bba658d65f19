//! The daemon: what it is doing, how fast it answers, and the times of one request.
//!
//! Called by the commands.

use std::fmt::Write;

use protocol::{
    MemoryPool, PROTOCOL_VERSION, Pong, PreloadState, Pressure, RequestState, RequestStatus, Status, Timings, Usage,
};
use serde::Serialize;

use super::table::{Cell, Table};
use super::{GREEN, NONE, RED, YELLOW, bytes, duration_ms, models, printable};

/// `ps`.
pub fn ps(status: &Status, width: Option<usize>) -> String {
    let mut text = if status.residents.is_empty() {
        "no models are in memory\n".into()
    } else {
        models::residents(&status.residents).render(width)
    };
    if !status.requests.is_empty() {
        text += "\n";
        text += &requests(&status.requests).render(width);
    }
    text
}

fn requests(requests: &[RequestStatus]) -> Table {
    let mut table = Table::new(&["REQUEST", "MODEL", "APP", "PRIORITY", "STATE", "AGE", "TOKENS", "TRACE"]);
    for request in requests {
        table.row(vec![
            (&*request.request_id.0).into(),
            (&*request.model.0).into(),
            (&*request.app).into(),
            request.priority.name().into(),
            state(request),
            duration_ms(request.age_ms as f64).into(),
            request.completion_tokens.to_string().into(),
            request.trace_id.as_deref().unwrap_or(NONE).into(),
        ]);
    }
    table
}

/// What a request is doing.
pub(super) fn state(request: &RequestStatus) -> Cell {
    match request.state {
        _ if request.paused => Cell::new("paused", YELLOW),
        RequestState::Waiting => match request.position {
            None | Some(0) => Cell::new("waiting", YELLOW),
            Some(before) => Cell::new(format!("behind {before}"), YELLOW),
        },
        RequestState::Prefill => Cell::new("reading", GREEN),
        RequestState::Decode => Cell::new("writing", GREEN),
    }
}

/// `status`.
pub fn status(status: &Status) -> String {
    let Status { version, pid, uptime_ms, .. } = status;
    let mut text = format!("talkied {} (pid {pid}) up {}\n", printable(version), duration_ms(*uptime_ms as f64));
    if status.protocol != PROTOCOL_VERSION {
        let _ = writeln!(text, "{YELLOW}speaks protocol {}, talkiectl {PROTOCOL_VERSION}{YELLOW:#}", status.protocol);
    }
    let resident: u64 = status.residents.iter().filter_map(|model| Some(model.residency.as_ref()?.memory_bytes)).sum();
    let own = status.memory_bytes.map_or(NONE.into(), bytes);
    let rows = [
        ("socket", status.socket.display().to_string()),
        ("models", status.models_dir.display().to_string()),
        ("memory", format!("{own} of its own, {} of models ({})", bytes(resident), status.residents.len())),
        ("budget", status.memory.pools.iter().map(pool).collect::<Vec<_>>().join(", ")),
        ("connections", status.connections.to_string()),
        (
            "requests",
            format!("{} now, {} ended, {} of them failed", status.requests.len(), status.finished, status.failed),
        ),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {name:<12} {}", printable(&value));
    }
    text += &preloads(status);
    text += &ills(status);
    text
}

/// What models take of what they may.
fn pool(pool: &MemoryPool) -> String {
    match pool.budget_bytes {
        0 => format!("{} taken, without a bound", bytes(pool.held_bytes)),
        budget => format!("{} taken of {} for models", bytes(pool.held_bytes), bytes(budget)),
    }
}

/// What is not well with memory and engines.
fn ills(status: &Status) -> String {
    let mut text = String::new();
    match status.memory.pressure {
        Pressure::Calm => {}
        Pressure::Soft => {
            let _ = writeln!(text, "  {YELLOW}memory runs short: background work stands still{YELLOW:#}");
        }
        Pressure::Hard => {
            let _ = writeln!(text, "  {RED}memory runs out: new requests are refused{RED:#}");
        }
    }
    for model in &status.residents {
        let problem = model.residency.as_ref().and_then(|residency| residency.draft_problem.as_ref());
        let Some(problem) = problem.map(|problem| printable(problem)) else { continue };
        let _ = writeln!(text, "  {YELLOW}{} runs without its draft {problem}{YELLOW:#}", printable(&model.id.0));
    }
    for lost in &status.lost {
        let model = printable(&lost.model.0);
        let _ = writeln!(text, "  {RED}the engine of {model} ended {} times in a row{RED:#}", lost.count);
    }
    text
}

/// Models that are loaded at the start, where that has not come about.
fn preloads(status: &Status) -> String {
    let mut text = String::new();
    for preload in &status.preload {
        let (state, style) = match (preload.state, &preload.error) {
            (PreloadState::Loaded, _) => continue,
            (PreloadState::Waiting, _) => ("waits to be loaded".into(), YELLOW),
            (PreloadState::Loading, _) => ("is being loaded".into(), YELLOW),
            (PreloadState::Failed, error) => {
                let why = error.as_ref().map_or("", |error| &error.message);
                (format!("was not loaded: {}", printable(why)), RED)
            }
        };
        let _ = writeln!(text, "  {:<12} {} {style}{state}{style:#}", "preload", printable(&preload.model.0));
    }
    text
}

/// Result of `ping`.
#[derive(Debug, Serialize)]
pub struct Ping {
    #[serde(flatten)]
    pong: Pong,
    count: usize,
    p50_us: f64,
    p99_us: f64,
}

impl Ping {
    /// Of an answer and at least one round trip.
    pub fn new(pong: Pong, mut round_trips_us: Vec<f64>) -> Self {
        round_trips_us.sort_by(f64::total_cmp);
        let count = round_trips_us.len();
        // The smallest value that this share of all values does not exceed.
        let percentile = |share: f64| round_trips_us[((count as f64 * share).ceil() as usize).clamp(1, count) - 1];
        Self { p50_us: percentile(0.5), p99_us: percentile(0.99), pong, count }
    }
}

/// `ping`.
pub fn ping(ping: &Ping) -> String {
    let Ping { pong: Pong { version, protocol, pid }, count, p50_us, p99_us } = ping;
    let version = printable(version);
    let times = match count {
        1 => format!("{p50_us:.0} µs"),
        _ => format!("{count} round trips, p50 {p50_us:.0} µs, p99 {p99_us:.0} µs"),
    };
    format!("talkied {version} (pid {pid}, protocol {protocol}): {times}\n")
}

/// Result of `stop`.
#[derive(Debug, Serialize)]
pub struct Stopped {
    /// False when it did not run.
    pub stopped: bool,
}

/// `generate --stats`.
pub fn stats(usage: Usage, timings: &Timings, seed: Option<u64>) -> String {
    let load = if timings.load_ms > 0.0 { format!(", load {}", duration_ms(timings.load_ms)) } else { String::new() };
    let kept = if usage.cached_tokens > 0 { format!(" ({} kept)", usage.cached_tokens) } else { String::new() };
    let guessed =
        if usage.speculated_tokens > 0 { format!(" ({} guessed)", usage.speculated_tokens) } else { String::new() };
    let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    format!(
        "first token {}{load}, {:.1} tokens/s, {}{kept} + {} tokens{guessed}, total {}{seed}\n",
        duration_ms(timings.first_token_ms),
        timings.decode_tokens_per_s,
        usage.prompt_tokens,
        usage.completion_tokens,
        duration_ms(timings.total_ms),
    )
}
