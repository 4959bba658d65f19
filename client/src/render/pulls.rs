//! Downloads: all of them, how far one is, and how it ended.
//!
//! Called by the commands, by [`crate::bars`] and by [`crate::complete`].

use anstyle::Style;
use protocol::{Pull, PullList, PullState};

use super::table::{Cell, Table};
use super::{GREEN, NONE, PLAIN, RED, YELLOW, bytes, duration_ms, percent, printable};

/// `pulls`.
pub fn list(list: &PullList, width: Option<usize>) -> String {
    if list.pulls.is_empty() {
        return "nothing is being downloaded; `talkiectl pull MODEL` begins\n".into();
    }
    let mut table = Table::new(&["MODEL", "STATE", "DONE", "TOTAL", "RATE", "LEFT"]);
    for pull in &list.pulls {
        table.row(vec![
            (&*pull.model.0).into(),
            Cell::new(state(pull), style(pull.state)),
            bytes(pull.done_bytes).into(),
            pull.total_bytes.map_or(NONE.into(), bytes).into(),
            pull.bytes_per_second.map_or(NONE.into(), rate).into(),
            pull.time_left_ms.map_or(NONE.into(), |ms| duration_ms(ms as f64)).into(),
        ]);
        if let Some(problem) = problem(pull) {
            table.note(&problem, if pull.state == PullState::Failed { RED } else { YELLOW });
        }
    }
    table.render(width)
}

/// What a pull is doing, in a few words.
pub fn state(pull: &Pull) -> String {
    match pull.state {
        PullState::Queued => "waiting".into(),
        PullState::Planning => "asking the hub".into(),
        PullState::Downloading => share(pull).map_or("downloading".into(), percent),
        PullState::Verifying => "verifying".into(),
        PullState::Installing => "installing".into(),
        PullState::Done => "installed".into(),
        PullState::Paused => "paused".into(),
        PullState::Failed => "failed".into(),
        PullState::Cancelled => "cancelled".into(),
    }
}

fn style(state: PullState) -> Style {
    match state {
        PullState::Queued | PullState::Planning | PullState::Cancelled => PLAIN,
        PullState::Downloading | PullState::Verifying | PullState::Installing | PullState::Done => GREEN,
        PullState::Paused => YELLOW,
        PullState::Failed => RED,
    }
}

fn share(pull: &Pull) -> Option<f64> {
    pull.total_bytes.map(|total| pull.done_bytes as f64 / total.max(1) as f64)
}

fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// Why it failed, or why it is about to try again.
fn problem(pull: &Pull) -> Option<String> {
    let error = pull.error.as_ref()?;
    let again = pull.retry_after_ms.map_or(String::new(), |ms| format!("; again in {}", duration_ms(ms as f64)));
    Some(format!("{}{again}", error.message))
}

/// How far a pull is, without its name: what matters most comes first, because the end may be cut.
pub fn progress(pull: &Pull) -> String {
    let of = match (pull.state, pull.total_bytes) {
        (PullState::Downloading, Some(total)) => format!(" of {}", bytes(total)),
        _ => String::new(),
    };
    let rate = pull.bytes_per_second.map(rate);
    let left = pull.time_left_ms.map(|ms| format!("{} left", duration_ms(ms as f64)));
    let known = [Some(state(pull) + &of), rate, left, problem(pull)];
    let known: Vec<String> = known.into_iter().flatten().map(|part| printable(&part)).collect();
    known.join(", ")
}

/// `pull`, at its end.
pub fn installed(pull: &Pull) -> String {
    let again = match pull.refetched_bytes {
        0 => String::new(),
        refetched => format!(", {} of it downloaded twice", bytes(refetched)),
    };
    format!("{} is installed: {}{again}\n", printable(&pull.model.0), bytes(pull.done_bytes))
}

/// `pull --detach`, and what `pulls` did to one.
pub fn told(pull: &Pull) -> String {
    let model = printable(&pull.model.0);
    match pull.state {
        PullState::Done => installed(pull),
        PullState::Paused => format!("{model} is paused at {}\n", bytes(pull.done_bytes)),
        PullState::Cancelled => format!("{model} is cancelled\n"),
        _ => format!("{model}: {}; `talkiectl pulls` shows how far it is\n", progress(pull)),
    }
}

#[cfg(test)]
#[path = "pulls_tests.rs"]
mod tests;
